/*
 * One transaction of the registry: a record (or two, or none), the events of the change, and the
 * oldest events that make room for them. An unknown outcome ends here: the records are read back,
 * again and again if need be, and nothing is told to anybody before it is known.
 */
#include <assert.h>

#include "base/log.h"
#include "server/registry_impl.h"

enum {
	LEAVING_PER_WRITE = 64, /* more than any write adds, so that a lowered limit is reached */
	/* Somebody's writes may stand still until the outcome is known. */
	READ_BACK_AGAIN_MS = 100,
	READ_BACK_LOGS_EVERY = 100,
};

/* What tells, read back, whether the transaction took place. */
struct proof {
	char key[RECORD_KEY_BYTES];
	struct str value;
	bool removes;
	bool found; /* as the transaction leaves it, or to be removed and still there */
	uint64_t revision;
};

struct write {
	struct registry *r;
	struct proof proofs[WRITE_RECORDS_MAX];
	size_t nproofs;
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
	size_t next_proof;
	unsigned rounds;
};

static void write_free(struct write *w)
{
	timer_free(w->again);
	for (size_t i = 0; i < w->nproofs; i++) {
		str_done(&w->proofs[i].value);
	}
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

/* ---- reading back ---- */

static bool seen_row(void *arg, const char *key, const char *value, size_t len, uint64_t revision,
		     struct err *)
{
	struct write *w = arg;
	struct proof *pr = &w->proofs[w->next_proof];

	if (!str_eq(key, pr->key)) {
		return true; /* the key is only a prefix of this one */
	}
	pr->found = pr->removes ||
		    (len == pr->value.len && memcmp(value, str_cstr(&pr->value), len) == 0);
	pr->revision = revision;
	return true;
}

static void read_back(void *arg);

static void read_again(struct write *w, const char *why)
{
	if (w->rounds++ % READ_BACK_LOGS_EVERY == 0) {
		LOG(LOG_ERROR, "write.not-read-back", KV("key", w->proofs[0].key), KV("why", why),
		    KV("hint", "what it is about stands still until the store answers"));
	}
	w->next_proof = 0;
	timer_set_in(w->again, READ_BACK_AGAIN_MS);
}

/* The newest revision among what was put. */
static uint64_t revision_found(const struct write *w)
{
	uint64_t revision = 0;

	for (size_t i = 0; i < w->nproofs; i++) {
		if (!w->proofs[i].removes && w->proofs[i].revision > revision) {
			revision = w->proofs[i].revision;
		}
	}
	return revision;
}

/*
 * A transaction is whole, so its records agree; unless it was carried out between one reading and
 * the next.
 */
static void conclude(struct write *w)
{
	struct err why = {};
	size_t committed = 0;

	for (size_t i = 0; i < w->nproofs; i++) {
		committed += w->proofs[i].removes != w->proofs[i].found;
	}
	if (committed != 0 && committed != w->nproofs) {
		read_again(w, "the records of one change do not agree yet");
		return;
	}
	LOG(LOG_WARN, "write.read-back", KV("key", w->proofs[0].key),
	    KV("committed", committed > 0));
	if (committed > 0) {
		settle(w, STORE_COMMITTED, revision_found(w), &why);
		return;
	}
	err_set(&why, ERR_UNAVAILABLE, "the store did not carry out the change");
	settle(w, STORE_FAILED, 0, &why);
}

static void read_back_done(void *arg, const struct err *e)
{
	struct write *w = arg;

	if (e->code != ERR_NONE) {
		read_again(w, e->msg);
	} else if (++w->next_proof < w->nproofs) {
		read_back(w);
	} else {
		conclude(w);
	}
}

static void read_back(void *arg)
{
	struct write *w = arg;
	struct proof *pr = &w->proofs[w->next_proof];

	pr->found = false;
	store_load(w->r->store, pr->key, seen_row, read_back_done, w);
}

static void on_commit(void *arg, enum store_outcome outcome, uint64_t revision, const struct err *e)
{
	struct write *w = arg;

	if (outcome != STORE_UNKNOWN) {
		settle(w, outcome, revision, e);
		return;
	}
	LOG(LOG_WARN, "write.unknown", KV("key", w->proofs[0].key), KV("why", e->msg));
	w->again = timer_new(w->r->loop, read_back, w);
	read_back(w);
}

/* ---- the transaction ---- */

static void add_proof(struct write *w, const struct store_op *op)
{
	struct proof *pr = &w->proofs[w->nproofs++];

	str_copy(pr->key, sizeof pr->key, op->key);
	pr->removes = op->value == NULL;
	str_append_mem(&pr->value, pr->removes ? "" : op->value, op->len);
}

static size_t record_ops(struct write *w, const struct write_spec *s, struct store_op *ops)
{
	assert(s->nrecords <= WRITE_RECORDS_MAX);
	for (size_t i = 0; i < s->nrecords; i++) {
		const struct write_record *rec = &s->records[i];

		ops[i] = (struct store_op){ .key = rec->key,
					    .value = rec->value,
					    .len = rec->len,
					    .expect = rec->expect,
					    .revision = rec->revision };
		add_proof(w, &ops[i]);
	}
	return s->nrecords;
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
	assert(s->nrecords > 0 || s->nevents > 0);
	auto_arena a = {};
	struct write *w = memory_alloc(1, sizeof *w);
	struct store_op *ops =
		arena_alloc(&a, (s->nrecords + s->nevents + LEAVING_PER_WRITE) * sizeof *ops);

	*w = (struct write){ .r = r, .fn = fn, .arg = arg };
	w->added = memory_alloc(s->nevents, sizeof(struct event_item *));
	w->events = memory_alloc(s->nevents, sizeof *w->events);
	w->group = s->about == NULL ? (struct id){} : s->about->id;
	size_t n = record_ops(w, s, ops);
	n += event_ops(w, s, &a, ops + n);
	if (s->nrecords == 0) {
		add_proof(w, &ops[0]);
	}
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

uint64_t registry_operation_count(const struct registry *r, enum op_kind kind, bool done)
{
	return r->op_ends[kind][done];
}
