#include "base/id.h"

#include <ctype.h>
#include <errno.h>
#include <sys/random.h>

void random_bytes(void *p, size_t len)
{
	uint8_t *at = p;

	while (len > 0) {
		ssize_t n = getrandom(at, len, 0);

		if (n < 0 && errno != EINTR) {
			abort();
		}
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
	}
}

void random_secret(char *buf, size_t len)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	enum { SET = sizeof set - 1 };

	for (size_t i = 0; i < len;) {
		uint8_t byte;

		random_bytes(&byte, 1);
		if (byte < 256 / SET * SET) { /* the rest would favour the first letters */
			buf[i++] = set[byte % SET];
		}
	}
	buf[len] = '\0';
}

static struct id stamp(struct id id, uint8_t version)
{
	id.b[6] = (uint8_t)((id.b[6] & 0x0f) | (version << 4));
	id.b[8] = (uint8_t)((id.b[8] & 0x3f) | 0x80);
	return id;
}

struct id id_new(void)
{
	struct id id;

	random_bytes(&id, sizeof id);
	return stamp(id, 4);
}

/* FNV-1a, 64 bits, run twice with different starts: names, not secrets. */
static uint64_t fnv(const char *s, uint64_t h)
{
	for (; *s != '\0'; s++) {
		h = (h ^ (uint8_t)*s) * 0x100000001b3u;
	}
	return h ^ (h >> 32);
}

struct id id_of_name(const char *name)
{
	struct id id;
	uint64_t half[2] = { fnv(name, 0xcbf29ce484222325u), fnv(name, 0x84222325cbf29ce4u) };

	memcpy(&id, half, sizeof id);
	return stamp(id, 8);
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hyphen_at(size_t i)
{
	return i == 8 || i == 13 || i == 18 || i == 23;
}

bool id_parse(const char *s, struct id *ret)
{
	struct id id = {};
	size_t nibble = 0;

	if (s == NULL || strlen(s) != ID_TEXT_BYTES - 1) {
		return false;
	}
	for (size_t i = 0; i < ID_TEXT_BYTES - 1; i++) {
		if (hyphen_at(i)) {
			if (s[i] != '-') {
				return false;
			}
			continue;
		}
		int v = hex_value(s[i]);
		if (v < 0) {
			return false;
		}
		id.b[nibble / 2] = (uint8_t)(id.b[nibble / 2] << 4 | v);
		nibble++;
	}
	*ret = id;
	return true;
}

struct id_text id_text(struct id id)
{
	static const char hex[] = "0123456789abcdef";
	struct id_text t;
	char *at = t.s;

	for (size_t i = 0; i < sizeof id.b; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10) {
			*at++ = '-';
		}
		*at++ = hex[id.b[i] >> 4];
		*at++ = hex[id.b[i] & 15];
	}
	*at = '\0';
	return t;
}

bool id_eq(struct id a, struct id b)
{
	return memcmp(a.b, b.b, sizeof a.b) == 0;
}

int id_cmp(struct id a, struct id b)
{
	return memcmp(a.b, b.b, sizeof a.b);
}

bool id_is_zero(struct id id)
{
	return id_eq(id, (struct id){});
}
