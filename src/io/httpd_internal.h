/*
 * The connections of the HTTP server, shared by its two halves: requests and answers (httpd.c),
 * and the patience it has with clients (httpd_patience.c). Private to them.
 */
#pragma once

#include <sys/queue.h>

#include <microhttpd.h>

#include "io/httpd.h"
#include "io/tls.h"
#include "io/turn.h"

enum connection_state {
	CONNECTION_HEAD,    /* the head is coming */
	CONNECTION_BODY,    /* the body is coming */
	CONNECTION_HANDLED, /* with the handler, which may hold it */
	CONNECTION_REPLY,   /* the answer is on its way */
	CONNECTION_IDLE,    /* kept alive, nothing asked */
	CONNECTION_CUT,     /* shut down by us: the library will notice */
};

struct http_connection {
	LIST_ENTRY(http_connection) others;
	struct httpd *h;
	struct MHD_Connection *mhd;
	int fd; /* the library's */
	struct tls_identity *identity; /* held, until the connection ends; NULL: plain text */
	enum connection_state state;
	int64_t since_ms; /* in this state */
	struct http_request *rq;
	const char *target_defect;
	struct str body;
	size_t ceiling, discarded;
	bool held;                     /* suspended, and in the hang-up set */
	struct MHD_Response *response; /* what http_reply() made, not queued yet */
	unsigned status;
};

struct httpd {
	struct httpd_config config;
	uint16_t port;
	struct MHD_Daemon *mhd;
	struct fd_watch *watch;
	struct turn *again;
	int hangups; /* epoll set of the held connections' sockets */
	struct fd_watch *hangup_watch;
	struct timer *sweep;
	int64_t now_ms; /* when MHD_run() began */
	LIST_HEAD(, http_connection) connections;
};

/* Lets the library do what is due. Connections may end in it. Not from one of its callbacks. */
void httpd_run(struct httpd *h);

/* The state, from now on. */
void connection_enter(struct http_connection *c, enum connection_state s);

/* Ends the request that the connection carries, if any. */
void connection_drop_request(struct http_connection *c);

/*
 * From the handler's end on a request without answer is held: the library leaves it alone. After
 * connection_resume() the library asks for the answer again.
 */
void connection_hold(struct http_connection *c);
void connection_resume(struct http_connection *c);

/* Takes a held request away from the handler's owner; the connection ends at the next MHD_run(). */
void connection_gone(struct http_connection *c);

/* The sweep and the watch for hang-ups. False with *e when descriptors have run out. */
[[nodiscard]] bool patience_start(struct httpd *h, struct loop *l, struct err *e);
void patience_stop(struct httpd *h);

/* There is a connection to have patience with. */
void patience_begin(struct httpd *h);
