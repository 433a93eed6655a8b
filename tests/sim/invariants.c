/*
 * What must hold at every tick, whatever happens, and at the end of a history (DESIGN.md 9).
 */
#include "base/str.h"
#include "core/status.h"
#include "world.h"

/* at every tick */

/* 1: in one group at most one server takes writes. */
static void check_one_source(struct world *w)
{
	int writable[SIM_GROUPS];

	for (int s = 0; s < SIM_GROUPS; s++) {
		writable[s] = SIM_NOBODY;
	}
	for (int i = 0; i < SIM_NODES; i++) {
		const struct node *n = &w->nodes[i];
		int slot = n->server.alive && !n->server.replica ? store_slot_of(w, i) : SIM_NOBODY;

		if (slot == SIM_NOBODY || server_write_answer(w, i) != WRITE_OK) {
			continue;
		}
		if (writable[slot] != SIM_NOBODY) {
			sim_broken(w, "1: %s and %s both take writes",
				   w->nodes[writable[slot]].name, n->name);
		}
		writable[slot] = i;
	}
}

/* 1: a source that was ejected by S + k > R has too few replicas to take a write. */
static void check_cut_off(struct world *w)
{
	for (int i = 0; i < SIM_NODES; i++) {
		struct node *n = &w->nodes[i];

		if (n->cut_off_ms == 0) {
			continue;
		}
		int slot = store_slot_of(w, i);
		bool fenced = slot != SIM_NOBODY && n->server.alive &&
			      n->server.run_no == n->cut_off_run &&
			      record_member(&w->store.records[slot], i)->state == MEMBER_FENCED;

		if (!fenced) {
			n->cut_off_ms = 0;
		} else if (w->now_ms >= n->cut_off_ms && server_write_answer(w, i) == WRITE_OK) {
			sim_broken(w, "1: %s was ejected by S + k > R 4 s ago and takes writes",
				   n->name);
		}
	}
}

/* 2 */
static void check_nothing_lost(struct world *w)
{
	w->ledger.changed = false;
	for (int slot = 0; slot < SIM_GROUPS; slot++) {
		if (!w->store.records[slot].there) {
			continue;
		}
		struct data held = ledger_held(w, slot);
		int k = data_lacks(&held, &w->ledger.must[slot]);

		if (k >= 0) {
			sim_broken(w,
				   "2: write %u was acknowledged and is nowhere any more (%u is)",
				   w->ledger.must[slot].value[k], held.value[k]);
		}
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
	check_one_source(w);
	check_cut_off(w);
	if (w->ledger.changed) {
		check_nothing_lost(w);
		check_forgotten(w);
	}
}

/* at the end */

void check_operations_ended(struct world *w)
{
	for (int slot = 0; slot < SIM_GROUPS; slot++) {
		const struct operation *op = &w->store.records[slot].g.op;
		bool changes =
			op->kind == OP_HANDOVER || op->kind == OP_EJECT || op->kind == OP_DETACH;

		if (w->store.records[slot].there && changes && op->phase != PHASE_EJECT_HELD) {
			sim_broken(w, "5: %d s after everything is up %s is in phase %s",
				   SIM_OPERATION_MS / 1000, op_kind_name(op->kind),
				   op_phase_name(op->phase));
		}
	}
}

/*
 * With everything up only a human's word may be missing: a source that is held says so, and its
 * replicas may wait for it; one that was ejected waits to be attached or deleted. Any other fault
 * had 60 seconds to pass.
 */
static bool may_stay(const struct member *m, const struct member *source)
{
	bool held = source->state == MEMBER_ERROR &&
		    (source->fault.kind == FAULT_GUARD || source->fault.kind == FAULT_ELECT);
	bool waits = m->state == MEMBER_FENCED || (m->state == MEMBER_ERROR && held);

	return waits && m->fault.text[0] != '\0';
}

static bool serves(const struct world *w, const struct record *r, const struct member *m,
		   bool is_source)
{
	const struct server *s = &w->nodes[m->id.b[15]].server;
	enum write_answer a = server_write_answer(w, m->id.b[15]);

	/* With durability a source may be short of replicas, and nothing else may fence it. */
	bool takes = a == WRITE_OK || (a == WRITE_NOREPLICAS && s->min_slaves <= r->g.durability);

	return server_answers(w, s) && (is_source ? takes : a == WRITE_READONLY);
}

static bool member_settled(const struct world *w, const struct record *r, size_t i, char *why,
			   size_t size)
{
	const struct member *m = &r->members[i];
	const struct member *source = group_source(&r->g);

	if (may_stay(m, source)) {
		return true;
	}
	if (m->state != MEMBER_ACTIVE || !str_eq(status_of(&r->g, m), "ACTIVE")) {
		snprintf(why, size, "%s is %s (%s), fault %s", m->name, member_state_name(m->state),
			 op_phase_name(r->g.op.phase), fault_kind_name(m->fault.kind));
		return false;
	}
	bool held = source != m && source->state == MEMBER_ERROR;

	if (!serves(w, r, m, source == m) ||
	    (source != m && !held && w->nodes[record_node(r, i)].server.link != LINK_UP)) {
		snprintf(why, size, "%s is ACTIVE, and its server does not serve or has no link",
			 m->name);
		return false;
	}
	return true;
}

bool check_settled(const struct world *w, char *why, size_t size)
{
	if (w->plane.commit.under_way) {
		snprintf(why, size, "a commit is under way");
		return false;
	}
	for (int slot = 0; slot < SIM_GROUPS; slot++) {
		const struct record *r = &w->store.records[slot];

		for (size_t i = 0; r->there && i < r->g.nmembers; i++) {
			if (!member_settled(w, r, i, why, size)) {
				return false;
			}
		}
	}
	return true;
}

/* Nobody has written for a while: whoever is called ACTIVE holds what the source holds. */
static void check_replicas(struct world *w, int slot)
{
	const struct record *r = &w->store.records[slot];
	const struct member *source = group_source(&r->g);

	for (size_t i = 0; i < r->g.nmembers; i++) {
		const struct node *n = &w->nodes[record_node(r, i)];
		int k = data_lacks(&n->server.data, &w->ledger.must[slot]);

		if (source->state == MEMBER_ACTIVE && r->g.op.kind == OP_NONE &&
		    r->members[i].state == MEMBER_ACTIVE && k >= 0) {
			sim_broken(w, "attached: at the end %s is ACTIVE without write %u (%u)",
				   n->name, w->ledger.must[slot].value[k], n->server.data.value[k]);
		}
	}
}

void check_end(struct world *w)
{
	char why[160];

	check_nothing_lost(w);
	check_forgotten(w);
	if (!check_settled(w, why, sizeof why)) {
		return;
	}
	for (int slot = 0; slot < SIM_GROUPS; slot++) {
		if (w->store.records[slot].there) {
			check_replicas(w, slot);
		}
	}
}
