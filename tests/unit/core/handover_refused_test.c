/* What is in the way of a handover: said at the request, or found before anything is touched. */
#include "group_world.h"

/* refused */

static void target_detached(struct world *w)
{
	w->members[B].attached_once = false;
}

static void target_builds(struct world *w)
{
	w->members[B].state = MEMBER_SYNCING;
}

static void target_full_disk(struct world *w)
{
	w->servers[B].disk_error = true;
}

static void target_unlinked(struct world *w)
{
	w->servers[B].upstream = NOWHERE;
	w->servers[B].link = false;
	w->servers[B].mute = true;
	w->obs[B].link_up = false;
}

static void target_unheard(struct world *w)
{
	w->servers[B].mute = true;
	w->heard[B] = false;
}

static void target_dead(struct world *w)
{
	server_die(w, B);
	w->servers[B].stays_down = true;
	w->obs[B].proc = PROC_EXITED;
}

static void target_newer(struct world *w)
{
	w->members[B].version = "7.4.1";
}

static void target_of_another_stream(struct world *w)
{
	w->servers[B].mute = true;
	w->obs[B].replid = numbered('c', 99);
}

static void target_with_a_broken_copy(struct world *w)
{
	w->servers[B].mute = true;
	w->obs[B].slave_offset = 1;
}

static void source_unheard(struct world *w)
{
	w->servers[A].mute = true;
	w->heard[A] = false;
}

static void source_restarted(struct world *w)
{
	w->servers[A].mute = true;
	w->obs[A].run_id = numbered('a', 70);
}

static void source_demoted(struct world *w)
{
	w->servers[A].mute = true;
	w->obs[A].role = SERVER_ROLE_REPLICA;
}

static const struct {
	const char *says;
	void (*make)(struct world *);
	const char *reason;
} obstacles[] = {
	{ "never held the data", target_detached, "hold all of the source's data" },
	{ "in its first copy", target_builds, "state syncing" },
	{ "its disk is full", target_full_disk, "disk fails or is full" },
	{ "no link", target_unlinked, "no link to the source" },
	{ "not heard", target_unheard, "it has not been heard" },
	{ "dead", target_dead, "" },
	{ "it would strand the others", target_newer, "'db' (redis 7.0.15) could not copy" },
	{ "another stream", target_of_another_stream, "does not hold the source's stream" },
	{ "its two offsets differ", target_with_a_broken_copy,
	  "does not hold the source's stream" },
	{ "source not heard", source_unheard, "source has not been heard" },
	{ "source restarted", source_restarted, "source was restarted" },
	{ "source is no master", source_demoted, "source does not serve" },
};

static void a_request_is_refused_with_its_reason(void **)
{
	for (size_t i = 0; i < ARRAY_LEN(obstacles); i++) {
		struct err e = {};
		struct world w;

		printf("# %s ", obstacles[i].says);
		scene(&w);
		obstacles[i].make(&w);
		if (w.servers[B].disk_error) {
			w.obs[B].disk_error = true;
		}
		struct group before = w.g;

		assert_false(ask(&w, B, &e));
		assert_int_equal(e.code, ERR_UNPROCESSABLE);
		expect_in(e.msg, obstacles[i].reason);
		assert_memory_equal(&before, &w.g, sizeof before);
	}
}

/* The same, come up after the request: found by asking the servers, and nothing was touched. */
static void a_check_that_fails_touches_nothing(void **)
{
	for (size_t i = 0; i < ARRAY_LEN(obstacles); i++) {
		struct world w;

		printf("# %s ", obstacles[i].says);
		begin(&w);
		obstacles[i].make(&w);
		for (int t = 0; t < 6000 && w.g.op.kind == OP_HANDOVER; t++) {
			assert_int_equal(w.g.op.phase, PHASE_HANDOVER_CHECK);
			turn(&w);
		}
		assert_int_not_equal(w.g.op.kind, OP_HANDOVER);
		expect_in(w.trace, "handover.refused");
		assert_false(w.g.last.done);
		assert_true(w.g.epoch == 3 || strstr(w.trace, "source.confirmed") != NULL);
		assert_true(id_eq(w.g.source, seat_id(A)));
		assert_int_equal(w.servers[C].upstream, A);
		expect_in(w.outcome, "'db-1' cannot take over");
		expect_in(w.outcome, "Nothing was changed");
	}
}

static void requests_that_make_no_sense(void **)
{
	struct err e = {};
	struct world w;

	scene(&w);
	assert_false(ask(&w, A, &e));
	assert_int_equal(e.code, ERR_INVALID);
	expect_in(e.msg, "is not a replica.");
	e = (struct err){};
	assert_false(cancel(&w, &e));
	assert_int_equal(e.code, ERR_UNPROCESSABLE);
	e = (struct err){};
	assert_ok(ask(&w, B, &e), &e);
	assert_false(ask(&w, C, &e));
	expect_in(e.msg, "operation handover runs");
}

/* What only the others lack is no obstacle; nor is a full disk of the source. */
static void what_is_no_obstacle(void **)
{
	struct world w;

	begin(&w);
	w.servers[C].mute = true;
	w.heard[C] = false;
	w.servers[A].disk_error = true;
	turns(&w, 4900);
	assert_int_equal(w.g.op.phase, PHASE_HANDOVER_CHECK); /* it may be about to answer */
	turn_until(&w, PHASE_HANDOVER_TIDY, 20000);
	turn_until(&w, PHASE_NONE, 40000);
	assert_true(w.g.last.done);
	assert_true(id_eq(w.g.source, seat_id(B)));
	w.servers[C].mute = false;
	turns(&w, 100); /* it has lagged by more than the stream keeps of the old id? no: partial */
	expect_whole(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_refused_with_its_reason),
		cmocka_unit_test(a_check_that_fails_touches_nothing),
		cmocka_unit_test(requests_that_make_no_sense),
		cmocka_unit_test(what_is_no_obstacle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
