/*
 * libmicrohttpd on our loop: its epoll descriptor is watched, MHD_run() does what is due, and a
 * turn of the loop repeats it while it has more. All its callbacks come out of MHD_run().
 *
 * A connection walks HEAD -> BODY -> HANDLED -> REPLY -> IDLE -> HEAD ... How long it may stay
 * where it is, is httpd_patience.c's business.
 */
#include "io/httpd_internal.h"

#include <assert.h>
#include <gnutls/abstract.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/file.h"
#include "io/http_head.h"
#include "io/listen.h"

enum { POOL_BYTES = 8 << 10 }; /* per connection: the head in, the head out */

/* Of a body over the ceiling that much more is read, so that the client is there for the answer. */
static const size_t discard_max = MIB(1);

/* In GnuTLS's words: its own choice of ciphers, TLS 1.2 and 1.3. */
static char tls_priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

static const char *const method_names[] = {
	[HTTP_GET] = "GET",     [HTTP_HEAD] = "HEAD",   [HTTP_POST] = "POST",
	[HTTP_PUT] = "PUT",     [HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE",
	[HTTP_OTHER] = "OTHER",
};

const char *http_method_name(enum http_method m)
{
	return method_names[m];
}

static enum http_method method_parse(const char *s)
{
	enum http_method m = HTTP_GET;

	while (m != HTTP_OTHER && strcmp(s, method_names[m]) != 0) {
		m++;
	}
	return m;
}

void connection_enter(struct http_connection *c, enum connection_state s)
{
	c->state = s;
	c->since_ms = c->h->now_ms;
}

void connection_drop_request(struct http_connection *c)
{
	if (c->rq != NULL) {
		arena_done(&c->rq->arena);
		free(c->rq);
		c->rq = NULL;
	}
	str_done(&c->body);
}

static struct http_request *request_new(struct http_connection *c)
{
	struct http_request *rq = calloc(1, sizeof *rq);

	if (rq == NULL) {
		abort();
	}
	rq->connection = c;
	rq->body = "";
	return rq;
}

/* Answers. */

/* NULL only when memory has run out. */
static struct MHD_Response *response_new(struct str *body)
{
	size_t len = body->len;

	if (len == 0) {
		str_done(body);
		return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	}
	return MHD_create_response_from_buffer(len, str_take(body), MHD_RESPMEM_MUST_FREE);
}

/* A value with a line break in it is left out, never sent: it would be a header of its own. */
static void response_header(struct MHD_Response *r, const char *name, const char *value)
{
	if (MHD_add_response_header(r, name, value) != MHD_YES) {
		LOG(LOG_DEBUG, "http.header-dropped", KV("name", name));
	}
}

static enum MHD_Result response_send(struct http_connection *c)
{
	struct MHD_Response *r = c->response;
	enum MHD_Result queued = MHD_queue_response(c->mhd, c->status, r);

	c->response = NULL;
	connection_enter(c, CONNECTION_REPLY);
	MHD_destroy_response(r); /* the connection has its own reference */
	return queued;
}

/* An error found before the handler. What follows on this connection is not looked at. */
static enum MHD_Result refuse(struct http_connection *c, int status, const char *text)
{
	const struct httpd_config *config = &c->h->config;
	auto_str body = {};

	config->refuse(config->arg, c->rq->path, status, text, &body);
	connection_drop_request(c);
	c->response = response_new(&body);
	if (c->response == NULL) {
		return MHD_NO;
	}
	c->status = (unsigned)status;
	response_header(c->response, "Content-Type", "application/json");
	response_header(c->response, "Connection", "close");
	return response_send(c);
}

static bool has_content_type(const struct http_reply_header *headers, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (strcasecmp(headers[i].name, "Content-Type") == 0) {
			return true;
		}
	}
	return false;
}

void http_reply(struct http_request *rq, int status, struct str *body,
		const struct http_reply_header *headers, size_t nheaders)
{
	struct http_connection *c = rq->connection;

	assert(c->rq == rq && c->state == CONNECTION_HANDLED && c->response == NULL);
	c->response = response_new(body);
	if (c->response == NULL) {
		abort();
	}
	c->status = (unsigned)status;
	if (!has_content_type(headers, nheaders)) {
		response_header(c->response, "Content-Type", "application/json");
	}
	for (size_t i = 0; i < nheaders; i++) {
		response_header(c->response, headers[i].name, headers[i].value);
	}
	connection_drop_request(c);
	if (c->held) {
		connection_resume(c);
	}
}

const char *http_header(const struct http_request *rq, const char *name)
{
	return MHD_lookup_connection_value(rq->connection->mhd, MHD_HEADER_KIND, name);
}

const char *http_query(const struct http_request *rq, const char *name)
{
	const char *value = NULL;

	/* "?name" without '=' is there and empty. */
	if (MHD_lookup_connection_value_n(rq->connection->mhd, MHD_GET_ARGUMENT_KIND, name,
					  strlen(name), &value, NULL) != MHD_YES) {
		return NULL;
	}
	return value == NULL ? "" : value;
}

/* A request, as the library hands it over piece by piece. */

static enum MHD_Result collect_field(void *arg, enum MHD_ValueKind, const char *name,
				     const char *value)
{
	http_head_field(arg, name, value);
	return MHD_YES;
}

static enum MHD_Result refuse_too_large(struct http_connection *c)
{
	char text[80];

	snprintf(text, sizeof text, "The body is larger than %zu bytes.", c->ceiling);
	return refuse(c, 413, text);
}

/* The head is complete. An answer given here keeps the library from reading the body. */
static enum MHD_Result on_head(struct http_connection *c, const char *method, const char *version)
{
	const struct httpd_config *config = &c->h->config;
	struct http_request *rq = c->rq;
	struct http_head head = {};

	connection_enter(c, CONNECTION_BODY);
	MHD_get_connection_values(c->mhd, MHD_HEADER_KIND, collect_field, &head);

	const char *defect = http_head_defect(&head, version);
	if (defect == NULL) {
		defect = c->target_defect;
	}
	if (defect != NULL) {
		return refuse(c, 400, defect);
	}
	rq->method = method_parse(method);
	c->discarded = 0;
	c->ceiling = 0;
	if (head.length > 0 || head.encodings > 0) {
		c->ceiling = config->ceiling(config->arg, rq->method, rq->path);
	}
	return head.length > c->ceiling ? refuse_too_large(c) : MHD_YES;
}

/*
 * The library takes no answer in the middle of a body: the rest of one that is too large (chunked,
 * or its length would have told) is dropped as it passes, and answered at its end.
 */
static enum MHD_Result on_body(struct http_connection *c, const char *data, size_t *len)
{
	size_t n = *len;

	*len = 0;
	if (c->discarded == 0 && n <= c->ceiling - c->body.len) {
		str_append_mem(&c->body, data, n);
		return MHD_YES;
	}
	str_done(&c->body);
	c->discarded += n;
	return c->discarded <= discard_max ? MHD_YES : MHD_NO;
}

static enum MHD_Result on_complete(struct http_connection *c)
{
	const struct httpd_config *config = &c->h->config;

	if (c->discarded > 0) {
		return refuse_too_large(c);
	}
	connection_enter(c, CONNECTION_HANDLED);
	c->rq->body = str_cstr(&c->body);
	c->rq->body_len = c->body.len;
	config->handler(config->arg, c->rq);
	if (c->response != NULL) {
		return response_send(c);
	}
	connection_hold(c);
	return MHD_YES;
}

/* The library's access handler: head, pieces of the body, the end; and again after a resume. */
static enum MHD_Result on_request(void *, struct MHD_Connection *, const char *, const char *method,
				  const char *version, const char *data, size_t *len,
				  void **context)
{
	struct http_connection *c = *context;

	switch (c->state) {
	case CONNECTION_HEAD:
		return on_head(c, method, version);
	case CONNECTION_BODY:
		return *len > 0 ? on_body(c, data, len) : on_complete(c);
	case CONNECTION_HANDLED: /* resumed */
		return c->response != NULL ? response_send(c) : MHD_NO;
	case CONNECTION_REPLY:
	case CONNECTION_IDLE:
	case CONNECTION_CUT:
		break;
	}
	return MHD_NO;
}

static struct http_connection *connection_of(struct MHD_Connection *mhd)
{
	return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* The request line: the only time the library shows the target as it was sent. */
static void *on_target(void *, const char *target, struct MHD_Connection *mhd)
{
	struct http_connection *c = connection_of(mhd);

	if (c->state == CONNECTION_IDLE) {
		connection_enter(c, CONNECTION_HEAD);
	}
	connection_drop_request(c);
	c->rq = request_new(c);
	c->target_defect =
		http_target_path(target == NULL ? "" : target, &c->rq->arena, &c->rq->path);
	return c;
}

/* The answer has been sent, or the connection broke. A held request never ends here: see hold(). */
static void on_request_end(void *, struct MHD_Connection *, void **context,
			   enum MHD_RequestTerminationCode)
{
	struct http_connection *c = *context;

	if (c == NULL) {
		return; /* a head so broken that the library answered by itself */
	}
	connection_drop_request(c);
	if (c->response != NULL) {
		MHD_destroy_response(c->response);
		c->response = NULL;
	}
	if (c->state != CONNECTION_CUT) {
		connection_enter(c, CONNECTION_IDLE);
	}
}

static struct http_connection *connection_new(struct httpd *h, struct MHD_Connection *mhd)
{
	struct http_connection *c = calloc(1, sizeof *c);

	if (c == NULL) {
		abort();
	}
	c->h = h;
	c->mhd = mhd;
	c->identity = tls_identity_hold(h->config.identity);
	c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	connection_enter(c, CONNECTION_HEAD);
	LIST_INSERT_HEAD(&h->connections, c, others);
	return c;
}

static void on_connection(void *arg, struct MHD_Connection *mhd, void **socket_context,
			  enum MHD_ConnectionNotificationCode what)
{
	struct httpd *h = arg;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		*socket_context = connection_new(h, mhd);
		patience_begin(h);
		return;
	}
	struct http_connection *c = *socket_context;

	LIST_REMOVE(c, others);
	connection_drop_request(c);
	tls_identity_drop(c->identity);
	free(c);
	turn_set(h->again); /* at the connection limit, only MHD_run() listens again */
}

/* Start and end. */

void httpd_run(struct httpd *h)
{
	MHD_UNSIGNED_LONG_LONG ms = 0;

	h->now_ms = clock_ms();
	MHD_run(h->mhd);
	/* No time-outs of the library are in use: it says "at once" or nothing. */
	if (MHD_get_timeout(h->mhd, &ms) == MHD_YES) {
		turn_set(h->again);
	}
}

static void run(void *arg)
{
	httpd_run(arg);
}

/* Of interest to somebody who debugs, and never a failure of ours. */
[[gnu::format(printf, 2, 0)]] static void on_library_log(void *, const char *fmt, va_list ap)
{
	char text[200];

	vsnprintf(text, sizeof text, fmt, ap);
	text[strcspn(text, "\r\n")] = '\0';
	LOG(LOG_DEBUG, "http.library-said", KV("text", &text[0]));
}

/* A handshake asks what to show. The library's connection is the session's pointer. */
static int on_certificate_wanted(gnutls_session_t session, const struct gnutls_cert_retr_st *,
				 gnutls_pcert_st **ret_chain, unsigned *ret_len,
				 gnutls_ocsp_data_st **, unsigned *, gnutls_privkey_t *ret_key,
				 unsigned *)
{
	const struct http_connection *c = connection_of(gnutls_session_get_ptr(session));

	tls_identity_lend(c->identity, ret_chain, ret_len, ret_key);
	return 0;
}

/* The descriptor is the library's from here on, whatever happens. */
static struct MHD_Daemon *daemon_start(struct httpd *h, int fd)
{
	struct MHD_OptionItem tls[] = {
		{ MHD_OPTION_HTTPS_CERT_CALLBACK2, 0, (void *)(uintptr_t)on_certificate_wanted },
		{ MHD_OPTION_HTTPS_PRIORITIES, 0, tls_priorities },
		{ MHD_OPTION_END, 0, NULL },
	};
	unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;

	if (h->config.identity != NULL) {
		flags |= MHD_USE_TLS;
	} else {
		tls[0].option = MHD_OPTION_END;
	}
	return MHD_start_daemon(
		flags, 0, NULL, NULL, on_request, h, MHD_OPTION_EXTERNAL_LOGGER, on_library_log,
		NULL, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)POOL_BYTES, MHD_OPTION_CONNECTION_LIMIT, h->config.max_connections,
		MHD_OPTION_URI_LOG_CALLBACK, on_target, h, MHD_OPTION_NOTIFY_COMPLETED,
		on_request_end, h, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_ARRAY,
		tls, MHD_OPTION_END);
}

bool httpd_start(struct loop *l, const struct httpd_config *config, struct httpd **ret,
		 struct err *e)
{
	uint16_t port = 0;
	auto_fd fd = -1;

	if (!listen_on(config->address, config->port, &fd, &port, e)) {
		return false;
	}
	struct httpd *h = calloc(1, sizeof *h);
	if (h == NULL) {
		abort();
	}
	h->config = *config;
	h->config.address = NULL; /* borrowed for this call only */
	tls_identity_hold(h->config.identity);
	h->port = port;
	LIST_INIT(&h->connections);
	if (!patience_start(h, l, e)) {
		tls_identity_drop(h->config.identity);
		free(h);
		return false;
	}
	h->mhd = daemon_start(h, fd_take(&fd));
	if (h->mhd == NULL) {
		patience_stop(h);
		tls_identity_drop(h->config.identity);
		free(h);
		return err_set(e, ERR_IO, "start the HTTP server on port %u", port);
	}
	h->again = turn_new(l, run, h);
	h->watch = fd_watch_new(l, MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd,
				run, h);
	turn_set(h->again); /* its first run puts the listening socket into the epoll set */
	*ret = h;
	return true;
}

uint16_t httpd_port(const struct httpd *h)
{
	return h->port;
}

void httpd_set_identity(struct httpd *h, struct tls_identity *t)
{
	assert(h->config.identity != NULL && t != NULL);
	tls_identity_hold(t);
	tls_identity_drop(h->config.identity);
	h->config.identity = t;
}

void httpd_free(struct httpd *h)
{
	struct http_connection *c;

	if (h == NULL) {
		return;
	}
	LIST_FOREACH(c, &h->connections, others)
	{
		if (c->held) {
			connection_gone(c);
		}
	}
	fd_watch_free(h->watch);
	MHD_stop_daemon(h->mhd);
	turn_free(h->again); /* connections that end set it */
	patience_stop(h);
	tls_identity_drop(h->config.identity);
	free(h);
}
