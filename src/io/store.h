/*
 * The store: JSON documents by key, small interface, two implementations (SQLite embedded; etcd
 * with several control planes). Everything is asynchronous, because a commit is a disk's or a
 * network's business.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "io/loop.h"

struct store;

enum store_expect {
	STORE_ANY,      /* put or delete whatever is there */
	STORE_ABSENT,   /* only if there is no such key */
	STORE_REVISION, /* only if the key is at this revision */
};

struct store_op {
	const char *key;
	const char *value; /* NULL: delete */
	size_t len;
	enum store_expect expect;
	uint64_t revision; /* with STORE_REVISION: commit number of the last put of this key */
};

enum store_outcome {
	STORE_COMMITTED, /* durable */
	/* An expectation did not hold (ERR_CONFLICT), or we do not lead (ERR_UNAVAILABLE): nothing was done. */
	STORE_CONFLICT,
	STORE_FAILED,    /* nothing was done; *e says why (disk full, ...) */
	STORE_UNKNOWN,   /* it may or may not be there: read back before anything else */
};

/* revision: commit number, grows by every commit over the installation's whole life. */
typedef void store_commit_fn(void *arg, enum store_outcome outcome, uint64_t revision,
			     const struct err *e);

/* Called per row while loading; value is borrowed. false stops the load with *e. */
typedef bool store_row_fn(void *arg, const char *key, const char *value, size_t len,
			  uint64_t revision, struct err *e);

/* All rows have been given (e->code ERR_NONE), or it failed. */
typedef void store_loaded_fn(void *arg, const struct err *e);

/* One row that changed; value NULL: deleted. Borrowed. */
struct store_row {
	const char *key;
	const char *value;
	size_t len;
	uint64_t revision;
};

/* Where this program stands among the control planes that share a store. */
struct store_standing {
	bool leads;         /* it may commit and decide */
	bool current;       /* what it was given is what is there: nothing was missed */
	uint64_t term;      /* of the leader that is known; grows with each new one; 0: none is known */
	const char *leader; /* what the leader says of itself (see store_etcd_config.self); "": none */
};

/*
 * Called by a store that others write to as well. changed(): whole commits in the order of their
 * revisions, our own included, each once; after a gap what differs, however it came about. Begins
 * behind the first store_load() of all rows. stands(): at each change of the standing; before it
 * says `leads` everything that was committed under earlier leaders has been given.
 */
struct store_listener {
	void (*changed)(void *arg, const struct store_row *rows, size_t n);
	void (*stands)(void *arg, const struct store_standing *now);
	void *arg;
};

/* The function table of an implementation; use the store_* functions below. */
struct store_impl {
	void (*load)(struct store *s, const char *prefix, store_row_fn *row, store_loaded_fn *done,
		     void *arg);
	void (*commit)(struct store *s, const struct store_op *ops, size_t n, store_commit_fn *fn,
		       void *arg);
	bool (*leads)(const struct store *s);
	void (*listen)(struct store *s, const struct store_listener *l);
	void (*free)(struct store *s);
};

struct store {
	const struct store_impl *impl;
};

/*
 * Opens (creating if missing) the embedded store in a file. ERR_CONFLICT: written by a newer
 * tanist; ERR_IO: damaged (an integrity check runs first), with what SQLite says.
 */
[[nodiscard]] bool store_sqlite_open(struct loop *l, const char *path, struct store **ret,
				     struct err *e);

/*
 * Rows whose key begins with prefix, in the order of keys. Sees what was committed before it was
 * asked for. May fail (ERR_UNAVAILABLE) with a store that is elsewhere, also while a commit of
 * unknown outcome could still arrive there: ask again.
 */
void store_load(struct store *s, const char *prefix, store_row_fn *row, store_loaded_fn *done,
		void *arg);

/*
 * All or nothing. The ops are copied. Commits succeed or conflict each by itself. fn runs exactly
 * once, after the commit is durable, in the order they were asked for. The embedded store carries
 * them out in that order too, those of one turn of the loop in one transaction on the disk; with
 * etcd those without a key in common may change places, and one has at most 127 ops.
 */
void store_commit(struct store *s, const struct store_op *ops, size_t n, store_commit_fn *fn,
		  void *arg);

/* The embedded store always leads. */
bool store_leads(const struct store *s);

/* One listener, before the first load. The embedded store is nobody else's and never calls it. */
void store_listen(struct store *s, const struct store_listener *l);

/*
 * Carries out what was asked for, its callbacks included, then closes; etcd is not waited for: what
 * was sent is told as STORE_UNKNOWN, what was not as STORE_FAILED. Not from one of its callbacks;
 * before loop_free(). NULL is fine.
 */
void store_free(struct store *s);

/* Passes the crash points of a commit: after crash_list() that prints them. */
void store_crash_points(void);
