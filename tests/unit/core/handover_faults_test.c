/*
 * A fault at any moment of a handover (group_world.h): the operation ends, what was acknowledged is
 * there, and one server takes writes.
 */
#include "group_world.h"

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
	printf("# %d done, %d not ", done, undone);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_fault_at_any_time_loses_nothing),
		cmocka_unit_test(any_commit_may_be_lost_or_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
