/*
 * What a version can do: parsing, the rows, and who can feed whom as it was tried on real servers.
 */
#include "core/versions.h"

#include "../test.h"

static struct server_version ver(const char *text)
{
	bool valkey = text[0] == 'v';
	struct server_version v;

	assert_true(version_parse(valkey ? "valkey" : "redis", text + valkey, &v));
	return v;
}

static void versions_parse(void **)
{
	static const char *const bad[] = { "", "7", "7.", ".0", "7.0.", "7.0.x", "7.0x", "a.b", "7.0.1.2",
					   "70000.1", "-1.0", " 7.0" };
	struct server_version v;

	assert_true(version_parse("redis", "7.0.15", &v));
	assert_int_equal(v.kind, SERVER_REDIS);
	assert_int_equal(v.major * 10000 + v.minor * 100 + v.patch, 70015);
	assert_true(version_parse("valkey", "8.1", &v));
	assert_int_equal(v.kind, SERVER_VALKEY);
	assert_int_equal(v.patch, 0);
	assert_true(version_parse("redis", "8.0-m01", &v));
	assert_false(version_parse("mysql", "8.0", &v));
	assert_false(version_parse("redis", NULL, &v));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		printf("# '%s'\n", bad[i]);
		assert_false(version_parse("redis", bad[i], &v));
	}
}

static void support_begins_where_it_was_tried(void **)
{
	assert_true(version_supported(ver("2.8.0")));
	assert_false(version_supported(ver("2.6.17")));
	assert_true(version_supported(ver("9.9.9")));
	assert_true(version_supported(ver("v7.2.4")));
	assert_false(version_supported(ver("v7.1.0")));
}

/* One row of columns per version: ann psync2 acl sub pause multi maxr */
static void rules_by_version(void **)
{
	static const struct {
		const char *version;
		bool announce, psync2, acl, sub, pause, multi, max_replicas;
	} rows[] = {
		{ "2.8.24", 0, 0, 0, 0, 0, 0, 0 }, { "3.0.7", 0, 0, 0, 0, 0, 0, 0 },
		{ "3.2.13", 1, 0, 0, 0, 0, 0, 0 }, { "4.0.14", 1, 1, 0, 0, 0, 0, 0 },
		{ "5.0.14", 1, 1, 0, 0, 0, 0, 0 }, { "6.0.20", 1, 1, 1, 0, 0, 0, 0 },
		{ "6.2.16", 1, 1, 1, 0, 1, 0, 0 }, { "7.0.15", 1, 1, 1, 1, 1, 1, 1 },
		{ "7.4.1", 1, 1, 1, 1, 1, 1, 1 },  { "8.4.0", 1, 1, 1, 1, 1, 1, 1 },
		{ "v7.2.5", 1, 1, 1, 1, 1, 1, 1 }, { "v9.1.0", 1, 1, 1, 1, 1, 1, 1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct version_rules *r = version_rules(ver(rows[i].version));

		printf("# %s\n", rows[i].version);
		assert_int_equal(r->announce, rows[i].announce);
		assert_int_equal(r->protected_mode, rows[i].announce);
		assert_int_equal(r->psync2, rows[i].psync2);
		assert_int_equal(r->acl, rows[i].acl);
		assert_int_equal(r->client_subcommands, rows[i].sub);
		assert_int_equal(r->pause_writes, rows[i].pause);
		assert_int_equal(r->multi_part_aof, rows[i].multi);
		assert_int_equal(r->diskless_max_replicas, rows[i].max_replicas);
		assert_int_equal(r->agent_acl != NULL, rows[i].acl);
		assert_int_equal(r->repl_acl != NULL, rows[i].acl);
		assert_int_equal(r->customer_acl != NULL, rows[i].acl);
	}
}

/* The tried matrix: row feeds column. */
static void who_can_feed_whom(void **)
{
	static const char *const v[] = { "2.8", "3.2", "4.0", "5.0", "6.0", "6.2", "7.0", "7.4", "8.0", "v8.0", "v8.1" };
	static const char *const feeds[] = {
		/*          2.8 3.2 4.0 5.0 6.0 6.2 7.0 7.4 8.0 v8.0 v8.1 */
		/* 2.8 */  "y   y   y   y   y   y   y   y   y   y    y",
		/* 3.2 */  "n   y   y   y   y   y   y   y   y   y    y",
		/* 4.0 */  "n   n   y   y   y   y   y   y   y   y    y",
		/* 5.0 */  "n   n   n   y   y   y   y   y   y   y    y",
		/* 6.0 */  "n   n   n   y   y   y   y   y   y   y    y",
		/* 6.2 */  "n   n   n   y   y   y   y   y   y   y    y",
		/* 7.0 */  "n   n   n   n   n   n   y   y   y   y    y",
		/* 7.4 */  "n   n   n   n   n   n   n   y   y   n    n",
		/* 8.0 */  "n   n   n   n   n   n   n   y   y   n    n",
		/* v8.0 */ "n   n   n   n   n   n   n   y   y   y    y",
		/* v8.1 */ "n   n   n   n   n   n   n   y   y   y    y",
	};

	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		const char *c = feeds[i];

		for (size_t j = 0; j < ARRAY_LEN(v); j++, c += strspn(c + 1, " ") + 1) {
			printf("# %s feeds %s: %c\n", v[i], v[j], *c);
			assert_int_equal(version_can_feed(ver(v[i]), ver(v[j])), *c == 'y');
		}
	}
	assert_true(version_can_feed(ver("7.2"), ver("v8.0")));
	assert_true(version_can_feed(ver("v8.1"), ver("v9.0")));
	assert_false(version_can_feed(ver("v9.0"), ver("v8.1")));
	assert_false(version_can_feed(ver("7.4"), ver("v9.0")));
	assert_false(version_can_feed(ver("v9.0"), ver("8.0")));
}

static void a_version_nobody_tried_feeds_only_its_equals(void **)
{
	assert_true(version_can_feed(ver("8.6"), ver("8.6")));
	assert_true(version_can_feed(ver("8.6"), ver("9.0")));
	assert_false(version_can_feed(ver("8.6"), ver("8.0")));
	assert_false(version_can_feed(ver("8.6"), ver("v9.0")));
	assert_true(version_can_feed(ver("8.0"), ver("8.6")));
	assert_false(version_can_feed(ver("v9.1"), ver("v9.0")));
}

/* What each user must and must not have, by the words of its rules. */
static void acl_rules(void **)
{
	/* what the fence and its end send: whole commands where 6.0 knows no other */
	static const char *const fence_words[][2] = {
		{ "+config", "+config|get" },   { "+config", "+config|set" },
		{ "+client", "+client|pause" }, { "+client", "+client|unpause" },
		{ "+client", "+client|kill" },
	};
	static const char *const with_acl[] = { "6.0", "6.2", "7.0", "7.2", "8.0", "v8.0", "v9.0" };

	for (size_t i = 0; i < ARRAY_LEN(with_acl); i++) {
		const struct version_rules *r = version_rules(ver(with_acl[i]));
		bool channels = i > 0; /* 6.0 has none and refuses the word */

		assert_non_null(strstr(r->agent_acl, "-@all"));
		assert_non_null(strstr(r->agent_acl, "+slaveof"));
		for (size_t w = 0; w < ARRAY_LEN(fence_words); w++) {
			assert_non_null(strstr(r->agent_acl, fence_words[w][r->pause_writes]));
		}
		assert_null(strstr(r->agent_acl, "~*"));
		assert_non_null(strstr(r->repl_acl, "-@all +psync"));
		assert_null(strstr(r->repl_acl, "+info"));
		assert_non_null(strstr(r->customer_acl, "+@all -@admin -@dangerous"));
		assert_null(strstr(r->customer_acl, "+config"));
		assert_null(strstr(r->customer_acl, "slaveof"));
		assert_null(strstr(r->customer_acl, "client|kill"));
		assert_int_equal(strstr(r->customer_acl, "&*") != NULL, channels);
		assert_int_equal(strstr(r->agent_acl, "resetchannels") != NULL, channels);
		assert_int_equal(strstr(r->customer_acl, "sort_ro") != NULL, i >= 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions_parse),
		cmocka_unit_test(support_begins_where_it_was_tried),
		cmocka_unit_test(rules_by_version),
		cmocka_unit_test(who_can_feed_whom),
		cmocka_unit_test(a_version_nobody_tried_feeds_only_its_equals),
		cmocka_unit_test(acl_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
