/*
 * Names of what an observation says, in both directions.
 */
#include "core/observation.h"

#include <assert.h>

#include "base/macros.h"
#include "core/names.h"

/* clang-format off */
static const char *const proc_names[] = {
	[PROC_NONE] = "none",
	[PROC_STARTING] = "starting",
	[PROC_RUNNING] = "running",
	[PROC_EXITED] = "exited",
	[PROC_FAILED] = "failed",
	[PROC_HUNG] = "hung",
	[PROC_DELETED] = "deleted",
};
/* clang-format on */
static_assert(ARRAY_LEN(proc_names) == PROC_STATE_COUNT);

/* The words the server itself uses for its role are "master" and "slave"; ours for the second. */
/* clang-format off */
static const char *const role_names[] = {
	[SERVER_ROLE_UNKNOWN] = "unknown",
	[SERVER_ROLE_MASTER] = "master",
	[SERVER_ROLE_REPLICA] = "replica",
};
/* clang-format on */

/* clang-format off */
static const char *const marker_names[] = {
	[MARKER_UNKNOWN] = "unknown",
	[MARKER_NEW] = "new",
	[MARKER_INTACT] = "intact",
	[MARKER_REBOOTED] = "rebooted",
	[MARKER_DIFFERENT] = "different",
	[MARKER_MISSING] = "missing",
};
/* clang-format on */
static_assert(ARRAY_LEN(marker_names) == MARKER_VERDICT_COUNT);

const char *proc_state_name(enum proc_state s)
{
	return proc_names[s];
}

const char *server_role_name(enum server_role r)
{
	return role_names[r];
}

const char *marker_verdict_name(enum marker_verdict v)
{
	return marker_names[v];
}

bool proc_state_parse(const char *s, enum proc_state *ret)
{
	size_t i = names_find(proc_names, ARRAY_LEN(proc_names), s);

	if (i == ARRAY_LEN(proc_names)) {
		return false;
	}
	*ret = (enum proc_state)i;
	return true;
}

bool server_role_parse(const char *s, enum server_role *ret)
{
	size_t i = names_find(role_names, ARRAY_LEN(role_names), s);

	if (i == ARRAY_LEN(role_names)) {
		return false;
	}
	*ret = (enum server_role)i;
	return true;
}

bool marker_verdict_parse(const char *s, enum marker_verdict *ret)
{
	size_t i = names_find(marker_names, ARRAY_LEN(marker_names), s);

	if (i == ARRAY_LEN(marker_names)) {
		return false;
	}
	*ret = (enum marker_verdict)i;
	return true;
}
