#include "agent/adopt.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <unistd.h>

#include "base/str.h"
#include "io/file.h"
#include "proto/json.h"

enum { RUN_RECORD_FORMAT = 1, RUN_RECORD_MAX = 4096 };

bool run_record_save(const char *path, const struct run_record *r, struct err *e)
{
	auto_str text = {};
	struct jw w = { .out = &text };

	jw_object(&w, NULL);
	jw_int(&w, "format", RUN_RECORD_FORMAT);
	jw_int(&w, "pid", r->key.pid);
	jw_int(&w, "start_ticks", (int64_t)r->key.start_ticks);
	jw_str(&w, "boot", r->key.boot);
	jw_bool(&w, "guarded", r->mode.guarded);
	jw_bool(&w, "from_rdb", r->mode.from_rdb);
	jw_str(&w, "socket", r->socket);
	jw_int(&w, "settings", (int64_t)r->settings);
	jw_end(&w);
	return file_replace(path, text.p, text.len, 0600, e);
}

static bool read_record(const json_t *j, struct run_record *r, struct err *e)
{
	int64_t format = 0, pid = 0, ticks = 0, settings = 0;

	if (!json_get_i64(j, "format", &format, e) || !json_get_i64(j, "pid", &pid, e) ||
	    !json_get_i64(j, "start_ticks", &ticks, e) ||
	    !json_opt_text(j, "boot", r->key.boot, sizeof r->key.boot, e) ||
	    !json_opt_bool(j, "guarded", &r->mode.guarded, e) ||
	    !json_opt_bool(j, "from_rdb", &r->mode.from_rdb, e) ||
	    !json_opt_text(j, "socket", r->socket, sizeof r->socket, e) ||
	    !json_opt_i64(j, "settings", &settings, e)) {
		return false;
	}
	if (format != RUN_RECORD_FORMAT || pid <= 0 || pid > INT_MAX) {
		return err_set(e, ERR_INVALID, "format %" PRId64 ", process %" PRId64, format, pid);
	}
	r->key.pid = (pid_t)pid;
	r->key.start_ticks = (uint64_t)ticks;
	r->settings = (uint64_t)settings;
	return true;
}

bool run_record_load(const char *path, struct run_record *ret, struct err *e)
{
	auto_str text = {};
	auto_json *j = NULL;
	struct run_record r = {};

	if (!file_read(path, RUN_RECORD_MAX, &text, e)) {
		return false;
	}
	if (!json_parse(str_cstr(&text), text.len, &j, e) || !read_record(j, &r, e)) {
		return err_wrap(e, "'%s'", path);
	}
	*ret = r;
	return true;
}

/* Fields of /proc/PID/stat behind the name, which may hold anything: state ppid pgrp session ... */
static bool read_session(pid_t pid, long *ret_session, uint64_t *ret_ticks, char *comm, size_t size)
{
	char path[40];
	auto_str line = {};
	char state;

	snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
	if (!file_read(path, KIB(4), &line, NULL)) {
		return false;
	}
	const char *name = strchr(str_cstr(&line), '('), *end = strrchr(str_cstr(&line), ')');
	if (name == NULL || end == NULL) {
		return false;
	}
	snprintf(comm, size, "%.*s", (int)(end - name - 1), name + 1);
	return sscanf(end + 1,
		      " %c %*d %*d %ld %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d"
		      " %" SCNu64,
		      &state, ret_session, ret_ticks) == 3 &&
	       state != 'Z' && state != 'X';
}

/* A person's shell may well be in that folder: only a server program counts. */
static bool is_server(pid_t pid, const char *data_dir, struct process_key *ret)
{
	char link[40], cwd[PATH_MAX], comm[64];
	long session = 0;
	uint64_t ticks = 0;

	snprintf(link, sizeof link, "/proc/%ld/cwd", (long)pid);
	ssize_t n = readlink(link, cwd, sizeof cwd - 1);
	if (n <= 0) {
		return false;
	}
	cwd[n] = '\0';
	if (!str_eq(cwd, data_dir) || !read_session(pid, &session, &ticks, comm, sizeof comm) ||
	    session != pid || (strstr(comm, "redis") == NULL && strstr(comm, "valkey") == NULL)) {
		return false;
	}
	*ret = (struct process_key){ .pid = pid, .start_ticks = ticks };
	str_copy(ret->boot, sizeof ret->boot, boot_id());
	return true;
}

static void closedirp(DIR **d)
{
	if (*d != NULL) {
		closedir(*d);
	}
}

bool adopt_find(const char *data_dir, struct process_key *ret, struct err *e)
{
	[[gnu::cleanup(closedirp)]] DIR *proc = opendir("/proc");

	if (proc == NULL) {
		return err_sys(e, "open '/proc'");
	}
	for (struct dirent *d = readdir(proc); d != NULL; d = readdir(proc)) {
		uint64_t pid;

		if (str_to_u64(d->d_name, &pid) && pid <= INT_MAX &&
		    is_server((pid_t)pid, data_dir, ret)) {
			return true;
		}
	}
	return err_set(e, ERR_NOT_FOUND, "no server works in '%s'", data_dir);
}
