/*
 * Handovers that reach their end, in virtual time (group_world.h), through each phase and with
 * what may happen in it. What was acknowledged is there, and one server takes writes.
 */
#include "group_world.h"

/* a handover that goes well */

static void a_handover_loses_nothing_and_copies_nothing(void **)
{
	struct world w;

	begin(&w);
	turn_until(&w, PHASE_HANDOVER_FENCE, 100);
	assert_int_equal(w.servers[C].upstream, B); /* staged */

	int commits = w.commits;
	int64_t fence_ms = w.now_ms;

	turn_until(&w, PHASE_HANDOVER_PROMOTE, 100);
	assert_int_equal(w.commits, commits + 1); /* the critical section costs one */
	assert_in_range(w.now_ms - fence_ms, 1, 6);
	assert_int_equal(w.g.epoch, 4);
	assert_true(id_eq(w.g.source, seat_id(B)));
	assert_string_equal(w.g.source_run.s, numbered('a', 2).s);
	assert_true(w.members[A].demoted);
	assert_int_equal(w.g.nhistory, 2);
	assert_false(replid_known(&w.history[1].replid));
	assert_int_equal(w.history[1].start, w.servers[A].offset + 1);
	assert_true(w.servers[A].fenced && !w.servers[A].master);

	int64_t frozen = w.servers[A].offset;

	turn_until(&w, PHASE_NONE, 100);
	assert_string_equal(w.trace, "handover.started "
				     "handover.phase "
				     "handover.phase "
				     "source.fenced "
				     "source.changed "
				     "epoch.started "
				     "handover.phase "
				     "handover.phase "
				     "handover.done ");
	assert_int_equal(w.history[1].start, frozen + 1);
	assert_int_equal(w.history[1].epoch, 4);
	assert_true(w.servers[A].dropped);
	assert_int_equal(w.commits, 6);
	assert_true(w.g.last.done);
	assert_int_equal(w.g.last.kind, OP_HANDOVER);
	assert_true(id_eq(w.g.last.op, (struct id){ .b = { 8 } }));
	expect_in(w.outcome, "'db-1' is the source since epoch 4");
	expect_in(w.figures, "stood_ms=");
	expect_in(w.figures, "fence_ms=");
	expect_in(w.figures, "yield_ms=");
	expect_whole(&w);
	assert_int_equal(w.full_syncs, 0);
}

/* Its clients look for the new source while that is committed and promoted. */
static void the_pause_ends_with_the_demotion(void **)
{
	struct world w;
	bool paused = false;

	begin(&w);
	turn_until(&w, PHASE_HANDOVER_FENCE, 100);
	for (int i = 0; w.servers[A].master && i < 100; i++) {
		turn(&w);
		paused |= w.servers[A].paused;
	}
	assert_true(paused);
	assert_false(w.servers[A].master);
	turn(&w);
	turn(&w);
	assert_false(w.servers[A].paused);
	turn_until(&w, PHASE_NONE, 100);
	expect_whole(&w);
}

static void handovers_in_a_row(void **)
{
	struct world w;
	struct err e = {};

	scene(&w);
	for (int n = 0; n < 60; n++) {
		size_t target = ((size_t)n + 1) % w.g.nmembers;

		assert_ok(ask(&w, target, &e), &e);
		turn_until(&w, PHASE_NONE, 200);
		assert_true(id_eq(w.g.source, seat_id(target)));
		expect_whole(&w);
		forget_events(&w);
	}
	assert_int_equal(w.full_syncs, 0);
	assert_int_equal(w.g.epoch, 63);
	assert_in_range(w.g.nhistory, 2, MODEL_HISTORY_MAX);
}

static void a_member_in_its_first_copy_stays_behind_and_follows(void **)
{
	struct world w;

	begin(&w);
	w.members[C].state = MEMBER_SYNCING;
	w.members[C].attached_once = false;
	w.servers[C].link = false;
	w.servers[C].stream = 77;
	w.servers[C].offset = 999999999;
	w.servers[C].hangs = true;
	turn_until(&w, PHASE_NONE, 20000);
	assert_true(w.g.last.done);
	assert_int_equal(w.members[C].state, MEMBER_SYNCING);
	w.servers[C].hangs = false;
	turns(&w, 50);
	assert_int_equal(w.servers[C].upstream, B);
	assert_int_equal(w.members[C].state, MEMBER_ACTIVE);
	expect_whole(&w);
}

/* STAGE */

static void a_target_that_is_not_durable_is_waited_for(void **)
{
	struct world w;

	begin(&w);
	w.servers[B].durable = false;
	turns(&w, 9000);
	assert_int_equal(w.g.op.phase, PHASE_HANDOVER_STAGE);
	w.servers[B].durable = true;
	turn_until(&w, PHASE_NONE, 100);
	assert_true(w.g.last.done);
	expect_whole(&w);

	begin(&w);
	w.servers[B].durable = false;
	turn_until(&w, PHASE_HANDOVER_UNDO, 10100);
	assert_int_equal(w.g.epoch, 4);
	assert_int_equal(w.g.nhistory, 1); /* its role was never touched */
	turn_until(&w, PHASE_NONE, 100);
	assert_false(w.g.last.done);
	expect_in(w.outcome, "on disk yet");
	assert_true(id_eq(w.g.source, seat_id(A)));
	expect_whole(&w);
	assert_int_equal(w.full_syncs, 0);
}

static void a_sibling_that_is_late_is_left_for_later(void **)
{
	struct world w;

	begin(&w);
	w.servers[C].mute = true;
	turn_until(&w, PHASE_HANDOVER_STAGE, 10000);
	turn_until(&w, PHASE_HANDOVER_FENCE, 10100);
	w.servers[C].mute = false;
	turn_until(&w, PHASE_NONE, 200);
	assert_true(w.g.last.done);
	expect_whole(&w);
}

/* Nothing else is committed while writes stand still, whatever happens beside. */
static void the_fence_waits_for_no_other_commit(void **)
{
	struct world w;

	begin(&w);
	turn_until(&w, PHASE_HANDOVER_FENCE, 100);

	int commits = w.commits;

	server_die(&w, C);
	turn_until(&w, PHASE_HANDOVER_PROMOTE, 10);
	assert_int_equal(w.commits, commits + 1);
	assert_null(strstr(w.trace, "instance.down"));
	turn_until(&w, PHASE_NONE, 40000);
	expect_whole(&w);
}

/* PROMOTE */

/* The target stops for good between the commit and its first word as a master. */
static void promoted(struct world *w)
{
	begin(w);
	turn_until(w, PHASE_HANDOVER_PROMOTE, 100);
	assert_false(w->servers[B].master);
	w->servers[B].mute = true; /* it has not heard of it */
}

static void expect_elected_again(struct world *w, const char *why)
{
	assert_int_equal(w->g.op.phase, PHASE_EJECT_SEAL);
	assert_int_equal(w->g.op.kind, OP_EJECT);
	assert_true(id_eq(w->g.op.target, seat_id(B)));
	assert_true(id_eq(w->g.op.from, seat_id(A))); /* which lacks nothing */
	assert_int_equal(w->g.epoch, 5); /* what the target was told can happen no more */
	expect_in(w->trace, "eject.started");
	expect_in(w->reasons, why);
}

static void a_target_that_dies_before_it_serves_is_replaced(void **)
{
	struct world w;

	promoted(&w);
	w.obs[B].proc = PROC_EXITED;
	step_once(&w);
	expect_elected_again(&w, "its server died before");

	promoted(&w);
	w.obs[B].run_id = numbered('a', 90);
	w.obs[B].role = SERVER_ROLE_MASTER;
	step_once(&w);
	expect_elected_again(&w, "was restarted before");

	promoted(&w);
	w.now_ms += 10000;
	step_once(&w);
	expect_elected_again(&w, "within the limit");

	promoted(&w);
	w.silent[B] = true;
	step_once(&w); /* the others have not been asked yet */
	w.now_ms += 3001;
	step_once(&w);
	assert_int_equal(w.g.op.phase, PHASE_HANDOVER_PROMOTE);

	promoted(&w);
	w.silent[B] = true;
	w.obs[A].watch = w.obs[C].watch = w.live.op_watch;
	step_once(&w); /* C is linked to it: it lives */
	assert_int_equal(w.g.op.phase, PHASE_HANDOVER_PROMOTE);
	w.obs[A].link_up = w.obs[C].link_up = false;
	step_once(&w);
	w.now_ms += 2999;
	step_once(&w);
	assert_int_equal(w.g.op.phase, PHASE_HANDOVER_PROMOTE);
	w.now_ms++;
	step_once(&w);
	expect_elected_again(&w, "silent and no replica has a link");
}

/* Its agent is cut off after it promoted: a replica's new id says that it serves. */
static void a_target_that_only_its_replicas_hear_serves(void **)
{
	struct world w;

	begin(&w);
	turn_until(&w, PHASE_HANDOVER_PROMOTE, 100);
	w.now_ms++;
	agent_turn(&w, B);
	assert_true(w.servers[B].master);
	w.heard[B] = false;
	cut_off(&w, B);
	turn_until(&w, PHASE_HANDOVER_TIDY, 20);
	assert_string_equal(w.history[1].replid.s, numbered('c', w.servers[B].stream).s);
	w.servers[B].mute = false;
	turn_until(&w, PHASE_NONE, 40000);
	expect_whole(&w);
}

/* STAGE */

/* No write waits for a target that cannot have everything in time. */
static void a_target_far_behind_is_not_fenced_for(void **)
{
	struct world w;

	begin(&w);
	turn_until(&w, PHASE_HANDOVER_STAGE, 100);
	w.servers[B].stuck = true;
	write_bytes(&w, 16 << 20);

	int64_t at_ms = w.now_ms;

	turn_until(&w, PHASE_HANDOVER_UNDO, 10100);
	assert_in_range(w.now_ms - at_ms, 9900, 10002);
	expect_in(w.outcome, "bytes behind and has applied 0 in 9");
	assert_null(strstr(w.trace, "source.fenced"));
	w.servers[B].stuck = false;
	turn_until(&w, PHASE_NONE, 100);
	assert_true(w.servers[A].master);
	expect_whole(&w);
}

static void one_that_catches_up_in_time_takes_over(void **)
{
	struct world w;

	begin(&w);
	turn_until(&w, PHASE_HANDOVER_STAGE, 100);
	w.servers[B].stuck = true;
	write_bytes(&w, 16 << 20);
	turns(&w, 500);
	assert_int_equal(w.g.op.phase, PHASE_HANDOVER_STAGE);
	w.servers[B].stuck = false;
	turn_until(&w, PHASE_NONE, 100);
	assert_true(w.g.last.done);
	assert_true(w.servers[B].master);
	expect_whole(&w);
}

/* Its agent has it wait for the promotion: so nobody waits for it. */
static void a_sibling_that_lost_its_place_is_not_waited_for(void **)
{
	struct world w;

	begin(&w);
	turn_until(&w, PHASE_HANDOVER_STAGE, 100);
	server_die(&w, C);
	turn_until(&w, PHASE_HANDOVER_FENCE, 500);
	turn_until(&w, PHASE_NONE, 1000);
	assert_true(w.g.last.done);
	expect_whole(&w);
}

/* TIDY */

static void a_straggler_is_named_and_follows_later(void **)
{
	struct world w;

	begin(&w);
	turn_until(&w, PHASE_HANDOVER_TIDY, 100);
	w.servers[C].stuck = true;
	w.servers[C].lazy = true;
	w.obs[C].link_up = false; /* its agent reports, of a server without a link */

	int64_t at_ms = w.now_ms;

	while (w.g.op.phase == PHASE_HANDOVER_TIDY) {
		w.obs[C].watch = w.live.op_watch;
		turn(&w);
	}
	assert_in_range(w.now_ms - at_ms, 30000, 30002);
	turn_until(&w, PHASE_NONE, 100);
	assert_true(w.g.last.done);
	expect_in(w.outcome, "to follow later: 'db-2'");
	w.servers[C].lazy = w.servers[C].stuck = false;
	expect_whole(&w);
}

static void a_new_source_that_dies_in_tidy_is_a_restart(void **)
{
	struct world w;

	begin(&w);
	turn_until(&w, PHASE_HANDOVER_TIDY, 100);
	server_die(&w, B);
	turn(&w);
	assert_true(w.g.last.done);
	expect_in(w.outcome, "its server is gone since");
	turns(&w, 300);
	assert_int_equal(w.g.op.kind, OP_NONE);
	expect_whole(&w);
}

/* The old source's server dies behind the new one: nobody asks about its own history. */
static void a_demoted_source_is_never_called_diverged(void **)
{
	static const enum op_phase phases[] = { PHASE_HANDOVER_PROMOTE, PHASE_HANDOVER_TIDY,
						PHASE_HANDOVER_DROP };

	for (size_t i = 0; i < ARRAY_LEN(phases); i++) {
		struct world w;

		begin(&w);
		turn_until(&w, phases[i], 100);
		w.members[A].demoted = true;
		w.servers[A].master = true; /* as its files left it, say */
		w.servers[A].fenced = true;
		w.servers[A].stream = ++w.streams;
		turn_until(&w, PHASE_NONE, 40000);
		assert_null(strstr(w.trace, "instance.failed"));
		expect_whole(&w);
	}
}

/* Left over after the operation: found as a master it is told to follow, and is no fault. */
static void a_demotion_is_remembered_until_it_is_carried_out(void **)
{
	struct world w;

	scene(&w);
	w.servers[C].mute = true;
	w.members[C].demoted = true;
	w.obs[C].role = SERVER_ROLE_MASTER;
	w.obs[C].replid = numbered('c', 99);
	turns(&w, 5);
	assert_string_equal(w.trace, "");
	assert_true(w.members[C].demoted);
	w.servers[C].mute = false;
	turns(&w, 5);
	assert_false(w.members[C].demoted);
	w.servers[C].mute = true;
	w.obs[C].role = SERVER_ROLE_MASTER;
	w.obs[C].replid = numbered('c', 99);
	turn(&w);
	assert_string_equal(w.trace, "instance.failed "); /* by hand, this time */
}

static void before_4_0(struct world *w)
{
	for (size_t i = 0; i < w->g.nmembers; i++) {
		w->members[i].version = "3.2.13";
	}
	w->history[0].replid = (struct replid){};
}

/* Before 4.0 a change of role erases offsets and a new source is copied from anew. */
static void servers_without_ids_are_handed_over_by_what_the_fence_showed(void **)
{
	struct world w;

	begin(&w);
	before_4_0(&w);
	turn_until(&w, PHASE_HANDOVER_FENCE, 100);
	assert_int_equal(w.servers[C].upstream, A); /* not staged: it would be copied twice */
	turn_until(&w, PHASE_HANDOVER_PROMOTE, 100);
	assert_int_equal(w.history[1].start, 0);
	assert_true(w.servers[B].data >= w.acked);
	turn_until(&w, PHASE_NONE, 40000);
	assert_true(w.g.last.done);
	assert_int_equal(w.g.nhistory, 2);

	/* What the fence showed is forgotten with the control plane. */
	begin(&w);
	before_4_0(&w);
	turn_until(&w, PHASE_HANDOVER_FENCE, 100);
	turn(&w);
	w.now_ms++;
	for (size_t i = 0; i < SEATS; i++) {
		agent_turn(&w, i);
	}
	assert_false(w.servers[A].master);
	restart_plane(&w);
	turn_until(&w, PHASE_HANDOVER_UNDO, 3100);
	assert_int_equal(w.g.nhistory, 1);
	turn_until(&w, PHASE_NONE, 100);
	assert_true(takes_writes(&w.servers[A]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_handover_loses_nothing_and_copies_nothing),
		cmocka_unit_test(the_pause_ends_with_the_demotion),
		cmocka_unit_test(handovers_in_a_row),
		cmocka_unit_test(a_member_in_its_first_copy_stays_behind_and_follows),
		cmocka_unit_test(a_target_that_is_not_durable_is_waited_for),
		cmocka_unit_test(a_sibling_that_is_late_is_left_for_later),
		cmocka_unit_test(the_fence_waits_for_no_other_commit),
		cmocka_unit_test(a_demotion_is_remembered_until_it_is_carried_out),
		cmocka_unit_test(a_target_that_dies_before_it_serves_is_replaced),
		cmocka_unit_test(a_target_that_only_its_replicas_hear_serves),
		cmocka_unit_test(a_target_far_behind_is_not_fenced_for),
		cmocka_unit_test(one_that_catches_up_in_time_takes_over),
		cmocka_unit_test(a_sibling_that_lost_its_place_is_not_waited_for),
		cmocka_unit_test(a_straggler_is_named_and_follows_later),
		cmocka_unit_test(a_new_source_that_dies_in_tidy_is_a_restart),
		cmocka_unit_test(a_demoted_source_is_never_called_diverged),
		cmocka_unit_test(servers_without_ids_are_handed_over_by_what_the_fence_showed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
