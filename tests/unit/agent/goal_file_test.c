/*
 * The goal on disk: whatever moment a write ended at, the newest goal that was saved is the one
 * that is loaded, never an older one and never none.
 */
#include "../test.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>

#include "agent/goal_file.h"
#include "base/str.h"
#include "io/file.h"
#include "proto/wire.h"

static char root[64];

struct fixture {
	struct arena arena;
	struct paths paths;
	struct id id;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct err e;

	assert_non_null(f);
	str_copy(root, sizeof root, "/tmp/tanist-goal-XXXXXX");
	assert_non_null(mkdtemp(root));
	f->id = id_new();
	f->paths = paths_of(root, root, f->id, &f->arena);
	assert_ok(dir_make(f->paths.dir, 0700, &e), &e);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct err e;

	assert_ok(dir_remove(root, &e), &e);
	arena_done(&f->arena);
	free(f);
	return 0;
}

/* The name makes goals of any size; the limit of memory tells apart what has the same numbers. */
static void write_goal(const struct fixture *f, uint64_t revision, const char *name,
		       uint64_t memory, struct str *out)
{
	struct goal g = {
		.instance = f->id,
		.group = f->id,
		.installation = f->id,
		.epoch = 1,
		.revision = revision,
		.role = GOAL_SOURCE,
		.upstream_host = "",
		.name = name,
		.project = "p",
		.address = "127.0.0.1",
		.port = 7000,
		.datastore = "redis",
		.version = "7.0.15",
		.settings.maxmemory_bytes = memory,
	};

	memset(g.secrets.agent.open, 'a', SECRET_LEN);
	memset(g.secrets.replication.open, 'r', SECRET_LEN);
	wire_write_goal(&g, out);
}

static void save(const struct fixture *f, uint64_t revision, const char *name, uint64_t memory)
{
	auto_str text = {};
	struct err e;

	write_goal(f, revision, name, memory, &text);
	assert_ok(goal_file_save(&f->paths, text.p, text.len, &e), &e);
}

static void settle(const struct fixture *f)
{
	struct err e;

	assert_ok(goal_file_settle(&f->paths, &e), &e);
}

/* "REVISION NAME MEMORY" of the goal that counts. */
static const char *loaded(const struct fixture *f)
{
	static char text[80];
	auto_arena a = {};
	struct goal g;
	struct err e;

	if (!goal_file_load(&f->paths, &a, &g, &e)) {
		return "none";
	}
	snprintf(text, sizeof text, "%llu %.20s %llu", (unsigned long long)g.revision, g.name,
		 (unsigned long long)g.settings.maxmemory_bytes);
	return text;
}

static void read_whole(const char *path, struct str *ret)
{
	struct err e;

	assert_ok(file_read(path, MIB(1), ret, &e), &e);
}

static void put(const char *path, const char *p, size_t len)
{
	struct err e;

	assert_ok(file_replace(path, p, len, 0600, &e), &e);
}

static bool json_has(const struct fixture *f, const char *words)
{
	auto_str text = {};

	read_whole(f->paths.goal, &text);
	return strstr(str_cstr(&text), words) != NULL;
}

static void a_first_goal_makes_the_slots_and_goal_json_follows(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	assert_string_equal(loaded(f), "none");
	save(f, 1, "one", 0);
	assert_string_equal(loaded(f), "1 one 0");
	assert_int_equal(stat(f->paths.goal_slots, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600); /* it holds secrets */
	assert_false(file_exists(f->paths.goal));
	settle(f);
	assert_true(json_has(f, "\"one\""));
	assert_string_equal(loaded(f), "1 one 0");
}

static void the_next_ones_are_written_in_place_and_goal_json_follows(void **state)
{
	struct fixture *f = *state;
	struct stat before, after;

	save(f, 1, "one", 0);
	settle(f);
	assert_int_equal(stat(f->paths.goal_slots, &before), 0);
	for (uint64_t revision = 2; revision < 9; revision++) {
		char want[20];

		save(f, revision, "next", 0);
		snprintf(want, sizeof want, "%d next 0", (int)revision);
		assert_string_equal(loaded(f), want);
		assert_true(json_has(f, "\"one\""));
	}
	assert_int_equal(stat(f->paths.goal_slots, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(before.st_size, after.st_size);
	settle(f);
	assert_true(json_has(f, "\"revision\":8,"));
	assert_string_equal(loaded(f), "8 next 0");
}

static void settled_files_are_not_written_again(void **state)
{
	struct fixture *f = *state;
	struct stat json, slots, st;

	save(f, 1, "one", 0);
	settle(f);
	save(f, 2, "two", 0);
	settle(f);
	assert_int_equal(stat(f->paths.goal, &json), 0);
	assert_int_equal(stat(f->paths.goal_slots, &slots), 0);
	settle(f);
	assert_int_equal(stat(f->paths.goal, &st), 0);
	assert_int_equal(st.st_ino, json.st_ino);
	assert_int_equal(stat(f->paths.goal_slots, &st), 0);
	assert_int_equal(st.st_ino, slots.st_ino);
}

/* Two goals came before goal.json was brought up; the write of the second was cut at each byte. */
static void a_torn_write_leaves_the_goal_before_it(void **state)
{
	struct fixture *f = *state;
	auto_str before = {};
	auto_str after = {};
	auto_str torn = {};
	size_t olds = 0, news = 0;

	save(f, 1, "one", 0);
	settle(f);
	save(f, 2, "two", 0);
	read_whole(f->paths.goal_slots, &before);
	save(f, 3, "a longer one", 3);
	read_whole(f->paths.goal_slots, &after);
	assert_int_equal(before.len, after.len);
	for (size_t cut = 0; cut <= before.len; cut++) {
		if (cut > 0 && before.p[cut - 1] == after.p[cut - 1]) {
			continue; /* as the cut before */
		}
		/* disks write sectors in any order: the first bytes are there, or the last ones */
		for (int last = 0; last < 2; last++) {
			str_clear(&torn);
			str_append_mem(&torn, (last ? before : after).p, cut);
			str_append_mem(&torn, (last ? after : before).p + cut, before.len - cut);
			bool whole = memcmp(torn.p, after.p, after.len) == 0;
			int fd = open(f->paths.goal_slots, O_WRONLY);
			assert_int_equal(pwrite(fd, torn.p, torn.len, 0), torn.len);
			close(fd);
			assert_string_equal(loaded(f), whole ? "3 a longer one 3" : "2 two 0");
			olds += !whole;
			news += whole;
		}
	}
	assert_true(olds > 50 && news > 0);
}

/* A goal after a torn one takes the torn one's place, not that of the one that counts. */
static void what_counts_is_not_overwritten(void **state)
{
	struct fixture *f = *state;
	auto_str was = {};
	auto_str is = {};

	save(f, 1, "one", 0);
	settle(f);
	save(f, 2, "two", 0);
	save(f, 3, "three", 0);
	read_whole(f->paths.goal_slots, &was);
	char *two = memmem(was.p, was.len, "\"two\"", 5);
	assert_non_null(two);
	two[1] = 'T';
	put(f->paths.goal_slots, was.p, was.len);
	assert_string_equal(loaded(f), "3 three 0");
	save(f, 4, "four", 0);
	read_whole(f->paths.goal_slots, &is);
	assert_non_null(memmem(is.p, is.len, "\"three\"", 7));
	assert_null(memmem(is.p, is.len, "\"Two\"", 5));
	assert_string_equal(loaded(f), "4 four 0");
}

static void the_higher_goal_counts_wherever_it_is(void **state)
{
	enum { NONE, DAMAGED, ONLY_TORN };
	static const struct {
		const char *says;
		int json; /* revision, or nothing of use */
		int slot;
		const char *counts;
	} cases[] = {
		{ "an agent of before knew no slots", 5, NONE, "5 json 1" },
		{ "it has ended before goal.json was brought up", 5, 6, "6 slot 2" },
		{ "an agent of before ran in between", 8, 6, "8 json 1" },
		{ "other settings at the same numbers are in the slot first", 5, 5, "5 slot 2" },
		{ "goal.json was removed by hand", NONE, 6, "6 slot 2" },
		{ "goal.json was spoilt by hand", DAMAGED, 6, "6 slot 2" },
		{ "the slots were spoilt by hand", 5, DAMAGED, "5 json 1" },
		{ "no slot is whole", 5, ONLY_TORN, "5 json 1" },
		{ "nothing is left", NONE, NONE, "none" },
		{ "nothing is left that is whole", DAMAGED, DAMAGED, "none" },
	};
	enum { REVISION_MIN = 5 };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_str text = {};

		print_message("# %s\n", cases[i].says);
		unlink(f->paths.goal);
		unlink(f->paths.goal_slots);
		if (cases[i].slot >= REVISION_MIN) {
			save(f, 1, "base", 0);
			settle(f);
			save(f, (uint64_t)cases[i].slot, "slot", 2);
		} else if (cases[i].slot == DAMAGED) {
			put(f->paths.goal_slots, "TANGOAL1", 8);
		} else if (cases[i].slot == ONLY_TORN) {
			char zeros[2 * 8192] = "TANGOAL1";
			put(f->paths.goal_slots, zeros, sizeof zeros);
		}
		unlink(f->paths.goal);
		if (cases[i].json >= REVISION_MIN) {
			write_goal(f, (uint64_t)cases[i].json, "json", 1, &text);
			put(f->paths.goal, text.p, text.len);
		} else if (cases[i].json == DAMAGED) {
			put(f->paths.goal, "{\"wire\":1", 9);
		}
		assert_string_equal(loaded(f), cases[i].counts);
		if (str_eq(cases[i].counts, "none")) {
			struct err e;

			assert_false(goal_file_settle(&f->paths, &e));
			continue;
		}
		settle(f); /* changes what is read by people, never what counts */
		assert_string_equal(loaded(f), cases[i].counts);
		save(f, 9, "next", 9);
		assert_string_equal(loaded(f), "9 next 9");
	}
}

static void a_slot_of_a_later_format_is_not_passed_over(void **state)
{
	struct fixture *f = *state;
	const char later[] = "{\"wire\":9,\"epoch\":2}";
	struct err e;

	save(f, 1, "one", 0);
	settle(f);
	assert_ok(goal_file_save(&f->paths, later, strlen(later), &e), &e);
	assert_string_equal(loaded(f), "none");
	assert_false(goal_file_settle(&f->paths, &e));
	assert_true(json_has(f, "\"one\""));
}

static void a_goal_that_fits_no_slot_stays_in_goal_json(void **state)
{
	struct fixture *f = *state;
	auto_str large = {};
	struct err e;

	save(f, 1, "one", 0);
	settle(f);
	save(f, 2, "two", 7);
	write_goal(f, 2, "large", 8, &large); /* the slot's numbers, yet it must not lose */
	str_printf(&large, "%*s", 9000, "");
	assert_ok(goal_file_save(&f->paths, large.p, large.len, &e), &e);
	assert_string_equal(loaded(f), "2 large 8");
	settle(f);
	assert_false(file_exists(f->paths.goal_slots));
	assert_string_equal(loaded(f), "2 large 8");
	save(f, 3, "three", 0);
	settle(f);
	assert_true(file_exists(f->paths.goal_slots));
	save(f, 4, "four", 0);
	assert_string_equal(loaded(f), "4 four 0");
	assert_true(json_has(f, "\"three\""));
}

/* A disk without room, for all that the kernel lets this process write to a file. */
static void let_files_grow_to(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_costs_speed_first(void **state)
{
	struct fixture *f = *state;
	auto_str text = {};
	struct err e;

	let_files_grow_to(8192);
	save(f, 1, "one", 0); /* there is no room for slots */
	let_files_grow_to(RLIM_INFINITY);
	assert_false(file_exists(f->paths.goal_slots));
	assert_string_equal(loaded(f), "1 one 0");

	let_files_grow_to(8192);
	bool settled = goal_file_settle(&f->paths, &e);
	save(f, 2, "two", 0);
	let_files_grow_to(RLIM_INFINITY);
	assert_false(settled);
	assert_string_equal(loaded(f), "2 two 0");

	settle(f);
	let_files_grow_to(8192); /* the second slot fails, and then goal.json has it */
	save(f, 3, "three", 0);
	let_files_grow_to(RLIM_INFINITY);
	assert_string_equal(loaded(f), "3 three 0");
	assert_true(json_has(f, "\"three\""));
	assert_false(file_exists(f->paths.goal_slots));

	settle(f);
	save(f, 5, "five", 0);
	save(f, 6, "six", 0);
	write_goal(f, 7, "seven", 0, &text);
	let_files_grow_to(0);
	bool saved = goal_file_save(&f->paths, text.p, text.len, &e);
	let_files_grow_to(RLIM_INFINITY);
	assert_false(saved);
	assert_string_equal(loaded(f), "6 six 0"); /* what counted still does */
}

static void a_folder_that_is_gone_is_not_made_anew(void **state)
{
	struct fixture *f = *state;
	auto_str text = {};
	struct err e;

	save(f, 1, "one", 0);
	settle(f);
	assert_ok(dir_remove(f->paths.dir, &e), &e);
	write_goal(f, 2, "two", 0, &text);
	assert_false(goal_file_save(&f->paths, text.p, text.len, &e));
	assert_false(goal_file_settle(&f->paths, &e));
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_false(file_exists(f->paths.dir));
}

int main(void)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(a_first_goal_makes_the_slots_and_goal_json_follows),
		TEST(the_next_ones_are_written_in_place_and_goal_json_follows),
		TEST(settled_files_are_not_written_again),
		TEST(a_torn_write_leaves_the_goal_before_it),
		TEST(what_counts_is_not_overwritten),
		TEST(the_higher_goal_counts_wherever_it_is),
		TEST(a_slot_of_a_later_format_is_not_passed_over),
		TEST(a_goal_that_fits_no_slot_stays_in_goal_json),
		TEST(a_full_disk_costs_speed_first),
		TEST(a_folder_that_is_gone_is_not_made_anew),
#undef TEST
	};

	sigaction(SIGXFSZ, &ignore, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
