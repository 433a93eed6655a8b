/*
 * One turn of an engine: look, decide (instance_step), begin an act; its effect comes later, and
 * never when the agent dies before. What a look shows (agent_probe.c) and the marker have files of
 * their own.
 */
#include "sim_agent.h"

#include "agent_marker.h"
#include "agent_probe.h"
#include "base/str.h"
#include "world.h"

enum {
	BEAT_MS = 1000,
	LOOK_CALM_MS = 1000,
	LOOK_LIVELY_MS = 40,
	LIVELY_MS = 2000,
	SLOW_REPORT_MS = 3000,
	ACT_MOST_MS = 25,
	STOP_LIMIT_MS = 8000,
};

static struct engine *engine_of(struct world *w, int node)
{
	return &w->nodes[node].engine;
}

/* goals */

static void save_goal_done(struct world *w, int node)
{
	struct node *n = &w->nodes[node];
	struct engine *e = &n->engine;

	e->goal_saved_ms = 0;
	if (e->saving.run == GOAL_DELETE && !n->files.folder) {
		/* Nothing is there to delete: no folder is made for the order. */
	} else {
		check_goal_saved(w, node, &e->saving);
		n->files.folder = true;
		n->kept.has_goal = true;
		n->kept.goal = e->saving;
	}
	bool same = e->has_goal && e->saving.epoch == e->goal.epoch &&
		    e->saving.run == e->goal.run && e->saving.role == e->goal.role;

	e->clients_dropped = e->clients_dropped && e->saving.drop_clients;
	e->pause_spent = e->pause_spent && same;
	e->goal_ms = same ? e->goal_ms : w->now_ms;
	e->goal = e->saving;
	e->has_goal = e->confirmed = true;
	e->seen.o.goal_applied = false;
	e->moved_ms = w->now_ms;
}

static void save_goal(struct world *w, int node)
{
	struct engine *e = engine_of(w, node);

	e->saving = e->incoming;
	e->has_incoming = false;
	e->goal_saved_ms = w->now_ms + sim_between(w, 1, sim_one_in(w, 4) ? ACT_MOST_MS : 4);
}

static bool same_live(const struct goal_live *a, const struct goal_live *b)
{
	return a->watch == b->watch && a->stream == b->stream && a->urgent == b->urgent &&
	       a->peer_offset == b->peer_offset;
}

/* What comes beside a goal belongs to it; the newest word counts, if its goal is not an older one.
 */
static void take_live(struct world *w, struct engine *e, const struct goal_live *live)
{
	if (!same_live(live, &e->live) || e->live_epoch != e->newest_epoch ||
	    e->live_revision != e->newest_revision) {
		e->look_ms = w->now_ms;
	}
	e->live = *live;
	e->live_epoch = e->newest_epoch;
	e->live_revision = e->newest_revision;
}

void agent_take_goal(struct world *w, int node, const struct goal *g, const struct goal_live *live)
{
	struct engine *e = engine_of(w, node);

	if (!w->hosts[sim_host_of(node)].agent.up || w->hosts[sim_host_of(node)].agent.stopping) {
		return;
	}
	int order = e->newest_epoch == 0
			    ? 1
			    : goal_cmp(g->epoch, g->revision, e->newest_epoch, e->newest_revision);

	e->there = true;
	if (order == 0 && e->has_goal && !e->confirmed) {
		e->confirmed = true;
		e->moved_ms = e->look_ms = w->now_ms;
	}
	if (order > 0) {
		e->look_ms = w->now_ms;
		e->incoming = *g;
		e->has_incoming = true;
		e->newest_epoch = g->epoch;
		e->newest_revision = g->revision;
		e->moved_ms = w->now_ms;
	}
	if (order >= 0) {
		take_live(w, e, live);
	}
}

/* deciding */

static void finish_act(struct world *w, int node)
{
	struct engine *e = engine_of(w, node);

	e->act_ms = 0;
	STORY(w, "%s: %s%s%s", w->nodes[node].name, instance_act_name(e->act),
	      e->act_mode.guarded    ? " (guarded)"
	      : e->act_mode.from_rdb ? " (from RDB)"
				     : "",
	      e->act_waits ? ": no answer" : "");
	act_take_effect(w, node);
	e->moved_ms = w->now_ms;
}

static struct instance_local local_of(const struct world *w, int node)
{
	const struct node *n = &w->nodes[node];
	const struct engine *e = &n->engine;
	bool wanted = e->goal.run == GOAL_RUN;

	return (struct instance_local){
		.obs = &e->seen.o,
		.conf_current = !wanted || (n->kept.has_conf &&
					    n->kept.conf == act_conf_of(&e->goal, e->mode)),
		.live_current = !wanted || e->settings == act_settings_of(&e->goal),
		.mode_now = e->mode,
		.files_exist = n->files.folder,
		.rdb_usable = !e->has_process && marker_rdb_usable(n),
		.rdb_exists = n->files.rdb.there,
		.aof_exists = !e->has_process && n->files.aof.there,
		.marker_was_master = e->marker.known && e->marker.role == SERVER_ROLE_MASTER,
		.paused = e->paused_until_ms > w->now_ms,
		.clients_dropped = e->clients_dropped,
		.pause_spent = e->pause_spent,
		.never_linked = !e->linked,
		.applied_ms = e->applied_ms,
		.goal_ms = e->goal_ms,
		.exited_ms = e->exited_ms,
		.stop_sent_ms = e->stop_sent_ms,
		.stop_again_ms = e->stop_again_ms,
		.kill_sent_ms = e->kill_sent_ms,
		.failures = e->failures,
		.stop_limit_ms = STOP_LIMIT_MS,
	};
}

static int64_t next_look(const struct world *w, const struct engine *e)
{
	const struct observation *o = &e->seen.o;
	bool waits =
		!o->goal_applied || (o->role == SERVER_ROLE_REPLICA && !o->guarded && !o->link_up);
	bool lively = !e->answered || e->live.stream || o->loading || o->sync_in_progress ||
		      o->aof_rewriting || (waits && w->now_ms - e->moved_ms < 10 * LIVELY_MS) ||
		      w->now_ms - e->moved_ms < LIVELY_MS;

	if (!e->has_process) {
		return SIM_NEVER;
	}
	if (e->live.urgent && e->answered && o->proc != PROC_HUNG && e->strikes == 0) {
		return w->now_ms + 1;
	}
	return w->now_ms +
	       (lively && o->proc != PROC_HUNG && e->strikes == 0 ? LOOK_LIVELY_MS : LOOK_CALM_MS);
}

/* What came with a goal that is not in force says nothing about the one that is. */
static struct goal_live live_of(const struct engine *e)
{
	struct goal_live live = e->live;

	if (!e->confirmed ||
	    goal_cmp(e->live_epoch, e->live_revision, e->goal.epoch, e->goal.revision) != 0) {
		live.peer_offset = -1;
	}
	return live;
}

static void decide(struct world *w, int node)
{
	struct engine *e = engine_of(w, node);
	struct instance_local local = local_of(w, node);
	struct goal_live live = live_of(e);
	struct instance_out out = instance_step(&(struct instance_in){
		.goal = &e->goal,
		.live = &live,
		.confirmed = e->confirmed,
		.stop = w->hosts[sim_host_of(node)].agent.stopping,
		.local = &local,
		.now_ms = w->now_ms,
	});

	if (!w->hosts[sim_host_of(node)].agent.stopping) {
		e->seen.o.goal_applied = out.goal_applied;
		if (out.goal_applied) {
			e->seen.o.goal_epoch = e->goal.epoch;
			e->seen.o.goal_revision = e->goal.revision;
		}
	}
	if (out.act != ACT_NONE) {
		e->act = out.act;
		e->act_began_ms = w->now_ms;
		e->act_mode = out.mode;
		e->act_ms = w->now_ms + sim_between(w, 1, sim_one_in(w, 4) ? ACT_MOST_MS : 3);
		return;
	}
	e->look_ms = next_look(w, e);
	if (out.wake_ms != 0 && out.wake_ms < e->look_ms) {
		e->look_ms = out.wake_ms;
	}
}

static void turn(struct world *w, int node)
{
	struct engine *e = engine_of(w, node);

	if (e->has_incoming) {
		save_goal(w, node);
	} else if (!e->has_process && marker_must_wait(w, node)) {
		e->look_ms = e->marker_ms;
	} else if (!e->has_goal) {
		e->looked = true;
		e->look_ms = SIM_NEVER;
	} else {
		if (e->has_process) {
			probe_server(w, node);
		} else {
			probe_no_server(w, node);
		}
		decide(w, node);
	}
}

/* An engine does one thing at a time: it saves a goal, or acts, or looks and decides. */
static void engine_tick(struct world *w, int node)
{
	struct engine *e = engine_of(w, node);

	if (e->marker_ms != 0 && w->now_ms >= e->marker_ms) {
		marker_written(w, node);
	}
	if (e->goal_saved_ms != 0) {
		if (w->now_ms < e->goal_saved_ms) {
			return;
		}
		save_goal_done(w, node);
	} else if (e->act_ms != 0) {
		if (w->now_ms < e->act_ms) {
			return;
		}
		finish_act(w, node);
		if (e->act_ms != 0) {
			return;
		}
	} else if (w->now_ms < e->look_ms) {
		return;
	}
	turn(w, node);
}

static int64_t engine_wake(const struct engine *e)
{
	int64_t wake = e->goal_saved_ms != 0 ? e->goal_saved_ms
		       : e->act_ms != 0      ? e->act_ms
					     : e->look_ms;

	return e->marker_ms != 0 && e->marker_ms < wake ? e->marker_ms : wake;
}

/* Did what it told last become untrue? Offsets alone are told when asked for, or slowly. */
static bool has_news(const struct world *w, const struct engine *e)
{
	struct observation a = e->seen.o, b = e->sent.o;
	bool due = e->live.stream || w->now_ms - e->sent_ms >= SLOW_REPORT_MS;

	if (!e->looked) {
		return false;
	}
	if (e->sent_ms == 0) {
		return true;
	}
	bool figures = a.offset != b.offset || a.slave_offset != b.slave_offset ||
		       a.read_offset != b.read_offset || a.keys != b.keys ||
		       a.sync_done_bytes != b.sync_done_bytes || a.save_progress != b.save_progress;
	bool rest = a.goal_epoch != b.goal_epoch || a.goal_revision != b.goal_revision ||
		    a.goal_applied != b.goal_applied || a.start_at_once != b.start_at_once ||
		    a.watch != b.watch || a.proc != b.proc || !replid_eq(&a.run_id, &b.run_id) ||
		    a.guarded != b.guarded || a.fenced != b.fenced || a.durable != b.durable ||
		    a.marker != b.marker || a.loading != b.loading || a.role != b.role ||
		    !replid_eq(&a.replid, &b.replid) || a.link_up != b.link_up ||
		    a.sync_in_progress != b.sync_in_progress ||
		    a.upstream_port != b.upstream_port || a.aof_enabled != b.aof_enabled ||
		    a.aof_rewriting != b.aof_rewriting || !replid_eq(&a.replid2, &b.replid2) ||
		    !str_eq(a.error, b.error) || !str_eq(a.upstream_host, b.upstream_host);

	return rest || (figures && due);
}

static void tell(struct world *w, int host, int node)
{
	struct agent *a = &w->hosts[host].agent;
	struct message m;

	m.used = true;
	m.kind = MESSAGE_REPORT;
	m.host = host;
	m.node = node;
	m.session = a->session;
	m.seq = ++a->seq;
	if (node != SIM_NOBODY) {
		struct engine *e = engine_of(w, node);

		e->sent = e->seen;
		e->sent_ms = w->now_ms;
		m.seen = e->seen;
	}
	net_send(w, &m);
}

/* Reports may be lost without anybody's knowing here: so now and then all is told again. */
static void beat(struct world *w, int host)
{
	struct agent *a = &w->hosts[host].agent;
	bool told = false;

	a->beat_ms = w->now_ms + BEAT_MS;
	for (int i = host; i < SIM_NODES; i += SIM_HOSTS) {
		if (engine_of(w, i)->there && engine_of(w, i)->looked) {
			tell(w, host, i);
			told = true;
		}
	}
	if (!told) {
		tell(w, host, SIM_NOBODY);
	}
}

void agent_tick(struct world *w, int host)
{
	struct agent *a = &w->hosts[host].agent;

	if (!w->hosts[host].up) {
		return;
	}
	if (!a->up) {
		if (w->now_ms >= a->up_ms) {
			agent_start(w, host);
		}
		return;
	}
	for (int i = host; i < SIM_NODES; i += SIM_HOSTS) {
		struct engine *e = engine_of(w, i);

		if (e->there && w->now_ms >= engine_wake(e)) {
			engine_tick(w, i);
			if (has_news(w, e)) {
				tell(w, host, i);
			}
		}
	}
	if (w->now_ms >= a->beat_ms) {
		beat(w, host);
	}
}

int64_t agent_wake(const struct world *w, int host)
{
	const struct agent *a = &w->hosts[host].agent;
	int64_t wake = a->beat_ms;

	if (!w->hosts[host].up) {
		return SIM_NEVER;
	}
	if (!a->up) {
		return a->up_ms;
	}
	for (int i = host; i < SIM_NODES; i += SIM_HOSTS) {
		const struct engine *e = &w->nodes[i].engine;

		if (e->there && engine_wake(e) < wake) {
			wake = engine_wake(e);
		}
	}
	return wake;
}

/* beginnings and ends */

void agent_process_ended(struct world *w, int node)
{
	struct engine *e = engine_of(w, node);
	bool told = e->stop_sent_ms != 0;
	bool well = w->nodes[node].server.ended_well;

	if (!w->hosts[sim_host_of(node)].agent.up || !e->has_process) {
		return;
	}
	if (e->act_waits) {
		e->act_waits = false;
		e->act_ms = 0;
	}
	e->has_process = false;
	e->exited_ms = w->now_ms;
	e->moved_ms = w->now_ms;
	e->look_ms = w->now_ms + sim_between(w, 0, 3);
	if (!told && !e->ready && !e->adopted) {
		e->failures++;
	}
	e->seen.o.proc = e->failures > 0 ? PROC_FAILED : PROC_EXITED;
	e->seen.o.goal_applied = false;
	e->seen.o.loading = e->seen.o.sync_in_progress = e->seen.o.link_up = false;
	e->mark_clean = told && well && e->ready && !e->seen.o.guarded;
}

/* The server it finds may be the one of its record, or a later one that was not recorded. */
static void find_server(struct world *w, int node)
{
	struct node *n = &w->nodes[node];
	struct engine *e = &n->engine;

	e->mode = n->kept.has_run ? n->kept.mode : (struct start_mode){};
	e->ever_ran = n->kept.has_run;
	if (!n->server.alive) {
		return;
	}
	e->has_process = e->adopted = e->ever_ran = true;
	e->run_no = n->server.run_no;
	e->started_ms = w->now_ms;
	e->seen.o.proc = PROC_STARTING;
}

static void engine_new(struct world *w, int node)
{
	struct node *n = &w->nodes[node];
	struct engine *e = &n->engine;

	*e = (struct engine){ .there = true, .moved_ms = w->now_ms, .look_ms = w->now_ms };
	e->seen.o.instance = n->id;
	engine_clear_figures(&e->seen.o);
	e->has_goal = n->kept.has_goal;
	e->goal = n->kept.goal;
	e->newest_epoch = e->goal.epoch;
	e->newest_revision = e->goal.revision;
	e->seen.o.start_at_once = e->has_goal && e->goal.start_at_once;
	e->marker = n->kept.marker;
	e->verdict = e->marker.verdict;
	e->live.peer_offset = -1;
	e->least_epoch = plane_epoch_of(w, node);
	find_server(w, node);
	e->seen.o.marker = e->verdict;
	e->seen.o.recorded = e->marker.position;
}

void agent_start(struct world *w, int host)
{
	struct agent *a = &w->hosts[host].agent;

	*a = (struct agent){ .up = true, .session = ++w->fresh, .beat_ms = w->now_ms };
	STORY(w, "agent %s starts", w->nodes[host].host);
	for (int i = host; i < SIM_NODES; i += SIM_HOSTS) {
		if (w->nodes[i].files.folder) {
			engine_new(w, i);
		} else {
			*engine_of(w, i) = (struct engine){};
			engine_of(w, i)->seen.o.instance = w->nodes[i].id;
			engine_clear_figures(&engine_of(w, i)->seen.o);
		}
	}
}

void agent_die(struct world *w, int host)
{
	w->hosts[host].agent.up = false;
	for (int i = host; i < SIM_NODES; i += SIM_HOSTS) {
		act_break_off(w, i);
		*engine_of(w, i) = (struct engine){};
	}
}

bool agent_all_stopped(const struct world *w, int host)
{
	for (int i = host; i < SIM_NODES; i += SIM_HOSTS) {
		const struct engine *e = &w->nodes[i].engine;

		if (e->there && (e->has_process || e->mark_clean || e->marker_ms != 0)) {
			return false;
		}
	}
	return true;
}
