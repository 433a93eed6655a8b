/*
 * Being told of a file that was replaced: of that one only, in the folder that counts now, and of
 * nothing after it was forgotten.
 */
#include "../test.h"

#include <unistd.h>

#include "folder.h"
#include "io/folder.h"

enum { LIMIT_MS = 5000, QUIET_MS = 50 };

struct scene {
	struct loop *loop;
	struct folders *folders;
	struct timer *limit;
	int told;
};

static void told(void *arg)
{
	struct scene *s = arg;

	s->told++;
	loop_stop(s->loop);
}

static void time_is_up(void *arg)
{
	struct scene *s = arg;

	loop_stop(s->loop);
}

static int setup(void **state)
{
	struct scene *s = calloc(1, sizeof *s);

	assert_non_null(s);
	s->loop = loop_new();
	s->folders = folders_new(s->loop);
	assert_non_null(s->folders);
	s->limit = timer_new(s->loop, time_is_up, s);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct scene *s = *state;

	folders_free(s->folders);
	timer_free(s->limit);
	loop_free(s->loop);
	free(s);
	return 0;
}

static void replace(const struct folder *f, const char *name)
{
	struct err e;

	assert_ok(file_replace(path_in(f, name).s, "x", 1, 0600, &e), &e);
}

/* How often it was told before the time was up, or until it was for the first time. */
static int told_within(struct scene *s, int64_t ms)
{
	s->told = 0;
	timer_set_in(s->limit, ms);
	loop_run(s->loop);
	return s->told;
}

static void a_file_that_is_replaced_is_told(void **state)
{
	struct scene *s = *state;
	auto_folder f = folder_new();

	folders_watch(s->folders, f.path, "manifest", told, s);
	replace(&f, "manifest");
	assert_int_equal(told_within(s, LIMIT_MS), 1);
	replace(&f, "manifest");
	assert_int_equal(told_within(s, LIMIT_MS), 1);
}

static void other_files_and_writes_are_not(void **state)
{
	struct scene *s = *state;
	auto_folder f = folder_new();

	replace(&f, "manifest");
	folders_watch(s->folders, f.path, "manifest", told, s);
	replace(&f, "manifest.old");
	FILE *file = fopen(path_in(&f, "manifest").s, "a");
	assert_non_null(file);
	assert_true(fputs("more", file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(told_within(s, QUIET_MS), 0);
}

/* The folder may be put aside and made anew, and its old self goes on under another name. */
static void the_newest_folder_counts(void **state)
{
	struct scene *s = *state;
	auto_folder old = folder_new();
	auto_folder f = folder_new();

	folders_watch(s->folders, old.path, "manifest", told, s);
	folders_watch(s->folders, f.path, "manifest", told, s);
	folders_watch(s->folders, f.path, "manifest", told, s);
	replace(&old, "manifest");
	assert_int_equal(told_within(s, QUIET_MS), 0);
	replace(&f, "manifest");
	assert_int_equal(told_within(s, LIMIT_MS), 1);
}

static void what_cannot_be_watched_or_is_forgotten_is_quiet(void **state)
{
	struct scene *s = *state;
	auto_folder f = folder_new();

	folders_watch(NULL, f.path, "manifest", told, s);
	folders_forget(NULL, s);
	folders_watch(s->folders, path_in(&f, "nowhere").s, "manifest", told, s);
	folders_watch(s->folders, f.path, "manifest", told, s);
	folders_forget(s->folders, s);
	folders_forget(s->folders, s);
	replace(&f, "manifest");
	assert_int_equal(told_within(s, QUIET_MS), 0);
}

static void no_descriptor_is_left(void **)
{
	struct loop *l = loop_new();
	int before = open_descriptors();
	struct folders *f = folders_new(l);

	folders_free(f);
	assert_int_equal(open_descriptors(), before);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_file_that_is_replaced_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(other_files_and_writes_are_not, setup, teardown),
		cmocka_unit_test_setup_teardown(the_newest_folder_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_watched_or_is_forgotten_is_quiet,
						setup, teardown),
		cmocka_unit_test(no_descriptor_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
