/*
 * The source is gone: drain, seal, elect. Three moments decide what can be lost.
 *
 * Drain: whoever is told to follow somebody else throws away what it has received and not read.
 * So nobody is touched before all have applied what they had. And nobody is promoted while the old
 * source may still take a write: its server is dead, or waits guarded, or nobody can know and the
 * operator, or the durability of the group, has that covered.
 *
 * Seal: committed, at a new epoch. What the replicas say from here on is final, and the old source
 * has nobody left to have its writes acknowledged by.
 *
 * Elect: core/elect.c says who. With a winner the rest is core/group_promote.c.
 *
 * Before that commit the source can come back. Its old run, alive after all, has every write: the
 * eject is undone, whatever was accepted, because nothing needs to be given up any more. A new
 * run, restarted and guarded, may lack some: the eject wins over it, as long as somebody can be
 * elected. When nobody can, the eject is undone and the guard compares it with its replicas. That
 * these were sealed meanwhile means nothing to the guard: it asks what they hold, not whom they
 * follow.
 */
#include <inttypes.h>

#include "base/str.h"
#include "core/group_rules.h"
#include "core/operate.h"

/* Events of a commit that are not about a candidate. */
enum { CANDIDATES_TOLD_MAX = GROUP_EVENTS_MAX - 4 };

static struct operate_in operate_in_of(const struct step *s)
{
	return (struct operate_in){
		.obs = s->in->obs,
		.silent = s->in->silent,
		.live = s->live,
		.now_ms = s->in->now_ms,
		.wall_ms = s->in->wall_ms,
	};
}

/* undo */

static bool undo(struct step *s, size_t source, const char *why)
{
	const struct operate_in in = operate_in_of(s);
	const struct member *m = &s->g->members[source];
	struct phase_took took = step_took(s);
	enum op_phase phase = s->g->op.phase;

	operate_undo_eject(s->g, &in);
	step_outcome(s, OP_NOT_DONE, "'%.64s' stays the source: %s", m->name, why);
	step_event(s, EVENT_EJECT_UNDONE, m, "%.318s", s->out->outcome);
	step_figures(s, "phase=%s%s", op_phase_name(phase), took.s);
	step_end_op(s);
	return true;
}

/* The run that was the source, seen since this phase began. */
static bool lives(const struct step *s, size_t source)
{
	const struct observation *o = step_fresh(s, source);

	return o != NULL && operate_source_state(s->g, o) == SOURCE_LIVES &&
	       replid_eq(&o->run_id, &s->g->source_run) && !o->sync_in_progress;
}

/* A restarted run that can be compared: it has loaded what it has. */
static bool has_returned(const struct step *s, size_t source)
{
	const struct observation *o = step_fresh(s, source);

	return server_ready(o) && o->guarded && replid_known(&o->run_id) &&
	       !replid_eq(&o->run_id, &s->g->source_run);
}

/* drain */

/* Nothing but this control plane's word lets its server take a write. */
static bool cannot_write(const struct step *s, size_t source)
{
	const struct observation *o = s->in->obs[source];

	return o != NULL && operate_source_state(s->g, o) == SOURCE_GONE;
}

/* It hangs and is about to be killed, or its agent has yet to report. */
static bool is_worth_waiting_for(const struct step *s, size_t source)
{
	return !s->in->silent[source] && !cannot_write(s, source);
}

/*
 * Nobody was seen to have killed it. What it may still acknowledge is covered by the durability of
 * the group, where the election will count who is sealed, or by the operator.
 */
static bool is_covered(const struct step *s)
{
	return s->g->durability > 0 || s->g->op.accept_data_loss;
}

static bool enter_seal(struct step *s, size_t source, size_t busy)
{
	struct phase_took took = step_took(s);

	s->g->epoch++;
	step_event(s, EVENT_EJECT_PHASE, &s->g->members[source],
		   busy == 0 ? "every replica that answers has applied what it had received"
			     : "the limit has passed, and not every replica was seen to have applied "
			       "what it had received");
	step_figures(s, "phase=%s busy=%zu%s", op_phase_name(s->g->op.phase), busy, took.s);
	step_enter_phase(s, PHASE_EJECT_SEAL);
	return true;
}

static bool is_drained(struct step *s, size_t i)
{
	const struct election_clock clock = {
		.now_ms = s->in->now_ms,
		.fresh_watch = s->in->fresh_watch,
	};

	return s->in->silent[i] || election_drained(s->g, s->live, i, s->in->obs[i], &clock);
}

static bool drain(struct step *s, size_t source)
{
	size_t busy = 0;

	for (size_t i = 0; i < s->g->nmembers; i++) {
		busy += !is_drained(s, i);
	}
	bool waited = step_waited(s, s->in->drain_limit_ms);

	if (!waited && (busy > 0 || is_worth_waiting_for(s, source))) {
		step_wake(s, s->in->now_ms + ELECTION_STILL_MS);
		return false;
	}
	if (!cannot_write(s, source) && !is_covered(s)) {
		return undo(s, source,
			    "it was not seen to be dead, and may take writes. accept_data_loss ejects "
			    "it all the same");
	}
	return enter_seal(s, source, busy);
}

/* elect */

/* Those who answer and have yet to carry out the seal. */
static size_t count_unsealed(struct step *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->g->nmembers; i++) {
		if (!member_keeps_position(&s->g->members[i]) && !is_drained(s, i)) {
			step_wake(s, s->in->now_ms + ELECTION_STILL_MS);
		}
		const struct observation *o = s->in->obs[i];
		bool expected = o == NULL || (server_ready(o) && !o->guarded &&
					      o->role != SERVER_ROLE_MASTER);

		n += group_is_replica(s->g, &s->g->members[i]) && !s->in->silent[i] && expected &&
		     !election_sealed(s->g, s->live, i, o);
	}
	return n;
}

static void tell_candidates(struct step *s, const struct election *e)
{
	for (size_t i = 0; i < e->in.n && i < CANDIDATES_TOLD_MAX; i++) {
		const struct elect_candidate *c = &e->candidates[i];
		char text[320];

		step_event(s, EVENT_EJECT_CANDIDATE, group_find(s->g, c->id), "%s",
			   elect_explain(&e->in, &e->out, i, text, sizeof text));
		step_figures(s,
			     "why=%s offset=%" PRId64 " last_io_s=%d keys=%" PRId64
			     " sealed=%d durable=%d replid=%s",
			     elect_why_name(e->out.of[i].why), e->out.of[i].offset,
			     (int)c->last_io_s, c->keys, c->sealed, c->durable, c->at.replid.s);
	}
}

/*
 * The winner leaves the replicas: who stays may hold fewer copies of a write than before, unless
 * everybody was seen to stand where the winner does.
 */
static bool all_stand_alike(const struct election *e)
{
	int64_t offset = e->out.of[e->out.winner].offset;

	for (size_t i = 0; i < e->in.n; i++) {
		bool alike = e->out.of[i].why == ELECT_WHY_ELIGIBLE && e->out.of[i].offset == offset;

		if (e->candidates[i].may_hold && !alike) {
			return false;
		}
	}
	return true;
}

/*
 * The winner's offset is no measure of its data, so the others' offsets do not compare with it,
 * though its server would let them continue. They count for nothing until they were seen to hold
 * its data anew. Those whose replication id is the winner's second one may be let in with a
 * partial resync all the same and keep what the winner lacks: only a restart of their servers
 * from an AOF forces a full copy, and nobody here orders that.
 */
static void begin_anew(struct step *s, size_t winner)
{
	for (size_t i = 0; i < s->g->nmembers; i++) {
		struct member *m = &s->g->members[i];

		if (i == winner || !group_is_replica(s->g, m)) {
			continue;
		}
		m->attached_once = false;
		s->live->members[i].sampled = false;
		s->live->members[i].sample_watch = 0;
		s->live->members[i].progress_ms = s->in->now_ms;
		if (m->state == MEMBER_ACTIVE) {
			step_enter_state(s, i, MEMBER_SYNCING);
		}
	}
}

static void promote(struct step *s, const struct election *e)
{
	struct group *g = s->g;
	size_t w = step_index(s, e->candidates[e->out.winner].id);
	char reason[320];

	tell_candidates(s, e);
	/* What the election found out of the pending ids is worth keeping. */
	memcpy(g->history, e->history, g->nhistory * sizeof g->history[0]);
	if (!all_stand_alike(e)) {
		group_durability_leaves(g, &g->members[w]);
	}
	if (e->out.last_resort && e->out.history_start <= 0) {
		begin_anew(s, w);
	}
	promote_commit(s, &(struct promotion){
				  .winner = w,
				  .start = e->out.history_start,
				  .phase = PHASE_EJECT_PROMOTE,
				  .split_old = true,
				  .reason = elect_reason(&e->in, &e->out, reason, sizeof reason),
			  });
}

static const char *remedy(const struct election *e)
{
	return e->out.winner == ELECT_NOBODY
		       ? "It is tried again as soon as a replica returns."
		       : "It is tried again as soon as a replica returns; "
			 "`tanist eject --accept-data-loss` goes on with what there is.";
}

/* Nobody can be elected: with this reason; false when it is held for it already. */
static bool hold(struct step *s, size_t source, const struct election *e)
{
	struct member *m = &s->g->members[source];
	struct phase_took took = step_took(s);
	char reason[320], text[sizeof m->fault.text];
	bool held = s->g->op.phase == PHASE_EJECT_HELD;

	elect_reason(&e->in, &e->out, reason, sizeof reason);
	snprintf(text, sizeof text, "It is gone, and no replica is promoted (%s): %s. %s",
		 elect_verdict_name(e->out.verdict), reason, remedy(e));
	if (held && m->fault.kind == FAULT_ELECT && str_eq(text, m->fault.text)) {
		return false;
	}
	if (!held) {
		tell_candidates(s, e);
		step_event(s, EVENT_EJECT_HELD, m, "%s", reason);
		step_figures(s, "verdict=%s sealed=%zu replicas=%zu loss_bytes=%" PRId64 "%s",
			     elect_verdict_name(e->out.verdict), e->out.sealed, e->out.replicas,
			     e->out.loss_bytes, took.s);
		step_enter_phase(s, PHASE_EJECT_HELD);
	}
	step_fail(s, source, FAULT_ELECT, "%s", text);
	return true;
}

static bool elect(struct step *s, size_t source)
{
	const struct operate_in in = operate_in_of(s);
	struct election e = {};

	election_hold(s->g, &in, ELECTION_SEALED, s->g->op.accept_data_loss, &e);
	if (e.out.verdict == ELECT_WINNER) {
		promote(s, &e);
		return true;
	}
	if (has_returned(s, source)) {
		char why[320];
		char reason[240];

		snprintf(why, sizeof why, "it was restarted and is compared with its replicas; %s",
			 elect_reason(&e.in, &e.out, reason, sizeof reason));
		return undo(s, source, why);
	}
	return hold(s, source, &e);
}

/*
 * Also where a seal went out without a drain, because a new source died before it served: then
 * nothing was written since the drain that counted.
 */
static bool seal_and_elect(struct step *s, size_t source)
{
	if (count_unsealed(s) > 0 && !step_waited(s, s->in->seal_limit_ms)) {
		return false;
	}
	return elect(s, source);
}

bool rule_eject(struct step *s)
{
	const struct group *g = s->g;
	size_t source = step_index(s, g->source);

	if (source == g->nmembers || g->members[source].state == MEMBER_DELETING) {
		step_outcome(s, OP_NOT_DONE, "the source is being deleted");
		step_event(s, EVENT_EJECT_UNDONE, NULL, "%s", s->out->outcome);
		step_end_op(s);
		return true;
	}
	if (group_replica_count(g) == 0) {
		return undo(s, source, "no replica is left that could be promoted");
	}
	if (lives(s, source)) {
		return undo(s, source,
			    "its server answers again, with everything. Promoting a replica hands "
			    "over without loss");
	}
	return g->op.phase == PHASE_EJECT_DRAIN ? drain(s, source) : seal_and_elect(s, source);
}
