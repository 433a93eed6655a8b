/*
 * The canonical history of a group: whose stream named its data, from which byte on. It tells
 * whether what a member holds is a prefix of the group's data, and which of two members holds
 * more. (DESIGN.md 5, REDIS.md 3.1 and 4a.)
 *
 * A reign is one entry. A promotion goes on counting where the promoted server stood: its entry
 * starts at that offset + 1, and it belongs to the same family as the reign before. A start from
 * an AOF begins anew at 0: a break. Offsets compare within one unbroken family and nowhere else.
 *
 * So whoever pushes an entry for a server that did not stand in the current family gives it the
 * start 0; a start above 0 says "a prefix of what was before, up to here".
 *
 * A source that was demoted and promoted back has a new id and no rival: that entry is of the same
 * source as the one before it, an undo. Until its id is known its start is where it is at the
 * latest.
 */
#pragma once

#include "core/observation.h"

struct history {
	const struct history_entry *entries; /* oldest first; borrowed */
	size_t n;
};

struct history history_of(const struct group *g); /* borrows from g */

/* Where a server stands, as INFO says it since 4.0. */
struct history_position {
	struct replid replid;
	int64_t offset; /* bytes of the stream it holds: the number of the last one; -1: not told */
	struct replid replid2;
	int64_t second_offset; /* replid2 is valid below it; -1: none */
};

struct history_position history_position_of(const struct observation *o);

/* X(NAME, "name", "what it means") */
#define HISTORY_VERDICTS(X)                                                                     \
	X(CANONICAL, "canonical", "its data are a prefix of the group's")                       \
	X(EARLIER, "earlier",                                                                   \
	  "its data are a prefix of what the group had before a break; its offset says nothing now") \
	X(DIVERGED, "diverged", "it holds bytes that the group does not have")                  \
	X(UNKNOWN, "unknown", "what it says of itself does not tell")

#define HISTORY_VERDICT_ENUM(name, text, meaning) HISTORY_##name,
enum history_verdict { HISTORY_VERDICTS(HISTORY_VERDICT_ENUM) HISTORY_VERDICT_COUNT };
#undef HISTORY_VERDICT_ENUM

const char *history_verdict_name(enum history_verdict v);

struct history_finding {
	enum history_verdict verdict;
	uint64_t epoch;  /* of the reign that its replid names; 0: none, or not known which */
	uint64_t family; /* epoch that its unbroken family began with; 0: likewise */
	int64_t shared;  /* up to here its bytes are the current family's; -1: not known */
	char why[200];   /* a sentence with the figures, without the member's name */
};

struct history_finding history_judge(const struct history *h, const struct history_position *p);

/* a against b. INCOMPARABLE unless both are known to be prefixes of the same family. */
enum history_order { HISTORY_BEHIND, HISTORY_EQUAL, HISTORY_AHEAD, HISTORY_INCOMPARABLE };

enum history_order history_compare(const struct history *h, const struct history_position *a,
				   const struct history_position *b);

/*
 * The number of the last byte of reign i that the group still has; INT64_MAX while it is open. A
 * reign ends where the next one of its family starts, or earlier: where a later source started
 * that had less.
 */
int64_t history_end(const struct history *h, size_t i);

/* A new reign of g's source, at g's epoch. Drops the oldest entry when there are too many. */
void history_push(struct group *g, const struct replid *replid, int64_t start);

/*
 * Ids of pending entries, as far as the positions of servers that are no masters tell them
 * beyond doubt; see history_find_pending().
 */
void history_fill(struct history_entry *entries, size_t n, const struct history_position *all,
		  size_t nall);

/*
 * The entry without a known id whose stream this position must be in: the server's second id is
 * the one before it, and it changed ids exactly where the entry starts. For filling in the id when
 * the promoted server died before it could tell. False: there is none, or more than one.
 */
[[nodiscard]] bool history_find_pending(const struct history *h, const struct history_position *p,
					size_t *ret);
