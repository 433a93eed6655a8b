/*
 * The writer and the reader behind the tables. Strict: a value that is there has the right type and
 * range, or the whole is refused.
 */
#include "proto/fields.h"

#include <assert.h>
#include <inttypes.h>

#include "base/secret.h"
#include "core/model.h"

static_assert(sizeof(enum member_state) == sizeof(unsigned), "enums are read as unsigned");

struct range {
	int64_t min, max;
};

/* Of a number's type; {} for the others. */
static struct range natural_range(enum field_kind kind)
{
	switch (kind) {
	case FIELD_U8:
		return (struct range){ 0, UINT8_MAX };
	case FIELD_U16:
		return (struct range){ 0, UINT16_MAX };
	case FIELD_U32:
		return (struct range){ 0, UINT32_MAX };
	case FIELD_I32:
		return (struct range){ INT32_MIN, INT32_MAX };
	case FIELD_U64:
		return (struct range){ 0, INT64_MAX };
	case FIELD_I64:
		return (struct range){ INT64_MIN, INT64_MAX };
	case FIELD_BOOL:
	case FIELD_ENUM:
	case FIELD_ID:
	case FIELD_REPLID:
	case FIELD_SECRET:
	case FIELD_TEXT:
	case FIELD_PROSE:
	case FIELD_STRING:
	case FIELD_KIND_COUNT:
		break;
	}
	return (struct range){};
}

static bool is_number(enum field_kind kind)
{
	return natural_range(kind).max != 0;
}

static int64_t number_at(enum field_kind kind, const void *p)
{
	switch (kind) {
	case FIELD_U8:
		return *(const uint8_t *)p;
	case FIELD_U16:
		return *(const uint16_t *)p;
	case FIELD_U32:
		return *(const uint32_t *)p;
	case FIELD_I32:
		return *(const int32_t *)p;
	case FIELD_U64:
		return (int64_t) * (const uint64_t *)p;
	case FIELD_I64:
		return *(const int64_t *)p;
	case FIELD_BOOL:
	case FIELD_ENUM:
	case FIELD_ID:
	case FIELD_REPLID:
	case FIELD_SECRET:
	case FIELD_TEXT:
	case FIELD_PROSE:
	case FIELD_STRING:
	case FIELD_KIND_COUNT:
		break;
	}
	assert(!"not a number");
	return 0;
}

static void put_number(enum field_kind kind, void *p, int64_t v)
{
	switch (kind) {
	case FIELD_U8:
		*(uint8_t *)p = (uint8_t)v;
		return;
	case FIELD_U16:
		*(uint16_t *)p = (uint16_t)v;
		return;
	case FIELD_U32:
		*(uint32_t *)p = (uint32_t)v;
		return;
	case FIELD_I32:
		*(int32_t *)p = (int32_t)v;
		return;
	case FIELD_U64:
		*(uint64_t *)p = (uint64_t)v;
		return;
	case FIELD_I64:
		*(int64_t *)p = v;
		return;
	case FIELD_BOOL:
	case FIELD_ENUM:
	case FIELD_ID:
	case FIELD_REPLID:
	case FIELD_SECRET:
	case FIELD_TEXT:
	case FIELD_PROSE:
	case FIELD_STRING:
	case FIELD_KIND_COUNT:
		break;
	}
	assert(!"not a number");
}

static void write_text(struct jw *w, const struct field *f, const char *s)
{
	if (f->need == FIELD_NEEDED || (s != NULL && s[0] != '\0')) {
		jw_str(w, f->key, s == NULL ? "" : s);
	}
}

static void write_field(struct jw *w, const struct field *f, const void *p)
{
	bool always = f->need == FIELD_NEEDED;

	if (is_number(f->kind)) {
		int64_t v = number_at(f->kind, p);

		if (always || v != f->absent) {
			jw_int(w, f->key, v);
		}
		return;
	}
	if (f->kind == FIELD_BOOL) {
		if (always || *(const bool *)p != (f->absent != 0)) {
			jw_bool(w, f->key, *(const bool *)p);
		}
	} else if (f->kind == FIELD_ENUM) {
		unsigned v = *(const unsigned *)p;

		if (always || v != (unsigned)f->absent) {
			jw_str(w, f->key, f->words->name(v));
		}
	} else if (f->kind == FIELD_ID) {
		struct id id = *(const struct id *)p;

		if (always || !id_is_zero(id)) {
			jw_id(w, f->key, id);
		}
	} else if (f->kind == FIELD_STRING) {
		write_text(w, f, *(const char *const *)p);
	} else {
		write_text(w, f, p); /* all others are a char[] */
	}
}

void fields_write(struct jw *w, const struct field *rows, size_t n, const void *from)
{
	for (size_t i = 0; i < n; i++) {
		write_field(w, &rows[i], (const char *)from + rows[i].offset);
	}
}

static bool all_of(const char *s, const char *set)
{
	return s[strspn(s, set)] == '\0';
}

/* Bytes of s that fit into `room` without cutting a character in two. */
static size_t fitting(const char *s, size_t room)
{
	size_t len = strlen(s);

	if (len <= room) {
		return len;
	}
	while (room > 0 && ((unsigned char)s[room] & 0xc0) == 0x80) {
		room--;
	}
	return room;
}

static bool read_string(const struct field *f, const char *s, struct arena *a, const char **ret,
			struct err *e)
{
	size_t len = strlen(s);

	assert(f->max > 0 && a != NULL);
	if (len > (size_t)f->max || len < (size_t)f->min) {
		return err_set(e, ERR_INVALID,
			       "'%s' has %zu bytes, must have from %" PRId64 " to %" PRId64, f->key,
			       len, f->min, f->max);
	}
	*ret = arena_dup(a, s, len + 1);
	return true;
}

static bool read_chars(const struct field *f, const char *s, char *buf, struct err *e)
{
	size_t len = strlen(s);

	if (f->kind == FIELD_PROSE) {
		len = fitting(s, f->size - 1);
	} else if (len >= f->size || len < (size_t)f->min) {
		return err_set(e, ERR_INVALID,
			       "'%s' has %zu bytes, must have from %" PRId64 " to %zu", f->key, len,
			       f->min, f->size - 1);
	}
	if (f->kind == FIELD_REPLID && len != 0 && (len != 40 || !all_of(s, "0123456789abcdef"))) {
		return err_set(e, ERR_INVALID, "'%s' must be 40 hex digits", f->key);
	}
	if (f->kind == FIELD_SECRET &&
	    !all_of(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")) {
		return err_set(e, ERR_INVALID, "'%s' must be letters and digits", f->key);
	}
	memcpy(buf, s, len);
	buf[len] = '\0';
	return true;
}

static bool read_enum(const struct field *f, const char *s, unsigned *ret, struct err *e)
{
	if (!f->words->parse(s, ret)) {
		return err_set(e, ERR_INVALID, "'%s' is '%.40s', no word of this version", f->key,
			       s);
	}
	return true;
}

static bool read_number(const json_t *o, const struct field *f, void *p, struct err *e)
{
	struct range r = natural_range(f->kind);
	int64_t v = f->absent;

	if (f->min != 0 || f->max != 0) {
		r = (struct range){ f->min, f->max };
	}
	if (!json_opt_range(o, f->key, r.min, r.max, &v, e)) {
		return false;
	}
	put_number(f->kind, p, v);
	return true;
}

static bool read_bool(const json_t *o, const struct field *f, bool *ret, struct err *e)
{
	*ret = f->absent != 0;
	return json_opt_bool(o, f->key, ret, e);
}

/* A field that is a string in JSON. */
static bool read_text(const json_t *o, const struct field *f, struct arena *a, void *p,
		      struct err *e)
{
	const char *s = "";
	bool missing = json_object_get(o, f->key) == NULL;

	if (!json_opt_str(o, f->key, &s, e)) {
		return false;
	}
	if (f->kind == FIELD_ENUM) {
		*(unsigned *)p = (unsigned)f->absent;
		return missing || read_enum(f, s, p, e);
	}
	if (f->kind != FIELD_STRING) {
		((char *)p)[0] = '\0';
		return missing || read_chars(f, s, p, e);
	}
	*(const char **)p = "";
	return missing || read_string(f, s, a, p, e);
}

static bool read_field(const json_t *o, const struct field *f, struct arena *a, void *p,
		       struct err *e)
{
	if (f->need == FIELD_NEEDED && json_object_get(o, f->key) == NULL) {
		return err_set(e, ERR_INVALID, "'%s' is missing", f->key);
	}
	if (is_number(f->kind)) {
		return read_number(o, f, p, e);
	}
	if (f->kind == FIELD_BOOL) {
		return read_bool(o, f, p, e);
	}
	if (f->kind == FIELD_ID) {
		*(struct id *)p = (struct id){};
		return json_opt_id(o, f->key, p, e);
	}
	return read_text(o, f, a, p, e);
}

bool fields_read(const json_t *o, const struct field *rows, size_t n, struct arena *a, void *ret,
		 struct err *e)
{
	if (!json_is_object(o)) {
		return err_set(e, ERR_INVALID, "must be an object, not %s", json_type_text(o));
	}
	for (size_t i = 0; i < n; i++) {
		if (!read_field(o, &rows[i], a, (char *)ret + rows[i].offset, e)) {
			return false;
		}
	}
	return true;
}

bool fields_read_list(const json_t *o, const struct field_list *l, struct arena *a, void **ret,
		      size_t *ret_n, struct err *e)
{
	const json_t *list;

	if (!json_opt_array(o, l->key, &list, e)) {
		return false;
	}
	size_t n = json_array_size(list);

	if (n > l->max) {
		return err_set(e, ERR_OVER_LIMIT, "'%s' has %zu items, at most %zu are allowed",
			       l->key, n, l->max);
	}
	char *items = arena_alloc(a, (n + l->spare) * l->size);

	for (size_t i = 0; i < n; i++) {
		if (!fields_read(json_array_get(list, i), l->rows, l->nrows, a, items + i * l->size,
				 e)) {
			return err_wrap(e, "%s[%zu]", l->key, i);
		}
	}
	*ret = items;
	*ret_n = n;
	return true;
}

void fields_write_list(struct jw *w, const struct field_list *l, const void *items, size_t n)
{
	if (n == 0) {
		return;
	}
	jw_array(w, l->key);
	for (size_t i = 0; i < n; i++) {
		jw_object(w, NULL);
		fields_write(w, l->rows, l->nrows, (const char *)items + i * l->size);
		jw_end(w);
	}
	jw_end(w);
}
