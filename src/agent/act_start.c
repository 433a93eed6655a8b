/*
 * Starting a server. Its files are judged by the marker first, because the server itself changes
 * them when it loads; for a guarded run the verdict is made durable before the spawn. The record
 * of the process is written right behind it, while the server starts.
 */
#include "agent/act.h"

#include <sys/stat.h>
#include <unistd.h>

#include "agent/binaries.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/file.h"

enum {
	SERVER_FILES_MAX = 65536, /* RLIMIT_NOFILE: maxclients and then some */
	LOG_KEPT_BYTES = 8 << 20, /* a log above this is put aside before the next start */
};

/*
 * What the marker says while a guarded run waits. Found intact, the files are good for this boot of
 * the host from now on; any doubt stays as it is, so that one more restart finds the same doubt.
 */
static void note_verdict(struct act *a)
{
	struct marker *m = &a->marker;

	m->known = true;
	m->pending = true;
	m->verdict = a->verdict;
	if (a->verdict == MARKER_INTACT) {
		m->clean = false;
		str_copy(m->boot, sizeof m->boot, boot_id());
	}
}

/*
 * Reads the marker again rather than copy the one in memory: it is small, and what counts is what
 * is on disk. A damaged one is as good as none: MISSING, and a human or the replicas decide.
 */
static void judge_work(void *arg)
{
	struct act *a = arg;
	struct err damaged;

	if (!marker_load(a->e->paths.marker, &a->marker, &damaged)) {
		a->marker = (struct marker){};
	}
	if (!dir_make(a->e->paths.data, 0700, &a->why) ||
	    !marker_look(a->e->paths.data, &a->files, &a->why)) {
		a->failed = true;
		return;
	}
	a->verdict = marker_judge(&a->marker, &a->files, boot_id());
	note_verdict(a);
	if (a->out.mode.guarded) {
		a->failed = !marker_save(a->e->paths.marker, &a->marker, &a->why);
	}
}

static int64_t log_size(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size : 0;
}

static void put_log_aside(const struct engine *e)
{
	auto_str old = {};

	if (log_size(e->paths.log) > LOG_KEPT_BYTES) {
		str_printf(&old, "%s.old", e->paths.log);
		(void)rename(e->paths.log, old.p);
	}
}

static bool spawn(struct act *a, struct err *err)
{
	struct engine *e = a->e;
	const char *binary;

	if (!binaries_find(e->env->about, e->goal.datastore, e->goal.version, &binary, err)) {
		return false;
	}
	put_log_aside(e);

	const char *argv[] = { binary, e->paths.conf, NULL };
	struct process_start s = {
		.argv = argv,
		.dir = e->paths.data,
		.output = e->paths.log,
		.nofile = SERVER_FILES_MAX,
	};
	struct run run = {
		.mode = a->out.mode,
		.started_ms = clock_ms(),
		.log_from = log_size(e->paths.log),
		.settings = engine_settings_sum(e, a->out.mode),
	};
	if (!process_spawn(e->env->loop, &s, engine_process_ended, e, &run.process, err)) {
		return false;
	}
	str_copy(run.socket, sizeof run.socket, e->paths.socket);
	e->run = run;
	return true;
}

static void note_started(struct act *a)
{
	struct engine *e = a->e;

	e->ever_ran = true;
	e->verdict = a->verdict;
	if (a->out.mode.guarded) {
		marker_done(&e->marker);
		e->marker = a->marker;
		a->marker = (struct marker){};
	}
	probe_clear(&e->obs);
	e->obs.proc = PROC_STARTING;
	e->obs.marker = a->verdict;
	e->obs.guarded = a->out.mode.guarded;
	engine_connect(e);
	LOG(LOG_INFO, "server.started", KV("instance", e->id),
	    KV("pid", process_key(e->run.process).pid), KV("guarded", a->out.mode.guarded),
	    KV("files", marker_verdict_name(a->verdict)));
	keeper_save_run(e);
}

/* A start that cannot even be tried counts as one that failed: it is tried ever less often. */
static void judge_done(void *arg)
{
	struct act *a = arg;
	struct engine *e = a->e;
	struct err why = a->why;

	if (e->env->quitting) {
		act_finish(a);
		return;
	}
	if (!a->failed && spawn(a, &why)) {
		note_started(a);
		act_finish(a);
		return;
	}
	e->failures++;
	e->exited_ms = clock_ms();
	e->obs.proc = PROC_FAILED;
	str_copy(e->obs.error, sizeof e->obs.error, why.msg);
	act_fail(a, &why);
	act_finish(a);
}

void act_start_server(struct act *a)
{
	engine_job(a->e, judge_work, judge_done, a);
}
