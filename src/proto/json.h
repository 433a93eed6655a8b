/*
 * JSON. In: jansson, strict, with getters whose errors name the path. Out: a small streaming
 * writer of our own, because it is on every list (30 times cheaper than building and dumping).
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"

/* Scoped: auto_json *j = NULL; (json_decrefp() is jansson's.) */
#define auto_json [[gnu::cleanup(json_decrefp)]] json_t

/*
 * Parses exactly one value: UTF-8, no duplicate keys, depth at most 32 (ERR_INVALID with line and
 * column else). Free with json_decref() or auto_json.
 */
[[nodiscard]] bool json_parse(const char *text, size_t len, json_t **ret, struct err *e);

/*
 * Getters for members of an object. Missing or of another type: ERR_INVALID "'key' is missing",
 * "'key' must be a string, not a number". The _opt ones leave *ret alone when the key is missing.
 * Strings are borrowed from o. Unknown members are never looked at.
 */
[[nodiscard]] bool json_get_str(const json_t *o, const char *key, const char **ret, struct err *e);
[[nodiscard]] bool json_opt_str(const json_t *o, const char *key, const char **ret, struct err *e);
[[nodiscard]] bool json_get_i64(const json_t *o, const char *key, int64_t *ret, struct err *e);
[[nodiscard]] bool json_opt_i64(const json_t *o, const char *key, int64_t *ret, struct err *e);
/* Numbers in [min, max] only. */
[[nodiscard]] bool json_opt_range(const json_t *o, const char *key, int64_t min, int64_t max,
				  int64_t *ret, struct err *e);
[[nodiscard]] bool json_opt_bool(const json_t *o, const char *key, bool *ret, struct err *e);
[[nodiscard]] bool json_get_id(const json_t *o, const char *key, struct id *ret, struct err *e);
[[nodiscard]] bool json_opt_id(const json_t *o, const char *key, struct id *ret, struct err *e);
/* Copies into buf; too long is ERR_INVALID. */
[[nodiscard]] bool json_opt_text(const json_t *o, const char *key, char *buf, size_t size,
				 struct err *e);
[[nodiscard]] bool json_get_object(const json_t *o, const char *key, const json_t **ret,
				   struct err *e);
/* *ret is NULL when missing. */
[[nodiscard]] bool json_opt_array(const json_t *o, const char *key, const json_t **ret,
				  struct err *e);

/* "an object", "a string", ... for messages. */
const char *json_type_text(const json_t *j);

/*
 * The writer. Appends to *out; commas are its business. Text that is not UTF-8 is written with
 * U+FFFD for each bad byte, so that what comes out always parses.
 *
 *	struct jw w = { .out = &body };
 *	jw_object(&w, NULL);
 *	jw_str(&w, "name", m->name);
 *	jw_end(&w);
 *
 * key NULL: an array's item or the outermost value. Keys are words of ours: they go out as they are.
 */
enum { JW_DEPTH_MAX = 16 };
struct jw {
	struct str *out;
	unsigned depth;
	bool more[JW_DEPTH_MAX]; /* something was written at this depth: a comma comes first */
	char close[JW_DEPTH_MAX];
};
void jw_object(struct jw *w, const char *key);
void jw_array(struct jw *w, const char *key);
void jw_end(struct jw *w); /* the innermost object or array */
void jw_str(struct jw *w, const char *key, const char *value); /* NULL: null */
void jw_int(struct jw *w, const char *key, int64_t value);
void jw_uint(struct jw *w, const char *key, uint64_t value);
void jw_double(struct jw *w, const char *key, double value, int decimals);
void jw_bool(struct jw *w, const char *key, bool value);
void jw_null(struct jw *w, const char *key);
void jw_id(struct jw *w, const char *key, struct id value);
/* "2026-11-22T07:37:03" (Trove's form: UTC, no zone); with_zone adds "Z". */
enum jw_zone { JW_NAIVE, JW_ZULU };
void jw_time(struct jw *w, const char *key, int64_t wall_ms, enum jw_zone zone);
/* A value that is JSON already. */
void jw_raw(struct jw *w, const char *key, const char *json, size_t len);
