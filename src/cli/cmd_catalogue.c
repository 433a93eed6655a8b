/*
 * Commands about what there is to choose from: flavors and datastores.
 */
#include <inttypes.h>

#include "cli/cli.h"
#include "cli/table.h"

static void number_cell(struct table *t, struct libscols_line *row, size_t column, const json_t *o,
			const char *key, const char *unit)
{
	auto_str text = {};

	str_printf(&text, "%" PRId64 "%s", api_number(o, key, 0), unit);
	table_cell(t, row, column, str_cstr(&text));
}

bool cmd_flavor_list(struct cli *c, struct err *e)
{
	static const struct column columns[] = {
		{ "ID", COLUMN_TEXT },
		{ "NAME", COLUMN_TEXT },
		{ "MEMORY", COLUMN_RIGHT },
		{ "CPUS", COLUMN_RIGHT },
	};
	auto_answer r = {};

	if (!api_get(&c->api, "/flavors", &r, e)) {
		return false;
	}
	if (args_given(&c->args, OPT_JSON)) {
		text_json(&r.body, c->out);
		return true;
	}
	const json_t *flavors = api_array(r.json, "flavors");
	auto_table *t = table_new(columns, ARRAY_LEN(columns));

	for (size_t i = 0; i < json_array_size(flavors); i++) {
		const json_t *f = json_array_get(flavors, i);
		struct libscols_line *row = table_row(t, NULL);

		table_cell(t, row, 0, api_text(f, "str_id"));
		table_cell(t, row, 1, api_text(f, "name"));
		number_cell(t, row, 2, f, "ram", " MB");
		number_cell(t, row, 3, f, "vcpus", "");
	}
	table_print(t, c->out);
	return true;
}

static void datastore_rows(struct table *t, const json_t *datastore)
{
	const json_t *versions = api_array(datastore, "versions");
	const char *standard = api_text(datastore, "default_version");

	for (size_t i = 0; i < json_array_size(versions); i++) {
		const json_t *v = json_array_get(versions, i);
		struct libscols_line *row = table_row(t, NULL);

		table_cell(t, row, 0, api_text(datastore, "name"));
		table_cell(t, row, 1, api_text(v, "name"));
		table_cell(t, row, 2, str_eq(standard, api_text(v, "id")) ? "yes" : "");
		table_cell(t, row, 3, api_text(v, "id"));
	}
}

bool cmd_datastore_list(struct cli *c, struct err *e)
{
	static const struct column columns[] = {
		{ "DATASTORE", COLUMN_TEXT },
		{ "VERSION", COLUMN_TEXT },
		{ "DEFAULT", COLUMN_TEXT },
		{ "VERSION ID", COLUMN_TEXT },
	};
	auto_answer r = {};

	if (!api_get(&c->api, "/datastores", &r, e)) {
		return false;
	}
	if (args_given(&c->args, OPT_JSON)) {
		text_json(&r.body, c->out);
		return true;
	}
	const json_t *all = api_array(r.json, "datastores");

	if (json_array_size(all) == 0) {
		fprintf(stderr, "no host has reported a server: install redis-server there, or name "
				"its path in agent.servers\n");
		return true;
	}
	auto_table *t = table_new(columns, ARRAY_LEN(columns));

	for (size_t i = 0; i < json_array_size(all); i++) {
		datastore_rows(t, json_array_get(all, i));
	}
	table_print(t, c->out);
	return true;
}
