/*
 * Hearing that something happened: the API's event stream, whose requests are held until there is
 * news, or asking twice a second where that is not to be had. A server that is away for a moment
 * is waited for.
 *
 * The number of the newest event is asked for before the first look at anything, so that a change
 * between the two is not slept through.
 */
#pragma once

#include "cli/api.h"

struct news {
	struct api *api;
	int64_t deadline_ms;   /* a point on clock_ms(): no request is held beyond it */
	int64_t looked_ms;     /* when the caller looked last */
	int64_t away_since_ms; /* the server does not answer since then; 0: it does */
	uint64_t seen;         /* number of the last event we know of */
	bool polling;
};

/* Is this event a reason to look? */
typedef bool news_about_fn(const void *arg, const json_t *event);

/* Finds where the stream stands now; never fails, without a stream it polls. */
struct news news_start(struct api *api, int64_t deadline_ms);

/*
 * Every look goes through here, with whether the server answered. True also when it is away for
 * no longer than it may be; false leaves *e as it was.
 */
[[nodiscard]] bool news_looked(struct news *n, bool answered, struct err *e);

/*
 * Returns when there is a reason to look again: news, the deadline, or held_s after the last look.
 * false: the server is away for too long.
 */
[[nodiscard]] bool news_await(struct news *n, int64_t held_s, news_about_fn *about,
			      const void *arg, struct err *e);
