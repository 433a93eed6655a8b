/*
 * What an agent saw of one instance. Made by the agent (proto/info reads the server's answers),
 * sent over proto/wire, kept in the control plane's memory only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/model.h"

enum proc_state {
	PROC_NONE,     /* never started here, or its files are gone */
	PROC_STARTING, /* spawned, does not answer yet */
	PROC_RUNNING,  /* answers (LOADING, BUSY and MISCONF are answers) */
	PROC_EXITED,   /* was running; the agent will start it again */
	PROC_FAILED,   /* does not start: `error` has its own words; the agent tries again, ever less often */
	PROC_HUNG,     /* alive, answers nothing within the limit */
	PROC_DELETED,  /* process and files are gone: confirms the goal `delete` */
	PROC_STATE_COUNT,
};

enum server_role { SERVER_ROLE_UNKNOWN, SERVER_ROLE_MASTER, SERVER_ROLE_REPLICA };

/* What the agent's own durable marker says of the files a source was started from. */
enum marker_verdict {
	MARKER_UNKNOWN,   /* the server was not started by this agent run and no file tells */
	MARKER_NEW,       /* first start: there were no files */
	MARKER_INTACT,    /* same boot of the host (or a clean stop), the same files: the AOF has all */
	MARKER_REBOOTED,  /* the same files, another boot and no clean stop: the last second may lack */
	MARKER_DIFFERENT, /* other files than the ones last seen: replaced, removed, put back */
	MARKER_MISSING,   /* files, but no marker */
	MARKER_VERDICT_COUNT,
};

/* A position that the agent recorded durably (fsync) before the server went away. */
struct recorded_position {
	struct replid replid; /* "" when there is no record */
	int64_t offset;
	int64_t keys;
};

struct observation {
	struct id instance;
	/* The goal that was last carried out completely; 0 before the first. */
	uint64_t goal_epoch, goal_revision;
	bool goal_applied;  /* everything the newest goal asks for is so */
	bool start_at_once; /* as the agent has it in its newest durable goal, see core/goal.h */
	uint64_t watch;     /* the newest watch number the agent had when it made this */

	enum proc_state proc;
	struct replid run_id;
	bool guarded;    /* started following a closed port, waits for the control plane's word */
	/*
	 * It takes no writes, because its agent fenced it, as of the INFO that the rest is from: an
	 * offset beside it was read behind the fence.
	 */
	bool fenced;
	char error[240]; /* the server's own words, when FAILED or EXITED abnormally */

	enum marker_verdict marker;
	struct recorded_position recorded;

	/* From INFO; meaningless unless proc is RUNNING. */
	bool loading;
	uint8_t loading_pct;
	enum server_role role;
	struct replid replid, replid2;
	int64_t offset;        /* master_repl_offset */
	int64_t second_offset; /* replid2 is valid below it; -1: none */
	int64_t slave_offset;  /* slave_repl_offset: applied; -1 on a master */
	int64_t read_offset;   /* slave_read_repl_offset: received; -1 on a master and before 6.2 */
	bool link_up;
	bool sync_in_progress;
	int64_t sync_done_bytes;  /* of the copy in progress; -1 unknown */
	int64_t sync_total_bytes; /* -1: the server tells no total */
	int32_t last_io_s;        /* master_last_io_seconds_ago; -1: link down */
	char upstream_host[64];
	uint16_t upstream_port;

	int64_t keys; /* over all databases */
	int64_t used_memory_bytes;
	uint32_t connected_clients;
	int64_t sync_full; /* full resyncs served since its start */
	int64_t save_progress; /* moves while it writes an RDB, for replicas too; -1: it writes none */
	bool aof_enabled, aof_rewriting, aof_last_rewrite_ok;
	bool aof_write_failed; /* what was acknowledged lately may be in memory only; not sent on */
	bool disk_error; /* its last AOF write, AOF rewrite or RDB failed */
	bool durable; /* AOF on, complete, no rewrite running or waiting (DESIGN.md 5) */
	int64_t disk_free_bytes, disk_used_bytes; /* file system of its directory; its directory */
};

const char *proc_state_name(enum proc_state s);
const char *server_role_name(enum server_role r);
const char *marker_verdict_name(enum marker_verdict v);
[[nodiscard]] bool proc_state_parse(const char *s, enum proc_state *ret);
[[nodiscard]] bool server_role_parse(const char *s, enum server_role *ret);
[[nodiscard]] bool marker_verdict_parse(const char *s, enum marker_verdict *ret);
