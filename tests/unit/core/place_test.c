/*
 * Where an instance goes: who is fit, who is best, and what a refusal says.
 */
#include "core/place.h"

#include "../test.h"

#define GB(n) ((int64_t)(n) << 30)
#define MB(n) ((int64_t)(n) << 20)

enum { HOSTS_MAX = 6 };

/* A host that has everything; a row of a table overrides what it is about. */
#pragma GCC diagnostic ignored "-Woverride-init"
#define HOST(...)                                                                                  \
	{                                                                                          \
		.domain = "", .has_version = true, .free_addresses = 10, .memory_free = GB(8),     \
		.disk_free = GB(100), __VA_ARGS__                                                  \
	}

static const struct place_wish small = { .memory = GB(1), .disk = GB(2) };

struct row {
	const char *what;
	struct place_host hosts[HOSTS_MAX]; /* up to the first without a name */
	enum place_locality locality;
	const char *want; /* the host; NULL: refused .. */
	const char *why;  /* .. with these words in the message */
};

/* clang-format off */
static const struct row rows[] = {
	{ "no host at all", {}, .why = "No host has joined yet" },
	{ "the one there is", { HOST(.name = "a") }, .want = "a" },
	{ "the one with more memory to spare", { HOST(.name = "a"), HOST(.name = "b", .memory_free = GB(9)) }, .want = "b" },
	{ "of equal ones the one with fewer instances", { HOST(.name = "a", .instances = 2), HOST(.name = "b", .instances = 1) }, .want = "b" },
	{ "equal ones by name", { HOST(.name = "b"), HOST(.name = "a") }, .want = "a" },
	{ "exactly enough is enough", { HOST(.name = "a", .memory_free = GB(1), .disk_free = GB(2), .free_addresses = 1) }, .want = "a" },

	/* hurdles */
	{ "no version", { HOST(.name = "a", .has_version = false), HOST(.name = "b", .has_version = false) },
	  .why = "of 2 hosts 2 do not have this version." },
	{ "drained", { HOST(.name = "a", .draining = true), HOST(.name = "b", .memory_free = GB(1)) }, .want = "b" },
	{ "silent", { HOST(.name = "a", .silent = true) }, .why = "of 1 host 1 is not heard at present." },
	{ "no address", { HOST(.name = "a", .free_addresses = 0) }, .why = "1 has no free address." },
	{ "too little memory", { HOST(.name = "a", .memory_free = MB(1023)), HOST(.name = "b", .memory_free = MB(512)) },
	  .why = "2 have too little memory (1023 MB free at most)." },
	{ "overbooked", { HOST(.name = "a", .memory_free = -GB(3)) }, .why = "1 has too little memory (0 MB free at most)." },
	{ "too little disk", { HOST(.name = "a", .disk_free = GB(2) - 1) }, .why = "1 has too little disk (1 GB free at most)." },
	{ "each host counts once, at its first hurdle",
	  { HOST(.name = "a", .has_version = false, .silent = true), HOST(.name = "b", .draining = true), HOST(.name = "c", .silent = true),
	    HOST(.name = "d", .free_addresses = 0, .disk_free = 0), HOST(.name = "e", .memory_free = 0), HOST(.name = "f", .disk_free = 0) },
	  .why = "No host has room for redis 7.0.15 with 1024 MB of memory and 2 GB of disk: of 6 hosts 1 does not have this version, "
		 "1 is being drained, 1 is not heard at present, 1 has no free address, 1 has too little memory (0 MB free at most), "
		 "1 has too little disk (0 GB free at most)." },

	/* spread */
	{ "never beside its source while another has room", { HOST(.name = "a", .members = 1, .memory_free = GB(99)), HOST(.name = "b", .memory_free = GB(1)) },
	  .want = "b" },
	{ "beside it rather than nowhere", { HOST(.name = "a", .members = 1), HOST(.name = "b", .memory_free = 0) }, .want = "a" },
	{ "with the fewest members", { HOST(.name = "a", .members = 2), HOST(.name = "b", .members = 1), HOST(.name = "c", .members = 2) }, .want = "b" },
	{ "another failure domain", { HOST(.name = "a", .domain = "r1", .members = 1), HOST(.name = "b", .domain = "r1", .memory_free = GB(99)),
				      HOST(.name = "c", .domain = "r2") }, .want = "c" },
	{ "the domain with the fewest members", { HOST(.name = "a", .domain = "r1", .members = 1), HOST(.name = "b", .domain = "r1", .members = 1),
						  HOST(.name = "c", .domain = "r2", .members = 1), HOST(.name = "d", .domain = "r1"),
						  HOST(.name = "e", .domain = "r2") }, .want = "e" },
	{ "a host without the label is a domain by itself", { HOST(.name = "a", .members = 1), HOST(.name = "b", .domain = "r1", .memory_free = GB(1)),
							      HOST(.name = "c") }, .want = "c" },
	{ "a host of its own goes before a domain of its own", { HOST(.name = "a", .domain = "r1", .members = 1), HOST(.name = "b", .domain = "r1"),
								 HOST(.name = "c", .domain = "r2", .members = 1) }, .want = "b" },

	/* locality */
	{ "affinity: with the others", { HOST(.name = "a", .members = 1), HOST(.name = "b", .memory_free = GB(99)) }, PLACE_AFFINITY, .want = "a" },
	{ "affinity: the first one anywhere", { HOST(.name = "a"), HOST(.name = "b", .memory_free = GB(99)) }, PLACE_AFFINITY, .want = "b" },
	{ "affinity: refused where the others have no room", { HOST(.name = "a", .members = 1, .memory_free = 0), HOST(.name = "b") }, PLACE_AFFINITY,
	  .why = "of 2 hosts 1 has none of its group, as affinity asks, 1 has too little memory (0 MB free at most)." },
	{ "anti-affinity: apart", { HOST(.name = "a", .members = 1), HOST(.name = "b") }, PLACE_ANTI_AFFINITY, .want = "b" },
	{ "anti-affinity: refused rather than together", { HOST(.name = "a", .members = 1), HOST(.name = "b", .members = 1) }, PLACE_ANTI_AFFINITY,
	  .why = "2 have one of its group, against anti-affinity." },
};
/* clang-format on */

static void everybody_finds_their_place(void **)
{
	for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
		const struct row *row = &rows[r];
		struct place_wish w = small;
		struct place_shortage s;
		struct err e = {};
		size_t n = 0;

		printf("# %s\n", row->what);
		while (n < HOSTS_MAX && row->hosts[n].name != NULL) {
			n++;
		}
		w.locality = row->locality;
		size_t at = place_pick(row->hosts, n, &w, &s);
		if (row->want != NULL) {
			assert_int_not_equal(at, SIZE_MAX);
			assert_string_equal(row->hosts[at].name, row->want);
			continue;
		}
		assert_int_equal(at, SIZE_MAX);
		assert_false(place_refuse(&s, &w, "redis 7.0.15", &e));
		assert_int_equal(e.code, ERR_UNPROCESSABLE);
		printf("#   %s\n", e.msg);
		assert_non_null(strstr(e.msg, row->why));
	}
}

/* Members of one group put one after another: as far apart as can be. */
static void a_group_spreads_over_hosts_and_domains(void **)
{
	struct place_host hosts[] = {
		HOST(.name = "a1", .domain = "a"), HOST(.name = "a2", .domain = "a"),
		HOST(.name = "b1", .domain = "b"), HOST(.name = "b2", .domain = "b"),
		HOST(.name = "c1", .domain = "c"),
	};
	static const char *const want[] = { "a1", "b1", "c1", "a2", "b2", "c1" };

	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		struct place_shortage s;
		size_t at = place_pick(hosts, ARRAY_LEN(hosts), &small, &s);

		assert_int_not_equal(at, SIZE_MAX);
		assert_string_equal(hosts[at].name, want[i]);
		hosts[at].members++;
	}
}

static void localities_have_troves_names(void **)
{
	enum place_locality l;

	assert_true(place_locality_parse("affinity", &l));
	assert_int_equal(l, PLACE_AFFINITY);
	assert_true(place_locality_parse("anti-affinity", &l));
	assert_int_equal(l, PLACE_ANTI_AFFINITY);
	assert_true(place_locality_parse("", &l));
	assert_int_equal(l, PLACE_ANYWHERE);
	assert_false(place_locality_parse("soft-affinity", &l));
	assert_string_equal(place_locality_name(PLACE_ANTI_AFFINITY), "anti-affinity");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everybody_finds_their_place),
		cmocka_unit_test(a_group_spreads_over_hosts_and_domains),
		cmocka_unit_test(localities_have_troves_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
