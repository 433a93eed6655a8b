/*
 * A hash table of pointers: open addressing, one array. The keys are in the items; the caller
 * brings the hash and says what matches. The same item may stand under several keys.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"

struct table_slot {
	uint64_t hash;
	void *item; /* NULL: empty */
};

struct table {
	struct table_slot *slots;
	size_t cap, n; /* cap is 0 or a power of two */
};

typedef bool table_match_fn(const void *item, const void *key);

/* The first item with this hash for which match(item, key) holds, or NULL. */
void *table_find(const struct table *t, uint64_t hash, table_match_fn *match, const void *key);

/* item must not be NULL; it is not looked at. */
void table_add(struct table *t, uint64_t hash, void *item);

/* Takes out one standing of this item under this hash; there must be one. */
void table_remove(struct table *t, uint64_t hash, const void *item);

/* Walks all: start with *cursor 0; NULL at the end. The table must not change meanwhile. */
void *table_next(const struct table *t, size_t *cursor);

void table_done(struct table *t);

/*
 * Hashes of keys, mixed with a number of this process that nobody outside can guess: names are
 * chosen by customers.
 */
uint64_t table_hash_text(const char *s);
uint64_t table_hash_id(struct id id);
