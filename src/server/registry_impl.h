/*
 * Inside the registry: what its files share. Nobody else includes this.
 *
 *	registry.c   opening, finding, watchers
 *	index.c      which instance, name and project belongs to which group
 *	hosts.c      hosts, who lives on them, silence
 *	addresses.c  which address of a host is free
 *	placing.c    which host a new instance goes to, and what hosts have promised
 *	report.c     what an agent's report changes
 *	write.c      one transaction: key, events, retention; an unknown outcome read back
 *	commit.c     records of groups from memory to the store and back
 *	turns.c      who waits for a project's turn or for a group's commit
 *	events.c     the newest events
 */
#pragma once

#include <sys/queue.h>

#include "server/memory.h"
#include "server/registry.h"
#include "server/table.h"

enum { REGISTRY_ORPHANS_MAX = 1024 };

/* ---- turns.c ---- */

struct waiting {
	struct waiting *next;
	loop_fn *fn;
	void *arg;
};
void waiting_add(struct waiting **first, struct waiting ***last, loop_fn *fn, void *arg);
/* Hands all to the loop, which calls them at the end of this turn. */
void waiting_release(struct registry *r, struct waiting **first, struct waiting ***last);

/* ---- index.c ---- */

/* One instance in its project's order: by creation, then id. */
struct project_item {
	int64_t created_wall_ms;
	struct id id;
	struct entry *entry;
};

struct project {
	char *name;
	struct project_item *items;
	size_t n, cap;
	struct project_usage usage;
	bool turn_taken;
	struct waiting *turn, **turn_last;
};

/* Makes the indexes say `now` (NULL: nothing) of en instead of `before` (NULL: nothing). */
void index_change(struct registry *r, struct entry *en, const struct group *before,
		  const struct group *now);
struct entry *index_instance(const struct registry *r, struct id id);
/* Makes one when there is none. */
struct project *index_project(struct registry *r, const char *name);
/* Frees it when nothing needs it any more. */
void index_project_drop(struct registry *r, struct project *p);
size_t index_member(const struct group *g, struct id id); /* SIZE_MAX: none */

/* ---- hosts.c, addresses.c ---- */

struct host_entry {
	struct reg_host pub;
	bool recorded;            /* pub.h is in the store */
	struct host wanted;       /* what the agent said last */
	bool unput;               /* it said something that no write has taken along yet */
	bool putting;             /* its record is on the way */
	int64_t retry_ms;         /* the store failed: not before */
	struct id session_before; /* a late report of it is no new session */
	uint64_t seq_before;      /* its last number */
	bool want_full;           /* no full report of this session yet */
	bool silent;
	bool refused_logged;   /* once is enough */
	struct entry **groups; /* with a member here */
	size_t ngroups, groups_cap;
	bool *used; /* per slot of pub.h.pool */
	size_t nslots, nused, next_slot;
	int64_t memory, disk; /* bytes promised to the instances that live here */
};

struct host_entry *hosts_find(const struct registry *r, const char *name);
struct host_entry *hosts_find_id(const struct registry *r, struct id id);
struct host_entry *hosts_add(struct registry *r, const struct host *h);
void hosts_free_all(struct registry *r);
/* The members of `before` leave their hosts and slots, those of `now` enter theirs. */
void hosts_change(struct registry *r, struct entry *en, const struct group *before,
		  const struct group *now);
/* It has been heard now. */
void hosts_hear(struct registry *r, struct host_entry *h);
/* Tells the watchers of every group with a member there. */
void hosts_notify(struct registry *r, struct host_entry *h);
/* The sweep for silent hosts begins. */
void hosts_start(struct registry *r);
/* Puts the host's record when what the agent said differs from it. */
void hosts_put(struct registry *r, struct host_entry *h);

/* ---- placing.c ---- */

/* A member comes to live here, or leaves. */
void promise_add(const struct registry *r, struct host_entry *h, const struct member *m);
void promise_drop(const struct registry *r, struct host_entry *h, const struct member *m);

/* Takes a free slot, going round the pool; there is one. */
struct endpoint addresses_next(struct host_entry *h);
/* A placement is given up: its slot is free. */
void addresses_free(struct host_entry *h, const struct placement *p);
/* SIZE_MAX when nobody holds it. */
size_t addresses_find_hold(const struct registry *r, const char *host, const char *address,
			   uint16_t port);
/* Slots anew, after a change of the pool. */
void addresses_rebuild(struct registry *r, struct host_entry *h);
void addresses_take(struct host_entry *h, const struct member *m);
void addresses_give_back(struct registry *r, struct host_entry *h, const struct member *m);
/* A record has this address now: it is not held any more. */
void addresses_drop_hold(struct registry *r, const struct member *m);

/* ---- events.c ---- */

enum event_state {
	EVENT_PENDING, /* its write is under way */
	EVENT_READY,   /* to be seen */
	EVENT_LEAVING, /* to be seen; a write under way deletes it */
	EVENT_VOID,    /* its write failed, or it is deleted */
};

struct event_item {
	uint64_t seq;
	enum event_state state;
	enum event_kind kind;
	uint32_t len;     /* of the JSON */
	uint32_t json_at; /* where it begins in text[] */
	char text[];      /* project ("": none), NUL, JSON */
};

struct event_ring {
	struct event_item **items; /* circular, oldest first */
	size_t first, n, cap;
	uint64_t next_seq, last_ready;
	uint64_t counts[EVENT_KIND_COUNT];
	loop_fn *listener;
	void *listener_arg;
};

/* At loading, in order. */
[[nodiscard]] bool events_load(struct registry *r, const char *json, size_t len, struct err *e);
/* Adds one as pending; about NULL: of no group. Returned pointer is valid until it is settled. */
struct event_item *events_add(struct registry *r, const struct group *about,
			      const struct group_event *event);
/* The oldest one beyond those to be kept, now LEAVING; NULL: none. */
struct event_item *events_take_oldest(struct registry *r);
/* A write has ended: its new events are ready or void, its leaving ones are gone or stay. */
void events_settle(struct registry *r, struct event_item *const *added, size_t nadded,
		   struct event_item *const *leaving, size_t nleaving, bool committed);
const char *event_json(const struct event_item *it);
void events_free(struct registry *r);
/* An event has told of this orphan (or there were too many to remember). */
bool events_told_of_orphan(const struct registry *r, struct id instance);

/* ---- write.c ---- */

struct write_record {
	const char *key;
	const char *value; /* NULL: delete */
	size_t len;
	enum store_expect expect;
	uint64_t revision;
};

enum { WRITE_RECORDS_MAX = 2 };

struct write_spec {
	const struct write_record *records;
	size_t nrecords;           /* 0: events alone */
	const struct group *about; /* the events' group; NULL: none */
	const struct group_event *events;
	size_t nevents;
};

/* revision means something when committed. Never STORE_UNKNOWN: it is read back. */
typedef void write_settled_fn(void *arg, enum store_outcome outcome, uint64_t revision,
			      const struct err *e);

/* Everything is copied. fn runs exactly once, never before this returns. */
void write_start(struct registry *r, const struct write_spec *s, write_settled_fn *fn, void *arg);

/* ---- commit.c ---- */

/* Is a new group of this name on its way to the store? */
bool commit_gives_name(const struct registry *r, const char *project, const char *name);

/* ---- registry.c ---- */

struct watcher {
	registry_watch_fn *fn;
	void *arg;
};

struct registry {
	struct loop *loop;
	struct store *store;
	const struct settings *settings;
	struct installation installation;
	bool loaded;
	int64_t started_ms, silent_after_ms;
	void (*opened)(void *arg, struct registry *r, const struct err *e);
	void *opened_arg;

	struct table groups, instances, names, projects;
	uint64_t last_shown;

	struct host_entry **hosts;
	size_t nhosts, hosts_cap;
	struct table host_names;
	struct placement *holds; /* addresses of instances not committed yet */
	size_t nholds, holds_cap;
	struct timer *sweep;
	struct id *orphans; /* told of already */
	size_t norphans, orphans_cap;

	struct event_ring events;
	size_t writing; /* under way */
	uint64_t writes[STORE_UNKNOWN + 1];
	LIST_HEAD(, commit) commits;        /* under way */
	uint64_t op_ends[OP_KIND_COUNT][2]; /* by kind; not done, done */

	struct watcher watchers[REGISTRY_WATCHERS];
	size_t nwatchers;
};

struct entry *entry_new(struct group *g); /* takes g; live and obs are empty */
void entry_free(struct entry *en);
/* Another record of the same group: live and obs go with their members. Takes g. */
void entry_show(struct entry *en, struct group *g);
/* What was seen of members that are in both: from the one they leave to the one they are in now. */
void entry_carry(struct entry *from, struct entry *to);
void registry_notify(struct registry *r, struct entry *en);
