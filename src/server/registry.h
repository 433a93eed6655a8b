/*
 * The registry: every record and every observation in memory, and the only writer of the store.
 * What it shows is what is committed: a change is asked for, and seen once it is durable.
 *
 * One commit per group is under way at any time. API calls that change something hold their
 * project's turn (registry_turn_begin), so that quotas and names are checked against what is
 * committed; the reconciler waits for a group's commit to end by itself.
 */
#pragma once

#include "core/group.h"
#include "core/place.h"
#include "io/loop.h"
#include "io/settings.h"
#include "io/store.h"
#include "proto/record.h"
#include "proto/wire.h"

struct registry;

/* A group in memory. Read-only for everybody but the registry and the reconciler. */
struct entry {
	struct group *g;          /* as committed; replaced by every commit */
	struct group_live live;   /* per member, same order as g->members */
	struct observation **obs; /* per member; NULL: not heard. Never of a dead session */
	int64_t *seen_ms;         /* per member, monotonic: when obs was last told; 0: never */
	bool committing;          /* a commit of this group is under way */
	bool gone;                /* the record was removed: forget the entry, it is freed next */
	/*
	 * Which change of memory brought g: grows over all groups in the order in which they were
	 * shown, which after an unknown outcome need not be the order of revisions.
	 */
	uint64_t shown;
	struct reconcile_state *reconcile; /* reconcile.c's own; NULL until it is first looked at */
	/* private to the registry */
	struct project *project;
	struct waiting *idle, **idle_last; /* registry_when_idle() */
};

/* An instance, found. Valid until the loop's next turn. */
struct instance_ref {
	struct entry *entry;
	size_t index; /* of the member in entry->g->members and entry->obs */
	const struct group *g;
	const struct member *m;
	const struct observation *o;        /* NULL: not heard */
	const struct observation *source_o; /* of the group's source; NULL: not heard */
	bool silent; /* its agent has not been heard for longer than agent.silent_after */
};

/* A host in memory. */
struct reg_host {
	struct host h;     /* as committed (host/<name>) */
	struct id session; /* of the agent now reporting; zero: none since our start */
	int64_t heard_ms;  /* monotonic; 0: never */
	uint64_t seq;
};

/*
 * Loads everything from s, creating the installation's record in an empty store. done() gets
 * ERR_NONE, or why it refused (damaged, newer) with r NULL. s and settings are borrowed until
 * registry_free().
 */
void registry_open(struct loop *l, struct store *s, const struct settings *settings,
		   void (*done)(void *arg, struct registry *r, const struct err *e), void *arg);
void registry_free(struct registry *r); /* not while registry_busy(); NULL is fine */

struct id registry_installation(const struct registry *r);
const struct settings *registry_settings(const struct registry *r);
struct loop *registry_loop(const struct registry *r);
bool registry_leads(const struct registry *r);     /* it may write: the store leads */
uint64_t registry_shown(const struct registry *r); /* the highest entry->shown so far; at least 1 */

/* Finding. project NULL: any. false: no such instance there. */
bool registry_find(const struct registry *r, const char *project, struct id id,
		   struct instance_ref *ret);
struct entry *registry_group(const struct registry *r, struct id group);
bool registry_group_by_name(const struct registry *r, const char *project, const char *name,
			    struct entry **ret);

/*
 * Instances of a project in order of creation, then id. after zero: from the first. Writes at most
 * max refs and returns how many; *ret_more: there are others behind. Cost: log n + max, whatever
 * the project's size. false through *ret_known: `after` is no instance of the project (it may be
 * deleted by now): the page starts where it would have stood is not known, so the caller refuses.
 */
size_t registry_page(const struct registry *r, const char *project, struct id after,
		     struct instance_ref *ret, size_t max, bool *ret_more, bool *ret_known);

/* Every group, in no order, until fn returns false. */
void registry_each(const struct registry *r, bool (*fn)(void *arg, struct entry *en), void *arg);

/* What counts against quotas. */
struct project_usage {
	uint64_t instances, volume_gb, ram_mb;
};
struct project_usage registry_usage(const struct registry *r, const char *project);

/* Hosts: those whose record is committed, at most so many. */
enum { REGISTRY_HOSTS_MAX = 4096 };
const struct reg_host *registry_host(const struct registry *r, const char *name);
const struct reg_host *registry_host_by_id(const struct registry *r, struct id id);
size_t registry_hosts(const struct registry *r, const struct reg_host **ret, size_t max);
bool registry_host_silent(const struct registry *r, const char *name);

/* Groups with a member on this host, in no order, until fn returns false. */
void registry_each_on_host(const struct registry *r, const char *name,
			   bool (*fn)(void *arg, struct entry *en), void *arg);

/* Where an instance is to live: held until registry_release() or the commit of its record. */
struct placement {
	char host[64];
	char address[16];
	uint16_t port;
	int64_t memory, disk; /* bytes promised to it */
};

/* What is to be placed, and beside whom. */
struct placement_wish {
	const char *datastore, *version; /* version: exact */
	const char *flavor;              /* NULL, or not known: no memory is promised */
	uint32_t volume_gb;
	enum place_locality locality;
	const struct group *group;     /* that it joins; NULL: a new one */
	const struct placement *placed; /* members of it that are placed and not committed */
	size_t nplaced;
};

/* A host by core/place.h, and a free address there. ERR_UNPROCESSABLE says what is short. */
[[nodiscard]] bool registry_place(struct registry *r, const struct placement_wish *w,
				  struct placement *ret, struct err *e);
void registry_release(struct registry *r, const struct placement *p);

/* Bytes of memory and disk that a host has promised to instances. */
void registry_promised(const struct registry *r, const char *host, int64_t *ret_memory,
		       int64_t *ret_disk);

/*
 * The turn of a project: fn(arg) runs when no other change of this project is under way (never
 * before this returns); hold it over one commit, then registry_turn_end().
 */
void registry_turn_begin(struct registry *r, const char *project, loop_fn *fn, void *arg);
void registry_turn_end(struct registry *r, const char *project);

/*
 * fn(arg) when no commit of this group is under way, never before this returns; the group may be
 * gone then.
 */
void registry_when_idle(struct registry *r, struct id group, loop_fn *fn, void *arg);

/*
 * Commits a group's record with the events of the change, in one transaction. en NULL: a new
 * group; next NULL: the record is removed. next and the events are copied. Asserts that no commit
 * of the group is under way. done() runs once memory shows it (STORE_COMMITTED) or nothing has
 * changed; STORE_UNKNOWN never reaches the caller: it is read back first.
 */
typedef void registry_done_fn(void *arg, enum store_outcome outcome, const struct err *e);
void registry_commit(struct registry *r, struct entry *en, const struct group *next,
		     const struct group_event *events, size_t nevents, registry_done_fn *done,
		     void *arg);

/*
 * The same for two groups in one transaction, both or neither: a member moves from one to the
 * other. The events are about the first. done() runs once.
 */
struct registry_change {
	struct entry *en;         /* NULL: a new group */
	const struct group *next; /* NULL: the record is removed */
};
void registry_commit_pair(struct registry *r, const struct registry_change changes[2],
			  const struct group_event *events, size_t nevents, registry_done_fn *done,
			  void *arg);

/*
 * A name for a new group that no group of the project has and none under way to the store will
 * have: `wish`, or wish-2, ... Commit it before the loop's next turn; from then on it is taken.
 */
const char *registry_free_name(const struct registry *r, const char *project, const char *wish,
			       struct arena *a);

/* The same for events alone: the record, and so its revision, stays as it is. */
void registry_commit_events(struct registry *r, struct entry *en, const struct group_event *events,
			    size_t nevents, registry_done_fn *done, void *arg);

/* Something is on its way to the store: wait for it before registry_free(). */
bool registry_busy(const struct registry *r);

/* Ends of writes so far, by outcome, for metrics; unknown ones count when they are found out. */
uint64_t registry_write_count(const struct registry *r, enum store_outcome outcome);
/* Operations that users asked for and that ended since our start. */
uint64_t registry_operation_count(const struct registry *r, enum op_kind kind, bool done);

/* Events of no group (host.joined, ...). Committed; nobody waits. */
void registry_event(struct registry *r, const struct group_event *event);

/* Passes all crash points of phases and states: after crash_list() that prints them. */
void registry_crash_points(void);

/*
 * Events with a number above `after`, oldest first, at most max; of one project, or all (NULL).
 * Each is the JSON of its record (proto/record.h), borrowed until the loop's next turn. They are
 * shown in the order of their numbers: whoever has seen N never finds an older one later.
 */
struct event_text {
	uint64_t seq;
	const char *json;
	size_t len;
};
enum event_scope { EVENTS_OF_PROJECT, EVENTS_AND_HOSTS }; /* HOSTS: those of no group as well */
size_t registry_events(const struct registry *r, const char *project, enum event_scope scope,
		       uint64_t after, struct event_text *ret, size_t max);
uint64_t registry_last_event(const struct registry *r);

/* fn(arg) when there are new events to see. One listener. */
void registry_on_event(struct registry *r, loop_fn *fn, void *arg);
/* Totals by kind since the installation's start of this process, for metrics. */
uint64_t registry_event_count(const struct registry *r, enum event_kind k);

/*
 * fn(arg, en) after each end of a commit (en->gone: for the last time), each change of an
 * observation, and when a member's host falls silent or is heard again. At most REGISTRY_WATCHERS.
 */
enum { REGISTRY_WATCHERS = 4 };
typedef void registry_watch_fn(void *arg, struct entry *en);
void registry_on_change(struct registry *r, registry_watch_fn *fn, void *arg);

/* A report of an agent (api_agent.c checked who sends it). Fills *ret. */
[[nodiscard]] bool registry_report(struct registry *r, const struct wire_report *report,
				   struct wire_report_answer *ret, struct err *e);
