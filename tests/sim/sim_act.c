/*
 * What an agent does to a server, and what of it happens although the agent died, or the server
 * stood still, in the middle.
 */
#include "agent_marker.h"
#include "agent_probe.h"
#include "base/str.h"
#include "world.h"

/* min-slaves-max-lag where nobody asks for one: with 0 there is no fence at all. */
enum { FENCE_MAX_LAG_S = 10, COMMAND_LIMIT_MS = 5000 };

static struct engine *engine_of(struct world *w, int node)
{
	return &w->nodes[node].engine;
}

static uint32_t max_lag_of(const struct goal *g)
{
	return g->min_slaves_to_write == 0 ? FENCE_MAX_LAG_S : g->min_slaves_max_lag_s;
}

uint64_t act_settings_of(const struct goal *g)
{
	return 1 + ((uint64_t)g->waiting_replicas | (uint64_t)g->min_slaves_to_write << 16);
}

uint64_t act_conf_of(const struct goal *g, struct start_mode mode)
{
	uint64_t upstream = g->min_slaves_to_write;

	for (const char *p = g->upstream_host; *p != '\0'; p++) {
		upstream = upstream * 31 + (unsigned char)*p;
	}
	return 1 + ((upstream << 8) | ((uint64_t)g->role << 2) | ((uint64_t)mode.guarded << 1) |
		    mode.from_rdb);
}

static int upstream_node(const struct world *w, const struct goal *g)
{
	for (int i = 0; i < SIM_NODES; i++) {
		if (str_eq(w->nodes[i].address, g->upstream_host)) {
			return i;
		}
	}
	return SIM_NOBODY;
}

/* starting */

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
}

static void run_begins(struct world *w, int node)
{
	struct node *n = &w->nodes[node];
	struct engine *e = &n->engine;

	e->run_no = n->server.run_no;
	e->has_process = e->ever_ran = true;
	e->adopted = e->answered = e->ready = e->fenced = e->paused = e->linked = false;
	e->paused_until_ms = 0;
	e->mode = e->act_mode;
	e->settings = act_settings_of(&e->goal);
	e->started_ms = w->now_ms;
	e->stop_sent_ms = e->stop_again_ms = e->kill_sent_ms = 0;
	e->strikes = 0;
	engine_clear_figures(&e->seen.o);
	e->seen.o.proc = PROC_STARTING;
	e->seen.o.marker = e->verdict;
	e->seen.o.guarded = e->act_mode.guarded;
	keep_run(n);
}

static void start(struct world *w, int node)
{
	struct node *n = &w->nodes[node];
	struct engine *e = &n->engine;
	bool master = e->goal.role == GOAL_SOURCE && !e->act_mode.guarded;
	bool nobody = e->act_mode.guarded || master || e->goal.staged;

	marker_judge_start(w, node, e->act_mode);
	if (w->now_ms < n->start_fails_until_ms) {
		start_fails(w, e);
		return;
	}
	server_start(w, node,
		     &(struct server_start){
			     .replica = !master,
			     .upstream = nobody ? SIM_NOBODY : upstream_node(w, &e->goal),
			     .from_rdb = e->act_mode.from_rdb,
			     .min_slaves = e->goal.min_slaves_to_write,
			     .max_lag_s = max_lag_of(&e->goal),
		     });
	run_begins(w, node);
}

/* files */

static void set_aside(struct node *n)
{
	if (n->files.aof.there && !n->files.aside.there) {
		n->files.aside = n->files.aof;
		n->files.aside_whole = n->engine.goal.demote_accepted;
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

/* commands to the running server */

static struct order order_of(const struct world *w, const struct engine *e)
{
	return (struct order){
		.act = e->act,
		.run_no = e->run_no,
		.upstream = upstream_node(w, &e->goal),
		.min_slaves = e->goal.min_slaves_to_write,
		.max_lag_s = max_lag_of(&e->goal),
		.fenced = e->fenced,
	};
}

static void carry_out(struct world *w, int node, const struct order *o)
{
	switch (o->act) {
	case ACT_FOLLOW:
	case ACT_YIELD:
		server_follow(w, node, o->upstream);
		break;
	case ACT_GUARD:
	case ACT_SEAL:
		server_follow(w, node, SIM_NOBODY);
		break;
	case ACT_PROMOTE:
		server_promote(w, node);
		break;
	case ACT_AOF_ON:
		server_aof_on(w, node);
		break;
	case ACT_FENCE:
		server_pause(w, node, FENCE_PAUSE_MS); /* from 6.2 on that is all */
		break;
	case ACT_UNFENCE:
		server_pause(w, node, 0);
		if (o->fenced) {
			server_min_slaves(w, node, o->min_slaves, o->max_lag_s);
		}
		break;
	case ACT_CONFIG_SET:
		if (!o->fenced) {
			server_min_slaves(w, node, o->min_slaves, o->max_lag_s);
		}
		break;
	case ACT_DROP_CLIENTS:
		clients_drop(w, node);
		break;
	case ACT_NONE:
	case ACT_WRITE_CONF:
	case ACT_SET_ASIDE_AOF:
	case ACT_START:
	case ACT_STOP:
	case ACT_KILL:
	case ACT_DELETE_FILES:
	case ACT_COUNT:
		break;
	}
}

static void note_carried_out(struct engine *e)
{
	e->mode = e->act_mode;
	switch (e->act) {
	case ACT_CONFIG_SET:
		e->settings = act_settings_of(&e->goal);
		break;
	case ACT_FENCE:
		e->paused = e->pause_spent = true;
		e->paused_until_ms = e->act_began_ms + FENCE_PAUSE_MS;
		break;
	case ACT_UNFENCE:
		e->fenced = e->paused = false;
		e->paused_until_ms = 0;
		break;
	case ACT_DROP_CLIENTS:
		e->clients_dropped = true;
		break;
	case ACT_NONE:
	case ACT_WRITE_CONF:
	case ACT_SET_ASIDE_AOF:
	case ACT_START:
	case ACT_FOLLOW:
	case ACT_GUARD:
	case ACT_PROMOTE:
	case ACT_YIELD:
	case ACT_SEAL:
	case ACT_AOF_ON:
	case ACT_STOP:
	case ACT_KILL:
	case ACT_DELETE_FILES:
	case ACT_COUNT:
		break;
	}
}

/* Sent to one that stands still: it lies in the socket, and its answer is waited for. */
static void wait_for_answer(struct world *w, int node, const struct order *o)
{
	struct node *n = &w->nodes[node];

	n->queued = *o;
	n->engine.act_waits = true;
	n->engine.act_ms = w->now_ms + COMMAND_LIMIT_MS;
}

/* Nobody knows what holds: the next step sets every setting anew. */
static void no_answer(struct engine *e)
{
	e->act_waits = false;
	e->settings = 0;
}

static void command(struct world *w, int node)
{
	struct node *n = &w->nodes[node];
	struct engine *e = &n->engine;
	struct order o = order_of(w, e);

	if (e->act_waits) {
		no_answer(e);
		return;
	}
	if (n->server.alive && n->server.stopped && n->server.run_no == e->run_no) {
		wait_for_answer(w, node, &o);
		return;
	}
	if (!server_answers(w, &n->server) || n->server.run_no != e->run_no) {
		return;
	}
	check_command(w, node);
	carry_out(w, node, &o);
	note_carried_out(e);
}

void act_overtakes(struct world *w, int node)
{
	struct node *n = &w->nodes[node];
	struct order o = n->queued;

	n->queued = (struct order){};
	server_tick(w, node); /* what lies in its other sockets is read in the same turn */
	if (o.act == ACT_NONE || !n->server.alive || o.run_no != n->server.run_no) {
		return;
	}
	STORY(w, "%s: carries out what it was sent before: %s", n->name, instance_act_name(o.act));
	carry_out(w, node, &o);
	if (n->engine.act_waits && n->engine.act == o.act) {
		n->engine.act_waits = false;
		n->engine.act_ms = 0;
		n->engine.look_ms = w->now_ms;
		note_carried_out(&n->engine);
		keep_run(n);
	}
}

static void stop(struct world *w, int node)
{
	struct engine *e = engine_of(w, node);

	(void)server_stop(w, node);
	e->stop_again_ms = w->now_ms;
	e->stop_sent_ms = e->stop_sent_ms != 0 ? e->stop_sent_ms : w->now_ms;
}

void act_take_effect(struct world *w, int node)
{
	struct node *n = &w->nodes[node];
	struct engine *e = &n->engine;
	struct start_mode before = e->mode;

	switch (e->act) {
	case ACT_WRITE_CONF:
		n->kept.has_conf = true;
		n->kept.conf = act_conf_of(&e->goal, e->act_mode);
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
	case ACT_FOLLOW:
	case ACT_GUARD:
	case ACT_PROMOTE:
	case ACT_FENCE:
	case ACT_YIELD:
	case ACT_UNFENCE:
	case ACT_SEAL:
	case ACT_DROP_CLIENTS:
	case ACT_AOF_ON:
		command(w, node);
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

void act_break_off(struct world *w, int node)
{
	struct node *n = &w->nodes[node];
	struct engine *e = &n->engine;
	bool tells = e->act_ms != 0 && (e->act == ACT_FENCE || e->act == ACT_CONFIG_SET);

	if (tells && server_answers(w, &n->server) && n->server.run_no == e->run_no &&
	    sim_one_in(w, 2)) {
		struct order o = order_of(w, e);

		carry_out(w, node, &o);
	}
}
