/*
 * Clients, each with a way of its own: one finds whoever takes writes, right or wrong; one stays
 * with its server as long as the connection lasts; the others are led by discovery, which answers
 * from the committed record, and two of them use WAIT.
 */
#include "world.h"

enum { EVERY_MOST_MS = 150, PAUSE_MOST_MS = 3000, WAIT_LIMIT_MS = 400 };

enum way { ANYBODY, STICKS, LED, WAITS_1, WAITS_2 };

static void rest(struct world *w, struct client *c)
{
	c->next_ms =
		w->now_ms + sim_between(w, 1, sim_one_in(w, 12) ? PAUSE_MOST_MS : EVERY_MOST_MS);
}

static void disconnect(struct client *c)
{
	c->node = SIM_NOBODY;
	c->held = false;
	c->write = 0;
}

/* whom to ask */

static int writable_node(struct world *w)
{
	int after = (int)sim_between(w, 0, SIM_NODES - 1);

	for (int i = 0; i < SIM_NODES; i++) {
		int node = (after + i) % SIM_NODES;

		if (server_write_answer(w, node) == WRITE_OK) {
			return node;
		}
	}
	return SIM_NOBODY;
}

static int discovered_node(struct world *w)
{
	int after = (int)sim_between(w, 0, SIM_GROUPS - 1);

	for (int i = 0; w->plane.up && i < SIM_GROUPS; i++) {
		const struct record *r = &w->plane.groups[(after + i) % SIM_GROUPS].r;

		if (r->there && r->g.nhistory > 0) {
			return r->g.source.b[15];
		}
	}
	return SIM_NOBODY;
}

static bool is_connected(const struct world *w, const struct client *c)
{
	return c->node != SIM_NOBODY && w->nodes[c->node].server.alive &&
	       w->nodes[c->node].server.run_no == c->run_no && w->hosts[sim_host_of(c->node)].up;
}

static void connect(struct world *w, struct client *c, enum way way)
{
	bool stays = way == STICKS || !sim_one_in(w, 4);

	if (stays && way != ANYBODY && is_connected(w, c)) {
		return;
	}
	disconnect(c);
	c->node = way == ANYBODY ? writable_node(w) : discovered_node(w);
	if (c->node != SIM_NOBODY) {
		c->run_no = w->nodes[c->node].server.run_no;
	}
}

/* writing */

static void written(struct world *w, struct client *c, enum way way)
{
	struct ledger *l = &w->ledger;
	uint32_t n = ++l->next;

	w->result.written++;
	server_write(w, c->node, n);
	l->changed = true;
	if (!sim_one_in(w, 20)) { /* else the answer is lost */
		ledger_tell(w, c->node, n, 0);
	}
	if (way == WAITS_1 || way == WAITS_2) {
		c->k = way == WAITS_1 ? 1 : 2;
		c->write = n;
		c->offset = w->nodes[c->node].server.at.offset;
		c->give_up_ms = w->now_ms + WAIT_LIMIT_MS;
	}
}

static void try_to_write(struct world *w, struct client *c, enum way way)
{
	enum write_answer a = server_write_answer(w, c->node);

	c->held = a == WRITE_PAUSED;
	if (c->held) {
		return;
	}
	if (a == WRITE_OK && w->ledger.next + 1 < LEDGER_WRITES_MAX) {
		written(w, c, way);
	} else if (way != STICKS) {
		disconnect(c);
	}
}

/* WAIT: the source knows what replicas have applied; a change of its role ends it. */
static void wait_goes_on(struct world *w, struct client *c)
{
	const struct server *s = &w->nodes[c->node].server;

	if (!is_connected(w, c) || s->replica || w->now_ms >= c->give_up_ms) {
		disconnect(c);
	} else if (!s->stopped && links_applied(w, c->node, c->offset) >= c->k) {
		ledger_tell(w, c->node, c->write, c->k);
		c->write = 0;
	}
}

static void client_tick(struct world *w, struct client *c, enum way way)
{
	if (c->write != 0) {
		wait_goes_on(w, c);
	} else if (c->held) {
		if (!is_connected(w, c)) {
			disconnect(c);
		} else if (server_write_answer(w, c->node) != WRITE_PAUSED) {
			try_to_write(w, c, way);
		}
	}
	if (w->now_ms < c->next_ms) {
		return;
	}
	rest(w, c);
	if (c->write != 0 || c->held) {
		return;
	}
	connect(w, c, way);
	if (c->node != SIM_NOBODY) {
		try_to_write(w, c, way);
	}
}

void clients_tick(struct world *w)
{
	for (int i = 0; i < SIM_CLIENTS; i++) {
		client_tick(w, &w->clients[i], (enum way)i);
	}
}

int64_t clients_wake(const struct world *w)
{
	int64_t wake = SIM_NEVER;

	for (int i = 0; i < SIM_CLIENTS; i++) {
		wake = w->clients[i].next_ms < wake ? w->clients[i].next_ms : wake;
	}
	return wake;
}

void clients_drop(struct world *w, int node)
{
	for (int i = 0; i < SIM_CLIENTS; i++) {
		if (w->clients[i].node == node) {
			disconnect(&w->clients[i]);
		}
	}
}

void clients_stop(struct world *w)
{
	for (int i = 0; i < SIM_CLIENTS; i++) {
		disconnect(&w->clients[i]);
		w->clients[i].next_ms = SIM_NEVER;
	}
}
