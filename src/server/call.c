/*
 * The life of an API call: from the dispatcher to the one answer, over waits for its project's
 * turn, for a group to be idle, for a server to answer a knock, and for a commit. At most one
 * callback is under way at any time, so a call is freed by its answer and by nothing else.
 */
#include "server/api.h"

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/knock.h"
#include "server/metrics.h"

struct call *call_new(struct api *api, struct http_request *rq)
{
	struct call *c = calloc(1, sizeof *c);

	if (c == NULL) {
		abort();
	}
	c->api = api;
	c->rq = rq;
	c->arena = &c->own;
	c->project = "";
	c->began_us = clock_us();
	rq->user = c;
	return c;
}

static void call_free(struct call *c)
{
	assert(c->waits == 0);
	if (c->in_turn) {
		registry_turn_end(c->api->registry, c->turn);
	}
	arena_done(&c->own);
	free(c);
}

/* 5xx are ours to explain, so they are logged; the rest is the client's and of use when looking. */
static void log_answer(const struct call *c, int status, int64_t us)
{
	LOG(LOG_DEBUG, "request.answered", KV("method", http_method_name(c->rq->method)),
	    KV("path", c->rq->path), KV("status", status), KV("us", us));
}

void call_reply_with(struct call *c, int status, struct str *body,
		     const struct http_reply_header *headers, size_t nheaders)
{
	assert(c->waits == 0);
	if (c->rq == NULL) {
		str_done(body);
	} else {
		int64_t us = clock_us() - c->began_us;

		log_answer(c, status, us);
		metrics_request(c->api->metrics, c->route, status, us);
		http_reply(c->rq, status, body, headers, nheaders);
	}
	call_free(c);
}

void call_reply_status(struct call *c, int status, struct str *body)
{
	call_reply_with(c, status, body, NULL, 0);
}

void call_reply(struct call *c, struct str *body)
{
	call_reply_status(c, c->route->ok, body);
}

void call_reply_empty(struct call *c)
{
	call_reply(c, &(struct str){});
}

/*
 * What fails in here is no client's doing, whatever it sent: it is told that the service cannot
 * serve it now, and the operator finds the reason in the log.
 */
static struct err for_client(const struct err *e)
{
	struct err told = *e;

	if (err_http_status(e->code) < 500 || e->code == ERR_NOT_IMPLEMENTED) {
		return told;
	}
	LOG(LOG_ERROR, "request.failed", KV("reason", e->msg));
	if (e->code == ERR_IO) {
		told.code = ERR_UNAVAILABLE;
	}
	return told;
}

void call_fail(struct call *c, const struct err *e)
{
	struct str body = {};
	struct err told = for_client(e);

	trove_write_fault(&told, &body);
	call_reply_status(c, err_http_status(told.code), &body);
}

void call_later(struct call *c, call_gone_fn *gone)
{
	c->gone = gone;
}

static void call_handle(struct call *c)
{
	struct err e = {};

	if (c->rq == NULL) {
		call_free(c); /* nobody waits for it and nothing has begun: it is not done */
		return;
	}
	if (!c->route->handler(c, &e)) {
		call_fail(c, &e);
	}
}

static void on_turn(void *arg)
{
	struct call *c = arg;

	c->waits--;
	c->in_turn = true;
	call_handle(c);
}

/*
 * The project whose turn it is to be: the instance's own, which is another than the URL's when an
 * administrator reaches over.
 */
static const char *turn_project(struct call *c)
{
	struct instance_ref ref;
	struct err e;

	if (c->everywhere && c->param[0] != NULL && call_instance(c, 0, &ref, &e)) {
		return arena_strdup(c->arena, ref.g->project);
	}
	return c->project;
}

void call_run(struct call *c)
{
	if (!c->route->turn) {
		call_handle(c);
		return;
	}
	c->turn = turn_project(c);
	c->waits++;
	registry_turn_begin(c->api->registry, c->turn, on_turn, c);
}

static void on_idle(void *arg)
{
	struct call *c = arg;

	c->waits--;
	call_handle(c);
}

bool call_wait_idle(struct call *c, const struct entry *en)
{
	if (!en->committing) {
		return false;
	}
	c->waits++;
	registry_when_idle(c->api->registry, en->g->id, on_idle, c);
	return true;
}

static void on_knocked(void *arg, bool answers)
{
	struct call *c = arg;

	c->waits--;
	c->api->knocks--;
	c->probe = answers ? PROBE_ANSWERS : PROBE_SILENT;
	call_handle(c);
}

void call_knock(struct call *c, const struct member *m)
{
	c->waits++;
	c->api->knocks++;
	knock_start(c->api->loop, m->address, m->port, CALL_KNOCK_MS, on_knocked, c);
}

static void on_committed(void *arg, enum store_outcome outcome, const struct err *e)
{
	struct call *c = arg;

	c->waits--;
	if (outcome != STORE_COMMITTED) {
		struct err told = { .code = ERR_UNAVAILABLE };

		if (c->undo != NULL) {
			c->undo(c);
		}
		snprintf(told.msg, sizeof told.msg,
			 "The change could not be stored, nothing was "
			 "changed: %s. Try again later.",
			 e->msg);
		call_fail(c, &told);
		return;
	}
	if (c->rq == NULL) {
		call_free(c);
		return;
	}
	c->committed(c);
}

void call_commit(struct call *c, struct entry *en, const struct group *next,
		 const struct group_event *events, size_t nevents, call_committed_fn *fn)
{
	c->committed = fn;
	c->waits++;
	registry_commit(c->api->registry, en, next, events, nevents, on_committed, c);
}

void call_commit_pair(struct call *c, const struct registry_change changes[2],
		      const struct group_event *events, size_t nevents, call_committed_fn *fn)
{
	c->committed = fn;
	c->waits++;
	registry_commit_pair(c->api->registry, changes, events, nevents, on_committed, c);
}

bool call_instance_by_id(struct call *c, struct id id, struct instance_ref *ret, struct err *e)
{
	const char *project = c->everywhere ? NULL : c->project;

	if (!registry_find(c->api->registry, project, id, ret)) {
		return err_set(e, ERR_NOT_FOUND, "Instance %s cannot be found in this project.",
			       id_text(id).s);
	}
	return true;
}

bool call_instance(struct call *c, size_t i, struct instance_ref *ret, struct err *e)
{
	struct id id;

	if (!id_parse(c->param[i], &id)) {
		return err_set(e, ERR_NOT_FOUND,
			       "Instance '%.64s' cannot be found: give its id (GET "
			       "/v1.0/%.64s/instances lists them).",
			       c->param[i], c->project);
	}
	return call_instance_by_id(c, id, ret, e);
}

struct trove_instance call_describe(const struct call *c, const struct instance_ref *ref)
{
	const struct settings *s = c->api->settings;

	return (struct trove_instance){
		.wall_ms = clock_wall_ms(),
		.g = ref->g,
		.m = ref->m,
		.o = ref->o,
		.source_o = ref->source_o,
		.silent = ref->silent,
		.admin = c->admin,
		.region = setting_text(s, "api.region"),
		.active_status = setting_text(s, "api.active_status"),
	};
}

void routes_gone(void *, struct http_request *rq)
{
	struct call *c = rq->user;

	c->rq = NULL;
	if (c->gone != NULL) {
		c->gone(c);
		call_free(c);
	}
	/* else what it waits for comes back, and ends it */
}
