/*
 * Which keys there are, and at which revision each is: what a follower of a store remembers of its
 * rows, to tell after a gap what differs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct revision {
	uint64_t hash, number;
	unsigned pass; /* of the last listing that had it */
	char key[];
};

struct revisions {
	struct revision **slots; /* open addressing, a power of two; NULL: free */
	size_t n, cap;
};

/* NULL: there is no such key. Valid until it is dropped. */
struct revision *revisions_find(const struct revisions *r, const char *key);
/* Adds it when it is new. */
struct revision *revisions_put(struct revisions *r, const char *key, uint64_t number);
void revisions_drop(struct revisions *r, const char *key); /* missing is fine */
void revisions_done(struct revisions *r);

uint64_t revisions_hash(const char *key);
