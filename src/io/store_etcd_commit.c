/*
 * Commits: one etcd transaction each, several under way at a time, their outcomes told in the order
 * they were asked for. One that has a key in common with an earlier one waits for it, so that they
 * are carried out in that order too; a load waits for all before it.
 */
#include "io/store_etcd_impl.h"

enum {
	IN_FLIGHT_MAX = 32, /* a connection each */
	LIMIT_MIN_MS = 1000,
};

enum job_state {
	JOB_WAITS,
	JOB_SENT,
	JOB_IN_DOUBT, /* no answer; the fence is being moved */
	JOB_SETTLED,
};

struct job {
	TAILQ_ENTRY(job) others;
	struct store_etcd *s;
	struct load *load; /* a load, or NULL */
	enum job_state state;
	struct etcd_call *call;
	struct arena arena;
	const struct store_op *ops;
	size_t n;
	uint64_t *hashes; /* of the keys */
	uint64_t guard;   /* revision of the leader's key that was compared */
	uint64_t term;    /* in which it was sent */
	store_commit_fn *fn;
	void *arg;
	enum store_outcome outcome;
	uint64_t revision;
	struct err err;
};

static void job_free(struct job *j)
{
	etcd_cancel(j->call);
	arena_done(&j->arena);
	free(j);
}

/* ---- outcomes ---- */

static void settle(struct job *j, enum store_outcome outcome)
{
	if (j->state == JOB_SENT) {
		j->s->in_flight--;
	}
	j->state = JOB_SETTLED;
	j->outcome = outcome;
}

static void settle_not_leading(struct job *j)
{
	err_set(&j->err, ERR_UNAVAILABLE, "this control plane does not lead");
	settle(j, STORE_CONFLICT);
}

/* What is settled, up to the first that is not. Loads start when they have come to the front. */
static void tell(struct store_etcd *s)
{
	struct job *j;

	while ((j = TAILQ_FIRST(&s->jobs)) != NULL &&
	       (j->load != NULL || j->state == JOB_SETTLED)) {
		TAILQ_REMOVE(&s->jobs, j, others);
		if (j->load != NULL) {
			load_start(j->load);
		} else {
			j->fn(j->arg, j->outcome, j->revision, &j->err);
		}
		job_free(j);
	}
}

/* ---- one transaction ---- */

static void write_expectations(struct jw *w, const struct job *j)
{
	for (size_t i = 0; i < j->n; i++) {
		const struct store_op *op = &j->ops[i];

		if (op->expect == STORE_ABSENT) {
			etcd_write_compare(w, j->s->prefix, op->key, ETCD_CREATED, ETCD_IS, 0);
		} else if (op->expect == STORE_REVISION) {
			etcd_write_compare(w, j->s->prefix, op->key, ETCD_MODIFIED, ETCD_IS,
					   op->revision);
		}
	}
}

static void write_ops(struct jw *w, const struct job *j)
{
	for (size_t i = 0; i < j->n; i++) {
		const struct store_op *op = &j->ops[i];

		if (op->value == NULL) {
			etcd_write_delete(w, j->s->prefix, op->key);
		} else {
			etcd_write_put(w, j->s->prefix, op->key, op->value, op->len, "");
		}
	}
	etcd_write_put(w, j->s->prefix, KEY_NEWEST, "", 0, "");
}

/* Refused: what was there instead. */
static void write_reasons(struct jw *w, const struct job *j)
{
	etcd_write_get(w, j->s->prefix, KEY_LEADER, ETCD_ALL);
	for (size_t i = 0; i < j->n; i++) {
		if (j->ops[i].expect != STORE_ANY) {
			etcd_write_get(w, j->s->prefix, j->ops[i].key, ETCD_NO_VALUE);
		}
	}
}

/* One that never leads commits only as long as nobody does. */
static void write_guard(struct jw *w, const struct job *j)
{
	if (j->s->campaign) {
		etcd_write_compare(w, j->s->prefix, KEY_LEADER, ETCD_MODIFIED, ETCD_IS, j->guard);
	} else {
		etcd_write_compare(w, j->s->prefix, KEY_LEADER, ETCD_CREATED, ETCD_IS, 0);
	}
}

static void refused_by_key(struct job *j, const json_t *answer)
{
	size_t got = 1;

	for (size_t i = 0; i < j->n; i++) {
		const struct store_op *op = &j->ops[i];
		uint64_t wanted = op->expect == STORE_REVISION ? op->revision : 0;

		if (op->expect == STORE_ANY) {
			continue;
		}
		if (etcd_number(json_array_get(etcd_got(answer, got++), 0), "mod_revision") !=
			    wanted ||
		    (op->expect == STORE_REVISION && wanted == 0)) {
			err_set(&j->err, ERR_CONFLICT, "'%s' is not as it was", op->key);
			break;
		}
	}
	if (j->err.code == ERR_NONE) {
		err_set(&j->err, ERR_CONFLICT, "the store is not as it was");
	}
	settle(j, STORE_CONFLICT);
}

/* Refused: by the fence, or by an expectation. */
static void refused(struct job *j, const json_t *answer)
{
	struct store_etcd *s = j->s;
	const json_t *leader = json_array_get(etcd_got(answer, 0), 0);
	uint64_t created = etcd_number(leader, "create_revision");
	uint64_t modified = etcd_number(leader, "mod_revision");

	if (!s->campaign && created != 0) {
		err_set(&j->err, ERR_CONFLICT, "a control plane leads at this store");
		settle(j, STORE_CONFLICT);
	} else if (!s->campaign || (created == j->term && modified == j->guard)) {
		refused_by_key(j, answer);
	} else if (j->term != s->lead.term || s->lead.phase != LEAD_HELD) {
		settle_not_leading(j); /* others may have led since, though we do again */
	} else if (created == j->term) {
		s->in_flight--;
		j->state = JOB_WAITS; /* our own putting anew came before it */
		lead_fence_seen(s, modified);
	} else {
		settle_not_leading(j);
		lead_lost(s, "the leader's key is another's");
	}
}

static void without_answer(struct job *j, const struct err *e)
{
	struct store_etcd *s = j->s;

	j->err = *e;
	if (!s->campaign || lead_is_decided(s, j->guard)) {
		settle(j, STORE_UNKNOWN);
		return;
	}
	if (s->lead.phase == LEAD_HELD) {
		s->in_flight--;
		j->state = JOB_IN_DOUBT;
	} else {
		settle(j, STORE_UNKNOWN);
	}
	lead_in_doubt(s, j->guard);
}

static void on_answer(void *arg, const struct etcd_answer *a)
{
	struct job *j = arg;
	struct store_etcd *s = j->s;

	j->call = NULL;
	switch (a->fate) {
	case ETCD_ANSWERED:
		if (json_is_true(json_object_get(a->body, "succeeded"))) {
			j->revision = etcd_revision(a->body);
			settle(j, STORE_COMMITTED);
		} else {
			refused(j, a->body);
		}
		break;
	case ETCD_REFUSED:
	case ETCD_UNREACHED:
		j->err = a->err;
		settle(j, STORE_FAILED);
		break;
	case ETCD_UNKNOWN:
		without_answer(j, &a->err);
		break;
	}
	jobs_pump(s);
}

static void send_job(struct job *j)
{
	struct store_etcd *s = j->s;
	int64_t limit_ms = s->lease_ms / 2;
	auto_str body = {};
	struct jw w = { .out = &body };

	j->guard = s->lead.fence;
	j->term = s->lead.term;
	jw_object(&w, NULL);
	jw_array(&w, "compare");
	write_guard(&w, j);
	write_expectations(&w, j);
	jw_end(&w);
	jw_array(&w, "success");
	write_ops(&w, j);
	jw_end(&w);
	jw_array(&w, "failure");
	write_reasons(&w, j);
	jw_end(&w);
	jw_end(&w);
	j->state = JOB_SENT;
	s->in_flight++;
	j->call = etcd_ask(s->etcd, "/v3/kv/txn", &body, ETCD_ONCE,
			   limit_ms > LIMIT_MIN_MS ? limit_ms : LIMIT_MIN_MS, on_answer, j);
}

/* ---- the queue ---- */

static bool shares_key(const struct job *a, const struct job *b)
{
	for (size_t i = 0; i < a->n; i++) {
		for (size_t k = 0; k < b->n; k++) {
			if (a->hashes[i] == b->hashes[k]) {
				return true;
			}
		}
	}
	return false;
}

static bool waits_for_earlier(const struct job *j)
{
	const struct job *earlier;

	TAILQ_FOREACH(earlier, &j->s->jobs, others)
	{
		if (earlier == j) {
			return false;
		}
		if (earlier->load != NULL ||
		    (earlier->state != JOB_SETTLED && shares_key(earlier, j))) {
			return true;
		}
	}
	return false;
}

static void send_waiting(struct store_etcd *s)
{
	struct job *j;

	if (s->lead.doubt != 0 && lead_now(s)) {
		return; /* the fence is being moved: what goes out now would be refused */
	}
	TAILQ_FOREACH(j, &s->jobs, others)
	{
		if (j->load != NULL || s->in_flight >= IN_FLIGHT_MAX) {
			return;
		}
		if (j->state != JOB_WAITS) {
			continue;
		}
		if (s->campaign && !lead_now(s)) {
			settle_not_leading(j);
			turn_set(s->turn);
		} else if (waits_for_earlier(j)) {
			return;
		} else {
			send_job(j);
		}
	}
}

void jobs_pump(struct store_etcd *s)
{
	tell(s);
	send_waiting(s);
}

static void add(struct store_etcd *s, struct job *j)
{
	j->s = s;
	TAILQ_INSERT_TAIL(&s->jobs, j, others);
	turn_set(s->turn);
}

static bool fits(const struct job *j, struct err *e)
{
	return j->n + 1 <= ETCD_OPS_MAX ||
	       err_set(e, ERR_OVER_LIMIT, "a change of %zu records: etcd takes %d at once", j->n,
		       ETCD_OPS_MAX - 1);
}

void jobs_add_commit(struct store_etcd *s, const struct store_op *ops, size_t n,
		     store_commit_fn *fn, void *arg)
{
	struct job *j = store_etcd_alloc(sizeof *j);
	struct store_op *copy = arena_dup(&j->arena, ops, n * sizeof *ops);

	j->hashes = arena_alloc(&j->arena, n * sizeof *j->hashes);
	for (size_t i = 0; i < n; i++) {
		copy[i].key = arena_strdup(&j->arena, ops[i].key);
		if (ops[i].value != NULL) {
			copy[i].value = arena_dup(&j->arena, ops[i].value, ops[i].len);
		}
		j->hashes[i] = revisions_hash(ops[i].key);
	}
	j->ops = copy;
	j->n = n;
	j->fn = fn;
	j->arg = arg;
	if (!fits(j, &j->err)) {
		j->state = JOB_SETTLED;
		j->outcome = STORE_FAILED;
	}
	add(s, j);
}

void jobs_add_load(struct store_etcd *s, struct load *ld)
{
	struct job *j = store_etcd_alloc(sizeof *j);

	j->load = ld;
	add(s, j);
}

void jobs_decided(struct store_etcd *s)
{
	bool lost = s->lead.phase != LEAD_HELD;
	struct job *j;

	TAILQ_FOREACH(j, &s->jobs, others)
	{
		if (j->load != NULL) {
			continue;
		}
		if (j->state == JOB_IN_DOUBT && (lost || lead_is_decided(s, j->guard))) {
			settle(j, STORE_UNKNOWN);
		} else if (j->state == JOB_WAITS && lost) {
			settle_not_leading(j);
		}
	}
	turn_set(s->turn);
}

static void end(struct job *j)
{
	if (j->state == JOB_SENT || j->state == JOB_IN_DOUBT) {
		err_set(&j->err, ERR_UNAVAILABLE, "the store was closed before etcd answered");
		settle(j, STORE_UNKNOWN);
	} else if (j->state == JOB_WAITS) {
		err_set(&j->err, ERR_UNAVAILABLE, "the store was closed");
		settle(j, STORE_FAILED);
	}
	j->fn(j->arg, j->outcome, j->revision, &j->err);
}

void jobs_end(struct store_etcd *s)
{
	struct job *j;
	struct err e;

	err_set(&e, ERR_UNAVAILABLE, "the store was closed");
	while ((j = TAILQ_FIRST(&s->jobs)) != NULL) {
		TAILQ_REMOVE(&s->jobs, j, others);
		if (j->load != NULL) {
			load_end(j->load, &e);
		} else {
			end(j);
		}
		job_free(j);
	}
	while (!LIST_EMPTY(&s->loads)) {
		load_end(LIST_FIRST(&s->loads), &e);
	}
}
