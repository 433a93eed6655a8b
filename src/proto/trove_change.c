/*
 * PUT and PATCH of an instance, and the actions on it, read. Unlike Trove an empty body, an
 * unknown key or two actions at once are refused with a sentence, never with a 500.
 */
#include "proto/trove.h"

#include <assert.h>

#include "base/macros.h"

static bool read_update_name(const json_t *v, struct arena *a, struct trove_update *u,
			     struct err *e)
{
	if (!trove_read_name(v, &u->name, e)) {
		return false;
	}
	u->name = arena_strdup(a, u->name);
	return true;
}

/* Whatever the value: the presence of the key asks for it, as in Trove. */
static bool read_detach(const json_t *, struct arena *, struct trove_update *u, struct err *)
{
	u->detach = true;
	return true;
}

static bool read_configuration(const json_t *v, struct arena *a, struct trove_update *u,
			       struct err *e)
{
	u->has_configuration = true;
	if (json_is_null(v)) {
		return true;
	}
	if (!json_is_string(v)) {
		return err_set(e, ERR_INVALID,
			       "Validation error: instance['configuration'] must be "
			       "the id of a configuration group, or null to detach it");
	}
	u->configuration = arena_strdup(a, trove_last_element(json_string_value(v)));
	return true;
}

static bool read_version(const json_t *v, struct arena *a, struct trove_update *u, struct err *e)
{
	u->has_datastore_version = true;
	if (!json_is_string(v)) {
		return err_set(e, ERR_INVALID,
			       "Validation error: instance['datastore_version'] must "
			       "be the name or id of a version");
	}
	u->datastore_version = arena_strdup(a, json_string_value(v));
	return true;
}

static bool read_access(const json_t *v, struct arena *, struct trove_update *u, struct err *e)
{
	u->has_access = true;
	return trove_read_access(v, &u->wants_public, &u->has_cidrs, e);
}

/* What may be changed, and by which verb. */
static const struct {
	const char *key;
	bool put, patch;
	bool (*read)(const json_t *v, struct arena *a, struct trove_update *u, struct err *e);
} attributes[] = {
	{ "name", true, true, read_update_name },
	{ "replica_of", true, true, read_detach },
	{ "slave_of", true, true, read_detach }, /* Trove takes it from PATCH alone */
	{ "configuration", true, true, read_configuration },
	{ "datastore_version", true, true, read_version },
	{ "access", true, false, read_access },
};

static bool read_attribute(const char *key, const json_t *v, enum trove_update_verb verb,
			   struct arena *a, struct trove_update *u, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(attributes); i++) {
		bool takes = verb == TROVE_PUT ? attributes[i].put : attributes[i].patch;

		if (takes && strcmp(attributes[i].key, key) == 0) {
			return attributes[i].read(v, a, u, e);
		}
	}
	return err_set(e, ERR_INVALID,
		       "Validation error: instance['%.64s'] cannot be changed; name, "
		       "replica_of, configuration and datastore_version can",
		       key);
}

bool trove_read_update(const char *body, size_t len, enum trove_update_verb verb, struct arena *a,
		       struct trove_update *ret, struct err *e)
{
	struct trove_update u = {};
	const json_t *instance;
	const char *key;
	json_t *value;
	auto_json *root = NULL;

	if (!trove_read_root(body, len, "instance", &root, &instance, e)) {
		return false;
	}
	/* jansson's macro wants a pointer that may change; nothing is changed */
	json_object_foreach((json_t *)(uintptr_t)instance, key, value)
	{
		if (!read_attribute(key, value, verb, a, &u, e)) {
			return false;
		}
	}
	if (u.detach + u.has_configuration + u.has_datastore_version + u.has_access > 1) {
		return err_set(e, ERR_INVALID,
			       "Only one attribute besides 'name' can be changed at a "
			       "time: send one request for each.");
	}
	*ret = u;
	return true;
}

#define ACTION_KEY(name, key) [TROVE_ACTION_##name] = key,
static const char *const action_keys[] = { TROVE_ACTIONS(ACTION_KEY) };
#undef ACTION_KEY
static_assert(ARRAY_LEN(action_keys) == TROVE_ACTION_COUNT);

static bool read_resize(const json_t *v, struct arena *a, struct trove_action *x, struct err *e)
{
	const json_t *flavor = json_object_get(v, "flavorRef");
	const json_t *volume = json_object_get(v, "volume");

	if (json_object_size(v) != 1 || (flavor == NULL && volume == NULL)) {
		return err_set(e, ERR_INVALID,
			       "Validation error: resize must be {\"flavorRef\": ID} or "
			       "{\"volume\": {\"size\": GB}}");
	}
	return flavor != NULL
		       ? trove_read_flavor_ref(flavor, "resize['flavorRef']", a, &x->flavor_ref, e)
		       : trove_read_volume(volume, "resize['volume']", &x->volume_gb, e);
}

static bool read_start(const json_t *v, struct trove_action *x, struct err *e)
{
	if (!json_is_true(json_object_get(v, "accept_data_loss"))) {
		return err_set(
			e, ERR_INVALID,
			"Validation error: start must be {\"accept_data_loss\": "
			"true}: it goes on at the price of the data that the instance's fault "
			"names.");
	}
	x->accept_data_loss = true;
	return true;
}

/* Trove looks at no value of this; ours may have a word in it. */
static bool read_eject(const json_t *v, struct trove_action *x, struct err *e)
{
	const json_t *accepts = json_object_get(v, "accept_data_loss");

	if (accepts != NULL && !json_is_boolean(accepts)) {
		return err_set(e, ERR_INVALID,
			       "Validation error: eject_replica_source['accept_data_loss'] must be "
			       "true or false, not %s",
			       json_type_text(accepts));
	}
	x->accept_data_loss = json_is_true(accepts);
	return true;
}

static bool read_attach(const json_t *v, struct trove_action *x, struct err *e)
{
	const json_t *source = json_object_get(v, "replica_of");

	if (source == NULL || json_object_size(v) != 1) {
		return err_set(
			e, ERR_INVALID,
			"Validation error: attach must be {\"replica_of\": ID}, with the id of "
			"the source that it is to follow");
	}
	return trove_read_uuid(source, "attach['replica_of']", &x->replica_of, e);
}

static bool read_empty(const json_t *v, const char *key, struct err *e)
{
	return json_is_object(v) ||
	       err_set(e, ERR_INVALID, "Validation error: %s must be an object, {}, not %s", key,
		       json_type_text(v));
}

static bool read_value(const json_t *v, struct arena *a, struct trove_action *x, struct err *e)
{
	switch (x->kind) {
	case TROVE_ACTION_RESTART:
	case TROVE_ACTION_ADOPT:
	case TROVE_ACTION_CANCEL:
	case TROVE_ACTION_DELETE_GROUP:
		return read_empty(v, action_keys[x->kind], e);
	case TROVE_ACTION_RESIZE:
		return read_resize(v, a, x, e);
	case TROVE_ACTION_START:
		return read_start(v, x, e);
	case TROVE_ACTION_EJECT:
		return read_eject(v, x, e);
	case TROVE_ACTION_ATTACH:
		return read_attach(v, x, e);
	case TROVE_ACTION_DURABILITY:
		return trove_read_durability(v, "durability", &x->durability, e);
	case TROVE_ACTION_PROMOTE: /* Trove looks at no value of these */
	case TROVE_ACTION_RESET_STATUS:
	case TROVE_ACTION_COUNT:
		break;
	}
	return true;
}

static bool no_such_action(const char *key, struct err *e)
{
	auto_str there = {};

	for (size_t k = 0; k < TROVE_ACTION_COUNT; k++) {
		str_printf(&there, "%s%s", k == 0 ? "" : ", ", action_keys[k]);
	}
	return err_set(e, ERR_INVALID, "Validation error: there is no action '%.64s'; there are %s",
		       key, str_cstr(&there));
}

bool trove_read_action(const char *body, size_t len, struct arena *a, struct trove_action *ret,
		       struct err *e)
{
	auto_json *root = NULL;

	if (len == 0) {
		return err_set(e, ERR_INVALID,
			       "The body is empty: send an action, such as "
			       "{\"restart\": {}}.");
	}
	if (!json_parse(body, len, &root, e)) {
		return err_wrap(e, "Malformed request body");
	}
	if (!json_is_object(root) || json_object_size(root) != 1) {
		return err_set(e, ERR_INVALID,
			       "Validation error: the body must be an object with one "
			       "action, such as {\"restart\": {}}");
	}
	const char *key = json_object_iter_key(json_object_iter(root));
	for (size_t k = 0; k < TROVE_ACTION_COUNT; k++) {
		if (strcmp(key, action_keys[k]) == 0) {
			struct trove_action x = { .kind = (enum trove_action_kind)k };

			if (!read_value(json_object_get(root, key), a, &x, e)) {
				return false;
			}
			*ret = x;
			return true;
		}
	}
	return no_such_action(key, e);
}
