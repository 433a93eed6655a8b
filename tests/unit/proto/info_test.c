/* INFO of several versions, hostile ones, and the words of servers that do not start. */
#include "../test.h"

#include "proto/info.h"

#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb2"
#define ZEROS "0000000000000000000000000000000000000000"

static struct observation read_ok(const char *text, struct observation o)
{
	struct err e = {};

	assert_ok(info_read(text, strlen(text), &o, &e), &e);
	return o;
}

static void a_master_of_7_0(void **)
{
	struct observation o = read_ok(
		"# Server\r\nredis_version:7.0.15\r\nrun_id:" HEX_A "\r\n"
		"# Clients\r\nconnected_clients:17\r\n# Memory\r\nused_memory:1048576\r\n"
		"used_memory_human:1M\r\n# Persistence\r\nloading:0\r\nasync_loading:0\r\n"
		"aof_enabled:1\r\naof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0\r\n"
		"aof_last_bgrewrite_status:ok\r\n# Stats\r\nsync_full:3\r\n# Replication\r\n"
		"role:master\r\nconnected_slaves:0\r\nmaster_failover_state:no-failover\r\n"
		"master_replid:" HEX_B "\r\nmaster_replid2:" ZEROS "\r\n"
		"master_repl_offset:4711\r\nsecond_repl_offset:-1\r\n"
		"# Keyspace\r\ndb0:keys=5,expires=0,avg_ttl=0\r\ndb12:keys=7,expires=1,avg_ttl=2\r\n",
		(struct observation){ .slave_offset = 9, .link_up = true, .upstream_port = 7 });

	assert_string_equal(o.run_id.s, HEX_A);
	assert_int_equal(o.connected_clients, 17);
	assert_int_equal(o.used_memory_bytes, 1048576);
	assert_false(o.loading);
	assert_true(o.aof_enabled && o.aof_last_rewrite_ok && !o.aof_rewriting && o.durable);
	assert_int_equal(o.sync_full, 3);
	assert_int_equal(o.role, SERVER_ROLE_MASTER);
	assert_string_equal(o.replid.s, HEX_B);
	assert_string_equal(o.replid2.s, "");
	assert_int_equal(o.offset, 4711);
	assert_int_equal(o.second_offset, -1);
	assert_int_equal(o.keys, 12);
	assert_int_equal(o.slave_offset, -1); /* what was known of an upstream is over */
	assert_int_equal(o.last_io_s, -1);
	assert_false(o.link_up);
	assert_int_equal(o.upstream_port, 0);
}

static void a_replica_tells_what_it_has_received(void **)
{
	struct observation o = read_ok("role:slave\r\nslave_read_repl_offset:900\r\n"
				       "slave_repl_offset:800\r\n",
				       (struct observation){ .read_offset = -1 });

	assert_int_equal(o.read_offset, 900);
	assert_int_equal(o.slave_offset, 800);
	o = read_ok("role:master\r\n", o);
	assert_int_equal(o.read_offset, -1);
	o = read_ok("role:slave\r\nslave_repl_offset:800\r\n", o); /* before 6.2 */
	assert_int_equal(o.read_offset, -1);
}

static void a_disk_that_fails_shows(void **)
{
	static const struct {
		const char *text;
		bool error;
	} cases[] = {
		{ "rdb_last_bgsave_status:ok\r\naof_enabled:1\r\naof_last_bgrewrite_status:ok\r\n"
		  "aof_last_write_status:ok\r\n", false },
		{ "rdb_last_bgsave_status:err\r\naof_enabled:1\r\naof_last_bgrewrite_status:ok\r\n"
		  "aof_last_write_status:ok\r\n", true },
		{ "rdb_last_bgsave_status:ok\r\naof_enabled:1\r\naof_last_bgrewrite_status:err\r\n"
		  "aof_last_write_status:ok\r\n", true },
		{ "rdb_last_bgsave_status:ok\r\naof_enabled:1\r\naof_last_bgrewrite_status:ok\r\n"
		  "aof_last_write_status:err\r\n", true },
		{ "rdb_last_bgsave_status:ok\r\naof_enabled:0\r\n", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		/* clear of what was before, as the agent gives it */
		struct observation o = read_ok(cases[i].text, (struct observation){});

		assert_int_equal(o.disk_error, cases[i].error);
	}
}

static void a_save_shows_how_far_it_is(void **)
{
	static const struct {
		const char *text;
		int64_t progress;
	} cases[] = {
		{ "rdb_bgsave_in_progress:0\r\nrdb_current_bgsave_time_sec:-1\r\n", -1 },
		{ "rdb_bgsave_in_progress:1\r\nrdb_current_bgsave_time_sec:4\r\n", 4 },
		{ "current_save_keys_processed:900\r\nrdb_bgsave_in_progress:1\r\n"
		  "rdb_current_bgsave_time_sec:4\r\n",
		  900 },
		/* an AOF rewrite counts its keys in the same line */
		{ "current_save_keys_processed:900\r\nrdb_bgsave_in_progress:0\r\n", -1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct observation o =
			read_ok(cases[i].text, (struct observation){ .save_progress = 77 });

		assert_int_equal(o.save_progress, cases[i].progress);
	}
}

static void a_replica_in_its_first_copy(void **)
{
	struct observation o = read_ok(
		"# Replication\r\nrole:slave\r\nmaster_host:127.0.77.1\r\nmaster_port:6379\r\n"
		"master_link_status:down\r\nmaster_last_io_seconds_ago:-1\r\n"
		"master_sync_in_progress:1\r\nslave_read_repl_offset:1\r\nslave_repl_offset:1\r\n"
		"master_sync_total_bytes:1000\r\nmaster_sync_read_bytes:400\r\n"
		"master_sync_left_bytes:600\r\nmaster_sync_perc:40.00\r\n"
		"master_replid:" HEX_B "\r\nmaster_replid2:" HEX_A "\r\n"
		"master_repl_offset:0\r\nsecond_repl_offset:52\r\n",
		(struct observation){ .aof_enabled = true, .aof_last_rewrite_ok = true, .keys = 8 });

	assert_int_equal(o.role, SERVER_ROLE_REPLICA);
	assert_string_equal(o.upstream_host, "127.0.77.1");
	assert_int_equal(o.upstream_port, 6379);
	assert_false(o.link_up);
	assert_int_equal(o.last_io_s, -1);
	assert_true(o.sync_in_progress);
	assert_int_equal(o.sync_done_bytes, 400);
	assert_int_equal(o.sync_total_bytes, 1000);
	assert_int_equal(o.slave_offset, 1);
	assert_string_equal(o.replid2.s, HEX_A);
	assert_int_equal(o.second_offset, 52);
	assert_int_equal(o.keys, 8); /* not named: left as it was */
	assert_false(o.durable);     /* a copy is being taken */
}

static void a_transfer_of_unknown_length_has_no_total(void **)
{
	struct observation o = read_ok("role:slave\r\nmaster_sync_in_progress:1\r\n"
				       "master_sync_total_bytes:0\r\nmaster_sync_read_bytes:77\r\n"
				       "master_sync_left_bytes:-77\r\n",
				       (struct observation){});

	assert_int_equal(o.sync_done_bytes, 77);
	assert_int_equal(o.sync_total_bytes, -1);
}

/* Before 6.2 only the rest is told; the copy's progress shows all the same. */
static void an_old_servers_copy_shows_progress(void **)
{
	struct observation o = { .sync_total_bytes = -1, .sync_done_bytes = -1 };

	o = read_ok("role:slave\nmaster_sync_in_progress:1\nmaster_sync_left_bytes:-1\n", o);
	assert_int_equal(o.sync_done_bytes, -1);
	o = read_ok("role:slave\nmaster_sync_in_progress:1\nmaster_sync_left_bytes:1000\n", o);
	assert_int_equal(o.sync_done_bytes, 0);
	o = read_ok("role:slave\nmaster_sync_in_progress:1\nmaster_sync_left_bytes:300\n", o);
	assert_int_equal(o.sync_done_bytes, 700);
	assert_int_equal(o.sync_total_bytes, 1000);
	o = read_ok("role:slave\nmaster_sync_in_progress:0\nmaster_link_status:up\n"
		    "master_last_io_seconds_ago:0\n", o);
	assert_int_equal(o.sync_done_bytes, -1);
	assert_int_equal(o.sync_total_bytes, -1);
	assert_true(o.link_up);
	assert_int_equal(o.last_io_s, 0);
}

static void a_loading_server_tells_how_far(void **)
{
	struct observation o = read_ok("loading:1\r\nloading_loaded_perc:41.99\r\n",
				       (struct observation){ .aof_enabled = true,
							     .aof_last_rewrite_ok = true });

	assert_true(o.loading);
	assert_int_equal(o.loading_pct, 41);
	assert_false(o.durable);
	o = read_ok("loading:0\r\n", o);
	assert_int_equal(o.loading_pct, 0);
	assert_true(o.durable);
}

static void durable_needs_everything(void **)
{
	static const struct {
		const char *says;
		struct observation o;
		bool durable;
	} cases[] = {
		{ "AOF on, nothing waits, the last rewrite went well",
		  { .aof_enabled = true, .aof_last_rewrite_ok = true }, true },
		{ "no AOF", { .aof_last_rewrite_ok = true }, false },
		{ "a rewrite runs or waits",
		  { .aof_enabled = true, .aof_last_rewrite_ok = true, .aof_rewriting = true }, false },
		{ "the last rewrite failed", { .aof_enabled = true }, false },
		{ "its last write failed",
		  { .aof_enabled = true, .aof_last_rewrite_ok = true, .aof_write_failed = true }, false },
		{ "it loads",
		  { .aof_enabled = true, .aof_last_rewrite_ok = true, .loading = true }, false },
		{ "it takes a copy",
		  { .aof_enabled = true, .aof_last_rewrite_ok = true, .sync_in_progress = true }, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct observation o = cases[i].o;

		print_message("# %s\n", cases[i].says);
		info_set_durable(&o);
		assert_int_equal(o.durable, cases[i].durable);
	}
	assert_true(read_ok("aof_last_write_status:err\n", (struct observation){}).aof_write_failed);
	assert_false(read_ok("aof_last_write_status:ok\n", (struct observation){}).aof_write_failed);
	assert_true(read_ok("aof_rewrite_in_progress:0\naof_rewrite_scheduled:1\n",
			    (struct observation){}).aof_rewriting);
	assert_true(read_ok("aof_rewrite_in_progress:1\naof_rewrite_scheduled:0\n",
			    (struct observation){}).aof_rewriting);
	assert_false(read_ok("aof_rewrite_in_progress:0\naof_rewrite_scheduled:0\n",
			     (struct observation){ .aof_rewriting = true }).aof_rewriting);
}

static void an_empty_keyspace_is_no_keys(void **)
{
	struct observation o = { .keys = 9 };

	assert_int_equal(read_ok("# Keyspace\r\n", o).keys, 0);
	assert_int_equal(read_ok("role:master\r\n", o).keys, 9);
	assert_int_equal(read_ok("# Stats\r\ndb0:keys=3\r\nrole:master\r\n", o).keys, 9);
}

static void values_out_of_range_are_clamped(void **)
{
	struct observation o = read_ok(
		"role:slave\nmaster_repl_offset:99999999999999999999999\nslave_repl_offset:-5\n"
		"second_repl_offset:-9223372036854775808\nmaster_port:70000\n"
		"master_last_io_seconds_ago:99999999999\nloading:1\nloading_loaded_perc:250.1\n"
		"connected_clients:99999999999\nused_memory:-3\nrun_id:short\n"
		"master_replid:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nsync_full:x\n"
		"master_host:a b\x01\x80"
		"c\n# Keyspace\ndb0:keys=9223372036854775807\ndb1:keys=9223372036854775807\n",
		(struct observation){ .sync_full = 4, .replid = { HEX_A } });

	assert_int_equal(o.offset, INT64_MAX);
	assert_int_equal(o.slave_offset, -1);
	assert_int_equal(o.second_offset, -1);
	assert_int_equal(o.upstream_port, 65535);
	assert_int_equal(o.last_io_s, INT32_MAX);
	assert_int_equal(o.loading_pct, 100);
	assert_true(o.connected_clients == UINT32_MAX);
	assert_int_equal(o.used_memory_bytes, 0);
	assert_string_equal(o.run_id.s, "");
	assert_string_equal(o.replid.s, "");
	assert_int_equal(o.sync_full, 4);
	assert_string_equal(o.upstream_host, "a?b??c");
	assert_int_equal(o.keys, INT64_MAX);
}

static void what_is_no_info_is_refused(void **)
{
	static const char *const texts[] = { "", "\r\n\r\n", "PONG", "redis_mode:standalone\r\n",
					     "# Server\r\n", "roles:master", ":", "role" };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct observation o = { .keys = 5 };
		struct err e = {};

		assert_false(info_read(texts[i], strlen(texts[i]), &o, &e));
		assert_int_equal(e.code, ERR_INVALID);
		assert_int_equal(o.keys, 5);
	}
}

/* Cut anywhere, the text is read or refused; nothing is read behind its end. */
static void a_text_may_end_anywhere(void **)
{
	static const char text[] = "# Replication\r\nrole:slave\r\nmaster_host:127.0.77.1\r\n"
				   "master_replid:" HEX_B "\r\n# Keyspace\r\ndb0:keys=5,expires=0\r\n";

	for (size_t len = 0; len < sizeof text; len++) {
		char *copy = malloc(len + 1);
		struct observation o = {};

		assert_non_null(copy);
		memcpy(copy, text, len);
		char *exact = realloc(copy, len == 0 ? 1 : len);
		assert_int_equal(info_read(exact, len, &o, NULL), len >= 20);
		free(exact);
	}
}

#define T "17417:C 22 Nov 2026 10:38:48.212 "
#define M "17417:M 22 Nov 2026 10:38:48.213 "

static void the_servers_own_words(void **)
{
	static const struct {
		const char *says, *log, *want;
	} cases[] = {
		{ "an address that is taken",
		  T "# oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo\n" T
		    "# Redis version=7.0.15, bits=64\n" T "# Configuration loaded\n" M
		    "* monotonic clock: POSIX clock_gettime\n" M
		    "# Warning: Could not create server TCP listening socket 127.91.7.7:7392: bind: "
		    "Address already in use\n" M "# Failed listening on port 7392 (TCP), aborting.\n",
		  "Warning: Could not create server TCP listening socket 127.91.7.7:7392: bind: Address "
		  "already in use; Failed listening on port 7392 (TCP), aborting.: another program "
		  "listens there (`ss -ltnp` names it): stop it, or leave the address out of "
		  "agent.addresses" },
		{ "a bad line, without what is in it",
		  "\n*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***\nReading the configuration file, at "
		  "line 5\n>>> 'masterauth \"topsecret\" x y'\nwrong number of arguments\n",
		  "Reading the configuration file, at line 5; in the line 'masterauth ...'; wrong number "
		  "of arguments: this version of the server does not take the setting so" },
		{ "a damaged AOF",
		  M "# Server initialized\n" M "# WARNING Memory overcommit must be enabled!\n" M
		    "# Bad file format reading the append only file appendonly.aof.1.incr.aof: make a "
		    "backup of your AOF file, then use ./redis-check-aof --fix <filename.manifest>\n",
		  "Bad file format reading the append only file appendonly.aof.1.incr.aof: make a backup "
		  "of your AOF file, then use ./redis-check-aof --fix <filename.manifest>: its AOF is "
		  "damaged: keep a copy, then repair it with redis-check-aof" },
		{ "an RDB of a newer version",
		  M "# Can't handle RDB format version 99\n" M
		    "# Fatal error loading the DB: Invalid argument. Exiting.\n",
		  "Can't handle RDB format version 99; Fatal error loading the DB: Invalid argument. "
		  "Exiting.: its files are from a newer version: start it with that version" },
		{ "only the last start counts",
		  M "# Can't handle RDB format version 99\n" T "# oO0OoO0OoO0Oo Redis is starting "
		    "oO0OoO0OoO0Oo\n" M "# Something else\n",
		  "Something else" },
		{ "a configuration error after an earlier start counts",
		  T "# oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo\n" M "# Something else\n"
		    "*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***\nCan't open the log file: No such "
		    "file or directory\n",
		  "Can't open the log file: No such file or directory" },
		{ "before 3.0",
		  "[42] 22 Nov 10:38:48.212 # Opening port 6379: bind: Address already in use\n",
		  "Opening port 6379: bind: Address already in use: another program listens there "
		  "(`ss -ltnp` names it): stop it, or leave the address out of agent.addresses" },
		{ "a crash without its dump",
		  M "# === REDIS BUG REPORT START: Cut & paste starting from here ===\n" M
		    "# Redis 7.0.15 crashed by signal: 11, si_code: 0\n" M "# RAX:0000 RBX:0000\n",
		  "Redis 7.0.15 crashed by signal: 11, si_code: 0: its log has the details; the agent "
		  "starts it again" },
		{ "nothing", "", "the server left no word in its log" },
		{ "only chatter", M "# Server initialized\n" M "* Ready to accept connections\n",
		  "the server left no word in its log" },
		{ "bytes that are no text", M "# a\x01\xff\x1b[2Jb\n", "a???[2Jb" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char buf[400];

		print_message("# %s\n", cases[i].says);
		info_start_error(cases[i].log, strlen(cases[i].log), buf, sizeof buf);
		assert_string_equal(buf, cases[i].want);
	}
}

/* Of one that served nothing counts but what it said of its own crash. */
static void the_words_of_one_that_served(void **)
{
	static const struct log_case {
		const char *says, *log, *want;
	} cases[] = {
		{ "killed without a word", M "* Ready to accept connections\n" M "# Some warning\n", "" },
		{ "nothing", "", "" },
		{ "a replica that cannot write its disk, before its dump",
		  M "* Ready to accept connections\n" M "# ------------------------------------------------\n" M
		    "# !!! Software Failure. Press left mouse button to continue\n" M
		    "# Guru Meditation: Replica was unable to write command to disk. #server.c:3890\n" M
		    "# ------------------------------------------------\n" M "# RAX:0000 RBX:0000\n",
		  "Guru Meditation: Replica was unable to write command to disk. #server.c:3890: make room on "
		  "the disk of its folder" },
		{ "a crash", M "# Redis 7.0.15 crashed by signal: 11, si_code: 0\n",
		  "Redis 7.0.15 crashed by signal: 11, si_code: 0: its log has the details; the agent "
		  "starts it again" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char buf[400];

		print_message("# %s\n", cases[i].says);
		info_crash_error(cases[i].log, strlen(cases[i].log), buf, sizeof buf);
		assert_string_equal(buf, cases[i].want);
	}
}

static void words_and_hint_share_a_small_buffer(void **)
{
	static const char log[] = M "# Warning: Could not create server TCP listening socket "
				    "127.91.7.7:7392: bind: Address already in use\n";
	char buf[240];

	info_start_error(log, sizeof log - 1, buf, sizeof buf);
	assert_non_null(strstr(buf, "leave the address out of agent.addresses"));
	for (size_t size = 1; size < sizeof buf; size++) {
		memset(buf, 'x', sizeof buf);
		info_start_error(log, sizeof log - 1, buf, size);
		assert_true(strlen(buf) < size);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_master_of_7_0),
		cmocka_unit_test(a_replica_tells_what_it_has_received),
		cmocka_unit_test(a_disk_that_fails_shows),
		cmocka_unit_test(a_save_shows_how_far_it_is),
		cmocka_unit_test(a_replica_in_its_first_copy),
		cmocka_unit_test(a_transfer_of_unknown_length_has_no_total),
		cmocka_unit_test(an_old_servers_copy_shows_progress),
		cmocka_unit_test(a_loading_server_tells_how_far),
		cmocka_unit_test(durable_needs_everything),
		cmocka_unit_test(an_empty_keyspace_is_no_keys),
		cmocka_unit_test(values_out_of_range_are_clamped),
		cmocka_unit_test(what_is_no_info_is_refused),
		cmocka_unit_test(a_text_may_end_anywhere),
		cmocka_unit_test(the_servers_own_words),
		cmocka_unit_test(the_words_of_one_that_served),
		cmocka_unit_test(words_and_hint_share_a_small_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
