/*
 * What can be done to a server, except for what takes several steps (act_start.c, act_config.c,
 * act_fence.c). Every act may be repeated, and a crash before or after any of them is a test.
 */
#include "agent/act.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "io/file.h"

#define AOF_FOLDER "appendonlydir"
#define AOF_SINGLE "appendonly.aof"

static void crash_at_act(enum instance_act act, const char *when)
{
	if (act != ACT_NONE) {
		crash_point("act", instance_act_name(act), when);
	}
}

void acts_crash_points(void)
{
	for (int act = 0; act < ACT_COUNT; act++) {
		crash_at_act((enum instance_act)act, "before");
		crash_at_act((enum instance_act)act, "after");
	}
}

void act_fail(struct act *a, const struct err *why)
{
	a->failed = true;
	a->why = *why;
}

void act_finish(struct act *a)
{
	struct engine *e = a->e;
	act_done_fn *done = a->done;
	bool failed = a->failed;
	struct err why = a->why;
	const char *name = instance_act_name(a->out.act);

	crash_at_act(a->out.act, "after");
	if (failed) {
		LOG(LOG_WARN, "act.failed", KV("instance", e->id), KV("act", name),
		    KV("reason", why.msg));
	} else {
		LOG(LOG_INFO, "act.done", KV("instance", e->id), KV("act", name),
		    KV("why", a->out.why), KV("ms", clock_ms() - a->began_ms));
	}
	if (e->run.mode.guarded != a->mode_before.guarded ||
	    e->run.mode.from_rdb != a->mode_before.from_rdb) {
		keeper_save_run(e); /* the next agent is to know as well */
	}
	e->act = NULL;
	str_done(&a->text);
	str_done(&a->refused);
	marker_files_done(&a->files);
	marker_done(&a->marker);
	arena_done(&a->arena);
	free(a);
	done(e, failed ? &why : NULL);
}

static void finish_job(void *arg)
{
	struct act *a = arg;

	act_finish(a);
}

/* write-conf */

static void write_conf_work(void *arg)
{
	struct act *a = arg;

	a->failed = !file_replace(a->e->paths.conf, a->text.p, a->text.len, 0600, &a->why);
}

static void write_conf_done(void *arg)
{
	struct act *a = arg;

	if (!a->failed) {
		a->e->conf_sum = sum_conf(a->text.p);
		a->e->run.mode = a->out.mode;
	}
	act_finish(a);
}

static void write_conf(struct act *a)
{
	const struct paths *p = &a->e->paths;
	struct conf_paths paths = {
		.dir = p->data, .socket = p->socket, .log = p->log, .pid = p->pid
	};

	conf_write(&a->e->goal, a->out.mode, &paths, &a->text);
	engine_job(a->e, write_conf_work, write_conf_done, a);
}

/* set-aside-aof */

/*
 * The copy that is kept until the member is durable again is the oldest one: what was put aside
 * last time was whole, what has come since never was.
 */
static bool set_aside(const char *data, const char *name, struct err *e)
{
	auto_str from = {};
	auto_str to = {};

	str_printf(&from, "%s/%s", data, name);
	str_printf(&to, "%s/%s.old", data, name);
	if (!file_exists(from.p)) {
		return true;
	}
	if (file_exists(to.p)) {
		return dir_remove(from.p, e);
	}
	return rename(from.p, to.p) == 0 || err_sys(e, "rename '%s'", from.p);
}

static void set_aside_work(void *arg)
{
	struct act *a = arg;
	const char *data = a->e->paths.data;

	a->failed = !set_aside(data, AOF_FOLDER, &a->why) || !set_aside(data, AOF_SINGLE, &a->why);
}

/* delete-files */

static void delete_work(void *arg)
{
	struct act *a = arg;
	const char *dir = a->e->paths.dir;

	/* Renamed first: an instance that comes back under this id must never find half a folder.
	 */
	if (rename(dir, a->trash) != 0 && errno != ENOENT) {
		a->failed = true;
		err_sys(&a->why, "rename '%s'", dir);
		return;
	}
	a->failed = !dir_remove(a->trash, &a->why);
}

static void delete_done(void *arg)
{
	struct act *a = arg;
	struct engine *e = a->e;

	if (!file_exists(e->paths.dir)) {
		marker_done(&e->marker);
		e->verdict = MARKER_UNKNOWN;
		e->ever_ran = false;
		e->failures = 0;
		e->conf_sum = 0;
		unlink(e->paths.socket);
	}
	act_finish(a);
}

static void delete_files(struct act *a)
{
	struct id unique = id_new();

	a->trash = arena_printf(&a->arena, "%s/%s", paths_deleted(a->e->env->dir, &a->arena),
				id_text(unique).s);
	engine_job(a->e, delete_work, delete_done, a);
}

/* follow, guard, promote, yield, seal, aof-on */

static void on_command(void *arg, const redisReply *reply, const struct err *err)
{
	struct act *a = arg;
	struct err why;

	if (reply == NULL) {
		act_fail(a, err);
	} else if (reply->type == REDIS_REPLY_ERROR) {
		err_set(&why, ERR_CONFLICT, "%s", reply->str);
		act_fail(a, &why);
	} else {
		a->e->run.mode = a->out.mode;
	}
	act_finish(a);
}

static void command(struct act *a, const char *one, const char *two, const char *three,
		    const char *four)
{
	const char *argv[] = { one, two, three, four };

	redis_command(a->e->redis, four == NULL ? 3 : 4, argv, ACT_COMMAND_LIMIT_MS, on_command, a);
}

static void follow(struct act *a)
{
	const struct goal *g = &a->e->goal;
	const char *port = arena_printf(&a->arena, "%u", g->upstream_port);

	command(a, "SLAVEOF", g->upstream_host, port, NULL);
}

/* stop, kill */

static void send_signal(struct act *a, int signum)
{
	struct run *r = &a->e->run;
	struct err why;

	if (r->process != NULL && !process_signal(r->process, signum, &why)) {
		act_fail(a, &why);
	} else if (signum == SIGKILL) {
		r->kill_sent_ms = clock_ms();
	} else {
		r->stop_again_ms = clock_ms();
		r->stop_sent_ms = r->stop_sent_ms != 0 ? r->stop_sent_ms : r->stop_again_ms;
	}
	act_finish(a);
}

/* Deferred, so that an act that is over at once ends after act_start() has returned. */
static void carry_out(void *arg)
{
	struct act *a = arg;

	switch (a->out.act) {
	case ACT_WRITE_CONF:
		write_conf(a);
		return;
	case ACT_SET_ASIDE_AOF:
		engine_job(a->e, set_aside_work, finish_job, a);
		return;
	case ACT_START:
		act_start_server(a);
		return;
	case ACT_CONFIG_SET:
		act_set_config(a);
		return;
	case ACT_FOLLOW:
		follow(a);
		return;
	case ACT_GUARD:
		command(a, "SLAVEOF", "127.0.0.1", "0", NULL);
		return;
	case ACT_PROMOTE:
		command(a, "SLAVEOF", "NO", "ONE", NULL);
		return;
	case ACT_YIELD:
		follow(a);
		return;
	case ACT_SEAL:
		command(a, "SLAVEOF", "127.0.0.1", "0", NULL);
		return;
	case ACT_FENCE:
		act_fence(a);
		return;
	case ACT_UNFENCE:
		act_unfence(a);
		return;
	case ACT_DROP_CLIENTS:
		act_drop_clients(a);
		return;
	case ACT_AOF_ON:
		command(a, "CONFIG", "SET", "appendonly", "yes");
		return;
	case ACT_STOP:
		send_signal(a, SIGTERM);
		return;
	case ACT_KILL:
		send_signal(a, SIGKILL);
		return;
	case ACT_DELETE_FILES:
		delete_files(a);
		return;
	case ACT_NONE:
	case ACT_COUNT:
		break;
	}
	act_finish(a);
}

void act_start(struct engine *e, const struct instance_out *out, act_done_fn *done)
{
	struct act *a = calloc(1, sizeof *a);

	if (a == NULL) {
		abort();
	}
	a->e = e;
	a->out = *out;
	a->done = done;
	a->began_ms = clock_ms();
	a->mode_before = e->run.mode;
	e->act = a;
	crash_at_act(out->act, "before");
	loop_defer(e->env->loop, carry_out, a);
}
