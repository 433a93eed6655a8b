/*
 * HTTP client of the daemons: libcurl's multi interface on our loop. No signals, no redirects,
 * http and https only, connections kept.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "io/loop.h"

struct http_client;
struct http_call;

struct http_call_spec {
	const char *method; /* literal */
	const char *url;
	const char *const *headers; /* "Name: value", nheaders of them */
	size_t nheaders;
	const char *body; /* copied; NULL: none */
	size_t body_len;
	int64_t limit_ms;
	size_t max_body; /* of the answer: above is ERR_OVER_LIMIT */
};

/* status is 0 and *e filled when there was no answer: ERR_UNAVAILABLE, ERR_TIMEOUT, ERR_OVER_LIMIT. */
typedef void http_call_fn(void *arg, int status, const char *body, size_t len, const struct err *e);

struct http_client *http_client_new(struct loop *l);
/* Cancels what runs, without callbacks. Not from a callback; before loop_free(). NULL is fine. */
void http_client_free(struct http_client *c);

/* fn runs exactly once, unless cancelled. The spec is copied. */
struct http_call *http_call_start(struct http_client *c, const struct http_call_spec *s,
				  http_call_fn *fn, void *arg);
void http_call_cancel(struct http_call *call); /* fn does not run; NULL is fine */
