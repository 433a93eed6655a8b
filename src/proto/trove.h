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

/* Strings live in the arena given to trove_read_create(); NULL: not given. */
struct trove_create {
	const char *name;
	const char *flavor_ref;                           /* last path element */
	int64_t volume_gb;                                /* 0: not given */
	const char *datastore, *version, *version_number; /* name or id */
	bool has_replica_of;
	struct id replica_of;
	int64_t replica_count; /* 1 when not given */
	bool has_locality, has_nics_ip, has_nics_subnet, has_databases, has_users, has_modules;
	bool wants_public, has_cidrs; /* of `access` */
	enum place_locality locality;
	const char *configuration; /* last path element */
	bool has_restore_point;
	const char *backup_ref;
	const char *availability_zone;
	const char *region;
	bool has_durability; /* ours */
	uint32_t durability; /* 0: async */
};

/* Body of POST /instances. ERR_INVALID "Validation error: instance['name'] ..." with the remedy. */
[[nodiscard]] bool trove_read_create(const char *body, size_t len, struct arena *a,
				     struct trove_create *ret, struct err *e);

struct trove_update {
	const char *name; /* NULL: not given */
	bool detach;      /* key replica_of or slave_of is there */
	bool has_configuration, has_datastore_version, has_access;
	const char *configuration;     /* NULL: null, detach what is attached */
	const char *datastore_version; /* name or id */
	bool wants_public, has_cidrs;  /* of `access` */
};
enum trove_update_verb { TROVE_PUT, TROVE_PATCH };
[[nodiscard]] bool trove_read_update(const char *body, size_t len, enum trove_update_verb verb,
				     struct arena *a, struct trove_update *ret, struct err *e);

/* X(NAME, "key in the body") */
#define TROVE_ACTIONS(X)                                                                           \
	X(RESTART, "restart")                                                                      \
	X(RESIZE, "resize")                                                                        \
	X(PROMOTE, "promote_to_replica_source")                                                    \
	X(EJECT, "eject_replica_source")                                                           \
	X(RESET_STATUS, "reset_status")                                                            \
	X(START, "start") /* ours: {"start": {"accept_data_loss": true}} */                        \
	X(ADOPT, "adopt") /* ours: the hosts' word over the store's */                             \
	X(CANCEL, "cancel") /* ours: takes back what runs and has not committed */                 \
	X(ATTACH, "attach") /* ours: {"attach": {"replica_of": ID}}, of one that was ejected */    \
	X(DURABILITY, "durability") /* ours: {"durability": "async"}, or "bounded(K)" */           \
	X(DELETE_GROUP, "delete_group") /* ours */
#define TROVE_ACTION_ENUM(name, key) TROVE_ACTION_##name,
enum trove_action_kind { TROVE_ACTIONS(TROVE_ACTION_ENUM) TROVE_ACTION_COUNT };
#undef TROVE_ACTION_ENUM

struct trove_action {
	enum trove_action_kind kind;
	bool accept_data_loss;  /* START, EJECT */
	struct id replica_of;   /* ATTACH */
	uint32_t durability;    /* DURABILITY; 0: async */
	int64_t volume_gb;      /* RESIZE of the volume; 0: not asked for */
	const char *flavor_ref; /* RESIZE to a flavor, in the arena; NULL: not asked for */
};
[[nodiscard]] bool trove_read_action(const char *body, size_t len, struct arena *a,
				     struct trove_action *ret, struct err *e);

/*
 * Shared by the readers. The object under `key` of a body that must be one object; *root is to be
 * freed with json_decref() whatever happens.
 */
[[nodiscard]] bool trove_read_root(const char *body, size_t len, const char *key, json_t **root,
				   const json_t **ret, struct err *e);
[[nodiscard]] bool trove_read_name(const json_t *v, const char **ret, struct err *e);
[[nodiscard]] bool trove_read_flavor_ref(const json_t *v, const char *where, struct arena *a,
					 const char **ret, struct err *e);
/* {"size": 2} or {"size": "2"} */
[[nodiscard]] bool trove_read_volume(const json_t *v, const char *where, int64_t *ret_gb,
				     struct err *e);
[[nodiscard]] bool trove_read_access(const json_t *v, bool *ret_public, bool *ret_cidrs,
				     struct err *e);
[[nodiscard]] bool trove_read_uuid(const json_t *v, const char *where, struct id *ret,
				   struct err *e);
/* "async" (0) or "bounded(K)". */
[[nodiscard]] bool trove_read_durability(const json_t *v, const char *where, uint32_t *ret,
					 struct err *e);
/* The reverse. Returns buf. */
enum { TROVE_DURABILITY_BYTES = 24 };
const char *trove_durability_text(uint32_t k, char *buf, size_t size);
/* Behind the last slash; the whole string when there is none. */
const char *trove_last_element(const char *ref);

/* Where links point: scheme and host the client used, and the project of the URL. */
struct trove_links {
	const char *scheme, *host, *project;
	/* made by trove_links_init(): JSON, opened and not closed */
	const char *self, *bookmark; /* "\"http://HOST/v1.0/PROJECT/", "\"http://HOST/" */
	size_t self_len, bookmark_len;
};
/* Strings are borrowed; the prefixes live in *a. Bytes that have no place in a URL are encoded. */
void trove_links_init(struct trove_links *l, const char *scheme, const char *host,
		      const char *project, struct arena *a);
/* "links": [self, bookmark] of /KIND/ID. */
void trove_write_links(struct jw *w, const struct trove_links *l, const char *kind, const char *id);
/*
 * "links": [next]: the same call with this limit and marker. extra: more of the query, from '&'
 * on, fit for a URL.
 */
void trove_write_next(struct jw *w, const struct trove_links *l, const char *what, int64_t limit,
		      struct id marker, const char *extra);

/* One instance with all that its JSON is made of. Borrowed for the call. */
struct trove_instance {
	const struct group *g;
	const struct member *m;
	const struct observation *o; /* NULL: not heard */
	const struct observation *source_o;
	bool silent;
	bool admin;
	int64_t wall_ms; /* now */
	const char *region;
	const char *active_status;    /* "ACTIVE" or "HEALTHY" */
	const struct id *replica_ids; /* the ids that one create made; NULL: not shown */
	size_t nreplica_ids;
	struct trove_repeat *repeat; /* of the list it stands on; NULL: it stands alone */
};

/*
 * What neighbours on a list have in common, flavor and datastore with their links, is written for
 * the first and copied for the next. Zero at the list's beginning; of one request.
 */
struct trove_repeat {
	const struct member *like; /* whose it is; NULL: nothing yet */
	size_t at, len;            /* where it stands in the answer */
};

/*
 * list: the item of GET /instances; detail adds what GET /instances/detail and create show; show
 * adds volume.used as GET one does. Top-level keys of our own come last.
 */
enum trove_depth { TROVE_LIST, TROVE_DETAIL, TROVE_SHOW };
void trove_write_instance(struct jw *w, const char *key, const struct trove_instance *i,
			  enum trove_depth depth, const struct trove_links *l);

/* "7.0" of "7.0.15": how a datastore version is named. buf is always terminated. */
void trove_version_name(const char *version, char *buf, size_t size);

/* {"badRequest": {"code": 400, "message": "..."}} */
void trove_write_fault(const struct err *e, struct str *out);
/* The same for a status and a text found without a struct err. */
void trove_write_status_fault(int status, const char *text, struct str *out);
