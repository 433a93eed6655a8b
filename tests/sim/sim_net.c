/*
 * Messages lie in a small table until they are due; most come in order, some much later.
 */
#include "sim_net.h"

#include "world.h"

bool net_is_cut(const struct world *w, int a, int b)
{
	return a != b && w->net.cut[a][b];
}

void net_cut(struct world *w, int a, int b, int64_t until_ms)
{
	if (!w->net.cut[a][b]) {
		w->net.cut_since_ms[a][b] = w->net.cut_since_ms[b][a] = w->now_ms;
	}
	w->net.cut[a][b] = w->net.cut[b][a] = true;
	w->net.cut_until_ms[a][b] = w->net.cut_until_ms[b][a] = until_ms;
	if (w->net.wake_ms > until_ms) {
		w->net.wake_ms = until_ms;
	}
}

void net_heal(struct world *w)
{
	memset(w->net.cut, 0, sizeof w->net.cut);
	w->net.lose_one_in = w->net.repeat_one_in = 0;
	w->net.latest_ms = 10;
}

static struct message *free_place(struct net *n)
{
	for (int i = 0; i < MESSAGES_MAX; i++) {
		if (!n->messages[i].used) {
			n->most = i >= n->most ? i + 1 : n->most;
			return &n->messages[i];
		}
	}
	return NULL; /* so much is on its way that this one is lost */
}

static void put(struct world *w, const struct message *m)
{
	struct message *place = free_place(&w->net);
	int64_t most = sim_one_in(w, 8) ? w->net.latest_ms : 5;

	if (place == NULL) {
		return;
	}
	*place = *m;
	place->used = true;
	place->plane = w->plane.run;
	place->due_ms = w->now_ms + sim_between(w, 1, most);
	if (place->due_ms < w->net.wake_ms) {
		w->net.wake_ms = place->due_ms;
	}
}

void net_send(struct world *w, const struct message *m)
{
	struct net *n = &w->net;

	if (net_is_cut(w, m->host, SIM_PLANE) ||
	    (n->lose_one_in != 0 && sim_one_in(w, n->lose_one_in))) {
		return;
	}
	put(w, m);
	if (n->repeat_one_in != 0 && sim_one_in(w, n->repeat_one_in)) {
		put(w, m);
	}
}

static void deliver(struct world *w, const struct message *m)
{
	/*
	 * A connection ends with the process that reads from it. What a dead one had sent may
	 * still arrive.
	 */
	bool deaf = m->kind == MESSAGE_REPORT ? m->plane != w->plane.run
					      : m->session != w->hosts[m->host].agent.session;

	if (deaf || net_is_cut(w, m->host, SIM_PLANE)) {
		return;
	}
	switch (m->kind) {
	case MESSAGE_REPORT:
		plane_take_report(w, m->host, m->node, m->session, m->seq, &m->seen);
		return;
	case MESSAGE_GOAL:
		agent_take_goal(w, m->node, &m->order.goal, &m->order.live);
		return;
	}
}

static void end_cuts(struct world *w)
{
	struct net *n = &w->net;

	for (int a = 0; a < SIM_PARTIES; a++) {
		for (int b = 0; b < SIM_PARTIES; b++) {
			if (n->cut[a][b] && n->cut_until_ms[a][b] <= w->now_ms) {
				n->cut[a][b] = false;
			} else if (n->cut[a][b] && n->cut_until_ms[a][b] < n->wake_ms) {
				n->wake_ms = n->cut_until_ms[a][b];
			}
		}
	}
}

void net_tick(struct world *w)
{
	struct net *n = &w->net;

	n->wake_ms = SIM_NEVER;
	for (int i = 0; i < n->most; i++) {
		struct message *m = &n->messages[i];

		if (!m->used) {
			continue;
		}
		if (m->due_ms <= w->now_ms) {
			m->used = false; /* the place itself stays as it is while we read */
			deliver(w, m);
		} else if (m->due_ms < n->wake_ms) {
			n->wake_ms = m->due_ms;
		}
	}
	while (n->most > 0 && !n->messages[n->most - 1].used) {
		n->most--;
	}
	end_cuts(w);
}
