/*
 * Goals, as the agent reads them from the control plane and from its own folder; and the
 * configuration that follows from each: one line per directive, whatever the goal says.
 */
#include "fuzz.h"

#include "proto/conf.h"
#include "proto/wire.h"

static const struct conf_paths paths = { "/d", "/s", "/l", "/p" };

/* Nothing but text, and every line is a comment, empty, or begins with a known kind of word. */
static void check_file(const struct str *file)
{
	bool line_start = true;

	for (size_t i = 0; i < file->len; i++) {
		unsigned char c = (unsigned char)file->p[i];

		PROMISE(c == '\n' || (c >= ' ' && c != 0x7f));
		PROMISE(!line_start || c == '\n' || c == '#' || (c >= 'a' && c <= 'z'));
		line_start = c == '\n';
	}
}

static void check_goal(const struct goal *g)
{
	static const struct start_mode modes[] = { {}, { .guarded = true }, { .from_rdb = true } };
	auto_arena a = {};
	const struct conf_setting *settings;
	const struct conf_user *users;
	struct goal calm = *g;
	struct server_version v;

	if (g->run != GOAL_RUN) {
		return;
	}
	PROMISE(version_parse(g->datastore, g->version, &v));
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		auto_str file = {}, plain = {};
		size_t lines = 0, plain_lines = 0;

		conf_write(g, modes[i], &paths, &file);
		check_file(&file);
		calm.name = calm.project = calm.address = calm.upstream_host = "x";
		conf_write(&calm, modes[i], &paths, &plain);
		for (const char *c = file.p; *c != '\0'; c++) {
			lines += *c == '\n';
		}
		for (const char *c = plain.p; *c != '\0'; c++) {
			plain_lines += *c == '\n';
		}
		PROMISE(lines == plain_lines);
		PROMISE(conf_live_settings(g, modes[i], &a, &settings) > 0);
	}
	(void)conf_users(g, &a, &users);
}

static void check_one(const char *text, size_t size)
{
	auto_arena a = {};
	auto_str once = {};
	struct goal g, again;
	struct err e = {};

	if (!wire_read_goal(text, size, &a, &g, &e)) {
		PROMISE_REFUSED(e);
		return;
	}
	wire_write_goal(&g, &once);
	PROMISE(wire_read_goal(once.p, once.len, &a, &again, &e));
	check_goal(&g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena a = {};
	auto_str once = {}, twice = {};
	struct wire_goals g, again;
	struct wire_report_answer answer;
	struct err e = {};

	check_one((const char *)data, size);
	if (!wire_read_report_answer((const char *)data, size, &answer, &e)) {
		PROMISE_REFUSED(e);
	}
	e = (struct err){};
	if (!wire_read_goals((const char *)data, size, &a, &g, &e)) {
		PROMISE_REFUSED(e);
		return 0;
	}
	wire_write_goals(&g, &once);
	PROMISE(wire_read_goals(once.p, once.len, &a, &again, &e));
	wire_write_goals(&again, &twice);
	PROMISE(same_text(&once, &twice));
	for (size_t i = 0; i < g.ngoals; i++) {
		check_goal(&g.goals[i]);
	}
	return 0;
}
