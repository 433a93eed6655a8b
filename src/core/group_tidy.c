/*
 * Behind a new source that serves: the others are seen to follow it, the old one drops its clients
 * so that they look again, and the operation ends. Nothing here can fail it any more. Who comes
 * late is told of, and follows when he can: goals are levels.
 */
#include <inttypes.h>

#include "core/group_rules.h"

static bool is_handover(const struct step *s)
{
	return s->g->op.kind == OP_HANDOVER;
}

/* Milliseconds from the fence to the new source; -1: not all of it was seen. */
static int64_t stood_ms(const struct step *s)
{
	const struct group_live *l = s->live;

	return l->fenced_ms != 0 && l->serving_ms != 0 ? l->serving_ms - l->fenced_ms : -1;
}

/* Should this one be linked by now, or soon? First copies and the broken take their own time. */
static bool is_expected(const struct step *s, size_t i)
{
	const struct member *m = &s->g->members[i];
	const struct observation *o = s->in->obs[i];

	return group_is_replica(s->g, m) && m->state == MEMBER_ACTIVE && !s->in->silent[i] &&
	       (o == NULL || o->proc == PROC_RUNNING);
}

struct stragglers {
	size_t n;
	char names[160];
};

/* While clients are dropped, what the others said before still counts: they are not asked to act. */
static const struct observation *said(const struct step *s, size_t i)
{
	return s->g->op.phase == PHASE_HANDOVER_DROP ? step_obs(s, i) : step_fresh(s, i);
}

static struct stragglers find_stragglers(const struct step *s)
{
	struct stragglers late = {};

	for (size_t i = 0; i < s->g->nmembers; i++) {
		if (!is_expected(s, i) || member_follows(s, i, said(s, i))) {
			continue;
		}
		size_t len = strlen(late.names);

		snprintf(late.names + len, sizeof late.names - len, "%s'%.64s'",
			 late.n++ > 0 ? ", " : "", s->g->members[i].name);
	}
	return late;
}

/* Whoever was the source and follows now is a replica like any other. */
static void forget_demotions(struct step *s)
{
	for (size_t i = 0; i < s->g->nmembers; i++) {
		struct member *m = &s->g->members[i];

		if (m->demoted && member_follows(s, i, step_fresh(s, i))) {
			m->demoted = false;
			s->out->changed = true;
		}
	}
}

static bool finish(struct step *s, const char *beside)
{
	const struct member *m = group_source(s->g);
	struct stragglers late = find_stragglers(s);
	struct phase_took took = step_took(s);
	bool handover = is_handover(s);
	int64_t stood = stood_ms(s);
	char figures[64] = "";

	forget_demotions(s);
	if (stood >= 0) {
		snprintf(figures, sizeof figures, " stood_ms=%" PRId64, stood);
	}
	step_outcome(s, OP_DONE, "'%.64s' is the source since epoch %" PRIu64 "%s%s%s%s",
		     m == NULL ? "" : m->name, s->g->epoch, beside,
		     s->g->durability > group_attached_count(s->g)
			     ? "; it takes no writes, its replicas are fewer than its durability "
			       "asks for"
			     : "",
		     late.n > 0 ? "; not linked to it yet, to follow later: " : "", late.names);
	step_event(s, handover ? EVENT_HANDOVER_DONE : EVENT_EJECT_DONE, m, "%s", s->out->outcome);
	step_figures(s, "phase=%s late=%zu%s%s", op_phase_name(s->g->op.phase), late.n, took.s,
		     figures);
	step_end_op(s);
	return true;
}

/* The old source, when it can be told to drop its clients; else nmembers. */
static size_t dropping(const struct step *s)
{
	size_t i = step_index(s, s->g->op.from);
	bool there = i < s->g->nmembers && is_expected(s, i) && step_obs(s, i) != NULL;

	return is_handover(s) && there ? i : s->g->nmembers;
}

static bool enter_drop(struct step *s, const struct stragglers *late)
{
	struct phase_took took = step_took(s);

	forget_demotions(s);
	step_event(s, EVENT_HANDOVER_PHASE, group_source(s->g), "%zu follow later%s%s", late->n,
		   late->n > 0 ? ": " : "", late->names);
	step_figures(s, "phase=%s late=%zu%s", op_phase_name(s->g->op.phase), late->n, took.s);
	step_enter_phase(s, PHASE_HANDOVER_DROP);
	return true;
}

/* It served and is gone since: that is another matter, for the restart or an eject. */
static bool source_is_gone(const struct step *s)
{
	size_t i = step_index(s, s->g->source);
	const struct observation *o = i < s->g->nmembers ? step_obs(s, i) : NULL;

	return i == s->g->nmembers || (o != NULL && server_lost(o, &s->g->source_run));
}

static bool tidy(struct step *s)
{
	struct stragglers late = find_stragglers(s);

	if (source_is_gone(s)) {
		return finish(s, "; its server is gone since");
	}
	if (late.n > 0 && !step_waited(s, s->in->tidy_limit_ms)) {
		return false;
	}
	if (dropping(s) < s->g->nmembers) {
		return enter_drop(s, &late);
	}
	return finish(s, "");
}

static bool has_dropped(const struct step *s, size_t i)
{
	const struct observation *o = step_fresh(s, i);

	return o != NULL && o->goal_applied &&
	       goal_cmp(o->goal_epoch, o->goal_revision, s->g->epoch, s->g->revision) >= 0;
}

static bool drop(struct step *s)
{
	size_t i = dropping(s);

	if (source_is_gone(s)) {
		return finish(s, "; its server is gone since");
	}
	if (i == s->g->nmembers || has_dropped(s, i)) {
		return finish(s, "");
	}
	return step_waited(s, step_phase_limit_ms(s)) &&
	       finish(s, "; the old one was not seen to drop its clients");
}

bool rule_tidy(struct step *s)
{
	return s->g->op.phase == PHASE_HANDOVER_DROP ? drop(s) : tidy(s);
}
