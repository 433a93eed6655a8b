/*
 * The HTTP calls, one row each, and the way in: everything that is the same for all of them is
 * checked here, in Trove's order, before a handler runs.
 */
#include "server/api.h"

#include "base/clock.h"
#include "server/auth.h"
#include "server/handlers.h"
#include "server/rate.h"

#define V1 "/v1.0/{tenant}"
#define DS V1 "/datastores"
#define AGENT "/agent/v1"

/* A literal stands before a {word} at the same place: the first row that fits is taken. */
/* clang-format off */
const struct route routes[] = {
	/* method, path,                          handler,                 needs,       ok,  body,     turn,  about */
	{ HTTP_GET,    "/",                       api_version_list,        ROLE_NOBODY, 200, 0,        false, "List the API's versions" },
	{ HTTP_GET,    "/v1.0",                   api_version_show,        ROLE_READER, 200, 0,        false, "Show version 1.0" },
	{ HTTP_GET,    "/v1.0/",                  api_version_show,        ROLE_READER, 200, 0,        false, "Show version 1.0" },
	{ HTTP_GET,    "/v1auth",                 api_login,               ROLE_NOBODY, 200, 0,        false, "Log in as the legacy trove command does" },
	{ HTTP_GET,    V1 "/projects/{id}",       api_project_show,        ROLE_READER, 200, 0,        false, "Show a project's name, for clients that ask before quotas" },
	{ HTTP_GET,    V1 "/limits",              api_limits,              ROLE_READER, 200, 0,        false, "Show quotas and rate limits" },
	{ HTTP_GET,    V1 "/flavors",             api_flavor_list,         ROLE_READER, 200, 0,        false, "List flavors" },
	{ HTTP_GET,    V1 "/flavors/{id}",        api_flavor_show,         ROLE_READER, 200, 0,        false, "Show a flavor" },
	{ HTTP_GET,    DS,                        api_datastore_list,      ROLE_READER, 200, 0,        false, "List datastores and their versions" },
	{ HTTP_GET,    DS "/versions/{version}",  api_version_by_id,       ROLE_READER, 200, 0,        false, "Show a datastore version by its id" },
	{ HTTP_GET,    DS "/{datastore}",         api_datastore_show,      ROLE_READER, 200, 0,        false, "Show a datastore" },
	{ HTTP_DELETE, DS "/{datastore}",         api_datastore_delete,    ROLE_ADMIN,  202, 0,        false, "Refuse to delete a datastore: hosts have them" },
	{ HTTP_GET,    DS "/{datastore}/versions",                        api_datastore_versions, ROLE_READER, 200, 0, false, "List a datastore's versions" },
	{ HTTP_GET,    DS "/{datastore}/versions/{version}",              api_datastore_version,  ROLE_READER, 200, 0, false, "Show a datastore version" },
	{ HTTP_GET,    DS "/{datastore}/versions/{version}/flavors",      api_version_flavors,    ROLE_READER, 200, 0, false, "List flavors for a datastore version" },
	{ HTTP_GET,    DS "/{datastore}/versions/{version}/volume-types", api_version_volumes,    ROLE_READER, 200, 0, false, "List volume types for a datastore version" },
	{ HTTP_GET,    V1 "/instances",           api_instance_list,       ROLE_READER, 200, 0,        false, "List the project's instances" },
	{ HTTP_POST,   V1 "/instances",           api_instance_create,     ROLE_MEMBER, 200, KIB(64),  true,  "Create an instance, or replicas of one" },
	{ HTTP_GET,    V1 "/instances/detail",    api_instance_detail,     ROLE_READER, 200, 0,        false, "List the project's instances with all fields" },
	{ HTTP_GET,    V1 "/instances/{id}",      api_instance_show,       ROLE_READER, 200, 0,        false, "Show an instance" },
	{ HTTP_PUT,    V1 "/instances/{id}",      api_instance_put,        ROLE_MEMBER, 202, KIB(16),  true,  "Change an instance" },
	{ HTTP_PATCH,  V1 "/instances/{id}",      api_instance_patch,      ROLE_MEMBER, 202, KIB(16),  true,  "Change an instance" },
	{ HTTP_DELETE, V1 "/instances/{id}",      api_instance_delete,     ROLE_MEMBER, 202, 0,        true,  "Delete an instance" },
	{ HTTP_POST,   V1 "/instances/{id}/action",  api_instance_action,  ROLE_MEMBER, 202, KIB(16),  true,  "Carry out an action on an instance" },
	{ HTTP_GET,    V1 "/instances/{id}/durability", api_instance_durability, ROLE_READER, 200, 0,  false, "Show the durability of the instance's group, and what it promises" },
	{ HTTP_GET,    V1 "/instances/{id}/election", api_instance_election, ROLE_READER, 200, 0,      false, "Say who would be elected if the instance's source were ejected now" },
	{ HTTP_GET,    V1 "/instances/{id}/modules", api_instance_modules, ROLE_READER, 200, 0,        false, "List an instance's modules: there are none" },
	{ HTTP_GET,    V1 "/clusters",            api_cluster_list,        ROLE_READER, 200, 0,        false, "List clusters: there are none" },
	{ HTTP_GET,    V1 "/modules",             api_module_list,         ROLE_READER, 200, 0,        false, "List modules: there are none" },
	{ HTTP_GET,    V1 "/operations",          api_operations,          ROLE_READER, 200, 0,        false, "List the changes in progress" },
	{ HTTP_GET,    V1 "/events",              api_events,              ROLE_READER, 200, 0,        false, "List events, or wait for the next" },
	{ HTTP_POST,   AGENT "/report",           api_agent_report,        ROLE_AGENT,  200, WIRE_BODY_MAX, false, "Take an agent's report" },
	{ HTTP_GET,    AGENT "/goals",            api_agent_goals,         ROLE_AGENT,  200, 0,        false, "Give an agent its goals, when there is news" },
	{ HTTP_GET,    "/healthz",                api_healthz,             ROLE_NOBODY, 200, 0,        false, "Say that the process answers" },
	{ HTTP_GET,    "/readyz",                 api_readyz,              ROLE_NOBODY, 200, 0,        false, "Say whether the service can serve" },
	{ HTTP_GET,    "/metrics",                api_metrics,             ROLE_NOBODY, 200, 0,        false, "Give figures to Prometheus" },
};
/* clang-format on */
const size_t nroutes = ARRAY_LEN(routes);

enum { PROJECT_MAX = 255 };

/* What stands between two slashes. Doubled slashes count as one; a last slash ends in "". */
struct segment {
	const char *s;
	size_t len;
};

static bool segment_next(const char **at, struct segment *ret)
{
	if (**at == '\0') {
		return false;
	}
	while (**at == '/') {
		++*at;
	}
	ret->s = *at;
	ret->len = (size_t)(strchrnul(*at, '/') - *at);
	*at += ret->len;
	return true;
}

static bool segment_is(const struct segment *s, const char *word)
{
	return s->len == strlen(word) && memcmp(s->s, word, s->len) == 0;
}

struct words {
	struct segment tenant, param[CALL_PARAMS_MAX];
	size_t nparams;
};

static bool path_matches(const char *pattern, const char *path, struct words *w)
{
	struct segment p, s;

	*w = (struct words){};
	while (segment_next(&pattern, &p)) {
		if (!segment_next(&path, &s)) {
			return false;
		}
		bool word = p.len > 0 && p.s[0] == '{';
		if (!word && (p.len != s.len || memcmp(p.s, s.s, p.len) != 0)) {
			return false;
		}
		if (!word) {
			continue;
		}
		if (s.len == 0) {
			return false;
		}
		if (segment_is(&p, "{tenant}")) {
			w->tenant = s;
		} else {
			w->param[w->nparams++] = s;
		}
	}
	return !segment_next(&path, &s);
}

/*
 * HEAD is GET without the body for those who look whether the service is up; under /v1.0 Trove
 * knows no HEAD.
 */
static enum http_method method_asked(enum http_method m, const char *path)
{
	return m == HTTP_HEAD && !str_starts(path, "/v1.0") ? HTTP_GET : m;
}

static const struct route *row_find(enum http_method method, const char *path, struct words *w)
{
	method = method_asked(method, path);
	for (size_t i = 0; i < nroutes; i++) {
		if (routes[i].method == method && path_matches(routes[i].path, path, w)) {
			return &routes[i];
		}
	}
	return NULL;
}

static const char *segment_text(const struct segment *s, struct arena *a)
{
	return s->len == 0 ? "" : memcpy(arena_alloc(a, s->len + 1), s->s, s->len);
}

bool route_find(enum http_method method, const char *path, struct arena *a, struct route_match *ret)
{
	struct words w;
	const struct route *r = row_find(method, path, &w);

	if (r == NULL || w.tenant.len > PROJECT_MAX) {
		return false;
	}
	*ret = (struct route_match){ .route = r, .tenant = segment_text(&w.tenant, a) };
	for (size_t i = 0; i < w.nparams; i++) {
		ret->param[i] = segment_text(&w.param[i], a);
	}
	return true;
}

size_t routes_ceiling(void *, enum http_method method, const char *path)
{
	struct words w;
	const struct route *r = row_find(method, path, &w);

	/* a call that is not there is told so, not that its body is too long */
	return r != NULL ? r->body : KIB(64);
}

void routes_refuse(void *, const char *, int status, const char *text, struct str *ret_body)
{
	trove_write_status_fault(status, text, ret_body);
}

/* Keystone's middleware answers in its own form, and clients know it. */
static void refuse_login(struct call *c)
{
	struct str body = {};
	struct jw w = { .out = &body };
	static const struct http_reply_header header = { "WWW-Authenticate", "Keystone uri=\"/\"" };

	jw_object(&w, NULL);
	jw_object(&w, "error");
	jw_int(&w, "code", 401);
	jw_str(&w, "title", "Unauthorized");
	jw_str(&w, "message", "This call needs a valid token in the header X-Auth-Token.");
	jw_end(&w);
	jw_end(&w);
	call_reply_with(c, 401, &body, &header, 1);
}

/* So does the check of the tenant. */
static void refuse_tenant(struct call *c)
{
	struct str body = {};
	struct jw w = { .out = &body };
	auto_str text = {};

	str_printf(&text, "The token is not for the project %s of the URL.", c->project);
	jw_object(&w, NULL);
	jw_str(&w, "message", text.p);
	jw_str(&w, "code", "403 Forbidden");
	jw_str(&w, "title", "Forbidden");
	jw_end(&w);
	call_reply_status(c, 403, &body);
}

static void refuse(struct call *c, enum err_code code, const char *text)
{
	struct err e;

	err_set(&e, code, "%s", text);
	call_fail(c, &e);
}

static bool admit_client(struct call *c)
{
	struct login login;

	if (!auth_login(c->api->auth, c->rq, &login)) {
		refuse_login(c);
		return false;
	}
	if (login.project != NULL && c->project[0] != '\0' && !str_eq(login.project, c->project)) {
		refuse_tenant(c);
		return false;
	}
	c->admin = login.admin;
	c->everywhere = login.admin && login.project != NULL;
	if (c->route->needs == ROLE_ADMIN && !c->admin) {
		refuse(c, ERR_FORBIDDEN, "Only an administrator may do this.");
		return false;
	}
	return true;
}

static bool admit(struct call *c)
{
	switch (c->route->needs) {
	case ROLE_NOBODY:
		return true;
	case ROLE_AGENT:
		if (auth_agent(c->rq, c->api->agent_token)) {
			return true;
		}
		refuse(c, ERR_UNAUTHORIZED,
		       "Agents send the content of agent.token in Authorization: "
		       "Bearer; this is not it.");
		return false;
	case ROLE_READER:
	case ROLE_MEMBER:
	case ROLE_ADMIN:
		break;
	}
	return admit_client(c);
}

/* What the limits call names each count. */
static const struct {
	enum rate_verb verb;
	const char *name;
} counted[] = {
	[HTTP_GET] = { RATE_GET, "GET" },    [HTTP_HEAD] = { RATE_GET, "GET" },
	[HTTP_POST] = { RATE_POST, "POST" }, [HTTP_PUT] = { RATE_PUT, "PUT" },
	[HTTP_PATCH] = { RATE_PUT, "PUT" },  [HTTP_DELETE] = { RATE_DELETE, "DELETE" },
	[HTTP_OTHER] = { RATE_GET, "GET" },
};

static bool within_rate(struct call *c)
{
	uint32_t retry_s;

	if (c->project[0] == '\0' ||
	    rates_take(c->api->rates, c->project, counted[c->rq->method].verb, clock_ms(),
		       &retry_s)) {
		return true;
	}
	struct str body = {};
	struct jw w = { .out = &body };
	char retry[16], details[96];
	snprintf(retry, sizeof retry, "%u", retry_s);
	snprintf(details, sizeof details, "Only %u %s request(s) can be made to * every minute.",
		 rates_limit(c->api->rates), counted[c->rq->method].name);
	jw_object(&w, NULL);
	jw_object(&w, "overLimit");
	jw_int(&w, "code", 413);
	jw_str(&w, "message", "Too many requests: wait as long as Retry-After says.");
	jw_str(&w, "details", details);
	jw_str(&w, "retryAfter", retry);
	jw_end(&w);
	jw_end(&w);
	call_reply_with(c, 413, &body, &(struct http_reply_header){ "Retry-After", retry }, 1);
	return false;
}

/* "application/json", with or without parameters; or Trove's own name for it. */
static bool is_json(const char *type)
{
	static const char *const names[] = { "application/json",
					     "application/vnd.openstack.trove+json" };

	for (size_t i = 0; type != NULL && i < ARRAY_LEN(names); i++) {
		size_t n = strlen(names[i]);

		if (strncasecmp(type, names[i], n) == 0 && strchr("; \t", type[n]) != NULL) {
			return true;
		}
	}
	return false;
}

static bool readable(struct call *c)
{
	if (c->rq->body_len == 0 || c->route->needs == ROLE_AGENT ||
	    is_json(http_header(c->rq, "Content-Type"))) {
		return true;
	}
	refuse(c, ERR_BAD_MEDIA, "The body must come with Content-Type: application/json.");
	return false;
}

/* No such row. Without a login nobody learns what is there and what is not. */
static void refuse_path(struct call *c)
{
	struct login login;

	if (str_starts(c->rq->path, "/v1.0/") && !auth_login(c->api->auth, c->rq, &login)) {
		refuse_login(c);
		return;
	}
	refuse(c, ERR_NOT_FOUND, "There is no such call: check method and path.");
}

static void take_match(struct call *c, const struct route_match *m)
{
	const char *host = http_header(c->rq, "Host");

	c->route = m->route;
	c->project = m->tenant;
	memcpy(c->param, m->param, sizeof c->param);
	trove_links_init(&c->links, "http", host == NULL ? "localhost" : host, c->project,
			 c->arena);
}

void routes_handle(void *arg, struct http_request *rq)
{
	struct call *c = call_new(arg, rq);
	struct route_match m;

	if (!route_find(rq->method, rq->path, c->arena, &m)) {
		refuse_path(c);
		return;
	}
	take_match(c, &m);
	if (admit(c) && within_rate(c) && readable(c)) {
		call_run(c);
	}
}
