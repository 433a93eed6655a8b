/*
 * Taking the hosts' word over the store's. A store that was put back to an older copy knows less
 * than the hosts have done: its goals are lower than theirs, so they refuse them, and it must not
 * guess what it missed. What the hosts carried out last becomes the record, at an epoch above all
 * that they have seen, so that the next goals count again. Faults clear by themselves after that.
 */
#include <inttypes.h>

#include "base/str.h"
#include "core/group.h"

bool store_is_older(const struct group *g, const struct observation *o)
{
	return o != NULL && goal_cmp(o->goal_epoch, o->goal_revision, g->epoch, g->revision) > 0;
}

static bool is_marked(const struct member *m)
{
	return m->state == MEMBER_ERROR && m->fault.kind == FAULT_STORE;
}

/* Somebody to take the word of, and nobody missing who may know more. */
static bool check(const struct group *g, const struct observation *const *heard, struct err *e)
{
	bool older = false;

	for (size_t i = 0; i < g->nmembers; i++) {
		const struct member *m = &g->members[i];

		older |= is_marked(m) || store_is_older(g, heard[i]);
	}
	if (!older) {
		return err_set(e, ERR_UNPROCESSABLE,
			       "The store is not older than the hosts of group '%.64s': there is "
			       "nothing to adopt.",
			       g->name);
	}
	for (size_t i = 0; i < g->nmembers; i++) {
		const struct member *m = &g->members[i];
		bool asked = is_marked(m) || id_eq(m->id, g->source);

		if (asked && heard[i] == NULL) {
			return err_set(e, ERR_UNPROCESSABLE,
				       "Instance '%.64s' is not heard, so its host '%.64s' may know "
				       "more than the others. Try again when its agent reports.",
				       m->name, m->host);
		}
	}
	return true;
}

static uint64_t highest_epoch(const struct group *g, const struct observation *const *heard)
{
	uint64_t highest = g->epoch;

	for (size_t i = 0; i < g->nmembers; i++) {
		if (heard[i] != NULL && heard[i]->goal_epoch > highest) {
			highest = heard[i]->goal_epoch;
		}
	}
	return highest;
}

/* A master that this epoch's goal made one; by hand anybody can be promoted. */
static bool reigns(const struct observation *o, uint64_t epoch)
{
	return o != NULL && o->proc == PROC_RUNNING && o->role == SERVER_ROLE_MASTER &&
	       !o->guarded && o->goal_applied && o->goal_epoch == epoch && replid_known(&o->run_id);
}

/* The member that was the source last; nmembers when none is seen to serve as one. */
static size_t find_source(const struct group *g, const struct observation *const *heard,
			  uint64_t epoch)
{
	size_t found = g->nmembers;

	for (size_t i = 0; i < g->nmembers; i++) {
		if (!reigns(heard[i], epoch)) {
			continue;
		}
		if (id_eq(g->members[i].id, g->source)) {
			return i;
		}
		found = g->members[i].state == MEMBER_DELETING ? found : i;
	}
	return found;
}

/* Whatever restart the store remembers was decided at an epoch that it does not know. */
static void take_reign(struct group *g, const struct member *m, const struct observation *o)
{
	bool promoted = replid_known(&o->replid2) && o->second_offset > 0;

	g->source = m->id;
	g->source_run = o->run_id;
	if (g->op.kind == OP_RESTART) {
		g->op = (struct operation){};
	}
	history_push(g, &o->replid, promoted ? o->second_offset : 0);
}

bool group_adopt(struct group *g, const struct observation *const *heard,
		 struct group_event *ret_event, struct err *e)
{
	if (!check(g, heard, e)) {
		return false;
	}
	uint64_t stored = g->epoch, seen = highest_epoch(g, heard);
	size_t i = find_source(g, heard, seen);
	const struct member *source = i < g->nmembers ? &g->members[i] : NULL;

	g->epoch = seen + 1;
	if (source != NULL) {
		take_reign(g, source, heard[i]);
	}
	*ret_event = (struct group_event){ .kind = EVENT_STORE_ADOPTED, .epoch = g->epoch };
	snprintf(ret_event->reason, sizeof ret_event->reason,
		 "a client took the hosts' word over the store's: %s '%.64s'",
		 source != NULL ? "the source goes on as it runs," : "nobody is seen to serve for",
		 source != NULL ? source->name : g->name);
	snprintf(ret_event->figures, sizeof ret_event->figures,
		 "seen=%" PRIu64 " stored=%" PRIu64 " run=%s", seen, stored, g->source_run.s);
	return true;
}
