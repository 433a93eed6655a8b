/*
 * The server model. Its numbers are the lengths of a few kinds of waiting; what matters is what
 * is kept and what is lost at each event, and that is commented where it is not obvious.
 */
#include "sim_server.h"

#include <assert.h>

#include "world.h"

enum { RECONNECT_MS = 200, SECOND_MS = 1000 };

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

static void aof_append(struct world *w, int node, uint32_t write)
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

static void rdb_write(struct world *w, int node, const struct data *d, const struct position *at)
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

/* links */

static void link_drop(struct world *w, int node, int64_t again_ms)
{
	struct server *s = server_of(w, node);

	if (s->link == LINK_NONE) {
		return;
	}
	s->link = LINK_CONNECT;
	s->link_ms = again_ms;
	s->inbox.len = 0;
	s->overrun = false;
}

static bool can_reach(const struct world *w, int a, int b)
{
	return w->hosts[sim_host_of(b)].up && !net_is_cut(w, sim_host_of(a), sim_host_of(b));
}

/* The other end of the link is still the server it was made with. */
static bool is_linked(const struct world *w, int replica, int source)
{
	const struct server *r = &w->nodes[replica].server;

	return r->alive && r->replica && r->upstream == source && r->link >= LINK_SAVING &&
	       r->link_run == w->nodes[source].server.run_no;
}

static bool has_replicas(const struct world *w, int node)
{
	for (int i = 0; i < SIM_NODES; i++) {
		if (is_linked(w, i, node)) {
			return true;
		}
	}
	return false;
}

/* Everything that enters a server's stream goes to its backlog and to its replicas' sockets. */
static void stream_feed(struct world *w, int node, uint32_t write, int64_t bytes)
{
	struct server *s = server_of(w, node);

	if (!s->backlog_on) {
		return; /* without a replica ever, the offset stands still */
	}
	s->at.offset += bytes;
	while (s->backlog.len > 0 && s->backlog.len >= w->backlog_entries) {
		s->backlog_from = stream_pop(&s->backlog).end;
	}
	struct entry e = { .end = s->at.offset, .write = write };

	stream_push(&s->backlog, e);
	for (int i = 0; i < SIM_NODES; i++) {
		struct server *r = server_of(w, i);

		if (!is_linked(w, i, node)) {
			continue;
		}
		if (r->inbox.len == STREAM_MAX) {
			r->overrun = true;
			continue;
		}
		e.arrives_ms = w->now_ms + sim_between(w, 0, 3);
		stream_push(&r->inbox, e);
		if (r->wake_ms > e.arrives_ms) {
			r->wake_ms = e.arrives_ms;
		}
	}
}

/* The first replica gets a backlog made from scratch, and with it a new replication id. */
static void backlog_make(struct world *w, struct server *s)
{
	if (s->backlog_on) {
		return;
	}
	s->backlog_on = true;
	s->backlog.len = 0;
	if (!s->replica) {
		s->at.replid = sim_fresh_replid(w);
		s->replid2 = (struct replid){};
		s->second_offset = -1;
	}
	s->backlog_from = s->at.offset;
}

static bool grants_partial(const struct server *s, const struct server *r)
{
	bool same = replid_eq(&r->at.replid, &s->at.replid) ||
		    (replid_eq(&r->at.replid, &s->replid2) && r->at.offset < s->second_offset);

	return s->backlog_on && r->cached && same && r->at.offset >= s->backlog_from &&
	       r->at.offset <= s->at.offset;
}

static void link_up(struct world *w, int node)
{
	struct server *r = server_of(w, node);

	r->link = LINK_UP;
	r->cached = true;
	r->heard_ms = w->now_ms;
	backlog_make(w, r);
}

static void partial_resync(struct world *w, int node, int source)
{
	struct server *r = server_of(w, node), *s = server_of(w, source);

	if (!replid_eq(&r->at.replid, &s->at.replid)) {
		r->replid2 = r->at.replid;
		r->second_offset = r->at.offset + 1;
		r->at.replid = s->at.replid;
	}
	for (unsigned i = 0; i < s->backlog.len; i++) {
		struct entry e = s->backlog.ring[(s->backlog.head + i) % STREAM_MAX];

		if (e.end > r->at.offset) {
			e.arrives_ms = w->now_ms + 1;
			stream_push(&r->inbox, e);
		}
	}
	r->stream_ms = w->now_ms;
	link_up(w, node);
	STORY(w, "%s: continues from %s at %" PRId64, w->nodes[node].name, w->nodes[source].name,
	      r->at.offset);
}

static void full_sync_begins(struct world *w, int node, int source)
{
	struct server *r = server_of(w, node), *s = server_of(w, source);

	backlog_make(w, s);
	s->sync_full++;
	r->copy = s->data;
	r->copy_at = s->at;
	r->link = LINK_SAVING;
	r->link_ms = w->now_ms + sim_between(w, 5, 400);
	if (!w->diskless && s->save_until_ms < r->link_ms) {
		s->save_until_ms = r->link_ms;
	}
	STORY(w, "%s: full sync from %s at %" PRId64 ", %" PRId64 " keys", w->nodes[node].name,
	      w->nodes[source].name, s->at.offset, data_keys(&s->data));
}

static void link_connect(struct world *w, int node)
{
	struct server *r = server_of(w, node), *s = server_of(w, r->upstream);
	bool refuses =
		s->replica && s->link != LINK_UP; /* NOMASTERLINK: the replica keeps its keys */

	r->link_ms = w->now_ms + RECONNECT_MS;
	if (!can_reach(w, node, r->upstream) || !server_answers(w, s) || refuses) {
		return;
	}
	r->link_run = s->run_no;
	r->heard_ms = w->now_ms;
	r->inbox.len = 0;
	r->overrun = false;
	if (grants_partial(s, r)) {
		partial_resync(w, node, r->upstream);
	} else {
		full_sync_begins(w, node, r->upstream);
	}
}

/* The file that came is kept as its dump.rdb; the old data go only now that it is whole. */
static void copy_loads(struct world *w, int node)
{
	struct server *r = server_of(w, node);

	check_full_sync(w, node, r->upstream, &r->copy);
	rdb_write(w, node, &r->copy, &r->copy_at);
	r->data = r->copy;
	r->link = LINK_LOADING;
	r->link_ms = w->now_ms + sim_between(w, 1, 100);
	r->files_lag = true;
	w->ledger.changed = true;
}

static void copy_loaded(struct world *w, int node)
{
	struct server *r = server_of(w, node);

	r->at = r->copy_at;
	r->replid2 = (struct replid){};
	r->second_offset = -1;
	r->backlog_on = false;
	/* Diskless: up to a second between the link and the stream, REDIS.md 1.6. */
	r->stream_ms = w->now_ms + (w->diskless ? sim_between(w, 0, 1000) : 1);
	link_up(w, node);
	r->rewrite_ms = 0;
	server_rewrite_aof(w, node);
	STORY(w, "%s: has loaded its copy, link up at %" PRId64, w->nodes[node].name, r->at.offset);
}

static void link_tick(struct world *w, int node)
{
	struct server *r = server_of(w, node);

	if (r->link == LINK_NONE || r->link == LINK_UP || w->now_ms < r->link_ms) {
		return;
	}
	bool cut = r->link != LINK_LOADING && r->link != LINK_CONNECT &&
		   (!can_reach(w, node, r->upstream) || !is_linked(w, node, r->upstream) ||
		    server_of(w, r->upstream)->stopped || !server_of(w, r->upstream)->alive);

	if (cut) {
		r->link_ms = w->now_ms + 50; /* the time-out of the link ends it */
		return;
	}
	switch (r->link) {
	case LINK_CONNECT:
		link_connect(w, node);
		break;
	case LINK_SAVING:
		r->link = LINK_TRANSFER;
		r->heard_ms = w->now_ms;
		r->link_ms = w->now_ms + sim_between(w, 5, 400);
		break;
	case LINK_TRANSFER:
		copy_loads(w, node);
		break;
	case LINK_LOADING:
		copy_loaded(w, node);
		break;
	case LINK_NONE:
	case LINK_UP:
		break;
	}
}

static void stream_apply(struct world *w, int node, struct entry e)
{
	struct server *r = server_of(w, node);

	r->heard_ms = w->now_ms;
	if (e.end <= r->at.offset) {
		return; /* the copy had it */
	}
	if (e.write != 0) {
		data_write(&r->data, e.write);
		aof_append(w, node, e.write);
	}
	stream_feed(w, node, e.write, e.end - r->at.offset);
}

static void inbox_tick(struct world *w, int node)
{
	struct server *r = server_of(w, node);

	if (r->link != LINK_UP || w->now_ms < r->stream_ms) {
		return;
	}
	bool cut = net_is_cut(w, sim_host_of(node), sim_host_of(r->upstream));

	while (r->inbox.len > 0 && !cut && r->inbox.ring[r->inbox.head].arrives_ms <= w->now_ms) {
		stream_apply(w, node, stream_pop(&r->inbox));
	}
	if (r->overrun) {
		link_drop(w, node, w->now_ms + RECONNECT_MS);
	}
}

/* the clock of a server */

static void check_link_alive(struct world *w, int node)
{
	struct server *r = server_of(w, node);

	if (r->link < LINK_SAVING || r->link == LINK_LOADING) {
		return;
	}
	const struct server *s = server_of(w, r->upstream);
	bool reset = can_reach(w, node, r->upstream) && !s->stopped &&
		     (!s->alive || s->run_no != r->link_run);

	if (reset || w->now_ms - r->heard_ms > SIM_REPL_TIMEOUT_MS) {
		STORY(w, "%s: its link to %s is lost", w->nodes[node].name,
		      w->nodes[r->upstream].name);
		link_drop(w, node, w->now_ms + 1);
	}
}

static void second(struct world *w, int node)
{
	struct server *s = server_of(w, node);

	s->second_ms = w->now_ms + SECOND_MS;
	if (s->aof_on && !s->files_lag) {
		aof_sync(&w->nodes[node]);
	}
	if (!s->replica && has_replicas(w, node)) {
		stream_feed(w, node, 0, PING_BYTES);
	}
	check_link_alive(w, node);
	if (w->now_ms >= s->save_ms && !server_loading(w, s)) {
		s->save_ms = w->now_ms + sim_between(w, 3000, 12000);
		server_save(w, node);
	}
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void set_wake(struct world *w, struct server *s)
{
	int64_t wake = s->second_ms;

	if (s->link != LINK_NONE && s->link != LINK_UP) {
		wake = earlier(wake, s->link_ms);
	}
	if (s->link == LINK_UP && s->inbox.len > 0) {
		int64_t arrives = s->inbox.ring[s->inbox.head].arrives_ms;

		wake = earlier(wake, arrives > s->stream_ms ? arrives : s->stream_ms);
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
		link_tick(w, node);
		inbox_tick(w, node);
	}
	if (w->now_ms >= s->second_ms) {
		second(w, node);
	}
	set_wake(w, s);
}

/* beginnings, ends, commands */

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
	w->ledger.changed = true;
	for (int i = 0; i < SIM_NODES; i++) {
		struct server *r = server_of(w, i);

		if (is_linked(w, i, node) && r->link != LINK_LOADING && !r->stopped &&
		    can_reach(w, i, node)) {
			inbox_tick(w, i); /* what has arrived is read before the end of file */
			link_drop(w, i, w->now_ms + 1);
			set_wake(w, r);
		}
	}
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

void server_follow(struct world *w, int node, int upstream)
{
	struct server *s = server_of(w, node);

	if (s->replica && s->upstream == upstream) {
		return;
	}
	/* Its own history is what it asks with; unread stream is thrown away. */
	s->cached = s->replica ? s->cached : s->backlog_on;
	s->replica = true;
	s->upstream = upstream;
	s->inbox.len = 0;
	s->overrun = false;
	s->link = upstream == SIM_NOBODY ? LINK_NONE : LINK_CONNECT;
	s->link_ms = w->now_ms + 1;
	set_wake(w, s);
}

void server_promote(struct world *w, int node)
{
	struct server *s = server_of(w, node);

	if (!s->replica) {
		return;
	}
	s->replica = s->cached = false;
	s->link = LINK_NONE;
	s->inbox.len = 0;
	s->replid2 = s->at.replid;
	s->second_offset = s->at.offset + 1;
	s->at.replid = sim_fresh_replid(w);
	for (int i = 0; i < SIM_NODES; i++) {
		if (is_linked(w, i, node)) {
			link_drop(w, i, w->now_ms + 1);
			set_wake(w, server_of(w, i));
		}
	}
	set_wake(w, s);
}

void server_aof_on(struct world *w, int node)
{
	struct server *s = server_of(w, node);

	if (!s->aof_on) {
		s->aof_on = s->files_lag = true;
		server_rewrite_aof(w, node);
		set_wake(w, s);
	}
}

void server_write(struct world *w, int node, uint32_t n)
{
	struct server *s = server_of(w, node);

	data_write(&s->data, n);
	aof_append(w, node, n);
	stream_feed(w, node, n, WRITE_BYTES);
}
