/*
 * POST /instances, read. Trove checks a body against a schema first and everything else later;
 * here is the schema: what a value must look like, whatever exists or is allowed. Each property
 * has a row and a function; a message names the place and what would be right there.
 */
#include "proto/trove.h"

#include <arpa/inet.h>

#include "base/macros.h"

enum { TEXT_MAX = 255, CIDRS_MAX = 100 };

/* "Validation error: instance['a']['b'] says": the form that Trove's users know. */
static bool wrong(struct err *e, const char *where, const char *says)
{
	return err_set(e, ERR_INVALID, "Validation error: %s %s", where, says);
}

static bool wrong_type(struct err *e, const char *where, const char *want, const json_t *v)
{
	return err_set(e, ERR_INVALID, "Validation error: %s must be %s, not %s", where, want,
		       json_type_text(v));
}

bool trove_read_root(const char *body, size_t len, const char *key, json_t **root,
		     const json_t **ret, struct err *e)
{
	*root = NULL;
	if (len == 0) {
		return err_set(e, ERR_INVALID, "The body is empty: send {\"%s\": {...}}.", key);
	}
	if (!json_parse(body, len, root, e)) {
		return err_wrap(e, "Malformed request body");
	}
	if (!json_is_object(*root)) {
		return err_set(e, ERR_INVALID, "The body must be {\"%s\": {...}}, not %s.", key,
			       json_type_text(*root));
	}
	const json_t *v = json_object_get(*root, key);
	if (v == NULL) {
		return err_set(e, ERR_INVALID,
			       "Validation error: '%s' is missing: send {\"%s\": "
			       "{...}}.",
			       key, key);
	}
	if (!json_is_object(v)) {
		return wrong_type(e, key, "an object", v);
	}
	*ret = v;
	return true;
}

static size_t characters(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++) {
		n += ((unsigned char)*s & 0xc0) != 0x80;
	}
	return n;
}

static bool has_alphanumeric(const char *s)
{
	for (; *s != '\0'; s++) {
		if ((*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'z') ||
		    (*s >= 'A' && *s <= 'Z')) {
			return true;
		}
	}
	return false;
}

/* Names end up in the comments of configuration files: a line break must never get there. */
static bool has_control(const char *s)
{
	for (; *s != '\0'; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f) {
			return true;
		}
	}
	return false;
}

bool trove_read_name(const json_t *v, const char **ret, struct err *e)
{
	static const char where[] = "instance['name']";

	if (!json_is_string(v)) {
		return wrong_type(e, where, "a string", v);
	}
	const char *s = json_string_value(v);
	size_t n = characters(s);
	if (n < 1 || n > MODEL_NAME_MAX) {
		return err_set(e, ERR_INVALID,
			       "Validation error: %s has %zu characters; 1 to %d are "
			       "allowed",
			       where, n, MODEL_NAME_MAX);
	}
	if (!has_alphanumeric(s)) {
		return wrong(e, where, "needs at least one letter or digit (a-z, A-Z, 0-9)");
	}
	if (has_control(s)) {
		return wrong(e, where, "must not have control characters");
	}
	*ret = s;
	return true;
}

const char *trove_last_element(const char *ref)
{
	const char *slash = strrchr(ref, '/');

	return slash == NULL ? ref : slash + 1;
}

bool trove_read_flavor_ref(const json_t *v, const char *where, struct arena *a, const char **ret,
			   struct err *e)
{
	if (json_is_integer(v)) {
		*ret = arena_printf(a, "%lld", (long long)json_integer_value(v));
		return true;
	}
	if (!json_is_string(v)) {
		return wrong_type(e, where, "a flavor's id, as a string or a whole number", v);
	}
	const char *id = trove_last_element(json_string_value(v));
	if (id[0] == '\0') {
		return wrong(e, where, "is empty: give a flavor's id (GET /flavors lists them)");
	}
	*ret = arena_strdup(a, id);
	return true;
}

static bool read_size(const json_t *v, int64_t *ret)
{
	uint64_t u;

	if (json_is_integer(v)) {
		*ret = json_integer_value(v);
		return true;
	}
	if (!json_is_string(v) || !str_to_u64(json_string_value(v), &u) || u > INT64_MAX) {
		return false;
	}
	*ret = (int64_t)u;
	return true;
}

bool trove_read_volume(const json_t *v, const char *where, int64_t *ret_gb, struct err *e)
{
	int64_t gb;

	if (!json_is_object(v)) {
		return wrong_type(e, where, "an object {\"size\": GB}", v);
	}
	const json_t *size = json_object_get(v, "size");
	if (size == NULL) {
		return err_set(e, ERR_INVALID,
			       "Validation error: %s['size'] is missing: give the "
			       "size in GB",
			       where);
	}
	if (!read_size(size, &gb) || gb < 1) {
		return err_set(e, ERR_INVALID,
			       "Validation error: %s['size'] must be a whole number "
			       "of GB, 1 or more",
			       where);
	}
	const json_t *type = json_object_get(v, "type");
	if (type != NULL && !json_is_null(type) && !json_is_string(type)) {
		return err_set(e, ERR_INVALID,
			       "Validation error: %s['type'] must be a string or null", where);
	}
	*ret_gb = gb;
	return true;
}

/* A string of 1 to TEXT_MAX characters. */
static bool read_text(const json_t *v, const char *where, struct arena *a, const char **ret,
		      struct err *e)
{
	if (!json_is_string(v)) {
		return wrong_type(e, where, "a string", v);
	}
	size_t n = characters(json_string_value(v));
	if (n < 1 || n > TEXT_MAX) {
		return err_set(e, ERR_INVALID,
			       "Validation error: %s has %zu characters; 1 to %d are "
			       "allowed",
			       where, n, TEXT_MAX);
	}
	*ret = arena_strdup(a, json_string_value(v));
	return true;
}

bool trove_read_uuid(const json_t *v, const char *where, struct id *ret, struct err *e)
{
	if (!json_is_string(v)) {
		return wrong_type(e, where, "an id (UUID)", v);
	}
	if (!id_parse(json_string_value(v), ret)) {
		return wrong(e, where, "must be an id (UUID), as GET /instances shows it");
	}
	return true;
}

/* "10.0.0.0/8" */
static bool is_cidr(const char *s)
{
	char address[INET_ADDRSTRLEN];
	struct in_addr in;
	uint64_t bits;
	const char *slash = strchr(s, '/');
	size_t n = slash == NULL ? strlen(s) : (size_t)(slash - s);

	if (n >= sizeof address) {
		return false;
	}
	memcpy(address, s, n);
	address[n] = '\0';
	return inet_pton(AF_INET, address, &in) == 1 &&
	       (slash == NULL || (str_to_u64(slash + 1, &bits) && bits <= 32));
}

static bool check_cidrs(const json_t *list, struct err *e)
{
	static const char where[] = "instance['access']['allowed_cidrs']";

	if (!json_is_array(list)) {
		return wrong_type(e, where, "a list of networks", list);
	}
	if (json_array_size(list) > CIDRS_MAX) {
		return err_set(e, ERR_INVALID,
			       "Validation error: %s has %zu networks; %d are allowed", where,
			       json_array_size(list), CIDRS_MAX);
	}
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *v = json_array_get(list, i);

		if (!json_is_string(v) || !is_cidr(json_string_value(v))) {
			return wrong(e, where, "must hold IPv4 networks such as 10.0.0.0/8");
		}
		for (size_t j = 0; j < i; j++) {
			if (str_eq(json_string_value(json_array_get(list, j)),
				   json_string_value(v))) {
				return wrong(e, where, "names a network twice");
			}
		}
	}
	return true;
}

bool trove_read_access(const json_t *v, bool *ret_public, bool *ret_cidrs, struct err *e)
{
	if (!json_is_object(v)) {
		return wrong_type(e, "instance['access']", "an object", v);
	}
	const json_t *is_public = json_object_get(v, "is_public");
	const json_t *cidrs = json_object_get(v, "allowed_cidrs");
	if (is_public != NULL && !json_is_boolean(is_public)) {
		return wrong_type(e, "instance['access']['is_public']", "true or false", is_public);
	}
	if (cidrs != NULL && !check_cidrs(cidrs, e)) {
		return false;
	}
	*ret_public = json_is_true(is_public);
	*ret_cidrs = cidrs != NULL && json_array_size(cidrs) > 0;
	return true;
}

/* One property of "instance": its reader gets the value (never NULL) and fills its part of *c. */
typedef bool property_fn(const json_t *v, struct arena *a, struct trove_create *c, struct err *e);

static bool read_name(const json_t *v, struct arena *a, struct trove_create *c, struct err *e)
{
	if (!trove_read_name(v, &c->name, e)) {
		return false;
	}
	c->name = arena_strdup(a, c->name);
	return true;
}

static bool read_flavor(const json_t *v, struct arena *a, struct trove_create *c, struct err *e)
{
	return trove_read_flavor_ref(v, "instance['flavorRef']", a, &c->flavor_ref, e);
}

static bool read_volume(const json_t *v, struct arena *, struct trove_create *c, struct err *e)
{
	return trove_read_volume(v, "instance['volume']", &c->volume_gb, e);
}

/* The keys of "datastore", and where each goes. */
static const struct {
	const char *key, *where;
	size_t at;
} datastore_keys[] = {
	{ "type", "instance['datastore']['type']", offsetof(struct trove_create, datastore) },
	{ "version", "instance['datastore']['version']", offsetof(struct trove_create, version) },
	{ "version_number", "instance['datastore']['version_number']",
	  offsetof(struct trove_create, version_number) },
};

static bool read_datastore_key(const char *key, const json_t *v, struct arena *a,
			       struct trove_create *c, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(datastore_keys); i++) {
		if (strcmp(key, datastore_keys[i].key) == 0) {
			const char **to = (void *)((char *)c + datastore_keys[i].at);

			return json_is_null(v) || read_text(v, datastore_keys[i].where, a, to, e);
		}
	}
	return err_set(e, ERR_INVALID,
		       "Validation error: instance['datastore'] has type, version and "
		       "version_number, no '%.64s'",
		       key);
}

static bool read_datastore(const json_t *v, struct arena *a, struct trove_create *c, struct err *e)
{
	const char *key;
	json_t *value;

	if (!json_is_object(v)) {
		return wrong_type(e, "instance['datastore']", "an object {\"type\", \"version\"}",
				  v);
	}
	/* jansson's macro wants a pointer that may change; nothing is changed */
	json_object_foreach((json_t *)(uintptr_t)v, key, value)
	{
		if (!read_datastore_key(key, value, a, c, e)) {
			return false;
		}
	}
	return true;
}

static bool read_nic(const json_t *nic, struct trove_create *c, struct err *e)
{
	static const char where[] = "instance['nics'][0]";
	const char *key;
	json_t *value;
	bool net = false;

	if (!json_is_object(nic)) {
		return wrong_type(e, where, "an object {\"network_id\": ID}", nic);
	}
	json_object_foreach((json_t *)(uintptr_t)nic, key, value)
	{
		struct id id;
		struct in_addr in;

		if (strcmp(key, "ip_address") == 0) {
			if (!json_is_string(value) ||
			    inet_pton(AF_INET, json_string_value(value), &in) != 1) {
				return wrong(e, where, "['ip_address'] must be an IPv4 address");
			}
			c->has_nics_ip = true;
			continue;
		}
		bool subnet = strcmp(key, "subnet_id") == 0;
		if (!subnet && strcmp(key, "net-id") != 0 && strcmp(key, "network_id") != 0) {
			return wrong(e, where,
				     "has network_id, subnet_id and ip_address, nothing else");
		}
		if (!trove_read_uuid(value, where, &id, e)) {
			return false;
		}
		net = true;
		c->has_nics_subnet |= subnet;
	}
	return net || wrong(e, where, "names no network: give network_id");
}

static bool read_nics(const json_t *v, struct arena *, struct trove_create *c, struct err *e)
{
	if (!json_is_array(v) || json_array_size(v) > 1) {
		return wrong(e, "instance['nics']", "must be a list of at most one network");
	}
	return json_array_size(v) == 0 || read_nic(json_array_get(v, 0), c, e);
}

static bool read_replica_of(const json_t *v, struct arena *, struct trove_create *c, struct err *e)
{
	c->has_replica_of = true;
	return trove_read_uuid(v, "instance['replica_of']", &c->replica_of, e);
}

static bool read_replica_count(const json_t *v, struct arena *, struct trove_create *c,
			       struct err *e)
{
	if (!json_is_integer(v)) {
		return wrong_type(e, "instance['replica_count']", "a whole number", v);
	}
	c->replica_count = json_integer_value(v);
	if (c->replica_count < 1) {
		return err_set(e, ERR_INVALID,
			       "Validation error: instance['replica_count'] %lld is "
			       "less than the minimum of 1",
			       (long long)c->replica_count);
	}
	return true;
}

static bool read_locality(const json_t *v, struct arena *, struct trove_create *c, struct err *e)
{
	if (!json_is_string(v) || json_string_length(v) == 0 ||
	    !place_locality_parse(json_string_value(v), &c->locality)) {
		return wrong(e, "instance['locality']", "must be 'affinity' or 'anti-affinity'");
	}
	c->has_locality = true;
	return true;
}

static bool read_restore_point(const json_t *v, struct arena *a, struct trove_create *c,
			       struct err *e)
{
	struct id id;

	if (!json_is_object(v)) {
		return wrong_type(e, "instance['restorePoint']", "an object {\"backupRef\": ID}",
				  v);
	}
	const json_t *ref = json_object_get(v, "backupRef");
	if (ref == NULL) {
		return wrong(e, "instance['restorePoint']['backupRef']", "is missing");
	}
	if (!trove_read_uuid(ref, "instance['restorePoint']['backupRef']", &id, e)) {
		return false;
	}
	c->has_restore_point = true;
	c->backup_ref = arena_strdup(a, json_string_value(ref));
	return true;
}

static bool read_zone(const json_t *v, struct arena *a, struct trove_create *c, struct err *e)
{
	return read_text(v, "instance['availability_zone']", a, &c->availability_zone, e);
}

static bool read_region(const json_t *v, struct arena *a, struct trove_create *c, struct err *e)
{
	return read_text(v, "instance['region_name']", a, &c->region, e);
}

static bool read_access(const json_t *v, struct arena *, struct trove_create *c, struct err *e)
{
	return trove_read_access(v, &c->wants_public, &c->has_cidrs, e);
}

static bool read_configuration(const json_t *v, struct arena *a, struct trove_create *c,
			       struct err *e)
{
	if (!read_text(v, "instance['configuration']", a, &c->configuration, e)) {
		return false;
	}
	c->configuration = trove_last_element(c->configuration);
	return true;
}

static bool read_durability(const json_t *v, struct arena *, struct trove_create *c, struct err *e)
{
	c->has_durability = true;
	return trove_read_durability(v, "instance['durability']", &c->durability, e);
}

/* A list of objects whose `name` is a plain word, and where each must have what `also` names. */
static bool check_named(const json_t *v, const char *where, const char *also, struct err *e)
{
	if (!json_is_array(v)) {
		return wrong_type(e, where, "a list", v);
	}
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t *item = json_array_get(v, i);
		const char *name = json_string_value(json_object_get(item, "name"));

		if (name == NULL || name[0] == '\0' || strpbrk(name, " ;,/\\'\"`") != NULL) {
			return wrong(e, where,
				     "needs a 'name' in each item: a word without blanks or "
				     "quotes");
		}
		if (also != NULL && !json_is_string(json_object_get(item, also))) {
			return err_set(e, ERR_INVALID,
				       "Validation error: %s needs a '%s' in each item", where,
				       also);
		}
	}
	return true;
}

static bool read_users(const json_t *v, struct arena *, struct trove_create *c, struct err *e)
{
	c->has_users = json_array_size(v) > 0;
	return check_named(v, "instance['users']", "password", e);
}

static bool read_databases(const json_t *v, struct arena *, struct trove_create *c, struct err *e)
{
	c->has_databases = json_array_size(v) > 0;
	return check_named(v, "instance['databases']", NULL, e);
}

static bool read_modules(const json_t *v, struct arena *, struct trove_create *c, struct err *e)
{
	if (!json_is_array(v)) {
		return wrong_type(e, "instance['modules']", "a list", v);
	}
	c->has_modules = json_array_size(v) > 0;
	return true;
}

/* Properties that are not here are accepted and not looked at, as in Trove's schema. */
static const struct {
	const char *key;
	property_fn *read;
} properties[] = {
	{ "name", read_name },
	{ "flavorRef", read_flavor },
	{ "volume", read_volume },
	{ "datastore", read_datastore },
	{ "databases", read_databases },
	{ "users", read_users },
	{ "restorePoint", read_restore_point },
	{ "replica_of", read_replica_of },
	{ "replica_count", read_replica_count },
	{ "availability_zone", read_zone },
	{ "nics", read_nics },
	{ "modules", read_modules },
	{ "region_name", read_region },
	{ "locality", read_locality },
	{ "configuration", read_configuration },
	{ "access", read_access },
	{ "durability", read_durability },
};

bool trove_read_create(const char *body, size_t len, struct arena *a, struct trove_create *ret,
		       struct err *e)
{
	struct trove_create c = { .replica_count = 1 };
	const json_t *instance;
	auto_json *root = NULL;

	if (!trove_read_root(body, len, "instance", &root, &instance, e)) {
		return false;
	}
	for (size_t i = 0; i < ARRAY_LEN(properties); i++) {
		const json_t *v = json_object_get(instance, properties[i].key);

		if (v != NULL && !properties[i].read(v, a, &c, e)) {
			return false;
		}
	}
	if (c.name == NULL) {
		return wrong(e, "instance['name']", "is missing: give the new instance a name");
	}
	*ret = c;
	return true;
}
