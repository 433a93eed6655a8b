/*
 * What the files of group_step() share: the step in the making, and the few ways in which a rule
 * may change a record. A rule looks, makes at most one change, and says whether it did; the first
 * change ends the step. Private to core/group*.c.
 */
#pragma once

#include "base/macros.h"
#include "core/group.h"

enum op_end { OP_NOT_DONE, OP_DONE };

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
/* It leaves the record; what is remembered of the others moves along. */
void step_remove_member(struct step *s, size_t i);
/* ERROR with this fault, and the event that says so. */
void step_fail(struct step *s, size_t i, enum fault_kind kind, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
void step_clear_fault(struct step *s, size_t i);

void step_begin_op(struct step *s, enum op_kind kind, enum op_phase phase, struct id target);
/* Asserts that the table of phases has this way out of the present one. */
void step_enter_phase(struct step *s, enum op_phase next);
void step_end_op(struct step *s);

/* core/group_phases.c: does the table have this way out? */
bool phase_leads_to(enum op_phase from, enum op_phase to);
/* The limit of the present phase, as the table has it. */
int64_t step_phase_limit_ms(const struct step *s);

/* " ms=12": how long the present phase took; "" when it began before this control plane did. */
struct phase_took {
	char s[32];
};
struct phase_took step_took(const struct step *s);

/* A new reign of the source, at the present epoch; replid may be unknown yet. */
void step_push_history(struct step *s, const struct replid *replid, int64_t start);

/* Call again at this point in time, if it is still to come. */
void step_wake(struct step *s, int64_t at_ms);

/* The newest replication id of the canonical history that is known; unknown when none is. */
struct replid step_current_replid(const struct step *s);

/*
 * The newest observation of member i that answers what the operation asked in this phase: whatever
 * it says was so after the phase was committed. NULL: not yet, or silent.
 */
const struct observation *step_fresh(const struct step *s, size_t i);

/* Operations that decide on what all members say after each phase was committed. */
bool op_is_watched(enum op_kind k);
/* What was seen of an earlier operation's course. */
void step_forget_course(struct group_live *l);

/* Is the present phase older than this? Sees to it that the step is called again then. */
bool step_waited(struct step *s, int64_t limit_ms);

/* How the operation ended, for the record: call before step_end_op(). */
void step_outcome(struct step *s, enum op_end end, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* A server that answers and has loaded its data. o may be NULL. */
bool server_ready(const struct observation *o);

/* Its server is gone, or another run than this one: whatever was agreed with it is void. */
bool server_lost(const struct observation *o, const struct replid *run);

/* Is this a replica of m's server, with the whole of its data behind the link? o may be NULL. */
bool server_linked_to(const struct observation *o, const struct member *m);

/* core/group_member.c: what an observation means for a member in its state. */
bool rule_member(struct step *s, size_t i);
/* ERROR with the server's own words for why it does not start; ends the operation about it. */
void member_fail_start(struct step *s, size_t i, const struct observation *o);
/* Is it a replica of the source as of this epoch, with its data? o may be NULL. */
bool member_follows(const struct step *s, size_t i, const struct observation *o);
/* Samples and progress of first copies: live only, never a change. */
void member_follow_copies(struct step *s);

/* core/group_promote.c: what handover and eject share, from the point of no return on. */
struct promotion {
	size_t winner;       /* index of the member that is to be the source; it has been seen */
	int64_t start;       /* of its entry of the history: see core/history.h */
	enum op_phase phase; /* HANDOVER_PROMOTE or EJECT_PROMOTE */
	bool split_old;      /* the old source leaves, fenced, into a group of its own */
	const char *reason;  /* a sentence for the event */
};
/*
 * Epoch + 1, source = winner, a pending entry of the history, the phase; with split_old the record
 * of the old source's own group in s->out. Indexes of members change then.
 */
void promote_commit(struct step *s, const struct promotion *p);
/* The phases *_PROMOTE. True also when the step is to end here. */
bool rule_promoted(struct step *s);
/* core/group_tidy.c: the phases *_TIDY, and HANDOVER_DROP. */
bool rule_tidy(struct step *s);
/*
 * The source is seen as the master that it was committed to be: its id goes into the newest entry
 * of the history, and the byte its stream begins with is put right. An entry for a source that was
 * taken back goes when it turns out that it never was a replica. False: nothing to be done, or the
 * source is not seen so.
 */
bool promote_fill_history(struct step *s);

/* core/group_handover.c: up to the commit, and the undo. */
bool rule_handover(struct step *s);

/* core/group_eject.c: up to the commit. */
bool rule_eject(struct step *s);
/* core/group_durability.c: are there as many copies of every acknowledged write as asked for? */
bool rule_durability(struct step *s);
/* core/group_detach.c */
bool rule_detach(struct step *s);

/* core/group_restart.c: a source whose server is not the run that the record names. */
/* Asks the replicas for fresh figures while they are needed: live only, never a change. */
void restart_ask_replicas(struct step *s);
bool rule_restart(struct step *s);
