/*
 * The world of one history and its time. Whoever has something to do says when; the time jumps to
 * the earliest of them, and all parts that are due have their turn in a fixed order.
 */
#include "sim.h"

#include <stdarg.h>
#include <stdlib.h>

#include "world.h"

/* After all is well nobody writes any more, and streams have this long to run dry. */
enum { DRAIN_MS = 3000 };

/* chance */

uint64_t sim_random(struct world *w)
{
	w->random ^= w->random >> 12;
	w->random ^= w->random << 25;
	w->random ^= w->random >> 27;
	return w->random * UINT64_C(0x2545f4914f6cdd1d);
}

int64_t sim_between(struct world *w, int64_t from, int64_t to)
{
	return from + (int64_t)((sim_random(w) >> 16) % (uint64_t)(to - from + 1));
}

bool sim_one_in(struct world *w, unsigned n)
{
	return (sim_random(w) >> 16) % n == 0;
}

struct replid sim_fresh_replid(struct world *w)
{
	static const char digits[] = "0123456789abcdef";
	struct replid r;
	uint64_t n = ++w->fresh;

	memset(r.s, '0', sizeof r.s - 1);
	r.s[sizeof r.s - 1] = '\0';
	for (int i = 7; i >= 0; i--, n >>= 4) {
		r.s[i] = digits[n & 15];
	}
	return r;
}

struct id sim_fresh_id(struct world *w)
{
	struct id id = { .b = { [0] = 0xf0 } };
	uint64_t n = ++w->fresh;

	memcpy(&id.b[1], &n, sizeof n);
	return id;
}

int sim_host_of(int node)
{
	return node % SIM_HOSTS;
}

void sim_broken(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->result.broken) {
		return;
	}
	w->result.broken = true;
	va_start(ap, fmt);
	vsnprintf(w->result.why, sizeof w->result.why, fmt, ap);
	va_end(ap);
	STORY(w, "BROKEN %s", w->result.why);
}

/* the world */

void world_init(struct world *w, const struct sim_options *o)
{
	memset(w, 0, sizeof *w);
	w->random = (o->seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
	w->telling = o->story;
	w->installation = sim_fresh_id(w);
	for (int i = 0; i < 8; i++) {
		(void)sim_random(w); /* neighbouring seeds part */
	}
	for (int i = 0; i < SIM_NODES; i++) {
		struct node *n = &w->nodes[i];

		n->id.b[0] = 1;
		n->id.b[15] = (uint8_t)i;
		snprintf(n->name, sizeof n->name, "n%d", i);
		snprintf(n->host, sizeof n->host, "h%d", sim_host_of(i));
		snprintf(n->address, sizeof n->address, "10.0.0.%d", i + 1);
		n->server.wake_ms = SIM_NEVER;
	}
	for (int i = 0; i < SIM_GROUPS; i++) {
		snprintf(w->group_names[i], sizeof w->group_names[i], "g%d", i);
	}
	for (int i = 0; i < SIM_CLIENTS; i++) {
		w->clients[i] = (struct client){ .node = SIM_NOBODY };
	}
	w->net.wake_ms = SIM_NEVER;
	chaos_init(w, o->chaos_ms);
	for (int i = 0; i < SIM_HOSTS; i++) {
		w->hosts[i].up = true;
		w->hosts[i].boot = 1;
		agent_start(w, i);
	}
	plane_start(w);
}

static int64_t next_event(const struct world *w)
{
	int64_t wake = chaos_wake(w);
	int64_t others[] = { plane_wake(w), w->net.wake_ms, clients_wake(w) };

	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		wake = others[i] < wake ? others[i] : wake;
	}
	for (int i = 0; i < SIM_HOSTS; i++) {
		int64_t at = agent_wake(w, i);

		wake = at < wake ? at : wake;
	}
	for (int i = 0; i < SIM_NODES; i++) {
		int64_t at = w->nodes[i].server.wake_ms;

		wake = at < wake ? at : wake;
	}
	return wake > w->now_ms ? wake : w->now_ms + 1;
}

void world_tick(struct world *w)
{
	w->ticks++;
	w->now_ms = next_event(w);
	chaos_tick(w);
	net_tick(w);
	for (int i = 0; i < SIM_NODES; i++) {
		if (w->now_ms >= w->nodes[i].server.wake_ms) {
			server_tick(w, i);
		}
	}
	for (int i = 0; i < SIM_HOSTS; i++) {
		agent_tick(w, i);
	}
	plane_tick(w);
	clients_tick(w);
	check_tick(w);
}

static bool has_time(const struct world *w, const struct sim_options *o, int64_t until_ms)
{
	return !w->result.broken && w->now_ms < until_ms &&
	       (o->ticks_most == 0 || w->ticks < o->ticks_most);
}

static void run_until(struct world *w, const struct sim_options *o, int64_t until_ms)
{
	while (has_time(w, o, until_ms)) {
		world_tick(w);
	}
}

/* Ends early when all has come to rest, which it mostly does within seconds. */
static void run_calm(struct world *w, const struct sim_options *o)
{
	int64_t end_ms = w->now_ms + SIM_CALM_MS, look_ms = w->now_ms + 5000;
	int64_t ended_ms = w->now_ms + SIM_OPERATION_MS;
	char why[160] = "";

	while (has_time(w, o, end_ms)) {
		world_tick(w);
		if (w->now_ms >= look_ms) {
			if (check_settled(w, why, sizeof why)) {
				return;
			}
			look_ms = w->now_ms + 1000;
		}
		if (w->now_ms >= ended_ms) {
			check_operations_ended(w);
			ended_ms = SIM_NEVER;
		}
	}
	if (w->now_ms >= end_ms) {
		sim_broken(w, "5: %d s after everything is up %s", SIM_CALM_MS / 1000, why);
	}
}

static void run(struct world *w, const struct sim_options *o)
{
	run_until(w, o, o->chaos_ms + 1);
	run_calm(w, o);
	clients_stop(w);
	run_until(w, o, w->now_ms + DRAIN_MS);
	if (!w->result.broken && (o->ticks_most == 0 || w->ticks < o->ticks_most)) {
		check_end(w);
	}
}

struct sim_result sim_run(const struct sim_options *o)
{
	struct world *w = malloc(sizeof *w);

	if (w == NULL) {
		abort();
	}
	world_init(w, o);
	run(w, o);
	w->result.ticks = w->ticks;
	w->result.end_ms = w->now_ms;
	struct sim_result r = w->result;

	free(w);
	return r;
}
