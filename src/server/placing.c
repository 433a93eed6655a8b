/*
 * Which host a new instance goes to: the hosts as core/place.h wants to see them, and what each has
 * promised. A placement is held, with its address, memory and disk, from here to the commit of the
 * record that has it.
 */
#include "server/registry_impl.h"

/* what hosts have promised */

static int64_t memory_of(const struct registry *r, const char *flavor)
{
	const struct flavor *f = flavor == NULL ? NULL : settings_flavor(r->settings, flavor);

	return f == NULL ? 0 : MIB((int64_t)f->ram_mb);
}

void promise_add(const struct registry *r, struct host_entry *h, const struct member *m)
{
	h->memory += memory_of(r, m->flavor);
	h->disk += GIB((int64_t)m->volume_gb);
}

void promise_drop(const struct registry *r, struct host_entry *h, const struct member *m)
{
	h->memory -= memory_of(r, m->flavor);
	h->disk -= GIB((int64_t)m->volume_gb);
}

/* Those that live there, and those that are to. */
static void promised(const struct registry *r, const struct host_entry *h, int64_t *ret_memory,
		     int64_t *ret_disk)
{
	*ret_memory = h->memory;
	*ret_disk = h->disk;
	for (size_t i = 0; i < r->nholds; i++) {
		if (str_eq(r->holds[i].host, h->pub.h.name)) {
			*ret_memory += r->holds[i].memory;
			*ret_disk += r->holds[i].disk;
		}
	}
}

void registry_promised(const struct registry *r, const char *host, int64_t *ret_memory,
		       int64_t *ret_disk)
{
	const struct host_entry *h = hosts_find(r, host);

	*ret_memory = *ret_disk = 0;
	if (h != NULL) {
		promised(r, h, ret_memory, ret_disk);
	}
}

/* the choice */

static bool offers(const struct host_entry *h, const struct placement_wish *w)
{
	for (size_t i = 0; i < h->pub.h.ndatastores; i++) {
		const struct host_datastore *d = &h->pub.h.datastores[i];

		if (str_eq(d->datastore, w->datastore) && str_eq(d->version, w->version)) {
			return true;
		}
	}
	return false;
}

static size_t members_on(const struct placement_wish *w, const char *host)
{
	size_t n = 0;

	for (size_t i = 0; w->group != NULL && i < w->group->nmembers; i++) {
		n += str_eq(w->group->members[i].host, host);
	}
	for (size_t i = 0; i < w->nplaced; i++) {
		n += str_eq(w->placed[i].host, host);
	}
	return n;
}

/* percent 0, or a host that does not say what it has: no limit. */
static int64_t room(int64_t has, int64_t percent, int64_t taken)
{
	int64_t offered = has / 100 * percent + has % 100 * percent / 100;

	return percent == 0 || has == 0 ? INT64_MAX : offered - taken;
}

static struct place_host as_seen(const struct registry *r, const struct host_entry *h,
				 const struct placement_wish *w)
{
	const struct settings *s = r->settings;
	int64_t memory, disk;

	promised(r, h, &memory, &disk);
	return (struct place_host){
		.name = h->pub.h.name,
		.domain = "",
		.has_version = offers(h, w),
		.silent = h->silent,
		.free_addresses = h->nslots - h->nused,
		.memory_free = room(h->pub.h.memory_bytes,
				    setting_int(s, "placement.memory_percent"), memory),
		.disk_free =
			room(h->pub.h.disk_bytes, setting_int(s, "placement.disk_percent"), disk),
		.instances = h->nused,
		.members = members_on(w, h->pub.h.name),
	};
}

static struct host_entry *pick_host(struct registry *r, const struct placement_wish *w,
				    const struct place_wish *wish, struct err *e)
{
	struct place_host *seen = memory_alloc(r->nhosts + 1, sizeof *seen);
	struct host_entry **hosts = memory_alloc(r->nhosts + 1, sizeof(struct host_entry *));
	struct host_entry *best = NULL;
	struct place_shortage short_of;
	char what[64];
	size_t n = 0;

	for (size_t i = 0; i < r->nhosts; i++) {
		if (r->hosts[i]->recorded) {
			hosts[n] = r->hosts[i];
			seen[n++] = as_seen(r, r->hosts[i], w);
		}
	}
	size_t at = place_pick(seen, n, wish, &short_of);

	if (at == SIZE_MAX) {
		snprintf(what, sizeof what, "%s %s", w->datastore, w->version);
		(void)place_refuse(&short_of, wish, what, e);
	} else {
		best = hosts[at];
	}
	free(seen);
	free(hosts);
	return best;
}

bool registry_place(struct registry *r, const struct placement_wish *w, struct placement *ret,
		    struct err *e)
{
	const struct place_wish wish = {
		.memory = memory_of(r, w->flavor),
		.disk = GIB((int64_t)w->volume_gb),
		.locality = w->locality,
	};
	struct host_entry *h = pick_host(r, w, &wish, e);

	if (h == NULL) {
		return false;
	}
	struct endpoint ep = addresses_next(h);
	struct placement p = { .port = ep.port, .memory = wish.memory, .disk = wish.disk };

	str_copy(p.host, sizeof p.host, h->pub.h.name);
	endpoint_text(ep, p.address);
	r->holds = memory_grow(r->holds, r->nholds, &r->holds_cap, sizeof *r->holds);
	r->holds[r->nholds++] = p;
	*ret = p;
	return true;
}

void registry_release(struct registry *r, const struct placement *p)
{
	size_t i = addresses_find_hold(r, p->host, p->address, p->port);

	if (i == SIZE_MAX) {
		return; /* a record has it by now */
	}
	r->holds[i] = r->holds[--r->nholds];
	struct host_entry *h = hosts_find(r, p->host);
	if (h != NULL) {
		addresses_free(h, p);
	}
}
