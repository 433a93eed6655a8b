/*
 * A piece of somebody else's text: a start and a length, never terminated. What reads INFO and
 * logs goes through these, so that nothing runs over the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct span {
	const char *p;
	size_t len;
};

static inline bool span_is(struct span s, const char *text)
{
	return strlen(text) == s.len && memcmp(s.p, text, s.len) == 0;
}

static inline bool span_starts(struct span s, const char *text)
{
	size_t n = strlen(text);

	return s.len >= n && memcmp(s.p, text, n) == 0;
}

static inline bool span_has(struct span s, const char *text)
{
	return s.p != NULL && memmem(s.p, s.len, text, strlen(text)) != NULL;
}

/* What stands behind the first n bytes, fewer than s has. */
static inline struct span span_from(struct span s, size_t n)
{
	return (struct span){ s.p + n, s.len - n };
}

/* The line at the start of *rest, which moves behind it; without its CR and LF. */
static inline struct span span_take_line(struct span *rest)
{
	const char *lf = memchr(rest->p, '\n', rest->len);
	size_t len = lf == NULL ? rest->len : (size_t)(lf - rest->p);
	struct span line = { rest->p, len };

	*rest = span_from(*rest, lf == NULL ? len : len + 1);
	while (line.len > 0 && line.p[line.len - 1] == '\r') {
		line.len--;
	}
	return line;
}
