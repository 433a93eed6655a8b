/*
 * group_step(): the control plane's next step for one group. Looks at the record, the newest
 * observations and the time; changes the record in place and says what happened. The caller
 * commits the changed record together with the events (there may be events without a change),
 * then publishes the goals that follow from it. Nothing here knows of stores, agents or clocks.
 */
#pragma once

#include "base/err.h"
#include "core/goal.h"
#include "core/guard.h"
#include "core/model.h"
#include "core/observation.h"

/* X(NAME, "noun.verb-past", "meaning") : the kinds of events; man page and metrics read it too. */
#define EVENT_KINDS(X)                                                                      \
	X(GROUP_CREATED, "group.created", "a group was recorded")                           \
	X(GROUP_DELETED, "group.deleted", "its last instance is gone")                      \
	X(INSTANCE_CREATED, "instance.created", "an instance was recorded")                 \
	X(INSTANCE_STARTED, "instance.started", "its server runs with the goal applied")    \
	X(INSTANCE_SYNCING, "instance.syncing", "its first copy of the source began")       \
	X(INSTANCE_ATTACHED, "instance.attached", "a replica holds its source's data")      \
	X(INSTANCE_DOWN, "instance.down", "its server is gone or hangs")                    \
	X(INSTANCE_RETURNED, "instance.returned", "its server is back in its role")         \
	X(INSTANCE_FAILED, "instance.failed", "it is in ERROR; the reason says why")        \
	X(INSTANCE_DELETING, "instance.deleting", "it was told to go")                      \
	X(INSTANCE_DELETED, "instance.deleted", "process and files are gone")               \
	X(INSTANCE_RENAMED, "instance.renamed", "a new name")                               \
	X(SOURCE_COMPARING, "source.comparing", "a restarted source is compared with its replicas") \
	X(SOURCE_HELD, "source.held", "a restarted source may lack data: not started")      \
	X(SOURCE_CONFIRMED, "source.confirmed", "a restarted source goes on")               \
	X(SOURCE_ACCEPTED, "source.accepted", "the operator accepted a loss of data")       \
	X(EPOCH_STARTED, "epoch.started", "a new entry of the canonical history")           \
	X(STORE_OLDER, "store.older", "a host has seen a higher epoch than the store")      \
	X(STORE_ADOPTED, "store.adopted", "the operator took the hosts' word over the store's") \
	X(HOST_JOINED, "host.joined", "an agent reported for the first time")               \
	X(ORPHAN_FOUND, "orphan.found", "a host runs an instance that the store does not know")

#define EVENT_KIND_ENUM(name, text, meaning) EVENT_##name,
enum event_kind { EVENT_KINDS(EVENT_KIND_ENUM) EVENT_KIND_COUNT };
#undef EVENT_KIND_ENUM

const char *event_kind_name(enum event_kind k);
[[nodiscard]] bool event_kind_parse(const char *s, enum event_kind *ret);

struct group_event {
	enum event_kind kind;
	struct id instance; /* zero: about the group */
	uint64_t epoch;
	char reason[320]; /* one sentence */
	char figures[240]; /* "name=value name=value": what it was decided on; "" when nothing */
};

/*
 * What the control plane remembers of a member between two steps, beside record and observation.
 * In memory only and the caller's; zero at the control plane's start and for a new member.
 */
struct member_live {
	int64_t state_since_ms;    /* monotonic: entered, or first seen, its state */
	enum member_state state_seen; /* the state that state_since_ms is about */
	bool was_down;             /* an event has said that its server is gone */
	int64_t progress_ms;       /* last time the first copy moved */
	int64_t progress_bytes;
	uint64_t sample_watch;     /* source offset asked for with this watch number; 0: not asked */
	bool sampled;
	int64_t sample_offset;     /* the source's offset, sampled after this member's link came up */
	struct replid sample_replid;
};

struct group_live {
	struct member_live *members; /* same order as g->members; moved along when one is removed */
	int64_t phase_since_ms;
	enum op_phase phase_seen;  /* the phase that phase_since_ms is about */
	uint64_t watch; /* number the agents of all members are to answer with; 0: no need */
	uint64_t compare_watch; /* restart: replicas' figures count from this number on; 0: not asked */
	bool watch_all; /* fresh offsets wanted all the time (a replica is about to attach) */
};

struct group_in {
	const struct observation *const *obs; /* per member, NULL: not heard */
	const bool *silent; /* per member: its agent has not been heard for longer than the limit */
	int64_t now_ms;      /* monotonic */
	int64_t wall_ms;
	uint64_t fresh_watch; /* an unused watch number, should one be needed; see watch_answers() */
	struct id fresh_id;   /* an unused id, should an operation begin */
	/* limits, ms, from the settings */
	int64_t start_limit_ms, sync_stall_limit_ms, compare_limit_ms;
};

enum { GROUP_EVENTS_MAX = 16 };

struct group_out {
	bool changed; /* the record differs: commit it */
	bool gone;    /* no member is left: delete the record (implies changed) */
	struct group_event events[GROUP_EVENTS_MAX];
	size_t nevents;
	int64_t wake_ms; /* call again then, though nothing was observed; 0: no need */
};

/*
 * One step. g's members and history arrays belong to the caller and have room for what is there
 * plus one more history entry; strings are borrowed. A member may be removed: g->nmembers falls,
 * and live follows. One call makes one change at most: call again after the commit of a change or
 * of events. live is changed also when the record is not.
 */
void group_step(struct group *g, struct group_live *live, const struct group_in *in,
		struct group_out *out);

/*
 * The operator's word that the hosts are right and the store is not: g's epoch gets above every one
 * that they have seen, and the run that serves as the source becomes the record's, with an entry of
 * the history. heard: per member its newest observation, NULL when its agent is silent. The caller
 * commits g with *ret_event; group_step() then clears the faults. ERR_UNPROCESSABLE, and g as it
 * was: the store is not older, or a member that may know more is not heard.
 */
[[nodiscard]] bool group_adopt(struct group *g, const struct observation *const *heard,
			       struct group_event *ret_event, struct err *e);

/* Its host has carried out a goal of the group that the record does not know. o may be NULL. */
bool store_is_older(const struct group *g, const struct observation *o);

/* A new reign of g's source, at g's epoch. Drops the oldest entry when there are too many. */
void history_push(struct group *g, const struct replid *replid, int64_t start);

/* What a row of the table of phases says; the whole table is public so that tests can walk it. */
struct phase_row {
	enum op_phase phase;
	enum op_kind op;
	const char *leaves_when;
	int64_t limit_ms; /* the default of its setting; 0: a human or news ends it */
	enum op_phase next[3]; /* PHASE_NONE: the operation ends */
	size_t nnext;
	const char *why; /* what it is for: manual and API show it */
};
extern const struct phase_row phase_rows[];
extern const size_t nphase_rows;

/*
 * Watch numbers: the upper 32 bits are drawn at the control plane's start, the lower ones count
 * within its life. So an answer to an earlier life is none to this one, whatever the clocks say.
 */
bool watch_answers(uint64_t answered, uint64_t asked);

/* Has this replica everything the source had when its link was seen up? (DESIGN.md 5) */
bool replica_attached(const struct observation *replica, const struct observation *source,
		      const struct member_live *live);
