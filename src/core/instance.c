/*
 * The agent's next step for one instance. Read from the top: is it to go, is it to be started,
 * does it load, are its settings right, is its role right, is its file right. The first thing
 * that is not as the goal says is the step; when there is none the goal is applied.
 *
 * What keeps data safe here: a source is started guarded unless nobody could copy from it, and
 * nothing that runs changes its role (is guarded, followed or promoted) on the word of a goal
 * from disk alone: an attempt that was undone meanwhile would fire again.
 */
#include "core/instance.h"

#include "base/macros.h"
#include "base/str.h"

enum { BACKOFF_FIRST_MS = 1000, BACKOFF_MAX_MS = 30000 };

/*
 * A server that writes its first AOF (right after a full sync) refuses a SIGTERM and forgets it:
 * "Writing initial AOF, can't exit" (tried on 7.0.15). One that is stopping does not mind another.
 */
enum { STOP_AGAIN_MS = 250 };

#define INSTANCE_ACT_NAME(name, text, what) [ACT_##name] = text,
static const char *const act_names[] = { INSTANCE_ACTS(INSTANCE_ACT_NAME) };
#undef INSTANCE_ACT_NAME

const char *instance_act_name(enum instance_act a)
{
	return act_names[a];
}

static struct instance_out act(enum instance_act a, struct start_mode mode, const char *why)
{
	return (struct instance_out){ .act = a, .mode = mode, .why = why };
}

/* Nothing can be done now; news of the server, the goal or the clock (wake_ms) changes that. */
static struct instance_out wait_for(const struct instance_in *in, int64_t wake_ms, const char *why)
{
	struct instance_out out = act(ACT_NONE, in->local->mode_now, why);

	out.wake_ms = wake_ms;
	return out;
}

static bool same_mode(struct start_mode a, struct start_mode b)
{
	return a.guarded == b.guarded && a.from_rdb == b.from_rdb;
}

/* goal: delete */

/* Its data are to go with it: there is nothing to save, and saving may take minutes. */
static struct instance_out step_kill(const struct instance_in *in)
{
	if (in->local->kill_sent_ms != 0) {
		return wait_for(in, 0, "was killed, its exit is awaited");
	}
	return act(ACT_KILL, in->local->mode_now, "it is to be deleted");
}

static bool has_process(enum proc_state p)
{
	return p == PROC_STARTING || p == PROC_RUNNING || p == PROC_HUNG;
}

static struct instance_out step_delete(const struct instance_in *in)
{
	const struct instance_local *l = in->local;

	if (has_process(l->obs->proc)) {
		return step_kill(in);
	}
	if (l->files_exist) {
		return act(ACT_DELETE_FILES, l->mode_now,
			   "its server is gone, its files are to go");
	}
	struct instance_out out = wait_for(in, 0, "process and files are gone");

	out.goal_applied = true;
	return out;
}

/* the host's servers are to stop, whatever the goal */

static struct instance_out step_stop(const struct instance_in *in)
{
	const struct instance_local *l = in->local;
	int64_t limit_ms = l->stop_sent_ms + l->stop_limit_ms;

	if (!has_process(l->obs->proc) || l->kill_sent_ms != 0) {
		return wait_for(in, 0, "is to stay stopped");
	}
	if (l->stop_sent_ms == 0) {
		return act(ACT_STOP, l->mode_now, "all servers of this host are to stop");
	}
	if (in->now_ms >= limit_ms) {
		return act(ACT_KILL, l->mode_now, "it did not stop within its limit");
	}
	int64_t again_ms = l->stop_again_ms + STOP_AGAIN_MS;

	if (in->now_ms >= again_ms) {
		return act(ACT_STOP, l->mode_now, "it may have refused the first time");
	}
	return wait_for(in, again_ms < limit_ms ? again_ms : limit_ms, "is stopping");
}

/* goal: run, but it does not run */

/*
 * How the next server is to be started. Its run id will be new, so a source is never the
 * confirmed run: it starts as a master only where no replica can copy from it. A replica that
 * was a master (promoted by hand) keeps its own writes until the operator gives them up.
 */
static struct start_mode start_mode_for(const struct instance_in *in)
{
	const struct goal *goal = in->goal;
	const struct instance_local *l = in->local;

	switch (goal->role) {
	case GOAL_SOURCE:
		return (struct start_mode){ .guarded = !(goal->start_at_once && in->confirmed) };
	case GOAL_REPLICA:
		if (!goal->demote_accepted && (l->marker_was_master || l->mode_now.guarded)) {
			return (struct start_mode){ .guarded = true };
		}
		return (struct start_mode){ .from_rdb = l->files_exist && l->rdb_usable };
	case GOAL_GUARDED:
		break;
	}
	return (struct start_mode){ .guarded = true };
}

/* The point in time before which it is not started; doubles with every failed start in a row. */
static int64_t start_not_before(const struct instance_local *l)
{
	int64_t delay_ms = 0;

	if (l->exited_ms == 0) {
		return 0;
	}
	if (l->failures > 0) {
		unsigned doublings = l->failures - 1 < 5 ? l->failures - 1 : 5;

		delay_ms = (int64_t)BACKOFF_FIRST_MS << doublings;
	}
	if (delay_ms > BACKOFF_MAX_MS) {
		delay_ms = BACKOFF_MAX_MS;
	}
	if (delay_ms < l->restart_delay_ms) {
		delay_ms = l->restart_delay_ms;
	}
	return l->exited_ms + delay_ms;
}

static struct instance_out step_start(const struct instance_in *in)
{
	const struct instance_local *l = in->local;
	struct start_mode mode = start_mode_for(in);
	int64_t not_before_ms = start_not_before(l);

	if (in->now_ms < not_before_ms) {
		return wait_for(in, not_before_ms, "waits before it is started again");
	}
	if (mode.from_rdb && l->aof_exists) {
		/* The manifest would name files from before: a later boot from it had no keys. */
		return act(ACT_SET_ASIDE_AOF, mode, "it boots from its RDB");
	}
	if (!l->conf_current || !same_mode(mode, l->mode_now)) {
		return act(ACT_WRITE_CONF, mode, "it is about to be started");
	}
	return act(ACT_START, mode, mode.guarded ? "it is to run, guarded" : "it is to run");
}

/* goal: run, and it runs */

/* What is still to be done about the role; act NONE: nothing now, applied says if all is right. */
struct role_step {
	enum instance_act act;
	struct start_mode mode;
	bool applied;
	const char *why;
};

static struct role_step role_waits(const struct instance_in *in, const char *why)
{
	return (struct role_step){ .mode = in->local->mode_now, .why = why };
}

/* A change of role of a running server, which a goal from disk alone does not justify. */
static struct role_step role_change(const struct instance_in *in, enum instance_act a,
				    struct start_mode mode, const char *why)
{
	if (!in->confirmed) {
		return role_waits(in, "the control plane has not confirmed the goal yet");
	}
	return (struct role_step){ .act = a, .mode = mode, .why = why };
}

/* A server told to follow the closed port shows port 0. */
static bool follows_nobody(const struct observation *o)
{
	return o->role == SERVER_ROLE_REPLICA && o->upstream_port == 0;
}

static struct role_step step_guarded(const struct instance_in *in, const char *why)
{
	if (!follows_nobody(in->local->obs)) {
		return role_change(in, ACT_GUARD, (struct start_mode){ .guarded = true }, why);
	}
	return (struct role_step){ .mode = { .guarded = true },
				   .applied = true,
				   .why = "is guarded" };
}

static struct role_step step_source(const struct instance_in *in)
{
	const struct goal *goal = in->goal;
	const struct observation *o = in->local->obs;
	bool may_be_master = goal->start_at_once || (replid_known(&goal->confirmed_run) &&
						     replid_eq(&goal->confirmed_run, &o->run_id));

	if (!may_be_master) {
		struct role_step r =
			step_guarded(in, "a source of another run waits to be compared");

		r.applied = false;
		return r;
	}
	if (o->role != SERVER_ROLE_MASTER) {
		return role_change(in, ACT_PROMOTE, (struct start_mode){},
				   "this run is the source");
	}
	return (struct role_step){ .applied = true, .why = "is the source" };
}

/* The operator's word is for one run; whoever gave none in the goal meant any. */
static bool may_be_demoted(const struct goal *goal, const struct observation *o)
{
	return goal->demote_accepted &&
	       (!replid_known(&goal->confirmed_run) || replid_eq(&goal->confirmed_run, &o->run_id));
}

static struct role_step step_replica(const struct instance_in *in)
{
	const struct goal *goal = in->goal;
	const struct instance_local *l = in->local;
	const struct observation *o = l->obs;
	struct start_mode mode = { .from_rdb = l->mode_now.from_rdb };
	bool own_writes = o->role == SERVER_ROLE_MASTER || l->mode_now.guarded;

	if (own_writes && !may_be_demoted(goal, o)) {
		return role_waits(in,
				  "it was promoted by hand: its writes are not ours to give up");
	}
	if (o->role == SERVER_ROLE_MASTER || o->upstream_port != goal->upstream_port ||
	    !str_eq(o->upstream_host, goal->upstream_host)) {
		return role_change(in, ACT_FOLLOW, mode, "it follows somebody else");
	}
	if (mode.from_rdb && !o->aof_enabled) {
		if (!o->link_up || o->sync_in_progress) {
			return role_waits(in, "booted from its RDB, waits for its link");
		}
		return (struct role_step){ .act = ACT_AOF_ON,
					   .why = "booted from its RDB, is linked" };
	}
	return (struct role_step){ .applied = true, .why = "follows the source" };
}

static struct role_step step_role(const struct instance_in *in)
{
	if (in->local->obs->role == SERVER_ROLE_UNKNOWN) {
		return role_waits(in, "has not told its role yet");
	}
	switch (in->goal->role) {
	case GOAL_SOURCE:
		return step_source(in);
	case GOAL_REPLICA:
		return step_replica(in);
	case GOAL_GUARDED:
		break;
	}
	return step_guarded(in, "it is to be guarded");
}

static struct instance_out step_running(const struct instance_in *in)
{
	const struct instance_local *l = in->local;

	if (l->obs->loading) {
		return wait_for(in, 0, "loads its data");
	}
	if (!l->live_current) {
		/* Before any change of role: a new link needs the passwords. */
		return act(ACT_CONFIG_SET, l->mode_now, "its settings differ from the goal's");
	}
	struct role_step r = step_role(in);

	if (r.act != ACT_NONE) {
		return act(r.act, r.mode, r.why);
	}
	if (!l->conf_current || !same_mode(r.mode, l->mode_now)) {
		return act(ACT_WRITE_CONF, r.mode, "its file is not what a restart needs");
	}
	struct instance_out out = act(ACT_NONE, r.mode, r.why);

	out.goal_applied = r.applied;
	return out;
}

struct instance_out instance_step(const struct instance_in *in)
{
	if (in->stop) {
		return step_stop(in);
	}
	if (in->goal->run == GOAL_DELETE) {
		return step_delete(in);
	}
	switch (in->local->obs->proc) {
	case PROC_NONE:
	case PROC_EXITED:
	case PROC_FAILED:
		return step_start(in);
	case PROC_RUNNING:
		return step_running(in);
	case PROC_STARTING:
		return wait_for(in, 0, "was started, does not answer yet");
	case PROC_HUNG:
		/* A stall may pass (a slow disk, a long script); a kill loses what is in memory. */
		return wait_for(in, 0, "hangs");
	case PROC_DELETED:
	case PROC_STATE_COUNT:
		break;
	}
	return wait_for(in, 0, "was deleted");
}
