/*
 * The point of no return, and up to a new source that serves. A handover and an eject go the same
 * way from here: the record names the new source, then its server is seen as master. What the
 * record says is what clients are told, so there is no way back from here, only on: a new source
 * that dies before it served is replaced by an election among the others.
 *
 * The history has an entry for the new reign from the commit on. Its id is known only when its
 * server has been promoted; promote_fill_history() fills it in from what is seen.
 */
#include <inttypes.h>

#include "base/str.h"
#include "core/group_rules.h"

static const struct replid no_replid = {};

enum { UNHEARD_LIMIT_MS = 3000 };

/* the commit */

/* The last two reigns: where the one that leaves stood, and on what its stream went on. */
static void split_history(const struct group *g, struct group_out *out)
{
	size_t n = g->nhistory < ARRAY_LEN(out->split_history) ? g->nhistory
							       : ARRAY_LEN(out->split_history);

	memcpy(out->split_history, &g->history[g->nhistory - n], n * sizeof g->history[0]);
	out->split.history = out->split_history;
	out->split.nhistory = n;
}

static void fence_split_member(struct step *s, const struct member *winner)
{
	struct member *m = &s->out->split_member;

	m->state = MEMBER_FENCED;
	m->state_since_wall_ms = m->updated_wall_ms = s->in->wall_ms;
	m->accepted_run = no_replid;
	m->demoted = false;
	m->fault = (struct fault){ .kind = FAULT_EJECTED, .at_wall_ms = s->in->wall_ms };
	snprintf(m->fault.text, sizeof m->fault.text,
		 "It was the source until it was ejected at epoch %" PRIu64
		 ": '%.64s' is the source now. It takes no writes and its files are kept. "
		 "`tanist attach %.64s --replica-of %.64s` makes it a replica again and gives up "
		 "what only it has; deleting it removes it.",
		 s->g->epoch, winner->name, m->name, winner->name);
}

/* The old source gets a group of its own, at the new epoch, so that its agent heeds it. */
static void split_off(struct step *s, size_t i, const struct member *winner)
{
	struct group *g = s->g;
	struct group_out *out = s->out;

	out->has_split = true;
	out->split_member = g->members[i];
	out->split = (struct group){
		.id = s->in->fresh_group,
		.project = g->project,
		.name = s->in->fresh_name,
		.epoch = g->epoch,
		.source = g->members[i].id,
		.source_run = g->source_run,
		.created_wall_ms = s->in->wall_ms,
		.secrets = g->secrets,
		.members = &out->split_member,
		.nmembers = 1,
	};
	split_history(g, out);
	fence_split_member(s, winner);
	step_event(s, EVENT_SOURCE_EJECTED, &out->split_member, "%.300s",
		   out->split_member.fault.text);
	step_remove_member(s, i);
}

static void leave_old_source(struct step *s, const struct promotion *p)
{
	struct group *g = s->g;
	size_t old = step_index(s, g->source);

	if (old == g->nmembers || g->members[old].state == MEMBER_DELETING) {
		return;
	}
	if (p->split_old) {
		split_off(s, old, &g->members[p->winner]);
	} else {
		g->members[old].demoted = true;
		g->members[old].accepted_run = no_replid;
	}
}

static void take_over(struct step *s, size_t i, const struct observation *o)
{
	struct group *g = s->g;
	struct member *m = &g->members[i];

	g->source = m->id;
	g->source_run = o->run_id;
	g->op.target = m->id;
	g->op.run = o->run_id;
	m->attached_once = true;
	m->demoted = false;
	m->accepted_run = no_replid;
	if (m->state != MEMBER_ACTIVE) {
		step_clear_fault(s, i);
		step_enter_state(s, i, MEMBER_ACTIVE);
	}
}

/* Its clients are refused from its first moment on, and nothing of that heals by itself. */
static void tell_short(struct step *s)
{
	const struct group *g = s->g;
	const struct member *m = group_source(g);
	size_t n = group_attached_count(g);

	if (g->durability <= n) {
		return;
	}
	step_event(s, EVENT_DURABILITY_SHORT, m,
		   "'%.64s' takes no writes yet: durability bounded(%" PRIu32 ") asks for %" PRIu32
		   " replica%s that answer%s, and %zu hold%s its data. Add a replica, or lower the "
		   "durability",
		   m->name, g->durability, g->durability, g->durability == 1 ? "" : "s",
		   g->durability == 1 ? "s" : "", n, n == 1 ? "s" : "");
	step_figures(s, "durability=%" PRIu32 " replicas=%zu", g->durability, n);
}

void promote_commit(struct step *s, const struct promotion *p)
{
	struct group *g = s->g;
	const struct observation *o = s->in->obs[p->winner];
	struct id winner = g->members[p->winner].id;
	struct phase_took took = step_took(s);

	g->epoch++;
	step_event(s, EVENT_SOURCE_CHANGED, &g->members[p->winner], "%s", p->reason);
	step_figures(s, "start=%" PRId64 " offset=%" PRId64 " replid=%s run=%s%s", p->start,
		     o->slave_offset, o->replid.s, o->run_id.s, took.s);
	step_enter_phase(s, p->phase);
	leave_old_source(s, p);
	take_over(s, step_index(s, winner), o);
	step_push_history(s, &no_replid, p->start);
	tell_short(s);
}

/* the history */

/* The source as the master that the record means; NULL when it is not seen so. */
static const struct observation *serving(const struct step *s)
{
	size_t i = step_index(s, s->g->source);
	const struct observation *o = i < s->g->nmembers ? step_obs(s, i) : NULL;

	return server_ready(o) && o->role == SERVER_ROLE_MASTER &&
			       replid_eq(&o->run_id, &s->g->source_run)
		       ? o
		       : NULL;
}

/*
 * What the source says of its stream with this epoch's goal carried out outweighs what was noted:
 * a guarded server that was promoted by hand had another id while it was seen as a master.
 */
static bool is_noted(const struct history_entry *last, const struct observation *o,
		     bool in_its_role)
{
	return replid_known(&last->replid) &&
	       (replid_eq(&last->replid, &o->replid) || !in_its_role);
}

/* It was taken back before it had been a replica: there is no new reign. */
static bool goes_on_as_before(const struct history_entry *last, const struct observation *o,
			      const struct replid *before)
{
	return !replid_known(&last->replid) && last->start > 0 && replid_eq(&o->replid, before);
}

/* The server itself knows best where its stream changed its name. */
static int64_t true_start(const struct history_entry *last, const struct observation *o,
			  const struct replid *before)
{
	bool tells = last->start > 0 && o->second_offset > 0 && replid_known(before) &&
		     replid_eq(&o->replid2, before);

	return tells ? o->second_offset : last->start;
}

bool promote_fill_history(struct step *s)
{
	struct group *g = s->g;
	const struct observation *o = serving(s);

	if (g->nhistory == 0 || o == NULL || !replid_known(&o->replid)) {
		return false;
	}
	struct history_entry *last = &g->history[g->nhistory - 1];
	struct replid before = step_current_replid(s);
	bool in_its_role = o->goal_applied && o->goal_epoch == g->epoch;

	if (goes_on_as_before(last, o, &before)) {
		g->nhistory -= in_its_role;
		s->out->changed |= in_its_role;
		return in_its_role;
	}
	if (is_noted(last, o, in_its_role)) {
		return false;
	}
	int64_t expected = last->start;

	last->start = replid_known(&last->replid) ? last->start : true_start(last, o, &before);
	last->replid = o->replid;
	s->out->changed = true;
	step_event(s, EVENT_EPOCH_STARTED, group_source(g), "epoch %" PRIu64 " has its stream",
		   g->epoch);
	step_figures(s, "replid=%s start=%" PRId64 " expected=%" PRId64, o->replid.s, last->start,
		     expected);
	return true;
}

/*
 * Somebody follows the stream that only the new source can have begun: it has been promoted,
 * though its agent is not heard.
 */
static bool fill_from_followers(struct step *s)
{
	struct group *g = s->g;

	for (size_t i = 0; i < g->nmembers; i++) {
		const struct observation *o = step_fresh(s, i);
		struct history h = history_of(g);
		struct history_position p;
		size_t at;

		if (!server_ready(o) || id_eq(g->members[i].id, g->source)) {
			continue;
		}
		p = history_position_of(o);
		if (history_find_pending(&h, &p, &at) && at == g->nhistory - 1) {
			g->history[at].replid = o->replid;
			s->out->changed = true;
			step_event(s, EVENT_EPOCH_STARTED, group_source(g),
				   "epoch %" PRIu64 " has its stream: '%.64s' follows it", g->epoch,
				   g->members[i].name);
			step_figures(s, "replid=%s start=%" PRId64, o->replid.s,
				     g->history[at].start);
			return true;
		}
	}
	return false;
}

/* PROMOTE */

static bool is_handover(const struct step *s)
{
	return s->g->op.kind == OP_HANDOVER;
}

static enum event_kind phase_event(const struct step *s)
{
	return is_handover(s) ? EVENT_HANDOVER_PHASE : EVENT_EJECT_PHASE;
}

static bool enter_tidy(struct step *s)
{
	struct phase_took took = step_took(s);
	bool handover = is_handover(s);

	step_event(s, phase_event(s), group_source(s->g), "it is seen as master");
	step_figures(s, "phase=%s%s", op_phase_name(s->g->op.phase), took.s);
	step_enter_phase(s, handover ? PHASE_HANDOVER_TIDY : PHASE_EJECT_TIDY);
	return true;
}

static bool serve(struct step *s)
{
	struct group_live *l = s->live;

	if (l->serving_ms == 0) {
		l->serving_ms = s->in->now_ms;
	}
	(void)promote_fill_history(s); /* servers before 4.0 have no id to fill in */
	return enter_tidy(s);
}

/* Nobody else hears it either: all that can answer have, there are some, and none is linked to it.
 */
static bool is_heard_by_nobody(const struct step *s, const struct member *source)
{
	size_t witnesses = 0;

	for (size_t i = 0; i < s->g->nmembers; i++) {
		const struct member *m = &s->g->members[i];
		const struct observation *o = step_fresh(s, i);

		if (m == source || m->state == MEMBER_DELETING || s->in->silent[i]) {
			continue;
		}
		if (o == NULL || server_linked_to(o, source)) {
			return false;
		}
		witnesses++;
	}
	return witnesses > 0;
}

/*
 * For so long that it is no coincidence: a promotion itself drops every link, and up to 6.0 a
 * replica tries again once a second.
 */
static bool is_cut_off(struct step *s, size_t i)
{
	struct group_live *l = s->live;

	if (!s->in->silent[i] || !is_heard_by_nobody(s, &s->g->members[i])) {
		l->unheard_ms = 0;
		return false;
	}
	if (l->unheard_ms == 0) {
		l->unheard_ms = s->in->now_ms;
	}
	step_wake(s, l->unheard_ms + UNHEARD_LIMIT_MS);
	return s->in->now_ms >= l->unheard_ms + UNHEARD_LIMIT_MS;
}

/*
 * An election among the others. The epoch rises at once, so that whatever it was told cannot
 * happen any more where it has not been done.
 */
static bool elect_again(struct step *s, size_t i, const char *why)
{
	struct group *g = s->g;
	struct phase_took took = step_took(s);

	step_event(s, EVENT_EJECT_STARTED, &g->members[i],
		   "'%.64s' was to be the source, but %s: another one is elected",
		   g->members[i].name, why);
	step_figures(s, "phase=%s%s", op_phase_name(g->op.phase), took.s);
	g->epoch++;
	g->op.kind = OP_EJECT;
	g->op.target = g->source;
	s->live->unheard_ms = 0; /* op.from stays: that one lacks nothing, see election_hold() */
	step_enter_phase(s, PHASE_EJECT_SEAL);
	return true;
}

bool rule_promoted(struct step *s)
{
	struct group *g = s->g;
	size_t i = step_index(s, g->source);

	if (i == g->nmembers) {
		step_end_op(
			s); /* a record that nobody could write: no source, nothing to wait for */
		return true;
	}
	const struct observation *o = step_obs(s, i);

	if (serving(s) != NULL) {
		return serve(s);
	}
	if (o != NULL && server_lost(o, &g->source_run)) {
		return elect_again(s, i,
				   o->proc == PROC_RUNNING ? "its server was restarted before"
							   : "its server died before");
	}
	if (s->in->silent[i] && fill_from_followers(s)) {
		return enter_tidy(s);
	}
	if (is_cut_off(s, i)) {
		return elect_again(s, i, "its agent is silent and no replica has a link to it");
	}
	/* That its agent has not been heard since this control plane started says nothing of it. */
	bool told = s->in->obs[i] != NULL || s->in->silent[i];

	return step_waited(s, step_phase_limit_ms(s)) && told &&
	       elect_again(s, i, "was not seen as master within the limit");
}
