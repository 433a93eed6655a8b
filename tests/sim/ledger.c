/*
 * What clients were told is written, per group. `must` is lowered only for what no product could
 * have kept: power that took the last second, files that somebody removed, an instance that its
 * owner deleted or detached, a loss that the operator accepted, and what an eject of a source that
 * died cannot know of. Then whatever is left is looked through again, so that one loss never
 * excuses another.
 */
#include "world.h"

bool ledger_counts(const struct world *w, int node)
{
	int slot = store_slot_of(w, node);

	if (slot == SIM_NOBODY) {
		return false;
	}
	const struct record *r = &w->store.records[slot];
	const struct member *m = record_member(r, node);

	return m->state != MEMBER_DELETING && (m->attached_once || id_eq(m->id, r->g.source));
}

/*
 * An RDB beside a newer AOF is never read again, that of a source never beside any. What a former
 * source set aside is out of use, but not gone.
 */
static void join_node(const struct node *n, bool is_source, struct data *held)
{
	const struct aof *aof = &n->files.aof;
	const struct rdb *rdb = &n->files.rdb;

	if (n->server.alive) {
		data_join(held, &n->server.data);
	}
	if (aof->there) {
		data_join(held, &aof->data);
	}
	if (n->files.aside.there && n->files.aside_whole) {
		data_join(held, &n->files.aside.data);
	}
	if (rdb->there && (!aof->there || (!is_source && rdb->born_ms >= aof->mtime_ms))) {
		data_join(held, &rdb->data);
	}
}

struct data ledger_held(const struct world *w, int slot)
{
	int source = w->store.records[slot].g.source.b[15];
	struct data held = {};

	for (int i = 0; i < SIM_NODES; i++) {
		bool unknown = w->nodes[i].adrift && i != source;

		if (store_slot_of(w, i) == slot && ledger_counts(w, i) && !unknown) {
			join_node(&w->nodes[i], i == source, &held);
		}
	}
	return held;
}

static bool is_due(const struct ledger *l, uint16_t serial, uint32_t n)
{
	return l->told[n] == TOLD_WRITTEN && l->of[n] == serial;
}

/* The newest write to this key, up to `value`, that a client was told of and nobody gave up. */
static uint32_t due(const struct ledger *l, uint16_t serial, uint32_t value)
{
	while (value >= DATA_KEYS && !is_due(l, serial, value)) {
		value -= DATA_KEYS;
	}
	return is_due(l, serial, value) ? value : 0;
}

struct data ledger_due(const struct ledger *l, uint16_t serial, struct data d)
{
	for (int k = 0; k < DATA_KEYS; k++) {
		d.value[k] = due(l, serial, d.value[k]);
	}
	return d;
}

/* What is newer than in `held` is forgiven. */
void ledger_forgive_behind(struct world *w, int slot, const struct data *held)
{
	struct ledger *l = &w->ledger;
	uint16_t serial = w->store.records[slot].serial;
	struct data *must = &l->must[slot];

	for (int k = 0; k < DATA_KEYS; k++) {
		for (uint32_t n = must->value[k]; n > held->value[k]; n -= DATA_KEYS) {
			if (l->of[n] == serial && l->told[n] == TOLD_WRITTEN) {
				l->told[n] = TOLD_FORGIVEN;
			}
			if (n < DATA_KEYS) {
				break;
			}
		}
	}
	*must = ledger_due(l, serial, *must);
	for (int i = 0; i < SIM_NODES; i++) {
		if (store_slot_of(w, i) == slot) {
			l->linked[i] = ledger_due(l, serial, l->linked[i]);
		}
	}
}

void ledger_forgive(struct world *w)
{
	for (int slot = 0; slot < SIM_GROUPS; slot++) {
		if (w->store.records[slot].there) {
			struct data held = ledger_held(w, slot);

			ledger_forgive_behind(w, slot, &held);
		}
	}
}

/*
 * A replica beside the source lost its last second as well, and where each stands is not known any
 * more: the guard does not hold the source back for it (core/guard.c).
 */
void ledger_lose_power(struct world *w, int host)
{
	for (int i = host; i < SIM_NODES; i += SIM_HOSTS) {
		int slot = store_slot_of(w, i);
		int source = slot == SIM_NOBODY ? i : w->store.records[slot].g.source.b[15];

		w->nodes[i].adrift = source != i && sim_host_of(source) == host;
	}
	ledger_forgive(w);
}

void ledger_accept_loss(struct world *w, int source)
{
	const struct node *n = &w->nodes[source];
	int slot = store_slot_of(w, source);

	if (slot != SIM_NOBODY) {
		ledger_forgive_behind(w, slot,
				      n->server.alive ? &n->server.data : &n->files.aof.data);
	}
	ledger_forgive(w);
}

void ledger_tell(struct world *w, int node, uint32_t n, unsigned k)
{
	struct ledger *l = &w->ledger;
	int slot = store_slot_of(w, node);

	if (slot == SIM_NOBODY || !ledger_counts(w, node)) {
		return;
	}
	uint16_t serial = w->store.records[slot].serial;

	if (l->told[n] == TOLD_FORGIVEN || (l->told[n] == TOLD_WRITTEN && l->of[n] != serial)) {
		return; /* WAIT ended after its group was split */
	}
	if (l->told[n] == TOLD_NOTHING) {
		l->told[n] = TOLD_WRITTEN;
		l->of[n] = serial;
		if (l->must[slot].value[n % DATA_KEYS] < n) {
			data_write(&l->must[slot], n);
		}
		w->result.acknowledged++;
	}
	l->waited[n] = (uint8_t)(l->waited[n] > k ? l->waited[n] : k);
	w->result.waited += k > 0;
}
