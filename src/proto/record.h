/*
 * What the store keeps: JSON documents by key.
 *
 *	installation            {"format":1,"id":..,"created":..}
 *	group/<id>              the group with its members, history, operation and secrets
 *	host/<name>             a host that has reported: id, pool, datastores
 *	event/<%020u>           an event; the number grows, retention deletes from the front
 *
 * A record of a newer format is refused (ERR_CONFLICT "the store was written by a newer tanist"), a
 * damaged one with the field and what is allowed there ("members[1]: 'port' is 0, ..."); the caller
 * puts the key in front. Nothing is guessed. No message holds a secret.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "core/group.h"
#include "core/model.h"
#include "core/pool.h"
#include "proto/json.h"

enum { RECORD_FORMAT = 1 };

struct installation {
	struct id id;
	int64_t created_wall_ms;
};

enum { HOST_DATASTORES_MAX = 16 };

struct host_datastore {
	char datastore[16]; /* "redis", "valkey" */
	char version[16];   /* "7.0.15" */
	char binary[200];   /* path on the host */
};

/* What a host's agent says of the host itself; changes rarely. */
struct host {
	struct id id; /* the agent's own, from its state folder */
	char name[64];
	char pool_addresses[64], pool_ports[16];
	struct pool pool;
	int64_t memory_bytes, disk_bytes;
	struct host_datastore datastores[HOST_DATASTORES_MAX];
	size_t ndatastores;
};

struct event_record {
	uint64_t seq;
	int64_t wall_ms;
	struct id group;
	const char *project;
	const char *group_name;
	struct group_event event;
};

void record_write_installation(const struct installation *i, struct str *out);
[[nodiscard]] bool record_read_installation(const char *json, size_t len, struct installation *ret,
					    struct err *e);

/* revision is not part of the document: it is the store's. */
void record_write_group(const struct group *g, struct str *out);

/* Strings and arrays live in *a. history has room for one more entry. */
[[nodiscard]] bool record_read_group(const char *json, size_t len, struct arena *a,
				     struct group *ret, struct err *e);

/*
 * A copy of g in one malloc block (strings, members, history with room for one more): what the
 * registry keeps. Free with free(). Never NULL.
 */
struct group *record_pack_group(const struct group *g);

/* A copy whose members and history may be changed, for group_step(); strings stay borrowed from g. */
struct group *record_scratch_group(const struct group *g, struct arena *a);

void record_write_host(const struct host *h, struct str *out);
[[nodiscard]] bool record_read_host(const char *json, size_t len, struct host *ret, struct err *e);

/*
 * The host as a member `key` of a larger document (an agent's report), and back from there.
 * Addresses, ports and datastores are checked; pool is made from its texts.
 */
void record_put_host(struct jw *w, const char *key, const struct host *h);
[[nodiscard]] bool record_get_host(const json_t *o, struct host *ret, struct err *e);

void record_write_event(const struct event_record *ev, struct str *out);
/* Strings live in *a. */
[[nodiscard]] bool record_read_event(const char *json, size_t len, struct arena *a,
				     struct event_record *ret, struct err *e);

/* Keys. buf of RECORD_KEY_BYTES. */
enum { RECORD_KEY_BYTES = 96 };
#define RECORD_KEY_INSTALLATION "installation"
void record_key_group(struct id id, char *buf);
void record_key_host(const char *name, char *buf);
void record_key_event(uint64_t seq, char *buf);
