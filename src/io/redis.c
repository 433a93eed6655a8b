/*
 * A connection to a server. hiredis formats commands, buffers and parses; the socket is watched
 * here, with its non-blocking context rather than its asynchronous one: that one has no time-outs
 * and frees itself at moments of its own.
 *
 * Answers come in the order of the commands, so one that is late cannot be given up alone: the
 * connection is closed, and every command that waits on it fails. Failures that are found inside a
 * call of our user are told from a timer, so that no callback runs before its starter returned.
 */
#include "io/redis.h"

#include <assert.h>
#include <fcntl.h>
#include <sys/queue.h>
#include <sys/un.h>

#include <uv.h>

#include "base/clock.h"
#include "base/str.h"

/* The longest that we ask for is INFO, some KB; a server that sends more than this is no server. */
enum { REPLY_MAX = 16 << 20 };

struct command {
	STAILQ_ENTRY(command) next;
	char *bytes; /* in RESP; NULL once they are in the output buffer */
	int len;
	char name[16]; /* first word, for messages: the others may be secrets */
	int64_t limit_ms, deadline_ms;
	redis_reply_fn *fn;
	void *arg;
	struct err err; /* of a failed one */
};

STAILQ_HEAD(command_list, command);

struct redis {
	struct loop *loop;
	char *socket, *user;
	struct secret password;
	int64_t connect_limit_ms;

	redisContext *c;     /* NULL: not connected */
	uv_poll_t *poll;     /* lives until libuv has closed it */
	bool ready;          /* authenticated, or no need */
	unsigned connection; /* number of this one: a callback may have replaced it */

	struct command_list queue;  /* waiting for their answers, in order */
	struct command_list failed; /* waiting to be told */
	struct timer *deadline;     /* earliest of the queue's */
	struct timer *tell;         /* set when something in `failed` waits for a turn of its own */
	bool calling, freeing;
};

static void on_poll(uv_poll_t *poll, int status, int events);
static void on_deadline(void *arg);
static void on_tell(void *arg);

static char *copy_text(const char *s)
{
	char *copy = s == NULL ? NULL : strdup(s);

	if (s != NULL && copy == NULL) {
		abort();
	}
	return copy;
}

struct redis *redis_new(struct loop *l, const struct redis_config *c)
{
	struct redis *r = calloc(1, sizeof *r);

	if (r == NULL) {
		abort();
	}
	r->loop = l;
	r->socket = copy_text(c->socket);
	r->user = copy_text(c->user);
	r->password = c->password;
	r->connect_limit_ms = c->connect_limit_ms;
	STAILQ_INIT(&r->queue);
	STAILQ_INIT(&r->failed);
	r->deadline = timer_new(l, on_deadline, r);
	r->tell = timer_new(l, on_tell, r);
	return r;
}

static struct command *command_new(size_t argc, const char *const *argv, int64_t limit_ms,
				   redis_reply_fn *fn, void *arg)
{
	struct command *cmd = calloc(1, sizeof *cmd);
	const char **words = (const char **)(uintptr_t)argv; /* hiredis does not write to it */

	if (cmd == NULL) {
		abort();
	}
	assert(argc > 0);
	cmd->len = redisFormatCommandArgv(&cmd->bytes, (int)argc, words, NULL);
	if (cmd->len < 0) {
		abort();
	}
	str_copy(cmd->name, sizeof cmd->name, argv[0]);
	cmd->limit_ms = limit_ms;
	cmd->deadline_ms = clock_ms() + limit_ms;
	cmd->fn = fn;
	cmd->arg = arg;
	return cmd;
}

static void command_free(struct command *cmd)
{
	redisFreeCommand(cmd->bytes);
	free(cmd);
}

static void call(struct redis *r, const struct command *cmd, const redisReply *reply,
		 const struct err *e)
{
	r->calling = true;
	cmd->fn(cmd->arg, reply, e);
	r->calling = false;
}

/* Only what is there now: a callback that tries again and fails again waits for the next turn. */
static void tell_failed(struct redis *r)
{
	struct command_list now = STAILQ_HEAD_INITIALIZER(now);

	STAILQ_CONCAT(&now, &r->failed);
	while (!STAILQ_EMPTY(&now)) {
		struct command *cmd = STAILQ_FIRST(&now);

		STAILQ_REMOVE_HEAD(&now, next);
		call(r, cmd, NULL, &cmd->err);
		command_free(cmd);
	}
}

static void on_tell(void *arg)
{
	tell_failed(arg);
}

static void on_poll_closed(uv_handle_t *poll)
{
	free(poll);
}

/* Closes the connection; all that waits on it fails with *why. Calls nobody. */
static void drop_connection(struct redis *r, const struct err *why)
{
	struct command *cmd;

	STAILQ_FOREACH(cmd, &r->queue, next)
	{
		cmd->err = *why;
	}
	STAILQ_CONCAT(&r->failed, &r->queue);
	timer_stop(r->deadline);
	if (r->poll != NULL) {
		uv_close((uv_handle_t *)r->poll, on_poll_closed);
		r->poll = NULL;
	}
	if (r->c != NULL) {
		redisFree(r->c);
		r->c = NULL;
	}
	r->ready = false;
	r->connection++;
}

/* From the loop: tells at once. */
static void fail(struct redis *r, const struct err *why)
{
	drop_connection(r, why);
	tell_failed(r);
}

/* From a call of our user: tells when that has returned. */
static void fail_later(struct redis *r, const struct err *why)
{
	drop_connection(r, why);
	if (!STAILQ_EMPTY(&r->failed)) {
		timer_set_in(r->tell, 0);
	}
}

static void fail_broken(struct redis *r)
{
	struct err e;

	err_set(&e, ERR_UNAVAILABLE, "connection to '%s': %s", r->socket, r->c->errstr);
	fail(r, &e);
}

/* One timer for all: the list is short, and limits differ. */
static void set_deadline(struct redis *r)
{
	const struct command *cmd;
	int64_t earliest_ms = INT64_MAX;

	STAILQ_FOREACH(cmd, &r->queue, next)
	{
		if (cmd->deadline_ms < earliest_ms) {
			earliest_ms = cmd->deadline_ms;
		}
	}
	if (STAILQ_EMPTY(&r->queue)) {
		timer_stop(r->deadline);
	} else {
		timer_set_at(r->deadline, earliest_ms);
	}
}

static void on_deadline(void *arg)
{
	struct redis *r = arg;
	const struct command *cmd = STAILQ_FIRST(&r->queue);
	int64_t now_ms = clock_ms();
	struct err e;

	while (cmd->deadline_ms > now_ms) { /* the one whose time is up */
		cmd = STAILQ_NEXT(cmd, next);
	}
	err_set(&e, ERR_TIMEOUT, "no answer to %s within %lld ms", cmd->name,
		(long long)cmd->limit_ms);
	fail(r, &e);
}

/* Puts what may be sent into the output buffer: before the login is answered, the login alone. */
static void send_queue(struct redis *r)
{
	struct command *cmd;

	STAILQ_FOREACH(cmd, &r->queue, next)
	{
		if (cmd->bytes != NULL) {
			size_t len = (size_t)cmd->len;

			if (redisAppendFormattedCommand(r->c, cmd->bytes, len) != REDIS_OK) {
				abort();
			}
			redisFreeCommand(cmd->bytes);
			cmd->bytes = NULL;
		}
		if (!r->ready) {
			break;
		}
	}
	uv_poll_start(r->poll, UV_READABLE | UV_WRITABLE, on_poll);
}

/*
 * The commands behind a login wait for its answer. Sent with it they would be carried out as the
 * default user when it is refused.
 */
static void on_login(void *arg, const redisReply *reply, const struct err *)
{
	struct redis *r = arg;
	struct err e;

	if (reply == NULL) {
		return; /* the connection is gone, and everybody is told */
	}
	if (reply->type == REDIS_REPLY_ERROR) {
		bool full = str_starts(reply->str, "ERR max number of clients");

		err_set(&e, full ? ERR_UNAVAILABLE : ERR_UNAUTHORIZED, "%s", reply->str);
		fail_later(r, &e);
		return;
	}
	r->ready = true;
	send_queue(r);
}

static void push_login(struct redis *r)
{
	const char *const with_user[] = { "AUTH", r->user, r->password.open };
	const char *const alone[] = { "AUTH", r->password.open };
	struct command *cmd = r->user != NULL
				      ? command_new(3, with_user, r->connect_limit_ms, on_login, r)
				      : command_new(2, alone, r->connect_limit_ms, on_login, r);

	STAILQ_INSERT_HEAD(&r->queue, cmd, next);
}

static bool open_connection(struct redis *r, struct err *e)
{
	/* hiredis would cut it and connect to another file */
	if (strlen(r->socket) >= sizeof((struct sockaddr_un *)NULL)->sun_path) {
		return err_set(e, ERR_UNAVAILABLE, "socket path '%s' is too long", r->socket);
	}
	redisContext *c = redisConnectUnixNonBlock(r->socket);
	if (c == NULL) {
		abort();
	}
	if (c->err != 0) {
		err_set(e, ERR_UNAVAILABLE, "connect to '%s': %s", r->socket, c->errstr);
		redisFree(c);
		return false;
	}
	fcntl(c->fd, F_SETFD, FD_CLOEXEC);
	uv_poll_t *poll = calloc(1, sizeof *poll);
	if (poll == NULL || uv_poll_init(loop_uv(r->loop), poll, c->fd) != 0) {
		abort();
	}
	poll->data = r;
	r->c = c;
	r->poll = poll;
	r->ready = r->password.open[0] == '\0';
	if (!r->ready) {
		push_login(r);
	}
	return true;
}

void redis_command(struct redis *r, size_t argc, const char *const *argv, int64_t limit_ms,
		   redis_reply_fn *fn, void *arg)
{
	struct command *cmd = command_new(argc, argv, limit_ms, fn, arg);
	struct err e;

	assert(!r->freeing);
	if (r->c == NULL && !open_connection(r, &e)) {
		STAILQ_INSERT_TAIL(&r->queue, cmd, next);
		fail_later(r, &e);
		return;
	}
	STAILQ_INSERT_TAIL(&r->queue, cmd, next);
	send_queue(r);
	set_deadline(r);
}

/* Gives the answers that are complete to those who wait. False: the connection was closed. */
static bool take_replies(struct redis *r)
{
	unsigned connection = r->connection;

	while (r->connection == connection) { /* else a callback has closed it */
		struct command *cmd = STAILQ_FIRST(&r->queue);
		void *reply = NULL;

		if (redisGetReplyFromReader(r->c, &reply) != REDIS_OK) {
			fail_broken(r);
			return false;
		}
		if (reply == NULL) {
			set_deadline(r);
			return true;
		}
		if (cmd != NULL) {
			STAILQ_REMOVE_HEAD(&r->queue, next);
			call(r, cmd, reply, &(struct err){});
			command_free(cmd);
		}
		freeReplyObject(reply);
	}
	return false;
}

/* False: the connection was closed. */
static bool read_replies(struct redis *r)
{
	struct err e;

	if (redisBufferRead(r->c) != REDIS_OK) {
		fail_broken(r);
		return false;
	}
	if (!take_replies(r)) {
		return false;
	}
	if (r->c->reader->len > REPLY_MAX) { /* what is left is of an answer that is not whole */
		err_set(&e, ERR_UNAVAILABLE, "an answer of more than %d bytes", REPLY_MAX);
		fail(r, &e);
		return false;
	}
	return true;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct redis *r = poll->data;
	unsigned connection = r->connection;
	int all_sent = 0;

	/* those who failed with an earlier connection asked before those who are answered now */
	tell_failed(r);
	if (r->connection != connection) {
		return;
	}
	if ((status < 0 || (events & UV_READABLE) != 0) && !read_replies(r)) {
		return;
	}
	if (redisBufferWrite(r->c, &all_sent) != REDIS_OK) {
		fail_broken(r);
		return;
	}
	uv_poll_start(poll, all_sent ? UV_READABLE : UV_READABLE | UV_WRITABLE, on_poll);
}

void redis_reset(struct redis *r)
{
	struct err e;

	err_set(&e, ERR_UNAVAILABLE, "connection to '%s' was reset", r->socket);
	fail_later(r, &e);
}

void redis_free(struct redis *r)
{
	struct err e;

	if (r == NULL) {
		return;
	}
	assert(!r->calling);
	r->freeing = true;
	err_set(&e, ERR_UNAVAILABLE, "connection to '%s' is no longer used", r->socket);
	fail(r, &e);
	timer_free(r->deadline);
	timer_free(r->tell);
	free(r->socket);
	free(r->user);
	explicit_bzero(&r->password, sizeof r->password);
	free(r);
}
