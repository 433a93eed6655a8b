/*
 * The store on etcd as the registry sees it: what is acknowledged is there, what conflicts leaves
 * no trace, followers are given every commit. One etcd for all of them, a prefix each.
 */
#include "etcd_scene.h"

#include "base/clock.h"
#include "io/listen.h"

static struct cluster etcd;

static int start_etcd(void **)
{
	etcd = cluster_new(1, NULL);
	return 0;
}

static int stop_etcd(void **)
{
	cluster_done(&etcd);
	return 0;
}

static struct node *node(struct scene *s, const char *prefix, const char *self)
{
	return node_new(s, &(struct node_spec){ .endpoints = cluster_urls(&etcd),
						.prefix = prefix,
						.self = self });
}

static struct node *leader(struct scene *s, const char *prefix)
{
	struct node *n = node(s, prefix, "http://a");

	run_until(n, leads, true);
	return n;
}

static void committed_and_loaded_again(void **)
{
	for (int life = 0; life < 2; life++) {
		auto_scene *s = scene_new();
		struct node *n = leader(s, "/again/");

		if (life == 0) {
			assert_string_equal(content(n, ""), "");
			put(n, "a/1", "one");
			put(n, "b/1", "two");
			put(n, "a/2", "three");
			run_until(n, results, 3);
			assert_string_equal(str_cstr(&n->results),
					    "committed committed committed ");
		} else {
			assert_string_equal(str_cstr(&n->rows), "a/1=one a/2=three b/1=two ");
			assert_string_equal(str_cstr(&n->changes), "");
		}
		assert_string_equal(content(n, "a/"), "a/1=one a/2=three ");
		assert_string_equal(content(n, ""), "a/1=one a/2=three b/1=two ");
		assert_string_equal(content(n, "c"), "");
		assert_string_equal(content(n, "l"), ""); /* the store's own keys are no rows */
		assert_string_equal(content(n, "newest"), "");
	}
}

static void all_or_nothing(void **)
{
	auto_scene *s = scene_new();
	struct node *n = leader(s, "/all/");
	const struct store_op both[] = {
		{ .key = "a", .value = "1", .len = 1 },
		{ .key = "b", .value = "1", .len = 1, .expect = STORE_ABSENT },
	};
	const struct store_op three[] = {
		{ .key = "a", .value = "2", .len = 1, .expect = STORE_REVISION },
		{ .key = "c", .value = "2", .len = 1 },
		{ .key = "b", .expect = STORE_ABSENT },
	};
	struct store_op ops[3];

	commit(n, both, 2);
	run_until(n, results, 1);
	assert_string_equal(content(n, ""), "a=1 b=1 ");
	memcpy(ops, three, sizeof ops);
	ops[0].revision = n->revision;
	commit(n, ops, 3);
	run_until(n, results, 2);
	assert_int_equal(n->outcome, STORE_CONFLICT);
	assert_int_equal(n->err.code, ERR_CONFLICT);
	assert_non_null(strstr(n->err.msg, "'b'"));
	assert_string_equal(content(n, ""), "a=1 b=1 ");
	run_until(n, seen, (int64_t)ops[0].revision);
	assert_string_equal(str_cstr(&n->changes), "[a=1 b=1] ");
	assert_true(store_leads(n->store));
}

static void expectations(void **)
{
	enum { ITS = 1, OLDER, NEWER, ZERO };
	static const struct {
		const char *says, *key;
		enum store_expect expect;
		int revision;
		enum store_outcome want;
	} cases[] = {
		{ "anything, there", "there", STORE_ANY, 0, STORE_COMMITTED },
		{ "anything, not there", "new", STORE_ANY, 0, STORE_COMMITTED },
		{ "absent, there", "there", STORE_ABSENT, 0, STORE_CONFLICT },
		{ "absent, not there", "new", STORE_ABSENT, 0, STORE_COMMITTED },
		{ "its revision", "there", STORE_REVISION, ITS, STORE_COMMITTED },
		{ "an older revision", "there", STORE_REVISION, OLDER, STORE_CONFLICT },
		{ "a newer revision", "there", STORE_REVISION, NEWER, STORE_CONFLICT },
		{ "a revision, not there", "new", STORE_REVISION, ITS, STORE_CONFLICT },
	};
	auto_scene *s = scene_new();
	struct node *n = leader(s, "/expect/");

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		for (int deletes = 0; deletes < 2; deletes++) {
			struct store_op op = { .key = cases[i].key,
					       .value = deletes ? NULL : "y",
					       .len = deletes ? 0 : 1,
					       .expect = cases[i].expect };
			int before = n->nresults;

			print_message("# %s: %s\n", deletes ? "delete" : "put", cases[i].says);
			commit(n, &(struct store_op){ .key = "new" }, 1);
			put(n, "there", "x");
			run_until(n, results, before + 2);
			op.revision = cases[i].revision == ITS     ? n->revision
				      : cases[i].revision == OLDER ? n->revision - 1
				      : cases[i].revision == NEWER ? n->revision + 1
								   : 0;
			commit(n, &op, 1);
			run_until(n, results, before + 3);
			assert_int_equal(n->outcome, cases[i].want);
		}
	}
}

/* Many at once, on many connections: told in order, and one key's in order too. */
static void asked_for_at_once(void **)
{
	enum { N = 120 };
	auto_scene *s = scene_new();
	struct node *n = leader(s, "/once/");
	auto_str want = {}, results_wanted = {};
	const struct store_op once = {
		.key = "once", .value = "1", .len = 1, .expect = STORE_ABSENT
	};

	for (int i = 0; i < N; i++) {
		char key[20], value[20];

		snprintf(key, sizeof key, "k%03d", i);
		snprintf(value, sizeof value, "%d", i);
		put(n, key, value);
		put(n, "same", value);
		str_printf(&want, "%s=%s ", key, value);
		str_append(&results_wanted, "committed committed ");
		if (i % 40 == 0) {
			commit(n, &once, 1);
			str_append(&results_wanted, i == 0 ? "committed " : "conflict ");
		}
	}
	run_until(n, results, 2 * N + 3);
	assert_string_equal(str_cstr(&n->results), str_cstr(&results_wanted));
	assert_string_equal(content(n, "k"), str_cstr(&want));
	assert_string_equal(content(n, "same"), "same=119 ");
	run_until(n, seen, (int64_t)n->revision);
	assert_int_equal(n->nchanges, 2 * N + 1);
}

static void keep_result(void *arg, const struct err *e)
{
	struct node *n = arg;

	assert_int_equal(e->code, ERR_NONE);
	n->nloads++;
	str_append(&n->results, "loaded ");
}

static bool keep_row(void *arg, const char *key, const char *value, size_t, uint64_t, struct err *)
{
	struct node *n = arg;

	str_printf(&n->results, "%s=%s ", key, value);
	return true;
}

static void load_keeps_its_place(void **)
{
	auto_scene *s = scene_new();
	struct node *n = leader(s, "/place/");

	put(n, "a", "1");
	store_load(n->store, "a", keep_row, keep_result, n);
	run_until(n, results, 1);
	put(n, "b", "1");
	put(n, "b", "2");
	store_load(n->store, "b", keep_row, keep_result, n);
	put(n, "c", "3");
	run_until(n, results, 4);
	content(n, "");
	assert_non_null(strstr(str_cstr(&n->results), "b=2 loaded "));
	assert_non_null(strstr(str_cstr(&n->results), "a=1 loaded "));
}

static void values_of_any_bytes(void **)
{
	auto_scene *s = scene_new();
	struct node *n = leader(s, "/any/");
	auto_str big = {}, want = {}, larger = {};

	while (big.len < 200 << 10) {
		str_append(&big, "{\"name\": \"d\xc3\xbcnn \xe2\x82\xac \xf0\x9f\x8c\xb3\"}\n");
	}
	commit(n,
	       (struct store_op[]){ { .key = "empty", .value = "", .len = 0 },
				    { .key = "nul", .value = "a\0b", .len = 3 },
				    { .key = "sch\xc3\xb6n/\xe2\x82\xac", .value = "1", .len = 1 },
				    { .key = "big", .value = big.p, .len = big.len } },
	       4);
	run_until(n, results, 1);
	assert_int_equal(n->outcome, STORE_COMMITTED);
	str_printf(&want, "big=%s ", big.p);
	assert_string_equal(content(n, "big"), str_cstr(&want));
	assert_string_equal(content(n, "empty"), "empty= ");
	assert_string_equal(content(n, "sch\xc3\xb6n/"), "sch\xc3\xb6n/\xe2\x82\xac=1 ");
	content(n, "nul");
	assert_int_equal(n->rows.len, strlen("nul=") + 3 + 1);
	run_until(n, seen, (int64_t)n->revision);
	assert_non_null(strstr(str_cstr(&n->changes), str_cstr(&big)));

	/* More than etcd takes: nothing is done, and the next one is. */
	while (larger.len < 2 << 20) {
		str_append_mem(&larger, big.p, big.len);
	}
	put(n, "larger", larger.p);
	put(n, "small", "1");
	run_until(n, results, 3);
	assert_string_equal(str_cstr(&n->results), "committed failed committed ");
	assert_string_equal(content(n, "larger"), "");
}

static void batches(void **)
{
	enum { MOST = 127 };
	auto_scene *s = scene_new();
	struct node *n = leader(s, "/batch/");
	struct store_op ops[MOST + 1];
	char keys[MOST + 1][8];

	for (size_t i = 0; i <= MOST; i++) {
		snprintf(keys[i], sizeof keys[i], "k%03zu", i);
		ops[i] = (struct store_op){
			.key = keys[i], .value = "v", .len = 1, .expect = STORE_ABSENT
		};
	}
	commit(n, ops, MOST + 1);
	run_until(n, results, 1);
	assert_int_equal(n->outcome, STORE_FAILED);
	assert_int_equal(n->err.code, ERR_OVER_LIMIT);
	assert_string_equal(content(n, ""), "");
	commit(n, ops, MOST);
	run_until(n, results, 2);
	assert_int_equal(n->outcome, STORE_COMMITTED);
	assert_int_equal(strlen(content(n, "")), MOST * strlen("k000=v "));
	run_until(n, seen, (int64_t)n->revision);
	assert_int_equal(n->nchanges, 1); /* whole */
	commit(n, ops, MOST);
	run_until(n, results, 3);
	assert_int_equal(n->outcome, STORE_CONFLICT);
}

/* More rows than a page; every commit of the leader reaches the other, in order and whole. */
static void two_stores(void **)
{
	enum { ROWS = 300 };
	auto_scene *s = scene_new();
	struct node *a = leader(s, "/two/");
	auto_str want = {};

	for (int i = 0; i < ROWS; i++) {
		char key[20];

		snprintf(key, sizeof key, "row/%03d", i);
		put(a, key, "x");
		str_printf(&want, "%s=x ", key);
	}
	run_until(a, results, ROWS);
	struct node *b = node(s, "/two/", "http://b");
	assert_string_equal(str_cstr(&b->rows), str_cstr(&want));
	assert_string_equal(content(b, ""), str_cstr(&want));
	run_until(b, follows, 0);
	assert_string_equal(b->stands.leader, "http://a");
	assert_int_equal(b->stands.term, a->stands.term);

	commit(a,
	       (struct store_op[]){ { .key = "row/000" },
				    { .key = "row/001", .value = "y", .len = 1 },
				    { .key = "none" } },
	       3);
	run_until(a, results, ROWS + 1); /* without a common key they may change places */
	put(a, "new", "1");
	commit(a, &(struct store_op){ .key = "new" }, 1);
	run_until(a, results, ROWS + 3);
	run_until(b, seen, (int64_t)a->revision);
	assert_string_equal(str_cstr(&b->changes), "[row/000- row/001=y] [new=1] [new-] ");

	/* Only who leads commits. */
	put(b, "new", "2");
	run_until(b, results, 1);
	assert_int_equal(b->outcome, STORE_CONFLICT);
	assert_string_equal(content(a, "new"), "");
	assert_true(leads(a, true));
	assert_int_equal(a->nstands, 2); /* current, leads */
}

/* Import and export: no leader needed, none tolerated. */
static void bystander(void **)
{
	auto_scene *s = scene_new();
	struct node *n = node_new(s, &(struct node_spec){ .endpoints = cluster_urls(&etcd),
							  .prefix = "/by/",
							  .self = "import",
							  .bystander = true });

	put(n, "a", "1");
	run_until(n, results, 1);
	assert_int_equal(n->outcome, STORE_COMMITTED);
	assert_string_equal(content(n, ""), "a=1 ");
	assert_false(store_leads(n->store));
	struct node *a = leader(s, "/by/");
	assert_string_equal(str_cstr(&a->rows), "a=1 ");
	put(n, "a", "2");
	run_until(n, results, 2);
	assert_int_equal(n->outcome, STORE_CONFLICT);
	assert_non_null(strstr(n->err.msg, "leads"));
	assert_string_equal(content(n, ""), "a=1 ");
}

static void refused_configurations(void **)
{
	static const struct {
		const char *says, *endpoints, *prefix;
		int64_t lease_ms;
		const char *want;
	} cases[] = {
		{ "no endpoint", " , ", "/t/", 5000, "no etcd endpoint" },
		{ "no URL", "10.0.0.1:2379", "/t/", 5000, "no http:// or https://" },
		{ "a URL of nothing", "http://", "/t/", 5000, "no http:// or https://" },
		{ "a password in it", "http://u:secret@h:1", "/t/", 5000, "no user and password" },
		{ "no prefix", "http://h:1", "", 5000, "'/NAME/'" },
		{ "half a prefix", "http://h:1", "/tanist", 5000, "'/NAME/'" },
		{ "too short a lease", "http://h:1", "/t/", 1999, "at least 2000" },
	};
	struct loop *l = loop_new();

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct store *st = NULL;
		struct err e = {};

		print_message("# %s\n", cases[i].says);
		assert_false(store_etcd_open(
			l,
			&(struct store_etcd_config){ .endpoints = cases[i].endpoints,
						     .prefix = cases[i].prefix,
						     .user = "",
						     .ca_file = "",
						     .self = "",
						     .lease_ms = cases[i].lease_ms },
			&st, &e));
		assert_int_equal(e.code, ERR_INVALID);
		assert_non_null(strstr(e.msg, cases[i].want));
		assert_null(strstr(e.msg, "secret"));
	}
	loop_free(l);
}

static bool no_row(void *, const char *, const char *, size_t, uint64_t, struct err *)
{
	return true;
}

static void count_load(void *arg, const struct err *e)
{
	struct node *n = arg;

	n->nloads++;
	n->err = *e;
}

/* At any moment: everybody who waits is told, nothing is lost (the sanitizer looks). */
static void freed_at_any_moment(void **)
{
	const struct node_spec here = { .endpoints = cluster_urls(&etcd),
					.prefix = "/freed/",
					.self = "http://a",
					.waits = true };
	struct node_spec nowhere = here;

	nowhere.endpoints = "http://127.0.0.1:1,http://127.0.0.1:2";
	for (int ms = -1; ms < 100; ms = ms < 10 ? ms + 1 : ms + 20) {
		for (int reachable = 0; reachable < 2; reachable++) {
			auto_scene *s = scene_new();
			struct node *n = node_new(s, reachable ? &here : &nowhere);

			store_load(n->store, "", no_row, count_load, n);
			store_load(n->store, "x", no_row, count_load, n);
			put(n, "k", "v");
			if (ms >= 0) {
				run_ms(s, ms);
			}
			put(n, "k", "w");
			node_free(n);
			assert_int_equal(n->nloads, 2);
			assert_int_equal(n->nresults, 2);
		}
	}
	/* Commits under way. */
	auto_scene *s = scene_new();
	struct node *n = leader(s, "/freed/");
	for (int i = 0; i < 100; i++) {
		put(n, i % 2 == 0 ? "k" : "l", "v");
	}
	run_ms(s, 1);
	node_free(n);
	assert_int_equal(n->nresults, 100);
	store_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(committed_and_loaded_again),
		cmocka_unit_test(all_or_nothing),
		cmocka_unit_test(expectations),
		cmocka_unit_test(asked_for_at_once),
		cmocka_unit_test(load_keeps_its_place),
		cmocka_unit_test(values_of_any_bytes),
		cmocka_unit_test(batches),
		cmocka_unit_test(two_stores),
		cmocka_unit_test(bystander),
		cmocka_unit_test(refused_configurations),
		cmocka_unit_test(freed_at_any_moment),
	};

	return cmocka_run_group_tests(tests, start_etcd, stop_etcd);
}
