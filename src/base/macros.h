/*
 * The few macros everybody uses.
 */
#pragma once

#include <stddef.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args))) /* clang 14 ignores the [[]] form here */

#define KIB(n) ((size_t)(n) << 10)
#define MIB(n) ((size_t)(n) << 20)
#define GIB(n) ((size_t)(n) << 30)
#define SEC(n) ((int64_t)(n) * 1000) /* milliseconds in n seconds */

/* The struct of the given type that has `member` at address p. */
#define container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))
