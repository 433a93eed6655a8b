/*
 * How a handover begins, and how what has not committed yet is taken back.
 */
#include "core/operate.h"

#include <inttypes.h>

#include "core/group_handover.h"

static struct group_event event(const struct group *g, enum event_kind kind, struct id instance)
{
	return (struct group_event){ .kind = kind, .instance = instance, .epoch = g->epoch };
}

/* The newest word of each member whose agent is not silent. */
static void heard(const struct group *g, const struct operate_in *in,
		  const struct observation **ret)
{
	for (size_t i = 0; i < g->nmembers; i++) {
		ret[i] = in->silent[i] ? NULL : in->obs[i];
	}
}

/* handover */

bool operate_handover(struct group *g, const struct operate_in *in, struct id target,
		      struct group_event *ret, struct err *e)
{
	const struct observation *obs[MODEL_MEMBERS_MAX] = {};
	const struct member *m = group_find(g, target);
	char why[240];

	if (m == NULL || id_eq(target, g->source)) {
		return err_set(e, ERR_INVALID, "Instance %s is not a replica.", id_text(target).s);
	}
	if (g->op.kind != OP_NONE) {
		return err_set(e, ERR_UNPROCESSABLE,
			       "Instance %s cannot take over while the operation %s runs (phase "
			       "%s). Try again when it has ended.",
			       id_text(target).s, op_kind_name(g->op.kind),
			       op_phase_name(g->op.phase));
	}
	heard(g, in, obs);

	const struct handover_view v = { .g = g, .obs = obs, .target = target };

	if (handover_judge(&v, why, sizeof why) != HANDOVER_READY) {
		return err_set(e, ERR_UNPROCESSABLE, "Instance %s cannot take over: %s.",
			       id_text(target).s, why);
	}
	g->op = (struct operation){
		.id = in->op,
		.kind = OP_HANDOVER,
		.phase = PHASE_HANDOVER_CHECK,
		.target = target,
		.from = g->source,
		.started_wall_ms = in->wall_ms,
		.phase_since_wall_ms = in->wall_ms,
	};
	*ret = event(g, EVENT_HANDOVER_STARTED, target);
	snprintf(ret->reason, sizeof ret->reason, "'%.64s' is to take over from '%.64s'", m->name,
		 group_source(g)->name);
	return true;
}

/* cancel */

static void end_cancelled(struct group *g, const struct operate_in *in, const char *reason)
{
	g->last = (struct op_outcome){
		.op = g->op.id,
		.kind = g->op.kind,
		.at_wall_ms = in->wall_ms,
		.reason = reason,
	};
}

static void cancel_check(struct group *g, const struct operate_in *in, struct group_event *ret)
{
	end_cancelled(g, in, "cancelled before anything was changed");
	*ret = event(g, EVENT_HANDOVER_UNDONE, g->op.target);
	g->op = (struct operation){};
}

/* What the fence may have done is taken back as after a failure: core/group_handover.c. */
static void cancel_handover(struct group *g, const struct operate_in *in, struct group_event *ret)
{
	const struct observation *obs[MODEL_MEMBERS_MAX] = {};

	end_cancelled(g, in, "cancelled: it is taken back, nothing was lost");
	heard(g, in, obs);
	handover_take_back(g, in->live, obs);
	g->op.phase = PHASE_HANDOVER_UNDO;
	g->op.phase_since_wall_ms = in->wall_ms;
	*ret = event(g, EVENT_HANDOVER_UNDOING, g->op.target);
}

/* The source goes on, if it can, and the sealed ones follow it again. */
static void cancel_eject(struct group *g, const struct operate_in *in, struct group_event *ret)
{
	end_cancelled(g, in, "cancelled: the source goes on as far as it can, nobody was promoted");
	operate_undo_eject(g, in);
	*ret = event(g, EVENT_EJECT_UNDONE, g->op.target);
	g->op = (struct operation){};
}

static bool refuse_cancel(const struct group *g, struct err *e)
{
	const struct member *source = group_source(g);

	if (g->op.kind == OP_NONE) {
		return err_set(e, ERR_UNPROCESSABLE, "Nothing runs that could be cancelled.");
	}
	if (g->op.phase == PHASE_HANDOVER_UNDO) {
		return err_set(e, ERR_UNPROCESSABLE, "The handover is being taken back already.");
	}
	if (g->op.kind != OP_HANDOVER && g->op.kind != OP_EJECT) {
		return err_set(e, ERR_UNPROCESSABLE, "The operation %s cannot be cancelled.",
			       op_kind_name(g->op.kind));
	}
	return err_set(e, ERR_UNPROCESSABLE,
		       "The %s has committed: '%.64s' is the source since epoch %" PRIu64
		       ". It cannot be cancelled any more.",
		       op_kind_name(g->op.kind), source == NULL ? "" : source->name, g->epoch);
}

bool operate_cancel(struct group *g, const struct operate_in *in, struct group_event *ret,
		    struct err *e)
{
	switch (g->op.phase) {
	case PHASE_HANDOVER_CHECK:
		cancel_check(g, in, ret);
		break;
	case PHASE_HANDOVER_STAGE:
	case PHASE_HANDOVER_FENCE:
		cancel_handover(g, in, ret);
		break;
	case PHASE_EJECT_DRAIN:
	case PHASE_EJECT_SEAL:
	case PHASE_EJECT_HELD:
		cancel_eject(g, in, ret);
		break;
	case PHASE_NONE:
	case PHASE_CREATE_START:
	case PHASE_RESTART_COMPARE:
	case PHASE_RESTART_HELD:
	case PHASE_RESTART_CONFIRM:
	case PHASE_HANDOVER_UNDO:
	case PHASE_HANDOVER_PROMOTE:
	case PHASE_HANDOVER_TIDY:
	case PHASE_HANDOVER_DROP:
	case PHASE_EJECT_PROMOTE:
	case PHASE_EJECT_TIDY:
	case PHASE_DETACH_PROMOTE:
	case PHASE_COUNT:
		return refuse_cancel(g, e);
	}
	ret->epoch = g->epoch;
	snprintf(ret->reason, sizeof ret->reason, "%s", g->last.reason);
	return true;
}
