/*
 * group_step() with a store that is older than the hosts, and group_adopt(), which takes the hosts
 * at their word (group_reports.h).
 */
#include "group_reports.h"

static void a_store_older_than_its_hosts_stops_everything(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, R1, replica(HIST_1, 100, 5))->goal_epoch = 9;
	hear(&w, SOURCE, guarded(RUN_2, MARKER_INTACT, 5));
	expect_events(&w, "instance.failed store.older ");
	assert_int_equal(w.members[R1].fault.kind, FAULT_STORE);
	assert_non_null(strstr(w.members[R1].fault.text, "older than the hosts"));
	assert_int_equal(w.g.epoch, 1);
	assert_int_equal(w.g.op.kind, OP_NONE);
	w.now_ms += 3600 * 1000;
	expect_events(&w, "");
	w.g.epoch = 9; /* the copy was put back again by a newer one */
	settle(&w);
	assert_int_equal(w.members[R1].state, MEMBER_ACTIVE);
}

static void a_change_that_the_store_forgot_counts_as_an_epoch_does(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, R1, replica(HIST_1, 100, 5))->goal_revision = w.g.revision;
	expect_events(&w, "");
	w.obs[R1].goal_revision += 10;
	expect_events(&w, "instance.failed store.older ");
	/* So many commits later its host takes goals again. */
	w.g.revision = w.obs[R1].goal_revision;
	expect_events(&w, "instance.returned ");
}

static bool adopt(struct world *w, struct err *e)
{
	const struct operate_in in = operate_in_of(w);
	const struct observation *heard[SEATS] = {};
	struct group_event event = {};
	struct group before = w->g;

	for (size_t i = 0; i < w->g.nmembers; i++) {
		heard[i] = in.silent[i] ? NULL : in.obs[i];
	}
	bool ok = group_adopt(&w->g, heard, &event, e);

	assert_true(ok == (event.kind == EVENT_STORE_ADOPTED && event.epoch == w->g.epoch));
	assert_true(ok || memcmp(&before, &w->g, sizeof before) == 0);
	w->g.revision += ok;
	return ok;
}

/* The record is at epoch 1 with run 1; the hosts have gone on to epoch 4 with run 2. */
static void put_back(struct world *w)
{
	with_replicas(w);
	hear(w, SOURCE, master(RUN_2, HIST_2, 900, 50))->goal_epoch = 4;
	hear(w, R1, replica(HIST_2, 900, 50))->goal_epoch = 4;
	hear(w, R2, replica(HIST_2, 900, 50))->goal_epoch = 4;
	settle(w);
	assert_int_equal(w->members[SOURCE].fault.kind, FAULT_STORE);
	forget_events(w);
}

static void adopting_takes_the_source_as_it_runs(void **)
{
	struct world w;
	struct err e = {};

	put_back(&w);
	w.g.op = (struct operation){
		.kind = OP_RESTART,
		.phase = PHASE_RESTART_CONFIRM,
		.target = seat_id(SOURCE),
		.run = { RUN_1 },
	};
	assert_ok(adopt(&w, &e), &e);
	/* Above all that was seen: at the very same epoch the hosts would refuse its goals. */
	assert_int_equal(w.g.epoch, 5);
	assert_string_equal(w.g.source_run.s, RUN_2);
	assert_int_equal(w.g.nhistory, 2);
	assert_string_equal(w.history[1].replid.s, HIST_2);
	assert_int_equal(w.history[1].epoch, 5);
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_int_equal(w.members[SOURCE].fault.kind, FAULT_STORE); /* the next step clears it */
	expect_events(&w, "instance.returned instance.returned instance.returned ");
	for (size_t i = 0; i < w.g.nmembers; i++) {
		assert_int_equal(w.members[i].state, MEMBER_ACTIVE);
		assert_int_equal(w.members[i].fault.kind, FAULT_NONE);
	}
	assert_false(adopt(&w, &e));
	assert_int_equal(e.code, ERR_UNPROCESSABLE);
}

static void adopting_is_refused(void **)
{
	static const struct {
		const char *says;
		bool put_back, unheard_source, unheard_replica, silent_replica;
		const char *message;
	} rows[] = {
		{ "nothing is older", .message = "nothing to adopt" },
		{ "the source is not heard", .put_back = true, .unheard_source = true,
		  .message = "'db' is not heard" },
		{ "a replica with the fault is not heard", .put_back = true,
		  .unheard_replica = true, .message = "'db-1' is not heard" },
		{ "or was heard long ago", .put_back = true, .silent_replica = true,
		  .message = "'db-1' is not heard" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct world w;
		struct err e = {};

		printf("# %s\n", rows[i].says);
		if (rows[i].put_back) {
			put_back(&w);
		} else {
			with_replicas(&w);
		}
		w.heard[SOURCE] = !rows[i].unheard_source;
		w.heard[R1] = !rows[i].unheard_replica;
		w.silent[R1] = rows[i].silent_replica;
		assert_false(adopt(&w, &e));
		assert_int_equal(e.code, ERR_UNPROCESSABLE);
		expect_in(e.msg, rows[i].message);
	}
}

/* It is not known what it has: it is compared like any restarted source. */
static void adopting_confirms_no_source_that_does_not_serve(void **)
{
	struct world w;
	struct err e = {};

	put_back(&w);
	hear(&w, SOURCE, guarded(RUN_3, MARKER_DIFFERENT, 0))->goal_epoch = 4;
	assert_ok(adopt(&w, &e), &e);
	assert_int_equal(w.g.epoch, 5);
	assert_string_equal(w.g.source_run.s, RUN_1);
	settle(&w);
	w.obs[R1].watch = w.obs[R2].watch = w.watches;
	settle(&w);
	assert_int_equal(w.g.op.phase, PHASE_RESTART_HELD);
	assert_int_equal(w.members[SOURCE].fault.kind, FAULT_GUARD);
}

/* By hand anybody can be promoted: only a goal that was carried out makes a source. */
static void adopting_follows_a_handover_but_no_hand(void **)
{
	struct world w;
	struct err e = {};

	put_back(&w);
	hear(&w, SOURCE, replica(HIST_3, 950, 60))->goal_epoch = 4;
	struct observation *o = hear(&w, R1, master(RUN_2, HIST_3, 950, 60));
	o->goal_epoch = 6;
	o->replid2 = (struct replid){ HIST_2 };
	o->second_offset = 901;
	o->goal_applied = false;
	assert_ok(adopt(&w, &e), &e);
	assert_true(id_eq(w.g.source, seat_id(SOURCE)));
	assert_int_equal(w.g.epoch, 7);

	o->goal_epoch = 9;
	o->goal_applied = true;
	assert_ok(adopt(&w, &e), &e);
	assert_true(id_eq(w.g.source, seat_id(R1)));
	assert_int_equal(w.g.epoch, 10);
	assert_int_equal(w.history[w.g.nhistory - 1].start, 901);
}

/* A delete that the hosts refuse as older goes through once they are taken at their word. */
static void adopting_helps_a_delete(void **)
{
	struct world w;
	struct err e = {};

	put_back(&w);
	for (size_t i = 0; i < w.g.nmembers; i++) {
		w.members[i].state = MEMBER_DELETING;
	}
	assert_ok(adopt(&w, &e), &e);
	assert_int_equal(w.g.epoch, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_store_older_than_its_hosts_stops_everything),
		cmocka_unit_test(a_change_that_the_store_forgot_counts_as_an_epoch_does),
		cmocka_unit_test(adopting_takes_the_source_as_it_runs),
		cmocka_unit_test(adopting_is_refused),
		cmocka_unit_test(adopting_confirms_no_source_that_does_not_serve),
		cmocka_unit_test(adopting_follows_a_handover_but_no_hand),
		cmocka_unit_test(adopting_helps_a_delete),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
