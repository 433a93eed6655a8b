/*
 * One look of an engine, in the model's terms (src/agent/probe.c): from the server to the
 * observation that is decided on and told.
 */
#pragma once

#include "sim_agent.h"

/* It has a process, which may not answer. */
void probe_server(struct world *w, int node);
void probe_no_server(struct world *w, int node);
/* All but who it is and which goal is in force: as of a server that was never asked. */
void engine_clear_figures(struct observation *o);
