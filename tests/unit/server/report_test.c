/*
 * Reports: which are believed, what they change, and what they never do.
 */
#include "engine.h"

/* An engine with host "here" and one group of two on it. */
static void begin(struct engine *en, struct engine_group *eg)
{
	engine_open(en);
	engine_join(en, "here", "127.0.77.1-127.0.77.9");
	engine_group_init(eg, "dev", "sessions", 2);
	assert_int_equal(engine_commit(en, NULL, &eg->g, NULL, 0), STORE_COMMITTED);
}

static const struct observation *seen(struct engine *en, const struct engine_group *eg, size_t i)
{
	struct instance_ref ref;

	assert_true(registry_find(en->r, NULL, eg->m[i].id, &ref));
	return ref.o;
}

static struct observation running(const struct engine_group *eg, size_t i, int64_t keys)
{
	return (struct observation){ .instance = eg->m[i].id, .proc = PROC_RUNNING, .keys = keys };
}

static void a_host_joins_once(void **)
{
	auto_engine en = engine_new();
	const struct reg_host *h;

	engine_open(&en);
	engine_join(&en, "here", "127.0.77.1-127.0.77.9");
	h = registry_host(en.r, "here");
	assert_non_null(h);
	assert_true(id_eq(h->h.id, en.host));
	assert_int_equal(registry_event_count(en.r, EVENT_HOST_JOINED), 1);
	engine_join(&en, "here", "127.0.77.1-127.0.77.9");
	assert_int_equal(registry_event_count(en.r, EVENT_HOST_JOINED), 1);
	assert_int_equal(registry_write_count(en.r, STORE_COMMITTED), 2);
	engine_close(&en);

	engine_open(&en);
	assert_non_null(registry_host(en.r, "here"));
	engine_join(&en, "here", "127.0.77.1-127.0.77.5");
	assert_string_equal(registry_host(en.r, "here")->h.pool_addresses, "127.0.77.1-127.0.77.5");
	assert_int_equal(registry_event_count(en.r, EVENT_HOST_JOINED), 0);
}

static void a_host_that_is_another_is_refused(void **)
{
	auto_engine en = engine_new();
	struct host same_name, renamed;
	struct wire_report_answer answer;
	const struct id first = en.host;
	struct err e = {};

	engine_open(&en);
	engine_join(&en, "here", "127.0.77.1-127.0.77.9");
	renamed = engine_host(&en, "there", "127.0.77.1-127.0.77.9");
	en.host = id_new();
	same_name = engine_host(&en, "here", "127.0.77.1-127.0.77.9");

	const struct {
		const char *says;
		struct wire_report report;
	} cases[] = {
		{ "belongs to installation",
		  { .host = first, .session = en.session, .seq = 9, .installation = id_new() } },
		{ "set agent.name on this one",
		  { .host = en.host, .session = id_new(), .seq = 1, .about = &same_name } },
		{ "set agent.name back",
		  { .host = first, .session = en.session, .seq = 9, .about = &renamed } },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_false(registry_report(en.r, &cases[i].report, &answer, &e));
		assert_int_equal(e.code, ERR_CONFLICT);
		if (strstr(e.msg, cases[i].says) == NULL) {
			fail_msg("'%s' does not say '%s'", e.msg, cases[i].says);
		}
	}
	assert_null(registry_host(en.r, "there"));
}

static void what_a_report_says_is_seen(void **)
{
	auto_engine en = engine_new();
	struct engine_group eg;
	struct wire_report_answer answer;
	struct err e = {};

	begin(&en, &eg);
	struct observation both[] = { running(&eg, 0, 7), running(&eg, 1, 8) };

	assert_ok(engine_report(&en, false, NULL, both, 2, &answer, &e), &e);
	assert_false(answer.want_full);
	assert_int_equal(seen(&en, &eg, 1)->keys, 8);

	both[1].keys = 9;
	assert_ok(engine_report(&en, false, NULL, &both[1], 1, &answer, &e), &e);
	assert_int_equal(seen(&en, &eg, 0)->keys, 7);
	assert_int_equal(seen(&en, &eg, 1)->keys, 9);

	/* A full report is all there is. */
	assert_ok(engine_report(&en, true, NULL, &both[1], 1, &answer, &e), &e);
	assert_null(seen(&en, &eg, 0));
	assert_int_equal(seen(&en, &eg, 1)->keys, 9);
}

static void reports_of_the_past_are_not_believed(void **)
{
	auto_engine en = engine_new();
	struct engine_group eg;
	struct wire_report_answer answer;
	struct err e = {};

	begin(&en, &eg);
	struct observation o = running(&eg, 0, 7);
	struct id old_session = en.session;

	en.seq = 100;
	assert_ok(engine_report(&en, false, NULL, &o, 1, &answer, &e), &e);
	assert_true(answer.want_full); /* those between are lost */
	assert_ok(engine_report(&en, true, NULL, &o, 1, &answer, &e), &e);
	assert_false(answer.want_full);

	o.keys = 6;
	en.seq = 50;
	assert_ok(engine_report(&en, false, NULL, &o, 1, &answer, &e), &e);
	assert_int_equal(seen(&en, &eg, 0)->keys, 7);

	/* The agent starts anew: nothing of its last life counts. */
	en.session = id_new();
	en.seq = 0;
	assert_ok(engine_report(&en, false, NULL, NULL, 0, &answer, &e), &e);
	assert_true(answer.want_full);
	assert_null(seen(&en, &eg, 0));

	en.session = old_session;
	en.seq = 102;
	assert_ok(engine_report(&en, false, NULL, &o, 1, &answer, &e), &e);
	assert_null(seen(&en, &eg, 0));
}

/* The first report of an agent that has just died may be read after that of the next one. */
static void a_late_session_shuts_out_nobody(void **)
{
	auto_engine en = engine_new();
	struct engine_group eg;
	struct wire_report_answer answer;
	struct err e = {};

	begin(&en, &eg);
	struct observation o = running(&eg, 0, 7);
	struct id living = en.session;
	uint64_t seq = en.seq;

	en.session = id_new();
	en.seq = 0;
	assert_ok(engine_report(&en, true, NULL, &o, 1, &answer, &e), &e);
	assert_int_equal(seen(&en, &eg, 0)->keys, 7);

	o.keys = 8;
	en.session = living;
	en.seq = seq;
	assert_ok(engine_report(&en, false, NULL, &o, 1, &answer, &e), &e);
	assert_int_equal(seen(&en, &eg, 0)->keys, 7); /* it might be its last word, and late */
	assert_ok(engine_report(&en, false, NULL, &o, 1, &answer, &e), &e);
	assert_true(answer.want_full);
	assert_ok(engine_report(&en, true, NULL, &o, 1, &answer, &e), &e);
	assert_false(answer.want_full);
	assert_int_equal(seen(&en, &eg, 0)->keys, 8);
}

static void an_unknown_host_is_asked_who_it_is(void **)
{
	auto_engine en = engine_new();
	struct wire_report_answer answer = {};
	struct err e = {};

	engine_open(&en);
	assert_ok(engine_report(&en, false, NULL, NULL, 0, &answer, &e), &e);
	assert_true(answer.want_full);
	assert_true(id_eq(answer.installation, registry_installation(en.r)));
	assert_int_equal(registry_hosts(en.r, NULL, 0), 0);
}

static void a_host_speaks_for_its_own_instances_only(void **)
{
	auto_engine en = engine_new();
	struct engine_group eg;
	struct wire_report_answer answer;
	struct err e = {};

	begin(&en, &eg);
	struct observation o[] = { running(&eg, 0, 7), { .instance = id_new() } };

	en.host = id_new();
	en.session = id_new();
	en.seq = 0;
	log_set_level(LOG_ERROR);
	engine_join(&en, "there", "127.0.78.1-127.0.78.9");
	assert_ok(engine_report(&en, false, NULL, o, 2, &answer, &e), &e);
	assert_null(seen(&en, &eg, 0));
}

static void an_orphan_is_told_of_once(void **)
{
	auto_engine en = engine_new();
	struct engine_group eg;
	struct wire_report_answer answer;
	struct err e = {};

	begin(&en, &eg);
	const struct wire_orphan orphans[] = {
		{ .instance = id_new(), .detail = "pid=12" },
		{ .instance = eg.m[0].id }, /* known here: its goal is on the way */
	};
	struct wire_report rep = { .host = en.host,
				   .session = en.session,
				   .seq = en.seq,
				   .orphans = orphans,
				   .norphans = 2 };

	for (int i = 0; i < 3; i++) {
		rep.seq++;
		assert_ok(registry_report(en.r, &rep, &answer, &e), &e);
	}
	engine_until(&en, engine_is_idle);
	assert_int_equal(registry_event_count(en.r, EVENT_ORPHAN_FOUND), 1);
	engine_close(&en);

	engine_open(&en); /* the event is still there to tell */
	rep.session = id_new();
	assert_ok(registry_report(en.r, &rep, &answer, &e), &e);
	engine_until(&en, engine_is_idle);
	assert_int_equal(registry_event_count(en.r, EVENT_ORPHAN_FOUND), 0);
}

/* ---- silence ---- */

struct heard {
	int changes;
};

static void on_change(void *arg, struct entry *)
{
	((struct heard *)arg)->changes++;
}

static bool is_silent(struct engine *en)
{
	return registry_host_silent(en->r, "here");
}

static void a_host_that_is_not_heard_falls_silent(void **)
{
	auto_engine en = engine_new();
	struct engine_group eg;
	struct heard heard = {};
	struct instance_ref ref;
	struct wire_report_answer answer;
	struct err e = {};

	engine_set(&en, "agent.silent_after", "1");
	int64_t began_ms = clock_ms();
	begin(&en, &eg);
	registry_on_change(en.r, on_change, &heard);
	assert_false(is_silent(&en));
	engine_until(&en, is_silent);
	assert_true(clock_ms() - began_ms >= 2000); /* the agents had time to come first */
	assert_int_equal(heard.changes, 1);
	assert_true(registry_find(en.r, NULL, eg.m[0].id, &ref));
	assert_true(ref.silent);

	assert_ok(engine_report(&en, false, NULL, NULL, 0, &answer, &e), &e);
	assert_int_equal(heard.changes, 2);
	assert_false(is_silent(&en));
	engine_until(&en, is_silent); /* the sweep goes on */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_host_joins_once),
		cmocka_unit_test(a_host_that_is_another_is_refused),
		cmocka_unit_test(what_a_report_says_is_seen),
		cmocka_unit_test(reports_of_the_past_are_not_believed),
		cmocka_unit_test(a_late_session_shuts_out_nobody),
		cmocka_unit_test(an_unknown_host_is_asked_who_it_is),
		cmocka_unit_test(a_host_speaks_for_its_own_instances_only),
		cmocka_unit_test(an_orphan_is_told_of_once),
		cmocka_unit_test(a_host_that_is_not_heard_falls_silent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
