/*
 * What the files of io/etcd.h share: etcd.c (endpoints, requests), etcd_reply.c (what etcd says),
 * etcd_login.c, etcd_watch.c.
 */
#pragma once

#include <sys/queue.h>

#include "io/client.h"
#include "io/etcd.h"

enum {
	ETCD_ENDPOINTS = 16,
	ETCD_PAUSE_MS = 100, /* after all endpoints have been tried */
	/* A page of rows, or what a watch catches up with at once: 128 of etcd's largest requests.
	 */
	ETCD_ANSWER_BYTES = 256 << 20,
};

struct endpoint {
	char *url;
	bool bad; /* left, and has not answered since */
};

struct etcd {
	struct loop *loop;
	struct http_client *http;
	char *user, *ca_file;
	struct secret password;
	int64_t try_limit_ms, connect_limit_ms;
	struct endpoint endpoints[ETCD_ENDPOINTS];
	size_t nendpoints, current;
	bool unreachable;              /* none of them has answered for a while */
	int64_t good_ms;               /* when one did */
	TAILQ_HEAD(, etcd_call) calls; /* in the order they were asked for */
	unsigned rounds;               /* of resuming, so that none is visited twice */
	struct timer *pause;           /* set while calls wait */
	/* login */
	struct str authorization; /* "Authorization: TOKEN", empty: none */
	unsigned logins;          /* how often one has worked */
	struct http_call *login;
	size_t login_endpoint;
	int64_t login_at_ms; /* not before */
	bool login_refused;
	struct err login_err;
};

/* What a POST came back with. Free body with json_decref(). */
struct etcd_reply {
	json_t *body;  /* an object; NULL: none */
	int code;      /* gRPC's; 0: it was no refusal of etcd */
	bool answered; /* status 200 and a body */
	bool refused;  /* nothing was done */
	bool passes;   /* refused for now: worth asking again, or elsewhere */
	struct err err;
};

struct etcd_reply etcd_reply(int status, const char *text, size_t len, const struct err *e);

/* Of one endpoint; the whole answer, or with data != NULL its pieces. */
struct http_call *etcd_post(struct etcd *e, const char *path, const struct str *body,
			    const struct http_call_spec *how, http_call_fn *fn, void *arg);
void etcd_endpoint_left(struct etcd *e, size_t endpoint, const struct err *why);
void etcd_endpoint_good(struct etcd *e, size_t endpoint);
/* Calls that wait look again. */
void etcd_resume(struct etcd *e);

/* ---- etcd_login.c ---- */

/* There is a token, or none is needed; else sees to it that one comes. */
bool etcd_login_ready(struct etcd *e);
/* The token of the login of that number is not taken any more. */
void etcd_login_forget(struct etcd *e, unsigned login);
/* Does etcd say so? */
bool etcd_login_wanted(const struct etcd *e, const char *message);
