/* What clients see of an instance: which keys, in which order, and when a key is not there. */
#include "../test.h"

#include "proto/trove.h"

static struct id id_at(uint8_t last)
{
	return (struct id){ .b = { [15] = last } };
}

struct scene {
	struct member members[3];
	struct group g;
	struct observation obs[3];
	struct arena arena;
	struct trove_links links;
};

static void scene_init(struct scene *s)
{
	*s = (struct scene){};
	for (uint8_t i = 0; i < 3; i++) {
		s->members[i] = (struct member){
			.id = id_at((uint8_t)(i + 1)),
			.name = i == 0 ? "m" : "r",
			.host = "h",
			.address = "127.0.77.1",
			.port = 6379,
			.flavor = "1",
			.datastore = "redis",
			.version = "7.0.15",
			.volume_gb = 1,
			.state = MEMBER_ACTIVE,
		};
		s->obs[i] = (struct observation){
			.proc = PROC_RUNNING,
			.role = i == 0 ? SERVER_ROLE_MASTER : SERVER_ROLE_REPLICA,
			.replid = { "aa" },
			.offset = 100,
			.slave_offset = i == 0 ? -1 : 90,
			.link_up = i > 0,
			.sync_done_bytes = -1,
			.sync_total_bytes = -1,
			.used_memory_bytes = 1000,
			.disk_used_bytes = 512 << 20,
		};
	}
	s->g = (struct group){
		.id = id_at(9),
		.project = "t1",
		.name = "m",
		.epoch = 3,
		.source = id_at(1),
		.members = s->members,
		.nmembers = 3,
	};
	trove_links_init(&s->links, "http", "h:1", "t1", &s->arena);
}

static struct trove_instance described(struct scene *s, size_t i)
{
	return (struct trove_instance){
		.g = &s->g,
		.m = &s->members[i],
		.o = &s->obs[i],
		.source_o = &s->obs[0],
		.region = "RegionOne",
		.active_status = "ACTIVE",
	};
}

/* The text of member i as a client would get it; free with json_decref(). */
static json_t *written(struct scene *s, size_t i, enum trove_depth depth, bool admin)
{
	auto_str out = {};
	struct jw w = { .out = &out };
	struct trove_instance one = described(s, i);
	json_t *j;
	struct err e;

	one.admin = admin;
	trove_write_instance(&w, NULL, &one, depth, &s->links);
	assert_ok(json_parse(out.p, out.len, &j, &e), &e);
	return j;
}

static void assert_keys(json_t *j, const char *want)
{
	auto_str got = {};
	const char *key;
	json_t *v;

	json_object_foreach(j, key, v)
	{
		str_printf(&got, "%s ", key);
	}
	assert_string_equal(got.p, want);
}

#define OWN "port role group group_id epoch host "

static void keys_and_their_order(void **)
{
	static const struct {
		const char *says;
		size_t member;
		enum member_state state;
		enum trove_depth depth;
		bool admin;
		const char *keys;
	} cases[] = {
		{ "a source in a list", 0, MEMBER_ACTIVE, TROVE_LIST, false,
		  "id name status operating_status links flavor datastore region access volume ip "
		  "addresses replicas " OWN "durable " },
		{ "a replica in a list, for an administrator", 1, MEMBER_ACTIVE, TROVE_LIST, true,
		  "id name status operating_status links flavor datastore region access tenant_id "
		  "volume ip addresses replica_of " OWN "lag_bytes durable " },
		{ "a replica being built has no address yet", 1, MEMBER_SYNCING, TROVE_SHOW, false,
		  "id name status operating_status links flavor datastore region access volume "
		  "replica_of created updated service_status_updated " OWN
		  "lag_bytes durable sync durability " },
		{ "a source shown", 0, MEMBER_ACTIVE, TROVE_SHOW, false,
		  "id name status operating_status links flavor datastore region access volume ip "
		  "addresses replicas created updated service_status_updated " OWN
		  "durable durability " },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct scene s;

		scene_init(&s);
		print_message("# %s\n", cases[i].says);
		s.members[cases[i].member].state = cases[i].state;
		auto_json *j = written(&s, cases[i].member, cases[i].depth, cases[i].admin);
		assert_keys(j, cases[i].keys);
		arena_done(&s.arena);
	}
}

static void values(void **)
{
	struct scene s;

	scene_init(&s);
	s.members[2].state = MEMBER_DELETING;
	s.members[0].fault = (struct fault){ .kind = FAULT_GUARD, .text = "why" };
	auto_json *source = written(&s, 0, TROVE_SHOW, false);
	auto_json *replica = written(&s, 1, TROVE_DETAIL, false);

	json_t *ds = json_object_get(source, "datastore");
	assert_string_equal(json_string_value(json_object_get(ds, "version")), "7.0");
	assert_string_equal(json_string_value(json_object_get(ds, "version_number")), "7.0.15");
	json_t *volume = json_object_get(source, "volume");
	assert_true(json_real_value(json_object_get(volume, "used")) == 0.5);
	/* one that is being deleted is no replica any more */
	assert_int_equal(json_array_size(json_object_get(source, "replicas")), 1);
	json_t *fault = json_object_get(source, "fault");
	assert_keys(fault, "message created details ");
	assert_true(json_is_null(json_object_get(fault, "details")));
	assert_int_equal(json_integer_value(json_object_get(replica, "lag_bytes")), 10);
	assert_null(json_object_get(json_object_get(replica, "volume"), "used"));
	json_t *self = json_array_get(json_object_get(replica, "links"), 0);
	assert_string_equal(json_string_value(json_object_get(self, "href")),
			    "http://h:1/v1.0/t1/instances/00000000-0000-0000-0000-000000000002");
	arena_done(&s.arena);
}

/* What runs, what ran, and what cannot be asked of a server meanwhile. */
static void operations(void **)
{
	struct scene s;

	scene_init(&s);
	s.g.durability = 2;
	s.g.last = (struct op_outcome){
		.op = id_at(7), .kind = OP_HANDOVER, .at_wall_ms = 1000, .reason = "undone"
	};
	s.g.op = (struct operation){ .id = id_at(8),
				     .kind = OP_EJECT,
				     .phase = PHASE_EJECT_SEAL,
				     .target = id_at(1),
				     .started_wall_ms = 61000 };
	auto_json *j = written(&s, 1, TROVE_SHOW, false);
	auto_json *list = written(&s, 1, TROVE_LIST, false);

	assert_string_equal(json_string_value(json_object_get(j, "durability")), "bounded(2)");
	json_t *op = json_object_get(j, "operation");
	assert_keys(op, "id operation phase target since ");
	assert_string_equal(json_string_value(json_object_get(op, "phase")), "eject-seal");
	assert_string_equal(json_string_value(json_object_get(op, "since")),
			    "1970-01-01T00:01:01Z");
	json_t *last = json_object_get(j, "last_operation");
	assert_keys(last, "id operation done reason at ");
	assert_string_equal(json_string_value(json_object_get(last, "operation")), "handover");
	assert_true(json_is_false(json_object_get(last, "done")));
	assert_null(json_object_get(json_object_get(j, "volume"), "used"));
	assert_null(json_object_get(list, "operation"));
	assert_null(json_object_get(list, "durability"));
	arena_done(&s.arena);
}

static void lag_is_of_one_history_only(void **)
{
	struct scene s;

	scene_init(&s);
	s.obs[1].replid = (struct replid){ "bb" };
	auto_json *j = written(&s, 1, TROVE_LIST, false);
	assert_null(json_object_get(j, "lag_bytes"));
	arena_done(&s.arena);
}

static void links_take_any_host_and_project(void **)
{
	auto_arena a = {};
	struct trove_links l;

	trove_links_init(&l, "http", "h\"x\r\n", "a/b \"c\"", &a);
	assert_string_equal(l.self, "\"http://h%22x%0D%0A/v1.0/a%2Fb%20%22c%22/");
	assert_int_equal(l.self_len, strlen(l.self));
}

static void faults(void **)
{
	auto_str out = {};
	struct err e;

	err_set(&e, ERR_OVER_LIMIT, "no");
	trove_write_fault(&e, &out);
	assert_string_equal(out.p, "{\"overLimit\":{\"code\":413,\"message\":\"no\"}}");
	str_clear(&out);
	trove_write_status_fault(431, "long", &out);
	assert_string_equal(out.p, "{\"badRequest\":{\"code\":431,\"message\":\"long\"}}");
}

static void write_list(struct scene *s, struct trove_repeat *repeat, struct str *out)
{
	static const size_t order[] = { 0, 0, 1, 0, 2, 2, 1 };
	struct jw w = { .out = out };

	jw_array(&w, NULL);
	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		struct trove_instance one = described(s, order[i]);

		one.repeat = repeat;
		trove_write_instance(&w, NULL, &one, TROVE_DETAIL, &s->links);
	}
	jw_end(&w);
}

/* Each difference by which a copy from the neighbour would be wrong. */
static void what_is_copied_is_what_would_be_written(void **)
{
	static const struct {
		const char *says;
		struct member other;
	} cases[] = {
		{ "the same of everything",
		  { .flavor = "1", .datastore = "redis", .version = "7.0.15", .state = MEMBER_ACTIVE } },
		{ "another flavor",
		  { .flavor = "2", .datastore = "redis", .version = "7.0.15", .state = MEMBER_ACTIVE } },
		{ "another datastore",
		  { .flavor = "1", .datastore = "valkey", .version = "7.0.15", .state = MEMBER_ACTIVE } },
		{ "another version",
		  { .flavor = "1", .datastore = "redis", .version = "7.0.16", .state = MEMBER_ACTIVE } },
		{ "one is being built",
		  { .flavor = "1", .datastore = "redis", .version = "7.0.15", .state = MEMBER_SYNCING } },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct scene s;
		struct trove_repeat repeat = {};
		auto_str copied = {}, plain = {};

		scene_init(&s);
		s.members[1].flavor = cases[i].other.flavor;
		s.members[1].datastore = cases[i].other.datastore;
		s.members[1].version = cases[i].other.version;
		s.members[1].state = cases[i].other.state;
		write_list(&s, &repeat, &copied);
		write_list(&s, NULL, &plain);
		printf("# %s\n", cases[i].says);
		assert_string_equal(copied.p, plain.p);
		assert_int_equal(copied.len, plain.len);
		arena_done(&s.arena);
	}
}

static void version_names(void **)
{
	static const char *const cases[][2] = {
		{ "7.0.15", "7.0" },
		{ "7.2", "7.2" },
		{ "8", "8" },
		{ "10.11.12", "10.11" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char buf[16];

		trove_version_name(cases[i][0], buf, sizeof buf);
		assert_string_equal(buf, cases[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_and_their_order),
		cmocka_unit_test(values),
		cmocka_unit_test(operations),
		cmocka_unit_test(lag_is_of_one_history_only),
		cmocka_unit_test(links_take_any_host_and_project),
		cmocka_unit_test(faults),
		cmocka_unit_test(what_is_copied_is_what_would_be_written),
		cmocka_unit_test(version_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
