/*
 * tanist, the command line: reads the words, carries the command out, and turns an error into a
 * message and an exit status that a script can go by.
 */
#include <curl/curl.h>
#include <locale.h>
#include <signal.h>

#include "cli/cli.h"
#include "cli/docs.h"

enum exit_status {
	EXIT_DONE = 0,
	EXIT_REFUSED = 1,     /* or failed */
	EXIT_USAGE = 2,       /* nothing was sent */
	EXIT_UNREACHABLE = 3, /* no server, or no answer */
	EXIT_WAITED = 4,      /* the limit of a wait came first */
};

static enum exit_status exit_status(const struct err *e)
{
	switch (e->code) {
	case ERR_NONE:
		return EXIT_DONE;
	case ERR_INVALID:
		return EXIT_USAGE;
	case ERR_UNAVAILABLE:
		return EXIT_UNREACHABLE;
	case ERR_TIMEOUT:
		return EXIT_WAITED;
	case ERR_UNAUTHORIZED:
	case ERR_FORBIDDEN:
	case ERR_NOT_FOUND:
	case ERR_NOT_ACCEPTABLE:
	case ERR_CONFLICT:
	case ERR_OVER_LIMIT:
	case ERR_BAD_MEDIA:
	case ERR_UNPROCESSABLE:
	case ERR_IO:
	case ERR_NOT_IMPLEMENTED:
	case ERR_COUNT:
		break;
	}
	return EXIT_REFUSED;
}

static void usage_hint(const struct cli *c)
{
	const struct command *cmd = c->args.command;

	if (cmd == NULL) {
		fprintf(stderr, "try: tanist help\n");
		return;
	}
	fprintf(stderr, "usage: tanist ");
	command_synopsis(cmd, stderr);
	fprintf(stderr, "\ntry: tanist help %s\n", cmd->name);
}

static bool run(struct cli *c, int argc, char **argv, struct err *e)
{
	if (!args_parse(argc, argv, &c->arena, &c->args, e)) {
		return false;
	}
	const struct command *cmd = c->args.command;

	if (args_given(&c->args, OPT_HELP)) {
		if (cmd == NULL) {
			docs_usage(c->out);
		} else {
			docs_command(cmd, c->out);
		}
		return true;
	}
	if (args_given(&c->args, OPT_VERSION)) {
		return cmd_version(c, e);
	}
	if (cmd == NULL) {
		return err_set(e, ERR_INVALID, "which command? `tanist help` lists them");
	}
	c->api.token = getenv("TANIST_TOKEN");
	c->api.ca_file = c->args.text[OPT_CA];
	c->api.pin = c->args.text[OPT_PIN];
	if (cmd->server == NEEDS_SERVER &&
	    !cli_url(&c->args, c->api.base, sizeof c->api.base, e)) {
		return false;
	}
	return cmd->run(c, e);
}

/* A full disk or a closed pipe behind stdout is a failure too. */
static bool flushed(FILE *out, struct err *e)
{
	if (fflush(out) == 0 && !ferror(out)) {
		return true;
	}
	return err_sys(e, "write the result");
}

int main(int argc, char **argv)
{
	struct cli c = { .out = stdout };
	struct err e = {};

	setlocale(LC_CTYPE, "");
	curl_global_init(CURL_GLOBAL_DEFAULT);
	bool ok = run(&c, argc, argv, &e) && flushed(c.out, &e);

	if (!ok) {
		cli_complain(&c, &e);
		if (e.code == ERR_INVALID) {
			usage_hint(&c);
		}
	}
	api_done(&c.api);
	curl_global_cleanup();
	arena_done(&c.arena);
	return (int)(ok ? EXIT_DONE : exit_status(&e));
}
