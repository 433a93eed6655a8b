/*
 * The agent's two calls and the calls that wait for events, over real HTTP: who is let in, what is
 * held, what ends a wait.
 */
#include "engine.h"

#include "io/client.h"
#include "server/auth.h"
#include "server/held.h"
#include "server/metrics.h"

enum { CALLS_MAX = 8 };

struct answer {
	struct service *service;
	int status;
	struct str body;
	bool come;
};

struct service {
	struct engine en;
	struct api api;
	struct httpd *httpd;
	struct http_client *client;
	struct answer answers[CALLS_MAX];
	size_t nanswers;
	const struct answer *awaited;
};

static void service_open(struct service *s)
{
	struct err e = {};

	*s = (struct service){ .en = engine_new() };
	engine_open(&s->en);
	s->en.rc = reconcile_new(s->en.r);
	s->api = (struct api){
		.loop = s->en.loop,
		.registry = s->en.r,
		.reconcile = s->en.rc,
		.settings = &s->en.settings,
		.auth = auth_new(&s->en.settings),
		.metrics = metrics_new(),
		.agent_token = "open-sesame",
	};
	s->api.held = held_new(&s->api);
	const struct httpd_config config = {
		.address = "127.0.0.1",
		.max_connections = 32,
		.head_limit_ms = 5000,
		.body_limit_ms = 5000,
		.idle_limit_ms = 5000,
		.handler = routes_handle,
		.gone = routes_gone,
		.ceiling = routes_ceiling,
		.refuse = routes_refuse,
		.arg = &s->api,
	};
	assert_ok(httpd_start(s->en.loop, &config, &s->httpd, &e), &e);
	s->client = http_client_new(s->en.loop);
}

static void service_done(struct service *s)
{
	http_client_free(s->client);
	httpd_free(s->httpd);
	held_free(s->api.held);
	metrics_free(s->api.metrics);
	auth_free(s->api.auth);
	for (size_t i = 0; i < s->nanswers; i++) {
		str_done(&s->answers[i].body);
	}
	engine_done(&s->en);
}

#define auto_service [[gnu::cleanup(service_done)]] struct service

static void come(void *arg, int status, const char *body, size_t len, const struct err *e)
{
	struct answer *a = arg;

	if (status == 0) {
		fail_msg("no answer: %s", e->msg);
	}
	a->status = status;
	str_append_mem(&a->body, body, len);
	a->come = true;
	if (a->service->awaited == a) {
		loop_stop(a->service->en.loop);
	}
}

static struct answer *call_with(struct service *s, const char *token, const char *method,
				const char *path, const char *body, struct http_call **ret)
{
	struct answer *a = &s->answers[s->nanswers++];
	char url[300], login[80];
	const char *headers[] = { login, "Content-Type: application/json" };

	assert_true(s->nanswers <= CALLS_MAX);
	a->service = s;
	snprintf(url, sizeof url, "http://127.0.0.1:%u%s", httpd_port(s->httpd), path);
	snprintf(login, sizeof login, "Authorization: Bearer %s", token);
	*ret = http_call_start(
		s->client,
		&(struct http_call_spec){ .method = method,
					  .url = url,
					  .headers = headers,
					  .nheaders = 2,
					  .body = body,
					  .body_len = body == NULL ? 0 : strlen(body),
					  .limit_ms = 10000,
					  .max_body = 1 << 20 },
		come, a);
	return a;
}

static struct answer *call(struct service *s, const char *method, const char *path,
			   const char *body)
{
	struct http_call *ignored;

	return call_with(s, "open-sesame", method, path, body, &ignored);
}

static const struct answer *await(struct service *s, struct answer *a)
{
	s->awaited = a;
	if (!a->come) {
		engine_run(&s->en);
	}
	return a;
}

static void expect(const struct answer *a, int status, const char *has)
{
	if (a->status != status || strstr(str_cstr(&a->body), has) == NULL) {
		fail_msg("%d '%s' and not %d '%s'", a->status, str_cstr(&a->body), status, has);
	}
}

static void report_join(struct service *s)
{
	const struct host h = engine_host(&s->en, "here", "127.0.77.1-127.0.77.9");
	const struct wire_report rep = { .host = s->en.host,
					 .session = s->en.session,
					 .seq = ++s->en.seq,
					 .full = true,
					 .about = &h };
	auto_str body = {};

	wire_write_report(&rep, &body);
	expect(await(s, call(s, "POST", "/agent/v1/report", str_cstr(&body))), 200, "installation");
	engine_until(&s->en, engine_is_idle);
}

struct goals_path {
	char s[200];
};

static struct goals_path goals_path(const struct service *s, uint64_t after, unsigned wait_s)
{
	struct goals_path p;

	snprintf(p.s, sizeof p.s, "/agent/v1/goals?host=%s&after=%llu&wait=%u",
		 id_text(s->en.host).s, (unsigned long long)after, wait_s);
	return p;
}

static struct wire_goals read_goals(const struct answer *a, struct arena *arena)
{
	struct wire_goals g;
	struct err e = {};

	assert_int_equal(a->status, 200);
	assert_ok(wire_read_goals(str_cstr(&a->body), a->body.len, arena, &g, &e), &e);
	return g;
}

static void only_agents_are_let_in(void **)
{
	auto_service s;
	struct http_call *ignored;

	service_open(&s);
	expect(await(&s, call_with(&s, "guess", "POST", "/agent/v1/report", "{}", &ignored)), 401,
	       "agent.token");
	expect(await(&s, call(&s, "POST", "/agent/v1/report", "{")), 400, "badRequest");
	expect(await(&s, call(&s, "GET", "/agent/v1/goals?host=me", NULL)), 400, "'host'");
	expect(await(&s, call(&s, "GET", "/agent/v1/goals?host=&after=-1", NULL)), 400, "'host'");
}

static void a_poll_is_answered_by_a_commit(void **)
{
	auto_service s;
	auto_arena a = {};
	struct engine_group eg;

	service_open(&s);
	report_join(&s);
	struct wire_goals first =
		read_goals(await(&s, call(&s, "GET", goals_path(&s, 0, 30).s, NULL)), &a);
	assert_int_equal(first.ngoals, 0); /* all there is, at once */
	assert_true(first.revision > 0);

	struct answer *held = call(&s, "GET", goals_path(&s, first.revision, 30).s, NULL);
	struct answer *other = call(&s, "GET", "/healthz", NULL);
	expect(await(&s, other), 200, "alive");
	assert_false(held->come);
	engine_group_init(&eg, "dev", "sessions", 1);
	assert_int_equal(engine_commit(&s.en, NULL, &eg.g, NULL, 0), STORE_COMMITTED);

	struct wire_goals news = read_goals(await(&s, held), &a);
	assert_int_equal(news.ngoals, 1);
	assert_true(id_eq(news.goals[0].instance, eg.m[0].id));

	/* It comes back with the older number: that answer was lost on the way. */
	struct wire_goals again = read_goals(
		await(&s, call(&s, "GET", goals_path(&s, first.revision, 30).s, NULL)), &a);
	assert_int_equal(again.ngoals, 1);
}

/* Numbers begin anew with every start of ours, so one that only an earlier run gave out may fit. */
static void a_number_of_an_earlier_run_means_nothing(void **)
{
	auto_service s;
	auto_arena a = {};
	struct engine_group eg;

	service_open(&s);
	report_join(&s);
	engine_group_init(&eg, "dev", "sessions", 1);
	assert_int_equal(engine_commit(&s.en, NULL, &eg.g, NULL, 0), STORE_COMMITTED);
	struct goals_path path = goals_path(&s, registry_shown(s.en.r), 30);
	assert_int_equal(read_goals(await(&s, call(&s, "GET", path.s, NULL)), &a).ngoals, 1);
}

static void a_newer_poll_ends_the_older(void **)
{
	auto_service s;
	auto_arena a = {};

	service_open(&s);
	report_join(&s);
	uint64_t known =
		read_goals(await(&s, call(&s, "GET", goals_path(&s, 0, 0).s, NULL)), &a).revision;
	struct answer *older = call(&s, "GET", goals_path(&s, known, 30).s, NULL);
	expect(await(&s, call(&s, "GET", "/healthz", NULL)), 200, "alive");
	struct answer *newer = call(&s, "GET", goals_path(&s, known, 30).s, NULL);

	assert_int_equal(read_goals(await(&s, older), &a).ngoals, 0);
	assert_false(newer->come);
	held_answer_all(s.api.held); /* as at the program's end */
	assert_int_equal(read_goals(await(&s, newer), &a).ngoals, 0);
}

static void an_unknown_host_waits(void **)
{
	auto_service s;
	auto_arena a = {};

	service_open(&s);
	struct wire_goals g =
		read_goals(await(&s, call(&s, "GET", goals_path(&s, 0, 1).s, NULL)), &a);
	assert_int_equal(g.revision, 0);
	assert_true(id_eq(g.installation, registry_installation(s.en.r)));
}

static void a_client_that_leaves_is_forgotten(void **)
{
	auto_service s;
	struct http_call *leaver;
	struct engine_group eg;

	service_open(&s);
	report_join(&s);
	struct answer *stays = call(&s, "GET", "/v1.0/dev/events?after=1&wait=30", NULL);
	call_with(&s, "-", "GET", "/v1.0/dev/events?after=1&wait=30", NULL, &leaver);
	expect(await(&s, call(&s, "GET", "/healthz", NULL)), 200, "alive");
	http_call_cancel(leaver);
	expect(await(&s, call(&s, "GET", "/healthz", NULL)), 200, "alive");

	engine_group_init(&eg, "dev", "sessions", 1);
	assert_int_equal(engine_commit(&s.en, NULL, &eg.g,
				       &(struct group_event){ .kind = EVENT_GROUP_CREATED }, 1),
			 STORE_COMMITTED);
	expect(await(&s, stays), 200, "group.created");
}

static void events_of_others_wake_nobody(void **)
{
	auto_service s;
	struct engine_group eg;

	service_open(&s);
	struct answer *held = call(&s, "GET", "/v1.0/dev/events?wait=30", NULL);
	expect(await(&s, call(&s, "GET", "/healthz", NULL)), 200, "alive");
	engine_group_init(&eg, "prod", "sessions", 1);
	assert_int_equal(engine_commit(&s.en, NULL, &eg.g,
				       &(struct group_event){ .kind = EVENT_GROUP_CREATED }, 1),
			 STORE_COMMITTED);
	expect(await(&s, call(&s, "GET", "/v1.0/prod/events", NULL)), 200, "group.created");
	assert_false(held->come);
	expect(await(&s, call(&s, "GET", "/v1.0/prod/events?limit=0", NULL)), 400, "limit");
	expect(await(&s, call(&s, "GET", "/v1.0/prod/operations", NULL)), 200,
	       "\"kind\":\"build\",\"phase\":\"starting\"");
	expect(await(&s, call(&s, "GET", "/metrics", NULL)), 200,
	       "tanist_instances{status=\"BUILD\"} 1\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_agents_are_let_in),
		cmocka_unit_test(a_poll_is_answered_by_a_commit),
		cmocka_unit_test(a_number_of_an_earlier_run_means_nothing),
		cmocka_unit_test(a_newer_poll_ends_the_older),
		cmocka_unit_test(an_unknown_host_waits),
		cmocka_unit_test(a_client_that_leaves_is_forgotten),
		cmocka_unit_test(events_of_others_wake_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
