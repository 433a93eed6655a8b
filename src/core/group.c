/*
 * group_step(): the order of its rules.
 *
 * A step is at most one change: a member enters a state, or the operation a phase. So between two
 * commits there is one thing that can be half done, and a crash there is one test. Rules in order
 * of weight: what the hosts know better than the record stops everything else; what is gone is
 * taken out; what runs takes its next step; a source of a new run is judged before any member is;
 * then the members.
 */
#include "core/group.h"

#include <inttypes.h>

#include "core/group_rules.h"

/* rules about the group as a whole */

/* A member that was taken for lost in an older store is as the record says after all. */
static void rejoin(struct step *s, size_t i)
{
	struct member *m = &s->g->members[i];
	bool source = id_eq(m->id, s->g->source);
	bool served = source ? replid_known(&s->g->source_run) : m->attached_once;

	step_clear_fault(s, i);
	step_enter_state(s, i, served ? MEMBER_ACTIVE : MEMBER_STARTING);
	step_event(s, EVENT_INSTANCE_RETURNED, m, "no goal that its host has seen is higher now");
}

static bool mark_store_older(struct step *s, size_t i, const struct observation *o)
{
	struct member *m = &s->g->members[i];

	step_fail(s, i, FAULT_STORE,
		  "The store is older than the hosts: host '%.64s' has carried out epoch %" PRIu64
		  " change %" PRIu64 ", the record is at epoch %" PRIu64 " change %" PRIu64
		  ". Nothing of this group is changed. `tanist adopt %.64s` takes the hosts' word.",
		  m->host, o->goal_epoch, o->goal_revision, s->g->epoch, s->g->revision, m->name);
	step_event(s, EVENT_STORE_OLDER, m, "host '%.64s' has done more than the store knows",
		   m->host);
	step_figures(s,
		     "seen=%" PRIu64 " stored=%" PRIu64 " seen_change=%" PRIu64
		     " stored_change=%" PRIu64,
		     o->goal_epoch, s->g->epoch, o->goal_revision, s->g->revision);
	return true;
}

/* *ret_frozen: the hosts know better, nothing else is to be done. */
static bool rule_store_older(struct step *s, bool *ret_frozen)
{
	*ret_frozen = false;
	for (size_t i = 0; i < s->g->nmembers; i++) {
		const struct member *m = &s->g->members[i];
		const struct observation *o = step_obs(s, i);
		bool marked = m->state == MEMBER_ERROR && m->fault.kind == FAULT_STORE;
		bool ahead = store_is_older(s->g, o);

		if (ahead && !marked && m->state != MEMBER_DELETING) {
			return mark_store_older(s, i, o);
		}
		if (marked && o != NULL && !ahead) {
			rejoin(s, i);
			return true;
		}
		*ret_frozen |= marked;
	}
	return false;
}

/*
 * An operation about an instance that is to go, or is gone, has nothing left to do. A handover or
 * an eject has: it sees to that itself.
 */
static bool rule_op_moot(struct step *s)
{
	const struct operation *op = &s->g->op;

	if (op->kind == OP_NONE || op->kind == OP_HANDOVER || op->kind == OP_EJECT) {
		return false;
	}
	const struct member *m = group_find(s->g, op->target);

	if (m != NULL && m->state != MEMBER_DELETING &&
	    (op->kind != OP_CREATE || m->state == MEMBER_STARTING)) {
		return false;
	}
	step_end_op(s);
	return true;
}

/* The source goes last: a record without one would be of no use to those still in it. */
static bool rule_deleted(struct step *s)
{
	for (size_t i = 0; i < s->g->nmembers; i++) {
		const struct member *m = &s->g->members[i];
		const struct observation *o = step_obs(s, i);
		bool last = s->g->nmembers == 1;

		if (m->state != MEMBER_DELETING || o == NULL || o->proc != PROC_DELETED ||
		    (id_eq(m->id, s->g->source) && !last)) {
			continue;
		}
		step_event(s, EVENT_INSTANCE_DELETED, m, "'%.64s': process and files are gone",
			   m->name);
		step_remove_member(s, i);
		if (last) {
			step_event(s, EVENT_GROUP_DELETED, NULL, "its last instance is gone");
			s->out->gone = true;
		}
		return true;
	}
	return false;
}

/*
 * Nothing that was asked or seen in another phase counts in this one. An API call began it just
 * now, unless this control plane has not seen any phase yet: then it may be old.
 */
static void stamp_unseen_phase(struct step *s)
{
	struct group_live *l = s->live;

	l->phase_whole = l->phase_since_ms != 0;
	l->phase_seen = s->g->op.phase;
	l->phase_since_ms = s->in->now_ms;
	l->op_watch = 0;
	if (s->g->op.phase == PHASE_HANDOVER_CHECK || s->g->op.phase == PHASE_EJECT_DRAIN) {
		step_forget_course(l);
	}
}

/* Times of states and phases that began before this control plane, or by an API call. */
static void stamp_unseen(struct step *s)
{
	for (size_t i = 0; i < s->g->nmembers; i++) {
		struct member_live *l = &s->live->members[i];

		if (l->state_since_ms == 0 || l->state_seen != s->g->members[i].state) {
			l->state_seen = s->g->members[i].state;
			l->state_since_ms = s->in->now_ms;
			l->progress_ms = s->in->now_ms;
		}
	}
	if (s->live->phase_since_ms == 0 || s->live->phase_seen != s->g->op.phase) {
		stamp_unseen_phase(s);
	}
}

/* What elections need to know of the time before; live only, never a change. */
static void remember(struct step *s)
{
	for (size_t i = 0; i < s->g->nmembers; i++) {
		const struct observation *o = step_obs(s, i);
		struct member_live *l = &s->live->members[i];

		if (!server_ready(o)) {
			continue;
		}
		if (o->role == SERVER_ROLE_REPLICA && o->link_up && o->last_io_s >= 0) {
			l->last_io_seen = true;
			l->last_io_s = o->last_io_s;
		}
		if (id_eq(s->g->members[i].id, s->g->source) && o->role == SERVER_ROLE_MASTER) {
			s->live->source_at = history_position_of(o);
			s->live->source_at_ms = s->in->now_ms;
		}
	}
}

/* Phases in which somebody's writes stand still until the servers have answered. */
static bool is_urgent(enum op_phase p)
{
	return p == PHASE_HANDOVER_FENCE || p == PHASE_HANDOVER_UNDO ||
	       p == PHASE_HANDOVER_PROMOTE || p == PHASE_EJECT_DRAIN || p == PHASE_EJECT_SEAL ||
	       p == PHASE_EJECT_PROMOTE;
}

/* While clients wait, no commit is spent on anything else. */
static bool writes_stand_still(enum op_phase p)
{
	return p == PHASE_HANDOVER_FENCE || p == PHASE_HANDOVER_PROMOTE || p == PHASE_EJECT_PROMOTE;
}

/* Fresh figures of all members, all the time, while an operation needs them. */
static void ask_for_operation(struct step *s)
{
	struct group_live *l = s->live;

	l->peer_offset = -1; /* said anew by whoever sees it now */
	l->urgent = is_urgent(s->g->op.phase);
	if (!op_is_watched(s->g->op.kind)) {
		l->op_watch = 0;
		return;
	}
	if (l->op_watch == 0) {
		l->op_watch = s->in->fresh_watch;
	}
	if (l->watch < l->op_watch) {
		l->watch = l->op_watch;
	}
	l->watch_all = true;
}

static bool all_answered(const struct step *s, uint64_t watch)
{
	for (size_t i = 0; i < s->g->nmembers; i++) {
		const struct observation *o = s->in->obs[i];

		if (!s->in->silent[i] && (o == NULL || !watch_answers(o->watch, watch))) {
			return false;
		}
	}
	return true;
}

/* Offsets move and nobody tells of them unasked: who reads them has them asked for, once. */
static void ask_for_readers(struct step *s)
{
	const struct group_in *in = s->in;

	if (in->reader_watch == 0 || in->now_ms >= in->reader_until_ms ||
	    all_answered(s, in->reader_watch)) {
		return;
	}
	if (s->live->watch < in->reader_watch) {
		s->live->watch = in->reader_watch;
	}
	step_wake(s, in->reader_until_ms);
}

static bool follows_unknown_stream(const struct step *s, const struct member *source)
{
	struct replid current = step_current_replid(s);

	for (size_t i = 0; i < s->g->nmembers; i++) {
		const struct observation *o = step_obs(s, i);

		if (o != NULL && server_linked_to(o, source) && replid_known(&o->replid) &&
		    !replid_eq(&o->replid, &current)) {
			return true;
		}
	}
	return false;
}

/*
 * A source that had no backlog yet gives its stream a new id when its first replica links, and an
 * agent looks once a second. Should the source die within that second, its replicas would follow a
 * stream that nobody knows: so it is asked at once.
 */
static void ask_for_stream(struct step *s)
{
	struct group_live *l = s->live;
	size_t source = step_index(s, s->g->source);

	if (source == s->g->nmembers || !follows_unknown_stream(s, &s->g->members[source])) {
		l->stream_watch = 0;
		return;
	}
	if (l->stream_watch == 0) {
		l->stream_watch = s->in->fresh_watch;
	}
	const struct observation *o = step_obs(s, source);

	if (o != NULL && !watch_answers(o->watch, l->stream_watch) && l->watch < l->stream_watch) {
		l->watch = l->stream_watch;
	}
}

static bool rule_operation(struct step *s)
{
	switch (s->g->op.phase) {
	case PHASE_HANDOVER_CHECK:
	case PHASE_HANDOVER_STAGE:
	case PHASE_HANDOVER_FENCE:
	case PHASE_HANDOVER_UNDO:
		return rule_handover(s);
	case PHASE_EJECT_DRAIN:
	case PHASE_EJECT_SEAL:
	case PHASE_EJECT_HELD:
		return rule_eject(s);
	case PHASE_HANDOVER_PROMOTE:
	case PHASE_EJECT_PROMOTE:
		return rule_promoted(s);
	case PHASE_HANDOVER_TIDY:
	case PHASE_HANDOVER_DROP:
	case PHASE_EJECT_TIDY:
		return rule_tidy(s);
	case PHASE_DETACH_PROMOTE:
		return rule_detach(s);
	case PHASE_NONE:
	case PHASE_CREATE_START:
	case PHASE_RESTART_COMPARE:
	case PHASE_RESTART_HELD:
	case PHASE_RESTART_CONFIRM:
	case PHASE_COUNT:
		break;
	}
	return false;
}

void group_step(struct group *g, struct group_live *live, const struct group_in *in,
		struct group_out *out)
{
	struct step s = { .g = g, .live = live, .in = in, .out = out };
	bool frozen;

	*out = (struct group_out){};
	stamp_unseen(&s);
	if (rule_store_older(&s, &frozen) || frozen) {
		return;
	}
	member_follow_copies(&s);
	restart_ask_replicas(&s);
	ask_for_operation(&s);
	ask_for_readers(&s);
	ask_for_stream(&s);
	remember(&s);
	if (rule_op_moot(&s) || rule_deleted(&s) || rule_operation(&s) ||
	    writes_stand_still(g->op.phase) || rule_restart(&s) || rule_durability(&s)) {
		return;
	}
	for (size_t i = 0; i < g->nmembers; i++) {
		if (rule_member(&s, i)) {
			return;
		}
	}
}
