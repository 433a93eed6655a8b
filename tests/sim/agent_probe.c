/*
 * What a look at a server shows its agent, as INFO has it, and what the agent makes of answers that
 * do not come.
 */
#include "agent_probe.h"

#include "agent_marker.h"
#include "base/str.h"
#include "world.h"

enum { STRIKES_HUNG = 3, LOOKS_TOGETHER_MS = 250 };

void engine_clear_figures(struct observation *o)
{
	struct observation was = *o;

	*o = (struct observation){
		.instance = was.instance,
		.goal_epoch = was.goal_epoch,
		.goal_revision = was.goal_revision,
		.goal_applied = was.goal_applied,
		.start_at_once = was.start_at_once,
		.watch = was.watch,
		.proc = was.proc,
		.marker = was.marker,
		.recorded = was.recorded,
		.second_offset = -1,
		.slave_offset = -1,
		.read_offset = -1,
		.sync_done_bytes = -1,
		.sync_total_bytes = -1,
		.save_progress = -1,
		.last_io_s = -1,
	};
}

static void read_link(const struct world *w, const struct server *s, struct observation *o)
{
	bool copying =
		s->link == LINK_SAVING || s->link == LINK_TRANSFER || s->link == LINK_LOADING;

	o->slave_offset = s->at.offset;
	o->read_offset = server_read_offset(w, s);
	o->link_up = s->link == LINK_UP;
	o->sync_in_progress = copying;
	o->sync_done_bytes = s->link == LINK_TRANSFER ? 1000 - (s->link_ms - w->now_ms) : -1;
	o->last_io_s = o->link_up ? (int32_t)((w->now_ms - s->heard_ms) / 1000) : -1;
	if (s->upstream == SIM_NOBODY) {
		str_copy(o->upstream_host, sizeof o->upstream_host, "127.0.0.1");
	} else {
		str_copy(o->upstream_host, sizeof o->upstream_host, w->nodes[s->upstream].address);
		o->upstream_port = 6379;
	}
}

static void read_info(const struct world *w, const struct server *s, struct observation *o)
{
	o->run_id = s->run;
	o->loading = server_loading(w, s);
	o->role = s->replica ? SERVER_ROLE_REPLICA : SERVER_ROLE_MASTER;
	o->aof_enabled = s->aof_on;
	o->aof_rewriting = s->rewrite_ms != 0;
	o->aof_last_rewrite_ok = true;
	o->durable = s->aof_on && s->rewrite_ms == 0 && !s->files_lag;
	o->sync_full = s->sync_full;
	if (s->replica) {
		read_link(w, s, o);
	}
	if (w->now_ms < s->save_until_ms) {
		o->save_progress = w->now_ms;
	}
	if (o->loading) {
		o->loading_pct = 50;
		return;
	}
	o->replid = s->at.replid;
	o->replid2 = s->replid2;
	o->second_offset = s->second_offset;
	o->offset = s->at.offset;
	o->keys = data_keys(&s->data);
}

static void note_first_answer(struct world *w, struct engine *e, const struct server *s)
{
	struct observation *o = &e->seen.o;

	if (!e->answered && e->adopted) {
		e->fenced = s->min_slaves >= FENCE_MIN_SLAVES;
		e->paused_until_ms = w->now_ms + FENCE_PAUSE_MS; /* who knows */
		e->mode.from_rdb = e->mode.from_rdb && !o->aof_enabled;
		e->mode.guarded = e->mode.guarded && s->replica && s->upstream == SIM_NOBODY;
	}
	e->answered = true;
	e->linked = e->linked || e->seen.o.link_up;
	if (!e->ready && !o->loading) {
		e->ready = true;
		e->ready_ms = w->now_ms;
		e->failures = 0;
	}
}

/* No answer for a second, three times. */
static void no_answer(struct engine *e)
{
	if (++e->strikes >= STRIKES_HUNG) {
		e->seen.o.proc = PROC_HUNG;
		str_copy(e->seen.o.error, sizeof e->seen.o.error, "it has not answered for 3 s");
	}
	e->looked = e->looked || e->strikes >= STRIKES_HUNG;
}

/* Longer between two looks and nobody knows what it did meanwhile. */
static void note_standing_still(const struct world *w, struct engine *e)
{
	if (e->seen.o.slave_offset != e->applied_before ||
	    w->now_ms - e->looked_ms > LOOKS_TOGETHER_MS) {
		e->applied_ms = w->now_ms;
	}
	e->applied_before = e->seen.o.slave_offset;
	e->looked_ms = w->now_ms;
}

void probe_server(struct world *w, int node)
{
	struct node *n = &w->nodes[node];
	struct engine *e = &n->engine;
	struct observation *o = &e->seen.o;

	if (n->server.stopped) {
		no_answer(e);
		return;
	}
	e->strikes = 0;
	engine_clear_figures(o);
	read_info(w, &n->server, o);
	o->proc = PROC_RUNNING;
	o->watch = e->live.watch;
	o->start_at_once = e->goal.start_at_once;
	e->seen.data = n->server.data;
	note_first_answer(w, e, &n->server);
	o->fenced = e->fenced || (e->paused && w->now_ms < e->paused_until_ms);
	note_standing_still(w, e);
	/* A sealed one follows nobody either, and is no source that waits for a word. */
	o->guarded = e->mode.guarded && n->server.replica && n->server.upstream == SIM_NOBODY;
	marker_observed(w, node);
	o->marker = e->verdict;
	o->recorded = e->marker.position;
	e->looked = true;
}

void probe_no_server(struct world *w, int node)
{
	struct node *n = &w->nodes[node];
	struct engine *e = &n->engine;
	struct observation *o = &e->seen.o;

	o->watch = e->live.watch;
	o->start_at_once = e->goal.start_at_once;
	o->recorded = e->marker.position;
	if (e->goal.run == GOAL_DELETE && !n->files.folder) {
		engine_clear_figures(o);
		o->proc = PROC_DELETED;
	} else if (e->failures > 0) {
		o->proc = PROC_FAILED;
	} else {
		o->proc = e->ever_ran ? PROC_EXITED : PROC_NONE;
	}
	e->looked = true;
}
