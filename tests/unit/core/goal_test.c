/*
 * goal_of(): what a record means for each of its members.
 */
#include "core/goal.h"

#include "../test.h"

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
				assert_int_equal(goal.role, is_source	 ? GOAL_SOURCE
							    : has_source ? GOAL_REPLICA
									 : GOAL_GUARDED);
				assert_non_null(goal.upstream_host);
				assert_true((goal.upstream_port != 0) ==
					    (goal.role == GOAL_REPLICA));
			}
		}
	}
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
		cmocka_unit_test(goals_are_ordered_by_epoch_then_revision),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
