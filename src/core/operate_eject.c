/*
 * A user asks for an eject: is the source really gone? A late heartbeat is no death. Its own agent
 * knows best; where that is silent, the control plane has knocked at the server's door, and the
 * replicas' streams tell. Whoever answers vetoes, whatever the operator accepts: a living source
 * holds every write that was acknowledged, and an eject gives up what only it has.
 *
 * What is not proven either way (the host is unreachable) is allowed where the durability of the
 * group covers it, or where the operator accepts what it may cost.
 */
#include <inttypes.h>

#include "base/macros.h"
#include "base/str.h"
#include "core/operate.h"

/* A link that the source fed so lately is alive: it sends a ping every second. */
enum { STREAM_FRESH_S = 3 };

/* REFUSED_START is Trove's whole message; the evidence follows it. */
#define REFUSED_START "Replica Source %s cannot be ejected as it has a current heartbeat"

static size_t index_of(const struct group *g, struct id id)
{
	size_t i = 0;

	while (i < g->nmembers && !id_eq(g->members[i].id, id)) {
		i++;
	}
	return i;
}

static const struct observation *heard(const struct operate_in *in, size_t i)
{
	return in->silent[i] ? NULL : in->obs[i];
}

enum source_state operate_source_state(const struct group *g, const struct observation *o)
{
	switch (o->proc) {
	case PROC_RUNNING:
		break;
	case PROC_HUNG:
		return SOURCE_HANGS;
	case PROC_NONE:
	case PROC_STARTING:
	case PROC_EXITED:
	case PROC_FAILED:
	case PROC_DELETED:
	case PROC_STATE_COUNT:
		return SOURCE_GONE;
	}
	bool same_run = replid_known(&o->run_id) && replid_eq(&o->run_id, &g->source_run);

	/*
	 * The run that may be master has all that it acknowledged as long as it lives, also where we
	 * guarded it ourselves. It loads only when it was demoted and copies somebody else's data.
	 */
	if (same_run) {
		return o->loading ? SOURCE_GONE : SOURCE_LIVES;
	}
	return o->guarded || o->loading ? SOURCE_GONE : SOURCE_LIVES;
}

bool operate_needs_probe(const struct group *g, const struct operate_in *in)
{
	size_t i = index_of(g, g->source);

	return i < g->nmembers && heard(in, i) == NULL;
}

/* taking it back */

void operate_undo_eject(struct group *g, const struct operate_in *in)
{
	static const struct replid no_replid = {};
	size_t i = index_of(g, g->source);
	const struct observation *o = i < g->nmembers ? heard(in, i) : NULL;
	bool lives = o != NULL && operate_source_state(g, o) == SOURCE_LIVES;
	bool frozen = lives && o->role == SERVER_ROLE_REPLICA;

	g->epoch++;
	if (lives) {
		struct history_position at = history_position_of(o);

		history_fill(g->history, g->nhistory, &at, 1);
	}
	/*
	 * Its goal was to be guarded, whether it was seen so or not: promoted back its stream has a
	 * new name. A reign whose name is still to come needs no second one.
	 */
	if (g->nhistory > 0 && replid_known(&g->history[g->nhistory - 1].replid)) {
		history_push(g, &no_replid, frozen ? o->offset + 1 : INT64_MAX);
	}
	if (i < g->nmembers && g->members[i].fault.kind == FAULT_ELECT) {
		struct member *m = &g->members[i];

		m->fault = (struct fault){};
		m->state = MEMBER_ACTIVE;
		m->state_since_wall_ms = m->updated_wall_ms = in->wall_ms;
	}
}

/* evidence */

static bool refuse_living(const struct member *m, const struct observation *o, struct err *e)
{
	return err_set(e, ERR_INVALID,
		       REFUSED_START
		       ": its agent reports that its server runs (%s, offset %" PRId64
		       "). %s.",
		       id_text(m->id).s, server_role_name(o->role), o->offset,
		       o->role == SERVER_ROLE_REPLICA
			       ? "A change that runs makes it wait for a moment, and goes on or is "
				 "undone by itself"
			       : "Promoting a replica hands over without loss");
}

static bool is_fed_by(const struct observation *o, const struct member *source)
{
	return o != NULL && o->proc == PROC_RUNNING && o->role == SERVER_ROLE_REPLICA &&
	       o->link_up && o->last_io_s >= 0 && o->last_io_s < STREAM_FRESH_S &&
	       o->upstream_port == source->port && str_eq(o->upstream_host, source->address);
}

/* Neither its agent nor the server itself is heard; is it by its replicas? */
static bool refuse_moving(const struct group *g, const struct operate_in *in,
			  const struct member *source, struct err *e)
{
	for (size_t i = 0; i < g->nmembers; i++) {
		const struct observation *o = heard(in, i);

		if (is_fed_by(o, source)) {
			return !err_set(e, ERR_INVALID,
					REFUSED_START
					": its replica '%.64s' is linked to it and heard it %d s "
					"ago. Only the way from here to it is broken.",
					id_text(source->id).s, g->members[i].name,
					(int)o->last_io_s);
		}
	}
	return false;
}

static void describe_winner(const struct election *el, char *buf, size_t size)
{
	size_t w = el->out.winner;

	if (w == ELECT_NOBODY) {
		snprintf(buf, size, "no replica could be promoted now");
		return;
	}
	snprintf(buf, size, "'%.48s' would be promoted at offset %" PRId64,
		 el->candidates[w].name, el->out.of[w].offset);
}

static void describe_last_sight(const struct operate_in *in, char *buf, size_t size)
{
	const struct group_live *l = in->live;

	buf[0] = '\0';
	if (l->source_at_ms != 0) {
		snprintf(buf, size, ", the source was last seen at %" PRId64 ", %" PRId64 " s ago",
			 l->source_at.offset, (in->now_ms - l->source_at_ms) / 1000);
	}
}

static bool refuse_unproven(const struct operate_in *in, const struct member *source,
			    const struct election *el, struct err *e)
{
	char winner[128], seen[96], few[80] = "";

	describe_winner(el, winner, sizeof winner);
	describe_last_sight(in, seen, sizeof seen);
	if (el->in.bounded && el->out.winner != ELECT_NOBODY) {
		snprintf(few, sizeof few, " (%zu of %zu replicas reached, k = %" PRIu32 ")",
			 el->out.sealed, el->out.replicas, el->in.k);
	}
	return err_set(e, ERR_UNPROCESSABLE,
		       "Nothing proves that source '%.48s' is dead: nobody hears it. What it "
		       "acknowledged and no replica has would be lost: %s%s%s. It may take writes, "
		       "lost too, until its agent is back. Only accept_data_loss ejects it now.",
		       source->name, winner, seen, few);
}

/* Its agent is silent, or not heard yet. */
static bool check_unheard(const struct group *g, const struct operate_in *in, size_t i,
			  enum probe_answer probe, bool accept_data_loss, struct err *e)
{
	const struct member *m = &g->members[i];

	if (probe == PROBE_ANSWERS) {
		return err_set(e, ERR_INVALID,
			       REFUSED_START
			       ": its agent is silent, but its server answers at %.64s port %u. "
			       "Start the agent of host '%.64s'.",
			       id_text(m->id).s, m->address, (unsigned)m->port, m->host);
	}
	if (!in->silent[i] || probe == PROBE_NOT_MADE) {
		return err_set(e, ERR_UNPROCESSABLE,
			       "The agent of host '%.64s' has not been heard yet, and has had no "
			       "time to report: nothing is known of source '%.64s'. Try again in a "
			       "moment.",
			       m->host, m->name);
	}
	if (refuse_moving(g, in, m, e)) {
		return false;
	}
	if (in->obs[i] != NULL && operate_source_state(g, in->obs[i]) == SOURCE_GONE) {
		return true; /* its agent's last word: nobody but us lets it take writes again */
	}
	struct election el = {};

	election_hold(g, in, ELECTION_DRY_RUN, false, &el);
	if (accept_data_loss || (el.in.bounded && el.out.verdict == ELECT_WINNER)) {
		return true;
	}
	return refuse_unproven(in, m, &el, e);
}

static bool check_evidence(const struct group *g, const struct operate_in *in, size_t i,
			   enum probe_answer probe, bool accept_data_loss, struct err *e)
{
	const struct observation *o = heard(in, i);

	if (o == NULL) {
		return check_unheard(g, in, i, probe, accept_data_loss, e);
	}
	if (operate_source_state(g, o) == SOURCE_LIVES) {
		return refuse_living(&g->members[i], o, e);
	}
	return true;
}

/* what runs already */

/* Committed, and not to be left half done: it ends by itself, or goes on with an election. */
static bool must_end_first(enum op_phase p)
{
	return p == PHASE_CREATE_START || p == PHASE_HANDOVER_PROMOTE ||
	       p == PHASE_EJECT_PROMOTE || p == PHASE_DETACH_PROMOTE;
}

static bool check_operation(const struct group *g, struct err *e)
{
	if (!must_end_first(g->op.phase)) {
		return true;
	}
	const struct member *target = group_find(g, g->op.target);

	return err_set(e, ERR_UNPROCESSABLE,
		       "The operation %s of instance '%.64s' has committed and must end first (phase "
		       "%s). Try again in a moment.",
		       op_kind_name(g->op.kind), target == NULL ? "" : target->name,
		       op_phase_name(g->op.phase));
}

static bool check_group(const struct group *g, size_t i, struct err *e)
{
	const struct member *m = i < g->nmembers ? &g->members[i] : NULL;

	if (m == NULL || !id_eq(m->id, g->source) || group_replica_count(g) == 0) {
		return err_set(e, ERR_INVALID, "Instance %s is not a replica source.",
			       m == NULL ? "" : id_text(m->id).s);
	}
	if (m->state == MEMBER_DELETING) {
		return err_set(e, ERR_UNPROCESSABLE, "Instance %s is being deleted.",
			       id_text(m->id).s);
	}
	for (size_t j = 0; j < g->nmembers; j++) {
		if (g->members[j].fault.kind == FAULT_STORE) {
			return err_set(e, ERR_UNPROCESSABLE,
				       "Instance %s: cannot eject it while the store is older than "
				       "the hosts of its group: the fault of instance '%.64s' says "
				       "what to do.",
				       id_text(m->id).s, g->members[j].name);
		}
	}
	return true;
}

/* How far an earlier change of source came, for whoever waits for it. */
static void end_replaced(struct group *g, int64_t wall_ms)
{
	enum op_phase p = g->op.phase;
	bool done = p == PHASE_HANDOVER_TIDY || p == PHASE_HANDOVER_DROP || p == PHASE_EJECT_TIDY;

	if (g->op.kind != OP_HANDOVER && g->op.kind != OP_EJECT) {
		return;
	}
	g->last = (struct op_outcome){
		.op = g->op.id,
		.kind = g->op.kind,
		.done = done,
		.at_wall_ms = wall_ms,
		.reason = done ? "the new source had served, and was lost before all others "
				 "followed it: it is ejected"
			       : "its source was lost, and is ejected instead",
	};
}

static void begin(struct group *g, const struct operate_in *in, bool accept_data_loss)
{
	/* No goal of what it replaces is to be carried out later, by an agent that hears us late. */
	g->epoch += g->op.kind == OP_HANDOVER;
	end_replaced(g, in->wall_ms);
	g->op = (struct operation){
		.id = in->op,
		.kind = OP_EJECT,
		.phase = PHASE_EJECT_DRAIN,
		.target = g->source,
		.started_wall_ms = in->wall_ms,
		.phase_since_wall_ms = in->wall_ms,
		.accept_data_loss = accept_data_loss,
	};
}

static void tell_start(const struct group *g, const struct operate_in *in, size_t i,
		       const char *replaced, struct group_event *ret)
{
	const struct observation *o = heard(in, i);
	const char *state = o == NULL ? "its agent is silent" : proc_state_name(o->proc);

	*ret = (struct group_event){
		.kind = EVENT_EJECT_STARTED,
		.instance = g->source,
		.epoch = g->epoch,
	};
	snprintf(ret->reason, sizeof ret->reason, "a client asked for it; the source: %s%s%s%s%s%s",
		 state, o != NULL && o->loading ? ", loading" : "",
		 o != NULL && o->guarded ? ", guarded after a restart" : "",
		 g->op.accept_data_loss ? "; a loss of data is accepted" : "",
		 replaced[0] != '\0' ? "; in place of the operation " : "", replaced);
	snprintf(ret->figures, sizeof ret->figures, "source_offset=%" PRId64 " seen_ms_ago=%" PRId64,
		 in->live->source_at_ms != 0 ? in->live->source_at.offset : -1,
		 in->live->source_at_ms != 0 ? in->now_ms - in->live->source_at_ms : -1);
}

/* The same eject once more: only a word that was not given before is something new. */
static void repeat(struct group *g, bool accept_data_loss, bool *ret_again, struct group_event *ret)
{
	*ret_again = g->op.accept_data_loss || !accept_data_loss;
	if (*ret_again) {
		return;
	}
	g->op.accept_data_loss = true;
	*ret = (struct group_event){
		.kind = EVENT_SOURCE_ACCEPTED,
		.instance = g->source,
		.epoch = g->epoch,
		.reason = "a client accepted a loss of data for the eject that runs",
	};
}

bool operate_eject(struct group *g, const struct operate_in *in, struct id source,
		   enum probe_answer probe, bool accept_data_loss, bool *ret_again,
		   struct group_event *ret, struct err *e)
{
	size_t i = index_of(g, source);
	const char *replaced = g->op.kind == OP_NONE ? "" : op_kind_name(g->op.kind);

	if (!check_group(g, i, e) || !check_operation(g, e)) {
		return false;
	}
	if (g->op.kind == OP_EJECT && g->op.phase != PHASE_EJECT_TIDY) {
		repeat(g, accept_data_loss, ret_again, ret);
		return true;
	}
	if (!check_evidence(g, in, i, probe, accept_data_loss, e)) {
		return false;
	}
	begin(g, in, accept_data_loss);
	tell_start(g, in, i, replaced, ret);
	*ret_again = false;
	return true;
}
