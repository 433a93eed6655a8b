#include "core/place.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/macros.h"
#include "base/str.h"
#include "base/text.h"
#include "core/names.h"

/* hurdles */

static bool may_share(const struct place_host *h, const struct place_wish *w, bool group_lives)
{
	switch (w->locality) {
	case PLACE_AFFINITY:
		return h->members > 0 || !group_lives;
	case PLACE_ANTI_AFFINITY:
		return h->members == 0;
	case PLACE_ANYWHERE:
		break;
	}
	return true;
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Counts the first hurdle that it falls at. */
static bool is_fit(const struct place_host *h, const struct place_wish *w, bool group_lives,
		   struct place_shortage *s)
{
	s->hosts++;
	if (!h->has_version) {
		s->version++;
	} else if (h->draining) {
		s->draining++;
	} else if (h->silent) {
		s->silent++;
	} else if (!may_share(h, w, group_lives)) {
		s->locality++;
	} else if (h->free_addresses == 0) {
		s->addresses++;
	} else if (h->memory_free < w->memory) {
		s->memory++;
		s->most_memory = larger(s->most_memory, h->memory_free);
	} else if (h->disk_free < w->disk) {
		s->disk++;
		s->most_disk = larger(s->most_disk, h->disk_free);
	} else {
		return true;
	}
	return false;
}

/* the best of those that are fit */

/* Members of the group in its failure domain. */
static size_t domain_members(const struct place_host *hosts, size_t n, const struct place_host *h)
{
	size_t members = 0;

	if (h->domain[0] == '\0') {
		return h->members;
	}
	for (size_t i = 0; i < n; i++) {
		/* Few hosts have members: only their labels are compared. */
		if (hosts[i].members > 0 && str_eq(hosts[i].domain, h->domain)) {
			members += hosts[i].members;
		}
	}
	return members;
}

struct rank {
	size_t members, in_domain;
	int64_t memory_free;
	size_t instances;
	const char *name;
};

static bool is_better(const struct rank *a, const struct rank *b)
{
	if (a->members != b->members) {
		return a->members < b->members;
	}
	if (a->in_domain != b->in_domain) {
		return a->in_domain < b->in_domain;
	}
	if (a->memory_free != b->memory_free) {
		return a->memory_free > b->memory_free;
	}
	if (a->instances != b->instances) {
		return a->instances < b->instances;
	}
	return strcmp(a->name, b->name) < 0;
}

size_t place_pick(const struct place_host *hosts, size_t n, const struct place_wish *w,
		  struct place_shortage *ret)
{
	struct rank best = {};
	size_t at = SIZE_MAX, members = 0;

	*ret = (struct place_shortage){ .most_memory = INT64_MIN, .most_disk = INT64_MIN };
	for (size_t i = 0; i < n; i++) {
		members += hosts[i].members;
	}
	for (size_t i = 0; i < n; i++) {
		if (!is_fit(&hosts[i], w, members > 0, ret)) {
			continue;
		}
		struct rank r = {
			.members = hosts[i].members,
			.in_domain = domain_members(hosts, n, &hosts[i]),
			.memory_free = hosts[i].memory_free,
			.instances = hosts[i].instances,
			.name = hosts[i].name,
		};
		if (at == SIZE_MAX || is_better(&r, &best)) {
			best = r;
			at = i;
		}
	}
	return at;
}

/* the refusal */

static int64_t in_mb(int64_t bytes)
{
	return bytes > 0 ? bytes >> 20 : 0;
}

static int64_t in_gb(int64_t bytes)
{
	return bytes > 0 ? bytes >> 30 : 0;
}

struct hurdle {
	size_t n; /* hosts that fell there */
	const char *one, *many, *rest;
};

/* "of 5 hosts 1 is being drained, 4 have no free address" */
static void list_hurdles(const struct place_shortage *s, const struct place_wish *w,
			 struct text *out)
{
	char memory[64], disk[64];

	snprintf(memory, sizeof memory, "too little memory (%" PRId64 " MB free at most)",
		 in_mb(s->most_memory));
	snprintf(disk, sizeof disk, "too little disk (%" PRId64 " GB free at most)",
		 in_gb(s->most_disk));
	const struct hurdle hurdles[] = {
		{ s->version, "does", "do", "not have this version" },
		{ s->draining, "is", "are", "being drained" },
		{ s->silent, "is", "are", "not heard at present" },
		{ s->locality, "has", "have",
		  w->locality == PLACE_AFFINITY ? "none of its group, as affinity asks"
						: "one of its group, against anti-affinity" },
		{ s->addresses, "has", "have", "no free address" },
		{ s->memory, "has", "have", memory },
		{ s->disk, "has", "have", disk },
	};
	const char *comma = "";

	text_add(out, "of %zu host%s ", s->hosts, s->hosts == 1 ? "" : "s");
	for (size_t i = 0; i < ARRAY_LEN(hurdles); i++) {
		const struct hurdle *h = &hurdles[i];

		if (h->n > 0) {
			text_add(out, "%s%zu %s %s", comma, h->n, h->n == 1 ? h->one : h->many,
				 h->rest);
			comma = ", ";
		}
	}
}

bool place_refuse(const struct place_shortage *s, const struct place_wish *w, const char *what,
		  struct err *e)
{
	char list[300];
	struct text out = text_in(list, sizeof list);

	if (s->hosts == 0) {
		return err_set(e, ERR_UNPROCESSABLE, "No host has joined yet: start tanist-agent.");
	}
	list_hurdles(s, w, &out);
	return err_set(e, ERR_UNPROCESSABLE,
		       "No host has room for %s with %" PRId64 " MB of memory and %" PRId64
		       " GB of disk: %s.",
		       what, in_mb(w->memory), in_gb(w->disk), list);
}

/* names */

static const char *const localities[] = {
	[PLACE_ANYWHERE] = "",
	[PLACE_AFFINITY] = "affinity",
	[PLACE_ANTI_AFFINITY] = "anti-affinity",
};

bool place_locality_parse(const char *s, enum place_locality *ret)
{
	size_t i = names_find(localities, ARRAY_LEN(localities), s);

	if (i == ARRAY_LEN(localities)) {
		return false;
	}
	*ret = (enum place_locality)i;
	return true;
}

const char *place_locality_name(enum place_locality l)
{
	return localities[l];
}
