#include "server/deadlines.h"

#include <stdlib.h>

#include "base/clock.h"
#include "server/memory.h"

/* heap[0] is place 1: the parent of place p is p / 2. */
static void put(struct deadlines *ds, struct deadline *d, size_t place)
{
	ds->heap[place - 1] = d;
	d->place = place;
}

static int64_t at(const struct deadlines *ds, size_t place)
{
	return ds->heap[place - 1]->at_ms;
}

static void rise(struct deadlines *ds, struct deadline *d)
{
	size_t p = d->place;

	for (; p > 1 && at(ds, p / 2) > d->at_ms; p /= 2) {
		put(ds, ds->heap[p / 2 - 1], p);
	}
	put(ds, d, p);
}

static void sink(struct deadlines *ds, struct deadline *d)
{
	size_t p = d->place;

	for (;;) {
		size_t child = 2 * p;

		if (child < ds->n && at(ds, child + 1) < at(ds, child)) {
			child++;
		}
		if (child > ds->n || at(ds, child) >= d->at_ms) {
			break;
		}
		put(ds, ds->heap[child - 1], p);
		p = child;
	}
	put(ds, d, p);
}

static void aim_timer(struct deadlines *ds)
{
	if (ds->n == 0) {
		timer_stop(ds->timer);
		return;
	}
	timer_set_at(ds->timer, at(ds, 1));
}

static void take_out(struct deadlines *ds, struct deadline *d)
{
	struct deadline *last = ds->heap[ds->n - 1];
	size_t place = d->place;

	ds->n--;
	d->place = 0;
	if (last != d) {
		put(ds, last, place);
		rise(ds, last);
		sink(ds, last);
	}
}

static void on_timer(void *arg)
{
	struct deadlines *ds = arg;
	int64_t now = clock_ms();

	while (ds->n > 0 && at(ds, 1) <= now) {
		struct deadline *d = ds->heap[0];

		take_out(ds, d);
		ds->fn(ds->arg, d);
	}
	aim_timer(ds);
}

void deadlines_init(struct deadlines *ds, struct loop *l, deadline_fn *fn, void *arg)
{
	*ds = (struct deadlines){ .fn = fn, .arg = arg };
	ds->timer = timer_new(l, on_timer, ds);
}

void deadlines_done(struct deadlines *ds)
{
	timer_free(ds->timer);
	free(ds->heap);
	*ds = (struct deadlines){};
}

void deadline_set(struct deadlines *ds, struct deadline *d, int64_t at_ms)
{
	if (d->place != 0 && d->at_ms == at_ms) {
		return;
	}
	if (d->place == 0) {
		ds->heap = memory_grow(ds->heap, ds->n, &ds->cap, sizeof(struct deadline *));
		ds->n++;
		d->place = ds->n;
		ds->heap[ds->n - 1] = d;
	}
	d->at_ms = at_ms;
	rise(ds, d);
	sink(ds, d);
	aim_timer(ds);
}

void deadline_clear(struct deadlines *ds, struct deadline *d)
{
	if (d->place != 0) {
		take_out(ds, d);
		aim_timer(ds);
	}
}
