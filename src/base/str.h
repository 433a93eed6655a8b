/*
 * A growing string, and parsing of numbers and words. `struct str` always has a NUL behind its
 * last byte, so s.p is a C string (NULL only while nothing was ever appended: use str_cstr()).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

struct str {
	char *p;
	size_t len, cap;
};

#define auto_str [[gnu::cleanup(str_done)]] struct str

void str_append(struct str *s, const char *text);
void str_append_mem(struct str *s, const void *p, size_t len);
void str_append_char(struct str *s, char c);
void str_printf(struct str *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Makes room for at least `bytes` more and the NUL, for those who know about how much comes. */
void str_grow(struct str *s, size_t bytes);
/*
 * Where the next byte goes, with room for `bytes` and the NUL. Who writes there adds to s->len and
 * puts the NUL; for writers that know beforehand how much comes.
 */
[[nodiscard]] static inline char *str_room(struct str *s, size_t bytes)
{
	if (s->cap - s->len <= bytes) {
		str_grow(s, bytes);
	}
	return s->p + s->len;
}
void str_clear(struct str *s); /* keeps the memory */
void str_done(struct str *s);
const char *str_cstr(const struct str *s); /* "" when empty */

/* The buffer itself; *s is empty afterwards. Free with free(). NULL if nothing was appended. */
[[nodiscard]] char *str_take(struct str *s);

/* Whole-string numbers: no sign for u64, no spaces, no trailing bytes, no overflow. */
[[nodiscard]] bool str_to_u64(const char *s, uint64_t *ret);
[[nodiscard]] bool str_to_i64(const char *s, int64_t *ret);

/* "yes/true/on/1" or "no/false/off/0", any case. */
[[nodiscard]] bool str_to_bool(const char *s, bool *ret);

/* Copies with truncation; dst is always terminated. Returns false when it did not fit. */
bool str_copy(char *dst, size_t size, const char *src);

bool str_eq(const char *a, const char *b); /* NULL equals only NULL */
bool str_starts(const char *s, const char *prefix);
