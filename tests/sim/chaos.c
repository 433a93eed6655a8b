/*
 * When something goes wrong and to whom, and the operator who works on regardless. When the chaos
 * is over everything is put right that a person would put right, and from then on the group has
 * SIM_CALM_MS to come to rest.
 */
#include "misfortune.h"
#include "world.h"

enum { PAUSE_MOST_MS = 900, OPERATOR_MOST_MS = 4000 };

static int some_slot(struct world *w)
{
	int after = (int)sim_between(w, 0, SIM_GROUPS - 1);

	for (int i = 0; i < SIM_GROUPS; i++) {
		int slot = (after + i) % SIM_GROUPS;

		if (w->store.records[slot].there) {
			return slot;
		}
	}
	return SIM_NOBODY;
}

/* A member, more often the source than another, more often of a large group. */
static int some_node(struct world *w)
{
	int slot = sim_one_in(w, 2) && w->store.records[0].there ? 0 : some_slot(w);

	if (slot == SIM_NOBODY) {
		return SIM_NOBODY;
	}
	const struct record *r = &w->store.records[slot];
	size_t i = (size_t)sim_between(w, 0, (int64_t)r->g.nmembers - 1);

	if (sim_one_in(w, 3)) {
		for (size_t k = 0; k < r->g.nmembers; k++) {
			i = id_eq(r->members[k].id, r->g.source) ? k : i;
		}
	}
	return record_node(r, i);
}

static int source_of(const struct world *w, int node)
{
	int slot = store_slot_of(w, node);

	return slot == SIM_NOBODY ? SIM_NOBODY : w->store.records[slot].g.source.b[15];
}

static int some_replica(struct world *w)
{
	int node = some_node(w);

	for (int i = 0; i < 3 && node != SIM_NOBODY; i++) {
		if (node != source_of(w, node)) {
			break;
		}
		node = some_node(w);
	}
	return node;
}

/* the operator */

static void create(struct world *w, int node)
{
	if (node == SIM_NOBODY || (sim_one_in(w, 8) && !w->chaos.calm)) {
		if (plane_create_group(w)) {
			w->chaos.operator_ms = w->now_ms + sim_between(w, 10, 1500);
		}
	} else {
		(void)plane_create_replica(w, node);
	}
}

/*
 * A source that is about to be lost, and replicas that are not all in the best of states: one
 * behind, one busy, one out of reach. The operator asks until he gets his way, or gives up.
 */
static void lose_source(struct world *w, int source)
{
	int slot = store_slot_of(w, source);
	const struct record *r = &w->store.records[slot];
	int64_t until_ms = w->now_ms + sim_between(w, 500, 8000);

	for (size_t i = 0; i < r->g.nmembers; i++) {
		int node = record_node(r, i);

		if (node == source) {
			continue;
		}
		if (sim_one_in(w, 3)) {
			misfortune_slow_down(w, node);
		} else if (sim_one_in(w, 3)) {
			net_cut(w, sim_host_of(node), sim_host_of(source), until_ms);
		} else if (sim_one_in(w, 3)) {
			misfortune_isolate(w, node);
		}
	}
	w->chaos.eject = source;
	w->chaos.eject_kill_ms = w->now_ms + sim_between(w, 1, 1000);
	w->chaos.eject_until_ms = w->now_ms + 9000;
	w->chaos.operator_ms = w->chaos.eject_kill_ms;
}

/* Asks again; the source goes first, in one way or the other. */
static void insist(struct world *w)
{
	struct chaos *c = &w->chaos;
	int source = c->eject;

	if (c->eject_kill_ms != 0) {
		c->eject_kill_ms = 0;
		if (sim_one_in(w, 3)) {
			misfortune_isolate(w, source);
		} else {
			misfortune_kill(w, source);
		}
	}
	if (source_of(w, source) != source || plane_eject(w, source, sim_one_in(w, 16)) ||
	    w->now_ms > c->eject_until_ms) {
		c->eject = SIM_NOBODY;
	}
}

/* Mostly one that is gone, or nearly so; the others are refused. */
static void eject(struct world *w, int node)
{
	int source = source_of(w, node);

	if (source == SIM_NOBODY) {
		return;
	}
	if (!w->nodes[source].server.alive || sim_one_in(w, 4)) {
		(void)plane_eject(w, source, sim_one_in(w, 4));
	} else if (!w->chaos.calm) {
		lose_source(w, source);
	}
}

/* What a person does about what waits for one. */
static void decide(struct world *w, int node)
{
	int slot = store_slot_of(w, node);
	const struct record *r = &w->store.records[slot];
	const struct member *m = record_member(r, node);

	if (m->state == MEMBER_FENCED) {
		(void)(sim_one_in(w, 5) ? plane_delete(w, node)
					: plane_attach(w, node, source_of(w, some_node(w))));
	} else if (r->g.op.phase == PHASE_EJECT_HELD) {
		(void)(sim_one_in(w, 3) ? plane_cancel(w, node)
					: plane_eject(w, source_of(w, node), true));
	} else if (!plane_accept_loss(w, node) && m->state == MEMBER_ERROR && sim_one_in(w, 3)) {
		(void)plane_eject(w, source_of(w, node), sim_one_in(w, 2));
	}
}

static void operate(struct world *w)
{
	int node = some_node(w);
	int64_t most_ms = sim_one_in(w, 4) ? OPERATOR_MOST_MS : 400;
	int what = (int)sim_between(w, 0, 39);

	w->chaos.operator_ms = w->now_ms + sim_between(w, 10, most_ms);
	if (node == SIM_NOBODY) {
		create(w, node);
		return;
	}
	if (w->chaos.eject != SIM_NOBODY) {
		w->chaos.operator_ms = w->now_ms + sim_between(w, 5, 150);
		insist(w);
	} else if (w->chaos.calm) {
		decide(w, node);
	} else if (what < 6 || (what < 26 && w->ledger.next < 40)) {
		create(w, node);
	} else if (what < 18) {
		(void)plane_promote(w, some_replica(w));
	} else if (what < 25) {
		eject(w, node);
	} else if (what < 27) {
		(void)plane_cancel(w, node);
	} else if (what < 29) {
		(void)plane_detach(w, some_replica(w));
	} else if (what < 31) {
		(void)plane_durability(w, node, (uint32_t)sim_between(w, 0, 2));
	} else if (what < 33) {
		(void)(sim_one_in(w, 6) ? plane_delete_group(w, node) : plane_delete(w, node));
	} else {
		decide(w, node);
	}
}

/* calm */

static void put_right(struct world *w)
{
	struct chaos *c = &w->chaos;

	c->calm = true;
	c->eject = SIM_NOBODY;
	c->next_ms = SIM_NEVER;
	/* Half of the operators go home: what waits for their word must say so. */
	c->operator_ms = sim_one_in(w, 2) ? SIM_NEVER : w->now_ms;
	net_heal(w);
	w->store.trouble_until_ms = 0;
	for (int i = 0; i < SIM_NODES; i++) {
		w->nodes[i].start_fails_until_ms = 0;
		w->nodes[i].server.slow_until_ms = 0;
		misfortune_continue(w, i);
	}
	for (int i = 0; i < SIM_HOSTS; i++) {
		if (w->hosts[i].up && !w->hosts[i].agent.up) {
			w->hosts[i].agent.up_ms = w->now_ms;
		} else if (!w->hosts[i].up) {
			w->hosts[i].up_ms = w->now_ms;
		}
	}
	if (!w->plane.up) {
		w->plane.up_ms = w->now_ms;
	}
	STORY(w, "the chaos is over");
}

void chaos_init(struct world *w, int64_t chaos_ms)
{
	w->chaos.end_ms = chaos_ms;
	w->chaos.operator_ms = 1;
	w->chaos.eject = SIM_NOBODY;
	w->chaos.next_ms = sim_between(w, 100, 6000);
	w->chaos.pause_most_ms = sim_one_in(w, 2) ? PAUSE_MOST_MS : 5 * PAUSE_MOST_MS;
	w->diskless = sim_one_in(w, 2);
	w->backlog_entries = (uint64_t)sim_between(w, 2, STREAM_MAX);
	w->net.latest_ms = sim_between(w, 5, 1500);
	w->net.lose_one_in = sim_one_in(w, 2) ? (unsigned)sim_between(w, 3, 40) : 0;
	w->net.repeat_one_in = sim_one_in(w, 2) ? (unsigned)sim_between(w, 3, 40) : 0;
}

void chaos_tick(struct world *w)
{
	struct chaos *c = &w->chaos;

	for (int i = 0; i < SIM_HOSTS; i++) {
		host_tick(w, i);
	}
	for (int i = 0; i < SIM_NODES; i++) {
		if (w->nodes[i].server.stopped && w->now_ms >= w->nodes[i].continue_ms) {
			misfortune_continue(w, i);
		}
	}
	if (!c->calm && w->now_ms >= c->end_ms) {
		put_right(w);
	}
	if (!c->calm && w->now_ms >= c->next_ms) {
		misfortune_any(w, some_node(w));
		c->next_ms = w->now_ms + sim_between(w, 1, w->chaos.pause_most_ms);
	}
	if (w->now_ms >= c->operator_ms) {
		operate(w);
	}
}

static void earliest(int64_t *wake, int64_t at)
{
	*wake = at < *wake ? at : *wake;
}

int64_t chaos_wake(const struct world *w)
{
	const struct chaos *c = &w->chaos;
	int64_t wake = c->operator_ms;

	if (!c->calm) {
		earliest(&wake, c->next_ms);
		earliest(&wake, c->end_ms);
	}
	for (int i = 0; i < SIM_HOSTS; i++) {
		const struct host *h = &w->hosts[i];

		if (!h->up) {
			earliest(&wake, h->up_ms);
		} else if (h->shutdown_ms != 0) {
			earliest(&wake, w->now_ms + 50);
		}
	}
	for (int i = 0; i < SIM_NODES; i++) {
		if (w->nodes[i].server.stopped) {
			earliest(&wake, w->nodes[i].continue_ms);
		}
	}
	return wake;
}
