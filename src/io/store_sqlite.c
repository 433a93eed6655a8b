/*
 * Commits wait in a queue; once a turn of the loop what waits becomes a batch: one transaction, on
 * a worker thread, one batch at a time. The next one collects meanwhile, so a slow disk makes
 * batches larger, not the queue longer. A load is a batch of its own and keeps its place.
 *
 * The database is touched by the worker of the batch that runs, and otherwise by nobody.
 */
#include "io/store_sqlite.h"

#include <assert.h>
#include <pthread.h>

#include "base/arena.h"
#include "io/store_db.h"
#include "io/turn.h"

struct row {
	STAILQ_ENTRY(row) next;
	const char *key, *value;
	size_t len;
	uint64_t revision;
};

STAILQ_HEAD(rows, row);

/* A commit, or a load. */
struct job {
	STAILQ_ENTRY(job) next;
	struct arena arena; /* copies of what was asked, rows that were read */
	void *arg;
	/* commit */
	struct store_change change;
	store_commit_fn *committed; /* NULL: a load */
	/* load */
	const char *prefix;
	store_row_fn *row;
	store_loaded_fn *loaded;
	struct rows rows;
	struct err err;
};

STAILQ_HEAD(jobs, job);

/* What one worker does. It belongs to the worker until it has finished. */
struct batch {
	struct store_sqlite *store; /* NULL: store_free() has taken the results */
	struct store_db *db;
	struct jobs jobs;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool finished;
};

struct store_sqlite {
	struct store base;
	struct loop *loop;
	struct store_db *db;
	struct turn *turn;
	struct jobs waiting;
	struct batch *running; /* on a worker */
	uint64_t transactions;
};

static void *must_alloc(size_t bytes)
{
	void *p = calloc(1, bytes);

	if (p == NULL) {
		abort();
	}
	return p;
}

static struct batch *batch_new(struct store_sqlite *s)
{
	struct batch *b = must_alloc(sizeof *b);

	b->store = s;
	b->db = s->db;
	STAILQ_INIT(&b->jobs);
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->changed, NULL);
	return b;
}

static void batch_free(struct batch *b)
{
	pthread_cond_destroy(&b->changed);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

/* A load alone, or all commits up to the next load. Something waits. */
static struct batch *batch_take(struct store_sqlite *s)
{
	struct batch *b = batch_new(s);
	struct job *j;
	bool first = true;

	while ((j = STAILQ_FIRST(&s->waiting)) != NULL && (first || j->committed != NULL)) {
		STAILQ_REMOVE_HEAD(&s->waiting, next);
		STAILQ_INSERT_TAIL(&b->jobs, j, next);
		first = false;
		if (j->committed == NULL) {
			break;
		}
	}
	return b;
}

/* On the worker. */

static bool keep_row(void *arg, const char *key, const char *value, size_t len, uint64_t revision,
		     struct err *)
{
	struct job *j = arg;
	struct row *r = arena_alloc(&j->arena, sizeof *r);
	char *copy = arena_alloc(&j->arena, len + 1);

	memcpy(copy, value, len);
	*r = (struct row){
		.key = arena_strdup(&j->arena, key), .value = copy, .len = len, .revision = revision
	};
	STAILQ_INSERT_TAIL(&j->rows, r, next);
	return true;
}

static void batch_work(struct batch *b)
{
	struct job *j = STAILQ_FIRST(&b->jobs);
	struct store_changes changes = STAILQ_HEAD_INITIALIZER(changes);

	if (j->committed == NULL) {
		if (!store_db_rows(b->db, j->prefix, keep_row, j, &j->err)) {
			STAILQ_INIT(&j->rows);
		}
		return;
	}
	STAILQ_FOREACH(j, &b->jobs, next)
	{
		STAILQ_INSERT_TAIL(&changes, &j->change, next);
	}
	store_db_commit(b->db, &changes);
}

static void on_worker(void *arg)
{
	struct batch *b = arg;

	batch_work(b);
	pthread_mutex_lock(&b->lock);
	b->finished = true;
	pthread_cond_signal(&b->changed);
	pthread_mutex_unlock(&b->lock);
}

/* On the loop. */

static void give_rows(struct job *j)
{
	struct row *r;

	STAILQ_FOREACH(r, &j->rows, next)
	{
		if (!j->row(j->arg, r->key, r->value, r->len, r->revision, &j->err)) {
			break;
		}
	}
	j->loaded(j->arg, &j->err);
}

static void give_results(struct store_sqlite *s, struct jobs *jobs)
{
	struct job *j;

	s->transactions = store_db_transactions(s->db);
	while ((j = STAILQ_FIRST(jobs)) != NULL) {
		STAILQ_REMOVE_HEAD(jobs, next);
		if (j->committed == NULL) {
			give_rows(j);
		} else {
			j->committed(j->arg, j->change.outcome, j->change.revision, &j->change.err);
		}
		arena_done(&j->arena);
		free(j);
	}
}

static void on_worker_done(void *arg)
{
	struct batch *b = arg;
	struct store_sqlite *s = b->store;

	if (s != NULL) {
		/* Running until the callbacks are through: what they ask for is one batch. */
		give_results(s, &b->jobs);
		s->running = NULL;
		if (!STAILQ_EMPTY(&s->waiting)) {
			turn_set(s->turn);
		}
	}
	batch_free(b);
}

static void on_turn(void *arg)
{
	struct store_sqlite *s = arg;

	if (s->running == NULL && !STAILQ_EMPTY(&s->waiting)) {
		s->running = batch_take(s);
		loop_work(s->loop, on_worker, on_worker_done, s->running);
	}
}

static struct store_sqlite *store_of(struct store *s)
{
	return container_of(s, struct store_sqlite, base);
}

static void enqueue(struct store_sqlite *s, struct job *j)
{
	STAILQ_INSERT_TAIL(&s->waiting, j, next);
	if (s->running == NULL) {
		turn_set(s->turn);
	}
}

static void sqlite_load(struct store *base, const char *prefix, store_row_fn *row,
			store_loaded_fn *loaded, void *arg)
{
	struct job *j = must_alloc(sizeof *j);

	j->prefix = arena_strdup(&j->arena, prefix);
	j->row = row;
	j->loaded = loaded;
	j->arg = arg;
	STAILQ_INIT(&j->rows);
	enqueue(store_of(base), j);
}

static void sqlite_commit(struct store *base, const struct store_op *ops, size_t n,
			  store_commit_fn *fn, void *arg)
{
	struct job *j = must_alloc(sizeof *j);
	struct store_op *copy = arena_dup(&j->arena, ops, n * sizeof *ops);

	for (size_t i = 0; i < n; i++) {
		copy[i].key = arena_strdup(&j->arena, ops[i].key);
		if (ops[i].value != NULL) {
			copy[i].value = arena_dup(&j->arena, ops[i].value, ops[i].len);
		}
	}
	j->change.ops = copy;
	j->change.n = n;
	j->committed = fn;
	j->arg = arg;
	enqueue(store_of(base), j);
}

static bool sqlite_leads(const struct store *)
{
	return true;
}

/* Without the loop: the worker's batch is waited for, the rest is carried out right here. */
static void finish(struct store_sqlite *s)
{
	struct batch *b = s->running;

	if (b != NULL) {
		pthread_mutex_lock(&b->lock);
		while (!b->finished) {
			pthread_cond_wait(&b->changed, &b->lock);
		}
		pthread_mutex_unlock(&b->lock);
		b->store = NULL; /* on_worker_done() comes later and frees it */
		give_results(s, &b->jobs);
	}
	while (!STAILQ_EMPTY(&s->waiting)) {
		b = batch_take(s);
		batch_work(b);
		give_results(s, &b->jobs);
		batch_free(b);
	}
}

static void sqlite_free(struct store *base)
{
	struct store_sqlite *s = store_of(base);

	finish(s);
	turn_free(s->turn);
	store_db_close(s->db);
	free(s);
}

static const struct store_impl sqlite_impl = {
	.load = sqlite_load,
	.commit = sqlite_commit,
	.leads = sqlite_leads,
	.free = sqlite_free,
};

bool store_sqlite_open(struct loop *l, const char *path, struct store **ret, struct err *e)
{
	struct store_db *db = NULL;

	if (!store_db_open(path, &db, e)) {
		return false;
	}
	struct store_sqlite *s = must_alloc(sizeof *s);
	s->base.impl = &sqlite_impl;
	s->loop = l;
	s->db = db;
	s->turn = turn_new(l, on_turn, s);
	STAILQ_INIT(&s->waiting);
	*ret = &s->base;
	return true;
}

uint64_t store_sqlite_transactions(const struct store *base)
{
	static_assert(offsetof(struct store_sqlite, base) == 0, "the cast below");

	return ((const struct store_sqlite *)base)->transactions;
}
