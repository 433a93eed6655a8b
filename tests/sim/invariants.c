/*
 * What must hold at every tick, whatever happens (DESIGN.md 9, as far as it applies yet), and the
 * clients whose acknowledged writes it is about.
 *
 * `must` is what clients were told is written. It is lowered only for what no product could have
 * kept: power that took the last second, files that somebody removed, an instance that its owner
 * deleted, a loss that the operator accepted. Then whatever is left is looked through again, so
 * that one loss never excuses another.
 */
#include "base/str.h"
#include "core/status.h"
#include "world.h"

enum { WRITES_EVERY_MOST_MS = 120 };

/* the ledger */

/* Is this node one that may not lose anything: the source, or a replica that was attached? */
static bool counts(const struct world *w, int node)
{
	const struct member *m = record_member(&w->store.record, node);

	return m != NULL && m->state != MEMBER_DELETING &&
	       (m->attached_once || id_eq(m->id, w->store.record.g.source));
}

static struct data all_that_is_held(const struct world *w)
{
	struct data held = {};

	for (int i = 0; i < SIM_NODES; i++) {
		const struct node *n = &w->nodes[i];

		if (!counts(w, i)) {
			continue;
		}
		if (n->server.alive) {
			data_join(&held, &n->server.data);
		}
		if (n->files.aof.there) {
			data_join(&held, &n->files.aof.data);
		}
		if (n->files.rdb.there) {
			data_join(&held, &n->files.rdb.data);
		}
	}
	return held;
}

/* The newest write to this key, up to `value`, that a client was told of and nobody gave up. */
static uint32_t due(const struct ledger *l, uint32_t value)
{
	while (value >= DATA_KEYS && l->told[value] != TOLD_WRITTEN) {
		value -= DATA_KEYS;
	}
	return l->told[value] == TOLD_WRITTEN ? value : 0;
}

static struct data all_due(const struct ledger *l, struct data d)
{
	for (int k = 0; k < DATA_KEYS; k++) {
		d.value[k] = due(l, d.value[k]);
	}
	return d;
}

/* What is newer than in `held` is forgiven. */
static void forgive_behind(struct ledger *l, const struct data *held)
{
	for (int k = 0; k < DATA_KEYS; k++) {
		for (uint32_t n = l->must.value[k]; n > held->value[k]; n -= DATA_KEYS) {
			l->told[n] = TOLD_FORGIVEN;
			if (n < DATA_KEYS) {
				break;
			}
		}
	}
	l->must = all_due(l, l->must);
	for (int i = 0; i < SIM_NODES; i++) {
		l->linked[i] = all_due(l, l->linked[i]);
	}
}

void ledger_forgive(struct world *w)
{
	struct data held = all_that_is_held(w);

	forgive_behind(&w->ledger, &held);
}

void ledger_accept_loss(struct world *w, int source)
{
	const struct node *n = &w->nodes[source];

	forgive_behind(&w->ledger, n->server.alive ? &n->server.data : &n->files.aof.data);
	ledger_forgive(w);
}

/* clients */

static int writable_node(const struct world *w, int after)
{
	for (int i = 0; i < SIM_NODES; i++) {
		int node = (after + i) % SIM_NODES;
		const struct server *s = &w->nodes[node].server;

		if (server_answers(w, s) && !s->replica && w->hosts[sim_host_of(node)].up) {
			return node;
		}
	}
	return SIM_NOBODY;
}

/* A client asks whoever takes writes; what it is told is remembered. */
void client_tick(struct world *w)
{
	struct ledger *l = &w->ledger;

	if (w->now_ms < l->write_ms) {
		return;
	}
	l->write_ms =
		w->now_ms + sim_between(w, 1, sim_one_in(w, 10) ? 3000 : WRITES_EVERY_MOST_MS);
	int node = writable_node(w, (int)sim_between(w, 0, SIM_NODES - 1));

	if (node == SIM_NOBODY || l->next + 1 == LEDGER_WRITES_MAX) {
		return;
	}
	uint32_t n = ++l->next;

	w->result.written++;
	server_write(w, node, n);
	l->changed = true;
	if (!sim_one_in(w, 20) && counts(w, node)) { /* else the answer is lost */
		l->told[n] = TOLD_WRITTEN;
		data_write(&l->must, n);
		w->result.acknowledged++;
	}
}

/* checks at events */

void check_full_sync(struct world *w, int node, int source, const struct data *copy)
{
	const struct member *m = record_member(&w->store.record, node);
	struct data had = all_due(&w->ledger, w->nodes[node].server.data);

	if (m == NULL || !m->attached_once || m->state == MEMBER_DELETING) {
		return;
	}
	int k = data_lacks(copy, &had);

	if (k >= 0) {
		sim_broken(w,
			   "4: %s, attached, gives up acknowledged write %u for a copy of %s that "
			   "has %u there",
			   w->nodes[node].name, had.value[k], w->nodes[source].name,
			   copy->value[k]);
	}
}

void check_goal_saved(struct world *w, int node, const struct goal *g)
{
	struct ledger *l = &w->ledger;
	bool lower = g->epoch < l->goal_epoch[node] ||
		     (g->epoch == l->goal_epoch[node] && g->revision < l->goal_revision[node]);

	if (lower) {
		sim_broken(w,
			   "goals: %s goes back from %" PRIu64 "/%" PRIu64 " to %" PRIu64
			   "/%" PRIu64,
			   w->nodes[node].name, l->goal_epoch[node], l->goal_revision[node],
			   g->epoch, g->revision);
	}
	l->goal_epoch[node] = g->epoch;
	l->goal_revision[node] = g->revision;
}

void check_link_seen(struct world *w, int node)
{
	w->ledger.linked[node] = w->ledger.must;
}

void check_attached(struct world *w, int node, const struct seen *seen)
{
	int k = data_lacks(&seen->data, &w->ledger.linked[node]);

	if (k >= 0) {
		sim_broken(w,
			   "attached: %s is called attached without write %u (it has %u there), "
			   "acknowledged before its link was seen up",
			   w->nodes[node].name, w->ledger.linked[node].value[k],
			   seen->data.value[k]);
	}
}

/* A server that was started: a deleted one never comes back. */
void check_started(struct world *w, int node)
{
	if (w->nodes[node].forgotten) {
		sim_broken(w, "deleted: %s was deleted and runs again", w->nodes[node].name);
	}
}

/* checks at every tick */

static void check_one_master(struct world *w)
{
	int first = SIM_NOBODY;

	for (int i = 0; i < SIM_NODES; i++) {
		const struct server *s = &w->nodes[i].server;

		if (!server_answers(w, s) || s->replica || !w->nodes[i].created) {
			continue;
		}
		if (first != SIM_NOBODY) {
			sim_broken(w, "1: %s and %s both take writes", w->nodes[first].name,
				   w->nodes[i].name);
		}
		first = i;
	}
}

static void check_nothing_lost(struct world *w)
{
	struct data held = all_that_is_held(w);
	int k = data_lacks(&held, &w->ledger.must);

	w->ledger.changed = false;
	if (k >= 0) {
		sim_broken(w, "2: write %u was acknowledged and is nowhere any more (%u is)",
			   w->ledger.must.value[k], held.value[k]);
	}
}

static void check_forgotten(struct world *w)
{
	for (int i = 0; i < SIM_NODES; i++) {
		const struct node *n = &w->nodes[i];

		if (n->forgotten && (n->files.folder || n->server.alive)) {
			sim_broken(w, "deleted: %s is deleted, and has files or a process",
				   n->name);
		}
	}
}

void check_tick(struct world *w)
{
	check_one_master(w);
	if (w->ledger.changed) {
		check_nothing_lost(w);
		check_forgotten(w);
	}
}

/* checks at the end */

/*
 * With everything up only a human's word may be missing: a source that is held says so, and its
 * replicas may wait for it. Any other fault had 60 seconds to pass.
 */
static bool may_stay_failed(const struct member *m, const struct member *source)
{
	bool held = source->state == MEMBER_ERROR && source->fault.kind == FAULT_GUARD;

	return m->state == MEMBER_ERROR && m->fault.text[0] != '\0' && held;
}

static bool member_settled(const struct world *w, size_t i, char *why, size_t size)
{
	const struct record *r = &w->store.record;
	const struct member *m = &r->members[i];
	const struct server *s = &w->nodes[record_node(r, i)].server;
	const struct member *source = group_source(&r->g);

	if (may_stay_failed(m, source)) {
		return true;
	}
	if (m->state != MEMBER_ACTIVE || !str_eq(status_of(&r->g, m), "ACTIVE")) {
		snprintf(why, size, "%s is %s (%s), fault %s", m->name, member_state_name(m->state),
			 op_phase_name(r->g.op.phase), fault_kind_name(m->fault.kind));
		return false;
	}
	bool serves = server_answers(w, s) && (source == m ? !s->replica : s->replica);
	bool held = source != m && source->state == MEMBER_ERROR;

	if (!serves || (source != m && !held && s->link != LINK_UP)) {
		snprintf(why, size, "%s is ACTIVE, and its server %s", m->name,
			 serves ? "has no link" : "does not serve");
		return false;
	}
	return true;
}

bool check_settled(const struct world *w, char *why, size_t size)
{
	const struct record *r = &w->store.record;

	if (w->plane.commit.under_way) {
		snprintf(why, size, "a commit is under way");
		return false;
	}
	for (size_t i = 0; r->there && i < r->g.nmembers; i++) {
		if (!member_settled(w, i, why, size)) {
			return false;
		}
	}
	return true;
}

/* Nobody has written for a while: whoever is called ACTIVE holds what the source holds. */
static void check_replicas(struct world *w)
{
	const struct record *r = &w->store.record;
	const struct member *source = group_source(&r->g);

	for (size_t i = 0; r->there && i < r->g.nmembers; i++) {
		const struct node *n = &w->nodes[record_node(r, i)];
		int k = data_lacks(&n->server.data, &w->ledger.must);

		if (source->state == MEMBER_ACTIVE && r->g.op.kind == OP_NONE &&
		    r->members[i].state == MEMBER_ACTIVE && k >= 0) {
			sim_broken(w, "attached: at the end %s is ACTIVE without write %u (%u)",
				   n->name, w->ledger.must.value[k], n->server.data.value[k]);
		}
	}
}

void check_end(struct world *w)
{
	char why[160];

	check_nothing_lost(w);
	check_forgotten(w);
	if (check_settled(w, why, sizeof why)) {
		check_replicas(w);
	}
}
