/* The table of routes is sound, and a path finds the row that is meant. */
#include "../test.h"

#include "server/api.h"
#include "server/auth.h"
#include "server/rate.h"

static void finds_the_row(void **)
{
	static const struct {
		const char *says;
		enum http_method method;
		const char *path, *row; /* row NULL: none */
		const char *tenant, *first, *second;
	} cases[] = {
		{ "the root", HTTP_GET, "/", "/", "", NULL, NULL },
		{ "the version", HTTP_GET, "/v1.0", "/v1.0", "", NULL, NULL },
		{ "the version with a slash", HTTP_GET, "/v1.0/", "/v1.0/", "", NULL, NULL },
		{ "another version", HTTP_GET, "/v2.0/", NULL, NULL, NULL, NULL },
		{ "a project alone is no call", HTTP_GET, "/v1.0/t1", NULL, NULL, NULL, NULL },
		{ "a list", HTTP_GET, "/v1.0/t1/instances", "/v1.0/{tenant}/instances", "t1", NULL,
		  NULL },
		{ "a doubled slash is one", HTTP_GET, "/v1.0/t1//instances",
		  "/v1.0/{tenant}/instances", "t1", NULL, NULL },
		{ "two slashes in front", HTTP_GET, "//v1.0/t1/instances",
		  "/v1.0/{tenant}/instances", "t1", NULL, NULL },
		{ "a slash at the end is another path", HTTP_GET, "/v1.0/t1/instances/", NULL, NULL,
		  NULL, NULL },
		{ "a slash behind an id", HTTP_GET, "/v1.0/t1/instances/x/", NULL, NULL, NULL,
		  NULL },
		{ "detail is no id", HTTP_GET, "/v1.0/t1/instances/detail",
		  "/v1.0/{tenant}/instances/detail", "t1", NULL, NULL },
		{ "an id", HTTP_GET, "/v1.0/t1/instances/x", "/v1.0/{tenant}/instances/{id}", "t1",
		  "x", NULL },
		{ "a version by its id", HTTP_GET, "/v1.0/t1/datastores/versions/u",
		  "/v1.0/{tenant}/datastores/versions/{version}", "t1", "u", NULL },
		{ "the versions of a datastore", HTTP_GET, "/v1.0/t1/datastores/redis/versions",
		  "/v1.0/{tenant}/datastores/{datastore}/versions", "t1", "redis", NULL },
		{ "a version of a datastore", HTTP_GET, "/v1.0/t1/datastores/redis/versions/7.0",
		  "/v1.0/{tenant}/datastores/{datastore}/versions/{version}", "t1", "redis",
		  "7.0" },
		{ "a verb that is not there", HTTP_PATCH, "/v1.0/t1/instances", NULL, NULL, NULL,
		  NULL },
		{ "HEAD is nothing to Trove", HTTP_HEAD, "/v1.0/t1/instances", NULL, NULL, NULL,
		  NULL },
		{ "HEAD for those who watch", HTTP_HEAD, "/healthz", "/healthz", "", NULL, NULL },
		{ "too short", HTTP_GET, "/v1", NULL, NULL, NULL, NULL },
		{ "an empty path", HTTP_GET, "", NULL, NULL, NULL, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_arena a = {};
		struct route_match m;
		bool found = route_find(cases[i].method, cases[i].path, &a, &m);

		print_message("# %s\n", cases[i].says);
		assert_int_equal(found, cases[i].row != NULL);
		if (!found) {
			continue;
		}
		assert_string_equal(m.route->path, cases[i].row);
		assert_string_equal(m.tenant, cases[i].tenant);
		assert_true(str_eq(m.param[0], cases[i].first));
		assert_true(str_eq(m.param[1], cases[i].second));
	}
}

static void a_project_has_a_longest_name(void **)
{
	auto_arena a = {};
	auto_str path = {};
	struct route_match m;

	str_append(&path, "/v1.0/");
	for (int i = 0; i < 256; i++) {
		str_append_char(&path, 'p');
	}
	str_append(&path, "/flavors");
	assert_false(route_find(HTTP_GET, path.p, &a, &m));
}

/* The path that a row's own pattern looks like: "{x}" becomes "x-x". */
static void path_of(const char *pattern, struct str *out)
{
	for (; *pattern != '\0'; pattern++) {
		if (*pattern != '{' && *pattern != '}') {
			str_append_char(out, *pattern);
		}
	}
	for (size_t i = 0; i < out->len; i++) {
		if (out->p[i] == 't' && strncmp(out->p + i, "tenant", 6) == 0) {
			out->p[i] = 'T';
		}
	}
}

static void every_row_can_be_reached(void **)
{
	for (size_t i = 0; i < nroutes; i++) {
		auto_arena a = {};
		auto_str path = {};
		struct route_match m;

		path_of(routes[i].path, &path);
		if (!route_find(routes[i].method, path.p, &a, &m) || m.route != &routes[i]) {
			fail_msg("row %zu, %s, is hidden by another", i, routes[i].path);
		}
	}
}

static bool changes(enum http_method m)
{
	return m == HTTP_POST || m == HTTP_PUT || m == HTTP_PATCH || m == HTTP_DELETE;
}

static void every_row_is_sound(void **)
{
	for (size_t i = 0; i < nroutes; i++) {
		const struct route *r = &routes[i];
		bool takes_body =
			r->method == HTTP_POST || r->method == HTTP_PUT || r->method == HTTP_PATCH;
		bool api = str_starts(r->path, "/v1.0/{tenant}/");

		print_message("# %s\n", r->path);
		assert_true(r->handler != NULL && r->about != NULL);
		assert_int_equal(r->body > 0, takes_body);
		assert_true(r->ok >= 200 && r->ok < 300);
		/* what changes a project's instances needs its turn, and a member of it */
		if (api && changes(r->method) && r->needs != ROLE_ADMIN) {
			assert_true(r->turn);
			assert_int_equal(r->needs, ROLE_MEMBER);
		}
		if (api) {
			assert_true(r->needs != ROLE_NOBODY);
		}
		assert_int_equal(routes_ceiling(NULL, r->method, r->path), r->body);
	}
}

static void limits_each_verb_of_a_project(void **)
{
	struct rates *r = rates_new(2);
	uint32_t retry = 0;
	int64_t ends;

	assert_true(rates_take(r, "a", RATE_GET, 1000, &retry));
	assert_true(rates_take(r, "a", RATE_GET, 1000, &retry));
	assert_false(rates_take(r, "a", RATE_GET, 2000, &retry));
	assert_int_equal(retry, 59);
	assert_int_equal(rates_left(r, "a", RATE_GET, 2000, &ends), 0);
	/* another verb, another project, the next minute */
	assert_true(rates_take(r, "a", RATE_POST, 2000, &retry));
	assert_true(rates_take(r, "b", RATE_GET, 2000, &retry));
	assert_true(rates_take(r, "a", RATE_GET, 61000, &retry));
	assert_int_equal(rates_left(r, "a", RATE_GET, 61000, &ends), 1);
	rates_free(r);
	assert_null(rates_new(0));
	assert_true(rates_take(NULL, "a", RATE_GET, 1, &retry));
}

static void a_flood_of_projects_takes_no_more_memory(void **)
{
	struct rates *r = rates_new(1);
	uint32_t retry;

	for (int i = 0; i < 50000; i++) {
		char project[16];

		snprintf(project, sizeof project, "p%d", i);
		assert_true(rates_take(r, project, RATE_GET, i, &retry));
	}
	assert_false(rates_take(r, "p49999", RATE_GET, 50000, &retry));
	rates_free(r);
}

static void tokens(void **)
{
	struct token list[] = { { "secret", "p", false }, { "root", "q", true } };
	struct str report = {};
	struct settings s;
	struct login login;
	struct err e = {};

	assert_ok(settings_load(NULL, &report, &s, &e), &e);
	struct auth *open = auth_new(&s);
	assert_true(auth_open(open));
	assert_true(auth_token(open, NULL, &login));
	assert_true(login.admin && login.project == NULL);
	auth_free(open);

	assert_ok(settings_set(&s, "auth.mode", "token", &e), &e);
	s.tokens = list;
	s.ntokens = ARRAY_LEN(list);
	struct auth *a = auth_new(&s);
	assert_false(auth_token(a, NULL, &login));
	assert_false(auth_token(a, "", &login));
	assert_false(auth_token(a, "secre", &login));
	assert_false(auth_token(a, "secretsecret", &login));
	assert_true(auth_token(a, "secret", &login));
	assert_string_equal(login.project, "p");
	assert_false(login.admin);
	assert_true(auth_token(a, "root", &login) && login.admin);
	auth_free(a);
	settings_done(&s);
	str_done(&report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_row),
		cmocka_unit_test(a_project_has_a_longest_name),
		cmocka_unit_test(every_row_can_be_reached),
		cmocka_unit_test(every_row_is_sound),
		cmocka_unit_test(limits_each_verb_of_a_project),
		cmocka_unit_test(a_flood_of_projects_takes_no_more_memory),
		cmocka_unit_test(tokens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
