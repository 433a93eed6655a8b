/*
 * What goes wrong: one table of misfortunes with their weights, each of which does nothing where it
 * does not fit; and hosts, that go down and come up again.
 */
#include "misfortune.h"

#include "world.h"

/* hosts */

void host_lose_power(struct world *w, int host, int64_t until_ms)
{
	struct host *h = &w->hosts[host];

	h->up = false; /* first: nobody is told */
	h->up_ms = until_ms;
	h->shutdown_ms = 0;
	agent_die(w, host);
	for (int i = host; i < SIM_NODES; i += SIM_HOSTS) {
		if (w->nodes[i].server.alive) {
			files_lose_power(w, i);
			server_die(w, i);
		}
	}
	ledger_lose_power(w, host);
	STORY(w, "chaos: host %s loses its power", w->nodes[host].host);
}

void host_tick(struct world *w, int host)
{
	struct host *h = &w->hosts[host];

	if (!h->up && w->now_ms >= h->up_ms) {
		h->up = true;
		h->boot++;
		h->agent.up = false;
		h->agent.up_ms = w->now_ms + sim_between(w, 1, 300);
		STORY(w, "host %s is up again", w->nodes[host].host);
	}
	if (h->up && h->shutdown_ms != 0 &&
	    (w->now_ms >= h->shutdown_ms || agent_all_stopped(w, host))) {
		host_lose_power(w, host, w->now_ms + sim_between(w, 100, 3000));
	}
}

/* misfortunes; each does nothing where it does not fit */

void misfortune_kill(struct world *w, int node)
{
	bool partial = w->nodes[node].server.files_lag || !w->nodes[node].server.aof_on;

	if (!w->nodes[node].server.alive) {
		return;
	}
	STORY(w, "chaos: kill -9 %s", w->nodes[node].name);
	server_die(w, node);
	if (partial) {
		ledger_forgive(w); /* its files lagged behind: one copy less */
	}
}

static void terminate_server(struct world *w, int node)
{
	if (server_stop(w, node)) {
		STORY(w, "chaos: somebody sends SIGTERM to %s", w->nodes[node].name);
	}
}

static void stop_server(struct world *w, int node)
{
	struct node *n = &w->nodes[node];

	if (n->server.alive && !n->server.stopped) {
		n->server.stopped = true;
		n->continue_ms = w->now_ms + sim_between(w, 10, sim_one_in(w, 3) ? 9000 : 800);
		STORY(w, "chaos: %s stands still (SIGSTOP)", n->name);
	}
}

void misfortune_continue(struct world *w, int node)
{
	struct node *n = &w->nodes[node];

	if (n->server.stopped) {
		n->server.stopped = false;
		n->server.wake_ms = w->now_ms;
		STORY(w, "chaos: %s goes on", n->name);
		act_overtakes(w, node);
	}
}

static void kill_agent(struct world *w, int node)
{
	int host = sim_host_of(node);

	if (w->hosts[host].agent.up) {
		agent_die(w, host);
		w->hosts[host].agent.up_ms = w->now_ms + sim_between(w, 1, 2500);
		STORY(w, "chaos: agent %s dies", w->nodes[host].host);
	}
}

static void reset_host(struct world *w, int node)
{
	int host = sim_host_of(node);

	if (w->hosts[host].up) {
		host_lose_power(w, host, w->now_ms + sim_between(w, 200, 5000));
	}
}

static void shut_host_down(struct world *w, int node)
{
	struct host *h = &w->hosts[sim_host_of(node)];

	if (!h->up || !h->agent.up || h->agent.stopping) {
		return;
	}
	h->agent.stopping = true;
	h->shutdown_ms = w->now_ms + 10000;
	for (int i = sim_host_of(node); i < SIM_NODES; i += SIM_HOSTS) {
		w->nodes[i].engine.look_ms = w->now_ms;
	}
	STORY(w, "chaos: host %s is shut down", w->nodes[sim_host_of(node)].host);
}

static void kill_plane(struct world *w, int)
{
	if (w->plane.up) {
		plane_die(w);
		w->plane.up_ms = w->now_ms + sim_between(w, 1, 3000);
		STORY(w, "chaos: the control plane dies");
	}
}

static void cut_net(struct world *w, int node)
{
	int a = sim_host_of(node), b = (int)sim_between(w, 0, SIM_PARTIES - 1);

	net_cut(w, a, b, w->now_ms + sim_between(w, 20, sim_one_in(w, 3) ? 12000 : 1500));
	STORY(w, "chaos: no network between %s and %s", w->nodes[a].host,
	      b == SIM_PLANE ? "the control plane" : w->nodes[b].host);
}

/* Nothing gets in or out; clients inside go on. */
void misfortune_isolate(struct world *w, int node)
{
	int a = sim_host_of(node);
	int64_t until_ms = w->now_ms + sim_between(w, 3000, 16000);

	for (int b = 0; b < SIM_PARTIES; b++) {
		net_cut(w, a, b, until_ms);
	}
	STORY(w, "chaos: host %s is isolated", w->nodes[a].host);
}

static void trouble_store(struct world *w, int)
{
	w->store.trouble_until_ms = w->now_ms + sim_between(w, 50, 4000);
	STORY(w, "chaos: the store is in trouble");
}

/* The files that a server would load are gone when its next run starts. */
static void remove_files(struct world *w, int node)
{
	struct node *n = &w->nodes[node];

	if (!n->files.folder || !w->hosts[sim_host_of(node)].up) {
		return;
	}
	misfortune_kill(w, node);
	n->files = (struct files){ .folder = true };
	if (sim_one_in(w, 3)) {
		n->kept.marker = (struct marker_model){};
	}
	ledger_forgive(w);
	STORY(w, "chaos: somebody removes the files of %s", n->name);
}

/* A copy of a while ago is put back. */
static void put_files_back(struct world *w, int node)
{
	struct node *n = &w->nodes[node];

	if (!n->files.folder || !n->files.rdb.there || !w->hosts[sim_host_of(node)].up) {
		return;
	}
	misfortune_kill(w, node);
	n->files.aof = (struct aof){
		.there = true,
		.data = n->files.rdb.data,
		.synced = n->files.rdb.data,
		.inode = ++w->fresh,
		.mtime_ms = w->now_ms,
	};
	ledger_forgive(w);
	STORY(w, "chaos: somebody puts an old copy into the folder of %s", n->name);
}

static void lose_marker(struct world *w, int node)
{
	struct node *n = &w->nodes[node];

	n->kept.marker = (struct marker_model){};
	n->engine.marker = (struct marker_model){};
	STORY(w, "chaos: the marker of %s is lost", n->name);
}

static void fail_starts(struct world *w, int node)
{
	w->nodes[node].start_fails_until_ms = w->now_ms + sim_between(w, 100, 4000);
	STORY(w, "chaos: %s cannot be started for a while", w->nodes[node].name);
}

static void rewrite(struct world *w, int node)
{
	if (server_answers(w, &w->nodes[node].server)) {
		server_rewrite_aof(w, node);
	}
}

/* It answers, and takes what it is sent bit by bit. */
void misfortune_slow_down(struct world *w, int node)
{
	struct server *s = &w->nodes[node].server;

	s->slow_since_ms = w->now_ms < s->slow_until_ms ? s->slow_since_ms : w->now_ms;
	s->slow_until_ms = w->now_ms + sim_between(w, 50, 2500);
	STORY(w, "chaos: %s is busy for a while", w->nodes[node].name);
}

/* Source and replica at once: what one lacks the other may lack as well. */
static void kill_everybody(struct world *w, int)
{
	for (int i = 0; i < SIM_NODES; i++) {
		if (sim_one_in(w, 2)) {
			misfortune_kill(w, i);
		}
	}
}

struct misfortune {
	void (*happens)(struct world *w, int node);
	unsigned weight;
};

/* clang-format off */
static const struct misfortune misfortunes[] = {
	{ misfortune_kill,       10 },
	{ terminate_server,   3 },
	{ stop_server,        5 },
	{ kill_agent,         8 },
	{ reset_host,         5 },
	{ shut_host_down,     2 },
	{ kill_plane,         8 },
	{ cut_net,            8 },
	{ misfortune_isolate,       2 },
	{ trouble_store,      6 },
	{ remove_files,       3 },
	{ put_files_back,     2 },
	{ lose_marker,        2 },
	{ fail_starts,        2 },
	{ rewrite,            4 },
	{ misfortune_slow_down,          4 },
	{ kill_everybody,     2 },
};
/* clang-format on */

void misfortune_any(struct world *w, int node)
{
	unsigned total = 0;

	for (size_t i = 0; i < ARRAY_LEN(misfortunes); i++) {
		total += misfortunes[i].weight;
	}
	unsigned pick = (unsigned)sim_between(w, 0, total - 1);

	for (size_t i = 0; node != SIM_NOBODY && i < ARRAY_LEN(misfortunes); i++) {
		if (pick < misfortunes[i].weight) {
			misfortunes[i].happens(w, node);
			return;
		}
		pick -= misfortunes[i].weight;
	}
}
