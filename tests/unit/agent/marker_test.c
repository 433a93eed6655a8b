/*
 * The marker's verdicts, each a sentence, on real files: what was there, what somebody did to it,
 * what the agent says before the next start.
 */
#include "../test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/marker.h"
#include "base/str.h"
#include "io/file.h"

#define BOOT "boot-one"
#define INCR "appendonlydir/appendonly.aof.1.incr.aof"
#define BASE "appendonlydir/appendonly.aof.1.base.rdb"
#define MANIFEST "appendonlydir/appendonly.aof.manifest"

static char root[64], data[80];

static const char *at(const char *name)
{
	static char path[200];

	snprintf(path, sizeof path, "%s/%s", data, name);
	return path;
}

static void put(const char *name, const char *text)
{
	FILE *f = fopen(at(name), "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void append(const char *name, const char *text)
{
	FILE *f = fopen(at(name), "a");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void make_files(void)
{
	assert_int_equal(mkdir(at("appendonlydir"), 0700), 0);
	put(BASE, "base");
	put(INCR, "one two");
	put(MANIFEST, "file appendonly.aof.1.base.rdb seq 1 type b\n"
		      "file appendonly.aof.1.incr.aof seq 1 type i\n");
	put("dump.rdb", "REDIS0010");
}

static int setup(void **)
{
	str_copy(root, sizeof root, "/tmp/tanist-marker-XXXXXX");
	assert_non_null(mkdtemp(root));
	snprintf(data, sizeof data, "%s/data", root);
	assert_int_equal(mkdir(data, 0700), 0);
	return 0;
}

static int teardown(void **)
{
	struct err e;

	assert_ok(dir_remove(root, &e), &e);
	return 0;
}

/* What may happen between the last look and the next start. */
static void nothing(void)
{
}

static void grow(void)
{
	append(INCR, " three");
}

static void shrink(void)
{
	put(INCR, "one");
}

static void overwrite_longer(void)
{
	put(INCR, "something else altogether");
}

static void touch(void)
{
	struct timespec times[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };

	assert_int_equal(utimensat(AT_FDCWD, at(INCR), times, 0), 0);
}

static void save_point(void)
{
	assert_int_equal(unlink(at("dump.rdb")), 0);
	put("dump.rdb", "REDIS0010 another");
}

static void remove_folder(void)
{
	struct err e;

	assert_ok(dir_remove(at("appendonlydir"), &e), &e);
}

static void remove_one(void)
{
	assert_int_equal(unlink(at(INCR)), 0);
}

/* The same names and bytes; the inodes may even be the same, freed and taken again. */
static void put_copy_back(void)
{
	remove_folder();
	make_files();
}

static void replace_one(void)
{
	char other[200];

	put("new", "one two");
	str_copy(other, sizeof other, at("new"));
	assert_int_equal(rename(other, at(INCR)), 0);
}

static void rewrite(void)
{
	put("appendonlydir/appendonly.aof.2.base.rdb", "base two");
	put("appendonlydir/appendonly.aof.2.incr.aof", "");
	put(MANIFEST, "file appendonly.aof.2.base.rdb seq 2 type b\n"
		      "file appendonly.aof.2.incr.aof seq 2 type i\n");
}

static void leave_history(void)
{
	put("appendonlydir/temp-rewriteaof-1.aof", "left by a crash");
}

static void unreadable_manifest(void)
{
	put(MANIFEST, "what is this\n");
}

struct made {
	bool clean, not_durable, untrusted;
	const char *now; /* the boot at the next start */
};

/* clang-format off */
static const struct {
	const char *says;
	struct made made;
	void (*happens)(void);
	enum marker_verdict want;
} cases[] = {
	{ "a crash on the same boot leaves everything", { .now = BOOT }, nothing, MARKER_INTACT },
	{ "what was written after the last look is there too", { .now = BOOT }, grow, MARKER_INTACT },
	{ "a save point replaces the RDB, which nobody loads", { .now = BOOT }, save_point, MARKER_INTACT },
	{ "a file that no manifest names is nothing", { .now = BOOT }, leave_history, MARKER_INTACT },
	{ "a file that became shorter was cut", { .now = BOOT }, shrink, MARKER_DIFFERENT },
	{ "the AOF was removed", { .now = BOOT }, remove_folder, MARKER_DIFFERENT },
	{ "one file was removed", { .now = BOOT }, remove_one, MARKER_DIFFERENT },
	{ "a copy was put back, byte for byte", { .now = BOOT }, put_copy_back, MARKER_DIFFERENT },
	{ "one file was replaced by its copy", { .now = BOOT }, replace_one, MARKER_DIFFERENT },
	{ "a rewrite that the agent has not seen", { .now = BOOT }, rewrite, MARKER_DIFFERENT },
	{ "a manifest that cannot be read", { .now = BOOT }, unreadable_manifest, MARKER_DIFFERENT },

	{ "the host was rebooted", { .now = "boot-two" }, nothing, MARKER_REBOOTED },
	{ "rebooted, and the end was lost", { .now = "boot-two" }, shrink, MARKER_REBOOTED },
	{ "rebooted, with other files", { .now = "boot-two" }, put_copy_back, MARKER_DIFFERENT },
	{ "a kernel that tells no boot cannot vouch for it", { .now = "" }, nothing, MARKER_REBOOTED },

	{ "stopped cleanly, then rebooted", { .clean = true, .now = "boot-two" }, nothing, MARKER_INTACT },
	{ "stopped cleanly, then written to", { .clean = true, .now = BOOT }, grow, MARKER_DIFFERENT },
	{ "stopped cleanly, then overwritten", { .clean = true, .now = BOOT }, overwrite_longer, MARKER_DIFFERENT },
	{ "stopped cleanly, then touched", { .clean = true, .now = BOOT }, touch, MARKER_DIFFERENT },

	{ "files that never held all the data", { .not_durable = true, .now = BOOT }, nothing, MARKER_DIFFERENT },
	{ "a run that nobody confirmed vouches for nothing", { .untrusted = true, .now = BOOT }, nothing, MARKER_MISSING },
};
/* clang-format on */

static struct marker marker_made(const struct made *how)
{
	struct marker m = {
		.known = true,
		.trusted = !how->untrusted,
		.boot = BOOT,
		.run_id = { "0123456789012345678901234567890123456789" },
		.role = SERVER_ROLE_MASTER,
		.durable = !how->not_durable,
		.clean = how->clean,
		.position = { .offset = 42, .keys = 7 },
		.verdict = MARKER_NEW,
	};
	struct err e;

	assert_ok(marker_look(data, &m.files, &e), &e);
	assert_int_equal(m.files.nfiles, 2);
	return m;
}

/* Through the file, as the agent does it. */
static void verdicts(void **)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct marker loaded;
		struct marker_files now;
		struct err e;
		char path[100];

		print_message("# %s\n", cases[i].says);
		make_files();
		struct marker m = marker_made(&cases[i].made);
		snprintf(path, sizeof path, "%s/marker.json", root);
		assert_ok(marker_save(path, &m, &e), &e);
		cases[i].happens();
		assert_ok(marker_load(path, &loaded, &e), &e);
		assert_ok(marker_look(data, &now, &e), &e);
		assert_string_equal(
			marker_verdict_name(marker_judge(&loaded, &now, cases[i].made.now)),
			marker_verdict_name(cases[i].want));
		marker_files_done(&now);
		marker_done(&loaded);
		marker_done(&m);
		assert_ok(dir_remove(data, &e), &e);
		assert_int_equal(mkdir(data, 0700), 0);
	}
}

static void without_a_marker_files_tell_new_from_missing(void **)
{
	struct marker none = {};
	struct marker_files now;
	struct err e;

	assert_ok(marker_look(data, &now, &e), &e);
	assert_int_equal(marker_judge(&none, &now, BOOT), MARKER_NEW);
	marker_files_done(&now);
	put("dump.rdb", "REDIS0010");
	assert_ok(marker_look(data, &now, &e), &e);
	assert_int_equal(marker_judge(&none, &now, BOOT), MARKER_MISSING);
	marker_files_done(&now);
}

static void the_single_file_of_old_versions_is_known_too(void **)
{
	struct marker_files now;
	struct err e;

	put("appendonly.aof", "one");
	assert_ok(marker_look(data, &now, &e), &e);
	assert_int_equal(now.nfiles, 1);
	assert_string_equal(now.files[0].name, "appendonly.aof");
	marker_files_done(&now);
}

static void a_glance_sees_a_rewrite_but_no_growth(void **)
{
	make_files();
	uint64_t before = marker_glance(data);

	grow();
	assert_true(marker_glance(data) == before);
	rewrite();
	assert_true(marker_glance(data) != before);
}

static void what_is_saved_is_loaded(void **)
{
	struct marker got;
	struct err e;
	char path[100];

	make_files();
	struct marker m = marker_made(&(struct made){ .clean = true });
	m.pending = true;
	m.verdict = MARKER_DIFFERENT;
	snprintf(path, sizeof path, "%s/marker.json", root);
	assert_ok(marker_save(path, &m, &e), &e);
	assert_ok(marker_load(path, &got, &e), &e);
	assert_true(got.known && got.trusted && got.clean && got.durable && got.pending);
	assert_int_equal(got.verdict, MARKER_DIFFERENT);
	assert_int_equal(got.role, SERVER_ROLE_MASTER);
	assert_int_equal(got.position.offset, 42);
	assert_string_equal(got.run_id.s, m.run_id.s);
	assert_string_equal(got.files.manifest, m.files.manifest);
	assert_int_equal(got.files.nfiles, 2);
	assert_memory_equal(got.files.files, m.files.files, 2 * sizeof *m.files.files);
	marker_done(&got);
	marker_done(&m);
}

static void a_damaged_marker_is_an_error_and_a_missing_one_is_not(void **)
{
	struct marker got;
	struct err e;

	assert_ok(marker_load(at("nowhere"), &got, &e), &e);
	assert_false(got.known);
	put("marker.json", "{\"format\":1,");
	assert_false(marker_load(at("marker.json"), &got, &e));
	put("marker.json", "{\"format\":99}");
	assert_false(marker_load(at("marker.json"), &got, &e));
}

static void set_time(const char *name, time_t seconds)
{
	const struct timespec t[2] = { { .tv_sec = seconds }, { .tv_sec = seconds } };

	assert_int_equal(utimensat(AT_FDCWD, at(name), t, 0), 0);
}

/* What a boot from the RDB would lose decides: after a crash the AOF has more. */
static void an_rdb_older_than_the_aof_is_not_booted_from(void **)
{
	make_files();
	set_time(BASE, 1000);
	set_time(INCR, 2000);
	set_time("dump.rdb", 2000);
	assert_true(marker_rdb_is_newest(data));
	set_time(INCR, 2001);
	assert_false(marker_rdb_is_newest(data));
	set_time("dump.rdb", 3000);
	assert_true(marker_rdb_is_newest(data));
	put("dump.rdb", "no database");
	assert_false(marker_rdb_is_newest(data));
	assert_int_equal(unlink(at("dump.rdb")), 0);
	assert_false(marker_rdb_is_newest(data));
}

/* Behind a full sync the manifest still names files from before it: the RDB is what there is. */
static void an_rdb_begun_after_the_last_write_to_the_aof_holds_it(void **)
{
	make_files();
	set_time(BASE, 1000);
	set_time(INCR, 2000);
	put("dump.rdb", "REDIS0010");
	assert_true(marker_rdb_holds_aof(data));
	/* Written to since: the AOF has more, though the RDB was finished later. */
	set_time(INCR, time(NULL) + 10);
	set_time("dump.rdb", time(NULL) + 20);
	assert_false(marker_rdb_holds_aof(data));
	/* A copy that was given its old times: when it was begun is not known. */
	set_time(INCR, 2000);
	set_time("dump.rdb", 3000);
	assert_false(marker_rdb_holds_aof(data));
	assert_int_equal(unlink(at(BASE)) | unlink(at(INCR)), 0);
	assert_int_equal(unlink(at("appendonlydir/appendonly.aof.manifest")), 0);
	assert_true(marker_rdb_holds_aof(data)); /* nothing else is there */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(verdicts, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_marker_files_tell_new_from_missing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(the_single_file_of_old_versions_is_known_too, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_glance_sees_a_rewrite_but_no_growth, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_rdb_older_than_the_aof_is_not_booted_from, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			an_rdb_begun_after_the_last_write_to_the_aof_holds_it, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_saved_is_loaded, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_damaged_marker_is_an_error_and_a_missing_one_is_not, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
