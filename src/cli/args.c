/*
 * One pass over the words. The options are one table for all commands, so a word is understood
 * before the command is known; whether the command takes it is checked at the end.
 */
#include "cli/args.h"

#include <inttypes.h>

#include "base/str.h"

enum { DURABILITY_MAX = 1'000'000 }; /* the API knows how many replicas there are */

struct parse {
	int argc;
	char *const *argv;
	int next;
	struct args *args;
};

bool args_given(const struct args *args, enum option_id option)
{
	return args->text[option] != NULL;
}

int64_t args_number(const struct args *args, enum option_id option, int64_t standard)
{
	return args_given(args, option) ? args->number[option] : standard;
}

bool args_durability(const char *word, struct durability_text *ret, struct err *e)
{
	char digits[16];
	size_t len = strlen(word);
	int64_t k;

	if (str_eq(word, "async")) {
		str_copy(ret->s, sizeof ret->s, word);
		return true;
	}
	if (str_starts(word, "bounded(") && word[len - 1] == ')') {
		word += strlen("bounded(");
		len = strlen(word) - 1;
	}
	snprintf(digits, sizeof digits, "%.*s", (int)len, word);
	if (len >= sizeof digits || !str_to_i64(digits, &k) || k < 1 || k > DURABILITY_MAX) {
		return err_set(e, ERR_INVALID, "durability is async, or a number of replicas from 1 "
			       "up, not '%s'", word);
	}
	snprintf(ret->s, sizeof ret->s, "bounded(%d)", (int)k);
	return true;
}

static bool unknown_command(const char *word, struct err *e)
{
	const char *near = command_nearest(word);

	if (near != NULL) {
		return err_set(e, ERR_INVALID, "there is no command '%s'; did you mean '%s'?", word,
			       near);
	}
	return err_set(e, ERR_INVALID, "there is no command '%s'; `tanist help` lists them", word);
}

static bool unknown_option(const char *name, size_t len, struct err *e)
{
	char word[40];

	snprintf(word, sizeof word, "%.*s", (int)len, name);
	const char *near = option_nearest(word);

	if (near != NULL) {
		return err_set(e, ERR_INVALID, "there is no option '--%s'; did you mean '--%s'?",
			       word, near);
	}
	return err_set(e, ERR_INVALID, "there is no option '--%s'", word);
}

static bool set_number(struct args *args, enum option_id id, const char *value, struct err *e)
{
	const struct option_row *o = &options[id];
	int64_t n;

	if (str_to_i64(value, &n) && n >= o->min && n <= o->max) {
		args->number[id] = n;
		return true;
	}
	if (o->max == INT64_MAX) {
		return err_set(e, ERR_INVALID, "--%s takes a number from %" PRId64 " up, not '%s'",
			       o->name, o->min, value);
	}
	return err_set(e, ERR_INVALID,
		       "--%s takes a number from %" PRId64 " to %" PRId64 ", not '%s'", o->name,
		       o->min, o->max, value);
}

/* value: what followed '='; NULL: nothing did. */
static bool set_option(struct parse *p, enum option_id id, const char *value, struct err *e)
{
	const struct option_row *o = &options[id];
	struct args *args = p->args;

	if (o->kind == OPTION_FLAG) {
		args->text[id] = "";
		return value == NULL ||
		       err_set(e, ERR_INVALID, "--%s takes no value, but was given '%s'", o->name,
			       value);
	}
	if (value == NULL && p->next < p->argc && !str_starts(p->argv[p->next], "--")) {
		value = p->argv[p->next++];
	}
	if (value == NULL || value[0] == '\0') {
		return err_set(e, ERR_INVALID, "--%s needs a value: --%s %s", o->name, o->name,
			       o->value);
	}
	args->text[id] = value;
	if (o->kind == OPTION_LIST) {
		args->settings[args->nsettings++] = value;
	}
	return o->kind != OPTION_NUMBER || set_number(args, id, value, e);
}

static bool read_option(struct parse *p, const char *word, struct err *e)
{
	if (str_eq(word, "-h")) {
		return set_option(p, OPT_HELP, NULL, e);
	}
	if (!str_starts(word, "--")) {
		return err_set(e, ERR_INVALID, "there is no option '%s'; options begin with '--'",
			       word);
	}
	const char *name = word + 2;
	const char *equals = strchr(name, '=');
	size_t len = equals == NULL ? strlen(name) : (size_t)(equals - name);
	enum option_id id = option_find(name, len);

	if (id == OPT_COUNT) {
		return unknown_option(name, len, e);
	}
	return set_option(p, id, equals == NULL ? NULL : equals + 1, e);
}

static bool read_words(struct parse *p, struct err *e)
{
	bool options_end = false;

	while (p->next < p->argc) {
		const char *word = p->argv[p->next++];

		if (!options_end && str_eq(word, "--")) {
			options_end = true;
		} else if (!options_end && word[0] == '-' && word[1] != '\0') {
			if (!read_option(p, word, e)) {
				return false;
			}
		} else if (p->args->command == NULL) {
			p->args->command = command_find(word);
			if (p->args->command == NULL) {
				return unknown_command(word, e);
			}
		} else {
			p->args->words[p->args->nwords++] = word;
		}
	}
	return true;
}

static bool check(const struct args *args, struct err *e)
{
	const struct command *cmd = args->command;

	if (cmd == NULL || args_given(args, OPT_HELP)) {
		return true;
	}
	for (size_t i = 0; i < OPT_COUNT; i++) {
		if (args->text[i] != NULL && !command_takes(cmd, (enum option_id)i)) {
			return err_set(e, ERR_INVALID, "'%s' does not take --%s", cmd->name,
				       options[i].name);
		}
	}
	if (args->nwords < cmd->min_args) {
		return err_set(e, ERR_INVALID, "'%s' needs %s", cmd->name, cmd->args);
	}
	if (args->nwords > cmd->max_args) {
		return err_set(e, ERR_INVALID, "'%s' does not know what to do with '%s'", cmd->name,
			       args->words[cmd->max_args]);
	}
	return true;
}

bool args_parse(int argc, char *const *argv, struct arena *a, struct args *ret, struct err *e)
{
	struct args args = {
		.words = arena_alloc(a, sizeof(char *) * (size_t)(argc + 1)),
		.settings = arena_alloc(a, sizeof(char *) * (size_t)(argc + 1)),
	};
	struct parse p = { .argc = argc, .argv = argv, .next = 1, .args = &args };

	bool ok = read_words(&p, e) && check(&args, e);

	*ret = args; /* also when refused: the message may name the command's help */
	return ok;
}
