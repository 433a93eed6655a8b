/*
 * Beginnings and ends: an engine is made from what is on disk and the server that may still run;
 * a server ends, and what it said last is kept.
 */
#include "agent/engine_state.h"

#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "core/versions.h"
#include "io/file.h"
#include "io/folder.h"
#include "proto/conf.h"
#include "proto/info.h"

enum {
	CONNECT_LIMIT_MS = 1000,
	LOG_TAIL_MAX = 64 << 10, /* a crash is told of before a long dump */
	SHORT_RUN_MS = 10000, /* one that dies sooner by itself ... */
	SHORT_RUNS = 2,       /* ... so often in a row is started ever less often */
};

/* What this run has written: an older run's last words are not its own. */
static bool read_new_log(const struct engine *e, struct str *ret)
{
	struct stat st;

	if (stat(e->paths.log, &st) != 0 || st.st_size <= e->run.log_from) {
		return false;
	}
	int64_t news = st.st_size - e->run.log_from;
	return file_read_tail(e->paths.log, news < LOG_TAIL_MAX ? (size_t)news : LOG_TAIL_MAX, ret,
			      NULL);
}

static void tell_words(struct engine *e, int status_known, int status)
{
	struct observation *o = &e->obs;
	auto_str log = {};
	size_t n;

	if (e->run.gave_up) {
		snprintf(o->error, sizeof o->error, "no answer within %lld s; ",
			 (long long)(e->env->start_limit_ms / 1000));
	} else if (status_known && WIFSIGNALED(status)) {
		snprintf(o->error, sizeof o->error, "killed by signal %d; ", WTERMSIG(status));
	} else if (status_known && WIFEXITED(status)) {
		snprintf(o->error, sizeof o->error, "exited with status %d; ", WEXITSTATUS(status));
	} else {
		snprintf(o->error, sizeof o->error, "ended; ");
	}
	n = strlen(o->error);
	if (read_new_log(e, &log)) {
		void (*read)(const char *, size_t, char *, size_t) =
			e->run.ready ? info_crash_error : info_start_error;

		read(str_cstr(&log), log.len, o->error + n, sizeof o->error - n);
	}
	if (o->error[n] == '\0') {
		o->error[n - 2] = '\0';
	}
}

/* An adopted server is no child of ours and has no status: its last words stand for it. */
static bool said_goodbye(const struct engine *e)
{
	auto_str log = {};

	return file_read_tail(e->paths.log, 400, &log, NULL) &&
	       strstr(str_cstr(&log), "ready to exit, bye bye") != NULL;
}

static void count_failure(struct engine *e, bool told)
{
	const struct run *r = &e->run;

	if (told || (r->adopted && !r->ready)) {
		return; /* one that was dying when we found it: no start of ours has failed */
	}
	if (!r->ready) {
		e->failures++;
		return;
	}
	e->short_runs = e->exited_ms - r->ready_ms < SHORT_RUN_MS ? e->short_runs + 1 : 0;
	if (e->short_runs > SHORT_RUNS) {
		e->failures = e->short_runs - SHORT_RUNS;
	}
}

void engine_process_ended(void *arg, int status_known, int status)
{
	struct engine *e = arg;
	struct run *r = &e->run;
	bool told = r->stop_sent_ms != 0 || (r->kill_sent_ms != 0 && !r->gave_up);
	bool well = status_known ? status == 0 : said_goodbye(e);

	process_free(r->process);
	r->process = NULL;
	e->exited_ms = clock_ms();
	e->moved_ms = e->exited_ms;
	e->obs.error[0] = '\0';
	if (!(told && well)) {
		tell_words(e, status_known, status);
	}
	count_failure(e, told);
	e->obs.proc = e->failures > 0 ? PROC_FAILED : PROC_EXITED;
	e->obs.goal_applied = false;
	e->obs.loading = e->obs.sync_in_progress = e->obs.link_up = false;
	/* A run that waits to be compared proves nothing about its files, even by a clean end. */
	e->mark_clean = told && well && r->ready && !e->obs.guarded;
	e->was_durable = false;
	LOG(told ? LOG_INFO : LOG_WARN, "server.ended", KV("instance", e->id),
	    KV("run", e->obs.run_id.s), KV("reason", told && well ? "stopped" : e->obs.error));
	if (e->redis != NULL) {
		redis_reset(e->redis);
	}
	engine_changed(e);
	engine_wake(e);
}

/* lifecycle */

static void connect_with(struct engine *e, const struct secret *agent)
{
	struct server_version v;
	const char *socket = e->run.socket[0] != '\0' ? e->run.socket : e->paths.socket;
	bool acl = version_parse(e->goal.datastore, e->goal.version, &v) && version_rules(v)->acl;
	struct redis_config c = {
		.socket = socket,
		.user = acl ? CONF_USER_AGENT : NULL,
		.password = *agent,
		.connect_limit_ms = CONNECT_LIMIT_MS,
	};

	redis_free(e->redis);
	e->redis = redis_new(e->env->loop, &c);
}

void engine_connect(struct engine *e)
{
	e->old_login = e->relogin = false;
	connect_with(e, &e->goal.secrets.agent);
}

/*
 * The agent before us may have had a goal with another secret and died before the server was told.
 * The file is written behind that: it has the secret that the server was told last, or one earlier.
 */
static void connect_adopted(struct engine *e)
{
	auto_str file = {};
	struct secret told;

	engine_connect(e);
	if (file_read(e->paths.conf, KIB(256), &file, NULL) &&
	    conf_agent_secret(str_cstr(&file), &told) &&
	    !str_eq(told.open, e->goal.secrets.agent.open)) {
		connect_with(e, &told);
		e->old_login = true;
	}
}

static void load_marker(struct engine *e)
{
	struct err why;

	if (!marker_load(e->paths.marker, &e->marker, &why)) {
		LOG(LOG_WARN, "marker.damaged", KV("instance", e->id), KV("reason", why.msg));
		return;
	}
	e->verdict = e->marker.verdict;
}

static bool adopt(struct engine *e, struct process_key *key)
{
	struct err why;

	if (process_adopt(e->env->loop, key, engine_process_ended, e, &e->run.process, &why)) {
		return true;
	}
	if (why.code != ERR_NOT_FOUND) {
		LOG(LOG_ERROR, "server.unadopted", KV("instance", e->id), KV("reason", why.msg));
	}
	return false;
}

static void find_server(struct engine *e)
{
	struct run_record r = {};
	struct process_key key;
	bool known = run_record_load(e->paths.process, &r, NULL);

	e->run.mode = r.mode;
	e->ever_ran = known;
	if (known && adopt(e, &r.key)) {
		e->run.settings = r.settings;
		str_copy(e->run.socket, sizeof e->run.socket, r.socket);
	} else if (adopt_find(e->paths.data, &key, NULL) && adopt(e, &key)) {
		/* Its record was not written any more. The marker is, before a guarded start. */
		e->run.mode = (struct start_mode){ .guarded = e->marker.pending };
		keeper_save_run(e);
	} else {
		return;
	}
	e->ever_ran = true;
	e->run.adopted = true;
	e->run.started_ms = clock_ms();
	e->obs.proc = PROC_STARTING;
	engine_read_conf(e);
	LOG(LOG_INFO, "server.adopted", KV("instance", e->id),
	    KV("pid", process_key(e->run.process).pid));
}

struct engine *engine_new(struct agent_env *env, struct id instance)
{
	struct engine *e = calloc(1, sizeof *e);

	if (e == NULL) {
		abort();
	}
	e->env = env;
	e->id = instance;
	e->paths = paths_of(env->dir, env->socket_dir, instance, &e->arena);
	e->obs.instance = instance;
	probe_clear(&e->obs);
	e->moved_ms = clock_ms();
	e->timer = timer_new(env->loop, engine_turn, e);
	e->now = turn_new(env->loop, engine_turn, e);
	if (file_exists(e->paths.dir)) {
		goal_load(e);
		load_marker(e);
		find_server(e);
	}
	e->obs.marker = e->verdict;
	e->obs.recorded = e->marker.position;
	if (e->has_goal && e->run.process != NULL) {
		connect_adopted(e);
	} else if (e->has_goal) {
		engine_connect(e);
	}
	engine_wake(e);
	return e;
}

void engine_free(struct engine *e)
{
	if (e == NULL) {
		return;
	}
	folders_forget(e->env->folders, e);
	redis_free(e->redis);
	process_free(e->run.process);
	timer_free(e->timer);
	turn_free(e->now);
	marker_done(&e->marker);
	str_done(&e->incoming);
	arena_done(&e->goal_arena);
	arena_done(&e->arena);
	free(e);
}

bool engine_is_busy(const struct engine *e)
{
	return e->busy || e->jobs > 0;
}

struct id engine_id(const struct engine *e)
{
	return e->id;
}

const struct goal *engine_goal(const struct engine *e)
{
	return e->has_goal ? &e->goal : NULL;
}

const struct observation *engine_observation(const struct engine *e)
{
	return &e->obs;
}

bool engine_has_looked(const struct engine *e)
{
	return e->looked;
}

bool engine_streams(const struct engine *e)
{
	return e->live.stream || e->live.urgent;
}

static bool same_live(const struct goal_live *a, const struct goal_live *b)
{
	return a->watch == b->watch && a->stream == b->stream && a->urgent == b->urgent &&
	       a->peer_offset == b->peer_offset;
}

void engine_watch(struct engine *e, const struct goal_live *live)
{
	enum { URGENT_LIMIT_MS = 15000 }; /* longer than any phase that is urgent */
	bool news = !same_live(live, &e->live) || e->live_epoch != e->newest_epoch ||
		    e->live_revision != e->newest_revision;

	e->live = *live;
	e->live_epoch = e->newest_epoch;
	e->live_revision = e->newest_revision;
	if (news) {
		e->urgent_until_ms = clock_ms() + URGENT_LIMIT_MS;
		engine_wake(e);
	}
}

void engine_unwatch(struct engine *e)
{
	e->live = (struct goal_live){ .watch = e->live.watch, .peer_offset = -1 };
}

void engine_stop(struct engine *e)
{
	if (!e->stopping) {
		e->stopping = true;
		engine_wake(e);
	}
}

bool engine_has_server(const struct engine *e)
{
	return e->run.process != NULL;
}

bool engine_is_stopped(const struct engine *e)
{
	return e->run.process == NULL && !e->mark_clean && !e->marking;
}
