/*
 * RESP as a server speaks it: requests in, which hiredis parses, and replies out in version 2 or 3.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum {
	RESP_ARGS_MAX = 128,      /* words of one request */
	RESP_REQUEST_MAX = 65536, /* bytes of one request, and so of a line and of a word */
};

/* ---- requests ---- */

struct resp_reader;

/* A request's words; each has a NUL behind it. Valid until the reader is called again. */
struct resp_request {
	size_t argc; /* 0: an empty line or an empty array, to be passed over */
	const char *argv[RESP_ARGS_MAX];
	size_t len[RESP_ARGS_MAX];
};

/* Never NULL. NULL is fine to free. */
struct resp_reader *resp_reader_new(void);
void resp_reader_free(struct resp_reader *r);

/* What the peer sent; copied. Read all requests out before feeding more than a few KB again. */
void resp_feed(struct resp_reader *r, const void *p, size_t len);

/*
 * The next request: an array of strings, or a line of words (quotes as in Redis). RESP_ERROR: the
 * peer does not speak RESP or is beyond a limit; *e has the words for it, and the reader is of no
 * use any more.
 */
enum resp_outcome { RESP_REQUEST, RESP_MORE, RESP_ERROR };
enum resp_outcome resp_read(struct resp_reader *r, const struct resp_request **ret, struct err *e);

/* Part of a request has come. */
bool resp_inside(const struct resp_reader *r);

/* ---- replies ---- */

struct resp_out {
	struct str text;
	bool v3; /* RESP3: maps, pushes and its own nil */
};

void resp_simple(struct resp_out *o, const char *text); /* +text; no line ends in it */
/* -text, with line ends and what is not printable replaced. */
void resp_error(struct resp_out *o, const char *fmt, ...) PRINTF_LIKE(2, 3);
void resp_int(struct resp_out *o, int64_t n);
void resp_bulk(struct resp_out *o, const char *text);
void resp_bulk_mem(struct resp_out *o, const void *p, size_t len);
void resp_array(struct resp_out *o, size_t n); /* n values follow */
void resp_map(struct resp_out *o, size_t n);   /* n pairs follow; an array of 2 n in RESP2 */
void resp_push(struct resp_out *o, size_t n);  /* a message that answers nothing */
void resp_nil(struct resp_out *o);             /* no string */
void resp_nil_array(struct resp_out *o);       /* no array */
