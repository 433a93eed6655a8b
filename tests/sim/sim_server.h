/*
 * A Redis server and its files, as REDIS.md 3 describes them (7.0): the data set, replication ids
 * and offsets, the backlog, full and partial resyncs over a link that may be cut, the stream that
 * lies unread in a replica's socket, AOF and RDB with what each survives, CLIENT PAUSE and
 * min-slaves-to-write. That it is so is a test: model_test.py plays the same scripts on this model
 * and on real servers. sim_server.c has the life of a server, sim_link.c its links and streams.
 */
#pragma once

#include "data.h"
#include "sim.h"

enum { STREAM_MAX = 96 }; /* entries of a backlog, and of a socket */

enum { WRITE_BYTES = 100, PING_BYTES = 14 };

/* Tried on 7.0.15, REDIS.md 3.4: it is counted once a second, and when a replica comes or goes. */
enum write_answer {
	WRITE_OK,
	WRITE_READONLY,   /* it is a replica */
	WRITE_NOREPLICAS, /* min-slaves-to-write */
	WRITE_PAUSED,     /* no answer until the pause ends */
	WRITE_NO_ANSWER,  /* no server, or one that loads or stands still */
};

/* A piece of the stream: a write, or (0) a ping. */
struct entry {
	int64_t end; /* offset behind it */
	int64_t arrives_ms;
	uint32_t write;
};

/* A ring that keeps the newest, or refuses when full: as the caller likes. */
struct stream {
	struct entry ring[STREAM_MAX];
	unsigned head, len;
};

struct position {
	struct replid replid;
	int64_t offset;
};

/* The AOF: what the kernel has, and what would survive the host's death. */
struct aof {
	bool there;
	struct data data, synced;
	uint64_t inode; /* which file it is: another after a rewrite, or when it was replaced */
	int64_t size, synced_size, mtime_ms;
};

/* The RDB carries the position, and is on the disk as a whole or not at all. */
struct rdb {
	bool there;
	struct data data;
	struct position at;
	uint64_t inode;
	int64_t size, born_ms, mtime_ms;
};

struct files {
	bool folder;
	struct aof aof;
	struct rdb rdb;
	struct aof aside; /* appendonlydir.old .. */
	bool aside_whole; /* .. of a former source: it had everything */
};

enum link {
	LINK_NONE,     /* a master, or follows the closed port */
	LINK_CONNECT,  /* tries at link_ms */
	LINK_SAVING,   /* full sync: the source writes its RDB until link_ms */
	LINK_TRANSFER, /* full sync: the RDB is on its way until link_ms */
	LINK_LOADING,  /* full sync: it is loaded until link_ms */
	LINK_UP,
};

/* What a source knows of a replica: late, when the network is cut or the source stands still. */
struct seen_replica {
	bool online;
	uint64_t run_no;
	int64_t ack_ms; /* of its newest REPLCONF ACK */
};

struct server {
	bool alive, stopped; /* stopped: SIGSTOP */
	bool ended_well;     /* it saved, and said goodbye */
	struct replid run;
	uint64_t run_no;
	int64_t ready_ms;     /* it loads its files until then */
	int64_t exit_ms;      /* SIGTERM was taken: it ends then; 0: not */
	bool replica, cached; /* cached: it may ask for a partial resync */
	int upstream;         /* SIM_NOBODY: the closed port */
	struct data data;
	struct position at;
	struct replid replid2;
	int64_t second_offset;
	bool backlog_on;
	int64_t backlog_from; /* offset before its first entry */
	struct stream backlog;

	enum link link;
	int64_t link_ms;
	uint64_t link_run; /* the run of the source at the other end */
	int64_t heard_ms;  /* of the source, last */
	int64_t stream_ms; /* the stream flows from then on: later than the link is up */
	struct stream inbox;
	bool overrun; /* the source dropped the link: the socket's buffer was full */
	bool ended;   /* the source is gone: what is in the socket is still read, then its end */
	int64_t slow_since_ms, slow_until_ms,
		next_apply_ms; /* busy: one piece of the stream at a time */
	struct data copy;      /* the RDB on its way */
	struct position copy_at;

	int64_t pause_ms;               /* CLIENT PAUSE WRITE lasts until then; 0: none */
	uint32_t min_slaves, max_lag_s; /* min-slaves-to-write, min-slaves-max-lag */
	unsigned good;                  /* replicas that count for it, as of the last count */
	struct seen_replica replicas[SIM_NODES];

	bool aof_on;
	bool files_lag;        /* after a full sync: the AOF has the data from before it */
	int64_t rewrite_ms;    /* a rewrite of the AOF ends then; 0: none runs */
	int64_t save_ms;       /* next save point */
	int64_t second_ms;     /* next second of its clock: fsync, ping, time-outs */
	int64_t save_until_ms; /* it writes an RDB for a replica until then */
	int64_t sync_full, sync_partial;
	int64_t died_ms;
	int64_t wake_ms;
};

struct server_start {
	bool replica;
	int upstream;  /* of a replica; SIM_NOBODY: guarded */
	bool from_rdb; /* appendonly no */
	uint32_t min_slaves, max_lag_s;
};

void stream_push(struct stream *s, struct entry e); /* drops the oldest when full */
struct entry stream_pop(struct stream *s);

void server_start(struct world *w, int node, const struct server_start *how);
/* What is due at w->now_ms; sets wake_ms. */
void server_tick(struct world *w, int node);
/* SIGKILL, or the power. */
void server_die(struct world *w, int node);
/* SIGTERM: false when it refuses (it writes its first AOF). */
bool server_stop(struct world *w, int node);
bool server_loading(const struct world *w, const struct server *s);
/* Alive, loaded, not stopped: it answers with its data. */
bool server_answers(const struct world *w, const struct server *s);
/* SLAVEOF; upstream SIM_NOBODY is the closed port. */
void server_follow(struct world *w, int node, int upstream);
void server_promote(struct world *w, int node);
void server_aof_on(struct world *w, int node);
void server_rewrite_aof(struct world *w, int node);
void server_save(struct world *w, int node);
enum write_answer server_write_answer(const struct world *w, int node);
/* A client's write, which server_write_answer() has allowed. */
void server_write(struct world *w, int node, uint32_t n);
void server_pause(struct world *w, int node, int64_t ms); /* 0: CLIENT UNPAUSE */
void server_min_slaves(struct world *w, int node, uint32_t n, uint32_t max_lag_s);
/* slave_read_repl_offset: also what it has read and, paused, not applied. */
int64_t server_read_offset(const struct world *w, const struct server *s);
/* The host loses its power: what was not synchronised goes. */
void files_lose_power(struct world *w, int node);

/* sim_link.c */

/* The other end of the link is still the server it was made with. */
bool link_is_made(const struct world *w, int replica, int source);
void link_drop(struct world *w, int node, int64_t again_ms);
/* `node` is gone, and its host is not: the others' sockets end with what is on its way. */
void links_end(struct world *w, int node);
/* All its replicas have to ask again. */
void links_disconnect(struct world *w, int node);
void links_tick(struct world *w, int node);
/* Once a second: pings, acknowledgements, time-outs, the count of good replicas. */
void links_second(struct world *w, int node);
void links_recount(struct world *w, int node);
void stream_feed(struct world *w, int node, uint32_t write, int64_t bytes);
void backlog_make(struct world *w, struct server *s);
/* How many replicas have applied all up to here, and have a connection that can say so. */
unsigned links_applied(const struct world *w, int node, int64_t offset);
void server_set_wake(struct world *w, struct server *s);
void rdb_write(struct world *w, int node, const struct data *d, const struct position *at);
void aof_append(struct world *w, int node, uint32_t write);
