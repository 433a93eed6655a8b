/*
 * Messages between agent and control plane: JSON, versioned ("wire": 1), unknown fields
 * ignored. A message of a higher version is ERR_CONFLICT.
 *
 * POST /agent/v1/report   a report; the answer says whether a full one is wanted
 * GET  /agent/v1/goals?host=ID&after=REVISION&watch=N&wait=SECONDS
 *                         held open until there is news: goals with a revision above `after`,
 *                         or a watch number other than N
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "core/goal.h"
#include "core/observation.h"
#include "proto/record.h"

enum { WIRE_VERSION = 1, WIRE_BODY_MAX = 4 << 20 };

/* An instance that a host runs though no goal is known there. */
struct wire_orphan {
	struct id instance;
	char detail[120];
};

struct wire_report {
	struct id host;    /* the host's own id */
	struct id session; /* new at every start of the agent */
	struct id installation; /* that the host's goals are of; zero: it has none yet */
	uint64_t seq;
	bool full;         /* all observations and the host itself; else only what changed */
	const struct host *about; /* NULL unless it changed */
	uint64_t highest_epoch_seen; /* of any goal; informational */
	const struct observation *observations;
	size_t nobservations;
	const struct wire_orphan *orphans;
	size_t norphans;
};

struct wire_report_answer {
	struct id installation;
	bool want_full; /* the control plane does not know this session */
};

/* What an instance's agent is told beside the goal. */
struct wire_watch {
	struct id instance;
	struct goal_live live;
};

struct wire_goals {
	struct id installation;
	uint64_t revision; /* highest revision included or known: the next `after` */
	uint64_t watch_revision; /* changes when the set of watches changes: the next `watch` */
	const struct goal *goals;
	size_t ngoals;
	const struct wire_watch *watches; /* the whole set for this host */
	size_t nwatches;
};

void wire_write_report(const struct wire_report *r, struct str *out);
[[nodiscard]] bool wire_read_report(const char *json, size_t len, struct arena *a,
				    struct wire_report *ret, struct err *e);
void wire_write_report_answer(const struct wire_report_answer *r, struct str *out);
[[nodiscard]] bool wire_read_report_answer(const char *json, size_t len,
					   struct wire_report_answer *ret, struct err *e);
void wire_write_goals(const struct wire_goals *g, struct str *out);
[[nodiscard]] bool wire_read_goals(const char *json, size_t len, struct arena *a,
				   struct wire_goals *ret, struct err *e);

/* One goal by itself: the agent's durable copy. */
void wire_write_goal(const struct goal *g, struct str *out);
[[nodiscard]] bool wire_read_goal(const char *json, size_t len, struct arena *a, struct goal *ret,
				  struct err *e);
