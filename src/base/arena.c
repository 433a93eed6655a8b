#include "base/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	max_align_t data[];
};

enum { BLOCK_BYTES = 2000, ALIGN = _Alignof(max_align_t) };

static struct arena_block *block_new(struct arena *a, size_t bytes)
{
	size_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
	struct arena_block *b = malloc(sizeof *b + size);

	if (b == NULL) {
		abort();
	}
	b->next = a->blocks;
	b->used = 0;
	b->size = size;
	a->blocks = b;
	return b;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
	assert(bytes < SIZE_MAX / 2);
	size_t want = (bytes + ALIGN - 1) / ALIGN * ALIGN;
	struct arena_block *b = a->blocks;

	if (b == NULL || b->size - b->used < want) {
		b = block_new(a, want);
	}
	void *p = (char *)b->data + b->used;
	b->used += want;
	a->used_bytes += want;
	return memset(p, 0, want);
}

void *arena_dup(struct arena *a, const void *p, size_t bytes)
{
	void *copy = arena_alloc(a, bytes);

	return bytes == 0 ? copy : memcpy(copy, p, bytes);
}

char *arena_strdup(struct arena *a, const char *s)
{
	return s == NULL ? NULL : arena_dup(a, s, strlen(s) + 1);
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap, again;

	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	assert(n >= 0);
	char *s = arena_alloc(a, (size_t)n + 1);
	vsnprintf(s, (size_t)n + 1, fmt, again);
	va_end(again);
	return s;
}

void arena_done(struct arena *a)
{
	while (a->blocks != NULL) {
		struct arena_block *next = a->blocks->next;

		free(a->blocks);
		a->blocks = next;
	}
	a->used_bytes = 0;
}
