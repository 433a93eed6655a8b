/*
 * The server model. Its numbers are the lengths of a few kinds of waiting; what matters is what
 * is kept and what is lost at each event, and that is commented where it is not obvious.
 */
#include "sim_server.h"

#include <assert.h>

#include "world.h"

enum { SECOND_MS = 1000 };

/* streams */

void stream_push(struct stream *s, struct entry e)
{
	if (s->len == STREAM_MAX) {
		(void)stream_pop(s);
	}
	s->ring[(s->head + s->len++) % STREAM_MAX] = e;
}

struct entry stream_pop(struct stream *s)
{
	assert(s->len > 0);
	struct entry e = s->ring[s->head];

	s->head = (s->head + 1) % STREAM_MAX;
	s->len--;
	return e;
}

static struct server *server_of(struct world *w, int node)
{
	return &w->nodes[node].server;
}

bool server_loading(const struct world *w, const struct server *s)
{
	return w->now_ms < s->ready_ms || s->link == LINK_LOADING;
}

bool server_answers(const struct world *w, const struct server *s)
{
	return s->alive && !s->stopped && !server_loading(w, s);
}

/* files */

static void aof_replace(struct world *w, int node)
{
	struct node *n = &w->nodes[node];

	n->files.aof = (struct aof){
		.there = true,
		.data = n->server.data,
		.synced = n->server.data,
		.inode = ++w->fresh,
		.mtime_ms = w->now_ms,
	};
}

void aof_append(struct world *w, int node, uint32_t write)
{
	struct node *n = &w->nodes[node];

	/* Between a full sync and the end of its rewrite the old files are what a boot finds. */
	if (!n->server.aof_on || n->server.files_lag) {
		return;
	}
	data_write(&n->files.aof.data, write);
	n->files.aof.size++;
	n->files.aof.mtime_ms = w->now_ms;
}

static void aof_sync(struct node *n)
{
	n->files.aof.synced = n->files.aof.data;
	n->files.aof.synced_size = n->files.aof.size;
}

void files_lose_power(struct world *w, int node)
{
	struct aof *aof = &w->nodes[node].files.aof;

	if (sim_one_in(w, 4)) {
		return; /* the kernel had written it all by then */
	}
	aof->data = aof->synced;
	aof->size = aof->synced_size;
}

void rdb_write(struct world *w, int node, const struct data *d, const struct position *at)
{
	struct node *n = &w->nodes[node];

	n->files.rdb = (struct rdb){
		.there = true,
		.data = *d,
		.at = *at,
		.inode = ++w->fresh,
		.born_ms = w->now_ms,
		.mtime_ms = w->now_ms,
	};
}

void server_save(struct world *w, int node)
{
	rdb_write(w, node, &server_of(w, node)->data, &server_of(w, node)->at);
}

/* The manifest names another file from the start of a rewrite on, and again at its end. */
void server_rewrite_aof(struct world *w, int node)
{
	struct server *s = server_of(w, node);

	if (s->aof_on && s->rewrite_ms == 0) {
		s->rewrite_ms = w->now_ms + sim_between(w, 20, 1500);
		if (!s->files_lag) {
			w->nodes[node].files.aof.inode = ++w->fresh;
		}
	}
}

static void rewrite_done(struct world *w, int node)
{
	server_of(w, node)->rewrite_ms = 0;
	server_of(w, node)->files_lag = false;
	aof_replace(w, node);
	STORY(w, "%s: its AOF is rewritten", w->nodes[node].name);
}

/* the clock of a server */

static void second(struct world *w, int node)
{
	struct server *s = server_of(w, node);

	s->second_ms = w->now_ms + SECOND_MS;
	if (s->aof_on && !s->files_lag) {
		aof_sync(&w->nodes[node]);
	}
	links_second(w, node);
	if (!w->quiet && w->now_ms >= s->save_ms && !server_loading(w, s)) {
		s->save_ms = w->now_ms + sim_between(w, 3000, 12000);
		server_save(w, node);
	}
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

void server_set_wake(struct world *w, struct server *s)
{
	int64_t wake = s->second_ms;

	if (s->link != LINK_NONE && s->link != LINK_UP) {
		wake = earlier(wake, s->link_ms);
	}
	if (s->link == LINK_UP && s->inbox.len > 0) {
		int64_t arrives = later(s->inbox.ring[s->inbox.head].arrives_ms, s->stream_ms);

		arrives = later(arrives, s->pause_ms);
		wake = earlier(wake, w->now_ms < s->slow_until_ms ? later(arrives, s->next_apply_ms)
								  : arrives);
	} else if (s->link == LINK_UP && s->ended) {
		wake = earlier(wake, later(w->now_ms + 1, s->pause_ms));
	}
	if (w->now_ms < s->ready_ms) {
		wake = earlier(wake, s->ready_ms);
	}
	if (s->rewrite_ms != 0) {
		wake = earlier(wake, s->rewrite_ms);
	}
	if (s->exit_ms != 0) {
		wake = earlier(wake, s->exit_ms);
	}
	/* A cut holds what has arrived: look again a little later. */
	s->wake_ms = wake > w->now_ms ? wake : w->now_ms + 20;
}

static void exit_cleanly(struct world *w, int node)
{
	struct server *s = server_of(w, node);

	if (s->files_lag && s->rewrite_ms != 0) {
		s->exit_ms = 0; /* refused after all: a full sync came in between */
		return;
	}
	if (!server_loading(w, s)) {
		server_save(w, node);
		if (s->aof_on) {
			aof_sync(&w->nodes[node]);
		}
	}
	STORY(w, "%s: its server has stopped", w->nodes[node].name);
	s->ended_well = true;
	server_die(w, node);
}

void server_tick(struct world *w, int node)
{
	struct server *s = server_of(w, node);

	if (!s->alive || s->stopped) {
		s->wake_ms = SIM_NEVER;
		return;
	}
	if (s->exit_ms != 0 && w->now_ms >= s->exit_ms) {
		exit_cleanly(w, node);
	}
	if (!s->alive) {
		return;
	}
	if (w->now_ms >= s->ready_ms) {
		if (s->rewrite_ms != 0 && w->now_ms >= s->rewrite_ms) {
			rewrite_done(w, node);
		}
		links_tick(w, node);
	}
	if (w->now_ms >= s->second_ms) {
		second(w, node);
	}
	server_set_wake(w, s);
}

/* beginnings, ends, commands */

/* A master's own history from now on; what others have of it so far still counts. */
static void go_on_as_new(struct world *w, struct server *s)
{
	s->replid2 = s->at.replid;
	s->second_offset = s->at.offset + 1;
	s->at.replid = sim_fresh_replid(w);
}

/*
 * With `appendonly yes` only the AOF counts: without one it starts empty, whatever RDB there is,
 * and makes one. An RDB of the family lets a replica ask for the rest.
 */
static void boot(struct world *w, int node, const struct server_start *how)
{
	struct node *n = &w->nodes[node];
	struct server *s = &n->server;

	s->at.replid = sim_fresh_replid(w);
	s->second_offset = -1;
	s->aof_on = !how->from_rdb;
	if (how->from_rdb && n->files.rdb.there) {
		s->data = n->files.rdb.data;
		s->at = n->files.rdb.at;
		s->cached = how->replica && replid_known(&s->at.replid);
		if (!how->replica) {
			go_on_as_new(w, s);
		}
		backlog_make(w, s);
	} else if (!how->from_rdb && n->files.aof.there) {
		s->data = n->files.aof.data;
	} else if (!how->from_rdb) {
		aof_replace(w, node);
	}
}

void server_start(struct world *w, int node, const struct server_start *how)
{
	struct node *n = &w->nodes[node];
	struct server *s = &n->server;

	*s = (struct server){
		.alive = true,
		.run = sim_fresh_replid(w),
		.run_no = ++w->fresh,
		.ready_ms = w->now_ms + sim_between(w, 2, sim_one_in(w, 6) ? 1500 : 60),
		.replica = how->replica,
		.upstream = how->upstream,
		.min_slaves = how->min_slaves,
		.max_lag_s = how->max_lag_s,
		.second_ms = w->now_ms + sim_between(w, 1, 1000),
		.save_ms = w->now_ms + sim_between(w, 3000, 12000),
	};
	boot(w, node, how);
	if (how->replica && how->upstream != SIM_NOBODY) {
		s->link = LINK_CONNECT;
		s->link_ms = s->ready_ms;
	}
	w->ledger.changed = true;
	STORY(w, "%s: server starts as %s%s with %" PRId64 " keys from its %s", n->name,
	      !how->replica                 ? "master"
	      : how->upstream == SIM_NOBODY ? "guarded"
					    : "replica of ",
	      how->replica && how->upstream != SIM_NOBODY ? w->nodes[how->upstream].name : "",
	      data_keys(&s->data), how->from_rdb ? "RDB" : "AOF");
	server_tick(w, node);
	check_started(w, node);
}

void server_die(struct world *w, int node)
{
	struct server *s = server_of(w, node);

	if (!s->alive) {
		return;
	}
	s->alive = s->stopped = false;
	s->wake_ms = SIM_NEVER;
	s->died_ms = w->now_ms;
	w->ledger.changed = true;
	links_end(w, node);
	agent_process_ended(w, node);
}

bool server_stop(struct world *w, int node)
{
	struct server *s = server_of(w, node);

	if (!s->alive || s->stopped || (s->files_lag && s->rewrite_ms != 0)) {
		return false;
	}
	if (s->exit_ms == 0) {
		s->exit_ms = w->now_ms + sim_between(w, 5, 300);
		s->wake_ms = earlier(s->wake_ms, s->exit_ms);
	}
	return true;
}

/* The same host and port again: +OK Already connected. */
void server_follow(struct world *w, int node, int upstream)
{
	struct server *s = server_of(w, node);

	if (s->replica && s->upstream == upstream) {
		return;
	}
	check_thrown_away(w, node);
	/* Its own history is what it asks with; unread stream is thrown away. */
	s->cached = s->replica ? s->cached : s->backlog_on;
	if (s->replica) {
		link_drop(w, node, w->now_ms + 1);
	}
	s->replica = true;
	s->upstream = upstream;
	s->link = upstream == SIM_NOBODY ? LINK_NONE : LINK_CONNECT;
	s->link_ms = w->now_ms + sim_between(w, 4, 9); /* a handshake: slower than the stream */
	server_set_wake(w, s);
}

void server_promote(struct world *w, int node)
{
	struct server *s = server_of(w, node);

	if (!s->replica) {
		return;
	}
	check_thrown_away(w, node);
	link_drop(w, node, w->now_ms);
	s->replica = s->cached = false;
	s->link = LINK_NONE;
	s->upstream = SIM_NOBODY;
	go_on_as_new(w, s);
	links_disconnect(w, node);
	server_set_wake(w, s);
}

void server_aof_on(struct world *w, int node)
{
	struct server *s = server_of(w, node);

	if (!s->aof_on) {
		s->aof_on = s->files_lag = true;
		server_rewrite_aof(w, node);
		server_set_wake(w, s);
	}
}

enum write_answer server_write_answer(const struct world *w, int node)
{
	const struct server *s = &w->nodes[node].server;

	if (!server_answers(w, s) || !w->hosts[sim_host_of(node)].up) {
		return WRITE_NO_ANSWER;
	}
	/* In this order, tried: a pause does not hold what is refused anyway. */
	return s->replica                                    ? WRITE_READONLY
	       : s->max_lag_s > 0 && s->good < s->min_slaves ? WRITE_NOREPLICAS
	       : w->now_ms < s->pause_ms                     ? WRITE_PAUSED
							     : WRITE_OK;
}

void server_write(struct world *w, int node, uint32_t n)
{
	struct server *s = server_of(w, node);

	data_write(&s->data, n);
	aof_append(w, node, n);
	stream_feed(w, node, n, WRITE_BYTES);
}

void server_pause(struct world *w, int node, int64_t ms)
{
	struct server *s = server_of(w, node);

	s->pause_ms = ms == 0 ? 0 : w->now_ms + ms;
	server_set_wake(w, s);
}

void server_min_slaves(struct world *w, int node, uint32_t n, uint32_t max_lag_s)
{
	server_of(w, node)->min_slaves = n;
	server_of(w, node)->max_lag_s = max_lag_s;
	links_recount(w, node);
}

int64_t server_read_offset(const struct world *w, const struct server *s)
{
	int64_t offset = s->at.offset;

	for (unsigned i = 0; s->link == LINK_UP && w->now_ms < s->pause_ms && i < s->inbox.len;
	     i++) {
		const struct entry *e = &s->inbox.ring[(s->inbox.head + i) % STREAM_MAX];

		offset = e->arrives_ms <= w->now_ms && e->end > offset ? e->end : offset;
	}
	return offset;
}
