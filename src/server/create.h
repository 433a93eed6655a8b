/*
 * Creating instances: one request on its way (api_create.c), and the checks it goes through
 * (create_check.c).
 */
#pragma once

#include "server/api.h"
#include "server/catalogue.h"

/* Lives in the call's arena. */
struct creation {
	struct trove_create body;
	struct instance_ref source; /* replicas only */
	const char *flavor;
	const char *datastore, *version; /* version: exact */
	uint32_t volume_gb;
	enum place_locality locality;
	size_t n; /* instances to make */
	struct placement *places;
	size_t nplaces;
	struct id *ids; /* ascending, so that lists show them in the order of their names */
};

/*
 * The checks, in Trove's order. Each is false with what the client did wrong, or what there is too
 * little of, and what to do about it.
 */

/* ERR_INVALID: with api.strict a replica takes everything from its source. */
[[nodiscard]] bool create_check_strict(const struct call *c, const struct trove_create *b,
				       struct err *e);
/* ERR_INVALID: more than replication.max_replicas, or without a source. */
[[nodiscard]] bool create_check_count(const struct call *c, const struct trove_create *b,
				      struct err *e);
/* Fills n->source: ERR_NOT_FOUND; ERR_FORBIDDEN when it is a replica itself. */
[[nodiscard]] bool create_find_source(struct call *c, struct creation *n, struct err *e);
/* ERR_FORBIDDEN: it is a replica itself. */
[[nodiscard]] bool create_check_is_source(const struct instance_ref *ref, struct err *e);
/* The version named, or the default one. ERR_NOT_FOUND, ERR_INVALID. */
[[nodiscard]] bool create_find_version(struct call *c, const struct trove_create *b,
				       const struct catalogue_version **ret, struct err *e);
/* A replica has its source's version: naming another is ERR_INVALID. */
[[nodiscard]] bool create_check_same_version(struct call *c, const struct creation *n,
					     struct err *e);
/* A replica has its group's locality: naming another is ERR_INVALID. */
[[nodiscard]] bool create_check_locality(const struct creation *n, struct err *e);
/* What this service does not have is refused: accepting it would promise it. */
[[nodiscard]] bool create_check_features(const struct call *c, const struct trove_create *b,
					 struct err *e);
/* ERR_INVALID; id NULL: none was given. */
[[nodiscard]] bool create_check_flavor(const struct call *c, const char *id, struct err *e);
/* ERR_INVALID, ERR_OVER_LIMIT; 0: none was given. */
[[nodiscard]] bool create_check_volume(const struct call *c, int64_t gb, struct err *e);
/* ERR_FORBIDDEN: smaller than the source's. */
[[nodiscard]] bool create_check_replica_volume(const struct creation *n, struct err *e);
/* ERR_OVER_LIMIT: replication.max_replicas of one source. */
[[nodiscard]] bool create_check_group_room(const struct call *c, const struct creation *n,
					   struct err *e);
/* ERR_OVER_LIMIT, for all n->n instances together. */
[[nodiscard]] bool create_check_quota(const struct call *c, const struct creation *n,
				      struct err *e);
/* ERR_NOT_FOUND. */
[[nodiscard]] bool create_check_configuration(const struct trove_create *b, struct err *e);
/*
 * Is there room for the first copies? ERR_UNPROCESSABLE with both figures. The source writes its
 * data set once; each replica receives it and writes it again as its append-only file. The memory
 * used is what there is to go by (a file is smaller); who shares a host shares the room. What is
 * not known is allowed.
 */
[[nodiscard]] bool create_check_disk(const struct creation *n, struct err *e);
