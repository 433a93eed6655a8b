/*
 * Datastores, their versions, and what a version can be had with: read only, because they are
 * what the hosts have installed.
 */
#include "server/catalogue.h"
#include "server/handlers.h"

static void write_version(struct jw *w, const char *key, const struct call *c,
			  const struct catalogue_version *v, const char *datastore_id)
{
	jw_object(w, key);
	jw_str(w, "id", v->id);
	jw_str(w, "name", v->name);
	jw_str(w, "version", v->number);
	trove_write_links(w, &c->links, "datastores/versions", v->id);
	if (datastore_id != NULL) {
		jw_str(w, "datastore", datastore_id);
	}
	if (c->admin) {
		/* Trove's image of a virtual machine: here are programs, not images */
		jw_bool(w, "active", v->active);
		jw_str(w, "packages", "");
		jw_str(w, "image", "");
		jw_array(w, "image_tags");
		jw_end(w);
	}
	jw_end(w);
}

/* Versions that are not active are an administrator's business. */
static void write_versions(struct jw *w, const struct call *c, const struct catalogue *cat,
			   const struct catalogue_datastore *d, const char *datastore_id)
{
	jw_array(w, "versions");
	for (size_t i = 0; i < cat->nversions; i++) {
		const struct catalogue_version *v = &cat->versions[i];

		if (str_eq(v->datastore, d->name) && (v->active || c->admin)) {
			write_version(w, NULL, c, v, datastore_id);
		}
	}
	jw_end(w);
}

static void write_datastore(struct jw *w, const char *key, const struct call *c,
			    const struct catalogue *cat, const struct catalogue_datastore *d)
{
	jw_object(w, key);
	jw_str(w, "id", d->id);
	jw_str(w, "name", d->name);
	trove_write_links(w, &c->links, "datastores", d->id);
	write_versions(w, c, cat, d, NULL);
	if (d->default_version != NULL) {
		jw_str(w, "default_version", d->default_version);
	}
	jw_end(w);
}

/* The datastore that the path names, and the catalogue it is of. */
static bool find_datastore(struct call *c, struct catalogue *cat,
			   const struct catalogue_datastore **ret, struct err *e)
{
	catalogue_make(c->api->registry, c->arena, cat);
	return catalogue_datastore(cat, c->param[0], ret, e);
}

bool api_datastore_list(struct call *c, struct err *)
{
	struct str body = {};
	struct jw w = { .out = &body };
	struct catalogue cat;

	catalogue_make(c->api->registry, c->arena, &cat);
	jw_object(&w, NULL);
	jw_array(&w, "datastores");
	for (size_t i = 0; i < cat.ndatastores; i++) {
		write_datastore(&w, NULL, c, &cat, &cat.datastores[i]);
	}
	jw_end(&w);
	jw_end(&w);
	call_reply(c, &body);
	return true;
}

bool api_datastore_show(struct call *c, struct err *e)
{
	struct str body = {};
	struct jw w = { .out = &body };
	struct catalogue cat;
	const struct catalogue_datastore *d;

	if (!find_datastore(c, &cat, &d, e)) {
		return false;
	}
	jw_object(&w, NULL);
	write_datastore(&w, "datastore", c, &cat, d);
	jw_end(&w);
	call_reply(c, &body);
	return true;
}

bool api_datastore_delete(struct call *c, struct err *e)
{
	struct catalogue cat;
	const struct catalogue_datastore *d;

	if (!find_datastore(c, &cat, &d, e)) {
		return false;
	}
	return err_set(e, ERR_INVALID,
		       "Datastore %s is what hosts have installed: it goes when its "
		       "programs are removed there.",
		       d->name);
}

bool api_datastore_versions(struct call *c, struct err *e)
{
	struct str body = {};
	struct jw w = { .out = &body };
	struct catalogue cat;
	const struct catalogue_datastore *d;

	if (!find_datastore(c, &cat, &d, e)) {
		return false;
	}
	jw_object(&w, NULL);
	write_versions(&w, c, &cat, d, d->id);
	jw_end(&w);
	call_reply(c, &body);
	return true;
}

static void reply_version(struct call *c, const struct catalogue_version *v,
			  const char *datastore_id)
{
	struct str body = {};
	struct jw w = { .out = &body };

	jw_object(&w, NULL);
	write_version(&w, "version", c, v, datastore_id);
	jw_end(&w);
	call_reply(c, &body);
}

bool api_datastore_version(struct call *c, struct err *e)
{
	struct catalogue cat;
	const struct catalogue_datastore *d;
	const struct catalogue_version *v;

	if (!find_datastore(c, &cat, &d, e) || !catalogue_version(&cat, d, c->param[1], &v, e)) {
		return false;
	}
	reply_version(c, v, d->id);
	return true;
}

bool api_version_by_id(struct call *c, struct err *e)
{
	struct catalogue cat;
	const struct catalogue_datastore *d;

	catalogue_make(c->api->registry, c->arena, &cat);
	const struct catalogue_version *v = catalogue_version_by_id(&cat, c->param[0]);
	if (v == NULL) {
		return err_set(e, ERR_INVALID,
			       "Datastore version '%.64s' cannot be found (GET "
			       "/datastores lists what there is).",
			       c->param[0]);
	}
	if (!catalogue_datastore(&cat, v->datastore, &d, e)) {
		return false;
	}
	reply_version(c, v, d->id);
	return true;
}

/* Every flavor fits every version. */
bool api_version_flavors(struct call *c, struct err *e)
{
	struct catalogue cat;
	const struct catalogue_datastore *d;
	const struct catalogue_version *v;

	if (!find_datastore(c, &cat, &d, e) || !catalogue_version(&cat, d, c->param[1], &v, e)) {
		return false;
	}
	return api_flavor_list(c, e);
}

/* There is one kind of volume: the host's own disk. */
bool api_version_volumes(struct call *c, struct err *e)
{
	struct str body = {};
	struct jw w = { .out = &body };
	struct catalogue cat;
	const struct catalogue_datastore *d;
	const struct catalogue_version *v;

	if (!find_datastore(c, &cat, &d, e) || !catalogue_version(&cat, d, c->param[1], &v, e)) {
		return false;
	}
	jw_object(&w, NULL);
	jw_array(&w, "volume_types");
	jw_object(&w, NULL);
	jw_id(&w, "id", id_of_name("volume-type:local"));
	jw_str(&w, "name", "local");
	jw_bool(&w, "is_public", true);
	jw_str(&w, "description", "A folder on the host's disk");
	jw_end(&w);
	jw_end(&w);
	jw_end(&w);
	call_reply(c, &body);
	return true;
}
