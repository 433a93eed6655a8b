/*
 * How operations begin: a user's request against the record and what is known of the servers now.
 * Each function either changes the record that it is given (the caller commits it, with the event)
 * or refuses with a sentence that says what is in the way; then nothing was changed. Whether the
 * instance's status allows the call at all is core/status.h's to say, before.
 */
#pragma once

#include "core/elect.h"
#include "core/group.h"

/* What the control plane itself heard when it knocked at the source's address. */
enum probe_answer {
	PROBE_NOT_MADE, /* its agent is heard: nobody needs to ask */
	PROBE_ANSWERS,  /* anything at all, an error too */
	PROBE_SILENT,   /* refused, or nothing within the limit */
};

struct operate_in {
	const struct observation *const *obs; /* per member, NULL: not heard */
	const bool *silent;                   /* per member */
	const struct group_live *live;
	struct id op;                         /* an unused id */
	int64_t now_ms, wall_ms;
};

/* election.c */

/* What an election now would say: for the rules, and for the dry run. */
struct election {
	struct elect_candidate candidates[MODEL_MEMBERS_MAX];
	struct history_entry history[MODEL_HISTORY_MAX + 1]; /* with pending ids filled in */
	struct elect_in in;                                  /* points into the two above */
	struct elect_out out;
};
enum election_kind {
	ELECTION_SEALED,  /* counts who is sealed at the group's epoch */
	ELECTION_DRY_RUN, /* counts who could be sealed */
};
void election_hold(const struct group *g, const struct operate_in *in, enum election_kind kind,
		   bool accept_data_loss, struct election *ret);

/* How far apart two looks at a replica's offset are that tell whether it stands still. */
enum { ELECTION_STILL_MS = 50 };

struct election_clock {
	int64_t now_ms;
	uint64_t fresh_watch; /* an unused watch number */
};

/*
 * Has member i, as far as it can ever win, applied all that it had received? o: its newest
 * observation, NULL when it is not heard. Remembers in live what it saw, and asks again there;
 * call again 50 ms later at the latest.
 */
bool election_drained(const struct group *g, struct group_live *live, size_t i,
		      const struct observation *o, const struct election_clock *c);

/* Are member i's figures final: does it follow nobody, as this epoch's seal asks? */
bool election_sealed(const struct group *g, const struct group_live *live, size_t i,
		     const struct observation *o);

/* operate.c */

/*
 * The instance is to be the source. ERR_INVALID: it is the source already (Trove's text).
 * ERR_UNPROCESSABLE: it could not take over: never attached, not linked, would strand a member
 * that cannot load its RDB (versions), its disk fails, ...
 */
[[nodiscard]] bool operate_handover(struct group *g, const struct operate_in *in, struct id target,
				    struct group_event *ret, struct err *e);

/*
 * Takes back what runs, when it has not committed yet: a handover, or an eject (then the source
 * goes on, if it can). ERR_UNPROCESSABLE: nothing runs, or it has committed.
 */
[[nodiscard]] bool operate_cancel(struct group *g, const struct operate_in *in,
				  struct group_event *ret, struct err *e);

/* operate_eject.c */

/*
 * The source is to be replaced. *ret_again: this eject runs already, there is nothing to commit.
 * ERR_INVALID (Trove's status): it lives, with the evidence in the message; or it is no source, or
 * has no replicas. ERR_UNPROCESSABLE: no proof of death, and neither durability nor
 * accept_data_loss; or a change that has committed must end first.
 */
[[nodiscard]] bool operate_eject(struct group *g, const struct operate_in *in, struct id source,
				 enum probe_answer probe, bool accept_data_loss, bool *ret_again,
				 struct group_event *ret, struct err *e);

/* Is the source's own agent silent, so that somebody else must knock before operate_eject()? */
bool operate_needs_probe(const struct group *g, const struct operate_in *in);

enum source_state {
	SOURCE_LIVES, /* holds all that it acknowledged, and takes writes or could at once */
	SOURCE_HANGS, /* its agent kills it first: it may wake up and take writes */
	SOURCE_GONE,  /* cannot take a write unless the control plane says so */
};
/* What its own agent's newest word means, be the agent silent since. */
enum source_state operate_source_state(const struct group *g, const struct observation *o);

/*
 * The eject that runs and has not committed is taken back: at a new epoch the members follow the
 * source again, and it goes on as far as it can. Ends no operation: the caller does.
 */
void operate_undo_eject(struct group *g, const struct operate_in *in);

/* operate_durability.c */

/* What the group's durability does and does not promise, with the replicas it has. Returns buf. */
enum { OPERATE_PROMISE_BYTES = 800 };
const char *operate_promise(const struct group *g, char *buf, size_t size);

/*
 * 0: async. ERR_INVALID: more than there are replicas. The new operate_promise() in buf. The
 * guarantee is never lost half-way: elections count with the weaker of the old and the new one
 * until every replica holds what was acknowledged under the old one.
 */
[[nodiscard]] bool operate_durability(struct group *g, const struct operate_in *in, uint32_t k,
				      struct group_event *ret, char *buf, size_t size,
				      struct err *e);

/* operate_detach.c */

/* Two records that are committed together: arrays of their own, strings of the originals. */
struct operate_pair {
	struct group from; /* what is left of the group; nmembers 0: the record goes */
	struct group to;   /* the other group: new (revision 0), or the one that is joined */
	struct member from_members[MODEL_MEMBERS_MAX], to_members[MODEL_MEMBERS_MAX];
	struct history_entry from_history[MODEL_HISTORY_MAX + 1], to_history[MODEL_HISTORY_MAX + 1];
};

/*
 * The replica leaves into a group of its own, at a higher epoch. ERR_INVALID: it is no replica
 * (Trove's text). ERR_UNPROCESSABLE: it never held the whole data, or is not heard.
 */
[[nodiscard]] bool operate_detach(const struct group *g, const struct operate_in *in,
				  struct id replica, struct id fresh_group, const char *fresh_name,
				  struct operate_pair *ret, struct group_event *ret_event,
				  struct err *e);

/*
 * An ejected source, alone in its group, becomes a replica of another group; what it holds and the
 * others do not is given up. ERR_INVALID: other datastore, a version that could not load the
 * source's RDB, another project, or it is the source's own group. ERR_UNPROCESSABLE: it is not
 * heard, or something runs there. `in` is about `from`. The epoch of `to` is raised above the
 * leaving group's: the agent refuses a lower one.
 */
[[nodiscard]] bool operate_attach(const struct group *from, const struct group *to,
				  const struct operate_in *in, struct id instance,
				  struct operate_pair *ret, struct group_event *ret_event,
				  struct err *e);

/* Every member is to go. ERR_UNPROCESSABLE while a change of source has committed and not ended. */
[[nodiscard]] bool operate_delete_group(struct group *g, const struct operate_in *in,
					struct group_event *ret, struct err *e);
