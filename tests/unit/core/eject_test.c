/*
 * Ejects from end to end in virtual time (group_world.h). A history reads as what happens to the
 * hosts, and the events that follow. Nobody writes but where it says so.
 */
#include "group_world.h"

static bool try_eject(struct world *w, bool accept, struct err *e)
{
	const struct operate_in in = operate_in_of(w);
	enum probe_answer probe = operate_needs_probe(&w->g, &in) ? PROBE_SILENT : PROBE_NOT_MADE;
	struct group_event ev = {};
	bool again = false;

	if (!operate_eject(&w->g, &in, w->g.source, probe, accept, &again, &ev, e)) {
		return false;
	}
	if (!again) {
		commit_request(w, &ev);
	}
	return true;
}

static void eject(struct world *w)
{
	struct err e = {};

	assert_ok(try_eject(w, false, &e), &e);
}

static void eject_at_any_loss(struct world *w)
{
	struct err e = {};

	assert_ok(try_eject(w, true, &e), &e);
}

/* For good, and its agent says so. */
static void kill_server(struct world *w, size_t seat)
{
	server_die(w, seat);
	w->servers[seat].stays_down = true;
	agents_report(w);
}

static void hang(struct world *w, size_t seat)
{
	w->servers[seat].hangs = true;
	agents_report(w);
}

/* The source's host is gone without a word: links stay up, and only stillness tells. */
static void lose_host(struct world *w)
{
	cut_off(w, A);
	for (size_t i = B; i < SEATS; i++) {
		w->servers[i].last_io_s = 9;
	}
	agents_report(w);
}

/* From what its files are now. */
static void restart(struct world *w, size_t seat, enum marker_verdict marker)
{
	w->servers[seat].marker = marker;
	w->servers[seat].stays_down = false;
	w->servers[seat].dies_ms = 1; /* nobody waits for it any more */
}

/* the way it goes */

static void a_dead_source_is_replaced_by_the_most_current(void **)
{
	struct world w;

	quiet_scene(&w, 3);
	w.servers[C].link = false; /* held back */
	write_bytes(&w, 500);
	kill_server(&w, A);
	eject(&w);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_DRAIN);
	turns(&w, 20);
	assert_true(is_source(&w, B));
	assert_true(everybody_follows(&w));
	assert_int_equal(w.servers[C].offset, 1500);
	assert_int_equal(w.g.nmembers, 3);
	expect_events(&w, "eject.started instance.down eject.phase eject.candidate eject.candidate "
			  "eject.candidate source.changed source.ejected epoch.started eject.phase "
			  "eject.done ");
	assert_true(w.g.last.done);
	assert_int_equal(w.g.last.kind, OP_EJECT);
	/* Seal and promotion each have an epoch; the new reign goes on at the next byte. */
	assert_int_equal(w.g.epoch, 5);
	assert_int_equal(w.g.nhistory, 2);
	assert_int_equal(w.history[1].start, 1501);
	assert_string_equal(w.history[1].replid.s, w.obs[B].replid.s);
	assert_true(w.has_split);
	assert_int_equal(w.split_member.state, MEMBER_FENCED);
	assert_int_equal(w.split_member.fault.kind, FAULT_EJECTED);
}

static void nobody_is_touched_before_all_is_applied(void **)
{
	struct world w;
	struct err e = {};

	quiet_scene(&w, 2);
	lose_host(&w);
	assert_false(try_eject(&w, false, &e));
	assert_int_equal(e.code, ERR_UNPROCESSABLE);
	expect_in(e.msg, "accept_data_loss");
	expect_in(e.msg, "1000");
	eject_at_any_loss(&w);
	turns(&w, 30);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_DRAIN);
	w.servers[B].offset = w.servers[B].received = 1100; /* it still reads */
	turns(&w, 40);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_DRAIN);
	turns(&w, 40);
	assert_true(is_source(&w, B));
	assert_int_equal(w.history[1].start, 1101);
}

static void a_late_report_is_no_stillness(void **)
{
	struct world w;

	quiet_scene(&w, 1);
	lose_host(&w);
	eject_at_any_loss(&w);
	turns(&w, 2);
	w.servers[B].lazy = true; /* no answer after the first look */
	turns(&w, 500);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_DRAIN);
	w.servers[B].lazy = false;
	turns(&w, 20);
	assert_true(is_source(&w, B));
}

static void what_is_received_and_not_applied_counts_as_moving(void **)
{
	struct world w;

	quiet_scene(&w, 1);
	w.servers[B].stuck = true;
	write_bytes(&w, 200);
	lose_host(&w);
	eject_at_any_loss(&w);
	turns(&w, 300);
	assert_int_equal(w.servers[B].offset, 1000);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_DRAIN);
	w.servers[B].stuck = false;
	turns(&w, 70);
	assert_int_equal(w.history[1].start, 1201);
}

static void a_busy_replica_keeps_what_it_received(void **)
{
	struct world w;

	quiet_scene(&w, 2);
	w.servers[C].hangs = true;
	write_bytes(&w, 100);
	w.servers[B].link = false;
	write_bytes(&w, 400); /* only C gets them, and it has not read them yet */
	kill_server(&w, A);
	eject(&w);
	turns(&w, 3000);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_DRAIN);
	w.servers[C].hangs = false;
	turns(&w, 20);
	assert_true(is_source(&w, C));
	assert_int_equal(w.history[1].start, 1501);
	assert_true(everybody_follows(&w));
}

static void one_that_never_wakes_is_left_behind_at_the_limit(void **)
{
	struct world w;

	quiet_scene(&w, 2);
	w.servers[C].hangs = true;
	kill_server(&w, A);
	eject(&w);
	turns(&w, 9990);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_DRAIN);
	turns(&w, 40);
	assert_true(is_source(&w, B));
	w.servers[C].hangs = false;
	turns(&w, 30);
	assert_true(everybody_follows(&w));
}

static void an_unreachable_replica_stops_nothing(void **)
{
	struct world w;

	quiet_scene(&w, 3);
	cut_off(&w, C);
	kill_server(&w, A);
	eject(&w);
	turns(&w, 20);
	assert_true(is_source(&w, B));
	reach_again(&w, C);
	turns(&w, 30);
	assert_true(everybody_follows(&w));
}

/* the old source */

static void a_hung_source_is_killed_before_anybody_is_sealed(void **)
{
	struct world w;

	quiet_scene(&w, 2);
	hang(&w, A);
	w.servers[A].lazy = true; /* its agent takes its time with the kill */
	eject(&w);
	turns(&w, 200);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_DRAIN);
	w.servers[A].lazy = false;
	turns(&w, 100);
	assert_true(is_source(&w, B));
}

static void one_that_nobody_could_kill_is_not_replaced_unasked(void **)
{
	struct world w;

	quiet_scene(&w, 2);
	hang(&w, A);
	w.servers[A].lazy = true;
	eject(&w);
	turns(&w, 10100);
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_true(is_source(&w, A));
	assert_false(w.g.last.done);
	expect_in(w.g.last.reason, "accept_data_loss");
	/* With the word it goes on at the limit. */
	eject_at_any_loss(&w);
	turns(&w, 10100);
	assert_true(is_source(&w, B));
}

static void one_whose_agent_falls_silent_before_the_kill_is_not_either(void **)
{
	struct world w;

	quiet_scene(&w, 2);
	hang(&w, A);
	w.servers[A].lazy = true;
	eject(&w); /* while its agent was heard */
	cut_off(&w, A);
	turns(&w, 200);
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_true(is_source(&w, A));
	assert_true(traced(&w, "eject.undone"));
}

/* The source's agent is silent, its server is not: nobody here can know. */
static void source_unheard(struct world *w, enum op_phase when)
{
	quiet_scene(w, 3);
	w->g.durability = w->g.durability_proven = when == PHASE_EJECT_HELD ? 1 : 0;
	lose_host(w);
	if (when == PHASE_EJECT_HELD) {
		eject(w);
		cut_off(w, D); /* then too few can be sealed */
	} else {
		eject_at_any_loss(w);
	}
	turn_until(w, when, 100);
	w->servers[C].lazy = when == PHASE_EJECT_SEAL;
}

static void a_source_that_lives_after_all_goes_on_with_everything(void **)
{
	static const enum op_phase when[] = { PHASE_EJECT_DRAIN, PHASE_EJECT_SEAL,
					      PHASE_EJECT_HELD };

	for (size_t i = 0; i < ARRAY_LEN(when); i++) {
		struct world w;
		struct replid before;

		printf("# back in %s\n", op_phase_name(when[i]));
		source_unheard(&w, when[i]);
		before = w.obs[A].replid;
		write_bytes(&w, 70); /* it went on writing all the time */
		reach_again(&w, A);
		turns(&w, 5);
		assert_true(traced(&w, "eject.undone"));
		w.servers[C].lazy = false;
		reach_again(&w, D);
		turns(&w, 30);
		assert_true(is_source(&w, A));
		assert_false(w.g.last.done);
		assert_true(everybody_follows(&w));
		assert_int_equal(w.servers[A].offset, 1070);
		/* It was demoted and promoted back: one new reign, at the byte where it stood. */
		assert_int_equal(w.g.nhistory, 2);
		assert_int_equal(w.history[1].start, 1071);
		assert_string_equal(w.history[1].replid.s, w.obs[A].replid.s);
		assert_string_not_equal(before.s, w.obs[A].replid.s);
		assert_int_equal(w.members[A].state, MEMBER_ACTIVE);
		assert_int_equal(w.members[A].fault.kind, FAULT_NONE);
	}
}

static void an_eject_wins_over_a_restart(void **)
{
	struct world w;

	quiet_scene(&w, 2);
	kill_server(&w, A);
	turns(&w, 2);
	restart(&w, A, MARKER_MISSING);
	turns(&w, 20);
	assert_int_equal(w.g.op.phase, PHASE_RESTART_HELD);
	eject(&w);
	turns(&w, 30);
	assert_true(is_source(&w, B));
	assert_true(w.has_split);
}

static void a_restarted_one_is_compared_when_nobody_can_be_elected(void **)
{
	struct world w;

	quiet_scene(&w, 2);
	w.g.durability = w.g.durability_proven = 1;
	cut_off(&w, C);
	kill_server(&w, A);
	eject(&w);
	turns(&w, 50);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_HELD);
	assert_int_equal(w.members[A].state, MEMBER_ERROR);
	assert_int_equal(w.members[A].fault.kind, FAULT_ELECT);
	assert_true(traced(&w, "eject.held"));
	expect_in(w.members[A].fault.text, "1 of 2 replicas are sealed");
	forget_events(&w);
	turns(&w, 6000);
	expect_events(&w, "");
	restart(&w, A, MARKER_INTACT);
	turns(&w, 20);
	assert_true(traced(&w, "eject.undone source.comparing source.confirmed"));
	reach_again(&w, C);
	turns(&w, 100);
	assert_true(is_source(&w, A));
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_int_equal(w.obs[A].role, SERVER_ROLE_MASTER);
}

/* held */

static void held(struct world *w)
{
	quiet_scene(w, 2);
	w->g.durability = w->g.durability_proven = 1;
	cut_off(w, C);
	kill_server(w, A);
	eject(w);
	turns(w, 50);
	assert_int_equal(w->g.op.phase, PHASE_EJECT_HELD);
	forget_events(w);
}

static void a_replica_that_returns_makes_it_enough(void **)
{
	struct world w;

	held(&w);
	reach_again(&w, C);
	turns(&w, 100);
	assert_true(is_source(&w, B) || is_source(&w, C));
	assert_true(traced(&w, "eject.done"));
}

static void the_operators_word_given_later_is_enough(void **)
{
	struct world w;
	uint64_t revision;

	held(&w);
	revision = w.g.revision;
	eject(&w);
	assert_int_equal(w.g.revision, revision); /* the same eject: nothing to commit */
	eject_at_any_loss(&w);
	assert_int_equal(w.g.revision, revision + 1);
	eject_at_any_loss(&w);
	assert_int_equal(w.g.revision, revision + 1);
	turns(&w, 100);
	assert_true(is_source(&w, B));
	assert_true(traced(&w, "source.accepted"));
}

static void members_that_go_meanwhile(void **)
{
	struct world w;

	held(&w);
	member_of(&w, C)->state = MEMBER_DELETING;
	reach_again(&w, C);
	turns(&w, 100);
	/* Deleted, it may still have been the one that held a write: k = 1 is proven of nobody. */
	assert_int_equal(w.g.op.phase, PHASE_EJECT_HELD);
	assert_int_equal(w.g.durability_proven, 0);
	member_of(&w, B)->state = MEMBER_DELETING;
	turns(&w, 100);
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_true(is_source(&w, A));
	assert_true(traced(&w, "eject.undone"));
}

static void a_group_that_is_deleted_ends_it(void **)
{
	struct world w;
	struct group_event ev;
	struct err e = {};

	held(&w);
	struct operate_in in = operate_in_of(&w);

	assert_ok(operate_delete_group(&w.g, &in, &ev, &e), &e);
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_int_equal(w.g.last.kind, OP_EJECT);
	assert_false(w.g.last.done);
	for (size_t i = 0; i < w.g.nmembers; i++) {
		assert_int_equal(w.members[i].state, MEMBER_DELETING);
	}
}

static void cancelled_the_source_goes_on_if_it_can(void **)
{
	struct world w;
	struct err e = {};

	held(&w);
	uint64_t epoch = w.g.epoch;

	assert_ok(cancel(&w, &e), &e);
	assert_int_equal(w.g.epoch, epoch + 1);
	assert_int_equal(w.members[A].fault.kind, FAULT_NONE);
	reach_again(&w, C);
	restart(&w, A, MARKER_INTACT);
	turns(&w, 100);
	assert_true(is_source(&w, A));
	assert_int_equal(w.obs[A].role, SERVER_ROLE_MASTER);
}

/* again and again */

static void a_winner_that_dies_before_it_serves_is_replaced(void **)
{
	struct world w;

	quiet_scene(&w, 3);
	write_bytes(&w, 10);
	kill_server(&w, A);
	eject(&w);
	turn_until(&w, PHASE_EJECT_PROMOTE, 50);
	assert_true(is_source(&w, B));
	kill_server(&w, B);
	turns(&w, 50);
	assert_true(is_source(&w, C));
	assert_true(everybody_follows(&w));
	assert_int_equal(w.g.nmembers, 2);
	assert_int_equal(w.history[w.g.nhistory - 1].start, 1011);
}

/* It served for a moment, unheard, and one replica followed it that far. */
static void what_it_wrote_meanwhile_is_found(void **)
{
	struct world w;

	quiet_scene(&w, 3);
	kill_server(&w, A);
	eject(&w);
	turn_until(&w, PHASE_EJECT_PROMOTE, 50);
	server_promote(&w, B);
	server_follow(&w, C, B);
	w.servers[C].link = true;
	w.servers[C].stream2 = w.servers[C].stream;
	w.servers[C].second = w.servers[B].second;
	w.servers[C].stream = w.servers[B].stream;
	write_bytes(&w, 200);
	kill_server(&w, B);
	turns(&w, 50);
	assert_true(is_source(&w, C));
	assert_int_equal(w.history[w.g.nhistory - 1].start, 1201);
	assert_true(everybody_follows(&w));
}

static void with_the_word_the_one_with_the_most_keys_begins_anew(void **)
{
	struct world w;

	quiet_scene(&w, 2);
	w.servers[B].data = 109;
	kill_server(&w, A);
	turns(&w, 1);
	for (size_t i = B; i <= C; i++) {
		/* Both were restarted from their AOFs: no position is left. */
		w.servers[i].stream = ++w.streams;
		w.servers[i].offset = 0;
	}
	agents_report(&w);
	eject(&w);
	turns(&w, 50);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_HELD);
	eject_at_any_loss(&w);
	turns(&w, 50);
	assert_true(is_source(&w, B));
	assert_int_equal(w.history[1].start, 0);
	/* Who stays has nothing to show for itself until it has copied the winner. */
	assert_int_equal(w.servers[C].data, 109);
	assert_true(everybody_follows(&w));
}

/* durability */

static void a_second_loss_before_the_others_caught_up_is_not_hidden(void **)
{
	struct world w;

	quiet_scene(&w, 2);
	w.g.durability = w.g.durability_proven = 1;
	w.servers[C].link = false;
	write_bytes(&w, 50); /* WAIT 1: the source and B */
	kill_server(&w, A);
	eject(&w);
	turn_until(&w, PHASE_EJECT_PROMOTE, 50);
	assert_true(is_source(&w, B));
	assert_int_equal(w.g.durability_proven, 0);
	kill_server(&w, B);
	turns(&w, 50);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_HELD);
}

static void it_is_proven_again_when_all_hold_it(void **)
{
	struct world w;

	quiet_scene(&w, 3);
	w.g.durability = 2;
	w.g.durability_proven = 1;
	w.servers[D].hangs = w.servers[D].stuck = true;
	write_bytes(&w, 50);
	turns(&w, 50);
	assert_int_equal(w.g.durability_proven, 1);
	w.servers[D].hangs = false;
	turns(&w, 5); /* it runs, and has yet to apply it */
	assert_int_equal(w.g.durability_proven, 1);
	w.servers[D].stuck = false;
	turns(&w, 5);
	assert_int_equal(w.g.durability_proven, 2);
	assert_true(traced(&w, "durability.changed"));
	assert_int_equal(w.live.durability_watch, 0);
}

/* With exactly k replicas one is too few behind the eject: its clients would wonder. */
static void a_new_source_with_too_few_replicas_is_told_of(void **)
{
	for (uint32_t k = 1; k <= 2; k++) {
		struct world w;

		quiet_scene(&w, 2);
		w.g.durability = w.g.durability_proven = k;
		kill_server(&w, A);
		eject(&w);
		turns(&w, 200);
		assert_int_equal(w.g.op.kind, OP_NONE);
		assert_true(w.g.last.done);
		assert_int_equal(traced(&w, "durability.short"), k == 2);
		assert_int_equal(strstr(w.g.last.reason, "takes no writes") != NULL, k == 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_dead_source_is_replaced_by_the_most_current),
		cmocka_unit_test(nobody_is_touched_before_all_is_applied),
		cmocka_unit_test(a_late_report_is_no_stillness),
		cmocka_unit_test(what_is_received_and_not_applied_counts_as_moving),
		cmocka_unit_test(a_busy_replica_keeps_what_it_received),
		cmocka_unit_test(one_that_never_wakes_is_left_behind_at_the_limit),
		cmocka_unit_test(an_unreachable_replica_stops_nothing),
		cmocka_unit_test(a_hung_source_is_killed_before_anybody_is_sealed),
		cmocka_unit_test(one_that_nobody_could_kill_is_not_replaced_unasked),
		cmocka_unit_test(one_whose_agent_falls_silent_before_the_kill_is_not_either),
		cmocka_unit_test(a_source_that_lives_after_all_goes_on_with_everything),
		cmocka_unit_test(an_eject_wins_over_a_restart),
		cmocka_unit_test(a_restarted_one_is_compared_when_nobody_can_be_elected),
		cmocka_unit_test(a_replica_that_returns_makes_it_enough),
		cmocka_unit_test(the_operators_word_given_later_is_enough),
		cmocka_unit_test(members_that_go_meanwhile),
		cmocka_unit_test(a_group_that_is_deleted_ends_it),
		cmocka_unit_test(cancelled_the_source_goes_on_if_it_can),
		cmocka_unit_test(a_winner_that_dies_before_it_serves_is_replaced),
		cmocka_unit_test(what_it_wrote_meanwhile_is_found),
		cmocka_unit_test(with_the_word_the_one_with_the_most_keys_begins_anew),
		cmocka_unit_test(a_second_loss_before_the_others_caught_up_is_not_hidden),
		cmocka_unit_test(it_is_proven_again_when_all_hold_it),
		cmocka_unit_test(a_new_source_with_too_few_replicas_is_told_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
