/*
 * The reconciler: runs group_step() for each group that something happened to, commits what it
 * changed, and publishes the goals that follow. One turn of the loop collects many changes.
 */
#pragma once

#include "server/registry.h"

struct reconcile;

struct reconcile *reconcile_new(struct registry *r);
void reconcile_free(struct reconcile *rc);

/*
 * What an agent is to know: goals of this host's instances with a revision above `after`, the set
 * of watches and their revision. Strings and arrays live in *a. after 0 gives all.
 */
void reconcile_goals(struct reconcile *rc, const char *host, uint64_t after, struct arena *a,
		     struct wire_goals *ret);

/* fn(arg, host) when there is news for a host's agent; held GET goals answer then. */
typedef void reconcile_news_fn(void *arg, const char *host);
void reconcile_on_news(struct reconcile *rc, reconcile_news_fn *fn, void *arg);
