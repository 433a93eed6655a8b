/* What the store keeps comes back as it was, or is refused with the field at fault. */
#include "../test.h"

#include <inttypes.h>

#include "base/clock.h"
#include "proto/record.h"

#define ID(n) { { (n), 1, 2, 3, 4, 5, 0x46, 7, 0x88, 9, 10, 11, 12, 13, 14, 15 } }
#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb2"
#define HEX_C "ccccccccccccccccccccccccccccccccccccccc3"

/* A group in which every field has a value of its own. */
static struct member full_members[] = {
	{
		.id = ID(1),
		.name = "caché \"1\"\n",
		.host = "host-a",
		.address = "127.0.77.1",
		.port = 6379,
		.flavor = "7",
		.datastore = "redis",
		.version = "7.0.15",
		.volume_gb = 3,
		.created_wall_ms = 1001,
		.updated_wall_ms = 1002,
		.state = MEMBER_ERROR,
		.state_since_wall_ms = 1003,
		.attached_once = true,
		.accepted_run = { HEX_A },
		.demoted = true,
		.fault = { .kind = FAULT_GUARD, .at_wall_ms = 1004, .text = "key count 5 < 9" },
	},
	{
		.id = ID(2),
		.name = "b",
		.host = "host-b",
		.address = "127.0.77.2",
		.port = 7000,
		.flavor = "",
		.datastore = "valkey",
		.version = "8.0.1",
		.state = MEMBER_SYNCING,
	},
};
static struct history_entry full_history[] = {
	{ .epoch = 1, .replid = { HEX_B }, .start = 0, .source = ID(2) },
	{ .epoch = 4, .start = 4711, .source = ID(1) },
};
static struct group full_group = {
	.id = ID(3),
	.project = "acme",
	.name = "cache",
	.epoch = 4,
	.source = ID(1),
	.source_run = { HEX_C },
	.created_wall_ms = 1000,
	.secrets = { { "replicationsecret" }, { "agentsecret" } },
	.op = { .id = ID(4),
		.kind = OP_EJECT,
		.phase = PHASE_EJECT_HELD,
		.target = ID(5),
		.from = ID(6),
		.started_wall_ms = 1005,
		.phase_since_wall_ms = 1006,
		.run = { HEX_A },
		.accept_data_loss = true },
	.last = { .op = ID(7),
		  .kind = OP_HANDOVER,
		  .done = true,
		  .at_wall_ms = 1007,
		  .reason = "caché took over: 12 ms without writes" },
	.durability = 2,
	.durability_proven = 1,
	.members = full_members,
	.nmembers = ARRAY_LEN(full_members),
	.history = full_history,
	.nhistory = ARRAY_LEN(full_history),
};

/* Every byte of every field; strings by their text. */
static void assert_same_member(const struct member *got, const struct member *want)
{
	struct member m = *got;

	assert_string_equal(m.name, want->name);
	assert_string_equal(m.host, want->host);
	assert_string_equal(m.address, want->address);
	assert_string_equal(m.flavor, want->flavor);
	assert_string_equal(m.datastore, want->datastore);
	assert_string_equal(m.version, want->version);
	m.name = want->name;
	m.host = want->host;
	m.address = want->address;
	m.flavor = want->flavor;
	m.datastore = want->datastore;
	m.version = want->version;
	assert_memory_equal(&m, want, sizeof m);
}

static void assert_same_group(const struct group *got, const struct group *want)
{
	struct group g = *got;

	assert_int_equal(g.nmembers, want->nmembers);
	assert_int_equal(g.nhistory, want->nhistory);
	for (size_t i = 0; i < g.nmembers; i++) {
		assert_same_member(&g.members[i], &want->members[i]);
	}
	assert_memory_equal(g.history, want->history, g.nhistory * sizeof g.history[0]);
	assert_string_equal(g.project, want->project);
	assert_string_equal(g.name, want->name);
	assert_true(str_eq(g.last.reason, want->last.reason));
	g.project = want->project;
	g.name = want->name;
	g.last.reason = want->last.reason;
	g.members = want->members;
	g.history = want->history;
	assert_memory_equal(&g, want, sizeof g);
}

static void a_group_comes_back(void **)
{
	auto_arena a = {};
	auto_str text = {}, again = {};
	struct group got;
	struct err e = {};

	record_write_group(&full_group, &text);
	assert_ok(record_read_group(text.p, text.len, &a, &got, &e), &e);
	assert_same_group(&got, &full_group);
	got.history[got.nhistory] = (struct history_entry){ .epoch = 5 }; /* there is room */
	record_write_group(&got, &again);
	assert_string_equal(again.p, text.p);
}

/* A name in the middle of a reason is cut as bytes: what is kept must be readable all the same. */
static void a_reason_that_was_cut_comes_back(void **)
{
	auto_arena a = {};
	auto_str text = {};
	struct group g = full_group, got;
	struct err e = {};
	char reason[320];

	memset(reason, 'x', sizeof reason);
	for (size_t i = 0; i < sizeof reason - 4; i += 4) {
		memcpy(reason + i, "\xf0\x9f\x90 ", 4); /* three quarters of a character */
	}
	reason[sizeof reason - 1] = '\0';
	g.last.reason = reason;
	record_write_group(&g, &text);
	assert_ok(record_read_group(text.p, text.len, &a, &got, &e), &e);
	assert_true(strlen(got.last.reason) > strlen(reason));
}

/* The least a record can hold: what is left out comes back as zero. */
static void a_bare_group_comes_back(void **)
{
	struct member m = full_members[1];
	struct group bare = { .id = ID(3), .project = "p", .name = "n", .epoch = 1, .source = ID(2),
			      .secrets = { { "a" }, { "b" } }, .members = &m, .nmembers = 1 };
	auto_arena a = {};
	auto_str text = {};
	struct group got;
	struct err e = {};

	record_write_group(&bare, &text);
	assert_null(strstr(text.p, "\"op\""));
	assert_null(strstr(text.p, "\"last\""));
	assert_null(strstr(text.p, "\"fault"));
	assert_ok(record_read_group(text.p, text.len, &a, &got, &e), &e);
	got.history = NULL;
	bare.history = NULL;
	assert_int_equal(got.nhistory, 0);
	assert_same_member(&got.members[0], &m);
	assert_int_equal(got.op.kind, OP_NONE);
}

/* Text with one piece changed: the record of full_group, edited. Free with free(). */
static char *edited(const char *from, const char *to)
{
	auto_str text = {}, out = {};

	record_write_group(&full_group, &text);
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

static void a_damaged_record_names_the_field(void **)
{
	static const struct {
		const char *from, *to, *message;
	} cases[] = {
		{ "\"format\":1", "\"format\":2",
		  "the store was written by a newer tanist: format 2, this one reads up to 1" },
		{ "\"format\":1,", "", "'format' is missing" },
		{ "\"format\":1", "\"format\":0", "'format' is 0, which there never was" },
		{ "\"epoch\":4,\"source\"", "\"epoch\":0,\"source\"", "'epoch' is 0, must be from 1" },
		{ "\"epoch\":4,\"source\"", "\"epoch\":\"4\",\"source\"",
		  "'epoch' must be a whole number, not a string" },
		{ "\"project\":\"acme\"", "\"project\":\"\"", "'project' has 0 bytes" },
		{ "\"project\":\"acme\",", "", "'project' is missing" },
		{ "\"port\":7000", "\"port\":70000", "members[1]: 'port' is 70000, must be from 1 to 65535" },
		{ "\"port\":7000", "\"port\":0", "members[1]: 'port' is 0, must be from 1 to 65535" },
		{ "\"state\":\"error\"", "\"state\":\"happy\"",
		  "members[0]: 'state' is 'happy', no word of this version" },
		{ "\"phase\":\"", "\"phase\":\"x", "op: 'phase' is 'x" },
		{ "\"durability\":2", "\"durability\":65", "'durability' is 65, must be from 0 to 64" },
		{ "\"last\":{", "\"last\":[],\"l\":{", "last: must be an object, not an array" },
		{ "\"kind\":\"handover\"", "\"kind\":\"x\"", "last: 'kind' is 'x', no word of this version" },
		{ "\"attached_once\":true", "\"attached_once\":1",
		  "members[0]: 'attached_once' must be a boolean, not a whole number" },
		{ HEX_B, "bbb", "history[0]: 'replid' must be 40 hex digits" },
		{ HEX_A, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "op: 'run' must be 40 hex digits" },
		{ "\"start\":4711", "\"start\":-1", "history[1]: 'start' is -1, must be from 0" },
		{ "\"agent\":\"agentsecret\"", "\"agent\":\"agent secret\"",
		  "secrets: 'agent' must be letters and digits" },
		{ "\"agent\":\"agentsecret\"", "\"agent\":\"\"", "secrets: 'agent' has 0 bytes" },
		{ "\"members\":[", "\"members\":[1,", "members[0]: must be an object, not a whole number" },
		{ "\"members\":[", "\"members\":[],\"m\":[", "'members' is missing" },
		{ "\"history\":[", "\"history\":{},\"h\":[", "'history' must be an array, not an object" },
		{ "{\"id\":\"02", "{\"id\":\"01", "members[1]: 'id' is that of members[0]" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_arena a = {};
		struct group got = { .epoch = 77 };
		struct err e = {};
		char *text = edited(cases[i].from, cases[i].to);

		print_message("# %s\n", cases[i].message);
		assert_false(record_read_group(text, strlen(text), &a, &got, &e));
		free(text);
		assert_int_equal(got.epoch, 77);
		if (strncmp(e.msg, cases[i].message, strlen(cases[i].message)) != 0) {
			fail_msg("got: %s", e.msg);
		}
	}
}

static void no_message_holds_a_secret(void **)
{
	auto_str text = {};
	struct err e = {};

	record_write_group(&full_group, &text);
	for (size_t cut = 0; cut < text.len; cut++) {
		auto_arena a = {};
		struct group got;

		assert_false(record_read_group(text.p, cut, &a, &got, &e));
		assert_null(strstr(e.msg, "secret\""));
		assert_null(strstr(e.msg, "agentsec"));
		assert_null(strstr(e.msg, "replicationsec"));
	}
}

static void unknown_fields_are_ignored(void **)
{
	auto_arena a = {};
	struct group got;
	struct err e = {};
	char *text = edited("\"format\":1", "\"format\":1,\"later\":{\"x\":[1]}");

	assert_ok(record_read_group(text, strlen(text), &a, &got, &e), &e);
	free(text);
	assert_same_group(&got, &full_group);
}

static void lists_have_ceilings(void **)
{
	static struct member members[MODEL_MEMBERS_MAX + 1];
	static struct history_entry history[MODEL_HISTORY_MAX + 1];
	struct group big = full_group;
	auto_str most = {}, too_many = {}, too_old = {};
	auto_arena a = {};
	struct group got;
	struct err e = {};

	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		members[i] = full_members[0];
		members[i].id.b[1] = (uint8_t)i;
	}
	for (size_t i = 0; i < ARRAY_LEN(history); i++) {
		history[i] = full_history[1];
	}
	big.members = members;
	big.nmembers = MODEL_MEMBERS_MAX;
	big.history = history;
	big.nhistory = MODEL_HISTORY_MAX;
	record_write_group(&big, &most);
	assert_ok(record_read_group(most.p, most.len, &a, &got, &e), &e);
	got.history[got.nhistory] = (struct history_entry){ .epoch = 5 }; /* room for one more */
	big.nmembers++;
	record_write_group(&big, &too_many);
	assert_false(record_read_group(too_many.p, too_many.len, &a, &got, &e));
	assert_int_equal(e.code, ERR_OVER_LIMIT);
	assert_string_equal(e.msg, "'members' has 65 items, at most 64 are allowed");
	big.nmembers--;
	big.nhistory++;
	record_write_group(&big, &too_old);
	assert_false(record_read_group(too_old.p, too_old.len, &a, &got, &e));
	assert_int_equal(e.code, ERR_OVER_LIMIT);
}

static void a_packed_group_stands_by_itself(void **)
{
	auto_arena a = {};
	auto_str text = {};
	struct group got;
	struct err e = {};

	record_write_group(&full_group, &text);
	assert_ok(record_read_group(text.p, text.len, &a, &got, &e), &e);
	got.revision = 99;
	struct group *packed = record_pack_group(&got);

	arena_done(&a);
	assert_int_equal(packed->revision, 99);
	packed->revision = 0;
	assert_same_group(packed, &full_group);
	assert_true(packed->members[0].name > (const char *)packed);
	packed->history[packed->nhistory] = (struct history_entry){ .epoch = 9 }; /* there is room */
	assert_string_equal(packed->project, "acme");

	/* A group without anything, and one with strings that are not there. */
	struct group *empty = record_pack_group(&(struct group){ .epoch = 1 });
	assert_null(empty->name);
	assert_int_equal(empty->nmembers, 0);
	free(empty);

	struct group *scratch = record_scratch_group(packed, &a);
	assert_same_group(scratch, packed);
	assert_ptr_not_equal(scratch->members, packed->members);
	assert_ptr_equal(scratch->members[1].name, packed->members[1].name);
	scratch->history[scratch->nhistory] = (struct history_entry){ .epoch = 9 };
	free(packed);
}

static void packing_is_quick(void **)
{
	int64_t began = clock_us();
	enum { N = 10000 };

	for (int i = 0; i < N; i++) {
		free(record_pack_group(&full_group));
	}
	int64_t us = clock_us() - began;

	print_message("# %d groups packed in %" PRId64 " us\n", N, us);
	assert_true(us < 2000000);
}

static void a_host_comes_back(void **)
{
	struct host h = {
		.id = ID(8),
		.name = "host-a.example",
		.pool_addresses = "127.0.77.1-127.0.77.250",
		.pool_ports = "6379",
		.memory_bytes = 8LL << 30,
		.disk_bytes = 100LL << 30,
		.datastores = { { "redis", "7.0.15", "/usr/bin/redis-server" },
				{ "valkey", "8.0.1", "/opt/valkey-server" } },
		.ndatastores = 2,
	};
	auto_str text = {};
	struct host got = {};
	struct err e = {};

	assert_ok(pool_parse(h.pool_addresses, h.pool_ports, &h.pool, &e), &e);
	record_write_host(&h, &text);
	assert_ok(record_read_host(text.p, text.len, &got, &e), &e);
	assert_memory_equal(&got, &h, sizeof h);

	auto_str bad = {};
	snprintf(h.name, sizeof h.name, "a/b");
	record_write_host(&h, &bad);
	assert_false(record_read_host(bad.p, bad.len, &got, &e));
	auto_str bad_pool = {};
	snprintf(h.name, sizeof h.name, "a");
	snprintf(h.pool_ports, sizeof h.pool_ports, "0");
	record_write_host(&h, &bad_pool);
	assert_false(record_read_host(bad_pool.p, bad_pool.len, &got, &e));
}

static void an_installation_comes_back(void **)
{
	struct installation i = { .id = ID(9), .created_wall_ms = 12345 }, got = {};
	auto_str text = {};
	struct err e = {};

	record_write_installation(&i, &text);
	assert_ok(record_read_installation(text.p, text.len, &got, &e), &e);
	assert_memory_equal(&got, &i, sizeof i);
	i.id = (struct id){};
	str_clear(&text);
	record_write_installation(&i, &text);
	assert_false(record_read_installation(text.p, text.len, &got, &e));
}

static void an_event_comes_back(void **)
{
	static const struct event_record ev = {
		.seq = 42,
		.wall_ms = 1795333023999,
		.group = ID(1),
		.project = "acme",
		.group_name = "cache",
		.event = { .kind = EVENT_SOURCE_HELD,
			   .instance = ID(2),
			   .epoch = 7,
			   .reason = "a restarted source lacks keys",
			   .figures = "keys=5 replica_keys=9" },
	};
	auto_arena a = {};
	auto_str text = {};
	struct event_record got = {};
	struct err e = {};

	record_write_event(&ev, &text);
	assert_non_null(strstr(text.p, "\"time\":\"2026-11-22T07:37:03Z\""));
	assert_ok(record_read_event(text.p, text.len, &a, &got, &e), &e);
	assert_string_equal(got.project, "acme");
	assert_string_equal(got.group_name, "cache");
	got.project = ev.project;
	got.group_name = ev.group_name;
	assert_memory_equal(&got, &ev, sizeof ev);
}

/* Prose made longer by the writer (a bad byte becomes three) is cut, never refused. */
static void long_prose_is_cut_at_a_character(void **)
{
	struct event_record ev = { .seq = 1, .project = "", .group_name = "" };
	auto_arena a = {};
	auto_str text = {}, again = {};
	struct event_record got = {};
	struct err e = {};

	memset(ev.event.reason, '\xff', sizeof ev.event.reason - 1);
	record_write_event(&ev, &text);
	assert_ok(record_read_event(text.p, text.len, &a, &got, &e), &e);
	assert_int_equal(strlen(got.event.reason), 318); /* 106 whole characters of 3 bytes */
	record_write_event(&got, &again);
	assert_ok(record_read_event(again.p, again.len, &a, &ev, &e), &e);
	assert_string_equal(ev.event.reason, got.event.reason);
}

static void keys_have_their_form(void **)
{
	char a[RECORD_KEY_BYTES], b[RECORD_KEY_BYTES];

	record_key_group((struct id)ID(1), a);
	assert_string_equal(a, "group/01010203-0405-4607-8809-0a0b0c0d0e0f");
	record_key_host("host-a", a);
	assert_string_equal(a, "host/host-a");
	record_key_event(9, a);
	record_key_event(10, b);
	assert_string_equal(a, "event/00000000000000000009");
	assert_true(strcmp(a, b) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_group_comes_back),
		cmocka_unit_test(a_reason_that_was_cut_comes_back),
		cmocka_unit_test(a_bare_group_comes_back),
		cmocka_unit_test(a_damaged_record_names_the_field),
		cmocka_unit_test(no_message_holds_a_secret),
		cmocka_unit_test(unknown_fields_are_ignored),
		cmocka_unit_test(lists_have_ceilings),
		cmocka_unit_test(a_packed_group_stands_by_itself),
		cmocka_unit_test(packing_is_quick),
		cmocka_unit_test(a_host_comes_back),
		cmocka_unit_test(an_installation_comes_back),
		cmocka_unit_test(an_event_comes_back),
		cmocka_unit_test(long_prose_is_cut_at_a_character),
		cmocka_unit_test(keys_have_their_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
