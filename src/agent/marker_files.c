/*
 * Looking at a server's files and judging them by the marker. The names are those of the
 * configuration the agent writes: appendonlydir/appendonly.aof.* from 7.0 on, appendonly.aof
 * before, dump.rdb.
 */
#include "agent/marker.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/macros.h"
#include "base/str.h"
#include "io/file.h"

#define AOF_FOLDER "appendonlydir"
#define AOF_MANIFEST AOF_FOLDER "/appendonly.aof.manifest"
#define AOF_SINGLE "appendonly.aof"
#define RDB_FILE "dump.rdb"

void marker_files_done(struct marker_files *f)
{
	free(f->manifest);
	free(f->files);
	*f = (struct marker_files){};
}

static int64_t ns(struct statx_timestamp t)
{
	return t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ERR_NOT_FOUND when it is not there. */
static bool look_at(const char *data_dir, const char *name, struct marker_file *ret, struct err *e)
{
	auto_str path = {};
	struct statx st;

	str_printf(&path, "%s/%s", data_dir, name);
	if (statx(AT_FDCWD, path.p, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &st) !=
	    0) {
		return errno == ENOENT || errno == ENOTDIR
			       ? err_set(e, ERR_NOT_FOUND, "there is no '%s'", path.p)
			       : err_sys(e, "look at '%s'", path.p);
	}
	*ret = (struct marker_file){
		.inode = st.stx_ino,
		.born_ns = (st.stx_mask & STATX_BTIME) != 0 ? ns(st.stx_btime) : 0,
		.size = (int64_t)st.stx_size,
		.mtime_ns = ns(st.stx_mtime),
	};
	if (!str_copy(ret->name, sizeof ret->name, name)) {
		return err_set(e, ERR_OVER_LIMIT, "'%s' is too long a name", name);
	}
	return true;
}

static bool files_add(struct marker_files *f, const char *data_dir, const char *name, struct err *e)
{
	struct marker_file one;
	struct err why = {};

	if (f->nfiles == MARKER_FILES_MAX) {
		f->over = true;
		return true;
	}
	if (!look_at(data_dir, name, &one, &why)) {
		if (why.code == ERR_NOT_FOUND) {
			return true; /* its absence is what the marker will notice */
		}
		if (why.code == ERR_OVER_LIMIT) {
			f->over = true;
			return true;
		}
		if (e != NULL) {
			*e = why;
		}
		return false;
	}
	struct marker_file *more = reallocarray(f->files, f->nfiles + 1, sizeof *more);
	if (more == NULL) {
		abort();
	}
	f->files = more;
	f->files[f->nfiles++] = one;
	return true;
}

/* One line of a manifest: "file NAME seq N type b|i|h"; files of type h are about to go. */
static bool manifest_line(struct marker_files *f, const char *data_dir, const char *line,
			  struct err *e)
{
	char name[MARKER_NAME_MAX], path[MARKER_NAME_MAX + sizeof AOF_FOLDER];
	unsigned long long seq;
	char type;

	static_assert(MARKER_NAME_MAX == 64, "the scanf below");
	if (sscanf(line, "file %63s seq %llu type %c", name, &seq, &type) != 3 ||
	    strchr(name, '/') != NULL) {
		f->over = true;
		return true;
	}
	if (type == 'h') {
		return true;
	}
	snprintf(path, sizeof path, AOF_FOLDER "/%s", name);
	return files_add(f, data_dir, path, e);
}

static bool look_at_manifest(struct marker_files *f, const char *data_dir, struct err *e)
{
	auto_str path = {};
	auto_str text = {};
	struct err why = {};

	str_printf(&path, "%s/" AOF_MANIFEST, data_dir);
	if (!file_read(path.p, MARKER_MANIFEST_MAX, &text, &why)) {
		if (why.code == ERR_NOT_FOUND) {
			return true;
		}
		if (why.code == ERR_OVER_LIMIT) {
			f->over = true;
			return true;
		}
		if (e != NULL) {
			*e = why;
		}
		return false;
	}
	str_append(&text, "");
	for (const char *line = text.p; *line != '\0';) {
		const char *end = strchrnul(line, '\n');

		if (end > line && *line != '#' && !manifest_line(f, data_dir, line, e)) {
			return false;
		}
		line = *end == '\0' ? end : end + 1;
	}
	f->manifest = str_take(&text);
	return true;
}

bool marker_look(const char *data_dir, struct marker_files *ret, struct err *e)
{
	struct marker_files f = {};

	bool ok = look_at_manifest(&f, data_dir, e) && files_add(&f, data_dir, AOF_SINGLE, e) &&
		  /* With an AOF the RDB is not loaded, and every save point replaces it. */
		  (f.nfiles > 0 || f.manifest != NULL || files_add(&f, data_dir, RDB_FILE, e));
	if (!ok) {
		marker_files_done(&f);
		return false;
	}
	*ret = f;
	return true;
}

static bool is_rdb(const char *data_dir)
{
	auto_str path = {};
	char magic[5];

	str_printf(&path, "%s/" RDB_FILE, data_dir);
	FILE *f = fopen(path.p, "re");
	if (f == NULL) {
		return false;
	}
	bool ok = fread(magic, 1, sizeof magic, f) == sizeof magic &&
		  (memcmp(magic, "REDIS", 5) == 0 || memcmp(magic, "VALKE", 5) == 0);
	fclose(f);
	return ok;
}

/*
 * Every file of the AOF was last written to at this time of the RDB's or before. Without any AOF
 * marker_look() gives the RDB itself, which is all that there is.
 */
static bool rdb_is_behind(const char *data_dir, int64_t (*time_of)(const struct marker_file *rdb))
{
	struct marker_files aof = {};
	struct marker_file rdb;

	if (!is_rdb(data_dir) || !look_at(data_dir, RDB_FILE, &rdb, NULL) ||
	    !marker_look(data_dir, &aof, NULL)) {
		return false;
	}
	bool newest = !aof.over;

	for (size_t i = 0; i < aof.nfiles; i++) {
		bool itself = str_eq(aof.files[i].name, RDB_FILE);

		newest = newest && (itself || time_of(&rdb) >= aof.files[i].mtime_ns);
	}
	marker_files_done(&aof);
	return newest;
}

static int64_t written_at(const struct marker_file *rdb)
{
	return rdb->mtime_ns;
}

/*
 * A server's own file is born before it is written; a copy that kept its times is not. Less 1:
 * these times come in ticks of some milliseconds, and in the same one the AOF may have been the
 * later.
 */
static int64_t begun_at(const struct marker_file *rdb)
{
	return rdb->born_ns <= rdb->mtime_ns ? rdb->born_ns - 1 : -1;
}

bool marker_rdb_is_newest(const char *data_dir)
{
	return rdb_is_behind(data_dir, written_at);
}

bool marker_rdb_holds_aof(const char *data_dir)
{
	return rdb_is_behind(data_dir, begun_at);
}

uint64_t marker_glance(const char *data_dir)
{
	static const char *const names[] = { AOF_MANIFEST, AOF_SINGLE };
	uint64_t sum = 1;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct marker_file f;

		if (look_at(data_dir, names[i], &f, NULL)) {
			/* The single file of old versions grows: its time says nothing. */
			uint64_t time = i == 0 ? (uint64_t)f.mtime_ns : 0;

			sum = sum * 0x100000001b3u + f.inode + (uint64_t)f.born_ns + time;
		}
		sum *= 31;
	}
	return sum;
}

static bool no_files(const struct marker_files *f)
{
	return f->nfiles == 0 && f->manifest == NULL && !f->over;
}

static bool same_file(const struct marker_file *was, const struct marker_file *is)
{
	return strcmp(was->name, is->name) == 0 && was->inode == is->inode &&
	       was->born_ns == is->born_ns;
}

static bool same_files(const struct marker_files *was, const struct marker_files *is)
{
	if (was->over || is->over || was->nfiles != is->nfiles ||
	    !str_eq(was->manifest, is->manifest)) {
		return false;
	}
	for (size_t i = 0; i < was->nfiles; i++) {
		if (!same_file(&was->files[i], &is->files[i])) {
			return false;
		}
	}
	return true;
}

/* A file only grows while a server has it; after a clean stop nothing touches it at all. */
static bool sizes_fit(const struct marker *m, const struct marker_files *now)
{
	for (size_t i = 0; i < now->nfiles; i++) {
		const struct marker_file *was = &m->files.files[i], *is = &now->files[i];

		if (m->clean ? was->size != is->size || was->mtime_ns != is->mtime_ns
			     : is->size < was->size) {
			return false;
		}
	}
	return true;
}

enum marker_verdict marker_judge(const struct marker *m, const struct marker_files *now,
				 const char *boot)
{
	if (!m->known) {
		return no_files(now) ? MARKER_NEW : MARKER_MISSING;
	}
	if (!m->trusted) {
		return MARKER_MISSING;
	}
	if (!m->durable || no_files(&m->files) || !same_files(&m->files, now)) {
		return MARKER_DIFFERENT;
	}
	bool same_boot = boot[0] != '\0' && strcmp(m->boot, boot) == 0;
	if (!same_boot && !m->clean) {
		return MARKER_REBOOTED; /* sizes may rightly have shrunk to what was synchronised */
	}
	return sizes_fit(m, now) ? MARKER_INTACT : MARKER_DIFFERENT;
}
