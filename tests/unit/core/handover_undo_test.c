/*
 * Handovers that are left behind the fence: what must be known before the commit, and how the
 * source serves again (group_world.h).
 */
#include <inttypes.h>

#include "group_world.h"

static void begin_fence(struct world *w)
{
	begin(w);
	turn_until(w, PHASE_HANDOVER_FENCE, 100);
}

/* FENCE */

static void a_target_that_cannot_catch_up_is_left_and_the_writers_go_on(void **)
{
	struct world w;

	begin(&w);
	turn_until(&w, PHASE_HANDOVER_STAGE, 100);
	w.servers[B].stuck = true;
	turn_until(&w, PHASE_HANDOVER_FENCE, 100);

	int64_t fence_ms = w.now_ms;

	turn_until(&w, PHASE_HANDOVER_UNDO, 3100);
	assert_in_range(w.now_ms - fence_ms, 2000, 2002);
	assert_true(w.servers[A].master); /* it never yielded */

	char behind[64];

	snprintf(behind, sizeof behind, "still %" PRId64 " bytes behind (offset %" PRId64,
		 w.servers[A].offset - w.servers[B].offset, w.servers[B].offset);
	expect_in(w.outcome, behind);
	assert_int_equal(w.g.nhistory, 2); /* it may have been demoted: pending .. */
	/* Never demoted, it may write on in the same stream: all of that is the group's. */
	assert_int_equal(w.history[1].start, INT64_MAX);
	turn_until(&w, PHASE_NONE, 100);
	assert_int_equal(w.g.nhistory, 1); /* .. it was not */
	assert_false(w.g.last.done);
	expect_in(w.trace, "source.fenced handover.undoing handover.undone ");
	w.servers[B].stuck = false;
	expect_whole(&w);
	assert_int_equal(w.full_syncs, 0);
}

/* A write that the source acknowledges though its writes stand still. */
static void slip_through(struct world *w)
{
	w->servers[A].offset += 10;
	w->servers[A].data++;
	w->acked++;
}

/*
 * Something slipped through the fence after it was read (EVAL below 6.0), and the target's link
 * went with the demotion (up to 6.2). The frozen offset shows it.
 */
static void what_slipped_through_the_fence_is_not_lost(void **)
{
	struct world w;

	begin(&w);
	w.keeps_links = false;
	turn_until(&w, PHASE_HANDOVER_FENCE, 100);
	while (w.servers[A].master) {
		turn(&w);
		if (w.servers[A].fenced && w.servers[A].master) {
			slip_through(&w); /* after its agent has looked */
			agent_turn(&w, A);
			assert_true(w.servers[A].master ==
				    (w.live.peer_offset < w.servers[A].offset));
			slip_through(&w);
			server_follow(&w, A, B);
			assert_false(w.servers[A].master);
		}
	}
	turn_until(&w, PHASE_HANDOVER_UNDO, 3100);
	expect_in(w.outcome, "the link broke before");
	turn_until(&w, PHASE_NONE, 100);
	assert_int_equal(w.g.nhistory, 2); /* promoted back: a new id, from where it stood */
	assert_int_equal(w.history[1].start, w.servers[A].second);
	assert_int_equal(w.g.epoch, 4);
	assert_true(id_eq(w.g.source, seat_id(A)));
	expect_whole(&w);
	assert_int_equal(w.full_syncs, 0);
}

static void follow_target(struct observation *o)
{
	o->role = SERVER_ROLE_REPLICA;
	o->upstream_port = 6379;
	snprintf(o->upstream_host, sizeof o->upstream_host, "127.0.77.2");
}

/* Figures that were seen before the fence, or in an earlier life, decide nothing. */
static void figures_from_before_do_not_count(void **)
{
	struct world w;

	begin_fence(&w);
	for (size_t i = 0; i < SEATS; i++) {
		w.servers[i].mute = true;
	}
	/* As an earlier attempt would have left it: behind the target, both at the same byte. */
	follow_target(&w.obs[A]);
	w.obs[A].slave_offset = w.obs[A].offset = w.obs[B].offset;
	for (int fresh = 0; fresh < 3; fresh++) {
		w.obs[A].watch = w.live.op_watch - (fresh != 1);
		w.obs[B].watch = w.live.op_watch - (fresh != 2);
		turns(&w, 10);
		assert_int_equal(w.g.op.phase, PHASE_HANDOVER_FENCE);
	}
	w.obs[A].watch = w.obs[B].watch = w.live.op_watch;
	turn(&w);
	assert_int_equal(w.g.op.phase, PHASE_HANDOVER_PROMOTE);
}

/* One figure of the two that decide is off by as little as can be. */
static void off_by(struct world *w, int what)
{
	switch (what) {
	case 0:
		w->obs[B].slave_offset = --w->obs[B].offset;
		break;
	case 1:
		w->obs[B].slave_offset--;
		break;
	case 2:
		w->obs[A].slave_offset = 1;
		break;
	case 3:
		w->obs[B].replid = numbered('c', 50);
		break;
	case 4:
		w->obs[A].replid = numbered('c', 50);
		break;
	case 5:
		w->obs[A].run_id = numbered('a', 50);
		break;
	case 6:
		w->obs[B].run_id = numbered('a', 50);
		break;
	case 7:
		w->obs[A].upstream_port = 0;
		break;
	case 8:
		snprintf(w->obs[A].upstream_host, 64, "127.0.77.3");
		break;
	case 9:
		w->obs[A].role = SERVER_ROLE_MASTER;
		break;
	case 10:
		w->obs[A].sync_in_progress = true;
		break;
	case 11:
		w->obs[B].sync_in_progress = true;
		break;
	case 12:
		w->obs[B].loading = true;
		break;
	case 13:
		w->obs[B].role = SERVER_ROLE_MASTER;
		break;
	case 14:
		w->obs[B].proc = PROC_HUNG;
		break;
	case 15:
		w->obs[A].proc = PROC_HUNG;
		break;
	case 16:
		w->obs[A].loading = true;
		break;
	}
}

static void nothing_less_is_enough_for_the_commit(void **)
{
	for (int what = -1; what <= 16; what++) {
		struct world w;

		printf("# off by %d ", what);
		begin_fence(&w);
		turn(&w);
		for (size_t i = 0; i < SEATS; i++) {
			w.servers[i].mute = true;
			w.obs[i].watch = w.live.op_watch;
		}
		follow_target(&w.obs[A]);
		w.obs[A].slave_offset = w.obs[A].offset;
		w.obs[B].slave_offset = w.obs[B].offset = w.obs[A].offset;
		off_by(&w, what);
		turns(&w, 10);
		assert_int_equal(w.g.op.phase == PHASE_HANDOVER_PROMOTE, what == -1);
		assert_true(id_eq(w.g.source, seat_id(what == -1 ? B : A)));
	}
}

static void the_peer_offset_is_of_the_same_stream(void **)
{
	struct world w;

	begin_fence(&w);
	turn(&w);
	assert_int_equal(group_live_of(&w.g, &w.live, &w.members[A]).peer_offset,
			 w.obs[B].slave_offset);
	assert_int_equal(group_live_of(&w.g, &w.live, &w.members[B]).peer_offset, -1);
	w.servers[A].mute = w.servers[B].mute = true;
	w.obs[A].role = SERVER_ROLE_MASTER;

	struct observation b = w.obs[B];

	w.obs[B].replid = numbered('c', 50);
	settle(&w);
	assert_int_equal(w.live.peer_offset, -1);
	w.obs[B] = b;
	settle(&w);
	assert_int_equal(w.live.peer_offset, b.slave_offset);
	w.obs[A].replid = numbered('c', 51);
	settle(&w);
	assert_int_equal(w.live.peer_offset, -1);
}

/* The link holds, but the target's server stands still: no more than the limit. */
static void a_target_that_stops_behind_a_demoted_source_is_left(void **)
{
	struct world w;

	begin_fence(&w);

	int64_t fence_ms = w.now_ms;

	turn(&w);
	w.servers[B].hangs = true;
	slip_through(&w);
	server_follow(&w, A, B);
	turn(&w);
	assert_int_equal(w.g.op.phase, PHASE_HANDOVER_FENCE);
	turn_until(&w, PHASE_HANDOVER_UNDO, 3100);
	assert_in_range(w.now_ms - fence_ms, 3000, 3002);
	expect_in(w.outcome, "not known how far behind the target is (its server: hung)");
	w.servers[B].hangs = false;
	turn_until(&w, PHASE_NONE, 100);
	expect_whole(&w);
}

/* What was seen behind the fence is the least that the new source must have. */
static void a_source_that_has_gone_back_is_not_handed_over(void **)
{
	struct world w;

	begin_fence(&w);
	turn(&w);
	slip_through(&w);
	server_follow(&w, A, B);
	turn(&w); /* its agent sees it so, and then it copies everything */
	assert_int_equal(w.full_syncs, 1);
	assert_int_equal(w.g.op.phase, PHASE_HANDOVER_FENCE);
	turn(&w);
	assert_int_equal(w.g.op.phase, PHASE_HANDOVER_UNDO);
	expect_in(w.outcome, "may be missing");
	turn_until(&w, PHASE_NONE, 100);
}

/* It would lose what only it has, and has not yet: nobody waits for a limit. */
static void a_source_that_copies_from_its_target_is_taken_back_at_once(void **)
{
	struct world w;

	begin_fence(&w);
	turn(&w);
	w.servers[A].mute = true;
	follow_target(&w.obs[A]);
	w.obs[A].sync_in_progress = true;
	turn(&w);
	assert_int_equal(w.g.op.phase, PHASE_HANDOVER_UNDO);
	expect_in(w.outcome, "began to copy from it");
	w.servers[A].mute = false;
	turn_until(&w, PHASE_NONE, 100);
	expect_whole(&w);
}

/* It yielded though nobody saw the fence: only it knows where its new stream begins. */
static void where_a_stream_begins_is_put_right(void **)
{
	struct world w;

	begin_fence(&w);
	w.servers[A].mute = true;
	turn_until(&w, PHASE_HANDOVER_UNDO, 2100);
	assert_int_equal(w.history[1].start, INT64_MAX);
	w.servers[A].fenced = true;
	server_follow(&w, A, B);
	w.servers[A].mute = false;
	turn_until(&w, PHASE_NONE, 100);
	assert_int_equal(w.g.nhistory, 2);
	assert_int_equal(w.history[1].start, w.servers[A].second);
	expect_whole(&w);
	assert_int_equal(w.full_syncs, 0);
}

/* The source's agent does nothing: not even the fence. */
static void a_source_that_does_not_fence_is_left(void **)
{
	struct world w;

	begin_fence(&w);
	w.servers[A].mute = true;
	turn_until(&w, PHASE_HANDOVER_UNDO, 2100);
	expect_in(w.outcome, "not seen to stop its writes");
	assert_int_equal(w.history[1].start, INT64_MAX); /* nothing that it may have is past it */
	w.servers[A].mute = false;
	turn_until(&w, PHASE_NONE, 100);
	assert_int_equal(w.g.nhistory, 1);
	expect_whole(&w);
}

/* the undo */

static void an_undo_without_a_source_ends(void **)
{
	struct world w;

	begin_fence(&w);
	turns(&w, 1);
	server_die(&w, A);
	w.servers[A].stays_down = true;
	turn_until(&w, PHASE_HANDOVER_UNDO, 10);
	expect_in(w.outcome, "the source's server died");
	turns(&w, 59000);
	assert_int_equal(w.g.op.phase, PHASE_HANDOVER_UNDO);
	turn_until(&w, PHASE_NONE, 1100);
	expect_in(w.reasons, "not seen to serve again within the limit");
	w.servers[A].stays_down = false;
	turns(&w, 500);
	expect_whole(&w);
}

/* A target that fails meanwhile does not end the undo: the source is what it is about. */
static void an_undo_does_not_end_with_its_target(void **)
{
	struct world w;

	begin_fence(&w);
	turn(&w);
	w.servers[A].mute = true;
	server_die(&w, B);
	turn_until(&w, PHASE_HANDOVER_UNDO, 10);
	w.servers[B].mute = true;
	w.obs[B].proc = PROC_FAILED;
	turns(&w, 10);
	assert_int_equal(w.members[B].state, MEMBER_ERROR);
	assert_int_equal(w.g.op.phase, PHASE_HANDOVER_UNDO);
	w.servers[A].mute = w.servers[B].mute = false;
	turn_until(&w, PHASE_NONE, 100);
	expect_whole(&w);
}

static void cancelled_at_any_time(void **)
{
	int undone = 0, refused = 0;

	for (int at = 0; at < 60; at++) {
		struct err e = {};
		struct world w;

		begin(&w);
		for (int t = 0; t < at && w.g.op.kind != OP_NONE; t++) {
			turn(&w);
		}
		enum op_phase phase = w.g.op.phase;
		bool before = phase == PHASE_HANDOVER_CHECK || phase == PHASE_HANDOVER_STAGE ||
			      phase == PHASE_HANDOVER_FENCE;

		assert_int_equal(cancel(&w, &e), before);
		assert_true(before || e.code == ERR_UNPROCESSABLE);
		for (int t = 0; t < 200 && w.g.op.kind != OP_NONE; t++) {
			turn(&w);
		}
		undone += before;
		refused += !before;
		assert_int_equal(w.g.last.done, !before);
		assert_true(id_eq(w.g.source, seat_id(before ? A : B)));
		assert_int_equal(w.g.epoch, phase == PHASE_HANDOVER_CHECK ? 3 : 4);
		expect_whole(&w);
		assert_int_equal(w.full_syncs, 0);
	}
	assert_true(undone > 3 && refused > 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_target_that_cannot_catch_up_is_left_and_the_writers_go_on),
		cmocka_unit_test(what_slipped_through_the_fence_is_not_lost),
		cmocka_unit_test(figures_from_before_do_not_count),
		cmocka_unit_test(nothing_less_is_enough_for_the_commit),
		cmocka_unit_test(the_peer_offset_is_of_the_same_stream),
		cmocka_unit_test(a_source_that_does_not_fence_is_left),
		cmocka_unit_test(a_target_that_stops_behind_a_demoted_source_is_left),
		cmocka_unit_test(a_source_that_has_gone_back_is_not_handed_over),
		cmocka_unit_test(a_source_that_copies_from_its_target_is_taken_back_at_once),
		cmocka_unit_test(where_a_stream_begins_is_put_right),
		cmocka_unit_test(an_undo_without_a_source_ends),
		cmocka_unit_test(an_undo_does_not_end_with_its_target),
		cmocka_unit_test(cancelled_at_any_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
