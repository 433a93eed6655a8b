/*
 * A planned change of source, up to its commit, and its undo.
 *
 *	check    nothing is touched; refused when it could not succeed
 *	stage    the others follow the target already; the target has its data on disk
 *	fence    the source takes no writes; once the target has its last byte it follows the target
 *	undo     instead of the commit: the source goes on, with everything
 *
 * No acknowledged write can be lost here, because only what the source says of itself as a replica
 * of the target is decided on: it is read-only then, and its offset is final. The target has that
 * offset, in the same stream, or it is not promoted. Everything else in the fence is for speed.
 * What was seen counts from the commit of the phase on (step_fresh), so neither an earlier attempt
 * nor an earlier life of the control plane can speak.
 */
#include <inttypes.h>

#include "base/str.h"
#include "core/group_handover.h"

/* the two it is about */

struct handover_sides handover_sides_of(const struct step *s)
{
	size_t n = s->g->nmembers;
	struct handover_sides d = {
		.source = step_index(s, s->g->source),
		.target = step_index(s, s->g->op.target),
	};

	if (d.source < n) {
		d.so = step_fresh(s, d.source);
		d.ids = member_keeps_position(&s->g->members[d.source]);
	}
	if (d.target < n) {
		d.to = step_fresh(s, d.target);
	}
	return d;
}

const char *handover_target_name(const struct step *s)
{
	const struct member *m = group_find(s->g, s->g->op.target);

	return m == NULL ? "the target" : m->name;
}

bool handover_is_leaving(const struct step *s, size_t i)
{
	return i == s->g->nmembers || s->g->members[i].state == MEMBER_DELETING;
}

const char *handover_broken_off(const struct step *s, const struct handover_sides *d)
{
	const struct observation *so, *to;

	if (handover_is_leaving(s, d->source) || handover_is_leaving(s, d->target)) {
		return handover_is_leaving(s, d->source) ? "the source is being deleted"
							 : "the target is being deleted";
	}
	if (s->in->silent[d->source] || s->in->silent[d->target]) {
		return s->in->silent[d->source] ? "the source's agent is silent"
						: "the target's agent is silent";
	}
	so = step_obs(s, d->source);
	to = step_obs(s, d->target);
	if (so != NULL && server_lost(so, &s->g->source_run)) {
		return so->proc == PROC_RUNNING ? "the source was restarted"
						: "the source's server died";
	}
	if (to != NULL && replid_known(&s->g->op.run) && server_lost(to, &s->g->op.run)) {
		return to->proc == PROC_RUNNING ? "the target was restarted"
						: "the target's server died";
	}
	if (to != NULL && to->proc == PROC_RUNNING && to->role == SERVER_ROLE_MASTER) {
		return "the target was promoted by hand";
	}
	return NULL;
}

void handover_leave_phase(struct step *s, enum op_phase next, const char *reason)
{
	struct phase_took took = step_took(s);

	step_event(s, EVENT_HANDOVER_PHASE, group_find(s->g, s->g->op.target), "%s", reason);
	step_figures(s, "phase=%s%s", op_phase_name(s->g->op.phase), took.s);
	step_enter_phase(s, next);
}

/* undo, and what leads there */

/*
 * Where its stream would go on under a new id: past everything that anybody has of it. Too late a
 * start does no harm; too early a one calls members diverged that are not.
 */
static int64_t undo_start(const struct group *g, const struct group_live *live,
			  const struct observation *const *obs)
{
	int64_t highest = live->fenced_offset;

	if (live->yielded_ms == 0) {
		return INT64_MAX; /* behind a mere pause it may have written on in the same stream */
	}
	for (size_t i = 0; i < g->nmembers; i++) {
		const struct observation *o = obs[i];

		if (server_ready(o) && server_in_stream(g, o) && o->offset > highest) {
			highest = o->offset;
		}
	}
	return highest + 1;
}

void handover_take_back(struct group *g, const struct group_live *live,
			const struct observation *const *obs)
{
	static const struct replid unknown = {};
	const struct member *source = group_source(g);

	g->epoch++;
	if (g->op.phase == PHASE_HANDOVER_FENCE && source != NULL && member_keeps_position(source)) {
		history_push(g, &unknown, undo_start(g, live, obs));
	}
}

/* What there is to say of the fence, at the end of it: events of its own would cost commits. */
static void tell_of_fence(struct step *s)
{
	const struct group_live *l = s->live;
	char yielded[40] = "", began[40] = "";

	if (l->fenced_ms == 0) {
		return;
	}
	if (l->phase_whole) {
		snprintf(began, sizeof began, " fence_ms=%" PRId64,
			 l->fenced_ms - l->phase_since_ms);
	}
	if (l->yielded_ms != 0) {
		snprintf(yielded, sizeof yielded, " yield_ms=%" PRId64,
			 l->yielded_ms - l->fenced_ms);
	}
	step_event(s, EVENT_SOURCE_FENCED, group_source(s->g), "it takes no writes");
	step_figures(s, "offset=%" PRId64 " target_offset=%" PRId64 "%s%s", l->fenced_offset,
		     l->peer_offset, began, yielded);
}

/* Committed instead of the promotion. Only behind a fence may the source have changed its role. */
static bool undo(struct step *s, const char *reason)
{
	struct group *g = s->g;
	struct phase_took took = step_took(s);
	char left[64];

	snprintf(left, sizeof left, "phase=%s%s", op_phase_name(g->op.phase), took.s);
	tell_of_fence(s);
	handover_take_back(g, s->live, s->in->obs);
	step_outcome(s, OP_NOT_DONE, "taken back: %s. The source goes on with all that it has.",
		     reason);
	step_event(s, EVENT_HANDOVER_UNDOING, group_find(g, g->op.target), "%s", s->out->outcome);
	step_figures(s, "%s", left);
	step_enter_phase(s, PHASE_HANDOVER_UNDO);
	return true;
}

static bool end_undo(struct step *s, const char *reason)
{
	const struct group_live *l = s->live;
	struct phase_took took = step_took(s);
	char stood[40] = "";

	if (l->fenced_ms != 0) {
		snprintf(stood, sizeof stood, " stood_ms=%" PRId64, s->in->now_ms - l->fenced_ms);
	}
	step_event(s, EVENT_HANDOVER_UNDONE, group_source(s->g), "%s%s%.200s", reason,
		   s->g->last.reason != NULL ? ": " : "",
		   s->g->last.reason != NULL ? s->g->last.reason : "");
	step_figures(s, "phase=%s%s%s", op_phase_name(s->g->op.phase), took.s, stood);
	s->g->last.at_wall_ms = s->in->wall_ms;
	step_end_op(s);
	return true;
}

static bool serves_again(const struct step *s, const struct observation *o)
{
	return server_ready(o) && o->role == SERVER_ROLE_MASTER && !o->fenced && o->goal_applied &&
	       o->goal_epoch == s->g->epoch && replid_eq(&o->run_id, &s->g->source_run);
}

static bool undoing(struct step *s)
{
	struct handover_sides d = handover_sides_of(s);

	if (handover_is_leaving(s, d.source)) {
		return end_undo(s, "the source is being deleted");
	}
	const struct observation *o = step_obs(s, d.source);

	if (serves_again(s, d.so)) {
		(void)promote_fill_history(s); /* gone again when it never was a replica */
		return end_undo(s, "the source serves as before");
	}
	if (o != NULL && o->proc == PROC_RUNNING && server_lost(o, &s->g->source_run)) {
		return end_undo(s, "the source was restarted and is judged as after any restart");
	}
	return step_waited(s, s->in->start_limit_ms) &&
	       end_undo(s, "the source was not seen to serve again within the limit");
}

/* STAGE */

/*
 * Restarted meanwhile it has no place in the stream, and its agent has it follow nobody before the
 * promotion (step_follow() of core/instance.c): there is nothing to wait for.
 */
static bool lost_its_place(const struct observation *o)
{
	return server_ready(o) && o->role == SERVER_ROLE_REPLICA && o->upstream_port == 0 &&
	       o->slave_offset <= 1;
}

static bool is_late(const struct step *s, size_t i, const struct member *target)
{
	const struct member *m = &s->g->members[i];
	const struct observation *o = s->in->obs[i];
	bool reachable = !s->in->silent[i] && (o == NULL || o->proc == PROC_RUNNING);

	return group_is_replica(s->g, m) && m->state == MEMBER_ACTIVE && goal_is_staged(s->g, m) &&
	       reachable && !lost_its_place(o) && !server_linked_to(step_fresh(s, i), target);
}

static size_t count_late(const struct step *s, const struct member *target)
{
	size_t n = 0;

	for (size_t i = 0; i < s->g->nmembers; i++) {
		n += is_late(s, i, target);
	}
	return n;
}

struct reason {
	char text[240];
};

/* Bytes that any target is behind for a moment, and applies while the source is being fenced. */
enum { NEARLY_NOTHING = 64 << 10 };

/*
 * Behind a fence the target has the catch-up limit for what it lacks. What it has applied in this
 * phase, while the source wrote on, says how much that is: a fence that is bound to be taken back
 * would hold writers up for nothing. A quarter of the limit, because this is a guess.
 */
static bool is_within_reach(struct step *s, const struct handover_sides *d, struct reason *why)
{
	struct group_live *l = s->live;
	int64_t has = d->to->slave_offset, behind = d->so->offset - has;

	if (l->stage_ms == 0) {
		l->stage_ms = s->in->now_ms;
		l->stage_offset = has;
	}
	int64_t took_ms = s->in->now_ms - l->stage_ms, applied = has - l->stage_offset;

	if (behind <= NEARLY_NOTHING ||
	    (took_ms > 0 && behind / (s->in->catch_up_limit_ms / 4) < applied / took_ms)) {
		return true;
	}
	snprintf(why->text, sizeof why->text,
		 "the target is %" PRId64 " bytes behind and has applied %" PRId64 " in %" PRId64
		 " ms: it would not catch up in time; try again when there are fewer writes",
		 behind, applied, took_ms);
	return false;
}

/* What the target lacks before the fence may begin; NULL: nothing. */
static const char *lacking(struct step *s, const struct handover_sides *d, struct reason *why)
{
	if (d->so == NULL || d->to == NULL) {
		return d->so == NULL ? "the source did not answer" : "the target did not answer";
	}
	if (!server_linked_to(d->to, &s->g->members[d->source])) {
		return "the target lost its link to the source";
	}
	if (!d->to->durable) {
		return "the target does not have all its data on disk yet (its AOF is being "
		       "written)";
	}
	return is_within_reach(s, d, why) ? NULL : why->text;
}

static bool stage(struct step *s)
{
	struct handover_sides d = handover_sides_of(s);
	const char *broken = handover_broken_off(s, &d);

	if (broken != NULL) {
		return undo(s, broken);
	}
	struct reason why;
	const char *lacks = lacking(s, &d, &why);
	size_t late = count_late(s, &s->g->members[d.target]);

	if (late > 0 && server_linked_to(d.to, &s->g->members[d.source])) {
		s->live->peer_offset =
			d.to->slave_offset; /* they follow it when it has passed them */
	}
	if ((lacks != NULL || late > 0) && !step_waited(s, s->in->stage_limit_ms)) {
		return false;
	}
	if (lacks != NULL) {
		return undo(s, lacks);
	}
	handover_leave_phase(s, PHASE_HANDOVER_FENCE,
			     late > 0 ? "those that do not follow it yet are left for later"
				      : "the others follow it");
	return true;
}

/* FENCE */

/* Is this what the source's stream came to, at this server? */
static bool holds_stream(const struct step *s, const struct handover_sides *d,
			 const struct observation *o)
{
	if (!server_ready(o) || o->role != SERVER_ROLE_REPLICA || o->sync_in_progress) {
		return false;
	}
	return d->ids ? server_in_stream(s->g, o)
		      : server_linked_to(o, &s->g->members[d->source]); /* a figure of this link */
}

/* The source has become the target's replica. */
static bool has_yielded(const struct step *s, const struct handover_sides *d)
{
	const struct member *target = &s->g->members[d->target];
	const struct observation *o = d->so;

	return server_ready(o) && o->role == SERVER_ROLE_REPLICA &&
	       replid_eq(&o->run_id, &s->g->source_run) && o->upstream_port == target->port &&
	       str_eq(o->upstream_host, target->address);
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/*
 * It was further behind its fence than it is now: it has copied from the target, which had less.
 * Its agent yields only when that cannot be; but what goes backwards is never promoted over.
 */
static bool has_gone_back(const struct step *s, const struct handover_sides *d)
{
	return d->ids && has_yielded(s, d) && holds_stream(s, d, d->so) &&
	       d->so->slave_offset < s->live->fenced_offset;
}

/* Live only: what the source's agent goes by, and what the events tell. */
static void follow_fence(struct step *s, const struct handover_sides *d)
{
	struct group_live *l = s->live;

	if (server_ready(d->so) && d->so->role == SERVER_ROLE_MASTER && d->so->fenced) {
		l->fenced_ms = l->fenced_ms == 0 ? s->in->now_ms : l->fenced_ms;
		l->fenced_offset = larger(l->fenced_offset, d->so->offset);
	}
	if (has_yielded(s, d)) {
		l->yielded_ms = l->yielded_ms == 0 ? s->in->now_ms : l->yielded_ms;
		l->fenced_offset = holds_stream(s, d, d->so)
					   ? larger(l->fenced_offset, d->so->slave_offset)
					   : l->fenced_offset;
	}
	bool same_stream = !d->ids || (d->so != NULL && server_in_stream(s->g, d->so));

	if (same_stream && holds_stream(s, d, d->to)) {
		l->peer_offset = d->to->slave_offset;
		l->caught_up |= l->fenced_ms != 0 && l->peer_offset >= l->fenced_offset;
	}
}

/*
 * The source is read-only behind the target, so its offset is final, and the target has it. Before
 * 4.0 that change of role erases offsets, on both: what counts there is what was read behind the
 * fence.
 */
static bool has_everything(const struct step *s, const struct handover_sides *d)
{
	if (!has_yielded(s, d) || !server_ready(d->to) || d->to->role != SERVER_ROLE_REPLICA) {
		return false;
	}
	if (!d->ids) {
		return s->live->caught_up;
	}
	return holds_stream(s, d, d->so) && holds_stream(s, d, d->to) && !has_gone_back(s, d) &&
	       d->to->slave_offset >= d->so->slave_offset;
}

static bool hand_over(struct step *s, const struct handover_sides *d)
{
	char reason[240];

	snprintf(reason, sizeof reason,
		 "'%.64s' has everything that '%.64s' has, up to offset %" PRId64
		 ", and takes over",
		 handover_target_name(s), s->g->members[d->source].name,
		 d->ids ? d->so->slave_offset : s->live->fenced_offset);
	tell_of_fence(s);
	promote_commit(s, &(struct promotion){
				  .winner = d->target,
				  .start = d->ids ? d->to->slave_offset + 1 : 0,
				  .phase = PHASE_HANDOVER_PROMOTE,
				  .reason = reason,
			  });
	return true;
}

/* Why it cannot end well any more, though both servers run; NULL: it still can. */
static const char *hopeless(const struct step *s, const struct handover_sides *d)
{
	if (has_gone_back(s, d)) {
		return "the source copied from the target, which had less: the last writes before "
		       "the fence may be missing";
	}
	if (d->ids && has_yielded(s, d) && d->so->sync_in_progress) {
		return "the source had more than the target, and began to copy from it";
	}
	if (d->to == NULL) {
		return NULL;
	}
	if (d->to->loading || (d->ids && d->to->sync_in_progress)) {
		return "the target began to copy everything anew";
	}
	if (d->ids && has_yielded(s, d) && holds_stream(s, d, d->so) && !d->to->link_up &&
	    d->to->slave_offset < d->so->slave_offset) {
		return "the link broke before the target had the source's last bytes";
	}
	return NULL;
}

static bool undo_late(struct step *s, const struct handover_sides *d)
{
	const struct group_live *l = s->live;
	int64_t ms = s->in->now_ms - l->phase_since_ms;
	char reason[240];

	if (l->fenced_ms == 0) {
		snprintf(reason, sizeof reason,
			 "the source was not seen to stop its writes within %" PRId64 " ms", ms);
	} else if (l->peer_offset < 0) {
		snprintf(reason, sizeof reason,
			 "after %" PRId64
			 " ms it is not known how far behind the target is (its server: %s)",
			 ms, d->to == NULL ? "not heard" : proc_state_name(d->to->proc));
	} else if (l->peer_offset < l->fenced_offset) {
		snprintf(reason, sizeof reason,
			 "after %" PRId64 " ms the target was still %" PRId64
			 " bytes behind (offset %" PRId64 " of %" PRId64
			 "); try again when there are fewer writes",
			 ms, l->fenced_offset - l->peer_offset, l->peer_offset, l->fenced_offset);
	} else {
		snprintf(reason, sizeof reason,
			 "the target had everything, but the source was not seen %s within %" PRId64
			 " ms",
			 has_yielded(s, d) ? "to hold no more" : "to follow it", ms);
	}
	return undo(s, reason);
}

static bool fence(struct step *s)
{
	struct handover_sides d = handover_sides_of(s);
	const char *broken = handover_broken_off(s, &d);

	if (broken != NULL) {
		return undo(s, broken);
	}
	follow_fence(s, &d);
	if (has_everything(s, &d)) {
		return hand_over(s, &d);
	}
	const char *why = hopeless(s, &d);

	if (why != NULL) {
		return undo(s, why);
	}
	bool late = s->live->yielded_ms == 0 && step_waited(s, s->in->catch_up_limit_ms);

	late |= step_waited(s, s->in->handover_limit_ms);
	return late && undo_late(s, &d);
}

bool rule_handover(struct step *s)
{
	switch (s->g->op.phase) {
	case PHASE_HANDOVER_CHECK:
		return handover_check(s);
	case PHASE_HANDOVER_STAGE:
		return stage(s);
	case PHASE_HANDOVER_FENCE:
		return fence(s);
	case PHASE_HANDOVER_UNDO:
		return undoing(s);
	case PHASE_NONE:
	case PHASE_CREATE_START:
	case PHASE_RESTART_COMPARE:
	case PHASE_RESTART_HELD:
	case PHASE_RESTART_CONFIRM:
	case PHASE_HANDOVER_PROMOTE:
	case PHASE_HANDOVER_TIDY:
	case PHASE_HANDOVER_DROP:
	case PHASE_EJECT_DRAIN:
	case PHASE_EJECT_SEAL:
	case PHASE_EJECT_HELD:
	case PHASE_EJECT_PROMOTE:
	case PHASE_EJECT_TIDY:
	case PHASE_DETACH_PROMOTE:
	case PHASE_COUNT:
		break;
	}
	return false;
}
