/*
 * The marker of an engine, in the model's terms: when it is renewed, and what it says of the files
 * that a start finds (src/agent/keeper.c, marker_files.c, act_start.c).
 */
#pragma once

#include "sim_agent.h"

struct node;

/* After each look at a running server. */
void marker_observed(struct world *w, int node);
/* The write that was begun is on the disk now. */
void marker_written(struct world *w, int node);
/* No server: true while something is being written. */
bool marker_must_wait(struct world *w, int node);
/* Judges the files before a start, and for a guarded one keeps the verdict. */
void marker_judge_start(struct world *w, int node, struct start_mode mode);
bool marker_rdb_usable(const struct node *n);
