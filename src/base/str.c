#include "base/str.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <strings.h>

void str_grow(struct str *s, size_t bytes)
{
	size_t cap = s->cap == 0 ? 64 : s->cap;

	while (cap - s->len <= bytes) {
		cap *= 2;
	}
	char *p = realloc(s->p, cap);
	if (p == NULL) {
		abort();
	}
	s->p = p;
	s->cap = cap;
}

void str_append_mem(struct str *s, const void *p, size_t len)
{
	char *at = str_room(s, len);

	if (len > 0) {
		memcpy(at, p, len);
	}
	s->len += len;
	s->p[s->len] = '\0';
}

void str_append(struct str *s, const char *text)
{
	str_append_mem(s, text, strlen(text));
}

void str_append_char(struct str *s, char c)
{
	str_append_mem(s, &c, 1);
}

void str_printf(struct str *s, const char *fmt, ...)
{
	va_list ap, again;

	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	assert(n >= 0);
	vsnprintf(str_room(s, (size_t)n), (size_t)n + 1, fmt, again);
	va_end(again);
	s->len += (size_t)n;
}

void str_clear(struct str *s)
{
	s->len = 0;
	if (s->p != NULL) {
		s->p[0] = '\0';
	}
}

void str_done(struct str *s)
{
	free(s->p);
	*s = (struct str){};
}

const char *str_cstr(const struct str *s)
{
	return s->p == NULL ? "" : s->p;
}

char *str_take(struct str *s)
{
	char *p = s->p;

	*s = (struct str){};
	return p;
}

bool str_to_u64(const char *s, uint64_t *ret)
{
	char *end;

	if (s == NULL || s[0] < '0' || s[0] > '9') {
		return false;
	}
	errno = 0;
	unsigned long long v = strtoull(s, &end, 10);
	if (errno != 0 || *end != '\0') {
		return false;
	}
	*ret = v;
	return true;
}

bool str_to_i64(const char *s, int64_t *ret)
{
	char *end;

	if (s == NULL || !((s[0] >= '0' && s[0] <= '9') || (s[0] == '-' && s[1] >= '0' && s[1] <= '9'))) {
		return false;
	}
	errno = 0;
	long long v = strtoll(s, &end, 10);
	if (errno != 0 || *end != '\0') {
		return false;
	}
	*ret = v;
	return true;
}

bool str_to_bool(const char *s, bool *ret)
{
	static const char *const yes[] = { "yes", "true", "on", "1" };
	static const char *const no[] = { "no", "false", "off", "0" };

	for (size_t i = 0; s != NULL && i < ARRAY_LEN(yes); i++) {
		if (strcasecmp(s, yes[i]) == 0) {
			*ret = true;
			return true;
		}
		if (strcasecmp(s, no[i]) == 0) {
			*ret = false;
			return true;
		}
	}
	return false;
}

bool str_copy(char *dst, size_t size, const char *src)
{
	size_t len = strlen(src);
	bool fits = len < size;
	size_t n = fits ? len : size - 1;

	memcpy(dst, src, n);
	dst[n] = '\0';
	return fits;
}

bool str_eq(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}
