/*
 * One transaction of the registry: a record (or none), the events of the change, and the oldest
 * events that make room for them. An unknown outcome ends here: the record is read back, again
 * and again if need be, and nothing is told to anybody before it is known.
 */
#include <assert.h>

#include "base/log.h"
#include "server/registry_impl.h"

enum {
	LEAVING_PER_WRITE = 64, /* more than any write adds, so that a lowered limit is reached */
	READ_BACK_AGAIN_MS = 1000,
};

struct write {
	struct registry *r;
	/* What tells, read back, whether the transaction took place. */
	char key[RECORD_KEY_BYTES];
	struct str value;
	bool removes;
	struct event_item **added;
	struct group_event *events; /* the same, for the log */
	size_t nadded;
	struct id group; /* they are about; zero: none */
	struct event_item *leaving[LEAVING_PER_WRITE];
	size_t nleaving;
	write_settled_fn *fn;
	void *arg;
	/* reading back */
	struct timer *again;
	bool found;
	uint64_t found_revision;
};

static void write_free(struct write *w)
{
	timer_free(w->again);
	str_done(&w->value);
	free(w->added);
	free(w->events);
	free(w);
}

static void log_events(const struct write *w)
{
	for (size_t i = 0; i < w->nadded; i++) {
		const struct group_event *ev = &w->events[i];

		LOG(LOG_INFO, event_kind_name(ev->kind), KV("group", w->group),
		    KV("instance", ev->instance), KV("epoch", ev->epoch), KV("reason", ev->reason),
		    KV("figures", ev->figures));
	}
}

static void settle(struct write *w, enum store_outcome outcome, uint64_t revision,
		   const struct err *e)
{
	struct registry *r = w->r;
	bool committed = outcome == STORE_COMMITTED;

	r->writing--;
	r->writes[outcome]++;
	if (committed) {
		log_events(w);
	}
	events_settle(r, w->added, w->nadded, w->leaving, w->nleaving, committed);

	write_settled_fn *fn = w->fn;
	void *arg = w->arg;
	write_free(w);
	fn(arg, outcome, revision, e); /* last: it may free the registry */
}

static bool seen_row(void *arg, const char *key, const char *value, size_t len, uint64_t revision,
		     struct err *)
{
	struct write *w = arg;

	if (!str_eq(key, w->key)) {
		return true; /* the key is only a prefix of this one */
	}
	w->found =
		w->removes || (len == w->value.len && memcmp(value, str_cstr(&w->value), len) == 0);
	w->found_revision = revision;
	return true;
}

static void read_back_done(void *arg, const struct err *e)
{
	struct write *w = arg;

	if (e->code != ERR_NONE) {
		timer_set_in(w->again, READ_BACK_AGAIN_MS);
		return;
	}
	bool committed = w->removes != w->found;
	struct err why = {};

	LOG(LOG_WARN, "write.read-back", KV("key", w->key), KV("committed", committed));
	if (committed) {
		settle(w, STORE_COMMITTED, w->found_revision, &why);
		return;
	}
	err_set(&why, ERR_UNAVAILABLE, "the store did not carry out the change");
	settle(w, STORE_FAILED, 0, &why);
}

static void read_back(void *arg)
{
	struct write *w = arg;

	w->found = false;
	store_load(w->r->store, w->key, seen_row, read_back_done, w);
}

static void on_commit(void *arg, enum store_outcome outcome, uint64_t revision, const struct err *e)
{
	struct write *w = arg;

	if (outcome != STORE_UNKNOWN) {
		settle(w, outcome, revision, e);
		return;
	}
	LOG(LOG_WARN, "write.unknown", KV("key", w->key), KV("why", e->msg));
	w->again = timer_new(w->r->loop, read_back, w);
	read_back(w);
}

static const char *event_key(struct arena *a, uint64_t seq)
{
	char *key = arena_alloc(a, RECORD_KEY_BYTES);

	record_key_event(seq, key);
	return key;
}

static size_t event_ops(struct write *w, const struct write_spec *s, struct arena *a,
			struct store_op *ops)
{
	size_t n = 0;

	for (size_t i = 0; i < s->nevents; i++) {
		struct event_item *it = events_add(w->r, s->about, &s->events[i]);

		w->events[w->nadded] = s->events[i];
		w->added[w->nadded++] = it;
		ops[n++] = (struct store_op){ .key = event_key(a, it->seq),
					      .value = event_json(it),
					      .len = it->len };
	}
	while (s->nevents > 0 && w->nleaving < LEAVING_PER_WRITE) {
		struct event_item *it = events_take_oldest(w->r);

		if (it == NULL) {
			break;
		}
		w->leaving[w->nleaving++] = it;
		ops[n++] = (struct store_op){ .key = event_key(a, it->seq) };
	}
	return n;
}

void write_start(struct registry *r, const struct write_spec *s, write_settled_fn *fn, void *arg)
{
	assert(s->key != NULL || s->nevents > 0);
	auto_arena a = {};
	struct write *w = memory_alloc(1, sizeof *w);
	struct store_op *ops = arena_alloc(&a, (1 + s->nevents + LEAVING_PER_WRITE) * sizeof *ops);
	size_t n = 0;

	*w = (struct write){ .r = r, .fn = fn, .arg = arg };
	w->added = memory_alloc(s->nevents, sizeof(struct event_item *));
	w->events = memory_alloc(s->nevents, sizeof *w->events);
	w->group = s->about == NULL ? (struct id){} : s->about->id;
	if (s->key != NULL) {
		ops[n++] = (struct store_op){ .key = s->key,
					      .value = s->value,
					      .len = s->len,
					      .expect = s->expect,
					      .revision = s->revision };
	}
	n += event_ops(w, s, &a, ops + n);
	str_copy(w->key, sizeof w->key, ops[0].key);
	w->removes = ops[0].value == NULL;
	str_append_mem(&w->value, ops[0].value == NULL ? "" : ops[0].value, ops[0].len);
	r->writing++;
	store_commit(r->store, ops, n, on_commit, w);
}

bool registry_busy(const struct registry *r)
{
	return r->writing > 0;
}

uint64_t registry_write_count(const struct registry *r, enum store_outcome outcome)
{
	return r->writes[outcome];
}
