/*
 * The control plane: the groups' records in a store whose commits are slow, fail, or leave it
 * unknown whether they happened; memory that shows a record only once it is committed; what agents
 * told it, which is lost with it. It decides with the real group_step() and operate_*().
 *
 * sim_store.c has records and commits, sim_plane.c the steps and what goes to the agents,
 * sim_calls.c what the operator may ask for.
 */
#pragma once

#include "core/group.h"
#include "sim_agent.h"

/* Every node may be in a group of its own; one place more for a group that is about to begin. */
enum { SIM_GROUPS = SIM_NODES + 1 };

struct record {
	bool there;
	uint16_t serial; /* which group: places are used again */
	struct group g;
	struct member members[SIM_NODES + 1];
	struct history_entry history[MODEL_HISTORY_MAX + 1];
	char reason[320]; /* of g.last */
};

/* What is to happen when a commit is known to be done. */
enum purpose {
	FOR_STEP,
	FOR_CREATE,
	FOR_REPLICA,
	FOR_DELETE,
	FOR_ACCEPT,
	FOR_OPERATION, /* promote, eject, cancel, durability */
	FOR_DETACH,
	FOR_ATTACH,
};

struct change {
	int slot;
	bool drops;
	struct record next;
};

/* One transaction: of one record, or of two that must not come apart. */
struct commit {
	bool under_way;
	bool events_only;
	struct change changes[2];
	size_t nchanges;
	struct group_live live; /* FOR_STEP: of the first */
	struct member_live live_members[SIM_NODES + 1];
	struct observation decided_on[SIM_NODES]; /* FOR_STEP: what was known of whom .. */
	bool heard[SIM_NODES];                    /* .. was heard, and is not silent */
	struct group_event events[GROUP_EVENTS_MAX];
	size_t nevents;
	enum purpose purpose;
	int about;         /* node */
	int64_t apply_ms;  /* it reaches the store, or fails */
	int64_t answer_ms; /* and we know; later when it has to be read back */
	bool fails, applied;
};

/* A group as the control plane shows it. */
struct shown {
	struct record r;
	struct group_live live;
	struct member_live live_members[SIM_NODES + 1];
	int64_t wake_ms, publish_ms;
	bool dirty;
};

struct plane {
	bool up;
	int64_t up_ms; /* when down: it starts then */
	int64_t started_ms;
	struct shown groups[SIM_GROUPS];
	bool has[SIM_NODES];
	struct seen seen[SIM_NODES];
	uint64_t node_seq[SIM_NODES];
	uint64_t session[SIM_HOSTS]; /* numbers that grow with every start of that agent */
	uint64_t run;                /* which process of the control plane this is */
	int64_t heard_ms[SIM_HOSTS]; /* 0: not since its start */
	uint64_t next_watch;
	struct commit commit;
	unsigned failures;
	int64_t retry_ms;
};

struct store {
	struct record records[SIM_GROUPS];
	uint64_t commits; /* number of the newest */
	uint16_t serials;
	int64_t trouble_until_ms; /* commits are slow or fail until then */
};

/* sim_store.c */
void record_copy(struct record *to, const struct record *from);
int record_node(const struct record *r, size_t i);
/* NULL: no member of this record is this node. */
const struct member *record_member(const struct record *r, int node);
/* Its group in the store, and in memory; SIM_NOBODY: in none. */
int store_slot_of(const struct world *w, int node);
int plane_slot_of(const struct world *w, int node);
/* A place that no group has, in store or memory. */
int store_free_slot(const struct world *w);
void commit_begin(struct world *w, enum purpose purpose, int about);
void commit_tick(struct world *w);
/* It was on its way when the control plane died. */
void commit_orphan(struct world *w);

/* sim_plane.c */
void plane_start(struct world *w);
void plane_die(struct world *w);
void plane_tick(struct world *w);
int64_t plane_wake(const struct world *w);
bool plane_is_silent(const struct world *w, int host);
/* The epoch that it would tell this node's agent now; 0: unknown. */
uint64_t plane_epoch_of(const struct world *w, int node);
/* A report of host's agent about a node (SIM_NOBODY: a mere heartbeat). */
void plane_take_report(struct world *w, int host, int node, uint64_t session, uint64_t seq,
		       const struct seen *seen);

/* sim_calls.c: the operator's calls; false when refused now. */
bool plane_create_group(struct world *w);
bool plane_create_replica(struct world *w, int node);
bool plane_delete(struct world *w, int node);
bool plane_delete_group(struct world *w, int node);
bool plane_accept_loss(struct world *w, int node);
bool plane_promote(struct world *w, int node);
bool plane_eject(struct world *w, int node, bool accept_data_loss);
bool plane_cancel(struct world *w, int node);
bool plane_detach(struct world *w, int node);
bool plane_attach(struct world *w, int node, int to);
bool plane_durability(struct world *w, int node, uint32_t k);
