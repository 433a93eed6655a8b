/*
 * Requests to etcd: v3, JSON gateway over HTTP. Several endpoints, one in use; one that does not
 * answer, or has no leader, is left for the next. Login by name and password, renewed when etcd
 * forgets the token.
 *
 * A member that has lost its cluster would let each request run into etcd's own limit of 7 s. All
 * of ours say that they want a leader ("hasleader", etcd's clientv3.WithRequireLeader), so such a
 * member refuses them at once and ends its watches.
 */
#pragma once

#include "base/secret.h"
#include "base/str.h"
#include "io/loop.h"
#include "proto/json.h"

struct etcd;
struct etcd_call;
struct etcd_watch;

struct etcd_config {
	const char *endpoints; /* as store_etcd_config says, and so on */
	const char *user;
	struct secret password;
	const char *ca_file;
	int64_t try_limit_ms;     /* one endpoint's time, when another may be asked */
	int64_t connect_limit_ms; /* for a connection and its TLS */
};

/* What became of a request. */
enum etcd_fate {
	ETCD_ANSWERED,
	ETCD_REFUSED,   /* etcd says no: nothing was done */
	ETCD_UNREACHED, /* nobody took it within its limit: nothing was done */
	ETCD_UNKNOWN,   /* it went out and no answer came: it may be carried out now, later or never
			 */
};

enum etcd_manner {
	ETCD_AGAIN, /* sent until it is answered: asked for twice is asked for once */
	ETCD_ONCE,  /* sent again only while it is certain that nothing was done */
};

/* gRPC's numbers for why something was refused. */
enum etcd_code { ETCD_NOT_FOUND = 5, ETCD_OUT_OF_RANGE = 11 /* that revision is compacted */ };

/* Borrowed for the callback. */
struct etcd_answer {
	enum etcd_fate fate;
	const json_t *body; /* an object; NULL unless answered */
	int code;           /* enum etcd_code and others; 0: none */
	int64_t sent_ms;    /* when what was answered went out, clock_ms() */
	struct err err;     /* unless answered */
};

typedef void etcd_fn(void *arg, const struct etcd_answer *a);

/* ERR_INVALID: the endpoints cannot be used. The config is copied. */
[[nodiscard]] bool etcd_new(struct loop *l, const struct etcd_config *c, struct etcd **ret,
			    struct err *e);
/* Cancels what runs, without callbacks. Not from a callback; before loop_free(). NULL is fine. */
void etcd_free(struct etcd *e);

/* POST of body (an object) to path ("/v3/kv/txn"). fn runs exactly once, unless cancelled. */
struct etcd_call *etcd_ask(struct etcd *e, const char *path, const struct str *body,
			   enum etcd_manner manner, int64_t limit_ms, etcd_fn *fn, void *arg);
void etcd_cancel(struct etcd_call *call); /* NULL is fine */

/* The same on a loop of its own, for the end of a program: true when it was answered. */
[[nodiscard]] bool etcd_ask_here(const struct etcd *e, const char *path, const struct str *body,
				 int64_t limit_ms);

/* One answer of a stream. The watch may be freed in there. */
typedef void etcd_watch_fn(void *arg, const json_t *result);
/* It has ended, for whatever reason; free it. The endpoint was left for the next if it is to blame.
 */
typedef void etcd_watch_end_fn(void *arg, const struct err *e);

/* body: {"create_request": ...}. Its first answer has to come within try_limit_ms. */
struct etcd_watch *etcd_watch_new(struct etcd *e, const struct str *body, etcd_watch_fn *fn,
				  etcd_watch_end_fn *end, void *arg);
void etcd_watch_free(struct etcd_watch *w); /* no callbacks any more; NULL is fine */
/* Silent though there is news: another endpoint may know better. */
void etcd_watch_blame(struct etcd_watch *w);
/* etcd has cancelled it, and says this. true: the login is renewed, so begin anew soon. */
bool etcd_watch_cancelled(struct etcd_watch *w, const char *why);
