/*
 * A RESP client for the agent's connection to a server: hiredis on our loop, over the server's
 * unix socket, with deadlines of our own.
 */
#pragma once

#include <hiredis/hiredis.h>

#include "base/err.h"
#include "base/secret.h"
#include "io/loop.h"

struct redis;

/*
 * reply is borrowed for the call and NULL on failure: then *e says
 *
 *   ERR_UNAVAILABLE   no connection, or it was closed
 *   ERR_TIMEOUT       no answer in time; also for all others that waited on the same connection,
 *                     which is closed, since their answers could not be told apart any more
 *   ERR_UNAUTHORIZED  the server refused our login, in its words; nothing was carried out
 *
 * After the first two the command may have been carried out all the same, unless there was no
 * connection. An error reply of the server (LOADING too) is a reply (REDIS_REPLY_ERROR).
 */
typedef void redis_reply_fn(void *arg, const redisReply *reply, const struct err *e);

struct redis_config {
	const char *socket;   /* path; copied */
	const char *user;     /* NULL: AUTH with the password alone, or none; copied */
	struct secret password;
	int64_t connect_limit_ms; /* for the answer to the login */
};

/*
 * Connects when the first command comes, authenticates first, and reconnects for the next command
 * after a failure. Free with redis_free(): outstanding callbacks run with ERR_UNAVAILABLE first,
 * inside it; they must send nothing more.
 */
struct redis *redis_new(struct loop *l, const struct redis_config *c);
void redis_free(struct redis *r); /* NULL is fine; not from a reply callback */

/*
 * Sends a command; fn runs exactly once, never before this returns. At most limit_ms. The words
 * are copied; errors name the first one only.
 */
void redis_command(struct redis *r, size_t argc, const char *const *argv, int64_t limit_ms,
		   redis_reply_fn *fn, void *arg);

/*
 * The connection is closed; the next command opens another (the server was restarted). Those that
 * wait fail with ERR_UNAVAILABLE, after this has returned.
 */
void redis_reset(struct redis *r);
