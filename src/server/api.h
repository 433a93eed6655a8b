/*
 * An API call on its way: what the dispatcher (server/routes.c) hands to a handler, and how the
 * handler answers. A handler is `bool (struct call *, struct err *)`: false makes the fault body;
 * true means call_reply() or call_later() was used, or call_commit(), call_wait_idle() or
 * call_knock() will go on. The dispatcher does authentication, body ceiling, content type, rate
 * limit, status and fault body for all of them.
 *
 * Life of a call: it outlives its request. When the client leaves, c->rq becomes NULL; what the
 * handler has begun (a commit) goes on, and call_reply() then only ends the call. So behind any
 * wait c->rq, body and headers may be gone: keep what is needed in c->arena.
 */
#pragma once

#include "core/operate.h"
#include "io/httpd.h"
#include "proto/json.h"
#include "proto/trove.h"
#include "server/reconcile.h"
#include "server/registry.h"

/* AGENT: the agents' token; NOBODY: no login at all. ADMIN is above MEMBER is above READER. */
enum role { ROLE_NOBODY, ROLE_READER, ROLE_MEMBER, ROLE_ADMIN, ROLE_AGENT };

struct auth;    /* server/auth.h */
struct rates;   /* server/rate.h */
struct metrics; /* server/metrics.h */
struct held;    /* server/held.h */

struct api {
	struct loop *loop;
	struct registry *registry;
	struct reconcile *reconcile;
	const struct settings *settings;
	struct auth *auth;       /* never NULL: auth_new() */
	struct rates *rates;     /* rates_new(); NULL: no limit */
	struct metrics *metrics; /* NULL: nothing is counted */
	struct held *held;       /* held_new(): requests that wait for news */
	const char *agent_token; /* what agents send in Authorization: Bearer */
	unsigned knocks;         /* calls that wait for call_knock(): not freed before */
};

struct call;
typedef bool call_fn(struct call *c, struct err *e);

struct route {
	enum http_method method;
	const char *path; /* "/v1.0/{tenant}/instances/{id}" */
	call_fn *handler;
	enum role needs;
	int ok;            /* status of success */
	size_t body;       /* ceiling; 0: none is allowed */
	bool turn;         /* changes something: runs in its project's turn */
	const char *about; /* one line, for the API reference */
};
extern const struct route routes[];
extern const size_t nroutes;

enum { CALL_PARAMS_MAX = 4 };

typedef void call_gone_fn(struct call *c);

struct call {
	struct api *api;
	struct http_request *rq; /* NULL: the client has gone */
	const struct route *route;
	struct arena *arena; /* the call's; ends with it */
	const char *project; /* of the URL; "" when the path has none */
	bool admin;
	bool everywhere; /* a login of an administrator: sees every project's instances */
	const char *param[CALL_PARAMS_MAX]; /* values of the {words} after {tenant}, in order */
	struct trove_links links;
	void *state; /* the handler's own, over call_later() and call_commit() */
	enum probe_answer probe; /* what call_knock() heard */
	/* set before call_commit(): takes back what the handler holds when nothing was committed */
	void (*undo)(struct call *c);
	/* private */
	struct arena own;
	const char *turn; /* project whose turn the call holds or waits for; NULL: none */
	bool in_turn;
	unsigned waits; /* callbacks that will come back to this call */
	bool ended;     /* answered, freed when waits is 0 */
	call_gone_fn *gone;
	void (*committed)(struct call *c);
	int64_t began_us;
};

/* Answers with the route's status, and ends the call. Takes *body. */
void call_reply(struct call *c, struct str *body);
/* The same without a body. */
void call_reply_empty(struct call *c);
void call_reply_status(struct call *c, int status, struct str *body);
void call_reply_with(struct call *c, int status, struct str *body,
		     const struct http_reply_header *headers, size_t nheaders);
void call_fail(struct call *c, const struct err *e);

/*
 * Holds the call: the handler (or who it told) answers later with call_reply() or call_fail().
 * gone(c) runs instead when the client leaves first; forget c then. gone may be NULL.
 */
void call_later(struct call *c, call_gone_fn *gone);

/*
 * Runs the handler's next part when the commit is done; failure of the store is answered with 503
 * and fn does not run. Asserts that no commit of the group is under way: call_wait_idle() first.
 */
typedef void call_committed_fn(struct call *c);
void call_commit(struct call *c, struct entry *en, const struct group *next,
		 const struct group_event *events, size_t nevents, call_committed_fn *fn);
/* The same for two groups; the events are about the first. See registry_commit_pair(). */
void call_commit_pair(struct call *c, const struct registry_change changes[2],
		      const struct group_event *events, size_t nevents, call_committed_fn *fn);

/*
 * True when a commit of this group is under way: the handler returns true, and runs again from
 * its beginning once it has ended (unless the client has gone: then nothing is done).
 */
[[nodiscard]] bool call_wait_idle(struct call *c, const struct entry *en);

/*
 * Knocks at an instance's address, for at most CALL_KNOCK_MS; then the handler runs again from its
 * beginning, with what was heard in c->probe (unless the client has gone).
 */
enum { CALL_KNOCK_MS = 300 };
void call_knock(struct call *c, const struct member *m);

/* The instance named by param[i] in the call's project; ERR_NOT_FOUND as Trove says it. */
[[nodiscard]] bool call_instance(struct call *c, size_t i, struct instance_ref *ret, struct err *e);

/* The same for an id from a body. */
[[nodiscard]] bool call_instance_by_id(struct call *c, struct id id, struct instance_ref *ret,
				       struct err *e);

/* What the JSON of an instance is made of, as this call may see it. Strings are borrowed. */
struct trove_instance call_describe(const struct call *c, const struct instance_ref *ref);

/* Begins a call; NULL route is allowed until the dispatcher knows it. Ends with its answer. */
struct call *call_new(struct api *api, struct http_request *rq);
/* Runs the route's handler, in its turn when the route asks for one. */
void call_run(struct call *c);

/* The row for a method and path, and the values of its {words}; NULL: there is none. */
struct route_match {
	const struct route *route;
	const char *tenant; /* "" when the path has none */
	const char *param[CALL_PARAMS_MAX];
};
[[nodiscard]] bool route_find(enum http_method method, const char *path, struct arena *a,
			      struct route_match *ret);

/* The httpd's callbacks; arg is the struct api. */
void routes_handle(void *arg, struct http_request *rq);
void routes_gone(void *arg, struct http_request *rq);
size_t routes_ceiling(void *arg, enum http_method method, const char *path);
void routes_refuse(void *arg, const char *path, int status, const char *text, struct str *ret_body);
