/*
 * Parameters of a URL's query that are numbers.
 */
#pragma once

#include "server/api.h"

/*
 * Leaves *ret alone when the parameter is missing; a number in [0, max] else, or ERR_INVALID with
 * its name and range. Before any wait only: the request must be there.
 */
[[nodiscard]] bool query_number(const struct call *c, const char *name, uint64_t max, uint64_t *ret,
				struct err *e);

/* The longest that a call may be held by `wait`, in seconds: below what proxies allow. */
enum { QUERY_WAIT_MAX_S = 55 };
