/*
 * An API call on its way: what the dispatcher (server/routes.c) hands to a handler, and how the
 * handler answers. A handler is `bool (struct call *, struct err *)`: false makes the fault body;
 * true means call_reply() or call_later() was used. The dispatcher does authentication, body
 * ceiling, content type, rate limit, status and fault body for all of them.
 */
#pragma once

#include "io/httpd.h"
#include "proto/json.h"
#include "proto/trove.h"
#include "server/reconcile.h"
#include "server/registry.h"

enum role { ROLE_NOBODY, ROLE_READER, ROLE_MEMBER, ROLE_ADMIN, ROLE_AGENT };

struct api {
	struct loop *loop;
	struct registry *registry;
	struct reconcile *reconcile;
	const struct settings *settings;
	struct auth *auth;
	struct metrics *metrics;
	const char *agent_token; /* what agents send in Authorization: Bearer */
};

struct call;
typedef bool call_fn(struct call *c, struct err *e);

struct route {
	enum http_method method;
	const char *path;    /* "/v1.0/{tenant}/instances/{id}" */
	call_fn *handler;
	enum role needs;
	int ok;              /* status of success */
	size_t body;         /* ceiling; 0: none is allowed */
	bool turn;           /* changes something: runs in its project's turn */
	const char *about;   /* one line, for the API reference */
};
extern const struct route routes[];
extern const size_t nroutes;

struct call {
	struct api *api;
	struct http_request *rq;
	const struct route *route;
	struct arena *arena;    /* the request's */
	const char *project;    /* of the URL; "" when the path has none */
	bool admin;
	const char *param[4];   /* values of the {words} after {tenant}, in order */
	struct trove_links links;
	void *state;            /* the handler's own, over call_later() */
	/* private */
	bool answered, in_turn;
	int64_t began_us;
};

/* Answers with the route's status. Takes *body. */
void call_reply(struct call *c, struct str *body);
void call_reply_status(struct call *c, int status, struct str *body);
void call_fail(struct call *c, const struct err *e);

/* Runs the handler's next part when the commit is done; maps failure of the store to 503. */
typedef void call_committed_fn(struct call *c);
void call_commit(struct call *c, struct entry *en, const struct group *next,
		 const struct group_event *events, size_t nevents, call_committed_fn *fn);

/* The instance named by param[i] in the call's project; ERR_NOT_FOUND as Trove says it. */
[[nodiscard]] bool call_instance(struct call *c, size_t i, struct instance_ref *ret, struct err *e);

/* The httpd's callbacks. */
void routes_handle(void *arg, struct http_request *rq);
void routes_gone(void *arg, struct http_request *rq);
size_t routes_ceiling(void *arg, enum http_method method, const char *path);
void routes_refuse(void *arg, const char *path, int status, const char *text, struct str *ret_body);
