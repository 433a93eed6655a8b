/*
 * HTTP client of the daemons: libcurl's multi interface on our loop. No signals, no redirects,
 * http and https (TLS 1.2 and later) only, connections kept.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "io/loop.h"
#include "io/tls_trust.h"

struct http_client;
struct http_call;

/* A piece of an answer, as it comes. The call may be cancelled in there. */
typedef void http_data_fn(void *arg, int status, const char *data, size_t len);

struct http_call_spec {
	const char *method; /* literal */
	const char *url;
	const char *const *headers; /* "Name: value", nheaders of them */
	size_t nheaders;
	const char *body; /* copied; NULL: none */
	size_t body_len;
	int64_t limit_ms;         /* 0: none, for an answer that streams */
	int64_t connect_limit_ms; /* part of limit_ms; 0: all of it */
	size_t max_body;          /* of the answer, or of a piece of it: above is ERR_OVER_LIMIT */
	http_data_fn *data;       /* gets the body of the answer in pieces; fn gets none then */
	/* Whom https trusts, see tls_trust(). */
	const char *ca_file, *pin;
	/*
	 * Never sent twice. Else libcurl sends a request of any method anew when a kept connection
	 * ends before its answer, though the server may have carried it out.
	 */
	bool once;
};

/*
 * status is 0 and *e filled when there was no answer: ERR_UNAVAILABLE, ERR_TIMEOUT,
 * ERR_OVER_LIMIT.
 */
typedef void http_call_fn(void *arg, int status, const char *body, size_t len, const struct err *e);

struct http_client *http_client_new(struct loop *l);
/* Cancels what runs, without callbacks. Not from a callback; before loop_free(). NULL is fine. */
void http_client_free(struct http_client *c);

/* fn runs exactly once, unless cancelled. The spec is copied. */
struct http_call *http_call_start(struct http_client *c, const struct http_call_spec *s,
				  http_call_fn *fn, void *arg);
void http_call_cancel(struct http_call *call); /* fn does not run; NULL is fine */
/* In fn: something of the request has gone out, so the server may have carried it out. */
bool http_call_was_sent(const struct http_call *call);
/* In fn, when there was no answer: whether it is the server's certificate, and what of it. */
enum tls_doubt http_call_doubt(const struct http_call *call);
