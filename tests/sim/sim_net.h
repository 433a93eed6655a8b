/*
 * Messages between agents and control plane: late, lost, repeated, overtaken by others; nothing
 * passes where the network is cut. Replication links ask sim_net only whether they are cut.
 */
#pragma once

#include "sim_agent.h"

enum message_kind { MESSAGE_REPORT, MESSAGE_GOAL };

struct message {
	bool used;
	enum message_kind kind;
	int host, node; /* node SIM_NOBODY: a heartbeat */
	int64_t due_ms;
	uint64_t session, seq;
	uint64_t plane; /* the run of the control plane it is for, or from */
	union {
		struct seen seen;
		struct {
			struct goal goal;
			struct goal_live live;
		} order;
	};
};

enum { MESSAGES_MAX = 256 };

struct net {
	bool cut[SIM_PARTIES][SIM_PARTIES];
	int64_t cut_until_ms[SIM_PARTIES][SIM_PARTIES], cut_since_ms[SIM_PARTIES][SIM_PARTIES];
	unsigned lose_one_in, repeat_one_in; /* 0: never */
	int64_t latest_ms;                   /* most that a message takes */
	struct message messages[MESSAGES_MAX];
	int most; /* messages[most..] are unused */
	int64_t wake_ms;
};

/* A copy of *m is on its way from now on. */
void net_send(struct world *w, const struct message *m);
void net_tick(struct world *w);
bool net_is_cut(const struct world *w, int a, int b);
void net_cut(struct world *w, int a, int b, int64_t until_ms);
void net_heal(struct world *w);
