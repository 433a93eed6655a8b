/*
 * The indexes: instance id, group id, (project, group name) and project, each to the entry; and
 * per project its instances in the order of lists, so that a page costs the same at any size.
 */
#include <assert.h>

#include "server/registry_impl.h"

struct name_key {
	const char *project, *name;
};

static bool entry_has_instance(const void *item, const void *key)
{
	return index_member(((const struct entry *)item)->g, *(const struct id *)key) != SIZE_MAX;
}

static bool entry_is_group(const void *item, const void *key)
{
	return id_eq(((const struct entry *)item)->g->id, *(const struct id *)key);
}

static bool entry_has_name(const void *item, const void *key)
{
	const struct group *g = ((const struct entry *)item)->g;
	const struct name_key *k = key;

	return str_eq(g->name, k->name) && str_eq(g->project, k->project);
}

static bool project_has_name(const void *item, const void *key)
{
	return str_eq(((const struct project *)item)->name, key);
}

static uint64_t name_hash(const struct name_key *k)
{
	return table_hash_text(k->name) ^ table_hash_text(k->project) << 1;
}

size_t index_member(const struct group *g, struct id id)
{
	for (size_t i = 0; i < g->nmembers; i++) {
		if (id_eq(g->members[i].id, id)) {
			return i;
		}
	}
	return SIZE_MAX;
}

struct entry *index_instance(const struct registry *r, struct id id)
{
	return table_find(&r->instances, table_hash_id(id), entry_has_instance, &id);
}

struct entry *registry_group(const struct registry *r, struct id group)
{
	return table_find(&r->groups, table_hash_id(group), entry_is_group, &group);
}

bool registry_group_by_name(const struct registry *r, const char *project, const char *name,
			    struct entry **ret)
{
	struct name_key k = { project, name };
	struct entry *en = table_find(&r->names, name_hash(&k), entry_has_name, &k);

	if (en != NULL) {
		*ret = en;
	}
	return en != NULL;
}

/* A name has to fit into its record with the number behind it: cut where a character begins. */
static int fitting_bytes(const char *wish)
{
	const size_t most = 4 * MODEL_NAME_MAX - sizeof "-4294967295";
	size_t len = strlen(wish);

	if (len > most) {
		len = most;
		while (len > 0 && ((unsigned char)wish[len] & 0xc0) == 0x80) {
			len--;
		}
	}
	return (int)len;
}

static bool name_is_taken(const struct registry *r, const char *project, const char *name)
{
	struct entry *en;

	return registry_group_by_name(r, project, name, &en) || commit_gives_name(r, project, name);
}

const char *registry_free_name(const struct registry *r, const char *project, const char *wish,
			       struct arena *a)
{
	const char *name = wish;

	for (unsigned k = 2; name_is_taken(r, project, name); k++) {
		name = arena_printf(a, "%.*s-%u", fitting_bytes(wish), wish, k);
	}
	return name;
}

static struct project *find_project(const struct registry *r, const char *name)
{
	return table_find(&r->projects, table_hash_text(name), project_has_name, name);
}

struct project *index_project(struct registry *r, const char *name)
{
	struct project *p = find_project(r, name);

	if (p == NULL) {
		p = memory_alloc(1, sizeof *p);
		p->name = memory_alloc(1, strlen(name) + 1);
		memcpy(p->name, name, strlen(name));
		table_add(&r->projects, table_hash_text(name), p);
	}
	return p;
}

void index_project_drop(struct registry *r, struct project *p)
{
	if (p->n > 0 || p->turn_taken) {
		return;
	}
	table_remove(&r->projects, table_hash_text(p->name), p);
	free(p->items);
	free(p->name);
	free(p);
}

/* Position of the first item that is not before (created, id). */
static size_t item_position(const struct project *p, int64_t created_wall_ms, struct id id)
{
	size_t low = 0, high = p->n;

	while (low < high) {
		size_t mid = (low + high) / 2;
		const struct project_item *it = &p->items[mid];
		bool before = it->created_wall_ms != created_wall_ms
				      ? it->created_wall_ms < created_wall_ms
				      : id_cmp(it->id, id) < 0;

		if (before) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	return low;
}

static void count_usage(const struct registry *r, struct project *p, const struct member *m,
			int sign)
{
	const struct flavor *f = settings_flavor(r->settings, m->flavor);
	uint64_t ram_mb = f == NULL ? 0 : f->ram_mb;

	p->usage.instances += (uint64_t)(int64_t)sign;
	p->usage.volume_gb += (uint64_t)((int64_t)m->volume_gb * sign);
	p->usage.ram_mb += (uint64_t)((int64_t)ram_mb * sign);
}

static void add_member(struct registry *r, struct entry *en, const struct member *m)
{
	struct project *p = en->project;
	size_t at = item_position(p, m->created_wall_ms, m->id);

	table_add(&r->instances, table_hash_id(m->id), en);
	p->items = memory_grow(p->items, p->n, &p->cap, sizeof *p->items);
	memmove(&p->items[at + 1], &p->items[at], (p->n - at) * sizeof *p->items);
	p->items[at] = (struct project_item){ m->created_wall_ms, m->id, en };
	p->n++;
}

static void remove_member(struct registry *r, struct entry *en, const struct member *m)
{
	struct project *p = en->project;
	size_t at = item_position(p, m->created_wall_ms, m->id);

	assert(at < p->n && id_eq(p->items[at].id, m->id));
	table_remove(&r->instances, table_hash_id(m->id), en);
	p->n--;
	memmove(&p->items[at], &p->items[at + 1], (p->n - at) * sizeof *p->items);
}

static void add_group(struct registry *r, struct entry *en, const struct group *g)
{
	struct name_key k = { g->project, g->name };

	en->project = index_project(r, g->project);
	table_add(&r->groups, table_hash_id(g->id), en);
	table_add(&r->names, name_hash(&k), en);
}

static void remove_group(struct registry *r, struct entry *en, const struct group *g)
{
	struct name_key k = { g->project, g->name };

	table_remove(&r->groups, table_hash_id(g->id), en);
	table_remove(&r->names, name_hash(&k), en);
	index_project_drop(r, en->project);
	en->project = NULL;
}

void index_change(struct registry *r, struct entry *en, const struct group *before,
		  const struct group *now)
{
	if (before == NULL) {
		add_group(r, en, now);
	}
	for (size_t i = 0; before != NULL && i < before->nmembers; i++) {
		const struct member *m = &before->members[i];

		count_usage(r, en->project, m, -1);
		if (now == NULL || index_member(now, m->id) == SIZE_MAX) {
			remove_member(r, en, m);
		}
	}
	for (size_t i = 0; now != NULL && i < now->nmembers; i++) {
		const struct member *m = &now->members[i];

		count_usage(r, en->project, m, 1);
		if (before == NULL || index_member(before, m->id) == SIZE_MAX) {
			add_member(r, en, m);
		}
	}
	if (now == NULL) {
		remove_group(r, en, before);
	}
}

struct project_usage registry_usage(const struct registry *r, const char *project)
{
	const struct project *p = find_project(r, project);

	return p == NULL ? (struct project_usage){} : p->usage;
}

static struct instance_ref make_ref(const struct registry *r, struct entry *en, struct id id)
{
	size_t i = index_member(en->g, id);
	size_t source = index_member(en->g, en->g->source);

	assert(i != SIZE_MAX);
	return (struct instance_ref){
		.entry = en,
		.index = i,
		.g = en->g,
		.m = &en->g->members[i],
		.o = en->obs[i],
		.source_o = source == SIZE_MAX ? NULL : en->obs[source],
		.silent = registry_host_silent(r, en->g->members[i].host),
	};
}

bool registry_find(const struct registry *r, const char *project, struct id id,
		   struct instance_ref *ret)
{
	struct entry *en = index_instance(r, id);

	if (en == NULL || (project != NULL && !str_eq(en->g->project, project))) {
		return false;
	}
	*ret = make_ref(r, en, id);
	return true;
}

/* Where the page behind `after` begins. */
static bool page_start(const struct registry *r, const struct project *p, struct id after,
		       size_t *ret)
{
	if (id_is_zero(after)) {
		*ret = 0;
		return true;
	}
	struct entry *en = index_instance(r, after);

	if (en == NULL || en->project != p || p == NULL) {
		return false;
	}
	const struct member *m = &en->g->members[index_member(en->g, after)];

	*ret = item_position(p, m->created_wall_ms, m->id) + 1;
	return true;
}

size_t registry_page(const struct registry *r, const char *project, struct id after,
		     struct instance_ref *ret, size_t max, bool *ret_more, bool *ret_known)
{
	const struct project *p = find_project(r, project);
	size_t start = 0, n = 0;

	*ret_more = false;
	*ret_known = page_start(r, p, after, &start);
	if (!*ret_known || p == NULL) {
		return 0;
	}
	for (size_t i = start; i < p->n && n < max; i++) {
		ret[n++] = make_ref(r, p->items[i].entry, p->items[i].id);
	}
	*ret_more = start + n < p->n;
	return n;
}

void registry_each(const struct registry *r, bool (*fn)(void *arg, struct entry *en), void *arg)
{
	size_t cursor = 0;
	struct entry *en;

	while ((en = table_next(&r->groups, &cursor)) != NULL && fn(arg, en)) {
	}
}
