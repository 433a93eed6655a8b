/*
 * Which address of a host is free. One mark per slot of the host's pool: set while a record has
 * the address, or while a commit that will have it is under way (a hold).
 */
#include "server/registry_impl.h"

static size_t slot_of(const struct host_entry *h, const char *address, uint16_t port)
{
	struct endpoint ep;

	return endpoint_parse(address, port, &ep) ? pool_slot_of(&h->pub.h.pool, ep) : SIZE_MAX;
}

static void mark(struct host_entry *h, const char *address, uint16_t port, bool used)
{
	size_t slot = slot_of(h, address, port);

	/* An address outside the pool was given out before the operator made the pool smaller. */
	if (slot >= h->nslots || h->used[slot] == used) {
		return;
	}
	h->used[slot] = used;
	h->nused = used ? h->nused + 1 : h->nused - 1;
}

void addresses_take(struct host_entry *h, const struct member *m)
{
	mark(h, m->address, m->port, true);
}

static bool is_hold_of(const struct placement *p, const char *host, const char *address,
		       uint16_t port)
{
	return p->port == port && str_eq(p->address, address) && str_eq(p->host, host);
}

size_t addresses_find_hold(const struct registry *r, const char *host, const char *address,
			   uint16_t port)
{
	for (size_t i = 0; i < r->nholds; i++) {
		if (is_hold_of(&r->holds[i], host, address, port)) {
			return i;
		}
	}
	return SIZE_MAX;
}

void addresses_give_back(struct registry *r, struct host_entry *h, const struct member *m)
{
	if (addresses_find_hold(r, m->host, m->address, m->port) == SIZE_MAX) {
		mark(h, m->address, m->port, false);
	}
}

void addresses_drop_hold(struct registry *r, const struct member *m)
{
	size_t i = addresses_find_hold(r, m->host, m->address, m->port);

	if (i != SIZE_MAX) {
		r->holds[i] = r->holds[--r->nholds];
	}
}

static void take_all_of(struct host_entry *h, const struct entry *en, int64_t *newest_wall_ms)
{
	for (size_t i = 0; i < en->g->nmembers; i++) {
		const struct member *m = &en->g->members[i];

		if (!str_eq(m->host, h->pub.h.name)) {
			continue;
		}
		addresses_take(h, m);
		size_t slot = slot_of(h, m->address, m->port);
		if (slot < h->nslots && m->created_wall_ms >= *newest_wall_ms) {
			*newest_wall_ms = m->created_wall_ms;
			h->next_slot = slot + 1;
		}
	}
}

void addresses_rebuild(struct registry *r, struct host_entry *h)
{
	int64_t newest_wall_ms = 0;

	free(h->used);
	h->nslots = pool_slots(&h->pub.h.pool);
	h->used = memory_alloc(h->nslots + 1, sizeof *h->used);
	h->nused = h->next_slot = 0;
	for (size_t i = 0; i < h->ngroups; i++) {
		take_all_of(h, h->groups[i], &newest_wall_ms);
	}
	for (size_t i = 0; i < r->nholds; i++) {
		if (str_eq(r->holds[i].host, h->pub.h.name)) {
			mark(h, r->holds[i].address, r->holds[i].port, true);
		}
	}
}

/*
 * Round the pool rather than the lowest: an address that was just freed rests as long as possible,
 * because clients of the deleted instance may still dial it.
 */
struct endpoint addresses_next(struct host_entry *h)
{
	size_t slot = pool_free_slot(h->used, h->nslots, h->next_slot % h->nslots);

	h->used[slot] = true;
	h->nused++;
	h->next_slot = slot + 1;
	return pool_slot(&h->pub.h.pool, slot);
}

void addresses_free(struct host_entry *h, const struct placement *p)
{
	mark(h, p->address, p->port, false);
}
