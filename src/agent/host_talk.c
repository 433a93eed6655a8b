/*
 * What goes to the control plane and what comes from it.
 */
#include "agent/host_state.h"

#include "base/clock.h"
#include "base/log.h"

enum {
	INSTANCES_MAX = 4096,    /* of one host: what a control plane can make grow */
	DELETED_KEPT_MS = 30000, /* a deletion is told for so long after it has been heard */
};

enum report_news host_slot_news(const struct slot *s, int64_t now)
{
	enum report_pace pace = engine_streams(s->engine) ? REPORT_STREAM : REPORT_CALM;
	enum report_news news;

	if (!engine_has_looked(s->engine)) {
		return NEWS_NONE;
	}
	news = s->sent_ms == 0 ? NEWS_NOW
			       : report_compare(engine_observation(s->engine), &s->sent, pace);
	return news == NEWS_SLOW && now - s->sent_ms >= REPORT_SLOW_PERIOD_MS ? NEWS_NOW : news;
}

/* reports */

static void report_slot(struct slot *s, int64_t now, struct observation *ret)
{
	s->sent = *engine_observation(s->engine);
	s->sent_ms = now;
	s->told_deleted = s->sent.proc == PROC_DELETED;
	s->heard_ms = s->told_deleted ? s->heard_ms : 0;
	*ret = s->sent;
}

static void describe_orphan(const struct slot *s, struct wire_orphan *ret)
{
	ret->instance = engine_id(s->engine);
	snprintf(ret->detail, sizeof ret->detail, "%s, %s",
		 engine_goal(s->engine) == NULL ? "has files here but no goal"
						: "has a goal here that the control plane has not",
		 engine_has_server(s->engine) ? "its server runs" : "no server runs");
}

static uint64_t highest_epoch(const struct agent_host *h)
{
	uint64_t highest = 0;

	for (size_t i = 0; i < h->nslots; i++) {
		const struct goal *g = engine_goal(h->slots[i].engine);

		highest = g != NULL && g->epoch > highest ? g->epoch : highest;
	}
	return highest;
}

void host_write_report(struct agent_host *h, enum report_extent extent, struct str *out)
{
	auto_arena a = {};
	int64_t now = clock_ms();
	bool full = extent == REPORT_FULL;
	struct observation *obs = arena_alloc(&a, (h->nslots + 1) * sizeof *obs);
	struct wire_orphan *orphans = arena_alloc(&a, (h->nslots + 1) * sizeof *orphans);
	struct wire_report r = {
		.host = h->about.id,
		.session = h->session,
		.installation = h->installation,
		.seq = ++h->seq,
		.full = full,
		.about = full || h->about_changed ? &h->about : NULL,
		.highest_epoch_seen = highest_epoch(h),
		.observations = obs,
		.orphans = orphans,
	};

	for (size_t i = 0; i < h->nslots; i++) {
		struct slot *s = &h->slots[i];

		if (h->goals_known && !s->listed) {
			describe_orphan(s, &orphans[r.norphans++]);
		} else if ((full && engine_has_looked(s->engine)) ||
			   host_slot_news(s, now) == NEWS_NOW) {
			report_slot(s, now, &obs[r.nobservations++]);
		}
	}
	h->about_changed = false;
	wire_write_report(&r, out);
}

/* An instance whose deletion was heard, and that nobody speaks of any more, is forgotten. */
void host_report_arrived(struct agent_host *h)
{
	int64_t now = clock_ms();

	for (size_t i = h->nslots; i-- > 0;) {
		struct slot *s = &h->slots[i];

		if (!s->told_deleted || engine_is_busy(s->engine)) {
			continue;
		}
		if (s->heard_ms == 0) {
			s->heard_ms = now;
		} else if (now - s->heard_ms > DELETED_KEPT_MS) {
			host_slot_remove(h, s);
		}
	}
}

/* goals */

static bool installation_fits(struct agent_host *h, const struct wire_goals *g)
{
	if (h->nslots == 0 || id_is_zero(h->installation)) {
		h->installation = g->installation;
	}
	if (id_eq(h->installation, g->installation)) {
		h->refused = false;
		return true;
	}
	if (!h->refused) {
		h->refused = true;
		LOG(LOG_ERROR, "goals.refused", KV("ours", h->installation),
		    KV("theirs", g->installation),
		    KV("reason", "this host's instances belong to another installation"));
	}
	return false;
}

static void take_goal(struct agent_host *h, const struct goal *g)
{
	struct slot *s = host_slot_find(h, g->instance);
	struct err why;

	if (!id_eq(g->installation, h->installation)) {
		LOG(LOG_ERROR, "goal.refused", KV("instance", g->instance),
		    KV("reason", "it is of another installation"));
		return;
	}
	if (s == NULL) {
		if (h->nslots >= INSTANCES_MAX) {
			LOG(LOG_ERROR, "goal.refused", KV("instance", g->instance),
			    KV("reason", "this host has too many instances"));
			return;
		}
		s = host_slot_add(h, g->instance);
	}
	s->listed = true;
	if (!engine_take_goal(s->engine, g, &why)) {
		LOG(LOG_WARN, "goal.refused", KV("instance", g->instance), KV("reason", why.msg));
	}
}

static const struct wire_watch *watch_of(const struct wire_goals *g, struct id id)
{
	for (size_t i = 0; i < g->nwatches; i++) {
		if (id_eq(g->watches[i].instance, id)) {
			return &g->watches[i];
		}
	}
	return NULL;
}

static void take_watches(struct agent_host *h, const struct wire_goals *g)
{
	for (size_t i = 0; i < h->nslots; i++) {
		struct engine *e = h->slots[i].engine;
		const struct wire_watch *w = watch_of(g, engine_id(e));

		if (w == NULL) {
			engine_unwatch(e);
		} else {
			engine_watch(e, &w->live);
		}
	}
}

static void unlist_all(struct agent_host *h)
{
	for (size_t i = 0; i < h->nslots; i++) {
		h->slots[i].listed = false;
	}
}

static void after_all(struct agent_host *h)
{
	h->goals_known = true;
	for (size_t i = h->nslots; i-- > 0;) {
		struct slot *s = &h->slots[i];

		if (s->listed) {
			continue;
		}
		if (engine_observation(s->engine)->proc == PROC_DELETED &&
		    !engine_is_busy(s->engine)) {
			host_slot_remove(h, s); /* gone here and forgotten there */
			continue;
		}
		LOG(LOG_WARN, "orphan.found", KV("instance", engine_id(s->engine)),
		    KV("hint", "the control plane has no record of it; it runs on"));
	}
}

void host_take_goals(struct agent_host *h, const struct wire_goals *g, enum goals_extent extent)
{
	if (h->env.quitting || h->stopping || !installation_fits(h, g)) {
		return;
	}
	if (extent == GOALS_ALL) {
		unlist_all(h);
	}
	for (size_t i = 0; i < g->ngoals; i++) {
		take_goal(h, &g->goals[i]);
	}
	if (extent == GOALS_ALL) {
		after_all(h);
	}
	take_watches(h, g);
}
