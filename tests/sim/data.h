/*
 * The data set of a server, for the simulation: a few keys that numbered writes go round. Write n
 * sets key n % DATA_KEYS to n; so the newest value of a key says which of its writes are there,
 * and data that lack a write may well have as many keys as data that have it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { DATA_KEYS = 16 };

struct data {
	uint32_t value[DATA_KEYS]; /* 0: no such key */
};

static inline void data_write(struct data *d, uint32_t n)
{
	d->value[n % DATA_KEYS] = n;
}

static inline int64_t data_keys(const struct data *d)
{
	int64_t n = 0;

	for (int k = 0; k < DATA_KEYS; k++) {
		n += d->value[k] != 0;
	}
	return n;
}

/* into has whatever either has. */
static inline void data_join(struct data *into, const struct data *d)
{
	for (int k = 0; k < DATA_KEYS; k++) {
		into->value[k] = into->value[k] > d->value[k] ? into->value[k] : d->value[k];
	}
}

/* into keeps what both have. */
static inline void data_meet(struct data *into, const struct data *d)
{
	for (int k = 0; k < DATA_KEYS; k++) {
		into->value[k] = into->value[k] < d->value[k] ? into->value[k] : d->value[k];
	}
}

/* The first key of which `less` lacks a write that `more` has; -1: none. */
static inline int data_lacks(const struct data *less, const struct data *more)
{
	for (int k = 0; k < DATA_KEYS; k++) {
		if (less->value[k] < more->value[k]) {
			return k;
		}
	}
	return -1;
}
