/*
 * What may happen to a node or its host. When it happens, and to whom, is chance (chaos.c).
 */
#pragma once

#include "sim.h"

/* One of the table; does nothing with SIM_NOBODY. */
void misfortune_any(struct world *w, int node);

void misfortune_kill(struct world *w, int node);
void misfortune_isolate(struct world *w, int node);
void misfortune_slow_down(struct world *w, int node);
/* A server that stands still goes on. */
void misfortune_continue(struct world *w, int node);

void host_lose_power(struct world *w, int host, int64_t until_ms);
/* Comes up again, or ends its shutdown. */
void host_tick(struct world *w, int host);
