/*
 * The marker's rules. Reading the files is instantaneous here, writing the marker is not.
 */
#include "agent_marker.h"

#include "world.h"

/* A planted bug: the position is recorded before the AOF is sure to have it (tests/sim/planted). */
#ifndef SIM_BUG_POSITION_AT_ONCE
#define SIM_BUG_POSITION_AT_ONCE 0
#endif

enum {
	SETTLED_MS = 2500,
	POSITION_MS = 5000,
	KEEPALIVE_MS = 60000,
	REST_MS = 500,
	WRITE_MOST_MS = 20
};

struct seen_files agent_look_at_files(const struct files *f)
{
	if (f->aof.there) {
		return (struct seen_files){ true, f->aof.inode, f->aof.size, f->aof.mtime_ms };
	}
	if (f->rdb.there) {
		return (struct seen_files){ true, f->rdb.inode, f->rdb.size, f->rdb.mtime_ms };
	}
	return (struct seen_files){};
}

static uint64_t boot_of(const struct world *w, int node)
{
	return w->hosts[sim_host_of(node)].boot;
}

/* A master's files stay complete as long as its AOF is on; others lag behind a full sync. */
static bool files_hold_all(const struct engine *e)
{
	const struct observation *o = &e->seen.o;

	return o->durable ||
	       (e->marker.durable && o->aof_enabled && o->role == SERVER_ROLE_MASTER &&
		e->marker.role == SERVER_ROLE_MASTER && replid_eq(&e->marker.run, &o->run_id));
}

static void keep(struct world *w, int node, bool clean)
{
	struct engine *e = &w->nodes[node].engine;
	const struct observation *o = &e->seen.o;

	e->next_marker = (struct marker_model){
		.known = true,
		.trusted = true,
		.run = o->run_id,
		.role = o->role,
		.durable = files_hold_all(e),
		.clean = clean,
		.boot = boot_of(w, node),
		.position = e->settled,
		.verdict = e->verdict,
		.files = agent_look_at_files(&w->nodes[node].files),
	};
	e->marker_ms = w->now_ms + sim_between(w, 1, WRITE_MOST_MS);
}

void marker_written(struct world *w, int node)
{
	struct node *n = &w->nodes[node];
	struct engine *e = &n->engine;

	e->marker_ms = 0;
	e->marked_ms = w->now_ms;
	e->glance = e->next_marker.files;
	e->marker = e->next_marker;
	n->kept.marker = e->next_marker;
	if (!e->has_process) {
		e->look_ms = w->now_ms;
	}
}

static bool run_is_new(const struct world *w, int node)
{
	const struct engine *e = &w->nodes[node].engine;
	const struct marker_model *m = &e->marker;
	const struct observation *o = &e->seen.o;

	return !m->known || !m->trusted || m->pending || m->clean || m->role != o->role ||
	       !replid_eq(&m->run, &o->run_id) || m->boot != boot_of(w, node) ||
	       (o->durable && !m->durable);
}

static bool same_position(const struct recorded_position *a, const struct recorded_position *b)
{
	return replid_eq(&a->replid, &b->replid) && a->offset == b->offset && a->keys == b->keys;
}

/* The marker is on the disk at once, the AOF later: a position is recorded when both have it. */
static void let_settle(const struct world *w, struct engine *e)
{
	const struct observation *o = &e->seen.o;
	struct recorded_position p = { .replid = o->replid, .offset = o->offset, .keys = o->keys };

	if (SIM_BUG_POSITION_AT_ONCE) {
		e->settled = e->young = p;
		return;
	}
	if (!replid_eq(&e->young.replid, &p.replid)) {
		e->settled = (struct recorded_position){};
	} else if (w->now_ms - e->young_ms < SETTLED_MS) {
		return;
	} else {
		e->settled = e->young;
	}
	e->young = p;
	e->young_ms = w->now_ms;
}

static bool position_is_due(const struct world *w, const struct engine *e)
{
	const struct recorded_position *p = &e->marker.position, *s = &e->settled;
	int64_t age_ms = w->now_ms - e->marked_ms;

	if (same_position(p, s)) {
		return false;
	}
	if (!replid_eq(&p->replid, &s->replid) ||
	    (same_position(s, &e->young) && age_ms > REST_MS)) {
		return true;
	}
	int64_t pings = PING_BYTES * (age_ms / 1000 + 2);
	bool idle = p->keys == s->keys && s->offset - p->offset <= pings;

	return age_ms > (idle ? KEEPALIVE_MS : POSITION_MS);
}

static bool is_unconfirmed_source(const struct engine *e)
{
	const struct goal *g = &e->goal;

	return e->seen.o.role == SERVER_ROLE_MASTER && g->role == GOAL_SOURCE &&
	       !g->start_at_once &&
	       !(replid_known(&g->confirmed_run) &&
		 replid_eq(&g->confirmed_run, &e->seen.o.run_id));
}

void marker_observed(struct world *w, int node)
{
	struct engine *e = &w->nodes[node].engine;
	const struct observation *o = &e->seen.o;

	if (!replid_eq(&e->marker.run, &o->run_id) && e->adopted && !e->marker.pending) {
		e->verdict = MARKER_UNKNOWN; /* the marker is of another run */
	}
	if (o->loading || o->guarded || e->marker_ms != 0 || is_unconfirmed_source(e) ||
	    (o->role == SERVER_ROLE_REPLICA && (!o->link_up || o->sync_in_progress ||
						(e->live.stream && e->marker.role == o->role)))) {
		return;
	}
	struct seen_files now = agent_look_at_files(&w->nodes[node].files);

	let_settle(w, e);
	if (run_is_new(w, node) || now.inode != e->glance.inode || position_is_due(w, e)) {
		keep(w, node, false);
	}
}

bool marker_must_wait(struct world *w, int node)
{
	struct engine *e = &w->nodes[node].engine;

	if (e->marker_ms == 0 && e->mark_clean) {
		e->mark_clean = false;
		keep(w, node, true);
	}
	return e->marker_ms != 0;
}

static bool sizes_fit(const struct marker_model *m, const struct seen_files *now)
{
	return m->clean ? m->files.size == now->size && m->files.mtime_ms == now->mtime_ms
			: now->size >= m->files.size;
}

static enum marker_verdict judge(const struct marker_model *m, const struct seen_files *now,
				 uint64_t boot)
{
	if (!m->known) {
		return now->any ? MARKER_MISSING : MARKER_NEW;
	}
	if (!m->trusted) {
		return MARKER_MISSING;
	}
	if (!m->durable || !m->files.any || !now->any || m->files.inode != now->inode) {
		return MARKER_DIFFERENT;
	}
	if (m->boot != boot && !m->clean) {
		return MARKER_REBOOTED;
	}
	return sizes_fit(m, now) ? MARKER_INTACT : MARKER_DIFFERENT;
}

/* Found intact they are good for this boot; any doubt stays, so that the next start finds it too.
 */
void marker_judge_start(struct world *w, int node, struct start_mode mode)
{
	struct node *n = &w->nodes[node];
	struct engine *e = &n->engine;
	struct marker_model m = n->kept.marker;
	struct seen_files now = agent_look_at_files(&n->files);

	e->verdict = judge(&m, &now, boot_of(w, node));
	if (!mode.guarded) {
		return;
	}
	m.known = m.pending = true;
	m.verdict = e->verdict;
	if (e->verdict == MARKER_INTACT) {
		m.clean = false;
		m.boot = boot_of(w, node);
	}
	n->kept.marker = m;
	e->marker = m;
}

bool marker_rdb_usable(const struct node *n)
{
	const struct rdb *rdb = &n->files.rdb;
	const struct aof *aof = &n->files.aof;
	const struct marker_model *m = &n->engine.marker;
	bool clean = m->known && m->clean;

	if (!rdb->there) {
		return false;
	}
	return !aof->there || (clean && rdb->mtime_ms >= aof->mtime_ms) ||
	       rdb->born_ms >= aof->mtime_ms;
}
