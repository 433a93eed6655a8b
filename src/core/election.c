/*
 * An election of a group: what record, observations and memory say of its replicas, put before
 * elect_pick(). Here it is decided when a replica's figures are final: when it has applied what
 * it had received (drained), and when nothing can reach it any more (sealed).
 */
#include "base/macros.h"
#include "core/operate.h"

static bool is_fresh(const struct group_live *live, const struct observation *o)
{
	return o != NULL && live->op_watch != 0 && watch_answers(o->watch, live->op_watch);
}

static void watch_again(struct group_live *live, struct member_live *l, uint64_t fresh_watch)
{
	if (l->still_watch == 0) {
		l->still_watch = fresh_watch;
	}
	if (live->watch < l->still_watch) {
		live->watch = l->still_watch;
	}
}

/*
 * What is unread in a busy replica's socket shows in no figure, so one look tells nothing.
 * Linked and standing still: the same offset in two answers, the second to a question asked 50 ms
 * after the first came. Answers, not silence: a report that is late must not pass for stillness.
 */
static bool stands_still(struct group_live *live, size_t i, const struct observation *o,
			 const struct election_clock *c)
{
	struct member_live *l = &live->members[i];
	bool unread = o->read_offset >= 0 && o->read_offset != o->slave_offset;
	bool noted = l->still_since_ms != 0 && l->still_since_ms >= live->phase_since_ms;

	if (!noted || unread || o->slave_offset != l->still_offset) {
		l->still_offset = o->slave_offset;
		l->still_since_ms = c->now_ms;
		l->still_watch = 0;
		return false;
	}
	if (c->now_ms < l->still_since_ms + ELECTION_STILL_MS) {
		return false;
	}
	watch_again(live, l, c->fresh_watch);
	return watch_answers(o->watch, l->still_watch);
}

/* A running replica of the group's data, that may have something unread. */
static bool is_drained(struct group_live *live, size_t i, const struct observation *o,
		       const struct election_clock *c)
{
	if (o->loading || o->role == SERVER_ROLE_UNKNOWN) {
		return false;
	}
	/* A copy that is under way is of no use; who follows nobody has nothing to read. */
	bool reads = o->role == SERVER_ROLE_REPLICA && !o->guarded && !o->sync_in_progress &&
		     o->link_up;

	return !reads || stands_still(live, i, o, c);
}

bool election_drained(const struct group *g, struct group_live *live, size_t i,
		      const struct observation *o, const struct election_clock *c)
{
	const struct member *m = &g->members[i];

	/* Whoever has not held the whole data cannot win: nobody waits for it. */
	if (!group_is_replica(g, m) || !m->attached_once) {
		return true;
	}
	if (!is_fresh(live, o)) {
		return false;
	}
	switch (o->proc) {
	case PROC_RUNNING:
		return is_drained(live, i, o, c);
	case PROC_HUNG: /* busy: what it has not read yet may be the group's last bytes */
	case PROC_STARTING:
		return false;
	case PROC_NONE:
	case PROC_EXITED:
	case PROC_FAILED:
	case PROC_DELETED:
	case PROC_STATE_COUNT:
		break;
	}
	return true;
}

/*
 * Before 4.0 a seal would erase the position: there what was drained counts, once it is out of
 * the old source's reach or has stood still.
 */
static bool is_out_of_reach(const struct group_live *live, size_t i, const struct observation *o)
{
	const struct member_live *l = &live->members[i];
	bool still = l->still_watch != 0 && watch_answers(o->watch, l->still_watch) &&
		     o->slave_offset == l->still_offset;

	return !o->link_up || still;
}

bool election_sealed(const struct group *g, const struct group_live *live, size_t i,
		     const struct observation *o)
{
	if (!is_fresh(live, o) || o->proc != PROC_RUNNING || o->loading ||
	    o->role != SERVER_ROLE_REPLICA || o->guarded) {
		return false;
	}
	if (!member_keeps_position(&g->members[i])) {
		return is_out_of_reach(live, i, o);
	}
	return o->goal_applied && o->goal_epoch == g->epoch && o->upstream_port == 0 && !o->link_up;
}

static bool could_be_sealed(const struct observation *o)
{
	return o != NULL && o->proc == PROC_RUNNING && !o->loading && !o->guarded &&
	       o->role == SERVER_ROLE_REPLICA;
}

static void add_candidate(const struct group *g, const struct operate_in *in,
			  enum election_kind kind, size_t i, struct election *e)
{
	const struct member_live *l = &in->live->members[i];
	const struct observation *o = in->silent[i] ? NULL : in->obs[i];
	const struct elect_beside beside = {
		.sealed = kind == ELECTION_SEALED ? election_sealed(g, in->live, i, o)
						  : could_be_sealed(o),
		.fresh = kind == ELECTION_DRY_RUN || is_fresh(in->live, o),
		.last_io_s = l->last_io_seen ? l->last_io_s : -1,
		.priority = ELECT_PRIORITY,
		.disk_error = o != NULL && o->disk_error,
	};

	e->candidates[e->in.n++] = elect_candidate_of(&g->members[i], o, &beside);
}

/* Of those whose id says whom they follow, not what they wrote themselves. */
static void fill_history(const struct group *g, struct election *e)
{
	struct history_position told[MODEL_MEMBERS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < e->in.n; i++) {
		const struct elect_candidate *c = &e->candidates[i];

		if (c->heard && c->running && !c->loading && c->role == SERVER_ROLE_REPLICA) {
			told[n++] = c->at;
		}
	}
	memcpy(e->history, g->history, g->nhistory * sizeof e->history[0]);
	history_fill(e->history, g->nhistory, told, n);
	e->in.history = (struct history){ .entries = e->history, .n = g->nhistory };
}

/*
 * Async counts nobody. Otherwise the weaker of what is asked for and what is proven: a write from
 * before a raise, or from before a replica left, is on so many of today's replicas only.
 */
static uint32_t known_copies(const struct group *g)
{
	return g->durability < g->durability_proven ? g->durability : g->durability_proven;
}

/* As its newest observation has it; one that does not serve now was last seen there. */
static struct history_position source_position(const struct group *g, const struct operate_in *in)
{
	struct history_position at = in->live->source_at;

	for (size_t i = 0; i < g->nmembers; i++) {
		const struct observation *o = in->silent[i] ? NULL : in->obs[i];

		if (id_eq(g->members[i].id, g->source) && o != NULL && o->proc == PROC_RUNNING &&
		    !o->loading && o->role == SERVER_ROLE_MASTER) {
			return history_position_of(o);
		}
	}
	if (in->live->source_at_ms == 0) {
		at.offset = -1;
	}
	return at;
}

/* A handover whose new source died before it served: nobody has asked for an eject. */
static bool is_unasked(const struct group *g)
{
	return g->op.kind == OP_EJECT && !id_is_zero(g->op.from);
}

/* What the handover had secured: everything up to where the new reign was to start. */
static struct history_position handed_over_at(const struct group *g)
{
	struct history_position at = { .offset = -1, .second_offset = -1 };
	const struct history_entry *last = g->nhistory > 0 ? &g->history[g->nhistory - 1] : NULL;

	for (size_t i = g->nhistory; last != NULL && last->start > 0 && i > 1; i--) {
		if (replid_known(&g->history[i - 2].replid)) {
			at.replid = g->history[i - 2].replid;
			at.offset = last->start - 1;
			break;
		}
	}
	return at;
}

void election_hold(const struct group *g, const struct operate_in *in, enum election_kind kind,
		   bool accept_data_loss, struct election *ret)
{
	ret->in = (struct elect_in){
		.candidates = ret->candidates,
		.bounded = g->durability > 0,
		.k = known_copies(g),
		.source = is_unasked(g) ? handed_over_at(g) : source_position(g, in),
		.loss_limit_bytes = is_unasked(g) ? 0 : ELECT_NO_LOSS_LIMIT,
		.accept_data_loss = accept_data_loss,
	};
	for (size_t i = 0; i < g->nmembers; i++) {
		if (!id_eq(g->members[i].id, g->source)) {
			add_candidate(g, in, kind, i, ret);
		}
	}
	fill_history(g, ret);
	elect_pick(&ret->in, &ret->out);
}
