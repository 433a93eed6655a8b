/*
 * The table of commands. Errors are worded as Redis words them: clients look at the first words.
 */
#include "server/sentinel_impl.h"

enum allowed {
	ALWAYS = 1,         /* before a login too */
	WHEN_LISTENING = 2, /* by a RESP2 client that has subscribed: all it gets are messages */
};

struct command {
	const char *name, *sub; /* lower case; sub NULL: none */
	size_t min, max;        /* words, the command's own included; max 0: any number */
	unsigned allowed;       /* of enum allowed */
	sentinel_command_fn *run;
};

static sentinel_command_fn ping, quit, reset;
static sentinel_command_fn client_id, client_get_name, client_name, client_set_info;
static sentinel_command_fn command_all, command_count, command_list, command_none;
static sentinel_command_fn sentinel_help;

/* clang-format off */
static const struct command commands[] = {
	{ "ping",         NULL, 1, 2, WHEN_LISTENING, ping },
	{ "hello",        NULL, 1, 0, ALWAYS, login_hello },
	{ "auth",         NULL, 2, 3, ALWAYS, login_auth },
	{ "quit",         NULL, 1, 0, ALWAYS | WHEN_LISTENING, quit },
	{ "reset",        NULL, 1, 1, ALWAYS | WHEN_LISTENING, reset },
	{ "info",         NULL, 1, 0, 0, answer_info },
	{ "role",         NULL, 1, 1, 0, answer_role },
	{ "subscribe",    NULL, 2, 0, WHEN_LISTENING, subscribe },
	{ "psubscribe",   NULL, 2, 0, WHEN_LISTENING, psubscribe },
	{ "unsubscribe",  NULL, 1, 0, WHEN_LISTENING, unsubscribe },
	{ "punsubscribe", NULL, 1, 0, WHEN_LISTENING, punsubscribe },
	{ "client", "id",      2, 2, 0, client_id },
	{ "client", "getname", 2, 2, 0, client_get_name },
	{ "client", "setname", 3, 3, 0, client_name },
	{ "client", "setinfo", 4, 4, 0, client_set_info },
	{ "command", NULL,     1, 1, 0, command_all },
	{ "command", "count",  2, 2, 0, command_count },
	{ "command", "docs",   2, 0, 0, command_none },
	{ "command", "list",   2, 0, 0, command_list },
	{ "sentinel", "ckquorum",                3, 3, 0, answer_quorum },
	{ "sentinel", "get-master-addr-by-name", 3, 3, 0, answer_address },
	{ "sentinel", "help",                    2, 2, 0, sentinel_help },
	{ "sentinel", "is-master-down-by-addr",  6, 6, 0, answer_down_by_address },
	{ "sentinel", "master",                  3, 3, 0, answer_master },
	{ "sentinel", "masters",                 2, 2, 0, answer_masters },
	{ "sentinel", "myid",                    2, 2, 0, answer_my_id },
	{ "sentinel", "replicas",                3, 3, 0, answer_replicas },
	{ "sentinel", "sentinels",               3, 3, 0, answer_sentinels },
	{ "sentinel", "slaves",                  3, 3, 0, answer_replicas },
};
/* clang-format on */

/* ---- looking up ---- */

/* A word with a NUL in it is none of ours. */
static bool is_word(const struct resp_request *rq, size_t i, const char *word)
{
	return rq->len[i] == strlen(word) && strcasecmp(rq->argv[i], word) == 0;
}

static const struct command *find_command(const struct resp_request *rq)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		const struct command *cmd = &commands[i];

		if (!is_word(rq, 0, cmd->name)) {
			continue;
		}
		if (cmd->sub == NULL ? rq->argc < 2 || cmd->max != 1
				     : rq->argc >= 2 && is_word(rq, 1, cmd->sub)) {
			return cmd;
		}
	}
	return NULL;
}

/* The first of this name: that there are subcommands, and how it is spelled. */
static const struct command *find_name(const struct resp_request *rq)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (is_word(rq, 0, commands[i].name)) {
			return &commands[i];
		}
	}
	return NULL;
}

static void wrong_number(struct client *c, const char *name, const char *sub)
{
	resp_error(&c->out, "ERR wrong number of arguments for '%s%s%s' command", name,
		   sub == NULL ? "" : "|", sub == NULL ? "" : sub);
}

static void unknown(struct client *c, const struct resp_request *rq)
{
	const struct command *named = find_name(rq);
	auto_str args = {};

	if (named != NULL && named->sub == NULL && named->max == 1) {
		wrong_number(c, named->name, NULL);
		return;
	}
	if (named != NULL && rq->argc < 2) {
		wrong_number(c, named->name, NULL);
		return;
	}
	if (named != NULL) {
		char upper[16] = "";

		for (size_t i = 0; named->name[i] != '\0' && i + 1 < sizeof upper; i++) {
			upper[i] = (char)(named->name[i] - 'a' + 'A');
		}
		resp_error(&c->out, "ERR unknown subcommand '%.128s'. Try %s HELP.", rq->argv[1],
			   upper);
		return;
	}
	for (size_t i = 1; i < rq->argc && args.len < 128; i++) {
		str_printf(&args, "'%.*s' ", (int)(128 - args.len), rq->argv[i]);
	}
	resp_error(&c->out, "ERR unknown command '%.128s', with args beginning with: %s",
		   rq->argv[0], str_cstr(&args));
}

/* A browser was made to send this: it must not get through to what it means to say. */
static bool is_http(const struct resp_request *rq)
{
	return is_word(rq, 0, "post") || is_word(rq, 0, "host:");
}

void command_run(struct client *c, const struct resp_request *rq)
{
	const struct command *cmd = find_command(rq);

	c->s->ncommands++;
	if (is_http(rq)) {
		c->leaving = true;
	} else if (cmd == NULL) {
		unknown(c, rq);
	} else if (rq->argc < cmd->min || (cmd->max != 0 && rq->argc > cmd->max)) {
		wrong_number(c, cmd->name, cmd->sub);
	} else if (!c->logged_in && (cmd->allowed & ALWAYS) == 0) {
		resp_error(&c->out, "NOAUTH Authentication required.");
	} else if (c->nsubs > 0 && !c->out.v3 && (cmd->allowed & WHEN_LISTENING) == 0) {
		resp_error(&c->out,
			   "ERR Can't execute '%s%s%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / "
			   "PING / QUIT / RESET are allowed in this context",
			   cmd->name, cmd->sub == NULL ? "" : "|",
			   cmd->sub == NULL ? "" : cmd->sub);
	} else {
		cmd->run(c, rq);
	}
}

/* ---- the small ones ---- */

static void ping(struct client *c, const struct resp_request *rq)
{
	bool word = rq->argc > 1;

	if (c->nsubs > 0 && !c->out.v3) {
		resp_array(&c->out, 2);
		resp_bulk(&c->out, "pong");
		resp_bulk_mem(&c->out, word ? rq->argv[1] : "", word ? rq->len[1] : 0);
	} else if (word) {
		resp_bulk_mem(&c->out, rq->argv[1], rq->len[1]);
	} else {
		resp_simple(&c->out, "PONG");
	}
}

/* Sentinel 7.0 does not know the next two; those before and after it do. */
static void quit(struct client *c, const struct resp_request *)
{
	resp_simple(&c->out, "OK");
	c->leaving = true;
}

static void reset(struct client *c, const struct resp_request *)
{
	subscriptions_drop(c);
	client_log_out(c);
	resp_simple(&c->out, "RESET");
}

static void client_id(struct client *c, const struct resp_request *)
{
	resp_int(&c->out, (int64_t)c->id);
}

static void client_get_name(struct client *c, const struct resp_request *)
{
	if (c->name[0] == '\0') {
		resp_nil(&c->out);
	} else {
		resp_bulk(&c->out, c->name);
	}
}

static void client_name(struct client *c, const struct resp_request *rq)
{
	if (client_set_name(c, rq->argv[2])) {
		resp_simple(&c->out, "OK");
	}
}

/* Which library calls: of no use to us, but those who tell expect thanks. */
static void client_set_info(struct client *c, const struct resp_request *rq)
{
	if (is_word(rq, 2, "lib-name") || is_word(rq, 2, "lib-ver")) {
		resp_simple(&c->out, "OK");
	} else {
		resp_error(&c->out, "ERR Unrecognized option '%.64s'", rq->argv[2]);
	}
}

/* ---- COMMAND: enough for clients that look what there is ---- */

/* Subcommands are not commands of their own here: the first row of a name stands for it. */
static bool is_first(size_t i)
{
	return i == 0 || strcmp(commands[i].name, commands[i - 1].name) != 0;
}

static size_t ncommands(void)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		n += is_first(i);
	}
	return n;
}

static void command_count(struct client *c, const struct resp_request *)
{
	resp_int(&c->out, (int64_t)ncommands());
}

static void command_list(struct client *c, const struct resp_request *)
{
	resp_array(&c->out, ncommands());
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (is_first(i)) {
			resp_bulk(&c->out, commands[i].name);
		}
	}
}

static void command_none(struct client *c, const struct resp_request *)
{
	resp_map(&c->out, 0);
}

/* Name, number of words, flags, and which are keys: none. */
static void command_all(struct client *c, const struct resp_request *)
{
	resp_array(&c->out, ncommands());
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		const struct command *cmd = &commands[i];
		int64_t words = (int64_t)(cmd->sub != NULL ? 2 : cmd->min);

		if (!is_first(i)) {
			continue;
		}
		resp_array(&c->out, 6);
		resp_bulk(&c->out, cmd->name);
		resp_int(&c->out, cmd->min == cmd->max && cmd->sub == NULL ? words : -words);
		resp_array(&c->out, 0);
		resp_int(&c->out, 0);
		resp_int(&c->out, 0);
		resp_int(&c->out, 0);
	}
}

static void sentinel_help(struct client *c, const struct resp_request *)
{
	static const char *const lines[] = {
		"SENTINEL <subcommand> [<arg> ...]. Subcommands are:",
		"CKQUORUM <name>",
		"GET-MASTER-ADDR-BY-NAME <name>",
		"IS-MASTER-DOWN-BY-ADDR <ip> <port> <current-epoch> <runid>",
		"MASTER <name>",
		"MASTERS",
		"MYID",
		"REPLICAS <name>",
		"SENTINELS <name>",
		"HELP",
		"A name is PROJECT/NAME, the id of a group or of an instance, or a group's bare",
		"name where it is the only one. This endpoint of tanist answers; what is to be",
		"changed is changed with `tanist`.",
	};

	resp_array(&c->out, ARRAY_LEN(lines));
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		resp_simple(&c->out, lines[i]);
	}
}
