/*
 * The tables behind group_step(), row by row: every phase and every limited state has a way out,
 * whatever the hosts say (group_reports.h).
 */
#include "group_reports.h"

/* The table of phases. */

static const struct phase_row *row_of(enum op_phase p)
{
	const struct phase_row *row = NULL;

	for (size_t i = 0; i < nphase_rows; i++) {
		if (phase_rows[i].phase == p) {
			assert_null(row); /* exactly one */
			row = &phase_rows[i];
		}
	}
	return row;
}

static bool ends(enum op_phase p, int depth)
{
	const struct phase_row *row = row_of(p);

	for (size_t i = 0; row != NULL && depth > 0 && i < row->nnext; i++) {
		if (row->next[i] == PHASE_NONE || ends(row->next[i], depth - 1)) {
			return true;
		}
	}
	return false;
}

static void every_phase_has_a_way_out(void **)
{
	for (int p = PHASE_NONE + 1; p < PHASE_COUNT; p++) {
		const struct phase_row *row = row_of((enum op_phase)p);

		assert_non_null(row);
		assert_true(row->op > OP_NONE && row->op < OP_KIND_COUNT);
		assert_true(row->nnext > 0 && row->nnext <= ARRAY_LEN(row->next));
		for (size_t i = 0; i < row->nnext; i++) {
			enum op_phase next = row->next[i];

			/* A handover whose target dies before it served goes on as an eject. */
			bool eject =
				row->phase == PHASE_HANDOVER_PROMOTE && next == PHASE_EJECT_SEAL;

			assert_true(next == PHASE_NONE || row_of(next)->op == row->op || eject);
		}
		assert_true(row->leaves_when[0] != '\0' && row->why[0] != '\0');
		assert_true(ends((enum op_phase)p, PHASE_COUNT));
		/* Without a limit only where a human is asked, and the row says so. */
		assert_true(row->limit_ms > 0 || strstr(row->leaves_when, "operator") != NULL ||
			    strstr(row->leaves_when, "cancelled") != NULL);
	}
	assert_int_equal(nphase_rows, PHASE_COUNT - 1);
}

/* A group in this phase, as the store has it after a restart of the control plane. */
static void in_phase(struct world *w, const struct phase_row *row)
{
	bool replaced = row->phase == PHASE_HANDOVER_PROMOTE || row->phase == PHASE_HANDOVER_TIDY ||
			row->phase == PHASE_HANDOVER_DROP || row->phase == PHASE_EJECT_PROMOTE ||
			row->phase == PHASE_EJECT_TIDY;

	if (row->op == OP_CREATE) {
		creating(w);
		return;
	}
	with_replicas(w);
	w->g.op = (struct operation){
		.kind = row->op,
		.phase = row->phase,
		.target = row->op == OP_HANDOVER || replaced ? seat_id(R1) : seat_id(SOURCE),
		.from = row->op == OP_HANDOVER ? seat_id(SOURCE) : (struct id){},
		.run = { RUN_2 },
	};
	w->g.source = replaced ? seat_id(R1) : seat_id(SOURCE);
}

/* Whatever is stored, a phase whose limit has passed without a word from anybody is left. */
static void every_limit_is_kept_without_news(void **)
{
	for (size_t i = 0; i < nphase_rows; i++) {
		const struct phase_row *row = &phase_rows[i];
		struct world w;

		if (row->limit_ms == 0) {
			continue;
		}
		printf("# %s\n", op_phase_name(row->phase));
		in_phase(&w, row);
		memset(w.heard, 0, sizeof w.heard);
		/* Else there is nobody to ask. */
		w.heard[SOURCE] = row->phase == PHASE_HANDOVER_DROP;
		/* Else it may just be connecting. */
		w.silent[R1] =
			row->phase == PHASE_HANDOVER_PROMOTE || row->phase == PHASE_EJECT_PROMOTE;
		settle(&w);
		assert_int_equal(w.g.op.phase, row->phase);
		assert_true(w.wake_ms > w.now_ms);
		assert_in_range(w.wake_ms - w.now_ms, 1, row->limit_ms);
		for (int64_t end_ms = w.now_ms + row->limit_ms; w.now_ms < end_ms;) {
			w.now_ms = w.wake_ms;
			settle(&w);
			if (w.g.op.phase != row->phase) {
				break;
			}
			assert_true(w.wake_ms > w.now_ms);
		}
		assert_int_not_equal(w.g.op.phase, row->phase);
	}
}

#define LIMIT_OF(name, text, limit, why) [MEMBER_##name] = limit,
static const int64_t state_limits[] = { MEMBER_STATES(LIMIT_OF) };

static void every_limited_state_has_a_way_out(void **)
{
	for (int st = 0; st < MEMBER_STATE_COUNT; st++) {
		struct world w;

		if (state_limits[st] == 0) {
			continue;
		}
		created(&w);
		add_member(&w);
		w.members[R1].state = (enum member_state)st;
		settle(&w);
		assert_int_equal(w.members[R1].state, st);
		w.now_ms += state_limits[st];
		settle(&w);
		assert_int_equal(w.members[R1].state, MEMBER_ERROR);
		assert_int_not_equal(w.members[R1].fault.kind, FAULT_NONE);
	}
}

static struct observation any_report(uint64_t seed)
{
	switch ((seed >> 40) % 6) {
	case 0:
		return master(RUN_1, HIST_1, 100, 5);
	case 1:
		return replica(HIST_1, 100, 5);
	case 2:
		return guarded(RUN_2, (enum marker_verdict)((seed >> 44) % 6), 0);
	case 3:
		return guarded(RUN_3, MARKER_REBOOTED, 5);
	case 4:
		return master(RUN_2, HIST_2, 100, 5);
	}
	return (struct observation){ .proc = (enum proc_state)((seed >> 44) % PROC_DELETED) };
}

/* Any mixture of what hosts can say: the steps end, and one thing holds throughout. */
static void random_histories_settle(void **)
{
	uint64_t seed = 42;
	uint64_t epochs = 0;

	for (int round = 0; round < 300; round++) {
		struct world w;

		with_replicas(&w);
		for (int turn = 0; turn < 40; turn++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			size_t i = (seed >> 33) % 3;

			hear(&w, i, any_report(seed));
			w.silent[(seed >> 50) % 3] = (seed >> 55) % 2;
			w.now_ms += (int64_t)((seed >> 56) % 64) * 1000;

			uint64_t before = w.g.epoch;
			bool empty = w.obs[SOURCE].guarded && w.obs[SOURCE].keys == 0;
			bool held[] = { false, w.members[R1].attached_once && w.obs[R1].keys > 0,
					w.members[R2].attached_once && w.obs[R2].keys > 0 };

			settle(&w);
			forget_events(&w);
			epochs += w.g.epoch - before;
			/* Never confirmed: an empty source while an attached replica holds keys. */
			assert_true(!empty || w.g.epoch == before || (!held[R1] && !held[R2]));
		}
	}
	assert_true(epochs > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_phase_has_a_way_out),
		cmocka_unit_test(every_limit_is_kept_without_news),
		cmocka_unit_test(every_limited_state_has_a_way_out),
		cmocka_unit_test(random_histories_settle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
