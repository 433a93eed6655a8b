/*
 * Goals of a host's instances, made from the records and the settings whenever they are asked for.
 */
#pragma once

#include "server/registry.h"

/* As reconcile_goals(). */
void goals_collect(struct registry *r, const char *host, uint64_t after, struct arena *a,
		   struct wire_goals *ret);
