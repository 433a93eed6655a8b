/*
 * All there is of one history. Its strings (names, addresses) live here as long as it does, so
 * records and goals are copied freely.
 */
#pragma once

#include "sim_net.h"
#include "sim_plane.h"

/* What an agent sent to its server. */
struct order {
	enum instance_act act; /* ACT_NONE: nothing */
	uint64_t run_no;
	int upstream;
	uint32_t min_slaves, max_lag_s;
	bool fenced; /* min-slaves-to-write is its fence: only UNFENCE may lower it */
};

struct node {
	char name[8], address[16], host[8];
	struct id id;
	bool created;   /* has been a member */
	bool forgotten; /* its deletion is committed */
	struct server server;
	struct files files;
	struct agent_files kept;
	struct engine engine;
	struct order queued; /* lies in the socket of a server that stands still */
	bool adrift;         /* lost power beside its source, and was not linked since */
	int64_t start_fails_until_ms;
	int64_t continue_ms; /* a stopped server goes on then */
	int64_t cut_off_ms;  /* ejected, with durability: from then on it takes no writes; 0: any */
	uint64_t cut_off_run;
};

struct host {
	bool up;
	int64_t up_ms; /* when down: it has power again then */
	uint64_t boot;
	int64_t shutdown_ms; /* a clean shutdown ends then at the latest; 0: none */
	struct agent agent;
};

/* What clients were told, less what no product could keep (ledger.c). */
enum { LEDGER_WRITES_MAX = 4096 };

enum told { TOLD_NOTHING, TOLD_WRITTEN, TOLD_FORGIVEN };

/* What is remembered of a group's change of source, for the checks of its end. */
struct op_ledger {
	int64_t handover_ms; /* one was begun then */
	int64_t drain_ms;    /* the drain of an eject was committed then */
	bool drained_short;  /* .. and left before its limit */
	bool was_handover;   /* an election nobody asked for: nothing may be lost by it .. */
	struct data handed;  /* .. that was told before the commit */
};

struct ledger {
	uint32_t next;
	uint8_t told[LEDGER_WRITES_MAX];   /* enum told, per write */
	uint8_t waited[LEDGER_WRITES_MAX]; /* replicas that had it when its client was told */
	uint16_t of[LEDGER_WRITES_MAX];    /* the group it was told by: its record's serial */
	struct data must[SIM_GROUPS]; /* per key the newest that was told and is not forgiven */
	struct op_ledger ops[SIM_GROUPS];
	struct data linked[SIM_NODES]; /* `must` when the control plane saw the link come up */
	uint64_t goal_epoch[SIM_NODES], goal_revision[SIM_NODES]; /* durable at the agent */
	bool changed; /* something was lost or changed somewhere: look again */
};

enum { SIM_CLIENTS = 5 };

/* A connection to a server, and the write under way on it. */
struct client {
	int node; /* SIM_NOBODY: none */
	uint64_t run_no;
	int64_t next_ms;
	bool held;      /* by a pause */
	uint32_t write; /* WAIT: that it asks about; 0: none */
	int64_t offset, give_up_ms;
	unsigned k;
};

struct chaos {
	int64_t next_ms, end_ms;
	bool calm;
	int64_t operator_ms;
	int64_t pause_most_ms; /* between two misfortunes */
	int eject;             /* a source that the operator wants out; SIM_NOBODY: none */
	int64_t eject_until_ms, eject_kill_ms;
};

struct world {
	int64_t now_ms;
	uint64_t random, ticks;
	uint64_t fresh; /* number of the newest id */
	struct id installation;
	bool telling, quiet; /* quiet: a script, without control plane and checks */
	char group_names[SIM_GROUPS][8];
	struct node nodes[SIM_NODES];
	struct host hosts[SIM_HOSTS];
	struct plane plane;
	struct store store;
	struct net net;
	struct ledger ledger;
	struct client clients[SIM_CLIENTS];
	struct chaos chaos;
	uint64_t backlog_entries;
	bool diskless;
	struct sim_result result;
};

/* sim.c */
void world_init(struct world *w, const struct sim_options *o);
/* Time goes on to what happens next, or to until_ms. */
void world_tick(struct world *w);

/* chaos.c: what goes wrong, and the operator. */
void chaos_init(struct world *w, int64_t chaos_ms);
void chaos_tick(struct world *w);
int64_t chaos_wake(const struct world *w);

/* clients.c */
void clients_tick(struct world *w);
int64_t clients_wake(const struct world *w);
/* CLIENT KILL: their connections to this node end. */
void clients_drop(struct world *w, int node);
void clients_stop(struct world *w);

/* ledger.c */

/* Is this node one that may not lose anything: the source, or a replica that was attached? */
bool ledger_counts(const struct world *w, int node);
/* What was told of the group of this serial, as far as a server with these data has it. */
struct data ledger_due(const struct ledger *l, uint16_t serial, struct data d);
struct data ledger_held(const struct world *w, int slot);
/* A client of `node` is told that n is written, with k replicas. */
void ledger_tell(struct world *w, int node, uint32_t n, unsigned k);
/* What is nowhere any more is nobody's fault: power, a lost disk, the operator's order. */
void ledger_forgive(struct world *w);
void ledger_lose_power(struct world *w, int host);
void ledger_forgive_behind(struct world *w, int slot, const struct data *held);
void ledger_accept_loss(struct world *w, int source);

/* invariants.c */
void check_tick(struct world *w);
void check_end(struct world *w);
/* Everything is ACTIVE or in ERROR with a reason. */
bool check_settled(const struct world *w, char *why, size_t size);
/* No change of a source runs any more, unless it waits for a human. */
void check_operations_ended(struct world *w);

/* events.c: checks at what happens */

/* Before `node` asks `source` for a copy, and before it loads it over its own data. */
void check_full_sync_begins(struct world *w, int node, int source);
void check_full_sync(struct world *w, int node, int source, const struct data *copy);
/* Before a replica follows somebody else, or nobody: what lies unread is gone then. */
void check_thrown_away(struct world *w, int node);
/* Before an agent's command to a running server. */
void check_command(struct world *w, int node);
void check_goal_saved(struct world *w, int node, const struct goal *g);
void check_link_seen(struct world *w, int node);
void check_attached(struct world *w, int node, const struct seen *seen);
void check_started(struct world *w, int node);
/* A record was committed; and all of a transaction were. */
void check_change(struct world *w, int slot, const struct record *before);
void check_members(struct world *w);
