/*
 * Checks at what happens: a copy, a command, a goal on the disk, a commit. Each number is the
 * invariant's in DESIGN.md 9.
 */
#include "world.h"

static struct data due_of(const struct world *w, int slot, const struct data *d)
{
	return ledger_due(&w->ledger, w->store.records[slot].serial, *d);
}

/* copies and streams */

void check_full_sync(struct world *w, int node, int source, const struct data *copy)
{
	int slot = store_slot_of(w, node);

	if (slot == SIM_NOBODY || !ledger_counts(w, node)) {
		return;
	}
	struct data had = due_of(w, slot, &w->nodes[node].server.data);
	int k = data_lacks(copy, &had);
	int master = w->store.records[slot].g.source.b[15];

	if (k >= 0 && source != master && w->nodes[master].server.alive &&
	    data_lacks(&w->nodes[master].server.data, &had) < 0) {
		return; /* in a handover it copies from who is to be the source, and will have all
			 */
	}
	if (k >= 0) {
		sim_broken(w,
			   "4: %s, attached, gives up acknowledged write %u for a copy of %s that "
			   "has %u there",
			   w->nodes[node].name, had.value[k], w->nodes[source].name,
			   copy->value[k]);
	}
}

/* Is it behind by no fault of whoever decided, because of what began after that? */
static bool fell_behind(const struct world *w, int node, int64_t since_ms)
{
	const struct server *s = &w->nodes[node].server;
	int a = sim_host_of(node), b = s->upstream == SIM_NOBODY ? a : sim_host_of(s->upstream);

	return (w->now_ms < s->slow_until_ms && s->slow_since_ms > since_ms) ||
	       (net_is_cut(w, a, b) && w->net.cut_since_ms[a][b] > since_ms);
}

/*
 * A handover moves members to one that has all they have: whoever is ahead of it, in the same
 * history, would have to copy everything.
 */
void check_full_sync_begins(struct world *w, int node, int source)
{
	const struct server *r = &w->nodes[node].server, *s = &w->nodes[source].server;
	int slot = store_slot_of(w, node);

	if (slot == SIM_NOBODY || slot != store_slot_of(w, source) || !ledger_counts(w, node) ||
	    w->store.records[slot].g.op.kind != OP_HANDOVER || !r->cached) {
		return;
	}
	/* A ping more is nothing that anybody wrote. */
	bool ahead =
		replid_eq(&r->at.replid, &s->at.replid) && r->at.offset > s->at.offset + PING_BYTES;
	bool forked = w->store.records[slot].g.op.phase >= PHASE_HANDOVER_PROMOTE &&
		      replid_eq(&r->at.replid, &s->replid2) && r->at.offset >= s->second_offset;

	if ((ahead || forked) && !fell_behind(w, source, w->ledger.ops[slot].handover_ms)) {
		sim_broken(w,
			   "6: in a handover %s, at %" PRId64 ", is told to follow %s, which is at "
			   "%" PRId64 ": a full resync",
			   w->nodes[node].name, r->at.offset, w->nodes[source].name,
			   forked ? s->second_offset - 1 : s->at.offset);
	}
}

/* Has its socket a write that a client was told of, sent by a source that was dead by then? */
static uint32_t unread_write(const struct world *w, int node, int slot, int64_t dead_by_ms)
{
	const struct server *r = &w->nodes[node].server;
	const struct server *s = &w->nodes[r->upstream].server;
	bool dead = (!s->alive || s->run_no != r->link_run) && s->died_ms <= dead_by_ms;

	/* What was held up by the network comes with the next retransmission. */
	bool held_up =
		w->net.cut_until_ms[sim_host_of(node)][sim_host_of(r->upstream)] + 300 > w->now_ms;

	if (!dead || w->now_ms < r->stream_ms || held_up) {
		return 0;
	}
	for (unsigned i = 0; i < r->inbox.len; i++) {
		const struct entry *e = &r->inbox.ring[(r->inbox.head + i) % STREAM_MAX];

		if (e->arrives_ms <= w->now_ms && e->end > r->at.offset && e->write != 0 &&
		    w->ledger.told[e->write] == TOLD_WRITTEN &&
		    w->ledger.of[e->write] == w->store.records[slot].serial) {
			return e->write;
		}
	}
	return 0;
}

void check_thrown_away(struct world *w, int node)
{
	const struct server *r = &w->nodes[node].server;
	int slot = store_slot_of(w, node);

	if (w->quiet || slot == SIM_NOBODY || r->link != LINK_UP || r->upstream == SIM_NOBODY ||
	    !group_is_sealing(&w->store.records[slot].g)) {
		return;
	}
	const struct op_ledger *op = &w->ledger.ops[slot];
	uint32_t n = op->drained_short ? unread_write(w, node, slot, op->drain_ms) : 0;

	if (n != 0) {
		sim_broken(w, "3: %s is sealed with acknowledged write %u received and not applied",
			   w->nodes[node].name, n);
	}
}

/* goals and commands */

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

/* An agent that has started since then cannot have heard this from the control plane. */
void check_command(struct world *w, int node)
{
	const struct engine *e = &w->nodes[node].engine;
	bool of_role = e->act == ACT_FOLLOW || e->act == ACT_GUARD || e->act == ACT_PROMOTE ||
		       e->act == ACT_FENCE || e->act == ACT_YIELD || e->act == ACT_SEAL ||
		       e->act == ACT_UNFENCE;

	if (of_role && e->goal.epoch < e->least_epoch) {
		sim_broken(w,
			   "5: %s does %s for epoch %" PRIu64 ", and its agent started when it was "
			   "%" PRIu64 " already",
			   w->nodes[node].name, instance_act_name(e->act), e->goal.epoch,
			   e->least_epoch);
	}
}

/* members */

void check_link_seen(struct world *w, int node)
{
	int slot = store_slot_of(w, node);

	w->ledger.linked[node] = slot == SIM_NOBODY ? (struct data){} : w->ledger.must[slot];
}

void check_attached(struct world *w, int node, const struct seen *seen)
{
	int slot = store_slot_of(w, node);

	if (slot == SIM_NOBODY) {
		return;
	}
	struct data linked = due_of(w, slot, &w->ledger.linked[node]);
	int k = data_lacks(&seen->data, &linked);

	if (k >= 0) {
		sim_broken(w,
			   "attached: %s is called attached without write %u (it has %u there), "
			   "acknowledged before its link was seen up",
			   w->nodes[node].name, linked.value[k], seen->data.value[k]);
	}
}

/* A server that was started: a deleted one never comes back, an ejected one not as a master. */
void check_started(struct world *w, int node)
{
	int slot = store_slot_of(w, node);

	if (w->nodes[node].forgotten) {
		sim_broken(w, "deleted: %s was deleted and runs again", w->nodes[node].name);
	}
	/* One that was alone when its agent was heard last is out of reach until it is heard. */
	if (slot != SIM_NOBODY && !w->nodes[node].server.replica &&
	    !w->nodes[node].engine.goal.start_at_once &&
	    record_member(&w->store.records[slot], node)->state == MEMBER_FENCED) {
		sim_broken(w, "1: %s was ejected and comes back as a master", w->nodes[node].name);
	}
}

void check_members(struct world *w)
{
	for (int i = 0; i < SIM_NODES; i++) {
		int in = 0;

		for (int s = 0; s < SIM_GROUPS; s++) {
			in += record_member(&w->store.records[s], i) != NULL;
		}
		if (in > 1) {
			sim_broken(w, "records: %s is in %d groups", w->nodes[i].name, in);
		}
	}
}

/* changes of source */

/* Its server as the commit means it. */
static const struct server *winner_of(const struct world *w, const struct record *r)
{
	const struct server *s = &w->nodes[r->g.source.b[15]].server;

	return s->alive && replid_eq(&s->run, &r->g.source_run) ? s : NULL;
}

/* 2: whatever was acknowledged up to now is on the one that takes over. */
static void check_handed_over(struct world *w, int slot, const struct data *must)
{
	const struct record *r = &w->store.records[slot];
	const struct server *winner = winner_of(w, r);
	struct data told = due_of(w, slot, must);
	int k = winner == NULL ? -1 : data_lacks(&winner->data, &told);

	if (k >= 0) {
		sim_broken(w, "2: %s takes over without acknowledged write %u (it has %u there)",
			   w->nodes[r->g.source.b[15]].name, told.value[k], winner->data.value[k]);
	}
}

/* Do their positions compare? One from an AOF has an id of its own, that nobody else knows. */
static bool is_kin(const struct server *a, const struct server *b)
{
	return a->cached && (replid_eq(&a->at.replid, &b->at.replid) ||
			     (replid_known(&b->replid2) && replid_eq(&a->at.replid, &b->replid2)) ||
			     (replid_known(&a->replid2) && replid_eq(&a->replid2, &b->at.replid)));
}

/* Killed now it would come back with what its AOF had before its full sync. */
static void check_durable(struct world *w, const struct record *r)
{
	const struct server *winner = winner_of(w, r);

	if (winner != NULL && (winner->files_lag || !winner->aof_on)) {
		sim_broken(w, "durable: %s takes over, and its AOF does not have its data",
			   w->nodes[r->g.source.b[15]].name);
	}
}

/* With durability k a source of which k replicas do not follow it any more refuses writes. */
static void check_stage(struct world *w, const struct record *r)
{
	const struct member *source = group_source(&r->g);
	uint32_t direct = 0, attached = 0;

	for (size_t i = 0; i < r->g.nmembers; i++) {
		const struct member *m = &r->members[i];
		struct goal goal = goal_of(&r->g, m, w->installation, &(struct server_settings){});

		if (m != source && m->state == MEMBER_ACTIVE) {
			attached++;
			direct += strcmp(goal.upstream_host, source->address) == 0;
		}
	}
	if (direct < r->g.durability && direct < attached) {
		sim_broken(w, "stage: durability %u, and %u of %u replicas are left to the source",
			   r->g.durability, direct, attached);
	}
}

/* Sealed as far as the control plane could know, and with a position that compares. */
static bool is_sealed(const struct world *w, const struct record *before, int node,
		      const struct server *winner)
{
	const struct commit *c = &w->plane.commit;
	const struct observation *o = &c->decided_on[node];
	const struct server *s = &w->nodes[node].server;

	return c->heard[node] && s->alive && replid_eq(&o->run_id, &s->run) && is_kin(s, winner) &&
	       o->role == SERVER_ROLE_REPLICA && o->upstream_port == 0 && o->goal_applied &&
	       o->goal_epoch == before->g.epoch;
}

static bool is_candidate(const struct record *before, size_t i)
{
	const struct member *m = &before->members[i];

	return m->state != MEMBER_DELETING && !id_eq(m->id, before->g.source);
}

/* 3: nobody who was sealed has a write that the winner lacks. */
static void check_best(struct world *w, int slot, const struct record *before,
		       const struct server *winner)
{
	for (size_t i = 0; i < before->g.nmembers; i++) {
		int node = record_node(before, i);

		if (!is_candidate(before, i) || !before->members[i].attached_once ||
		    !is_sealed(w, before, node, winner)) {
			continue;
		}
		struct data has = due_of(w, slot, &w->nodes[node].server.data);
		int k = data_lacks(&winner->data, &has);

		if (k >= 0) {
			sim_broken(w, "3: the winner has %u where %s, sealed, has write %u",
				   winner->data.value[k], w->nodes[node].name, has.value[k]);
		}
	}
}

/* How many of those who may be elected have write n, heard or not. */
static unsigned count_holders(const struct world *w, const struct record *before, uint32_t n,
			      const struct server *winner)
{
	unsigned holders = 0;

	for (size_t i = 0; i < before->g.nmembers; i++) {
		const struct server *s = &w->nodes[record_node(before, i)].server;

		holders += is_candidate(before, i) && s->alive && is_kin(s, winner) &&
			   s->data.value[n % DATA_KEYS] >= n;
	}
	return holders;
}

/*
 * S + k > R, by what it is for: with durability k the winner has what WAIT k was told of, as long
 * as k replicas have it still, also those who were not heard.
 */
static void check_waited(struct world *w, int slot, const struct record *before,
			 const struct server *winner)
{
	const struct ledger *l = &w->ledger;
	const struct group *g = &before->g;
	uint32_t k = g->durability < g->durability_proven ? g->durability : g->durability_proven;
	uint16_t serial = w->store.records[slot].serial;

	for (uint32_t n = 1; k > 0 && n <= l->next; n++) {
		bool lacks = l->of[n] == serial && l->told[n] == TOLD_WRITTEN && l->waited[n] > 0 &&
			     winner->data.value[n % DATA_KEYS] < n;
		unsigned holders = lacks ? count_holders(w, before, n, winner) : 0;

		if (lacks && l->waited[n] >= k && holders >= k) {
			sim_broken(
				w,
				"wait: with durability %u the winner lacks write %u that WAIT %u "
				"was told of, and %u have it",
				k, n, l->waited[n], holders);
			return;
		}
	}
}

/* With durability the old source has too few replicas left, as far as it was elected by that. */
static void note_cut_off(struct world *w, const struct record *before)
{
	struct node *old = &w->nodes[before->g.source.b[15]];

	if (before->g.durability_proven > 0 && !before->g.op.accept_data_loss) {
		old->cut_off_ms = w->now_ms + 4000;
		old->cut_off_run = old->server.run_no;
	}
}

static void check_elected(struct world *w, int slot, const struct record *before)
{
	const struct record *r = &w->store.records[slot];
	const struct server *winner = winner_of(w, r);
	bool accepted = before->g.op.accept_data_loss;

	if (w->ledger.ops[slot].was_handover && !accepted) {
		check_handed_over(w, slot, &w->ledger.ops[slot].handed);
	}
	if (winner != NULL && !accepted) {
		check_best(w, slot, before, winner);
		check_waited(w, slot, before, winner);
	}
	note_cut_off(w, before);
	struct data held = winner != NULL ? winner->data : ledger_held(w, slot);

	ledger_forgive_behind(w, slot, &held);
	w->ledger.ops[slot].was_handover = false;
}

/* Whoever asked is told how it ended. */
static void check_outcome(struct world *w, const struct record *r, const struct record *before)
{
	bool asked = before->g.op.kind == OP_HANDOVER || before->g.op.kind == OP_EJECT;
	const struct op_outcome *last = &r->g.last;

	if (!asked || r->g.op.kind != OP_NONE || !r->there) {
		return;
	}
	if (!id_eq(last->op, before->g.op.id) || last->reason == NULL || last->reason[0] == '\0') {
		sim_broken(w, "5: %s ended in phase %s, and the record does not say how",
			   op_kind_name(before->g.op.kind), op_phase_name(before->g.op.phase));
	}
}

void check_change(struct world *w, int slot, const struct record *before)
{
	const struct record *r = &w->store.records[slot];
	enum op_phase from = before->there ? before->g.op.phase : PHASE_NONE;
	enum op_phase to = r->g.op.phase;
	struct op_ledger *op = &w->ledger.ops[slot];

	if (!before->there) {
		w->result.detached += r->g.op.kind == OP_DETACH;
		return;
	}
	check_outcome(w, r, before);
	if (to == from) {
		return;
	}
	if (to == PHASE_HANDOVER_CHECK) {
		*op = (struct op_ledger){ .handover_ms = w->now_ms };
	} else if (to == PHASE_EJECT_DRAIN) {
		*op = (struct op_ledger){ .drain_ms = w->now_ms };
	} else if (to == PHASE_EJECT_SEAL) {
		op->was_handover = from == PHASE_HANDOVER_PROMOTE;
		op->drained_short =
			from == PHASE_EJECT_DRAIN && w->now_ms - op->drain_ms < SIM_DRAIN_LIMIT_MS;
	} else if (to == PHASE_HANDOVER_PROMOTE) {
		op->handed = w->ledger.must[slot];
		check_handed_over(w, slot, &op->handed);
		check_durable(w, r);
	} else if (to == PHASE_HANDOVER_STAGE) {
		check_stage(w, r);
	} else if (to == PHASE_EJECT_PROMOTE) {
		check_elected(w, slot, before);
	}
}
