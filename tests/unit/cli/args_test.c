/*
 * The parser of the command line: each case is a line that a person may type.
 */
#include "../test.h"

#include "base/str.h"
#include "cli/args.h"

enum { WORDS_MAX = 12 };

struct line {
	const char *argv[WORDS_MAX]; /* behind "tanist"; ends with NULL */
	const char *error;           /* part of the message; NULL: fine */
};

static bool parse(const struct line *l, struct arena *a, struct args *ret, struct err *e)
{
	char *argv[WORDS_MAX + 1] = { (char[]){ "tanist" } };
	int argc = 1;

	for (size_t i = 0; i < WORDS_MAX && l->argv[i] != NULL; i++) {
		argv[argc++] = arena_strdup(a, l->argv[i]);
	}
	return args_parse(argc, argv, a, ret, e);
}

static void lines_are_taken_or_refused(void **)
{
	static const struct line lines[] = {
		{ { "list" }, NULL },
		{ {}, NULL },
		{ { "help" }, NULL },
		{ { "lits" }, "there is no command 'lits'; did you mean 'list'?" },
		{ { "frobnicate" }, "`tanist help` lists them" },
		{ { "show" }, "'show' needs INSTANCE" },
		{ { "rename", "a" }, "'rename' needs INSTANCE NAME" },
		{ { "show", "a", "b" }, "'show' does not know what to do with 'b'" },
		{ { "list", "--lmit", "3" }, "no option '--lmit'; did you mean '--limit'?" },
		{ { "list", "--frobnicate" }, "there is no option '--frobnicate'" },
		{ { "list", "-l" }, "there is no option '-l'" },
		{ { "list", "--size", "3" }, "'list' does not take --size" },
		{ { "create", "a", "1", "--size", "abc" }, "--size takes a number from 1 to 1048576, not 'abc'" },
		{ { "create", "a", "1", "--size", "0" }, "not '0'" },
		{ { "create", "a", "1", "--size", "-1" }, "not '-1'" },
		{ { "create", "a", "1", "--size", "99999999999999999999" }, "--size takes" },
		{ { "create", "a", "1", "--size=" }, "--size needs a value: --size GB" },
		{ { "create", "a", "1", "--size" }, "--size needs a value" },
		{ { "create", "a", "1", "--size", "--wait" }, "--size needs a value" },
		{ { "create", "a", "--wait=yes" }, "--wait takes no value" },
		{ { "events", "--after", "-1" }, "--after takes a number from 0 up" },
		{ { "show", "--help" }, NULL }, /* help needs no argument */
		{ { "-h" }, NULL },
		{ { "--json", "list" }, NULL },
		{ { "show", "--", "--odd-name" }, NULL },
		{ { "show", "-" }, NULL },
		{ { "delete", "a", "b", "c", "d" }, NULL },
		{ { "promote", "a", "--no-wait", "--timeout", "5" }, NULL },
		{ { "promote-to-replica-source", "a" }, NULL },
		{ { "promote", "a", "--wait" }, "'promote' does not take --wait" },
		{ { "create", "a", "1", "--no-wait" }, "'create' does not take --no-wait" },
		{ { "eject", "a", "--accept_data_loss" }, NULL },
		{ { "detach_replica", "a" }, NULL },
		{ { "durability" }, "'durability' needs INSTANCE [async|K]" },
		{ { "attach", "a", "--replica-of" }, "--replica-of needs a value" },
		{ { "delete", "a", "--group" }, NULL },
		{ { "dev", "--set", "a=b", "--set", "c=d" }, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		auto_arena a = {};
		struct args args;
		struct err e = {};
		bool ok = parse(&lines[i], &a, &args, &e);

		if (ok != (lines[i].error == NULL)) {
			fail_msg("line %zu: %s", i, ok ? "was taken" : e.msg);
		}
		if (!ok && (strstr(e.msg, lines[i].error) == NULL || e.code != ERR_INVALID)) {
			fail_msg("line %zu says '%s', not '%s'", i, e.msg, lines[i].error);
		}
	}
}

static void options_may_stand_anywhere(void **)
{
	static const struct line lines[] = {
		{ { "create", "copy", "--replica-of", "src", "--replica-count", "3", "--wait" }, NULL },
		{ { "--replica_of=src", "create", "--replica_count=3", "copy", "--wait" }, NULL },
		{ { "--wait", "--replica-of", "src", "create", "--replica_count", "3", "--", "copy" }, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		auto_arena a = {};
		struct args args;
		struct err e = {};

		assert_ok(parse(&lines[i], &a, &args, &e), &e);
		assert_string_equal(args.command->name, "create");
		assert_int_equal(args.nwords, 1);
		assert_string_equal(args.words[0], "copy");
		assert_string_equal(args.text[OPT_REPLICA_OF], "src");
		assert_int_equal(args_number(&args, OPT_REPLICA_COUNT, 1), 3);
		assert_true(args_given(&args, OPT_WAIT));
		assert_false(args_given(&args, OPT_SIZE));
		assert_int_equal(args_number(&args, OPT_TIMEOUT, 600), 600);
	}
}

static void behind_two_hyphens_all_are_words(void **)
{
	static const struct line line = { { "delete", "--wait", "--", "--json", "--", "x" }, NULL };
	auto_arena a = {};
	struct args args;
	struct err e = {};

	assert_ok(parse(&line, &a, &args, &e), &e);
	assert_int_equal(args.nwords, 3);
	assert_string_equal(args.words[0], "--json");
	assert_string_equal(args.words[1], "--");
	assert_false(args_given(&args, OPT_JSON));
}

static void settings_are_kept_in_order(void **)
{
	static const struct line line = { { "dev", "--set", "a.b=1", "--set=c.d=2", "--dir", "x" }, NULL };
	auto_arena a = {};
	struct args args;
	struct err e = {};

	assert_ok(parse(&line, &a, &args, &e), &e);
	assert_int_equal(args.nsettings, 2);
	assert_string_equal(args.settings[0], "a.b=1");
	assert_string_equal(args.settings[1], "c.d=2");
}

static void a_durability_is_a_word_or_a_number(void **)
{
	static const struct {
		const char *word, *text; /* NULL: refused */
	} cases[] = {
		{ "async", "async" },   { "1", "bounded(1)" },      { "12", "bounded(12)" },
		{ "bounded(2)", "bounded(2)" }, { "0", NULL },      { "-1", NULL },
		{ "", NULL },           { "bounded()", NULL },      { "bounded(", NULL },
		{ "bounded(0)", NULL }, { "bounded(1", NULL },      { "bounded(1))", NULL },
		{ "sync", NULL },       { "1000001", NULL },        { "99999999999999999999999", NULL },
		{ "1)", NULL },         { "bounded(x)", NULL },     { "1.5", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct durability_text text = {};
		struct err e = {};
		bool ok = args_durability(cases[i].word, &text, &e);

		if (ok != (cases[i].text != NULL) || (ok && !str_eq(text.s, cases[i].text))) {
			fail_msg("'%s' gives '%s'", cases[i].word, ok ? text.s : e.msg);
		}
		assert_true(ok || e.code == ERR_INVALID);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_taken_or_refused),
		cmocka_unit_test(options_may_stand_anywhere),
		cmocka_unit_test(behind_two_hyphens_all_are_words),
		cmocka_unit_test(settings_are_kept_in_order),
		cmocka_unit_test(a_durability_is_a_word_or_a_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
