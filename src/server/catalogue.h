/*
 * The catalogue: datastores and their versions, as clients see them. It is what the hosts report
 * installed, merged with what the settings say of it (ids, versions that are hidden); made anew
 * for each request that needs it, so it is never older than the hosts' reports.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "server/registry.h"

struct catalogue_version {
	const char *datastore; /* its name */
	const char *id, *name; /* name: "7.0" */
	const char *number;    /* "7.0.15" */
	const char *installed; /* the exact version that a host has; NULL: none has it */
	bool active;           /* new instances may have it */
	bool is_default;
};

struct catalogue_datastore {
	const char *id, *name;
	const char *default_version; /* id; NULL: there is none */
};

struct catalogue {
	struct catalogue_datastore *datastores;
	size_t ndatastores;
	struct catalogue_version *versions; /* of all datastores */
	size_t nversions;
};

/* Everything lives in *a, or as long as the hosts' records: use it up before the next wait. */
void catalogue_make(const struct registry *r, struct arena *a, struct catalogue *ret);

/* By name or id. ERR_NOT_FOUND. */
[[nodiscard]] bool catalogue_datastore(const struct catalogue *c, const char *ref,
				       const struct catalogue_datastore **ret, struct err *e);

/* By name or id. ERR_INVALID as in Trove; ERR_NOT_FOUND when it is another datastore's. */
[[nodiscard]] bool catalogue_version(const struct catalogue *c, const struct catalogue_datastore *d,
				     const char *ref, const struct catalogue_version **ret,
				     struct err *e);

/* By id, whichever datastore's; NULL: there is none. */
const struct catalogue_version *catalogue_version_by_id(const struct catalogue *c, const char *id);
