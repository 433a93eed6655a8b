/*
 * The API's versions, and what clients ask before anything else: a login without Keystone, a
 * project's name, and the lists that are always empty here.
 */
#include "server/auth.h"
#include "server/handlers.h"

static void write_version(struct jw *w, const char *key, const struct call *c)
{
	auto_str href = {};

	str_printf(&href, "%s://%s/v1.0/", c->links.scheme, c->links.host);
	jw_object(w, key);
	jw_str(w, "id", "v1.0");
	jw_str(w, "status", "CURRENT");
	jw_str(w, "updated", "2012-08-01T00:00:00Z");
	jw_array(w, "links");
	jw_object(w, NULL);
	jw_str(w, "rel", "self");
	jw_str(w, "href", href.p);
	jw_end(w);
	jw_end(w);
	jw_end(w);
}

/* The version that the Accept header asks for; "1.0" when it asks for none. */
static bool accepts_version(const struct http_request *rq)
{
	static const char vendor[] = "application/vnd.openstack.trove+json;version=";
	const char *accept = http_header(rq, "Accept");
	const char *at = accept == NULL ? NULL : strstr(accept, vendor);

	if (at == NULL) {
		return true;
	}
	at += sizeof vendor - 1;
	size_t len = strcspn(at, ",; ");
	return len == 3 && memcmp(at, "1.0", 3) == 0;
}

bool api_version_list(struct call *c, struct err *e)
{
	struct str body = {};
	struct jw w = { .out = &body };

	if (!accepts_version(c->rq)) {
		return err_set(e, ERR_NOT_ACCEPTABLE,
			       "There is version 1.0 of this API, no other: see "
			       "the header Accept.");
	}
	jw_object(&w, NULL);
	jw_array(&w, "versions");
	write_version(&w, NULL, c);
	jw_end(&w);
	jw_end(&w);
	call_reply(c, &body);
	return true;
}

bool api_version_show(struct call *c, struct err *)
{
	struct str body = {};
	struct jw w = { .out = &body };

	jw_object(&w, NULL);
	write_version(&w, "version", c);
	jw_end(&w);
	call_reply(c, &body);
	return true;
}

/*
 * What the legacy trove command does before its first call when there is no Keystone: it wants
 * two headers. With tokens the password is the token.
 */
bool api_login(struct call *c, struct err *e)
{
	const char *key = http_header(c->rq, "X-Auth-Key");
	const char *project = http_header(c->rq, "X-Auth-Project-Id");
	struct login login;
	struct trove_links l;
	struct str body = {};

	if (!auth_token(c->api->auth, key, &login)) {
		return err_set(e, ERR_UNAUTHORIZED,
			       "Give a valid token as the password (OS_PASSWORD).");
	}
	project = login.project != NULL ? login.project : project != NULL ? project : "dev";
	trove_links_init(&l, c->links.scheme, c->links.host, project, c->arena);
	/* between the opening quote and the last slash: already free of bytes that end a header */
	const char *url = arena_printf(c->arena, "%.*s", (int)l.self_len - 2, l.self + 1);
	const struct http_reply_header headers[] = {
		{ "X-Server-Management-Url", url },
		{ "X-Auth-Token", auth_open(c->api->auth) ? "none" : key },
	};
	call_reply_with(c, c->route->ok, &body, headers, ARRAY_LEN(headers));
	return true;
}

bool api_project_show(struct call *c, struct err *)
{
	struct str body = {};
	struct jw w = { .out = &body };

	jw_object(&w, NULL);
	jw_object(&w, "project");
	jw_str(&w, "id", c->param[0]);
	jw_str(&w, "name", c->param[0]);
	jw_end(&w);
	jw_end(&w);
	call_reply(c, &body);
	return true;
}

static bool reply_empty_list(struct call *c, const char *key)
{
	struct str body = {};
	struct jw w = { .out = &body };

	jw_object(&w, NULL);
	jw_array(&w, key);
	jw_end(&w);
	jw_end(&w);
	call_reply(c, &body);
	return true;
}

bool api_cluster_list(struct call *c, struct err *)
{
	return reply_empty_list(c, "clusters");
}

bool api_module_list(struct call *c, struct err *)
{
	return reply_empty_list(c, "modules");
}

bool api_instance_modules(struct call *c, struct err *e)
{
	struct instance_ref ref;

	return call_instance(c, 0, &ref, e) && reply_empty_list(c, "modules");
}
