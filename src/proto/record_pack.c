/*
 * Copies of a group. The registry keeps each group as one block of memory: ten thousand of them
 * are ten thousand allocations, freed as such, with their strings beside them.
 */
#include "proto/record.h"

#include <assert.h>
#include <stdalign.h>

/* The block: group, members, history, strings, in this order without padding between them. */
static_assert(alignof(struct group) >= alignof(struct member), "the members come behind the group");
static_assert(sizeof(struct group) % alignof(struct member) == 0, "... and are aligned there");
static_assert(alignof(struct member) >= alignof(struct history_entry), "then the history");
static_assert(sizeof(struct member) % alignof(struct history_entry) == 0, "... aligned too");

static size_t history_bytes(const struct group *g)
{
	return (g->nhistory + 1) * sizeof(struct history_entry);
}

static size_t text_bytes(const char *s)
{
	return s == NULL ? 0 : strlen(s) + 1;
}

static size_t member_text_bytes(const struct member *m)
{
	return text_bytes(m->name) + text_bytes(m->host) + text_bytes(m->address) +
	       text_bytes(m->flavor) + text_bytes(m->datastore) + text_bytes(m->version);
}

/* Moves *s to *at, which moves on. */
static void pack_text(const char **s, char **at)
{
	size_t n = text_bytes(*s);

	if (n > 0) {
		*s = memcpy(*at, *s, n);
		*at += n;
	}
}

static void pack_member(struct member *m, char **at)
{
	pack_text(&m->name, at);
	pack_text(&m->host, at);
	pack_text(&m->address, at);
	pack_text(&m->flavor, at);
	pack_text(&m->datastore, at);
	pack_text(&m->version, at);
}

/* Copies the arrays of g to where `to` has its own; the entry to spare is zero. */
static void copy_arrays(const struct group *g, struct group *to)
{
	if (g->nmembers > 0) {
		memcpy(to->members, g->members, g->nmembers * sizeof *g->members);
	}
	if (g->nhistory > 0) {
		memcpy(to->history, g->history, g->nhistory * sizeof *g->history);
	}
	to->history[g->nhistory] = (struct history_entry){};
}

struct group *record_pack_group(const struct group *g)
{
	size_t members_bytes = g->nmembers * sizeof *g->members;
	size_t bytes = sizeof *g + members_bytes + history_bytes(g) + text_bytes(g->project) +
		       text_bytes(g->name) + text_bytes(g->last.reason);

	for (size_t i = 0; i < g->nmembers; i++) {
		bytes += member_text_bytes(&g->members[i]);
	}
	struct group *copy = malloc(bytes);

	if (copy == NULL) {
		abort();
	}
	*copy = *g;
	copy->members = (struct member *)(copy + 1);
	copy->history = (struct history_entry *)(copy->members + g->nmembers);
	copy_arrays(g, copy);

	char *at = (char *)copy->history + history_bytes(g);

	pack_text(&copy->project, &at);
	pack_text(&copy->name, &at);
	pack_text(&copy->last.reason, &at);
	for (size_t i = 0; i < copy->nmembers; i++) {
		pack_member(&copy->members[i], &at);
	}
	assert(at == (char *)copy + bytes);
	return copy;
}

struct group *record_scratch_group(const struct group *g, struct arena *a)
{
	struct group *copy = arena_dup(a, g, sizeof *g);

	copy->members = arena_alloc(a, g->nmembers * sizeof *g->members);
	copy->history = arena_alloc(a, history_bytes(g));
	copy_arrays(g, copy);
	return copy;
}
