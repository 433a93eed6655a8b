/*
 * An agent with one engine per instance of its host: what it has on disk, what it forgets when it
 * restarts, and how long its acts take. It decides with the real instance_step(). The rules of the
 * marker and of adoption are those of src/agent/, told again in the model's terms.
 */
#pragma once

#include "core/instance.h"
#include "sim_server.h"

/* Which files they are, as the marker sees them. */
struct seen_files {
	bool any;
	uint64_t inode;
	int64_t size, mtime_ms;
};

struct marker_model {
	bool known, trusted, durable, clean, pending;
	uint64_t boot;
	struct replid run;
	enum server_role role;
	struct recorded_position position;
	struct seen_files files;
	enum marker_verdict verdict;
};

/* One instance's folder, less the server's own files. All of it is written with fsync. */
struct agent_files {
	bool has_goal;
	struct goal goal;
	bool has_conf;
	uint64_t conf; /* what the file asks for, as one number */
	struct marker_model marker;
	bool has_run;
	uint64_t run_no;
	struct start_mode mode;
};

/* An observation, and what the simulation alone knows: the data at that moment. */
struct seen {
	struct observation o;
	struct data data;
};

struct engine {
	bool there; /* the agent knows this instance */
	bool has_goal, confirmed;
	struct goal goal;
	bool has_incoming;
	struct goal incoming;
	int64_t goal_saved_ms; /* 0: no goal is being saved */
	struct goal saving;
	uint64_t newest_epoch, newest_revision;

	struct seen seen;
	bool looked, ever_ran, answered, ready, adopted;
	bool linked; /* at any look at this run of its server */
	bool has_process;
	uint64_t run_no;
	struct start_mode mode;
	uint64_t settings;
	int64_t started_ms, ready_ms, stop_sent_ms, stop_again_ms, kill_sent_ms, exited_ms;
	unsigned failures, strikes;

	struct marker_model marker;
	enum marker_verdict verdict;
	int64_t marked_ms;
	/* A position that the disk is sure to hold, and the one that will be next. */
	struct recorded_position settled, young;
	int64_t young_ms;
	bool mark_clean;
	int64_t marker_ms; /* a marker is being written until then; 0: none */
	struct marker_model next_marker;
	struct seen_files glance;

	struct goal_live live; /* belongs to the goal of these numbers */
	uint64_t live_epoch, live_revision;
	bool fenced;             /* min-slaves-to-write was above any count when it was adopted */
	bool paused;             /* CLIENT PAUSE, by this agent .. */
	int64_t paused_until_ms; /* .. until then, or maybe by the one before it; 0: not */
	bool clients_dropped, pause_spent; /* as the goal asks, and once for it */
	int64_t goal_ms, applied_ms, applied_before, looked_ms;
	uint64_t least_epoch; /* what the control plane had when this agent started; 0: unknown */
	enum instance_act act;
	struct start_mode act_mode;
	int64_t act_ms; /* 0: none under way */
	int64_t act_began_ms;
	bool act_waits; /* for the answer of a server that stands still */
	struct seen sent;
	int64_t sent_ms; /* 0: never */
	int64_t moved_ms, look_ms;
};

struct agent {
	bool up, stopping;
	int64_t up_ms; /* when down: it starts then */
	uint64_t session, seq;
	int64_t beat_ms;
};

void agent_start(struct world *w, int host);
void agent_die(struct world *w, int host);
/* What is due at w->now_ms on this host. */
void agent_tick(struct world *w, int host);
int64_t agent_wake(const struct world *w, int host);
/* The server's process has ended: its agent knows at once (pidfd). */
void agent_process_ended(struct world *w, int node);
void agent_take_goal(struct world *w, int node, const struct goal *g, const struct goal_live *live);
/* No server runs there any more, and that is on the disk. */
bool agent_all_stopped(const struct world *w, int host);

/* sim_act.c */

/* The act that was begun takes effect now. */
void act_take_effect(struct world *w, int node);
/* The agent dies while an act is under way: part of it may have been sent. */
void act_break_off(struct world *w, int node);
/* What was sent to a server that stood still is carried out when it goes on, whoever sent it. */
void act_overtakes(struct world *w, int node);
/* What a configuration file says, as a number: role, upstream and how it starts. */
uint64_t act_conf_of(const struct goal *g, struct start_mode mode);
/* The settings that change while a server runs, likewise. */
uint64_t act_settings_of(const struct goal *g);
struct seen_files agent_look_at_files(const struct files *f);
