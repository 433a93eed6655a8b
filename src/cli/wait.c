/*
 * Look, show, wait for news, look again.
 */
#include "cli/wait.h"

#include "base/clock.h"
#include "cli/instance.h"
#include "cli/news.h"
#include "cli/progress.h"
#include "cli/table.h"

enum {
	HELD_S = 10,        /* a request for news is held so long */
	COPYING_HELD_S = 1, /* bytes are no news: look each second while they move */
};

enum outcome { PENDING, REACHED, FAILED };

struct waited {
	const char *id;
	enum outcome outcome;
	char name[256 * 4]; /* 255 characters */
	char status[24];
	struct instance_sync sync;
	char fault[400];
};

struct wait {
	struct cli *c;
	enum wait_for what;
	struct waited *rows;
	size_t n;
	int64_t limit_s;
	struct news news;
	struct progress *progress;
};

static void waited_set(struct waited *w, const json_t *instance, enum wait_for what)
{
	const char *status = api_text(instance, "status");

	str_copy(w->name, sizeof w->name, api_text(instance, "name"));
	str_copy(w->status, sizeof w->status, status);
	w->sync = instance_sync(instance);
	if (what == WAIT_GONE) {
		return;
	}
	if (str_eq(status, "ACTIVE") || str_eq(status, "HEALTHY")) {
		w->outcome = REACHED;
	} else if (str_eq(status, "ERROR") || str_eq(status, "FAILED")) {
		w->outcome = FAILED;
		str_copy(w->fault, sizeof w->fault,
			 api_text(api_object(instance, "fault"), "message"));
	}
}

static void waited_gone(struct waited *w, enum wait_for what)
{
	str_copy(w->status, sizeof w->status, "gone");
	w->sync = (struct instance_sync){};
	w->outcome = what == WAIT_GONE ? REACHED : FAILED;
	if (what == WAIT_ACTIVE) {
		str_copy(w->fault, sizeof w->fault, "it was deleted meanwhile");
	}
}

static bool look(struct wait *w, struct err *e)
{
	for (size_t i = 0; i < w->n; i++) {
		auto_answer r = {};
		auto_str path = {};

		if (w->rows[i].outcome != PENDING) {
			continue;
		}
		str_printf(&path, "/instances/%s", w->rows[i].id);
		bool ok = api_get(&w->c->api, str_cstr(&path), &r, e);

		if (!ok && r.status == 404) {
			waited_gone(&w->rows[i], w->what);
			ok = true;
		} else if (ok) {
			waited_set(&w->rows[i], api_object(r.json, "instance"), w->what);
		}
		if (!news_looked(&w->news, ok, e)) {
			return false;
		}
	}
	return true;
}

static void show(struct wait *w)
{
	struct progress_row rows[WAIT_IDS_MAX];

	for (size_t i = 0; i < w->n; i++) {
		const struct waited *row = &w->rows[i];

		rows[i] = (struct progress_row){
			.name = row->name[0] == '\0' ? row->id : row->name,
			.status = row->status[0] == '\0' ? "..." : row->status,
			.copying = row->sync.known && row->outcome == PENDING,
			.done_bytes = row->sync.done_bytes,
			.total_bytes = row->sync.total_bytes,
			.estimated = row->sync.estimated,
		};
	}
	progress_show(w->progress, rows, clock_ms());
}

static size_t count(const struct wait *w, enum outcome outcome)
{
	size_t n = 0;

	for (size_t i = 0; i < w->n; i++) {
		n += w->rows[i].outcome == outcome;
	}
	return n;
}

static bool copying(const struct wait *w)
{
	for (size_t i = 0; i < w->n; i++) {
		if (w->rows[i].outcome == PENDING && w->rows[i].sync.known) {
			return true;
		}
	}
	return false;
}

/* Is it about one of ours? */
static bool is_ours(const void *arg, const json_t *event)
{
	const struct wait *w = arg;

	for (size_t i = 0; i < w->n; i++) {
		if (str_eq(w->rows[i].id, api_text(event, "instance"))) {
			return true;
		}
	}
	return false;
}

static bool too_long(const struct wait *w, struct err *e)
{
	snprintf(w->c->api.hint, sizeof w->c->api.hint,
		 "it goes on without us: `tanist topology` shows it; --timeout SECONDS waits longer");
	return err_set(e, ERR_TIMEOUT, "waited %lld s, and %zu of %zu %s still not %s",
		       (long long)w->limit_s, count(w, PENDING), w->n,
		       count(w, PENDING) == 1 ? "is" : "are",
		       w->what == WAIT_GONE ? "gone" : "ACTIVE");
}

static bool failures(const struct wait *w, struct err *e)
{
	for (size_t i = 0; i < w->n; i++) {
		const struct waited *row = &w->rows[i];
		auto_str line = {};

		if (row->outcome == FAILED) {
			text_clean(row->name, &line);
			str_append(&line, ": ");
			text_clean(row->fault[0] == '\0' ? row->status : row->fault, &line);
			fprintf(stderr, "%s\n", str_cstr(&line));
		}
	}
	snprintf(w->c->api.hint, sizeof w->c->api.hint,
		 "`tanist events` shows what led there; `tanist delete` cleans up");
	return err_set(e, ERR_CONFLICT, "%zu of %zu did not become ACTIVE", count(w, FAILED), w->n);
}

static bool follow(struct wait *w, struct err *e)
{
	for (;;) {
		if (!look(w, e)) {
			return false;
		}
		show(w);
		if (count(w, PENDING) == 0) {
			return count(w, FAILED) == 0 || failures(w, e);
		}
		if (clock_ms() >= w->news.deadline_ms) {
			return too_long(w, e);
		}
		if (!news_await(&w->news, copying(w) ? COPYING_HELD_S : HELD_S, is_ours, w, e)) {
			return false;
		}
	}
}

bool wait_for_instances(struct cli *c, const struct id_text *ids, size_t n, enum wait_for what,
			struct err *e)
{
	int64_t limit_s = args_number(&c->args, OPT_TIMEOUT, WAIT_SECONDS);
	struct wait w = {
		.c = c,
		.what = what,
		.n = n > WAIT_IDS_MAX ? WAIT_IDS_MAX : n,
		.limit_s = limit_s,
		.news = news_start(&c->api, clock_ms() + SEC(limit_s)),
	};

	w.rows = arena_alloc(&c->arena, sizeof *w.rows * w.n);
	w.progress = progress_new(w.n);
	for (size_t i = 0; i < w.n; i++) {
		w.rows[i].id = ids[i].s;
	}
	bool ok = follow(&w, e);

	progress_free(w.progress);
	return ok;
}
