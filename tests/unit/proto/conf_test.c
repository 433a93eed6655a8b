/* The text of the file and the settings by goal, mode and version; no server is started here. */
#include "../test.h"

#include "proto/conf.h"

static const struct conf_paths paths = {
	.dir = "/srv/a \"b\"/data",
	.socket = "/run/x.sock",
	.log = "/srv/l",
	.pid = "/srv/p",
};

static struct goal a_goal(void)
{
	return (struct goal){
		.epoch = 3,
		.revision = 9,
		.run = GOAL_RUN,
		.role = GOAL_SOURCE,
		.upstream_host = "",
		.name = "cache",
		.project = "acme",
		.address = "127.0.77.1",
		.port = 6379,
		.datastore = "redis",
		.version = "7.0.15",
		.settings = { .maxmemory_bytes = 1000000,
			      .maxmemory_policy = "allkeys-lru",
			      .backlog_bytes = 16777216,
			      .repl_timeout_s = 15,
			      .ping_period_s = 1,
			      .diskless_delay_s = 1,
			      .appendfsync = "always",
			      .customer_open = true },
		.secrets = { { "R" }, { "A" } },
	};
}

/* Is this a whole line of the file? */
static bool has_line(const struct str *file, const char *line)
{
	size_t len = strlen(line);

	for (const char *at = file->p; at != NULL; at = strchr(at, '\n')) {
		at += *at == '\n';
		if (strncmp(at, line, len) == 0 && at[len] == '\n') {
			return true;
		}
	}
	return false;
}

struct sentence {
	const char *says, *line;
	bool there;
};

static void check(const struct goal *g, struct start_mode mode, const struct sentence *s, size_t n)
{
	auto_str file = {};

	conf_write(g, mode, &paths, &file);
	for (size_t i = 0; i < n; i++) {
		print_message("# %s\n", s[i].says);
		if (has_line(&file, s[i].line) != s[i].there) {
			fail_msg("%s: %s", s[i].there ? "not there" : "there", s[i].line);
		}
	}
}

static void a_source_is_its_own_master(void **)
{
	static const struct sentence s[] = {
		{ "bound to its address only", "bind 127.0.77.1", true },
		{ "a path is one word whatever it is called", "dir \"/srv/a \\\"b\\\"/data\"", true },
		{ "the socket is ours alone", "unixsocketperm 700", true },
		{ "it persists", "appendonly yes", true },
		{ "and saves besides", "save 3600 1", true },
		{ "fsync is the setting's", "appendfsync always", true },
		{ "the backlog stays", "repl-backlog-ttl 0", true },
		{ "no role line: it is master", "slaveof 127.0.0.1 0", false },
		{ "replicas log in with their own user", "masteruser tanist-repl", true },
		{ "no fence", "min-slaves-to-write 0", true },
		{ "nobody waits: the usual limit",
		  "client-output-buffer-limit slave 268435456 67108864 60", true },
	};
	struct goal g = a_goal();

	g.start_at_once = true;
	check(&g, (struct start_mode){}, s, ARRAY_LEN(s));
}

static void the_file_of_a_source_with_replicas_is_safe_to_start_by_hand(void **)
{
	static const struct sentence s[] = {
		{ "nobody copies from it uncompared", "slaveof 127.0.0.1 0", true },
		{ "it persists", "appendonly yes", true },
	};
	struct goal g = a_goal();

	g.start_at_once = false;
	check(&g, (struct start_mode){}, s, ARRAY_LEN(s));
}

static void a_guarded_server_follows_a_closed_port(void **)
{
	static const struct sentence s[] = {
		{ "whatever its role", "slaveof 127.0.0.1 0", true },
		{ "it persists", "appendonly yes", true },
	};
	struct goal g = a_goal();

	check(&g, (struct start_mode){ .guarded = true }, s, ARRAY_LEN(s));
	g.role = GOAL_REPLICA;
	g.upstream_host = "127.0.77.2";
	g.upstream_port = 6379;
	check(&g, (struct start_mode){ .guarded = true }, s, ARRAY_LEN(s));
	static const enum goal_role roles[] = { GOAL_GUARDED, GOAL_SEALED, GOAL_YIELDING };
	for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
		g.role = roles[i];
		check(&g, (struct start_mode){}, s, ARRAY_LEN(s));
	}
}

static void a_replica_follows_its_source(void **)
{
	static const struct sentence s[] = {
		{ "its upstream", "slaveof \"127.0.77.2\" 7001", true },
		{ "it boots from the RDB", "appendonly no", true },
		{ "it is read-only", "slave-read-only yes", true },
		{ "it says who it is", "slave-announce-ip 127.0.77.1", true },
	};
	struct goal g = a_goal();

	g.role = GOAL_REPLICA;
	g.upstream_host = "127.0.77.2";
	g.upstream_port = 7001;
	check(&g, (struct start_mode){ .from_rdb = true }, s, ARRAY_LEN(s));
}

static void first_copies_change_the_sources_settings(void **)
{
	static const struct sentence s[] = {
		{ "the writes of meanwhile may wait", "client-output-buffer-limit slave 268435456 0 0", true },
		{ "diskless is the operator's choice", "repl-diskless-sync yes", true },
		{ "several share one transfer", "repl-diskless-sync-delay 5", true },
		{ "which begins with the last", "repl-diskless-sync-max-replicas 3", true },
	};
	static const struct sentence alone[] = {
		{ "one waits for nobody", "repl-diskless-sync-delay 0", true },
		{ "and needs no count", "repl-diskless-sync-max-replicas 0", true },
	};
	struct goal g = a_goal();

	g.settings.diskless_sync = true;
	g.settings.diskless_delay_s = 5;
	g.waiting_replicas = 3;
	check(&g, (struct start_mode){}, s, ARRAY_LEN(s));
	g.waiting_replicas = 1;
	check(&g, (struct start_mode){}, alone, ARRAY_LEN(alone));
}

static void a_fence_always_has_a_lag(void **)
{
	static const struct sentence s[] = {
		{ "the count", "min-slaves-to-write 1000", true },
		{ "a lag of 0 would switch it off", "min-slaves-max-lag 1", true },
	};
	struct goal g = a_goal();

	g.min_slaves_to_write = 1000;
	check(&g, (struct start_mode){}, s, ARRAY_LEN(s));
}

static void a_replica_may_fall_behind_by_more_than_the_backlog(void **)
{
	static const struct sentence s[] = {
		{ "twice the backlog",
		  "client-output-buffer-limit slave 2147483648 536870912 60", true },
	};
	struct goal g = a_goal();

	g.settings.backlog_bytes = GIB(1);
	check(&g, (struct start_mode){}, s, ARRAY_LEN(s));
}

static void versions_get_what_they_know(void **)
{
	static const struct {
		const char *datastore, *version;
		bool acl, max_replicas, announce, preamble, protected_mode;
	} cases[] = {
		{ "redis", "2.8.24", false, false, false, false, false },
		{ "redis", "3.2.13", false, false, true, false, true },
		{ "redis", "4.0.14", false, false, true, true, true },
		{ "redis", "6.0.20", true, false, true, true, true },
		{ "redis", "7.0.15", true, true, true, true, true },
		{ "valkey", "8.0.1", true, true, true, true, true },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct sentence s[] = {
			{ "masteruser", "masteruser tanist-repl", cases[i].acl },
			{ "masterauth", "masterauth R", cases[i].acl },
			{ "load", "repl-diskless-load disabled", cases[i].acl },
			{ "count", "repl-diskless-sync-max-replicas 0", cases[i].max_replicas },
			{ "announce", "slave-announce-port 6379", cases[i].announce },
			{ "preamble", "aof-use-rdb-preamble yes", cases[i].preamble },
			{ "protected", "protected-mode no", cases[i].protected_mode },
			{ "open: no password below 6.0", "requirepass A", false },
		};
		struct goal g = a_goal();
		auto_arena a = {};
		const struct conf_user *users;

		print_message("## %s %s\n", cases[i].datastore, cases[i].version);
		g.datastore = cases[i].datastore;
		g.version = cases[i].version;
		check(&g, (struct start_mode){}, s, ARRAY_LEN(s));
		assert_int_equal(conf_users(&g, &a, &users), cases[i].acl ? 3 : 0);
	}
}

static void below_acl_one_password_serves_all(void **)
{
	static const struct sentence s[] = {
		{ "the agent's", "requirepass A", true },
		{ "and the replicas'", "masterauth A", true },
	};
	struct goal g = a_goal();

	g.version = "5.0.14";
	g.settings.customer_open = false;
	check(&g, (struct start_mode){}, s, ARRAY_LEN(s));
}

static void the_file_tells_the_agents_secret(void **)
{
	static const struct {
		const char *version;
		bool open, has;
	} rows[] = {
		{ "7.0.15", true, true },
		{ "7.0.15", false, true },
		{ "5.0.14", false, true },
		{ "5.0.14", true, false }, /* no password at all */
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct goal g = a_goal();
		struct secret found = {};
		auto_str file = {};

		g.version = rows[i].version;
		g.settings.customer_open = rows[i].open;
		memset(g.secrets.agent.open, 'a', SECRET_LEN);
		conf_write(&g, (struct start_mode){}, &paths, &file);
		assert_int_equal(conf_agent_secret(str_cstr(&file), &found), rows[i].has);
		assert_string_equal(found.open, rows[i].has ? g.secrets.agent.open : "");
	}
	struct secret none;

	assert_false(conf_agent_secret("", &none));
	assert_false(conf_agent_secret("user tanist-agent on resetpass >", &none));
	assert_false(conf_agent_secret("# requirepass x\nrequirepass \"\"\n", &none));
	assert_false(conf_agent_secret("requirepass 0123456789012345678901234567890123456789X", &none));
}

static void customers_are_shut_out_unless_open(void **)
{
	struct goal g = a_goal();
	auto_arena a = {};
	const struct conf_user *users;

	assert_int_equal(conf_users(&g, &a, &users), 3);
	assert_string_equal(users[2].name, "default");
	assert_string_equal(users[2].rules[0], "on");
	assert_string_equal(users[2].rules[1], "nopass");
	g.settings.customer_open = false;
	assert_int_equal(conf_users(&g, &a, &users), 3);
	assert_string_equal(users[2].rules[0], "off");
	assert_string_equal(users[2].rules[1], "resetpass");
}

/* Names come from customers: whatever they hold, no line of the file begins with it. */
static void no_name_breaks_out_of_its_line(void **)
{
	static const char *const evil[] = {
		"x\nrequirepass evil", "x\r\nslaveof 1.2.3.4 1", "\"\nuser evil on nopass ~* +@all",
		"\\\nrequirepass evil", "\x01\x7f\x1b[2J",
	};

	for (size_t i = 0; i < ARRAY_LEN(evil); i++) {
		struct goal g = a_goal(), calm = a_goal();
		auto_str file = {}, want = {};
		size_t lines = 0, want_lines = 0;

		g.name = evil[i];
		g.project = evil[i];
		g.role = GOAL_REPLICA;
		g.upstream_host = evil[i];
		calm.role = GOAL_REPLICA;
		calm.upstream_host = "127.0.0.2";
		conf_write(&g, (struct start_mode){}, &paths, &file);
		conf_write(&calm, (struct start_mode){}, &paths, &want);
		for (const char *c = file.p; *c != '\0'; c++) {
			lines += *c == '\n';
			assert_true(*c == '\n' || ((unsigned char)*c >= ' ' && *c != 0x7f));
		}
		for (const char *c = want.p; *c != '\0'; c++) {
			want_lines += *c == '\n';
		}
		assert_int_equal(lines, want_lines);
		assert_false(has_line(&file, "requirepass evil"));
	}
}

static void live_settings_end_with_appendonly(void **)
{
	struct goal g = a_goal();
	auto_arena a = {};
	const struct conf_setting *c;
	size_t n = conf_live_settings(&g, (struct start_mode){}, &a, &c);

	assert_string_equal(c[n - 1].name, "appendonly");
	assert_string_equal(c[n - 1].value, "yes");
	size_t from_rdb = conf_live_settings(&g, (struct start_mode){ .from_rdb = true }, &a, &c);
	assert_int_equal(from_rdb, n - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_source_is_its_own_master),
		cmocka_unit_test(the_file_of_a_source_with_replicas_is_safe_to_start_by_hand),
		cmocka_unit_test(a_guarded_server_follows_a_closed_port),
		cmocka_unit_test(a_replica_follows_its_source),
		cmocka_unit_test(first_copies_change_the_sources_settings),
		cmocka_unit_test(a_fence_always_has_a_lag),
		cmocka_unit_test(a_replica_may_fall_behind_by_more_than_the_backlog),
		cmocka_unit_test(versions_get_what_they_know),
		cmocka_unit_test(below_acl_one_password_serves_all),
		cmocka_unit_test(the_file_tells_the_agents_secret),
		cmocka_unit_test(customers_are_shut_out_unless_open),
		cmocka_unit_test(no_name_breaks_out_of_its_line),
		cmocka_unit_test(live_settings_end_with_appendonly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
