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
#include "core/history.h"
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
	X(HANDOVER_STARTED, "handover.started", "a replica is to take over from the source") \
	X(HANDOVER_PHASE, "handover.phase", "a phase of a handover was left; figures say how long it took") \
	X(HANDOVER_REFUSED, "handover.refused", "a handover was not possible; nothing was changed") \
	X(HANDOVER_UNDOING, "handover.undoing", "a handover is taken back; the reason says why") \
	X(HANDOVER_UNDONE, "handover.undone", "the source serves again, with every setting as before") \
	X(HANDOVER_DONE, "handover.done", "the target serves and the others follow it")      \
	X(EJECT_STARTED, "eject.started", "the source is gone and is to be replaced")        \
	X(EJECT_PHASE, "eject.phase", "a phase of an eject was left; figures say how long it took") \
	X(EJECT_HELD, "eject.held", "nobody can be elected; the reason says why")            \
	X(EJECT_UNDONE, "eject.undone", "the source answers again and goes on")              \
	X(EJECT_DONE, "eject.done", "the winner serves and the others follow it")            \
	X(EJECT_CANDIDATE, "eject.candidate", "what an election knew of one replica")        \
	X(SOURCE_CHANGED, "source.changed", "committed: another instance is the source")     \
	X(SOURCE_EJECTED, "source.ejected", "the old source is fenced, in a group of its own") \
	X(SOURCE_FENCED, "source.fenced", "the source takes no writes for a moment")         \
	X(REPLICA_DETACHED, "replica.detached", "it left its group and has one of its own")  \
	X(DETACH_DONE, "detach.done", "a detached replica was seen as a source; or the reason says why not") \
	X(REPLICA_ADDED, "replica.added", "an instance joined the group as a replica")       \
	X(DURABILITY_CHANGED, "durability.changed", "how many replicas must hold a write")   \
	X(DURABILITY_SHORT, "durability.short", "a new source has too few replicas to take writes") \
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
	bool last_io_seen;         /* its link was up when we looked .. */
	int32_t last_io_s;         /* .. and this was its master_last_io_seconds_ago, the newest one */
	int64_t still_offset;      /* drain: the offset seen last .. */
	int64_t still_since_ms;    /* .. unchanged since then .. */
	uint64_t still_watch;      /* .. and asked for once more with this number; 0: not yet */
};

struct group_live {
	struct member_live *members; /* same order as g->members; moved along when one is removed */
	int64_t phase_since_ms;
	enum op_phase phase_seen;  /* the phase that phase_since_ms is about */
	uint64_t watch; /* number the agents of all members are to answer with; 0: no need */
	uint64_t compare_watch; /* restart: replicas' figures count from this number on; 0: not asked */
	uint64_t stream_watch; /* the source is to tell its stream's id with this number; 0: no need */
	bool watch_all; /* fresh offsets wanted all the time (a replica is about to attach) */
	/* Operations; see struct goal_live. */
	uint64_t op_watch;   /* what was seen counts from this number on; 0: not asked in this phase */
	bool urgent;
	int64_t peer_offset; /* handover: what the target has applied; -1: not known */
	/* Durability was raised: what the source had written by then; see group_durability.c. */
	uint64_t durability_watch; /* asked for with this number; 0: not asked */
	bool durability_sampled;
	struct history_position durability_at;
	struct history_position source_at; /* where the source was last seen; no replid: never */
	int64_t source_at_ms;              /* monotonic */
	bool phase_whole;      /* we saw the phase begin: phase_since_ms tells how long it takes */
	int64_t stage_offset;  /* handover: what the target had when it was first seen in this stage, .. */
	int64_t stage_ms;      /* .. and when; 0: not seen yet */
	int64_t fenced_ms;     /* handover: when the source was first seen fenced; 0: not yet .. */
	int64_t fenced_offset; /* .. and the highest offset it was seen at since */
	bool caught_up;        /* .. and the target was seen to have all of that */
	int64_t yielded_ms;    /* handover: when the source was first seen behind the target; 0: not yet */
	int64_t serving_ms;    /* when the new source was first seen as master; 0: not yet */
	int64_t unheard_ms;    /* since when its agent is silent and no replica linked to it; 0: not */
};

struct group_in {
	const struct observation *const *obs; /* per member, NULL: not heard */
	const bool *silent; /* per member: its agent has not been heard for longer than the limit */
	int64_t now_ms;      /* monotonic */
	int64_t wall_ms;
	uint64_t fresh_watch; /* an unused watch number, should one be needed; see watch_answers() */
	/* Somebody reads the figures: all members are asked with this number until then; 0: nobody. */
	uint64_t reader_watch;
	int64_t reader_until_ms;
	struct id fresh_id;   /* an unused id, should an operation begin */
	/* An unused id and an unused name in the project, should a member get a group of its own. */
	struct id fresh_group;
	const char *fresh_name;
	/* limits, ms, from the settings */
	int64_t start_limit_ms, sync_stall_limit_ms, compare_limit_ms;
	int64_t stage_limit_ms, catch_up_limit_ms, handover_limit_ms, tidy_limit_ms;
	int64_t drain_limit_ms, seal_limit_ms;
};

enum { GROUP_EVENTS_MAX = 16 };

struct group_out {
	bool changed; /* the record differs: commit it */
	bool gone;    /* no member is left: delete the record (implies changed) */
	struct group_event events[GROUP_EVENTS_MAX];
	size_t nevents;
	int64_t wake_ms; /* call again then, though nothing was observed; 0: no need */
	/*
	 * A member that left, as a group of its own: to be committed in the same transaction. Its
	 * strings are borrowed from g and in; its arrays are the two below.
	 */
	bool has_split;
	struct group split;
	struct member split_member;
	struct history_entry split_history[2];
	char outcome[320]; /* what g->last.reason may point to */
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

/*
 * Replica m leaves, and may be one of those k that hold a write: of those that stay fewer are known
 * to, until that is proven anew. For whoever takes a member out of a record; called before.
 */
void group_durability_leaves(struct group *g, const struct member *m);

/* What a row of the table of phases says; the whole table is public so that tests can walk it. */
struct phase_row {
	enum op_phase phase;
	enum op_kind op;
	const char *leaves_when;
	int64_t limit_ms; /* the default of its setting; 0: a human or news ends it */
	enum op_phase next[4]; /* PHASE_NONE: the operation ends */
	size_t nnext;
	const char *why; /* what it is for: manual and API show it */
};
extern const struct phase_row phase_rows[];
extern const size_t nphase_rows;

/* What m's agent is told beside its goal. */
struct goal_live group_live_of(const struct group *g, const struct group_live *live,
			       const struct member *m);

/*
 * Watch numbers: the upper 32 bits are drawn at the control plane's start, the lower ones count
 * within its life. So an answer to an earlier life is none to this one, whatever the clocks say.
 */
bool watch_answers(uint64_t answered, uint64_t asked);

/* Has this replica everything the source had when its link was seen up? (DESIGN.md 5) */
bool replica_attached(const struct observation *replica, const struct observation *source,
		      const struct member_live *live);
