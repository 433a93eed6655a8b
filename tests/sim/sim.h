/*
 * Groups of servers, their hosts, agents, control plane, network, clients and operator, in one
 * thread and in virtual time. What decides is the real core (group_step, instance_step, goal_of,
 * guard_decide, operate_*); everything it meets is modelled in sim_*.c. A seed is a history: the
 * same seed is the same history, event for event.
 *
 * Time is a number of milliseconds that jumps to whatever happens next. A tick is one such jump;
 * the invariants are checked at every one (invariants.c).
 */
#pragma once

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "core/model.h"

enum {
	SIM_NODES = 6,         /* instances that one history may create */
	SIM_HOSTS = 4,         /* node i lives on host i % SIM_HOSTS */
	SIM_PLANE = SIM_HOSTS, /* the control plane, as a party of the network */
	SIM_PARTIES = SIM_HOSTS + 1,
	SIM_NOBODY = -1,
	SIM_NEVER = INT32_MAX,
};

/* Limits of the histories, shorter than the product's defaults: less time to simulate. */
enum {
	SIM_START_LIMIT_MS = 15000,
	SIM_STALL_LIMIT_MS = 15000,
	SIM_COMPARE_LIMIT_MS = 4000,
	SIM_SILENT_AFTER_MS = 5000,
	SIM_REPL_TIMEOUT_MS = 6000,
	SIM_STAGE_LIMIT_MS = 3000,
	SIM_CATCH_UP_LIMIT_MS = 800,
	SIM_HANDOVER_LIMIT_MS = 1500,
	SIM_TIDY_LIMIT_MS = 6000,
	SIM_DRAIN_LIMIT_MS = 3000,
	SIM_SEAL_LIMIT_MS = 2000,
	SIM_OPERATION_MS =
		30000,       /* after the chaos: within this no change of source runs any more */
	SIM_CALM_MS = 60000, /* after the chaos: within this all is ACTIVE or in ERROR */
};

struct world;

struct sim_options {
	uint64_t seed;
	int64_t chaos_ms;    /* length of the part in which things go wrong */
	uint64_t ticks_most; /* 0: no limit */
	bool story;
};

struct sim_result {
	bool broken;
	char why[400];
	uint64_t ticks;
	int64_t end_ms;
	unsigned written, acknowledged, waited, attached, confirmed, held, accepted;
	unsigned handovers, undone, ejects, ejects_held, detached, joined, refused;
};

/* Plays a script (sim_script.c) and prints what it shows; 2: it makes no sense. */
int sim_script(const char *path);

/* Runs one history from its seed; prints the story while it goes when asked to. */
struct sim_result sim_run(const struct sim_options *o);

/* Chance: xorshift64* of our own, so that a seed means the same everywhere. */
uint64_t sim_random(struct world *w);
/* A number in [from, to]. */
int64_t sim_between(struct world *w, int64_t from, int64_t to);
/* True once in n. */
bool sim_one_in(struct world *w, unsigned n);
/* A replication id or run id that was never there before. */
struct replid sim_fresh_replid(struct world *w);
struct id sim_fresh_id(struct world *w);

int sim_host_of(int node);

/* One line of the story; costs nothing while nobody listens. */
void story(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
#define STORY(w, ...)                                                                              \
	do {                                                                                       \
		if ((w)->telling) {                                                                \
			story(w, __VA_ARGS__);                                                     \
		}                                                                                  \
	} while (0)

/* An invariant is broken: the history ends with this tick. The first one counts. */
void sim_broken(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
