/*
 * Hosts: their records, who lives on them, and silence. A host is silent when its agent has not
 * been heard for agent.silent_after; one timer stands at the nearest such moment. After a start
 * of ours nobody is silent before the agents have had time to find us again.
 */
#include "base/clock.h"
#include "base/log.h"
#include "server/registry_impl.h"

enum { PUT_AGAIN_MS = 5000 };

static bool host_has_name(const void *item, const void *key)
{
	return str_eq(((const struct host_entry *)item)->pub.h.name, key);
}

struct host_entry *hosts_find(const struct registry *r, const char *name)
{
	return table_find(&r->host_names, table_hash_text(name), host_has_name, name);
}

struct host_entry *hosts_find_id(const struct registry *r, struct id id)
{
	for (size_t i = 0; i < r->nhosts; i++) {
		if (id_eq(r->hosts[i]->pub.h.id, id)) {
			return r->hosts[i];
		}
	}
	return NULL;
}

/* en must not be there yet. */
static void add_group(struct host_entry *h, struct entry *en)
{
	h->groups = memory_grow(h->groups, h->ngroups, &h->groups_cap, sizeof(struct entry *));
	h->groups[h->ngroups++] = en;
}

static void drop_group(struct host_entry *h, const struct entry *en)
{
	for (size_t i = h->ngroups; i > 0; i--) {
		if (h->groups[i - 1] == en) {
			h->groups[i - 1] = h->groups[--h->ngroups];
			return;
		}
	}
}

/* One of the first n members lives there. */
static bool any_lives_on(const struct group *g, size_t n, const char *host)
{
	for (size_t i = 0; i < n; i++) {
		if (str_eq(g->members[i].host, host)) {
			return true;
		}
	}
	return false;
}

static bool lives_on(const struct group *g, const char *host)
{
	return g != NULL && any_lives_on(g, g->nmembers, host);
}

void hosts_change(struct registry *r, struct entry *en, const struct group *before,
		  const struct group *now)
{
	for (size_t i = 0; before != NULL && i < before->nmembers; i++) {
		const struct member *m = &before->members[i];
		struct host_entry *h = hosts_find(r, m->host);

		if (h == NULL || (now != NULL && index_member(now, m->id) != SIZE_MAX)) {
			continue;
		}
		addresses_give_back(r, h, m);
		promise_drop(r, h, m);
		if (!lives_on(now, m->host)) {
			drop_group(h, en);
		}
	}
	for (size_t i = 0; now != NULL && i < now->nmembers; i++) {
		const struct member *m = &now->members[i];
		struct host_entry *h = hosts_find(r, m->host);

		if (h == NULL || (before != NULL && index_member(before, m->id) != SIZE_MAX)) {
			continue;
		}
		addresses_take(h, m);
		addresses_drop_hold(r, m);
		promise_add(r, h, m);
		if (!lives_on(before, m->host) && !any_lives_on(now, i, m->host)) {
			add_group(h, en);
		}
	}
}

struct adopting {
	const struct registry *r;
	struct host_entry *h;
};

static bool adopt(void *arg, struct entry *en)
{
	struct adopting *a = arg;
	const struct group *g = en->g;

	if (!lives_on(g, a->h->pub.h.name)) {
		return true;
	}
	add_group(a->h, en);
	for (size_t i = 0; i < g->nmembers; i++) {
		if (str_eq(g->members[i].host, a->h->pub.h.name)) {
			promise_add(a->r, a->h, &g->members[i]);
		}
	}
	return true;
}

struct host_entry *hosts_add(struct registry *r, const struct host *host)
{
	struct host_entry *h = memory_alloc(1, sizeof *h);

	h->pub.h = *host;
	h->wanted = *host;
	h->want_full = true;
	r->hosts = memory_grow(r->hosts, r->nhosts, &r->hosts_cap, sizeof(struct host_entry *));
	r->hosts[r->nhosts++] = h;
	table_add(&r->host_names, table_hash_text(h->pub.h.name), h);
	registry_each(r, adopt, &(struct adopting){ r, h });
	addresses_rebuild(r, h);
	return h;
}

void hosts_free_all(struct registry *r)
{
	for (size_t i = 0; i < r->nhosts; i++) {
		free(r->hosts[i]->groups);
		free(r->hosts[i]->used);
		free(r->hosts[i]);
	}
	free(r->hosts);
	table_done(&r->host_names);
	free(r->holds);
	timer_free(r->sweep);
}

/* ---- the record ---- */

struct put {
	struct registry *r;
	struct host_entry *h;
	struct host host; /* as it was written */
};

static void put_settled(void *arg, enum store_outcome outcome, uint64_t, const struct err *e)
{
	struct put *p = arg;
	struct host_entry *h = p->h;

	h->putting = false;
	if (outcome == STORE_COMMITTED) {
		h->pub.h = p->host;
		h->recorded = true;
		h->retry_ms = 0;
		addresses_rebuild(p->r, h);
	} else {
		h->unput = true;
		if (h->retry_ms == 0) {
			LOG(LOG_ERROR, "host.not-recorded", KV("host", p->host.name),
			    KV("why", e->msg));
		}
		h->retry_ms = clock_ms() + PUT_AGAIN_MS;
	}
	free(p);
}

static bool differs(const struct host *a, const struct host *b)
{
	auto_str one = {}, other = {};

	record_write_host(a, &one);
	record_write_host(b, &other);
	return !str_eq(str_cstr(&one), str_cstr(&other));
}

void hosts_put(struct registry *r, struct host_entry *h)
{
	if (!h->unput || h->putting || clock_ms() < h->retry_ms) {
		return;
	}
	h->unput = false;
	if (h->recorded && !differs(&h->pub.h, &h->wanted)) {
		return;
	}
	auto_str json = {};
	char key[RECORD_KEY_BYTES];
	struct put *p = memory_alloc(1, sizeof *p);
	struct group_event joined = { .kind = EVENT_HOST_JOINED };

	*p = (struct put){ .r = r, .h = h, .host = h->wanted };
	record_write_host(&p->host, &json);
	record_key_host(p->host.name, key);
	snprintf(joined.reason, sizeof joined.reason, "The agent of host %s reported.",
		 p->host.name);
	snprintf(joined.figures, sizeof joined.figures, "addresses=%s ports=%s datastores=%zu",
		 p->host.pool_addresses, p->host.pool_ports, p->host.ndatastores);
	h->putting = true;
	write_start(
		r,
		&(struct write_spec){ .records = &(struct write_record){ .key = key,
									 .value = str_cstr(&json),
									 .len = json.len },
				      .nrecords = 1,
				      .events = &joined,
				      .nevents = h->recorded ? 0 : 1 },
		put_settled, p);
}

/* ---- silence ---- */

void hosts_notify(struct registry *r, struct host_entry *h)
{
	for (size_t i = 0; i < h->ngroups; i++) {
		registry_notify(r, h->groups[i]);
	}
}

/*
 * The first sweep comes so long after our start: agents that dialled in vain while we were away
 * wait between their attempts.
 */
static int64_t grace_ms(const struct registry *r)
{
	return 2 * r->silent_after_ms;
}

/* When it will be silent unless it is heard before; long past for one never heard. */
static int64_t silent_at(const struct registry *r, const struct host_entry *h)
{
	return h->pub.heard_ms == 0 ? 0 : h->pub.heard_ms + r->silent_after_ms;
}

static void sweep(void *arg)
{
	struct registry *r = arg;
	int64_t now = clock_ms(), nearest = 0;

	for (size_t i = 0; i < r->nhosts; i++) {
		struct host_entry *h = r->hosts[i];

		if (h->silent) {
			continue;
		}
		int64_t at = silent_at(r, h);
		if (at > now) {
			nearest = nearest == 0 || at < nearest ? at : nearest;
			continue;
		}
		h->silent = true;
		LOG(LOG_WARN, "host.fell-silent", KV("host", h->pub.h.name),
		    KV("limit_ms", r->silent_after_ms));
		hosts_notify(r, h);
	}
	if (nearest != 0) {
		timer_set_at(r->sweep, nearest);
	}
}

void hosts_start(struct registry *r)
{
	r->sweep = timer_new(r->loop, sweep, r);
	timer_set_at(r->sweep, r->started_ms + grace_ms(r));
}

void hosts_hear(struct registry *r, struct host_entry *h)
{
	bool was_silent = h->silent;

	h->pub.heard_ms = clock_ms();
	h->silent = false;
	if (!timer_is_set(r->sweep)) {
		timer_set_at(r->sweep, silent_at(r, h));
	}
	if (was_silent) {
		LOG(LOG_INFO, "host.heard-again", KV("host", h->pub.h.name));
		hosts_notify(r, h);
	}
}

bool registry_host_silent(const struct registry *r, const char *name)
{
	const struct host_entry *h = hosts_find(r, name);

	return h == NULL ? clock_ms() >= r->started_ms + grace_ms(r) : h->silent;
}

const struct reg_host *registry_host(const struct registry *r, const char *name)
{
	const struct host_entry *h = hosts_find(r, name);

	return h != NULL && h->recorded ? &h->pub : NULL;
}

const struct reg_host *registry_host_by_id(const struct registry *r, struct id id)
{
	const struct host_entry *h = hosts_find_id(r, id);

	return h != NULL && h->recorded ? &h->pub : NULL;
}

size_t registry_hosts(const struct registry *r, const struct reg_host **ret, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < r->nhosts && n < max; i++) {
		if (r->hosts[i]->recorded) {
			ret[n++] = &r->hosts[i]->pub;
		}
	}
	return n;
}

void registry_each_on_host(const struct registry *r, const char *name,
			   bool (*fn)(void *arg, struct entry *en), void *arg)
{
	const struct host_entry *h = hosts_find(r, name);

	for (size_t i = 0; h != NULL && i < h->ngroups && fn(arg, h->groups[i]); i++) {
	}
}
