/*
 * When may elections count with the durability that was asked for? A raise from 1 to 2, or a
 * replica that left, leaves writes behind that are on fewer replicas than k says. They are on all
 * of them once every replica was seen at or past where the source stood after it had taken the new
 * setting. Until then elections count with durability_proven.
 */
#include <inttypes.h>

#include "core/group_rules.h"

void group_durability_leaves(struct group *g, const struct member *m)
{
	bool held = m->attached_once && !id_eq(m->id, g->source);

	if (held && g->durability_proven > 0) {
		g->durability_proven--;
	}
}

static void forget(struct group_live *l)
{
	l->durability_watch = 0;
	l->durability_sampled = false;
}

/* The source, serving, with all done that the record asks of it; else NULL. */
static const struct observation *settled_source(const struct step *s)
{
	const struct group *g = s->g;
	size_t i = step_index(s, g->source);
	const struct observation *o = i < g->nmembers ? step_obs(s, i) : NULL;
	bool serves = server_ready(o) && o->role == SERVER_ROLE_MASTER &&
		      replid_eq(&o->run_id, &g->source_run) && o->goal_applied &&
		      goal_cmp(o->goal_epoch, o->goal_revision, g->epoch, g->revision) >= 0;

	return serves ? o : NULL;
}

static bool must_hold(const struct group *g, const struct member *m)
{
	return group_is_replica(g, m) && m->attached_once;
}

/* As many replicas as are asked for, and all of them linked: else nothing can be proven now. */
static bool all_linked(const struct step *s)
{
	const struct member *source = group_source(s->g);
	size_t n = 0;

	for (size_t i = 0; i < s->g->nmembers; i++) {
		if (!must_hold(s->g, &s->g->members[i])) {
			continue;
		}
		if (!server_linked_to(step_obs(s, i), source)) {
			return false;
		}
		n++;
	}
	return n >= s->g->durability;
}

static void sample(struct step *s, const struct observation *source)
{
	struct group_live *l = s->live;

	if (l->durability_sampled && !replid_eq(&l->durability_at.replid, &source->replid)) {
		forget(l); /* of a stream that has ended */
	}
	if (l->durability_watch == 0) {
		l->durability_watch = s->in->fresh_watch;
	}
	if (l->watch < l->durability_watch) {
		l->watch = l->durability_watch;
	}
	if (!l->durability_sampled && watch_answers(source->watch, l->durability_watch)) {
		l->durability_sampled = true;
		l->durability_at = history_position_of(source);
	}
	l->watch_all = true;
}

static bool all_hold_the_sample(const struct step *s)
{
	const struct history_position *at = &s->live->durability_at;

	for (size_t i = 0; i < s->g->nmembers; i++) {
		const struct observation *o = step_obs(s, i);

		if (must_hold(s->g, &s->g->members[i]) &&
		    (!replid_eq(&o->replid, &at->replid) || o->slave_offset < at->offset)) {
			return false;
		}
	}
	return true;
}

bool rule_durability(struct step *s)
{
	struct group *g = s->g;
	const struct observation *source = settled_source(s);

	if (g->durability_proven >= g->durability || g->op.kind != OP_NONE || source == NULL ||
	    !all_linked(s)) {
		forget(s->live);
		return false;
	}
	sample(s, source);
	if (!s->live->durability_sampled || !all_hold_the_sample(s)) {
		return false;
	}
	g->durability_proven = g->durability;
	s->out->changed = true;
	step_event(s, EVENT_DURABILITY_CHANGED, NULL,
		   "every replica holds what was acknowledged before: elections count with %" PRIu32
		   " copies",
		   g->durability);
	step_figures(s, "offset=%" PRId64 " proven=%" PRIu32, s->live->durability_at.offset,
		     g->durability_proven);
	forget(s->live);
	return true;
}
