#include "agent/engine_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "core/versions.h"
#include "io/file.h"
#include "proto/conf.h"

enum {
	LOOK_PERIOD_MS = 1000,
	LOOK_STARTING_MS = 10, /* until it answers */
	LOOK_URGENT_MS = 1,    /* somebody's writes stand still; a full INFO takes 0.03 ms */
	LOOK_LIVELY_MS = 25,   /* something is in progress */
	LOOK_BUSY_MS = 50,     /* the same, when it takes long */
	LIVELY_MS = 2000,
	WAITING_MS =
		60000, /* a goal that is not applied, a link that is not up: then once a second */

	HOLD_FIRST_MS = 200, /* after an act that failed */
	HOLD_MAX_MS = 10000,
	REFUSED_FIRST_MS = 5000,
	REFUSED_MAX_MS = 300000,
	REPEATS_MAX = 3, /* the same act again and again, with success: something is wrong */
};

/* jobs */

struct job {
	struct engine *e;
	loop_fn *work, *done;
	void *arg;
};

static void job_work(void *arg)
{
	struct job *j = arg;

	j->work(j->arg);
}

static void job_done(void *arg)
{
	struct job *j = arg;
	struct agent_env *env = j->e->env;

	j->done(j->arg);
	env->jobs--;
	j->e->jobs--;
	free(j);
	if (env->quitting) {
		env->changed(env->arg);
	}
}

void engine_job(struct engine *e, loop_fn *work, loop_fn *done, void *arg)
{
	struct job *j = calloc(1, sizeof *j);

	if (j == NULL) {
		abort();
	}
	*j = (struct job){ .e = e, .work = work, .done = done, .arg = arg };
	e->env->jobs++;
	e->jobs++;
	loop_work(e->env->loop, job_work, job_done, j);
}

/* the cycle */

void engine_changed(struct engine *e)
{
	e->env->changed(e->env->arg);
}

void engine_wake(struct engine *e)
{
	if (e->busy) {
		e->again = true;
	} else if (!e->env->quitting) {
		turn_set(e->now);
	}
}

void engine_rest(struct engine *e, int64_t at_ms)
{
	e->busy = false;
	if (e->env->quitting) {
		engine_changed(e);
		return;
	}
	if (e->again) {
		e->again = false;
		turn_set(e->now);
	} else if (at_ms != 0) {
		timer_set_at(e->timer, at_ms);
	}
}

/* A full second of the clock: all engines and the heartbeat wake the processor together. */
static int64_t next_beat(int64_t now)
{
	return (now / LOOK_PERIOD_MS + 1) * LOOK_PERIOD_MS;
}

static bool is_waiting(const struct engine *e)
{
	const struct observation *o = &e->obs;

	return !o->goal_applied || (o->role == SERVER_ROLE_REPLICA && !o->guarded && !o->link_up);
}

static int64_t next_look(const struct engine *e, int64_t now)
{
	const struct observation *o = &e->obs;
	int64_t quiet_ms = now - e->moved_ms;

	if (e->run.process == NULL) {
		return 0;
	}
	if (o->proc == PROC_HUNG) {
		return next_beat(now);
	}
	if (e->run.silent) {
		return now; /* its own limit has passed already */
	}
	if (e->live.urgent && now < e->urgent_until_ms) {
		return now + LOOK_URGENT_MS;
	}
	if (!e->run.answered) {
		return now + (quiet_ms < LIVELY_MS ? LOOK_STARTING_MS : LOOK_BUSY_MS);
	}
	bool streams = e->live.stream || e->live.urgent;
	bool works = streams || o->loading || o->sync_in_progress || o->aof_rewriting ||
		     (is_waiting(e) && quiet_ms < WAITING_MS);
	if (!works) {
		return next_beat(now);
	}
	return now + (streams || quiet_ms < LIVELY_MS ? LOOK_LIVELY_MS : LOOK_BUSY_MS);
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

static void rest(struct engine *e, int64_t wake_ms)
{
	int64_t save_ms = e->incoming.len > 0 ? e->save_again_ms : 0;
	int64_t disk_ms = earlier(save_ms, goal_settle_at(e));

	engine_rest(e, earlier(next_look(e, clock_ms()), earlier(wake_ms, disk_ms)));
}

/* An act that failed, or repeats itself without end, is not tried at full speed. */
static int64_t hold_for(unsigned times)
{
	int64_t ms = (int64_t)HOLD_FIRST_MS << (times < 6 ? times : 6);

	return ms < HOLD_MAX_MS ? ms : HOLD_MAX_MS;
}

static void acted(struct engine *e, const struct err *failed)
{
	int64_t now = clock_ms();

	e->moved_ms = now;
	if (failed == NULL) {
		if (e->last_act == ACT_CONFIG_SET) {
			e->refusals = 0;
		}
		if (e->refusals == 0) {
			e->trouble[0] = '\0';
		}
	} else if (e->last_act == ACT_CONFIG_SET && failed->code == ERR_CONFLICT) {
		int64_t ms = (int64_t)REFUSED_FIRST_MS << (e->refusals < 6 ? e->refusals : 6);

		e->refusals++;
		e->refused_until_ms = now + (ms < REFUSED_MAX_MS ? ms : REFUSED_MAX_MS);
		str_copy(e->trouble, sizeof e->trouble, failed->msg);
	} else if (e->last_act != ACT_START) { /* which has a back-off of its own */
		e->hold_until_ms = now + hold_for(e->repeats);
		str_copy(e->trouble, sizeof e->trouble, failed->msg);
	}
	if (failed != NULL) {
		str_copy(e->obs.error, sizeof e->obs.error, failed->msg);
	}
	engine_changed(e);
	e->again = true;
	engine_rest(e, 0);
}

static bool is_repeat(struct engine *e, enum instance_act act)
{
	e->repeats = act == e->last_act ? e->repeats + 1 : 0;
	e->last_act = act;
	return e->repeats > REPEATS_MAX && act != ACT_START && act != ACT_STOP;
}

/*
 * An RDB carries the position, so that the source can go on with a partial resync; but after a
 * crash the AOF mostly has more, and this may be the last copy of it (the source may be held, or
 * lost). For the same reason the RDB it is where the AOF has less: behind a full sync.
 */
static bool rdb_usable(const struct engine *e)
{
	bool clean = e->marker.known && e->marker.clean;

	return (clean && marker_rdb_is_newest(e->paths.data)) ||
	       marker_rdb_holds_aof(e->paths.data);
}

static bool rdb_exists(const struct engine *e)
{
	auto_str path = {};

	str_printf(&path, "%s/dump.rdb", e->paths.data);
	return file_exists(path.p);
}

static bool aof_exists(const struct engine *e)
{
	auto_str folder = {};
	auto_str single = {};

	str_printf(&folder, "%s/appendonlydir", e->paths.data);
	str_printf(&single, "%s/appendonly.aof", e->paths.data);
	return file_exists(folder.p) || file_exists(single.p);
}

/*
 * Right behind CONFIG SET appendonly yes: the folder is there, and its manifest comes with the end
 * of the first rewrite. A server that starts on it finds no data (tried on 7.0.15).
 */
static bool aof_unfinished(const struct engine *e)
{
	struct server_version v;
	auto_str folder = {};
	auto_str manifest = {};

	if (!version_parse(e->goal.datastore, e->goal.version, &v) ||
	    !version_rules(v)->multi_part_aof) {
		return false;
	}
	str_printf(&folder, "%s/appendonlydir", e->paths.data);
	str_printf(&manifest, "%s/appendonlydir/appendonly.aof.manifest", e->paths.data);
	return file_exists(folder.p) && !file_exists(manifest.p);
}

static struct instance_local local_of(struct engine *e, int64_t now)
{
	bool running = e->run.process != NULL;
	bool wanted =
		e->goal.run == GOAL_RUN; /* the goal of one to be deleted may name no settings */

	if (!running) {
		engine_read_conf(e);
	}
	return (struct instance_local){
		.obs = &e->obs,
		.conf_current = !wanted || e->conf_sum == engine_conf_sum(e, e->run.mode),
		.live_current = !wanted || now < e->refused_until_ms ||
				e->run.settings == engine_settings_sum(e, e->run.mode),
		.mode_now = e->run.mode,
		.files_exist = file_exists(e->paths.dir),
		.rdb_usable = !running && rdb_usable(e),
		.rdb_exists = wanted && (!running || e->goal.demote_accepted) && rdb_exists(e),
		.aof_exists = !running && aof_exists(e),
		.aof_unfinished = !running && wanted && aof_unfinished(e),
		.paused = e->run.paused_until_ms > now,
		.clients_dropped = e->clients_dropped,
		.pause_spent = e->pause_spent,
		.never_linked = !e->run.linked,
		.applied_ms = e->applied_ms,
		.goal_ms = e->goal_ms,
		.marker_was_master = e->marker.known && e->marker.role == SERVER_ROLE_MASTER,
		.exited_ms = e->exited_ms,
		.stop_sent_ms = e->run.stop_sent_ms,
		.stop_again_ms = e->run.stop_again_ms,
		.kill_sent_ms = e->run.kill_sent_ms,
		.failures = e->failures,
		.restart_delay_ms = e->env->restart_delay_ms,
		.stop_limit_ms = e->env->stop_limit_ms,
	};
}

static void note_applied(struct engine *e, bool applied)
{
	struct observation *o = &e->obs;

	applied = applied && clock_ms() >= e->refused_until_ms;
	if (applied && !o->goal_applied) {
		LOG(o->goal_epoch == e->goal.epoch ? LOG_DEBUG : LOG_INFO, "goal.applied",
		    KV("instance", e->id), KV("epoch", e->goal.epoch),
		    KV("revision", e->goal.revision));
	}
	o->goal_applied = applied;
	if (applied) {
		o->goal_epoch = e->goal.epoch;
		o->goal_revision = e->goal.revision;
	}
}

/*
 * An answer brings goals and what is true beside them at that moment. What came with a goal that is
 * still on its way to the disk says nothing about the one in force, and the reverse: an attempt
 * that was undone is not carried on by the figures of another.
 */
static struct goal_live live_of(const struct engine *e)
{
	struct goal_live live = e->live;

	if (!e->confirmed ||
	    goal_cmp(e->live_epoch, e->live_revision, e->goal.epoch, e->goal.revision) != 0) {
		live.peer_offset = -1;
	}
	return live;
}

/*
 * It was demoted, and its marker still says that its files are a master's: started again now, a
 * human would be asked about them. So the goal is applied when the marker knows.
 */
static bool marker_is_behind(const struct engine *e)
{
	const struct observation *o = &e->obs;

	return e->goal.role == GOAL_REPLICA && !e->goal.fenced && o->role == SERVER_ROLE_REPLICA &&
	       o->link_up && !o->sync_in_progress && e->marker.known &&
	       e->marker.role == SERVER_ROLE_MASTER;
}

static struct instance_out next_step(struct engine *e, int64_t now)
{
	struct instance_local local = local_of(e, now);
	struct goal_live live = live_of(e);
	struct instance_in in = {
		.goal = &e->goal,
		.live = &live,
		.confirmed = e->confirmed,
		.stop = e->stopping,
		.local = &local,
		.now_ms = now,
	};
	struct instance_out out = instance_step(&in);

	if (!e->stopping) {
		note_applied(e, out.goal_applied && !marker_is_behind(e));
	}
	return out;
}

/* Is it a command to the server? One that has just not answered would hold the engine up. */
static bool is_command(enum instance_act act)
{
	switch (act) {
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
		return true;
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
	return false;
}

static void decide(struct engine *e)
{
	int64_t now = clock_ms();
	struct instance_out out = next_step(e, now);

	engine_changed(e);
	if (e->run.process != NULL && e->run.silent && is_command(out.act)) {
		rest(e, 0);
		return;
	}
	if (out.act == ACT_NONE) {
		e->last_act = ACT_NONE;
		rest(e, out.wake_ms);
		return;
	}
	if (now < e->hold_until_ms) {
		rest(e, e->hold_until_ms);
		return;
	}
	if (is_repeat(e, out.act)) {
		LOG(LOG_WARN, "act.repeated", KV("instance", e->id),
		    KV("act", instance_act_name(out.act)), KV("why", out.why));
		e->hold_until_ms = now + hold_for(e->repeats - REPEATS_MAX);
	}
	act_start(e, &out, acted);
}

/* Never answered within the limit. One that loads its data answers. */
static void limit_start(struct engine *e)
{
	struct run *r = &e->run;

	if (r->process == NULL || r->answered || r->adopted || r->gave_up ||
	    clock_ms() < r->started_ms + e->env->start_limit_ms) {
		return;
	}
	r->gave_up = true;
	r->kill_sent_ms = clock_ms();
	LOG(LOG_WARN, "server.silent", KV("instance", e->id),
	    KV("limit_ms", e->env->start_limit_ms));
	(void)process_signal(r->process, SIGKILL, NULL);
}

static void remove_old_work(void *arg)
{
	struct engine *e = arg;
	auto_str folder = {};
	auto_str single = {};

	str_printf(&folder, "%s/appendonlydir.old", e->paths.data);
	str_printf(&single, "%s/appendonly.aof.old", e->paths.data);
	(void)dir_remove(folder.p, NULL);
	(void)dir_remove(single.p, NULL);
}

static void remove_old_done(void *)
{
}

/* What was set aside before a boot from the RDB has served once the member is durable again. */
static void remove_old_aof(struct engine *e)
{
	bool durable = e->obs.proc == PROC_RUNNING && e->obs.durable;

	if (durable && !e->was_durable) {
		engine_job(e, remove_old_work, remove_old_done, e);
	}
	e->was_durable = durable;
}

static void looked(struct engine *e)
{
	limit_start(e);
	remove_old_aof(e);
	decide(e);
}

static bool login_is_over(const struct engine *e)
{
	return e->relogin ||
	       (e->old_login && e->run.settings == engine_settings_sum(e, e->run.mode));
}

/*
 * A goal became durable while others wait for this server: what was seen just before that is as good
 * as another look, which would take as long as the act.
 */
static bool has_just_looked(struct engine *e)
{
	enum { FRESH_MS = 2 };
	bool fresh = e->goal_is_new && e->live.urgent && e->run.process != NULL &&
		     !e->run.silent && clock_ms() - e->looked_ms <= FRESH_MS;

	e->goal_is_new = false;
	return fresh;
}

void engine_turn(void *arg)
{
	struct engine *e = arg;

	if (e->busy) {
		return; /* woken, and by its timer before its turn came: one look serves both */
	}
	timer_stop(e->timer);
	e->busy = true;
	e->again = false;
	if (login_is_over(e)) {
		engine_connect(e);
	}
	if (e->env->quitting) {
		engine_rest(e, 0);
	} else if (goal_save_is_due(e)) {
		goal_save(e);
	} else if (goal_settle_at(e) != 0 && clock_ms() >= goal_settle_at(e)) {
		goal_settle(e);
	} else if (e->run.process == NULL && keeper_must_wait(e)) {
		engine_rest(e, 0); /* the keeper wakes us */
	} else if (!e->has_goal) {
		e->looked = true;
		if (e->stopping) {
			decide(e);
			return;
		}
		engine_rest(e, e->save_again_ms);
	} else if (has_just_looked(e)) {
		decide(e);
	} else if (e->run.process != NULL) {
		probe_start(e, looked);
	} else {
		probe_no_server(e);
		decide(e);
	}
}
