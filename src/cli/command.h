/*
 * The command line is two tables: the options, each with one meaning wherever it is taken, and
 * the commands. The parser, help, the manual page and shell completion all read them, so a row is
 * all that a new command needs besides its function.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

enum option_kind {
	OPTION_FLAG,
	OPTION_TEXT,
	OPTION_NUMBER, /* min to max */
	OPTION_LIST,   /* a text that may be given again and again */
};

/* X(NAME, "name", kind, "VALUE", min, max, "help") */
#define OPTIONS(X)                                                                               \
	X(SIZE, "size", NUMBER, "GB", 1, 1 << 20, "Size of the volume")                          \
	X(DATASTORE, "datastore", TEXT, "TYPE", 0, 0, "Kind of server: redis, valkey")           \
	X(DATASTORE_VERSION, "datastore-version", TEXT, "VERSION", 0, 0,                         \
	  "Version of the server, or the id of one")                                             \
	X(REPLICA_OF, "replica-of", TEXT, "INSTANCE", 0, 0, "The instance to be a replica of")   \
	X(REPLICA_COUNT, "replica-count", NUMBER, "N", 1, 1000, "How many replicas to create")   \
	X(DURABILITY, "durability", TEXT, "async|K", 0, 0,                                       \
	  "How many replicas must be linked for the source to take writes (default async: none)") \
	X(GROUP, "group", FLAG, NULL, 0, 0, "The whole group: the source with all its replicas") \
	X(WAIT, "wait", FLAG, NULL, 0, 0, "Wait until it is done, and show the progress")        \
	X(NO_WAIT, "no-wait", FLAG, NULL, 0, 0, "Return as soon as it is accepted")              \
	X(TIMEOUT, "timeout", NUMBER, "SECONDS", 1, 86400 * 7, "Longest wait (default 600)")     \
	X(LIMIT, "limit", NUMBER, "N", 1, 1000000, "At most so many")                            \
	X(MARKER, "marker", TEXT, "ID", 0, 0, "Begin behind the instance with this id")          \
	X(FOLLOW, "follow", FLAG, NULL, 0, 0, "Go on and show events as they happen")            \
	X(AFTER, "after", NUMBER, "N", 0, INT64_MAX, "Begin behind the event with this number")  \
	X(ACCEPT_DATA_LOSS, "accept-data-loss", FLAG, NULL, 0, 0,                                \
	  "Yes, data that only other members hold may be lost")                                  \
	X(DIR, "dir", TEXT, "DIR", 0, 0,                                                         \
	  "Folder of all state (default $XDG_STATE_HOME/tanist or ~/.local/state/tanist)")       \
	X(LISTEN, "listen", TEXT, "ADDR:PORT", 0, 0, "Where the API listens")                    \
	X(SENTINEL, "sentinel", TEXT, "ADDR:PORT", 0, 0,                                         \
	  "Where Redis clients find sources (default 127.0.0.1:26379 if it is free)")            \
	X(ADDRESSES, "addresses", TEXT, "FIRST-LAST", 0, 0, "Addresses for the instances")       \
	X(KEEP_SERVERS, "keep-servers", FLAG, NULL, 0, 0, "Leave the servers running at the end") \
	X(CONFIG, "config", TEXT, "FILE", 0, 0, "Settings file, see tanist.conf(5)")             \
	X(SET, "set", LIST, "SECTION.KEY=VALUE", 0, 0, "One setting; may be given again")        \
	X(MAN, "man", FLAG, NULL, 0, 0, "Print the source of the manual page's command part")    \
	X(URL, "url", TEXT, "URL", 0, 0, "Address of the API (or TANIST_URL)")                   \
	X(CA, "ca", TEXT, "FILE", 0, 0, "CAs that https trusts (or TANIST_CA, OS_CACERT)")       \
	X(PIN, "pin", TEXT, "SHA256", 0, 0, "The server's public key (or TANIST_PIN)")           \
	X(JSON, "json", FLAG, NULL, 0, 0, "Print the answer of the API itself")                  \
	X(HELP, "help", FLAG, NULL, 0, 0, "Show help for the command")                           \
	X(VERSION, "version", FLAG, NULL, 0, 0, "Show the version")

#define OPTION_ENUM(name, text, kind, value, min, max, help) OPT_##name,
enum option_id { OPTIONS(OPTION_ENUM) OPT_COUNT };
#undef OPTION_ENUM

#define OPTION_BIT(name) (UINT64_C(1) << OPT_##name)

/* Taken by every command. */
#define OPTIONS_GLOBAL \
	(OPTION_BIT(URL) | OPTION_BIT(CA) | OPTION_BIT(PIN) | OPTION_BIT(JSON) | OPTION_BIT(HELP) | \
	 OPTION_BIT(VERSION))

struct option_row {
	const char *name; /* words joined by hyphens; underscores are understood too */
	enum option_kind kind;
	const char *value; /* what help calls the value; NULL for a flag */
	int64_t min, max;  /* NUMBER */
	const char *help;  /* one line */
};
extern const struct option_row options[OPT_COUNT];

struct cli;

/*
 * Carries a command out; c->args has been checked against the row. What e->code means to the
 * caller of the program is in main.c (exit_status).
 */
typedef bool cmd_fn(struct cli *c, struct err *e);

enum { COMMAND_ARGS_MANY = 1000 };

enum command_server { NEEDS_SERVER, NEEDS_NONE };

struct command {
	const char *name;
	const char *args; /* as the synopsis prints them; INSTANCE, FLAVOR, COMMAND are completed */
	size_t min_args, max_args;
	uint64_t options; /* OPTION_BITs, besides OPTIONS_GLOBAL */
	enum command_server server;
	cmd_fn *run;
	const char *help; /* one line, imperative, no full stop */
	const char *more; /* paragraphs for `help COMMAND` and the manual page; "" when none */
	const char *alias; /* what Trove's own client calls it; NULL: the same, or nothing */
};
extern const struct command commands[];
extern const size_t ncommands;

/* By name or alias; NULL when there is none. Hyphens and underscores are the same. */
const struct command *command_find(const char *name);

/* Index into options[], or OPT_COUNT. name has no leading hyphens and ends at len. */
enum option_id option_find(const char *name, size_t len);

/* The command or option most like it, NULL when none is close. */
const char *command_nearest(const char *word);
const char *option_nearest(const char *word);

/* "create NAME [FLAVOR] [--size GB] ...": generated, so it is complete. */
void command_synopsis(const struct command *cmd, FILE *out);

bool command_takes(const struct command *cmd, enum option_id option);

cmd_fn cmd_create, cmd_list, cmd_show, cmd_delete, cmd_rename, cmd_start, cmd_adopt;
cmd_fn cmd_promote, cmd_eject, cmd_cancel, cmd_detach_replica, cmd_attach;
cmd_fn cmd_elect, cmd_durability;
cmd_fn cmd_topology, cmd_operations, cmd_events;
cmd_fn cmd_flavor_list, cmd_datastore_list;
cmd_fn cmd_dev, cmd_help, cmd_version, cmd_completion;
