#include "../test.h"

#include "server/deadlines.h"
#include "server/table.h"

#include "base/clock.h"

struct thing {
	int key;
	bool in;
};

static bool has_key(const void *item, const void *key)
{
	return ((const struct thing *)item)->key == *(const int *)key;
}

/* Few hashes for many things, so that every search walks over others. */
static uint64_t poor_hash(int key)
{
	return (uint64_t)(key % 7);
}

static void find_exactly_those_in(const struct table *t, const struct thing *things, int n)
{
	size_t in = 0, walked = 0, cursor = 0;

	for (int i = 0; i < n; i++) {
		const struct thing *found = table_find(t, poor_hash(i), has_key, &i);

		assert_ptr_equal(found, things[i].in ? &things[i] : NULL);
		in += things[i].in;
	}
	while (table_next(t, &cursor) != NULL) {
		walked++;
	}
	assert_int_equal(t->n, in);
	assert_int_equal(walked, in);
}

/* What was put in and not taken out is found, whatever the order and however hashes collide. */
static void a_table_holds_what_was_put_in(void **)
{
	struct thing things[200];
	struct table t = {};

	srandom(1);
	for (int i = 0; i < 200; i++) {
		things[i] = (struct thing){ .key = i };
	}
	for (int round = 0; round < 4000; round++) {
		struct thing *th = &things[random() % 200];

		if (th->in) {
			table_remove(&t, poor_hash(th->key), th);
		} else {
			table_add(&t, poor_hash(th->key), th);
		}
		th->in = !th->in;
		if (round % 100 == 0) {
			find_exactly_those_in(&t, things, 200);
		}
	}
	find_exactly_those_in(&t, things, 200);
	table_done(&t);
}

struct alarm {
	struct deadline d;
	int order;
};

struct alarms {
	struct loop *loop;
	struct alarm a[100];
	int64_t last_ms;
	int fired, wanted;
};

static void fired(void *arg, struct deadline *d)
{
	struct alarms *as = arg;

	assert_int_equal(d->place, 0);
	assert_true(d->at_ms >= as->last_ms);
	assert_true(clock_ms() >= d->at_ms);
	as->last_ms = d->at_ms;
	if (++as->fired == as->wanted) {
		loop_stop(as->loop);
	}
}

/* Deadlines fire in their order, once each; those that were cleared or moved do not fire early. */
static void deadlines_fire_in_order(void **)
{
	static struct alarms as;
	struct deadlines ds;
	int64_t now = clock_ms();

	as = (struct alarms){ .loop = loop_new(), .wanted = 90 };
	deadlines_init(&ds, as.loop, fired, &as);
	srandom(2);
	for (int i = 0; i < 100; i++) {
		deadline_set(&ds, &as.a[i].d, now + random() % 40);
	}
	for (int i = 0; i < 50; i++) {
		deadline_set(&ds, &as.a[i].d, now + 20 + random() % 40);
	}
	for (int i = 0; i < 100; i += 10) {
		deadline_clear(&ds, &as.a[i].d);
		deadline_clear(&ds, &as.a[i].d);
	}
	loop_run(as.loop);
	assert_int_equal(ds.n, 0);
	assert_false(timer_is_set(ds.timer));
	deadlines_done(&ds);
	loop_free(as.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_holds_what_was_put_in),
		cmocka_unit_test(deadlines_fire_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
