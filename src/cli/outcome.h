/*
 * Following a change of who is the source to its end, and telling how it ended. The change is an
 * operation of the group, so any member's record shows it; after an eject the one that was asked is
 * in a group of its own, and it is the others who know.
 */
#pragma once

#include "cli/cli.h"
#include "cli/news.h"

/* X(NAME, "what the API calls its operation") */
#define CHANGES(X)                              \
	X(HANDOVER, "handover")                 \
	X(EJECT, "eject")                       \
	X(DETACH, "detach")                     \
	X(CANCEL, "") /* of whatever runs: it is done when that was not */

#define CHANGE_ENUM(name, operation) CHANGE_##name,
enum change { CHANGES(CHANGE_ENUM) CHANGE_COUNT };
#undef CHANGE_ENUM

enum { OUTCOME_MEMBERS_MAX = 64 };

struct outcome {
	struct cli *c;
	enum change change;
	struct id_text asked; /* the instance that the request is sent to */
	struct id_text members[OUTCOME_MEMBERS_MAX]; /* of its group, the asked one last */
	size_t nmembers;
	char name[256 * 4];        /* of the asked one; 255 characters */
	char group[ID_TEXT_BYTES]; /* of a detach the one that it leads to: "" until it is seen */
	char before[ID_TEXT_BYTES]; /* operation that had ended last when we began */
	char ours[ID_TEXT_BYTES];   /* the operation that we follow; "": not seen yet */
	int64_t limit_s;
	struct news news;
};

/*
 * Before the request is sent: notes how things stand, so that the operation which the request
 * begins is told from an earlier one. ERR_IO: the server tells nothing of operations.
 */
[[nodiscard]] bool outcome_begin(struct cli *c, enum change change, const struct id_text *asked,
				 struct outcome *ret, struct err *e);

/*
 * After it was accepted: waits with --timeout and progress on stderr, then prints the reason it
 * ended with. ERR_CONFLICT: it did not do what was asked, and the reason is the message;
 * ERR_TIMEOUT: the limit came first, and things go on.
 */
[[nodiscard]] bool outcome_wait(struct outcome *o, struct err *e);
