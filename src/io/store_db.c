#include "io/store_db.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/crash.h"
#include "base/str.h"
#include "io/disk_reserve.h"
#include "io/file.h"

enum {
	APPLICATION = 0x54414e49, /* "TANI", at a fixed place in the file: file(1) shows it */
	VERSION = 1,              /* of the tables; a change of them comes with an upgrade step */
	BUSY_MS = 5000,           /* somebody looks at the file with a tool of his own */
	CHECK_WHOLE_BYTES = 64 << 20, /* above, the check leaves out what takes longest */
	RESERVE_BYTES = 4 << 20,
};

/* APPLICATION and VERSION in figures: what was just made is opened with all checks. */
static const char schema[] =
	"BEGIN;"
	"CREATE TABLE kv (key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL)"
	" WITHOUT ROWID;"
	"CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
	"INSERT INTO meta VALUES ('revision', 0);"
	"PRAGMA application_id = 0x54414e49;"
	"PRAGMA user_version = 1;"
	"COMMIT;";

enum statement { FIND, PUT, DELETE, SET_REVISION, GET_REVISION, ROWS, STATEMENTS };

static const char *const statement_sql[STATEMENTS] = {
	[FIND] = "SELECT revision FROM kv WHERE key = ?1",
	[PUT] = "INSERT OR REPLACE INTO kv VALUES (?1, ?2, ?3)",
	[DELETE] = "DELETE FROM kv WHERE key = ?1",
	[SET_REVISION] = "UPDATE meta SET value = ?1 WHERE name = 'revision'",
	[GET_REVISION] = "SELECT value FROM meta WHERE name = 'revision'",
	[ROWS] = "SELECT key, value, revision FROM kv WHERE key >= ?1 ORDER BY key",
};

struct store_db {
	char path[PATH_MAX];
	sqlite3 *sql;
	sqlite3_stmt *statements[STATEMENTS];
	uint64_t revision; /* of the last commit that is durable */
	uint64_t transactions;
	bool doubtful; /* an fsync failed: what the file holds is known after opening it again */
	struct disk_reserve reserve;
};

/* Puts SQLite's last failure into words, with the kernel's where there are any. */
static bool fail(sqlite3 *sql, const char *path, const char *what, struct err *e)
{
	int code = sqlite3_errcode(sql);
	int sys = code == SQLITE_IOERR || code == SQLITE_CANTOPEN ? sqlite3_system_errno(sql) : 0;

	if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB) {
		return err_set(e, ERR_IO, "'%s' is damaged: %s", path, sqlite3_errmsg(sql));
	}
	return err_set(e, ERR_IO, "%s '%s': %s%s%s", what, path, sqlite3_errmsg(sql),
		       sys == 0 ? "" : ": ", sys == 0 ? "" : strerrordesc_np(sys));
}

/* Opening. */

static void close_sql(struct store_db *db)
{
	for (int i = 0; i < STATEMENTS; i++) {
		sqlite3_finalize(db->statements[i]);
		db->statements[i] = NULL;
	}
	sqlite3_close(db->sql);
	db->sql = NULL;
}

static bool write_schema(const char *path, struct err *e)
{
	sqlite3 *sql = NULL;
	bool ok = sqlite3_open_v2(path, &sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) ==
			  SQLITE_OK &&
		  sqlite3_exec(sql, schema, NULL, NULL, NULL) == SQLITE_OK &&
		  sqlite3_exec(sql, "PRAGMA journal_mode = WAL", NULL, NULL, NULL) == SQLITE_OK;

	if (!ok) {
		fail(sql, path, "create", e);
	}
	return sqlite3_close(sql) == SQLITE_OK && ok;
}

/*
 * Under another name first: a database is there whole or not at all, so an empty file is never one
 * that was just being made.
 */
static bool create(const char *path, struct err *e)
{
	char temp[PATH_MAX], wal[PATH_MAX];

	if (strlen(path) + sizeof "-reserve" > sizeof temp) {
		return err_set(e, ERR_INVALID, "the store's path has %zu bytes", strlen(path));
	}
	snprintf(wal, sizeof wal, "%s-wal", path);
	if (file_exists(wal)) {
		/* SQLite would read it into the new database */
		return err_set(e, ERR_IO, "'%s' is missing, but its log '%s' is there", path, wal);
	}
	snprintf(temp, sizeof temp, "%s-new", path);
	unlink(temp);
	auto_fd fd = open(temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		return err_sys(e, "create '%s'", temp);
	}
	fd_closep(&fd);
	fd = -1;
	if (!write_schema(temp, e)) {
		unlink(temp);
		return false;
	}
	if (rename(temp, path) < 0) {
		return err_sys(e, "rename '%s'", temp);
	}
	return file_sync_parent(path, e);
}

/* For the kernel's own words, which SQLite keeps to itself. Before SQLite has the file open. */
static bool check_file(const char *path, off_t *ret_bytes, struct err *e)
{
	struct stat st;
	auto_fd fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0) {
		return err_sys(e, "open '%s'", path);
	}
	if (!S_ISREG(st.st_mode)) {
		return err_set(e, ERR_IO, "'%s' is no file", path);
	}
	if (st.st_size == 0) {
		return err_set(e, ERR_IO, "'%s' is damaged: it is empty", path);
	}
	if ((st.st_mode & 077) != 0 && fchmod(fd, 0600) < 0) {
		return err_sys(e, "take '%s' from the others' reach", path);
	}
	*ret_bytes = st.st_size;
	return true;
}

/* The first column of the first row. */
static bool query_int(sqlite3 *sql, const char *query, int64_t *ret)
{
	sqlite3_stmt *st = NULL;
	bool ok = sqlite3_prepare_v2(sql, query, -1, &st, NULL) == SQLITE_OK &&
		  sqlite3_step(st) == SQLITE_ROW;

	if (ok) {
		*ret = sqlite3_column_int64(st, 0);
	}
	sqlite3_finalize(st);
	return ok;
}

/* The same as text, "" when there is none. */
static bool query_text(sqlite3 *sql, const char *query, char *buf, size_t size)
{
	sqlite3_stmt *st = NULL;
	bool ok = sqlite3_prepare_v2(sql, query, -1, &st, NULL) == SQLITE_OK &&
		  sqlite3_step(st) == SQLITE_ROW;
	const char *text = ok ? (const char *)sqlite3_column_text(st, 0) : NULL;

	str_copy(buf, size, text == NULL ? "" : text);
	sqlite3_finalize(st);
	return ok;
}

static bool check_version(struct store_db *db, struct err *e)
{
	int64_t application, version;

	if (!query_int(db->sql, "PRAGMA application_id", &application) ||
	    !query_int(db->sql, "PRAGMA user_version", &version)) {
		return fail(db->sql, db->path, "read", e);
	}
	if (application != APPLICATION) {
		return err_set(e, ERR_IO, "'%s' is a database, but not tanist's", db->path);
	}
	if (version > VERSION) {
		return err_set(
			e, ERR_CONFLICT,
			"'%s' was written by a newer tanist (format %lld, this one knows %d)",
			db->path, (long long)version, VERSION);
	}
	return true;
}

static bool check_content(struct store_db *db, off_t bytes, struct err *e)
{
	const char *query =
		bytes <= CHECK_WHOLE_BYTES ? "PRAGMA integrity_check(1)" : "PRAGMA quick_check(1)";
	char said[200];

	if (!query_text(db->sql, query, said, sizeof said)) {
		str_copy(said, sizeof said, sqlite3_errmsg(db->sql));
	}
	if (strcmp(said, "ok") == 0) {
		return true;
	}
	const char *line = strrchr(said, '\n'); /* behind a headline, "*** in database main ***" */
	return err_set(e, ERR_IO, "'%s' is damaged: %s", db->path, line == NULL ? said : line + 1);
}

/* The mode is in the file already; file systems without shared memory do not keep it. */
static bool set_durability(struct store_db *db, struct err *e)
{
	char mode[16];

	if (!query_text(db->sql, "PRAGMA journal_mode = WAL", mode, sizeof mode) ||
	    sqlite3_exec(db->sql, "PRAGMA synchronous = FULL; BEGIN IMMEDIATE; ROLLBACK", NULL,
			 NULL, NULL) != SQLITE_OK) {
		return fail(db->sql, db->path, "write to", e);
	}
	if (strcmp(mode, "wal") != 0) {
		return err_set(e, ERR_IO, "'%s' is on a file system without write-ahead log",
			       db->path);
	}
	return true;
}

static bool prepare(struct store_db *db, struct err *e)
{
	for (int i = 0; i < STATEMENTS; i++) {
		if (sqlite3_prepare_v3(db->sql, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &db->statements[i], NULL) != SQLITE_OK) {
			return fail(db->sql, db->path, "read", e);
		}
	}
	return true;
}

static bool read_revision(struct store_db *db, struct err *e)
{
	sqlite3_stmt *st = db->statements[GET_REVISION];
	int rc = sqlite3_step(st);

	if (rc == SQLITE_ROW) {
		db->revision = (uint64_t)sqlite3_column_int64(st, 0);
	}
	sqlite3_reset(st);
	return rc == SQLITE_ROW ||
	       err_set(e, ERR_IO, "'%s' is damaged: no number of the last commit", db->path);
}

static bool open_sql(struct store_db *db, struct err *e)
{
	off_t bytes = 0;

	if (!check_file(db->path, &bytes, e)) {
		return false;
	}
	if (sqlite3_open_v2(db->path, &db->sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK) {
		return fail(db->sql, db->path, "open", e);
	}
	sqlite3_busy_timeout(db->sql, BUSY_MS);
	return check_version(db, e) && check_content(db, bytes, e) && set_durability(db, e) &&
	       prepare(db, e) && read_revision(db, e);
}

bool store_db_open(const char *path, struct store_db **ret, struct err *e)
{
	struct stat st;
	struct store_db *db = calloc(1, sizeof *db);

	if (db == NULL) {
		abort();
	}
	if (stat(path, &st) < 0 && errno == ENOENT && !create(path, e)) {
		free(db);
		return false;
	}
	str_copy(db->path, sizeof db->path, path);
	if (!open_sql(db, e)) {
		close_sql(db);
		free(db);
		return false;
	}
	disk_reserve_init(&db->reserve, path, RESERVE_BYTES);
	*ret = db;
	return true;
}

void store_db_close(struct store_db *db)
{
	if (db != NULL) {
		close_sql(db);
		free(db);
	}
}

/* A transaction. */

/* Runs a statement without rows, its parameters bound; ready for the next time. */
static bool step(sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);

	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return rc == SQLITE_DONE;
}

/* The number of the commit that put the key, 0 when there is none. */
static bool find_revision(struct store_db *db, const char *key, uint64_t *ret)
{
	sqlite3_stmt *st = db->statements[FIND];

	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	int rc = sqlite3_step(st);
	*ret = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(st, 0) : 0;
	sqlite3_reset(st);
	return rc == SQLITE_ROW || rc == SQLITE_DONE;
}

static bool expectation_holds(const struct store_op *op, uint64_t revision)
{
	switch (op->expect) {
	case STORE_ANY:
		return true;
	case STORE_ABSENT:
		return revision == 0;
	case STORE_REVISION:
		return revision == op->revision;
	}
	return false;
}

/* Sets the outcome to STORE_CONFLICT when an expectation fails. False: the disk did. */
static bool check_expectations(struct store_db *db, struct store_change *c)
{
	for (size_t i = 0; i < c->n; i++) {
		uint64_t revision = 0;

		if (!find_revision(db, c->ops[i].key, &revision)) {
			return false;
		}
		if (!expectation_holds(&c->ops[i], revision)) {
			c->outcome = STORE_CONFLICT;
			err_set(&c->err, ERR_CONFLICT, "'%s' has changed", c->ops[i].key);
			return true;
		}
	}
	return true;
}

static bool apply_op(struct store_db *db, const struct store_op *op, uint64_t revision)
{
	sqlite3_stmt *st = db->statements[op->value == NULL ? DELETE : PUT];

	sqlite3_bind_text(st, 1, op->key, -1, SQLITE_STATIC);
	if (op->value != NULL) {
		sqlite3_bind_blob64(st, 2, op->value, op->len, SQLITE_STATIC);
		sqlite3_bind_int64(st, 3, (sqlite3_int64)revision);
	}
	return step(st);
}

/*
 * All of a commit's expectations are looked at before its first operation is carried out, so a
 * conflict leaves nothing to take back and no savepoint is needed.
 */
static bool apply(struct store_db *db, struct store_change *c, uint64_t *revision)
{
	c->outcome = STORE_COMMITTED;
	c->err = (struct err){};
	if (!check_expectations(db, c)) {
		return false;
	}
	if (c->outcome == STORE_CONFLICT) {
		return true;
	}
	c->revision = ++*revision;
	for (size_t i = 0; i < c->n; i++) {
		if (!apply_op(db, &c->ops[i], c->revision)) {
			return false;
		}
	}
	return true;
}

static bool exec(struct store_db *db, const char *sql)
{
	return sqlite3_exec(db->sql, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static void crash_at_commit(const char *when)
{
	crash_point("store", "commit", when);
}

void store_crash_points(void)
{
	crash_at_commit("before");
	crash_at_commit("after");
}

static bool end_transaction(struct store_db *db, uint64_t revision)
{
	sqlite3_stmt *st = db->statements[SET_REVISION];

	if (revision == db->revision) {
		return exec(db, "ROLLBACK"); /* nothing but conflicts */
	}
	sqlite3_bind_int64(st, 1, (sqlite3_int64)revision);
	if (!step(st)) {
		return false;
	}
	crash_at_commit("before");
	if (!exec(db, "COMMIT")) {
		return false;
	}
	crash_at_commit("after");
	db->transactions++;
	db->revision = revision;
	return true;
}

/* False: nothing was done; *ret_code is SQLite's, *e says it in words. */
static bool try_transaction(struct store_db *db, struct store_changes *changes, int *ret_code,
			    struct err *e)
{
	uint64_t revision = db->revision;
	struct store_change *c;
	bool ok = exec(db, "BEGIN IMMEDIATE");

	STAILQ_FOREACH(c, changes, next)
	{
		ok = ok && apply(db, c, &revision);
	}
	if (ok && end_transaction(db, revision)) {
		return true;
	}
	*ret_code = sqlite3_extended_errcode(db->sql);
	fail(db->sql, db->path, "write to", e);
	if (sqlite3_get_autocommit(db->sql) == 0) {
		exec(db, "ROLLBACK"); /* some failures have done so already */
	}
	return false;
}

static bool wants_room(int code)
{
	return (code & 0xff) == SQLITE_FULL ||
	       ((code & 0xff) == SQLITE_IOERR && code != SQLITE_IOERR_FSYNC);
}

static void fail_all(struct store_changes *changes, enum store_outcome outcome, const struct err *e)
{
	struct store_change *c;

	STAILQ_FOREACH(c, changes, next)
	{
		c->outcome = outcome;
		c->revision = 0;
		c->err = *e;
	}
}

/*
 * After a failed fsync nobody knows what of the log has reached the disk. Opening the file again
 * reads what is there: before anything else is done with it.
 */
static bool settle(struct store_db *db, struct err *e)
{
	if (!db->doubtful) {
		return true;
	}
	close_sql(db);
	if (!open_sql(db, e)) {
		close_sql(db);
		return false;
	}
	db->doubtful = false;
	return true;
}

void store_db_commit(struct store_db *db, struct store_changes *changes)
{
	struct err e = {};
	int code = SQLITE_OK;

	if (!settle(db, &e)) {
		fail_all(changes, STORE_FAILED, &e);
		return;
	}
	bool ok = try_transaction(db, changes, &code, &e);
	if (!ok && wants_room(code) && disk_reserve_release(&db->reserve)) {
		e = (struct err){};
		ok = try_transaction(db, changes, &code, &e);
	}
	if (ok) {
		disk_reserve_refill(&db->reserve);
		return;
	}
	db->doubtful = code == SQLITE_IOERR_FSYNC;
	fail_all(changes, db->doubtful ? STORE_UNKNOWN : STORE_FAILED, &e);
}

bool store_db_rows(struct store_db *db, const char *prefix, store_row_fn *row, void *arg,
		   struct err *e)
{
	int rc;
	bool ok = true;

	if (!settle(db, e)) {
		return false;
	}
	sqlite3_stmt *st = db->statements[ROWS];
	sqlite3_bind_text(st, 1, prefix, -1, SQLITE_STATIC);
	while (ok && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		const char *key = (const char *)sqlite3_column_text(st, 0);
		const char *value = sqlite3_column_blob(st, 1);

		if (!str_starts(key, prefix)) {
			break;
		}
		ok = row(arg, key, value == NULL ? "" : value, (size_t)sqlite3_column_bytes(st, 1),
			 (uint64_t)sqlite3_column_int64(st, 2), e);
	}
	if (ok && rc != SQLITE_ROW && rc != SQLITE_DONE) {
		ok = fail(db->sql, db->path, "read", e);
	}
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return ok;
}

uint64_t store_db_transactions(const struct store_db *db)
{
	return db->transactions;
}
