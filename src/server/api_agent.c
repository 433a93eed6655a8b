/*
 * The two calls of an agent: its report, and the goals it waits for (proto/wire.h).
 */
#include "server/handlers.h"
#include "server/held.h"
#include "server/query.h"

bool api_agent_report(struct call *c, struct err *e)
{
	struct wire_report report;
	struct wire_report_answer answer;
	auto_str body = {};

	if (!wire_read_report(c->rq->body, c->rq->body_len, c->arena, &report, e) ||
	    !registry_report(c->api->registry, &report, &answer, e)) {
		return false;
	}
	wire_write_report_answer(&answer, &body);
	call_reply(c, &body);
	return true;
}

/* What the agent has, by its own word. */
struct poll {
	struct id host;
	uint64_t after, watch;
};

/*
 * What it gets. Goals go out whole unless it comes with the number of our last answer: then that
 * answer has arrived, and what was shown since is all that it lacks.
 */
static bool collect(const struct call *c, uint64_t told, struct arena *a, struct wire_goals *ret)
{
	const struct poll *p = c->state;
	const struct reg_host *h = registry_host_by_id(c->api->registry, p->host);

	if (h == NULL) {
		/* Not reported yet. Nothing is known of it, so there is nothing to say to it. */
		*ret = (struct wire_goals){ .installation =
						    registry_installation(c->api->registry) };
		return false;
	}
	bool missed = p->after == 0 || p->after != told;

	reconcile_goals(c->api->reconcile, h->h.name, missed ? 0 : p->after, a, ret);
	return missed || ret->ngoals > 0 || ret->watch_revision != p->watch;
}

static bool answer_goals(struct call *c, enum held_why why)
{
	const struct poll *p = c->state;
	uint64_t *told = held_told(c->api->held, p->host);
	auto_arena a = {};
	struct wire_goals goals;
	auto_str body = {};

	if (!collect(c, *told, &a, &goals) && why == HELD_NEWS) {
		return false;
	}
	*told = goals.revision;
	wire_write_goals(&goals, &body);
	call_reply(c, &body);
	return true;
}

static bool read_poll(struct call *c, struct poll *p, uint64_t *wait_s, struct err *e)
{
	const char *host = http_query(c->rq, "host");

	if (host == NULL || !id_parse(host, &p->host) || id_is_zero(p->host)) {
		return err_set(e, ERR_INVALID, "'host' must be the host's id.");
	}
	return query_number(c, "after", INT64_MAX, &p->after, e) &&
	       query_number(c, "watch", INT64_MAX, &p->watch, e) &&
	       query_number(c, "wait", 3600, wait_s, e);
}

bool api_agent_goals(struct call *c, struct err *e)
{
	struct poll *p = arena_alloc(c->arena, sizeof *p);
	uint64_t wait_s = 0;

	if (!read_poll(c, p, &wait_s, e)) {
		return false;
	}
	if (held_told(c->api->held, p->host) == NULL) {
		return err_set(e, ERR_OVER_LIMIT, "Too many hosts ask for goals.");
	}
	c->state = p;
	held_end_goals(c->api->held, p->host);
	wait_s = wait_s > QUERY_WAIT_MAX_S ? QUERY_WAIT_MAX_S : wait_s;
	if (answer_goals(c, wait_s == 0 ? HELD_END : HELD_NEWS)) {
		return true;
	}
	return held_wait(c, HELD_GOALS, p->host, SEC((int64_t)wait_s), answer_goals, e);
}
