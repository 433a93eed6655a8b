/*
 * Look, show, wait for news, look again. The number of the newest event is asked for before the
 * first look, so that a change between the two is not slept through.
 */
#include "cli/wait.h"

#include <inttypes.h>
#include <time.h>

#include "base/clock.h"
#include "cli/instance.h"
#include "cli/progress.h"
#include "cli/table.h"

enum {
	HELD_S = 10,         /* a request for news is held so long */
	COPYING_HELD_S = 1,  /* bytes are no news: look each second while they move */
	POLL_MS = 500,       /* where there is no event stream */
	AWAY_MS = 20'000,    /* a control plane that restarts is back long before */
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
	int64_t limit_s, deadline_ms;
	int64_t looked_ms;  /* when the instances were last asked for */
	int64_t away_since_ms; /* the server does not answer since then; 0: it does */
	uint64_t seen;      /* number of the last event we know of */
	bool polling;
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

/* True also when the server is away for no longer than it may be. */
static bool tolerate(struct wait *w, bool answered, struct err *e)
{
	int64_t now = clock_ms();

	if (answered) {
		w->away_since_ms = 0;
		return true;
	}
	if (w->away_since_ms == 0) {
		w->away_since_ms = now;
	}
	return e->code == ERR_UNAVAILABLE && now - w->away_since_ms < AWAY_MS;
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
		if (!tolerate(w, ok, e)) {
			return false;
		}
	}
	w->looked_ms = clock_ms();
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

static bool is_ours(const struct wait *w, const char *instance)
{
	for (size_t i = 0; i < w->n; i++) {
		if (str_eq(w->rows[i].id, instance)) {
			return true;
		}
	}
	return false;
}

/* Remembers the last number; true when one of the events is about an instance of ours. */
static bool read_events(struct wait *w, const json_t *answer)
{
	const json_t *events = api_array(answer, "events");
	bool ours = false;

	for (size_t i = 0; i < json_array_size(events); i++) {
		ours = ours || is_ours(w, api_text(json_array_get(events, i), "instance"));
	}
	w->seen = api_events_next(answer, w->seen);
	return ours;
}

/* Where the event stream stands now: asked before the first look, so that nothing falls between. */
static void find_last_event(struct wait *w)
{
	struct err e = {};

	w->polling = !api_events_last(&w->c->api, &w->seen, &e);
}

static void pause_ms(int64_t ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1'000'000 };

	(void)nanosleep(&t, NULL);
}

/* Returns when there is a reason to look again. */
static bool await_news(struct wait *w, struct err *e)
{
	int64_t held_s = copying(w) ? COPYING_HELD_S : HELD_S;
	int64_t until_ms = w->looked_ms + held_s * 1000;

	for (;;) {
		int64_t left_ms = w->deadline_ms - clock_ms();
		auto_answer r = {};
		auto_str path = {};

		if (w->polling || w->away_since_ms != 0 || left_ms < held_s * 1000) {
			pause_ms(left_ms < POLL_MS ? (left_ms > 0 ? left_ms : 0) : POLL_MS);
			return true;
		}
		str_printf(&path, "/events?after=%" PRIu64 "&wait=%lld", w->seen, (long long)held_s);
		if (!api_call(&w->c->api, "GET", str_cstr(&path), NULL, (held_s + 5) * 1000, &r, e)) {
			w->polling = r.status != 0; /* an answer, but no event stream */
			return w->polling || tolerate(w, false, e);
		}
		if (read_events(w, r.json) || clock_ms() >= until_ms) {
			return true;
		}
		if (json_array_size(api_array(r.json, "events")) == 0) {
			return true; /* the hold ended */
		}
	}
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
	find_last_event(w);
	for (;;) {
		if (!look(w, e)) {
			return false;
		}
		show(w);
		if (count(w, PENDING) == 0) {
			return count(w, FAILED) == 0 || failures(w, e);
		}
		if (clock_ms() >= w->deadline_ms) {
			return too_long(w, e);
		}
		if (!await_news(w, e)) {
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
		.deadline_ms = clock_ms() + limit_s * 1000,
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
