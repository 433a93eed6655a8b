#include "io/http_head.h"

#include <strings.h>

#include "base/str.h"

static bool name_is_broken(const char *name)
{
	size_t len = strlen(name);

	return len == 0 || strpbrk(name, " \t") != NULL;
}

void http_head_field(struct http_head *h, const char *name, const char *value)
{
	if (name_is_broken(name)) {
		h->broken_name = true;
	} else if (strcasecmp(name, "Host") == 0) {
		h->hosts++;
	} else if (strcasecmp(name, "Content-Length") == 0) {
		h->lengths++;
		if (!str_to_u64(value, &h->length)) {
			h->length = UINT64_MAX;
		}
	} else if (strcasecmp(name, "Transfer-Encoding") == 0) {
		h->encodings++;
		h->unknown_coding = value == NULL || strcasecmp(value, "chunked") != 0;
	}
}

const char *http_head_defect(const struct http_head *h, const char *version)
{
	bool old = str_eq(version, "HTTP/1.0");

	if (!str_starts(version, "HTTP/1.")) {
		return "The request line names no version of HTTP/1.";
	}
	if (h->broken_name) {
		return "A header field's name is empty or contains white space.";
	}
	if (h->encodings > 0 && h->lengths > 0) {
		return "Content-Length and Transfer-Encoding exclude each other.";
	}
	if (h->lengths > 1) {
		return "Content-Length is given more than once.";
	}
	if (h->encodings > 1 || h->unknown_coding || (old && h->encodings > 0)) {
		return "The only Transfer-Encoding is chunked, with HTTP/1.1.";
	}
	if (h->hosts > 1 || (!old && h->hosts == 0)) {
		return "HTTP/1.1 needs exactly one Host.";
	}
	return NULL;
}

/* -1 when it is no hexadecimal digit. */
static int hex_value(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Bytes of the UTF-8 character at p, 0 when there is none: no overlong form, no surrogate. */
static size_t utf8_bytes(const unsigned char *p)
{
	static const struct {
		unsigned char first, last; /* of the first byte */
		unsigned char low, high;   /* of the second */
		size_t bytes;
	} forms[] = {
		{ 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
		{ 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 },
		{ 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
		{ 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	if (p[0] < 0x80) {
		return 1;
	}
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		if (p[0] < forms[i].first || p[0] > forms[i].last) {
			continue;
		}
		if (p[1] < forms[i].low || p[1] > forms[i].high) {
			return 0;
		}
		for (size_t k = 2; k < forms[i].bytes; k++) {
			if ((p[k] & 0xc0) != 0x80) { /* the NUL at the end stops here, too */
				return 0;
			}
		}
		return forms[i].bytes;
	}
	return 0;
}

static bool utf8_is_valid(const char *s)
{
	for (const unsigned char *p = (const unsigned char *)s; *p != '\0';) {
		size_t n = utf8_bytes(p);

		if (n == 0) {
			return false;
		}
		p += n;
	}
	return true;
}

/* Decodes len bytes into out, which has len + 1. NULL, or what is wrong. */
static const char *decode(const char *in, size_t len, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)in[i] <= ' ' || in[i] == 0x7f) {
			return "The URL contains white space or a control character.";
		}
		if (in[i] != '%') {
			out[n++] = in[i];
			continue;
		}
		int a = i + 1 < len ? hex_value(in[i + 1]) : -1;
		int b = i + 2 < len ? hex_value(in[i + 2]) : -1;
		if (a < 0 || b < 0) {
			return "A '%' in the URL is not followed by two hexadecimal digits.";
		}
		if (a == 0 && b == 0) {
			return "The URL contains a NUL byte (%00).";
		}
		out[n++] = (char)(a << 4 | b);
		i += 2;
	}
	out[n] = '\0';
	return utf8_is_valid(out) ? NULL : "The URL is not UTF-8.";
}

/* Clients behind a proxy send the whole URL (RFC 9112, 3.2.2): the path begins behind the host. */
static const char *skip_authority(const char *target)
{
	if (strncasecmp(target, "http://", 7) != 0 && strncasecmp(target, "https://", 8) != 0) {
		return target;
	}
	const char *host = strstr(target, "://") + 3;

	return host + strcspn(host, "/?");
}

const char *http_target_path(const char *target, struct arena *a, const char **ret)
{
	const char *path = skip_authority(target);
	size_t path_len = strcspn(path, "?");
	const char *query = path + path_len + (path[path_len] == '?' ? 1 : 0);
	size_t query_len = strlen(query);
	char *out = arena_alloc(a, path_len + 1);
	const char *defect = decode(path, path_len, out);

	*ret = "";
	if (defect == NULL && query_len > 0) {
		defect = decode(query, query_len, arena_alloc(a, query_len + 1));
	}
	if (defect == NULL) {
		*ret = out;
	}
	return defect;
}
