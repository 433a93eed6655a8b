/*
 * JSON out: appends to a string as it goes. It is on every list and every commit, so each value
 * asks for room once and is written straight into it, plain text goes over in one run, and numbers
 * are made without printf.
 */
#include "proto/json.h"

#include <assert.h>
#include <math.h>

/* The digits of v at the end of buf; returns where they begin. */
enum { DIGITS_MAX = 20 };
static char *digits(uint64_t v, char buf[static DIGITS_MAX])
{
	char *at = buf + DIGITS_MAX;

	do {
		*--at = (char)('0' + v % 10);
		v /= 10;
	} while (v != 0);
	return at;
}

/* Writing into room that was asked for: where the next byte goes is handed from one to the next. */
static char *put(char *at, const void *p, size_t len)
{
	return (char *)memcpy(at, p, len) + len;
}

static char *put_uint(char *at, uint64_t v)
{
	char buf[DIGITS_MAX];
	const char *from = digits(v, buf);

	return put(at, from, (size_t)(buf + DIGITS_MAX - from));
}

/* Comma and key: what comes in front of every value. Then there is room for `more` bytes. */
static char *begin(struct jw *w, const char *key, size_t more)
{
	bool *comma = &w->more[w->depth];
	size_t len = key == NULL ? 0 : strlen(key);
	char *at = str_room(w->out, len + 4 + more);

	if (*comma) {
		*at++ = ',';
	}
	if (key != NULL) {
		*at++ = '"';
		at = put(at, key, len);
		at = put(at, "\":", 2);
	}
	*comma = true;
	return at;
}

static void end(struct jw *w, char *at)
{
	*at = '\0';
	w->out->len = (size_t)(at - w->out->p);
}

/* Length of the UTF-8 character at s (never 0), or 0 when these bytes are none (RFC 3629). */
static size_t utf8_len(const unsigned char *s, size_t left)
{
	unsigned char c = s[0];
	size_t len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

	if (len == 0 || len > left) {
		return 0;
	}
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80) {
			return 0;
		}
	}
	bool too_long = (c == 0xe0 && s[1] < 0xa0) || (c == 0xf0 && s[1] < 0x90);
	bool surrogate = c == 0xed && s[1] > 0x9f;
	bool too_high = c == 0xf4 && s[1] > 0x8f;

	return too_long || surrogate || too_high ? 0 : len;
}

static void append_escape(struct str *out, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";

	switch (c) {
	case '"':
		str_append_mem(out, "\\\"", 2);
		return;
	case '\\':
		str_append_mem(out, "\\\\", 2);
		return;
	case '\n':
		str_append_mem(out, "\\n", 2);
		return;
	case '\r':
		str_append_mem(out, "\\r", 2);
		return;
	case '\t':
		str_append_mem(out, "\\t", 2);
		return;
	default:
		str_append_mem(out, (char[]){ '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] }, 6);
	}
}

/* What needs no second look. */
static const bool plain[256] = {
	[0x20 ... 0x21] = true,
	['#' ... '['] = true,
	[']' ... 0x7f] = true,
};

static size_t plain_run(const unsigned char *s, size_t len)
{
	size_t n = 0;

	while (n < len && plain[s[n]]) {
		n++;
	}
	return n;
}

/* What stands between the quotes, from the first character on that is not plain. */
static void append_text(struct str *out, const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t run = 0; /* first byte not yet written */
	size_t i = 0;

	while (i < len) {
		i += plain_run(s + i, len - i);
		if (i == len) {
			break;
		}
		size_t n = s[i] < 0x80 ? 0 : utf8_len(s + i, len - i);

		if (n > 0) {
			i += n;
			continue;
		}
		str_append_mem(out, s + run, i - run);
		if (s[i] < 0x80) {
			append_escape(out, s[i]);
		} else {
			str_append_mem(out, "\xef\xbf\xbd", 3);
		}
		run = ++i;
	}
	str_append_mem(out, s + run, len - run);
}

static void open_nested(struct jw *w, const char *key, char open, char close)
{
	char *at = begin(w, key, 1);

	*at++ = open;
	end(w, at);
	w->depth++;
	assert(w->depth < JW_DEPTH_MAX);
	w->more[w->depth] = false;
	w->close[w->depth] = close;
}

void jw_object(struct jw *w, const char *key)
{
	open_nested(w, key, '{', '}');
}

void jw_array(struct jw *w, const char *key)
{
	open_nested(w, key, '[', ']');
}

void jw_end(struct jw *w)
{
	char *at = str_room(w->out, 1);

	assert(w->depth > 0);
	*at++ = w->close[w->depth];
	w->depth--;
	end(w, at);
}

void jw_str(struct jw *w, const char *key, const char *value)
{
	if (value == NULL) {
		jw_null(w, key);
		return;
	}
	size_t len = strlen(value);
	size_t run = plain_run((const unsigned char *)value, len);
	char *at = begin(w, key, run + 2);

	*at++ = '"';
	at = put(at, value, run);
	if (run < len) {
		end(w, at);
		append_text(w->out, value + run, len - run);
		at = str_room(w->out, 1);
	}
	*at++ = '"';
	end(w, at);
}

void jw_uint(struct jw *w, const char *key, uint64_t value)
{
	end(w, put_uint(begin(w, key, DIGITS_MAX), value));
}

void jw_int(struct jw *w, const char *key, int64_t value)
{
	char *at = begin(w, key, 1 + DIGITS_MAX);

	if (value < 0) {
		*at++ = '-';
	}
	end(w, put_uint(at, value < 0 ? -(uint64_t)value : (uint64_t)value));
}

/* By hand: printf would write the locale's decimal point. */
void jw_double(struct jw *w, const char *key, double value, int decimals)
{
	uint64_t unit = 1;

	assert(decimals >= 0 && decimals <= 9);
	for (int i = 0; i < decimals; i++) {
		unit *= 10;
	}
	double scaled = (value < 0 ? -value : value) * (double)unit + 0.5;

	if (!isfinite(value) || scaled >= 9e18) {
		jw_null(w, key); /* JSON has no such number */
		return;
	}
	uint64_t n = (uint64_t)scaled;
	char *at = begin(w, key, 1 + 2 * DIGITS_MAX);

	if (value < 0 && n > 0) {
		*at++ = '-';
	}
	at = put_uint(at, n / unit);
	if (decimals > 0) {
		char *dot = at;

		at = put_uint(at, n % unit + unit); /* the leading 1 keeps the zeros */
		*dot = '.';
	}
	end(w, at);
}

void jw_bool(struct jw *w, const char *key, bool value)
{
	jw_raw(w, key, value ? "true" : "false", value ? 4 : 5);
}

void jw_null(struct jw *w, const char *key)
{
	jw_raw(w, key, "null", 4);
}

void jw_id(struct jw *w, const char *key, struct id value)
{
	struct id_text t = id_text(value);
	char *at = begin(w, key, ID_TEXT_BYTES + 1);

	*at++ = '"';
	at = put(at, t.s, ID_TEXT_BYTES - 1);
	*at++ = '"';
	end(w, at);
}

static void two_digits(char *at, int v)
{
	at[0] = (char)('0' + v / 10);
	at[1] = (char)('0' + v % 10);
}

void jw_time(struct jw *w, const char *key, int64_t wall_ms, enum jw_zone zone)
{
	static const int64_t last_s = 253402300799; /* 9999-12-31: the form has four digits */
	int64_t s = wall_ms / 1000;
	time_t t = s < 0 ? 0 : s > last_s ? last_s : s;
	char text[] = "\"0000-00-00T00:00:00Z\"";
	struct tm tm;

	gmtime_r(&t, &tm);
	two_digits(text + 1, (tm.tm_year + 1900) / 100);
	two_digits(text + 3, (tm.tm_year + 1900) % 100);
	two_digits(text + 6, tm.tm_mon + 1);
	two_digits(text + 9, tm.tm_mday);
	two_digits(text + 12, tm.tm_hour);
	two_digits(text + 15, tm.tm_min);
	two_digits(text + 18, tm.tm_sec);
	if (zone == JW_ZULU) {
		jw_raw(w, key, text, sizeof text - 1);
		return;
	}
	text[20] = '"';
	jw_raw(w, key, text, sizeof text - 2);
}

void jw_raw(struct jw *w, const char *key, const char *json, size_t len)
{
	end(w, put(begin(w, key, len), json, len));
}
