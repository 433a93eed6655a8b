#include "server/table.h"

#include <assert.h>
#include <stdlib.h>

#include "server/memory.h"

enum { FIRST_CAP = 16 };

static uint64_t process_seed(void)
{
	static uint64_t seed;

	while (seed == 0) {
		random_bytes(&seed, sizeof seed);
	}
	return seed;
}

/* Spreads every bit of x over the low ones, which pick the slot. */
static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdULL;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ULL;
	return x ^ x >> 33;
}

uint64_t table_hash_text(const char *s)
{
	uint64_t h = process_seed();

	for (; *s != '\0'; s++) {
		h = (h ^ (unsigned char)*s) * 0x100000001b3ULL;
	}
	return mix(h);
}

uint64_t table_hash_id(struct id id)
{
	uint64_t half[2];

	static_assert(sizeof half == sizeof id.b, "an id is two words");
	__builtin_memcpy(half, id.b, sizeof half);
	return mix(mix(half[0] ^ process_seed()) + half[1]);
}

void *table_find(const struct table *t, uint64_t hash, table_match_fn *match, const void *key)
{
	if (t->cap == 0) {
		return NULL;
	}
	for (size_t i = hash & (t->cap - 1); t->slots[i].item != NULL; i = (i + 1) & (t->cap - 1)) {
		if (t->slots[i].hash == hash && match(t->slots[i].item, key)) {
			return t->slots[i].item;
		}
	}
	return NULL;
}

static void put(struct table *t, uint64_t hash, void *item)
{
	size_t i = hash & (t->cap - 1);

	while (t->slots[i].item != NULL) {
		i = (i + 1) & (t->cap - 1);
	}
	t->slots[i] = (struct table_slot){ .hash = hash, .item = item };
}

/* At most three quarters full, so that a search ends soon. */
static void grow(struct table *t)
{
	struct table old = *t;

	t->cap = old.cap == 0 ? FIRST_CAP : old.cap * 2;
	t->slots = memory_alloc(t->cap, sizeof *t->slots);
	for (size_t i = 0; i < old.cap; i++) {
		if (old.slots[i].item != NULL) {
			put(t, old.slots[i].hash, old.slots[i].item);
		}
	}
	free(old.slots);
}

void table_add(struct table *t, uint64_t hash, void *item)
{
	assert(item != NULL);
	if (4 * (t->n + 1) > 3 * t->cap) {
		grow(t);
	}
	put(t, hash, item);
	t->n++;
}

/*
 * Those behind the hole move up when their search passes over it, so that no mark of a removed
 * item has to stay and a table that lives long stays as quick as a new one.
 */
static void close_hole(struct table *t, size_t hole)
{
	size_t mask = t->cap - 1;

	for (size_t i = (hole + 1) & mask; t->slots[i].item != NULL; i = (i + 1) & mask) {
		size_t home = t->slots[i].hash & mask;

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			t->slots[hole] = t->slots[i];
			hole = i;
		}
	}
	t->slots[hole] = (struct table_slot){};
}

void table_remove(struct table *t, uint64_t hash, const void *item)
{
	assert(t->cap != 0);
	size_t i = hash & (t->cap - 1);

	while (t->slots[i].hash != hash || t->slots[i].item != item) {
		assert(t->slots[i].item != NULL);
		i = (i + 1) & (t->cap - 1);
	}
	close_hole(t, i);
	t->n--;
}

void *table_next(const struct table *t, size_t *cursor)
{
	while (*cursor < t->cap) {
		void *item = t->slots[(*cursor)++].item;

		if (item != NULL) {
			return item;
		}
	}
	return NULL;
}

void table_done(struct table *t)
{
	free(t->slots);
	*t = (struct table){};
}
