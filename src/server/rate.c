#include "server/rate.h"

#include "base/macros.h"

/*
 * A table of fixed size: a project's window is in one of a few slots by its hash, and the oldest
 * window makes room. So clients cannot make it grow; at worst a flood of invented projects makes
 * counts start again, and where projects can be invented the limit protects nobody anyway.
 */
enum { SLOTS = 4096, PROBES = 8, WINDOW_MS = 60 * 1000 };

struct window {
	uint64_t project; /* hash; 0: free */
	int64_t began_ms;
	uint32_t used[RATE_VERBS];
};

struct rates {
	uint32_t limit;
	struct window windows[SLOTS];
};

struct rates *rates_new(uint32_t limit)
{
	if (limit == 0) {
		return NULL;
	}
	struct rates *r = calloc(1, sizeof *r);
	if (r == NULL) {
		abort();
	}
	r->limit = limit;
	return r;
}

void rates_free(struct rates *r)
{
	free(r);
}

uint32_t rates_limit(const struct rates *r)
{
	return r == NULL ? 0 : r->limit;
}

static uint64_t hash(const char *s)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *s != '\0'; s++) {
		h = (h ^ (uint8_t)*s) * 0x100000001b3u;
	}
	return h == 0 ? 1 : h;
}

static bool ended(const struct window *w, int64_t now_ms)
{
	return w->project == 0 || now_ms - w->began_ms >= WINDOW_MS;
}

/* The project's running window, or NULL. */
static const struct window *window_find(const struct rates *r, uint64_t project, int64_t now_ms)
{
	for (size_t i = 0; i < PROBES; i++) {
		const struct window *w = &r->windows[(project + i) % SLOTS];

		if (w->project == project && !ended(w, now_ms)) {
			return w;
		}
	}
	return NULL;
}

static struct window *window_begin(struct rates *r, uint64_t project, int64_t now_ms)
{
	struct window *best = NULL;

	for (size_t i = 0; i < PROBES; i++) {
		struct window *w = &r->windows[(project + i) % SLOTS];

		if (ended(w, now_ms)) {
			best = w;
			break;
		}
		if (best == NULL || w->began_ms < best->began_ms) {
			best = w;
		}
	}
	*best = (struct window){ .project = project, .began_ms = now_ms };
	return best;
}

bool rates_take(struct rates *r, const char *project, enum rate_verb verb, int64_t now_ms,
		uint32_t *ret_retry_s)
{
	if (r == NULL) {
		return true;
	}
	uint64_t h = hash(project);
	const struct window *found = window_find(r, h, now_ms);
	struct window *w =
		found == NULL ? window_begin(r, h, now_ms) : &r->windows[found - r->windows];

	if (w->used[verb] >= r->limit) {
		int64_t left_ms = w->began_ms + WINDOW_MS - now_ms;

		*ret_retry_s = (uint32_t)((left_ms + 999) / 1000);
		return false;
	}
	w->used[verb]++;
	return true;
}

uint32_t rates_left(const struct rates *r, const char *project, enum rate_verb verb, int64_t now_ms,
		    int64_t *ret_ends_in_ms)
{
	const struct window *w = r == NULL ? NULL : window_find(r, hash(project), now_ms);

	if (w == NULL) {
		*ret_ends_in_ms = 0;
		return rates_limit(r);
	}
	*ret_ends_in_ms = w->began_ms + WINDOW_MS - now_ms;
	return r->limit - w->used[verb];
}
