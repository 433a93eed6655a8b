/*
 * elect_pick(): which replica is to be the source, now that the old one is gone. The longest
 * prefix of the canonical history wins, so that the winner has every byte that any other eligible
 * one has; the specification's figure and the operator's wishes decide between equals. (DESIGN.md
 * 5 "Eject", REDIS.md 4a and 4c.)
 *
 * Durability bounded(k): a client that used WAIT k has its write on k of R replicas. With S of
 * them sealed, at least one has it when S + k > R, and then so has the winner. R counts every
 * replica that may hold an acknowledged write, the unheard ones too; S the sealed ones whose data
 * the winner is known to have.
 */
#pragma once

#include "core/history.h"
#include "core/versions.h"

enum {
	ELECT_NOBODY = MODEL_MEMBERS_MAX, /* in place of an index */
	ELECT_NO_LOSS_LIMIT = -1,         /* durability async: what the source had not sent is lost */
	ELECT_PRIORITY = 100,             /* of who has none of its own; 0: never to be promoted */
};

/* How much a reason weighs: whether the operator may overrule it with accept_data_loss. */
enum elect_weight { ELECT_HARD, ELECT_SOFT };

/*
 * Why somebody is not eligible, in the order of the checks: the first that holds is told. The hard
 * ones come first, so who is told a soft one has no hard one.
 *
 * X(NAME, weight, "name", "sentence")
 */
#define ELECT_WHYS(X)                                                                           \
	X(ELIGIBLE, HARD, "eligible", "it is eligible")                                         \
	X(UNHEARD, HARD, "unheard", "it has not been heard")                                    \
	X(DELETING, HARD, "deleting", "it is being deleted")                                    \
	X(DOWN, HARD, "down", "its server does not run")                                        \
	X(LOADING, HARD, "loading", "its server loads its data")                                \
	X(NOT_REPLICA, HARD, "not-replica", "its server is not a replica")                      \
	X(SYNCING, HARD, "syncing", "a copy is under way: its data are not whole")            \
	X(UNSEALED, HARD, "unsealed", "it is not sealed: its figures are not final") \
	X(DIVERGED, HARD, "diverged", "it holds bytes that the group does not have")            \
	X(PRIORITY, HARD, "priority", "its priority is 0: it is never to be promoted")          \
	X(STRANDS, HARD, "strands", "other members could not copy from its version")            \
	X(UNATTACHED, SOFT, "unattached", "it was never seen to hold all of the source's data") \
	X(OFFSETS, SOFT, "offsets",                                                             \
	  "its two offsets differ: a copy was broken off, its data may be gone")                \
	X(EARLIER, SOFT, "earlier", "its data are from before the source's stream began anew")  \
	X(UNKNOWN, SOFT, "unknown", "it does not tell whether its data are the group's")        \
	X(DISK, SOFT, "disk", "its disk fails or is full")

#define ELECT_WHY_ENUM(name, weight, text, sentence) ELECT_WHY_##name,
enum elect_why { ELECT_WHYS(ELECT_WHY_ENUM) ELECT_WHY_COUNT };
#undef ELECT_WHY_ENUM

const char *elect_why_name(enum elect_why w);
const char *elect_why_text(enum elect_why w);

/*
 * What decides between two: the first that differs, in this order; `keys` in the last resort only.
 * X(NAME, "name", "the better one ..")
 */
#define ELECT_BYS(X)                                                       \
	X(NOTHING, "nothing", "is the only one to choose from")            \
	X(KEYS, "keys", "has more keys")                                   \
	X(OFFSET, "offset", "has the higher offset")                       \
	X(DURABLE, "durable", "has all its data on disk")                  \
	X(LAST_IO, "last-io", "heard the source later")                    \
	X(PRIORITY, "priority", "has the lower priority number")           \
	X(ZONE, "zone", "is in the preferred zone")                        \
	X(AGE, "age", "is older")                                          \
	X(ID, "id", "has the lower id")

#define ELECT_BY_ENUM(name, text, sentence) ELECT_BY_##name,
enum elect_by { ELECT_BYS(ELECT_BY_ENUM) ELECT_BY_COUNT };
#undef ELECT_BY_ENUM

const char *elect_by_name(enum elect_by b);

enum elect_verdict {
	ELECT_WINNER,         /* commit it */
	ELECT_NONE,           /* nobody, whatever the operator accepts */
	/*
	 * `winner` only with accept_data_loss: data are known to be lost, those of a whole member
	 * that is there, has more and may not be promoted, say.
	 */
	ELECT_WOULD_LOSE,
	ELECT_TOO_FEW_SEALED, /* `winner` only with accept_data_loss: S + k > R does not hold */
	ELECT_VERDICT_COUNT,
};

const char *elect_verdict_name(enum elect_verdict v);

/*
 * A replica of the group. Not heard: only name, id, member's flags and `may_hold` count.
 * Figures are those read after the seal (before 4.0, where a seal erases them: after the drain).
 */
struct elect_candidate {
	struct id id;
	const char *name; /* borrowed */
	int64_t created_wall_ms;
	bool deleting;
	bool attached_once;
	/*
	 * It may hold a write that a client was told of: counts as one of R. All but those that
	 * have surely never had a copy.
	 */
	bool may_hold;
	struct server_version version;
	bool version_known;

	bool heard;
	bool sealed; /* as of this epoch's seal, or in a dry run: would be */
	bool running, loading, syncing;
	enum server_role role;
	struct history_position at;
	int64_t slave_offset; /* -1: not told */
	int64_t keys;
	bool durable;
	int32_t last_io_now_s; /* as INFO shows it now; -1: link down */
	int32_t last_io_s;     /* the last one >= 0, from before the link fell; -1: none remembered */

	int32_t priority;
	bool preferred_zone; /* that of the old source, or whatever the caller prefers */
	bool disk_error;
};

/* What member and observation do not say. */
struct elect_beside {
	bool sealed;
	bool fresh; /* o is from after the seal; an older one proves nobody empty */
	int32_t last_io_s;
	int32_t priority;
	bool preferred_zone;
	bool disk_error;
};

/* o NULL: its agent is silent. Borrows m's name. */
struct elect_candidate elect_candidate_of(const struct member *m, const struct observation *o,
					  const struct elect_beside *beside);

struct elect_in {
	const struct elect_candidate *candidates; /* every member but the one that is gone */
	size_t n;                                 /* at most MODEL_MEMBERS_MAX */
	struct history history; /* pending ids filled in where a candidate tells them */
	/* Durability: a write is known to be on k of R replicas; k may be 0 for a while. */
	bool bounded; /* false: async, nobody is counted */
	uint32_t k;
	struct history_position source; /* the last known of the old source; offset -1: unknown */
	/* More known loss than this needs the operator's word; ELECT_NO_LOSS_LIMIT: none does. */
	int64_t loss_limit_bytes;
	bool accept_data_loss;
};

struct elect_view {
	enum elect_why why;
	int64_t offset; /* its position, in whatever history it is; -1: unknown */
};

struct elect_out {
	enum elect_verdict verdict;
	size_t winner;    /* an index, as all below; ELECT_NOBODY with ELECT_NONE */
	size_t runner_up; /* ELECT_NOBODY: it was the only one */
	enum elect_by by; /* what the winner was preferred to the runner-up by */
	/*
	 * Nobody is eligible: the winner is taken from those with soft reasons only, the one with
	 * the most keys, because their offsets prove little.
	 */
	bool last_resort;
	bool accepted; /* ELECT_WINNER only because of accept_data_loss */
	bool durable;  /* the winner's data survive a restart of its server */
	/*
	 * Known to be written and not on the winner: the old source's last known offset, or that
	 * of a member that may not be promoted (`ahead`), less the winner's. -1: not known.
	 */
	int64_t loss_bytes;
	size_t ahead;
	size_t sealed, replicas; /* S and R; 0 with ELECT_NONE */
	/* `start` of the winner's history entry: its offset + 1; 0 where it begins a family anew. */
	int64_t history_start;
	/*
	 * What the specification's rule alone would have taken: the smallest
	 * master_last_io_seconds_ago as shown now, -1 included. spec_ties: how many show it.
	 */
	size_t spec_choice, spec_ties;
	struct elect_view of[MODEL_MEMBERS_MAX]; /* per candidate */
};

/* Does not depend on the order of the candidates. */
void elect_pick(const struct elect_in *in, struct elect_out *out);

/*
 * A sentence about the whole, for the event, the error and the dry run: who and why, what it
 * costs, what the specification's rule alone would have taken. Cut to size; 320 bytes hold it when
 * names are short. Returns buf.
 */
const char *elect_reason(const struct elect_in *in, const struct elect_out *out, char *buf,
			 size_t size);

/* One line about candidate i with all its figures; likewise. */
const char *elect_explain(const struct elect_in *in, const struct elect_out *out, size_t i,
			  char *buf, size_t size);
