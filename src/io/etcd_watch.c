/*
 * A watch: one request whose answer is a line of JSON at a time and does not end.
 */
#include "base/clock.h"
#include "io/etcd_impl.h"

enum { KEEP_BYTES = 1 << 20 }; /* of an emptied buffer */

struct etcd_watch {
	struct etcd *etcd;
	struct http_call *http; /* NULL: it waits for a login, or has ended */
	struct timer *limit;    /* for the login and the first answer */
	struct str request;
	struct str text; /* what no line has taken yet */
	size_t searched; /* of it: no line ends there */
	size_t endpoint;
	unsigned login;
	bool posted, begun;
	bool busy, freed; /* in a callback; free it behind that */
	etcd_watch_fn *fn;
	etcd_watch_end_fn *end;
	void *arg;
};

static void watch_delete(struct etcd_watch *w)
{
	http_call_cancel(w->http);
	timer_free(w->limit);
	str_done(&w->request);
	str_done(&w->text);
	free(w);
}

static void ended(struct etcd_watch *w, const struct err *why)
{
	http_call_cancel(w->http);
	w->http = NULL;
	timer_stop(w->limit);
	w->end(w->arg, why);
}

static void fail(struct etcd_watch *w, const struct err *why)
{
	if (w->posted) {
		etcd_endpoint_left(w->etcd, w->endpoint, why);
	}
	ended(w, why);
}

static void on_line(struct etcd_watch *w, const char *line, size_t len)
{
	auto_json *j = NULL;
	struct err why = {};
	const json_t *result;

	if (!json_parse(line, len, &j, &why)) {
		err_wrap(&why, "etcd's watch");
		fail(w, &why);
		return;
	}
	result = json_object_get(j, "result");
	if (result == NULL) {
		const char *said =
			json_string_value(json_object_get(json_object_get(j, "error"), "message"));

		err_set(&why, ERR_UNAVAILABLE, "etcd's watch: %s",
			said == NULL ? "an answer that is none" : said);
		fail(w, &why);
		return;
	}
	if (!w->begun) {
		w->begun = true;
		timer_stop(w->limit);
		etcd_endpoint_good(w->etcd, w->endpoint);
	}
	w->fn(w->arg, result);
}

/* The lines that are whole. The rest moves to the front once, not once a line. */
static void take_lines(struct etcd_watch *w)
{
	size_t taken = 0;
	char *nl;

	while (w->http != NULL && !w->freed && w->searched < w->text.len &&
	       (nl = memchr(w->text.p + w->searched, '\n', w->text.len - w->searched)) != NULL) {
		size_t at = (size_t)(nl - w->text.p);

		if (at > taken) {
			on_line(w, w->text.p + taken, at - taken);
		}
		taken = w->searched = at + 1;
	}
	memmove(w->text.p, w->text.p + taken, w->text.len - taken);
	w->text.len -= taken;
	w->searched = w->text.len;
	if (w->text.len == 0 && w->text.cap > KEEP_BYTES) {
		str_done(&w->text);
	}
}

static void on_data(void *arg, int status, const char *data, size_t len)
{
	struct etcd_watch *w = arg;

	if (w->text.len + len > ETCD_ANSWER_BYTES) {
		struct err why;

		err_set(&why, ERR_OVER_LIMIT, "etcd's watch: an answer of more than %d bytes",
			ETCD_ANSWER_BYTES);
		ended(w, &why);
		return;
	}
	str_append_mem(&w->text, data, len);
	if (status != 200) {
		return; /* on_result() reads it */
	}
	w->busy = true;
	take_lines(w);
	w->busy = false;
	if (w->freed) {
		watch_delete(w);
	}
}

static void on_result(void *arg, int status, const char *, size_t, const struct err *e)
{
	struct etcd_watch *w = arg;
	struct err why = *e;

	w->http = NULL;
	if (status != 0 && status != 200) {
		struct etcd_reply r = etcd_reply(status, str_cstr(&w->text), w->text.len, e);

		json_decref(r.body);
		why = r.err;
		if (etcd_login_wanted(w->etcd, why.msg)) {
			etcd_login_forget(w->etcd, w->login);
			ended(w, &why);
			return;
		}
	} else if (status == 200) {
		err_set(&why, ERR_UNAVAILABLE, "etcd has ended the watch");
	}
	fail(w, &why);
}

static void post(struct etcd_watch *w)
{
	struct etcd *e = w->etcd;

	w->posted = true;
	w->endpoint = e->current;
	w->login = e->logins;
	w->http = etcd_post(e, "/v3/watch", &w->request,
			    &(struct http_call_spec){ .data = on_data }, on_result, w);
	timer_set_in(w->limit, e->try_limit_ms);
}

static void on_limit(void *arg)
{
	struct etcd_watch *w = arg;
	struct err why;

	if (w->posted) {
		err_set(&why, ERR_TIMEOUT, "etcd's watch: no answer within %lld ms",
			(long long)w->etcd->try_limit_ms);
		fail(w, &why);
	} else if (etcd_login_ready(w->etcd)) {
		post(w);
	} else {
		timer_set_in(w->limit, ETCD_PAUSE_MS);
	}
}

struct etcd_watch *etcd_watch_new(struct etcd *e, const struct str *body, etcd_watch_fn *fn,
				  etcd_watch_end_fn *end, void *arg)
{
	struct etcd_watch *w = calloc(1, sizeof *w);

	if (w == NULL) {
		abort();
	}
	w->etcd = e;
	w->fn = fn;
	w->end = end;
	w->arg = arg;
	w->limit = timer_new(e->loop, on_limit, w);
	str_append_mem(&w->request, str_cstr(body), body->len);
	if (etcd_login_ready(e)) {
		post(w);
	} else {
		timer_set_in(w->limit, ETCD_PAUSE_MS);
	}
	return w;
}

void etcd_watch_blame(struct etcd_watch *w)
{
	struct err why;

	err_set(&why, ERR_UNAVAILABLE, "its watch is silent though there is news");
	etcd_endpoint_left(w->etcd, w->endpoint, &why);
}

bool etcd_watch_cancelled(struct etcd_watch *w, const char *why)
{
	if (!etcd_login_wanted(w->etcd, why)) {
		return false;
	}
	etcd_login_forget(w->etcd, w->login);
	return true;
}

void etcd_watch_free(struct etcd_watch *w)
{
	if (w == NULL) {
		return;
	}
	if (w->busy) {
		w->freed = true;
		http_call_cancel(w->http);
		w->http = NULL;
		timer_stop(w->limit);
	} else {
		watch_delete(w);
	}
}
