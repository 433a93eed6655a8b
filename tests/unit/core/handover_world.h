/*
 * A world for tests of a handover: the real group_step() and goal_of() on one side, the real
 * instance_step() over a small model of servers on the other, in virtual time. A turn is a
 * millisecond: every agent does one act that its goal asks for and reports, a client writes
 * wherever a server takes writes, the control plane takes its steps. Included by one test.
 */
#pragma once

#include <inttypes.h>

#include "../test.h"
#include "core/group.h"
#include "core/instance.h"
#include "core/operate.h"

enum { A, B, C, SEATS, NOWHERE };

/* A server and what its agent keeps of it. */
struct server {
	bool runs, hangs, master, fenced, paused, link, dropped;
	size_t upstream; /* NOWHERE: a closed port */
	int run;         /* number of its run; its run id is made of it */
	int stream, stream2;
	int64_t second, offset, data, acked; /* data: writes it holds */
	bool durable, disk_error, stuck;     /* stuck: applies nothing of what it receives */
	struct start_mode mode;
	int64_t dies_ms;
	bool mute; /* its agent neither hears nor is heard */
	bool stays_down;
};

struct world {
	struct group g;
	struct group_live live;
	struct member members[SEATS + 1];
	struct member_live member_live[SEATS + 1];
	struct history_entry history[MODEL_HISTORY_MAX + 1];
	struct server servers[SEATS];
	struct observation obs[SEATS];
	bool heard[SEATS], silent[SEATS];
	int64_t mute_since_ms[SEATS];
	int64_t now_ms, turn_ms;
	uint64_t watches;
	int runs, streams, full_syncs, commits;
	int64_t acked;     /* writes that clients were told of */
	int64_t writes_ms; /* the last time a write was taken */
	bool keeps_links;  /* 7.0: a source that becomes a replica keeps its own replicas linked */
	int lose_commit;   /* the number of the commit that does not happen; 0: none */
	int forget_commit; /* likewise: it happens, but nobody is told */
	char trace[4000], reasons[6000], figures[4000];
	char outcome[320];
	struct group split;
	bool has_split;
};

static struct id seat_id(size_t i)
{
	return (struct id){ .b = { 1, (uint8_t)i } };
}

static size_t seat_of(const struct world *w, struct id id)
{
	(void)w;
	return id_is_zero(id) ? (size_t)NOWHERE : id.b[1];
}

static struct replid numbered(char kind, int n)
{
	struct replid r = {};

	if (n > 0) {
		snprintf(r.s, sizeof r.s, "%c%039d", kind, n);
	}
	return r;
}

/* servers */

static bool takes_writes(const struct server *s)
{
	return s->runs && !s->hangs && s->master && !s->fenced;
}

static void write_somewhere(struct world *w)
{
	size_t writable = 0;

	for (size_t i = 0; i < SEATS; i++) {
		struct server *s = &w->servers[i];

		if (takes_writes(s)) {
			s->offset += 10;
			s->data++;
			w->acked++;
			w->writes_ms = w->now_ms;
			writable++;
		}
	}
	assert_in_range(writable, 0, 1);
}

/* PSYNC: granted in a common stream that reaches as far; else everything is copied. */
static void link_to(struct world *w, struct server *s, const struct server *up)
{
	bool same = s->stream == up->stream && s->offset <= up->offset;
	bool before = s->stream == up->stream2 && s->offset < up->second;

	if (!up->runs || up->hangs || (!up->master && !up->link)) {
		return; /* refused, or NOMASTERLINK */
	}
	if (!same && before) {
		s->stream2 = s->stream;
		s->second = s->offset + 1;
		s->stream = up->stream;
	} else if (!same) {
		s->stream = up->stream;
		s->stream2 = 0;
		s->second = -1;
		s->offset = up->offset;
		s->data = up->data;
		w->full_syncs++;
	}
	s->link = true;
}

static void drop_replicas(struct world *w, size_t of)
{
	for (size_t i = 0; i < SEATS; i++) {
		if (!w->servers[i].master && w->servers[i].upstream == of) {
			w->servers[i].link = false;
		}
	}
}

static void flow(struct world *w)
{
	for (size_t i = 0; i < SEATS; i++) {
		struct server *s = &w->servers[i];
		const struct server *up = s->upstream < SEATS ? &w->servers[s->upstream] : NULL;

		if (!s->runs || s->hangs || s->master) {
			continue;
		}
		if (up == NULL || !up->runs || s->upstream == i) {
			s->link = false;
			continue;
		}
		if (!s->link) {
			link_to(w, s, up);
		} else if (up->stream == s->stream && up->offset > s->offset && !s->stuck &&
			   !s->paused) {
			s->data = up->data;
			s->offset = up->offset;
		}
	}
}

static void server_start(struct world *w, struct server *s, const struct goal *goal,
			 size_t upstream)
{
	bool master = goal->role == GOAL_SOURCE && !s->mode.guarded;

	*s = (struct server){ .runs = true,
			      .master = master,
			      .run = ++w->runs,
			      .stream = ++w->streams,
			      .second = -1,
			      .data = s->data,
			      .durable = true,
			      .mode = s->mode,
			      .upstream = s->mode.guarded ? (size_t)NOWHERE : upstream };
}

static void server_die(struct world *w, size_t i)
{
	struct server *s = &w->servers[i];

	s->runs = s->hangs = s->link = s->fenced = s->paused = false;
	s->dies_ms = w->now_ms;
	drop_replicas(w, i);
}

static void server_promote(struct world *w, size_t i)
{
	struct server *s = &w->servers[i];

	s->master = true;
	s->stream2 = s->stream;
	s->second = s->offset + 1;
	s->stream = ++w->streams;
	s->link = false;
	s->upstream = NOWHERE;
	drop_replicas(w, i);
}

static void server_follow(struct world *w, size_t i, size_t upstream)
{
	struct server *s = &w->servers[i];

	if (s->master && !w->keeps_links) {
		drop_replicas(w, i);
	}
	s->master = false;
	s->link = false;
	s->upstream = upstream;
}

/* agents */

static size_t upstream_of(const struct goal *goal)
{
	return goal->upstream_port == 0
		       ? (size_t)NOWHERE
		       : (size_t)(goal->upstream_host[strlen(goal->upstream_host) - 1] - '1');
}

static struct observation look(const struct world *w, size_t i)
{
	const struct server *s = &w->servers[i];
	bool ids = strcmp(w->members[A].version, "4") >= 0;
	struct observation o = {
		.instance = seat_id(i),
		.proc = !s->runs   ? PROC_EXITED
			: s->hangs ? PROC_HUNG
				   : PROC_RUNNING,
		.run_id = numbered('a', s->run),
		.guarded = s->mode.guarded && !s->master,
		.fenced = s->fenced,
		.marker = MARKER_INTACT,
		.role = s->master ? SERVER_ROLE_MASTER : SERVER_ROLE_REPLICA,
		.replid = numbered('c', ids ? s->stream : 0),
		.replid2 = numbered('c', ids ? s->stream2 : 0),
		.offset = s->offset,
		.second_offset = s->second,
		.slave_offset = s->master ? -1 : s->offset,
		.read_offset = -1,
		.link_up = s->link,
		.upstream_port = s->master || s->upstream >= SEATS ? 0 : 6379,
		.keys = s->data,
		.save_progress = -1,
		.aof_enabled = true,
		.durable = s->durable,
		.disk_error = s->disk_error,
		.last_io_s = s->link ? 0 : -1,
	};

	snprintf(o.upstream_host, sizeof o.upstream_host, "127.0.77.%zu",
		 s->upstream < SEATS ? s->upstream + 1 : 99);
	return o;
}

static void carry_out(struct world *w, size_t i, const struct goal *goal, struct instance_out out)
{
	struct server *s = &w->servers[i];

	switch (out.act) {
	case ACT_START:
		s->mode = out.mode;
		server_start(w, s, goal, upstream_of(goal));
		return;
	case ACT_FOLLOW:
	case ACT_YIELD:
		server_follow(w, i, upstream_of(goal));
		break;
	case ACT_GUARD:
	case ACT_SEAL:
		server_follow(w, i, NOWHERE);
		break;
	case ACT_PROMOTE:
		server_promote(w, i);
		break;
	case ACT_FENCE:
		s->fenced = s->paused = true;
		break;
	case ACT_UNFENCE:
		s->fenced = s->paused = false;
		break;
	case ACT_DROP_CLIENTS:
		s->dropped = true;
		break;
	case ACT_KILL:
		server_die(w, i);
		break;
	case ACT_WRITE_CONF:
	case ACT_CONFIG_SET:
	case ACT_AOF_ON:
	case ACT_SET_ASIDE_AOF:
	case ACT_NONE:
	case ACT_STOP:
	case ACT_DELETE_FILES:
	case ACT_COUNT:
		break;
	}
	s->mode = out.mode;
}

static void report(struct world *w, size_t i, const struct observation *o)
{
	w->obs[i] = *o;
	w->heard[i] = true;
}

/* What an agent does in a millisecond: one act, and a report of what is then. */
static void agent_turn(struct world *w, size_t i)
{
	static const struct server_settings settings = {};
	struct server *s = &w->servers[i];
	struct member *m = group_find(&w->g, seat_id(i));

	if (s->mute || m == NULL) {
		return;
	}
	struct goal goal = goal_of(&w->g, m, (struct id){}, &settings);
	struct goal_live live = group_live_of(&w->g, &w->live, m);
	struct observation o = look(w, i);
	struct instance_local local = {
		.obs = &o,
		.conf_current = true,
		.live_current = true,
		.mode_now = s->mode,
		.files_exist = true,
		.aof_exists = true,
		.paused = s->paused,
		.clients_dropped = s->dropped,
		.marker_was_master = s->master,
		.exited_ms = s->runs ? 0 : s->dies_ms,
		.restart_delay_ms = 50,
	};

	if (!s->runs && s->stays_down) {
		local.restart_delay_ms = INT32_MAX;
	}
	struct instance_out out = instance_step(&(struct instance_in){
		.goal = &goal,
		.live = &live,
		.confirmed = true,
		.local = &local,
		.now_ms = w->now_ms,
	});

	carry_out(w, i, &goal, out);
	o = look(w, i);
	o.goal_applied = out.act == ACT_NONE && out.goal_applied;
	o.goal_epoch = goal.epoch;
	o.goal_revision = goal.revision;
	o.start_at_once = goal.start_at_once;
	o.watch = live.watch;
	report(w, i, &o);
}

/* the control plane */

static void append(char *buf, size_t size, const char *text)
{
	size_t len = strlen(buf);

	snprintf(buf + len, size - len, "%s\n", text);
}

static void trace(struct world *w, const struct group_out *out)
{
	for (size_t i = 0; i < out->nevents; i++) {
		const struct group_event *ev = &out->events[i];

		assert_true(ev->reason[0] != '\0');
		append(w->trace, sizeof w->trace, event_kind_name(ev->kind));
		append(w->reasons, sizeof w->reasons, ev->reason);
		append(w->figures, sizeof w->figures, ev->figures);
	}
}

/* A copy of what a commit may take back. */
struct stored {
	struct group g;
	struct member members[SEATS + 1];
	struct history_entry history[MODEL_HISTORY_MAX + 1];
	struct group_live live;
	struct member_live member_live[SEATS + 1];
};

static void take_copy(const struct world *w, struct stored *c)
{
	c->g = w->g;
	c->live = w->live;
	memcpy(c->members, w->members, sizeof c->members);
	memcpy(c->history, w->history, sizeof c->history);
	memcpy(c->member_live, w->member_live, sizeof c->member_live);
}

static void put_back_live(struct world *w, const struct stored *c)
{
	w->live = c->live;
	memcpy(w->member_live, c->member_live, sizeof c->member_live);
}

static void put_back(struct world *w, const struct stored *c)
{
	w->g = c->g;
	memcpy(w->members, c->members, sizeof c->members);
	memcpy(w->history, c->history, sizeof c->history);
	put_back_live(w, c);
}

/* One call; true when something happened. */
static bool step_once(struct world *w)
{
	const struct observation *obs[SEATS] = {};
	struct group_out out;
	struct stored before;

	take_copy(w, &before);
	for (size_t i = 0; i < w->g.nmembers; i++) {
		size_t seat = seat_of(w, w->members[i].id);

		obs[i] = w->heard[seat] ? &w->obs[seat] : NULL;
	}
	group_step(&w->g, &w->live,
		   &(struct group_in){
			   .obs = obs,
			   .silent = w->silent,
			   .now_ms = w->now_ms,
			   .wall_ms = 1000000 + w->now_ms,
			   .fresh_watch = ++w->watches,
			   .fresh_id = { .b = { 9 } },
			   .fresh_group = { .b = { 77 } },
			   .fresh_name = "db-2",
			   .start_limit_ms = 60000,
			   .sync_stall_limit_ms = 60000,
			   .compare_limit_ms = 10000,
			   .stage_limit_ms = 10000,
			   .catch_up_limit_ms = 2000,
			   .handover_limit_ms = 3000,
			   .tidy_limit_ms = 30000,
			   .drain_limit_ms = 10000,
			   .seal_limit_ms = 5000,
		   },
		   &out);
	if (!out.changed) {
		assert_memory_equal(before.members, w->members, sizeof before.members);
		assert_memory_equal(before.history, w->history, sizeof before.history);
		assert_int_equal(before.g.epoch, w->g.epoch);
		assert_int_equal(before.g.op.phase, w->g.op.phase);
		trace(w, &out);
		return out.nevents > 0;
	}
	w->commits++;
	if (w->commits == w->lose_commit) {
		put_back(w, &before);
		w->now_ms += 1000;
		return false;
	}
	if (w->commits == w->forget_commit) {
		put_back_live(w, &before);
	}
	trace(w, &out);
	if (out.outcome[0] != '\0') {
		snprintf(w->outcome, sizeof w->outcome, "%s", out.outcome);
		w->g.last.reason = w->outcome;
	}
	if (out.has_split) {
		w->has_split = true;
		w->split = out.split;
	}
	w->g.revision++;
	return true;
}

static void settle(struct world *w)
{
	for (int n = 0; step_once(w); n++) {
		assert_in_range(n, 0, 40);
	}
}

/* Restarted: records only. */
static void restart_plane(struct world *w)
{
	w->live = (struct group_live){ .members = w->member_live };
	memset(w->member_live, 0, sizeof w->member_live);
	memset(w->heard, 0, sizeof w->heard);
	w->watches += (uint64_t)1 << 32;
}

static void note_silence(struct world *w)
{
	for (size_t i = 0; i < w->g.nmembers; i++) {
		size_t seat = seat_of(w, w->members[i].id);

		if (!w->servers[seat].mute) {
			w->mute_since_ms[seat] = w->now_ms;
		}
		w->silent[i] = w->now_ms - w->mute_since_ms[seat] > 5000;
	}
}

static void turn(struct world *w)
{
	w->now_ms += w->turn_ms;
	for (size_t i = 0; i < SEATS; i++) {
		agent_turn(w, i);
	}
	write_somewhere(w);
	flow(w);
	note_silence(w);
	settle(w);
	if (w->g.op.kind != OP_NONE) {
		assert_true(w->g.op.phase != PHASE_NONE);
	}
}

static void turns(struct world *w, int n)
{
	while (n-- > 0) {
		turn(w);
	}
}

static void turn_until(struct world *w, enum op_phase phase, int limit)
{
	while (w->g.op.phase != phase) {
		if (limit-- == 0) {
			fail_msg("phase %s instead of %s:\n%s%s", op_phase_name(w->g.op.phase),
				 op_phase_name(phase), w->trace, w->reasons);
		}
		turn(w);
	}
}

/* scenes */

static void add_server(struct world *w, size_t i, const char *name, const char *address)
{
	w->members[i] = (struct member){
		.id = seat_id(i),
		.name = name,
		.host = name,
		.address = address,
		.port = 6379,
		.flavor = "1",
		.datastore = "redis",
		.version = "7.0.15",
		.state = MEMBER_ACTIVE,
		.attached_once = true,
	};
	w->servers[i] = (struct server){
		.runs = true,
		.master = i == A,
		.upstream = i == A ? (size_t)NOWHERE : A,
		.run = ++w->runs,
		.stream = 1,
		.second = -1,
		.offset = 1000,
		.data = 100,
		.link = i != A,
		.durable = true,
	};
}

/* Three servers at work for a while, known to the control plane. */
static void scene(struct world *w)
{
	*w = (struct world){ .now_ms = 1000,
			     .turn_ms = 1,
			     .streams = 1,
			     .acked = 100,
			     .keeps_links = true,
			     .watches = (uint64_t)5 << 32 };
	w->g = (struct group){
		.id = { .b = { 7 } },
		.project = "p",
		.name = "db",
		.revision = 1,
		.epoch = 3,
		.source = seat_id(A),
		.source_run = numbered('a', 1),
		.nmembers = SEATS,
		.members = w->members,
		.history = w->history,
		.nhistory = 1,
	};
	w->history[0] = (struct history_entry){ .epoch = 3,
						.replid = numbered('c', 1),
						.source = seat_id(A) };
	w->live.members = w->member_live;
	add_server(w, A, "db", "127.0.77.1");
	add_server(w, B, "db-1", "127.0.77.2");
	add_server(w, C, "db-2", "127.0.77.3");
	turns(w, 10);
	assert_string_equal(w->trace, "");
}

static bool ask(struct world *w, size_t target, struct err *e)
{
	const struct observation *obs[SEATS];
	struct group_event ev;

	for (size_t i = 0; i < SEATS; i++) {
		obs[i] = w->heard[i] ? &w->obs[i] : NULL;
	}
	struct operate_in in = { .obs = obs,
				 .silent = w->silent,
				 .live = &w->live,
				 .op = { .b = { 8 } },
				 .now_ms = w->now_ms,
				 .wall_ms = 5 };

	if (!operate_handover(&w->g, &in, seat_id(target), &ev, e)) {
		return false;
	}
	w->g.revision++;
	append(w->trace, sizeof w->trace, event_kind_name(ev.kind));
	return true;
}

static bool cancel(struct world *w, struct err *e)
{
	const struct observation *obs[SEATS];
	struct group_event ev;

	for (size_t i = 0; i < SEATS; i++) {
		obs[i] = w->heard[i] ? &w->obs[i] : NULL;
	}
	struct operate_in in = {
		.obs = obs, .silent = w->silent, .live = &w->live, .now_ms = w->now_ms, .wall_ms = 5
	};

	if (!operate_cancel(&w->g, &in, &ev, e)) {
		return false;
	}
	w->g.revision++;
	append(w->trace, sizeof w->trace, event_kind_name(ev.kind));
	return true;
}

static void begin(struct world *w)
{
	struct err e = {};

	scene(w);
	assert_ok(ask(w, B, &e), &e);
}

/* Everything that must hold when an operation has ended, whatever happened in it. */
static void expect_whole(struct world *w)
{
	size_t source = seat_of(w, w->g.source);

	assert_int_equal(w->g.op.kind, OP_NONE);
	turns(w, 200); /* whoever is started again comes back */
	assert_int_equal(w->g.op.kind, OP_NONE);
	assert_true(takes_writes(&w->servers[source]));
	if (w->servers[source].data < w->acked) {
		fail_msg("%" PRId64 " acknowledged, %" PRId64 " there:\n%s", w->acked,
			 w->servers[source].data, w->trace);
	}
	for (size_t i = 0; i < SEATS; i++) {
		assert_false(w->servers[i].fenced);
		assert_false(w->servers[i].paused);
		assert_int_equal(w->members[i].state, MEMBER_ACTIVE);
		assert_false(w->members[i].demoted);
		assert_true(i == source || w->servers[i].upstream == source);
		assert_true(i == source || w->servers[i].link);
	}
	assert_true(replid_known(&w->history[w->g.nhistory - 1].replid));
	assert_string_equal(w->history[w->g.nhistory - 1].replid.s,
			    numbered('c', w->servers[source].stream).s);
}

static void expect_in(const char *text, const char *part)
{
	if (strstr(text, part) == NULL) {
		fail_msg("'%s' lacks '%s'", text, part);
	}
}
