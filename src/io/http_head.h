/*
 * What the head of a request may look like. The HTTP library reads heads kindly; here is what it
 * lets pass and we do not: heads that two readers could understand in two ways (the stuff of
 * request smuggling), and paths that are not text.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/* Collected from the header fields, one http_head_field() each. */
struct http_head {
	unsigned hosts, lengths, encodings;
	bool broken_name;    /* a field's name with white space, or none */
	bool unknown_coding; /* Transfer-Encoding is not exactly "chunked" */
	uint64_t length;     /* Content-Length; 0 when absent. The library has checked its digits */
};

void http_head_field(struct http_head *h, const char *name, const char *value);

/* NULL, or what is wrong with the head: a sentence for the client. version as "HTTP/1.1". */
const char *http_head_defect(const struct http_head *h, const char *version);

/*
 * The path of a request target ("/a%20b?x=1", "http://host/a"), decoded, without the query; in the
 * arena. The query is checked by the same rules. Returns NULL, or what is wrong (*ret is "" then).
 */
const char *http_target_path(const char *target, struct arena *a, const char **ret);
