/*
 * The database file of the embedded store: opening it with all checks, and carrying out what one
 * transaction holds. Blocking; one thread at a time, whichever. Private to the store.
 *
 * kv holds the records, each with the number of the commit that put it; meta holds the number of
 * the last commit, so that it grows over the installation's whole life.
 */
#pragma once

#include <sys/queue.h>

#include "io/store.h"

struct store_db;

/* One commit of several that share a transaction. */
struct store_change {
	STAILQ_ENTRY(store_change) next;
	const struct store_op *ops;
	size_t n;
	/* filled by store_db_commit() */
	enum store_outcome outcome;
	uint64_t revision;
	struct err err;
};

STAILQ_HEAD(store_changes, store_change);

/* Creates the file when there is none. Errors as store_sqlite_open(). */
[[nodiscard]] bool store_db_open(const char *path, struct store_db **ret, struct err *e);
void store_db_close(struct store_db *db); /* NULL is fine */

/* Fills every change. Those that conflict leave the others alone; a failing disk fails them all. */
void store_db_commit(struct store_db *db, struct store_changes *changes);

/* Rows in the order of keys, from this thread; row's false ends it. */
[[nodiscard]] bool store_db_rows(struct store_db *db, const char *prefix, store_row_fn *row,
				 void *arg, struct err *e);

uint64_t store_db_transactions(const struct store_db *db);
