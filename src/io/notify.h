/*
 * Telling the service manager how we are: sd_notify(3) by hand, which is one datagram of
 * "NAME=value" lines to the socket named in NOTIFY_SOCKET. Without that variable nothing is sent,
 * and every call is harmless.
 */
#pragma once

#include "io/loop.h"

struct notify;

/*
 * Never NULL. Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment: they are
 * meant for us, and a server that we start would speak in our place. From then on the loop sends
 * WATCHDOG=1 twice in every WATCHDOG_USEC; a loop that stands still sends none. Free before the
 * loop.
 */
struct notify *notify_new(struct loop *l);
void notify_free(struct notify *n); /* NULL is fine */

/* Each with a line for people, at most 200 bytes of it; NULL is fine for n. */
void notify_ready(struct notify *n, const char *status);
void notify_stopping(struct notify *n, const char *status);
void notify_status(struct notify *n, const char *status);

/* The beginning and the end of a reload; nothing before notify_ready(), as we are not ready yet. */
void notify_reloading(struct notify *n);
void notify_reloaded(struct notify *n);
