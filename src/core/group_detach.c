/*
 * A replica has become the only member of a group of its own, committed together with what is left
 * of the old one. Here its server is seen to be a master: until then the old group's stream is its
 * history, from then on its own.
 *
 * It is alone, so nothing is to be compared: a server that was restarted meanwhile is taken as any
 * restarted source without replicas is (core/group_restart.c).
 */
#include <inttypes.h>

#include "core/group_rules.h"

static bool is_detached(const struct step *s, const struct observation *o)
{
	return server_ready(o) && o->role == SERVER_ROLE_MASTER && o->goal_applied &&
	       o->goal_epoch == s->g->epoch && replid_eq(&o->run_id, &s->g->source_run);
}

static void tell_end(struct step *s, const struct observation *o)
{
	struct phase_took took = step_took(s);

	step_event(s, EVENT_DETACH_DONE, group_source(s->g), "%s", s->out->outcome);
	step_figures(s, "phase=%s server=%s%s", op_phase_name(s->g->op.phase),
		     o == NULL ? "unheard" : proc_state_name(o->proc), took.s);
}

static bool end(struct step *s, const struct observation *o, const char *beside)
{
	step_outcome(s, OP_DONE, "'%.64s' is the source of a group of its own%s",
		     group_source(s->g)->name, beside);
	tell_end(s, o);
	step_end_op(s);
	return true;
}

static bool fail(struct step *s, size_t i, const struct observation *o)
{
	step_outcome(s, OP_NOT_DONE,
		     "'%.64s' has a group of its own, but its server does not serve",
		     s->g->members[i].name);
	tell_end(s, o);
	step_end_op(s);
	if (o != NULL && o->proc == PROC_FAILED) {
		member_fail_start(s, i, o);
		return true;
	}
	step_fail(s, i, FAULT_START,
		  "It was detached, but its server was not seen as a master within %" PRId64
		  " s. It serves as soon as it is.",
		  s->in->start_limit_ms / 1000);
	return true;
}

bool rule_detach(struct step *s)
{
	size_t i = step_index(s, s->g->source);

	if (i == s->g->nmembers) {
		step_end_op(s);
		return true;
	}
	const struct observation *o = step_fresh(s, i);

	if (is_detached(s, o)) {
		(void)promote_fill_history(s); /* servers before 4.0 have no id to fill in */
		return end(s, o, "");
	}
	if (o != NULL && o->proc == PROC_RUNNING && server_lost(o, &s->g->source_run)) {
		return end(s, o, "; its server was restarted meanwhile");
	}
	if (o != NULL && o->proc == PROC_FAILED) {
		return fail(s, i, o);
	}
	return step_waited(s, s->in->start_limit_ms) && fail(s, i, o);
}
