#include "io/etcd_impl.h"

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"

enum {
	LOGINS_PER_CALL = 2,
	UNREACHABLE_MS = 1000, /* worth a line: not each lost connection */
};

struct etcd_call {
	TAILQ_ENTRY(etcd_call) others;
	struct etcd *etcd;
	struct http_call *http; /* NULL: it waits */
	char *path;
	struct str body;
	enum etcd_manner manner;
	int64_t deadline_ms, sent_ms;
	size_t endpoint, tries;
	unsigned login, logins, round;
	bool maybe_done;
	struct err last;
	etcd_fn *fn;
	void *arg;
};

/* ---- endpoints ---- */

void etcd_endpoint_good(struct etcd *e, size_t endpoint)
{
	e->endpoints[endpoint].bad = false;
	e->good_ms = clock_ms();
	if (e->unreachable) {
		e->unreachable = false;
		LOG(LOG_INFO, "etcd.reached", KV("endpoint", e->endpoints[endpoint].url));
	}
}

static bool all_bad(const struct etcd *e)
{
	for (size_t i = 0; i < e->nendpoints; i++) {
		if (!e->endpoints[i].bad) {
			return false;
		}
	}
	return true;
}

void etcd_endpoint_left(struct etcd *e, size_t endpoint, const struct err *why)
{
	struct endpoint *p = &e->endpoints[endpoint];

	if (endpoint == e->current) { /* of many calls under way there the first one turns */
		e->current = (e->current + 1) % e->nendpoints;
	}
	if (!p->bad && e->nendpoints > 1) {
		LOG(LOG_WARN, "etcd.endpoint-left", KV("endpoint", p->url), KV("why", why->msg));
	}
	p->bad = true;
	if (!e->unreachable && all_bad(e) && clock_ms() - e->good_ms >= UNREACHABLE_MS) {
		e->unreachable = true;
		LOG(LOG_ERROR, "etcd.unreachable", KV("why", why->msg));
	}
}

struct http_call *etcd_post(struct etcd *e, const char *path, const struct str *body,
			    const struct http_call_spec *how, http_call_fn *fn, void *arg)
{
	const char *headers[2] = { "Grpc-Metadata-Hasleader: true", str_cstr(&e->authorization) };
	auto_str url = {};
	struct http_call_spec s = *how;

	str_printf(&url, "%s%s", e->endpoints[e->current].url, path);
	s.method = "POST";
	s.url = str_cstr(&url);
	s.headers = headers;
	s.nheaders = e->authorization.len > 0 ? 2 : 1;
	s.body = str_cstr(body);
	s.body_len = body->len;
	s.connect_limit_ms = e->connect_limit_ms;
	s.max_body = ETCD_ANSWER_BYTES;
	s.ca_file = e->ca_file;
	return http_call_start(e->http, &s, fn, arg);
}

/* ---- requests ---- */

static void call_free(struct etcd_call *call)
{
	TAILQ_REMOVE(&call->etcd->calls, call, others);
	http_call_cancel(call->http);
	str_done(&call->body);
	free(call->path);
	free(call);
}

static void finish(struct etcd_call *call, struct etcd_answer *a)
{
	etcd_fn *fn = call->fn;
	void *arg = call->arg;

	a->sent_ms = call->sent_ms;
	call_free(call);
	fn(arg, a);
}

static void fail(struct etcd_call *call)
{
	const struct etcd *e = call->etcd;
	struct etcd_answer a = { .fate = call->maybe_done ? ETCD_UNKNOWN : ETCD_UNREACHED,
				 .err = call->last };

	if (a.err.code == ERR_NONE && e->login_refused) {
		a.err = e->login_err;
	} else if (a.err.code == ERR_NONE) {
		err_set(&a.err, ERR_TIMEOUT, "etcd: nobody answered in time");
	}
	finish(call, &a);
}

static void wait_for_resume(struct etcd_call *call)
{
	call->http = NULL;
	if (!timer_is_set(call->etcd->pause)) {
		timer_set_in(call->etcd->pause, ETCD_PAUSE_MS);
	}
}

static void send_call(struct etcd_call *call);

/* Another endpoint at once; after all of them have had their turn, not before a pause. */
static void try_next(struct etcd_call *call)
{
	call->http = NULL;
	if (++call->tries % call->etcd->nendpoints == 0) {
		wait_for_resume(call);
	} else {
		send_call(call);
	}
}

static void log_in_again(struct etcd_call *call)
{
	call->logins++;
	etcd_login_forget(call->etcd, call->login);
	wait_for_resume(call);
	etcd_login_ready(call->etcd);
}

static void not_answered(struct etcd_call *call, const struct etcd_reply *r)
{
	struct etcd *e = call->etcd;
	bool reached = http_call_was_sent(call->http);

	if (call->last.code == ERR_NONE || r->err.code != ERR_TIMEOUT) {
		call->last = r->err; /* the last try may have had no time: the reason is another */
	}
	if (r->refused && etcd_login_wanted(e, r->err.msg) && call->logins < LOGINS_PER_CALL) {
		log_in_again(call);
		return;
	}
	if (r->refused && !r->passes) {
		struct etcd_answer a = { .fate = ETCD_REFUSED, .code = r->code, .err = r->err };

		etcd_endpoint_good(e, call->endpoint);
		finish(call, &a);
		return;
	}
	etcd_endpoint_left(e, call->endpoint, &r->err);
	call->maybe_done = call->maybe_done || (reached && !r->refused);
	if (call->manner == ETCD_ONCE && call->maybe_done) {
		fail(call);
	} else {
		try_next(call);
	}
}

static void on_result(void *arg, int status, const char *text, size_t len, const struct err *err)
{
	struct etcd_call *call = arg;
	struct etcd_reply r = etcd_reply(status, text, len, err);
	auto_json *body = r.body;

	if (r.answered) {
		struct etcd_answer a = { .fate = ETCD_ANSWERED, .body = body };

		etcd_endpoint_good(call->etcd, call->endpoint);
		finish(call, &a);
	} else {
		not_answered(call, &r);
	}
}

static void send_call(struct etcd_call *call)
{
	struct etcd *e = call->etcd;
	int64_t left_ms = call->deadline_ms - clock_ms();
	bool may_turn = call->manner == ETCD_AGAIN && left_ms > e->try_limit_ms;

	if (left_ms <= 0) {
		fail(call);
		return;
	}
	if (!etcd_login_ready(e)) {
		wait_for_resume(call);
		return;
	}
	call->endpoint = e->current;
	call->login = e->logins;
	call->sent_ms = clock_ms();
	call->http = etcd_post(
		e, call->path, &call->body,
		&(struct http_call_spec){ .limit_ms = may_turn ? e->try_limit_ms : left_ms,
					  .once = call->manner == ETCD_ONCE },
		on_result, call);
}

/* Callbacks may ask and cancel, so the search begins anew after each. */
void etcd_resume(struct etcd *e)
{
	struct etcd_call *call;
	unsigned round = ++e->rounds;

	timer_stop(e->pause);
	for (call = TAILQ_FIRST(&e->calls); call != NULL;) {
		if (call->http != NULL || call->round == round) {
			call = TAILQ_NEXT(call, others);
			continue;
		}
		call->round = round;
		send_call(call);
		call = TAILQ_FIRST(&e->calls);
	}
}

static void on_pause_over(void *arg)
{
	etcd_resume(arg);
}

struct etcd_call *etcd_ask(struct etcd *e, const char *path, const struct str *body,
			   enum etcd_manner manner, int64_t limit_ms, etcd_fn *fn, void *arg)
{
	struct etcd_call *call = calloc(1, sizeof *call);

	assert(limit_ms > 0);
	if (call == NULL) {
		abort();
	}
	call->etcd = e;
	call->path = strdup(path);
	str_append_mem(&call->body, str_cstr(body), body->len);
	call->manner = manner;
	call->deadline_ms = clock_ms() + limit_ms;
	call->round = e->rounds;
	call->fn = fn;
	call->arg = arg;
	TAILQ_INSERT_TAIL(&e->calls, call, others);
	send_call(call);
	return call;
}

void etcd_cancel(struct etcd_call *call)
{
	if (call != NULL) {
		call_free(call);
	}
}

/* ---- from beginning to end ---- */

static bool add_endpoint(struct etcd *e, const char *url, size_t len, struct err *err)
{
	const char *rest = str_starts(url, "http://")    ? url + 7
			   : str_starts(url, "https://") ? url + 8
							 : NULL;

	if (rest == NULL || rest >= url + len) {
		return err_set(err, ERR_INVALID,
			       "etcd endpoint '%.*s' is no http:// or https:// URL", (int)len, url);
	}
	if (memchr(url, '@', len) != NULL) { /* it would be in every log line */
		return err_set(err, ERR_INVALID,
			       "an etcd endpoint holds no user and password: they are settings");
	}
	if (e->nendpoints == ETCD_ENDPOINTS) {
		return err_set(err, ERR_INVALID, "more than %d etcd endpoints", ETCD_ENDPOINTS);
	}
	while (url[len - 1] == '/') {
		len--;
	}
	e->endpoints[e->nendpoints++].url = strndup(url, len);
	return true;
}

static bool add_endpoints(struct etcd *e, const char *list, struct err *err)
{
	static const char between[] = ", \t";

	for (list += strspn(list, between); *list != '\0'; list += strspn(list, between)) {
		size_t len = strcspn(list, between);

		if (!add_endpoint(e, list, len, err)) {
			return false;
		}
		list += len;
	}
	return e->nendpoints > 0 || err_set(err, ERR_INVALID, "there is no etcd endpoint");
}

bool etcd_new(struct loop *l, const struct etcd_config *c, struct etcd **ret, struct err *err)
{
	struct etcd *e = calloc(1, sizeof *e);

	if (e == NULL) {
		abort();
	}
	e->loop = l;
	e->user = strdup(c->user);
	e->ca_file = strdup(c->ca_file);
	e->password = c->password;
	e->try_limit_ms = c->try_limit_ms;
	e->connect_limit_ms = c->connect_limit_ms;
	e->good_ms = clock_ms();
	e->http = http_client_new(l);
	e->pause = timer_new(l, on_pause_over, e);
	TAILQ_INIT(&e->calls);
	if (!add_endpoints(e, c->endpoints, err)) {
		etcd_free(e);
		return false;
	}
	*ret = e;
	return true;
}

void etcd_free(struct etcd *e)
{
	if (e == NULL) {
		return;
	}
	while (!TAILQ_EMPTY(&e->calls)) {
		call_free(TAILQ_FIRST(&e->calls));
	}
	http_client_free(e->http);
	timer_free(e->pause);
	for (size_t i = 0; i < e->nendpoints; i++) {
		free(e->endpoints[i].url);
	}
	free(e->user);
	free(e->ca_file);
	str_done(&e->authorization);
	free(e);
}

struct last_request {
	struct loop *loop;
	bool answered;
};

static void on_last_answer(void *arg, const struct etcd_answer *a)
{
	struct last_request *r = arg;

	r->answered = a->fate == ETCD_ANSWERED;
	loop_stop(r->loop);
}

bool etcd_ask_here(const struct etcd *e, const char *path, const struct str *body, int64_t limit_ms)
{
	struct last_request r = { .loop = loop_new() };
	struct etcd *x = NULL;
	auto_str list = {};
	struct err err;

	for (size_t i = 0; i < e->nendpoints; i++) { /* the one in use first */
		str_printf(&list, "%s,", e->endpoints[(e->current + i) % e->nendpoints].url);
	}
	struct etcd_config c = { .endpoints = str_cstr(&list),
				 .user = e->user,
				 .password = e->password,
				 .ca_file = e->ca_file,
				 .try_limit_ms = e->try_limit_ms,
				 .connect_limit_ms = e->connect_limit_ms };
	if (etcd_new(r.loop, &c, &x, &err)) {
		str_append(&x->authorization, str_cstr(&e->authorization));
		etcd_ask(x, path, body, ETCD_AGAIN, limit_ms, on_last_answer, &r);
		loop_run(r.loop);
	}
	etcd_free(x);
	loop_free(r.loop);
	return r.answered;
}
