/*
 * Standing still for a handover, and going on afterwards: the fence, its end, and the drop of the
 * clients. Each is a few commands that go out together and are carried out in their order; it has
 * succeeded when all have. Of one that has not, nobody knows what holds: then the running settings
 * count as unknown, so that the next step sets every one of them anew.
 *
 * From 6.2 on the fence is a pause of writes and nothing else: clients wait instead of being
 * answered with errors, and when it ends, by an act or by itself, the server takes writes again.
 * min-slaves-to-write beside it would only do harm: it is checked before the pause and answers
 * NOREPLICAS at once (tried on 7.0.15), which client libraries hand on as an error. Nothing is lost
 * when a pause ends too early, because a handover counts with what the server says of itself as a
 * replica only.
 *
 * Before 6.2 a pause would stop the agent's own commands. There the fence is min-slaves-to-write
 * above any count, which ends with an act or with the server, not with the agent, and the clients
 * are dropped with the writes that they have queued (REDIS.md 3.4).
 */
#include "agent/act.h"

#include "base/clock.h"

enum { WORDS = 6 };

static const struct version_rules *rules_of(const struct goal *g)
{
	struct server_version v = {};

	(void)version_parse(g->datastore, g->version, &v); /* wire_read_goal() has seen to it */
	return version_rules(v);
}

static void on_answer(void *arg, const redisReply *reply, const struct err *err)
{
	struct act *a = arg;
	struct err why;

	if (!a->failed && reply == NULL) {
		act_fail(a, err);
	} else if (!a->failed && reply->type == REDIS_REPLY_ERROR) {
		err_set(&why, ERR_CONFLICT, "%s", reply->str);
		act_fail(a, &why);
	}
	if (--a->unanswered > 0) {
		return;
	}
	if (a->failed) {
		a->e->run.settings = 0;
	} else {
		a->carried_out(a);
	}
	act_finish(a);
}

/* The words up to the first NULL. */
static void send(struct act *a, const char *const words[WORDS])
{
	size_t n = 0;

	while (n < WORDS && words[n] != NULL) {
		n++;
	}
	a->unanswered++;
	redis_command(a->e->redis, n, words, ACT_COMMAND_LIMIT_MS, on_answer, a);
}

static void set(struct act *a, const char *name, uint32_t value)
{
	const char *text = arena_printf(&a->arena, "%u", value);

	send(a, (const char *[WORDS]){ "CONFIG", "SET", name, text });
}

static void kill_clients(struct act *a)
{
	send(a, (const char *[WORDS]){ "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes" });
}

/* fence, unfence */

static void fenced(struct act *a)
{
	a->e->run.fenced = true;
}

static void paused(struct act *a)
{
	struct engine *e = a->e;

	e->pause_spent = true;
	e->run.paused = true;
	e->run.paused_until_ms = a->began_ms + FENCE_PAUSE_MS;
}

void act_fence(struct act *a)
{
	const char *ms = arena_printf(&a->arena, "%d", FENCE_PAUSE_MS);

	if (rules_of(&a->e->goal)->pause_writes) {
		a->carried_out = paused;
		send(a, (const char *[WORDS]){ "CLIENT", "PAUSE", ms, "WRITE" });
		return;
	}
	a->carried_out = fenced;
	set(a, "min-slaves-max-lag", CONF_FENCE_MAX_LAG_S); /* with 0 there is no fence at all */
	set(a, "min-slaves-to-write", FENCE_MIN_SLAVES);
	kill_clients(a);
}

static void unfenced(struct act *a)
{
	a->e->run.fenced = false;
	a->e->run.paused = false;
	a->e->run.paused_until_ms = 0;
}

void act_unfence(struct act *a)
{
	const struct goal *g = &a->e->goal;

	bool pauses = rules_of(g)->pause_writes;

	a->carried_out = unfenced;
	if (!pauses || a->e->run.fenced) {
		set(a, "min-slaves-to-write", g->min_slaves_to_write);
		set(a, "min-slaves-max-lag", conf_max_lag_s(g));
	}
	if (pauses) {
		send(a, (const char *[WORDS]){ "CLIENT", "UNPAUSE" });
	}
}

/* drop-clients */

static void dropped(struct act *a)
{
	a->e->clients_dropped = true;
}

/* Not ourselves; and no replica, if none of them is still in its handshake (REDIS.md finding 9). */
void act_drop_clients(struct act *a)
{
	a->carried_out = dropped;
	kill_clients(a);
	send(a, (const char *[WORDS]){ "CLIENT", "KILL", "TYPE", "pubsub" });
}
