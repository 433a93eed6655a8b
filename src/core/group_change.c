/*
 * What the rules of group_step() share: looking at what was seen, and the few ways in which a
 * record is changed.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>

#include "base/macros.h"
#include "base/str.h"
#include "core/group_rules.h"
#include "core/names.h"

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

struct goal_live group_live_of(const struct group *g, const struct group_live *live,
			       const struct member *m)
{
	bool yields = g->op.phase == PHASE_HANDOVER_FENCE && id_eq(m->id, g->source);
	bool waits = yields || goal_is_staged(g, m);

	return (struct goal_live){
		.watch = live->watch,
		.stream = live->watch_all,
		.urgent = live->urgent,
		.peer_offset = waits ? live->peer_offset : -1,
	};
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

const struct observation *step_fresh(const struct step *s, size_t i)
{
	const struct observation *o = step_obs(s, i);
	uint64_t asked = s->live->op_watch;

	return o != NULL && asked != 0 && watch_answers(o->watch, asked) ? o : NULL;
}

bool step_waited(struct step *s, int64_t limit_ms)
{
	int64_t at_ms = s->live->phase_since_ms + limit_ms;

	step_wake(s, at_ms);
	return s->in->now_ms >= at_ms;
}

struct phase_took step_took(const struct step *s)
{
	struct phase_took t = {};

	if (s->live->phase_whole) {
		snprintf(t.s, sizeof t.s, " ms=%" PRId64, s->in->now_ms - s->live->phase_since_ms);
	}
	return t;
}

bool server_lost(const struct observation *o, const struct replid *run)
{
	switch (o->proc) {
	case PROC_RUNNING:
		return replid_known(&o->run_id) && !replid_eq(&o->run_id, run);
	case PROC_STARTING: /* an agent that has just started says so of a server it found, too */
	case PROC_HUNG:     /* it may wake up */
		return false;
	case PROC_NONE:
	case PROC_EXITED:
	case PROC_FAILED:
	case PROC_DELETED:
	case PROC_STATE_COUNT:
		break;
	}
	return true;
}

bool server_linked_to(const struct observation *o, const struct member *m)
{
	return server_ready(o) && o->role == SERVER_ROLE_REPLICA && o->link_up &&
	       !o->sync_in_progress && o->upstream_port == m->port &&
	       str_eq(o->upstream_host, m->address);
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

bool op_is_watched(enum op_kind k)
{
	return k == OP_HANDOVER || k == OP_EJECT || k == OP_DETACH;
}

void step_forget_course(struct group_live *l)
{
	l->stage_ms = 0;
	l->fenced_ms = 0;
	l->fenced_offset = 0;
	l->caught_up = false;
	l->yielded_ms = 0;
	l->serving_ms = 0;
	l->unheard_ms = 0;
}

/* The question goes out together with the phase's goals: one round trip less. */
static void stamp_phase(struct step *s, enum op_phase phase)
{
	struct group_live *l = s->live;

	s->g->op.phase = phase;
	s->g->op.phase_since_wall_ms = s->in->wall_ms;
	l->phase_seen = phase;
	l->phase_since_ms = s->in->now_ms;
	l->phase_whole = true;
	l->op_watch = op_is_watched(s->g->op.kind) ? s->in->fresh_watch : 0;
	if (l->watch < l->op_watch) {
		l->watch = l->op_watch;
	}
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
	step_forget_course(s->live);
	stamp_phase(s, phase);
}

void step_outcome(struct step *s, enum op_end end, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->out->outcome, sizeof s->out->outcome, fmt, ap);
	va_end(ap);
	s->g->last = (struct op_outcome){
		.op = s->g->op.id,
		.kind = s->g->op.kind,
		.done = end == OP_DONE,
		.at_wall_ms = s->in->wall_ms,
		.reason = s->out->outcome,
	};
	s->out->changed = true;
}

void step_enter_phase(struct step *s, enum op_phase next)
{
	assert(phase_leads_to(s->g->op.phase, next) || s->g->op.phase == next);
	stamp_phase(s, next);
}

void step_end_op(struct step *s)
{
	assert(phase_leads_to(s->g->op.phase, PHASE_NONE));
	s->g->op = (struct operation){};
	step_forget_course(s->live);
	stamp_phase(s, PHASE_NONE);
	s->g->op.phase_since_wall_ms = 0;
}

void step_remove_member(struct step *s, size_t i)
{
	struct group *g = s->g;

	group_durability_leaves(g, &g->members[i]);
	size_t behind = --g->nmembers - i;

	memmove(&g->members[i], &g->members[i + 1], behind * sizeof g->members[0]);
	memmove(&s->live->members[i], &s->live->members[i + 1],
		behind * sizeof s->live->members[0]);
	s->out->changed = true;
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
