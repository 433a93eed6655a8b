/*
 * Requests that wait for news: an agent for its goals, a reader for the next event or for a group's
 * fresh figures. Each wait has an end, and how many wait at one time has a ceiling.
 */
#pragma once

#include "server/api.h"

struct held;

/*
 * Listens to api->registry and api->reconcile from now on; api is borrowed until held_free().
 * Never NULL.
 */
struct held *held_new(struct api *api);

/* Answers what waits, with what there is: the clean end of the program. */
void held_answer_all(struct held *h);

/* Nothing may wait any more. NULL is fine. */
void held_free(struct held *h);

/* ---- for the handlers ---- */

enum held_kind { HELD_GOALS, HELD_EVENTS, HELD_FIGURES, HELD_KIND_COUNT };
enum held_why { HELD_NEWS, HELD_END };

/*
 * Looks again. HELD_NEWS: answers when there is something to say, else returns false and goes on
 * waiting. HELD_END: answers whatever there is, and returns true.
 */
typedef bool held_answer_fn(struct call *c, enum held_why why);

/*
 * Holds the call for at most limit_ms. about: the host whom the goals are for (a later wait of the
 * same host answers the earlier one), or the group that news is to come of; zero with HELD_EVENTS.
 * c->state and c->arena stay the handler's. ERR_OVER_LIMIT: too many wait.
 */
enum { HELD_READERS_MAX = 256 };
[[nodiscard]] bool held_wait(struct call *c, enum held_kind kind, struct id about, int64_t limit_ms,
			     held_answer_fn *answer, struct err *e);

/* Ends the wait of this host, if there is one. */
void held_end_goals(struct held *h, struct id host);

/*
 * The number that our last answer of goals to this host named, for the handler to keep: an agent
 * that comes back with another one missed that answer. 0 at first. NULL: too many hosts.
 */
uint64_t *held_told(struct held *h, struct id host);
