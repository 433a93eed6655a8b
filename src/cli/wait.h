/*
 * Following instances until they are what was asked for. Changes are learned from the API's event
 * stream, whose requests are held until there is news; where it is not to be had, by asking twice
 * a second.
 */
#pragma once

#include "cli/cli.h"

enum wait_for {
	WAIT_ACTIVE, /* ACTIVE; ERROR ends it in failure */
	WAIT_GONE,   /* the API does not know it any more */
};

enum { WAIT_IDS_MAX = 1000, WAIT_SECONDS = 600 };

/*
 * Waits for all n, with --timeout (default WAIT_SECONDS) for all together, and shows progress on
 * stderr. A server that is away for a moment is waited for. ERR_CONFLICT: some ended in ERROR
 * (their faults have been shown); ERR_TIMEOUT: the limit came first, and things go on.
 */
[[nodiscard]] bool wait_for_instances(struct cli *c, const struct id_text *ids, size_t n,
				      enum wait_for what, struct err *e);
