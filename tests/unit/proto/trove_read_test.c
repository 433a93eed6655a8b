/* Bodies of requests: what is taken, and the sentence for what is not. */
#include "../test.h"

#include "proto/trove.h"

#define STD "\"flavorRef\": \"1\", \"volume\": {\"size\": 1}"
#define NAMED "{\"instance\": {\"name\": \"x\", "

static void refuses_creates_with_a_sentence(void **)
{
	static const struct {
		const char *says, *body, *message;
	} cases[] = {
		{ "nothing at all", "", "The body is empty" },
		{ "cut off", "{\"instance\": {", "Malformed request body" },
		{ "a list", "[]", "The body must be" },
		{ "no instance", "{}", "'instance' is missing" },
		{ "instance null", "{\"instance\": null}", "instance must be an object, not null" },
		{ "no name", "{\"instance\": {" STD "}}", "instance['name'] is missing" },
		{ "a number for a name", "{\"instance\": {\"name\": 5}}",
		  "instance['name'] must be a string, not a" },
		{ "an empty name", "{\"instance\": {\"name\": \"\"}}",
		  "has 0 characters; 1 to 255" },
		{ "only punctuation", "{\"instance\": {\"name\": \"---\"}}",
		  "needs at least one letter or digit" },
		{ "a line break in a name", "{\"instance\": {\"name\": \"a\\nport 1\"}}",
		  "must not have control characters" },
		{ "a flavor that is a list", NAMED "\"flavorRef\": [1]}}",
		  "instance['flavorRef'] must be" },
		{ "a flavor with a fraction", NAMED "\"flavorRef\": 1.5}}",
		  "instance['flavorRef'] must be" },
		{ "an empty flavor", NAMED "\"flavorRef\": \"\"}}",
		  "instance['flavorRef'] is empty" },
		{ "a volume without size", NAMED "\"volume\": {}}}",
		  "instance['volume']['size'] is missing" },
		{ "size 0", NAMED "\"volume\": {\"size\": 0}}}", "1 or more" },
		{ "size -1", NAMED "\"volume\": {\"size\": -1}}}", "1 or more" },
		{ "a size in words", NAMED "\"volume\": {\"size\": \"abc\"}}}", "1 or more" },
		{ "a size with a fraction", NAMED "\"volume\": {\"size\": 1.5}}}", "1 or more" },
		{ "a datastore as a string", NAMED "\"datastore\": \"redis\"}}",
		  "instance['datastore'] must be an object" },
		{ "a misspelt key of the datastore", NAMED "\"datastore\": {\"verzion\": \"7\"}}}",
		  "no 'verzion'" },
		{ "two networks", NAMED "\"nics\": [{}, {}]}}", "at most one network" },
		{ "an empty network", NAMED "\"nics\": [{}]}}", "names no network" },
		{ "only an address", NAMED "\"nics\": [{\"ip_address\": \"10.0.0.1\"}]}}",
		  "names no network" },
		{ "a network that is no id", NAMED "\"nics\": [{\"net-id\": \"n\"}]}}",
		  "an id (UUID)" },
		{ "replica_of null", NAMED "\"replica_of\": null}}",
		  "instance['replica_of'] must be" },
		{ "replica_of a name", NAMED "\"replica_of\": \"m1\"}}", "must be an id (UUID)" },
		{ "no replicas", NAMED "\"replica_count\": 0}}", "less than the minimum of 1" },
		{ "true replicas", NAMED "\"replica_count\": true}}", "must be a whole number" },
		{ "replicas in a string", NAMED "\"replica_count\": \"2\"}}",
		  "must be a whole number" },
		{ "a made-up locality", NAMED "\"locality\": \"near\"}}", "'affinity' or" },
		{ "an empty zone", NAMED "\"availability_zone\": \"\"}}", "has 0 characters" },
		{ "a mask of 33 bits", NAMED "\"access\": {\"allowed_cidrs\": [\"10.0.0.0/33\"]}}}",
		  "IPv4 networks" },
		{ "a network twice",
		  NAMED "\"access\": {\"allowed_cidrs\": [\"10.0.0.0/8\", \"10.0.0.0/8\"]}}}",
		  "names a network twice" },
		{ "is_public in words", NAMED "\"access\": {\"is_public\": \"yes\"}}}",
		  "must be true or false" },
		{ "a restore point without backup", NAMED "\"restorePoint\": {}}}", "is missing" },
		{ "a user without password", NAMED "\"users\": [{\"name\": \"u\"}]}}",
		  "needs a 'password'" },
		{ "a durability that is none", NAMED "\"durability\": \"sync\"}}",
		  "instance['durability'] must be" },
		{ "a durability that is a number", NAMED "\"durability\": 1}}",
		  "instance['durability'] must be" },
		{ "a database without name", NAMED "\"databases\": [{}]}}", "needs a 'name'" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_arena a = {};
		struct trove_create c;
		struct err e = {};

		if (trove_read_create(cases[i].body, strlen(cases[i].body), &a, &c, &e)) {
			fail_msg("taken: %s", cases[i].says);
		}
		assert_int_equal(e.code, ERR_INVALID);
		if (strstr(e.msg, cases[i].message) == NULL) {
			fail_msg("%s: '%s' is not in '%s'", cases[i].says, cases[i].message, e.msg);
		}
	}
}

static void takes_what_clients_send(void **)
{
	static const char body[] =
		"{\"instance\": {\"name\": \"r\\u00e9plica 1\", \"flavorRef\": "
		"\"http://h/v1.0/t/flavors/2\", \"volume\": {\"size\": \"3\", \"type\": null}, "
		"\"datastore\": {\"type\": \"redis\", \"version\": \"7.0\"}, \"replica_of\": "
		"\"aaaaaaaa-0000-4000-8000-000000000040\", \"replica_count\": 2, \"nics\": "
		"[{\"net-id\": \"11111111-0000-4000-8000-000000000001\"}], \"slave_of\": 7, "
		"\"access\": {\"is_public\": false}}}";
	auto_arena a = {};
	struct trove_create c;
	struct err e = {};

	assert_ok(trove_read_create(body, strlen(body), &a, &c, &e), &e);
	assert_string_equal(c.flavor_ref, "2");
	assert_int_equal(c.volume_gb, 3);
	assert_string_equal(c.datastore, "redis");
	assert_true(c.has_replica_of);
	assert_int_equal(c.replica_count, 2);
	assert_false(c.wants_public);
	assert_false(c.has_nics_ip);
}

static void counts_characters_not_bytes(void **)
{
	auto_arena a = {};
	auto_str ok = {}, over = {};
	struct trove_create c;
	struct err e = {};

	str_append(&ok, "{\"instance\": {\"name\": \"a");
	for (int i = 0; i < 254; i++) {
		str_append(&ok, "\xc3\xa9");
	}
	str_append(&over, ok.p);
	str_append(&ok, "\"}}");
	str_append(&over, "\xc3\xa9\"}}");
	assert_ok(trove_read_create(ok.p, ok.len, &a, &c, &e), &e);
	assert_false(trove_read_create(over.p, over.len, &a, &c, &e));
}

static void reads_updates(void **)
{
	static const struct {
		const char *says, *body, *message; /* NULL: taken */
		enum trove_update_verb verb;
	} cases[] = {
		{ "a name", "{\"instance\": {\"name\": \"n\"}}", NULL, TROVE_PUT },
		{ "nothing: what clients send to detach a configuration", "{\"instance\": {}}",
		  NULL, TROVE_PUT },
		{ "a name and a detach", "{\"instance\": {\"name\": \"n\", \"replica_of\": null}}",
		  NULL, TROVE_PATCH },
		{ "slave_of by PATCH", "{\"instance\": {\"slave_of\": \"\"}}", NULL, TROVE_PATCH },
		{ "slave_of by PUT", "{\"instance\": {\"slave_of\": 5}}", NULL, TROVE_PUT },
		{ "access by PATCH", "{\"instance\": {\"access\": {}}}", "cannot be changed",
		  TROVE_PATCH },
		{ "two at once", "{\"instance\": {\"replica_of\": \"\", \"configuration\": null}}",
		  "Only one attribute", TROVE_PUT },
		{ "no instance", "{}", "'instance' is missing", TROVE_PUT },
		{ "a configuration that is a number", "{\"instance\": {\"configuration\": 5}}",
		  "instance['configuration'] must be", TROVE_PUT },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_arena a = {};
		struct trove_update u;
		struct err e = {};
		bool ok = trove_read_update(cases[i].body, strlen(cases[i].body), cases[i].verb, &a,
					    &u, &e);

		if (ok != (cases[i].message == NULL) ||
		    (!ok && strstr(e.msg, cases[i].message) == NULL)) {
			fail_msg("%s: %s", cases[i].says, ok ? "taken" : e.msg);
		}
	}
}

static void reads_actions(void **)
{
	static const struct {
		const char *body;
		bool ok;
		enum trove_action_kind kind;
	} cases[] = {
		{ "{\"restart\": {}}", true, TROVE_ACTION_RESTART },
		{ "{\"restart\": null}", false, 0 },
		{ "{\"restart\": []}", false, 0 },
		{ "{\"resize\": {\"flavorRef\": 2}}", true, TROVE_ACTION_RESIZE },
		{ "{\"resize\": {\"volume\": {\"size\": 2}}}", true, TROVE_ACTION_RESIZE },
		{ "{\"resize\": {\"volume\": 3}}", false, 0 },
		{ "{\"resize\": {\"volume\": {}}}", false, 0 },
		{ "{\"resize\": {}}", false, 0 },
		{ "{\"resize\": null}", false, 0 },
		{ "{\"promote_to_replica_source\": null}", true, TROVE_ACTION_PROMOTE },
		{ "{\"eject_replica_source\": {}}", true, TROVE_ACTION_EJECT },
		{ "{\"reset_status\": {}}", true, TROVE_ACTION_RESET_STATUS },
		{ "{\"start\": {\"accept_data_loss\": true}}", true, TROVE_ACTION_START },
		{ "{\"start\": {\"accept_data_loss\": 1}}", false, 0 },
		{ "{\"start\": {}}", false, 0 },
		{ "{\"adopt\": {}}", true, TROVE_ACTION_ADOPT },
		{ "{\"adopt\": true}", false, 0 },
		{ "{\"eject_replica_source\": null}", true, TROVE_ACTION_EJECT },
		{ "{\"eject_replica_source\": {\"accept_data_loss\": false}}", true,
		  TROVE_ACTION_EJECT },
		{ "{\"eject_replica_source\": {\"accept_data_loss\": \"yes\"}}", false, 0 },
		{ "{\"cancel\": {}}", true, TROVE_ACTION_CANCEL },
		{ "{\"cancel\": null}", false, 0 },
		{ "{\"attach\": {\"replica_of\": \"aaaaaaaa-0000-4000-8000-000000000040\"}}", true,
		  TROVE_ACTION_ATTACH },
		{ "{\"attach\": {\"replica_of\": \"x\"}}", false, 0 },
		{ "{\"attach\": {\"replica_of\": null}}", false, 0 },
		{ "{\"attach\": {}}", false, 0 },
		{ "{\"attach\": \"aaaaaaaa-0000-4000-8000-000000000040\"}", false, 0 },
		{ "{\"durability\": \"async\"}", true, TROVE_ACTION_DURABILITY },
		{ "{\"durability\": \"bounded(2)\"}", true, TROVE_ACTION_DURABILITY },
		{ "{\"durability\": {}}", false, 0 },
		{ "{\"delete_group\": {}}", true, TROVE_ACTION_DELETE_GROUP },
		{ "{\"delete_group\": true}", false, 0 },
		{ "{\"restart\": {}, \"promote_to_replica_source\": {}}", false, 0 },
		{ "{\"explode\": {}}", false, 0 },
		{ "{}", false, 0 },
		{ "[]", false, 0 },
		{ "{", false, 0 },
		{ "", false, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_arena a = {};
		struct trove_action x;
		struct err e = {};
		bool ok = trove_read_action(cases[i].body, strlen(cases[i].body), &a, &x, &e);

		if (ok != cases[i].ok || (ok && x.kind != cases[i].kind)) {
			fail_msg("%s: %s", cases[i].body, ok ? "taken" : e.msg);
		}
		assert_true(ok || e.code == ERR_INVALID);
	}
}

static void reads_and_writes_durability(void **)
{
	static const struct {
		const char *text;
		bool ok;
		uint32_t k;
	} cases[] = {
		{ "async", true, 0 },         { "bounded(1)", true, 1 },
		{ "bounded(63)", true, 63 },  { "bounded(64)", false, 0 },
		{ "bounded(0)", false, 0 },   { "bounded()", false, 0 },
		{ "bounded(-1)", false, 0 },  { "bounded(1", false, 0 },
		{ "bounded(", false, 0 },     { "bounded", false, 0 },
		{ "bounded(1.5)", false, 0 }, { "bounded( 1)", false, 0 },
		{ "Async", false, 0 },        { "", false, 0 },
		{ "bounded(1) ", false, 0 },  { "bounded(99999999999999999999)", false, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_json *j = json_string(cases[i].text);
		char text[TROVE_DURABILITY_BYTES];
		uint32_t k = 77;
		struct err e = {};
		bool ok = trove_read_durability(j, "durability", &k, &e);

		if (ok != cases[i].ok) {
			fail_msg("'%s': %s", cases[i].text, ok ? "taken" : e.msg);
		}
		if (ok) {
			assert_int_equal(k, cases[i].k);
			assert_string_equal(trove_durability_text(k, text, sizeof text),
					    cases[i].text);
		} else {
			assert_int_equal(k, 77);
			assert_int_equal(e.code, ERR_INVALID);
		}
	}
}

/* What an action says beside its name. */
static void reads_what_actions_say(void **)
{
	static const char eject[] = "{\"eject_replica_source\": {\"accept_data_loss\": true}}";
	static const char plain[] = "{\"eject_replica_source\": {}}";
	static const char attach[] =
		"{\"attach\": {\"replica_of\": \"aaaaaaaa-0000-4000-8000-000000000040\"}}";
	auto_arena a = {};
	struct trove_action x;
	struct err e = {};

	assert_ok(trove_read_action(eject, strlen(eject), &a, &x, &e), &e);
	assert_true(x.accept_data_loss);
	assert_ok(trove_read_action(plain, strlen(plain), &a, &x, &e), &e);
	assert_false(x.accept_data_loss);
	assert_ok(trove_read_action(attach, strlen(attach), &a, &x, &e), &e);
	assert_string_equal(id_text(x.replica_of).s, "aaaaaaaa-0000-4000-8000-000000000040");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_creates_with_a_sentence),
		cmocka_unit_test(takes_what_clients_send),
		cmocka_unit_test(counts_characters_not_bytes),
		cmocka_unit_test(reads_updates),
		cmocka_unit_test(reads_actions),
		cmocka_unit_test(reads_and_writes_durability),
		cmocka_unit_test(reads_what_actions_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
