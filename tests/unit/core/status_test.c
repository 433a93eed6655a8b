/*
 * Trove's words, and which call is allowed when.
 */
#include "core/status.h"

#include "../test.h"

struct fixture {
	struct member members[3]; /* the source and two replicas */
	struct group g;
};

static void fixture_init(struct fixture *f, size_t nmembers)
{
	*f = (struct fixture){
		.members = { { .id = { .b = { 1 } }, .name = "db", .state = MEMBER_ACTIVE },
			     { .id = { .b = { 2 } }, .name = "db-1", .state = MEMBER_ACTIVE },
			     { .id = { .b = { 3 } }, .name = "db-2", .state = MEMBER_ACTIVE } },
		.g = { .source = { .b = { 1 } }, .nmembers = nmembers },
	};
	f->g.members = f->members;
}

static void restart(struct fixture *f, enum op_phase phase)
{
	f->g.op = (struct operation){ .kind = OP_RESTART, .phase = phase, .target = f->g.source };
}

static void statuses(void **)
{
	static const char *const want[MEMBER_STATE_COUNT] = {
		[MEMBER_STARTING] = "BUILD", [MEMBER_SYNCING] = "BUILD", [MEMBER_ACTIVE] = "ACTIVE",
		[MEMBER_ERROR] = "ERROR",    [MEMBER_DELETING] = "SHUTDOWN",
	};
	struct fixture f;

	fixture_init(&f, 3);
	for (int st = 0; st < MEMBER_STATE_COUNT; st++) {
		f.members[0].state = (enum member_state)st;
		assert_string_equal(status_of(&f.g, &f.members[0]), want[st]);
	}
	f.members[0].state = MEMBER_ACTIVE;
	restart(&f, PHASE_RESTART_COMPARE);
	assert_string_equal(status_of(&f.g, &f.members[0]), "REBOOT");
	assert_string_equal(status_of(&f.g, &f.members[1]), "ACTIVE");
}

static void operating_statuses(void **)
{
	static const struct {
		const char *says;
		size_t member;
		struct observation o;
		const char *want;
	} rows[] = {
		{ "a master source", 0, { .proc = PROC_RUNNING, .role = SERVER_ROLE_MASTER }, "HEALTHY" },
		{ "a source that takes no writes", 0, { .proc = PROC_RUNNING, .role = SERVER_ROLE_REPLICA }, "BLOCKED" },
		{ "a replica", 1, { .proc = PROC_RUNNING, .role = SERVER_ROLE_REPLICA }, "HEALTHY" },
		{ "a guarded replica", 1, { .proc = PROC_RUNNING, .role = SERVER_ROLE_REPLICA, .guarded = true }, "BLOCKED" },
		{ "loading", 1, { .proc = PROC_RUNNING, .loading = true }, "RESTARTING" },
		{ "starting", 1, { .proc = PROC_STARTING }, "RESTARTING" },
		{ "hanging", 1, { .proc = PROC_HUNG }, "BLOCKED" },
		{ "gone", 1, { .proc = PROC_EXITED }, "SHUTDOWN" },
		{ "not to be started", 1, { .proc = PROC_FAILED }, "SHUTDOWN" },
		{ "never there", 1, { .proc = PROC_NONE }, "SHUTDOWN" },
	};
	struct fixture f;

	fixture_init(&f, 3);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct member *m = &f.members[rows[i].member];

		printf("# %s\n", rows[i].says);
		assert_string_equal(operating_status_of(&f.g, m, &rows[i].o, false), rows[i].want);
		assert_string_equal(operating_status_of(&f.g, m, &rows[i].o, true), "ERROR");
	}
	assert_string_equal(operating_status_of(&f.g, &f.members[0], NULL, false), "");
	assert_string_equal(operating_status_of(&f.g, &f.members[0], NULL, true), "ERROR");
	f.members[0].state = MEMBER_SYNCING;
	assert_string_equal(operating_status_of(&f.g, &f.members[0], &rows[0].o, false), "");
}

static void a_group_that_the_store_does_not_know_stands_still(void **)
{
	static const enum call_kind refused[] = { CALL_CREATE_REPLICA, CALL_ACTION };
	static const enum call_kind allowed[] = { CALL_RENAME, CALL_DELETE };
	struct fixture f;
	struct err e = {};

	fixture_init(&f, 1 + 1);
	f.members[1].state = MEMBER_ERROR;
	f.members[1].fault.kind = FAULT_STORE;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		assert_false(status_allows(refused[i], &f.g, &f.members[0], &e));
		assert_int_equal(e.code, ERR_UNPROCESSABLE);
		assert_non_null(strstr(e.msg, "older than the hosts"));
	}
	for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
		assert_true(status_allows(allowed[i], &f.g, &f.members[1], &e));
	}
}

static void calls_by_status(void **)
{
	static const struct {
		const char *says;
		enum call_kind call;
		size_t member, nmembers;
		enum member_state state;
		enum op_phase phase; /* of a restart, or none */
		enum err_code want;
		const char *message; /* a part of it */
	} rows[] = {
		{ "a replica of an active source", CALL_CREATE_REPLICA, 0, 1, MEMBER_ACTIVE, .want = ERR_NONE },
		{ "not while it is built", CALL_CREATE_REPLICA, 0, 1, MEMBER_STARTING, .want = ERR_UNPROCESSABLE, .message = "BUILD" },
		{ "not while it restarts, and the message says so", CALL_CREATE_REPLICA, 0, 3, MEMBER_ACTIVE, PHASE_RESTART_COMPARE,
		  ERR_UNPROCESSABLE, "operation restart of instance db" },
		{ "not of one in error", CALL_CREATE_REPLICA, 0, 1, MEMBER_ERROR, .want = ERR_UNPROCESSABLE, .message = "fault" },
		{ "not of one that goes", CALL_CREATE_REPLICA, 0, 1, MEMBER_DELETING, .want = ERR_UNPROCESSABLE, .message = "SHUTDOWN" },
		{ "a copy under way elsewhere is no hindrance", CALL_CREATE_REPLICA, 0, 3, MEMBER_ACTIVE, .want = ERR_NONE },
		{ "delete while it is built", CALL_DELETE, 1, 3, MEMBER_SYNCING, .want = ERR_NONE },
		{ "delete in error", CALL_DELETE, 1, 3, MEMBER_ERROR, .want = ERR_NONE },
		{ "delete again", CALL_DELETE, 1, 3, MEMBER_DELETING, .want = ERR_NONE },
		{ "delete a source alone", CALL_DELETE, 0, 1, MEMBER_ACTIVE, .want = ERR_NONE },
		{ "delete a source with replicas", CALL_DELETE, 0, 3, MEMBER_ACTIVE, .want = ERR_FORBIDDEN, .message = "2 replicas first" },
		{ "delete a source with replicas, in error", CALL_DELETE, 0, 2, MEMBER_ERROR, .want = ERR_FORBIDDEN, .message = "1 replica first" },
		{ "rename at any time", CALL_RENAME, 0, 3, MEMBER_STARTING, .want = ERR_NONE },
		{ "start what is held", CALL_START, 0, 3, MEMBER_ERROR, PHASE_RESTART_HELD, ERR_NONE },
		{ "start what is compared", CALL_START, 0, 3, MEMBER_ACTIVE, PHASE_RESTART_COMPARE, ERR_NONE },
		{ "nothing to start", CALL_START, 0, 1, MEMBER_ACTIVE, .want = ERR_UNPROCESSABLE },
		{ "an action on an active one", CALL_ACTION, 1, 3, MEMBER_ACTIVE, .want = ERR_NONE },
		{ "an action while the source restarts", CALL_ACTION, 1, 3, MEMBER_ACTIVE, PHASE_RESTART_COMPARE, ERR_UNPROCESSABLE, "restart" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err e = {};
		struct fixture f;

		fixture_init(&f, rows[i].nmembers);
		f.members[rows[i].member].state = rows[i].state;
		if (rows[i].phase != PHASE_NONE) {
			restart(&f, rows[i].phase);
		}
		printf("# %s\n", rows[i].says);
		assert_int_equal(status_allows(rows[i].call, &f.g, &f.members[rows[i].member], &e),
				 rows[i].want == ERR_NONE);
		assert_int_equal(e.code, rows[i].want);
		if (rows[i].message != NULL && strstr(e.msg, rows[i].message) == NULL) {
			fail_msg("'%s' lacks '%s'", e.msg, rows[i].message);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(statuses),
		cmocka_unit_test(operating_statuses),
		cmocka_unit_test(a_group_that_the_store_does_not_know_stands_still),
		cmocka_unit_test(calls_by_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
