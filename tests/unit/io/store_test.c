/*
 * The embedded store: what is acknowledged is there, also after a kill; what conflicts or fails
 * leaves no trace; what is damaged is refused with a reason.
 */
#include "folder.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <sqlite3.h>

#include "base/clock.h"
#include "base/str.h"
#include "io/store_sqlite.h"

enum { PATIENCE_MS = 20000 };

/* A store on a loop, and what its callbacks said. */
struct fixture {
	struct loop *loop;
	struct store *store;
	struct timer *patience;
	struct str log; /* one word per callback, in order */
	enum store_outcome outcome;
	uint64_t revision;
	struct err err;
	int results, wanted;
};

static void out_of_patience(void *arg)
{
	loop_stop(((struct fixture *)arg)->loop);
}

static bool open_store(struct fixture *f, const char *path, struct err *e)
{
	*f = (struct fixture){ .loop = loop_new() };
	f->patience = timer_new(f->loop, out_of_patience, f);
	return store_sqlite_open(f->loop, path, &f->store, e);
}

static void close_store(struct fixture *f)
{
	store_free(f->store);
	timer_free(f->patience);
	loop_free(f->loop);
	str_done(&f->log);
	*f = (struct fixture){};
}

#define auto_store [[gnu::cleanup(close_store)]] struct fixture

static struct fixture opened(const char *path)
{
	struct fixture f;
	struct err e = {};

	assert_ok(open_store(&f, path, &e), &e);
	return f;
}

static void result(struct fixture *f)
{
	if (++f->results >= f->wanted) {
		loop_stop(f->loop);
	}
}

static void on_commit(void *arg, enum store_outcome outcome, uint64_t revision, const struct err *e)
{
	static const char *const words[] = {
		[STORE_COMMITTED] = "committed",
		[STORE_CONFLICT] = "conflict",
		[STORE_FAILED] = "failed",
		[STORE_UNKNOWN] = "unknown",
	};
	struct fixture *f = arg;

	f->outcome = outcome;
	f->revision = revision;
	f->err = *e;
	assert_int_equal(e->code == ERR_NONE, outcome == STORE_COMMITTED);
	str_printf(&f->log, "%s:%llu ", words[outcome], (unsigned long long)revision);
	result(f);
}

/* opened() moves the fixture, so the loop's timer gets its address only here. */
static void run(struct fixture *f, int results)
{
	f->wanted = f->results + results;
	timer_free(f->patience);
	f->patience = timer_new(f->loop, out_of_patience, f);
	timer_set_in(f->patience, PATIENCE_MS);
	loop_run(f->loop);
	assert_int_equal(f->results, f->wanted);
}

static void put(struct fixture *f, const char *key, const char *value)
{
	struct store_op op = { .key = key, .value = value, .len = strlen(value) };

	store_commit(f->store, &op, 1, on_commit, f);
}

static bool on_row(void *arg, const char *key, const char *value, size_t len, uint64_t revision,
		   struct err *e)
{
	struct fixture *f = arg;

	str_printf(&f->log, "%s=%.*s@%llu ", key, (int)len, value, (unsigned long long)revision);
	return strcmp(value, "stop here") != 0 || err_set(e, ERR_INVALID, "stopped");
}

static void on_loaded(void *arg, const struct err *e)
{
	struct fixture *f = arg;

	f->err = *e;
	str_append(&f->log, e->code == ERR_NONE ? "loaded " : "not-loaded ");
	result(f);
}

static const char *content(struct fixture *f, const char *prefix)
{
	str_clear(&f->log);
	store_load(f->store, prefix, on_row, on_loaded, f);
	run(f, 1);
	return str_cstr(&f->log);
}

/* What is there, seen by SQLite without us. */
static int64_t query(const char *path, const char *sql)
{
	sqlite3 *db;
	sqlite3_stmt *st;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	int rc = sqlite3_step(st);
	int64_t v = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : -1;
	sqlite3_finalize(st);
	sqlite3_close(db);
	return v;
}

static void created_and_opened_again(void **)
{
	auto_folder dir = folder_new();
	struct path path = path_in(&dir, "tanist.db");
	struct stat st;

	for (int i = 0; i < 2; i++) {
		auto_store f = opened(path.s);

		assert_true(store_leads(f.store));
		if (i == 0) {
			assert_string_equal(content(&f, ""), "loaded ");
			put(&f, "a/1", "one");
			put(&f, "b/1", "two");
			put(&f, "a/2", "three");
			run(&f, 3);
		}
		assert_string_equal(content(&f, "a/"), "a/1=one@1 a/2=three@3 loaded ");
		assert_string_equal(content(&f, ""), "a/1=one@1 a/2=three@3 b/1=two@2 loaded ");
		assert_string_equal(content(&f, "c"), "loaded ");
	}
	assert_int_equal(stat(path.s, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_false(file_exists(path_in(&dir, "tanist.db-new").s));
}

/* The counter goes on where it was, even when the newest rows are gone. */
static void revisions_grow_for_ever(void **)
{
	auto_folder dir = folder_new();
	struct path path = path_in(&dir, "tanist.db");

	for (uint64_t i = 0; i < 3; i++) {
		auto_store f = opened(path.s);

		put(&f, "k", "v");
		store_commit(f.store, &(struct store_op){ .key = "k" }, 1, on_commit, &f);
		run(&f, 2);
		assert_int_equal(f.revision, 2 * i + 2);
		assert_string_equal(content(&f, ""), "loaded ");
	}
}

static void all_or_nothing(void **)
{
	auto_folder dir = folder_new();
	auto_store f = opened(path_in(&dir, "tanist.db").s);
	const struct store_op both[] = {
		{ .key = "a", .value = "1", .len = 1 },
		{ .key = "b", .value = "1", .len = 1, .expect = STORE_ABSENT },
	};

	store_commit(f.store, both, 2, on_commit, &f);
	run(&f, 1);
	assert_string_equal(content(&f, ""), "a=1@1 b=1@1 loaded ");
	store_commit(f.store,
		     (struct store_op[]){ { .key = "a", .value = "2", .len = 1 },
					  { .key = "c", .value = "2", .len = 1 },
					  { .key = "b", .expect = STORE_ABSENT } },
		     3, on_commit, &f);
	run(&f, 1);
	assert_int_equal(f.outcome, STORE_CONFLICT);
	assert_int_equal(f.err.code, ERR_CONFLICT);
	assert_non_null(strstr(f.err.msg, "'b'"));
	assert_string_equal(content(&f, ""), "a=1@1 b=1@1 loaded ");
}

static void expectations(void **)
{
	static const struct {
		const char *says, *key;
		enum store_expect expect;
		uint64_t revision;
		enum store_outcome want;
	} cases[] = {
		/* "there" is at revision 1 */
		{ "anything, there", "there", STORE_ANY, 0, STORE_COMMITTED },
		{ "anything, not there", "new", STORE_ANY, 0, STORE_COMMITTED },
		{ "absent, there", "there", STORE_ABSENT, 0, STORE_CONFLICT },
		{ "absent, not there", "new", STORE_ABSENT, 0, STORE_COMMITTED },
		{ "its revision", "there", STORE_REVISION, 1, STORE_COMMITTED },
		{ "an older revision", "there", STORE_REVISION, 0, STORE_CONFLICT },
		{ "a newer revision", "there", STORE_REVISION, 2, STORE_CONFLICT },
		{ "a revision, not there", "new", STORE_REVISION, 1, STORE_CONFLICT },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		for (int deletes = 0; deletes < 2; deletes++) {
			auto_folder dir = folder_new();
			auto_store f = opened(path_in(&dir, "tanist.db").s);

			print_message("# %s: %s\n", deletes ? "delete" : "put", cases[i].says);
			put(&f, "there", "x");
			store_commit(f.store,
				     &(struct store_op){ .key = cases[i].key,
							 .value = deletes ? NULL : "y",
							 .len = deletes ? 0 : 1,
							 .expect = cases[i].expect,
							 .revision = cases[i].revision },
				     1, on_commit, &f);
			run(&f, 2);
			assert_int_equal(f.outcome, cases[i].want);
		}
	}
}

/* In one turn: one transaction, but each commit by itself, and the later ones see the earlier. */
static void a_turn_is_one_transaction(void **)
{
	auto_folder dir = folder_new();
	struct path path = path_in(&dir, "tanist.db");
	auto_store f = opened(path.s);
	const struct store_op once = {
		.key = "once", .value = "1", .len = 1, .expect = STORE_ABSENT
	};
	const struct store_op second = {
		.key = "once", .value = "2", .len = 1, .expect = STORE_REVISION, .revision = 2
	};

	put(&f, "a", "1");
	store_commit(f.store, &once, 1, on_commit, &f);
	store_commit(f.store, &once, 1, on_commit, &f);
	store_commit(f.store, &second, 1, on_commit, &f);
	put(&f, "b", "1");
	assert_int_equal(f.results, 0);
	run(&f, 5);
	assert_string_equal(str_cstr(&f.log),
			    "committed:1 committed:2 conflict:0 committed:3 committed:4 ");
	assert_int_equal(store_sqlite_transactions(f.store), 1);
	assert_string_equal(content(&f, ""), "a=1@1 b=1@4 once=2@3 loaded ");
	assert_int_equal(query(path.s, "SELECT value FROM meta WHERE name = 'revision'"), 4);

	for (int i = 0; i < 1000; i++) {
		put(&f, "many", "x");
	}
	run(&f, 1000);
	assert_int_equal(store_sqlite_transactions(f.store), 2);

	/* Nothing but conflicts: nothing for the disk to do. */
	store_commit(f.store, &once, 1, on_commit, &f);
	run(&f, 1);
	assert_int_equal(f.outcome, STORE_CONFLICT);
	assert_int_equal(store_sqlite_transactions(f.store), 2);
}

/* While a batch is on its way the next one collects. */
struct chain {
	struct fixture *f;
	int left;
};

static void commit_more(void *arg, enum store_outcome outcome, uint64_t revision,
			const struct err *e)
{
	struct chain *c = arg;

	on_commit(c->f, outcome, revision, e);
	if (c->left-- > 0) {
		struct store_op op = { .key = "k", .value = "v", .len = 1 };

		store_commit(c->f->store, &op, 1, commit_more, c);
	}
}

static void callbacks_commit(void **)
{
	auto_folder dir = folder_new();
	auto_store f = opened(path_in(&dir, "tanist.db").s);
	struct chain chains[10];
	struct store_op op = { .key = "k", .value = "v", .len = 1 };

	for (size_t i = 0; i < 10; i++) {
		chains[i] = (struct chain){ .f = &f, .left = 4 };
		store_commit(f.store, &op, 1, commit_more, &chains[i]);
	}
	run(&f, 50);
	assert_int_equal(f.revision, 50);
	assert_int_equal(store_sqlite_transactions(f.store), 5);
}

static void load_keeps_its_place(void **)
{
	auto_folder dir = folder_new();
	auto_store f = opened(path_in(&dir, "tanist.db").s);

	put(&f, "a", "1");
	store_load(f.store, "", on_row, on_loaded, &f);
	put(&f, "a", "2");
	store_load(f.store, "", on_row, on_loaded, &f);
	run(&f, 4);
	assert_string_equal(str_cstr(&f.log), "committed:1 a=1@1 loaded committed:2 a=2@2 loaded ");

	put(&f, "b", "stop here");
	put(&f, "c", "3");
	run(&f, 2);
	assert_string_equal(content(&f, ""), "a=2@2 b=stop here@3 not-loaded ");
	assert_string_equal(f.err.msg, "stopped");
}

static void values_of_any_bytes(void **)
{
	auto_folder dir = folder_new();
	auto_store f = opened(path_in(&dir, "tanist.db").s);
	auto_str big = {};

	while (big.len < 1 << 20) {
		str_append(&big, "0123456789abcdef");
	}
	store_commit(f.store,
		     (struct store_op[]){ { .key = "empty", .value = "", .len = 0 },
					  { .key = "nul", .value = "a\0b", .len = 3 },
					  { .key = "big", .value = big.p, .len = big.len } },
		     3, on_commit, &f);
	str_clear(&big); /* the ops were copied */
	run(&f, 1);
	content(&f, "big");
	assert_true(f.log.len > 1 << 20);
	content(&f, "empty");
	assert_string_equal(str_cstr(&f.log), "empty=@1 loaded ");
	content(&f, "nul");
	assert_int_equal(query(path_in(&dir, "tanist.db").s,
			       "SELECT length(value) FROM kv WHERE key = 'nul'"),
			 3);
}

static void stop_loop(void *arg)
{
	loop_stop(arg);
}

/* store_free() carries out what waits, with and without a batch under way, without the loop. */
static void freed_with_commits_waiting(void **)
{
	auto_folder dir = folder_new();
	struct path path = path_in(&dir, "tanist.db");

	for (int under_way = 0; under_way < 2; under_way++) {
		auto_store f = opened(path.s);

		for (int i = 0; i < 5; i++) {
			put(&f, "k", "v");
		}
		if (under_way) {
			loop_defer(f.loop, stop_loop, f.loop); /* right behind the store's turn */
			loop_run(f.loop);
			put(&f, "k", "w");
		}
		store_free(f.store);
		f.store = NULL;
		assert_int_equal(f.results, 5 + under_way);
		assert_int_equal(f.outcome, STORE_COMMITTED);
	}
	store_free(NULL);
	auto_store f = opened(path.s);
	assert_string_equal(content(&f, ""), "k=w@11 loaded ");
}

/* Files that are not as we left them. */

static void write_file(const char *path, const void *data, size_t len)
{
	auto_fd fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, data, len), len);
}

static void sql(const char *path, const char *text)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void damage_garbage(const char *path)
{
	char junk[8192];

	memset(junk, 'x', sizeof junk);
	write_file(path, junk, sizeof junk);
}

static void damage_empty(const char *path)
{
	write_file(path, "", 0);
}

static void damage_truncate(const char *path)
{
	assert_int_equal(truncate(path, 4096 * 3), 0);
}

static void damage_middle(const char *path)
{
	auto_fd fd = open(path, O_WRONLY | O_CLOEXEC);
	char junk[3000];

	memset(junk, 0xa5, sizeof junk);
	for (off_t at = 4096 * 2; at < 4096 * 6; at += 4096) {
		assert_int_equal(pwrite(fd, junk, sizeof junk, at), sizeof junk);
	}
}

static void damage_newer(const char *path)
{
	sql(path, "PRAGMA user_version = 1000");
}

static void damage_foreign(const char *path)
{
	sql(path, "PRAGMA application_id = 7");
}

static void damage_counter(const char *path)
{
	sql(path, "DELETE FROM meta");
}

static void damage_table(const char *path)
{
	sql(path, "DROP TABLE kv");
}

static void damage_folder(const char *path)
{
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
}

static void damage_moved(const char *path)
{
	char wal[PATH_MAX];

	snprintf(wal, sizeof wal, "%s-wal", path);
	assert_int_equal(unlink(path), 0);
	write_file(wal, "left over", 9);
}

static void refused_files(void **)
{
	static const struct {
		const char *says;
		void (*damage)(const char *path);
		enum err_code code;
		const char *want;
	} cases[] = {
		{ "no database", damage_garbage, ERR_IO, "is damaged: file is not a database" },
		{ "empty", damage_empty, ERR_IO, "is damaged: it is empty" },
		{ "truncated", damage_truncate, ERR_IO, "is damaged" },
		{ "overwritten in the middle", damage_middle, ERR_IO, "is damaged" },
		{ "newer", damage_newer, ERR_CONFLICT, "newer tanist (format 1000," },
		{ "another program's", damage_foreign, ERR_IO, "not tanist's" },
		{ "without counter", damage_counter, ERR_IO, "is damaged" },
		{ "without table", damage_table, ERR_IO, "no such table" },
		{ "a folder", damage_folder, ERR_IO, "Is a directory" },
		{ "gone, its log is there", damage_moved, ERR_IO, "is missing, but its log" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_folder dir = folder_new();
		struct path path = path_in(&dir, "tanist.db");
		auto_str value = {};

		print_message("# %s\n", cases[i].says);
		while (value.len < 40000) {
			str_append(&value, "a record ");
		}
		{
			auto_store f = opened(path.s);

			put(&f, "k", str_cstr(&value));
			run(&f, 1);
		}
		cases[i].damage(path.s);

		auto_store f = {};
		struct err e = {};
		assert_false(open_store(&f, path.s, &e));
		print_message("#   %s\n", e.msg);
		assert_int_equal(e.code, cases[i].code);
		assert_non_null(strstr(e.msg, cases[i].want));
		assert_non_null(strstr(e.msg, path.s));
	}
}

/* root may do everything, so these run as somebody else. */
static void no_permission(void **)
{
	auto_folder dir = folder_new();
	struct path path = path_in(&dir, "tanist.db"), missing = path_in(&dir, "no/tanist.db");
	auto_store none = {};
	struct err e = {};

	assert_false(open_store(&none, missing.s, &e));
	assert_non_null(strstr(e.msg, "No such file or directory"));
	close_store(&none);
	{
		auto_store f = opened(path.s);
	}
	bool root = geteuid() == 0;
	assert_int_equal(chmod(dir.path, 0711), 0);
	assert_int_equal(chmod(path.s, 0400), 0);
	assert_true(!root || seteuid(65534) == 0);
	bool opens = open_store(&none, path.s, &e);
	close_store(&none);
	bool creates = open_store(&none, path_in(&dir, "new.db").s, &e);
	assert_true(!root || seteuid(0) == 0);
	assert_false(opens);
	assert_true(!creates || !root);
	assert_non_null(strstr(e.msg, "Permission denied"));
}

static void tightens_permissions(void **)
{
	auto_folder dir = folder_new();
	struct path path = path_in(&dir, "tanist.db");
	struct stat st;

	{
		auto_store f = opened(path.s);
	}
	assert_int_equal(chmod(path.s, 0644), 0);
	auto_store f = opened(path.s);
	assert_int_equal(stat(path.s, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

/* A limit on file sizes stands for the full disk: everything fails, nothing is lost, it goes on. */
static void full_disk(void **)
{
	auto_folder dir = folder_new();
	auto_store f = opened(path_in(&dir, "tanist.db").s);
	struct rlimit old, small = { .rlim_cur = 60000 };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	auto_str big = {};

	put(&f, "a", "1");
	run(&f, 1);
	while (big.len < 100000) {
		str_append(&big, "0123456789");
	}
	sigaction(SIGXFSZ, &ignore, NULL);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	put(&f, "b", "1");
	put(&f, "big", str_cstr(&big));
	put(&f, "c", "1");
	run(&f, 3);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_string_equal(str_cstr(&f.log), "committed:1 failed:0 failed:0 failed:0 ");
	assert_int_equal(f.err.code, ERR_IO);
	print_message("# %s\n", f.err.msg);
	assert_string_equal(content(&f, ""), "a=1@1 loaded ");

	put(&f, "d", "1");
	run(&f, 1);
	assert_string_equal(content(&f, ""), "a=1@1 d=1@2 loaded ");
}

/* SQLite takes back only the statement here: the transaction is for us to end. */
static void failure_of_one_statement(void **)
{
	auto_folder dir = folder_new();
	struct path path = path_in(&dir, "tanist.db");
	auto_store f = opened(path.s);

	sql(path.s, "CREATE TRIGGER t BEFORE INSERT ON kv WHEN new.key = 'bad'"
		    " BEGIN SELECT RAISE(ABORT, 'no room for it'); END");
	put(&f, "a", "1");
	put(&f, "bad", "1");
	put(&f, "b", "1");
	run(&f, 3);
	assert_string_equal(str_cstr(&f.log), "failed:0 failed:0 failed:0 ");
	assert_non_null(strstr(f.err.msg, "no room for it"));
	put(&f, "c", "1");
	run(&f, 1);
	assert_string_equal(content(&f, ""), "c=1@1 loaded ");
}

/* In a mount namespace of its own: fills the file system up and goes on from the reserve. */
static int on_a_small_disk(const char *dir)
{
	struct path path;
	struct path fill;
	struct path reserve;
	struct folder at;
	struct stat st;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", dir, "tmpfs", 0, "size=12m") < 0) {
		return 77;
	}
	str_copy(at.path, sizeof at.path, dir);
	path = path_in(&at, "tanist.db");
	fill = path_in(&at, "fill");
	reserve = path_in(&at, "tanist.db-reserve");

	auto_store f = opened(path.s);
	if (stat(reserve.s, &st) < 0 || st.st_blocks * 512 < 4 << 20) {
		return 1;
	}
	auto_fd fd = open(fill.s, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	char block[4096] = {};
	while (write(fd, block, sizeof block) > 0) {
	}
	char value[20000];
	memset(value, 'v', sizeof value);
	value[sizeof value - 1] = '\0';
	put(&f, "a", value);
	run(&f, 1);
	if (f.outcome != STORE_COMMITTED || file_exists(reserve.s)) {
		return 2;
	}
	int commits = 0;
	do { /* until the reserve is used up as well */
		char key[20];

		snprintf(key, sizeof key, "k%d", commits++);
		put(&f, key, value);
		run(&f, 1);
	} while (f.outcome == STORE_COMMITTED && commits < 1000);
	if (f.outcome != STORE_FAILED || commits < 20 || strstr(f.err.msg, "full") == NULL) {
		fprintf(stderr, "%d after %d: %s\n", (int)f.outcome, commits, f.err.msg);
		return 3;
	}
	unlink(fill.s);
	put(&f, "z", "works again");
	if (ftruncate(fd, 0) < 0) {
		return 4;
	}
	run(&f, 1);
	return f.outcome == STORE_COMMITTED ? 0 : 5;
}

static void reserve_of_disk(void **)
{
	auto_folder dir = folder_new();
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		_exit(on_a_small_disk(dir.path));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("# not allowed to mount here\n");
		return;
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* The child writes every acknowledged number to a pipe; it is killed at some point. */
struct acknowledger {
	struct fixture f;
	int fd;
	int next;
};

static void commit_next(struct acknowledger *a);

static void on_acknowledged(void *arg, enum store_outcome outcome, uint64_t, const struct err *)
{
	struct acknowledger *a = *(struct acknowledger **)arg;
	int number = ((int *)((struct acknowledger **)arg + 1))[0];

	free(arg);
	if (outcome != STORE_COMMITTED || write(a->fd, &number, sizeof number) != sizeof number) {
		_exit(1);
	}
	commit_next(a);
}

static void commit_next(struct acknowledger *a)
{
	struct {
		struct acknowledger *a;
		int number;
	} *ticket = malloc(sizeof *ticket);
	char key[20], pair[20];

	ticket->a = a;
	ticket->number = a->next++;
	snprintf(key, sizeof key, "k%d", ticket->number);
	snprintf(pair, sizeof pair, "p%d", ticket->number);
	store_commit(a->f.store,
		     (struct store_op[]){ { .key = key, .value = "v", .len = 1 },
					  { .key = pair, .value = "v", .len = 1 } },
		     2, on_acknowledged, ticket);
}

static void commit_for_ever(const char *path, int fd)
{
	struct acknowledger a = { .fd = fd };
	struct err e;

	if (!open_store(&a.f, path, &e)) {
		_exit(1);
	}
	for (int i = 0; i < 20; i++) {
		commit_next(&a);
	}
	loop_run(a.f.loop);
}

static void killed_while_committing(void **)
{
	for (int round = 0; round < 5; round++) {
		auto_folder dir = folder_new();
		struct path path = path_in(&dir, "tanist.db");
		int fds[2], number, seen = 0, enough = 30 + 170 * round;
		auto_str numbers = {};

		assert_int_equal(pipe(fds), 0);
		pid_t pid = fork();
		if (pid == 0) {
			close(fds[0]);
			commit_for_ever(path.s, fds[1]);
			_exit(1);
		}
		close(fds[1]);
		while (read(fds[0], &number, sizeof number) == sizeof number) {
			str_append_mem(&numbers, &number, sizeof number);
			if (++seen == enough) {
				kill(pid, SIGKILL);
			}
		}
		close(fds[0]);
		int status;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_true(seen >= enough);

		auto_store f = opened(path.s);
		store_free(f.store);
		f.store = NULL;
		for (int i = 0; i < seen; i++) {
			char text[80];

			memcpy(&number, numbers.p + (size_t)i * sizeof number, sizeof number);
			snprintf(text, sizeof text,
				 "SELECT count(*) FROM kv WHERE key IN ('k%d', 'p%d')", number,
				 number);
			assert_int_equal(query(path.s, text), 2);
		}
		/* No half of a commit, and the counter is that of the last one. */
		assert_int_equal(query(path.s, "SELECT count(*) FROM kv a WHERE NOT EXISTS"
					       " (SELECT 1 FROM kv b WHERE b.revision = a.revision"
					       " AND b.key <> a.key)"),
				 0);
		assert_int_equal(query(path.s, "SELECT max(revision) - (SELECT value FROM meta)"
					       " FROM kv"),
				 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(created_and_opened_again),
		cmocka_unit_test(revisions_grow_for_ever),
		cmocka_unit_test(all_or_nothing),
		cmocka_unit_test(expectations),
		cmocka_unit_test(a_turn_is_one_transaction),
		cmocka_unit_test(callbacks_commit),
		cmocka_unit_test(load_keeps_its_place),
		cmocka_unit_test(values_of_any_bytes),
		cmocka_unit_test(freed_with_commits_waiting),
		cmocka_unit_test(refused_files),
		cmocka_unit_test(no_permission),
		cmocka_unit_test(tightens_permissions),
		cmocka_unit_test(full_disk),
		cmocka_unit_test(failure_of_one_statement),
		cmocka_unit_test(reserve_of_disk),
		cmocka_unit_test(killed_while_committing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
