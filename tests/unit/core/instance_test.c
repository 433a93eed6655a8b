/*
 * instance_step(): each row is a situation and the one step it calls for.
 */
#include "core/instance.h"

#include "../test.h"
#include "base/str.h"

#define RUN_1 "1111111111111111111111111111111111111111"
#define RUN_2 "2222222222222222222222222222222222222222"

#define MASTER .proc = PROC_RUNNING, .role = SERVER_ROLE_MASTER, .run_id = { RUN_1 }, .aof_enabled = true
#define REPLICA .proc = PROC_RUNNING, .role = SERVER_ROLE_REPLICA, .run_id = { RUN_1 }, .aof_enabled = true
#define LINKED REPLICA, .upstream_host = "127.0.77.1", .upstream_port = 6379, .link_up = true
#define CLOSED REPLICA, .upstream_host = "127.0.0.1", .upstream_port = 0

#define GOAL_S .goal = { .role = GOAL_SOURCE, .upstream_host = "", .confirmed_run = { RUN_1 } }
#define GOAL_S2 .goal = { .role = GOAL_SOURCE, .upstream_host = "", .confirmed_run = { RUN_2 } }
#define GOAL_ALONE .goal = { .role = GOAL_SOURCE, .upstream_host = "", .start_at_once = true }
#define GOAL_R .goal = { .role = GOAL_REPLICA, .upstream_host = "127.0.77.1", .upstream_port = 6379 }
#define GOAL_R_ACCEPT(run) .goal = { .role = GOAL_REPLICA, .upstream_host = "127.0.77.1", .upstream_port = 6379, \
				     .demote_accepted = true, .confirmed_run = { run } }
#define GOAL_G .goal = { .role = GOAL_GUARDED, .upstream_host = "" }
#define UPSTREAM .upstream_host = "127.0.77.1", .upstream_port = 6379
#define GOAL_Y .goal = { .role = GOAL_YIELDING, UPSTREAM, .confirmed_run = { RUN_1 }, .fenced = true }
#define GOAL_Y2 .goal = { .role = GOAL_YIELDING, UPSTREAM, .confirmed_run = { RUN_2 }, .fenced = true }
#define GOAL_R_DEMOTED .goal = { .role = GOAL_REPLICA, UPSTREAM, .demote_accepted = true }
#define GOAL_R_STAGED .goal = { .role = GOAL_REPLICA, UPSTREAM, .staged = true }
#define GOAL_R_DROP .goal = { .role = GOAL_REPLICA, UPSTREAM, .drop_clients = true }
#define GOAL_G_KILL .goal = { .role = GOAL_GUARDED, .upstream_host = "", .kill_hung = true }
#define GOAL_SEAL .goal = { .role = GOAL_SEALED, .upstream_host = "" }
#define PEER(n) .live = { .peer_offset = (n) }
#define FENCED(at) MASTER, .fenced = true, .offset = (at)
#define GUARDED_MODE .mode_now = { .guarded = true }
#define GOAL_DEL .goal = { .run = GOAL_DELETE, .upstream_host = "" }

#define GOOD .conf_current = true, .live_current = true, .files_exist = true

struct step_case {
	const char *says;
	struct goal goal;
	struct goal_live live;
	bool unconfirmed;
	bool stop;
	struct observation obs;
	struct instance_local local;
	enum instance_act want;
	struct start_mode mode;
	bool applied;
	int64_t wake_ms;
};

enum { NOW = 100000 };

/* clang-format off */
static const struct step_case cases[] = {
	/* the first start */
	{ "a source of a group of one: its file first", GOAL_ALONE, .want = ACT_WRITE_CONF },
	{ "then it starts, unguarded", GOAL_ALONE, .local = { .conf_current = true }, .want = ACT_START },
	{ "a goal from disk alone starts no source unguarded", GOAL_ALONE, .unconfirmed = true,
	  .local = { GOOD }, .want = ACT_WRITE_CONF, .mode = { .guarded = true } },
	{ "a source with replicas starts guarded, also without any files", GOAL_S,
	  .local = { .conf_current = true, .mode_now = { .guarded = true } },
	  .want = ACT_START, .mode = { .guarded = true } },
	{ "a new replica starts as a replica", GOAL_R, .local = { .conf_current = true }, .want = ACT_START },
	{ "a first start never boots from an RDB", GOAL_R, .local = { .rdb_usable = true }, .want = ACT_WRITE_CONF },

	/* a later start */
	{ "a source that was the confirmed run is guarded in its next", GOAL_S,
	  .obs = { .proc = PROC_EXITED }, .local = { GOOD }, .want = ACT_WRITE_CONF, .mode = { .guarded = true } },
	{ "a source never boots from its RDB", GOAL_S, .obs = { .proc = PROC_EXITED },
	  .local = { GOOD, .rdb_usable = true, .aof_exists = true, .mode_now = { .guarded = true } },
	  .want = ACT_START, .mode = { .guarded = true } },
	{ "a replica with an RDB sets its AOF aside first", GOAL_R, .obs = { .proc = PROC_EXITED },
	  .local = { GOOD, .rdb_usable = true, .aof_exists = true },
	  .want = ACT_SET_ASIDE_AOF, .mode = { .from_rdb = true } },
	{ "then its file says appendonly no", GOAL_R, .obs = { .proc = PROC_EXITED },
	  .local = { GOOD, .rdb_usable = true }, .want = ACT_WRITE_CONF, .mode = { .from_rdb = true } },
	{ "then it starts from its RDB", GOAL_R, .obs = { .proc = PROC_EXITED },
	  .local = { GOOD, .rdb_usable = true, .mode_now = { .from_rdb = true } },
	  .want = ACT_START, .mode = { .from_rdb = true } },
	{ "a replica that was a master keeps its own writes: guarded, AOF untouched", GOAL_R,
	  .obs = { .proc = PROC_EXITED },
	  .local = { GOOD, .marker_was_master = true, .rdb_usable = true, .aof_exists = true },
	  .want = ACT_WRITE_CONF, .mode = { .guarded = true } },
	{ "and stays guarded when it dies again", GOAL_R, .obs = { .proc = PROC_EXITED },
	  .local = { GOOD, .mode_now = { .guarded = true }, .rdb_usable = true },
	  .want = ACT_START, .mode = { .guarded = true } },
	{ "until the operator gives its writes up", GOAL_R_ACCEPT(RUN_1), .obs = { .proc = PROC_EXITED },
	  .local = { GOOD, .marker_was_master = true, .mode_now = { .guarded = true } }, .want = ACT_WRITE_CONF },
	{ "a guarded goal starts guarded", GOAL_G, .obs = { .proc = PROC_EXITED },
	  .local = { GOOD, .mode_now = { .guarded = true } }, .want = ACT_START, .mode = { .guarded = true } },

	/* when it starts */
	{ "a restart waits its delay", GOAL_R, .obs = { .proc = PROC_EXITED },
	  .local = { GOOD, .exited_ms = NOW - 100, .restart_delay_ms = 250 }, .wake_ms = NOW + 150 },
	{ "and starts after it", GOAL_R, .obs = { .proc = PROC_EXITED },
	  .local = { GOOD, .exited_ms = NOW - 250, .restart_delay_ms = 250 }, .want = ACT_START },
	{ "a death without a failure is followed by a start at once", GOAL_R, .obs = { .proc = PROC_EXITED },
	  .local = { GOOD, .exited_ms = NOW }, .want = ACT_START },
	{ "the first failure costs a second", GOAL_R, .obs = { .proc = PROC_FAILED },
	  .local = { GOOD, .exited_ms = NOW, .failures = 1 }, .wake_ms = NOW + 1000 },
	{ "the third four", GOAL_R, .obs = { .proc = PROC_FAILED },
	  .local = { GOOD, .exited_ms = NOW, .failures = 3 }, .wake_ms = NOW + 4000 },
	{ "the sixth thirty", GOAL_R, .obs = { .proc = PROC_FAILED },
	  .local = { GOOD, .exited_ms = NOW, .failures = 6 }, .wake_ms = NOW + 30000 },
	{ "the millionth no more than that", GOAL_R, .obs = { .proc = PROC_FAILED },
	  .local = { GOOD, .exited_ms = NOW, .failures = 1000000 }, .wake_ms = NOW + 30000 },

	/* it runs */
	{ "what was started and does not answer is waited for", GOAL_S, .obs = { .proc = PROC_STARTING }, .local = { GOOD } },
	{ "what hangs is left alone", GOAL_S, .obs = { .proc = PROC_HUNG }, .local = { GOOD } },
	{ "what loads is left alone", GOAL_S, .obs = { MASTER, .loading = true }, .local = { .files_exist = true } },
	{ "the goal's settings come first", GOAL_R, .obs = { MASTER }, .local = { .conf_current = true }, .want = ACT_CONFIG_SET },
	{ "then the file", GOAL_S, .obs = { MASTER }, .local = { .live_current = true }, .want = ACT_WRITE_CONF },
	{ "a source in its role is as it should be", GOAL_S, .obs = { MASTER }, .local = { GOOD }, .applied = true },
	{ "a role not told yet is waited for", GOAL_S, .obs = { .proc = PROC_RUNNING }, .local = { GOOD } },

	/* source */
	{ "a guarded source of another run waits for a word", GOAL_S2, .obs = { CLOSED },
	  .local = { GOOD, .mode_now = { .guarded = true } }, .mode = { .guarded = true } },
	{ "its confirmed run is promoted", GOAL_S, .obs = { CLOSED },
	  .local = { GOOD, .mode_now = { .guarded = true } }, .want = ACT_PROMOTE },
	{ "but not on the word of a goal from disk", GOAL_S, .unconfirmed = true, .obs = { CLOSED },
	  .local = { GOOD, .mode_now = { .guarded = true } }, .mode = { .guarded = true } },
	{ "promoted, its file is brought in line", GOAL_S, .obs = { MASTER },
	  .local = { GOOD, .mode_now = { .guarded = true } }, .want = ACT_WRITE_CONF },
	{ "a group of one is promoted whatever its run", GOAL_ALONE, .obs = { CLOSED },
	  .local = { GOOD, .mode_now = { .guarded = true } }, .want = ACT_PROMOTE },
	{ "a group of one is not promoted from disk", GOAL_ALONE, .unconfirmed = true, .obs = { CLOSED },
	  .local = { GOOD, .mode_now = { .guarded = true } }, .mode = { .guarded = true } },
	{ "a master of an unconfirmed run is guarded", GOAL_S2, .obs = { MASTER }, .local = { GOOD },
	  .want = ACT_GUARD, .mode = { .guarded = true } },
	{ "but left alone while the goal is from disk", GOAL_S2, .unconfirmed = true, .obs = { MASTER }, .local = { GOOD } },
	{ "a source with no confirmed run at all is guarded",
	  .goal = { .role = GOAL_SOURCE, .upstream_host = "" }, .obs = { MASTER }, .local = { GOOD },
	  .want = ACT_GUARD, .mode = { .guarded = true } },

	/* replica */
	{ "a replica of its upstream is as it should be", GOAL_R, .obs = { LINKED }, .local = { GOOD }, .applied = true },
	{ "a link that is down is no reason to act", GOAL_R,
	  .obs = { REPLICA, .upstream_host = "127.0.77.1", .upstream_port = 6379 }, .local = { GOOD }, .applied = true },
	{ "another host: follow", GOAL_R, .obs = { REPLICA, .upstream_host = "127.0.77.9", .upstream_port = 6379 },
	  .local = { GOOD }, .want = ACT_FOLLOW },
	{ "another port: follow", GOAL_R, .obs = { REPLICA, .upstream_host = "127.0.77.1", .upstream_port = 6380 },
	  .local = { GOOD }, .want = ACT_FOLLOW },
	{ "not on the word of a goal from disk", GOAL_R, .unconfirmed = true,
	  .obs = { REPLICA, .upstream_host = "127.0.77.9", .upstream_port = 6379 }, .local = { GOOD } },
	{ "a replica promoted by hand is left alone", GOAL_R, .obs = { MASTER }, .local = { GOOD } },
	{ "so is one that came back guarded", GOAL_R, .obs = { CLOSED },
	  .local = { GOOD, .mode_now = { .guarded = true } }, .mode = { .guarded = true } },
	{ "until its writes are given up", GOAL_R_ACCEPT(RUN_1), .obs = { MASTER }, .local = { GOOD }, .want = ACT_FOLLOW },
	{ "guarded too", GOAL_R_ACCEPT(RUN_1), .obs = { CLOSED },
	  .local = { GOOD, .mode_now = { .guarded = true } }, .want = ACT_FOLLOW },
	{ "the word was for one run, not for the next", GOAL_R_ACCEPT(RUN_2), .obs = { MASTER }, .local = { GOOD } },
	{ "booted from its RDB, not linked: wait", GOAL_R,
	  .obs = { .proc = PROC_RUNNING, .role = SERVER_ROLE_REPLICA, .upstream_host = "127.0.77.1", .upstream_port = 6379 },
	  .local = { GOOD, .mode_now = { .from_rdb = true } }, .mode = { .from_rdb = true } },
	{ "booted from its RDB, linked: AOF on", GOAL_R,
	  .obs = { .proc = PROC_RUNNING, .role = SERVER_ROLE_REPLICA, .upstream_host = "127.0.77.1", .upstream_port = 6379, .link_up = true },
	  .local = { GOOD, .mode_now = { .from_rdb = true } }, .want = ACT_AOF_ON },
	{ "booted from its RDB, copying: wait", GOAL_R,
	  .obs = { .proc = PROC_RUNNING, .role = SERVER_ROLE_REPLICA, .upstream_host = "127.0.77.1", .upstream_port = 6379,
		   .link_up = true, .sync_in_progress = true },
	  .local = { GOOD, .mode_now = { .from_rdb = true } }, .mode = { .from_rdb = true } },
	{ "AOF on, its file is brought in line", GOAL_R, .obs = { LINKED },
	  .local = { GOOD, .mode_now = { .from_rdb = true } }, .want = ACT_WRITE_CONF },

	/* guarded */
	{ "a guarded goal guards a master", GOAL_G, .obs = { MASTER }, .local = { GOOD }, .want = ACT_GUARD, .mode = { .guarded = true } },
	{ "a guarded goal guards a replica", GOAL_G, .obs = { LINKED }, .local = { GOOD }, .want = ACT_GUARD, .mode = { .guarded = true } },
	{ "guarded is guarded", GOAL_G, .obs = { CLOSED }, .local = { GOOD, .mode_now = { .guarded = true } },
	  .mode = { .guarded = true }, .applied = true },

	/* yielding */
	{ "who is to hand over is fenced first, whatever its successor has", GOAL_Y, PEER(999),
	  .obs = { MASTER, .offset = 500 }, .local = { GOOD }, .want = ACT_FENCE },
	{ "not on the word of a goal from disk", GOAL_Y, .unconfirmed = true, .obs = { MASTER }, .local = { GOOD } },
	{ "fenced, it waits while nothing is known of its successor", GOAL_Y, PEER(-1), .obs = { FENCED(500) }, .local = { GOOD } },
	{ "and while its successor lacks a byte", GOAL_Y, PEER(499), .obs = { FENCED(500) }, .local = { GOOD } },
	{ "and then yields", GOAL_Y, PEER(500), .obs = { FENCED(500) }, .local = { GOOD }, .want = ACT_YIELD },
	{ "a pause that ran out is not begun anew: nobody is there to take it back", GOAL_Y, PEER(-1), .obs = { MASTER, .offset = 500 },
	  .local = { GOOD, .pause_spent = true } },
	{ "without a pause too: the fence may have outlived it", GOAL_Y, PEER(501), .obs = { FENCED(500) },
	  .local = { GOOD, .paused = true }, .want = ACT_YIELD },
	{ "nor does it yield on the word of a goal from disk", GOAL_Y, PEER(500), .unconfirmed = true,
	  .obs = { FENCED(500) }, .local = { GOOD } },
	{ "who has yielded is done", GOAL_Y, PEER(-1), .obs = { LINKED }, .local = { GOOD }, .applied = true },
	{ "its clients are let go: its role refuses them now", GOAL_Y, PEER(-1), .obs = { LINKED, .fenced = true },
	  .local = { GOOD, .paused = true }, .want = ACT_UNFENCE },
	{ "and its file waits on", GOAL_Y, PEER(-1), .obs = { LINKED }, .local = { .live_current = true } },
	{ "who follows somebody else is moved on: it is no master any more", GOAL_Y, PEER(-1),
	  .obs = { REPLICA, .upstream_host = "127.0.77.9", .upstream_port = 6379 }, .local = { GOOD }, .want = ACT_YIELD },
	{ "a run of another number neither yields nor is master", GOAL_Y2, PEER(999), .obs = { FENCED(500) }, .local = { GOOD },
	  .want = ACT_GUARD, .mode = { .guarded = true } },
	{ "it waits guarded", GOAL_Y2, PEER(999), .obs = { CLOSED },
	  .local = { GOOD, GUARDED_MODE }, .mode = { .guarded = true } },
	{ "one that died starts guarded", GOAL_Y, .obs = { .proc = PROC_EXITED }, .local = { GOOD, GUARDED_MODE },
	  .want = ACT_START, .mode = { .guarded = true } },
	{ "a stale file waits while its clients do", GOAL_Y, PEER(1), .obs = { FENCED(500) }, .local = { .live_current = true } },
	{ "settings do not", GOAL_Y, PEER(1), .obs = { FENCED(500) }, .local = { .conf_current = true }, .want = ACT_CONFIG_SET },

	/* it moves to the next source before that is one */
	{ "it stands still first, whatever the next source has", GOAL_R_STAGED, PEER(999),
	  .obs = { REPLICA, .upstream_host = "127.0.77.9", .upstream_port = 6379, .slave_offset = 500 }, .local = { GOOD },
	  .want = ACT_SEAL },
	{ "it waits while the next source is behind it", GOAL_R_STAGED, PEER(499), .obs = { CLOSED, .slave_offset = 500 },
	  .local = { GOOD } },
	{ "or nothing is known of that", GOAL_R_STAGED, PEER(-1), .obs = { CLOSED, .slave_offset = 500 }, .local = { GOOD } },
	{ "it follows one that has passed it", GOAL_R_STAGED, PEER(500), .obs = { CLOSED, .slave_offset = 500 },
	  .local = { GOOD }, .want = ACT_FOLLOW },
	{ "one that came back without a place in the stream waits: it cannot tell who has more", GOAL_R_STAGED, PEER(500),
	  .obs = { CLOSED }, .local = { GOOD, .never_linked = true } },
	{ "with a place it can", GOAL_R_STAGED, PEER(500), .obs = { CLOSED, .slave_offset = 500 },
	  .local = { GOOD, .never_linked = true }, .want = ACT_FOLLOW },
	{ "who follows it already stays", GOAL_R_STAGED, PEER(-1), .obs = { LINKED, .slave_offset = 500 }, .local = { GOOD },
	  .applied = true },

	/* what a fence left behind */
	{ "undone before it yielded: the fence goes", GOAL_S, PEER(999), .obs = { FENCED(500) }, .local = { GOOD }, .want = ACT_UNFENCE },
	{ "a pause without a fence too", GOAL_S, .obs = { MASTER }, .local = { GOOD, .paused = true }, .want = ACT_UNFENCE },
	{ "which is no reason to doubt a goal from disk", GOAL_S, .unconfirmed = true, .obs = { MASTER },
	  .local = { GOOD, .paused = true }, .applied = true },
	{ "undone after it: master first, nobody else is", GOAL_S, .obs = { LINKED, .fenced = true },
	  .local = { GOOD, .paused = true }, .want = ACT_PROMOTE },
	{ "the fence does not go on the word of a goal from disk", GOAL_S, .unconfirmed = true, .obs = { FENCED(500) },
	  .local = { GOOD } },
	{ "once it is demoted for good its clients are let go", GOAL_R_DEMOTED, .obs = { LINKED, .fenced = true },
	  .local = { .live_current = true, .paused = true }, .want = ACT_UNFENCE },
	{ "before it follows they are not", GOAL_R_DEMOTED, .obs = { REPLICA, .upstream_host = "127.0.77.9", .fenced = true },
	  .local = { GOOD, .paused = true }, .want = ACT_FOLLOW },
	{ "a pause does not end on the word of a goal from disk", GOAL_R_DEMOTED, .unconfirmed = true, .obs = { LINKED },
	  .local = { GOOD, .paused = true }, .applied = true },
	{ "a fence by min-slaves goes too", GOAL_R_DEMOTED, .obs = { LINKED, .fenced = true }, .local = { GOOD }, .want = ACT_UNFENCE },
	{ "then its file is written", GOAL_R_DEMOTED, .obs = { LINKED }, .local = { .live_current = true }, .want = ACT_WRITE_CONF },
	{ "clients are dropped", GOAL_R_DROP, .obs = { LINKED }, .local = { GOOD }, .want = ACT_DROP_CLIENTS },
	{ "once", GOAL_R_DROP, .obs = { LINKED }, .local = { GOOD, .clients_dropped = true }, .applied = true },
	{ "not before it follows", GOAL_R_DROP, .obs = { REPLICA, .upstream_host = "127.0.77.9" }, .local = { GOOD },
	  .want = ACT_FOLLOW },

	/* an RDB and no AOF that could be loaded */
	{ "a source without an AOF boots from its RDB: else it had no data", GOAL_S, .obs = { .proc = PROC_EXITED },
	  .local = { GOOD, .rdb_exists = true, .mode_now = { .guarded = true, .from_rdb = true } },
	  .want = ACT_START, .mode = { .guarded = true, .from_rdb = true } },
	{ "or with one whose first rewrite did not end, which is set aside", GOAL_S, .obs = { .proc = PROC_EXITED },
	  .local = { GOOD, .rdb_exists = true, .aof_exists = true, .aof_unfinished = true },
	  .want = ACT_SET_ASIDE_AOF, .mode = { .guarded = true, .from_rdb = true } },
	{ "confirmed it is promoted", GOAL_S, .obs = { CLOSED },
	  .local = { GOOD, .mode_now = { .guarded = true, .from_rdb = true } }, .want = ACT_PROMOTE, .mode = { .from_rdb = true } },
	{ "and has an AOF before anything else", GOAL_S, .obs = { .proc = PROC_RUNNING, .role = SERVER_ROLE_MASTER, .run_id = { RUN_1 } },
	  .local = { GOOD, .mode_now = { .from_rdb = true } }, .want = ACT_AOF_ON },

	/* sealed */
	{ "a replica is sealed", GOAL_SEAL, .obs = { LINKED }, .local = { GOOD }, .want = ACT_SEAL },
	{ "not on the word of a goal from disk", GOAL_SEAL, .unconfirmed = true, .obs = { LINKED }, .local = { GOOD } },
	{ "one that moved a moment ago applies what it has received first", GOAL_SEAL, .obs = { LINKED },
	  .local = { GOOD, .applied_ms = NOW - 49, .goal_ms = NOW - 100 } },
	{ "until it stands still", GOAL_SEAL, .obs = { LINKED },
	  .local = { GOOD, .applied_ms = NOW - 50, .goal_ms = NOW - 100 }, .want = ACT_SEAL },
	{ "or does not for long", GOAL_SEAL, .obs = { LINKED },
	  .local = { GOOD, .applied_ms = NOW - 1, .goal_ms = NOW - 2000 }, .want = ACT_SEAL },
	{ "without a link there is nothing more to come", GOAL_SEAL,
	  .obs = { REPLICA, .upstream_host = "127.0.77.1", .upstream_port = 6379 },
	  .local = { GOOD, .applied_ms = NOW - 1, .goal_ms = NOW - 100 }, .want = ACT_SEAL },
	{ "sealed is sealed, and no guarded run", GOAL_SEAL, .obs = { CLOSED }, .local = { GOOD }, .applied = true },
	{ "one that boots from its RDB stays one", GOAL_SEAL, .obs = { LINKED }, .local = { GOOD, .mode_now = { .from_rdb = true } },
	  .want = ACT_SEAL, .mode = { .from_rdb = true } },
	{ "one promoted by hand is not sealed: its writes are its own", GOAL_SEAL, .obs = { MASTER }, .local = { GOOD } },
	{ "nor one that came back guarded", GOAL_SEAL, .obs = { CLOSED }, .local = { GOOD, GUARDED_MODE }, .mode = { .guarded = true } },
	{ "one that died starts sealed, by its file", GOAL_SEAL, .obs = { .proc = PROC_EXITED }, .local = { GOOD }, .want = ACT_START },
	{ "from its RDB where that has all", GOAL_SEAL, .obs = { .proc = PROC_EXITED },
	  .local = { GOOD, .rdb_usable = true, .mode_now = { .from_rdb = true } }, .want = ACT_START, .mode = { .from_rdb = true } },
	{ "sealed, and the eject is over: it follows the winner", GOAL_R, .obs = { CLOSED }, .local = { GOOD }, .want = ACT_FOLLOW },
	{ "or is the winner", GOAL_S, .obs = { CLOSED }, .local = { GOOD }, .want = ACT_PROMOTE },

	/* a former source whose own writes are given up */
	{ "it starts from its RDB, however old", GOAL_R_DEMOTED, .obs = { .proc = PROC_EXITED },
	  .local = { GOOD, .marker_was_master = true, .rdb_exists = true, .aof_exists = true },
	  .want = ACT_SET_ASIDE_AOF, .mode = { .from_rdb = true } },
	{ "one without an RDB starts as it is", GOAL_R_DEMOTED, .obs = { .proc = PROC_EXITED },
	  .local = { GOOD, .marker_was_master = true, .aof_exists = true }, .want = ACT_START },
	{ "one that never was a source keeps its AOF", GOAL_R_DEMOTED, .obs = { .proc = PROC_EXITED },
	  .local = { GOOD, .rdb_exists = true, .aof_exists = true }, .want = ACT_START },
	{ "whose writes are not given up stays guarded with its AOF", GOAL_R, .obs = { .proc = PROC_EXITED },
	  .local = { GOOD, GUARDED_MODE, .rdb_exists = true, .aof_exists = true }, .want = ACT_START, .mode = { .guarded = true } },
	{ "one that runs guarded without a position is killed for it", GOAL_R_DEMOTED, .obs = { CLOSED, .guarded = true },
	  .local = { GOOD, GUARDED_MODE, .rdb_exists = true }, .want = ACT_KILL, .mode = { .guarded = true } },
	{ "once", GOAL_R_DEMOTED, .obs = { CLOSED, .guarded = true },
	  .local = { GOOD, GUARDED_MODE, .rdb_exists = true, .kill_sent_ms = NOW }, .mode = { .guarded = true } },
	{ "not on the word of a goal from disk", GOAL_R_DEMOTED, .unconfirmed = true, .obs = { CLOSED, .guarded = true },
	  .local = { GOOD, GUARDED_MODE, .rdb_exists = true }, .mode = { .guarded = true } },
	{ "not when the word is for another run", GOAL_R_ACCEPT(RUN_2), .obs = { CLOSED, .guarded = true },
	  .local = { GOOD, GUARDED_MODE, .rdb_exists = true }, .mode = { .guarded = true } },
	{ "one with a position follows at once", GOAL_R_DEMOTED, .obs = { CLOSED, .guarded = true, .offset = 500 },
	  .local = { GOOD, GUARDED_MODE, .rdb_exists = true }, .want = ACT_FOLLOW },
	{ "one without an RDB too", GOAL_R_DEMOTED, .obs = { CLOSED, .guarded = true },
	  .local = { GOOD, GUARDED_MODE }, .want = ACT_FOLLOW },

	/* one that hangs and is to be fenced */
	{ "it is killed", GOAL_G_KILL, .obs = { .proc = PROC_HUNG }, .local = { GOOD }, .want = ACT_KILL },
	{ "once", GOAL_G_KILL, .obs = { .proc = PROC_HUNG }, .local = { GOOD, .kill_sent_ms = NOW } },
	{ "not on the word of a goal from disk", GOAL_G_KILL, .unconfirmed = true, .obs = { .proc = PROC_HUNG }, .local = { GOOD } },
	{ "what answers is guarded, not killed", GOAL_G_KILL, .obs = { MASTER }, .local = { GOOD },
	  .want = ACT_GUARD, .mode = { .guarded = true } },
	{ "and comes back guarded", GOAL_G_KILL, .obs = { .proc = PROC_EXITED }, .local = { GOOD, GUARDED_MODE, .aof_exists = true, .rdb_exists = true },
	  .want = ACT_START, .mode = { .guarded = true } },

	/* delete */
	{ "delete kills it: there is nothing to save", GOAL_DEL, .obs = { MASTER }, .local = { GOOD }, .want = ACT_KILL },
	{ "once", GOAL_DEL, .obs = { MASTER }, .local = { GOOD, .kill_sent_ms = NOW } },
	{ "what hangs is killed too", GOAL_DEL, .obs = { .proc = PROC_HUNG }, .local = { GOOD }, .want = ACT_KILL },
	{ "and what is starting", GOAL_DEL, .obs = { .proc = PROC_STARTING }, .local = { GOOD }, .want = ACT_KILL },
	{ "what has gone leaves files", GOAL_DEL, .obs = { .proc = PROC_EXITED }, .local = { GOOD }, .want = ACT_DELETE_FILES },
	{ "what failed to start does too", GOAL_DEL, .obs = { .proc = PROC_FAILED }, .local = { GOOD }, .want = ACT_DELETE_FILES },
	{ "and then it is done", GOAL_DEL, .obs = { .proc = PROC_DELETED }, .local = { .files_exist = false }, .applied = true },
	{ "what was deleted is not started again", GOAL_R, .obs = { .proc = PROC_DELETED }, .local = {} },

	/* the host's servers are to stop */
	{ "a stop lets it save", GOAL_R, .stop = true, .obs = { LINKED }, .local = { GOOD }, .want = ACT_STOP },
	{ "a stop has its limit", GOAL_R, .stop = true, .obs = { LINKED },
	  .local = { GOOD, .stop_sent_ms = NOW - 10, .stop_again_ms = NOW - 10, .stop_limit_ms = 30 }, .wake_ms = NOW + 20 },
	{ "a server that writes its first AOF refuses, and is told again", GOAL_R, .stop = true, .obs = { LINKED },
	  .local = { GOOD, .stop_sent_ms = NOW - 250, .stop_again_ms = NOW - 250, .stop_limit_ms = 30000 }, .want = ACT_STOP },
	{ "but not at once", GOAL_R, .stop = true, .obs = { LINKED },
	  .local = { GOOD, .stop_sent_ms = NOW - 350, .stop_again_ms = NOW - 100, .stop_limit_ms = 30000 }, .wake_ms = NOW + 150 },
	{ "after it, it is killed", GOAL_R, .stop = true, .obs = { LINKED },
	  .local = { GOOD, .stop_sent_ms = NOW - 30, .stop_limit_ms = 30 }, .want = ACT_KILL },
	{ "a guarded one is killed: it would write an RDB without a position", GOAL_G, .stop = true,
	  .obs = { CLOSED, .guarded = true }, .local = { GOOD, GUARDED_MODE }, .want = ACT_KILL, .mode = { .guarded = true } },
	{ "but saves where it has no AOF", GOAL_G, .stop = true,
	  .obs = { .proc = PROC_RUNNING, .role = SERVER_ROLE_REPLICA, .guarded = true },
	  .local = { GOOD, GUARDED_MODE }, .want = ACT_STOP, .mode = { .guarded = true } },
	{ "what stopped is not started again", GOAL_R, .stop = true, .obs = { .proc = PROC_EXITED }, .local = { GOOD } },
};
/* clang-format on */

static struct instance_out run_case(const struct step_case *c)
{
	struct instance_local local = c->local;

	local.obs = &c->obs;
	return instance_step(&(struct instance_in){
		.goal = &c->goal,
		.live = &c->live,
		.confirmed = !c->unconfirmed,
		.stop = c->stop,
		.local = &local,
		.now_ms = NOW,
	});
}

static void instance_policy(void **)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct step_case *c = &cases[i];
		struct instance_out got = run_case(c);

		if (got.act != c->want || got.mode.guarded != c->mode.guarded ||
		    got.mode.from_rdb != c->mode.from_rdb || got.goal_applied != c->applied ||
		    got.wake_ms != c->wake_ms || got.why == NULL) {
			fail_msg("%s: got %s guarded=%d from_rdb=%d applied=%d wake=%lld (%s), want %s "
				 "guarded=%d from_rdb=%d applied=%d wake=%lld",
				 c->says, instance_act_name(got.act), got.mode.guarded,
				 got.mode.from_rdb, got.goal_applied, (long long)got.wake_ms, got.why,
				 instance_act_name(c->want), c->mode.guarded, c->mode.from_rdb,
				 c->applied, (long long)c->wake_ms);
		}
	}
}

/* What an act makes of the world, in little: enough to see that steps come to an end. */
static void carry_out(struct instance_out step, const struct goal *goal,
		      struct instance_local *l, struct observation *o)
{
	l->mode_now = step.mode;
	switch (step.act) {
	case ACT_WRITE_CONF:
		l->conf_current = true;
		l->files_exist = true;
		break;
	case ACT_SET_ASIDE_AOF:
		l->aof_exists = false;
		break;
	case ACT_START:
		*o = (struct observation){ .proc = PROC_RUNNING, .run_id = { RUN_2 },
					   .aof_enabled = !step.mode.from_rdb };
		o->role = goal->role == GOAL_SOURCE && !step.mode.guarded ? SERVER_ROLE_MASTER
									   : SERVER_ROLE_REPLICA;
		if (goal->role == GOAL_REPLICA && !step.mode.guarded) {
			(void)str_copy(o->upstream_host, sizeof o->upstream_host, goal->upstream_host);
			o->upstream_port = goal->upstream_port;
			o->link_up = true;
		}
		break;
	case ACT_CONFIG_SET:
		l->live_current = true;
		break;
	case ACT_FOLLOW:
		o->role = SERVER_ROLE_REPLICA;
		(void)str_copy(o->upstream_host, sizeof o->upstream_host, goal->upstream_host);
		o->upstream_port = goal->upstream_port;
		o->link_up = true;
		break;
	case ACT_GUARD:
		o->role = SERVER_ROLE_REPLICA;
		o->upstream_port = 0;
		break;
	case ACT_PROMOTE:
		o->role = SERVER_ROLE_MASTER;
		break;
	case ACT_YIELD:
		o->role = SERVER_ROLE_REPLICA;
		(void)str_copy(o->upstream_host, sizeof o->upstream_host, goal->upstream_host);
		o->upstream_port = goal->upstream_port;
		break;
	case ACT_SEAL:
		o->role = SERVER_ROLE_REPLICA;
		o->upstream_port = 0;
		break;
	case ACT_FENCE:
		o->fenced = true;
		l->paused = true;
		break;
	case ACT_UNFENCE:
		o->fenced = false;
		l->paused = false;
		break;
	case ACT_DROP_CLIENTS:
		l->clients_dropped = true;
		break;
	case ACT_AOF_ON:
		o->aof_enabled = true;
		break;
	case ACT_STOP:
	case ACT_KILL:
		*o = (struct observation){ .proc = PROC_EXITED };
		break;
	case ACT_DELETE_FILES:
		l->files_exist = false;
		break;
	case ACT_NONE:
	case ACT_COUNT:
		break;
	}
	if (step.act != ACT_WRITE_CONF && step.act != ACT_START) {
		/* A change of mode makes the file stale; instance_step() sees it by the mode. */
		l->conf_current = l->conf_current && step.act == ACT_CONFIG_SET;
	}
}

/* From every row's situation the steps end within a few, in a wait or with the goal applied. */
static void steps_come_to_an_end(void **)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct step_case *c = &cases[i];
		struct observation o = c->obs;
		struct instance_local local = c->local;
		int n = 0;

		local.obs = &o;
		for (; n < 12; n++) {
			struct instance_out step = instance_step(&(struct instance_in){
				.goal = &c->goal, .live = &c->live, .confirmed = !c->unconfirmed,
				.local = &local, .now_ms = NOW });

			if (step.act == ACT_NONE) {
				break;
			}
			carry_out(step, &c->goal, &local, &o);
		}
		if (n == 12) {
			fail_msg("%s: the steps do not end", c->says);
		}
	}
}

static void act_names_are_distinct(void **)
{
	for (int a = 0; a < ACT_COUNT; a++) {
		for (int b = a + 1; b < ACT_COUNT; b++) {
			assert_string_not_equal(instance_act_name((enum instance_act)a),
						instance_act_name((enum instance_act)b));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(instance_policy),
		cmocka_unit_test(steps_come_to_an_end),
		cmocka_unit_test(act_names_are_distinct),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
