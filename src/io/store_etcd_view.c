/*
 * What is there, as a follower is told of it: all rows once, and from there on one watch. Rows are
 * not kept, only which keys there are and their revisions: when a watch cannot go on where the last
 * one ended (etcd has compacted that away) all is listed again, and what differs is given.
 *
 * etcd gives a revision's events in one answer (we do not ask for fragments), in order, so commits
 * are given whole.
 */
#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/store_etcd_impl.h"

enum {
	AGAIN_MS = 200,
	STEADY_MS = 1000,  /* a watch that ran so long is begun anew at once */
	REFUSED_MS = 5000, /* somebody has to act first */
};

static void begin_in(struct store_etcd *s, int64_t ms)
{
	s->view.phase = VIEW_PAUSED;
	timer_set_in(s->view.again, ms);
}

/* ---- rows to be given ---- */

static void keep_row(struct view *v, const char *key, const char *value, size_t len,
		     uint64_t revision)
{
	struct view_row *r = arena_alloc(&v->arena, sizeof *r);

	r->row = (struct store_row){ .key = arena_strdup(&v->arena, key),
				     .value = value == NULL ? NULL
							    : arena_dup(&v->arena, value, len + 1),
				     .len = len,
				     .revision = revision };
	STAILQ_INSERT_TAIL(&v->rows, r, next);
	v->nrows++;
}

static void drop_rows(struct view *v)
{
	arena_done(&v->arena);
	STAILQ_INIT(&v->rows);
	v->nrows = 0;
}

static void remember(struct view *v, const struct store_row *row)
{
	if (row->value == NULL) {
		revisions_drop(&v->known, row->key);
	} else {
		revisions_put(&v->known, row->key, row->revision)->pass = v->pass;
	}
}

static void give_rows(struct store_etcd *s)
{
	struct view *v = &s->view;
	struct view_row *r;
	struct store_row *rows = arena_alloc(&v->arena, v->nrows * sizeof *rows);
	size_t n = 0;

	STAILQ_FOREACH(r, &v->rows, next)
	{
		remember(v, &r->row);
		rows[n++] = r->row;
	}
	if (n > 0 && s->listener.changed != NULL) {
		s->listener.changed(s->listener.arg, rows, n);
	}
	drop_rows(v);
}

/* The first load: row by row. */
static void give_first(struct store_etcd *s)
{
	struct view *v = &s->view;
	struct view_row *r;
	struct err e = {};

	STAILQ_FOREACH(r, &v->rows, next)
	{
		remember(v, &r->row);
		if (!v->row(v->load_arg, r->row.key, r->row.value, r->row.len, r->row.revision,
			    &e)) {
			break;
		}
	}
	drop_rows(v);
	v->load_waits = false;
	v->ready = e.code == ERR_NONE;
	v->loaded(v->load_arg, &e);
}

/* ---- the leader's key ---- */

static void set_leader(struct store_etcd *s, uint64_t created, uint64_t modified, const char *value,
		       uint64_t at)
{
	struct view *v = &s->view;

	v->leader_created = created;
	v->leader_modified = modified;
	str_clear(&v->leader);
	str_append(&v->leader, value);
	lead_key_seen(s, at);
}

/* ---- watching ---- */

static void take_event(struct store_etcd *s, const json_t *event)
{
	struct view *v = &s->view;
	bool deleted = str_eq(etcd_word(event, "type"), "DELETE");
	auto_arena a = {};
	struct etcd_kv kv;

	if (!etcd_read_kv(json_object_get(event, "kv"), &a, &kv) ||
	    !str_starts(kv.key, s->prefix) || kv.mod_revision <= v->seen) {
		return;
	}
	kv.key += strlen(s->prefix);
	if (str_eq(kv.key, KEY_LEADER)) {
		set_leader(s, deleted ? 0 : kv.create_revision, deleted ? 0 : kv.mod_revision,
			   kv.value, kv.mod_revision);
	} else if (!store_etcd_own_key(kv.key)) {
		keep_row(v, kv.key, deleted ? NULL : kv.value, kv.len, kv.mod_revision);
	}
}

static uint64_t revision_of(const json_t *event)
{
	return etcd_number(json_object_get(event, "kv"), "mod_revision");
}

/* One commit after the other. */
static void take_events(struct store_etcd *s, const json_t *events)
{
	struct view *v = &s->view;

	for (size_t i = 0; i < json_array_size(events);) {
		uint64_t revision = revision_of(json_array_get(events, i));

		while (i < json_array_size(events) &&
		       revision_of(json_array_get(events, i)) == revision) {
			take_event(s, json_array_get(events, i++));
		}
		give_rows(s);
		v->seen = revision > v->seen ? revision : v->seen;
	}
}

static void log_refusal(struct view *v, const char *why)
{
	if (!v->refusal_logged) {
		v->refusal_logged = true;
		LOG(LOG_ERROR, "store.refused", KV("why", why));
	}
}

static void on_cancelled(struct store_etcd *s, const json_t *result)
{
	struct view *v = &s->view;
	const char *why = etcd_word(result, "cancel_reason");
	int64_t in_ms = 0;

	if (etcd_number(result, "compact_revision") > 0) {
		v->list_anew = true;
	} else if (etcd_watch_cancelled(v->watch, why)) {
		in_ms = AGAIN_MS;
	} else {
		in_ms = REFUSED_MS;
		log_refusal(v, why);
	}
	etcd_watch_free(v->watch);
	v->watch = NULL;
	begin_in(s, in_ms);
}

static void on_result(void *arg, const json_t *result)
{
	struct store_etcd *s = arg;

	if (json_is_true(json_object_get(result, "canceled"))) {
		on_cancelled(s, result);
		return;
	}
	s->view.refusal_logged = false;
	take_events(s, json_object_get(result, "events"));
	if (json_is_true(json_object_get(result, "created")) && !check_is_current(s)) {
		check_pulse(s);
	} else {
		check_again(s);
	}
	standing_update(s);
	lead_consider(s);
}

static void on_watch_end(void *arg, const struct err *e)
{
	struct store_etcd *s = arg;

	LOG(LOG_DEBUG, "store.watch-ended", KV("why", e->msg));
	etcd_watch_free(s->view.watch);
	s->view.watch = NULL;
	begin_in(s, clock_ms() - s->view.began_ms < STEADY_MS ? AGAIN_MS : 0);
}

static void watch(struct store_etcd *s)
{
	auto_str body = {};
	struct jw w = { .out = &body };

	jw_object(&w, NULL);
	jw_object(&w, "create_request");
	etcd_write_span(&w, s->prefix, "");
	etcd_write_number(&w, "start_revision", s->view.seen + 1);
	jw_end(&w);
	jw_end(&w);
	s->view.phase = VIEW_WATCHING;
	s->view.began_ms = clock_ms();
	s->view.watch = etcd_watch_new(s->etcd, &body, on_result, on_watch_end, s);
}

/* ---- listing ---- */

static bool on_listed_row(void *arg, const struct etcd_kv *kv, struct err *)
{
	struct store_etcd *s = arg;
	struct view *v = &s->view;
	struct revision *was;

	if (str_eq(kv->key, KEY_LEADER)) {
		v->list_created = kv->create_revision;
		v->list_modified = kv->mod_revision;
		str_append(&v->list_leader, kv->value);
	}
	if (store_etcd_own_key(kv->key)) {
		return true;
	}
	was = revisions_find(&v->known, kv->key);
	if (was != NULL) {
		was->pass = v->pass;
	}
	if (was == NULL || was->number != kv->mod_revision || v->trust_nothing) {
		keep_row(v, kv->key, kv->value, kv->len, kv->mod_revision);
	}
	return true;
}

/* Known, and not in this listing: deleted, at a revision that nobody tells any more. */
static void keep_deleted(struct store_etcd *s)
{
	struct view *v = &s->view;

	for (size_t i = 0; i < v->known.cap; i++) {
		const struct revision *r = v->known.slots[i];

		if (r != NULL && r->pass != v->pass) {
			keep_row(v, r->key, NULL, 0, v->pages.revision);
		}
	}
}

static void not_listed(struct store_etcd *s, const struct err *e, int code)
{
	struct view *v = &s->view;
	bool refused = code != 0 && code != ETCD_OUT_OF_RANGE;

	if (refused) {
		log_refusal(v, e->msg);
	}
	drop_rows(v);
	begin_in(s, refused ? REFUSED_MS : AGAIN_MS);
}

static void listed(struct store_etcd *s)
{
	struct view *v = &s->view;

	v->list_anew = v->trust_nothing = v->refusal_logged = false;
	if (v->load_waits) {
		give_first(s);
	} else {
		keep_deleted(s);
		LOG(LOG_INFO, "store.relisted", KV("changed", v->nrows));
		give_rows(s);
	}
	v->seen = v->pages.revision;
	if (!v->ready) { /* its owner did not want the rows */
		v->phase = VIEW_OFF;
		return;
	}
	set_leader(s, v->list_created, v->list_modified, str_cstr(&v->list_leader), v->seen);
	watch(s);
	check_passed(s, v->pages.asked_ms);
	standing_update(s);
	lead_consider(s);
}

static void on_listed(void *arg, const struct err *e, int code)
{
	struct store_etcd *s = arg;

	if (e->code != ERR_NONE) {
		not_listed(s, e, code);
	} else {
		listed(s);
	}
}

static void list(struct store_etcd *s)
{
	struct view *v = &s->view;

	drop_rows(v);
	v->pass++;
	v->list_created = v->list_modified = 0;
	str_clear(&v->list_leader);
	v->phase = VIEW_LISTING;
	v->pages = (struct pages){
		.s = s, .begin = "", .row = on_listed_row, .done = on_listed, .arg = s
	};
	pages_start(&v->pages);
}

/* ---- from beginning to end ---- */

static void begin(struct store_etcd *s)
{
	if (s->view.list_anew) {
		list(s);
	} else {
		watch(s);
	}
}

static void on_again(void *arg)
{
	begin(arg);
}

void view_init(struct store_etcd *s)
{
	STAILQ_INIT(&s->view.rows);
	s->view.again = timer_new(s->loop, on_again, s);
}

void view_load(struct store_etcd *s, store_row_fn *row, store_loaded_fn *loaded, void *arg)
{
	struct view *v = &s->view;

	assert(v->phase == VIEW_OFF && !v->ready);
	v->load_waits = true;
	v->row = row;
	v->loaded = loaded;
	v->load_arg = arg;
	v->list_anew = true;
	list(s);
}

void view_renew(struct store_etcd *s, const char *why, bool list_anew)
{
	struct view *v = &s->view;

	v->list_anew = v->list_anew || list_anew;
	v->trust_nothing = v->trust_nothing || list_anew;
	if (v->phase != VIEW_WATCHING) {
		return; /* it is at it */
	}
	LOG(LOG_WARN, "store.watch-renewed", KV("why", why));
	etcd_watch_blame(v->watch);
	etcd_watch_free(v->watch);
	v->watch = NULL;
	begin_in(s, 0);
}

void view_done(struct store_etcd *s)
{
	struct view *v = &s->view;
	struct err e;

	etcd_watch_free(v->watch);
	pages_stop(&v->pages);
	drop_rows(v);
	revisions_done(&v->known);
	str_done(&v->leader);
	str_done(&v->list_leader);
	timer_free(v->again);
	if (v->load_waits) {
		v->load_waits = false;
		err_set(&e, ERR_UNAVAILABLE, "the store is being closed");
		v->loaded(v->load_arg, &e);
	}
}
