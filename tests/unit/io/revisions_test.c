/* Keys and revisions against a plain list, with many collisions and removals. */
#include "../test.h"

#include "base/str.h"
#include "io/revisions.h"

enum { KEYS = 300, STEPS = 20000 };

static void as_a_list_would(void **)
{
	struct revisions r = {};
	uint64_t want[KEYS] = {}, there = 0;
	unsigned seed = 1;

	revisions_drop(&r, "none");
	assert_null(revisions_find(&r, "none"));
	for (uint64_t step = 1; step <= STEPS; step++) {
		char key[20];
		unsigned k = (seed = seed * 1664525 + 1013904223) >> 8;
		bool drops = (k >> 16 & 1) != 0;

		k %= KEYS;
		snprintf(key, sizeof key, "group/%u", k);
		there += (want[k] == 0 && !drops) - (want[k] != 0 && drops);
		want[k] = drops ? 0 : step;
		if (drops) {
			revisions_drop(&r, key);
		} else {
			assert_int_equal(revisions_put(&r, key, step)->number, step);
		}
		assert_int_equal(r.n, there);
		for (unsigned i = 0; step % 100 == 0 && i < KEYS; i++) {
			snprintf(key, sizeof key, "group/%u", i);
			const struct revision *found = revisions_find(&r, key);

			assert_int_equal(found == NULL ? 0 : found->number, want[i]);
		}
	}
	revisions_done(&r);
	assert_int_equal(r.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_a_list_would),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
