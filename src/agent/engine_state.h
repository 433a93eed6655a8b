/*
 * An engine from the inside, for the files that it is made of: engine.c (the cycle), life.c
 * (beginnings and ends), goals.c, probe.c (looking), acts.c, act_start.c and act_config.c (doing),
 * keeper.c (the marker), sums.c.
 */
#pragma once

#include "agent/adopt.h"
#include "agent/engine.h"
#include "agent/marker.h"
#include "agent/paths.h"
#include "core/instance.h"
#include "io/process.h"
#include "io/redis.h"
#include "io/turn.h"

struct act;

/* A server's process from its start to its end. */
struct run {
	struct process *process; /* NULL: none */
	struct start_mode mode;  /* how it was started, or what holds since; kept after its end */
	bool adopted;            /* started by an earlier run of the agent */
	bool answered;           /* to INFO, whatever it said */
	bool ready;              /* answered, and was not loading */
	bool gave_up;            /* killed: it never answered */
	int64_t started_ms, ready_ms;
	int64_t stop_sent_ms, stop_again_ms, kill_sent_ms; /* first, newest SIGTERM; SIGKILL; 0: not */
	int64_t log_from;                   /* size of its log before the start */
	uint64_t settings;                  /* engine_settings_sum() it has */
	unsigned strikes; /* times in a row that INFO was not answered and no CPU was used */
	bool silent;      /* INFO was not answered the last time */
	uint64_t cpu_ticks;
	bool linked;             /* to a source, at any look */
	bool fence_known;        /* whether it is fenced; one that was adopted is asked first */
	bool fenced;             /* min-slaves-to-write is above any count */
	bool paused;             /* by this agent .. */
	int64_t paused_until_ms; /* .. until then, or maybe by the one before it; 0: not */
	char socket[108];
};

struct engine {
	struct agent_env *env;
	struct id id;
	struct arena arena; /* of paths */
	struct paths paths;

	struct arena goal_arena;
	struct goal goal;
	bool has_goal, confirmed;
	bool clients_dropped; /* as the goal asks */
	bool pause_spent;     /* writes were paused for this goal: not a second time */
	int64_t goal_ms;      /* since when it has asked for its present role */
	struct str incoming; /* a goal that is not durable yet, as JSON; empty: none */
	uint64_t newest_epoch, newest_revision; /* of `incoming`, or of the goal */
	enum goal_run newest_run, saving_run;
	int64_t save_again_ms; /* the last one could not be saved; 0: nothing to wait for */
	int64_t settle_ms;     /* goal_file_settle() is due then; 0: it was called */

	struct run run;
	struct redis *redis;
	bool old_login; /* with the secret of an earlier goal, which the server still has */
	bool relogin;   /* it has not any more */
	bool ever_ran; /* a run of this instance is known, now or before */
	int64_t exited_ms;
	unsigned failures;
	unsigned short_runs; /* in a row that died by themselves soon after they were ready */

	struct observation obs;
	int64_t moved_ms; /* something was done or asked for lately: look often */
	int64_t disk_ms;  /* disk figures are of then */
	struct goal_live live; /* belongs to the goal of these numbers */
	int64_t urgent_until_ms; /* nobody may have told us that it is over */
	uint64_t live_epoch, live_revision;
	bool looked;

	struct marker marker;
	enum marker_verdict verdict; /* on the files of the current run */
	uint64_t glance;             /* marker_glance() of the marker's files */
	int64_t marked_ms;
	bool saving_run_record, save_run_again;
	bool marking;                       /* a job is writing the marker */
	bool mark_again; /* something was seen while it was being written */
	bool mark_clean;                    /* to be written: it stopped as it was told to */
	struct recorded_position young, settled; /* seen a moment ago; seen so long ago that it is on the disk */
	int64_t young_ms;
	int64_t offset_before, keys_before; /* at the look before: do they stand still? */
	int64_t looked_ms;      /* the newest answered look */
	int64_t applied_before; /* slave_offset at the look before .. */
	int64_t applied_ms;     /* .. and since when it has been so */

	uint64_t conf_sum; /* of the file on disk */
	struct act *act;   /* under way */
	enum instance_act last_act;
	unsigned repeats;         /* of last_act, without anything else in between */
	int64_t hold_until_ms;    /* acts wait until then: the last one failed */
	int64_t refused_until_ms; /* CONFIG_SET waits until then, the rest goes on */
	unsigned refusals;
	char trouble[200]; /* why the last act failed; "" when it did not */

	bool was_durable; /* at the look before */
	unsigned jobs;    /* on worker threads, the marker's included */
	bool busy;        /* a look or an act is under way */
	bool again;       /* something happened meanwhile */
	bool goal_is_new; /* and nothing was decided by it yet */
	bool stopping;    /* engine_stop() */
	struct timer *timer;
	struct turn *now; /* in place of a timer of 0, which takes a millisecond or two */
};

/* goals.c */
void goal_load(struct engine *e);
bool goal_save_is_due(const struct engine *e);
void goal_save(struct engine *e); /* then the cycle goes on */
int64_t goal_settle_at(const struct engine *e); /* point in time; 0: never */
void goal_settle(struct engine *e); /* then the cycle goes on */

/* One turn of the cycle; the callback of `timer` and `now`. */
void engine_turn(void *arg);
/* Ends the turn: the next one at this point in time (0: when something happens). */
void engine_rest(struct engine *e, int64_t at_ms);
void engine_changed(struct engine *e); /* tells the host that the observation is new */

/* Wakes the engine: at the end of what it is doing, or at once. */
void engine_wake(struct engine *e);

/* A job on a worker thread, counted in env->jobs; done(arg) on the loop. */
void engine_job(struct engine *e, loop_fn *work, loop_fn *done, void *arg);

/* Sums of what the goal asks for (not cryptographic: they only notice changes). */
uint64_t engine_conf_sum(const struct engine *e, struct start_mode mode);
uint64_t engine_settings_sum(const struct engine *e, struct start_mode mode);
void engine_read_conf(struct engine *e); /* conf_sum from the file itself */
uint64_t sum_conf(const char *text);
uint64_t sum_of(const void *p, size_t len, uint64_t from);

void engine_process_ended(void *arg, int status_known, int status);
void engine_connect(struct engine *e);

/* probe.c: looks at the server; done(e) once, never before it returned. */
void probe_start(struct engine *e, void (*done)(struct engine *e));
void probe_no_server(struct engine *e);  /* what there is to see without a server */
void probe_clear(struct observation *o); /* the part that INFO fills: nothing is known */

/* acts.c: carries out one act; then done(e, failed ? why : NULL), never before it returned. */
typedef void act_done_fn(struct engine *e, const struct err *failed);
void act_start(struct engine *e, const struct instance_out *out, act_done_fn *done);

/* keeper.c: keeps the marker up to date. */
void keeper_observed(struct engine *e);  /* after each look at a running server */
bool keeper_must_wait(struct engine *e); /* no server: true while marker or record are written */
void keeper_save_run(struct engine *e);  /* which process it is, and how it was started */
