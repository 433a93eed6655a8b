/*
 * What groups are called. Clients compare a message's name with the one that they were configured
 * with, and some look theirs up in the list of masters; so whatever a group can be asked for by is
 * also what it is announced and listed under.
 */
#include "base/clock.h"
#include "server/sentinel_impl.h"

static bool is_group(const void *item, const void *key)
{
	return id_eq(((const struct known *)item)->group, *(const struct id *)key);
}

struct other {
	const char *name;
	struct id than;
};

static bool has_name(const void *item, const void *key)
{
	const struct known *k = item;
	const struct other *o = key;

	return str_eq(k->name, o->name) && !id_eq(k->group, o->than);
}

static struct known *find_known(const struct sentinel *s, struct id group)
{
	return table_find(&s->known, table_hash_id(group), is_group, &group);
}

const struct known *sentinel_known(const struct sentinel *s, struct id group)
{
	return find_known(s, group);
}

/* A group of this name that is not `than`; in no order. */
static const struct known *find_other(const struct sentinel *s, const char *name, struct id than)
{
	struct other key = { name, than };

	return table_find(&s->names, table_hash_text(name), has_name, &key);
}

/* ---- what changes ---- */

/* One that was ejected is nobody's source any more: who is sent there would write in vain. */
static bool is_shown(const struct group *g)
{
	const struct member *source = group_source(g);

	return source != NULL && source->state != MEMBER_DELETING && source->state != MEMBER_FENCED;
}

static bool moved(const struct known *k, const struct member *source)
{
	return k->port != source->port || !str_eq(k->address, source->address);
}

static void remember_address(struct known *k, const struct member *source)
{
	str_copy(k->address, sizeof k->address, source->address);
	k->port = source->port;
}

static struct known *add(struct sentinel *s, const struct group *g)
{
	struct known *k = memory_alloc(1, sizeof *k);
	size_t len = strlen(g->name);

	k->group = g->id;
	k->name = memory_alloc(1, len + 1);
	memcpy(k->name, g->name, len);
	if (group_source(g) != NULL) {
		remember_address(k, group_source(g));
	}
	table_add(&s->known, table_hash_id(k->group), k);
	table_add(&s->names, table_hash_text(k->name), k);
	return k;
}

static void known_free(struct known *k)
{
	free(k->name);
	free(k);
}

static void forget(struct sentinel *s, struct known *k)
{
	table_remove(&s->known, table_hash_id(k->group), k);
	table_remove(&s->names, table_hash_text(k->name), k);
	known_free(k);
}

static void note_down(const struct sentinel *s, struct known *k, const struct entry *en)
{
	if (!source_is_down(s, en)) {
		k->down_since_ms = 0;
	} else if (k->down_since_ms == 0) {
		k->down_since_ms = clock_ms();
	}
}

static void on_change(void *arg, struct entry *en)
{
	struct sentinel *s = arg;
	struct known *k = find_known(s, en->g->id);

	if (en->gone) {
		if (k != NULL) {
			forget(s, k);
		}
		return;
	}
	if (k == NULL) {
		k = add(s, en->g);
	}
	const struct member *source = group_source(en->g);

	note_down(s, k, en);
	if (source != NULL && moved(k, source)) {
		const struct known before = *k;

		remember_address(k, source);
		publish_switch(s, en->g, before.address, before.port);
	}
}

static bool add_entry(void *arg, struct entry *en)
{
	on_change(arg, en);
	return true;
}

void sentinel_names_start(struct sentinel *s)
{
	registry_each(s->r, add_entry, s);
	registry_on_change(s->r, on_change, s);
}

void sentinel_names_done(struct sentinel *s)
{
	size_t cursor = 0;
	struct known *k;

	while ((k = table_next(&s->known, &cursor)) != NULL) {
		known_free(k);
	}
	table_done(&s->known);
	table_done(&s->names);
}

/* ---- finding ---- */

static bool may_see(const char *project, const struct entry *en)
{
	return en != NULL && (project == NULL || str_eq(project, en->g->project));
}

static struct entry *find_by_path(const struct sentinel *s, const char *project, const char *name)
{
	const char *slash = strchr(name, '/');
	struct entry *en = NULL;
	char first[MODEL_NAME_MAX + 1];

	if (slash == NULL || (size_t)(slash - name) >= sizeof first) {
		return NULL;
	}
	snprintf(first, sizeof first, "%.*s", (int)(slash - name), name);
	return registry_group_by_name(s->r, first, slash + 1, &en) && may_see(project, en) ? en
											   : NULL;
}

static struct entry *find_by_id(const struct sentinel *s, const char *project, const char *name)
{
	struct instance_ref ref;
	struct id id;

	if (!id_parse(name, &id)) {
		return NULL;
	}
	if (registry_find(s->r, project, id, &ref)) {
		return ref.entry;
	}
	struct entry *en = registry_group(s->r, id);

	return may_see(project, en) ? en : NULL;
}

static struct entry *find_by_bare_name(const struct sentinel *s, const char *project,
				       const char *name)
{
	struct entry *en = NULL;

	if (project != NULL) {
		return registry_group_by_name(s->r, project, name, &en) ? en : NULL;
	}
	const struct known *k = find_other(s, name, (struct id){});

	return k == NULL || find_other(s, name, k->group) != NULL ? NULL
								  : registry_group(s->r, k->group);
}

struct entry *sentinel_find(const struct sentinel *s, const char *project, const char *name)
{
	struct entry *en = find_by_path(s, project, name);

	if (en == NULL) {
		en = find_by_id(s, project, name);
	}
	if (en == NULL) {
		en = find_by_bare_name(s, project, name);
	}
	return en != NULL && is_shown(en->g) ? en : NULL;
}

/* ---- naming ---- */

/* Only what finds this very group again: a name may look like another's path or id. */
static void add_name(const struct sentinel *s, const char *project, const struct group *g,
		     const char *text, struct names *ret)
{
	const struct entry *en = sentinel_find(s, project, text);

	if (en != NULL && en->g == g && ret->n < NAMES_MAX) {
		str_copy(ret->text[ret->n++], NAME_BYTES, text);
	}
}

void sentinel_names_of(const struct sentinel *s, const char *project, const struct group *g,
		       struct names *ret)
{
	char path[NAME_BYTES];

	ret->n = 0;
	add_name(s, project, g, g->name, ret);
	if ((size_t)snprintf(path, sizeof path, "%s/%s", g->project, g->name) < sizeof path) {
		add_name(s, project, g, path, ret);
	}
	add_name(s, project, g, id_text(g->id).s, ret);
	for (size_t i = 0; i < g->nmembers; i++) {
		if (g->members[i].state != MEMBER_DELETING) {
			add_name(s, project, g, id_text(g->members[i].id).s, ret);
		}
	}
}

struct listing {
	const char *project;
	struct entry **items;
	size_t n, cap;
};

static bool list_entry(void *arg, struct entry *en)
{
	struct listing *l = arg;

	if (may_see(l->project, en) && is_shown(en->g)) {
		l->items = memory_grow(l->items, l->n, &l->cap, sizeof(struct entry *));
		l->items[l->n++] = en;
	}
	return true;
}

static int by_name(const void *a, const void *b)
{
	const struct group *x = (*(struct entry *const *)a)->g;
	const struct group *y = (*(struct entry *const *)b)->g;
	int order = strcmp(x->project, y->project);

	return order != 0 ? order : strcmp(x->name, y->name);
}

struct entry **sentinel_list(const struct sentinel *s, const char *project, size_t *ret_n)
{
	struct listing l = { .project = project };

	registry_each(s->r, list_entry, &l);
	if (l.n > 0) {
		qsort(l.items, l.n, sizeof(struct entry *), by_name);
	}
	*ret_n = l.n;
	return l.items;
}
