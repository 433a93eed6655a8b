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

/* Before a seal: so long an offset stands still, and so long that is waited for at most. */
enum { STILL_MS = 50, SEAL_WAIT_MS = 2000 };

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

/* With SIGKILL, which also works on what is stopped. */
static struct instance_out step_kill(const struct instance_in *in, const char *why)
{
	if (in->local->kill_sent_ms != 0) {
		return wait_for(in, 0, "was killed, its exit is awaited");
	}
	return act(ACT_KILL, in->local->mode_now, why);
}

static bool has_process(enum proc_state p)
{
	return p == PROC_STARTING || p == PROC_RUNNING || p == PROC_HUNG;
}

static struct instance_out step_delete(const struct instance_in *in)
{
	const struct instance_local *l = in->local;

	if (has_process(l->obs->proc)) {
		/* Its data are to go with it: there is nothing to save, and saving takes long. */
		return step_kill(in, "it is to be deleted");
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
	if (l->mode_now.guarded && l->obs->guarded && l->obs->aof_enabled) {
		/*
		 * Its AOF has everything. A clean stop would replace its RDB, whose position it may
		 * rejoin from, by one that has none.
		 */
		return act(ACT_KILL, l->mode_now, "it is guarded: there is nothing to save");
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
 * A former source whose own writes are given up: what counts is the source, and an RDB of its own,
 * however old, carries a position to go on from, which the AOF does not (REDIS.md 3.5, M18). One
 * that is of no use costs nothing: then it is copied as a whole, as it would be without.
 */
static bool rejoins_from_rdb(const struct instance_in *in)
{
	const struct instance_local *l = in->local;

	return in->goal->demote_accepted && l->rdb_exists &&
	       (l->marker_was_master || l->mode_now.guarded);
}

/* Without an AOF that can be loaded the RDB is all there is: `appendonly yes` would start it empty. */
static bool has_rdb_only(const struct instance_local *l)
{
	return l->files_exist && l->rdb_exists && (!l->aof_exists || l->aof_unfinished);
}

/*
 * How the next server is to be started. Its run id will be new, so a source is never the
 * confirmed run: it starts as a master only where no replica can copy from it. A replica that
 * was a master (promoted by hand) keeps its own writes until the operator gives them up.
 */
static struct start_mode start_mode_for(const struct instance_in *in)
{
	const struct goal *goal = in->goal;
	const struct instance_local *l = in->local;
	struct start_mode guarded = { .guarded = true, .from_rdb = has_rdb_only(l) };

	switch (goal->role) {
	case GOAL_SOURCE:
		guarded.guarded = !(goal->start_at_once && in->confirmed);
		return guarded;
	case GOAL_REPLICA:
		if (!goal->demote_accepted && (l->marker_was_master || l->mode_now.guarded)) {
			return guarded;
		}
		return (struct start_mode){ .from_rdb = l->files_exist &&
							(l->rdb_usable || has_rdb_only(l) ||
							 rejoins_from_rdb(in)) };
	case GOAL_SEALED:
		return (struct start_mode){ .from_rdb = l->files_exist &&
							(l->rdb_usable || has_rdb_only(l)) };
	case GOAL_GUARDED:
	case GOAL_YIELDING:
		break;
	}
	return guarded;
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
	struct start_mode mode = { .guarded = true, .from_rdb = in->local->mode_now.from_rdb };

	if (!follows_nobody(in->local->obs)) {
		return role_change(in, ACT_GUARD, mode, why);
	}
	return (struct role_step){ .mode = mode, .applied = true, .why = "is guarded" };
}

static bool is_confirmed_run(const struct goal *goal, const struct observation *o)
{
	return replid_known(&goal->confirmed_run) && replid_eq(&goal->confirmed_run, &o->run_id);
}

static struct role_step wait_guarded(const struct instance_in *in)
{
	struct role_step r = step_guarded(in, "a source of another run waits to be compared");

	r.applied = false;
	return r;
}

/*
 * A fence that is still there once the role is right. Of one that has yielded too: it is read-only
 * by its role, and clients that were held spend their pause between two tries while its successor
 * is promoted. A pause ends by itself: as long as nobody has confirmed the goal it does not count.
 */
static struct role_step end_fence(const struct instance_in *in, struct role_step applied)
{
	const struct instance_local *l = in->local;

	if (l->obs->fenced || (l->paused && in->confirmed)) {
		return role_change(in, ACT_UNFENCE, applied.mode, "its fence has served its turn");
	}
	return applied;
}

static struct role_step step_source(const struct instance_in *in)
{
	const struct goal *goal = in->goal;
	const struct observation *o = in->local->obs;
	struct start_mode mode = { .from_rdb = in->local->mode_now.from_rdb };

	if (!goal->start_at_once && !is_confirmed_run(goal, o)) {
		return wait_guarded(in);
	}
	if (o->role != SERVER_ROLE_MASTER) {
		return role_change(in, ACT_PROMOTE, mode, "this run is the source");
	}
	if (mode.from_rdb && !o->aof_enabled) {
		/* Nobody was left to link to: without an AOF its next start would find nothing. */
		return (struct role_step){ .act = ACT_AOF_ON,
					   .why = "booted from its RDB, was promoted" };
	}
	return end_fence(in, (struct role_step){ .applied = true, .why = "is the source" });
}

static bool follows_upstream(const struct goal *goal, const struct observation *o)
{
	return o->role == SERVER_ROLE_REPLICA && o->upstream_port == goal->upstream_port &&
	       str_eq(o->upstream_host, goal->upstream_host);
}

/* Its position is compared behind the fence only: before it, it would be out of date at once. */
static struct role_step step_yielding(const struct instance_in *in)
{
	const struct observation *o = in->local->obs;

	if (!is_confirmed_run(in->goal, o)) {
		return wait_guarded(in);
	}
	if (follows_upstream(in->goal, o)) {
		return end_fence(in, (struct role_step){ .applied = true,
							 .why = "follows its successor" });
	}
	if (o->role == SERVER_ROLE_MASTER && !o->fenced && in->local->pause_spent) {
		/* Nobody took it back in time: the control plane is gone, and clients are not to wait. */
		return role_waits(in, "its pause has run out, it serves until there is news");
	}
	if (o->role == SERVER_ROLE_MASTER && !o->fenced) {
		return role_change(in, ACT_FENCE, (struct start_mode){}, "it is to be handed over");
	}
	if (o->role == SERVER_ROLE_MASTER && in->live->peer_offset < o->offset) {
		return role_waits(in, "is fenced, its successor does not have everything yet");
	}
	return role_change(in, ACT_YIELD, (struct start_mode){}, "its successor has everything");
}

/*
 * A seal throws away what was received and not applied. The control plane waits for that before it
 * seals; who did not answer then, and wakes up to this goal, takes a moment to apply it. A link that
 * is down has nothing more to give.
 */
static bool may_have_more_to_apply(const struct instance_in *in)
{
	const struct instance_local *l = in->local;

	return l->obs->role == SERVER_ROLE_REPLICA && l->obs->link_up &&
	       in->now_ms - l->applied_ms < STILL_MS && in->now_ms - l->goal_ms < SEAL_WAIT_MS;
}

static struct role_step step_sealed(const struct instance_in *in)
{
	struct start_mode mode = { .from_rdb = in->local->mode_now.from_rdb };

	if (in->local->obs->role == SERVER_ROLE_MASTER || in->local->mode_now.guarded) {
		return role_waits(in,
				  "it was promoted by hand: its writes are not ours to give up");
	}
	if (follows_nobody(in->local->obs)) {
		return (struct role_step){ .mode = mode, .applied = true, .why = "is sealed" };
	}
	if (may_have_more_to_apply(in)) {
		return role_waits(in, "has yet to apply what it has received");
	}
	return role_change(in, ACT_SEAL, mode, "the source is gone: nothing may move");
}

/* The operator's word is for one run; whoever gave none in the goal meant any. */
static bool may_be_demoted(const struct goal *goal, const struct observation *o)
{
	return goal->demote_accepted &&
	       (!replid_known(&goal->confirmed_run) || replid_eq(&goal->confirmed_run, &o->run_id));
}

/*
 * Started guarded from its AOF, it has its keys but no position in anybody's history. Killed, not
 * stopped: a clean stop would write such an RDB too, over the one that has a position.
 */
static bool boots_for_position(const struct instance_in *in)
{
	const struct instance_local *l = in->local;

	return l->mode_now.guarded && l->obs->guarded && l->obs->offset <= 0 &&
	       rejoins_from_rdb(in);
}

/*
 * One that is ahead of whom it is to follow would have to copy everything: its place in the stream
 * is one that the other has not come to yet. A few bytes are enough, and happen under load.
 */
static struct role_step step_follow(const struct instance_in *in, struct start_mode mode)
{
	const struct observation *o = in->local->obs;

	if (in->goal->staged && o->role == SERVER_ROLE_REPLICA) {
		if (!follows_nobody(o)) {
			return role_change(in, ACT_SEAL, mode,
					   "stands still until the next source has passed it");
		}
		if (in->local->never_linked && o->slave_offset <= 1) {
			return role_waits(in, "came back without its place in the stream: it would copy "
					      "all from one that may have less");
		}
		if (in->live->peer_offset < o->slave_offset) {
			return role_waits(in, "the next source is behind it yet");
		}
	}
	return role_change(in, ACT_FOLLOW, mode, "it follows somebody else");
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
	if (boots_for_position(in)) {
		if (l->kill_sent_ms != 0) {
			return role_waits(in, "was killed, its exit is awaited");
		}
		return role_change(in, ACT_KILL, l->mode_now,
				   "its RDB has a position, its AOF none");
	}
	if (!follows_upstream(goal, o)) {
		return step_follow(in, mode);
	}
	if (mode.from_rdb && !o->aof_enabled) {
		if (!o->link_up || o->sync_in_progress) {
			return role_waits(in, "booted from its RDB, waits for its link");
		}
		return (struct role_step){ .act = ACT_AOF_ON,
					   .why = "booted from its RDB, is linked" };
	}
	if (goal->drop_clients && !l->clients_dropped) {
		return role_change(in, ACT_DROP_CLIENTS, (struct start_mode){},
				   "its clients are to look again");
	}
	return end_fence(in, (struct role_step){ .applied = true, .why = "follows the source" });
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
	case GOAL_YIELDING:
		return step_yielding(in);
	case GOAL_SEALED:
		return step_sealed(in);
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
	bool stale = !l->conf_current || !same_mode(r.mode, l->mode_now);

	if (stale && in->goal->fenced &&
	    (l->obs->fenced || l->obs->role == SERVER_ROLE_REPLICA)) {
		/* The next word is awaited by its clients; the file it has starts it guarded. */
		return wait_for(in, 0, "hands over: its file can wait");
	}
	if (stale) {
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
		if (in->goal->kill_hung && in->confirmed) {
			/* It cannot be told, and when it wakes it carries out what it was sent before. */
			return step_kill(in, "it hangs and is to be fenced");
		}
		/* A stall may pass (a slow disk, a long script); a kill loses what is in memory. */
		return wait_for(in, 0, "hangs");
	case PROC_DELETED:
	case PROC_STATE_COUNT:
		break;
	}
	return wait_for(in, 0, "was deleted");
}
