/*
 * The tables, and looking things up in them: exactly, in either spelling, and by likeness for a
 * suggestion.
 */
#include "cli/command.h"

#include <assert.h>

#include "base/macros.h"
#include "base/str.h"

#define OPTION_ROW(id, text, type, metavar, low, high, line) \
	[OPT_##id] = { .name = text,                         \
		       .kind = OPTION_##type,                \
		       .value = metavar,                     \
		       .min = low,                           \
		       .max = high,                          \
		       .help = line },
const struct option_row options[OPT_COUNT] = { OPTIONS(OPTION_ROW) };
#undef OPTION_ROW

#define O(name) OPTION_BIT(name)

/* clang-format off */
/* Order is the order of `help`, of the manual page and of completion. */
const struct command commands[] = {
	{ "create", "NAME [FLAVOR]", 1, 2,
	  O(SIZE) | O(DATASTORE) | O(DATASTORE_VERSION) | O(REPLICA_OF) | O(REPLICA_COUNT) |
	  O(DURABILITY) | O(WAIT) | O(TIMEOUT),
	  NEEDS_SERVER, cmd_create, "Create an instance, or replicas of one",
	  "FLAVOR is the name or the id of a row of *flavor-list*. A new data set needs a flavor and "
	  "--size; replicas take both from their source, so they may be left out with --replica-of.\n\n"
	  "With --replica-count above 1 the replicas are named NAME-1, NAME-2 and so on, and are made "
	  "in parallel. A replica is in BUILD until it holds all of its source's data, then ACTIVE; "
	  "with --wait the progress of that first copy is shown (~ marks an estimate).\n\n"
	  "A new data set may be given a --durability; *durability* tells what that promises." },
	{ "list", "", 0, 0,
	  O(LIMIT) | O(MARKER),
	  NEEDS_SERVER, cmd_list, "List the project's instances",
	  "All of them, or one page with --limit." },
	{ "show", "INSTANCE", 1, 1,
	  0,
	  NEEDS_SERVER, cmd_show, "Show one instance",
	  "" },
	{ "delete", "INSTANCE...", 1, COMMAND_ARGS_MANY,
	  O(GROUP) | O(WAIT) | O(TIMEOUT),
	  NEEDS_SERVER, cmd_delete, "Delete instances and their data",
	  "Every name is looked up before anything is deleted; replicas go before their sources. A "
	  "source that has replicas is not deleted alone: with --group, which takes one instance, any "
	  "member stands for all of them. With --wait it returns when processes and files are gone." },
	{ "rename", "INSTANCE NAME", 2, 2,
	  0,
	  NEEDS_SERVER, cmd_rename, "Give an instance another name",
	  "The name of its group, which Sentinel clients ask for, stays." },
	{ "start", "INSTANCE", 1, 1,
	  O(ACCEPT_DATA_LOSS),
	  NEEDS_SERVER, cmd_start, "Let an instance go on that is held to protect data",
	  "A source that came back without being certain to hold all its replicas hold is kept from "
	  "serving, and so is a replica that was promoted behind our back. The fault in *show* says "
	  "what is at stake. --accept-data-loss is needed, and counts for that one start of the "
	  "server only." },
	{ "adopt", "INSTANCE", 1, 1,
	  0,
	  NEEDS_SERVER, cmd_adopt, "Take the hosts' word over that of an older store",
	  "After the store was put back to an older copy, instances whose hosts have done more than "
	  "the copy knows are in ERROR and left alone. This makes what runs on the hosts the record of "
	  "the instance's group: its source goes on, and its members are looked after again. What the "
	  "store does not know at all (*events* calls it an orphan) stays where it is." },
	{ "promote", "INSTANCE", 1, 1,
	  O(NO_WAIT) | O(TIMEOUT),
	  NEEDS_SERVER, cmd_promote, "Make a replica the source, with nothing lost",
	  "A handover: the source stops taking writes for a moment, the replica catches up, then it is "
	  "the source, and the old source a replica. Clients that ask the discovery endpoint follow. "
	  "What cannot be done in time is undone, and the source goes on as before; *cancel* does the "
	  "same before it has committed. It prints how it ended.",
	  "promote-to-replica-source" },
	{ "eject", "INSTANCE", 1, 1,
	  O(ACCEPT_DATA_LOSS) | O(NO_WAIT) | O(TIMEOUT),
	  NEEDS_SERVER, cmd_eject, "Replace a source that is gone by its most current replica",
	  "Refused while the source lives; *promote* is for that. The old source is fenced: should it "
	  "return it takes no writes, shows BLOCKED, and waits to be given to *attach* or *delete*. "
	  "*elect* tells beforehand who would be chosen and what would be lost. When more would be lost "
	  "than is allowed, or nobody can prove that the source is dead, --accept-data-loss is needed.",
	  "eject-replica-source" },
	{ "elect", "INSTANCE", 1, 1,
	  0,
	  NEEDS_SERVER, cmd_elect, "Show which replica an eject would choose now",
	  "Nothing is changed. All replicas of the instance's group with their figures, the one that "
	  "would be promoted, why, and what would be lost." },
	{ "cancel", "INSTANCE", 1, 1,
	  O(NO_WAIT) | O(TIMEOUT),
	  NEEDS_SERVER, cmd_cancel, "Take back a promote or an eject that has not committed",
	  "INSTANCE is any member of the group. Once another instance is the source it is too late, and "
	  "the command says so." },
	{ "detach-replica", "INSTANCE", 1, 1,
	  O(NO_WAIT) | O(TIMEOUT),
	  NEEDS_SERVER, cmd_detach_replica, "Make a replica the source of a group of its own",
	  "It keeps the data that it has and takes writes. The group that it leaves goes on." },
	{ "attach", "INSTANCE", 1, 1,
	  O(REPLICA_OF) | O(NO_WAIT) | O(TIMEOUT),
	  NEEDS_SERVER, cmd_attach, "Make an ejected instance a replica again",
	  "What it holds and the source named by --replica-of does not is given up." },
	{ "durability", "INSTANCE [async|K]", 1, 2,
	  0,
	  NEEDS_SERVER, cmd_durability, "Show or set how many replicas must be linked for a write",
	  "INSTANCE is any member of the group. With async the source takes writes by itself. With a "
	  "number K it takes none while fewer than K replicas are linked, and an eject refuses a winner "
	  "that might lack a write which K replicas had. The setting does not wait for anybody: a single "
	  "write is certain only when the client used WAIT K. The answer says what holds; without async "
	  "or a number the command asks for nothing but that." },
	{ "topology", "[INSTANCE]", 0, 1,
	  0,
	  NEEDS_SERVER, cmd_topology, "Show each source with its replicas",
	  "For each replica its state, how many bytes it is behind (LAG), whether its files would "
	  "survive a crash as they are (DURABLE), and how far its first copy has come. A group's "
	  "durability stands at its source, unless it is async." },
	{ "operations", "", 0, 0,
	  0,
	  NEEDS_SERVER, cmd_operations, "Show the changes in progress",
	  "One at a time in a group: what runs, its phase, and what that phase waits for." },
	{ "events", "", 0, 0,
	  O(FOLLOW) | O(AFTER) | O(LIMIT),
	  NEEDS_SERVER, cmd_events, "Show what happened, and why",
	  "The last 50, or with --limit so many, or with --after all that came behind that number. "
	  "Each has the reason and the figures that it was decided on. With --follow and --json "
	  "every answer is one line." },
	{ "flavor-list", "", 0, 0,
	  0,
	  NEEDS_SERVER, cmd_flavor_list, "List the sizes that a server can have",
	  "" },
	{ "datastore-list", "", 0, 0,
	  0,
	  NEEDS_SERVER, cmd_datastore_list, "List the servers that can be run, by version",
	  "They are what the agents found installed on their hosts." },
	{ "dev", "", 0, 0,
	  O(DIR) | O(LISTEN) | O(SENTINEL) | O(ADDRESSES) | O(KEEP_SERVERS) | O(CONFIG) | O(SET),
	  NEEDS_NONE, cmd_dev, "Run everything for one machine in the foreground",
	  "Starts *tanistd*(8) and *tanist-agent*(8), restarts one that dies, and prints a line "
	  "beginning with ready and the URL of the API when it can be used. Nobody has to log in: it "
	  "is for one machine and its user.\n\n"
	  "Redis clients find the source of a group as they would with Redis Sentinel, at "
	  "127.0.0.1:26379 or where --sentinel says: by the group's name, or by PROJECT/NAME or an "
	  "instance's id. Without that option, and when another program listens there, it goes on "
	  "without and says so; --set discovery.listen= turns it off.\n\n"
	  "Ctrl-C or SIGTERM stops the servers cleanly, then both programs; --keep-servers leaves the "
	  "servers running, and a second Ctrl-C hurries and leaves them too. Started again on the same "
	  "folder it finds everything as it was and takes up servers that still run. The output of "
	  "both programs is in DIR/tanistd.log and DIR/agent.log." },
	{ "help", "[COMMAND]", 0, 1,
	  O(MAN),
	  NEEDS_NONE, cmd_help, "Show help",
	  "" },
	{ "version", "", 0, 0,
	  0,
	  NEEDS_NONE, cmd_version, "Show the version",
	  "" },
	{ "completion", "WHAT", 1, 1,
	  0,
	  NEEDS_SERVER, cmd_completion, "Print what a shell needs to complete commands",
	  "WHAT is bash: its completion script. It asks for instances or flavors: the names there "
	  "are, one to a line." },
};
/* clang-format on */
const size_t ncommands = ARRAY_LEN(commands);

static_assert(OPT_COUNT <= 64, "a command's options are a mask of 64 bits");

/* Trove's own tools write --replica_of: both spellings are one name. */
static char joined(char c)
{
	return c == '_' ? '-' : c;
}

static bool same_name(const char *name, const char *word, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (name[i] == '\0' || name[i] != joined(word[i])) {
			return false;
		}
	}
	return name[len] == '\0';
}

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < ncommands; i++) {
		const struct command *cmd = &commands[i];

		if (same_name(cmd->name, name, strlen(name)) ||
		    (cmd->alias != NULL && same_name(cmd->alias, name, strlen(name)))) {
			return cmd;
		}
	}
	return NULL;
}

enum option_id option_find(const char *name, size_t len)
{
	for (int i = 0; i < OPT_COUNT; i++) {
		if (same_name(options[i].name, name, len)) {
			return (enum option_id)i;
		}
	}
	return OPT_COUNT;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

enum { WORD_MAX = 32 };

/* Letters to add, drop or change to make one word of the other. */
static size_t distance(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);
	size_t row[WORD_MAX + 1];

	if (la > WORD_MAX || lb > WORD_MAX) {
		return WORD_MAX;
	}
	for (size_t j = 0; j <= lb; j++) {
		row[j] = j;
	}
	for (size_t i = 1; i <= la; i++) {
		size_t corner = row[0];

		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t change = corner + (joined(a[i - 1]) != b[j - 1]);

			corner = row[j];
			row[j] = least(change, least(row[j], row[j - 1]) + 1);
		}
	}
	return row[lb];
}

/* How unlike they are; SIZE_MAX: not worth a suggestion. */
static size_t unlikeness(const char *word, const char *name)
{
	size_t d = distance(word, name);

	if (strlen(word) >= 3 && str_starts(name, word)) {
		return 0;
	}
	return d <= 2 && d < strlen(word) ? d : SIZE_MAX;
}

/* The name most like the word so far. */
struct likeness {
	const char *name;
	size_t unlikeness;
};

static void compare(struct likeness *best, const char *word, const char *name)
{
	size_t d = name == NULL ? SIZE_MAX : unlikeness(word, name);

	if (d < best->unlikeness) {
		*best = (struct likeness){ name, d };
	}
}

const char *command_nearest(const char *word)
{
	struct likeness best = { NULL, SIZE_MAX };

	for (size_t i = 0; i < ncommands; i++) {
		compare(&best, word, commands[i].name);
		compare(&best, word, commands[i].alias);
	}
	return best.name;
}

const char *option_nearest(const char *word)
{
	struct likeness best = { NULL, SIZE_MAX };

	for (size_t i = 0; i < OPT_COUNT; i++) {
		compare(&best, word, options[i].name);
	}
	return best.name;
}

bool command_takes(const struct command *cmd, enum option_id option)
{
	return ((cmd->options | OPTIONS_GLOBAL) >> option & 1) != 0;
}

void command_synopsis(const struct command *cmd, FILE *out)
{
	fprintf(out, "%s%s%s", cmd->name, cmd->args[0] == '\0' ? "" : " ", cmd->args);
	for (size_t i = 0; i < OPT_COUNT; i++) {
		const struct option_row *o = &options[i];

		if ((cmd->options >> i & 1) == 0) {
			continue;
		}
		fprintf(out, " [--%s%s%s]%s", o->name, o->value == NULL ? "" : " ",
			o->value == NULL ? "" : o->value, o->kind == OPTION_LIST ? "..." : "");
	}
}
