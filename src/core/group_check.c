/*
 * Can it take over? Asked when the request comes in, of what is known then, and again in the
 * operation's first phase, of what the servers themselves say; up to there nothing was touched, so
 * a refusal leaves everything as it was.
 */
#include <inttypes.h>
#include <stdarg.h>

#include "base/str.h"
#include "core/group_handover.h"
#include "core/versions.h"

static enum handover_verdict say(char *buf, size_t size, enum handover_verdict v, const char *fmt,
				 ...) PRINTF_LIKE(4, 5);

static enum handover_verdict say(char *buf, size_t size, enum handover_verdict v, const char *fmt,
				 ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return v;
}

/* The first member that could not copy from the target's version; NULL: none. */
static const struct member *stranded(const struct group *g, const struct member *target)
{
	struct server_version from, to;

	for (size_t i = 0; i < g->nmembers; i++) {
		const struct member *m = &g->members[i];

		if (m == target || m->state == MEMBER_DELETING) {
			continue;
		}
		if (!version_parse(target->datastore, target->version, &from) ||
		    !version_parse(m->datastore, m->version, &to) || !version_can_feed(from, to)) {
			return m;
		}
	}
	return NULL;
}

static enum handover_verdict judge_record(const struct group *g, const struct member *target,
					  char *buf, size_t size)
{
	const struct member *source = group_source(g);

	if (source == NULL || source->state == MEMBER_DELETING) {
		return say(buf, size, HANDOVER_CANNOT, "the source is being deleted");
	}
	if (target == NULL || !group_is_replica(g, target)) {
		return say(buf, size, HANDOVER_CANNOT, "it is no replica of the group any more");
	}
	if (!target->attached_once || target->state != MEMBER_ACTIVE) {
		return say(buf, size, HANDOVER_CANNOT,
			   "it is not known to hold all of the source's data (state %s)",
			   member_state_name(target->state));
	}
	const struct member *lost = stranded(g, target);

	if (lost != NULL) {
		return say(buf, size, HANDOVER_CANNOT,
			   "'%.64s' (%.16s %.16s) could not copy from its version, %.16s %.16s: "
			   "upgrade or delete that one first",
			   lost->name, lost->datastore, lost->version, target->datastore,
			   target->version);
	}
	return HANDOVER_READY;
}

static enum handover_verdict judge_source(const struct group *g, const struct observation *o,
					  char *buf, size_t size)
{
	if (o == NULL) {
		return say(buf, size, HANDOVER_NOT_YET, "the source has not been heard");
	}
	if (server_lost(o, &g->source_run)) {
		return say(buf, size, HANDOVER_CANNOT,
			   o->proc == PROC_RUNNING ? "the source was restarted"
						   : "the source's server does not run");
	}
	if (!server_ready(o) || o->role != SERVER_ROLE_MASTER) {
		return say(buf, size, HANDOVER_NOT_YET, "the source does not serve (%s)",
			   o->loading ? "it loads its data" : proc_state_name(o->proc));
	}
	return HANDOVER_READY;
}

/* Its server, and its link to the source. */
static enum handover_verdict judge_target(const struct member *source, const struct observation *o,
					  char *buf, size_t size)
{
	if (o == NULL) {
		return say(buf, size, HANDOVER_NOT_YET, "it has not been heard");
	}
	if (o->disk_error || o->aof_write_failed) {
		return say(buf, size, HANDOVER_CANNOT, "its disk fails or is full");
	}
	if (!server_ready(o)) {
		return say(buf, size, HANDOVER_NOT_YET, "its server does not serve (%s)",
			   o->loading ? "it loads its data" : proc_state_name(o->proc));
	}
	if (o->role == SERVER_ROLE_MASTER) {
		return say(buf, size, HANDOVER_CANNOT, "it was promoted by hand");
	}
	if (!server_linked_to(o, source)) {
		return say(buf, size, HANDOVER_NOT_YET, "%s",
			   o->sync_in_progress ? "it is copying the source's data"
					       : "it has no link to the source");
	}
	return HANDOVER_READY;
}

bool server_in_stream(const struct group *g, const struct observation *o)
{
	const struct history_entry *last = g->nhistory > 0 ? &g->history[g->nhistory - 1] : NULL;

	return last != NULL && replid_known(&last->replid) &&
	       replid_eq(&o->replid, &last->replid) &&
	       (o->role == SERVER_ROLE_MASTER || o->slave_offset == o->offset);
}

static const struct observation *seen(const struct handover_view *v, const struct member *m)
{
	return v->obs[m - v->g->members];
}

enum handover_verdict handover_judge(const struct handover_view *v, char *buf, size_t size)
{
	const struct member *source = group_source(v->g), *target = group_find(v->g, v->target);
	enum handover_verdict verdict = judge_record(v->g, target, buf, size);

	if (verdict == HANDOVER_READY) {
		verdict = judge_source(v->g, seen(v, source), buf, size);
	}
	if (verdict == HANDOVER_READY) {
		verdict = judge_target(source, seen(v, target), buf, size);
	}
	if (verdict != HANDOVER_READY) {
		return verdict;
	}
	if (member_keeps_position(source) &&
	    !(server_in_stream(v->g, seen(v, source)) && server_in_stream(v->g, seen(v, target)))) {
		return say(buf, size, HANDOVER_NOT_YET, "it does not hold the source's stream");
	}
	return say(buf, size, HANDOVER_READY, "%s", "");
}

/* the phase */

static bool refuse(struct step *s, const char *reason)
{
	struct phase_took took = step_took(s);

	step_outcome(s, OP_NOT_DONE, "'%.64s' cannot take over: %s. Nothing was changed.",
		     handover_target_name(s), reason);
	step_event(s, EVENT_HANDOVER_REFUSED, group_find(s->g, s->g->op.target), "%s",
		   s->out->outcome);
	step_figures(s, "phase=%s%s", op_phase_name(s->g->op.phase), took.s);
	step_end_op(s);
	return true;
}

/* Every member that has an agent to answer has answered. */
static bool all_have_answered(const struct step *s)
{
	for (size_t i = 0; i < s->g->nmembers; i++) {
		if (!s->in->silent[i] && !handover_is_leaving(s, i) && step_fresh(s, i) == NULL) {
			return false;
		}
	}
	return true;
}

/* With its goal carried out it has the passwords that the others show, and the other way round. */
static bool goals_applied(const struct step *s, const struct handover_sides *d)
{
	return d->so != NULL && d->so->goal_applied && d->so->goal_epoch == s->g->epoch &&
	       d->to != NULL && d->to->goal_applied && d->to->goal_epoch == s->g->epoch;
}

bool handover_check(struct step *s)
{
	const struct observation *obs[MODEL_MEMBERS_MAX];
	struct handover_sides d = handover_sides_of(s);
	const char *broken = handover_broken_off(s, &d);
	char reason[240];

	if (broken != NULL) {
		return refuse(s, broken);
	}
	for (size_t i = 0; i < s->g->nmembers; i++) {
		obs[i] = step_fresh(s, i);
	}
	const struct handover_view v = { .g = s->g, .obs = obs, .target = s->g->op.target };
	enum handover_verdict verdict = handover_judge(&v, reason, sizeof reason);

	if (verdict == HANDOVER_CANNOT) {
		return refuse(s, reason);
	}
	bool waited = step_waited(s, step_phase_limit_ms(s));
	bool ready = verdict == HANDOVER_READY && goals_applied(s, &d);

	if (!waited && !(ready && all_have_answered(s))) {
		return false;
	}
	if (!ready) {
		return refuse(s, verdict == HANDOVER_READY ? "settings of the source or of it are "
							     "not carried out yet"
							   : reason);
	}
	handover_leave_phase(s, PHASE_HANDOVER_STAGE, "it can take over");
	s->g->op.run = d.to->run_id;
	return true;
}
