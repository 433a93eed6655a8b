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

/* SIZE_MAX when nobody holds it. */
static size_t find_hold(const struct registry *r, const char *host, const char *address,
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
	if (find_hold(r, m->host, m->address, m->port) == SIZE_MAX) {
		mark(h, m->address, m->port, false);
	}
}

void addresses_drop_hold(struct registry *r, const struct member *m)
{
	size_t i = find_hold(r, m->host, m->address, m->port);

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

static bool offers(const struct host_entry *h, const char *datastore, const char *version)
{
	for (size_t i = 0; i < h->pub.h.ndatastores; i++) {
		const struct host_datastore *d = &h->pub.h.datastores[i];

		if (str_eq(d->datastore, datastore) && str_eq(d->version, version)) {
			return true;
		}
	}
	return false;
}

/* What stood in the way, over all hosts: the message names the last hurdle that one came to. */
struct shortage {
	size_t hosts, with_version, heard;
};

static struct host_entry *pick_host(const struct registry *r, const char *datastore,
				    const char *version, struct shortage *s)
{
	struct host_entry *best = NULL;

	for (size_t i = 0; i < r->nhosts; i++) {
		struct host_entry *h = r->hosts[i];

		if (!h->recorded) {
			continue;
		}
		s->hosts++;
		if (!offers(h, datastore, version)) {
			continue;
		}
		s->with_version++;
		if (h->silent) {
			continue;
		}
		s->heard++;
		if (h->nused < h->nslots && (best == NULL || h->nused < best->nused)) {
			best = h;
		}
	}
	return best;
}

static bool refuse(const struct shortage *s, const char *datastore, const char *version,
		   struct err *e)
{
	if (s->hosts == 0) {
		return err_set(e, ERR_UNPROCESSABLE, "No host has joined yet: start tanist-agent.");
	}
	if (s->with_version == 0) {
		return err_set(e, ERR_UNPROCESSABLE,
			       "None of %zu hosts has %s %s: install it there, "
			       "or name its path in agent.servers.",
			       s->hosts, datastore, version);
	}
	if (s->heard == 0) {
		return err_set(e, ERR_UNPROCESSABLE,
			       "No host with %s %s is heard at present: its "
			       "agent is down or cut off.",
			       datastore, version);
	}
	return err_set(e, ERR_UNPROCESSABLE,
		       "No address is free on any of %zu hosts with %s %s: "
		       "delete instances, or give the agent more in agent.addresses or "
		       "agent.ports.",
		       s->heard, datastore, version);
}

bool registry_place(struct registry *r, const char *datastore, const char *version,
		    struct placement *ret, struct err *e)
{
	struct shortage s = {};
	struct host_entry *h = pick_host(r, datastore, version, &s);

	if (h == NULL) {
		return refuse(&s, datastore, version, e);
	}
	/*
	 * Round the pool rather than the lowest: an address that was just freed rests as long as
	 * possible, because clients of the deleted instance may still dial it.
	 */
	size_t slot = pool_free_slot(h->used, h->nslots, h->next_slot % h->nslots);
	struct endpoint ep = pool_slot(&h->pub.h.pool, slot);
	struct placement p = { .port = ep.port };

	str_copy(p.host, sizeof p.host, h->pub.h.name);
	endpoint_text(ep, p.address);
	mark(h, p.address, p.port, true);
	h->next_slot = slot + 1;
	r->holds = memory_grow(r->holds, r->nholds, &r->holds_cap, sizeof *r->holds);
	r->holds[r->nholds++] = p;
	*ret = p;
	return true;
}

void registry_release(struct registry *r, const struct placement *p)
{
	size_t i = find_hold(r, p->host, p->address, p->port);

	if (i == SIZE_MAX) {
		return; /* a record has it by now */
	}
	r->holds[i] = r->holds[--r->nholds];
	struct host_entry *h = hosts_find(r, p->host);
	if (h != NULL) {
		mark(h, p->address, p->port, false);
	}
}
