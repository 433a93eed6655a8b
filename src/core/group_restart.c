/*
 * A source whose server is another run than the one the record names: it was restarted. Its agent
 * started it guarded; here it is compared with its replicas (core/guard.h) and confirmed, or held
 * until a human decides. A group of one has nobody to protect: its new run is recorded.
 *
 * A run that dies while it is being judged is of no interest any more; the next one is judged
 * from the start.
 */
#include <inttypes.h>

#include "base/str.h"
#include "core/group_rules.h"

static const struct replid no_replid = {};

/* Out of whatever fault it was in; that it has returned is said when it serves. */
static void serve_again(struct step *s, size_t i)
{
	if (s->g->members[i].state != MEMBER_ACTIVE) {
		s->live->members[i].was_down = true;
		step_clear_fault(s, i);
		step_enter_state(s, i, MEMBER_ACTIVE);
	}
}

/* The run being judged, if it can answer for itself now; else NULL. */
static const struct observation *judged(const struct step *s, size_t i)
{
	const struct observation *o = step_obs(s, i);

	bool answers = o != NULL && o->proc == PROC_RUNNING;

	return answers && replid_eq(&o->run_id, &s->g->op.run) ? o : NULL;
}

/*
 * What a replica says counts once it answers the question asked since the restart: agents report
 * offsets and keys only then. That it is a master counts at once.
 */
static const struct observation *replica_word(const struct step *s, size_t j)
{
	const struct observation *o = step_obs(s, j);

	if (o == NULL || o->role == SERVER_ROLE_MASTER) {
		return o;
	}
	return s->live->compare_watch != 0 && watch_answers(o->watch, s->live->compare_watch) ? o : NULL;
}

static struct guard_out decide(const struct step *s, size_t i, bool waited_out)
{
	struct guard_replica replicas[MODEL_MEMBERS_MAX];
	const struct member *source = &s->g->members[i];
	size_t n = 0;

	for (size_t j = 0; j < s->g->nmembers && n < MODEL_MEMBERS_MAX; j++) {
		const struct member *m = &s->g->members[j];

		if (j == i || !m->attached_once || m->state == MEMBER_DELETING) {
			continue;
		}
		replicas[n++] = (struct guard_replica){
			.id = m->id,
			.name = m->name,
			.beside_source = str_eq(m->host, source->host),
			.obs = replica_word(s, j),
		};
	}
	return guard_decide(&(struct guard_in){
		.source = step_obs(s, i),
		.replicas = replicas,
		.nreplicas = n,
		.accepted = replid_eq(&source->accepted_run, &s->g->op.run),
		.waited_out = waited_out,
	});
}

static void confirm(struct step *s, size_t i, const char *reason)
{
	struct group *g = s->g;
	struct member *m = &g->members[i];

	serve_again(s, i);
	m->accepted_run = no_replid;
	g->epoch++;
	g->source_run = g->op.run;
	/* The id of its stream is made when it is promoted; an AOF carries no position: from 0. */
	step_push_history(s, &no_replid, 0);
	step_enter_phase(s, PHASE_RESTART_CONFIRM);
	step_event(s, EVENT_SOURCE_CONFIRMED, m, "%s", reason);
}

/* Held with this reason; false when it is already. */
static bool hold(struct step *s, size_t i, const char *reason)
{
	struct member *m = &s->g->members[i];
	char text[sizeof m->fault.text];

	snprintf(text, sizeof text,
		 "Its server was restarted and is not started as the source: %s. "
		 "`tanist start %.64s --accept-data-loss` goes on with what it has; "
		 "`eject-replica-source` promotes a replica instead and keeps what the replicas "
		 "have.",
		 reason, m->name);
	if (s->g->op.phase == PHASE_RESTART_HELD && str_eq(text, m->fault.text)) {
		return false;
	}
	if (s->g->op.phase != PHASE_RESTART_HELD) {
		step_enter_phase(s, PHASE_RESTART_HELD);
		step_event(s, EVENT_SOURCE_HELD, m, "%s", reason);
	}
	step_fail(s, i, FAULT_GUARD, "%s", text);
	return true;
}

enum patience { WAITS, WAITED_OUT };

/* What the guard says is done; false: it waits, or nothing is new. */
static bool obey_guard(struct step *s, size_t i, enum patience p)
{
	struct guard_out d = decide(s, i, p == WAITED_OUT);

	switch (d.verdict) {
	case GUARD_CONFIRM:
		confirm(s, i, d.reason);
		return true;
	case GUARD_REFUSE:
		return hold(s, i, d.reason);
	case GUARD_WAIT:
		break;
	}
	return false;
}

static bool compare(struct step *s, size_t i)
{
	const struct observation *o = judged(s, i);

	if (o != NULL && o->loading) {
		/* Loading takes as long as it takes; the limit is for the replicas' answers. */
		s->live->phase_since_ms = s->in->now_ms;
	}
	int64_t limit_ms = s->live->phase_since_ms + s->in->compare_limit_ms;
	bool waited_out = s->in->now_ms >= limit_ms;

	if (o == NULL) {
		step_wake(s, limit_ms);
		return waited_out && hold(s, i, "its server has not been seen to answer");
	}
	if (obey_guard(s, i, waited_out ? WAITED_OUT : WAITS)) {
		return true;
	}
	step_wake(s, limit_ms);
	return false;
}

/* Each piece of news is a chance that the doubt is gone. */
static bool held(struct step *s, size_t i)
{
	return judged(s, i) != NULL && obey_guard(s, i, WAITED_OUT);
}

static bool confirmed(struct step *s, size_t i)
{
	const struct observation *o = judged(s, i);

	if (server_ready(o) && o->role == SERVER_ROLE_MASTER) {
		(void)promote_fill_history(s); /* servers before 4.0 have no id to fill in */
		step_end_op(s);
		return true;
	}
	if (o != NULL && o->loading) {
		s->live->phase_since_ms = s->in->now_ms;
	}
	int64_t limit_ms = s->live->phase_since_ms + s->in->start_limit_ms;

	if (s->in->now_ms < limit_ms) {
		step_wake(s, limit_ms);
		return false;
	}
	step_end_op(s);
	step_fail(s, i, FAULT_START,
		  "It was confirmed as the source, but its server was not seen as a master within "
		  "%" PRId64 " s. It serves again as soon as it is.",
		  s->in->start_limit_ms / 1000);
	return true;
}

/* A group of one: whatever it came back with is what there is. */
static void record_at_once(struct step *s, size_t i, const struct observation *o)
{
	struct group *g = s->g;

	if (g->op.kind == OP_RESTART) {
		step_end_op(s);
	}
	serve_again(s, i);
	g->members[i].accepted_run = no_replid;
	g->epoch++;
	g->source_run = o->run_id;
	step_push_history(s, &o->replid, 0);
	step_event(s, EVENT_EPOCH_STARTED, &g->members[i],
		   "restarted without replicas: there was nothing to compare with");
	step_figures(s, "replid=%s keys=%" PRId64, o->replid.s, o->keys);
}

static void begin_compare(struct step *s, size_t i, const struct observation *o)
{
	struct member *m = &s->g->members[i];

	if (s->g->op.kind == OP_RESTART) {
		step_enter_phase(s, PHASE_RESTART_COMPARE);
	} else {
		step_begin_op(s, OP_RESTART, PHASE_RESTART_COMPARE, m->id);
	}
	s->g->op.run = o->run_id;
	s->live->compare_watch = 0;
	serve_again(s, i);
	step_event(s, EVENT_SOURCE_COMPARING, m,
		   "'%.64s' was restarted: it is compared with its replicas before it serves",
		   m->name);
	step_figures(s, "run=%s marker=%s", o->run_id.s, marker_verdict_name(o->marker));
}

/* A run that neither the record nor the operation names. */
static bool is_new_run(const struct group *g, const struct observation *o)
{
	if (o == NULL || o->proc != PROC_RUNNING || !replid_known(&o->run_id) ||
	    !replid_known(&g->source_run) || replid_eq(&o->run_id, &g->source_run)) {
		return false;
	}
	return g->op.kind == OP_NONE ||
	       (g->op.kind == OP_RESTART && !replid_eq(&o->run_id, &g->op.run));
}

static bool judge_new_run(struct step *s, size_t i, const struct observation *o)
{
	if (!o->start_at_once || group_replica_count(s->g) > 0) {
		begin_compare(s, i, o);
		return true;
	}
	if (!server_ready(o) || o->role != SERVER_ROLE_MASTER) {
		return false; /* its agent makes it a master by itself */
	}
	record_at_once(s, i, o);
	return true;
}

void restart_ask_replicas(struct step *s)
{
	struct group_live *l = s->live;

	if (s->g->op.phase != PHASE_RESTART_COMPARE && s->g->op.phase != PHASE_RESTART_HELD) {
		l->compare_watch = 0;
		return;
	}
	if (l->compare_watch == 0) {
		l->compare_watch = s->in->fresh_watch;
	}
	if (l->watch < l->compare_watch) {
		l->watch = l->compare_watch;
	}
}

bool rule_restart(struct step *s)
{
	size_t i = step_index(s, s->g->source);

	if (i == s->g->nmembers || s->g->members[i].state == MEMBER_DELETING ||
	    s->g->members[i].state == MEMBER_FENCED) {
		return false;
	}
	const struct observation *o = step_obs(s, i);

	if (is_new_run(s->g, o)) {
		return judge_new_run(s, i, o);
	}
	if (s->g->op.kind == OP_RESTART && o != NULL && o->proc == PROC_FAILED) {
		member_fail_start(s, i, o);
		return true;
	}
	if (s->g->op.phase == PHASE_RESTART_COMPARE) {
		return compare(s, i);
	}
	if (s->g->op.phase == PHASE_RESTART_HELD) {
		return held(s, i);
	}
	if (s->g->op.phase == PHASE_RESTART_CONFIRM) {
		return confirmed(s, i);
	}
	return promote_fill_history(s);
}
