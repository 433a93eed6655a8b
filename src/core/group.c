/*
 * group_step(): the order of its rules, the table of phases, and the ways a record is changed.
 *
 * A step is at most one change: a member enters a state, or the operation a phase. So between two
 * commits there is one thing that can be half done, and a crash there is one test. Rules in order
 * of weight: what the hosts know better than the record stops everything else; what is gone is
 * taken out; a source of a new run is judged before any member is; then the members.
 */
#include "core/group.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>

#include "base/macros.h"
#include "base/str.h"
#include "core/group_rules.h"
#include "core/names.h"

/* clang-format off */
const struct phase_row phase_rows[] = {
	{ PHASE_CREATE_START, OP_CREATE,
	  "the source's server is master with its goal applied, or cannot be started",
	  SEC(60), { PHASE_NONE }, 1,
	  "the first server of a group is started; replicas come when it serves" },
	{ PHASE_RESTART_COMPARE, OP_RESTART,
	  "enough is known of the replicas to decide, or the limit has passed",
	  SEC(10), { PHASE_RESTART_CONFIRM, PHASE_RESTART_HELD, PHASE_NONE }, 3,
	  "a source that was restarted may have lost data: it is compared with its replicas first" },
	{ PHASE_RESTART_HELD, OP_RESTART,
	  "the operator accepts the loss, or news removes the doubt",
	  0, { PHASE_RESTART_CONFIRM, PHASE_RESTART_COMPARE, PHASE_NONE }, 3,
	  "the replicas may hold data that the source lost: nobody copies from it until a human decides" },
	{ PHASE_RESTART_CONFIRM, OP_RESTART,
	  "the source's server is master, or was replaced by another run",
	  SEC(60), { PHASE_RESTART_COMPARE, PHASE_NONE }, 2,
	  "it is committed that the restarted source goes on" },
};
/* clang-format on */
const size_t nphase_rows = ARRAY_LEN(phase_rows);

#define EVENT_KIND_NAME(name, text, meaning) [EVENT_##name] = text,
static const char *const event_names[] = { EVENT_KINDS(EVENT_KIND_NAME) };
#undef EVENT_KIND_NAME
static_assert(ARRAY_LEN(event_names) == EVENT_KIND_COUNT);

const char *event_kind_name(enum event_kind k)
{
	return event_names[k];
}

bool event_kind_parse(const char *s, enum event_kind *ret)
{
	size_t i = names_find(event_names, ARRAY_LEN(event_names), s);

	if (i == ARRAY_LEN(event_names)) {
		return false;
	}
	*ret = (enum event_kind)i;
	return true;
}

/* looking */

bool watch_answers(uint64_t answered, uint64_t asked)
{
	return answered >> 32 == asked >> 32 && answered >= asked;
}

const struct observation *step_obs(const struct step *s, size_t i)
{
	return s->in->silent[i] ? NULL : s->in->obs[i];
}

size_t step_index(const struct step *s, struct id id)
{
	size_t i = 0;

	while (i < s->g->nmembers && !id_eq(s->g->members[i].id, id)) {
		i++;
	}
	return i;
}

bool server_ready(const struct observation *o)
{
	return o != NULL && o->proc == PROC_RUNNING && !o->loading;
}

struct replid step_current_replid(const struct step *s)
{
	for (size_t i = s->g->nhistory; i > 0; i--) {
		if (replid_known(&s->g->history[i - 1].replid)) {
			return s->g->history[i - 1].replid;
		}
	}
	return (struct replid){};
}

/* changing */

void step_event(struct step *s, enum event_kind kind, const struct member *m, const char *fmt, ...)
{
	va_list ap;

	if (s->out->nevents == GROUP_EVENTS_MAX) {
		return;
	}
	struct group_event *ev = &s->out->events[s->out->nevents++];

	*ev = (struct group_event){ .kind = kind, .epoch = s->g->epoch };
	if (m != NULL) {
		ev->instance = m->id;
	}
	va_start(ap, fmt);
	vsnprintf(ev->reason, sizeof ev->reason, fmt, ap);
	va_end(ap);
}

void step_figures(struct step *s, const char *fmt, ...)
{
	struct group_event *ev = &s->out->events[s->out->nevents - 1];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(ev->figures, sizeof ev->figures, fmt, ap);
	va_end(ap);
}

void step_enter_state(struct step *s, size_t i, enum member_state state)
{
	struct member *m = &s->g->members[i];
	struct member_live *l = &s->live->members[i];

	m->state = state;
	m->state_since_wall_ms = s->in->wall_ms;
	m->updated_wall_ms = s->in->wall_ms;
	l->state_seen = state;
	l->state_since_ms = s->in->now_ms;
	s->out->changed = true;
}

void step_fail(struct step *s, size_t i, enum fault_kind kind, const char *fmt, ...)
{
	struct member *m = &s->g->members[i];
	va_list ap;

	step_enter_state(s, i, MEMBER_ERROR);
	m->fault = (struct fault){ .kind = kind, .at_wall_ms = s->in->wall_ms };
	va_start(ap, fmt);
	vsnprintf(m->fault.text, sizeof m->fault.text, fmt, ap);
	va_end(ap);
	step_event(s, EVENT_INSTANCE_FAILED, m, "%s", m->fault.text);
}

void step_clear_fault(struct step *s, size_t i)
{
	s->g->members[i].fault = (struct fault){};
	s->out->changed = true;
}

static void stamp_phase(struct step *s, enum op_phase phase)
{
	s->g->op.phase = phase;
	s->g->op.phase_since_wall_ms = s->in->wall_ms;
	s->live->phase_seen = phase;
	s->live->phase_since_ms = s->in->now_ms;
	s->out->changed = true;
}

void step_begin_op(struct step *s, enum op_kind kind, enum op_phase phase, struct id target)
{
	s->g->op = (struct operation){
		.id = s->in->fresh_id,
		.kind = kind,
		.target = target,
		.started_wall_ms = s->in->wall_ms,
	};
	stamp_phase(s, phase);
}

static bool leads_to(enum op_phase from, enum op_phase to)
{
	for (size_t i = 0; i < nphase_rows; i++) {
		for (size_t j = 0; phase_rows[i].phase == from && j < phase_rows[i].nnext; j++) {
			if (phase_rows[i].next[j] == to) {
				return true;
			}
		}
	}
	return false;
}

void step_enter_phase(struct step *s, enum op_phase next)
{
	assert(leads_to(s->g->op.phase, next) || s->g->op.phase == next);
	stamp_phase(s, next);
}

void step_end_op(struct step *s)
{
	assert(leads_to(s->g->op.phase, PHASE_NONE));
	s->g->op = (struct operation){};
	stamp_phase(s, PHASE_NONE);
	s->g->op.phase_since_wall_ms = 0;
}

void history_push(struct group *g, const struct replid *replid, int64_t start)
{
	if (g->nhistory == MODEL_HISTORY_MAX) {
		memmove(&g->history[0], &g->history[1], (--g->nhistory) * sizeof g->history[0]);
	}
	g->history[g->nhistory++] = (struct history_entry){
		.epoch = g->epoch,
		.replid = *replid,
		.start = start,
		.source = g->source,
	};
}

void step_push_history(struct step *s, const struct replid *replid, int64_t start)
{
	history_push(s->g, replid, start);
	s->out->changed = true;
}

void step_wake(struct step *s, int64_t at_ms)
{
	if (at_ms > s->in->now_ms && (s->out->wake_ms == 0 || at_ms < s->out->wake_ms)) {
		s->out->wake_ms = at_ms;
	}
}

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

/* An operation about an instance that is to go, or is gone, has nothing left to do. */
static bool rule_op_moot(struct step *s)
{
	const struct operation *op = &s->g->op;

	if (op->kind == OP_NONE) {
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

static void member_remove(struct step *s, size_t i)
{
	struct group *g = s->g;
	size_t behind = --g->nmembers - i;

	memmove(&g->members[i], &g->members[i + 1], behind * sizeof g->members[0]);
	memmove(&s->live->members[i], &s->live->members[i + 1],
		behind * sizeof s->live->members[0]);
	s->out->changed = true;
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
		member_remove(s, i);
		if (last) {
			step_event(s, EVENT_GROUP_DELETED, NULL, "its last instance is gone");
			s->out->gone = true;
		}
		return true;
	}
	return false;
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
		s->live->phase_seen = s->g->op.phase;
		s->live->phase_since_ms = s->in->now_ms;
	}
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
	if (rule_op_moot(&s) || rule_deleted(&s) || rule_restart(&s)) {
		return;
	}
	for (size_t i = 0; i < g->nmembers; i++) {
		if (rule_member(&s, i)) {
			return;
		}
	}
}
