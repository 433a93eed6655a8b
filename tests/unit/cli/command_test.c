/*
 * The tables of commands and options: what hangs on a row is really printed from it.
 */
#include "../test.h"

#include "base/str.h"
#include "cli/docs.h"

typedef void docs_fn(FILE *out);

/* What a printer prints; freed by the caller. */
static char *printed(docs_fn *fn)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	fn(f);
	fclose(f);
	return text;
}

static char *printed_command(const struct command *cmd)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	docs_command(cmd, f);
	fclose(f);
	return text;
}

static void must_contain(const char *text, const char *part, const char *of)
{
	if (strstr(text, part) == NULL) {
		fail_msg("'%s' is missing for %s in:\n%s", part, of, text);
	}
}

static void every_command_is_documented(void **)
{
	char *usage = printed(docs_usage), *man = printed(docs_man), *bash = printed(docs_bash);

	for (size_t i = 0; i < ncommands; i++) {
		const struct command *cmd = &commands[i];
		auto_str in_usage = {}, in_man = {}, in_bash = {};

		assert_non_null(cmd->run);
		assert_non_null(cmd->more);
		assert_true(strlen(cmd->help) > 5);
		assert_true(cmd->help[strlen(cmd->help) - 1] != '.');
		assert_true(cmd->min_args <= cmd->max_args);
		assert_true((cmd->max_args == 0) == (cmd->args[0] == '\0'));
		str_printf(&in_usage, "  %-16s %s\n", cmd->name, cmd->help);
		str_printf(&in_man, "## %s\n\n*tanist %s*", cmd->name, cmd->name);
		str_printf(&in_bash, "\t%s%s%s)\n\t\topts=\"", cmd->name,
			   cmd->alias == NULL ? "" : "|", cmd->alias == NULL ? "" : cmd->alias);
		must_contain(usage, in_usage.p, cmd->name);
		must_contain(man, in_man.p, cmd->name);
		must_contain(bash, in_bash.p, cmd->name);
	}
	free(usage);
	free(man);
	free(bash);
}

/* scdoc takes a line that begins so for a list, a heading or a comment. */
static void no_paragraph_begins_like_markup(void **)
{
	for (size_t i = 0; i < ncommands; i++) {
		for (const char *p = commands[i].more; p != NULL; p = strstr(p, "\n\n")) {
			p += strspn(p, "\n");
			if (strchr("-#;.\t|[]<", *p) != NULL && *p != '\0') {
				fail_msg("%s: a paragraph begins with '%.20s'", commands[i].name, p);
			}
		}
	}
}

static void an_alias_is_a_name_of_its_own(void **)
{
	char *man = printed(docs_man);

	for (size_t i = 0; i < ncommands; i++) {
		const struct command *cmd = &commands[i];
		auto_str line = {};

		assert_ptr_equal(command_find(cmd->name), cmd);
		if (cmd->alias == NULL) {
			continue;
		}
		char *help = printed_command(cmd);

		assert_ptr_equal(command_find(cmd->alias), cmd);
		str_printf(&line, "too: *%s*.", cmd->alias);
		must_contain(man, line.p, cmd->name);
		must_contain(help, cmd->alias, cmd->name);
		free(help);
	}
	assert_string_equal(command_find("promote_to_replica_source")->name, "promote");
	assert_string_equal(command_find("eject-replica-source")->name, "eject");
	free(man);
}

static void every_option_of_a_command_is_in_its_help(void **)
{
	for (size_t i = 0; i < ncommands; i++) {
		char *text = printed_command(&commands[i]);

		for (size_t o = 0; o < OPT_COUNT; o++) {
			auto_str line = {};

			str_printf(&line, "  --%s", options[o].name);
			if (command_takes(&commands[i], (enum option_id)o)) {
				must_contain(text, line.p, commands[i].name);
				must_contain(text, options[o].help, commands[i].name);
			} else {
				assert_null(strstr(text, options[o].help));
			}
		}
		free(text);
	}
}

static void every_option_is_taken_by_some_command(void **)
{
	for (size_t o = 0; o < OPT_COUNT; o++) {
		bool taken = false;

		for (size_t i = 0; i < ncommands; i++) {
			taken = taken || command_takes(&commands[i], (enum option_id)o);
		}
		if (!taken) {
			fail_msg("nobody takes --%s", options[o].name);
		}
		assert_true((options[o].value == NULL) == (options[o].kind == OPTION_FLAG));
		assert_true(options[o].kind != OPTION_NUMBER || options[o].min < options[o].max);
		assert_null(strchr(options[o].name, '_'));
	}
}

static void names_are_found_in_both_spellings(void **)
{
	assert_string_equal(command_find("flavor-list")->name, "flavor-list");
	assert_string_equal(command_find("flavor_list")->name, "flavor-list");
	assert_string_equal(command_find("detach_replica")->name, "detach-replica");
	assert_null(command_find("flavor"));
	assert_null(command_find("flavor-lists"));
	assert_null(command_find(""));
	assert_int_equal(option_find("replica_of", 10), OPT_REPLICA_OF);
	assert_int_equal(option_find("replica-of=x", 10), OPT_REPLICA_OF);
	assert_int_equal(option_find("replica", 7), OPT_COUNT);
}

static void the_nearest_is_suggested(void **)
{
	static const struct {
		const char *word, *near;
	} cases[] = {
		{ "lst", "list" },      { "craete", "create" }, { "topo", "topology" },
		{ "flavor", "flavor-list" }, { "xyzzy", NULL },  { "li", NULL },
		{ "prmote", "promote" }, { "eject-replca-source", "eject-replica-source" },
		{ "promote-to", "promote-to-replica-source" },
		{ "", NULL },           { "averyveryveryverylongwordindeedlongerthananycommand", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *got = command_nearest(cases[i].word);

		if (!str_eq(got, cases[i].near)) {
			fail_msg("'%s' gives '%s', not '%s'", cases[i].word, got == NULL ? "nothing" : got,
				 cases[i].near == NULL ? "nothing" : cases[i].near);
		}
	}
	assert_string_equal(option_nearest("replica-cuont"), "replica-count");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_command_is_documented),
		cmocka_unit_test(no_paragraph_begins_like_markup),
		cmocka_unit_test(an_alias_is_a_name_of_its_own),
		cmocka_unit_test(every_option_of_a_command_is_in_its_help),
		cmocka_unit_test(every_option_is_taken_by_some_command),
		cmocka_unit_test(names_are_found_in_both_spellings),
		cmocka_unit_test(the_nearest_is_suggested),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
