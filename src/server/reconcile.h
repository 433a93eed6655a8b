/*
 * The reconciler: runs group_step() for each group that something happened to, commits what it
 * changed, and publishes the goals that follow. One turn of the loop collects many changes.
 */
#pragma once

#include "server/registry.h"

struct reconcile;

/* Looks at every group once; r is borrowed until reconcile_free(). Never NULL. */
struct reconcile *reconcile_new(struct registry *r);
void reconcile_free(struct reconcile *rc); /* not while registry_busy(); NULL is fine */

/*
 * What an agent is to know: goals of this host's instances shown after `after` (entry->shown), the
 * set of watches and its number, which is a digest of the set. ret->revision is the next `after`.
 * Strings and arrays live in *a, or are the records': use them before the loop's next turn. after
 * 0, or one that was never given out, gives all.
 */
void reconcile_goals(struct reconcile *rc, const char *host, uint64_t after, struct arena *a,
		     struct wire_goals *ret);

/*
 * Somebody wants to read figures of this group that are not older than now: every agent concerned
 * is asked for them, once. Returns the number that answers name (watch_answers()). The question
 * ends when all that are heard have answered, or after RECONCILE_ASK_MS; asked again while one is
 * open, the newer one answers both.
 */
enum { RECONCILE_ASK_MS = 500 };
uint64_t reconcile_ask(struct reconcile *rc, struct entry *en);

/*
 * fn(arg, host) when there is news for a host's agent; held GET goals answer then. One listener.
 */
typedef void reconcile_news_fn(void *arg, const char *host);
void reconcile_on_news(struct reconcile *rc, reconcile_news_fn *fn, void *arg);
