/*
 * Looking at a server: INFO over its socket, and its process and files where it does not answer.
 * An answer is an answer: LOADING, BUSY and MISCONF come from a server that lives. One that does
 * not answer counts as hung only when it uses no CPU either, three times in a row; a process that
 * waits for its disk (state D) is slow, not hung; unless it is to be fenced: then whoever cannot be
 * told within a moment is killed, and is given no longer.
 */
#include "agent/engine_state.h"

#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "io/file.h"
#include "proto/info.h"

enum {
	INFO_LIMIT_MS = 1000,
	INFO_SHORT_MS = 200, /* one that hangs, or is to be killed when it does */
	STRIKES_HUNG = 3,
	DISK_PERIOD_MS = 5000,
};

struct look {
	struct engine *e;
	struct process *process; /* whom it asked */
	uint64_t watch;          /* the newest number when it asked */
	void (*done)(struct engine *e);
};

void probe_clear(struct observation *o)
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
		.disk_free_bytes = was.disk_free_bytes,
		.disk_used_bytes = was.disk_used_bytes,
		.second_offset = -1,
		.slave_offset = -1,
		.read_offset = -1,
		.sync_done_bytes = -1,
		.sync_total_bytes = -1,
		.save_progress = -1,
		.last_io_s = -1,
	};
}

static void look_at_disk(struct engine *e)
{
	int64_t now = clock_ms();

	if (e->disk_ms != 0 && now - e->disk_ms < DISK_PERIOD_MS) {
		return;
	}
	e->disk_ms = now;
	int64_t free_bytes = dir_free_bytes(e->paths.data);
	if (free_bytes >= 0) {
		free_bytes -= e->env->disk_reserve_bytes;
		free_bytes = free_bytes < 0 ? 0 : free_bytes;
	}
	e->obs.disk_free_bytes = free_bytes;
	e->obs.disk_used_bytes = dir_used_bytes(e->paths.data);
}

void probe_no_server(struct engine *e)
{
	struct observation *o = &e->obs;

	o->watch = e->live.watch;
	o->start_at_once = e->goal.start_at_once;
	o->recorded = e->marker.position;
	if (e->goal.run == GOAL_DELETE && !file_exists(e->paths.dir)) {
		probe_clear(o);
		o->proc = PROC_DELETED;
	} else if (e->failures > 0) {
		o->proc = PROC_FAILED;
	} else {
		o->proc = e->ever_ran ? PROC_EXITED : PROC_NONE;
		look_at_disk(e);
	}
	e->looked = true;
}

/*
 * No answer in time. What a stopped process (state T) has used before does not matter: it uses
 * nothing now. Any other may have been at work until a moment ago: the first time only counts what.
 */
static void count_strike(struct engine *e)
{
	uint64_t ticks = 0;
	char state = process_state(e->run.process, &ticks);
	bool waits = state == 'D' && !e->goal.kill_hung;
	bool idle = state == 'T' || (!waits && ticks == e->run.cpu_ticks);

	e->run.cpu_ticks = ticks;
	e->run.strikes = idle ? e->run.strikes + 1 : 0;
	if (e->run.strikes < STRIKES_HUNG || e->obs.proc == PROC_HUNG) {
		return;
	}
	e->obs.proc = PROC_HUNG;
	snprintf(e->obs.error, sizeof e->obs.error,
		 "it does not answer and uses no CPU (process state %c)", state);
	LOG(LOG_WARN, "server.hung", KV("instance", e->id), KV("state", state == 'T' ? "T" : "-"));
}

/* A short limit only for who has used up the long one: a machine that is busy is no reason. */
static int64_t info_limit(const struct engine *e)
{
	return e->goal.kill_hung || e->run.strikes >= STRIKES_HUNG ? INFO_SHORT_MS : INFO_LIMIT_MS;
}

static void no_answer(struct engine *e, const struct err *why)
{
	if (why->code == ERR_UNAUTHORIZED && e->old_login) {
		e->relogin = true; /* it was told, though we have not heard so */
	}
	e->run.silent = why->code == ERR_TIMEOUT;
	if (e->run.silent) {
		count_strike(e);
		return;
	}
	if (e->run.answered || e->run.adopted) {
		/* Alive, but we cannot talk to it: its socket was removed, its clients are too
		 * many. */
		snprintf(e->obs.error, sizeof e->obs.error, "the agent cannot ask it: %s",
			 why->msg);
	}
}

/*
 * A server that follows the closed port shows port 0. A replica that was told to stand still for a
 * moment shows it too: nobody doubts its data, so it is not guarded.
 */
static bool is_guarded(const struct engine *e, const struct observation *o)
{
	return e->run.mode.guarded && o->role == SERVER_ROLE_REPLICA && o->upstream_port == 0;
}

/* Acts and looks take turns, and what still holds held when it was asked. */
static bool is_fenced(const struct engine *e)
{
	const struct run *r = &e->run;

	return r->fenced || (r->paused && clock_ms() < r->paused_until_ms);
}

/* Longer between two looks and nobody knows what it did meanwhile: it may have stood still itself. */
enum { LOOKS_TOGETHER_MS = 250 };

static void note_standing_still(struct engine *e)
{
	int64_t now = clock_ms();

	if (e->obs.slave_offset != e->applied_before ||
	    now - e->looked_ms > LOOKS_TOGETHER_MS) {
		e->applied_ms = now;
	}
	e->applied_before = e->obs.slave_offset;
	e->looked_ms = now;
}

static void note_first_answers(struct engine *e)
{
	struct run *r = &e->run;

	if (!r->answered && r->adopted) {
		/* The record may be older than the last change: the server is right. */
		r->mode.from_rdb = r->mode.from_rdb && !e->obs.aof_enabled;
		r->mode.guarded = r->mode.guarded && e->obs.guarded;
	}
	r->answered = true;
	if (!r->ready && !e->obs.loading) {
		r->ready = true;
		r->ready_ms = clock_ms();
		e->failures = 0;
		LOG(LOG_INFO, "server.ready", KV("instance", e->id), KV("run", e->obs.run_id.s),
		    KV("role", server_role_name(e->obs.role)),
		    KV("after_ms", clock_ms() - r->started_ms));
	}
}

static void read_info(struct engine *e, const struct look *l, const redisReply *reply)
{
	struct observation o = e->obs;
	struct err why;

	probe_clear(&o);
	if (!info_read(reply->str, reply->len, &o, &why)) {
		snprintf(e->obs.error, sizeof e->obs.error, "INFO: %s", why.msg);
		return;
	}
	o.proc = PROC_RUNNING;
	o.watch = l->watch;
	o.start_at_once = e->goal.start_at_once;
	o.guarded = is_guarded(e, &o);
	o.fenced = is_fenced(e);
	info_set_durable(&o);
	e->obs = o;
	note_first_answers(e);
	note_standing_still(e);
	e->run.linked = e->run.linked || e->obs.link_up;
	keeper_observed(e);
	e->obs.marker = e->verdict;
	e->obs.recorded = e->marker.position;
	str_copy(e->obs.error, sizeof e->obs.error, e->trouble);
}

static void on_info(void *arg, const redisReply *reply, const struct err *err)
{
	struct look *l = arg;
	struct engine *e = l->e;

	if (e->run.process == l->process && e->run.process != NULL) {
		if (reply == NULL) {
			no_answer(e, err);
		} else {
			e->run.strikes = 0;
			e->run.silent = false;
			if (reply->type == REDIS_REPLY_STRING) {
				read_info(e, l, reply);
			} else if (e->run.answered) {
				e->obs.proc = PROC_RUNNING; /* BUSY, say: it lives, the rest is as
							       before */
			}
		}
		/* One that was adopted and cannot be asked is told of as well, after a moment. */
		e->looked = e->looked || e->run.answered ||
			    clock_ms() - e->run.started_ms > STRIKES_HUNG * INFO_LIMIT_MS;
	}
	void (*done)(struct engine *) = l->done;
	free(l);
	done(e);
}

/*
 * One that was adopted may have been fenced by the agent before us, which nobody wrote down: a
 * crash may come right behind the act. Asked before the same look's INFO, on the same connection.
 */
struct fence_look {
	struct engine *e;
	struct process *process;
};

static void on_fence(void *arg, const redisReply *reply, const struct err *)
{
	struct fence_look *l = arg;
	struct engine *e = l->e;
	struct run *r = &e->run;

	if (r->process == l->process && reply != NULL && reply->type == REDIS_REPLY_ARRAY &&
	    reply->elements == 2 && reply->element[1]->type == REDIS_REPLY_STRING) {
		r->fence_known = true;
		r->fenced = strtoll(reply->element[1]->str, NULL, 10) >= FENCE_MIN_SLAVES;
		/* Or paused, a moment ago: that cannot be asked, only ended. */
		r->paused_until_ms = clock_ms() + FENCE_PAUSE_MS;
	}
	free(l);
}

static void ask_for_fence(struct engine *e, struct process *process)
{
	static const char *const argv[] = { "CONFIG", "GET", "min-slaves-to-write" };
	struct fence_look *l = calloc(1, sizeof *l);

	if (l == NULL) {
		abort();
	}
	*l = (struct fence_look){ .e = e, .process = process };
	redis_command(e->redis, ARRAY_LEN(argv), argv, info_limit(e), on_fence, l);
}

void probe_start(struct engine *e, void (*done)(struct engine *e))
{
	static const char *const argv[] = { "INFO" };
	struct look *l = calloc(1, sizeof *l);

	if (l == NULL) {
		abort();
	}
	*l = (struct look){
		.e = e, .process = e->run.process, .watch = e->live.watch, .done = done
	};
	look_at_disk(e);
	if (!e->run.fence_known && e->run.adopted) {
		ask_for_fence(e, l->process);
	}
	redis_command(e->redis, ARRAY_LEN(argv), argv, info_limit(e), on_info, l);
}
