/*
 * The host from the inside: host.c (the set of instances, beginnings and ends) and host_talk.c
 * (what goes to the control plane and what comes from it).
 */
#pragma once

#include "agent/engine.h"
#include "agent/host.h"
#include "agent/report.h"

struct binaries;

/* An instance, and what the control plane knows of it. */
struct slot {
	struct engine *engine;
	struct observation sent;
	int64_t sent_ms;  /* 0: never told */
	int64_t heard_ms; /* its deletion has arrived; 0: not */
	bool told_deleted;
	bool listed; /* the control plane has a goal for it */
};

struct agent_host {
	struct arena arena;
	struct agent_env env;
	const struct settings *settings;
	struct host_hooks hooks;
	struct id session, installation;
	struct host about;
	bool about_changed, goals_known, ready, stopping, refused, done;
	uint64_t seq;

	struct slot *slots;
	size_t nslots;
	struct binaries *scan;
	struct timer *timer; /* first looks; then the limit of quitting */
};

struct slot *host_slot_find(struct agent_host *h, struct id id); /* NULL: none */
struct slot *host_slot_add(struct agent_host *h, struct id id);  /* moves the others */
void host_slot_remove(struct agent_host *h, struct slot *s);     /* its engine is not busy */

/* How urgent it is to tell of it. */
enum report_news host_slot_news(const struct slot *s, int64_t now);
