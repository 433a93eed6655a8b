/*
 * The goal: what the control plane wants of one instance. A function of the group's record and
 * the settings, never stored by itself on the control plane; the agent keeps the newest one
 * durably and refuses a lower one.
 *
 * Goals of one instance are ordered by (installation, epoch, revision). A goal of another
 * installation is refused whole. At the same numbers only what comes from the settings can differ:
 * the newest one counts.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/secret.h"
#include "core/model.h"

enum goal_run { GOAL_RUN, GOAL_DELETE };

enum goal_role {
	GOAL_SOURCE,  /* master, but only the run named in confirmed_run, or see start_at_once */
	GOAL_REPLICA, /* read-only, follows upstream */
	GOAL_GUARDED, /* read-only, follows nobody (a closed port): fenced, also where it starts again */
	/*
	 * A source in a handover: fenced, and read-only behind `upstream` as soon as that one has
	 * everything (struct goal_live tells how far it is). Never a master again by itself: a run
	 * other than confirmed_run waits guarded.
	 */
	GOAL_YIELDING,
	/*
	 * A replica in an eject: follows nobody, read-only, keeps what it has and where it stands.
	 * As a replica it is no server with writes of its own: GOAL_REPLICA afterwards moves it on.
	 */
	GOAL_SEALED,
};

/* min-slaves-to-write of a server that is to take no write: more than any source has replicas. */
enum { FENCE_MIN_SLAVES = 100000, FENCE_PAUSE_MS = 5000 };

/* min-slaves-max-lag of a group with durability k: a cut-off source stops within 2 s more. */
enum { DURABILITY_MAX_LAG_S = 1 };

/* What a flavor and the operator's settings ask of every server; from the settings table. */
struct server_settings {
	uint64_t maxmemory_bytes; /* 0: no limit */
	char maxmemory_policy[24];
	uint64_t backlog_bytes;
	uint32_t repl_timeout_s, ping_period_s;
	bool diskless_sync;
	uint32_t diskless_delay_s; /* only used while several replicas wait for their first copy */
	char appendfsync[12];      /* "everysec" or "always" */
	bool customer_open;        /* the default user needs no password (loopback, no login) */
};

struct goal {
	struct id installation;
	struct id group, instance;
	uint64_t epoch, revision;

	enum goal_run run;
	enum goal_role role;
	/*
	 * GOAL_SOURCE: the run that may be master. Any other run is started guarded and waits,
	 * unless start_at_once: a group of one has nobody to protect from a source without data.
	 */
	struct replid confirmed_run;
	bool start_at_once;
	/* GOAL_REPLICA: a server found as master may be made a replica (its own writes are lost). */
	bool demote_accepted;
	const char *upstream_host; /* GOAL_REPLICA and GOAL_YIELDING, else "" */
	uint16_t upstream_port;
	/*
	 * GOAL_REPLICA: `upstream` is a replica itself and may be behind it, which would cost a full
	 * copy: it stands still (ACT_SEAL) until live.peer_offset has reached it, then follows.
	 */
	bool staged;
	/* Writes are to stand still: paused for a moment; before 6.2 min-slaves-to-write above any count. */
	bool fenced;
	/* A server that hangs is killed: it is to be fenced and cannot be told so. */
	bool kill_hung;
	/* Clients are dropped, once for this goal, so that they look for the source again. */
	bool drop_clients;

	const char *name, *project; /* for comments in the configuration and the log only */
	const char *address;
	uint16_t port;
	const char *datastore, *version;
	struct server_settings settings;
	uint32_t min_slaves_to_write, min_slaves_max_lag_s; /* 0: no such fence */
	uint32_t waiting_replicas; /* replicas that wait for their first copy from this source */
	struct group_secrets secrets;
};

/*
 * What comes with the goals of an instance and is not durable: true for the moment only. Belongs
 * to the newest goal; nothing that loses data may rest on it alone.
 */
struct goal_live {
	uint64_t watch; /* number to answer with, see watch_answers(); 0: none is asked */
	bool stream;    /* keep reporting offsets */
	bool urgent;    /* an operation waits for this server: look every millisecond */
	int64_t peer_offset; /* yielding or staged: what the upstream has applied; -1: not known */
};

/*
 * The goal of member m of g. Strings are borrowed from g and s. Pure and total: every stored
 * record has a goal for every member.
 */
struct goal goal_of(const struct group *g, const struct member *m, struct id installation,
		    const struct server_settings *s);

/*
 * Do servers of m's version name their stream, and keep their place in it when they change whom they
 * follow? Since 4.0; before, to seal a member would erase where it stands.
 */
bool member_keeps_position(const struct member *m);

/*
 * In a handover the others move to the target before it is the source, off the critical path; with
 * durability k so many of them that the source keeps k direct ones, the target among them.
 */
bool goal_is_staged(const struct group *g, const struct member *m);

/* <0, 0, >0: order of two goals of the same instance and installation. */
int goal_cmp(uint64_t epoch_a, uint64_t revision_a, uint64_t epoch_b, uint64_t revision_b);

/*
 * Do both ask the same role of the server? Two goals with the same numbers differ in settings at
 * most; when the role differs too, they come from two stores that went separate ways.
 */
bool goal_same_role(const struct goal *a, const struct goal *b);

const char *goal_run_name(enum goal_run r);
const char *goal_role_name(enum goal_role r);
[[nodiscard]] bool goal_run_parse(const char *s, enum goal_run *ret);
[[nodiscard]] bool goal_role_parse(const char *s, enum goal_role *ret);
