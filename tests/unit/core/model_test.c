/*
 * Names of the nouns, in both directions, and finding members.
 */
#include "../test.h"
#include "core/goal.h"
#include "core/group.h"
#include "core/observation.h"

/* Every value has a name of its own that leads back to it, and nothing else is a name. */
#define CHECK_NAMES(type, count, name, parse)                                                \
	do {                                                                                 \
		enum type got;                                                               \
		for (int i = 0; i < (int)(count); i++) {                                     \
			assert_true(name((enum type)i)[0] != '\0');                          \
			assert_true(parse(name((enum type)i), &got));                        \
			assert_int_equal((int)got, i);                                       \
		}                                                                            \
		got = (enum type)1;                                                          \
		assert_false(parse("", &got));                                               \
		assert_false(parse(NULL, &got));                                             \
		assert_false(parse("nonsense", &got));                                       \
		assert_int_equal((int)got, 1);                                               \
	} while (0)

static void names_lead_back(void **)
{
	CHECK_NAMES(member_state, MEMBER_STATE_COUNT, member_state_name, member_state_parse);
	CHECK_NAMES(op_kind, OP_KIND_COUNT, op_kind_name, op_kind_parse);
	CHECK_NAMES(op_phase, PHASE_COUNT, op_phase_name, op_phase_parse);
	CHECK_NAMES(fault_kind, FAULT_KIND_COUNT, fault_kind_name, fault_kind_parse);
	CHECK_NAMES(proc_state, PROC_STATE_COUNT, proc_state_name, proc_state_parse);
	CHECK_NAMES(server_role, SERVER_ROLE_REPLICA + 1, server_role_name, server_role_parse);
	CHECK_NAMES(marker_verdict, MARKER_VERDICT_COUNT, marker_verdict_name, marker_verdict_parse);
	CHECK_NAMES(goal_run, GOAL_DELETE + 1, goal_run_name, goal_run_parse);
	CHECK_NAMES(goal_role, GOAL_GUARDED + 1, goal_role_name, goal_role_parse);
	CHECK_NAMES(event_kind, EVENT_KIND_COUNT, event_kind_name, event_kind_parse);
}

static void members_are_found(void **)
{
	struct member members[] = {
		{ .id = { .b = { 1 } }, .state = MEMBER_ACTIVE },
		{ .id = { .b = { 2 } }, .state = MEMBER_SYNCING },
		{ .id = { .b = { 3 } }, .state = MEMBER_DELETING },
		{ .id = { .b = { 4 } }, .state = MEMBER_ERROR },
	};
	struct group g = { .source = { .b = { 2 } }, .members = members, .nmembers = 4 };

	assert_ptr_equal(group_source(&g), &members[1]);
	assert_ptr_equal(group_find(&g, (struct id){ .b = { 4 } }), &members[3]);
	assert_null(group_find(&g, (struct id){ .b = { 5 } }));
	assert_int_equal(group_replica_count(&g), 2);
	g.nmembers = 0;
	assert_null(group_source(&g));
	assert_int_equal(group_replica_count(&g), 0);
}

static void replids_compare(void **)
{
	struct replid a = { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" }, b = a, none = {};

	assert_true(replid_eq(&a, &b));
	b.s[39] = 'b';
	assert_false(replid_eq(&a, &b));
	assert_true(replid_known(&a));
	assert_false(replid_known(&none));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_lead_back),
		cmocka_unit_test(members_are_found),
		cmocka_unit_test(replids_compare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
