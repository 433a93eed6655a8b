/*
 * Trove's words, and which call is allowed when.
 */
#include "core/status.h"

#include "../test.h"
#include "core/group.h"

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

/* An operation of this kind, about the first replica, handed over from the source. */
static void change(struct fixture *f, enum op_kind kind, enum op_phase phase)
{
	f->g.op = (struct operation){ .kind = kind, .phase = phase, .target = f->members[1].id,
				      .from = f->members[0].id };
}

static void statuses(void **)
{
	static const char *const want[MEMBER_STATE_COUNT] = {
		[MEMBER_STARTING] = "BUILD", [MEMBER_SYNCING] = "BUILD", [MEMBER_ACTIVE] = "ACTIVE",
		[MEMBER_ERROR] = "ERROR",    [MEMBER_FENCED] = "BLOCKED",
		[MEMBER_DELETING] = "SHUTDOWN",
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

/* A change of the source is every member's; who is not ACTIVE keeps its own word. */
static void statuses_while_the_source_changes(void **)
{
	for (size_t i = 0; i < nphase_rows; i++) {
		const struct phase_row *row = &phase_rows[i];
		const char *want = row->op == OP_HANDOVER ? "PROMOTE"
				   : row->op == OP_DETACH ? "DETACH"
				   : row->op != OP_EJECT || row->phase == PHASE_EJECT_HELD ? "ACTIVE"
											  : "EJECT";
		struct fixture f;

		fixture_init(&f, 3);
		change(&f, row->op, row->phase);
		assert_string_equal(status_of(&f.g, &f.members[0]), want);
		assert_string_equal(status_of(&f.g, &f.members[2]), want);
		f.members[2].state = MEMBER_SYNCING;
		assert_string_equal(status_of(&f.g, &f.members[2]), "BUILD");
		f.members[2].state = MEMBER_ERROR;
		assert_string_equal(status_of(&f.g, &f.members[2]), "ERROR");
	}
}

/* Role changes exclude each other; what is neither source nor target can be deleted any time. */
static void calls_while_the_source_changes(void **)
{
	static const struct {
		enum call_kind call;
		size_t member;
		const char *message; /* "": allowed */
	} rows[] = {
		{ CALL_PROMOTE, 2, "operation handover of instance db-1" },
		{ CALL_DETACH, 2, "operation handover of instance db-1" },
		{ CALL_CREATE_REPLICA, 0, "operation handover" },
		{ CALL_DURABILITY, 0, "operation handover" },
		{ CALL_ATTACH, 0, "operation handover" },
		{ CALL_ACTION, 0, "operation handover" },
		{ CALL_EJECT, 0, "" },
		{ CALL_CANCEL, 1, "" },
		{ CALL_RENAME, 1, "" },
		{ CALL_DELETE, 2, "" },
		{ CALL_DELETE, 1, "operation handover of instance db-1" },
		{ CALL_DELETE, 0, "2 replicas first" },
		{ CALL_DELETE_GROUP, 0, "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fixture f;
		struct err e = {};

		fixture_init(&f, 3);
		change(&f, OP_HANDOVER, PHASE_HANDOVER_FENCE);
		assert_int_equal(status_allows(rows[i].call, &f.g, &f.members[rows[i].member], &e),
				 rows[i].message[0] == '\0');
		if (strstr(e.msg, rows[i].message) == NULL) {
			fail_msg("'%s' lacks '%s'", e.msg, rows[i].message);
		}
	}
}

static void an_ejected_one_can_be_attached_or_deleted(void **)
{
	for (int call = 0; call < CALL_COUNT; call++) {
		bool want = call == CALL_ATTACH || call == CALL_DELETE || call == CALL_RENAME ||
			    call == CALL_DELETE_GROUP;
		struct fixture f;
		struct err e = {};

		fixture_init(&f, 1);
		f.members[0].state = MEMBER_FENCED;
		assert_int_equal(status_allows((enum call_kind)call, &f.g, &f.members[0], &e), want);
		assert_true(want || strstr(e.msg, "BLOCKED") != NULL);
	}
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

/* What the record of an ACTIVE member says nothing of, and somebody should see to. */
static void what_is_seen_of_an_active_member_is_said(void **)
{
	static const struct observation roomy = { .proc = PROC_RUNNING, .used_memory_bytes = 1000 };
	static const struct {
		const char *says;
		size_t member; /* 0: the source */
		struct observation o;
		const char *want; /* a part of the words; NULL: nothing is said */
	} rows[] = {
		{ "a source that is well", 0, { .proc = PROC_RUNNING, .role = SERVER_ROLE_MASTER }, NULL },
		{ "a source whose disk is full", 0, { .proc = PROC_RUNNING, .role = SERVER_ROLE_MASTER, .disk_error = true },
		  "promote one of its replicas" },
		{ "a replica whose disk is full serves readers", 1, { .proc = PROC_RUNNING, .link_up = true, .disk_error = true }, NULL },
		{ "a replica without room for a copy", 1, { .proc = PROC_RUNNING, .disk_free_bytes = 999 },
		  "999 bytes free where a copy may take 1000" },
		{ "with room it links again by itself", 1, { .proc = PROC_RUNNING, .disk_free_bytes = 1000 }, NULL },
		{ "linked it needs no copy", 1, { .proc = PROC_RUNNING, .link_up = true }, NULL },
		{ "a server that is gone, in its agent's words", 1, { .proc = PROC_EXITED, .error = "no space left" },
		  "no space left" },
		{ "stopped without a word", 1, { .proc = PROC_EXITED }, NULL },
	};
	char text[300];
	struct fixture f;

	fixture_init(&f, 2);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct member *m = &f.members[rows[i].member];
		bool said = status_trouble(&f.g, m, &rows[i].o, &roomy, text, sizeof text);

		printf("# %s\n", rows[i].says);
		assert_int_equal(said, rows[i].want != NULL);
		assert_true(!said || strstr(text, rows[i].want) != NULL);
		m->state = MEMBER_ERROR;
		assert_false(status_trouble(&f.g, m, &rows[i].o, &roomy, text, sizeof text));
		m->state = MEMBER_ACTIVE;
	}
	assert_false(status_trouble(&f.g, &f.members[0], NULL, NULL, text, sizeof text));
	restart(&f, PHASE_RESTART_COMPARE);
	assert_false(status_trouble(&f.g, &f.members[0],
				    &(struct observation){ .proc = PROC_EXITED, .error = "gone" }, NULL,
				    text, sizeof text));
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
		cmocka_unit_test(statuses_while_the_source_changes),
		cmocka_unit_test(calls_while_the_source_changes),
		cmocka_unit_test(an_ejected_one_can_be_attached_or_deleted),
		cmocka_unit_test(operating_statuses),
		cmocka_unit_test(a_group_that_the_store_does_not_know_stands_still),
		cmocka_unit_test(what_is_seen_of_an_active_member_is_said),
		cmocka_unit_test(calls_by_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
