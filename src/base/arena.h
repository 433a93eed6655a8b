/*
 * An arena: many small allocations that end together. One per request, plan or reload. Running
 * out of memory aborts: state is on disk and the programs are crash-only.
 */
#pragma once

#include <stddef.h>

#include "base/macros.h"

struct arena_block;

struct arena {
	struct arena_block *blocks; /* newest first */
	size_t used_bytes;          /* given out so far, over all blocks */
};

/* Scoped: freed when it leaves scope. */
#define auto_arena [[gnu::cleanup(arena_done)]] struct arena

/* Zeroed memory, aligned for any object, valid until arena_done(). Never NULL. */
void *arena_alloc(struct arena *a, size_t bytes);

/* A copy of n bytes. */
void *arena_dup(struct arena *a, const void *p, size_t bytes);

/* A copy of s; NULL gives NULL. */
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Frees everything and makes *a empty again. An empty ({}) arena is fine. */
void arena_done(struct arena *a);
