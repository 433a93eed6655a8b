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
	STORE_CONFLICT,  /* an expectation did not hold, or we do not lead any more: nothing was done */
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

/* The function table of an implementation; use the store_* functions below. */
struct store_impl {
	void (*load)(struct store *s, const char *prefix, store_row_fn *row, store_loaded_fn *done,
		     void *arg);
	void (*commit)(struct store *s, const struct store_op *ops, size_t n, store_commit_fn *fn,
		       void *arg);
	bool (*leads)(const struct store *s);
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

/* Rows whose key begins with prefix, in the order of keys. */
void store_load(struct store *s, const char *prefix, store_row_fn *row, store_loaded_fn *done,
		void *arg);

/*
 * All or nothing. The ops are copied. Commits asked for in one turn of the loop share one
 * transaction on the disk, but succeed or conflict each by itself, in the order they were asked
 * for. fn runs exactly once, after the commit is durable.
 */
void store_commit(struct store *s, const struct store_op *ops, size_t n, store_commit_fn *fn,
		  void *arg);

/* The embedded store always leads. */
bool store_leads(const struct store *s);

/*
 * Carries out what was asked for, its callbacks included, then closes. Not from one of its
 * callbacks; before loop_free(). NULL is fine.
 */
void store_free(struct store *s);

/* Passes the crash points of a commit: after crash_list() that prints them. */
void store_crash_points(void);
