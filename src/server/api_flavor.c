/*
 * Flavors: rows of the settings.
 */
#include "server/handlers.h"

/* Trove's rule: a number when the id is a decimal one, else null; str_id is always there. */
static void write_numeric_id(struct jw *w, const char *id)
{
	uint64_t n;

	if (id[0] != '0' && str_to_u64(id, &n) && n <= INT64_MAX) {
		jw_uint(w, "id", n);
	} else {
		jw_null(w, "id");
	}
}

static void write_flavor(struct jw *w, const char *key, const struct flavor *f,
			 const struct trove_links *l)
{
	jw_object(w, key);
	write_numeric_id(w, f->id);
	trove_write_links(w, l, "flavors", f->id);
	jw_str(w, "name", f->name);
	jw_uint(w, "ram", f->ram_mb);
	jw_uint(w, "vcpus", f->vcpus);
	jw_uint(w, "disk", f->disk_gb);
	jw_uint(w, "ephemeral", f->ephemeral_gb);
	jw_str(w, "str_id", f->id);
	jw_end(w);
}

bool api_flavor_list(struct call *c, struct err *)
{
	const struct settings *s = c->api->settings;
	struct str body = {};
	struct jw w = { .out = &body };

	jw_object(&w, NULL);
	jw_array(&w, "flavors");
	for (size_t i = 0; i < s->nflavors; i++) {
		write_flavor(&w, NULL, &s->flavors[i], &c->links);
	}
	jw_end(&w);
	jw_end(&w);
	call_reply(c, &body);
	return true;
}

bool api_flavor_show(struct call *c, struct err *e)
{
	const struct flavor *f = settings_flavor(c->api->settings, c->param[0]);
	struct str body = {};
	struct jw w = { .out = &body };

	if (f == NULL) {
		return err_set(e, ERR_NOT_FOUND,
			       "Flavor '%.64s' cannot be found (GET /flavors lists "
			       "what there is).",
			       c->param[0]);
	}
	jw_object(&w, NULL);
	write_flavor(&w, "flavor", f, &c->links);
	jw_end(&w);
	call_reply(c, &body);
	return true;
}
