/*
 * Trove's words for what is, and the one table of which call is allowed when.
 *
 * Two differences from Trove, on purpose: an instance can be deleted and renamed in every status
 * (its record and address exist from the first moment), and a source with replicas is refused
 * with their number.
 */
#include "core/status.h"

#include <assert.h>
#include <inttypes.h>

#include "base/macros.h"

enum status {
	STATUS_BUILD,
	STATUS_ACTIVE,
	STATUS_REBOOT,
	STATUS_ERROR,
	STATUS_SHUTDOWN,
	STATUS_PROMOTE,
	STATUS_EJECT,
	STATUS_DETACH,
	STATUS_BLOCKED, /* ejected: it takes no writes until the user attaches or deletes it */
	STATUS_COUNT,
};

/* clang-format off */
static const char *const status_names[] = {
	[STATUS_BUILD] = "BUILD",
	[STATUS_ACTIVE] = "ACTIVE",
	[STATUS_REBOOT] = "REBOOT",
	[STATUS_ERROR] = "ERROR",
	[STATUS_SHUTDOWN] = "SHUTDOWN",
	[STATUS_PROMOTE] = "PROMOTE",
	[STATUS_EJECT] = "EJECT",
	[STATUS_DETACH] = "DETACH",
	[STATUS_BLOCKED] = "BLOCKED",
};
/* clang-format on */
static_assert(ARRAY_LEN(status_names) == STATUS_COUNT);

#define CALL_TEXT(name, text) [CALL_##name] = text,
static const char *const call_texts[] = { CALLS(CALL_TEXT) };
#undef CALL_TEXT

enum rule {
	NO, /* 422: what it is doing, in the message */
	YES,
	IDLE, /* only while no operation of its group runs */
};

/* clang-format off */
static const enum rule rules[CALL_COUNT][STATUS_COUNT] = {
	/*                        BUILD ACTIVE REBOOT ERROR SHUTDOWN PROMOTE EJECT DETACH BLOCKED */
	[CALL_CREATE_REPLICA] = { NO,   IDLE,  NO,    NO,   NO,      NO,     NO,   NO,    NO  },
	[CALL_RENAME]         = { YES,  YES,   YES,   YES,  YES,     YES,    YES,  YES,   YES },
	[CALL_DELETE]         = { YES,  YES,   YES,   YES,  YES,     YES,    YES,  YES,   YES }, /* again while it goes: no harm */
	[CALL_START]          = { NO,   NO,    YES,   YES,  NO,      NO,     NO,   NO,    NO  }, /* a word may precede the doubt */
	[CALL_ACTION]         = { NO,   IDLE,  NO,    NO,   NO,      NO,     NO,   NO,    NO  },
	[CALL_PROMOTE]        = { NO,   IDLE,  NO,    NO,   NO,      NO,     NO,   NO,    NO  },
	[CALL_EJECT]          = { NO,   YES,   YES,   YES,  NO,      YES,    YES,  NO,    NO  }, /* replaces what has not committed */
	[CALL_DETACH]         = { NO,   IDLE,  NO,    NO,   NO,      NO,     NO,   NO,    NO  },
	[CALL_CANCEL]         = { NO,   YES,   YES,   YES,  NO,      YES,    YES,  NO,    NO  },
	[CALL_ATTACH]         = { NO,   NO,    NO,    NO,   NO,      NO,     NO,   NO,    IDLE },
	[CALL_DURABILITY]     = { NO,   IDLE,  NO,    NO,   NO,      NO,     NO,   NO,    NO  },
	[CALL_DELETE_GROUP]   = { YES,  YES,   YES,   YES,  YES,     YES,    YES,  YES,   YES },
};
/* clang-format on */

static bool restarts(const struct group *g, const struct member *m)
{
	return g->op.kind == OP_RESTART && id_eq(g->op.target, m->id);
}

/* A change of the source is about every member, as in Trove. */
static enum status of_operation(const struct group *g)
{
	switch (g->op.kind) {
	case OP_HANDOVER:
		return STATUS_PROMOTE;
	case OP_EJECT:
		return g->op.phase == PHASE_EJECT_HELD ? STATUS_ACTIVE : STATUS_EJECT;
	case OP_DETACH:
		return STATUS_DETACH;
	case OP_NONE:
	case OP_CREATE:
	case OP_RESTART:
	case OP_KIND_COUNT:
		break;
	}
	return STATUS_ACTIVE;
}

static enum status status_find(const struct group *g, const struct member *m)
{
	switch (m->state) {
	case MEMBER_STARTING:
	case MEMBER_SYNCING:
		return STATUS_BUILD;
	case MEMBER_ACTIVE:
		return restarts(g, m) ? STATUS_REBOOT : of_operation(g);
	case MEMBER_ERROR:
		return STATUS_ERROR;
	case MEMBER_FENCED:
		return STATUS_BLOCKED;
	case MEMBER_DELETING:
		return STATUS_SHUTDOWN;
	case MEMBER_STATE_COUNT:
		break;
	}
	assert(false);
	return STATUS_ERROR;
}

const char *status_of(const struct group *g, const struct member *m)
{
	return status_names[status_find(g, m)];
}

static const char *running_status(const struct group *g, const struct member *m,
				  const struct observation *o)
{
	if (o->loading) {
		return "RESTARTING";
	}
	bool refuses_writes =
		id_eq(g->source, m->id) && (o->role != SERVER_ROLE_MASTER || o->disk_error);

	return o->guarded || refuses_writes ? "BLOCKED" : "HEALTHY";
}

const char *operating_status_of(const struct group *g, const struct member *m,
				const struct observation *o, bool silent)
{
	if (status_find(g, m) != STATUS_ACTIVE) {
		return "";
	}
	if (silent) {
		return "ERROR"; /* Trove's word for "nothing is known of it" */
	}
	if (o == NULL) {
		return ""; /* not known yet: the control plane has just started */
	}
	switch (o->proc) {
	case PROC_RUNNING:
		return running_status(g, m, o);
	case PROC_STARTING:
		return "RESTARTING";
	case PROC_HUNG:
		return "BLOCKED";
	case PROC_NONE:
	case PROC_EXITED:
	case PROC_FAILED:
	case PROC_DELETED:
	case PROC_STATE_COUNT:
		break;
	}
	return "SHUTDOWN";
}

static bool running_trouble(bool source, const struct observation *o,
			    const struct observation *source_o, char *buf, size_t size)
{
	if (source && o->disk_error) {
		snprintf(buf, size,
			 "Its server cannot write to its disk, and refuses writes until it can "
			 "(MISCONF). Make room, or promote one of its replicas: nothing that it "
			 "holds is lost by that.");
		return true;
	}
	/* It may copy again and again, and each copy costs the source as if it were needed. */
	if (!source && !o->link_up && !o->loading && source_o != NULL &&
	    o->disk_free_bytes < source_o->used_memory_bytes) {
		snprintf(buf, size,
			 "It has no link to its source, and its disk has %" PRId64
			 " bytes free where a copy may take %" PRId64
			 ". Make room: it goes on by itself then.",
			 o->disk_free_bytes, source_o->used_memory_bytes);
		return true;
	}
	return false;
}

bool status_trouble(const struct group *g, const struct member *m, const struct observation *o,
		    const struct observation *source_o, char *buf, size_t size)
{
	if (m->state != MEMBER_ACTIVE || o == NULL) {
		return false;
	}
	if (o->proc == PROC_RUNNING) {
		return running_trouble(id_eq(g->source, m->id), o, source_o, buf, size);
	}
	/* An operation that knows of it says what comes next. */
	if (o->proc == PROC_EXITED && o->error[0] != '\0' && g->op.kind == OP_NONE) {
		snprintf(buf, size, "Its server is gone: %s. It is started again by itself.",
			 o->error);
		return true;
	}
	return false;
}

static bool refuse(enum call_kind call, const struct group *g, const struct member *m,
		   enum status status, struct err *e)
{
	if (g->op.kind != OP_NONE) {
		const struct member *target = group_find(g, g->op.target);

		return err_set(e, ERR_UNPROCESSABLE,
			       "Instance %s is %s: cannot %s while the operation %s of instance %s "
			       "runs (phase %s). Try again when it has ended.",
			       id_text(m->id).s, status_names[status], call_texts[call],
			       op_kind_name(g->op.kind), target == NULL ? "" : target->name,
			       op_phase_name(g->op.phase));
	}
	return err_set(e, ERR_UNPROCESSABLE, "Instance %s is %s: cannot %s now.%s",
		       id_text(m->id).s, status_names[status], call_texts[call],
		       status == STATUS_BUILD   ? " Try again when it is ACTIVE."
		       : status == STATUS_ERROR ? " Its fault says what to do."
						: "");
}

/* What the store does not know of its hosts stands still until somebody decides. */
static const struct member *member_ahead_of_store(const struct group *g)
{
	for (size_t i = 0; i < g->nmembers; i++) {
		const struct member *m = &g->members[i];

		if (m->state == MEMBER_ERROR && m->fault.kind == FAULT_STORE) {
			return m;
		}
	}
	return NULL;
}

/* Replicas can be deleted at any time, but for the one that a handover is about. */
static bool is_about_to_serve(const struct group *g, const struct member *m)
{
	return g->op.kind == OP_HANDOVER && id_eq(m->id, g->op.target) &&
	       m->state != MEMBER_DELETING;
}

bool status_allows(enum call_kind call, const struct group *g, const struct member *m,
		   struct err *e)
{
	enum status status = status_find(g, m);
	enum rule rule = rules[call][status];
	size_t replicas = group_replica_count(g);

	if (rule == NO || (rule == IDLE && g->op.kind != OP_NONE)) {
		return refuse(call, g, m, status, e);
	}
	const struct member *ahead = member_ahead_of_store(g);

	if (rule == IDLE && ahead != NULL) {
		return err_set(e, ERR_UNPROCESSABLE,
			       "Instance %s: cannot %s while the store is older than the hosts of "
			       "its group: the fault of instance '%.64s' says what to do.",
			       id_text(m->id).s, call_texts[call], ahead->name);
	}
	if (call == CALL_DELETE && is_about_to_serve(g, m)) {
		return refuse(call, g, m, status, e);
	}
	if (call == CALL_DELETE && id_eq(m->id, g->source) && replicas > 0) {
		return err_set(e, ERR_FORBIDDEN,
			       "Instance %s is the source of %zu replica%s: detach or delete its "
			       "%zu replica%s first.",
			       id_text(m->id).s, replicas, replicas == 1 ? "" : "s", replicas,
			       replicas == 1 ? "" : "s");
	}
	return true;
}
