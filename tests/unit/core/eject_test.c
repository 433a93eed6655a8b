/*
 * An eject from its request to its end: the rules of group_step(), agents that carry out goals, and
 * servers that move as servers do. A history reads as what happens to the hosts, and the events
 * that follow. Times are virtual.
 */
#include "../test.h"
#include "base/str.h"
#include "core/operate.h"

enum { S = 0, A = 1, B = 2, C = 3, SEATS = 6 };

struct host {
	bool cut;    /* its agent hears and says nothing */
	bool lazy;   /* reports, but carries out no goal */
	bool frozen; /* the server: hangs */
	bool dies;   /* the server: does not come back when it exits */
	int64_t unread; /* bytes in the socket that the server has yet to apply */
};

struct world {
	struct group g;
	struct group_live live;
	struct member members[SEATS];
	struct member_live member_live[SEATS];
	struct history_entry history[MODEL_HISTORY_MAX + 1];
	struct observation obs[SEATS];
	struct host hosts[SEATS];
	bool heard[SEATS], silent[SEATS];
	int64_t now_ms;
	uint64_t watches;
	unsigned ids; /* run and replication ids given so far */
	int64_t wake_ms;
	bool split;
	struct group split_group;
	struct member split_member;
	char trace[4000], reason[320], figures[240];
	char outcome[320];
	struct err e;
};

static struct id seat_id(size_t i)
{
	return (struct id){ .b = { 1, (uint8_t)(i + 1) } };
}

static size_t seat(const struct world *w, size_t who)
{
	size_t i = 0;

	while (i < w->g.nmembers && !id_eq(w->members[i].id, seat_id(who))) {
		i++;
	}
	assert_true(i < w->g.nmembers);
	return i;
}

static struct observation *of(struct world *w, size_t who)
{
	return &w->obs[seat(w, who)];
}

static struct host *host(struct world *w, size_t who)
{
	return &w->hosts[seat(w, who)];
}

static struct replid fresh_replid(struct world *w)
{
	struct replid r;

	snprintf(r.s, sizeof r.s, "%040u", ++w->ids);
	return r;
}

/* servers */

static void boot(struct world *w, struct observation *o)
{
	o->proc = PROC_RUNNING;
	o->run_id = fresh_replid(w);
	o->read_offset = -1;
	o->last_io_s = -1;
	o->aof_enabled = o->durable = true;
}

/* An AOF carries no position. */
static void restart_guarded(struct world *w, size_t who, enum marker_verdict marker)
{
	struct observation *o = of(w, who);

	boot(w, o);
	o->guarded = true;
	o->loading = false;
	o->role = SERVER_ROLE_REPLICA;
	o->upstream_port = 0;
	o->link_up = false;
	o->replid = fresh_replid(w);
	o->replid2 = (struct replid){};
	o->offset = o->slave_offset = 0;
	o->second_offset = -1;
	o->marker = marker;
}

/* A replica that has read all it has, and applied it. */
static void stand_at(struct observation *o, int64_t offset)
{
	o->offset = o->slave_offset = o->read_offset = offset;
}

static void change_id(struct observation *o, const struct replid *replid)
{
	if (replid_eq(&o->replid, replid)) {
		return;
	}
	o->replid2 = o->replid;
	o->second_offset = o->offset + 1;
	o->replid = *replid;
}

static void be_master(struct world *w, struct observation *o)
{
	struct replid r = fresh_replid(w);

	change_id(o, &r);
	o->role = SERVER_ROLE_MASTER;
	o->slave_offset = o->read_offset = -1;
	o->link_up = false;
	o->guarded = false;
	o->upstream_port = 0;
}

static void follow_nobody(struct world *w, size_t i)
{
	struct observation *o = &w->obs[i];

	o->role = SERVER_ROLE_REPLICA;
	o->upstream_port = 0;
	o->link_up = false;
	o->last_io_s = -1;
	stand_at(o, o->offset);
	w->hosts[i].unread = 0; /* thrown away, as a real one does */
}

/* A partial copy where the upstream's second id allows it, else a full one. */
static void copy_from(struct observation *o, const struct observation *up)
{
	bool goes_on = replid_eq(&o->replid, &up->replid) ||
		       (replid_eq(&o->replid, &up->replid2) && o->offset < up->second_offset);

	if (goes_on && o->offset <= up->offset) {
		change_id(o, &up->replid);
	} else {
		o->replid = up->replid;
		o->replid2 = (struct replid){};
		o->second_offset = -1;
		o->keys = up->keys;
	}
	stand_at(o, up->offset);
	o->link_up = true;
	o->last_io_s = 0;
}

static void follow(struct world *w, size_t i, const struct goal *goal)
{
	struct observation *o = &w->obs[i];
	const struct observation *up = NULL;
	bool same = o->role == SERVER_ROLE_REPLICA && o->upstream_port == goal->upstream_port &&
		    str_eq(o->upstream_host, goal->upstream_host);

	for (size_t j = 0; j < w->g.nmembers; j++) {
		if (str_eq(w->members[j].address, goal->upstream_host)) {
			up = &w->obs[j];
		}
	}
	if (!same) {
		follow_nobody(w, i);
		snprintf(o->upstream_host, sizeof o->upstream_host, "%s", goal->upstream_host);
		o->upstream_port = goal->upstream_port;
		o->guarded = false;
	}
	if (up != NULL && up->proc == PROC_RUNNING && up->role == SERVER_ROLE_MASTER &&
	    !o->link_up) {
		copy_from(o, up);
	}
}

/* agents */

/* Whether its server does now as the goal asks. */
static bool obey(struct world *w, size_t i, const struct goal *goal)
{
	struct observation *o = &w->obs[i];

	if (o->proc == PROC_HUNG && goal->kill_hung) {
		o->proc = PROC_EXITED;
	}
	if (o->proc != PROC_RUNNING || o->loading) {
		return false;
	}
	switch (goal->role) {
	case GOAL_SOURCE:
		if (!goal->start_at_once && !replid_eq(&goal->confirmed_run, &o->run_id)) {
			return false;
		}
		if (o->role != SERVER_ROLE_MASTER) {
			be_master(w, o);
		}
		return true;
	case GOAL_REPLICA:
		if (!o->guarded) {
			follow(w, i, goal);
		}
		return !o->guarded;
	case GOAL_GUARDED:
		follow_nobody(w, i);
		o->guarded = true;
		return true;
	case GOAL_SEALED:
		follow_nobody(w, i);
		return true;
	case GOAL_YIELDING:
		break;
	}
	return false;
}

static void cut_links(struct world *w)
{
	const struct observation *s = NULL;

	for (size_t i = 0; i < w->g.nmembers; i++) {
		struct observation *o = &w->obs[i];

		for (size_t j = 0; j < w->g.nmembers; j++) {
			s = str_eq(w->members[j].address, o->upstream_host) ? &w->obs[j] : s;
		}
		bool down = s != NULL && (s->proc == PROC_EXITED || s->role != SERVER_ROLE_MASTER);

		/* What came before the end is read first; who hangs reads nothing. */
		if (o->role == SERVER_ROLE_REPLICA && o->upstream_port != 0 && down &&
		    !w->hosts[i].frozen && o->proc == PROC_RUNNING) {
			stand_at(o, o->offset + w->hosts[i].unread);
			w->hosts[i].unread = 0;
			o->link_up = false;
			o->last_io_s = -1;
		}
	}
}

static void agents(struct world *w)
{
	const struct server_settings settings = {};

	cut_links(w);
	for (size_t i = 0; i < w->g.nmembers; i++) {
		struct observation *o = &w->obs[i];
		struct goal goal = goal_of(&w->g, &w->members[i], (struct id){}, &settings);

		w->silent[i] = w->hosts[i].cut;
		if (w->hosts[i].cut || w->hosts[i].lazy) {
			continue;
		}
		if (o->proc == PROC_RUNNING && w->hosts[i].frozen) {
			o->proc = PROC_HUNG;
		} else if (o->proc == PROC_HUNG && !w->hosts[i].frozen) {
			o->proc = PROC_RUNNING;
		}
		if (goal.run == GOAL_DELETE) {
			o->proc = PROC_DELETED;
		}
		o->goal_applied = obey(w, i, &goal);
		if (o->goal_applied) {
			o->goal_epoch = goal.epoch;
			o->goal_revision = goal.revision;
		}
		o->watch = w->live.watch;
	}
	cut_links(w);
}

/* control plane */

static void trace_event(struct world *w, const struct group_event *ev)
{
	size_t len = strlen(w->trace);

	assert_true(ev->reason[0] != '\0');
	snprintf(w->reason, sizeof w->reason, "%s", ev->reason);
	snprintf(w->figures, sizeof w->figures, "%s", ev->figures);
	printf("#	%s: %s [%s]\n", event_kind_name(ev->kind), ev->reason, ev->figures);
	snprintf(w->trace + len, sizeof w->trace - len, "%s ", event_kind_name(ev->kind));
}

static void forget_removed(struct world *w, const struct member *before, size_t nbefore)
{
	for (size_t i = 0; i < nbefore; i++) {
		if (i < w->g.nmembers && id_eq(w->g.members[i].id, before[i].id)) {
			continue;
		}
		size_t behind = nbefore - i - 1;

		memmove(&w->obs[i], &w->obs[i + 1], behind * sizeof w->obs[0]);
		memmove(&w->heard[i], &w->heard[i + 1], behind * sizeof w->heard[0]);
		memmove(&w->hosts[i], &w->hosts[i + 1], behind * sizeof w->hosts[0]);
		memmove(&w->silent[i], &w->silent[i + 1], behind * sizeof w->silent[0]);
		return;
	}
}

static void keep_split(struct world *w, const struct group_out *out)
{
	if (!out->has_split) {
		return;
	}
	w->split = true;
	w->split_group = out->split;
	w->split_member = out->split_member;
	w->split_group.members = &w->split_member;
	w->split_group.history = NULL;
}

static bool step_once(struct world *w)
{
	const struct observation *obs[SEATS] = {};
	struct member before[SEATS];
	size_t nbefore = w->g.nmembers;
	struct group_out out;

	for (size_t i = 0; i < nbefore; i++) {
		obs[i] = w->heard[i] ? &w->obs[i] : NULL;
	}
	memcpy(before, w->members, sizeof before);
	w->watches++;
	group_step(&w->g, &w->live,
		   &(struct group_in){
			   .obs = obs,
			   .silent = w->silent,
			   .now_ms = w->now_ms,
			   .wall_ms = 1000000 + w->now_ms,
			   .fresh_watch = w->watches,
			   .fresh_id = { .b = { 9, (uint8_t)w->watches } },
			   .fresh_group = { .b = { 8 } },
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
	w->wake_ms = out.wake_ms;
	for (size_t i = 0; i < out.nevents; i++) {
		trace_event(w, &out.events[i]);
	}
	keep_split(w, &out);
	if (w->g.last.reason == out.outcome) {
		snprintf(w->outcome, sizeof w->outcome, "%s", out.outcome);
		w->g.last.reason = w->outcome;
	}
	if (w->g.nmembers < nbefore) {
		forget_removed(w, before, nbefore);
	}
	w->g.revision += out.changed;
	return out.changed || out.nevents > 0;
}

static void settle(struct world *w)
{
	int n = 0;

	while (step_once(w)) {
		if (++n > 60) {
			fail_msg("the steps do not end: %s", w->trace);
		}
	}
}

/* Agents and control plane in turns until `ms` have passed. */
static void run_for(struct world *w, int64_t ms)
{
	for (int64_t end_ms = w->now_ms + ms; w->now_ms <= end_ms; w->now_ms++) {
		agents(w);
		settle(w);
	}
}

static struct operate_in operate_in_of(struct world *w, const struct observation **obs)
{
	for (size_t i = 0; i < w->g.nmembers; i++) {
		obs[i] = w->heard[i] ? &w->obs[i] : NULL;
		w->silent[i] = w->hosts[i].cut;
	}
	return (struct operate_in){
		.obs = obs,
		.silent = w->silent,
		.live = &w->live,
		.op = { .b = { 5, (uint8_t)++w->watches } },
		.now_ms = w->now_ms,
		.wall_ms = 1000000 + w->now_ms,
	};
}

static bool try_eject(struct world *w, bool accept)
{
	const struct observation *obs[SEATS] = {};
	struct operate_in in = operate_in_of(w, obs);
	enum probe_answer probe = operate_needs_probe(&w->g, &in) ? PROBE_SILENT : PROBE_NOT_MADE;
	struct group_event ev = {};
	bool again = false;

	if (!operate_eject(&w->g, &in, w->g.source, probe, accept, &again, &ev, &w->e)) {
		printf("#	refused: %s\n", w->e.msg);
		return false;
	}
	if (!again) {
		w->g.revision++;
		trace_event(w, &ev);
	}
	return true;
}

static void eject(struct world *w)
{
	assert_true(try_eject(w, false));
}

static void write_bytes(struct world *w, int64_t n)
{
	struct observation *s = of(w, S);

	s->offset += n;
	for (size_t i = 0; i < w->g.nmembers; i++) {
		struct observation *o = &w->obs[i];

		if (!o->link_up) {
			continue;
		}
		if (w->hosts[i].frozen) {
			w->hosts[i].unread += n;
		} else {
			stand_at(o, s->offset);
			o->last_io_s = 0;
		}
	}
}

static const char *const names[SEATS] = { "db", "a", "b", "c", "d", "e" };
static const char *const addresses[SEATS] = { "127.0.77.1", "127.0.77.2", "127.0.77.3",
					      "127.0.77.4", "127.0.77.5", "127.0.77.6" };

/* A source with n attached replicas, all at offset 1000. */
static void with_replicas(struct world *w, size_t n)
{
	*w = (struct world){ .now_ms = 1000 };
	w->live.members = w->member_live;
	w->g = (struct group){ .id = { .b = { 7 } }, .project = "p", .name = "db", .revision = 1,
			       .epoch = 1, .source = seat_id(S), .members = w->members,
			       .history = w->history, .nmembers = n + 1 };
	for (size_t i = 0; i <= n; i++) {
		w->members[i] = (struct member){
			.id = seat_id(i), .name = names[i], .host = names[i],
			.address = addresses[i], .port = 6379, .datastore = "redis",
			.version = "7.0.15", .state = MEMBER_ACTIVE, .attached_once = true,
		};
		boot(w, &w->obs[i]);
		w->obs[i].keys = 5;
		w->heard[i] = true;
	}
	of(w, S)->offset = 1000;
	of(w, S)->second_offset = -1;
	be_master(w, of(w, S));
	of(w, S)->replid2 = (struct replid){};
	w->g.source_run = of(w, S)->run_id;
	history_push(&w->g, &of(w, S)->replid, 0);
	run_for(w, 2);
	run_for(w, 2);
	assert_true(of(w, A)->link_up);
	assert_int_equal(of(w, A)->offset, 1000);
	w->trace[0] = '\0';
}

static void kill_server(struct world *w, size_t who)
{
	of(w, who)->proc = PROC_EXITED;
}

#define expect_trace(w, text)                                                                      \
	do {                                                                                       \
		assert_string_equal((w)->trace, (text));                                           \
		(w)->trace[0] = '\0';                                                              \
	} while (0)

static bool traced(const struct world *w, const char *event)
{
	return strstr(w->trace, event) != NULL;
}

static bool is_source(const struct world *w, size_t who)
{
	return id_eq(w->g.source, seat_id(who));
}

static bool everybody_follows(struct world *w)
{
	for (size_t i = 0; i < w->g.nmembers; i++) {
		const struct observation *o = &w->obs[i], *s = &w->obs[0];

		for (size_t j = 0; j < w->g.nmembers; j++) {
			s = id_eq(w->members[j].id, w->g.source) ? &w->obs[j] : s;
		}
		if (o != s && (!o->link_up || !replid_eq(&o->replid, &s->replid) ||
			       o->offset != s->offset)) {
			return false;
		}
		if (o == s && o->role != SERVER_ROLE_MASTER) {
			return false;
		}
	}
	return w->g.op.kind == OP_NONE;
}

/* the way it goes */

static void a_dead_source_is_replaced_by_the_most_current(void **)
{
	struct world w;

	with_replicas(&w, 3);
	of(&w, B)->link_up = false;
	host(&w, B)->lazy = true; /* held back: its link is stopped */
	write_bytes(&w, 500);
	kill_server(&w, S);
	host(&w, B)->lazy = false;
	eject(&w);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_DRAIN);
	run_for(&w, 20);
	assert_true(is_source(&w, A));
	assert_true(everybody_follows(&w));
	assert_int_equal(of(&w, B)->offset, 1500);
	assert_int_equal(w.g.nmembers, 3);
	expect_trace(&w, "eject.started instance.down eject.phase eject.candidate eject.candidate eject.candidate "
			 "source.changed source.ejected epoch.started eject.phase eject.done ");
	assert_true(w.g.last.done);
	assert_int_equal(w.g.last.kind, OP_EJECT);
	/* The seal and the promotion each have an epoch, and the new reign goes on at the next byte. */
	assert_int_equal(w.g.epoch, 3);
	assert_int_equal(w.g.nhistory, 2);
	assert_int_equal(w.history[1].start, 1501);
	assert_string_equal(w.history[1].replid.s, of(&w, A)->replid.s);
	assert_true(w.split);
	assert_int_equal(w.split_member.state, MEMBER_FENCED);
	assert_int_equal(w.split_member.fault.kind, FAULT_EJECTED);
}

static void nobody_is_touched_before_all_is_applied(void **)
{
	struct world w;

	/* The source's host is gone without a word: links stay up, and only stillness tells. */
	with_replicas(&w, 2);
	host(&w, S)->cut = true;
	of(&w, A)->last_io_s = of(&w, B)->last_io_s = 9;
	assert_false(try_eject(&w, false));
	assert_int_equal(w.e.code, ERR_UNPROCESSABLE);
	assert_non_null(strstr(w.e.msg, "accept_data_loss"));
	assert_non_null(strstr(w.e.msg, "1000"));
	assert_true(try_eject(&w, true));
	run_for(&w, 30);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_DRAIN);
	stand_at(of(&w, A), 1100); /* it still reads */
	run_for(&w, 40);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_DRAIN);
	run_for(&w, 40);
	assert_true(is_source(&w, A));
	assert_int_equal(w.history[1].start, 1101);
}

static void a_late_report_is_no_stillness(void **)
{
	struct world w;

	with_replicas(&w, 1);
	host(&w, S)->cut = true;
	of(&w, A)->last_io_s = 9;
	assert_true(try_eject(&w, true));
	run_for(&w, 2);
	host(&w, A)->lazy = true; /* no answer after the first look */
	run_for(&w, 500);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_DRAIN);
	host(&w, A)->lazy = false;
	run_for(&w, 20);
	assert_true(is_source(&w, A));
}

static void what_is_received_and_not_applied_counts_as_moving(void **)
{
	struct world w;

	with_replicas(&w, 1);
	host(&w, S)->cut = true;
	of(&w, A)->last_io_s = 9;
	of(&w, A)->read_offset = 1200;
	assert_true(try_eject(&w, true));
	run_for(&w, 300);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_DRAIN);
	stand_at(of(&w, A), 1200);
	run_for(&w, 70);
	assert_int_equal(w.history[1].start, 1201);
}

static void a_busy_replica_keeps_what_it_received(void **)
{
	struct world w;

	with_replicas(&w, 2);
	host(&w, B)->frozen = true;
	write_bytes(&w, 100);
	of(&w, A)->link_up = false;
	host(&w, A)->lazy = true;
	write_bytes(&w, 400); /* only B gets them, and it has not read them yet */
	kill_server(&w, S);
	host(&w, A)->lazy = false;
	eject(&w);
	run_for(&w, 3000);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_DRAIN);
	host(&w, B)->frozen = false;
	run_for(&w, 20);
	assert_true(is_source(&w, B));
	assert_int_equal(w.history[1].start, 1501);
	assert_true(everybody_follows(&w));
}

static void one_that_never_wakes_is_left_behind_at_the_limit(void **)
{
	struct world w;

	with_replicas(&w, 2);
	host(&w, B)->frozen = true;
	kill_server(&w, S);
	eject(&w);
	run_for(&w, 9990);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_DRAIN);
	run_for(&w, 40);
	assert_true(is_source(&w, A));
	host(&w, B)->frozen = false;
	run_for(&w, 30);
	assert_true(everybody_follows(&w));
}

static void an_unreachable_replica_stops_nothing(void **)
{
	struct world w;

	with_replicas(&w, 3);
	host(&w, B)->cut = true;
	kill_server(&w, S);
	eject(&w);
	run_for(&w, 20);
	assert_true(is_source(&w, A));
	host(&w, B)->cut = false;
	run_for(&w, 30);
	assert_true(everybody_follows(&w));
}

/* the old source */

static void a_hung_source_is_killed_before_anybody_is_sealed(void **)
{
	struct world w;

	with_replicas(&w, 2);
	host(&w, S)->frozen = true;
	agents(&w);
	host(&w, S)->lazy = true; /* its agent takes its time with the kill */
	eject(&w);
	run_for(&w, 200);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_DRAIN);
	host(&w, S)->lazy = false;
	run_for(&w, 100);
	assert_true(is_source(&w, A));
}

static void one_that_nobody_could_kill_is_not_replaced_unasked(void **)
{
	struct world w;

	with_replicas(&w, 2);
	host(&w, S)->frozen = true;
	agents(&w);
	host(&w, S)->lazy = true;
	of(&w, S)->watch = 0;
	eject(&w);
	run_for(&w, 10100);
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_true(is_source(&w, S));
	assert_false(w.g.last.done);
	assert_non_null(strstr(w.g.last.reason, "accept_data_loss"));
	/* With the word it goes on at the limit. */
	assert_true(try_eject(&w, true));
	run_for(&w, 10100);
	assert_true(is_source(&w, A));
}

static void one_whose_agent_falls_silent_before_the_kill_is_not_either(void **)
{
	struct world w;

	with_replicas(&w, 2);
	host(&w, S)->frozen = true;
	agents(&w);
	host(&w, S)->cut = true;
	w.silent[S] = false;
	/* The request came while its agent was heard. */
	host(&w, S)->cut = false;
	host(&w, S)->lazy = true;
	eject(&w);
	host(&w, S)->cut = true;
	run_for(&w, 200);
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_true(is_source(&w, S));
	assert_true(traced(&w, "eject.undone"));
}

/* The source's agent is silent, its server is not: nobody here can know. */
static void cut_off(struct world *w, enum op_phase when)
{
	with_replicas(w, 3);
	host(w, S)->cut = true;
	for (size_t r = A; r <= C; r++) {
		of(w, r)->last_io_s = 9;
	}
	w->g.durability = w->g.durability_proven = when == PHASE_EJECT_HELD ? 1 : 0;
	assert_true(try_eject(w, when != PHASE_EJECT_HELD));
	host(w, C)->cut = when == PHASE_EJECT_HELD; /* then too few can be sealed */
	for (int turn = 0; turn < 100 && w->g.op.phase != when; turn++) {
		agents(w);
		(void)step_once(w);
		w->now_ms += 5;
	}
	host(w, B)->lazy = when == PHASE_EJECT_SEAL;
	assert_int_equal(w->g.op.phase, when);
}

static void a_source_that_lives_after_all_goes_on_with_everything(void **)
{
	static const enum op_phase when[] = { PHASE_EJECT_DRAIN, PHASE_EJECT_SEAL, PHASE_EJECT_HELD };

	for (size_t i = 0; i < ARRAY_LEN(when); i++) {
		struct world w;
		struct replid before;

		printf("# back in %s\n", op_phase_name(when[i]));
		cut_off(&w, when[i]);
		before = of(&w, S)->replid;
		write_bytes(&w, 70); /* it went on writing all the time */
		host(&w, S)->cut = false;
		run_for(&w, 5);
		assert_true(traced(&w, "eject.undone"));
		host(&w, B)->lazy = host(&w, C)->cut = false;
		run_for(&w, 30);
		assert_true(is_source(&w, S));
		assert_false(w.g.last.done);
		assert_true(everybody_follows(&w));
		assert_int_equal(of(&w, S)->offset, 1070);
		/* It was demoted and promoted back: one new reign, at the byte where it stood. */
		assert_int_equal(w.g.nhistory, 2);
		assert_int_equal(w.history[1].start, 1071);
		assert_string_equal(w.history[1].replid.s, of(&w, S)->replid.s);
		assert_string_not_equal(before.s, of(&w, S)->replid.s);
		assert_int_equal(w.members[seat(&w, S)].state, MEMBER_ACTIVE);
		assert_int_equal(w.members[seat(&w, S)].fault.kind, FAULT_NONE);
	}
}

static void an_eject_wins_over_a_restart(void **)
{
	struct world w;

	with_replicas(&w, 2);
	of(&w, S)->proc = PROC_EXITED;
	run_for(&w, 2);
	restart_guarded(&w, S, MARKER_MISSING);
	run_for(&w, 20);
	assert_int_equal(w.g.op.phase, PHASE_RESTART_HELD);
	eject(&w);
	run_for(&w, 30);
	assert_true(is_source(&w, A));
	assert_true(w.split);
}

static void a_restarted_one_is_compared_when_nobody_can_be_elected(void **)
{
	struct world w;

	with_replicas(&w, 2);
	w.g.durability = w.g.durability_proven = 1;
	host(&w, B)->cut = true;
	kill_server(&w, S);
	eject(&w);
	run_for(&w, 50);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_HELD);
	assert_int_equal(w.members[seat(&w, S)].state, MEMBER_ERROR);
	assert_int_equal(w.members[seat(&w, S)].fault.kind, FAULT_ELECT);
	assert_true(traced(&w, "eject.held"));
	assert_true(strstr(w.members[seat(&w, S)].fault.text, "1 of 2 replicas are sealed") != NULL);
	w.trace[0] = '\0';
	run_for(&w, 6000);
	expect_trace(&w, "");
	restart_guarded(&w, S, MARKER_INTACT);
	run_for(&w, 20);
	assert_true(traced(&w, "eject.undone source.comparing source.confirmed"));
	host(&w, B)->cut = false;
	run_for(&w, 100);
	assert_true(is_source(&w, S));
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_int_equal(of(&w, S)->role, SERVER_ROLE_MASTER);
}

/* held */

static void held(struct world *w)
{
	with_replicas(w, 2);
	w->g.durability = w->g.durability_proven = 1;
	host(w, B)->cut = true;
	kill_server(w, S);
	host(w, S)->dies = true;
	eject(w);
	run_for(w, 50);
	assert_int_equal(w->g.op.phase, PHASE_EJECT_HELD);
	w->trace[0] = '\0';
}

static void a_replica_that_returns_makes_it_enough(void **)
{
	struct world w;

	held(&w);
	host(&w, B)->cut = false;
	run_for(&w, 100);
	assert_true(is_source(&w, A) || is_source(&w, B));
	assert_true(traced(&w, "eject.done"));
}

static void the_operators_word_given_later_is_enough(void **)
{
	struct world w;
	uint64_t revision;

	held(&w);
	revision = w.g.revision;
	eject(&w);
	assert_int_equal(w.g.revision, revision); /* the same eject: nothing to commit */
	assert_true(try_eject(&w, true));
	assert_int_equal(w.g.revision, revision + 1);
	assert_true(try_eject(&w, true));
	assert_int_equal(w.g.revision, revision + 1);
	run_for(&w, 100);
	assert_true(is_source(&w, A));
	assert_true(traced(&w, "source.accepted"));
}

static void members_that_go_meanwhile(void **)
{
	struct world w;

	held(&w);
	w.members[seat(&w, B)].state = MEMBER_DELETING;
	host(&w, B)->cut = false;
	run_for(&w, 100);
	/* Deleted, it may still have been the one that held a write: k = 1 is proven of nobody. */
	assert_int_equal(w.g.op.phase, PHASE_EJECT_HELD);
	assert_int_equal(w.g.durability_proven, 0);
	w.members[seat(&w, A)].state = MEMBER_DELETING;
	run_for(&w, 100);
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_true(is_source(&w, S));
	assert_true(traced(&w, "eject.undone"));
}

static void a_group_that_is_deleted_ends_it(void **)
{
	const struct observation *obs[SEATS] = {};
	struct world w;
	struct group_event ev;

	held(&w);
	struct operate_in in = operate_in_of(&w, obs);

	assert_true(operate_delete_group(&w.g, &in, &ev, &w.e));
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_int_equal(w.g.last.kind, OP_EJECT);
	assert_false(w.g.last.done);
	for (size_t i = 0; i < w.g.nmembers; i++) {
		assert_int_equal(w.members[i].state, MEMBER_DELETING);
	}
}

static void cancelled_the_source_goes_on_if_it_can(void **)
{
	const struct observation *obs[SEATS] = {};
	struct world w;
	struct group_event ev;

	held(&w);
	struct operate_in in = operate_in_of(&w, obs);
	uint64_t epoch = w.g.epoch;

	assert_true(operate_cancel(&w.g, &in, &ev, &w.e));
	w.g.revision++;
	assert_int_equal(w.g.epoch, epoch + 1);
	assert_int_equal(w.members[seat(&w, S)].fault.kind, FAULT_NONE);
	host(&w, B)->cut = false;
	restart_guarded(&w, S, MARKER_INTACT);
	run_for(&w, 100);
	assert_true(is_source(&w, S));
	assert_int_equal(of(&w, S)->role, SERVER_ROLE_MASTER);
}

/* again and again */

static void a_winner_that_dies_before_it_serves_is_replaced(void **)
{
	struct world w;

	with_replicas(&w, 3);
	write_bytes(&w, 10);
	kill_server(&w, S);
	eject(&w);
	while (w.g.op.phase != PHASE_EJECT_PROMOTE) {
		agents(&w);
		(void)step_once(&w);
	}
	assert_true(is_source(&w, A));
	kill_server(&w, A);
	run_for(&w, 50);
	assert_true(is_source(&w, B));
	assert_true(everybody_follows(&w));
	assert_int_equal(w.g.nmembers, 2);
	assert_int_equal(w.history[w.g.nhistory - 1].start, 1011);
}

/* It served for a moment, unheard, and one replica followed it that far. */
static void what_it_wrote_meanwhile_is_found(void **)
{
	struct world w;

	with_replicas(&w, 3);
	kill_server(&w, S);
	eject(&w);
	while (w.g.op.phase != PHASE_EJECT_PROMOTE) {
		agents(&w);
		(void)step_once(&w);
	}
	be_master(&w, of(&w, A));
	of(&w, A)->offset = 1200;
	change_id(of(&w, B), &of(&w, A)->replid);
	stand_at(of(&w, B), 1200);
	kill_server(&w, A);
	run_for(&w, 50);
	assert_true(is_source(&w, B));
	assert_int_equal(w.history[w.g.nhistory - 1].start, 1201);
	assert_true(everybody_follows(&w));
}

static void with_the_word_the_one_with_the_most_keys_begins_anew(void **)
{
	struct world w;

	with_replicas(&w, 2);
	kill_server(&w, S);
	of(&w, A)->keys = 9;
	run_for(&w, 1);
	for (size_t r = A; r <= B; r++) {
		/* Both were restarted from their AOFs: no position is left. */
		of(&w, r)->replid = fresh_replid(&w);
		stand_at(of(&w, r), 0);
	}
	eject(&w);
	run_for(&w, 50);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_HELD);
	assert_true(try_eject(&w, true));
	run_for(&w, 50);
	assert_true(is_source(&w, A));
	assert_int_equal(w.history[1].start, 0);
	/* Who stays has nothing to show for itself until it has copied the winner. */
	assert_true(of(&w, B)->keys == 9);
	assert_true(everybody_follows(&w));
}

/* durability */

static void a_second_loss_before_the_others_caught_up_is_not_hidden(void **)
{
	struct world w;

	with_replicas(&w, 2);
	w.g.durability = w.g.durability_proven = 1;
	of(&w, B)->link_up = false;
	host(&w, B)->lazy = true;
	write_bytes(&w, 50); /* WAIT 1: the source and A */
	kill_server(&w, S);
	host(&w, B)->lazy = false;
	eject(&w);
	while (w.g.op.phase != PHASE_EJECT_PROMOTE) {
		agents(&w);
		(void)step_once(&w);
	}
	assert_true(is_source(&w, A));
	assert_int_equal(w.g.durability_proven, 0);
	kill_server(&w, A);
	run_for(&w, 50);
	assert_int_equal(w.g.op.phase, PHASE_EJECT_HELD);
}

static void it_is_proven_again_when_all_hold_it(void **)
{
	struct world w;

	with_replicas(&w, 3);
	w.g.durability = 2;
	w.g.durability_proven = 1;
	host(&w, C)->frozen = true;
	write_bytes(&w, 50);
	run_for(&w, 50);
	assert_int_equal(w.g.durability_proven, 1);
	host(&w, C)->frozen = false;
	run_for(&w, 5); /* it runs, and has yet to apply it */
	assert_int_equal(w.g.durability_proven, 1);
	stand_at(of(&w, C), 1050);
	run_for(&w, 5);
	assert_int_equal(w.g.durability_proven, 2);
	assert_true(traced(&w, "durability.changed"));
	assert_int_equal(w.live.durability_watch, 0);
}

/* With exactly k replicas one is too few behind the eject: its clients would wonder. */
static void a_new_source_with_too_few_replicas_is_told_of(void **)
{
	for (uint32_t k = 1; k <= 2; k++) {
		struct world w;

		with_replicas(&w, 2);
		w.g.durability = w.g.durability_proven = k;
		kill_server(&w, S);
		eject(&w);
		run_for(&w, 200);
		assert_int_equal(w.g.op.kind, OP_NONE);
		assert_true(w.g.last.done);
		assert_int_equal(traced(&w, "durability.short"), k == 2);
		assert_int_equal(strstr(w.g.last.reason, "takes no writes") != NULL, k == 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_dead_source_is_replaced_by_the_most_current),
		cmocka_unit_test(nobody_is_touched_before_all_is_applied),
		cmocka_unit_test(a_late_report_is_no_stillness),
		cmocka_unit_test(what_is_received_and_not_applied_counts_as_moving),
		cmocka_unit_test(a_busy_replica_keeps_what_it_received),
		cmocka_unit_test(one_that_never_wakes_is_left_behind_at_the_limit),
		cmocka_unit_test(an_unreachable_replica_stops_nothing),
		cmocka_unit_test(a_hung_source_is_killed_before_anybody_is_sealed),
		cmocka_unit_test(one_that_nobody_could_kill_is_not_replaced_unasked),
		cmocka_unit_test(one_whose_agent_falls_silent_before_the_kill_is_not_either),
		cmocka_unit_test(a_source_that_lives_after_all_goes_on_with_everything),
		cmocka_unit_test(an_eject_wins_over_a_restart),
		cmocka_unit_test(a_restarted_one_is_compared_when_nobody_can_be_elected),
		cmocka_unit_test(a_replica_that_returns_makes_it_enough),
		cmocka_unit_test(the_operators_word_given_later_is_enough),
		cmocka_unit_test(members_that_go_meanwhile),
		cmocka_unit_test(a_group_that_is_deleted_ends_it),
		cmocka_unit_test(cancelled_the_source_goes_on_if_it_can),
		cmocka_unit_test(a_winner_that_dies_before_it_serves_is_replaced),
		cmocka_unit_test(what_it_wrote_meanwhile_is_found),
		cmocka_unit_test(with_the_word_the_one_with_the_most_keys_begins_anew),
		cmocka_unit_test(a_second_loss_before_the_others_caught_up_is_not_hidden),
		cmocka_unit_test(it_is_proven_again_when_all_hold_it),
		cmocka_unit_test(a_new_source_with_too_few_replicas_is_told_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
