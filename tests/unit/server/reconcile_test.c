/*
 * The reconciler with hand-made reports: from a record to goals, from what agents see to the next
 * record, and on when the store or an agent fails.
 */
#include "engine.h"
#include "forgetful.h"

static const struct replid run_1 = { "1111111111111111111111111111111111111111" };
static const struct replid run_2 = { "2222222222222222222222222222222222222222" };
static const struct replid stream = { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
static const struct replid strange = { "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb" };

static struct engine_group eg; /* of the running test: engine_until() has no room for it */

static void begin_with(struct engine *en, struct store *(*wrap)(struct store *))
{
	engine_open_with(en, wrap);
	assert_non_null(en->r);
	engine_join(en, "here", "127.0.77.1-127.0.77.9");
	en->rc = reconcile_new(en->r);
}

static const struct member *member(struct engine *en, size_t i)
{
	struct instance_ref ref;

	return registry_find(en->r, NULL, eg.m[i].id, &ref) ? ref.m : NULL;
}

static const struct group *group(struct engine *en)
{
	const struct entry *entry = registry_group(en->r, eg.g.id);

	return entry == NULL ? NULL : entry->g;
}

static void report(struct engine *en, const struct observation *o, size_t n)
{
	struct wire_report_answer answer;
	struct err e = {};

	assert_ok(engine_report(en, false, NULL, o, n, &answer, &e), &e);
}

static struct observation master(struct engine *en, const struct replid *run)
{
	return (struct observation){
		.instance = eg.m[0].id,
		.goal_epoch = group(en)->epoch,
		.goal_revision = group(en)->revision,
		.goal_applied = true,
		.proc = PROC_RUNNING,
		.run_id = *run,
		.marker = MARKER_NEW,
		.role = SERVER_ROLE_MASTER,
		.replid = stream,
		.offset = 500,
		.slave_offset = -1,
		.second_offset = -1,
		.keys = 40,
		.aof_enabled = true,
		.durable = true,
	};
}

static struct observation replica(struct engine *en)
{
	return (struct observation){
		.instance = eg.m[1].id,
		.goal_epoch = group(en)->epoch,
		.goal_revision = group(en)->revision,
		.goal_applied = true,
		.proc = PROC_RUNNING,
		.run_id = strange,
		.role = SERVER_ROLE_REPLICA,
		.replid = stream,
		.offset = 500,
		.slave_offset = 500,
		.second_offset = -1,
		.link_up = true,
		.keys = 40,
	};
}

static bool source_is_active(struct engine *en)
{
	return member(en, 0)->state == MEMBER_ACTIVE;
}

static void record_new_group(struct engine *en, size_t n)
{
	engine_group_init(&eg, "dev", "sessions", n);
	assert_int_equal(engine_commit(en, NULL, &eg.g, NULL, 0), STORE_COMMITTED);
}

static void a_new_source_becomes_active(void **)
{
	auto_engine en = engine_new();
	auto_arena a = {};
	struct wire_goals goals;

	begin_with(&en, NULL);
	record_new_group(&en, 1);
	reconcile_goals(en.rc, "here", 0, &a, &goals);
	assert_int_equal(goals.ngoals, 1);
	assert_int_equal(goals.goals[0].role, GOAL_SOURCE);
	assert_int_equal(goals.goals[0].revision, group(&en)->revision);
	assert_true(goals.goals[0].settings.maxmemory_bytes > 0);

	struct observation o = master(&en, &run_1);
	report(&en, &o, 1);
	engine_until(&en, source_is_active);
	assert_string_equal(group(&en)->source_run.s, run_1.s);
	assert_int_equal(group(&en)->nhistory, 1);
	assert_int_equal(registry_event_count(en.r, EVENT_INSTANCE_STARTED), 1);
}

/* ---- goals ---- */

static char news[256];

static void on_news(void *, const char *host)
{
	size_t n = strlen(news);

	if (n + 1 < sizeof news) {
		news[n] = host[0];
		news[n + 1] = 0;
	}
}

static bool is_held(struct engine *en)
{
	return group(en)->op.phase == PHASE_RESTART_HELD;
}

static void record_serving_pair(struct engine *en)
{
	engine_group_init(&eg, "dev", "sessions", 2);
	for (size_t i = 0; i < 2; i++) {
		eg.m[i].state = MEMBER_ACTIVE;
		eg.m[i].attached_once = true;
	}
	eg.g.source_run = run_1;
	eg.history[0] =
		(struct history_entry){ .epoch = 1, .replid = stream, .source = eg.m[0].id };
	eg.g.nhistory = 1;
	assert_int_equal(engine_commit(en, NULL, &eg.g, NULL, 0), STORE_COMMITTED);
}

static void a_source_that_came_back_empty_is_held(void **)
{
	auto_engine en = engine_new();

	engine_set(&en, "replication.compare_limit", "1");
	begin_with(&en, NULL);
	record_serving_pair(&en);
	struct observation both[] = { master(&en, &run_2), replica(&en) };

	both[0].guarded = true;
	both[0].role = SERVER_ROLE_REPLICA;
	both[0].replid = strange;
	both[0].marker = MARKER_MISSING;
	both[0].offset = both[0].keys = 0;
	both[1].link_up = false;
	report(&en, both, 2);
	engine_until(&en, is_held);
	assert_int_equal(member(&en, 0)->state, MEMBER_ERROR);
	assert_int_equal(member(&en, 0)->fault.kind, FAULT_GUARD);
	assert_int_equal(member(&en, 1)->state, MEMBER_ACTIVE);
	assert_string_equal(group(&en)->source_run.s, run_1.s);
}

static uint64_t asked_watch(struct engine *en)
{
	auto_arena a = {};
	struct wire_goals goals;

	reconcile_goals(en->rc, "here", 0, &a, &goals);
	return goals.nwatches == 0 ? 0 : goals.watches[0].live.watch;
}

static bool is_asked(struct engine *en)
{
	return asked_watch(en) != 0;
}

static bool is_not_asked(struct engine *en)
{
	return asked_watch(en) == 0;
}

/* Nobody is asked for figures but while somebody reads them; an answer is of after the question. */
static void who_reads_figures_has_them_asked_for(void **)
{
	auto_engine en = engine_new();

	begin_with(&en, NULL);
	record_serving_pair(&en);
	struct observation both[] = { master(&en, &run_1), replica(&en) };

	report(&en, both, 2);
	engine_until(&en, engine_is_idle);
	engine_until(&en, is_not_asked);
	struct entry *entry = registry_group(en.r, eg.g.id);

	reconcile_on_news(en.rc, on_news, NULL);
	news[0] = '\0';
	uint64_t first = reconcile_ask(en.rc, entry), second = reconcile_ask(en.rc, entry);

	assert_true(second > first);
	engine_until(&en, is_asked);
	assert_string_equal(news, "h"); /* the two are one question to the agent */
	assert_true(asked_watch(&en) == second);
	both[0].watch = both[1].watch = second;
	both[0].offset = 700;
	report(&en, both, 1);
	engine_until(&en, is_asked); /* one of two has answered */
	report(&en, &both[1], 1);
	assert_true(watch_answers(entry->obs[1]->watch, first));
	engine_until(&en, is_not_asked);

	int64_t began_ms = clock_ms();

	(void)reconcile_ask(en.rc, entry);
	engine_until(&en, is_asked);
	engine_until(&en, is_not_asked); /* without an answer it ends by itself */
	assert_true(clock_ms() - began_ms >= RECONCILE_ASK_MS);
	reconcile_on_news(en.rc, NULL, NULL);
}

static void goals_are_what_was_shown_since(void **)
{
	auto_engine en = engine_new();
	auto_arena a = {};
	struct wire_goals goals;

	begin_with(&en, NULL);
	record_serving_pair(&en);
	engine_until(&en, engine_is_idle);
	reconcile_goals(en.rc, "here", 0, &a, &goals);
	assert_int_equal(goals.ngoals, 2);
	uint64_t known = goals.revision;

	reconcile_goals(en.rc, "here", known, &a, &goals);
	assert_int_equal(goals.ngoals, 0);
	reconcile_goals(en.rc, "here", known + 1, &a, &goals); /* never given out */
	assert_int_equal(goals.ngoals, 2);
	reconcile_goals(en.rc, "there", 0, &a, &goals);
	assert_int_equal(goals.ngoals, 0);

	news[0] = '\0';
	reconcile_on_news(en.rc, on_news, NULL);
	eg.g.epoch = 2;
	assert_int_equal(engine_commit(&en, registry_group(en.r, eg.g.id), &eg.g, NULL, 0),
			 STORE_COMMITTED);
	assert_string_equal(news, "h");
	reconcile_goals(en.rc, "here", known, &a, &goals);
	assert_int_equal(goals.ngoals, 2);
	assert_int_equal(goals.goals[0].epoch, 2);
}

static bool is_watched(struct engine *en)
{
	return registry_group(en->r, eg.g.id)->live.watch != 0;
}

static bool replica_is_active(struct engine *en)
{
	return member(en, 1)->state == MEMBER_ACTIVE;
}

static void a_copying_replica_is_watched_until_attached(void **)
{
	auto_engine en = engine_new();
	auto_arena a = {};
	struct wire_goals before, watched, after;

	begin_with(&en, NULL);
	record_serving_pair(&en);
	eg.m[1].state = MEMBER_SYNCING;
	eg.m[1].attached_once = false;
	assert_int_equal(engine_commit(&en, registry_group(en.r, eg.g.id), &eg.g, NULL, 0),
			 STORE_COMMITTED);
	reconcile_goals(en.rc, "here", 0, &a, &before);
	assert_int_equal(before.nwatches, 0);

	news[0] = '\0';
	reconcile_on_news(en.rc, on_news, NULL);
	struct observation both[] = { master(&en, &run_1), replica(&en) };
	report(&en, both, 2);
	engine_until(&en, is_watched);
	assert_string_equal(news, "h");
	reconcile_goals(en.rc, "here", before.revision, &a, &watched);
	assert_int_equal(watched.nwatches, 2);
	assert_int_equal(watched.ngoals, 0);
	assert_true(watched.watch_revision != before.watch_revision);

	both[0].watch = both[1].watch = watched.watches[0].live.watch;
	report(&en, both, 2);
	engine_until(&en, replica_is_active);
	engine_until(&en, engine_is_idle);
	reconcile_goals(en.rc, "here", 0, &a, &after);
	assert_int_equal(after.nwatches, 0);
	assert_true(after.watch_revision == before.watch_revision);
}

static bool is_told(struct engine *en)
{
	return registry_event_count(en->r, EVENT_INSTANCE_DOWN) > 0 && !registry_busy(en->r);
}

/* What was remembered of a member becomes so together with the commit that told of it. */
static void a_server_that_is_down_is_told_of_once(void **)
{
	auto_engine en = engine_new();

	begin_with(&en, NULL);
	record_serving_pair(&en);
	struct observation both[] = { master(&en, &run_1), replica(&en) };

	both[1].proc = PROC_EXITED;
	report(&en, both, 2);
	engine_until(&en, is_told);
	both[0].offset++;
	report(&en, both, 1);
	both[0].offset++;
	report(&en, both, 1);
	engine_until(&en, engine_is_idle);
	assert_int_equal(registry_event_count(en.r, EVENT_INSTANCE_DOWN), 1);
}

/* ---- failures ---- */

static void a_store_that_fails_is_tried_again(void **)
{
	auto_engine en = engine_new();

	begin_with(&en, make_forgetful);
	record_new_group(&en, 1);
	engine_until(&en, engine_is_idle);
	struct observation o = master(&en, &run_1);

	log_set_level(LOG_ERROR);
	forgetful.mode = FORGET;
	report(&en, &o, 1);
	engine_until(&en, source_is_active);
	assert_int_equal(registry_write_count(en.r, STORE_FAILED), 1);
	assert_int_equal(registry_event_count(en.r, EVENT_INSTANCE_STARTED), 1);
}

static bool is_failed(struct engine *en)
{
	return member(en, 0)->state == MEMBER_ERROR;
}

static void a_limit_passes_without_any_report(void **)
{
	auto_engine en = engine_new();

	engine_set(&en, "replication.start_limit", "1");
	begin_with(&en, NULL);
	record_new_group(&en, 1);
	engine_until(&en, is_failed);
	assert_int_equal(member(&en, 0)->fault.kind, FAULT_START);
}

static bool is_gone(struct engine *en)
{
	return group(en) == NULL;
}

static void a_deleted_group_leaves_nothing(void **)
{
	auto_engine en = engine_new();
	auto_arena a = {};
	struct wire_goals goals;

	begin_with(&en, NULL);
	engine_group_init(&eg, "dev", "sessions", 1);
	eg.m[0].state = MEMBER_DELETING;
	assert_int_equal(engine_commit(&en, NULL, &eg.g, NULL, 0), STORE_COMMITTED);
	reconcile_goals(en.rc, "here", 0, &a, &goals);
	assert_int_equal(goals.goals[0].run, GOAL_DELETE);

	struct observation o = { .instance = eg.m[0].id, .proc = PROC_DELETED };
	report(&en, &o, 1);
	engine_until(&en, is_gone);
	reconcile_goals(en.rc, "here", 0, &a, &goals);
	assert_int_equal(goals.ngoals, 0);
	assert_int_equal(registry_usage(en.r, "dev").instances, 0);
	assert_int_equal(registry_event_count(en.r, EVENT_GROUP_DELETED), 1);
}

/* ---- many at once ---- */

enum { CROWD = 600 };
static struct id crowd[CROWD];

static void on_recorded(void *, enum store_outcome outcome, const struct err *)
{
	assert_int_equal(outcome, STORE_COMMITTED);
}

static void record_crowd(struct engine *en)
{
	for (size_t i = 0; i < CROWD; i++) {
		char name[16];

		snprintf(name, sizeof name, "group-%zu", i);
		engine_group_init(&eg, "dev", name, 1);
		crowd[i] = eg.m[0].id;
		registry_commit(en->r, NULL, &eg.g, NULL, 0, on_recorded, NULL);
	}
	engine_until(en, engine_is_idle);
}

static bool crowd_is_active(struct engine *en)
{
	size_t active = 0;

	for (size_t i = 0; i < CROWD; i++) {
		struct instance_ref ref;

		assert_true(registry_find(en->r, NULL, crowd[i], &ref));
		active += ref.m->state == MEMBER_ACTIVE;
	}
	return active == CROWD;
}

/* A host of hundreds comes back: all are looked after, and the store is not flooded. */
static void a_crowd_is_committed_a_part_at_a_time(void **)
{
	static struct observation seen[CROWD];
	auto_engine en = engine_new();

	begin_with(&en, make_forgetful);
	record_crowd(&en);
	for (size_t i = 0; i < CROWD; i++) {
		struct instance_ref ref;

		assert_true(registry_find(en.r, NULL, crowd[i], &ref));
		eg.g.id = ref.g->id;
		seen[i] = master(&en, &run_1);
		seen[i].instance = crowd[i];
	}
	forgetful.most = 0;
	report(&en, seen, CROWD);
	engine_until(&en, crowd_is_active);
	assert_int_equal(registry_event_count(en.r, EVENT_INSTANCE_STARTED), CROWD);
	assert_in_range(forgetful.most, 2, 256);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_source_becomes_active),
		cmocka_unit_test(a_source_that_came_back_empty_is_held),
		cmocka_unit_test(who_reads_figures_has_them_asked_for),
		cmocka_unit_test(goals_are_what_was_shown_since),
		cmocka_unit_test(a_copying_replica_is_watched_until_attached),
		cmocka_unit_test(a_server_that_is_down_is_told_of_once),
		cmocka_unit_test(a_store_that_fails_is_tried_again),
		cmocka_unit_test(a_limit_passes_without_any_report),
		cmocka_unit_test(a_deleted_group_leaves_nothing),
		cmocka_unit_test(a_crowd_is_committed_a_part_at_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
