/*
 * instance_step(): the agent's next step for one instance, from its goal and what is there.
 * Every step is idempotent; after each the agent looks again. It decides nothing about a group.
 */
#pragma once

#include "core/goal.h"
#include "core/observation.h"

/* X(NAME, "name", "what it does") : each act has a crash point of its name. */
#define INSTANCE_ACTS(X)                                                                     \
	X(NONE, "none", "nothing to do until something changes")                             \
	X(WRITE_CONF, "write-conf", "write the configuration file the goal and the start ask for") \
	X(SET_ASIDE_AOF, "set-aside-aof", "rename the AOF folder before a boot from the RDB") \
	X(START, "start", "spawn the server")                                                \
	X(CONFIG_SET, "config-set", "bring the running server's settings to the goal's")     \
	X(FOLLOW, "follow", "SLAVEOF upstream")                                              \
	X(GUARD, "guard", "SLAVEOF a closed port: read-only, no replica copies from it")     \
	X(PROMOTE, "promote", "SLAVEOF NO ONE")                                              \
	X(FENCE, "fence", "pause writes; before 6.2 min-slaves-to-write above any count")    \
	X(YIELD, "yield", "SLAVEOF the one that takes over: fenced, and it has everything")  \
	X(UNFENCE, "unfence", "end the pause; min-slaves-to-write as the goal asks")         \
	X(SEAL, "seal", "SLAVEOF a closed port: keeps what it has and where it stands")      \
	X(DROP_CLIENTS, "drop-clients", "CLIENT KILL, so that they look for the source again") \
	X(AOF_ON, "aof-on", "CONFIG SET appendonly yes after a boot from the RDB")           \
	X(STOP, "stop", "SIGTERM: save and exit")                                            \
	X(KILL, "kill", "SIGKILL: it is to be deleted, or did not stop within its limit")               \
	X(DELETE_FILES, "delete-files", "remove its folder")

#define INSTANCE_ACT_ENUM(name, text, what) ACT_##name,
enum instance_act { INSTANCE_ACTS(INSTANCE_ACT_ENUM) ACT_COUNT };
#undef INSTANCE_ACT_ENUM

/* How a server is (to be) started: decides the configuration file. */
struct start_mode {
	bool guarded;  /* `slaveof 127.0.0.1 0` whatever the role */
	bool from_rdb; /* `appendonly no`: a replica resumes from its dump.rdb (REDIS.md 3.5) */
};

/* What the agent knows of the instance beside the server's own answers. */
struct instance_local {
	const struct observation *obs; /* newest; its proc says if the rest means anything */
	bool conf_current;      /* the file on disk is what goal and `mode_now` ask for */
	bool live_current;      /* the running server has the settings the goal asks for */
	struct start_mode mode_now; /* of the running server, or of the last start */
	bool files_exist;       /* its folder exists */
	bool rdb_usable;        /* a boot from dump.rdb loses nothing that the AOF has: a clean stop wrote it */
	bool rdb_exists;        /* a dump.rdb is there, of a version whose RDB carries a position */
	bool aof_exists;        /* an AOF folder or file is there */
	bool marker_was_master; /* the durable marker last saw it as master; stays while it runs guarded */
	bool paused;            /* CLIENT PAUSE was sent and has neither been ended nor run out */
	bool clients_dropped;   /* as this goal asks */
	bool pause_spent;       /* its writes were paused for this goal already */
	bool never_linked;      /* this run of its server has had no link to any source yet */
	bool aof_unfinished;    /* there is an AOF that no server could load: its first rewrite did not end */
	int64_t applied_ms;     /* as a replica: since when its offset has stood still; 0: long */
	int64_t goal_ms;        /* since when the goal has asked for its role; 0: long */
	int64_t exited_ms;      /* clock of the last exit or failed start; 0: none since the agent's start */
	int64_t stop_sent_ms;   /* first SIGTERM sent; 0: not */
	int64_t stop_again_ms;  /* newest SIGTERM sent */
	int64_t kill_sent_ms;   /* SIGKILL sent; 0: not */
	unsigned failures;      /* starts in a row that failed */
	int64_t restart_delay_ms; /* setting agent.restart_delay */
	int64_t stop_limit_ms;
};

struct instance_in {
	const struct goal *goal;
	const struct goal_live *live; /* what came with this goal; all unknown when it did not */
	bool confirmed; /* the control plane sent or repeated this goal since the agent's start */
	bool stop;      /* all servers of this host are to stop, whatever their goals, and stay so */
	const struct instance_local *local;
	int64_t now_ms; /* monotonic */
};

struct instance_out {
	enum instance_act act;
	/* What holds after the act: WRITE_CONF writes for it, START starts in it; then it is mode_now. */
	struct start_mode mode;
	int64_t wake_ms;         /* call again then, though nothing changed; 0: no need */
	bool goal_applied;       /* act is NONE and everything the goal asks for is so */
	const char *why;         /* a literal, for the log */
};

struct instance_out instance_step(const struct instance_in *in);

const char *instance_act_name(enum instance_act a);
