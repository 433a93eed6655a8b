/*
 * The dry run of an election: a table to compare by, each candidate's figures in words, and last
 * what an eject would do now.
 */
#include <inttypes.h>

#include "cli/cli.h"
#include "cli/table.h"

static const struct column columns[] = {
	{ "NAME", COLUMN_LONG },    { "ELIGIBLE", COLUMN_TEXT }, { "OFFSET", COLUMN_RIGHT },
	{ "BEHIND", COLUMN_RIGHT }, { "", COLUMN_TEXT },         { "ID", COLUMN_EXTRA },
};

static bool is_eligible(const json_t *candidate)
{
	return json_is_true(json_object_get(candidate, "eligible"));
}

static int64_t highest_offset(const json_t *candidates)
{
	int64_t highest = -1;

	for (size_t i = 0; i < json_array_size(candidates); i++) {
		int64_t offset = api_number(json_array_get(candidates, i), "offset", -1);

		highest = offset > highest ? offset : highest;
	}
	return highest;
}

static void candidate_row(struct table *t, const json_t *candidate, const json_t *election,
			  int64_t highest)
{
	struct libscols_line *row = table_row(t, NULL);
	int64_t offset = api_number(candidate, "offset", -1);
	const char *id = api_text(candidate, "id");
	bool wins = id[0] != '\0' && str_eq(id, api_text(election, "winner"));
	bool sure = str_eq(api_text(election, "verdict"), "winner");
	char bytes[TEXT_BYTES_MAX] = "";
	auto_str text = {};

	if (offset >= 0) {
		str_printf(&text, "%" PRId64, offset);
		text_bytes(highest - offset, bytes);
	}
	table_cell(t, row, 0, api_text(candidate, "name"));
	table_cell(t, row, 1, is_eligible(candidate) ? "yes" : api_text(candidate, "why"));
	table_cell(t, row, 2, str_cstr(&text));
	table_cell(t, row, 3, bytes);
	table_cell(t, row, 4, !wins ? "" : sure ? "chosen" : "if loss is accepted");
	table_cell(t, row, 5, id);
}

static void line(const char *label, const char *text, FILE *out)
{
	auto_str clean = {};

	text_clean(text, &clean);
	fprintf(out, "%s%s\n", label, str_cstr(&clean));
}

/* What the operator has to say, if anything, for this to happen. */
static const char *verdict_text(const char *verdict)
{
	static const struct {
		const char *verdict, *text;
	} texts[] = {
		{ "winner", "an eject would promote it" },
		{ "none", "an eject would promote nobody, and wait for a member to return" },
		{ "would-lose", "an eject would promote it only with --accept-data-loss" },
		{ "too-few-sealed", "an eject would promote it only with --accept-data-loss: a write "
				    "that the group's durability covers might be missing" },
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (str_eq(texts[i].verdict, verdict)) {
			return texts[i].text;
		}
	}
	return verdict;
}

static void loss_line(const json_t *election, FILE *out)
{
	int64_t loss = api_number(election, "loss_bytes", -1);
	char bytes[TEXT_BYTES_MAX];

	if (api_text(election, "winner")[0] == '\0') {
		return;
	}
	if (loss < 0) {
		fprintf(out, "loss:     not known\n");
	} else if (loss == 0) {
		fprintf(out, "loss:     none known\n");
	} else {
		fprintf(out, "loss:     %s known to be written and not there\n",
			text_bytes(loss, bytes));
	}
}

static void show(const json_t *election, FILE *out)
{
	const json_t *candidates = api_array(election, "candidates");
	int64_t highest = highest_offset(candidates);
	auto_table *t = table_new(columns, ARRAY_LEN(columns));

	for (size_t i = 0; i < json_array_size(candidates); i++) {
		candidate_row(t, json_array_get(candidates, i), election, highest);
	}
	table_print(t, out);
	fputc('\n', out);
	for (size_t i = 0; i < json_array_size(candidates); i++) {
		line("", api_text(json_array_get(candidates, i), "text"), out);
	}
	fputc('\n', out);
	line("verdict:  ", verdict_text(api_text(election, "verdict")), out);
	line("why:      ", api_text(election, "reason"), out);
	loss_line(election, out);
}

bool cmd_elect(struct cli *c, struct err *e)
{
	struct id_text id;
	auto_answer r = {};
	auto_str path = {};

	if (!api_find(&c->api, c->args.words[0], &id, e)) {
		return false;
	}
	str_printf(&path, "/instances/%s/election", id.s);
	if (!api_get(&c->api, str_cstr(&path), &r, e)) {
		return false;
	}
	if (args_given(&c->args, OPT_JSON)) {
		text_json(&r.body, c->out);
		return true;
	}
	const json_t *election = api_object(r.json, "election");

	if (election == NULL) {
		return err_set(e, ERR_IO, "%s answered no election", c->api.base);
	}
	show(election, c->out);
	return true;
}
