#include "server/held.h"

#include <assert.h>

#include "base/macros.h"
#include "server/memory.h"

/* One waiting call. It ends exactly once: by news, by its limit, by its client, or by our end. */
struct wait {
	struct wait *next;
	struct held *held;
	struct call *call;
	struct timer *timer;
	enum held_kind kind;
	struct id about; /* a host or a group, see held_wait() */
	held_answer_fn *answer;
};

struct told {
	struct id host;
	uint64_t revision;
};

struct held {
	struct api *api;
	struct wait *waits[HELD_KIND_COUNT];
	size_t n[HELD_KIND_COUNT];
	struct told *told;
	size_t ntold, told_cap;
};

static void forget(struct wait *w)
{
	struct wait **link = &w->held->waits[w->kind];

	while (*link != w) {
		link = &(*link)->next;
	}
	*link = w->next;
	w->held->n[w->kind]--;
	timer_free(w->timer);
	free(w);
}

/* The wait is over before its answer is made: answering ends the call, and with it all it has. */
static void end(struct wait *w)
{
	struct call *c = w->call;
	held_answer_fn *answer = w->answer;

	forget(w);
	answer(c, HELD_END);
}

static void on_limit(void *arg)
{
	end(arg);
}

static void on_gone(struct call *c)
{
	struct held *h = c->api->held;

	for (int kind = 0; kind < HELD_KIND_COUNT; kind++) {
		for (struct wait *w = h->waits[kind]; w != NULL; w = w->next) {
			if (w->call == c) {
				forget(w);
				return;
			}
		}
	}
}

static void wake(struct held *h, enum held_kind kind, const struct id *about)
{
	for (struct wait *w = h->waits[kind], *next; w != NULL; w = next) {
		next = w->next;
		if ((about == NULL || id_eq(w->about, *about)) && w->answer(w->call, HELD_NEWS)) {
			forget(w);
		}
	}
}

static void on_event(void *arg)
{
	wake(arg, HELD_EVENTS, NULL);
}

static void on_goals(void *arg, const char *host)
{
	struct held *h = arg;
	const struct reg_host *rh = registry_host(h->api->registry, host);

	if (rh != NULL) {
		wake(h, HELD_GOALS, &rh->h.id);
	}
}

static void on_change(void *arg, struct entry *en)
{
	wake(arg, HELD_FIGURES, &en->g->id);
}

struct held *held_new(struct api *api)
{
	struct held *h = memory_alloc(1, sizeof *h);

	h->api = api;
	registry_on_change(api->registry, on_change, h);
	registry_on_event(api->registry, on_event, h);
	reconcile_on_news(api->reconcile, on_goals, h);
	return h;
}

/* Of those for goals there is one per host. */
bool held_wait(struct call *c, enum held_kind kind, struct id about, int64_t limit_ms,
	       held_answer_fn *answer, struct err *e)
{
	struct held *h = c->api->held;

	if (kind != HELD_GOALS && h->n[kind] == HELD_READERS_MAX) {
		return err_set(e, ERR_OVER_LIMIT,
			       "%d requests wait for news already: ask again without 'wait'.",
			       HELD_READERS_MAX);
	}
	struct wait *w = memory_alloc(1, sizeof *w);

	*w = (struct wait){ .next = h->waits[kind],
			    .held = h,
			    .call = c,
			    .kind = kind,
			    .about = about,
			    .answer = answer };
	w->timer = timer_new(c->api->loop, on_limit, w);
	timer_set_in(w->timer, limit_ms);
	h->waits[kind] = w;
	h->n[kind]++;
	call_later(c, on_gone);
	return true;
}

void held_end_goals(struct held *h, struct id host)
{
	for (struct wait *w = h->waits[HELD_GOALS]; w != NULL; w = w->next) {
		if (id_eq(w->about, host)) {
			end(w);
			return;
		}
	}
}

uint64_t *held_told(struct held *h, struct id host)
{
	for (size_t i = 0; i < h->ntold; i++) {
		if (id_eq(h->told[i].host, host)) {
			return &h->told[i].revision;
		}
	}
	if (h->ntold == REGISTRY_HOSTS_MAX) {
		return NULL;
	}
	h->told = memory_grow(h->told, h->ntold, &h->told_cap, sizeof *h->told);
	h->told[h->ntold] = (struct told){ .host = host };
	return &h->told[h->ntold++].revision;
}

void held_answer_all(struct held *h)
{
	for (int kind = 0; kind < HELD_KIND_COUNT; kind++) {
		while (h->waits[kind] != NULL) {
			end(h->waits[kind]);
		}
	}
}

void held_free(struct held *h)
{
	if (h == NULL) {
		return;
	}
	for (int kind = 0; kind < HELD_KIND_COUNT; kind++) {
		assert(h->n[kind] == 0);
	}
	registry_on_event(h->api->registry, NULL, NULL);
	reconcile_on_news(h->api->reconcile, NULL, NULL);
	free(h->told);
	free(h);
}
