/*
 * The marker's own file. What it looks at is in marker_files.c.
 */
#include "agent/marker.h"

#include <inttypes.h>

#include "base/str.h"
#include "io/file.h"
#include "proto/json.h"

enum { MARKER_FORMAT = 1, MARKER_BYTES_MAX = 32 << 10 };

void marker_done(struct marker *m)
{
	marker_files_done(&m->files);
	*m = (struct marker){};
}

static void write_files(struct jw *w, const struct marker_files *f)
{
	if (f->manifest != NULL) {
		jw_str(w, "manifest", f->manifest);
	}
	jw_bool(w, "over", f->over);
	jw_array(w, "files");
	for (size_t i = 0; i < f->nfiles; i++) {
		const struct marker_file *one = &f->files[i];

		jw_object(w, NULL);
		jw_str(w, "name", one->name);
		jw_int(w, "inode", (int64_t)one->inode);
		jw_int(w, "born_ns", one->born_ns);
		jw_int(w, "size", one->size);
		jw_int(w, "mtime_ns", one->mtime_ns);
		jw_end(w);
	}
	jw_end(w);
}

bool marker_save(const char *path, const struct marker *m, struct err *e)
{
	auto_str text = {};
	struct jw w = { .out = &text };

	jw_object(&w, NULL);
	jw_int(&w, "format", MARKER_FORMAT);
	jw_bool(&w, "trusted", m->trusted);
	jw_str(&w, "boot", m->boot);
	jw_str(&w, "run_id", m->run_id.s);
	jw_str(&w, "role", server_role_name(m->role));
	jw_bool(&w, "durable", m->durable);
	jw_bool(&w, "clean", m->clean);
	jw_object(&w, "position");
	jw_str(&w, "replid", m->position.replid.s);
	jw_int(&w, "offset", m->position.offset);
	jw_int(&w, "keys", m->position.keys);
	jw_end(&w);
	write_files(&w, &m->files);
	jw_str(&w, "verdict", marker_verdict_name(m->verdict));
	jw_bool(&w, "pending", m->pending);
	jw_end(&w);
	return file_replace(path, text.p, text.len, 0600, e);
}

static bool read_file(const json_t *j, struct marker_file *ret, struct err *e)
{
	int64_t inode;

	if (!json_get_i64(j, "inode", &inode, e) ||
	    !json_opt_text(j, "name", ret->name, sizeof ret->name, e) ||
	    !json_get_i64(j, "born_ns", &ret->born_ns, e) ||
	    !json_get_i64(j, "size", &ret->size, e) ||
	    !json_get_i64(j, "mtime_ns", &ret->mtime_ns, e)) {
		return false;
	}
	ret->inode = (uint64_t)inode;
	return true;
}

static bool read_files(const json_t *j, struct marker_files *f, struct err *e)
{
	const json_t *list = NULL;
	const char *manifest = NULL;

	if (!json_opt_str(j, "manifest", &manifest, e) || !json_opt_bool(j, "over", &f->over, e) ||
	    !json_opt_array(j, "files", &list, e)) {
		return false;
	}
	size_t n = json_array_size(list);
	if (n > MARKER_FILES_MAX) {
		return err_set(e, ERR_OVER_LIMIT, "%zu files", n);
	}
	if (manifest != NULL) {
		f->manifest = strdup(manifest);
	}
	f->files = calloc(n > 0 ? n : 1, sizeof *f->files);
	if (f->files == NULL || (manifest != NULL && f->manifest == NULL)) {
		abort();
	}
	for (; f->nfiles < n; f->nfiles++) {
		if (!read_file(json_array_get(list, f->nfiles), &f->files[f->nfiles], e)) {
			return false;
		}
	}
	return true;
}

static bool read_position(const json_t *j, struct recorded_position *p, struct err *e)
{
	const json_t *o;

	return json_get_object(j, "position", &o, e) &&
	       json_opt_text(o, "replid", p->replid.s, sizeof p->replid.s, e) &&
	       json_get_i64(o, "offset", &p->offset, e) && json_get_i64(o, "keys", &p->keys, e);
}

static bool read_words(const json_t *j, struct marker *m, struct err *e)
{
	const char *role = "", *verdict = "";

	if (!json_get_str(j, "role", &role, e) || !json_get_str(j, "verdict", &verdict, e)) {
		return false;
	}
	if (!server_role_parse(role, &m->role) || !marker_verdict_parse(verdict, &m->verdict)) {
		return err_set(e, ERR_INVALID, "unknown role or verdict");
	}
	return true;
}

static bool read_marker(const json_t *j, struct marker *m, struct err *e)
{
	int64_t format = 0;

	if (!json_get_i64(j, "format", &format, e)) {
		return false;
	}
	if (format != MARKER_FORMAT) {
		return err_set(e, ERR_INVALID, "format %" PRId64 " is of another version of tanist",
			       format);
	}
	m->known = true;
	return json_opt_bool(j, "trusted", &m->trusted, e) &&
	       json_opt_text(j, "boot", m->boot, sizeof m->boot, e) &&
	       json_opt_text(j, "run_id", m->run_id.s, sizeof m->run_id.s, e) &&
	       read_words(j, m, e) && json_opt_bool(j, "durable", &m->durable, e) &&
	       json_opt_bool(j, "clean", &m->clean, e) && read_position(j, &m->position, e) &&
	       read_files(j, &m->files, e) && json_opt_bool(j, "pending", &m->pending, e);
}

bool marker_load(const char *path, struct marker *ret, struct err *e)
{
	auto_str text = {};
	auto_json *j = NULL;
	struct marker m = {};
	struct err why = {};

	if (!file_read(path, MARKER_BYTES_MAX, &text, &why)) {
		if (why.code == ERR_NOT_FOUND) {
			*ret = m;
			return true;
		}
		*e = why;
		return false;
	}
	if (!json_parse(str_cstr(&text), text.len, &j, e) || !read_marker(j, &m, e)) {
		marker_done(&m);
		return err_wrap(e, "'%s'", path);
	}
	*ret = m;
	return true;
}
