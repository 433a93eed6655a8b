/*
 * Many deadlines, one timer: a heap, so that ten thousand things without a deadline cost nothing
 * and the nearest one is always at hand. A deadline is part of what it wakes.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "io/loop.h"

struct deadline {
	int64_t at_ms; /* a point on clock_ms() */
	size_t place;  /* in the heap, from 1; 0: not set */
};

typedef void deadline_fn(void *arg, struct deadline *d);

struct deadlines {
	struct deadline **heap;
	size_t n, cap;
	struct timer *timer;
	deadline_fn *fn;
	void *arg;
};

/* fn(arg, d) runs once per setting, when its moment has come; it may set and clear deadlines. */
void deadlines_init(struct deadlines *ds, struct loop *l, deadline_fn *fn, void *arg);
void deadlines_done(struct deadlines *ds);

/* Replaces the earlier setting. *d stays where it is in memory until it fires or is cleared. */
void deadline_set(struct deadlines *ds, struct deadline *d, int64_t at_ms);
void deadline_clear(struct deadlines *ds, struct deadline *d); /* not set is fine */
