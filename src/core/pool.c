/*
 * A pool's slots in one row: the address moves fastest, so that the default port is used up on
 * every address before the second port of any.
 */
#include "core/pool.h"

#include <arpa/inet.h>

#include "base/str.h"

static bool address_parse(const char *s, uint32_t *ret)
{
	struct in_addr in;

	if (inet_pton(AF_INET, s, &in) != 1) {
		return false;
	}
	*ret = ntohl(in.s_addr);
	return *ret != 0;
}

static bool port_parse(const char *s, uint16_t *ret)
{
	uint64_t n;

	if (!str_to_u64(s, &n) || n == 0 || n > UINT16_MAX) {
		return false;
	}
	*ret = (uint16_t)n;
	return true;
}

/* "A-B" or "A" (both ends the same) into two terminated texts. */
static bool range_split(const char *s, char first[32], char last[32])
{
	const char *dash = strchr(s, '-');

	if (dash == NULL) {
		return str_copy(first, 32, s) && str_copy(last, 32, s);
	}
	size_t len = (size_t)(dash - s);

	if (len >= 32) {
		return false;
	}
	memcpy(first, s, len);
	first[len] = '\0';
	return str_copy(last, 32, dash + 1);
}

bool pool_parse(const char *addresses, const char *ports, struct pool *ret, struct err *e)
{
	struct pool p;
	char first[32], last[32];

	if (!range_split(addresses, first, last) || !address_parse(first, &p.first) ||
	    !address_parse(last, &p.last) || p.first > p.last) {
		return err_set(
			e, ERR_INVALID,
			"'%s' is no range of IPv4 addresses, such as 127.0.77.1-127.0.77.250",
			addresses);
	}
	if (!range_split(ports, first, last) || !port_parse(first, &p.first_port) ||
	    !port_parse(last, &p.last_port) || p.first_port > p.last_port) {
		return err_set(e, ERR_INVALID, "'%s' is no port, such as 6379, nor a range of them",
			       ports);
	}
	if (pool_slots(&p) > POOL_SLOTS_MAX) {
		return err_set(e, ERR_OVER_LIMIT, "%s with ports %s are %zu slots, the limit is %d",
			       addresses, ports, pool_slots(&p), POOL_SLOTS_MAX);
	}
	*ret = p;
	return true;
}

static size_t pool_addresses(const struct pool *p)
{
	return (size_t)(p->last - p->first) + 1;
}

size_t pool_slots(const struct pool *p)
{
	return pool_addresses(p) * ((size_t)(p->last_port - p->first_port) + 1);
}

struct endpoint pool_slot(const struct pool *p, size_t slot)
{
	size_t n = pool_addresses(p);

	return (struct endpoint){
		.address = p->first + (uint32_t)(slot % n),
		.port = (uint16_t)(p->first_port + slot / n),
	};
}

size_t pool_slot_of(const struct pool *p, struct endpoint e)
{
	if (e.address < p->first || e.address > p->last || e.port < p->first_port ||
	    e.port > p->last_port) {
		return SIZE_MAX;
	}
	return (size_t)(e.port - p->first_port) * pool_addresses(p) + (e.address - p->first);
}

void endpoint_text(struct endpoint e, char buf[16])
{
	snprintf(buf, 16, "%u.%u.%u.%u", e.address >> 24, e.address >> 16 & 255,
		 e.address >> 8 & 255, e.address & 255);
}

bool endpoint_parse(const char *address, uint16_t port, struct endpoint *ret)
{
	uint32_t a;

	if (port == 0 || !address_parse(address, &a)) {
		return false;
	}
	*ret = (struct endpoint){ .address = a, .port = port };
	return true;
}

size_t pool_free_slot(const bool *used, size_t nslots, size_t from)
{
	for (size_t i = 0; i < nslots; i++) {
		size_t slot = (from % nslots + i) % nslots;

		if (!used[slot]) {
			return slot;
		}
	}
	return SIZE_MAX;
}
