/*
 * What every fuzz target includes. A target is a decoder and the promises around it: what it
 * accepts, the writer writes and the decoder takes again, unchanged. A promise that is broken
 * aborts, like a crash; libFuzzer keeps the input.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Aborts with the broken promise. */
#define PROMISE(held)                                                            \
	do {                                                                     \
		if (!(held)) {                                                   \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #held); \
			abort();                                                 \
		}                                                                \
	} while (0)

/* A refusal says something, and of the right kind. */
#define PROMISE_REFUSED(e)                                    \
	do {                                                  \
		PROMISE((e).code != ERR_NONE);                \
		PROMISE((e).msg[0] != '\0');                  \
	} while (0)

static inline bool same_text(const struct str *a, const struct str *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->p, b->p, a->len) == 0);
}
