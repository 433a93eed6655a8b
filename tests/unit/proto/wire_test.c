/* What one side writes the other reads: every field, in both directions. */
#include "../test.h"

#include "proto/wire.h"

#define ID(n) { { (n), 1, 2, 3, 4, 5, 0x46, 7, 0x88, 9, 10, 11, 12, 13, 14, 15 } }
#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb2"
#define HEX_C "ccccccccccccccccccccccccccccccccccccccc3"
#define HEX_D "ddddddddddddddddddddddddddddddddddddddd4"

/* Every field has a value of its own, none of them the one that is left out. */
static const struct observation full_observation = {
	.instance = ID(1),
	.goal_epoch = 2,
	.goal_revision = 3,
	.goal_applied = true,
	.start_at_once = true,
	.watch = 4,
	.proc = PROC_HUNG,
	.run_id = { HEX_A },
	.guarded = true,
	.fenced = true,
	.error = "it \"says\"\nno",
	.marker = MARKER_REBOOTED,
	.recorded = { { HEX_B }, 5, 6 },
	.loading = true,
	.loading_pct = 7,
	.role = SERVER_ROLE_REPLICA,
	.replid = { HEX_C },
	.replid2 = { HEX_D },
	.offset = 8,
	.second_offset = 9,
	.slave_offset = 10,
	.read_offset = 101,
	.link_up = true,
	.sync_in_progress = true,
	.sync_done_bytes = 11,
	.sync_total_bytes = 12,
	.last_io_s = 13,
	.upstream_host = "127.0.77.9",
	.upstream_port = 14,
	.keys = 15,
	.used_memory_bytes = 16,
	.connected_clients = 17,
	.sync_full = 18,
	.save_progress = 181,
	.aof_enabled = true,
	.aof_rewriting = true,
	.aof_last_rewrite_ok = true,
	.disk_error = true,
	.durable = true,
	.disk_free_bytes = 19,
	.disk_used_bytes = 20,
};

static const struct goal full_goal = {
	.installation = ID(1),
	.group = ID(2),
	.instance = ID(3),
	.epoch = 4,
	.revision = 5,
	.run = GOAL_RUN,
	.role = GOAL_REPLICA,
	.confirmed_run = { HEX_A },
	.start_at_once = true,
	.demote_accepted = true,
	.upstream_host = "127.0.77.1",
	.upstream_port = 6,
	.fenced = true,
	.kill_hung = true,
	.drop_clients = true,
	.name = "a name\n",
	.project = "acme",
	.address = "127.0.77.2",
	.port = 7,
	.datastore = "redis",
	.version = "7.0.15",
	.settings = { .maxmemory_bytes = 8,
		      .maxmemory_policy = "volatile-lru",
		      .backlog_bytes = 9,
		      .repl_timeout_s = 10,
		      .ping_period_s = 11,
		      .diskless_sync = true,
		      .diskless_delay_s = 12,
		      .appendfsync = "always",
		      .customer_open = true },
	.min_slaves_to_write = 13,
	.min_slaves_max_lag_s = 14,
	.waiting_replicas = 15,
	.secrets = { { "replication" }, { "agent" } },
};

static void assert_same_goal(const struct goal *got, const struct goal *want)
{
	struct goal g = *got;

	assert_string_equal(g.upstream_host, want->upstream_host);
	assert_string_equal(g.name, want->name);
	assert_string_equal(g.project, want->project);
	assert_string_equal(g.address, want->address);
	assert_string_equal(g.datastore, want->datastore);
	assert_string_equal(g.version, want->version);
	g.upstream_host = want->upstream_host;
	g.name = want->name;
	g.project = want->project;
	g.address = want->address;
	g.datastore = want->datastore;
	g.version = want->version;
	assert_memory_equal(&g, want, sizeof g);
}

static void a_report_comes_back(void **)
{
	static struct observation zero = { .instance = ID(2) };
	struct observation unknown = { .instance = ID(3),
				       .second_offset = -1,
				       .slave_offset = -1,
				       .read_offset = -1,
				       .sync_done_bytes = -1,
				       .sync_total_bytes = -1,
				       .last_io_s = -1 };
	const struct observation obs[] = { full_observation, zero, unknown };
	const struct wire_orphan orphans[] = { { ID(7), "still runs" }, { ID(8), "" } };
	struct host about = { .id = ID(4),
			      .name = "host-a",
			      .pool_addresses = "127.0.77.1-127.0.77.9",
			      .pool_ports = "6379",
			      .memory_bytes = 1,
			      .disk_bytes = 2,
			      .datastores = { { "redis", "7.0.15", "/usr/bin/redis-server" } },
			      .ndatastores = 1 };
	struct wire_report r = { .host = ID(4),
				 .session = ID(5),
				 .installation = ID(6),
				 .seq = 17,
				 .full = true,
				 .about = &about,
				 .highest_epoch_seen = 18,
				 .observations = obs,
				 .nobservations = ARRAY_LEN(obs),
				 .orphans = orphans,
				 .norphans = ARRAY_LEN(orphans) };
	auto_arena a = {};
	auto_str text = {};
	struct wire_report got = {};
	struct err e = {};

	assert_ok(pool_parse(about.pool_addresses, about.pool_ports, &about.pool, &e), &e);
	wire_write_report(&r, &text);
	assert_ok(wire_read_report(text.p, text.len, &a, &got, &e), &e);
	assert_int_equal(got.nobservations, ARRAY_LEN(obs));
	for (size_t i = 0; i < ARRAY_LEN(obs); i++) {
		assert_memory_equal(&got.observations[i], &obs[i], sizeof obs[i]);
	}
	assert_int_equal(got.norphans, ARRAY_LEN(orphans));
	assert_memory_equal(got.orphans, orphans, sizeof orphans);
	assert_memory_equal(got.about, &about, sizeof about);
	got.observations = obs;
	got.orphans = orphans;
	got.about = &about;
	assert_memory_equal(&got, &r, sizeof r);
}

static void a_heartbeat_is_small(void **)
{
	struct wire_report r = { .host = ID(4), .session = ID(5), .installation = ID(6), .seq = 1000000 };
	auto_arena a = {};
	auto_str text = {};
	struct wire_report got = {};
	struct err e = {};

	wire_write_report(&r, &text);
	assert_true(text.len < 200);
	assert_ok(wire_read_report(text.p, text.len, &a, &got, &e), &e);
	assert_null(got.about);
	assert_int_equal(got.nobservations, 0);
	assert_false(got.full);
}

/* What an agent leaves out, or does not know of, is unknown and not zero. */
static void what_is_left_out_is_unknown(void **)
{
	static const char text[] =
		"{\"wire\":1,\"host\":\"00000000-0000-4000-8000-000000000001\","
		"\"session\":\"00000000-0000-4000-8000-000000000002\",\"seq\":1,\"observations\":"
		"[{\"instance\":\"00000000-0000-4000-8000-000000000003\",\"proc\":\"running\"}]}";
	auto_arena a = {};
	struct wire_report got = {};
	struct err e = {};

	assert_ok(wire_read_report(text, sizeof text - 1, &a, &got, &e), &e);
	const struct observation *o = &got.observations[0];

	assert_int_equal(o->second_offset, -1);
	assert_int_equal(o->slave_offset, -1);
	assert_int_equal(o->sync_done_bytes, -1);
	assert_int_equal(o->sync_total_bytes, -1);
	assert_int_equal(o->last_io_s, -1);
	assert_int_equal(o->offset, 0);
	assert_int_equal(o->marker, MARKER_UNKNOWN);
	assert_true(id_is_zero(got.installation));
}

static void an_answer_comes_back(void **)
{
	struct wire_report_answer r = { .installation = ID(1), .want_full = true }, got = {};
	auto_str text = {};
	struct err e = {};

	wire_write_report_answer(&r, &text);
	assert_ok(wire_read_report_answer(text.p, text.len, &got, &e), &e);
	assert_memory_equal(&got, &r, sizeof r);
}

static void goals_come_back(void **)
{
	static const struct goal deleted = { .installation = ID(1),
					     .instance = ID(9),
					     .run = GOAL_DELETE,
					     .upstream_host = "",
					     .name = "",
					     .project = "",
					     .address = "",
					     .datastore = "",
					     .version = "" };
	const struct goal goals[] = { full_goal, deleted };
	const struct wire_watch watches[] = {
		{ ID(3), { .watch = 20, .stream = true, .peer_offset = -1 } },
		{ ID(9), { .watch = 21, .urgent = true, .peer_offset = 5000 } },
	};
	const struct wire_goals g = { .installation = ID(1),
				      .revision = 30,
				      .watch_revision = 31,
				      .goals = goals,
				      .ngoals = ARRAY_LEN(goals),
				      .watches = watches,
				      .nwatches = ARRAY_LEN(watches) };
	auto_arena a = {};
	auto_str text = {};
	struct wire_goals got = {};
	struct err e = {};

	wire_write_goals(&g, &text);
	assert_ok(wire_read_goals(text.p, text.len, &a, &got, &e), &e);
	assert_int_equal(got.ngoals, ARRAY_LEN(goals));
	assert_same_goal(&got.goals[0], &goals[0]);
	assert_same_goal(&got.goals[1], &goals[1]);
	assert_int_equal(got.nwatches, ARRAY_LEN(watches));
	for (size_t i = 0; i < ARRAY_LEN(watches); i++) {
		assert_true(id_eq(got.watches[i].instance, watches[i].instance));
		const struct goal_live *is = &got.watches[i].live, *was = &watches[i].live;

		assert_int_equal(is->watch, was->watch);
		assert_int_equal(is->stream, was->stream);
		assert_int_equal(is->urgent, was->urgent);
		assert_int_equal(is->peer_offset, was->peer_offset);
	}
	assert_true(id_eq(got.installation, g.installation));
	assert_int_equal(got.revision, 30);
	assert_int_equal(got.watch_revision, 31);
}

static void a_goal_by_itself_comes_back(void **)
{
	auto_arena a = {};
	auto_str text = {};
	struct goal got = {};
	struct err e = {};

	wire_write_goal(&full_goal, &text);
	assert_ok(wire_read_goal(text.p, text.len, &a, &got, &e), &e);
	assert_same_goal(&got, &full_goal);
}

/* The goal of full_goal with one piece of text changed. Free with free(). */
static char *edited(const char *from, const char *to)
{
	auto_str text = {}, out = {};

	wire_write_goal(&full_goal, &text);
	const char *at = strstr(text.p, from);
	if (at == NULL) {
		fail_msg("%s is not in %s", from, text.p);
		return NULL;
	}
	str_append_mem(&out, text.p, (size_t)(at - text.p));
	str_append(&out, to);
	str_append(&out, at + strlen(from));
	return str_take(&out);
}

static void what_cannot_be_meant_is_refused(void **)
{
	static const struct {
		const char *from, *to, *message;
	} cases[] = {
		{ "\"wire\":1", "\"wire\":2",
		  "a message of version 2 from a newer tanist; this one understands up to 1: update it" },
		{ "\"wire\":1,", "", "'wire' is missing" },
		{ "\"wire\":1", "\"wire\":0", "'wire' is 0, which there never was" },
		{ "\"role\":\"replica\"", "\"role\":\"king\"", "'role' is 'king', no word of this version" },
		{ "\"run\":\"run\",", "", "'run' is missing" },
		{ "\"port\":7,", "", "a goal to run needs 'address', an IPv4 address, and 'port'" },
		{ "\"address\":\"", "\"address\":\"0.0.0.0\\nrequirepass x",
		  "a goal to run needs 'address', an IPv4 address" },
		{ "\"version\":\"7.0.15\"", "\"x\":1", "a goal to run needs 'datastore' and 'version'" },
		{ "\"upstream_port\":6", "\"upstream_port\":0", "the goal of a replica needs" },
		{ "\"upstream_port\":6", "\"upstream_port\":-6", "'upstream_port' is -6, must be from 0" },
		{ "\"secret_agent\":\"agent\"", "\"secret_agent\":\"a\\nb\"",
		  "'secret_agent' must be letters and digits" },
		{ ",\"secret_agent\":\"agent\"", "", "a goal to run needs both secrets" },
		{ "\"epoch\":4", "\"epoch\":-1", "'epoch' is -1, must be from 0" },
		{ "\"maxmemory_policy\":\"", "\"maxmemory_policy\":\"1234567890123",
		  "'maxmemory_policy' has 25 bytes, must have from 0 to 23" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_arena a = {};
		struct goal got = {};
		struct err e = {};
		char *text = edited(cases[i].from, cases[i].to);

		print_message("# %s\n", cases[i].message);
		assert_false(wire_read_goal(text, strlen(text), &a, &got, &e));
		free(text);
		if (strncmp(e.msg, cases[i].message, strlen(cases[i].message)) != 0) {
			fail_msg("got: %s", e.msg);
		}
	}
}

static void unknown_fields_are_ignored(void **)
{
	auto_arena a = {};
	struct goal got = {};
	struct err e = {};
	char *text = edited("\"epoch\":4", "\"epoch\":4,\"later\":[{}]");

	assert_ok(wire_read_goal(text, strlen(text), &a, &got, &e), &e);
	free(text);
	assert_same_goal(&got, &full_goal);
}

static void lists_have_a_ceiling(void **)
{
	static struct observation obs[4097];
	struct wire_report r = { .host = ID(4), .session = ID(5), .observations = obs };
	auto_arena a = {};
	auto_str text = {};
	struct wire_report got = {};
	struct err e = {};

	r.nobservations = 4096;
	wire_write_report(&r, &text);
	assert_ok(wire_read_report(text.p, text.len, &a, &got, &e), &e);
	str_clear(&text);
	r.nobservations = 4097;
	wire_write_report(&r, &text);
	assert_false(wire_read_report(text.p, text.len, &a, &got, &e));
	assert_int_equal(e.code, ERR_OVER_LIMIT);
	assert_string_equal(e.msg, "'observations' has 4097 items, at most 4096 are allowed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_report_comes_back),
		cmocka_unit_test(a_heartbeat_is_small),
		cmocka_unit_test(what_is_left_out_is_unknown),
		cmocka_unit_test(an_answer_comes_back),
		cmocka_unit_test(goals_come_back),
		cmocka_unit_test(a_goal_by_itself_comes_back),
		cmocka_unit_test(what_cannot_be_meant_is_refused),
		cmocka_unit_test(unknown_fields_are_ignored),
		cmocka_unit_test(lists_have_a_ceiling),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
