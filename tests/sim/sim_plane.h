/*
 * The control plane: the group's record in a store whose commits are slow, fail, or leave it
 * unknown whether they happened; memory that shows a record only once it is committed; what agents
 * told it, which is lost with it. It decides with the real group_step().
 */
#pragma once

#include "core/group.h"
#include "sim_agent.h"

struct record {
	bool there;
	struct group g;
	struct member members[SIM_NODES + 1];
	struct history_entry history[MODEL_HISTORY_MAX + 1];
};

enum outcome { COMMIT_DONE, COMMIT_FAILED, COMMIT_CONFLICT };

/* What is to happen when a commit is known to be done. */
enum purpose { FOR_STEP, FOR_CREATE, FOR_REPLICA, FOR_DELETE, FOR_ACCEPT };

struct commit {
	bool under_way;
	bool events_only, drops;
	struct record next;
	struct group_live live;
	struct member_live live_members[SIM_NODES + 1];
	struct group_event events[GROUP_EVENTS_MAX];
	size_t nevents;
	enum purpose purpose;
	int about;         /* node */
	int64_t apply_ms;  /* it reaches the store, or fails */
	int64_t answer_ms; /* and we know; later when it has to be read back */
	bool fails, applied;
};

struct plane {
	bool up;
	int64_t up_ms; /* when down: it starts then */
	int64_t started_ms;
	struct record shown;
	struct group_live live;
	struct member_live live_members[SIM_NODES + 1];
	bool has[SIM_NODES];
	struct seen seen[SIM_NODES];
	uint64_t node_seq[SIM_NODES];
	uint64_t session[SIM_HOSTS]; /* numbers that grow with every start of that agent */
	uint64_t run;                /* which process of the control plane this is */
	int64_t heard_ms[SIM_HOSTS]; /* 0: not since its start */
	uint64_t next_watch;
	struct commit commit;
	unsigned failures;
	int64_t retry_ms, wake_ms, publish_ms;
	bool dirty;
};

struct store {
	struct record record;
	uint64_t commits;         /* number of the newest */
	int64_t trouble_until_ms; /* commits are slow or fail until then */
};

void plane_start(struct world *w);
void plane_die(struct world *w);
void plane_tick(struct world *w);
int64_t plane_wake(const struct world *w);
/* A report of host's agent about a node (SIM_NOBODY: a mere heartbeat). */
void plane_take_report(struct world *w, int host, int node, uint64_t session, uint64_t seq,
		       const struct seen *seen);

/* The operator's calls; false when refused now. */
bool plane_create_group(struct world *w);
bool plane_create_replica(struct world *w);
bool plane_delete(struct world *w, int node);
bool plane_accept_loss(struct world *w, int node);

int record_node(const struct record *r, size_t i);
/* NULL: no member of this record is this node. */
const struct member *record_member(const struct record *r, int node);
