/*
 * group_step(): how the members of a group start, hold their source's data, fail, come back and
 * leave (group_reports.h).
 */
#include "core/goal.h"
#include "group_reports.h"

static void create_ends_when_the_source_serves(void **)
{
	struct world w;

	creating(&w);
	expect_events(&w, "");
	assert_int_equal(w.wake_ms, 61000);
	hear(&w, SOURCE, (struct observation){ .proc = PROC_STARTING });
	expect_events(&w, "");

	struct observation *o = hear(&w, SOURCE, master(RUN_1, HIST_1, 0, 0));

	o->goal_applied = false;
	expect_events(&w, "");
	o->goal_applied = true;
	o->loading = true;
	expect_events(&w, "");
	o->loading = false;
	expect_events(&w, "instance.started ");
	assert_int_equal(w.members[SOURCE].state, MEMBER_ACTIVE);
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_string_equal(w.g.source_run.s, RUN_1);
	assert_int_equal(w.g.nhistory, 1);
	assert_string_equal(w.history[0].replid.s, HIST_1);
	assert_int_equal(w.history[0].epoch, 1);
}

static void a_failed_start_says_why_and_recovers(void **)
{
	struct world w;

	creating(&w);
	hear(&w, SOURCE, (struct observation){ .proc = PROC_FAILED, .error = "Address in use" });
	expect_events(&w, "instance.failed ");
	assert_int_equal(w.members[SOURCE].fault.kind, FAULT_START);
	assert_non_null(strstr(w.members[SOURCE].fault.text, "Address in use"));
	assert_int_equal(w.g.op.kind, OP_NONE);
	hear(&w, SOURCE, master(RUN_1, HIST_1, 0, 0));
	expect_events(&w, "instance.returned ");
	assert_int_equal(w.members[SOURCE].state, MEMBER_ACTIVE);
	assert_int_equal(w.members[SOURCE].fault.kind, FAULT_NONE);
	assert_string_equal(w.g.source_run.s, RUN_1);
	assert_int_equal(w.g.nhistory, 1);
}

static void a_start_nobody_sees_ends_at_its_limit(void **)
{
	struct world w;

	creating(&w);
	settle(&w);
	w.now_ms += 59999;
	expect_events(&w, "");
	w.now_ms += 1;
	expect_events(&w, "instance.failed ");
	assert_int_equal(w.members[SOURCE].state, MEMBER_ERROR);
	assert_int_equal(w.g.op.kind, OP_NONE);
}

static void a_replica_is_attached_only_after_the_sample(void **)
{
	struct world w;

	created(&w);
	add_member(&w);
	w.members[R1].state = MEMBER_STARTING;
	expect_events(&w, "");
	hear(&w, R1, replica("", 0, 0))->link_up = false;
	expect_events(&w, "instance.started instance.syncing ");
	assert_int_equal(w.live.watch, 0);

	/* Link up: that is not attached. The source is asked where it is. */
	hear(&w, R1, replica(HIST_1, 40, 5));
	expect_events(&w, "");
	assert_true(w.live.watch != 0);
	assert_true(w.live.watch_all);

	/* An answer from before the question does not count. */
	struct observation *s = hear(&w, SOURCE, master(RUN_1, HIST_1, 40, 5));
	s->watch = w.live.watch - 1;
	expect_events(&w, "");
	s->watch = w.live.watch;
	s->offset = 100;
	expect_events(&w, "");
	hear(&w, R1, replica(HIST_1, 99, 5));
	expect_events(&w, "");

	/* Offsets that disagree, another history, a source that would start at once: not yet. */
	hear(&w, R1, replica(HIST_1, 100, 5))->offset = 400;
	expect_events(&w, "");
	hear(&w, R1, replica(HIST_2, 100, 5));
	expect_events(&w, "");
	w.obs[SOURCE].start_at_once = true;
	hear(&w, R1, replica(HIST_1, 100, 5));
	expect_events(&w, "");
	assert_false(w.members[R1].attached_once);
	w.obs[SOURCE].start_at_once = false;
	expect_events(&w, "instance.attached ");
	assert_int_equal(w.members[R1].state, MEMBER_ACTIVE);
	assert_true(w.members[R1].attached_once);
	settle(&w);
	assert_int_equal(w.live.watch, 0);
}

static void a_link_that_drops_voids_the_sample(void **)
{
	struct world w;

	created(&w);
	add_member(&w);
	hear(&w, R1, replica(HIST_1, 10, 0));
	settle(&w);
	hear(&w, SOURCE, master(RUN_1, HIST_1, 100, 5));
	settle(&w);
	assert_true(w.member_live[R1].sampled);
	hear(&w, R1, replica(HIST_1, 10, 0))->link_up = false;
	settle(&w);
	assert_false(w.member_live[R1].sampled);
	assert_int_equal(w.live.watch, 0);
}

static void a_copy_that_stands_still_is_an_error_until_attached(void **)
{
	struct world w;

	created(&w);
	add_member(&w);
	hear(&w, SOURCE, master(RUN_1, HIST_1, 100, 5));

	struct observation *o = hear(&w, R1, replica("", 0, 0));

	o->link_up = false;
	o->sync_in_progress = true;
	settle(&w);
	forget_events(&w);
	for (int i = 1; i <= 5; i++) { /* slow, but it moves */
		w.now_ms += 50000;
		o->sync_done_bytes = i * 1000;
		expect_events(&w, "");
	}
	o->sync_done_bytes = 0;
	for (int i = 1; i <= 5; i++) { /* the source still writes what it will send */
		w.now_ms += 50000;
		hear(&w, SOURCE, master(RUN_1, HIST_1, 100, 5))->save_progress = i * 7;
		expect_events(&w, "");
	}
	hear(&w, SOURCE, master(RUN_1, HIST_1, 100, 5));
	w.now_ms += 50000; /* loading counts by itself */
	o->sync_in_progress = false;
	o->loading = true;
	expect_events(&w, "");
	assert_int_equal(w.wake_ms, w.now_ms + 60000);
	w.now_ms += 60000;
	expect_events(&w, "instance.failed ");
	assert_int_equal(w.members[R1].fault.kind, FAULT_SYNC);
	assert_int_equal(w.members[SOURCE].state, MEMBER_ACTIVE);

	hear(&w, R1, replica(HIST_1, 100, 5));
	settle(&w);
	hear(&w, SOURCE, master(RUN_1, HIST_1, 100, 5));
	expect_events(&w, "instance.attached ");
	assert_int_equal(w.members[R1].fault.kind, FAULT_NONE);
}

static void silence_is_no_evidence(void **)
{
	struct world w;

	with_replicas(&w);
	w.silent[SOURCE] = w.silent[R1] = w.silent[R2] = true;
	hear(&w, SOURCE, (struct observation){ .proc = PROC_EXITED });
	w.now_ms += 3600 * 1000;
	expect_events(&w, "");
	assert_int_equal(w.wake_ms, 0);

	/* A control plane that has just started has heard nobody. */
	memset(&w.heard, 0, sizeof w.heard);
	memset(&w.member_live, 0, sizeof w.member_live);
	w.live = (struct group_live){ .members = w.member_live };
	expect_events(&w, "");
}

static void a_replica_that_dies_comes_back(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, R1, (struct observation){ .proc = PROC_HUNG });
	expect_events(&w, "instance.down ");
	expect_events(&w, "");
	hear(&w, R1, replica(HIST_1, 100, 5));
	expect_events(&w, "instance.returned ");
	hear(&w, R1, (struct observation){ .proc = PROC_FAILED });
	expect_events(&w, "instance.failed ");
	hear(&w, R1, replica(HIST_1, 100, 5));
	expect_events(&w, "instance.returned ");
	assert_int_equal(w.members[R1].state, MEMBER_ACTIVE);
}

static void a_replica_promoted_by_hand_is_named_and_comes_back_on_a_word(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, R1, master(RUN_2, HIST_2, 100, 6));
	expect_events(&w, "instance.failed ");
	assert_int_equal(w.members[R1].fault.kind, FAULT_DIVERGED);
	assert_int_equal(w.members[SOURCE].state, MEMBER_ACTIVE);
	snprintf(w.members[R1].accepted_run.s, 41, "%s", RUN_2);
	expect_events(&w, "");

	const struct server_settings settings = {};
	struct goal goal = goal_of(&w.g, &w.members[R1], (struct id){}, &settings);

	assert_true(goal.demote_accepted);
	assert_string_equal(goal.confirmed_run.s, RUN_2);

	hear(&w, R1, replica(HIST_1, 50, 0))->link_up = false;
	expect_events(&w, "instance.returned instance.syncing ");
	assert_int_equal(w.members[R1].state, MEMBER_SYNCING);
	assert_true(w.members[R1].attached_once); /* what it holds is still protected */
	assert_string_equal(w.members[R1].accepted_run.s, "");
	hear(&w, R1, replica(HIST_1, 100, 5));
	settle(&w);
	hear(&w, SOURCE, master(RUN_1, HIST_1, 100, 5));
	expect_events(&w, "instance.attached ");

	/* Restarted while it was a master, it comes back guarded: the same. */
	hear(&w, R1, guarded(RUN_2, MARKER_INTACT, 6));
	expect_events(&w, "instance.failed ");
	assert_int_equal(w.members[R1].fault.kind, FAULT_DIVERGED);
}

static void a_replica_that_never_held_the_data_cannot_diverge(void **)
{
	struct world w;

	created(&w);
	add_member(&w);
	hear(&w, R1, (struct observation){ .proc = PROC_FAILED });
	expect_events(&w, "instance.failed ");
	hear(&w, R1, master(RUN_2, HIST_2, 0, 0));
	expect_events(&w, "");
	assert_int_equal(w.members[R1].fault.kind, FAULT_START);
}

static void deleted_members_leave_the_source_last(void **)
{
	struct world w;

	with_replicas(&w);
	for (size_t i = 0; i < w.g.nmembers; i++) {
		w.members[i].state = MEMBER_DELETING;
	}
	expect_events(&w, "");
	hear(&w, SOURCE, (struct observation){ .proc = PROC_DELETED });
	hear(&w, R1, (struct observation){ .proc = PROC_EXITED });
	expect_events(&w, "");
	hear(&w, R1, (struct observation){ .proc = PROC_DELETED });
	expect_events(&w, "instance.deleted ");
	assert_int_equal(w.g.nmembers, 2);
	assert_true(id_eq(w.members[1].id, seat_id(R2)));
	hear(&w, R2, (struct observation){ .proc = PROC_DELETED });
	expect_events(&w, "instance.deleted instance.deleted group.deleted ");
	assert_true(w.gone);
	assert_int_equal(w.g.nmembers, 0);
}

/* A replica that has just left, alone in its new group, as the request committed it. */
static void detached(struct world *w)
{
	created(w);
	w->g.epoch = 5;
	w->history[0].replid = (struct replid){ HIST_1 };
	history_push(&w->g, &(struct replid){}, 101);
	w->g.op = (struct operation){
		.kind = OP_DETACH,
		.phase = PHASE_DETACH_PROMOTE,
		.target = seat_id(SOURCE),
	};
	w->heard[SOURCE] = false;
	settle(w);
}

static void a_detach_ends_when_its_server_is_a_master(void **)
{
	struct world w;
	struct observation o = master(RUN_1, HIST_2, 120, 5);

	detached(&w);
	o.replid2 = (struct replid){ HIST_1 };
	o.second_offset = 101;
	hear(&w, SOURCE, replica(HIST_1, 100, 5))->run_id = (struct replid){ RUN_1 };
	expect_events(&w, "");
	hear(&w, SOURCE, o)->goal_applied = false; /* a setting of replication may be left */
	w.obs[SOURCE].goal_epoch = 4;
	settle(&w);
	assert_int_equal(w.g.op.phase, PHASE_DETACH_PROMOTE);
	hear(&w, SOURCE, o)->watch = 0; /* an earlier life */
	settle(&w);
	assert_int_equal(w.g.op.phase, PHASE_DETACH_PROMOTE);
	hear(&w, SOURCE, o);
	settle(&w);
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_true(w.g.last.done);
	assert_string_equal(w.trace, "epoch.started detach.done ");
	expect_in(w.reasons, "the source of a group of its own");
	assert_string_equal(w.history[1].replid.s, HIST_2);
	assert_int_equal(w.history[1].start, 101);
	assert_int_equal(w.g.epoch, 5);
}

static void a_detach_whose_server_fails_or_restarts_ends(void **)
{
	struct world w;
	struct observation o = master(RUN_2, HIST_3, 0, 5);

	detached(&w);
	hear(&w, SOURCE, (struct observation){ .proc = PROC_FAILED, .error = "no memory" });
	settle(&w);
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_false(w.g.last.done);
	assert_non_null(strstr(w.trace, "detach.done instance.failed "));
	assert_int_equal(w.members[SOURCE].fault.kind, FAULT_START);

	detached(&w);
	o.start_at_once = true;
	hear(&w, SOURCE, o);
	settle(&w);
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_true(w.g.last.done);
	assert_string_equal(w.g.source_run.s, RUN_2); /* alone: what it came back with is it */
	assert_string_equal(w.history[w.g.nhistory - 1].replid.s, HIST_3);
	assert_int_equal(w.g.epoch, 6);
}

/* Nobody else asks for figures of a group that stands still. */
static void a_reader_has_all_asked_until_they_answered(void **)
{
	struct world w;

	with_replicas(&w);
	settle(&w);
	assert_int_equal(w.live.watch, 0);
	w.reader_watch = 900;
	w.reader_until_ms = w.now_ms + 500;
	settle(&w);
	assert_int_equal(group_live_of(&w.g, &w.live, &w.members[R1]).watch, 900);
	assert_false(group_live_of(&w.g, &w.live, &w.members[R1]).stream);
	assert_true(w.wake_ms == w.now_ms + 500);
	w.obs[SOURCE].watch = w.obs[R2].watch = 900;
	settle(&w);
	assert_int_equal(w.live.watch, 900);
	w.obs[R1].watch = 901; /* a newer question answers this one too */
	settle(&w);
	assert_int_equal(w.live.watch, 0);

	w.reader_watch = 902;
	settle(&w);
	assert_int_equal(w.live.watch, 902);
	w.silent[SOURCE] = w.silent[R1] = w.silent[R2] = true; /* nobody is there to answer */
	settle(&w);
	assert_int_equal(w.live.watch, 0);

	w.silent[R1] = false;
	settle(&w);
	assert_int_equal(w.live.watch, 902);
	w.now_ms += 500; /* its time is over */
	settle(&w);
	assert_int_equal(w.live.watch, 0);
}

/* Right behind a restart: should the source die now, its replicas' stream must be known. */
static void a_stream_that_nobody_knows_is_asked_for(void **)
{
	struct world w;

	with_replicas(&w);
	settle(&w);
	assert_int_equal(w.live.watch, 0);
	w.obs[R1].replid = (struct replid){ HIST_3 };
	settle(&w);
	assert_int_not_equal(w.live.watch, 0);
	w.obs[SOURCE].watch = w.live.watch;
	settle(&w);
	assert_int_equal(w.live.watch, 0); /* asked once */

	w.obs[SOURCE].replid = (struct replid){ HIST_3 };
	expect_events(&w, "epoch.started ");
	assert_string_equal(w.history[0].replid.s, HIST_3);

	w.obs[R1].replid = (struct replid){ HIST_1 };
	w.obs[R1].link_up = false; /* it tells of another time */
	settle(&w);
	assert_int_equal(w.live.watch, 0);
}

static void an_answer_to_an_earlier_life_is_none(void **)
{
	const uint64_t life = (uint64_t)7 << 32, earlier = (uint64_t)9 << 32;

	assert_true(watch_answers(life + 3, life + 3));
	assert_true(watch_answers(life + 4, life + 3));
	assert_false(watch_answers(life + 2, life + 3));
	assert_false(watch_answers(earlier + 99, life + 3));
	assert_false(watch_answers(0, life + 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_to_an_earlier_life_is_none),
		cmocka_unit_test(create_ends_when_the_source_serves),
		cmocka_unit_test(a_failed_start_says_why_and_recovers),
		cmocka_unit_test(a_start_nobody_sees_ends_at_its_limit),
		cmocka_unit_test(a_replica_is_attached_only_after_the_sample),
		cmocka_unit_test(a_link_that_drops_voids_the_sample),
		cmocka_unit_test(a_copy_that_stands_still_is_an_error_until_attached),
		cmocka_unit_test(silence_is_no_evidence),
		cmocka_unit_test(a_replica_that_dies_comes_back),
		cmocka_unit_test(a_replica_promoted_by_hand_is_named_and_comes_back_on_a_word),
		cmocka_unit_test(a_replica_that_never_held_the_data_cannot_diverge),
		cmocka_unit_test(deleted_members_leave_the_source_last),
		cmocka_unit_test(a_reader_has_all_asked_until_they_answered),
		cmocka_unit_test(a_stream_that_nobody_knows_is_asked_for),
		cmocka_unit_test(a_detach_ends_when_its_server_is_a_master),
		cmocka_unit_test(a_detach_whose_server_fails_or_restarts_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
