/*
 * The life of a member: what its newest observation means in the state it is in.
 *
 *	starting -> active                a source that serves
 *	starting -> syncing -> active     a replica that holds its source's data
 *	any -> error -> where it belongs  a fault clears when what it names is no longer so
 *
 * A first copy is a state of its member, not an operation of the group: many run side by side,
 * and one that fails holds up nothing else. What a member did not say counts as nothing; only the
 * limits of starting and of copying notice that nothing happens.
 */
#include <inttypes.h>

#include "core/group_rules.h"

static const struct replid no_replid = {};

static bool is_source(const struct step *s, size_t i)
{
	return id_eq(s->g->members[i].id, s->g->source);
}

/* Is this the source's server in its role, and all that was asked of it done? */
static bool serves_as_source(const struct group *g, const struct observation *o)
{
	return server_ready(o) && o->role == SERVER_ROLE_MASTER && o->goal_applied &&
	       o->goal_epoch == g->epoch &&
	       (!replid_known(&g->source_run) || replid_eq(&o->run_id, &g->source_run));
}

static bool runs_as_replica(const struct observation *o)
{
	return o != NULL && o->proc == PROC_RUNNING && o->role == SERVER_ROLE_REPLICA &&
	       !o->guarded;
}

bool member_follows(const struct step *s, size_t i, const struct observation *o)
{
	const struct member *source = group_source(s->g);

	return source != NULL && !is_source(s, i) && server_linked_to(o, source) &&
	       o->goal_applied && o->goal_epoch == s->g->epoch;
}

/* Faults */

/* The operations that change a role see to their own end. */
static void end_op_about(struct step *s, size_t i)
{
	enum op_kind kind = s->g->op.kind;

	if ((kind == OP_CREATE || kind == OP_RESTART) &&
	    id_eq(s->g->op.target, s->g->members[i].id)) {
		step_end_op(s);
	}
}

void member_fail_start(struct step *s, size_t i, const struct observation *o)
{
	end_op_about(s, i);
	step_fail(s, i, FAULT_START,
		  "Its server does not start: %s. It is tried again, ever less often.",
		  o->error[0] != '\0' ? o->error : "it did not say why");
}

/* Its server runs, but not as a replica of the source: somebody promoted it by hand. */
static bool diverged(const struct step *s, size_t i, const struct observation *o)
{
	const struct member *m = &s->g->members[i];
	struct replid current = step_current_replid(s);

	if (is_source(s, i) || !m->attached_once || m->demoted || !server_ready(o)) {
		return false; /* who was demoted is a master by our own doing, and lacks nothing */
	}
	if (replid_known(&m->accepted_run) && replid_eq(&m->accepted_run, &o->run_id)) {
		return false; /* the operator gave up its writes: it is about to follow again */
	}
	return o->guarded || (o->role == SERVER_ROLE_MASTER && replid_known(&o->replid) &&
			      !replid_eq(&o->replid, &current));
}

static bool fail_diverged(struct step *s, size_t i, const struct observation *o)
{
	const struct member *m = &s->g->members[i];

	step_fail(s, i, FAULT_DIVERGED,
		  "It was promoted by hand and has a history of its own, with %" PRId64
		  " keys. `tanist start %.64s --accept-data-loss` gives up what was written to it "
		  "and makes it follow the source again; until then it is left alone.",
		  o->keys, m->name);
	step_figures(s, "replid=%s offset=%" PRId64 " keys=%" PRId64, o->replid.s, o->offset,
		     o->keys);
	return true;
}

/* STARTING */

static void serve_as_source(struct step *s, size_t i, const struct observation *o)
{
	struct group *g = s->g;

	if (!replid_known(&g->source_run)) {
		g->source_run = o->run_id;
	}
	if (g->nhistory == 0) {
		step_push_history(s, &o->replid, 0);
	}
	g->members[i].attached_once = true;
	step_clear_fault(s, i);
	step_enter_state(s, i, MEMBER_ACTIVE);
	end_op_about(s, i);
}

static void begin_copy(struct step *s, size_t i)
{
	struct member_live *l = &s->live->members[i];

	step_clear_fault(s, i);
	step_enter_state(s, i, MEMBER_SYNCING);
	*l = (struct member_live){
		.state_seen = l->state_seen,
		.state_since_ms = l->state_since_ms,
		.progress_ms = s->in->now_ms,
	};
	step_event(s, EVENT_INSTANCE_SYNCING, &s->g->members[i], "copies the source's data");
}

static const char *seen_text(const struct observation *o)
{
	if (o == NULL) {
		return "its agent has not been heard";
	}
	if (o->proc == PROC_RUNNING) {
		return o->loading ? "it loads its data" : "it runs, but not yet in its role";
	}
	return proc_state_name(o->proc);
}

static bool starting(struct step *s, size_t i)
{
	const struct observation *o = step_obs(s, i);
	int64_t limit_ms = s->live->members[i].state_since_ms + s->in->start_limit_ms;

	if (is_source(s, i) ? serves_as_source(s->g, o) : runs_as_replica(o)) {
		step_event(s, EVENT_INSTANCE_STARTED, &s->g->members[i], "its server runs");
		if (is_source(s, i)) {
			serve_as_source(s, i, o);
		} else {
			begin_copy(s, i);
		}
		return true;
	}
	if (o != NULL && o->proc == PROC_FAILED) {
		member_fail_start(s, i, o);
		return true;
	}
	if (s->in->now_ms < limit_ms) {
		step_wake(s, limit_ms);
		return false;
	}
	end_op_about(s, i);
	step_fail(s, i, FAULT_START,
		  "Its server was not seen to serve within %" PRId64
		  " s: %s. It goes on when its server does.",
		  s->in->start_limit_ms / 1000, seen_text(o));
	return true;
}

/* SYNCING */

bool replica_attached(const struct observation *replica, const struct observation *source,
		      const struct member_live *live)
{
	if (!server_ready(replica) || !server_ready(source) || !live->sampled ||
	    source->role != SERVER_ROLE_MASTER || source->start_at_once) {
		/* An agent that would still start the source unguarded must hear of it first. */
		return false;
	}
	if (replica->role != SERVER_ROLE_REPLICA || !replica->link_up ||
	    replica->sync_in_progress || replica->slave_offset < live->sample_offset) {
		return false;
	}
	if (!replid_known(&live->sample_replid)) {
		return true; /* before 4.0 servers have no replication ids, nor two offsets */
	}
	return replid_eq(&replica->replid, &live->sample_replid) &&
	       replid_eq(&source->replid, &live->sample_replid) &&
	       replica->slave_offset == replica->offset;
}

static bool attach_if_ready(struct step *s, size_t i)
{
	struct member *m = &s->g->members[i];
	struct member_live *l = &s->live->members[i];
	size_t source = step_index(s, s->g->source);
	const struct observation *o = step_obs(s, i);

	if (source == s->g->nmembers || !replica_attached(o, step_obs(s, source), l)) {
		return false;
	}
	m->attached_once = true;
	m->accepted_run = no_replid;
	step_clear_fault(s, i);
	step_enter_state(s, i, MEMBER_ACTIVE);
	step_event(s, EVENT_INSTANCE_ATTACHED, m, "holds its source's data");
	step_figures(s, "offset=%" PRId64 " sample=%" PRId64 " keys=%" PRId64, o->slave_offset,
		     l->sample_offset, o->keys);
	l->sample_watch = 0;
	l->sampled = false;
	return true;
}

static bool syncing(struct step *s, size_t i)
{
	const struct observation *o = step_obs(s, i);
	const struct member_live *l = &s->live->members[i];
	int64_t limit_ms = l->progress_ms + s->in->sync_stall_limit_ms;

	if (attach_if_ready(s, i)) {
		return true;
	}
	if (o != NULL && o->proc == PROC_FAILED) {
		member_fail_start(s, i, o);
		return true;
	}
	if (s->in->now_ms < limit_ms) {
		step_wake(s, limit_ms);
		return false;
	}
	const char *seen = o == NULL || o->proc != PROC_RUNNING ? seen_text(o)
			   : o->sync_in_progress ? "the copy has begun and stands still"
			   : o->link_up          ? "it is linked, but lacks data of the source"
						 : "it has no link to the source";

	step_fail(s, i, FAULT_SYNC,
		  "The copy of the source's data made no progress for %" PRId64
		  " s: %s. It goes on by itself and is ACTIVE when it is complete.",
		  s->in->sync_stall_limit_ms / 1000, seen);
	if (o != NULL) {
		step_figures(s, "bytes=%" PRId64 " of=%" PRId64 " offset=%" PRId64,
			     o->sync_done_bytes, o->sync_total_bytes, o->slave_offset);
	}
	return true;
}

/* A number that changes while a copy moves: the stage it is in, and how far that is. */
static int64_t progress_of(const struct observation *o, const struct observation *source,
			   const struct member_live *l)
{
	const int64_t stage = (int64_t)1 << 56;

	/* The source first saves what it is going to send: the replica has nothing to show then. */
	if (!o->link_up && !o->loading && o->sync_done_bytes <= 0 && source != NULL &&
	    source->save_progress >= 0) {
		return 4 * stage + source->save_progress;
	}
	if (o->loading) {
		return stage + o->loading_pct;
	}
	if (o->sync_in_progress) {
		return 2 * stage + o->sync_done_bytes;
	}
	/* Linked: the stream counts until the sample is reached, which ends. */
	bool behind = l->sampled && o->slave_offset < l->sample_offset;

	return 3 * stage + (behind ? o->slave_offset : 0);
}

static void sample_source(struct step *s, struct member_live *l, const struct observation *o,
			  const struct observation *source)
{
	bool linked = server_ready(o) && o->role == SERVER_ROLE_REPLICA && o->link_up &&
		      !o->sync_in_progress;

	if (!linked) {
		l->sample_watch = 0;
		l->sampled = false;
		return;
	}
	if (l->sampled && server_ready(source) && !replid_eq(&l->sample_replid, &source->replid)) {
		/* Of a stream that ended, and the link's end was not seen: a commit took long, say. */
		l->sample_watch = 0;
		l->sampled = false;
	}
	if (l->sample_watch == 0) {
		l->sample_watch = s->in->fresh_watch;
	}
	if (!l->sampled && server_ready(source) && source->role == SERVER_ROLE_MASTER &&
	    watch_answers(source->watch, l->sample_watch)) {
		l->sampled = true;
		l->sample_offset = source->offset;
		l->sample_replid = source->replid;
	}
}

static void note_progress(const struct step *s, struct member_live *l, int64_t progress)
{
	if (progress != l->progress_bytes) {
		l->progress_bytes = progress;
		l->progress_ms = s->in->now_ms;
	}
}

void member_follow_copies(struct step *s)
{
	size_t source = step_index(s, s->g->source);
	const struct observation *so = source < s->g->nmembers ? step_obs(s, source) : NULL;

	s->live->watch = 0;
	s->live->watch_all = false;
	for (size_t i = 0; i < s->g->nmembers; i++) {
		const struct member *m = &s->g->members[i];
		struct member_live *l = &s->live->members[i];
		const struct observation *o = step_obs(s, i);
		bool copies = m->state == MEMBER_SYNCING ||
			      (m->state == MEMBER_ERROR && m->fault.kind == FAULT_SYNC);

		if (i == source || !copies) {
			continue;
		}
		sample_source(s, l, o, so);
		if (o != NULL && o->proc == PROC_RUNNING) {
			note_progress(s, l, progress_of(o, so, l));
		}
		if (l->sample_watch != 0) {
			s->live->watch_all = true;
		}
		if (l->sample_watch > s->live->watch) {
			s->live->watch = l->sample_watch;
		}
	}
}

/* ACTIVE */

static bool is_down(const struct observation *o)
{
	return o != NULL && o->proc != PROC_RUNNING && o->proc != PROC_STARTING;
}

static bool is_back(const struct step *s, size_t i, const struct observation *o)
{
	return is_source(s, i) ? serves_as_source(s->g, o) : server_ready(o) && runs_as_replica(o);
}

static bool active(struct step *s, size_t i)
{
	const struct observation *o = step_obs(s, i);
	struct member *m = &s->g->members[i];
	struct member_live *l = &s->live->members[i];

	if (o != NULL && o->proc == PROC_FAILED) {
		member_fail_start(s, i, o);
		return true;
	}
	if (diverged(s, i, o)) {
		return fail_diverged(s, i, o);
	}
	if (m->demoted && s->g->op.kind == OP_NONE && member_follows(s, i, o)) {
		m->demoted = false; /* from now on it is a replica like any other */
		s->out->changed = true;
		return true;
	}
	if (is_down(o) && !l->was_down) {
		l->was_down = true;
		step_event(s, EVENT_INSTANCE_DOWN, m, "its server %s%s%.200s",
			   o->proc == PROC_HUNG ? "hangs" : "is gone",
			   o->error[0] != '\0' ? ": " : "", o->error);
		return true;
	}
	if (l->was_down && is_back(s, i, o)) {
		l->was_down = false;
		step_event(s, EVENT_INSTANCE_RETURNED, m, "its server is back in its role");
		return true;
	}
	return false;
}

/* ERROR */

static bool recover_start(struct step *s, size_t i)
{
	const struct observation *o = step_obs(s, i);
	const struct member *m = &s->g->members[i];

	if (diverged(s, i, o)) {
		return fail_diverged(s, i, o);
	}
	if (is_source(s, i) ? !serves_as_source(s->g, o) : !runs_as_replica(o)) {
		return false;
	}
	step_event(s, EVENT_INSTANCE_RETURNED, m, "its server runs again");
	if (is_source(s, i)) {
		serve_as_source(s, i, o);
	} else if (m->attached_once) {
		step_clear_fault(s, i);
		step_enter_state(s, i, MEMBER_ACTIVE);
	} else {
		begin_copy(s, i);
	}
	s->live->members[i].was_down = false;
	return true;
}

/*
 * It follows the source again and has to be attached anew. Until then it keeps what it holds, and
 * attached_once: a source that comes back empty is not to be copied by it unasked.
 */
static bool recover_diverged(struct step *s, size_t i)
{
	const struct observation *o = step_obs(s, i);
	struct member *m = &s->g->members[i];

	if (!runs_as_replica(o) || o->upstream_port == 0) {
		return false;
	}
	m->accepted_run = no_replid;
	step_event(s, EVENT_INSTANCE_RETURNED, m, "it follows the source again");
	begin_copy(s, i);
	return true;
}

static bool recover(struct step *s, size_t i)
{
	const struct observation *o = step_obs(s, i);

	switch (s->g->members[i].fault.kind) {
	case FAULT_NONE:
	case FAULT_START:
	case FAULT_GUARD:
		return recover_start(s, i);
	case FAULT_SYNC:
		if (o != NULL && o->proc == PROC_FAILED) {
			member_fail_start(s, i, o);
			return true;
		}
		return attach_if_ready(s, i);
	case FAULT_DIVERGED:
		return recover_diverged(s, i);
	case FAULT_STORE: /* group.c: it stops everything */
	case FAULT_ELECT: /* group_eject.c */
	case FAULT_EJECTED: /* the user's to decide */
	case FAULT_KIND_COUNT:
		break;
	}
	return false;
}

bool rule_member(struct step *s, size_t i)
{
	switch (s->g->members[i].state) {
	case MEMBER_STARTING:
		return starting(s, i);
	case MEMBER_SYNCING:
		return syncing(s, i);
	case MEMBER_ACTIVE:
		return active(s, i);
	case MEMBER_ERROR:
		return recover(s, i);
	case MEMBER_FENCED:   /* the user's to decide */
	case MEMBER_DELETING: /* group.c: it waits for its agent's word */
	case MEMBER_STATE_COUNT:
		break;
	}
	return false;
}
