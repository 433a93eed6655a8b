/*
 * Bodies of the Trove v1.0 API: requests in, checked as Trove's schema does; answers out.
 * CONTRACT.md 2 is the reference for every field, its order and its type.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "core/model.h"
#include "core/observation.h"
#include "proto/json.h"

struct trove_create {
	const char *name;
	const char *flavor_ref; /* NULL: not given; last path element */
	int64_t volume_gb;      /* 0: not given */
	const char *datastore, *version, *version_number; /* NULL: not given; name or id */
	bool has_replica_of;
	struct id replica_of;
	int64_t replica_count; /* 1 when not given */
	bool has_locality, has_nics_ip, has_databases, has_users;
	const char *locality;
	const char *configuration;  /* NULL: not given */
	bool has_restore_point;
	const char *backup_ref;
	const char *availability_zone;
};

/* Body of POST /instances. ERR_INVALID "Validation error: instance['name'] ..." with the remedy. */
[[nodiscard]] bool trove_read_create(const char *body, size_t len, struct arena *a,
				     struct trove_create *ret, struct err *e);

struct trove_update {
	const char *name; /* NULL: not given */
	bool detach;      /* key replica_of or slave_of is there */
	bool has_configuration, has_datastore_version, has_access;
};
enum trove_update_verb { TROVE_PUT, TROVE_PATCH };
[[nodiscard]] bool trove_read_update(const char *body, size_t len, enum trove_update_verb verb,
				     struct arena *a, struct trove_update *ret, struct err *e);

/* X(NAME, "key in the body") */
#define TROVE_ACTIONS(X)                          \
	X(RESTART, "restart")                     \
	X(RESIZE, "resize")                       \
	X(PROMOTE, "promote_to_replica_source")   \
	X(EJECT, "eject_replica_source")          \
	X(RESET_STATUS, "reset_status")           \
	X(START, "start") /* ours: {"start": {"accept_data_loss": true}} */
#define TROVE_ACTION_ENUM(name, key) TROVE_ACTION_##name,
enum trove_action_kind { TROVE_ACTIONS(TROVE_ACTION_ENUM) TROVE_ACTION_COUNT };
#undef TROVE_ACTION_ENUM

struct trove_action {
	enum trove_action_kind kind;
	bool accept_data_loss; /* START */
};
[[nodiscard]] bool trove_read_action(const char *body, size_t len, struct trove_action *ret,
				     struct err *e);

/* Where links point: scheme and host the client used, and the project of the URL. */
struct trove_links {
	const char *scheme, *host, *project;
};

/* One instance with all that its JSON is made of. Borrowed for the call. */
struct trove_instance {
	const struct group *g;
	const struct member *m;
	const struct observation *o; /* NULL: not heard */
	const struct observation *source_o;
	bool silent;
	bool admin;
	const char *region;
	const char *active_status; /* "ACTIVE" or "HEALTHY" */
};

/*
 * list: the item of GET /instances; detail adds what GET one shows (top-level extra keys last:
 * port, group, role, epoch, lag, sync, durable, host).
 */
enum trove_depth { TROVE_LIST, TROVE_DETAIL };
void trove_write_instance(struct jw *w, const char *key, const struct trove_instance *i,
			  enum trove_depth depth, const struct trove_links *l);

/* {"badRequest": {"code": 400, "message": "..."}} */
void trove_write_fault(const struct err *e, struct str *out);
