/*
 * The host: the set of its instances, what it can run, and what it tells the control plane. Adopts
 * what runs when the agent starts; gives goals and watches to the engines; collects their news.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "io/loop.h"
#include "io/settings.h"
#include "proto/wire.h"

struct agent_host;

struct host_hooks {
	loop_fn *ready; /* servers are adopted and looked at: reports may begin; once */
	loop_fn *news;  /* something is to be reported now */
	loop_fn *done;  /* host_stop_servers() or host_quit() is complete */
	void *arg;
};

/* dir is resolved and locked. s is borrowed. The hooks run on the loop, never before it returned.
 */
[[nodiscard]] bool host_new(struct loop *l, const char *dir, const struct settings *s,
			    const struct host_hooks *hooks, struct agent_host **ret, struct err *e);
void host_free(struct agent_host *h); /* after `done`; NULL is fine */

struct id host_id(const struct agent_host *h);

/* Looks again which server programs are installed. */
void host_rescan(struct agent_host *h);

/* Servers run on; `done` when nothing is under way any more. */
void host_quit(struct agent_host *h);

/* Every server is stopped cleanly, replicas first; then as host_quit(). */
void host_stop_servers(struct agent_host *h);

enum report_extent { REPORT_CHANGES, REPORT_FULL };

/* Writes the next report. What it contains counts as told: after a failure ask for a full one. */
void host_write_report(struct agent_host *h, enum report_extent extent, struct str *out);
/* The control plane has it. */
void host_report_arrived(struct agent_host *h);

/* What it sent, all of it (`after=0`) or what is new; refused goals are logged. */
enum goals_extent { GOALS_NEW, GOALS_ALL };
void host_take_goals(struct agent_host *h, const struct wire_goals *g, enum goals_extent extent);
