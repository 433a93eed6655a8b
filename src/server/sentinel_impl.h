/*
 * Between the files of discovery only: sentinel.c (connections), sentinel_commands.c (the table of
 * commands), sentinel_login.c (who a client is), sentinel_answers.c (groups as Sentinel shows
 * them), sentinel_names.c (what groups are called, and switches), sentinel_subscribe.c (messages).
 */
#pragma once

#include <sys/queue.h>

#include "io/resp.h"
#include "io/stream.h"
#include "server/memory.h"
#include "server/sentinel.h"
#include "server/table.h"

enum {
	CLIENT_NAME_MAX = 255,
	SUBSCRIPTIONS_MAX = 64, /* of one client */
	SUBSCRIPTION_TEXT_MAX = 256,
	NAMES_MAX = 2 + 1 + MODEL_MEMBERS_MAX, /* spellings of one group */
	NAME_BYTES = 2 * MODEL_NAME_MAX + 2,   /* project/name; longer ones are not spelled so */
	LIST_IDS_MAX = 1000, /* groups in a list up to which it names them by their ids as well */
};

/* What Sentinel this is taken for: decides what clients expect of it. */
#define SENTINEL_DIALECT "7.0.15"
#define SENTINEL_CHANNEL "+switch-master"

struct subscription {
	bool pattern;
	bool hears; /* the one channel that is ever published on */
	char *text;
};

struct client {
	LIST_ENTRY(client) others;
	struct sentinel *s;
	struct stream *stream; /* NULL: none (tests) */
	uint64_t id;
	char name[CLIENT_NAME_MAX + 1];
	bool logged_in;
	const char *project; /* the only one it sees; NULL: all */
	struct resp_reader *reader;
	struct resp_out out; /* not handed to the stream yet */
	struct subscription *subs;
	size_t nsubs;
	bool leaving;           /* once what is in `out` is sent */
	int64_t inside_ms;      /* since when part of a request is there; 0: none is */
	int64_t login_until_ms; /* 0: need not log in */
};

/* What discovery remembers of a group beside the record, to see what a commit changed. */
struct known {
	struct id group;
	char *name;
	char address[64];
	uint16_t port;
	int64_t down_since_ms; /* monotonic; 0: the source is up */
};

struct sentinel {
	struct registry *r;
	const struct auth *auth;
	struct stream_listener *listener; /* NULL: none (tests) */
	int64_t idle_limit_ms;
	size_t max_clients;
	LIST_HEAD(, client) clients;
	size_t nclients;
	uint64_t last_id, ncommands;
	int64_t started_ms;
	struct table known, names; /* by group id; by bare name */
	bool freed; /* waits for its last client */
};

/* ---- sentinel.c ---- */

/* Without a listener and its clients: what tests and the fuzzer start from. */
struct sentinel *sentinel_new(struct registry *r, const struct auth *auth);
struct client *client_new(struct sentinel *s, struct stream *stream);
void client_free(struct client *c);
void client_feed(struct client *c, const void *p, size_t len);

/* ---- sentinel_commands.c ---- */

void command_run(struct client *c, const struct resp_request *rq);

typedef void sentinel_command_fn(struct client *c, const struct resp_request *rq);

/* ---- sentinel_login.c ---- */

void client_log_out(struct client *c); /* as a new connection */
sentinel_command_fn login_auth, login_hello;
/* False, with the error in c->out: no name that a client may have. */
[[nodiscard]] bool client_set_name(struct client *c, const char *name);

/* ---- sentinel_names.c ---- */

/* Reads all groups and watches them from then on. */
void sentinel_names_start(struct sentinel *s);
void sentinel_names_done(struct sentinel *s);

/*
 * The group that a client of this project (NULL: of all) means: "project/name", the id of the group
 * or of a member, or the bare name where only one group has it. NULL: none, or it is being deleted,
 * or was ejected.
 */
struct entry *sentinel_find(const struct sentinel *s, const char *project, const char *name);

/* Everything sentinel_find() takes for this group; the first is the one for people. */
struct names {
	size_t n;
	char text[NAMES_MAX][NAME_BYTES];
};
void sentinel_names_of(const struct sentinel *s, const char *project, const struct group *g,
	      struct names *ret);

/* The groups to be shown in this project (NULL: in all), by project and name. Free with free(). */
struct entry **sentinel_list(const struct sentinel *s, const char *project, size_t *ret_n);

const struct known *sentinel_known(const struct sentinel *s, struct id group);

/* ---- sentinel_answers.c ---- */

sentinel_command_fn answer_masters, answer_master, answer_replicas, answer_sentinels;
sentinel_command_fn answer_address, answer_quorum, answer_down_by_address, answer_my_id;
sentinel_command_fn answer_role, answer_info;

/* The server that clients write to is not to be reached, or is kept from serving. */
bool source_is_down(const struct sentinel *s, const struct entry *en);

/* ---- sentinel_subscribe.c ---- */

sentinel_command_fn subscribe, psubscribe, unsubscribe, punsubscribe;
void subscriptions_drop(struct client *c);
/* Tells everybody who listens and may see the group. */
void publish_switch(struct sentinel *s, const struct group *g, const char *old_address,
		    uint16_t old_port);

/* ---- sentinel.c: hands c->out to the stream ---- */
void client_flush(struct client *c);
