/*
 * Commands about single instances: create, list, show, rename, start, adopt.
 */
#include <inttypes.h>

#include "cli/cli.h"
#include "cli/instance.h"
#include "cli/table.h"
#include "cli/wait.h"

enum { CREATE_LIMIT_MS = 60'000 };

static bool is_json(const struct cli *c)
{
	return args_given(&c->args, OPT_JSON);
}

/* The flavor's id for an id or a name: Trove's API wants the id. */
static bool find_flavor(struct cli *c, const char *wanted, struct str *ret_id, struct err *e)
{
	auto_answer r = {};
	auto_str names = {};

	if (!api_get(&c->api, "/flavors", &r, e)) {
		return false;
	}
	const json_t *flavors = api_array(r.json, "flavors");

	for (size_t i = 0; i < json_array_size(flavors); i++) {
		const json_t *f = json_array_get(flavors, i);

		if (str_eq(api_text(f, "str_id"), wanted) || str_eq(api_text(f, "name"), wanted)) {
			str_append(ret_id, api_text(f, "str_id"));
			return true;
		}
		str_printf(&names, "%s%s", i == 0 ? "" : ", ", api_text(f, "name"));
	}
	return err_set(e, ERR_NOT_FOUND, "there is no flavor '%s'; there are: %s", wanted,
		       str_cstr(&names));
}

static void write_datastore(struct jw *w, const struct args *args)
{
	if (!args_given(args, OPT_DATASTORE) && !args_given(args, OPT_DATASTORE_VERSION)) {
		return;
	}
	jw_object(w, "datastore");
	if (args_given(args, OPT_DATASTORE)) {
		jw_str(w, "type", args->text[OPT_DATASTORE]);
	}
	if (args_given(args, OPT_DATASTORE_VERSION)) {
		jw_str(w, "version", args->text[OPT_DATASTORE_VERSION]);
	}
	jw_end(w);
}

/* "" is what was not given. */
struct wanted {
	struct str flavor; /* its id */
	struct id_text source;
	struct durability_text durability;
};

static void write_create(const struct args *args, const struct wanted *x, struct str *out)
{
	struct jw w = { .out = out };

	jw_object(&w, NULL);
	jw_object(&w, "instance");
	jw_str(&w, "name", args->words[0]);
	if (x->flavor.len > 0) {
		jw_str(&w, "flavorRef", x->flavor.p);
	}
	if (args_given(args, OPT_SIZE)) {
		jw_object(&w, "volume");
		jw_int(&w, "size", args->number[OPT_SIZE]);
		jw_end(&w);
	}
	write_datastore(&w, args);
	if (x->source.s[0] != '\0') {
		jw_str(&w, "replica_of", x->source.s);
	}
	if (x->durability.s[0] != '\0') {
		jw_str(&w, "durability", x->durability.s);
	}
	if (args_given(args, OPT_REPLICA_COUNT)) {
		jw_int(&w, "replica_count", args->number[OPT_REPLICA_COUNT]);
	}
	jw_end(&w);
	jw_end(&w);
}

static bool check_create(const struct args *args, struct wanted *x, struct err *e)
{
	bool replica = args_given(args, OPT_REPLICA_OF);

	if (!replica && args->nwords < 2) {
		return err_set(e, ERR_INVALID,
			       "'create' needs a FLAVOR behind the name (`tanist flavor-list`), or "
			       "--replica-of INSTANCE");
	}
	if (!replica && !args_given(args, OPT_SIZE)) {
		return err_set(e, ERR_INVALID, "'create' needs --size GB");
	}
	if (!replica && args_given(args, OPT_REPLICA_COUNT)) {
		return err_set(e, ERR_INVALID,
			       "--replica-count counts replicas: name their source with --replica-of");
	}
	if (!args_given(args, OPT_DURABILITY)) {
		return true;
	}
	if (replica) {
		return err_set(e, ERR_INVALID,
			       "--durability is for a new data set; a replica's group has one already: "
			       "`tanist durability %s`",
			       args->text[OPT_REPLICA_OF]);
	}
	return args_durability(args->text[OPT_DURABILITY], &x->durability, e);
}

static bool add_id(struct id_text *ids, size_t max, size_t *n, const char *text)
{
	struct id id;

	if (!id_parse(text, &id)) {
		return false;
	}
	for (size_t i = 0; i < *n; i++) {
		if (str_eq(ids[i].s, id_text(id).s)) {
			return true;
		}
	}
	if (*n == max) {
		return false;
	}
	ids[(*n)++] = id_text(id);
	return true;
}

/* The one that the answer describes, and the others of a row of replicas. */
static size_t created_ids(const json_t *answer, struct id_text *ids, size_t max)
{
	const json_t *instance = api_object(answer, "instance");
	const json_t *more = api_array(instance, "replica_ids");
	size_t n = 0;

	if (more == NULL) {
		more = api_array(answer, "replica_ids");
	}
	if (!add_id(ids, max, &n, api_text(instance, "id"))) {
		return 0;
	}
	for (size_t i = 0; i < json_array_size(more); i++) {
		const char *text = json_string_value(json_array_get(more, i));

		(void)add_id(ids, max, &n, text == NULL ? "" : text);
	}
	return n;
}

static const struct column list_columns[] = {
	{ "NAME", COLUMN_LONG },       { "STATUS", COLUMN_TEXT },  { "ROLE", COLUMN_TEXT },
	{ "DATASTORE", COLUMN_EXTRA }, { "FLAVOR", COLUMN_EXTRA }, { "SIZE", COLUMN_EXTRA },
	{ "ADDRESS", COLUMN_TEXT },    { "ID", COLUMN_EXTRA },
};

static void list_row(struct table *t, const json_t *instance)
{
	struct libscols_line *row = table_row(t, NULL);
	const json_t *datastore = api_object(instance, "datastore");
	auto_str status = {}, kind = {}, size = {}, address = {};

	instance_status(instance, &status);
	instance_address(instance, &address);
	str_printf(&kind, "%s %s", api_text(datastore, "type"), api_text(datastore, "version"));
	str_printf(&size, "%" PRId64 " GB", api_number(api_object(instance, "volume"), "size", 0));
	table_cell(t, row, 0, api_text(instance, "name"));
	table_cell(t, row, 1, str_cstr(&status));
	table_cell(t, row, 2, instance_role(instance));
	table_cell(t, row, 3, str_cstr(&kind));
	table_cell(t, row, 4, api_text(api_object(instance, "flavor"), "id"));
	table_cell(t, row, 5, str_cstr(&size));
	table_cell(t, row, 6, str_cstr(&address));
	table_cell(t, row, 7, api_text(instance, "id"));
}

static bool show_created(struct cli *c, const struct id_text *ids, size_t n, struct err *e)
{
	auto_table *t = table_new(list_columns, ARRAY_LEN(list_columns));

	for (size_t i = 0; i < n; i++) {
		auto_answer r = {};
		auto_str path = {};

		str_printf(&path, "/instances/%s", ids[i].s);
		if (!api_get(&c->api, str_cstr(&path), &r, e)) {
			return false;
		}
		list_row(t, api_object(r.json, "instance"));
	}
	table_print(t, c->out);
	return true;
}

/* Waits and shows, as asked. The answer of the API has been printed already with --json. */
static bool after_create(struct cli *c, const struct id_text *ids, size_t n, struct err *e)
{
	bool wait = args_given(&c->args, OPT_WAIT);

	if (wait && !wait_for_instances(c, ids, n, WAIT_ACTIVE, e)) {
		return false;
	}
	if (is_json(c)) {
		return true;
	}
	if (!show_created(c, ids, n, e)) {
		return false;
	}
	if (!wait) {
		fprintf(stderr, "in progress: `tanist topology` shows how far; --wait waits for it\n");
	}
	return true;
}

static bool create(struct cli *c, struct wanted *x, struct err *e)
{
	struct id_text *ids = arena_alloc(&c->arena, sizeof *ids * WAIT_IDS_MAX);
	const char *source = c->args.text[OPT_REPLICA_OF];
	auto_str body = {};
	auto_answer r = {};

	if (!check_create(&c->args, x, e)) {
		return false;
	}
	if (c->args.nwords > 1 && !find_flavor(c, c->args.words[1], &x->flavor, e)) {
		return false;
	}
	if (source != NULL && !api_find(&c->api, source, &x->source, e)) {
		return false;
	}
	write_create(&c->args, x, &body);
	if (!api_call(&c->api, "POST", "/instances", str_cstr(&body), CREATE_LIMIT_MS, &r, e)) {
		return false;
	}
	size_t n = created_ids(r.json, ids, WAIT_IDS_MAX);

	if (n == 0) {
		return err_set(e, ERR_IO, "%s answered no instance", c->api.base);
	}
	if (is_json(c)) {
		text_json(&r.body, c->out);
	}
	return after_create(c, ids, n, e);
}

bool cmd_create(struct cli *c, struct err *e)
{
	struct wanted x = {};
	bool ok = create(c, &x, e);

	str_done(&x.flavor);
	return ok;
}

static bool one_page(struct cli *c, json_t **ret, struct str *ret_body, struct err *e)
{
	auto_answer r = {};
	auto_str path = {};
	struct id marker;

	str_printf(&path, "/instances?limit=%" PRId64, args_number(&c->args, OPT_LIMIT, 1000));
	if (args_given(&c->args, OPT_MARKER)) {
		if (!id_parse(c->args.text[OPT_MARKER], &marker)) {
			return err_set(e, ERR_INVALID, "--marker takes the id of an instance, not '%s'",
				       c->args.text[OPT_MARKER]);
		}
		str_printf(&path, "&marker=%s", id_text(marker).s);
	}
	if (!api_get(&c->api, str_cstr(&path), &r, e)) {
		return false;
	}
	json_t *items = json_object_get(r.json, "instances");

	if (!json_is_array(items)) {
		return err_set(e, ERR_IO, "%s answered no list of instances", c->api.base);
	}
	if (json_array_size(api_array(r.json, "links")) > 0) {
		const json_t *last = json_array_get(items, json_array_size(items) - 1);
		auto_str id = {};

		text_clean(api_text(last, "id"), &id);
		fprintf(stderr, "there are more: --marker %s\n", str_cstr(&id));
	}
	*ret = json_incref(items);
	str_append_mem(ret_body, r.body.p, r.body.len);
	return true;
}

bool cmd_list(struct cli *c, struct err *e)
{
	bool paged = args_given(&c->args, OPT_LIMIT) || args_given(&c->args, OPT_MARKER);
	auto_json *all = NULL;
	auto_str body = {};

	if (!(paged ? one_page(c, &all, &body, e)
		    : api_instances(&c->api, "/instances", &all, &body, e))) {
		return false;
	}
	if (is_json(c)) {
		text_json(&body, c->out);
		return true;
	}
	if (json_array_size(all) == 0) {
		fprintf(stderr, "no instances yet: `tanist create NAME FLAVOR --size GB --wait`\n");
		return true;
	}
	auto_table *t = table_new(list_columns, ARRAY_LEN(list_columns));

	for (size_t i = 0; i < json_array_size(all); i++) {
		list_row(t, json_array_get(all, i));
	}
	table_print(t, c->out);
	return true;
}

/* Said in another row already, or of no use to a reader. */
static bool is_shown(const char *key)
{
	static const char *const hidden[] = { "links", "addresses" };

	for (size_t i = 0; i < ARRAY_LEN(hidden); i++) {
		if (str_eq(hidden[i], key)) {
			return false;
		}
	}
	return true;
}

static void show_instance(const json_t *instance, FILE *out)
{
	static const struct column columns[] = { { "", COLUMN_TEXT }, { "", COLUMN_TEXT } };
	auto_table *t = table_new(columns, ARRAY_LEN(columns));
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)instance, key, value) {
		auto_str text = {};

		if (!is_shown(key)) {
			continue;
		}
		if (str_eq(key, "sync")) {
			instance_progress(instance, &text);
		} else {
			instance_value(key, value, &text);
		}
		if (text.len > 0) {
			struct libscols_line *row = table_row(t, NULL);

			table_cell(t, row, 0, key);
			table_cell(t, row, 1, str_cstr(&text));
		}
	}
	table_print(t, out);
}

bool cmd_show(struct cli *c, struct err *e)
{
	struct id_text id;
	auto_answer r = {};
	auto_str path = {};

	if (!api_find(&c->api, c->args.words[0], &id, e)) {
		return false;
	}
	str_printf(&path, "/instances/%s", id.s);
	if (!api_get(&c->api, str_cstr(&path), &r, e)) {
		return false;
	}
	if (is_json(c)) {
		text_json(&r.body, c->out);
		return true;
	}
	const json_t *instance = api_object(r.json, "instance");

	if (instance == NULL) {
		return err_set(e, ERR_IO, "%s answered no instance", c->api.base);
	}
	show_instance(instance, c->out);
	return true;
}

bool cmd_rename(struct cli *c, struct err *e)
{
	struct id_text id;
	auto_answer r = {};
	auto_str path = {}, body = {};
	struct jw w = { .out = &body };

	if (!api_find(&c->api, c->args.words[0], &id, e)) {
		return false;
	}
	jw_object(&w, NULL);
	jw_object(&w, "instance");
	jw_str(&w, "name", c->args.words[1]);
	jw_end(&w);
	jw_end(&w);
	str_printf(&path, "/instances/%s", id.s);
	return api_call(&c->api, "PUT", str_cstr(&path), str_cstr(&body), API_LIMIT_MS, &r, e);
}

static bool send_action(struct cli *c, const char *body, struct err *e)
{
	struct id_text id;
	auto_answer r = {};

	return api_find(&c->api, c->args.words[0], &id, e) &&
	       api_action(&c->api, &id, body, &r, e);
}

bool cmd_start(struct cli *c, struct err *e)
{
	if (!args_given(&c->args, OPT_ACCEPT_DATA_LOSS)) {
		return err_set(e, ERR_INVALID,
			       "'start' needs --accept-data-loss: it lets a held instance go on though "
			       "data may be lost; `tanist show %s` says what is at stake",
			       c->args.words[0]);
	}
	return send_action(c, "{\"start\":{\"accept_data_loss\":true}}", e);
}

bool cmd_adopt(struct cli *c, struct err *e)
{
	return send_action(c, "{\"adopt\":{}}", e);
}
