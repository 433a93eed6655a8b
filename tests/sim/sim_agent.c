/*
 * One turn of an engine: look, decide (instance_step), begin an act; its effect comes later, and
 * never when the agent dies before. The marker has a file of its own.
 */
#include "sim_agent.h"

#include "agent_marker.h"
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
	STRIKES_HUNG = 3,
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
	e->goal_saved_ms = w->now_ms + sim_between(w, 1, ACT_MOST_MS);
}

void agent_take_goal(struct world *w, int node, const struct goal *g, uint64_t watch, bool stream)
{
	struct engine *e = engine_of(w, node);

	if (!w->hosts[sim_host_of(node)].agent.up || w->hosts[sim_host_of(node)].agent.stopping) {
		return;
	}
	int order = e->newest_epoch == 0
			    ? 1
			    : goal_cmp(g->epoch, g->revision, e->newest_epoch, e->newest_revision);

	e->there = true;
	e->look_ms = w->now_ms;
	if (order >= 0) {
		e->watch = watch;
		e->stream = stream;
	}
	if (order == 0 && e->has_goal && !e->confirmed) {
		e->confirmed = true;
		e->moved_ms = w->now_ms;
	}
	if (order > 0) {
		e->incoming = *g;
		e->has_incoming = true;
		e->newest_epoch = g->epoch;
		e->newest_revision = g->revision;
		e->moved_ms = w->now_ms;
	}
}

/* looking */

static void clear_figures(struct observation *o)
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
	o->guarded = s->replica && s->upstream == SIM_NOBODY;
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

static void note_first_answer(struct world *w, struct engine *e)
{
	struct observation *o = &e->seen.o;

	if (!e->answered && e->adopted) {
		e->mode.from_rdb = e->mode.from_rdb && !o->aof_enabled;
		e->mode.guarded = e->mode.guarded && o->guarded;
	}
	e->answered = true;
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

static void probe(struct world *w, int node)
{
	struct node *n = &w->nodes[node];
	struct engine *e = &n->engine;
	struct observation *o = &e->seen.o;

	if (n->server.stopped) {
		no_answer(e);
		return;
	}
	e->strikes = 0;
	clear_figures(o);
	read_info(w, &n->server, o);
	o->proc = PROC_RUNNING;
	o->watch = e->watch;
	o->start_at_once = e->goal.start_at_once;
	e->seen.data = n->server.data;
	note_first_answer(w, e);
	marker_observed(w, node);
	o->marker = e->verdict;
	o->recorded = e->marker.position;
	e->looked = true;
}

static void probe_no_server(struct world *w, int node)
{
	struct node *n = &w->nodes[node];
	struct engine *e = &n->engine;
	struct observation *o = &e->seen.o;

	o->watch = e->watch;
	o->start_at_once = e->goal.start_at_once;
	o->recorded = e->marker.position;
	if (e->goal.run == GOAL_DELETE && !n->files.folder) {
		clear_figures(o);
		o->proc = PROC_DELETED;
	} else if (e->failures > 0) {
		o->proc = PROC_FAILED;
	} else {
		o->proc = e->ever_ran ? PROC_EXITED : PROC_NONE;
	}
	e->looked = true;
}

/* What a configuration file says, as a number: role, upstream and how it starts. */
static uint64_t conf_of(const struct goal *g, struct start_mode mode)
{
	uint64_t upstream = 0;

	for (const char *p = g->upstream_host; *p != '\0'; p++) {
		upstream = upstream * 31 + (unsigned char)*p;
	}
	return 1 + ((upstream << 8) | ((uint64_t)g->role << 2) | ((uint64_t)mode.guarded << 1) |
		    mode.from_rdb);
}

/* acts */

static int upstream_node(const struct world *w, const struct goal *g)
{
	for (int i = 0; i < SIM_NODES; i++) {
		if (str_eq(w->nodes[i].address, g->upstream_host)) {
			return i;
		}
	}
	return SIM_NOBODY;
}

static void start_fails(struct world *w, struct engine *e)
{
	e->failures++;
	e->exited_ms = w->now_ms;
	e->seen.o.proc = PROC_FAILED;
	str_copy(e->seen.o.error, sizeof e->seen.o.error, "the address is in use");
}

static void keep_run(struct node *n)
{
	n->kept.has_run = true;
	n->kept.run_no = n->engine.run_no;
	n->kept.mode = n->engine.mode;
	n->kept.settings = n->engine.settings;
}

static void start(struct world *w, int node)
{
	struct node *n = &w->nodes[node];
	struct engine *e = &n->engine;
	bool master = e->goal.role == GOAL_SOURCE && !e->act_mode.guarded;

	marker_judge_start(w, node, e->act_mode);
	if (w->now_ms < n->start_fails_until_ms) {
		start_fails(w, e);
		return;
	}
	server_start(w, node,
		     &(struct server_start){
			     .replica = !master,
			     .upstream = e->act_mode.guarded || master ? SIM_NOBODY
								       : upstream_node(w, &e->goal),
			     .from_rdb = e->act_mode.from_rdb,
		     });
	e->run_no = n->server.run_no;
	e->has_process = e->ever_ran = true;
	e->adopted = e->answered = e->ready = false;
	e->mode = e->act_mode;
	e->settings = e->goal.waiting_replicas;
	e->started_ms = w->now_ms;
	e->stop_sent_ms = e->stop_again_ms = e->kill_sent_ms = 0;
	e->strikes = 0;
	clear_figures(&e->seen.o);
	e->seen.o.proc = PROC_STARTING;
	e->seen.o.marker = e->verdict;
	e->seen.o.guarded = e->act_mode.guarded;
	keep_run(n);
}

static void set_aside(struct node *n)
{
	if (n->files.aof.there && !n->files.aside.there) {
		n->files.aside = n->files.aof;
	}
	n->files.aof = (struct aof){};
}

static void delete_files(struct world *w, int node)
{
	struct node *n = &w->nodes[node];

	n->files = (struct files){};
	n->kept = (struct agent_files){};
	n->engine.marker = (struct marker_model){};
	n->engine.verdict = MARKER_UNKNOWN;
	n->engine.ever_ran = false;
	n->engine.failures = 0;
	w->ledger.changed = true;
}

/* What a command to the running server does; true: it answered. */
static bool command(struct world *w, int node)
{
	struct node *n = &w->nodes[node];
	struct engine *e = &n->engine;

	if (!server_answers(w, &n->server) || n->server.run_no != e->run_no) {
		return false;
	}
	if (e->act == ACT_FOLLOW) {
		server_follow(w, node, upstream_node(w, &e->goal));
	} else if (e->act == ACT_GUARD) {
		server_follow(w, node, SIM_NOBODY);
	} else if (e->act == ACT_PROMOTE) {
		server_promote(w, node);
	} else if (e->act == ACT_AOF_ON) {
		server_aof_on(w, node);
	}
	return true;
}

static void stop(struct world *w, int node)
{
	struct engine *e = engine_of(w, node);

	(void)server_stop(w, node);
	e->stop_again_ms = w->now_ms;
	e->stop_sent_ms = e->stop_sent_ms != 0 ? e->stop_sent_ms : w->now_ms;
}

static void act_takes_effect(struct world *w, int node)
{
	struct node *n = &w->nodes[node];
	struct engine *e = &n->engine;
	struct start_mode before = e->mode;

	switch (e->act) {
	case ACT_WRITE_CONF:
		n->kept.has_conf = true;
		n->kept.conf = conf_of(&e->goal, e->act_mode);
		e->mode = e->act_mode;
		break;
	case ACT_SET_ASIDE_AOF:
		set_aside(n);
		w->ledger.changed = true;
		break;
	case ACT_START:
		start(w, node);
		break;
	case ACT_CONFIG_SET:
		e->settings = e->goal.waiting_replicas;
		break;
	case ACT_FOLLOW:
	case ACT_GUARD:
	case ACT_PROMOTE:
	case ACT_AOF_ON:
		if (command(w, node)) {
			e->mode = e->act_mode;
		}
		break;
	case ACT_STOP:
		stop(w, node);
		break;
	case ACT_KILL:
		e->kill_sent_ms = w->now_ms;
		server_die(w, node);
		break;
	case ACT_DELETE_FILES:
		delete_files(w, node);
		break;
	case ACT_NONE:
	case ACT_COUNT:
		break;
	}
	if (before.guarded != e->mode.guarded || before.from_rdb != e->mode.from_rdb) {
		keep_run(n);
	}
}

static void finish_act(struct world *w, int node)
{
	struct engine *e = engine_of(w, node);

	e->act_ms = 0;
	STORY(w, "%s: %s%s", w->nodes[node].name, instance_act_name(e->act),
	      e->act_mode.guarded    ? " (guarded)"
	      : e->act_mode.from_rdb ? " (from RDB)"
				     : "");
	act_takes_effect(w, node);
	e->moved_ms = w->now_ms;
}

/* deciding */

static struct instance_local local_of(const struct world *w, int node)
{
	const struct node *n = &w->nodes[node];
	const struct engine *e = &n->engine;
	bool wanted = e->goal.run == GOAL_RUN;

	return (struct instance_local){
		.obs = &e->seen.o,
		.conf_current =
			!wanted || (n->kept.has_conf && n->kept.conf == conf_of(&e->goal, e->mode)),
		.live_current = !wanted || e->settings == e->goal.waiting_replicas,
		.mode_now = e->mode,
		.files_exist = n->files.folder,
		.rdb_usable = !e->has_process && marker_rdb_usable(n),
		.aof_exists = !e->has_process && n->files.aof.there,
		.marker_was_master = e->marker.known && e->marker.role == SERVER_ROLE_MASTER,
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
	bool lively = !e->answered || e->stream || o->loading || o->sync_in_progress ||
		      o->aof_rewriting || (waits && w->now_ms - e->moved_ms < 10 * LIVELY_MS) ||
		      w->now_ms - e->moved_ms < LIVELY_MS;

	if (!e->has_process) {
		return SIM_NEVER;
	}
	return w->now_ms +
	       (lively && o->proc != PROC_HUNG && e->strikes == 0 ? LOOK_LIVELY_MS : LOOK_CALM_MS);
}

static void decide(struct world *w, int node)
{
	struct engine *e = engine_of(w, node);
	struct instance_local local = local_of(w, node);
	struct instance_out out = instance_step(&(struct instance_in){
		.goal = &e->goal,
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
		e->act_mode = out.mode;
		e->act_ms = w->now_ms + sim_between(w, 1, ACT_MOST_MS);
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
			probe(w, node);
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
	bool due = e->stream || w->now_ms - e->sent_ms >= SLOW_REPORT_MS;

	if (!e->looked) {
		return false;
	}
	if (e->sent_ms == 0) {
		return true;
	}
	bool figures = a.offset != b.offset || a.slave_offset != b.slave_offset ||
		       a.keys != b.keys || a.sync_done_bytes != b.sync_done_bytes ||
		       a.save_progress != b.save_progress;
	bool rest = a.goal_epoch != b.goal_epoch || a.goal_revision != b.goal_revision ||
		    a.goal_applied != b.goal_applied || a.start_at_once != b.start_at_once ||
		    a.watch != b.watch || a.proc != b.proc || !replid_eq(&a.run_id, &b.run_id) ||
		    a.guarded != b.guarded || a.marker != b.marker || a.loading != b.loading ||
		    a.role != b.role || !replid_eq(&a.replid, &b.replid) ||
		    a.link_up != b.link_up || a.sync_in_progress != b.sync_in_progress ||
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
	e->settings = n->kept.settings;
	e->started_ms = w->now_ms;
	e->seen.o.proc = PROC_STARTING;
}

static void engine_new(struct world *w, int node)
{
	struct node *n = &w->nodes[node];
	struct engine *e = &n->engine;

	*e = (struct engine){ .there = true, .moved_ms = w->now_ms, .look_ms = w->now_ms };
	e->seen.o.instance = n->id;
	clear_figures(&e->seen.o);
	e->has_goal = n->kept.has_goal;
	e->goal = n->kept.goal;
	e->newest_epoch = e->goal.epoch;
	e->newest_revision = e->goal.revision;
	e->seen.o.start_at_once = e->has_goal && e->goal.start_at_once;
	e->marker = n->kept.marker;
	e->verdict = e->marker.verdict;
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
			clear_figures(&engine_of(w, i)->seen.o);
		}
	}
}

void agent_die(struct world *w, int host)
{
	w->hosts[host].agent.up = false;
	for (int i = host; i < SIM_NODES; i += SIM_HOSTS) {
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
