#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

struct text text_in(char *buf, size_t size)
{
	if (size > 0) {
		buf[0] = '\0';
	}
	return (struct text){ .p = buf, .size = size };
}

void text_add(struct text *t, const char *fmt, ...)
{
	va_list ap;

	if (t->len + 1 >= t->size) {
		return;
	}
	va_start(ap, fmt);
	int n = vsnprintf(t->p + t->len, t->size - t->len, fmt, ap);
	va_end(ap);
	if (n > 0) {
		t->len += (size_t)n < t->size - t->len ? (size_t)n : t->size - t->len - 1;
	}
}
