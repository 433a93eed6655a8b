/*
 * Text that is put together in a buffer of the caller's, for those who may not allocate. What does
 * not fit is cut off; the buffer is always terminated.
 */
#pragma once

#include <stddef.h>

#include "base/macros.h"

struct text {
	char *p;
	size_t size, len;
};

struct text text_in(char *buf, size_t size);
void text_add(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
