/* The hosts' side of group_world.h: modelled servers, and agents round the real instance_step(). */
#include <inttypes.h>

#include "group_world.h"

enum { RESTART_DELAY_MS = 50, SILENT_MS = 5000 };

struct replid numbered(char kind, int n)
{
	struct replid r = {};

	if (n > 0) {
		snprintf(r.s, sizeof r.s, "%c%039d", kind, n);
	}
	return r;
}

/* links */

static void apply(struct server *s)
{
	if (!s->hangs && !s->stuck && !s->paused && s->received > s->offset) {
		s->offset = s->received;
		s->data = s->received_data;
	}
}

static void receive(struct server *s, const struct server *up)
{
	if (up->stream == s->stream && up->offset > s->offset) {
		s->received = up->offset;
		s->received_data = up->data;
		s->last_io_s = 0;
		apply(s);
	}
}

/* What came before the end is read first; who hangs reads nothing. */
static void lose_link(struct server *s)
{
	if (!s->link || s->hangs) {
		s->closed = s->link;
		return;
	}
	apply(s);
	s->link = s->closed = false;
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
	s->received = s->offset;
	s->received_data = s->data;
	s->last_io_s = 0;
	s->link = true;
}

static void flow(struct world *w)
{
	for (size_t i = 0; i < SEATS; i++) {
		struct server *s = &w->servers[i];
		const struct server *up = s->upstream < SEATS ? &w->servers[s->upstream] : NULL;

		if (!s->runs || s->master) {
			continue;
		}
		if (s->closed || up == NULL || !up->runs || s->upstream == i) {
			lose_link(s);
		} else if (s->link) {
			receive(s, up);
		} else if (!s->hangs) {
			link_to(w, s, up);
		}
	}
}

static void drop_replicas(struct world *w, size_t of)
{
	for (size_t i = 0; i < SEATS; i++) {
		if (!w->servers[i].master && w->servers[i].upstream == of) {
			lose_link(&w->servers[i]);
		}
	}
}

/* servers */

bool takes_writes(const struct server *s)
{
	return s->runs && !s->hangs && s->master && !s->fenced;
}

static void take_write(struct world *w, struct server *s, int64_t n)
{
	s->offset += n;
	s->data++;
	w->acked++;
}

static void write_somewhere(struct world *w)
{
	size_t writable = 0;

	for (size_t i = 0; i < SEATS && w->writes_bytes > 0; i++) {
		if (takes_writes(&w->servers[i])) {
			take_write(w, &w->servers[i], w->writes_bytes);
			writable++;
		}
	}
	assert_in_range(writable, 0, 1);
}

void write_bytes(struct world *w, int64_t n)
{
	size_t source = seat_of(w->g.source);

	assert_true(takes_writes(&w->servers[source]));
	take_write(w, &w->servers[source], n);
	for (size_t i = 0; i < SEATS; i++) {
		if (w->servers[i].link && w->servers[i].upstream == source) {
			receive(&w->servers[i], &w->servers[source]);
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
			      .stream = ++w->streams, /* an AOF carries no position */
			      .second = -1,
			      .data = s->data,
			      .durable = true,
			      .marker = s->marker,
			      .mode = s->mode,
			      .upstream = s->mode.guarded ? (size_t)NOWHERE : upstream };
}

void server_die(struct world *w, size_t seat)
{
	struct server *s = &w->servers[seat];

	s->runs = s->hangs = s->link = s->closed = s->fenced = s->paused = false;
	s->dies_ms = w->now_ms;
	drop_replicas(w, seat);
}

void server_promote(struct world *w, size_t seat)
{
	struct server *s = &w->servers[seat];

	s->master = true;
	s->stream2 = s->stream;
	s->second = s->offset + 1;
	s->stream = ++w->streams;
	s->link = false;
	s->upstream = NOWHERE;
	drop_replicas(w, seat);
}

void server_follow(struct world *w, size_t seat, size_t upstream)
{
	struct server *s = &w->servers[seat];

	if (s->master && !w->keeps_links) {
		drop_replicas(w, seat);
	}
	s->master = false;
	s->link = false; /* what it has received and not applied is thrown away, as in Redis */
	s->upstream = upstream;
}

/* agents */

static size_t upstream_of(const struct goal *goal)
{
	return goal->upstream_port == 0
		       ? (size_t)NOWHERE
		       : (size_t)(goal->upstream_host[strlen(goal->upstream_host) - 1] - '1');
}

static enum proc_state proc_of(const struct server *s)
{
	if (s->deleted) {
		return PROC_DELETED;
	}
	if (!s->runs) {
		return PROC_EXITED;
	}
	return s->hangs ? PROC_HUNG : PROC_RUNNING;
}

static struct observation look(const struct world *w, size_t seat)
{
	const struct server *s = &w->servers[seat];
	bool ids = strcmp(w->members[0].version, "4") >= 0;
	struct observation o = {
		.instance = seat_id(seat),
		.proc = proc_of(s),
		.run_id = numbered('a', s->run),
		.guarded = s->mode.guarded && !s->master,
		.fenced = s->fenced,
		.marker = s->marker,
		.role = s->master ? SERVER_ROLE_MASTER : SERVER_ROLE_REPLICA,
		.replid = numbered('c', ids ? s->stream : 0),
		.replid2 = numbered('c', ids ? s->stream2 : 0),
		.offset = s->offset,
		.second_offset = s->second,
		.slave_offset = s->master ? -1 : s->offset,
		.read_offset = s->link && !s->hangs ? s->received : s->offset,
		.link_up = s->link,
		.upstream_port = s->master || s->upstream >= SEATS ? 0 : 6379,
		.keys = s->data,
		.save_progress = -1,
		.aof_enabled = true,
		.durable = s->durable,
		.disk_error = s->disk_error,
		.last_io_s = s->link ? s->last_io_s : -1,
	};

	if (s->master || !ids) {
		o.read_offset = -1;
	}
	snprintf(o.upstream_host, sizeof o.upstream_host, "127.0.77.%zu",
		 s->upstream < SEATS ? s->upstream + 1 : 99);
	return o;
}

static void carry_out(struct world *w, size_t seat, const struct goal *goal,
		      struct instance_out out)
{
	struct server *s = &w->servers[seat];

	switch (out.act) {
	case ACT_START:
		s->mode = out.mode;
		server_start(w, s, goal, upstream_of(goal));
		return;
	case ACT_FOLLOW:
	case ACT_YIELD:
		server_follow(w, seat, upstream_of(goal));
		break;
	case ACT_GUARD:
	case ACT_SEAL:
		server_follow(w, seat, NOWHERE);
		break;
	case ACT_PROMOTE:
		server_promote(w, seat);
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
		server_die(w, seat);
		break;
	case ACT_DELETE_FILES:
		s->deleted = true;
		break;
	case ACT_WRITE_CONF:
	case ACT_CONFIG_SET:
	case ACT_AOF_ON:
	case ACT_SET_ASIDE_AOF:
	case ACT_NONE:
	case ACT_STOP:
	case ACT_COUNT:
		break;
	}
	s->mode = out.mode;
}

static bool agent_works(const struct world *w, size_t seat)
{
	return !w->servers[seat].mute && !w->servers[seat].lazy &&
	       group_find(&w->g, seat_id(seat)) != NULL;
}

static void report(struct world *w, size_t seat, const struct observation *o)
{
	w->obs[seat] = *o;
	w->heard[seat] = true;
}

void agent_turn(struct world *w, size_t seat)
{
	static const struct server_settings settings = {};
	struct server *s = &w->servers[seat];
	const struct member *m = group_find(&w->g, seat_id(seat));

	if (!agent_works(w, seat)) {
		return;
	}
	struct goal goal = goal_of(&w->g, m, (struct id){}, &settings);
	struct goal_live live = group_live_of(&w->g, &w->live, m);
	struct observation o = look(w, seat);
	struct instance_local local = {
		.obs = &o,
		.conf_current = true,
		.live_current = true,
		.mode_now = s->mode,
		.files_exist = !s->deleted,
		.aof_exists = true,
		.paused = s->paused,
		.clients_dropped = s->dropped,
		.marker_was_master = s->master,
		.exited_ms = s->runs ? 0 : s->dies_ms,
		.restart_delay_ms = s->runs || !s->stays_down ? RESTART_DELAY_MS : INT32_MAX,
	};
	struct instance_out out = instance_step(&(struct instance_in){
		.goal = &goal,
		.live = &live,
		.confirmed = true,
		.local = &local,
		.now_ms = w->now_ms,
	});

	carry_out(w, seat, &goal, out);
	o = look(w, seat);
	o.goal_applied = out.act == ACT_NONE && out.goal_applied;
	o.goal_epoch = goal.epoch;
	o.goal_revision = goal.revision;
	o.start_at_once = goal.start_at_once;
	o.watch = live.watch;
	report(w, seat, &o);
}

void agents_report(struct world *w)
{
	for (size_t i = 0; i < SEATS; i++) {
		struct observation o = look(w, i);

		o.goal_epoch = w->obs[i].goal_epoch;
		o.goal_revision = w->obs[i].goal_revision;
		o.start_at_once = w->obs[i].start_at_once;
		o.watch = w->obs[i].watch;
		if (agent_works(w, i)) {
			report(w, i, &o);
		}
	}
}

/* hosts */

void cut_off(struct world *w, size_t seat)
{
	w->servers[seat].mute = w->silent[seat] = true;
	w->mute_since_ms[seat] = w->now_ms - SILENT_MS - 1;
}

void reach_again(struct world *w, size_t seat)
{
	w->servers[seat].mute = w->silent[seat] = false;
}

static void note_silence(struct world *w)
{
	for (size_t i = 0; i < SEATS; i++) {
		if (!w->servers[i].mute) {
			w->mute_since_ms[i] = w->now_ms;
		}
		w->silent[i] = w->now_ms - w->mute_since_ms[i] > SILENT_MS;
	}
}

/* turns */

void turn(struct world *w)
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

void turns(struct world *w, int n)
{
	while (n-- > 0) {
		turn(w);
	}
}

void turn_until(struct world *w, enum op_phase phase, int limit)
{
	while (w->g.op.phase != phase) {
		if (limit-- == 0) {
			fail_msg("phase %s instead of %s:\n%s\n%s", op_phase_name(w->g.op.phase),
				 op_phase_name(phase), w->trace, w->reasons);
		}
		turn(w);
	}
}

/* scenes */

static void add_server(struct world *w, size_t seat)
{
	struct member *m = add_member(w);

	m->state = MEMBER_ACTIVE;
	m->attached_once = true;
	w->servers[seat] = (struct server){
		.runs = true,
		.master = seat == A,
		.upstream = seat == A ? (size_t)NOWHERE : A,
		.run = ++w->runs,
		.stream = 1,
		.second = -1,
		.offset = 1000,
		.data = 100,
		.received = 1000,
		.received_data = 100,
		.link = seat != A,
		.durable = true,
		.marker = MARKER_INTACT,
	};
}

void quiet_scene(struct world *w, size_t nreplicas)
{
	world_init(w, 3);
	w->streams = 1;
	w->acked = 100;
	w->keeps_links = true;
	w->watches = (uint64_t)5 << 32;
	for (size_t i = 0; i <= nreplicas; i++) {
		add_server(w, i);
	}
	w->g.source_run = numbered('a', 1);
	w->g.nhistory = 1;
	w->history[0] = (struct history_entry){ .epoch = 3,
						.replid = numbered('c', 1),
						.source = seat_id(A) };
	turns(w, 2);
	assert_string_equal(w->trace, "");
}

void scene(struct world *w)
{
	quiet_scene(w, 2);
	w->writes_bytes = 10;
	turns(w, 8);
	assert_string_equal(w->trace, "");
}

void begin(struct world *w)
{
	struct err e = {};

	scene(w);
	assert_ok(ask(w, B, &e), &e);
}

/* what holds in the end */

bool everybody_follows(const struct world *w)
{
	size_t source = seat_of(w->g.source);
	const struct server *up = &w->servers[source];

	for (size_t i = 0; i < w->g.nmembers; i++) {
		const struct server *s = &w->servers[seat_of(w->members[i].id)];

		if (s != up && (!s->link || s->upstream != source || s->stream != up->stream ||
				s->offset != up->offset)) {
			return false;
		}
	}
	return takes_writes(up) && w->g.op.kind == OP_NONE;
}

void expect_whole(struct world *w)
{
	const struct server *source = &w->servers[seat_of(w->g.source)];

	assert_int_equal(w->g.op.kind, OP_NONE);
	turns(w, 200); /* whoever is started again comes back */
	assert_true(everybody_follows(w));
	if (source->data < w->acked) {
		fail_msg("%" PRId64 " acknowledged, %" PRId64 " there:\n%s", w->acked, source->data,
			 w->trace);
	}
	for (size_t i = 0; i < w->g.nmembers; i++) {
		const struct server *s = &w->servers[seat_of(w->members[i].id)];

		assert_false(s->fenced);
		assert_false(s->paused);
		assert_int_equal(w->members[i].state, MEMBER_ACTIVE);
		assert_false(w->members[i].demoted);
	}
	assert_true(replid_known(&w->history[w->g.nhistory - 1].replid));
	assert_string_equal(w->history[w->g.nhistory - 1].replid.s,
			    numbered('c', source->stream).s);
}
