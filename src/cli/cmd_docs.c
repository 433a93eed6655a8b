/*
 * What the tables look like as help, as a manual page and as a completion script.
 */
#include "cli/docs.h"

#include <ctype.h>

#include "cli/cli.h"
#include "cli/table.h"

enum { TEXT_WIDTH = 78 };

static const char usage_head[] =
	"tanist runs Redis and Valkey with replicas, behind the OpenStack Trove API.\n"
	"\n"
	"Usage: tanist COMMAND [ARGUMENTS] [OPTIONS]\n"
	"\n"
	"Commands:\n";
static const char usage_tail[] =
	"\n"
	"`tanist help COMMAND` tells more. INSTANCE is a name or an id.\n"
	"Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no server, 4 waited too long.\n";

static void option_line(const struct option_row *o, FILE *out)
{
	char left[48];

	snprintf(left, sizeof left, "--%s%s%s", o->name, o->value == NULL ? "" : " ",
		 o->value == NULL ? "" : o->value);
	fprintf(out, "  %-30s %s\n", left, o->help);
}

static void option_lines(uint64_t mask, FILE *out)
{
	for (size_t i = 0; i < OPT_COUNT; i++) {
		if ((mask >> i & 1) != 0) {
			option_line(&options[i], out);
		}
	}
}

void docs_usage(FILE *out)
{
	fputs(usage_head, out);
	for (size_t i = 0; i < ncommands; i++) {
		fprintf(out, "  %-16s %s\n", commands[i].name, commands[i].help);
	}
	fputs("\nOptions of every command:\n", out);
	option_lines(OPTIONS_GLOBAL, out);
	fputs(usage_tail, out);
}

/* Fills lines; the emphasis of the manual page (*word*) is dropped. */
static void wrapped(const char *text, FILE *out)
{
	size_t column = 0;

	while (*text != '\0') {
		size_t len = strcspn(text, " \n");

		if (column > 0 && column + len + 1 > TEXT_WIDTH) {
			fputc('\n', out);
			column = 0;
		} else if (column > 0 && len > 0) {
			fputc(' ', out);
			column++;
		}
		for (size_t i = 0; i < len; i++) {
			if (text[i] != '*') {
				fputc(text[i], out);
				column++;
			}
		}
		text += len;
		if (text[0] == '\n' && text[1] == '\n') {
			fputs("\n\n", out);
			column = 0;
			text++;
		}
		text += *text != '\0';
	}
	fputc('\n', out);
}

void docs_command(const struct command *cmd, FILE *out)
{
	fputs("Usage: tanist ", out);
	command_synopsis(cmd, out);
	fprintf(out, "\n\n%s.\n", cmd->help);
	if (cmd->alias != NULL) {
		fprintf(out, "Trove's name for it is understood too: %s.\n", cmd->alias);
	}
	if (cmd->more[0] != '\0') {
		fputc('\n', out);
		wrapped(cmd->more, out);
	}
	if (cmd->options != 0) {
		fputs("\nOptions:\n", out);
		option_lines(cmd->options, out);
	}
	fputs("\nOptions of every command:\n", out);
	option_lines(OPTIONS_GLOBAL, out);
}

/* scdoc reads _ and * as emphasis: a backslash takes that away. */
static void escaped(const char *text, FILE *out)
{
	for (; *text != '\0'; text++) {
		if (*text == '_' || *text == '*' || *text == '\\' || *text == '<') {
			fputc('\\', out);
		}
		fputc(*text, out);
	}
}

static void man_option(const struct option_row *o, FILE *out)
{
	fprintf(out, "*--%s*", o->name);
	if (o->value != NULL) {
		fprintf(out, " _%s_", o->value);
	}
	fputs("\n\t", out);
	escaped(o->help, out);
	fputs(".\n\n", out);
}

static void man_command(const struct command *cmd, FILE *out)
{
	fprintf(out, "## %s\n\n*tanist %s* ", cmd->name, cmd->name);
	escaped(cmd->args, out);
	for (size_t i = 0; i < OPT_COUNT; i++) {
		const struct option_row *o = &options[i];

		if ((cmd->options >> i & 1) == 0) {
			continue;
		}
		fprintf(out, " [*--%s*", o->name);
		if (o->value != NULL) {
			fprintf(out, " _%s_", o->value);
		}
		fputs(o->kind == OPTION_LIST ? "]..." : "]", out);
	}
	fprintf(out, "\n\n%s.%s%s\n\n", cmd->help, cmd->more[0] == '\0' ? "" : " ", cmd->more);
	if (cmd->alias != NULL) {
		fprintf(out, "Trove's name for it is understood too: *%s*.\n\n", cmd->alias);
	}
	for (size_t i = 0; i < OPT_COUNT; i++) {
		if ((cmd->options >> i & 1) != 0) {
			man_option(&options[i], out);
		}
	}
}

void docs_man(FILE *out)
{
	fputs("# COMMANDS\n\n", out);
	for (size_t i = 0; i < ncommands; i++) {
		man_command(&commands[i], out);
	}
	fputs("# OPTIONS OF EVERY COMMAND\n\n", out);
	for (size_t i = 0; i < OPT_COUNT; i++) {
		if ((OPTIONS_GLOBAL >> i & 1) != 0) {
			man_option(&options[i], out);
		}
	}
}

static void bash_options(uint64_t mask, FILE *out)
{
	for (size_t i = 0; i < OPT_COUNT; i++) {
		if ((mask >> i & 1) != 0) {
			fprintf(out, " --%s", options[i].name);
		}
	}
}

/* What the arguments of a command are: the words of its synopsis decide. */
static const char *bash_words(const struct command *cmd)
{
	if (strstr(cmd->args, "INSTANCE") != NULL) {
		return "$(tanist completion instances 2>/dev/null)";
	}
	if (strstr(cmd->args, "FLAVOR") != NULL) {
		return "$(tanist completion flavors 2>/dev/null)";
	}
	if (strstr(cmd->args, "COMMAND") != NULL) {
		return "$commands";
	}
	return strstr(cmd->args, "WHAT") != NULL ? "bash" : "";
}

static void bash_values(FILE *out)
{
	fputs("\tcase \"$prev\" in\n"
	      "\t--replica-of) words=$(tanist completion instances 2>/dev/null) ;;\n"
	      "\t--dir) COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n"
	      "\t--config) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
	      "\t",
	      out);
	const char *sep = "";

	for (size_t i = 0; i < OPT_COUNT; i++) {
		if (options[i].kind != OPTION_FLAG && i != OPT_REPLICA_OF && i != OPT_DIR &&
		    i != OPT_CONFIG) {
			fprintf(out, "%s--%s", sep, options[i].name);
			sep = "|";
		}
	}
	fputs(") return ;;\n\tesac\n", out);
}

void docs_bash(FILE *out)
{
	fputs("# bash completion for tanist; printed by `tanist completion bash`\n"
	      "_tanist()\n{\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
	      "\tlocal command= words= opts= i\n"
	      "\tlocal commands=\"",
	      out);
	for (size_t i = 0; i < ncommands; i++) {
		fprintf(out, "%s%s", i == 0 ? "" : " ", commands[i].name);
	}
	fputs("\"\n\tlocal aliases=\"", out);
	for (size_t i = 0; i < ncommands; i++) {
		if (commands[i].alias != NULL) {
			fprintf(out, " %s", commands[i].alias);
		}
	}
	fputs("\"\n\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\tcase \" $commands$aliases \" in *\" ${COMP_WORDS[i]//_/-} \"*) "
	      "command=${COMP_WORDS[i]//_/-}; break ;; esac\n"
	      "\tdone\n"
	      "\tcase \"$command\" in\n\t'') words=$commands opts=\"",
	      out);
	bash_options(OPTIONS_GLOBAL, out);
	fputs("\" ;;\n", out);
	for (size_t i = 0; i < ncommands; i++) {
		fprintf(out, "\t%s%s%s)\n\t\topts=\"", commands[i].name,
			commands[i].alias == NULL ? "" : "|",
			commands[i].alias == NULL ? "" : commands[i].alias);
		bash_options(commands[i].options | OPTIONS_GLOBAL, out);
		fprintf(out, "\"\n\t\t[[ $cur == -* ]] || words=\"%s\" ;;\n", bash_words(&commands[i]));
	}
	fputs("\tesac\n", out);
	bash_values(out);
	fputs("\t[[ $cur == -* ]] && words=$opts\n"
	      "\tlocal IFS=$' \\n'\n"
	      "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	      "}\n"
	      "complete -F _tanist tanist\n",
	      out);
}

bool cmd_help(struct cli *c, struct err *e)
{
	if (args_given(&c->args, OPT_MAN)) {
		docs_man(c->out);
		return true;
	}
	if (c->args.nwords == 0) {
		docs_usage(c->out);
		return true;
	}
	const struct command *cmd = command_find(c->args.words[0]);

	if (cmd == NULL) {
		return err_set(e, ERR_INVALID, "there is no command '%s'", c->args.words[0]);
	}
	docs_command(cmd, c->out);
	return true;
}

bool cmd_version(struct cli *c, struct err *)
{
	fprintf(c->out, "tanist %s\n", TANIST_VERSION);
	return true;
}

/* The shell splits and evaluates the list: names with other characters are left out. */
static bool is_plain_word(const char *s)
{
	return s[0] != '\0' && s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					   "0123456789._-")] == '\0';
}

static void plain_names(const json_t *items, FILE *out)
{
	for (size_t i = 0; i < json_array_size(items); i++) {
		const char *name = api_text(json_array_get(items, i), "name");

		if (is_plain_word(name)) {
			fprintf(out, "%s\n", name);
		}
	}
}

bool cmd_completion(struct cli *c, struct err *e)
{
	const char *what = c->args.words[0];
	bool instances = str_eq(what, "instances");

	if (str_eq(what, "bash")) {
		docs_bash(c->out);
		return true;
	}
	if (!instances && !str_eq(what, "flavors")) {
		return err_set(e, ERR_INVALID, "'completion' takes bash, instances or flavors, not '%s'",
			       what);
	}
	auto_answer r = {};

	if (!api_call(&c->api, "GET", instances ? "/instances?limit=1000" : "/flavors", NULL, 2000,
		      &r, e)) {
		return false;
	}
	plain_names(api_array(r.json, what), c->out);
	return true;
}
