/*
 * group_step(): a source that was restarted, beside replicas that may know more than it does
 * (group_reports.h).
 */
#include "group_reports.h"

static void a_group_of_one_restarts_at_once(void **)
{
	struct world w;

	created(&w);
	hear(&w, SOURCE, (struct observation){ .proc = PROC_EXITED, .error = "signal 9" });
	expect_events(&w, "instance.down ");
	hear(&w, SOURCE, (struct observation){ .proc = PROC_STARTING });
	expect_events(&w, "");
	hear(&w, SOURCE, master(RUN_2, HIST_2, 0, 3))->start_at_once = true;
	expect_events(&w, "epoch.started ");
	assert_int_equal(w.g.epoch, 2);
	assert_string_equal(w.g.source_run.s, RUN_2);
	assert_int_equal(w.g.nhistory, 2);
	assert_string_equal(w.history[1].replid.s, HIST_2);
	hear(&w, SOURCE, master(RUN_2, HIST_2, 0, 3))->start_at_once = true;
	expect_events(&w, "instance.returned ");
}

static void an_intact_source_is_confirmed(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, SOURCE, (struct observation){ .proc = PROC_EXITED });
	expect_events(&w, "instance.down ");
	hear(&w, SOURCE, guarded(RUN_2, MARKER_INTACT, 5));
	expect_events(&w, "source.comparing source.confirmed ");
	assert_int_equal(w.g.op.phase, PHASE_RESTART_CONFIRM);
	assert_int_equal(w.g.epoch, 2);
	assert_string_equal(w.g.source_run.s, RUN_2);
	assert_string_equal(w.history[1].replid.s, "");

	hear(&w, SOURCE, master(RUN_2, HIST_2, 0, 5));
	expect_events(&w, "epoch.started instance.returned ");
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_string_equal(w.history[1].replid.s, HIST_2);
	assert_int_equal(w.members[SOURCE].state, MEMBER_ACTIVE);
}

static void a_source_without_its_data_is_held(void **)
{
	struct world w;

	with_replicas(&w);
	restarted(&w, RUN_2, MARKER_DIFFERENT, 0);
	assert_int_equal(w.g.op.phase, PHASE_RESTART_COMPARE);
	expect_events(&w, "source.comparing source.held instance.failed ");
	assert_int_equal(w.members[SOURCE].state, MEMBER_ERROR);
	assert_int_equal(w.members[SOURCE].fault.kind, FAULT_GUARD);
	assert_non_null(strstr(w.members[SOURCE].fault.text, "holds 5"));
	assert_non_null(strstr(w.members[SOURCE].fault.text, "--accept-data-loss"));
	assert_non_null(strstr(w.members[SOURCE].fault.text, "eject-replica-source"));
	assert_int_equal(w.g.epoch, 1);
	assert_string_equal(w.g.source_run.s, RUN_1);
	assert_int_equal(w.wake_ms, 0);
	w.now_ms += 3600 * 1000;
	expect_events(&w, "");

	/* The word was for another run: nothing. For this one: it goes on. */
	snprintf(w.members[SOURCE].accepted_run.s, 41, "%s", RUN_3);
	expect_events(&w, "");
	snprintf(w.members[SOURCE].accepted_run.s, 41, "%s", RUN_2);
	expect_events(&w, "source.confirmed ");
	assert_int_equal(w.members[SOURCE].state, MEMBER_ACTIVE);
	assert_string_equal(w.members[SOURCE].accepted_run.s, "");
	assert_int_equal(w.g.epoch, 2);
}

static void a_doubt_that_news_removes_is_over(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, SOURCE, guarded(RUN_2, MARKER_REBOOTED, 5));
	w.obs[SOURCE].recorded = (struct recorded_position){ { HIST_1 }, 100, 5 };
	w.silent[R2] = true;
	settle(&w);
	w.obs[R1].watch = w.watches;
	expect_events(&w, "source.comparing ");
	w.now_ms += 10000;
	expect_events(&w, "source.held instance.failed ");
	assert_non_null(strstr(w.members[SOURCE].fault.text, "'db-2' has not been heard"));
	w.silent[R2] = false;
	hear(&w, R2, replica(HIST_1, 100, 5));
	expect_events(&w, "source.confirmed ");
	assert_int_equal(w.members[SOURCE].fault.kind, FAULT_NONE);
}

static void figures_from_before_the_restart_do_not_count(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, SOURCE, guarded(RUN_2, MARKER_DIFFERENT, 0));
	w.obs[R1].keys = w.obs[R2].keys = 0; /* what they last said, long ago */
	expect_events(&w, "source.comparing ");
	assert_int_equal(w.g.op.phase, PHASE_RESTART_COMPARE);
	assert_true(w.live.watch > w.obs[R1].watch);
	hear(&w, R1, replica(HIST_1, 100, 5));
	hear(&w, R2, replica(HIST_1, 100, 5));
	expect_events(&w, "source.held instance.failed ");
}

/* Promoted by hand while it was held, it had an id of its own until its agent guarded it again. */
static void a_stream_noted_too_soon_is_put_right(void **)
{
	struct world w;

	with_replicas(&w);
	restarted(&w, RUN_2, MARKER_NEW, 0);
	expect_events(&w, "source.comparing source.held instance.failed ");
	snprintf(w.members[SOURCE].accepted_run.s, sizeof w.members[SOURCE].accepted_run.s, RUN_2);
	hear(&w, SOURCE, master(RUN_2, HIST_3, 0, 0))->goal_epoch = 1;
	expect_events(&w, "source.confirmed epoch.started ");
	assert_string_equal(w.history[1].replid.s, HIST_3);

	struct observation *o = hear(&w, SOURCE, master(RUN_2, HIST_2, 0, 0));

	o->goal_applied = false;
	expect_events(&w, "");
	o->goal_applied = true;
	assert_int_equal(o->goal_epoch, w.g.epoch);
	step_once(&w);
	assert_string_equal(w.trace, "epoch.started ");
	assert_string_equal(w.history[1].replid.s, HIST_2);
	assert_int_equal(w.g.nhistory, 2);
}

static void loading_is_not_limited_by_time(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, SOURCE, guarded(RUN_2, MARKER_INTACT, 0))->loading = true;
	expect_events(&w, "source.comparing ");
	for (int i = 0; i < 10; i++) {
		w.now_ms += 9000;
		expect_events(&w, "");
	}
	hear(&w, SOURCE, guarded(RUN_2, MARKER_INTACT, 5));
	expect_events(&w, "source.confirmed ");
}

static void the_limit_for_answers_begins_after_loading(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, SOURCE, guarded(RUN_2, MARKER_DIFFERENT, 5))->loading = true;
	expect_events(&w, "source.comparing ");
	w.now_ms += 60000;
	expect_events(&w, "");
	hear(&w, SOURCE, guarded(RUN_2, MARKER_DIFFERENT, 5));
	w.now_ms += 9999;
	expect_events(&w, "");
	w.now_ms += 1;
	expect_events(&w, "source.held instance.failed ");
	assert_non_null(strstr(w.members[SOURCE].fault.text, "has not been heard"));
}

static void a_restart_that_raced_with_a_new_replica_is_compared(void **)
{
	struct world w;

	created(&w);
	add_member(&w); /* the source's agent has not heard of it yet */
	hear(&w, SOURCE, master(RUN_2, HIST_2, 0, 3))->start_at_once = true;
	expect_events(&w, "source.comparing source.confirmed epoch.started ");
	assert_int_equal(w.g.epoch, 2);
	assert_string_equal(w.g.source_run.s, RUN_2);
	assert_int_equal(w.g.op.kind, OP_NONE);
}

static void killed_twice_the_newest_run_counts(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, SOURCE, guarded(RUN_2, MARKER_INTACT, 5));
	expect_events(&w, "source.comparing source.confirmed ");
	hear(&w, SOURCE, guarded(RUN_3, MARKER_INTACT, 5)); /* died before it was promoted */
	expect_events(&w, "source.comparing source.confirmed ");
	assert_int_equal(w.g.epoch, 3);
	assert_string_equal(w.g.source_run.s, RUN_3);

	/* A word for a run that is gone is not a word for the next. */
	with_replicas(&w);
	restarted(&w, RUN_2, MARKER_NEW, 0);
	settle(&w);
	assert_int_equal(w.g.op.phase, PHASE_RESTART_HELD);
	snprintf(w.members[SOURCE].accepted_run.s, 41, "%s", RUN_2);

	uint64_t asked = w.live.compare_watch;

	restarted(&w, RUN_3, MARKER_NEW, 0);
	assert_true(w.live.compare_watch > asked); /* the replicas are asked again, too */
	settle(&w);
	assert_int_equal(w.g.op.phase, PHASE_RESTART_HELD);
	assert_int_equal(w.g.epoch, 1);
}

static void a_confirmed_source_that_never_serves_ends_the_operation(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, SOURCE, guarded(RUN_2, MARKER_INTACT, 5));
	settle(&w);
	forget_events(&w);
	w.now_ms += 60000;
	expect_events(&w, "instance.failed ");
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_int_equal(w.members[SOURCE].fault.kind, FAULT_START);
	hear(&w, SOURCE, master(RUN_2, HIST_2, 0, 5));
	expect_events(&w, "epoch.started instance.returned ");
	assert_int_equal(w.members[SOURCE].state, MEMBER_ACTIVE);
	assert_string_equal(w.history[1].replid.s, HIST_2);
}

static void a_source_that_cannot_start_again_says_why(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, SOURCE, guarded(RUN_2, MARKER_INTACT, 5));
	settle(&w);
	forget_events(&w);
	hear(&w, SOURCE, (struct observation){ .proc = PROC_FAILED, .error = "disk full" });
	expect_events(&w, "instance.failed ");
	assert_int_equal(w.g.op.kind, OP_NONE);
	hear(&w, SOURCE, guarded(RUN_3, MARKER_INTACT, 5));
	expect_events(&w, "source.comparing source.confirmed ");
	hear(&w, SOURCE, master(RUN_3, HIST_3, 0, 5));
	expect_events(&w, "epoch.started instance.returned ");
	assert_int_equal(w.members[SOURCE].state, MEMBER_ACTIVE);
}

static void a_master_among_the_replicas_holds_the_source(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, R1, master(RUN_3, HIST_2, 120, 7));
	hear(&w, SOURCE, guarded(RUN_2, MARKER_INTACT, 5));
	settle(&w);
	assert_int_equal(w.members[SOURCE].fault.kind, FAULT_GUARD);
	assert_int_equal(w.members[R1].fault.kind, FAULT_DIVERGED);
	assert_non_null(strstr(w.members[SOURCE].fault.text, "promoted by hand"));
}

static void deleting_a_held_source_ends_its_operation(void **)
{
	struct world w;

	with_replicas(&w);
	restarted(&w, RUN_2, MARKER_NEW, 0);
	settle(&w);
	assert_int_equal(w.g.op.phase, PHASE_RESTART_HELD);
	w.members[SOURCE].state = MEMBER_DELETING;
	settle(&w);
	assert_int_equal(w.g.op.kind, OP_NONE);
}

static void a_replica_that_is_deleted_no_longer_holds_the_source(void **)
{
	struct world w;

	with_replicas(&w);
	restarted(&w, RUN_2, MARKER_NEW, 0);
	settle(&w);
	assert_int_equal(w.g.op.phase, PHASE_RESTART_HELD);
	w.members[R1].state = w.members[R2].state = MEMBER_DELETING;
	settle(&w);
	assert_int_equal(w.g.op.phase, PHASE_RESTART_CONFIRM);
}

static void history_keeps_the_newest_reigns(void **)
{
	struct world w;

	created(&w);
	for (int i = 0; i < MODEL_HISTORY_MAX + 5; i++) {
		struct observation o = master(RUN_2, HIST_2, 0, 0);

		snprintf(o.run_id.s, sizeof o.run_id.s, "%040d", i);
		o.start_at_once = true;
		hear(&w, SOURCE, o);
		settle(&w);
		forget_events(&w);
	}
	assert_int_equal(w.g.nhistory, MODEL_HISTORY_MAX);
	assert_int_equal(w.history[MODEL_HISTORY_MAX - 1].epoch, w.g.epoch);
	assert_int_equal(w.history[0].epoch, w.g.epoch - MODEL_HISTORY_MAX + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_group_of_one_restarts_at_once),
		cmocka_unit_test(an_intact_source_is_confirmed),
		cmocka_unit_test(a_source_without_its_data_is_held),
		cmocka_unit_test(a_doubt_that_news_removes_is_over),
		cmocka_unit_test(figures_from_before_the_restart_do_not_count),
		cmocka_unit_test(a_stream_noted_too_soon_is_put_right),
		cmocka_unit_test(loading_is_not_limited_by_time),
		cmocka_unit_test(the_limit_for_answers_begins_after_loading),
		cmocka_unit_test(a_restart_that_raced_with_a_new_replica_is_compared),
		cmocka_unit_test(killed_twice_the_newest_run_counts),
		cmocka_unit_test(a_confirmed_source_that_never_serves_ends_the_operation),
		cmocka_unit_test(a_source_that_cannot_start_again_says_why),
		cmocka_unit_test(a_master_among_the_replicas_holds_the_source),
		cmocka_unit_test(deleting_a_held_source_ends_its_operation),
		cmocka_unit_test(a_replica_that_is_deleted_no_longer_holds_the_source),
		cmocka_unit_test(history_keeps_the_newest_reigns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
