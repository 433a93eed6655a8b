/*
 * The table of phases: the life of every operation. A test walks it: each phase has a way out, a
 * time limit or a human, and a reason.
 */
#include "base/macros.h"
#include "core/group_rules.h"

/* clang-format off */
const struct phase_row phase_rows[] = {
	{ PHASE_CREATE_START, OP_CREATE,
	  "the source's server is master with its goal applied, or cannot be started",
	  SEC(60), { PHASE_NONE }, 1,
	  "the first server of a group is started; replicas come when it serves" },
	{ PHASE_RESTART_COMPARE, OP_RESTART,
	  "enough is known of the replicas to decide, or the limit has passed",
	  SEC(10), { PHASE_RESTART_CONFIRM, PHASE_RESTART_HELD, PHASE_NONE }, 3,
	  "a source that was restarted may have lost data: it is compared with its replicas first" },
	{ PHASE_RESTART_HELD, OP_RESTART,
	  "the operator accepts the loss, or news removes the doubt",
	  0, { PHASE_RESTART_CONFIRM, PHASE_RESTART_COMPARE, PHASE_NONE }, 3,
	  "the replicas may hold data that the source lost: nobody copies from it until a human decides" },
	{ PHASE_RESTART_CONFIRM, OP_RESTART,
	  "the source's server is master, or was replaced by another run",
	  SEC(60), { PHASE_RESTART_COMPARE, PHASE_NONE }, 2,
	  "it is committed that the restarted source goes on" },
	{ PHASE_HANDOVER_CHECK, OP_HANDOVER,
	  "all members have answered and the target can take over; else it is refused",
	  SEC(5), { PHASE_HANDOVER_STAGE, PHASE_NONE }, 2,
	  "nothing is touched before it is known that it can succeed" },
	{ PHASE_HANDOVER_STAGE, OP_HANDOVER,
	  "the other replicas follow the target and the target is durable, or the limit has passed",
	  SEC(10), { PHASE_HANDOVER_FENCE, PHASE_HANDOVER_UNDO }, 2,
	  "the others move off the critical path; what is left for later moves in tidy" },
	{ PHASE_HANDOVER_FENCE, OP_HANDOVER,
	  "the source is read-only behind the target, and the target has its last byte",
	  SEC(3), { PHASE_HANDOVER_PROMOTE, PHASE_HANDOVER_UNDO }, 2,
	  "writes stand still for a moment: the target catches up, the source is demoted" },
	{ PHASE_HANDOVER_UNDO, OP_HANDOVER,
	  "the source is master and takes writes, or its server is of another run",
	  SEC(60), { PHASE_NONE }, 1,
	  "committed instead of the promotion: nothing is lost, the source has everything" },
	{ PHASE_HANDOVER_PROMOTE, OP_HANDOVER,
	  "the target is seen as master; an eject of it, when it died before",
	  SEC(10), { PHASE_HANDOVER_TIDY, PHASE_EJECT_SEAL }, 2,
	  "the point of no return is behind: the target is the source" },
	{ PHASE_HANDOVER_TIDY, OP_HANDOVER,
	  "all that can be reached are linked to the new source, or the limit has passed",
	  SEC(30), { PHASE_HANDOVER_DROP, PHASE_NONE }, 2,
	  "the group serves; the others continue behind the new source" },
	{ PHASE_HANDOVER_DROP, OP_HANDOVER,
	  "the old source has dropped its clients, or the limit has passed",
	  SEC(5), { PHASE_NONE }, 1,
	  "clients that still talk to the old source look again" },
	{ PHASE_EJECT_DRAIN, OP_EJECT,
	  "every replica that answers has applied what it had received, or the limit has passed",
	  SEC(10), { PHASE_EJECT_SEAL, PHASE_NONE }, 2,
	  "to follow somebody else throws away what was received and not yet applied" },
	{ PHASE_EJECT_SEAL, OP_EJECT,
	  "every replica that answers is sealed, or the limit with at least one; then the election",
	  SEC(5), { PHASE_EJECT_PROMOTE, PHASE_EJECT_HELD, PHASE_NONE }, 3,
	  "the old source has no replicas any more, and nothing moves while they are compared" },
	{ PHASE_EJECT_HELD, OP_EJECT,
	  "somebody can be elected, or the source answers again, or it is cancelled",
	  0, { PHASE_EJECT_PROMOTE, PHASE_NONE }, 2,
	  "nobody may be promoted without a loss that nobody has accepted" },
	{ PHASE_EJECT_PROMOTE, OP_EJECT,
	  "the winner is seen as master; an election among the others, when it died before",
	  SEC(10), { PHASE_EJECT_TIDY, PHASE_EJECT_SEAL }, 2,
	  "the point of no return is behind: the winner is the source" },
	{ PHASE_EJECT_TIDY, OP_EJECT,
	  "all that can be reached are linked to the new source, or the limit has passed",
	  SEC(30), { PHASE_NONE }, 1,
	  "the group serves; the others continue behind the new source" },
	{ PHASE_DETACH_PROMOTE, OP_DETACH,
	  "its server is master with no setting of replication left, or does not start",
	  SEC(60), { PHASE_NONE }, 1,
	  "committed: it is the source of a group of its own" },
};
/* clang-format on */
const size_t nphase_rows = ARRAY_LEN(phase_rows);

static const struct phase_row *row_of(enum op_phase p)
{
	for (size_t i = 0; i < nphase_rows; i++) {
		if (phase_rows[i].phase == p) {
			return &phase_rows[i];
		}
	}
	return NULL;
}

bool phase_leads_to(enum op_phase from, enum op_phase to)
{
	const struct phase_row *row = row_of(from);

	for (size_t i = 0; row != NULL && i < row->nnext; i++) {
		if (row->next[i] == to) {
			return true;
		}
	}
	return false;
}

int64_t step_phase_limit_ms(const struct step *s)
{
	const struct phase_row *row = row_of(s->g->op.phase);

	return row == NULL ? 0 : row->limit_ms;
}
