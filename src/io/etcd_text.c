#include "io/etcd_text.h"

#include <assert.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* ---- base64 ---- */

static void encode(struct str *out, const unsigned char *p, size_t len)
{
	char *to = str_room(out, (len + 2) / 3 * 4);
	size_t n = 0;

	for (size_t i = 0; i < len; i += 3) {
		unsigned b1 = i + 1 < len ? p[i + 1] : 0, b2 = i + 2 < len ? p[i + 2] : 0;
		unsigned bits = (unsigned)p[i] << 16 | b1 << 8 | b2;

		to[n++] = digits[bits >> 18];
		to[n++] = digits[bits >> 12 & 63];
		to[n++] = i + 1 < len ? digits[bits >> 6 & 63] : '=';
		to[n++] = i + 2 < len ? digits[bits & 63] : '=';
	}
	to[n] = '\0';
	out->len += n;
}

static int digit(char c)
{
	if (c >= 'A' && c <= 'Z') {
		return c - 'A';
	}
	if (c >= 'a' && c <= 'z') {
		return c - 'a' + 26;
	}
	if (c >= '0' && c <= '9') {
		return c - '0' + 52;
	}
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* A NUL is put behind what comes out. NULL: not base64. */
static char *decode(struct arena *a, const char *text, size_t len, size_t *ret_len)
{
	while (len > 0 && text[len - 1] == '=') {
		len--;
	}
	char *to = arena_alloc(a, len / 4 * 3 + 4);
	unsigned bits = 0;
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int d = digit(text[i]);

		if (d < 0) {
			return NULL;
		}
		bits = bits << 6 | (unsigned)d;
		if (i % 4 != 0) {
			to[n++] = (char)(bits >> (6 - i % 4 * 2) & 0xff);
		}
	}
	to[n] = '\0';
	*ret_len = n;
	return to;
}

/* ---- writing ---- */

void etcd_write_bytes(struct jw *w, const char *name, const char *head, const void *tail,
		      size_t len)
{
	auto_str whole = {}, text = {};

	str_append(&whole, head);
	str_append_mem(&whole, tail, len);
	str_append_char(&text, '"');
	encode(&text, (const unsigned char *)str_cstr(&whole), whole.len);
	str_append_char(&text, '"');
	jw_raw(w, name, text.p, text.len);
}

static void write_key(struct jw *w, const char *prefix, const char *key)
{
	etcd_write_bytes(w, "key", prefix, key, strlen(key));
}

void etcd_write_number(struct jw *w, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof text, "%llu", (unsigned long long)value);
	jw_str(w, name, text);
}

void etcd_write_compare(struct jw *w, const char *prefix, const char *key, enum etcd_target target,
			enum etcd_result result, uint64_t revision)
{
	jw_object(w, NULL);
	write_key(w, prefix, key);
	jw_str(w, "target", target == ETCD_CREATED ? "CREATE" : "MOD");
	jw_str(w, "result", result == ETCD_IS ? "EQUAL" : "NOT_EQUAL");
	etcd_write_number(w, target == ETCD_CREATED ? "create_revision" : "mod_revision", revision);
	jw_end(w);
}

void etcd_write_put(struct jw *w, const char *prefix, const char *key, const void *value,
		    size_t len, const char *lease)
{
	jw_object(w, NULL);
	jw_object(w, "request_put");
	write_key(w, prefix, key);
	etcd_write_bytes(w, "value", "", value, len);
	if (lease[0] != '\0') {
		jw_str(w, "lease", lease);
	}
	jw_end(w);
	jw_end(w);
}

void etcd_write_put_anew(struct jw *w, const char *prefix, const char *key)
{
	jw_object(w, NULL);
	jw_object(w, "request_put");
	write_key(w, prefix, key);
	jw_bool(w, "ignore_value", true);
	jw_bool(w, "ignore_lease", true);
	jw_end(w);
	jw_end(w);
}

void etcd_write_delete(struct jw *w, const char *prefix, const char *key)
{
	jw_object(w, NULL);
	jw_object(w, "request_delete_range");
	write_key(w, prefix, key);
	jw_end(w);
	jw_end(w);
}

void etcd_write_get(struct jw *w, const char *prefix, const char *key, enum etcd_wanted wanted)
{
	jw_object(w, NULL);
	jw_object(w, "request_range");
	write_key(w, prefix, key);
	if (wanted == ETCD_NO_VALUE) {
		jw_bool(w, "keys_only", true);
	}
	jw_end(w);
	jw_end(w);
}

/* The first key behind all that begin with prefix and begin: its last byte one higher. */
static void write_end(struct jw *w, const char *prefix, const char *begin)
{
	auto_str end = {};

	str_append(&end, prefix);
	str_append(&end, begin);
	assert(end.len > 0 && (unsigned char)end.p[end.len - 1] != 0xff); /* no UTF-8 has it */
	end.p[end.len - 1]++;
	etcd_write_bytes(w, "range_end", "", end.p, end.len);
}

void etcd_write_span(struct jw *w, const char *prefix, const char *begin)
{
	write_key(w, prefix, begin);
	write_end(w, prefix, begin);
}

void etcd_write_get_span(struct jw *w, const struct etcd_span *span)
{
	jw_object(w, NULL);
	jw_object(w, "request_range");
	if (span->after != NULL) {
		/* The key that follows is the same with a NUL behind it. */
		etcd_write_bytes(w, "key", span->prefix, span->after, strlen(span->after) + 1);
	} else {
		write_key(w, span->prefix, span->begin);
	}
	write_end(w, span->prefix, span->begin);
	jw_int(w, "limit", span->limit);
	if (span->revision > 0) {
		etcd_write_number(w, "revision", span->revision);
	}
	jw_end(w);
	jw_end(w);
}

/* ---- reading ---- */

uint64_t etcd_number(const json_t *o, const char *name)
{
	const json_t *v = json_object_get(o, name);
	uint64_t n = 0;

	if (json_is_integer(v) && json_integer_value(v) > 0) {
		return (uint64_t)json_integer_value(v);
	}
	return json_is_string(v) && str_to_u64(json_string_value(v), &n) ? n : 0;
}

uint64_t etcd_revision(const json_t *answer)
{
	return etcd_number(json_object_get(answer, "header"), "revision");
}

const char *etcd_word(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s == NULL ? "" : s;
}

bool etcd_read_kv(const json_t *kv, struct arena *a, struct etcd_kv *ret)
{
	const json_t *key = json_object_get(kv, "key"), *value = json_object_get(kv, "value");
	size_t key_len = 0;
	struct etcd_kv r = { .value = "" };

	if (!json_is_string(key)) {
		return false;
	}
	r.key = decode(a, json_string_value(key), json_string_length(key), &key_len);
	if (json_is_string(value)) {
		r.value = decode(a, json_string_value(value), json_string_length(value), &r.len);
	}
	if (r.key == NULL || r.value == NULL || strlen(r.key) != key_len) {
		return false;
	}
	r.create_revision = etcd_number(kv, "create_revision");
	r.mod_revision = etcd_number(kv, "mod_revision");
	r.lease = etcd_word(kv, "lease");
	*ret = r;
	return true;
}

const json_t *etcd_got(const json_t *answer, size_t i)
{
	const json_t *op = json_array_get(json_object_get(answer, "responses"), i);

	return json_object_get(json_object_get(op, "response_range"), "kvs");
}
