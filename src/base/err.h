/*
 * The error: what failed, on what, why. Fixed size, on the caller's stack, so that reporting a
 * failure cannot fail. A function that can fail returns bool and takes a `struct err *` last:
 * false fills it, true leaves it alone. Callers add context with err_wrap(); the outermost one
 * logs once and maps it to a status and a fault.
 */
#pragma once

#include <stdbool.h>

#include "base/macros.h"

/* X(name, HTTP status, Trove fault key): the one list of ways something fails. */
#define ERR_LIST(X)                                      \
	X(INVALID, 400, "badRequest")                    \
	X(UNAUTHORIZED, 401, "unauthorized")             \
	X(FORBIDDEN, 403, "forbidden")                   \
	X(NOT_FOUND, 404, "itemNotFound")                \
	X(NOT_ACCEPTABLE, 406, "notAcceptable")          \
	X(CONFLICT, 409, "conflict")                     \
	X(OVER_LIMIT, 413, "overLimit")                  \
	X(BAD_MEDIA, 415, "badMediaType")                \
	X(UNPROCESSABLE, 422, "unprocessableEntity")     \
	X(IO, 500, "instanceFault")                      \
	X(NOT_IMPLEMENTED, 501, "notImplemented")        \
	X(UNAVAILABLE, 503, "serviceUnavailable")        \
	X(TIMEOUT, 504, "timeout")

#define ERR_ENUM(name, status, fault) ERR_##name,
enum err_code { ERR_NONE, ERR_LIST(ERR_ENUM) ERR_COUNT };
#undef ERR_ENUM

struct err {
	enum err_code code;
	int sys; /* errno when the failure came from the kernel, else 0 */
	char msg[400];
};

/* Each fills *e (NULL is allowed: the text is dropped) and returns false: `return err_set(...)`. */
bool err_set(struct err *e, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The same with code ERR_IO, the errno and its text at the end. */
bool err_sys(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Puts "context: " in front of e's message and keeps its code. Returns false. */
bool err_wrap(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* HTTP status of a code (200 for ERR_NONE). */
int err_http_status(enum err_code code);

/* Key of the fault body that Trove's clients expect; "" for ERR_NONE. */
const char *err_fault_key(enum err_code code);
