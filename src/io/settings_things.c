/*
 * The sections that stand for one thing each: [flavor:ID], [token:NAME], [datastore:NAME]. Their
 * keys are rows like those of the settings table; a thing is made when its section ends.
 */
#include "io/settings_file.h"

#include <assert.h>

#include "base/id.h"

/*
 * Flavors
 */

/* clang-format off */
enum { FLAVOR_NAME, FLAVOR_RAM, FLAVOR_VCPUS, FLAVOR_DISK, FLAVOR_EPHEMERAL, FLAVOR_PCT, FLAVOR_POLICY, FLAVOR_KEYS };
static const struct setting flavor_keys[] = {
	[FLAVOR_NAME]      = { .name = "name", .type = SETTING_TEXT, .min = 1, .max = 255 },
	[FLAVOR_RAM]       = { .name = "ram", .type = SETTING_INT, .min = 1, .max = 1 << 30 },
	[FLAVOR_VCPUS]     = { .name = "vcpus", .type = SETTING_INT, .min = 1, .max = 4096, .standard = "1" },
	[FLAVOR_DISK]      = { .name = "disk", .type = SETTING_INT, .min = 0, .max = 1 << 30, .standard = "0" },
	[FLAVOR_EPHEMERAL] = { .name = "ephemeral", .type = SETTING_INT, .min = 0, .max = 1 << 30, .standard = "0" },
	[FLAVOR_PCT]       = { .name = "maxmemory_pct", .type = SETTING_INT, .min = 1, .max = 100, .standard = "75" },
	[FLAVOR_POLICY]    = { .name = "policy", .type = SETTING_CHOICE, .standard = "noeviction",
			       .choices = "noeviction|allkeys-lru|allkeys-lfu|allkeys-random|"
					  "volatile-lru|volatile-lfu|volatile-random|volatile-ttl" },
};
/* clang-format on */
static_assert(ARRAY_LEN(flavor_keys) == FLAVOR_KEYS, "a row per key");
static_assert(ARRAY_LEN(flavor_keys) <= SETTINGS_KEYS_MAX, "room for its values");

/* Of a value that was checked against its row. */
static uint32_t number(const char *value)
{
	uint64_t n = 0;
	bool ok = str_to_u64(value, &n);

	assert(ok);
	return (uint32_t)n;
}

static void close_flavor(struct reading *r)
{
	struct settings *s = r->s;

	if (settings_flavor(s, r->section) != NULL) {
		settings_bad(r, r->section_line, "there is a [flavor:%s] above", r->section);
		return;
	}
	if (s->nflavors == SETTINGS_FLAVORS_MAX) {
		settings_bad(r, r->section_line, "more than %d flavors", SETTINGS_FLAVORS_MAX);
		return;
	}
	if (s->flavors == NULL) {
		s->flavors = arena_alloc(&s->arena, SETTINGS_FLAVORS_MAX * sizeof *s->flavors);
	}
	s->flavors[s->nflavors++] = (struct flavor){
		.id = r->section,
		.name = r->value[FLAVOR_NAME],
		.ram_mb = number(r->value[FLAVOR_RAM]),
		.vcpus = number(r->value[FLAVOR_VCPUS]),
		.disk_gb = number(r->value[FLAVOR_DISK]),
		.ephemeral_gb = number(r->value[FLAVOR_EPHEMERAL]),
		.maxmemory_pct = number(r->value[FLAVOR_PCT]),
		.maxmemory_policy = r->value[FLAVOR_POLICY],
	};
}

/*
 * Tokens
 */

enum { TOKEN_PROJECT, TOKEN_ROLES, TOKEN_KEYS };
static const struct setting token_keys[] = {
	[TOKEN_PROJECT] = { .name = "project", .type = SETTING_TEXT, .min = 1, .max = 255 },
	[TOKEN_ROLES] = { .name = "roles",
			  .type = SETTING_CHOICE,
			  .choices = "member|admin",
			  .standard = "member" },
};
static_assert(ARRAY_LEN(token_keys) == TOKEN_KEYS, "a row per key");

static void close_token(struct reading *r)
{
	struct settings *s = r->s;

	for (size_t i = 0; i < s->ntokens; i++) {
		if (str_eq(s->tokens[i].token, r->section)) {
			settings_bad(r, r->section_line, "there is a section of this token above");
			return;
		}
	}
	if (s->ntokens == SETTINGS_TOKENS_MAX) {
		settings_bad(r, r->section_line, "more than %d tokens", SETTINGS_TOKENS_MAX);
		return;
	}
	if (s->tokens == NULL) {
		s->tokens = arena_alloc(&s->arena, SETTINGS_TOKENS_MAX * sizeof *s->tokens);
	}
	s->tokens[s->ntokens++] = (struct token){
		.token = r->section,
		.project = r->value[TOKEN_PROJECT],
		.admin = str_eq(r->value[TOKEN_ROLES], "admin"),
	};
}

/*
 * Datastores: besides the keys of the table any number of "version.NAME"
 */

static bool check_uuid(const char *value, struct err *e)
{
	struct id id;

	return id_parse(value, &id) ||
	       err_set(e, ERR_INVALID,
		       "'%.60s' is no id such as aaaaaaaa-0000-4000-8000-000000000001", value);
}

enum { DATASTORE_ID, DATASTORE_DEFAULT, DATASTORE_KEYS };
static const struct setting datastore_keys[] = {
	[DATASTORE_ID] = { .name = "id",
			   .type = SETTING_TEXT,
			   .min = 1,
			   .max = 36,
			   .check = check_uuid },
	[DATASTORE_DEFAULT] = { .name = "default",
				.type = SETTING_TEXT,
				.min = 1,
				.max = 64,
				.standard = "" },
};
static_assert(ARRAY_LEN(datastore_keys) == DATASTORE_KEYS, "a row per key");

/* "UUID active|inactive [NUMBER]" */
static bool parse_version(struct arena *a, const char *value, struct catalogue_entry *ret)
{
	char *words[4] = {}, *rest = arena_strdup(a, value);
	size_t n = 0;
	struct id id;

	for (char *w = strsep(&rest, " \t"); w != NULL && n < ARRAY_LEN(words);
	     w = strsep(&rest, " \t")) {
		if (w[0] != '\0') {
			words[n++] = w;
		}
	}
	if (n < 2 || n > 3 || !id_parse(words[0], &id) ||
	    (!str_eq(words[1], "active") && !str_eq(words[1], "inactive"))) {
		return false;
	}
	ret->version_id = words[0];
	ret->active = str_eq(words[1], "active");
	ret->number = n == 3 ? words[2] : ret->version;
	return true;
}

static void add_version(struct reading *r, const char *name, const char *value)
{
	struct settings *s = r->s;
	struct catalogue_entry v = { .datastore = r->section,
				     .version = arena_strdup(&s->arena, name) };

	for (size_t i = r->first_version; i < s->ncatalogue; i++) {
		if (str_eq(s->catalogue[i].version, name)) {
			settings_bad(r, r->line, "there is a version '%.60s' above", name);
			return;
		}
	}
	if (!parse_version(&s->arena, value, &v)) {
		settings_bad(r, r->line,
			     "version.%.60s: expected 'UUID active' or 'UUID inactive', and a "
			     "number if it is not %.60s",
			     name, name);
		return;
	}
	if (s->ncatalogue == SETTINGS_VERSIONS_MAX) {
		settings_bad(r, r->line, "more than %d versions", SETTINGS_VERSIONS_MAX);
		return;
	}
	if (s->catalogue == NULL) {
		s->catalogue = arena_alloc(&s->arena, SETTINGS_VERSIONS_MAX * sizeof *s->catalogue);
	}
	s->catalogue[s->ncatalogue++] = v;
}

static bool other_datastore_key(struct reading *r, const char *key, const char *value)
{
	static const char prefix[] = "version.";

	if (!str_starts(key, prefix) || key[strlen(prefix)] == '\0') {
		return false;
	}
	add_version(r, key + strlen(prefix), value);
	return true;
}

static void close_datastore(struct reading *r)
{
	struct settings *s = r->s;
	const char *standard = r->value[DATASTORE_DEFAULT];
	bool found = standard[0] == '\0';

	for (size_t i = 0; i < r->first_version; i++) {
		if (str_eq(s->catalogue[i].datastore, r->section)) {
			settings_bad(r, r->section_line, "there is a [datastore:%s] above",
				     r->section);
			return;
		}
	}
	for (size_t i = r->first_version; i < s->ncatalogue; i++) {
		struct catalogue_entry *v = &s->catalogue[i];

		v->datastore_id = r->value[DATASTORE_ID];
		v->is_default = str_eq(v->version, standard);
		found = found || v->is_default;
	}
	if (!found) {
		settings_bad(r, r->value_line[DATASTORE_DEFAULT],
			     "default: there is no version.%.60s in [datastore:%s]", standard,
			     r->section);
	}
	if (r->first_version == s->ncatalogue) {
		settings_bad(r, r->section_line, "[datastore:%s] has no version.NAME", r->section);
	}
}

const struct section_kind section_kinds[] = {
	{ "flavor", flavor_keys, FLAVOR_KEYS, 255, NAME_WORD, close_flavor },
	{ "datastore", datastore_keys, DATASTORE_KEYS, 64, NAME_WORD, close_datastore,
	  .other_key = other_datastore_key, .other_keys = ", version.NAME" },
	{ "token", token_keys, TOKEN_KEYS, 2048, NAME_SECRET, close_token },
};
const size_t nsection_kinds = ARRAY_LEN(section_kinds);
