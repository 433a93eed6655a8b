/*
 * goal_of(): what a record means for each of its members.
 */
#include "core/goal.h"

#include "../test.h"
#include "core/group.h"

#define RUN_1 "1111111111111111111111111111111111111111"

static const struct id installation = { .b = { 8 } };
static const struct server_settings settings = { .maxmemory_bytes = 123, .appendfsync = "everysec" };

struct fixture {
	struct member members[3];
	struct group g;
};

static void fixture_init(struct fixture *f)
{
	*f = (struct fixture){
		.members = {
			{ .id = { .b = { 1 } }, .name = "db", .address = "127.0.77.1", .port = 6379,
			  .datastore = "redis", .version = "7.0.15", .state = MEMBER_ACTIVE,
			  .attached_once = true },
			{ .id = { .b = { 2 } }, .name = "db-1", .address = "127.0.77.2", .port = 6380,
			  .datastore = "redis", .version = "7.0.15", .state = MEMBER_ACTIVE,
			  .attached_once = true },
			{ .id = { .b = { 3 } }, .name = "db-2", .address = "127.0.77.3", .port = 6379,
			  .datastore = "redis", .version = "7.0.15", .state = MEMBER_SYNCING },
		},
		.g = { .id = { .b = { 7 } }, .project = "p", .name = "db", .revision = 12, .epoch = 4,
		       .source = { .b = { 1 } }, .source_run = { RUN_1 }, .nmembers = 3 },
	};
	f->g.members = f->members;
	memcpy(f->g.secrets.agent.open, "pw", 3);
}

static struct goal goal_for(const struct fixture *f, size_t i)
{
	return goal_of(&f->g, &f->members[i], installation, &settings);
}

static void a_source_is_its_confirmed_run(void **)
{
	struct fixture f;

	fixture_init(&f);

	struct goal goal = goal_for(&f, 0);

	assert_int_equal(goal.run, GOAL_RUN);
	assert_int_equal(goal.role, GOAL_SOURCE);
	assert_string_equal(goal.confirmed_run.s, RUN_1);
	assert_false(goal.start_at_once);
	assert_string_equal(goal.upstream_host, "");
	assert_int_equal(goal.epoch, 4);
	assert_int_equal(goal.revision, 12);
	assert_int_equal(goal.waiting_replicas, 1);
	assert_int_equal(goal.settings.maxmemory_bytes, 123);
	assert_string_equal(goal.secrets.agent.open, "pw");
	assert_true(id_eq(goal.installation, installation));
	assert_true(id_eq(goal.instance, f.members[0].id));
}

static void only_a_group_of_one_starts_at_once(void **)
{
	struct fixture f;

	fixture_init(&f);
	f.members[1].state = f.members[2].state = MEMBER_DELETING;
	assert_true(goal_for(&f, 0).start_at_once);
	assert_int_equal(goal_for(&f, 0).waiting_replicas, 0);
	f.members[2].state = MEMBER_ERROR; /* it may hold the only copy */
	assert_false(goal_for(&f, 0).start_at_once);
	f.members[2].state = MEMBER_STARTING; /* before it can copy anything the source must know */
	assert_false(goal_for(&f, 0).start_at_once);
}

static void a_replica_follows_the_source(void **)
{
	struct fixture f;

	fixture_init(&f);

	struct goal goal = goal_for(&f, 1);

	assert_int_equal(goal.role, GOAL_REPLICA);
	assert_string_equal(goal.upstream_host, "127.0.77.1");
	assert_int_equal(goal.upstream_port, 6379);
	assert_string_equal(goal.address, "127.0.77.2");
	assert_int_equal(goal.port, 6380);
	assert_false(goal.start_at_once);
	assert_false(goal.demote_accepted);
	f.members[1].accepted_run = (struct replid){ RUN_1 };
	assert_true(goal_for(&f, 1).demote_accepted);
	assert_string_equal(goal_for(&f, 1).confirmed_run.s, RUN_1);
}

/* Every state of every seat, with and without a source among the members. */
static void every_record_has_a_goal_for_every_member(void **)
{
	for (int st = 0; st < MEMBER_STATE_COUNT; st++) {
		for (int source = 0; source < 5; source++) {
			struct fixture f;

			fixture_init(&f);
			f.g.source = (struct id){ .b = { (uint8_t)source } };
			for (size_t i = 0; i < 3; i++) {
				f.members[i].state = (enum member_state)st;

				struct goal goal = goal_for(&f, i);
				bool is_source = id_eq(f.g.source, f.members[i].id);
				bool has_source = source >= 1 && source <= 3;

				assert_int_equal(goal.run,
						 st == MEMBER_DELETING ? GOAL_DELETE : GOAL_RUN);
				bool fenced = st == MEMBER_FENCED; /* a source that was ejected */

				assert_int_equal(goal.role, is_source	 ? (fenced ? GOAL_GUARDED
										   : GOAL_SOURCE)
							    : has_source ? GOAL_REPLICA
									 : GOAL_GUARDED);
				assert_non_null(goal.upstream_host);
				assert_true((goal.upstream_port != 0) ==
					    (goal.role == GOAL_REPLICA));
			}
		}
	}
}

/* A group in this phase of the operation that it is of. */
static void enter(struct fixture *f, const struct phase_row *row)
{
	bool replaced = row->phase == PHASE_HANDOVER_PROMOTE || row->phase == PHASE_HANDOVER_TIDY ||
			row->phase == PHASE_HANDOVER_DROP || row->phase == PHASE_EJECT_PROMOTE ||
			row->phase == PHASE_EJECT_TIDY;

	fixture_init(f);
	f->g.op = (struct operation){
		.kind = row->op, .phase = row->phase,
		.target = f->members[row->op == OP_HANDOVER || replaced].id,
		.from = row->op == OP_HANDOVER ? f->members[0].id : (struct id){},
	};
	f->members[2].attached_once = true;
	f->members[2].state = MEMBER_ACTIVE;
	f->members[0].demoted = row->op == OP_HANDOVER && replaced;
	f->g.source = f->members[replaced].id;
}

/* 'M' master, 'Y' yields, 'G' guarded, 'S' sealed, '1' '2' '3' follows that one, 'f' fenced too. */
static void goals_in_every_phase(void **)
{
	static const struct {
		enum op_phase phase;
		const char *want[3];
	} rows[] = {
		{ PHASE_CREATE_START, { "M", "1", "1" } },
		{ PHASE_RESTART_COMPARE, { "M", "1", "1" } },
		{ PHASE_RESTART_HELD, { "M", "1", "1" } },
		{ PHASE_RESTART_CONFIRM, { "M", "1", "1" } },
		{ PHASE_HANDOVER_CHECK, { "M", "1", "1" } },
		{ PHASE_HANDOVER_STAGE, { "M", "1", "2" } },
		{ PHASE_HANDOVER_FENCE, { "Yf2", "1", "2" } },
		{ PHASE_HANDOVER_UNDO, { "M", "1", "1" } },
		{ PHASE_HANDOVER_PROMOTE, { "2k", "M", "2" } },
		{ PHASE_HANDOVER_TIDY, { "2dk", "M", "2" } },
		{ PHASE_HANDOVER_DROP, { "2dkc", "M", "2" } },
		{ PHASE_EJECT_DRAIN, { "Gk", "1", "1" } },
		{ PHASE_EJECT_SEAL, { "Gk", "S", "S" } },
		{ PHASE_EJECT_HELD, { "Gk", "S", "S" } },
		{ PHASE_EJECT_PROMOTE, { "2", "M", "2" } },
		{ PHASE_EJECT_TIDY, { "2", "M", "2" } },
		{ PHASE_DETACH_PROMOTE, { "M", "1", "1" } },
	};
	static const char letters[] = { [GOAL_SOURCE] = 'M', [GOAL_REPLICA] = 0, [GOAL_GUARDED] = 'G',
					[GOAL_YIELDING] = 'Y', [GOAL_SEALED] = 'S' };

	assert_int_equal(ARRAY_LEN(rows), nphase_rows);
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		struct fixture f;
		int masters = 0;

		assert_int_equal(rows[r].phase, phase_rows[r].phase);
		enter(&f, &phase_rows[r]);
		for (size_t i = 0; i < 3; i++) {
			struct goal goal = goal_for(&f, i);
			char got[16] = "";

			snprintf(got, sizeof got, "%.1s%s%.0d%s%s%s", &letters[goal.role],
				 goal.fenced ? "f" : "",
				 goal.upstream_port == 0 ? 0 : goal.upstream_host[9] - '0',
				 goal.demote_accepted ? "d" : "", goal.kill_hung ? "k" : "",
				 goal.drop_clients ? "c" : "");
			printf("# %s %zu: %s\n", op_phase_name(rows[r].phase), i, got);
			assert_string_equal(got, rows[r].want[i]);
			masters += goal.role == GOAL_SOURCE || goal.role == GOAL_YIELDING;
			/* Whoever may be a master is one run of one server. */
			assert_true(goal.role != GOAL_SOURCE || replid_known(&goal.confirmed_run));
		}
		assert_in_range(masters, 0, 1);
	}
}

/* Whatever the members' states, in whatever phase: never two that may take writes. */
static void never_two_masters(void **)
{
	for (size_t r = 0; r < nphase_rows; r++) {
		for (int st = 0; st < MEMBER_STATE_COUNT * MEMBER_STATE_COUNT; st++) {
			struct fixture f;
			int masters = 0;

			enter(&f, &phase_rows[r]);
			f.members[0].state = (enum member_state)(st % MEMBER_STATE_COUNT);
			f.members[1].state = (enum member_state)(st / MEMBER_STATE_COUNT);
			for (size_t i = 0; i < 3; i++) {
				struct goal goal = goal_for(&f, i);

				masters += goal.role == GOAL_SOURCE || goal.role == GOAL_YIELDING;
				assert_true(goal.role != GOAL_REPLICA || goal.upstream_port != 0);
				assert_true(goal.role != GOAL_YIELDING || goal.fenced);
			}
			assert_in_range(masters, 0, 1);
		}
	}
}

/* With durability k the source keeps k direct replicas until it is fenced. */
static void staging_leaves_the_source_its_replicas(void **)
{
	for (uint32_t k = 0; k <= 3; k++) {
		for (int phase = PHASE_NONE; phase < PHASE_COUNT; phase++) {
			struct fixture f;
			bool stages = phase == PHASE_HANDOVER_STAGE || phase == PHASE_HANDOVER_FENCE;

			enter(&f, &(struct phase_row){ .op = OP_HANDOVER, .phase = PHASE_HANDOVER_STAGE });
			f.g.op.phase = (enum op_phase)phase;
			f.g.durability = k;
			assert_int_equal(goal_is_staged(&f.g, &f.members[2]), stages && k <= 1);
			assert_false(goal_is_staged(&f.g, &f.members[1]));
			f.members[2].version = "3.2.13"; /* would copy everything twice */
			assert_false(goal_is_staged(&f.g, &f.members[2]));
		}
	}
}

static void durability_is_min_slaves(void **)
{
	struct fixture f;

	fixture_init(&f);
	assert_int_equal(goal_for(&f, 0).min_slaves_to_write, 0);
	f.g.durability = 2;
	assert_int_equal(goal_for(&f, 0).min_slaves_to_write, 2);
	assert_int_equal(goal_for(&f, 0).min_slaves_max_lag_s, DURABILITY_MAX_LAG_S);
	assert_int_equal(goal_for(&f, 1).min_slaves_to_write, 0);
}

static void an_ejected_one_is_fenced(void **)
{
	struct fixture f;

	fixture_init(&f);
	f.g.nmembers = 1;
	f.members[0].state = MEMBER_FENCED;
	assert_int_equal(goal_for(&f, 0).role, GOAL_GUARDED);
	assert_true(goal_for(&f, 0).kill_hung);
	assert_false(goal_for(&f, 0).start_at_once);
}

static void goals_are_ordered_by_epoch_then_revision(void **)
{
	static const struct {
		uint64_t epoch_a, revision_a, epoch_b, revision_b;
		int want;
	} rows[] = {
		{ 1, 1, 1, 1, 0 },  { 1, 1, 1, 2, -1 }, { 1, 2, 1, 1, 1 },
		{ 1, 9, 2, 1, -1 }, { 2, 1, 1, 9, 1 },	{ 0, UINT64_MAX, 1, 0, -1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int got = goal_cmp(rows[i].epoch_a, rows[i].revision_a, rows[i].epoch_b,
				   rows[i].revision_b);

		assert_int_equal((got > 0) - (got < 0), rows[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_source_is_its_confirmed_run),
		cmocka_unit_test(only_a_group_of_one_starts_at_once),
		cmocka_unit_test(a_replica_follows_the_source),
		cmocka_unit_test(every_record_has_a_goal_for_every_member),
		cmocka_unit_test(goals_in_every_phase),
		cmocka_unit_test(never_two_masters),
		cmocka_unit_test(staging_leaves_the_source_its_replicas),
		cmocka_unit_test(durability_is_min_slaves),
		cmocka_unit_test(an_ejected_one_is_fenced),
		cmocka_unit_test(goals_are_ordered_by_epoch_then_revision),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
