/*
 * The texts of etcd's JSON gateway: keys and values are base64, numbers of 64 bits are strings,
 * fields that are zero are left out. Facts: etcd's api/etcdserverpb/rpc.proto.
 */
#pragma once

#include "base/arena.h"
#include "proto/json.h"

/* ---- writing ---- */

/* "name": base64 of head and tail, one behind the other. name NULL: an array's item. */
void etcd_write_bytes(struct jw *w, const char *name, const char *head, const void *tail,
		      size_t len);
/* "name": "value" */
void etcd_write_number(struct jw *w, const char *name, uint64_t value);

enum etcd_target { ETCD_CREATED, ETCD_MODIFIED }; /* revision of a key; 0: there is no such key */
enum etcd_result { ETCD_IS, ETCD_IS_NOT };

/* Into the array "compare". The key is prefix and key, one behind the other, here and below. */
void etcd_write_compare(struct jw *w, const char *prefix, const char *key, enum etcd_target target,
			enum etcd_result result, uint64_t revision);

/* Into the arrays "success" and "failure". */
void etcd_write_put(struct jw *w, const char *prefix, const char *key, const void *value,
		    size_t len, const char *lease); /* lease "": none */
/* The key as it is, with its lease, under a new revision. */
void etcd_write_put_anew(struct jw *w, const char *prefix, const char *key);
void etcd_write_delete(struct jw *w, const char *prefix, const char *key);
enum etcd_wanted { ETCD_ALL, ETCD_NO_VALUE };
void etcd_write_get(struct jw *w, const char *prefix, const char *key, enum etcd_wanted wanted);
/* Keys from `prefix from` on that begin with `prefix begin`. revision 0: the newest. */
struct etcd_span {
	const char *prefix, *begin;
	const char *after; /* the last key that is known, without prefix; NULL: from the first */
	uint64_t revision;
	int64_t limit;
};
void etcd_write_get_span(struct jw *w, const struct etcd_span *span);
/* "key" and "range_end" of all keys that begin with prefix and begin. */
void etcd_write_span(struct jw *w, const char *prefix, const char *begin);

/* ---- reading ---- */

/* A number member; missing or no number: 0. */
uint64_t etcd_number(const json_t *o, const char *name);
uint64_t etcd_revision(const json_t *answer);             /* of its header */
const char *etcd_word(const json_t *o, const char *name); /* "": missing or no string */

struct etcd_kv {
	const char *key; /* in the arena */
	const char *value;
	size_t len;
	uint64_t create_revision, mod_revision;
	const char *lease; /* borrowed from the JSON; "": none */
};

/* false: that is none of ours (not base64, a NUL in the key). */
[[nodiscard]] bool etcd_read_kv(const json_t *kv, struct arena *a, struct etcd_kv *ret);
/* Of the i-th operation of a transaction: its "kvs", NULL: none. */
const json_t *etcd_got(const json_t *answer, size_t i);
