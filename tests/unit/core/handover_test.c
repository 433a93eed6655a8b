/*
 * Handovers from end to end in virtual time (handover_world.h). Whatever fails and when: what was
 * acknowledged is there, one server takes writes, and the operation ends with its reason.
 */
#include "handover_world.h"

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
	assert_string_equal(w.trace, "handover.started\n"
				     "handover.phase\n"
				     "handover.phase\n"
				     "source.fenced\n"
				     "source.changed\n"
				     "epoch.started\n"
				     "handover.phase\n"
				     "handover.phase\n"
				     "handover.done\n");
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

/* Its clients look for the new source while that one is being promoted. */
static void the_pause_ends_with_the_commit(void **)
{
	struct world w;
	struct server_settings settings = {};

	begin(&w);
	turn_until(&w, PHASE_HANDOVER_FENCE, 100);
	assert_true(goal_of(&w.g, &w.members[A], (struct id){}, &settings).fenced);
	turn_until(&w, PHASE_HANDOVER_PROMOTE, 100);
	assert_false(goal_of(&w.g, &w.members[A], (struct id){}, &settings).fenced);
	assert_true(w.servers[A].paused);
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
		size_t target = ((size_t)n + 1) % SEATS;

		assert_ok(ask(&w, target, &e), &e);
		turn_until(&w, PHASE_NONE, 200);
		assert_true(id_eq(w.g.source, seat_id(target)));
		expect_whole(&w);
		w.trace[0] = w.reasons[0] = w.figures[0] = '\0';
	}
	assert_int_equal(w.full_syncs, 0);
	assert_int_equal(w.g.epoch, 63);
	assert_in_range(w.g.nhistory, 2, MODEL_HISTORY_MAX);
}

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

		printf("# %s\n", obstacles[i].says);
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

		printf("# %s\n", obstacles[i].says);
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
	/* It never was demoted: it may write on in the same stream, and all of that is the group's. */
	assert_int_equal(w.history[1].start, INT64_MAX);
	turn_until(&w, PHASE_NONE, 100);
	assert_int_equal(w.g.nhistory, 1); /* .. it was not */
	assert_false(w.g.last.done);
	expect_in(w.trace, "source.fenced\nhandover.undoing\nhandover.undone\n");
	w.servers[B].stuck = false;
	expect_whole(&w);
	assert_int_equal(w.full_syncs, 0);
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
			/* acknowledged, after its agent has looked */
			w.servers[A].offset += 10;
			w.servers[A].data++;
			w.acked++;
			agent_turn(&w, A);
			assert_true(w.servers[A].master ==
				    (w.live.peer_offset < w.servers[A].offset));
			w.servers[A].offset += 10;
			w.servers[A].data++;
			w.acked++;
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

/* Figures that were seen before the fence, or in an earlier life, decide nothing. */
static void figures_from_before_do_not_count(void **)
{
	struct world w;

	begin(&w);
	turn_until(&w, PHASE_HANDOVER_FENCE, 100);
	for (size_t i = 0; i < SEATS; i++) {
		w.servers[i].mute = true;
	}
	/* As an earlier attempt would have left it: behind the target, both at the same byte. */
	w.obs[A].role = SERVER_ROLE_REPLICA;
	w.obs[A].upstream_port = 6379;
	snprintf(w.obs[A].upstream_host, sizeof w.obs[A].upstream_host, "127.0.77.2");
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

		printf("# off by %d\n", what);
		begin(&w);
		turn_until(&w, PHASE_HANDOVER_FENCE, 100);
		turn(&w);
		for (size_t i = 0; i < SEATS; i++) {
			w.servers[i].mute = true;
			w.obs[i].watch = w.live.op_watch;
		}
		w.obs[A].role = SERVER_ROLE_REPLICA;
		w.obs[A].upstream_port = 6379;
		snprintf(w.obs[A].upstream_host, sizeof w.obs[A].upstream_host, "127.0.77.2");
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

	begin(&w);
	turn_until(&w, PHASE_HANDOVER_FENCE, 100);
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

	begin(&w);
	turn_until(&w, PHASE_HANDOVER_FENCE, 100);

	int64_t fence_ms = w.now_ms;

	turn(&w);
	w.servers[B].hangs = true;
	w.servers[A].offset += 10; /* what slipped through */
	w.servers[A].data++;
	w.acked++;
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

	begin(&w);
	turn_until(&w, PHASE_HANDOVER_FENCE, 100);
	turn(&w);
	w.servers[A].offset += 10; /* what slipped through */
	w.servers[A].data++;
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

	begin(&w);
	turn_until(&w, PHASE_HANDOVER_FENCE, 100);
	turn(&w);
	w.servers[A].mute = true;
	w.obs[A].role = SERVER_ROLE_REPLICA;
	w.obs[A].upstream_port = 6379;
	snprintf(w.obs[A].upstream_host, sizeof w.obs[A].upstream_host, "127.0.77.2");
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

	begin(&w);
	turn_until(&w, PHASE_HANDOVER_FENCE, 100);
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

/* The source's agent does nothing: not even the fence. */
static void a_source_that_does_not_fence_is_left(void **)
{
	struct world w;

	begin(&w);
	turn_until(&w, PHASE_HANDOVER_FENCE, 100);
	w.servers[A].mute = true;
	turn_until(&w, PHASE_HANDOVER_UNDO, 2100);
	expect_in(w.outcome, "not seen to stop its writes");
	assert_int_equal(w.history[1].start, INT64_MAX); /* nothing that it may have is past it */
	w.servers[A].mute = false;
	turn_until(&w, PHASE_NONE, 100);
	assert_int_equal(w.g.nhistory, 1);
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
	w.servers[B].mute = true;
	w.mute_since_ms[B] = w.now_ms - 5001;
	turn_until(&w, PHASE_HANDOVER_TIDY, 20);
	assert_string_equal(w.history[1].replid.s, numbered('c', w.servers[B].stream).s);
	w.servers[B].mute = false;
	turn_until(&w, PHASE_NONE, 40000);
	expect_whole(&w);
}

/* TIDY */

static void a_straggler_is_named_and_follows_later(void **)
{
	struct world w;

	begin(&w);
	turn_until(&w, PHASE_HANDOVER_TIDY, 100);
	w.servers[C].stuck = true;
	w.servers[C].mute = true;
	w.obs[C].link_up = false;
	w.mute_since_ms[C] = INT64_MAX / 2; /* its agent reports, of a server without a link */

	int64_t at_ms = w.now_ms;

	while (w.g.op.phase == PHASE_HANDOVER_TIDY) {
		w.obs[C].watch = w.live.op_watch;
		turn(&w);
	}
	assert_in_range(w.now_ms - at_ms, 30000, 30002);
	w.mute_since_ms[C] = INT64_MAX / 2;
	turn_until(&w, PHASE_NONE, 100);
	assert_true(w.g.last.done);
	expect_in(w.outcome, "to follow later: 'db-2'");
	w.servers[C].mute = w.servers[C].stuck = false;
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
	assert_string_equal(w.trace, "instance.failed\n"); /* by hand, this time */
}

/* the undo */

static void an_undo_without_a_source_ends(void **)
{
	struct world w;

	begin(&w);
	turn_until(&w, PHASE_HANDOVER_FENCE, 100);
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

	begin(&w);
	turn_until(&w, PHASE_HANDOVER_FENCE, 100);
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

/* anything, at any time */

enum mishap {
	NO_FAULT,
	KILL_A,
	KILL_B,
	KILL_C,
	CUT_A,
	CUT_B,
	CUT_C,
	STOP_A,
	STOP_B,
	PLANE,
	FAULTS,
};
static const char *const mishap_names[] = { "nothing", "kill A", "kill B", "kill C", "cut A",
					    "cut B",   "cut C",  "stop A", "stop B", "plane" };

static void strike(struct world *w, enum mishap f)
{
	switch (f) {
	case NO_FAULT:
	case FAULTS:
		break;
	case KILL_A:
	case KILL_B:
	case KILL_C:
		server_die(w, (size_t)(f - KILL_A));
		break;
	case CUT_A:
	case CUT_B:
	case CUT_C:
		w->servers[f - CUT_A].mute = true;
		break;
	case STOP_A:
	case STOP_B:
		w->servers[f - STOP_A].hangs = true;
		break;
	case PLANE:
		restart_plane(w);
		break;
	}
}

static void heal(struct world *w)
{
	for (size_t i = 0; i < SEATS; i++) {
		w->servers[i].mute = false;
		w->servers[i].hangs = false;
	}
}

/*
 * One fault at one moment, for a while. What follows from a new source that dies before it served
 * is an eject, and that one's to test.
 */
static bool play(enum mishap f, int at, int64_t for_ms, bool keeps_links, bool *ret_done)
{
	struct world w;

	begin(&w);
	w.keeps_links = keeps_links;
	turns(&w, at);

	bool runs = w.g.op.kind != OP_NONE;
	int64_t until_ms = w.now_ms + for_ms;
	bool healed = false;

	strike(&w, f);
	for (int t = 0; !healed || (t < 2000 && w.g.op.kind != OP_NONE); t++) {
		if (!healed && w.now_ms >= until_ms) {
			heal(&w);
			healed = true;
		}
		w.turn_ms = t < 60 ? 1 : 50;
		turn(&w);
		if (w.g.op.kind == OP_EJECT) {
			return runs;
		}
	}
	if (w.g.op.kind != OP_NONE) {
		fail_msg("%s at %d: still in %s", mishap_names[f], at, op_phase_name(w.g.op.phase));
	}
	turns(&w, 100);
	expect_whole(&w);
	*ret_done = w.g.last.done;
	return runs;
}

static void one_fault_at_any_time_loses_nothing(void **)
{
	static const int64_t lengths[] = { 3, 100, 8000 };
	int done = 0, undone = 0;

	for (int f = NO_FAULT; f < FAULTS; f++) {
		for (size_t len = 0; len < ARRAY_LEN(lengths); len++) {
			for (int at = 0; at < 40; at++) {
				bool ended_well = false;

				if (!play((enum mishap)f, at, lengths[len], at % 2 == 0,
					  &ended_well)) {
					break;
				}
				done += ended_well;
				undone += !ended_well;
			}
		}
	}
	printf("# %d done, %d not\n", done, undone);
	assert_true(done > 100 && undone > 30);
}

/* The store does not take a commit, or takes it and does not say so. */
static void any_commit_may_be_lost_or_unknown(void **)
{
	for (int unknown = 0; unknown < 2; unknown++) {
		for (int n = 1; n < 10; n++) {
			struct world w;

			begin(&w);
			*(unknown ? &w.forget_commit : &w.lose_commit) = w.commits + n;
			for (int t = 0; t < 9000 && w.g.op.kind != OP_NONE; t++) {
				turn(&w);
			}
			assert_true(w.g.last.done);
			assert_true(id_eq(w.g.source, seat_id(B)));
			assert_int_equal(w.g.epoch, 4);
			assert_int_equal(w.g.nhistory, 2);
			expect_whole(&w);
			assert_int_equal(w.full_syncs, 0);
		}
	}
}

/* Before 4.0 a change of role erases offsets and a new source is copied from anew. */
static void servers_without_ids_are_handed_over_by_what_the_fence_showed(void **)
{
	struct world w;

	begin(&w);
	for (size_t i = 0; i < SEATS; i++) {
		w.members[i].version = "3.2.13";
	}
	w.history[0].replid = (struct replid){};
	turn_until(&w, PHASE_HANDOVER_FENCE, 100);
	assert_int_equal(w.servers[C].upstream, A); /* not staged: it would be copied twice */
	turn_until(&w, PHASE_HANDOVER_PROMOTE, 100);
	assert_int_equal(w.history[1].start, 0);
	assert_true(w.servers[B].data >= w.acked);
	turn_until(&w, PHASE_NONE, 40000);
	assert_true(w.g.last.done);
	assert_int_equal(w.g.nhistory, 2);

	/* What the fence showed is forgotten with the control plane: it cannot be known any more.
	 */
	begin(&w);
	for (size_t i = 0; i < SEATS; i++) {
		w.members[i].version = "3.2.13";
	}
	w.history[0].replid = (struct replid){};
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
		cmocka_unit_test(the_pause_ends_with_the_commit),
		cmocka_unit_test(handovers_in_a_row),
		cmocka_unit_test(a_request_is_refused_with_its_reason),
		cmocka_unit_test(a_check_that_fails_touches_nothing),
		cmocka_unit_test(requests_that_make_no_sense),
		cmocka_unit_test(what_is_no_obstacle),
		cmocka_unit_test(a_member_in_its_first_copy_stays_behind_and_follows),
		cmocka_unit_test(a_target_that_is_not_durable_is_waited_for),
		cmocka_unit_test(a_sibling_that_is_late_is_left_for_later),
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
		cmocka_unit_test(the_fence_waits_for_no_other_commit),
		cmocka_unit_test(a_demotion_is_remembered_until_it_is_carried_out),
		cmocka_unit_test(a_target_that_dies_before_it_serves_is_replaced),
		cmocka_unit_test(a_target_that_only_its_replicas_hear_serves),
		cmocka_unit_test(a_straggler_is_named_and_follows_later),
		cmocka_unit_test(a_new_source_that_dies_in_tidy_is_a_restart),
		cmocka_unit_test(a_demoted_source_is_never_called_diverged),
		cmocka_unit_test(an_undo_without_a_source_ends),
		cmocka_unit_test(an_undo_does_not_end_with_its_target),
		cmocka_unit_test(cancelled_at_any_time),
		cmocka_unit_test(one_fault_at_any_time_loses_nothing),
		cmocka_unit_test(any_commit_may_be_lost_or_unknown),
		cmocka_unit_test(servers_without_ids_are_handed_over_by_what_the_fence_showed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
