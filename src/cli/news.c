#include "cli/news.h"

#include <inttypes.h>
#include <time.h>

#include "base/clock.h"

enum {
	POLL_MS = 500,    /* where there is no event stream */
	AWAY_MS = 20'000, /* a control plane that restarts is back long before */
	ANSWER_S = 5,     /* a held request may take so much longer */
};

struct news news_start(struct api *api, int64_t deadline_ms)
{
	struct news n = { .api = api, .deadline_ms = deadline_ms };
	struct err e = {};

	n.polling = !api_events_last(api, &n.seen, &e);
	return n;
}

static bool tolerate(struct news *n, bool answered, struct err *e)
{
	int64_t now = clock_ms();

	if (answered) {
		n->away_since_ms = 0;
		return true;
	}
	if (n->away_since_ms == 0) {
		n->away_since_ms = now;
	}
	return e->code == ERR_UNAVAILABLE && now - n->away_since_ms < AWAY_MS;
}

bool news_looked(struct news *n, bool answered, struct err *e)
{
	n->looked_ms = clock_ms();
	return tolerate(n, answered, e);
}

static void pause_ms(int64_t ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1'000'000 };

	(void)nanosleep(&t, NULL);
}

/* Remembers the last number; true when one of the events is a reason to look. */
static bool read_events(struct news *n, const json_t *answer, news_about_fn *about, const void *arg)
{
	const json_t *events = api_array(answer, "events");
	bool ours = false;

	for (size_t i = 0; i < json_array_size(events); i++) {
		ours = ours || about(arg, json_array_get(events, i));
	}
	n->seen = api_events_next(answer, n->seen);
	return ours;
}

bool news_await(struct news *n, int64_t held_s, news_about_fn *about, const void *arg,
		struct err *e)
{
	int64_t until_ms = n->looked_ms + SEC(held_s);

	for (;;) {
		int64_t left_ms = n->deadline_ms - clock_ms();
		int64_t hold_s = left_ms < SEC(held_s) ? left_ms / 1000 : held_s;
		auto_answer r = {};
		auto_str path = {};

		if (n->polling || n->away_since_ms != 0 || hold_s < 1) {
			pause_ms(left_ms < POLL_MS ? (left_ms > 0 ? left_ms : 0) : POLL_MS);
			return true;
		}
		str_printf(&path, "/events?after=%" PRIu64 "&wait=%" PRId64, n->seen, hold_s);
		if (!api_call(n->api, "GET", str_cstr(&path), NULL, SEC(hold_s + ANSWER_S), &r,
			      e)) {
			n->polling = r.status != 0; /* an answer, but no event stream */
			return n->polling || tolerate(n, false, e);
		}
		if (read_events(n, r.json, about, arg) || clock_ms() >= until_ms) {
			return true;
		}
		if (json_array_size(api_array(r.json, "events")) == 0) {
			return true; /* the hold ended */
		}
	}
}
