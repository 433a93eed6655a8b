/*
 * Keeps the marker up to date, beside the engine's cycle: a job on a worker thread looks at the
 * files and writes it, at most one at a time. Renewed at once when run, role or files change; its
 * position every few seconds while it moves and once when it has come to rest.
 *
 * A guarded run renews nothing: it waits to be compared, and what is known durably is what it is
 * compared with.
 */
#include "agent/engine_state.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "io/file.h"
#include "io/folder.h"

enum {
	POSITION_PERIOD_MS = 5000,   /* while keys change */
	KEEPALIVE_PERIOD_MS = 60000, /* while only the replication's own pings move the offset */
	SETTLED_MS = 2500,           /* fsync everysec, and the second that a slow one may take */
	REST_MS = 500,               /* at least between two renewals, when it has come to rest */
};

struct keeping {
	struct engine *e;
	struct marker next;
	const char *path, *data;
	uint64_t glance;
	bool ok;
	struct err why;
};

/*
 * Its disk may be full for us too. A marker that says too much is worse than none: without one the
 * source is compared.
 */
static void drop_if_wrong(const struct keeping *k)
{
	if (!k->ok && !k->next.durable) {
		(void)unlink(k->path);
	}
}

static void keep_work(void *arg)
{
	struct keeping *k = arg;

	/* The glance first: what changes behind it is noticed at the next look. */
	k->glance = marker_glance(k->data);
	k->ok = marker_look(k->data, &k->next.files, &k->why) &&
		marker_save(k->path, &k->next, &k->why);
	drop_if_wrong(k);
}

static void on_new_manifest(void *arg)
{
	engine_wake(arg);
}

/*
 * A rewrite of the AOF gives it another manifest, and a death before the marker knows it is a
 * needless question: so the marker is renewed within milliseconds, not at the next look.
 */
static void watch_manifest(struct engine *e)
{
	auto_str folder = {};

	str_printf(&folder, "%s/appendonlydir", e->paths.data);
	folders_watch(e->env->folders, folder.p, "appendonly.aof.manifest", on_new_manifest, e);
}

static void keep_done(void *arg)
{
	struct keeping *k = arg;
	struct engine *e = k->e;

	bool again = e->mark_again;

	e->marking = e->mark_again = false;
	e->marked_ms = clock_ms();
	if (k->ok) {
		marker_done(&e->marker);
		e->marker = k->next;
		e->glance = k->glance;
		watch_manifest(e);
	} else {
		/* What is on disk, if it was left there, stays true of the files it was made of: at
		 * worst a needless question. */
		LOG(LOG_WARN, "marker.failed", KV("instance", e->id), KV("reason", k->why.msg));
		e->marker.durable = e->marker.durable && k->next.durable;
		marker_done(&k->next);
	}
	free(k);
	if (e->run.process == NULL || again) {
		engine_wake(e);
	}
}

/*
 * A master's files stay complete as long as its AOF is on: a rewrite that runs takes nothing away.
 * Only a full sync or a boot from an RDB leaves files that lag behind, and then it is no master.
 */
static bool files_hold_all(const struct engine *e)
{
	const struct observation *o = &e->obs;

	return o->durable ||
	       (e->marker.durable && o->aof_enabled && !o->aof_write_failed &&
		o->role == SERVER_ROLE_MASTER && e->marker.role == SERVER_ROLE_MASTER &&
		replid_eq(&e->marker.run_id, &o->run_id));
}

static struct recorded_position position_of(const struct observation *o)
{
	return (struct recorded_position){ .replid = o->replid, .offset = o->offset, .keys = o->keys };
}

/*
 * With appendfsync everysec the last second is in the kernel's memory only (two, when the disk is
 * slow): a position is recorded as one the files have once it is older than that.
 */
static void let_settle(struct engine *e, int64_t now)
{
	const struct observation *o = &e->obs;

	if (!replid_eq(&e->young.replid, &o->replid)) {
		e->settled = (struct recorded_position){};
	} else if (now - e->young_ms < SETTLED_MS) {
		return;
	} else {
		e->settled = e->young;
	}
	e->young = position_of(o);
	e->young_ms = now;
}

enum keep_as { KEEP_RUNNING, KEEP_CLEAN };

static void keep(struct engine *e, enum keep_as as)
{
	const struct observation *o = &e->obs;
	struct keeping *k = calloc(1, sizeof *k);

	if (k == NULL) {
		abort();
	}
	k->e = e;
	k->path = e->paths.marker;
	k->data = e->paths.data;
	k->next = (struct marker){
		.known = true,
		.trusted = true,
		.run_id = o->run_id,
		.role = o->role,
		.durable = files_hold_all(e),
		.clean = as == KEEP_CLEAN,
		.position = as == KEEP_CLEAN ? position_of(o) : e->settled,
		.verdict = e->verdict,
	};
	str_copy(k->next.boot, sizeof k->next.boot, boot_id());
	e->marking = true;
	engine_job(e, keep_work, keep_done, k);
}

/* A source's files have begun to lack what it acknowledges: its AOF is off, or its disk is full. */
static bool lost_durability(const struct engine *e)
{
	return e->obs.role == SERVER_ROLE_MASTER && e->marker.durable && !files_hold_all(e);
}

static bool run_is_new(const struct engine *e)
{
	const struct marker *m = &e->marker;
	const struct observation *o = &e->obs;

	return !m->known || !m->trusted || m->pending || m->clean || m->role != o->role ||
	       !replid_eq(&m->run_id, &o->run_id) || !str_eq(m->boot, boot_id()) ||
	       (o->durable && !m->durable) || lost_durability(e);
}

static bool position_is_due(struct engine *e, int64_t now)
{
	const struct recorded_position *p = &e->marker.position;
	const struct observation *o = &e->obs;
	const struct recorded_position *s = &e->settled;
	int64_t age_ms = now - e->marked_ms;
	bool rests = o->offset == e->offset_before && o->keys == e->keys_before;

	e->offset_before = o->offset;
	e->keys_before = o->keys;
	if (replid_eq(&p->replid, &s->replid) && p->offset == s->offset && p->keys == s->keys) {
		return false;
	}
	if (!replid_eq(&p->replid, &s->replid) || (rests && age_ms > REST_MS)) {
		return true;
	}
	/* A ping of 14 bytes a second keeps moving a source that nobody writes to. */
	int64_t pings = 14 * (age_ms / 1000 + 2);
	bool idle = p->keys == s->keys && s->offset - p->offset <= pings;
	return age_ms > (idle ? KEEPALIVE_PERIOD_MS : POSITION_PERIOD_MS);
}

/*
 * A master that nobody has confirmed, started by hand say: its files are no more to be trusted
 * than those of a run that waits guarded. As a replica's own role it is worth knowing.
 */
static bool is_unconfirmed_source(const struct engine *e)
{
	const struct goal *g = &e->goal;

	return e->obs.role == SERVER_ROLE_MASTER && g->role == GOAL_SOURCE && !g->start_at_once &&
	       !(replid_known(&g->confirmed_run) && replid_eq(&g->confirmed_run, &e->obs.run_id));
}

void keeper_observed(struct engine *e)
{
	const struct observation *o = &e->obs;

	if (!replid_known(&e->marker.run_id) || !replid_eq(&e->marker.run_id, &o->run_id)) {
		if (e->run.adopted && !e->marker.pending) {
			e->verdict = MARKER_UNKNOWN; /* the marker is of another run */
		}
	}
	if (o->loading || o->guarded || o->role == SERVER_ROLE_UNKNOWN || is_unconfirmed_source(e)) {
		return;
	}
	if (e->marking) {
		e->mark_again = true;
		return;
	}
	bool was_master = e->marker.known && e->marker.role == SERVER_ROLE_MASTER;

	if (o->role == SERVER_ROLE_REPLICA &&
	    (!o->link_up || o->sync_in_progress || (e->live.stream && !was_master))) {
		return; /* its files change all the time now, and its truth is the source */
	}
	let_settle(e, clock_ms());
	if (run_is_new(e) || marker_glance(e->paths.data) != e->glance ||
	    (!e->live.urgent && position_is_due(e, clock_ms()))) { /* its disk is waited for */
		keep(e, KEEP_RUNNING);
	}
}

bool keeper_must_wait(struct engine *e)
{
	if (!e->marking && e->mark_clean) {
		e->mark_clean = false;
		keep(e, KEEP_CLEAN);
	}
	return e->marking || e->saving_run_record;
}

struct run_saving {
	struct engine *e;
	const char *path;
	struct run_record record;
	bool ok;
	struct err why;
};

static void save_run_work(void *arg)
{
	struct run_saving *s = arg;

	s->ok = run_record_save(s->path, &s->record, &s->why);
}

static void save_run_done(void *arg)
{
	struct run_saving *s = arg;

	if (!s->ok) {
		/* It is found by its folder all the same. */
		LOG(LOG_WARN, "process.unrecorded", KV("instance", s->e->id),
		    KV("reason", s->why.msg));
	}
	struct engine *e = s->e;
	free(s);
	e->saving_run_record = false;
	if (e->save_run_again) {
		e->save_run_again = false;
		keeper_save_run(e);
	}
	if (e->run.process == NULL) {
		engine_wake(e);
	}
}

/* One at a time: two workers must not write one file. */
void keeper_save_run(struct engine *e)
{
	if (e->saving_run_record) {
		e->save_run_again = true;
		return;
	}
	if (e->run.process == NULL) {
		return;
	}
	e->saving_run_record = true;
	struct run_saving *s = calloc(1, sizeof *s);

	if (s == NULL) {
		abort();
	}
	s->e = e;
	s->path = e->paths.process;
	s->record = (struct run_record){
		.key = process_key(e->run.process),
		.mode = e->run.mode,
		.settings = e->run.settings,
	};
	str_copy(s->record.socket, sizeof s->record.socket, e->run.socket);
	engine_job(e, save_run_work, save_run_done, s);
}
