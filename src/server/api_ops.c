/*
 * What is going on: events, and what is in progress.
 */
#include "server/handlers.h"
#include "server/held.h"
#include "server/query.h"

enum { EVENTS_PER_ANSWER = 100, EVENTS_PER_ANSWER_MAX = 1000, OPERATIONS_MAX = 1000, PAGE = 64 };

struct follow {
	uint64_t after, limit;
};

static size_t read_events(const struct call *c, struct event_text *events, uint64_t *ret_last)
{
	const struct follow *f = c->state;
	const struct registry *r = c->api->registry;
	const char *project = c->everywhere ? NULL : c->project;
	enum event_scope scope = c->admin ? EVENTS_AND_HOSTS : EVENTS_OF_PROJECT;

	*ret_last = registry_last_event(r);
	return registry_events(r, project, scope, f->after, events, f->limit);
}

static bool answer_events(struct call *c, enum held_why why)
{
	const struct follow *f = c->state;
	auto_arena a = {};
	struct event_text *events = arena_alloc(&a, f->limit * sizeof *events);
	uint64_t last;
	size_t n = read_events(c, events, &last);
	auto_str body = {};
	struct jw w = { .out = &body };

	if (n == 0 && why == HELD_NEWS && f->after <= last) {
		return false;
	}
	jw_object(&w, NULL);
	jw_array(&w, "events");
	for (size_t i = 0; i < n; i++) {
		jw_raw(&w, NULL, events[i].json, events[i].len);
	}
	jw_end(&w);
	jw_uint(&w, "last", last);
	jw_end(&w);
	call_reply(c, &body);
	return true;
}

bool api_events(struct call *c, struct err *e)
{
	struct follow *f = arena_alloc(c->arena, sizeof *f);
	uint64_t wait_s = 0;

	f->limit = EVENTS_PER_ANSWER;
	if (!query_number(c, "after", INT64_MAX, &f->after, e) ||
	    !query_number(c, "limit", EVENTS_PER_ANSWER_MAX, &f->limit, e) ||
	    !query_number(c, "wait", QUERY_WAIT_MAX_S, &wait_s, e)) {
		return false;
	}
	if (f->limit == 0) {
		return err_set(e, ERR_INVALID, "'limit' must be a whole number from 1 to %d.",
			       EVENTS_PER_ANSWER_MAX);
	}
	c->state = f;
	if (answer_events(c, wait_s == 0 ? HELD_END : HELD_NEWS)) {
		return true;
	}
	return held_wait(c, HELD_EVENTS, (struct id){}, SEC((int64_t)wait_s), answer_events, e);
}

/* ---- operations ---- */

static void write_target(struct jw *w, const struct group *g, struct id target)
{
	const struct member *m = group_find(g, target);

	jw_id(w, "group", g->id);
	jw_str(w, "group_name", g->name);
	jw_id(w, "instance", target);
	jw_str(w, "instance_name", m == NULL ? "" : m->name);
}

static void write_operation(struct jw *w, const struct group *g)
{
	const char *leaves_when = "";

	for (size_t i = 0; i < nphase_rows; i++) {
		if (phase_rows[i].phase == g->op.phase) {
			leaves_when = phase_rows[i].leaves_when;
		}
	}
	jw_object(w, NULL);
	jw_str(w, "kind", op_kind_name(g->op.kind));
	jw_str(w, "phase", op_phase_name(g->op.phase));
	write_target(w, g, g->op.target);
	jw_time(w, "started", g->op.started_wall_ms, JW_ZULU);
	jw_time(w, "phase_since", g->op.phase_since_wall_ms, JW_ZULU);
	jw_str(w, "leaves_when", leaves_when);
	jw_end(w);
}

static const char *state_waits_for(enum member_state s)
{
#define MEMBER_STATE_WHY(name, text, limit, why) [MEMBER_##name] = why,
	static const char *const whys[] = { MEMBER_STATES(MEMBER_STATE_WHY) };
#undef MEMBER_STATE_WHY
	return whys[s];
}

static void write_progress(struct jw *w, const struct observation *o)
{
	if (o == NULL || o->proc != PROC_RUNNING || !(o->sync_in_progress || o->loading)) {
		return;
	}
	jw_object(w, "progress");
	if (o->loading) {
		jw_int(w, "loading_pct", o->loading_pct);
	}
	if (o->sync_in_progress && o->sync_done_bytes >= 0) {
		jw_int(w, "done_bytes", o->sync_done_bytes);
	}
	if (o->sync_in_progress && o->sync_total_bytes >= 0) {
		jw_int(w, "total_bytes", o->sync_total_bytes);
	}
	jw_end(w);
}

/* What an instance is in by itself: it is no operation of its group and holds up nothing else. */
static void write_change(struct jw *w, const struct instance_ref *ref)
{
	const struct member *m = ref->m;

	jw_object(w, NULL);
	jw_str(w, "kind", m->state == MEMBER_DELETING ? "delete" : "build");
	jw_str(w, "phase", member_state_name(m->state));
	write_target(w, ref->g, m->id);
	jw_time(w, "started",
		m->state == MEMBER_DELETING ? m->state_since_wall_ms : m->created_wall_ms, JW_ZULU);
	jw_time(w, "phase_since", m->state_since_wall_ms, JW_ZULU);
	jw_str(w, "leaves_when", state_waits_for(m->state));
	write_progress(w, ref->o);
	jw_end(w);
}

static bool is_changing(const struct member *m)
{
	return m->state == MEMBER_STARTING || m->state == MEMBER_SYNCING ||
	       m->state == MEMBER_DELETING;
}

/* A group's operation is told once, with its first member; what it is about is not told twice. */
static size_t write_of_instance(struct jw *w, const struct instance_ref *ref)
{
	const struct group *g = ref->g;
	bool operation = g->op.kind != OP_NONE && ref->index == 0;
	bool change = is_changing(ref->m) &&
		      !(g->op.kind == OP_CREATE && id_eq(g->op.target, ref->m->id));

	if (operation) {
		write_operation(w, g);
	}
	if (change) {
		write_change(w, ref);
	}
	return (size_t)operation + (size_t)change;
}

bool api_operations(struct call *c, struct err *)
{
	struct instance_ref refs[PAGE];
	struct id after = {};
	bool more = true, known;
	size_t written = 0;
	auto_str body = {};
	struct jw w = { .out = &body };

	jw_object(&w, NULL);
	jw_array(&w, "operations");
	while (more && written < OPERATIONS_MAX) {
		size_t n = registry_page(c->api->registry, c->project, after, refs, PAGE, &more,
					 &known);

		for (size_t i = 0; i < n; i++) {
			written += write_of_instance(&w, &refs[i]);
			after = refs[i].m->id;
		}
	}
	jw_end(&w);
	jw_end(&w);
	call_reply(c, &body);
	return true;
}
