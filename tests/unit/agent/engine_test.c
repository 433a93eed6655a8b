/*
 * An engine's goals, without a server: their order, and that they are durable before they count.
 * And which of an observation's changes is news.
 */
#include "../test.h"

#include <unistd.h>

#include "agent/engine.h"
#include "agent/goal_file.h"
#include "agent/report.h"
#include "base/str.h"
#include "io/file.h"
#include "proto/wire.h"

static char root[64];

struct fixture {
	struct loop *loop;
	struct agent_env env;
	struct host about;
	struct engine *engine;
	struct id id;
};

static void stop_when_failed(void *arg)
{
	struct fixture *f = arg;

	if (engine_observation(f->engine)->proc == PROC_FAILED) {
		loop_stop(f->loop);
	}
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_non_null(f);
	str_copy(root, sizeof root, "/tmp/tanist-engine-XXXXXX");
	assert_non_null(mkdtemp(root));
	f->loop = loop_new();
	f->id = id_new();
	f->env = (struct agent_env){
		.loop = f->loop,
		.dir = root,
		.socket_dir = root,
		.about = &f->about,
		.start_limit_ms = 1000,
		.stop_limit_ms = 1000,
		.changed = stop_when_failed,
		.arg = f,
	};
	f->engine = engine_new(&f->env, f->id);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct err e;

	engine_free(f->engine);
	loop_free(f->loop);
	assert_ok(dir_remove(root, &e), &e);
	free(f);
	return 0;
}

/* No server program is installed here, so a goal ends in FAILED, which ends the loop. */
static struct goal goal(const struct fixture *f, uint64_t epoch, uint64_t revision)
{
	struct goal g = {
		.instance = f->id,
		.group = f->id,
		.installation = f->id,
		.epoch = epoch,
		.revision = revision,
		.role = GOAL_SOURCE,
		.start_at_once = true,
		.upstream_host = "",
		.name = "one",
		.project = "p",
		.address = "127.0.0.1",
		.port = 7000,
		.datastore = "redis",
		.version = "7.0.15",
	};

	memset(g.secrets.agent.open, 'a', SECRET_LEN);
	memset(g.secrets.replication.open, 'r', SECRET_LEN);
	return g;
}

static void goals_only_rise(void **state)
{
	static const struct {
		const char *says;
		uint64_t epoch, revision;
		bool taken;
	} cases[] = {
		{ "the first one", 3, 10, true },
		{ "the same again confirms it", 3, 10, true },
		{ "a lower revision of the epoch", 3, 9, false },
		{ "a lower epoch, whatever its revision", 2, 99, false },
		{ "a higher revision", 3, 11, true },
		{ "a higher epoch, whatever its revision", 4, 1, true },
		{ "what was the newest a moment ago", 3, 11, false },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct goal g = goal(f, cases[i].epoch, cases[i].revision);
		struct err e = {};

		print_message("# %s\n", cases[i].says);
		assert_int_equal(engine_take_goal(f->engine, &g, &e), cases[i].taken);
		assert_int_equal(e.code, cases[i].taken ? ERR_NONE : ERR_CONFLICT);
	}
	assert_null(engine_goal(f->engine)); /* nothing counts before it is durable */
	loop_run(f->loop);
	assert_int_equal(engine_goal(f->engine)->epoch, 4);
	assert_int_equal(engine_goal(f->engine)->revision, 1);
}

static void a_goal_is_durable_before_it_counts(void **state)
{
	struct fixture *f = *state;
	struct goal g = goal(f, 1, 5);
	struct goal stored;
	auto_arena a = {};
	struct err e;

	assert_ok(engine_take_goal(f->engine, &g, &e), &e);
	loop_run(f->loop);
	const struct paths paths = paths_of(root, root, f->id, &a);
	assert_ok(goal_file_load(&paths, &a, &stored, &e), &e);
	assert_int_equal(stored.revision, 5);
	assert_string_equal(engine_observation(f->engine)->error,
			    "redis 7.0.15 is not installed on this host (have: none)");

	/* The next agent knows it, and refuses what is lower. */
	engine_free(f->engine);
	f->engine = engine_new(&f->env, f->id);
	assert_int_equal(engine_goal(f->engine)->revision, 5);
	g.revision = 4;
	assert_false(engine_take_goal(f->engine, &g, &e));
	loop_run(f->loop);
}

/* The operator's settings are in no record: others come at the same numbers. */
static void other_settings_come_at_the_same_numbers(void **state)
{
	struct fixture *f = *state;
	struct goal g = goal(f, 1, 5);
	struct err e;

	assert_ok(engine_take_goal(f->engine, &g, &e), &e);
	loop_run(f->loop);
	g.settings.maxmemory_bytes = MIB(64);
	assert_ok(engine_take_goal(f->engine, &g, &e), &e);
	loop_run(f->loop);
	assert_int_equal(engine_goal(f->engine)->settings.maxmemory_bytes, MIB(64));
	assert_int_equal(engine_goal(f->engine)->revision, 5);
}

/* What no commit explains is refused: two stores that went separate ways use the same numbers. */
static void another_role_at_the_same_numbers_is_refused(void **state)
{
	struct fixture *f = *state;
	struct goal g = goal(f, 1, 5);
	struct err e;

	assert_ok(engine_take_goal(f->engine, &g, &e), &e);
	loop_run(f->loop);
	g.start_at_once = !g.start_at_once;
	assert_false(engine_take_goal(f->engine, &g, &e));
	assert_non_null(strstr(e.msg, "restored from a copy"));
	g.revision = 6;
	assert_ok(engine_take_goal(f->engine, &g, &e), &e);
}

static void news_is_told_at_once_and_what_moves_by_itself_is_not(void **)
{
	struct observation was = { .proc = PROC_RUNNING, .offset = 1, .sync_total_bytes = -1 };
	struct observation is = was;

	assert_int_equal(report_compare(&is, &was, REPORT_CALM), NEWS_NONE);
	is.offset = 2;
	assert_int_equal(report_compare(&is, &was, REPORT_CALM), NEWS_SLOW);
	assert_int_equal(report_compare(&is, &was, REPORT_STREAM), NEWS_NOW);
	is = was;
	is.used_memory_bytes = 1;
	assert_int_equal(report_compare(&is, &was, REPORT_STREAM), NEWS_SLOW);
	is = was;
	is.watch = 3;
	assert_int_equal(report_compare(&is, &was, REPORT_CALM), NEWS_NOW);
	is = was;
	is.proc = PROC_EXITED;
	assert_int_equal(report_compare(&is, &was, REPORT_CALM), NEWS_NOW);
	is = was;
	is.link_up = true;
	assert_int_equal(report_compare(&is, &was, REPORT_CALM), NEWS_NOW);
	is = was;
	is.durable = true;
	assert_int_equal(report_compare(&is, &was, REPORT_CALM), NEWS_NOW);
	is = was;
	is.fenced = true;
	assert_int_equal(report_compare(&is, &was, REPORT_CALM), NEWS_NOW);
	is = was;
	is.disk_error = true;
	assert_int_equal(report_compare(&is, &was, REPORT_CALM), NEWS_NOW);
	is = was;
	is.read_offset = 5;
	assert_int_equal(report_compare(&is, &was, REPORT_CALM), NEWS_SLOW);
	assert_int_equal(report_compare(&is, &was, REPORT_STREAM), NEWS_NOW);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(goals_only_rise, setup, teardown),
		cmocka_unit_test_setup_teardown(a_goal_is_durable_before_it_counts, setup,
						teardown),
		cmocka_unit_test_setup_teardown(other_settings_come_at_the_same_numbers, setup,
						teardown),
		cmocka_unit_test_setup_teardown(another_role_at_the_same_numbers_is_refused, setup,
						teardown),
		cmocka_unit_test(news_is_told_at_once_and_what_moves_by_itself_is_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
