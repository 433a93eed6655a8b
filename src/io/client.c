/*
 * libcurl's multi-socket interface: curl says which sockets to watch for what, and when it wants
 * to be called next; we tell it what happened. Results are handed out after curl has returned,
 * never from inside it, so a callback may start and cancel calls as it likes.
 */
#include "io/client.h"

#include <assert.h>
#include <strings.h>
#include <sys/queue.h>

#include <curl/curl.h>
#include <uv.h>

#include "io/turn.h"

enum {
	URL_SHOWN = 120, /* bytes of an URL in a message */
	/* A stream may be silent for minutes: the kernel asks whether the other side is there. */
	STREAM_IDLE_S = 10,
	STREAM_ASK_S = 5,
};

struct http_call {
	LIST_ENTRY(http_call) others;
	TAILQ_ENTRY(http_call) fresh;
	struct http_client *client;
	CURL *easy;
	struct curl_slist *headers;
	struct str body;
	size_t max_body;
	bool too_large;
	bool finished; /* its callback is running */
	bool is_fresh; /* in the client's list */
	bool once, sent;
	enum tls_doubt doubt;
	int64_t limit_ms, connect_limit_ms;
	char what[URL_SHOWN + 16]; /* "GET http://..." */
	char curl_text[CURL_ERROR_SIZE];
	http_data_fn *data;
	http_call_fn *fn;
	void *arg;
};

struct http_client {
	struct loop *loop;
	CURLM *multi;
	struct timer *timer;
	struct turn *now;
	LIST_HEAD(, http_call) calls;
	TAILQ_HEAD(, http_call) fresh; /* their data wait to be handed out */
};

/* One per socket that curl wants watched; freed by libuv's close callback. */
struct socket_watch {
	uv_poll_t uv;
	struct http_client *client;
	curl_socket_t fd;
};

/* Our own bugs, or no memory: the programs are crash-only. */
static void must(bool ok)
{
	if (!ok) {
		fprintf(stderr, "client: libcurl refused a call\n");
		abort();
	}
}

static void call_free(struct http_call *call)
{
	LIST_REMOVE(call, others);
	if (call->is_fresh) {
		TAILQ_REMOVE(&call->client->fresh, call, fresh);
	}
	curl_multi_remove_handle(call->client->multi, call->easy);
	curl_easy_cleanup(call->easy);
	curl_slist_free_all(call->headers);
	str_done(&call->body);
	free(call);
}

static bool call_result(const struct http_call *call, CURLcode code, struct err *e)
{
	if (code == CURLE_OK) {
		return true;
	}
	if (call->too_large) {
		return err_set(e, ERR_OVER_LIMIT, "%s: the answer is larger than %zu bytes",
			       call->what, call->max_body);
	}
	if (code == CURLE_OPERATION_TIMEDOUT) {
		int64_t limit_ms = call->sent ? call->limit_ms : call->connect_limit_ms;

		return err_set(e, ERR_TIMEOUT, "%s: no %s within %lld ms", call->what,
			       call->sent ? "answer" : "connection", (long long)limit_ms);
	}
	if (code == CURLE_ABORTED_BY_CALLBACK) { /* by curl_sends() */
		return err_set(e, ERR_UNAVAILABLE, "%s: the connection ended before an answer came",
			       call->what);
	}
	if (call->doubt != TLS_NO_DOUBT) {
		return err_set(e, ERR_UNAVAILABLE, "%s: %s", call->what,
			       tls_doubt_text(call->doubt));
	}
	return err_set(e, ERR_UNAVAILABLE, "%s: %s", call->what,
		       call->curl_text[0] != '\0' ? call->curl_text : curl_easy_strerror(code));
}

static void call_finish(struct http_call *call, CURLcode code)
{
	struct err e = {};
	long status = 0;

	call->doubt = tls_doubt_of(call->easy, (int)code);
	if (call_result(call, code, &e)) {
		curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
		call->fn(call->arg, (int)status, str_cstr(&call->body), call->body.len, &e);
	} else {
		call->fn(call->arg, 0, "", 0, &e);
	}
	call_free(call);
}

/* The callback may free the call, so that nothing of it is touched afterwards. */
static void hand_out_data(struct http_client *c)
{
	struct http_call *call;

	while ((call = TAILQ_FIRST(&c->fresh)) != NULL) {
		auto_str data = call->body;
		long status = 0;

		call->body = (struct str){};
		call->is_fresh = false;
		TAILQ_REMOVE(&c->fresh, call, fresh);
		curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
		call->data(call->arg, (int)status, data.p, data.len);
	}
}

/* Callbacks may cancel calls whose results wait here: removing a call takes its result away. */
static void hand_out_results(struct http_client *c)
{
	CURLMsg *m;
	int left;

	hand_out_data(c);
	while ((m = curl_multi_info_read(c->multi, &left)) != NULL) {
		struct http_call *call;
		CURLcode code = m->data.result; /* m ends with the next call into curl */

		if (m->msg != CURLMSG_DONE) {
			continue;
		}
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &call);
		call->finished = true;
		call_finish(call, code);
	}
}

static void on_timer(void *arg)
{
	struct http_client *c = arg;
	int running;

	curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	hand_out_results(c);
}

static void on_socket(uv_poll_t *uv, int status, int events)
{
	struct socket_watch *w = container_of(uv, struct socket_watch, uv);
	struct http_client *c = w->client; /* curl may let go of w */
	int flags = status < 0 ? CURL_CSELECT_ERR : 0;
	int running;

	flags |= (events & UV_READABLE) != 0 ? CURL_CSELECT_IN : 0;
	flags |= (events & UV_WRITABLE) != 0 ? CURL_CSELECT_OUT : 0;
	curl_multi_socket_action(c->multi, w->fd, flags, &running);
	hand_out_results(c);
}

static int curl_sets_timer(CURLM *, long ms, void *arg)
{
	struct http_client *c = arg;

	if (ms < 0) {
		timer_stop(c->timer);
	} else if (ms == 0) {
		turn_set(c->now); /* a timer takes a millisecond at least: one for every call */
	} else {
		timer_set_in(c->timer, ms);
	}
	return 0;
}

static void watch_closed(uv_handle_t *uv)
{
	free(container_of(uv, struct socket_watch, uv));
}

static struct socket_watch *watch_new(struct http_client *c, curl_socket_t fd)
{
	struct socket_watch *w = calloc(1, sizeof *w);

	must(w != NULL && uv_poll_init(loop_uv(c->loop), &w->uv, fd) == 0);
	w->client = c;
	w->fd = fd;
	curl_multi_assign(c->multi, fd, w);
	return w;
}

static int curl_sets_socket(CURL *, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct socket_watch *w = socket_arg;

	if (what == CURL_POLL_REMOVE) {
		if (w != NULL) {
			uv_close((uv_handle_t *)&w->uv, watch_closed);
		}
		return 0;
	}
	if (w == NULL) {
		w = watch_new(arg, fd);
	}
	int events = ((what & CURL_POLL_IN) != 0 ? UV_READABLE : 0) |
		     ((what & CURL_POLL_OUT) != 0 ? UV_WRITABLE : 0);
	uv_poll_start(&w->uv, events, on_socket);
	return 0;
}

static size_t curl_has_body(char *data, size_t size, size_t n, void *arg)
{
	struct http_call *call = arg;
	size_t len = size * n;

	if (len > call->max_body - call->body.len) {
		call->too_large = true;
		return CURL_WRITEFUNC_ERROR;
	}
	str_append_mem(&call->body, data, len);
	if (call->data != NULL && !call->is_fresh && len > 0) {
		TAILQ_INSERT_TAIL(&call->client->fresh, call, fresh);
		call->is_fresh = true;
	}
	return len;
}

/* A connection is there and the request goes out now; the second time: anew. */
static int curl_sends(void *arg, char *, char *, int, int)
{
	struct http_call *call = arg;
	bool again = call->sent;

	call->sent = true;
	return again && call->once ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

struct http_client *http_client_new(struct loop *l)
{
	static bool ready;
	struct http_client *c = calloc(1, sizeof *c);

	if (!ready) {
		must(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
		ready = true;
	}
	must(c != NULL && (c->multi = curl_multi_init()) != NULL);
	c->loop = l;
	c->timer = timer_new(l, on_timer, c);
	c->now = turn_new(l, on_timer, c);
	LIST_INIT(&c->calls);
	TAILQ_INIT(&c->fresh);
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, curl_sets_socket);
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, curl_sets_timer);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
	return c;
}

void http_client_free(struct http_client *c)
{
	if (c == NULL) {
		return;
	}
	while (!LIST_EMPTY(&c->calls)) {
		call_free(LIST_FIRST(&c->calls));
	}
	curl_multi_cleanup(c->multi); /* closes kept connections; may still set timer and sockets */
	timer_free(c->timer);
	turn_free(c->now);
	free(c);
}

static void add_header(struct http_call *call, const char *line)
{
	struct curl_slist *list = curl_slist_append(call->headers, line);

	must(list != NULL);
	call->headers = list;
}

static void set_headers(struct http_call *call, const struct http_call_spec *s)
{
	bool typed = false;

	for (size_t i = 0; i < s->nheaders; i++) {
		add_header(call, s->headers[i]);
		typed = typed || strncasecmp(s->headers[i], "Content-Type:", 13) == 0;
	}
	if (!typed) { /* curl would say that it is a form */
		add_header(call,
			   s->body != NULL ? "Content-Type: application/json" : "Content-Type:");
	}
	add_header(call, "Expect:"); /* no round trip before a large body */
	must(curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers) == CURLE_OK);
}

static void set_request(struct http_call *call, const struct http_call_spec *s)
{
	CURL *easy = call->easy;
	bool sends =
		s->body != NULL || strcmp(s->method, "POST") == 0 || strcmp(s->method, "PUT") == 0;

	must(curl_easy_setopt(easy, CURLOPT_URL, s->url) == CURLE_OK);
	if (sends) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)s->body_len);
		must(curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS,
				      s->body != NULL ? s->body : "") == CURLE_OK);
	}
	if (strcmp(s->method, "HEAD") == 0) {
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	} else {
		must(curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, s->method) == CURLE_OK);
	}
	set_headers(call, s);
}

static void set_manners(struct http_call *call)
{
	CURL *easy = call->easy;

	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* whatever the environment says */
	curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "tanist/" TANIST_VERSION);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->curl_text);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, curl_has_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, curl_sends);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, call);
	must(curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK);
}

static void set_limits(struct http_call *call, const struct http_call_spec *s)
{
	curl_easy_setopt(call->easy, CURLOPT_TIMEOUT_MS, (long)s->limit_ms);
	curl_easy_setopt(call->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)s->connect_limit_ms);
	if (s->limit_ms == 0) {
		curl_easy_setopt(call->easy, CURLOPT_TCP_KEEPALIVE, 1L);
		curl_easy_setopt(call->easy, CURLOPT_TCP_KEEPIDLE, (long)STREAM_IDLE_S);
		curl_easy_setopt(call->easy, CURLOPT_TCP_KEEPINTVL, (long)STREAM_ASK_S);
	}
}

struct http_call *http_call_start(struct http_client *c, const struct http_call_spec *s,
				  http_call_fn *fn, void *arg)
{
	struct http_call *call = calloc(1, sizeof *call);

	assert(s->limit_ms > 0 || s->data != NULL);
	must(call != NULL && (call->easy = curl_easy_init()) != NULL);
	call->client = c;
	call->max_body = s->max_body;
	call->limit_ms = s->limit_ms;
	call->connect_limit_ms = s->connect_limit_ms > 0 ? s->connect_limit_ms : s->limit_ms;
	call->once = s->once;
	call->data = s->data;
	call->fn = fn;
	call->arg = arg;
	snprintf(call->what, sizeof call->what, "%s %.*s", s->method, URL_SHOWN, s->url);
	set_manners(call);
	set_limits(call, s);
	tls_trust(call->easy, s->ca_file, s->pin);
	set_request(call, s);
	LIST_INSERT_HEAD(&c->calls, call, others);
	must(curl_multi_add_handle(c->multi, call->easy) == CURLM_OK); /* asks for the timer */
	return call;
}

bool http_call_was_sent(const struct http_call *call)
{
	return call->sent;
}

enum tls_doubt http_call_doubt(const struct http_call *call)
{
	return call->doubt;
}

void http_call_cancel(struct http_call *call)
{
	if (call != NULL && !call->finished) {
		call_free(call);
	}
}
