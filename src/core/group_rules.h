/*
 * What the files of group_step() share: the step in the making, and the few ways in which a rule
 * may change a record. A rule looks, makes at most one change, and says whether it did; the first
 * change ends the step. Private to core/group*.c.
 */
#pragma once

#include "base/macros.h"
#include "core/group.h"

struct step {
	struct group *g;
	struct group_live *live;
	const struct group_in *in;
	struct group_out *out;
};

/* The newest observation of member i; NULL when not heard, or its agent is silent. */
const struct observation *step_obs(const struct step *s, size_t i);
/* The index of the member, or nmembers. */
size_t step_index(const struct step *s, struct id id);

/* Adds an event (m NULL: about the group) with its sentence. By itself no change of the record. */
void step_event(struct step *s, enum event_kind kind, const struct member *m, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
/* Figures of the event just added: "name=value name=value". */
void step_figures(struct step *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

void step_enter_state(struct step *s, size_t i, enum member_state state);
/* ERROR with this fault, and the event that says so. */
void step_fail(struct step *s, size_t i, enum fault_kind kind, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
void step_clear_fault(struct step *s, size_t i);

void step_begin_op(struct step *s, enum op_kind kind, enum op_phase phase, struct id target);
/* Asserts that the table of phases has this way out of the present one. */
void step_enter_phase(struct step *s, enum op_phase next);
void step_end_op(struct step *s);

/* A new reign of the source, at the present epoch; replid may be unknown yet. */
void step_push_history(struct step *s, const struct replid *replid, int64_t start);

/* Call again at this point in time, if it is still to come. */
void step_wake(struct step *s, int64_t at_ms);

/* The newest replication id of the canonical history that is known; unknown when none is. */
struct replid step_current_replid(const struct step *s);

/* A server that answers and has loaded its data. o may be NULL. */
bool server_ready(const struct observation *o);

/* core/group_member.c: what an observation means for a member in its state. */
bool rule_member(struct step *s, size_t i);
/* ERROR with the server's own words for why it does not start; ends the operation about it. */
void member_fail_start(struct step *s, size_t i, const struct observation *o);
/* Samples and progress of first copies: live only, never a change. */
void member_follow_copies(struct step *s);

/* core/group_restart.c: a source whose server is not the run that the record names. */
/* Asks the replicas for fresh figures while they are needed: live only, never a change. */
void restart_ask_replicas(struct step *s);
bool rule_restart(struct step *s);
