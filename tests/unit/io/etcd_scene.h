/*
 * What the tests of the store on etcd stand on: real etcd members, stores with what they were told,
 * all on one loop, and a proxy between them that loses, holds and delays.
 *
 * Each test program has a loopback address of its own, so that several run side by side.
 */
#pragma once

#include "folder.h"

#include "base/str.h"
#include "io/store_etcd.h"

enum { PATIENCE_MS = 30000, MEMBERS_MAX = 3 };

/* ---- etcd ---- */

struct member {
	pid_t pid;
	uint16_t port, peer_port;
	char name[8], url[64];
};

struct cluster {
	struct folder dir;
	struct member members[MEMBERS_MAX];
	size_t n;
	const char *const *options; /* NULL at the end */
	const char *scheme;
};

#define auto_cluster [[gnu::cleanup(cluster_done)]] struct cluster
/* Starts and waits until it serves. options may be NULL. */
struct cluster cluster_new(size_t n, const char *const *options);
void cluster_done(struct cluster *c);
void member_start(struct cluster *c, size_t i);
void member_kill(struct cluster *c, size_t i);
void cluster_wait(const struct cluster *c, size_t i); /* until that member serves */
/* "URL,URL" of all. */
const char *cluster_urls(const struct cluster *c);
/* POST to a member, blocking; the answer is valid until the next. Not of a proxy. */
const char *member_ask(const struct member *m, const char *path, const char *body);
/* base64 of a key, as requests have it. */
const char *b64(const char *text);

const char *scene_address(void);
uint16_t scene_port(void); /* another each time */

/* ---- proxy ---- */

enum proxy_action {
	PROXY_LOSE_ANSWER, /* the request goes on, the connection ends instead of the answer */
	PROXY_HOLD,        /* the request waits for proxy_release(), whatever its sender does */
	PROXY_REFUSE,      /* the connection ends */
};

struct proxy;
struct proxy *proxy_new(uint16_t target_port);
const char *proxy_url(const struct proxy *p);
/* For requests that contain the text, `times` of them (-1: all). A later rule comes first. */
void proxy_rule(struct proxy *p, const char *text, enum proxy_action action, int times);
void proxy_pass(struct proxy *p);          /* no rules any more */
void proxy_cut(struct proxy *p, bool cut); /* all connections end, and new ones at once */
/* Watches that run bring nothing any more, and do not end. */
void proxy_freeze(struct proxy *p);
void proxy_stop_listening(struct proxy *p); /* cut, and nobody is there to connect to */
int proxy_matches(struct proxy *p);
/*
 * What was held goes to etcd. Where its sender has gone, this returns when etcd has answered; else
 * the answer is passed on.
 */
void proxy_release(struct proxy *p);
void proxy_free(struct proxy *p);

/* ---- stores ---- */

struct scene;

struct node {
	struct scene *scene;
	struct store *store;
	struct str changes; /* "[key=value key-] [...]": a pair of brackets for each commit */
	struct str results; /* "committed conflict ..." */
	struct str rows;    /* of the last load */
	uint64_t last_change, revision;
	enum store_outcome outcome;
	struct err err;
	int nresults, nloads, nchanges, nstands;
	bool loaded;
	struct store_standing stands;
	char leader[64];
};

struct node_spec {
	const char *endpoints, *prefix, *self;
	int64_t lease_ms;
	bool waits; /* not loaded yet */
	bool bystander;
	const char *user, *password, *ca_file;
};

enum { NODES_MAX = 4 };
struct scene {
	struct loop *loop;
	struct timer *tick;
	int64_t deadline_ms;
	bool (*until)(struct node *n, int64_t wanted);
	struct node *who;
	int64_t wanted;
	bool reached;
	struct node nodes[NODES_MAX];
	size_t nnodes;
};

struct scene *scene_new(void);
void scene_free(struct scene **s);
#define auto_scene [[gnu::cleanup(scene_free)]] struct scene

/* Opened and, unless told otherwise, asked to load all. */
struct node *node_new(struct scene *s, const struct node_spec *spec);
void node_free(struct node *n); /* the store; what it was told stays */
void put(struct node *n, const char *key, const char *value);
void commit(struct node *n, const struct store_op *ops, size_t nops);
/* A load, until it is through. "key=value key=value " */
const char *content(struct node *n, const char *prefix);

/* The loop runs until that holds; a test fails when it takes too long. */
void run_until(struct node *n, bool (*until)(struct node *n, int64_t wanted), int64_t wanted);
void run_ms(struct scene *s, int64_t ms);
bool leads(struct node *n, int64_t yes);
bool current(struct node *n, int64_t yes);
bool follows(struct node *n, int64_t);
bool has_loaded(struct node *n, int64_t);
bool results(struct node *n, int64_t at_least);
bool seen(struct node *n, int64_t revision); /* changes up to it were given */
