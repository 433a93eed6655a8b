/*
 * Looking at a server: INFO over its socket, and its process and files where it does not answer.
 * An answer is an answer: LOADING, BUSY and MISCONF come from a server that lives. One that does
 * not answer counts as hung only when it uses no CPU either, three times in a row; a process that
 * waits for its disk (state D) is slow, not hung.
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

	o->watch = e->watch;
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

/* No answer in time. */
static void count_strike(struct engine *e)
{
	uint64_t ticks = 0;
	char state = process_state(e->run.process, &ticks);
	bool idle = state != 'D' && ticks == e->run.cpu_ticks;

	e->run.cpu_ticks = ticks;
	e->run.strikes = idle ? e->run.strikes + 1 : 0;
	if (e->run.strikes < STRIKES_HUNG || e->obs.proc == PROC_HUNG) {
		return;
	}
	e->obs.proc = PROC_HUNG;
	snprintf(e->obs.error, sizeof e->obs.error,
		 "it has not answered for %u s and uses no CPU (process state %c)",
		 (unsigned)(STRIKES_HUNG * INFO_LIMIT_MS / 1000), state);
	LOG(LOG_WARN, "server.hung", KV("instance", e->id), KV("state", state == 'T' ? "T" : "-"));
}

static void no_answer(struct engine *e, const struct err *why)
{
	if (why->code == ERR_TIMEOUT) {
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

/* A server that follows the closed port shows port 0. */
static bool is_guarded(const struct observation *o)
{
	return o->role == SERVER_ROLE_REPLICA && o->upstream_port == 0;
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
	o.guarded = is_guarded(&o);
	info_set_durable(&o);
	e->obs = o;
	note_first_answers(e);
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

void probe_start(struct engine *e, void (*done)(struct engine *e))
{
	static const char *const argv[] = { "INFO" };
	struct look *l = calloc(1, sizeof *l);

	if (l == NULL) {
		abort();
	}
	*l = (struct look){ .e = e, .process = e->run.process, .watch = e->watch, .done = done };
	look_at_disk(e);
	redis_command(e->redis, ARRAY_LEN(argv), argv, INFO_LIMIT_MS, on_info, l);
}
