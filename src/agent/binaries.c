#include "agent/binaries.h"

#include <limits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "core/versions.h"
#include "io/file.h"
#include "io/process.h"

enum { VERSION_LIMIT_MS = 3000, VERSION_OUTPUT_MAX = 4096, CANDIDATES_MAX = HOST_DATASTORES_MAX };

struct candidate {
	struct binaries *b;
	struct host_datastore row; /* version "" until it has answered */
	char output[PATH_MAX];
	struct process *process;
	bool running;
};

struct binaries {
	struct loop *loop;
	const char *scratch_dir;
	struct candidate *candidates;
	size_t ncandidates, nrunning;
	struct timer *limit;
	loop_fn *done;
	void *arg;
};

bool binaries_read_version(const char *text, struct host_datastore *ret)
{
	static const struct {
		const char *says, *datastore;
	} kinds[] = { { "Redis server v=", "redis" }, { "Valkey server v=", "valkey" } };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (!str_starts(text, kinds[i].says)) {
			continue;
		}
		const char *v = text + strlen(kinds[i].says);
		struct host_datastore row = *ret;
		struct server_version parsed;

		snprintf(row.version, sizeof row.version, "%.*s", (int)strcspn(v, " \n"), v);
		str_copy(row.datastore, sizeof row.datastore, kinds[i].datastore);
		if (!version_parse(row.datastore, row.version, &parsed) ||
		    !version_supported(parsed)) {
			return false;
		}
		*ret = row;
		return true;
	}
	return false;
}

/* /usr/bin/redis-server may be a link to a program that looks at its own name: not resolved. */
static void candidate_add(struct binaries *b, const char *path)
{
	struct candidate *c = &b->candidates[b->ncandidates];

	if (b->ncandidates == CANDIDATES_MAX || path[0] != '/' || access(path, X_OK) != 0) {
		return;
	}
	for (size_t i = 0; i < b->ncandidates; i++) {
		if (str_eq(b->candidates[i].row.binary, path)) {
			return;
		}
	}
	if (!str_copy(c->row.binary, sizeof c->row.binary, path)) {
		return;
	}
	c->b = b;
	snprintf(c->output, sizeof c->output, "%s/version-%zu.out", b->scratch_dir, b->ncandidates);
	b->ncandidates++;
}

/* fn for each part of text between separators; parts longer than a path are left out. */
static void each_part(struct binaries *b, const char *text, const char *separators,
		      void (*fn)(struct binaries *, const char *))
{
	while (*text != '\0') {
		size_t n = strcspn(text, separators);
		char part[PATH_MAX];

		if (n > 0 && n < sizeof part) {
			memcpy(part, text, n);
			part[n] = '\0';
			fn(b, part);
		}
		text += n + (text[n] != '\0');
	}
}

static void folder_add(struct binaries *b, const char *folder)
{
	static const char *const names[] = { "redis-server", "valkey-server" };
	auto_str path = {};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		str_clear(&path);
		str_printf(&path, "%s/%s", folder, names[i]);
		candidate_add(b, path.p);
	}
}

static void finish(void *arg)
{
	struct binaries *b = arg;

	timer_stop(b->limit);
	b->done(b->arg);
}

static void finish_soon(struct binaries *b)
{
	if (b->nrunning == 0) {
		timer_set_in(b->limit, 0);
	}
}

static void read_answer(struct candidate *c)
{
	auto_str text = {};
	struct err e;

	if (!file_read(c->output, VERSION_OUTPUT_MAX, &text, &e) ||
	    !binaries_read_version(str_cstr(&text), &c->row)) {
		LOG(LOG_WARN, "binary.ignored", KV("path", c->row.binary),
		    KV("reason", "it does not say a version that can be served"));
	}
	unlink(c->output);
}

static void on_answer(void *arg, int, int)
{
	struct candidate *c = arg;

	c->running = false;
	c->b->nrunning--;
	read_answer(c);
	finish_soon(c->b);
}

/* The scan's limit, and its end: finish() runs from here, never from within binaries_scan(). */
static void on_limit(void *arg)
{
	struct binaries *b = arg;

	for (size_t i = 0; i < b->ncandidates; i++) {
		struct candidate *c = &b->candidates[i];

		if (c->running) {
			LOG(LOG_WARN, "binary.ignored", KV("path", c->row.binary),
			    KV("reason", "no answer to --version"));
			(void)process_signal(c->process, SIGKILL, NULL);
			process_free(c->process);
			c->process = NULL;
			c->running = false;
		}
	}
	b->nrunning = 0;
	finish(b);
}

static void ask(struct candidate *c)
{
	const char *argv[] = { c->row.binary, "--version", NULL };
	struct process_start s = { .argv = argv, .dir = "/", .output = c->output };
	struct err e;

	unlink(c->output);
	if (!process_spawn(c->b->loop, &s, on_answer, c, &c->process, &e)) {
		LOG(LOG_WARN, "binary.ignored", KV("path", c->row.binary), KV("reason", e.msg));
		return;
	}
	c->running = true;
	c->b->nrunning++;
}

struct binaries *binaries_scan(struct loop *l, const char *wanted, const char *scratch_dir,
			       loop_fn *done, void *arg)
{
	struct binaries *b = calloc(1, sizeof *b);

	if (b == NULL ||
	    (b->candidates = calloc(CANDIDATES_MAX + 1, sizeof *b->candidates)) == NULL) {
		abort();
	}
	b->loop = l;
	b->scratch_dir = scratch_dir;
	b->done = done;
	b->arg = arg;
	b->limit = timer_new(l, on_limit, b);
	if (wanted[0] != '\0') {
		each_part(b, wanted, " ", candidate_add);
	} else {
		const char *path = getenv("PATH");

		each_part(b, path == NULL ? "" : path, ":", folder_add);
		each_part(b, "/usr/bin:/usr/local/bin", ":", folder_add);
	}
	for (size_t i = 0; i < b->ncandidates; i++) {
		ask(&b->candidates[i]);
	}
	timer_set_in(b->limit, VERSION_LIMIT_MS);
	finish_soon(b);
	return b;
}

void binaries_free(struct binaries *b)
{
	if (b == NULL) {
		return;
	}
	for (size_t i = 0; i < b->ncandidates; i++) {
		process_free(b->candidates[i].process);
	}
	timer_free(b->limit);
	free(b->candidates);
	free(b);
}

static bool listed(const struct host_datastore *rows, size_t n, const struct host_datastore *row)
{
	for (size_t i = 0; i < n; i++) {
		if (str_eq(rows[i].datastore, row->datastore) &&
		    str_eq(rows[i].version, row->version)) {
			return true;
		}
	}
	return false;
}

size_t binaries_list(const struct binaries *b, struct host_datastore *rows)
{
	size_t n = 0;

	for (size_t i = 0; i < b->ncandidates && n < HOST_DATASTORES_MAX; i++) {
		const struct host_datastore *row = &b->candidates[i].row;

		if (row->version[0] != '\0' && !listed(rows, n, row)) {
			rows[n++] = *row;
		}
	}
	return n;
}

bool binaries_find(const struct host *h, const char *datastore, const char *version,
		   const char **ret, struct err *e)
{
	auto_str have = {};

	for (size_t i = 0; i < h->ndatastores; i++) {
		const struct host_datastore *d = &h->datastores[i];

		if (str_eq(d->datastore, datastore) && str_eq(d->version, version)) {
			*ret = d->binary;
			return true;
		}
		str_printf(&have, "%s%s %s", have.len > 0 ? ", " : "", d->datastore, d->version);
	}
	return err_set(e, ERR_NOT_FOUND, "%s %s is not installed on this host (have: %s)",
		       datastore, version, have.len > 0 ? have.p : "none");
}
