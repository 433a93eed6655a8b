/*
 * Files and folders: what is there afterwards, with which rights, and what an error says.
 */
#include "../test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "folder.h"
#include "io/file.h"

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	return st.st_mode & 07777;
}

static void write_file(const char *path, const char *text)
{
	struct err e;

	assert_ok(file_replace(path, text, strlen(text), 0600, &e), &e);
}

static void check_content(const char *path, const char *want)
{
	auto_str got = {};
	struct err e;

	assert_ok(file_read(path, 1000, &got, &e), &e);
	assert_string_equal(str_cstr(&got), want);
}

static void replace_gives_new_content_and_rights(void **)
{
	auto_folder f = folder_new();
	struct path p = path_in(&f, "a");
	struct err e;
	mode_t old = umask(0077);

	assert_ok(file_replace(p.s, "one", 3, 0644, &e), &e);
	check_content(p.s, "one");
	assert_int_equal(mode_of(p.s), 0644); /* the umask does not decide */
	assert_ok(file_replace(p.s, "", 0, 0600, &e), &e);
	check_content(p.s, "");
	assert_int_equal(mode_of(p.s), 0600);
	assert_false(file_exists(path_in(&f, "a.new").s));
	umask(old);
}

/* A crash left a.new behind, as a link or with open rights: never written through. */
static void replace_survives_what_a_crash_left(void **)
{
	auto_folder f = folder_new();
	struct err e;

	write_file(path_in(&f, "elsewhere").s, "mine");
	assert_int_equal(symlink(path_in(&f, "elsewhere").s, path_in(&f, "a.new").s), 0);
	assert_ok(file_replace(path_in(&f, "a").s, "secret", 6, 0600, &e), &e);
	check_content(path_in(&f, "elsewhere").s, "mine");
	check_content(path_in(&f, "a").s, "secret");
	assert_int_equal(mode_of(path_in(&f, "a").s), 0600);
}

static void failed_replace_changes_nothing(void **)
{
	auto_folder f = folder_new();
	struct err e = {};
	char longer[PATH_MAX + 10];

	assert_int_equal(mkdir(path_in(&f, "is-a-folder").s, 0700), 0);
	write_file(path_in(&f, "is-a-folder/x").s, "x");
	assert_false(file_replace(path_in(&f, "is-a-folder").s, "x", 1, 0600, &e));
	assert_int_equal(e.code, ERR_IO);
	assert_false(file_exists(path_in(&f, "is-a-folder.new").s));

	assert_false(file_replace(path_in(&f, "none/a").s, "x", 1, 0600, &e));
	assert_int_equal(e.code, ERR_IO);
	assert_int_equal(e.sys, ENOENT);

	memset(longer, 'x', sizeof longer);
	longer[sizeof longer - 1] = '\0';
	assert_false(file_replace(longer, "x", 1, 0600, &e));
	assert_int_equal(e.code, ERR_INVALID);
}

static void read_has_a_ceiling(void **)
{
	auto_folder f = folder_new();
	struct path p = path_in(&f, "a");
	auto_str got = {};
	struct err e = {};

	write_file(p.s, "12345");
	str_append(&got, "0");
	assert_ok(file_read(p.s, 5, &got, &e), &e);
	assert_string_equal(got.p, "012345"); /* appended */
	assert_false(file_read(p.s, 4, &got, &e));
	assert_int_equal(e.code, ERR_OVER_LIMIT);
	assert_string_equal(got.p, "012345");
	assert_false(file_read(path_in(&f, "none").s, 5, &got, &e));
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_false(file_read(f.path, 5, &got, &e));
	assert_int_equal(e.code, ERR_INVALID);

	/* a FIFO without a writer would block for ever */
	assert_int_equal(mkfifo(path_in(&f, "fifo").s, 0600), 0);
	assert_false(file_read(path_in(&f, "fifo").s, 5, &got, &e));
	assert_int_equal(e.code, ERR_INVALID);
}

static void read_tail_gives_the_last_bytes(void **)
{
	static const struct {
		size_t max;
		const char *want;
	} cases[] = { { 0, "" }, { 3, "345" }, { 5, "12345" }, { 100, "12345" } };
	auto_folder f = folder_new();
	struct err e = {};

	write_file(path_in(&f, "a").s, "12345");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_str got = {};

		assert_ok(file_read_tail(path_in(&f, "a").s, cases[i].max, &got, &e), &e);
		assert_string_equal(str_cstr(&got), cases[i].want);
	}
	auto_str none = {};
	assert_false(file_read_tail(path_in(&f, "none").s, 5, &none, &e));
	assert_int_equal(e.code, ERR_NOT_FOUND);
}

static void folders_are_made_with_their_parents(void **)
{
	auto_folder f = folder_new();
	struct err e = {};

	assert_ok(dir_make(path_in(&f, "a/b/c").s, 0700, &e), &e);
	assert_int_equal(mode_of(path_in(&f, "a/b/c").s), 0700);
	assert_ok(dir_make(path_in(&f, "a/b/c").s, 0700, &e), &e);
	assert_ok(dir_make(path_in(&f, "a//b/d/").s, 0700, &e), &e);
	write_file(path_in(&f, "file").s, "x");
	assert_false(dir_make(path_in(&f, "file").s, 0700, &e));
	assert_int_equal(e.sys, EEXIST);
	assert_false(dir_make(path_in(&f, "file/a").s, 0700, &e));
}

static void folder_is_removed_but_not_what_links_point_to(void **)
{
	auto_folder f = folder_new();
	struct err e = {};

	assert_ok(dir_make(path_in(&f, "kept").s, 0700, &e), &e);
	write_file(path_in(&f, "kept/x").s, "x");
	assert_ok(dir_make(path_in(&f, "a/b/c").s, 0700, &e), &e);
	write_file(path_in(&f, "a/b/y").s, "y");
	assert_int_equal(symlink(path_in(&f, "kept").s, path_in(&f, "a/b/link").s), 0);
	assert_int_equal(symlink("/nowhere", path_in(&f, "a/dangling").s), 0);
	assert_ok(dir_remove(path_in(&f, "a").s, &e), &e);
	assert_false(file_exists(path_in(&f, "a").s));
	check_content(path_in(&f, "kept/x").s, "x");

	assert_ok(dir_remove(path_in(&f, "a").s, &e), &e); /* missing is fine */
	assert_ok(dir_remove(path_in(&f, "kept/x").s, &e), &e);
}

static void space_is_counted(void **)
{
	auto_folder f = folder_new();
	struct err e = {};
	char block[8192] = { 1 };

	assert_ok(dir_make(path_in(&f, "a").s, 0700, &e), &e);
	int64_t empty = dir_used_bytes(f.path);
	assert_true(empty >= 0);
	assert_ok(file_replace(path_in(&f, "a/x").s, block, sizeof block, 0600, &e), &e);
	assert_int_equal(symlink("/", path_in(&f, "a/root").s), 0);
	int64_t used = dir_used_bytes(f.path);
	assert_true(used >= empty + 8192);
	assert_true(used <= empty + 3 * 8192);
	assert_true(dir_free_bytes(f.path) > 0);
	assert_int_equal(dir_used_bytes(path_in(&f, "none").s), -1);
	assert_int_equal(dir_free_bytes(path_in(&f, "none").s), -1);
}

static void lock_names_its_holder_and_ends_with_the_descriptor(void **)
{
	auto_folder f = folder_new();
	struct err e = {};
	char want[200];
	int fd = -1, second = -1;

	assert_ok(dir_lock(f.path, "tanistd", &fd, &e), &e);
	assert_false(dir_lock(f.path, "other", &second, &e));
	assert_int_equal(e.code, ERR_CONFLICT);
	snprintf(want, sizeof want, "'%s' is in use by tanistd, process %d", f.path, getpid());
	assert_string_equal(e.msg, want);
	assert_int_equal(second, -1);
	close(fd);
	assert_ok(dir_lock(f.path, "other", &second, &e), &e);
	close(second);
	assert_false(dir_lock(path_in(&f, "none").s, "x", &second, &e));
	assert_int_equal(e.sys, ENOENT);
}

/* The kernel gives the lock back however its holder ended; a stale text in the file is no lock. */
static void lock_of_a_killed_process_is_free(void **)
{
	auto_folder f = folder_new();
	struct err e = {};
	int ready[2], fd = -1;
	char c;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid_t child = fork();
	if (child == 0) {
		if (dir_lock(f.path, "child", &fd, &e) && write(ready[1], "x", 1) == 1) {
			pause();
		}
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	assert_false(dir_lock(f.path, "parent", &fd, &e));
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_ok(dir_lock(f.path, "parent", &fd, &e), &e);
	close(fd);
}

/* In a child: the id is asked for once in a process's life. Comes before boot_id_is_the_kernels. */
static void reboot_is_played_in_builds_for_tests_only(void **)
{
#ifdef TANIST_CRASH_POINTS
	const bool played = true;
#else
	const bool played = false;
#endif
	int status;
	pid_t child = fork();

	if (child == 0) {
		setenv("TANIST_BOOT_ID", "another", 1);
		_exit(str_eq(boot_id(), "another") == played ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void boot_id_is_the_kernels(void **)
{
	auto_str got = {};
	struct err e;

	assert_ok(file_read("/proc/sys/kernel/random/boot_id", 100, &got, &e), &e);
	assert_int_equal(got.len, 37);
	if (getenv("TANIST_BOOT_ID") == NULL) {
		assert_memory_equal(boot_id(), got.p, 36);
	}
	assert_int_equal(strlen(boot_id()), 36);
	assert_ptr_equal(boot_id(), boot_id());
}

static void no_descriptor_is_lost(void **)
{
	int before = open_descriptors();

	replace_gives_new_content_and_rights(NULL);
	failed_replace_changes_nothing(NULL);
	read_has_a_ceiling(NULL);
	read_tail_gives_the_last_bytes(NULL);
	folder_is_removed_but_not_what_links_point_to(NULL);
	space_is_counted(NULL);
	lock_names_its_holder_and_ends_with_the_descriptor(NULL);
	assert_int_equal(open_descriptors(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replace_gives_new_content_and_rights),
		cmocka_unit_test(replace_survives_what_a_crash_left),
		cmocka_unit_test(failed_replace_changes_nothing),
		cmocka_unit_test(read_has_a_ceiling),
		cmocka_unit_test(read_tail_gives_the_last_bytes),
		cmocka_unit_test(folders_are_made_with_their_parents),
		cmocka_unit_test(folder_is_removed_but_not_what_links_point_to),
		cmocka_unit_test(space_is_counted),
		cmocka_unit_test(lock_names_its_holder_and_ends_with_the_descriptor),
		cmocka_unit_test(lock_of_a_killed_process_is_free),
		cmocka_unit_test(reboot_is_played_in_builds_for_tests_only),
		cmocka_unit_test(boot_id_is_the_kernels),
		cmocka_unit_test(no_descriptor_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
