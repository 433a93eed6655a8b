/*
 * The log: one logfmt line per event on stderr.
 *
 *	LOG(LOG_INFO, "instance.started", KV("instance", id), KV("pid", pid));
 *
 * error = a human must act, warn = we coped, info = state changed, debug. KV picks the field's
 * type with _Generic; a type it does not know (a float, a `struct secret`) does not compile.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"
#include "base/macros.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct log_field {
	const char *key;
	enum { LOG_FIELD_TEXT, LOG_FIELD_INT, LOG_FIELD_UINT, LOG_FIELD_ID } kind;
	union {
		const char *text;
		int64_t i;
		uint64_t u;
		struct id id;
	};
};

static inline struct log_field log_kv_text(const char *k, const char *v)
{
	return (struct log_field){ .key = k, .kind = LOG_FIELD_TEXT, .text = v };
}
static inline struct log_field log_kv_int(const char *k, int64_t v)
{
	return (struct log_field){ .key = k, .kind = LOG_FIELD_INT, .i = v };
}
static inline struct log_field log_kv_uint(const char *k, uint64_t v)
{
	return (struct log_field){ .key = k, .kind = LOG_FIELD_UINT, .u = v };
}
static inline struct log_field log_kv_id(const char *k, struct id v)
{
	return (struct log_field){ .key = k, .kind = LOG_FIELD_ID, .id = v };
}

#define KV(key, value)                    \
	_Generic((value),                 \
		char *: log_kv_text,      \
		const char *: log_kv_text, \
		bool: log_kv_int,         \
		int: log_kv_int,          \
		long: log_kv_int,         \
		long long: log_kv_int,    \
		unsigned: log_kv_uint,    \
		unsigned short: log_kv_uint, \
		unsigned long: log_kv_uint, \
		unsigned long long: log_kv_uint, \
		struct id: log_kv_id)((key), (value))

#define LOG(level, event, ...)                                                                  \
	log_write((level), (event), (const struct log_field[]){ __VA_ARGS__ },                  \
		  sizeof((const struct log_field[]){ __VA_ARGS__ }) / sizeof(struct log_field))

/* Lines above this level are dropped. Default LOG_INFO. */
void log_set_level(enum log_level level);

/* Name that every line carries as `prog=`; borrowed for ever (a literal). */
void log_set_program(const char *name);

/* "error", "warn", "info" or "debug". */
[[nodiscard]] bool log_level_parse(const char *s, enum log_level *ret);

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t n);
