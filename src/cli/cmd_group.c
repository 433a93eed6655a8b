/*
 * Commands about groups: who copies whom, what is in progress, what happened.
 */
#include <inttypes.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/instance.h"
#include "cli/table.h"

enum { EVENTS_LAST = 50, EVENTS_PAGE = 500, FOLLOW_HELD_S = 20, FOLLOW_AWAY_S = 60 };

static const struct column topology_columns[] = {
	{ "NAME", COLUMN_TREE },        { "ROLE", COLUMN_TEXT },   { "STATUS", COLUMN_TEXT },
	{ "ADDRESS", COLUMN_TEXT },     { "LAG", COLUMN_RIGHT },   { "DURABLE", COLUMN_TEXT },
	{ "FIRST COPY", COLUMN_EXTRA }, { "EPOCH", COLUMN_EXTRA }, { "ID", COLUMN_EXTRA },
};

/* A group's durability stands at its source, when it is any. */
static void topology_role(const json_t *instance, struct str *out)
{
	const char *durability = api_text(instance, "durability");

	str_append(out, instance_role(instance));
	if (!instance_is_replica(instance) && durability[0] != '\0' && !str_eq(durability, "async")) {
		str_append(out, ", ");
		str_append(out, durability);
	}
}

static struct libscols_line *topology_row(struct table *t, struct libscols_line *parent,
					  const json_t *instance)
{
	struct libscols_line *row = table_row(t, parent);
	const json_t *lag = json_object_get(instance, "lag_bytes");
	const json_t *durable = json_object_get(instance, "durable");
	auto_str status = {}, address = {}, epoch = {}, copy = {}, role = {};
	char bytes[TEXT_BYTES_MAX] = "";

	topology_role(instance, &role);
	instance_status(instance, &status);
	instance_address(instance, &address);
	instance_progress(instance, &copy);
	if (copy.len > 0) {
		str_append_char(&status, ' ');
		instance_percent(instance, &status);
	}
	if (parent == NULL && api_number(instance, "epoch", 0) > 0) {
		str_printf(&epoch, "%" PRId64, api_number(instance, "epoch", 0));
	}
	if (json_is_integer(lag) && instance_is_replica(instance)) {
		text_bytes(json_integer_value(lag), bytes);
	}
	table_cell(t, row, 0, api_text(instance, "name"));
	table_cell(t, row, 1, str_cstr(&role));
	table_cell(t, row, 2, str_cstr(&status));
	table_cell(t, row, 3, str_cstr(&address));
	table_cell(t, row, 4, bytes);
	table_cell(t, row, 5, !json_is_boolean(durable) ? "" : json_is_true(durable) ? "yes" : "no");
	table_cell(t, row, 6, str_cstr(&copy));
	table_cell(t, row, 7, str_cstr(&epoch));
	table_cell(t, row, 8, api_text(instance, "id"));
	return row;
}

/* The source is among all: false for one whose source is in no list. */
static bool has_source(const json_t *all, const json_t *replica)
{
	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *other = json_array_get(all, i);

		if (!instance_is_replica(other) && str_eq(instance_group(other), instance_group(replica))) {
			return true;
		}
	}
	return false;
}

/* Sources in the order of the list, each with its replicas below. */
static void topology_tree(const json_t *all, struct table *t)
{
	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *source = json_array_get(all, i);

		if (instance_is_replica(source)) {
			if (!has_source(all, source)) {
				topology_row(t, NULL, source);
			}
			continue;
		}
		struct libscols_line *root = topology_row(t, NULL, source);

		for (size_t j = 0; j < json_array_size(all); j++) {
			const json_t *replica = json_array_get(all, j);

			if (instance_is_replica(replica) &&
			    str_eq(instance_group(replica), instance_group(source))) {
				topology_row(t, root, replica);
			}
		}
	}
}

static void topology_faults(const json_t *all, FILE *out)
{
	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *instance = json_array_get(all, i);
		const char *fault = api_text(api_object(instance, "fault"), "message");
		auto_str line = {};

		if (fault[0] != '\0') {
			text_clean(api_text(instance, "name"), &line);
			str_append(&line, ": ");
			text_clean(fault, &line);
			fprintf(out, "%s\n", str_cstr(&line));
		}
	}
}

/* Leaves only the group that the instance is in. */
static bool narrow(struct cli *c, json_t *all, struct str *body, struct err *e)
{
	struct id_text id;
	auto_str group = {};

	if (!api_find(&c->api, c->args.words[0], &id, e)) {
		return false;
	}
	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *instance = json_array_get(all, i);

		if (str_eq(api_text(instance, "id"), id.s)) {
			str_append(&group, instance_group(instance));
		}
	}
	if (group.len == 0) {
		return err_set(e, ERR_NOT_FOUND, "there is no instance '%s'", c->args.words[0]);
	}
	for (size_t i = json_array_size(all); i-- > 0;) {
		if (!str_eq(instance_group(json_array_get(all, i)), str_cstr(&group))) {
			json_array_remove(all, i);
		}
	}
	str_clear(body);
	api_write_instances(all, body);
	return true;
}

bool cmd_topology(struct cli *c, struct err *e)
{
	auto_json *all = NULL;
	auto_str body = {};

	if (!api_instances(&c->api, "/instances/detail", &all, &body, e) ||
	    (c->args.nwords > 0 && !narrow(c, all, &body, e))) {
		return false;
	}
	if (args_given(&c->args, OPT_JSON)) {
		text_json(&body, c->out);
		return true;
	}
	if (json_array_size(all) == 0) {
		fprintf(stderr, "no instances yet: `tanist create NAME FLAVOR --size GB --wait`\n");
		return true;
	}
	auto_table *t = table_new(topology_columns, ARRAY_LEN(topology_columns));

	topology_tree(all, t);
	table_print(t, c->out);
	topology_faults(all, c->out);
	return true;
}

bool cmd_operations(struct cli *c, struct err *e)
{
	static const struct column columns[] = {
		{ "GROUP", COLUMN_LONG },    { "OPERATION", COLUMN_TEXT }, { "PHASE", COLUMN_TEXT },
		{ "INSTANCE", COLUMN_LONG }, { "SINCE", COLUMN_EXTRA },    { "ENDS WHEN", COLUMN_LONG },
	};
	auto_answer r = {};

	if (!api_get(&c->api, "/operations", &r, e)) {
		return false;
	}
	if (args_given(&c->args, OPT_JSON)) {
		text_json(&r.body, c->out);
		return true;
	}
	const json_t *all = api_array(r.json, "operations");

	if (json_array_size(all) == 0) {
		fprintf(stderr, "nothing is in progress\n");
		return true;
	}
	auto_table *t = table_new(columns, ARRAY_LEN(columns));

	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *op = json_array_get(all, i);
		struct libscols_line *row = table_row(t, NULL);

		table_cell(t, row, 0, api_text(op, "group_name"));
		table_cell(t, row, 1, api_text(op, "kind"));
		table_cell(t, row, 2, api_text(op, "phase"));
		table_cell(t, row, 3, api_text(op, "instance_name"));
		table_cell(t, row, 4, api_text(op, "phase_since"));
		table_cell(t, row, 5, api_text(op, "leaves_when"));
	}
	table_print(t, c->out);
	return true;
}

/* "12  2026-11-22 07:37:03  instance.attached  sessions  epoch 1  reason (figures)  instance" */
static void event_line(const json_t *ev, FILE *out)
{
	const char *figures = api_text(ev, "figures");
	const char *instance = api_text(ev, "instance");
	char at[TEXT_TIME_MAX];
	auto_str line = {};

	text_time(api_number(ev, "at_ms", 0), at);
	str_printf(&line, "%4" PRId64 "  %s  ", api_number(ev, "seq", 0), at);
	text_clean(api_text(ev, "event"), &line);
	str_append(&line, "  ");
	text_clean(api_text(ev, "group_name"), &line);
	if (instance[0] != '\0') {
		str_append_char(&line, '/');
		text_clean(instance, &line);
	}
	if (api_number(ev, "epoch", 0) > 0) {
		str_printf(&line, "  epoch %" PRId64, api_number(ev, "epoch", 0));
	}
	str_append(&line, "  ");
	text_clean(api_text(ev, "reason"), &line);
	if (figures[0] != '\0') {
		str_append(&line, " (");
		text_clean(figures, &line);
		str_append_char(&line, ')');
	}
	fprintf(out, "%s\n", str_cstr(&line));
}

struct event_reader {
	struct cli *c;
	uint64_t after;
	uint64_t left; /* events still wanted */
};

/* Shows one answer; *ret_n is how many events it had. */
static bool read_page(struct event_reader *r, int held_s, size_t *ret_n, struct err *e)
{
	uint64_t limit = r->left < EVENTS_PAGE ? r->left : EVENTS_PAGE;
	auto_answer page = {};
	auto_str path = {};

	str_printf(&path, "/events?after=%" PRIu64 "&limit=%" PRIu64, r->after, limit);
	if (held_s > 0) {
		str_printf(&path, "&wait=%d", held_s);
	}
	if (!api_call(&r->c->api, "GET", str_cstr(&path), NULL, API_LIMIT_MS + held_s * 1000, &page,
		      e)) {
		return false;
	}
	const json_t *events = api_array(page.json, "events");
	size_t n = json_array_size(events);
	bool json = args_given(&r->c->args, OPT_JSON);

	if (json && (n > 0 || held_s == 0)) {
		text_json(&page.body, r->c->out);
	}
	for (size_t i = 0; i < n; i++) {
		if (!json) {
			event_line(json_array_get(events, i), r->c->out);
		}
	}
	fflush(r->c->out);
	r->after = api_events_next(page.json, r->after);
	r->left -= n < r->left ? n : r->left;
	*ret_n = n;
	return true;
}

/* Until the reader has had enough (Ctrl-C), or the server has been away for too long. */
static bool follow(struct event_reader *r, struct err *e)
{
	int64_t heard_ms = clock_ms();

	while (!ferror(r->c->out)) {
		size_t n;

		r->left = EVENTS_PAGE;
		if (read_page(r, FOLLOW_HELD_S, &n, e)) {
			heard_ms = clock_ms();
			continue;
		}
		if (e->code != ERR_UNAVAILABLE || clock_ms() - heard_ms > SEC(FOLLOW_AWAY_S)) {
			return false;
		}
		(void)nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
	}
	return true;
}

bool cmd_events(struct cli *c, struct err *e)
{
	bool given = args_given(&c->args, OPT_AFTER);
	int64_t standard = given ? INT64_MAX : EVENTS_LAST;
	struct event_reader r = {
		.c = c,
		.after = (uint64_t)args_number(&c->args, OPT_AFTER, 0),
		.left = (uint64_t)args_number(&c->args, OPT_LIMIT, standard),
	};
	size_t n = 1;

	if (!given) {
		uint64_t last;

		if (!api_events_last(&c->api, &last, e)) {
			return false;
		}
		r.after = last > r.left ? last - r.left : 0;
	}
	while (n > 0 && r.left > 0) {
		if (!read_page(&r, 0, &n, e)) {
			return false;
		}
		n = n < EVENTS_PAGE ? 0 : n; /* a short page is the last */
	}
	return !args_given(&c->args, OPT_FOLLOW) || follow(&r, e);
}
