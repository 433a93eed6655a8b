/*
 * Trove's words for what is: `status`, `operating_status`, and which call is allowed when.
 */
#pragma once

#include "base/err.h"
#include "core/model.h"
#include "core/observation.h"

/* "BUILD", "ACTIVE", "REBOOT", "ERROR", "SHUTDOWN", ...: CONTRACT.md 2.4. */
const char *status_of(const struct group *g, const struct member *m);

/*
 * "" unless status is ACTIVE; then HEALTHY, or what the newest observation says: SHUTDOWN,
 * BLOCKED, RESTARTING, ERROR (agent silent). o may be NULL: "" while the agent has time to report.
 */
const char *operating_status_of(const struct group *g, const struct member *m,
				const struct observation *o, bool silent);

/*
 * What somebody should see to, though the record of an ACTIVE member holds no fault: in words, in
 * buf. False: nothing. o and source_o (the source's) may be NULL.
 */
bool status_trouble(const struct group *g, const struct member *m, const struct observation *o,
		    const struct observation *source_o, char *buf, size_t size);

/* X(NAME, "what the message calls it") */
#define CALLS(X)                                   \
	X(CREATE_REPLICA, "create a replica of it") \
	X(RENAME, "rename it")                     \
	X(DELETE, "delete it")                     \
	X(START, "start it")                       \
	X(ACTION, "carry out an action on it")     \
	X(PROMOTE, "promote it")                   \
	X(EJECT, "eject it")                       \
	X(DETACH, "detach it")                     \
	X(CANCEL, "cancel what runs")              \
	X(ATTACH, "attach it")                     \
	X(DURABILITY, "change its durability")     \
	X(DELETE_GROUP, "delete its group")

#define CALL_ENUM(name, text) CALL_##name,
enum call_kind { CALLS(CALL_ENUM) CALL_COUNT };
#undef CALL_ENUM

/* True when the call is allowed now; else *e has Trove's status and says what runs (one table). */
[[nodiscard]] bool status_allows(enum call_kind call, const struct group *g, const struct member *m,
				 struct err *e);
