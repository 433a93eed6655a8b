/*
 * All there is of one history. Its strings (names, addresses) live here as long as it does, so
 * records and goals are copied freely.
 */
#pragma once

#include "sim_net.h"
#include "sim_plane.h"

struct node {
	char name[8], address[16], host[8];
	struct id id;
	bool created;   /* has been a member */
	bool forgotten; /* its deletion is committed */
	struct server server;
	struct files files;
	struct agent_files kept;
	struct engine engine;
	int64_t start_fails_until_ms;
	int64_t continue_ms; /* a stopped server goes on then */
};

struct host {
	bool up;
	int64_t up_ms; /* when down: it has power again then */
	uint64_t boot;
	int64_t shutdown_ms; /* a clean shutdown ends then at the latest; 0: none */
	struct agent agent;
};

/* What clients were told, less what no product could keep (invariants.c). */
enum { LEDGER_WRITES_MAX = 4096 };

enum told { TOLD_NOTHING, TOLD_WRITTEN, TOLD_FORGIVEN };

struct ledger {
	uint32_t next;
	uint8_t told[LEDGER_WRITES_MAX]; /* enum told, per write */
	struct data must;                /* per key the newest that was told and is not forgiven */
	int64_t write_ms;
	struct data linked[SIM_NODES]; /* `must` when the control plane saw the link come up */
	uint64_t goal_epoch[SIM_NODES], goal_revision[SIM_NODES]; /* durable at the agent */
	bool changed; /* something was lost or changed somewhere: look again */
};

struct chaos {
	int64_t next_ms, end_ms;
	bool calm;
	int64_t operator_ms;
};

struct world {
	int64_t now_ms;
	uint64_t random, ticks;
	uint64_t fresh; /* number of the newest id */
	struct id installation, group;
	bool telling;
	struct node nodes[SIM_NODES];
	struct host hosts[SIM_HOSTS];
	struct plane plane;
	struct store store;
	struct net net;
	struct ledger ledger;
	struct chaos chaos;
	uint64_t backlog_entries;
	bool diskless;
	struct sim_result result;
};

/* chaos.c: what goes wrong, and the operator. */
void chaos_init(struct world *w, int64_t chaos_ms);
void chaos_tick(struct world *w);
int64_t chaos_wake(const struct world *w);
void host_lose_power(struct world *w, int host, int64_t until_ms);

/* invariants.c */
void client_tick(struct world *w);
void check_tick(struct world *w);
void check_end(struct world *w);
/* Everything is ACTIVE or in ERROR with a reason. */
bool check_settled(const struct world *w, char *why, size_t size);
/* What is nowhere any more is nobody's fault: power, a lost disk, the operator's order. */
void ledger_forgive(struct world *w);
void ledger_accept_loss(struct world *w, int source);
/* Before `node` loads `copy` over its own data, from the run `source_run` of `source`. */
void check_full_sync(struct world *w, int node, int source, const struct data *copy);
void check_goal_saved(struct world *w, int node, const struct goal *g);
void check_link_seen(struct world *w, int node);
void check_attached(struct world *w, int node, const struct seen *seen);
void check_started(struct world *w, int node);
