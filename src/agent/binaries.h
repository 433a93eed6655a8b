/*
 * The server programs this host has: found on PATH (or named by the setting), each asked for its
 * version by a child process with a limit.
 */
#pragma once

#include "base/err.h"
#include "io/loop.h"
#include "proto/record.h"

struct binaries;

/*
 * Looks for the programs: `wanted` is the setting agent.servers ("" for what PATH, /usr/bin and
 * /usr/local/bin have, else paths separated by spaces). scratch_dir holds the children's output
 * for a moment. done(arg) runs once; then binaries_list() holds. Free with binaries_free().
 */
struct binaries *binaries_scan(struct loop *l, const char *wanted, const char *scratch_dir,
			       loop_fn *done, void *arg);
void binaries_free(struct binaries *b); /* NULL is fine; a scan under way is given up */

/* What was found, best first for each datastore; writes at most HOST_DATASTORES_MAX rows. */
size_t binaries_list(const struct binaries *b, struct host_datastore *rows);

/* The program of exactly this version; ERR_NOT_FOUND says what there is instead. */
[[nodiscard]] bool binaries_find(const struct host *h, const char *datastore, const char *version,
				 const char **ret, struct err *e);

/* Reads "Redis server v=7.0.15 sha=..." into datastore and version. */
[[nodiscard]] bool binaries_read_version(const char *text, struct host_datastore *ret);
