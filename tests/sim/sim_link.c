/*
 * Links and streams: who may continue where (PSYNC), what lies in a socket and what becomes of it,
 * and what a source knows of its replicas. Data go only where a stream or a copy carries them.
 */
#include <assert.h>

#include "world.h"

enum { RECONNECT_MS = 200 };

static struct server *server_of(struct world *w, int node)
{
	return &w->nodes[node].server;
}

static bool can_reach(const struct world *w, int a, int b)
{
	return w->hosts[sim_host_of(b)].up && !net_is_cut(w, sim_host_of(a), sim_host_of(b));
}

bool link_is_made(const struct world *w, int replica, int source)
{
	const struct server *r = &w->nodes[replica].server;

	return r->alive && r->replica && r->upstream == source && r->link >= LINK_SAVING &&
	       r->link_run == w->nodes[source].server.run_no;
}

/* what a source knows of its replicas */

static bool is_good(const struct server *s, const struct seen_replica *r, int64_t now_ms)
{
	return r->online && now_ms / 1000 - r->ack_ms / 1000 <= s->max_lag_s;
}

void links_recount(struct world *w, int node)
{
	struct server *s = server_of(w, node);

	s->good = 0;
	for (int i = 0; i < SIM_NODES; i++) {
		s->good += is_good(s, &s->replicas[i], w->now_ms);
	}
}

static void replica_comes(struct world *w, int source, int replica)
{
	struct server *s = server_of(w, source);

	s->replicas[replica] =
		(struct seen_replica){ true, server_of(w, replica)->run_no, w->now_ms };
	links_recount(w, source);
}

/* Sockets that were closed at the other end, where the closing gets through. */
static void notice_closed(struct world *w, int node)
{
	struct server *s = server_of(w, node);

	for (int i = 0; i < SIM_NODES; i++) {
		struct seen_replica *r = &s->replicas[i];
		bool open = link_is_made(w, i, node) && server_of(w, i)->link == LINK_UP &&
			    server_of(w, i)->run_no == r->run_no;

		if (r->online && !open && can_reach(w, node, i)) {
			r->online = false;
		}
	}
	links_recount(w, node);
}

unsigned links_applied(const struct world *w, int node, int64_t offset)
{
	unsigned n = 0;

	for (int i = 0; i < SIM_NODES; i++) {
		const struct server *r = &w->nodes[i].server;

		n += link_is_made(w, i, node) && r->link == LINK_UP && !r->stopped &&
		     can_reach(w, i, node) && r->at.offset >= offset;
	}
	return n;
}

/* beginnings and ends of links */

void link_drop(struct world *w, int node, int64_t again_ms)
{
	struct server *r = server_of(w, node);

	if (r->link == LINK_NONE) {
		return;
	}
	bool was_up = r->link == LINK_UP;

	r->link = LINK_CONNECT;
	r->link_ms = again_ms;
	r->inbox.len = 0;
	r->overrun = r->ended = false;
	if (was_up && r->upstream != SIM_NOBODY && !server_of(w, r->upstream)->stopped) {
		notice_closed(w, r->upstream);
	}
}

void links_end(struct world *w, int node)
{
	for (int i = 0; i < SIM_NODES; i++) {
		struct server *r = server_of(w, i);

		if (!link_is_made(w, i, node) || r->link == LINK_LOADING ||
		    !can_reach(w, i, node)) {
			continue;
		}
		if (r->link == LINK_UP && w->now_ms >= r->stream_ms) {
			r->ended = true;
		} else {
			link_drop(w, i, w->now_ms + 1);
		}
		server_set_wake(w, r);
	}
}

void links_disconnect(struct world *w, int node)
{
	for (int i = 0; i < SIM_NODES; i++) {
		if (link_is_made(w, i, node)) {
			link_drop(w, i, w->now_ms + 1);
			server_set_wake(w, server_of(w, i));
		}
	}
}

static bool has_replicas(const struct world *w, int node)
{
	for (int i = 0; i < SIM_NODES; i++) {
		if (link_is_made(w, i, node)) {
			return true;
		}
	}
	return false;
}

/* the stream */

static void backlog_push(struct world *w, struct server *s, struct entry e)
{
	while (s->backlog.len > 0 && s->backlog.len >= w->backlog_entries) {
		s->backlog_from = stream_pop(&s->backlog).end;
	}
	stream_push(&s->backlog, e);
}

/* Everything that enters a server's stream goes to its backlog and to its replicas' sockets. */
void stream_feed(struct world *w, int node, uint32_t write, int64_t bytes)
{
	struct server *s = server_of(w, node);

	if (!s->backlog_on) {
		return; /* without a replica ever, the offset stands still */
	}
	s->at.offset += bytes;
	struct entry e = { .end = s->at.offset, .write = write };

	backlog_push(w, s, e);
	for (int i = 0; i < SIM_NODES; i++) {
		struct server *r = server_of(w, i);

		if (!link_is_made(w, i, node)) {
			continue;
		}
		if (r->overrun || r->inbox.len == STREAM_MAX) {
			r->overrun = true;
			continue;
		}
		e.arrives_ms = w->now_ms + sim_between(w, 0, 3); /* in order, all the same */
		stream_push(&r->inbox, e);
		if (r->wake_ms > e.arrives_ms) {
			r->wake_ms = e.arrives_ms;
		}
	}
}

/* The first replica gets a backlog made from scratch, and with it a new replication id. */
void backlog_make(struct world *w, struct server *s)
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
	r->ended = false;
	r->heard_ms = w->now_ms;
	w->nodes[node].adrift = false;
	backlog_make(w, r);
	replica_comes(w, r->upstream, node);
}

static void partial_resync(struct world *w, int node, int source)
{
	struct server *r = server_of(w, node), *s = server_of(w, source);

	s->sync_partial++;
	if (!replid_eq(&r->at.replid, &s->at.replid)) {
		r->replid2 = r->at.replid;
		r->second_offset = r->at.offset + 1;
		r->at.replid = s->at.replid;
		links_disconnect(w, node); /* its own replicas have to learn of the new id */
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

	check_full_sync_begins(w, node, source);
	backlog_make(w, s);
	s->sync_full++;
	r->copy = s->data;
	r->copy_at = s->at;
	r->link = LINK_SAVING;
	r->link_ms = w->now_ms + sim_between(w, 5, 400);
	if (!w->diskless && s->save_until_ms < r->link_ms) {
		s->save_until_ms = r->link_ms;
	}
	STORY(w, "%s: full sync from %s at %" PRId64 ", %" PRId64 " keys; it is at %" PRId64,
	      w->nodes[node].name, w->nodes[source].name, s->at.offset, data_keys(&s->data),
	      r->at.offset);
}

/* A replica without a link of its own refuses: NOMASTERLINK, and whoever asked keeps its keys. */
static void link_connect(struct world *w, int node)
{
	struct server *r = server_of(w, node), *s = server_of(w, r->upstream);
	bool refuses = s->replica && s->link != LINK_UP;

	r->link_ms = w->now_ms + RECONNECT_MS;
	if (!can_reach(w, node, r->upstream) || !server_answers(w, s) || refuses) {
		return;
	}
	r->link_run = s->run_no;
	r->heard_ms = w->now_ms;
	r->inbox.len = 0;
	r->overrun = r->ended = false;
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
	links_disconnect(w, node);
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
		   (!can_reach(w, node, r->upstream) || !link_is_made(w, node, r->upstream) ||
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
		return; /* the copy had it, or it is its own that comes back in a circle */
	}
	if (e.write != 0) {
		data_write(&r->data, e.write);
		aof_append(w, node, e.write);
	}
	stream_feed(w, node, e.write, e.end - r->at.offset);
}

/*
 * Paused it reads and applies nothing. Busy it takes one piece at a time, with something else in
 * between; INFO is answered in between, too.
 */
static void inbox_tick(struct world *w, int node)
{
	struct server *r = server_of(w, node);

	if (r->link != LINK_UP || w->now_ms < r->stream_ms || w->now_ms < r->pause_ms) {
		return;
	}
	bool cut = net_is_cut(w, sim_host_of(node), sim_host_of(r->upstream));

	while (r->inbox.len > 0 && !cut && r->inbox.ring[r->inbox.head].arrives_ms <= w->now_ms) {
		if (w->now_ms < r->slow_until_ms) {
			if (w->now_ms < r->next_apply_ms) {
				return;
			}
			r->next_apply_ms = w->now_ms + sim_between(w, 10, 45);
		}
		stream_apply(w, node, stream_pop(&r->inbox));
	}
	if (r->overrun) {
		link_drop(w, node, w->now_ms + RECONNECT_MS);
	} else if (r->ended && r->inbox.len == 0) {
		link_drop(w, node, w->now_ms + 1);
	}
}

void links_tick(struct world *w, int node)
{
	link_tick(w, node);
	inbox_tick(w, node);
}

/* A source that died while nothing reached us: its host tells when it can be reached again. */
static void check_link_alive(struct world *w, int node)
{
	struct server *r = server_of(w, node);

	if (r->link < LINK_SAVING || r->link == LINK_LOADING) {
		return;
	}
	const struct server *s = server_of(w, r->upstream);
	bool reset = can_reach(w, node, r->upstream) && !s->stopped &&
		     (!s->alive || s->run_no != r->link_run) && r->inbox.len == 0;

	if (reset || w->now_ms - r->heard_ms > SIM_REPL_TIMEOUT_MS) {
		STORY(w, "%s: its link to %s is lost", w->nodes[node].name,
		      w->nodes[r->upstream].name);
		link_drop(w, node, w->now_ms + 1);
	}
}

static void acknowledge(struct world *w, int node)
{
	const struct server *r = server_of(w, node);

	if (r->replica && r->link == LINK_UP && link_is_made(w, node, r->upstream) &&
	    can_reach(w, node, r->upstream)) {
		server_of(w, r->upstream)->replicas[node].ack_ms = w->now_ms;
	}
}

void links_second(struct world *w, int node)
{
	if (!w->quiet && !server_of(w, node)->replica && has_replicas(w, node)) {
		stream_feed(w, node, 0, PING_BYTES);
	}
	acknowledge(w, node);
	check_link_alive(w, node);
	notice_closed(w, node);
}
