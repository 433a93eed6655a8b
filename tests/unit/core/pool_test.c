/*
 * Pools of addresses and ports, and the next free slot.
 */
#include "core/pool.h"

#include "../test.h"

static void pools_parse(void **)
{
	static const struct {
		const char *addresses, *ports;
		size_t slots; /* 0: refused */
	} rows[] = {
		{ "127.0.77.1-127.0.77.250", "6379", 250 },
		{ "127.0.0.1", "7000-7099", 100 },
		{ "127.0.77.1-127.0.77.2", "7000-7001", 4 },
		{ "127.0.0.0-127.0.255.255", "6379", POOL_SLOTS_MAX },
		{ "127.0.0.0-127.1.0.0", "6379", 0 },
		{ "0.0.0.1-255.255.255.255", "1-65535", 0 },
		{ "127.0.77.2-127.0.77.1", "6379", 0 },
		{ "127.0.77.1-", "6379", 0 },
		{ "-127.0.77.1", "6379", 0 },
		{ "127.0.77", "6379", 0 },
		{ "0.0.0.0", "6379", 0 },
		{ "localhost", "6379", 0 },
		{ "127.0.0.1-127.0.0.2-127.0.0.3", "6379", 0 },
		{ "", "6379", 0 },
		{ "127.0.0.1", "", 0 },
		{ "127.0.0.1", "0", 0 },
		{ "127.0.0.1", "65536", 0 },
		{ "127.0.0.1", "7001-7000", 0 },
		{ "127.0.0.1", "63 79", 0 },
		{ "127.0.0.1111111111111111111111111111111111111111111", "6379", 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct pool p = {};
		struct err e = {};
		bool ok = pool_parse(rows[i].addresses, rows[i].ports, &p, &e);

		printf("# %s ports %s\n", rows[i].addresses, rows[i].ports);
		assert_int_equal(ok, rows[i].slots != 0);
		assert_true(ok || e.msg[0] != '\0');
		if (ok) {
			assert_int_equal(pool_slots(&p), rows[i].slots);
		}
	}
}

/* Slot and endpoint are each other's inverse, and the first port is used up first. */
static void slots_lead_back(void **)
{
	struct pool p;
	struct err e;
	char text[16];

	assert_ok(pool_parse("127.0.77.254-127.0.78.1", "7000-7002", &p, &e), &e);
	for (size_t slot = 0; slot < pool_slots(&p); slot++) {
		assert_int_equal(pool_slot_of(&p, pool_slot(&p, slot)), slot);
	}
	endpoint_text(pool_slot(&p, 3), text);
	assert_string_equal(text, "127.0.78.1");
	assert_int_equal(pool_slot(&p, 3).port, 7000);
	assert_int_equal(pool_slot(&p, 4).port, 7001);
}

static void strangers_have_no_slot(void **)
{
	struct pool p;
	struct err e;
	struct endpoint ep;

	assert_ok(pool_parse("127.0.77.1-127.0.77.9", "6379", &p, &e), &e);
	assert_true(endpoint_parse("127.0.77.9", 6379, &ep));
	assert_int_equal(pool_slot_of(&p, ep), 8);
	assert_true(endpoint_parse("127.0.77.10", 6379, &ep));
	assert_true(pool_slot_of(&p, ep) == SIZE_MAX);
	assert_true(endpoint_parse("127.0.77.9", 6380, &ep));
	assert_true(pool_slot_of(&p, ep) == SIZE_MAX);
	assert_false(endpoint_parse("127.0.77.9", 0, &ep));
	assert_false(endpoint_parse("::1", 6379, &ep));
}

static void the_next_free_slot(void **)
{
	bool used[4] = { true, false, true, false };

	assert_int_equal(pool_free_slot(used, 4, 0), 1);
	assert_int_equal(pool_free_slot(used, 4, 2), 3);
	assert_int_equal(pool_free_slot(used, 4, 4), 1);
	used[3] = true;
	assert_int_equal(pool_free_slot(used, 4, 2), 1);
	used[1] = true;
	assert_true(pool_free_slot(used, 4, 0) == SIZE_MAX);
	assert_true(pool_free_slot(used, 0, 0) == SIZE_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pools_parse),
		cmocka_unit_test(slots_lead_back),
		cmocka_unit_test(strangers_have_no_slot),
		cmocka_unit_test(the_next_free_slot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
