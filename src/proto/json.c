/*
 * JSON in: jansson does the parsing; what it leaves open (depth, text for people, types of
 * members) is decided here. Messages never quote the text itself: records contain secrets.
 */
#include "proto/json.h"

#include <inttypes.h>

/* Deeper than anything we read; jansson alone would recurse 2048 levels on a stranger's word. */
enum { DEPTH_MAX = 32 };

static bool fail_at(const char *text, size_t at, const char *what, struct err *e)
{
	size_t line = 1, column = 1;

	for (size_t i = 0; i < at; i++) {
		column = text[i] == '\n' ? 1 : column + 1;
		line += text[i] == '\n';
	}
	return err_set(e, ERR_INVALID, "not JSON: line %zu, column %zu: %s", line, column, what);
}

/* Counts brackets outside strings; whether they match is jansson's business. */
static bool check_depth(const char *text, size_t len, struct err *e)
{
	size_t depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (in_string) {
			i += c == '\\'; /* whatever is escaped ends no string */
			in_string = c != '"';
		} else if (c == '"') {
			in_string = true;
		} else if (c == '[' || c == '{') {
			if (++depth > DEPTH_MAX) {
				return fail_at(text, i, "nested more than 32 deep", e);
			}
		} else if ((c == ']' || c == '}') && depth > 0) {
			depth--;
		}
	}
	return true;
}

bool json_parse(const char *text, size_t len, json_t **ret, struct err *e)
{
	json_error_t je;

	if (len == 0) {
		return err_set(e, ERR_INVALID, "not JSON: there is no text");
	}
	if (!check_depth(text, len, e)) {
		return false;
	}
	json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &je);
	if (j == NULL) {
		char *near = strstr(je.text, " near ");

		if (near != NULL) {
			*near = '\0'; /* what follows is a piece of the text */
		}
		return err_set(e, ERR_INVALID, "not JSON: line %d, column %d: %s", je.line,
			       je.column, je.text);
	}
	*ret = j;
	return true;
}

const char *json_type_text(const json_t *j)
{
	if (j == NULL) {
		return "nothing";
	}
	switch (json_typeof(j)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "a whole number";
	case JSON_REAL:
		return "a number with a fraction";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	case JSON_NULL:
		return "null";
	}
	return "nothing";
}

enum need { NEEDED, OPTIONAL };

/* Finds a member. *ret is NULL when it is missing and may be. */
static bool find(const json_t *o, const char *key, enum need need, const json_t **ret,
		 struct err *e)
{
	if (!json_is_object(o)) {
		return err_set(e, ERR_INVALID, "'%s' is looked for in %s, not in an object", key,
			       json_type_text(o));
	}
	*ret = json_object_get(o, key);
	if (*ret == NULL && need == NEEDED) {
		return err_set(e, ERR_INVALID, "'%s' is missing", key);
	}
	return true;
}

static bool wrong_type(const char *key, const char *want, const json_t *j, struct err *e)
{
	return err_set(e, ERR_INVALID, "'%s' must be %s, not %s", key, want, json_type_text(j));
}

static bool read_str(const json_t *o, const char *key, enum need need, const char **ret,
		     struct err *e)
{
	const json_t *j = NULL;

	if (!find(o, key, need, &j, e)) {
		return false;
	}
	if (j == NULL) {
		return true;
	}
	if (!json_is_string(j)) {
		return wrong_type(key, "a string", j, e);
	}
	*ret = json_string_value(j);
	return true;
}

static bool read_i64(const json_t *o, const char *key, enum need need, int64_t *ret, struct err *e)
{
	const json_t *j = NULL;

	if (!find(o, key, need, &j, e)) {
		return false;
	}
	if (j == NULL) {
		return true;
	}
	if (!json_is_integer(j)) {
		return wrong_type(key, "a whole number", j, e);
	}
	*ret = json_integer_value(j);
	return true;
}

static bool read_id(const json_t *o, const char *key, enum need need, struct id *ret, struct err *e)
{
	const char *s = NULL;

	if (!read_str(o, key, need, &s, e)) {
		return false;
	}
	if (s != NULL && !id_parse(s, ret)) {
		return err_set(e, ERR_INVALID, "'%s' must be a UUID of 36 characters", key);
	}
	return true;
}

bool json_get_str(const json_t *o, const char *key, const char **ret, struct err *e)
{
	return read_str(o, key, NEEDED, ret, e);
}

bool json_opt_str(const json_t *o, const char *key, const char **ret, struct err *e)
{
	return read_str(o, key, OPTIONAL, ret, e);
}

bool json_get_i64(const json_t *o, const char *key, int64_t *ret, struct err *e)
{
	return read_i64(o, key, NEEDED, ret, e);
}

bool json_opt_i64(const json_t *o, const char *key, int64_t *ret, struct err *e)
{
	return read_i64(o, key, OPTIONAL, ret, e);
}

bool json_opt_range(const json_t *o, const char *key, int64_t min, int64_t max, int64_t *ret,
		    struct err *e)
{
	int64_t v = min;
	const json_t *j = NULL;

	if (!find(o, key, OPTIONAL, &j, e)) {
		return false;
	}
	if (j == NULL) {
		return true;
	}
	if (!read_i64(o, key, NEEDED, &v, e)) {
		return false;
	}
	if (v < min || v > max) {
		return err_set(e, ERR_INVALID,
			       "'%s' is %" PRId64 ", must be from %" PRId64 " to %" PRId64, key, v,
			       min, max);
	}
	*ret = v;
	return true;
}

bool json_opt_bool(const json_t *o, const char *key, bool *ret, struct err *e)
{
	const json_t *j = NULL;

	if (!find(o, key, OPTIONAL, &j, e)) {
		return false;
	}
	if (j == NULL) {
		return true;
	}
	if (!json_is_boolean(j)) {
		return wrong_type(key, "a boolean", j, e);
	}
	*ret = json_is_true(j);
	return true;
}

bool json_get_id(const json_t *o, const char *key, struct id *ret, struct err *e)
{
	return read_id(o, key, NEEDED, ret, e);
}

bool json_opt_id(const json_t *o, const char *key, struct id *ret, struct err *e)
{
	return read_id(o, key, OPTIONAL, ret, e);
}

bool json_opt_text(const json_t *o, const char *key, char *buf, size_t size, struct err *e)
{
	const char *s = NULL;

	if (!read_str(o, key, OPTIONAL, &s, e)) {
		return false;
	}
	if (s == NULL) {
		return true;
	}
	size_t len = strlen(s);

	if (len >= size) {
		return err_set(e, ERR_INVALID, "'%s' has %zu bytes, at most %zu are allowed", key,
			       len, size - 1);
	}
	memcpy(buf, s, len + 1);
	return true;
}

bool json_get_object(const json_t *o, const char *key, const json_t **ret, struct err *e)
{
	const json_t *j = NULL;

	if (!find(o, key, NEEDED, &j, e)) {
		return false;
	}
	if (!json_is_object(j)) {
		return wrong_type(key, "an object", j, e);
	}
	*ret = j;
	return true;
}

bool json_opt_array(const json_t *o, const char *key, const json_t **ret, struct err *e)
{
	const json_t *j = NULL;

	if (!find(o, key, OPTIONAL, &j, e)) {
		return false;
	}
	if (j != NULL && !json_is_array(j)) {
		return wrong_type(key, "an array", j, e);
	}
	*ret = j;
	return true;
}
