/*
 * The engine of one instance: it looks at the server, asks instance_step() what is next, does that
 * one act, and looks again. What wakes it: the server's death, a goal, a watch, a point in time; a
 * healthy server is looked at once a second. It knows nothing of other instances.
 */
#pragma once

#include "base/err.h"
#include "core/goal.h"
#include "core/observation.h"
#include "io/loop.h"
#include "proto/record.h"

struct engine;
struct folders;

/* What all engines of this agent share; the host's, and outlives them. */
struct agent_env {
	struct loop *loop;
	const char *dir; /* the agent's state folder, resolved */
	const char *socket_dir;
	const struct host *about; /* the server programs there are */
	int64_t restart_delay_ms, start_limit_ms, stop_limit_ms;
	int64_t disk_reserve_bytes;
	unsigned jobs;    /* on worker threads: the agent does not exit while there are any */
	bool quitting;    /* nothing new is begun */
	struct folders *folders; /* NULL: changes of files are seen at the next look only */
	loop_fn *changed; /* an observation changed, or a job ended while quitting */
	void *arg;
};

/*
 * Loads what is on disk (goal, marker), and adopts the server if it runs. Never NULL: what cannot
 * be read is logged, and without a goal the instance is left alone.
 */
struct engine *engine_new(struct agent_env *env, struct id instance);

/* The server runs on. Not while engine_is_busy(). NULL is fine. */
void engine_free(struct engine *e);
bool engine_is_busy(const struct engine *e);

/*
 * A goal from the control plane. A higher one is made durable, then carried out, and so is one of
 * the same numbers with other settings; an equal one confirms what is there; a lower one is
 * refused: ERR_CONFLICT.
 */
[[nodiscard]] bool engine_take_goal(struct engine *e, const struct goal *g, struct err *err);

/* The newest durable goal; NULL when there is none. */
const struct goal *engine_goal(const struct engine *e);

/*
 * What came beside the newest goal, after engine_take_goal(). Observations made from now on carry
 * its number; what else it says counts once that goal is in force, and only with it.
 */
void engine_watch(struct engine *e, const struct goal_live *live);

void engine_unwatch(struct engine *e); /* the number stays, all the rest has ended */

/* Stops the server cleanly, and leaves it stopped; whatever the goal says. */
void engine_stop(struct engine *e);
bool engine_has_server(const struct engine *e);
bool engine_is_stopped(const struct engine *e); /* engine_stop() is complete, marker included */

/* For the report. */
struct id engine_id(const struct engine *e);
const struct observation *engine_observation(const struct engine *e);
bool engine_has_looked(const struct engine *e); /* the observation is of this agent's run */
bool engine_streams(const struct engine *e);

/* Passes the crash points of all acts: after crash_list() that prints them. */
void acts_crash_points(void);
