/*
 * The HTTP server: libmicrohttpd on our loop, no threads of its own. A handler answers at once
 * with http_reply(), or returns without answering and replies later (a held request).
 *
 * Refused before a handler sees them: Content-Length with Transfer-Encoding, doubled
 * Content-Length, missing Host, bodies over the route's ceiling, heads and bodies that come too
 * slowly, more connections than the limit.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "io/loop.h"

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE, HTTP_OTHER };

struct httpd;
struct tls_identity;

struct http_request {
	enum http_method method;
	const char *path; /* percent-decoded, without the query; UTF-8 without NUL */
	const char *body; /* NUL-terminated behind body_len bytes; "" when none */
	size_t body_len;
	struct arena arena; /* ends with the request */
	void *user;         /* the handler's own */
	/* private */
	struct http_connection *connection;
};

typedef void http_handler_fn(void *arg, struct http_request *rq);

/* The client of a held request has gone: forget rq; http_reply() must not be called. */
typedef void http_gone_fn(void *arg, struct http_request *rq);

/* Ceiling of a body that is announced, for this method and path; SIZE_MAX is not allowed. */
typedef size_t http_ceiling_fn(void *arg, enum http_method method, const char *path);

/* Writes the body of an error found before the handler: status and a text for people. */
typedef void http_refuse_fn(void *arg, const char *path, int status, const char *text,
			    struct str *ret_body);

struct httpd_config {
	const char *address; /* numeric IPv4 or IPv6 */
	uint16_t port;       /* 0: any free one, see httpd_port() */
	unsigned max_connections;
	struct tls_identity *identity; /* of io/tls.h, held; NULL: plain text */
	int64_t head_limit_ms, body_limit_ms, idle_limit_ms;
	http_handler_fn *handler;
	http_gone_fn *gone;
	http_ceiling_fn *ceiling;
	http_refuse_fn *refuse;
	void *arg;
};

/* ERR_CONFLICT when the address is taken. */
[[nodiscard]] bool httpd_start(struct loop *l, const struct httpd_config *c, struct httpd **ret,
			       struct err *e);
uint16_t httpd_port(const struct httpd *h);
/*
 * What connections from now on are shown; those that are there go on with what they have. Only for
 * a server that was started with an identity.
 */
void httpd_set_identity(struct httpd *h, struct tls_identity *t);
/* Held requests: gone() runs for each. Not from a handler; before loop_free(). NULL is fine. */
void httpd_free(struct httpd *h);

/* NULL when absent. Borrowed until the reply. */
const char *http_header(const struct http_request *rq, const char *name);
const char *http_query(const struct http_request *rq, const char *name);

struct http_reply_header {
	const char *name, *value;
};

/*
 * Answers; exactly once per request. Takes *body (empty afterwards). Content-Type is
 * application/json unless a header says otherwise. rq is gone when this returns.
 */
void http_reply(struct http_request *rq, int status, struct str *body,
		const struct http_reply_header *headers, size_t nheaders);

const char *http_method_name(enum http_method m);
