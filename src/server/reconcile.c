#include "server/reconcile.h"

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/deadlines.h"
#include "server/goals.h"
#include "server/memory.h"

enum {
	RETRY_FIRST_MS = 1000,
	RETRY_MOST_MS = 30000,
	/* Somebody's writes stand still until it is committed or undone. */
	RETRY_URGENT_MS = 100,
	/* A commit that took so long is told of: what it held up was held up by the store. */
	COMMIT_SLOW_MS = 200,
	/*
	 * Commits under way at a time. Far more than a transaction needs to be worth its fsync, and
	 * few enough that a host of thousands that comes back neither fills memory with what waits
	 * for the store nor keeps the API's own commits waiting behind it.
	 */
	COMMITS_MAX = 256,
};

/* What agents were last told to come and fetch. */
struct told {
	uint64_t shown, watch;
	int64_t peer_offset;
	bool watch_all, urgent;
};

/* What the reconciler knows of one group beside its entry. */
struct reconcile_state {
	struct reconcile *rc;
	struct entry *en;         /* NULL: gone; freed when the dirty list is next walked */
	struct deadline deadline; /* look again then, though nothing happened */
	struct reconcile_state *next_dirty;
	bool dirty;
	/* The commit under way: live as group_step() left it, shown together with the record. */
	struct group_live next_live;
	size_t next_nmembers;
	unsigned failures;       /* commits in a row that failed */
	int64_t retry_ms;        /* not before; 0: at once */
	int64_t began_ms;        /* the commit under way, or the first of those that failed */
	int64_t attempt_ms;      /* the commit under way */
	int64_t held_up_ms;      /* by a slow commit that no event has told of yet */
	uint64_t reader_watch;   /* the newest question of reconcile_ask(); 0: none so far .. */
	int64_t reader_until_ms; /* .. open until then */
	struct told told;
};

struct reconcile {
	struct registry *r;
	struct deadlines deadlines;
	struct reconcile_state *dirty, **dirty_last; /* in the order in which they were marked */
	bool deferred;
	unsigned ncommits; /* under way */
	uint64_t next_watch;
	struct group_in limits; /* from the settings; the rest is zero */
	reconcile_news_fn *news;
	void *news_arg;
};

/* ---- publishing ---- */

static bool is_first_on_host(const struct group *g, size_t i)
{
	for (size_t k = 0; k < i; k++) {
		if (str_eq(g->members[k].host, g->members[i].host)) {
			return false;
		}
	}
	return true;
}

static bool same_told(const struct told *a, const struct told *b)
{
	return a->shown == b->shown && a->watch == b->watch && a->peer_offset == b->peer_offset &&
	       a->watch_all == b->watch_all && a->urgent == b->urgent;
}

/* Wakes the agents concerned, when the record or the watches are not what they were told last. */
static void publish(struct reconcile_state *st)
{
	const struct entry *en = st->en;
	const struct reconcile *rc = st->rc;
	const struct group_live *l = &en->live;
	const struct told now = { en->shown, l->watch, l->peer_offset, l->watch_all, l->urgent };

	if (same_told(&st->told, &now)) {
		return;
	}
	st->told = now;
	for (size_t i = 0; rc->news != NULL && i < en->g->nmembers; i++) {
		if (is_first_on_host(en->g, i)) {
			rc->news(rc->news_arg, en->g->members[i].host);
		}
	}
}

/* ---- one step ---- */

static void keep_live(struct entry *en, const struct group_live *live)
{
	struct member_live *members = en->live.members;

	memcpy(members, live->members, en->g->nmembers * sizeof *members);
	en->live = *live;
	en->live.members = members;
}

static void drop_next_live(struct reconcile_state *st)
{
	free(st->next_live.members);
	st->next_live = (struct group_live){};
}

/* The n-th failure in a row waits twice as long as the one before. */
static int64_t retry_delay_ms(unsigned failures)
{
	int64_t ms = RETRY_FIRST_MS;

	for (unsigned i = 1; i < failures && ms < RETRY_MOST_MS; i++) {
		ms *= 2;
	}
	return ms < RETRY_MOST_MS ? ms : RETRY_MOST_MS;
}

static void wake(struct reconcile *rc);

static void count_failure(struct reconcile_state *st, const struct err *e)
{
	bool urgent = st->en->live.urgent || st->next_live.urgent;

	if (st->failures++ == 0) {
		LOG(LOG_ERROR, "reconcile.not-committed", KV("group", st->en->g->id),
		    KV("why", e->msg), KV("hint", "it is tried again"));
	}
	st->retry_ms = clock_ms() + (urgent ? RETRY_URGENT_MS : retry_delay_ms(st->failures));
}

static void count_success(struct reconcile_state *st)
{
	int64_t now = clock_ms(), took_ms = now - st->began_ms;

	if (st->failures > 0) {
		LOG(LOG_INFO, "reconcile.recovered", KV("group", st->en->g->id),
		    KV("failures", st->failures), KV("ms", took_ms));
	}
	/* Its own events, if others failed before it, say how long that was when it began. */
	if (now - st->attempt_ms >= COMMIT_SLOW_MS) {
		st->held_up_ms = took_ms;
	}
	st->failures = 0;
	st->retry_ms = 0;
}

static void committed(void *arg, enum store_outcome outcome, const struct err *e)
{
	struct reconcile_state *st = arg;

	st->rc->ncommits--;
	wake(st->rc);
	if (outcome == STORE_COMMITTED) {
		if (!st->en->gone) {
			assert(st->next_nmembers == st->en->g->nmembers);
			keep_live(st->en, &st->next_live);
		}
		count_success(st);
	} else {
		count_failure(st, e);
	}
	drop_next_live(st);
	/* The registry tells of the end of every commit: the next look comes by itself. */
}

/* How long the store has held up what this change is about; 0: not worth telling. */
static int64_t held_up_ms(struct reconcile_state *st)
{
	int64_t ms = st->failures > 0 ? clock_ms() - st->began_ms : st->held_up_ms;

	st->held_up_ms = 0;
	return ms;
}

/* An operator who asks why nobody could write finds the store's part of it here. */
static void tell_held_up(struct reconcile_state *st, struct group_out *out)
{
	int64_t ms = out->nevents == 0 ? 0 : held_up_ms(st);

	if (ms > 0) {
		struct group_event *ev = &out->events[0];
		size_t len = strlen(ev->figures);

		snprintf(ev->figures + len, sizeof ev->figures - len, "%sstore_held_up_ms=%lld",
			 len == 0 ? "" : " ", (long long)ms);
	}
}

static void commit_record(struct reconcile_state *st, const struct group *next,
			  const struct group_out *out)
{
	struct registry *r = st->rc->r;
	const struct registry_change both[] = { { st->en, next }, { NULL, &out->split } };

	if (out->has_split) {
		registry_commit_pair(r, both, out->events, out->nevents, committed, st);
	} else {
		registry_commit(r, st->en, out->gone ? NULL : next, out->events, out->nevents,
				committed, st);
	}
}

static void commit(struct reconcile_state *st, const struct group *next,
		   const struct group_live *live, struct group_out *out)
{
	struct registry *r = st->rc->r;

	tell_held_up(st, out);
	st->attempt_ms = clock_ms();
	if (st->failures == 0) {
		st->began_ms = st->attempt_ms;
	}
	st->rc->ncommits++;
	st->next_live = *live;
	st->next_live.members = memory_alloc(next->nmembers, sizeof *live->members);
	memcpy(st->next_live.members, live->members, next->nmembers * sizeof *live->members);
	st->next_nmembers = next->nmembers;
	if (out->changed) {
		commit_record(st, next, out);
	} else {
		registry_commit_events(r, st->en, out->events, out->nevents, committed, st);
	}
}

static const bool *silent_members(const struct reconcile *rc, const struct group *g,
				  struct arena *a)
{
	bool *silent = arena_alloc(a, (g->nmembers + 1) * sizeof *silent);

	for (size_t i = 0; i < g->nmembers; i++) {
		silent[i] = registry_host_silent(rc->r, g->members[i].host);
	}
	return silent;
}

/* What a step may need of what is unused so far. */
static void add_fresh(const struct reconcile *rc, const struct group *g, struct arena *a,
		      struct group_in *in)
{
	const struct member *source = group_source(g);

	in->fresh_watch = rc->next_watch;
	in->fresh_id = id_new();
	/* Only a source that is ejected leaves for a group of its own. */
	if (g->op.kind == OP_EJECT && source != NULL) {
		in->fresh_group = id_new();
		in->fresh_name = registry_free_name(rc->r, g->project, source->name, a);
	}
}

static void step(struct reconcile_state *st)
{
	struct reconcile *rc = st->rc;
	struct entry *en = st->en;
	auto_arena a = {};
	struct group *g = record_scratch_group(en->g, &a);
	struct group_live live = en->live;
	struct group_out out = {};
	struct group_in in = rc->limits;

	in.obs = (const struct observation *const *)en->obs;
	in.silent = silent_members(rc, g, &a);
	in.now_ms = clock_ms();
	in.wall_ms = clock_wall_ms();
	in.reader_watch = st->reader_watch;
	in.reader_until_ms = st->reader_until_ms;
	add_fresh(rc, g, &a, &in);
	live.members = arena_dup(&a, en->live.members, g->nmembers * sizeof *live.members);
	group_step(g, &live, &in, &out);
	rc->next_watch += live.watch == rc->next_watch;
	if (out.changed || out.nevents > 0) {
		publish(st);
		commit(st, g, &live, &out);
		return;
	}
	keep_live(en, &live);
	publish(st);
	if (out.wake_ms == 0) {
		deadline_clear(&rc->deadlines, &st->deadline);
	} else {
		deadline_set(&rc->deadlines, &st->deadline, out.wake_ms);
	}
}

static void look(struct reconcile_state *st)
{
	if (st->en->committing) {
		publish(st); /* the commit's end marks the group again */
		return;
	}
	if (clock_ms() < st->retry_ms) {
		publish(st);
		deadline_set(&st->rc->deadlines, &st->deadline, st->retry_ms);
		return;
	}
	step(st);
}

/* ---- who is to be looked at ---- */

static struct reconcile_state *take_dirty(struct reconcile *rc)
{
	struct reconcile_state *st = rc->dirty;

	rc->dirty = st->next_dirty;
	if (rc->dirty == NULL) {
		rc->dirty_last = &rc->dirty;
	}
	st->dirty = false;
	return st;
}

static bool is_urgent(const struct reconcile_state *st)
{
	return st->en != NULL && st->en->live.urgent;
}

/*
 * What the record says goes out together with what the step then asks for, in one answer. Those
 * beyond the limit stay in the list until a commit has ended; their goals wait for nobody.
 */
static void run(void *arg)
{
	struct reconcile *rc = arg;

	rc->deferred = false;
	while (rc->dirty != NULL && (rc->ncommits < COMMITS_MAX || is_urgent(rc->dirty))) {
		struct reconcile_state *st = take_dirty(rc);

		if (st->en == NULL) {
			free(st);
		} else {
			look(st);
		}
	}
	for (struct reconcile_state *st = rc->dirty; st != NULL; st = st->next_dirty) {
		if (st->en != NULL) {
			publish(st);
		}
	}
}

static void wake(struct reconcile *rc)
{
	if (rc->dirty != NULL && !rc->deferred) {
		rc->deferred = true;
		loop_defer(registry_loop(rc->r), run, rc);
	}
}

/* Whose clients wait for it is looked at first. */
static void mark_dirty(struct reconcile_state *st)
{
	struct reconcile *rc = st->rc;

	if (st->dirty) {
		return;
	}
	st->dirty = true;
	st->next_dirty = NULL;
	if (is_urgent(st) && rc->dirty != NULL) {
		st->next_dirty = rc->dirty;
		rc->dirty = st;
	} else {
		*rc->dirty_last = st;
		rc->dirty_last = &st->next_dirty;
	}
	wake(rc);
}

static void on_deadline(void *, struct deadline *d)
{
	mark_dirty(container_of(d, struct reconcile_state, deadline));
}

static void forget(struct reconcile_state *st)
{
	deadline_clear(&st->rc->deadlines, &st->deadline);
	st->en->reconcile = NULL;
	st->en = NULL;
	if (!st->dirty) {
		free(st);
	}
}

static struct reconcile_state *state_of(struct reconcile *rc, struct entry *en)
{
	if (en->reconcile == NULL) {
		en->reconcile = memory_alloc(1, sizeof *en->reconcile);
		en->reconcile->rc = rc;
		en->reconcile->en = en;
	}
	return en->reconcile;
}

static void on_change(void *arg, struct entry *en)
{
	struct reconcile_state *st = state_of(arg, en);

	if (en->gone) {
		forget(st);
		return;
	}
	mark_dirty(st);
}

static bool first_look(void *arg, struct entry *en)
{
	mark_dirty(state_of(arg, en));
	return true;
}

/* See watch_answers(); 31 bits, because a number in JSON has a sign. */
static uint64_t first_watch(void)
{
	uint32_t life;

	random_bytes(&life, sizeof life);
	return (uint64_t)(life & INT32_MAX) << 32 | 1;
}

static int64_t limit_ms(const struct settings *s, const char *name)
{
	return SEC(setting_int(s, name));
}

static struct group_in limits_of(const struct settings *s)
{
	return (struct group_in){
		.start_limit_ms = limit_ms(s, "replication.start_limit"),
		.sync_stall_limit_ms = limit_ms(s, "replication.sync_stall_limit"),
		.compare_limit_ms = limit_ms(s, "replication.compare_limit"),
		.stage_limit_ms = limit_ms(s, "replication.stage_limit"),
		.catch_up_limit_ms = limit_ms(s, "replication.catch_up_limit"),
		.handover_limit_ms = limit_ms(s, "replication.handover_limit"),
		.tidy_limit_ms = limit_ms(s, "replication.tidy_limit"),
		.drain_limit_ms = limit_ms(s, "replication.drain_limit"),
		.seal_limit_ms = limit_ms(s, "replication.seal_limit"),
	};
}

struct reconcile *reconcile_new(struct registry *r)
{
	struct reconcile *rc = memory_alloc(1, sizeof *rc);

	rc->r = r;
	rc->dirty_last = &rc->dirty;
	rc->next_watch = first_watch();
	rc->limits = limits_of(registry_settings(r));
	deadlines_init(&rc->deadlines, registry_loop(r), on_deadline, rc);
	registry_on_change(r, on_change, rc);
	registry_each(r, first_look, rc);
	return rc;
}

static bool free_state(void *, struct entry *en)
{
	free(en->reconcile);
	en->reconcile = NULL;
	return true;
}

void reconcile_free(struct reconcile *rc)
{
	if (rc == NULL) {
		return;
	}
	for (struct reconcile_state *st = rc->dirty, *next; st != NULL; st = next) {
		next = st->next_dirty;
		if (st->en == NULL) {
			free(st);
		}
	}
	registry_each(rc->r, free_state, NULL);
	deadlines_done(&rc->deadlines);
	free(rc);
}

void reconcile_goals(struct reconcile *rc, const char *host, uint64_t after, struct arena *a,
		     struct wire_goals *ret)
{
	goals_collect(rc->r, host, after, a, ret);
}

uint64_t reconcile_ask(struct reconcile *rc, struct entry *en)
{
	struct reconcile_state *st = state_of(rc, en);

	st->reader_watch = rc->next_watch++;
	st->reader_until_ms = clock_ms() + RECONCILE_ASK_MS;
	mark_dirty(st);
	return st->reader_watch;
}

void reconcile_on_news(struct reconcile *rc, reconcile_news_fn *fn, void *arg)
{
	rc->news = fn;
	rc->news_arg = arg;
}
