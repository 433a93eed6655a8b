/* The addresses that a host has for its instances, in one row of slots. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* One range of IPv4 addresses, inclusive, host byte order, each with ports first..last. */
struct pool {
	uint32_t first, last;
	uint16_t first_port, last_port;
};

enum { POOL_SLOTS_MAX = 65536 }; /* slots of one pool */

struct endpoint {
	uint32_t address; /* IPv4, host byte order */
	uint16_t port;
};

/* "127.0.77.1-127.0.77.250" with ports "6379" or "7000-7100". */
[[nodiscard]] bool pool_parse(const char *addresses, const char *ports, struct pool *ret,
			      struct err *e);

size_t pool_slots(const struct pool *p);
struct endpoint pool_slot(const struct pool *p, size_t slot);

/* SIZE_MAX when e is not of the pool. */
size_t pool_slot_of(const struct pool *p, struct endpoint e);

/* "127.0.77.1" */
void endpoint_text(struct endpoint e, char buf[16]);
[[nodiscard]] bool endpoint_parse(const char *address, uint16_t port, struct endpoint *ret);

/* The first slot not marked in used[] (one bool per slot), at or after `from`, wrapping; SIZE_MAX:
 * full. */
size_t pool_free_slot(const bool *used, size_t nslots, size_t from);
