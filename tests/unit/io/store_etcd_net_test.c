/*
 * What may happen to etcd and on the way to it: watches that end or fall silent, history that is
 * gone, members that die, logins that are forgotten, certificates.
 */
#include "etcd_scene.h"

#include <sys/wait.h>

#include "base/clock.h"

static struct node *node(struct scene *s, const char *urls, const char *self, int64_t lease_ms)
{
	return node_new(s, &(struct node_spec){ .endpoints = urls,
						.prefix = "/t/",
						.self = self,
						.lease_ms = lease_ms });
}

static struct node *leader(struct scene *s, const char *urls, int64_t lease_ms)
{
	struct node *n = node(s, urls, "http://a", lease_ms);

	run_until(n, leads, true);
	return n;
}

static void remove_key(struct node *n, const char *key)
{
	commit(n, &(struct store_op){ .key = key }, 1);
}

static void compact(const struct cluster *c, uint64_t revision)
{
	char body[60];

	snprintf(body, sizeof body, "{\"revision\":\"%llu\"}", (unsigned long long)revision);
	assert_non_null(strstr(member_ask(&c->members[0], "/v3/kv/compaction", body), "header"));
}

/* Cut, and back: the watch goes on where it ended. */
static void watch_cut(void **)
{
	auto_cluster c = cluster_new(1, NULL);
	auto_scene *s = scene_new();
	struct proxy *p = proxy_new(c.members[0].port);
	struct node *a = leader(s, c.members[0].url, SEC(30));
	struct node *b = node(s, proxy_url(p), "http://b", SEC(30));

	proxy_cut(p, true);
	put(a, "k", "1");
	put(a, "k", "2");
	run_until(a, results, 2);
	run_ms(s, 300);
	assert_string_equal(str_cstr(&b->changes), "");
	proxy_cut(p, false);
	run_until(b, seen, (int64_t)a->revision);
	assert_string_equal(str_cstr(&b->changes), "[k=1] [k=2] ");
	assert_true(follows(b, 0));
	node_free(b);
	proxy_free(p);
}

/* Compacted while the watch was cut: what differs is given, once, and no more. */
static void history_gone(void **)
{
	auto_cluster c = cluster_new(1, NULL);
	auto_scene *s = scene_new();
	struct proxy *p = proxy_new(c.members[0].port);
	struct node *a = leader(s, c.members[0].url, SEC(30));

	put(a, "same", "1");
	put(a, "changes", "1");
	put(a, "goes", "1");
	put(a, "goes-and-comes", "1");
	run_until(a, results, 4);
	struct node *b = node(s, proxy_url(p), "http://b", SEC(30));
	put(a, "goes-too", "1");
	run_until(a, results, 5);
	run_until(b, seen, (int64_t)a->revision);
	str_clear(&b->changes);

	proxy_cut(p, true);
	put(a, "changes", "2");
	remove_key(a, "goes");
	remove_key(a, "goes-too");
	remove_key(a, "goes-and-comes");
	put(a, "goes-and-comes", "1");
	put(a, "comes", "1");
	put(a, "never", "seen");
	remove_key(a, "never");
	run_until(a, results, 13);
	compact(&c, a->revision);
	proxy_cut(p, false);
	run_until(b, seen, (int64_t)a->revision);
	const char *one = str_cstr(&b->changes);
	assert_int_equal(b->nchanges, 2); /* goes-too, and then all at once */
	assert_true(str_starts(one, "[changes=2 comes=1 goes-and-comes=1 "));
	assert_true(strstr(one, " goes- goes-too-") != NULL ||
		    strstr(one, " goes-too- goes-") != NULL);
	assert_null(strstr(one, "same"));
	assert_null(strstr(one, "never"));
	assert_true(follows(b, 0));

	str_clear(&b->changes); /* and on it goes */
	put(a, "goes", "2");
	run_until(a, results, 14);
	run_until(b, seen, (int64_t)a->revision);
	assert_string_equal(str_cstr(&b->changes), "[goes=2] ");
	node_free(b);
	proxy_free(p);
}

/* A connection that is there and brings nothing: noticed as soon as there is news. */
static void watch_silent(void **)
{
	auto_cluster c = cluster_new(1, NULL);
	auto_scene *s = scene_new();
	struct proxy *p = proxy_new(c.members[0].port);
	struct node *a = leader(s, c.members[0].url, SEC(3));
	struct node *b = node(s, proxy_url(p), "http://b", SEC(3));

	run_until(b, follows, 0);
	run_ms(s, 100);
	proxy_freeze(p);
	put(a, "k", "1");
	run_until(a, results, 1);
	run_until(b, seen, (int64_t)a->revision);
	assert_string_equal(str_cstr(&b->changes), "[k=1] ");

	proxy_freeze(p); /* the leader goes, and nobody tells */
	node_free(a);
	run_until(b, leads, true);
	node_free(b);
	proxy_free(p);
}

/* The store was put back from an older copy (here: an empty one): what differs is given. */
static void store_put_back(void **)
{
	auto_cluster c = cluster_new(1, NULL);
	auto_scene *s = scene_new();
	struct err e;

	node_free(leader(s, c.members[0].url, SEC(3))); /* later terms are higher */
	struct node *a = leader(s, c.members[0].url, SEC(3));
	for (int i = 0; i < 10; i++) {
		put(a, "k", "1");
	}
	run_until(a, results, 10);
	run_until(a, seen, (int64_t)a->revision);
	member_kill(&c, 0);
	assert_ok(dir_remove(path_in(&c.dir, "data-m0").s, &e), &e);
	a->last_change = 0;
	str_clear(&a->changes);
	member_start(&c, 0);
	run_until(a, seen, 1);
	assert_string_equal(str_cstr(&a->changes), "[k-] ");
	run_until(a, leads, true);
	assert_string_equal(content(a, ""), "");
	put(a, "k", "2");
	run_until(a, results, 11);
	assert_int_equal(a->outcome, STORE_COMMITTED);
	assert_string_equal(content(a, ""), "k=2 ");
}

static void members_killed(void **)
{
	auto_cluster c = cluster_new(3, NULL);
	auto_scene *s = scene_new();
	struct node *a = leader(s, cluster_urls(&c), SEC(6));
	struct node *b = node(s, cluster_urls(&c), "http://b", SEC(6));

	run_until(b, follows, 0);
	member_kill(&c, 0); /* the one that both use; etcd's leader or not */
	for (int i = 0; a->outcome != STORE_COMMITTED || i == 0; i++) {
		assert_true(i < 50);
		put(a, "one-less", "1"); /* unknown or failed, while etcd elects */
		run_until(a, results, a->nresults + 1);
	}
	run_until(b, seen, (int64_t)a->revision);
	run_until(a, leads, true);
	run_until(b, follows, 0);

	member_kill(&c, 1);
	run_until(a, leads, false);
	run_until(a, current, false);
	run_until(b, current, false);
	assert_false(b->stands.leads);
	put(a, "nobody", "1");
	run_until(a, results, a->nresults + 1);
	assert_int_equal(a->outcome, STORE_CONFLICT);

	member_start(&c, 1);
	struct node *next = NULL;
	for (int64_t limit_ms = clock_ms() + PATIENCE_MS; next == NULL; run_ms(s, 20)) {
		assert_true(clock_ms() < limit_ms);
		next = store_leads(a->store) ? a : store_leads(b->store) ? b : NULL;
	}
	run_until(next == a ? b : a, follows, 0);
	put(next, "again", "1");
	run_until(next, results, next->nresults + 1);
	assert_int_equal(next->outcome, STORE_COMMITTED);
	assert_string_equal(content(next == a ? b : a, "again"), "again=1 ");
}

/* ---- login ---- */

static void set_up_login(const struct cluster *c)
{
	static const char *const steps[][2] = {
		{ "/v3/auth/user/add", "{\"name\":\"root\",\"password\":\"r\"}" },
		{ "/v3/auth/role/add", "{\"name\":\"root\"}" },
		{ "/v3/auth/user/grant", "{\"user\":\"root\",\"role\":\"root\"}" },
		{ "/v3/auth/user/add", "{\"name\":\"tanist\",\"password\":\"right\"}" },
		{ "/v3/auth/role/add", "{\"name\":\"ours\"}" },
		{ "/v3/auth/user/grant", "{\"user\":\"tanist\",\"role\":\"ours\"}" },
	};
	auto_str grant = {};

	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		assert_non_null(
			strstr(member_ask(&c->members[0], steps[i][0], steps[i][1]), "header"));
	}
	str_printf(&grant,
		   "{\"name\":\"ours\",\"perm\":{\"permType\":\"READWRITE\",\"key\":\"%s\","
		   "\"range_end\":\"%s\"}}",
		   b64("/t/"), b64("/t0"));
	member_ask(&c->members[0], "/v3/auth/role/grant", str_cstr(&grant));
	assert_non_null(strstr(member_ask(&c->members[0], "/v3/auth/enable", "{}"), "header"));
}

static void login(void **)
{
	static const char *const options[] = { "--auth-token-ttl", "1", NULL };
	auto_cluster c = cluster_new(1, options);
	auto_scene *s = scene_new();
	struct node_spec spec = { .endpoints = cluster_urls(&c),
				  .prefix = "/t/",
				  .self = "http://a",
				  .lease_ms = SEC(9), /* silent for longer than a token lives */
				  .user = "tanist",
				  .password = "right" };

	set_up_login(&c);
	struct node *a = node_new(s, &spec);
	run_until(a, leads, true);
	put(a, "k", "1");
	run_until(a, results, 1);
	assert_int_equal(a->outcome, STORE_COMMITTED);
	run_ms(s, 2500); /* the token is forgotten */
	put(a, "k", "2");
	put(a, "l", "2");
	run_until(a, results, 3);
	assert_string_equal(str_cstr(&a->results), "committed committed committed ");
	run_until(a, seen, (int64_t)a->revision);

	member_kill(&c, 0); /* all tokens are forgotten, that of the watch as well */
	member_start(&c, 0);
	cluster_wait(&c, 0);
	run_until(a, leads, true);
	put(a, "k", "3");
	run_until(a, results, 4);
	run_until(a, seen, (int64_t)a->revision);
	assert_string_equal(content(a, ""), "k=3 l=2 ");
}

static void refused_logins(void **)
{
	static const struct {
		const char *says, *user, *password, *prefix, *want;
	} cases[] = {
		{ "wrong password", "tanist", "wrong", "/t/", "invalid user ID or password" },
		{ "nobody", "no-such", "right", "/t/", "invalid user ID or password" },
		{ "no login", "", "", "/t/", "user name is empty" },
		{ "another's prefix", "tanist", "right", "/other/", "permission denied" },
	};
	auto_cluster c = cluster_new(1, NULL);

	set_up_login(&c);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_scene *s = scene_new();
		struct node_spec spec = { .endpoints = cluster_urls(&c),
					  .prefix = cases[i].prefix,
					  .self = "http://a",
					  .lease_ms = SEC(2),
					  .user = cases[i].user,
					  .password = cases[i].password,
					  .bystander = true,
					  .waits = true };

		print_message("# %s\n", cases[i].says);
		struct node *n = node_new(s, &spec);
		assert_non_null(strstr(content(n, ""), cases[i].want));
		assert_int_equal(n->err.code, ERR_UNAVAILABLE);
		put(n, "k", "v");
		run_until(n, results, 1);
		assert_int_equal(n->outcome, STORE_FAILED);
		assert_non_null(strstr(n->err.msg, cases[i].want));
		assert_null(strstr(n->err.msg, "wrong"));
	}
}

/* ---- TLS ---- */

static void certificate(const struct folder *dir, const char *name)
{
	auto_str cmd = {};
	pid_t pid;
	int status;

	str_printf(&cmd,
		   "exec openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
		   "-days 2 -subj /CN=etcd -addext subjectAltName=IP:%s -keyout %s/%s.key "
		   "-out %s/%s.crt 2>/dev/null",
		   scene_address(), dir->path, name, dir->path, name);
	pid = fork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", str_cstr(&cmd), NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void certificates(void **)
{
	auto_folder dir = folder_new();
	struct path crt = path_in(&dir, "ours.crt"), key = path_in(&dir, "ours.key");
	struct path other = path_in(&dir, "other.crt");
	const char *const options[] = { "--cert-file", crt.s, "--key-file", key.s, NULL };

	certificate(&dir, "ours");
	certificate(&dir, "other");
	auto_cluster c = cluster_new(1, options);
	auto_scene *s = scene_new();
	struct node_spec spec = { .endpoints = cluster_urls(&c),
				  .prefix = "/t/",
				  .self = "http://a",
				  .lease_ms = SEC(4),
				  .ca_file = crt.s };
	struct node *a = node_new(s, &spec);

	run_until(a, leads, true);
	for (int i = 0; i < 50; i++) {
		put(a, "k", "v");
	}
	run_until(a, results, 50);
	run_until(a, seen, (int64_t)a->revision);
	for (int i = 0; i < 2; i++) { /* trusts another, trusts the system's */
		spec.ca_file = i == 0 ? other.s : "";
		spec.waits = spec.bystander = true;
		spec.lease_ms = SEC(12); /* to read all those of the system takes time */
		struct node *n = node_new(s, &spec);
		put(n, "k", "v");
		run_until(n, results, 1);
		assert_int_equal(n->outcome, STORE_FAILED);
		assert_non_null(strstr(n->err.msg, "certificate"));
		node_free(n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(watch_cut),      cmocka_unit_test(history_gone),
		cmocka_unit_test(watch_silent),   cmocka_unit_test(store_put_back),
		cmocka_unit_test(members_killed), cmocka_unit_test(login),
		cmocka_unit_test(refused_logins), cmocka_unit_test(certificates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
