#include "server/catalogue.h"

#include "base/macros.h"
#include "proto/trove.h"

/* The same name gives the same id always, on every control plane: nothing has to be stored. */
static const char *id_for(struct arena *a, const char *kind, const char *name)
{
	return arena_strdup(a, id_text(id_of_name(arena_printf(a, "%s:%s", kind, name))).s);
}

static bool given(const char *s)
{
	return s != NULL && s[0] != '\0';
}

static struct catalogue_datastore *datastore_add(struct catalogue *c, const char *name,
						 const char *id, struct arena *a)
{
	for (size_t i = 0; i < c->ndatastores; i++) {
		if (str_eq(c->datastores[i].name, name)) {
			return &c->datastores[i];
		}
	}
	struct catalogue_datastore *d = &c->datastores[c->ndatastores++];
	*d = (struct catalogue_datastore){
		.name = name,
		.id = given(id) ? id : id_for(a, "datastore", name),
	};
	return d;
}

static void add_from_settings(struct catalogue *c, const struct catalogue_entry *s, struct arena *a)
{
	datastore_add(c, s->datastore, s->datastore_id, a);
	c->versions[c->nversions++] = (struct catalogue_version){
		.datastore = s->datastore,
		.name = s->version,
		.number = given(s->number) ? s->number : s->version,
		.id = given(s->version_id)
			      ? s->version_id
			      : id_for(a, "version",
				       arena_printf(a, "%s:%s", s->datastore, s->version)),
		.active = s->active,
		.is_default = s->is_default,
	};
}

/* Of several patch versions of one name the newest is what new instances get. */
static void add_installed(struct catalogue *c, const struct host_datastore *h, struct arena *a)
{
	char name[sizeof h->version];

	trove_version_name(h->version, name, sizeof name);
	datastore_add(c, h->datastore, NULL, a);
	for (size_t i = 0; i < c->nversions; i++) {
		struct catalogue_version *v = &c->versions[i];

		if (!str_eq(v->datastore, h->datastore) || !str_eq(v->name, name)) {
			continue;
		}
		if (v->installed == NULL || strverscmp(v->installed, h->version) < 0) {
			v->installed = h->version;
			v->number = h->version;
		}
		return;
	}
	c->versions[c->nversions++] = (struct catalogue_version){
		.datastore = h->datastore,
		.name = arena_strdup(a, name),
		.number = h->version,
		.id = id_for(a, "version", arena_printf(a, "%s:%s", h->datastore, name)),
		.installed = h->version,
		.active = true,
	};
}

static int version_order(const void *va, const void *vb)
{
	const struct catalogue_version *a = va, *b = vb;
	int by_datastore = strcmp(a->datastore, b->datastore);

	return by_datastore != 0 ? by_datastore : strverscmp(a->name, b->name);
}

/* What the settings name; else the newest that a host has. */
static const char *default_of(const struct catalogue *c, const char *datastore)
{
	const struct catalogue_version *best = NULL;

	for (size_t i = 0; i < c->nversions; i++) {
		const struct catalogue_version *v = &c->versions[i];

		if (!v->active || !str_eq(v->datastore, datastore)) {
			continue;
		}
		if (v->is_default) {
			return v->id;
		}
		if (v->installed != NULL &&
		    (best == NULL || strverscmp(best->installed, v->installed) < 0)) {
			best = v;
		}
	}
	return best == NULL ? NULL : best->id;
}

void catalogue_make(const struct registry *r, struct arena *a, struct catalogue *ret)
{
	const struct settings *s = registry_settings(r);
	const struct reg_host **hosts = arena_alloc(a, REGISTRY_HOSTS_MAX * sizeof *hosts);
	size_t nhosts = registry_hosts(r, hosts, REGISTRY_HOSTS_MAX);
	size_t most = s->ncatalogue;

	for (size_t i = 0; i < nhosts; i++) {
		most += hosts[i]->h.ndatastores;
	}
	*ret = (struct catalogue){
		.datastores = arena_alloc(a, most * sizeof(struct catalogue_datastore)),
		.versions = arena_alloc(a, most * sizeof(struct catalogue_version)),
	};
	for (size_t i = 0; i < s->ncatalogue; i++) {
		add_from_settings(ret, &s->catalogue[i], a);
	}
	for (size_t i = 0; i < nhosts; i++) {
		for (size_t k = 0; k < hosts[i]->h.ndatastores; k++) {
			add_installed(ret, &hosts[i]->h.datastores[k], a);
		}
	}
	qsort(ret->versions, ret->nversions, sizeof ret->versions[0], version_order);
	for (size_t i = 0; i < ret->ndatastores; i++) {
		ret->datastores[i].default_version = default_of(ret, ret->datastores[i].name);
	}
}

bool catalogue_datastore(const struct catalogue *c, const char *ref,
			 const struct catalogue_datastore **ret, struct err *e)
{
	for (size_t i = 0; i < c->ndatastores; i++) {
		if (str_eq(c->datastores[i].name, ref) || str_eq(c->datastores[i].id, ref)) {
			*ret = &c->datastores[i];
			return true;
		}
	}
	return err_set(e, ERR_NOT_FOUND,
		       "Datastore '%.64s' cannot be found: no host has it installed "
		       "(GET /datastores lists what there is).",
		       ref);
}

const struct catalogue_version *catalogue_version_by_id(const struct catalogue *c, const char *id)
{
	for (size_t i = 0; i < c->nversions; i++) {
		if (str_eq(c->versions[i].id, id)) {
			return &c->versions[i];
		}
	}
	return NULL;
}

bool catalogue_version(const struct catalogue *c, const struct catalogue_datastore *d,
		       const char *ref, const struct catalogue_version **ret, struct err *e)
{
	for (size_t i = 0; i < c->nversions; i++) {
		const struct catalogue_version *v = &c->versions[i];

		if (str_eq(v->datastore, d->name) && (str_eq(v->name, ref) || str_eq(v->id, ref))) {
			*ret = v;
			return true;
		}
	}
	if (catalogue_version_by_id(c, ref) != NULL) {
		return err_set(e, ERR_NOT_FOUND, "Version %.64s is not one of the datastore %s.",
			       ref, d->name);
	}
	return err_set(e, ERR_INVALID,
		       "Datastore version '%.64s' of %s cannot be found (GET /datastores "
		       "lists what there is).",
		       ref, d->name);
}
