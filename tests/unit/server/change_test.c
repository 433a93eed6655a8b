/*
 * A change of source through the reconciler, with hand-made reports: what is committed together,
 * what agents are told and when, and a store that fails while nobody can write.
 */
#include "engine.h"
#include "forgetful.h"

static const struct replid run_of[] = {
	{ "1111111111111111111111111111111111111111" },
	{ "2222222222222222222222222222222222222222" },
	{ "3333333333333333333333333333333333333333" },
};
static const struct replid stream = { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };

static struct engine_group eg; /* of the running test: engine_until() has no room for it */

/* ---- news for the agent ---- */

static struct engine *listening;
static size_t nnews;
static struct wire_watch watch_told[ENGINE_MEMBERS];
static size_t nwatches;
static uint64_t revision_told;

/* An agent that fetches at once: what it gets is what was there when it was woken. */
static void on_news(void *, const char *host)
{
	auto_arena a = {};
	struct wire_goals goals;

	nnews++;
	reconcile_goals(listening->rc, host, 0, &a, &goals);
	nwatches = goals.nwatches;
	memcpy(watch_told, goals.watches, goals.nwatches * sizeof watch_told[0]);
	revision_told = goals.revision;
}

static struct goal_live live_of(size_t i)
{
	for (size_t k = 0; k < nwatches; k++) {
		if (id_eq(watch_told[k].instance, eg.m[i].id)) {
			return watch_told[k].live;
		}
	}
	return (struct goal_live){};
}

/* ---- the scene ---- */

static const struct group *group(struct engine *en)
{
	return registry_group(en->r, eg.g.id)->g;
}

static struct observation seen(struct engine *en, size_t i)
{
	bool source = i == 0;

	return (struct observation){
		.instance = eg.m[i].id,
		.goal_epoch = group(en)->epoch,
		.goal_revision = group(en)->revision,
		.goal_applied = true,
		.watch = live_of(i).watch,
		.proc = PROC_RUNNING,
		.run_id = run_of[i],
		.role = source ? SERVER_ROLE_MASTER : SERVER_ROLE_REPLICA,
		.replid = stream,
		.offset = 500,
		.slave_offset = source ? -1 : 500,
		.read_offset = -1,
		.second_offset = -1,
		.link_up = !source,
		.upstream_port = source ? 0 : 6379,
		.keys = 40,
		.aof_enabled = true,
		.durable = true,
	};
}

static void report(struct engine *en, const struct observation *o, size_t n)
{
	struct wire_report_answer answer;
	struct err e = {};

	assert_ok(engine_report(en, false, NULL, o, n, &answer, &e), &e);
}

/* A group of three in the midst of an operation. */
static void begin(struct engine *en, struct store *(*wrap)(struct store *), enum op_kind kind,
		  enum op_phase phase)
{
	engine_open_with(en, wrap);
	assert_non_null(en->r);
	engine_join(en, "here", "127.0.77.1-127.0.77.9");
	en->rc = reconcile_new(en->r);
	listening = en;
	nnews = nwatches = 0;
	reconcile_on_news(en->rc, on_news, NULL);
	engine_group_init(&eg, "dev", "sessions", 3);
	for (size_t i = 0; i < 3; i++) {
		eg.m[i].state = MEMBER_ACTIVE;
		eg.m[i].attached_once = true;
	}
	eg.g.epoch = 4;
	eg.g.source_run = run_of[0];
	eg.history[0] =
		(struct history_entry){ .epoch = 1, .replid = stream, .source = eg.m[0].id };
	eg.g.nhistory = 1;
	eg.g.op = (struct operation){
		.id = id_new(),
		.kind = kind,
		.phase = phase,
		.target = eg.m[kind == OP_EJECT ? 0 : 1].id,
		.from = kind == OP_EJECT ? (struct id){} : eg.m[0].id,
		.started_wall_ms = clock_wall_ms(),
		.phase_since_wall_ms = clock_wall_ms(),
	};
	assert_int_equal(engine_commit(en, NULL, &eg.g, NULL, 0), STORE_COMMITTED);
}

static bool is_asked(struct engine *)
{
	return live_of(0).watch != 0;
}

static bool has_changed(struct engine *en)
{
	return !id_eq(group(en)->source, eg.m[0].id) && !registry_busy(en->r);
}

static bool is_not_committed(struct engine *en)
{
	return registry_write_count(en->r, STORE_FAILED) > 0;
}

/* The source is dead, both replicas are sealed, the second one holds more. */
static void seal(struct engine *en)
{
	struct observation all[3];

	engine_until(en, is_asked);
	for (size_t i = 0; i < 3; i++) {
		all[i] = seen(en, i);
		all[i].link_up = false;
		all[i].upstream_port = 0;
	}
	all[0] = (struct observation){ .instance = eg.m[0].id,
				       .proc = PROC_EXITED,
				       .watch = live_of(0).watch };
	all[2].slave_offset = all[2].offset = 600;
	report(en, all, 3);
}

/* ---- the split ---- */

static const struct entry *left_group(struct engine *en)
{
	struct instance_ref ref;

	assert_true(registry_find(en->r, "dev", eg.m[0].id, &ref));
	return ref.entry;
}

static const struct group_event *event_named(struct engine *en, enum event_kind kind,
					     struct event_record *ret, struct arena *a)
{
	static struct event_text text[64];
	size_t n = registry_events(en->r, NULL, EVENTS_AND_HOSTS, 0, text, ARRAY_LEN(text));
	struct err e = {};

	for (size_t i = 0; i < n; i++) {
		assert_ok(record_read_event(text[i].json, text[i].len, a, ret, &e), &e);
		if (ret->event.kind == kind) {
			return &ret->event;
		}
	}
	return NULL;
}

static void an_ejected_source_leaves_in_the_same_commit(void **)
{
	auto_engine en = engine_new();
	auto_arena a = {};
	struct wire_goals goals;
	struct event_record ev;

	begin(&en, NULL, OP_EJECT, PHASE_EJECT_SEAL);
	seal(&en);
	engine_until(&en, has_changed);

	const struct entry *left = left_group(&en);
	assert_true(id_eq(group(&en)->source, eg.m[2].id));
	assert_int_equal(group(&en)->nmembers, 2);
	assert_int_equal(left->g->nmembers, 1);
	assert_string_equal(left->g->name, "sessions-2");
	assert_int_equal(left->g->members[0].state, MEMBER_FENCED);
	assert_int_equal(left->g->members[0].fault.kind, FAULT_EJECTED);
	assert_int_equal(left->g->revision, group(&en)->revision);
	assert_int_equal(left->g->epoch, group(&en)->epoch);
	assert_non_null(left->obs[0]);
	assert_int_equal(left->obs[0]->proc, PROC_EXITED);
	assert_int_equal(registry_usage(en.r, "dev").instances, 3);
	assert_non_null(event_named(&en, EVENT_SOURCE_CHANGED, &ev, &a));
	assert_true(id_eq(ev.group, eg.g.id));
	assert_non_null(event_named(&en, EVENT_SOURCE_EJECTED, &ev, &a));
	assert_int_equal(registry_operation_count(en.r, OP_EJECT, true), 0); /* it goes on */

	reconcile_goals(en.rc, "here", 0, &a, &goals);
	assert_int_equal(goals.ngoals, 3);
	for (size_t i = 0; i < goals.ngoals; i++) {
		const struct goal *g = &goals.goals[i];

		assert_true(g->epoch > eg.g.epoch);
		assert_int_equal(g->role, id_eq(g->instance, eg.m[0].id)   ? GOAL_GUARDED
					  : id_eq(g->instance, eg.m[2].id) ? GOAL_SOURCE
									   : GOAL_REPLICA);
	}
	engine_close(&en);

	engine_open(&en);
	assert_string_equal(left_group(&en)->g->name, "sessions-2");
}

static void a_split_of_unknown_outcome_is_found_out(void **)
{
	auto_engine en = engine_new();

	begin(&en, make_forgetful, OP_EJECT, PHASE_EJECT_SEAL);
	engine_until(&en, is_asked);
	forgetful.mode = DO_AND_FORGET;
	seal(&en);
	engine_until(&en, has_changed);
	assert_int_equal(registry_write_count(en.r, STORE_FAILED), 0);
	assert_string_equal(left_group(&en)->g->name, "sessions-2");
}

/* Its name is taken while its own commit has yet to go through: it gets another one. */
static void a_name_that_was_lost_to_another_is_replaced(void **)
{
	auto_engine en = engine_new();
	struct engine_group thief;

	begin(&en, make_forgetful, OP_EJECT, PHASE_EJECT_SEAL);
	engine_until(&en, is_asked);
	forgetful.mode = FORGET;
	seal(&en);
	engine_until(&en, is_not_committed);
	engine_group_init(&thief, "dev", "sessions-2", 1);
	assert_int_equal(engine_commit(&en, NULL, &thief.g, NULL, 0), STORE_COMMITTED);
	engine_until(&en, has_changed);
	assert_string_equal(left_group(&en)->g->name, "sessions-3");
}

/* ---- a store that fails ---- */

enum { FAILURES = 5 }; /* in a row: 31 s, were they waited for as elsewhere */

static void a_store_that_fails_is_asked_again_soon_while_nobody_can_write(void **)
{
	auto_engine en = engine_new();
	auto_arena a = {};
	struct event_record ev;
	int64_t began_ms = clock_ms();

	begin(&en, make_forgetful, OP_EJECT, PHASE_EJECT_SEAL);
	engine_until(&en, is_asked);
	forgetful.mode = FORGET;
	forgetful.more = FAILURES - 1;
	seal(&en);
	engine_until(&en, has_changed);
	assert_int_equal(registry_write_count(en.r, STORE_FAILED), FAILURES);
	assert_true(clock_ms() - began_ms < 10000);

	/* and the event says how long it was */
	bool told = false;
	for (int kind = 0; kind < EVENT_KIND_COUNT; kind++) {
		const struct group_event *e = event_named(&en, (enum event_kind)kind, &ev, &a);

		told |= e != NULL && strstr(e->figures, "store_held_up_ms=") != NULL;
	}
	assert_true(told);
}

/* ---- what agents are told ---- */

static bool target_is_known(struct engine *)
{
	return live_of(0).peer_offset == 500;
}

static bool target_has_moved(struct engine *)
{
	return live_of(0).peer_offset == 510;
}

/* How far the target is, is for the source's agent alone, and no commit. */
static void the_target_s_offset_is_passed_on_without_a_commit(void **)
{
	auto_engine en = engine_new();
	struct observation all[3];

	begin(&en, NULL, OP_HANDOVER, PHASE_HANDOVER_FENCE);
	engine_until(&en, is_asked);
	assert_true(live_of(0).urgent);
	uint64_t commits = registry_write_count(en.r, STORE_COMMITTED);

	for (size_t i = 0; i < 3; i++) {
		all[i] = seen(&en, i);
		str_copy(all[i].upstream_host, sizeof all[i].upstream_host,
			 i == 0 ? "" : eg.address[0]);
	}
	all[0].fenced = true;
	all[0].offset = 600;
	report(&en, all, 3);
	engine_until(&en, target_is_known);
	assert_int_equal(live_of(1).peer_offset, -1);
	all[1].slave_offset = all[1].offset = 510;
	report(&en, &all[1], 1);
	engine_until(&en, target_has_moved);
	assert_int_equal(registry_write_count(en.r, STORE_COMMITTED), commits);
}

/* The record and what is asked of it come in one answer: a second one would cost a round trip. */
static void a_new_phase_comes_with_its_question(void **)
{
	auto_engine en = engine_new();

	begin(&en, NULL, OP_HANDOVER, PHASE_HANDOVER_STAGE);
	engine_until(&en, is_asked);
	uint64_t asked = live_of(0).watch, revision = revision_told;

	nnews = 0;
	eg.g.op.phase = PHASE_HANDOVER_FENCE;
	assert_int_equal(engine_commit(&en, registry_group(en.r, eg.g.id), &eg.g, NULL, 0),
			 STORE_COMMITTED);
	assert_int_equal(nnews, 1);
	assert_true(revision_told > revision);
	assert_true(live_of(0).urgent);
	assert_true(live_of(0).watch >= asked);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ejected_source_leaves_in_the_same_commit),
		cmocka_unit_test(a_split_of_unknown_outcome_is_found_out),
		cmocka_unit_test(a_name_that_was_lost_to_another_is_replaced),
		cmocka_unit_test(a_store_that_fails_is_asked_again_soon_while_nobody_can_write),
		cmocka_unit_test(the_target_s_offset_is_passed_on_without_a_commit),
		cmocka_unit_test(a_new_phase_comes_with_its_question),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
