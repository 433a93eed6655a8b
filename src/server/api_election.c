/*
 * The dry run of an election. Agents tell offsets only while something asks for them, so this call
 * asks first and waits a moment for the answers: what it then says is of now. For whom it is not,
 * because an agent is silent or late, it says how old the figures are.
 */
#include <assert.h>

#include "base/clock.h"
#include "server/api_operate.h"
#include "server/handlers.h"
#include "server/held.h"

enum { REASON_BYTES = 800, FIGURES_MS = 300 };
static_assert((int)FIGURES_MS < (int)RECONCILE_ASK_MS);

/* Over the wait. */
struct asked {
	uint64_t watch;
};

static bool is_fresh(const struct observation *o, uint64_t watch)
{
	return o != NULL && watch_answers(o->watch, watch);
}

/* Nobody waits for an agent that is silent. */
static bool all_fresh(const struct call *c, const struct entry *en, uint64_t watch)
{
	for (size_t i = 0; i < en->g->nmembers; i++) {
		if (!is_fresh(en->obs[i], watch) &&
		    !registry_host_silent(c->api->registry, en->g->members[i].host)) {
			return false;
		}
	}
	return true;
}

/* ---- the answer ---- */

/* A member, as the answer needs it. */
struct seen {
	bool fresh;
	int64_t ago_s; /* -1: never */
};

static struct seen seen_of(const struct entry *en, struct id id, uint64_t watch)
{
	for (size_t i = 0; i < en->g->nmembers; i++) {
		if (id_eq(en->g->members[i].id, id) && en->obs[i] != NULL) {
			return (struct seen){ .fresh = is_fresh(en->obs[i], watch),
					      .ago_s = (clock_ms() - en->seen_ms[i]) / 1000 };
		}
	}
	return (struct seen){ .ago_s = -1 };
}

static void write_seen(struct jw *w, const struct seen *seen)
{
	jw_bool(w, "fresh", seen->fresh);
	if (seen->ago_s < 0) {
		jw_null(w, "seen_seconds_ago");
	} else {
		jw_int(w, "seen_seconds_ago", seen->ago_s);
	}
}

static void write_source(struct jw *w, const struct election *el, const struct entry *en,
			 uint64_t watch)
{
	const struct member *m = group_source(en->g);

	if (m == NULL) {
		jw_null(w, "source");
		return;
	}
	const struct seen seen = seen_of(en, m->id, watch);

	jw_object(w, "source");
	jw_id(w, "id", m->id);
	jw_str(w, "name", m->name);
	jw_int(w, "offset", el->in.source.offset);
	write_seen(w, &seen);
	jw_end(w);
}

static void write_candidate(struct jw *w, const struct election *el, size_t i,
			    const struct seen *seen)
{
	const struct elect_candidate *cand = &el->candidates[i];
	const struct elect_view *view = &el->out.of[i];
	char explained[REASON_BYTES];
	auto_str text = {};

	str_append(&text, elect_explain(&el->in, &el->out, i, explained, sizeof explained));
	if (!seen->fresh && seen->ago_s >= 0) {
		str_printf(&text, "; seen %lld s ago", (long long)seen->ago_s);
	}
	jw_object(w, NULL);
	jw_id(w, "id", cand->id);
	jw_str(w, "name", cand->name);
	jw_bool(w, "eligible", view->why == ELECT_WHY_ELIGIBLE);
	jw_str(w, "why", elect_why_name(view->why));
	jw_int(w, "offset", view->offset);
	write_seen(w, seen);
	jw_str(w, "text", str_cstr(&text));
	jw_end(w);
}

static void write_election(struct jw *w, const struct election *el, const struct entry *en,
			   uint64_t watch)
{
	char reason[REASON_BYTES];

	jw_object(w, "election");
	jw_str(w, "verdict", elect_verdict_name(el->out.verdict));
	if (el->out.winner == ELECT_NOBODY) {
		jw_null(w, "winner");
	} else {
		jw_id(w, "winner", el->candidates[el->out.winner].id);
	}
	jw_str(w, "reason", elect_reason(&el->in, &el->out, reason, sizeof reason));
	jw_int(w, "loss_bytes", el->out.loss_bytes);
	jw_int(w, "history_start", el->out.history_start);
	write_source(w, el, en, watch);
	jw_array(w, "candidates");
	for (size_t i = 0; i < el->in.n; i++) {
		const struct seen seen = seen_of(en, el->candidates[i].id, watch);

		write_candidate(w, el, i, &seen);
	}
	jw_end(w);
	jw_end(w);
}

/* While an eject has sealed the replicas, this is its election; else who could be sealed counts. */
static void hold_election(struct call *c, const struct entry *en, struct str *body)
{
	const struct asked *asked = c->state;
	const struct operate_in in = operation_look(c, en);
	struct election *el = arena_alloc(c->arena, sizeof *el);
	struct jw w = { .out = body };

	election_hold(en->g, &in, group_is_sealing(en->g) ? ELECTION_SEALED : ELECTION_DRY_RUN,
		      en->g->op.accept_data_loss, el);
	jw_object(&w, NULL);
	write_election(&w, el, en, asked->watch);
	jw_end(&w);
}

/* ---- the wait ---- */

static bool answer_election(struct call *c, enum held_why why)
{
	const struct asked *asked = c->state;
	struct instance_ref ref;
	struct str body = {};
	struct err e = {};

	if (!call_instance(c, 0, &ref, &e)) {
		call_fail(c, &e); /* it has gone meanwhile */
		return true;
	}
	if (why == HELD_NEWS && !all_fresh(c, ref.entry, asked->watch)) {
		return false;
	}
	hold_election(c, ref.entry, &body);
	call_reply(c, &body);
	return true;
}

bool api_instance_election(struct call *c, struct err *e)
{
	struct asked *asked = arena_alloc(c->arena, sizeof *asked);
	struct instance_ref ref;
	struct err full = {};

	if (!call_instance(c, 0, &ref, e)) {
		return false;
	}
	asked->watch = reconcile_ask(c->api->reconcile, ref.entry);
	c->state = asked;
	if (!answer_election(c, HELD_NEWS) &&
	    !held_wait(c, HELD_FIGURES, ref.g->id, FIGURES_MS, answer_election, &full)) {
		(void)answer_election(c, HELD_END); /* too many wait: what is known has to do */
	}
	return true;
}
