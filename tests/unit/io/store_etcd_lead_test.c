/*
 * Who leads, and what becomes of commits whose answer does not come: whatever was told is what is
 * there for good.
 */
#include "etcd_scene.h"

#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/clock.h"

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

static struct node *node(struct scene *s, const char *url, const char *prefix, const char *self,
			 int64_t lease_ms)
{
	return node_new(s, &(struct node_spec){ .endpoints = url,
						.prefix = prefix,
						.self = self,
						.lease_ms = lease_ms });
}

static struct proxy *new_proxy(void)
{
	return proxy_new(etcd.members[0].port);
}

/* What etcd has of a key, asked without a store. */
static bool is_there(const char *key)
{
	auto_str body = {};

	str_printf(&body, "{\"key\":\"%s\"}", b64(key));
	return strstr(member_ask(&etcd.members[0], "/v3/kv/range", str_cstr(&body)), "\"kvs\"") !=
	       NULL;
}

/* {"ID":"..."} of the lease that holds the leader's key. */
static void lease_of(const char *prefix, char *body, size_t size)
{
	auto_str ask = {}, key = {};

	str_printf(&key, "%sleader", prefix);
	str_printf(&ask, "{\"key\":\"%s\"}", b64(str_cstr(&key)));
	const char *lease = strstr(member_ask(&etcd.members[0], "/v3/kv/range", str_cstr(&ask)),
				   "\"lease\":\"");

	assert_non_null(lease);
	lease += strlen("\"lease\":\"");
	snprintf(body, size, "{\"ID\":\"%.*s\"}", (int)strcspn(lease, "\""), lease);
}

/* Another need not wait for the lease (20 s) of one that leaves. */
static void freed_leader_is_followed_at_once(void **)
{
	auto_scene *s = scene_new();
	struct node *a = node(s, etcd.members[0].url, "/leave/", "http://a", SEC(20));

	run_until(a, leads, true);
	struct node *b = node(s, etcd.members[0].url, "/leave/", "http://b", SEC(20));
	run_until(b, follows, 0);
	uint64_t term = b->stands.term;
	put(a, "last", "1");
	run_until(a, results, 1);
	int64_t began_ms = clock_ms();
	node_free(a);
	run_until(b, leads, true);
	assert_true(clock_ms() - began_ms < SEC(10));
	assert_true(b->stands.term > term);
	assert_string_equal(b->leader, "http://b");
	assert_string_equal(str_cstr(&b->changes), "[last=1] "); /* before it led */
}

/* Leads, says so, and from then on commits "late" whenever a byte comes. */
static void child_leads(int in, int out)
{
	struct scene *s = scene_new();
	struct node *n = node(s, etcd.members[0].url, "/stop/", "http://child", SEC(3));
	char byte;

	run_until(n, leads, true);
	put(n, "early", "1");
	run_until(n, results, 1);
	if (n->outcome != STORE_COMMITTED || write(out, "L", 1) != 1 || read(in, &byte, 1) != 1) {
		_exit(1);
	}
	put(n, "late", "1");
	run_until(n, results, 2);
	_exit(n->outcome == STORE_CONFLICT ? 42 : 43);
}

static void stopped_leader(void **)
{
	int to_child[2], from_child[2], status;
	char byte;

	scene_address();
	assert_int_equal(pipe(to_child), 0);
	assert_int_equal(pipe(from_child), 0);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		child_leads(to_child[0], from_child[1]);
	}
	assert_int_equal(read(from_child[0], &byte, 1), 1);
	kill(pid, SIGSTOP);
	int64_t stopped_ms = clock_ms();

	auto_scene *s = scene_new();
	struct node *b = node(s, etcd.members[0].url, "/stop/", "http://b", SEC(3));
	assert_string_equal(str_cstr(&b->rows), "early=1 ");
	run_until(b, leads, true);
	print_message("# led %lld ms after the stop, lease 3000 ms\n",
		      (long long)(clock_ms() - stopped_ms));
	put(b, "mine", "1");
	run_until(b, results, 1);
	kill(pid, SIGCONT);
	assert_int_equal(write(to_child[1], "c", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 42);
	assert_false(is_there("/stop/late"));
	assert_string_equal(content(b, ""), "early=1 mine=1 ");
	for (int i = 0; i < 2; i++) {
		close(to_child[i]);
		close(from_child[i]);
	}
}

/*
 * A believes that it leads: by its clock it does, and its watch is frozen. Its lease has been ended
 * behind its back, and B leads. Only the fence is left to refuse its commits.
 */
static void fenced_while_it_believes(void **)
{
	auto_scene *s = scene_new();
	struct proxy *p = new_proxy();
	char lease[64];

	struct node *a = node(s, proxy_url(p), "/fence/", "http://a", SEC(60));
	run_until(a, leads, true);
	put(a, "k", "a");
	run_until(a, results, 1);
	run_until(a, seen, (int64_t)a->revision);
	struct node *b = node(s, etcd.members[0].url, "/fence/", "http://b", SEC(60));
	run_until(b, follows, 0);

	/* From now on the watch of A brings nothing: its events stay in the proxy. */
	proxy_freeze(p);
	lease_of("/fence/", lease, sizeof lease);
	member_ask(&etcd.members[0], "/v3/lease/revoke", lease);
	run_until(b, leads, true);
	put(b, "k", "b");
	run_until(b, results, 1);
	assert_true(store_leads(a->store));
	assert_true(a->stands.leads);

	for (int i = 0; i < 5; i++) {
		put(a, i == 0 ? "k" : "other", "late");
	}
	run_until(a, results, 6);
	assert_string_equal(str_cstr(&a->results),
			    "committed conflict conflict conflict conflict conflict ");
	assert_false(store_leads(a->store));
	assert_false(a->stands.leads);
	assert_string_equal(content(b, ""), "k=b ");
	assert_true(leads(b, true));
	node_free(a);
	proxy_free(p);
}

/* The answer is lost: unknown, and reading back shows the commit. */
static void answer_lost(void **)
{
	auto_scene *s = scene_new();
	struct proxy *p = new_proxy();
	struct node *a = node(s, proxy_url(p), "/lost/", "http://a", SEC(10));

	run_until(a, leads, true);
	uint64_t term = a->stands.term;
	for (int i = 0; i < 3; i++) {
		proxy_rule(p, b64("/lost/k"), PROXY_LOSE_ANSWER, 1);
		commit(a,
		       &(struct store_op){
			       .key = "k", .value = "v", .len = 1, .expect = STORE_ABSENT },
		       1);
		run_until(a, results, 3 * i + 1);
		assert_int_equal(a->outcome, STORE_UNKNOWN);
		assert_string_equal(content(a, "k"), "k=v ");
		put(a, "after", "1"); /* it leads on */
		run_until(a, results, 3 * i + 2);
		commit(a, &(struct store_op){ .key = "k" }, 1);
		run_until(a, results, 3 * i + 3);
		assert_int_equal(a->outcome, STORE_COMMITTED);
	}
	assert_true(leads(a, true));
	assert_int_equal(a->stands.term, term);
	run_until(a, seen, (int64_t)a->revision);
	assert_non_null(strstr(str_cstr(&a->changes), "[k=v] [after=1] [k-] "));
	node_free(a);
	proxy_free(p);
}

/*
 * The request hangs in the network beyond our patience, and reaches etcd long after its outcome was
 * told. Commits beside it, refused because the fence moves under them, are sent again unnoticed.
 */
static void request_late(void **)
{
	auto_scene *s = scene_new();
	struct proxy *p = new_proxy();
	struct node *a = node(s, proxy_url(p), "/late/", "http://a", SEC(4));

	run_until(a, leads, true);
	proxy_rule(p, b64("/late/k"), PROXY_HOLD, 1);
	put(a, "k", "late");
	for (int i = 0; i < 20; i++) {
		put(a, "beside", "1");
	}
	run_until(a, results, 21);
	assert_true(str_starts(str_cstr(&a->results), "unknown committed committed "));
	assert_string_equal(content(a, "k"), "");
	proxy_release(p);
	assert_false(is_there("/late/k"));
	assert_string_equal(content(a, "k"), "");
	put(a, "k", "anew");
	run_until(a, results, 22);
	assert_string_equal(content(a, "k"), "k=anew ");
	assert_true(leads(a, true));
	node_free(a);
	proxy_free(p);
}

/*
 * The same, and we cannot move the fence before our own clock ends our leadership, while the lease
 * lives on at etcd (renewed by somebody else here, so that there is time to look). The outcome is
 * unknown; reading back says that it cannot be known yet, as long as the late one could arrive.
 */
static void request_late_and_lead_lost(void **)
{
	auto_scene *s = scene_new();
	struct proxy *p = new_proxy();
	struct node *a = node(s, proxy_url(p), "/doubt/", "http://a", SEC(3));
	char lease[64];

	run_until(a, leads, true);
	lease_of("/doubt/", lease, sizeof lease);
	proxy_rule(p, b64("/doubt/k"), PROXY_HOLD, 1);
	proxy_rule(p, "/v3/lease/", PROXY_REFUSE, -1);
	proxy_rule(p, "ignore_value", PROXY_REFUSE, -1);
	put(a, "k", "late");
	while (a->nresults == 0) {
		member_ask(&etcd.members[0], "/v3/lease/keepalive", lease);
		run_ms(s, 300);
	}
	assert_int_equal(a->outcome, STORE_UNKNOWN);
	assert_false(store_leads(a->store));
	assert_non_null(strstr(content(a, "k"), "may be on its way"));
	assert_int_equal(a->err.code, ERR_UNAVAILABLE);
	member_ask(&etcd.members[0], "/v3/lease/keepalive", lease);
	proxy_release(p); /* the key is where it was: this one is carried out */
	assert_true(is_there("/doubt/k"));
	proxy_pass(p);
	member_ask(&etcd.members[0], "/v3/lease/revoke", lease);
	run_until(a, leads, true);
	assert_string_equal(content(a, "k"), "k=late ");
	run_until(a, seen, 1);
	assert_string_equal(str_cstr(&a->changes), "[k=late] ");
	node_free(a);
	proxy_free(p);
}

static bool leads_later(struct node *n, int64_t than)
{
	return n->stands.leads && n->stands.term > (uint64_t)than;
}

/* The lead is lost and won back while the request hangs: others may have led in between. */
static void request_of_an_earlier_term(void **)
{
	auto_scene *s = scene_new();
	struct proxy *p = new_proxy();
	struct node *a = node(s, proxy_url(p), "/terms/", "http://a", SEC(40));
	char lease[64];

	run_until(a, leads, true);
	uint64_t term = a->stands.term;
	lease_of("/terms/", lease, sizeof lease);
	proxy_rule(p, b64("/terms/k"), PROXY_HOLD, 1);
	put(a, "k", "1");
	put(a, "k", "2"); /* waits for it */
	run_ms(s, 100);
	assert_int_equal(proxy_matches(p), 1);
	member_ask(&etcd.members[0], "/v3/lease/revoke", lease);
	run_until(a, leads_later, (int64_t)term);
	assert_int_equal(a->nresults, 0);
	int told = a->nstands;
	proxy_release(p);
	run_until(a, results, 2);
	assert_int_equal(a->nstands, told); /* the old refusal says nothing of the new term */
	assert_string_equal(str_cstr(&a->results), "conflict conflict ");
	assert_string_equal(content(a, ""), "");
	assert_true(leads(a, true));
	node_free(a);
	proxy_free(p);
}

/* Nobody takes the request: nothing was done, and that is said. */
static void request_not_sent(void **)
{
	auto_scene *s = scene_new();
	struct proxy *p = new_proxy();
	struct node *a = node(s, proxy_url(p), "/unsent/", "http://a", SEC(20));

	run_until(a, leads, true);
	proxy_stop_listening(p);
	put(a, "k", "1");
	run_until(a, results, 1);
	assert_int_equal(a->outcome, STORE_FAILED);
	assert_false(is_there("/unsent/k"));
	node_free(a);
	proxy_free(p);
}

/* etcd not reachable: leading ends by our own clock, before the lease does, and comes back. */
static void cut_off_leader(void **)
{
	auto_scene *s = scene_new();
	struct proxy *p = new_proxy();
	struct node *a = node(s, proxy_url(p), "/cut/", "http://a", SEC(3));

	run_until(a, leads, true);
	struct node *b = node(s, etcd.members[0].url, "/cut/", "http://b", SEC(3));
	proxy_cut(p, true);
	int64_t cut_ms = clock_ms();
	run_until(a, leads, false);
	assert_true(clock_ms() - cut_ms < SEC(3));
	assert_true(is_there("/cut/leader")); /* the lease is not over */
	run_until(a, current, false);
	assert_int_equal(a->stands.term, 0);
	run_until(b, leads, true);
	put(b, "k", "1");
	run_until(b, results, 1);
	put(a, "k", "2");
	run_until(a, results, 1);
	assert_int_equal(a->outcome, STORE_CONFLICT);
	proxy_cut(p, false);
	run_until(a, follows, 0);
	assert_string_equal(a->leader, "http://b");
	run_until(a, seen, (int64_t)b->revision);
	assert_string_equal(str_cstr(&a->changes), "[k=1] ");
	node_free(a);
	proxy_free(p);
}

/* A late end of somebody's lease does not hurt the next: three in turns, one leads at a time. */
static void one_after_the_other(void **)
{
	auto_scene *s = scene_new();
	struct node *nodes[3];
	static const char *const names[] = { "http://a", "http://b", "http://c" };

	for (size_t i = 0; i < 3; i++) {
		nodes[i] = node(s, etcd.members[0].url, "/turns/", names[i], SEC(20));
	}
	for (int left = 3; left > 0; left--) {
		struct node *who = NULL;
		int nleads = 0;

		run_ms(s, 200);
		for (size_t i = 0; i < 3; i++) {
			if (nodes[i]->store != NULL && store_leads(nodes[i]->store)) {
				who = nodes[i];
				nleads++;
			}
		}
		assert_int_equal(nleads, 1);
		put(who, "turn", who->leader);
		run_until(who, results, 1);
		assert_int_equal(who->outcome, STORE_COMMITTED);
		for (size_t i = 0; i < 3; i++) {
			if (nodes[i]->store != NULL) {
				run_until(nodes[i], seen, (int64_t)who->revision);
				assert_string_equal(nodes[i]->leader, who->leader);
				assert_int_equal(nodes[i]->stands.term, who->stands.term);
			}
		}
		node_free(who);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(freed_leader_is_followed_at_once),
		cmocka_unit_test(stopped_leader),
		cmocka_unit_test(fenced_while_it_believes),
		cmocka_unit_test(answer_lost),
		cmocka_unit_test(request_late),
		cmocka_unit_test(request_late_and_lead_lost),
		cmocka_unit_test(request_of_an_earlier_term),
		cmocka_unit_test(request_not_sent),
		cmocka_unit_test(cut_off_leader),
		cmocka_unit_test(one_after_the_other),
	};

	return cmocka_run_group_tests(tests, start_etcd, stop_etcd);
}
