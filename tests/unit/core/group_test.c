/*
 * group_step(): small histories of a group, driven by hand-made observations. A history reads as
 * what the hosts say, and the events that follow.
 */
#include "core/group.h"

#include "../test.h"
#include "core/goal.h"

#define RUN_1 "1111111111111111111111111111111111111111"
#define RUN_2 "2222222222222222222222222222222222222222"
#define RUN_3 "3333333333333333333333333333333333333333"
#define HIST_1 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HIST_2 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define HIST_3 "cccccccccccccccccccccccccccccccccccccccc"

enum { SOURCE = 0, R1 = 1, R2 = 2, SEATS = 4 };

/* A group with the memory and the shell around it that the control plane would have. */
struct world {
	struct group g;
	struct group_live live;
	struct member members[SEATS];
	struct member_live member_live[SEATS];
	struct history_entry history[MODEL_HISTORY_MAX + 1];
	struct observation obs[SEATS];
	bool heard[SEATS], silent[SEATS];
	int64_t now_ms;
	uint64_t watches;
	uint64_t reader_watch;
	int64_t reader_until_ms;
	bool gone;
	int64_t wake_ms;
	char trace[2000]; /* the events since it was last looked at, one a line */
	char reason[320]; /* of the newest event */
};

static struct id seat_id(size_t i)
{
	return (struct id){ .b = { 1, (uint8_t)i } };
}

static void trace_events(struct world *w, const struct group_out *out)
{
	for (size_t i = 0; i < out->nevents; i++) {
		size_t len = strlen(w->trace);

		snprintf(w->trace + len, sizeof w->trace - len, "%s ",
			 event_kind_name(out->events[i].kind));
		snprintf(w->reason, sizeof w->reason, "%s", out->events[i].reason);
		assert_true(out->events[i].reason[0] != '\0');
	}
}

/* Observations go with their members when one is removed. */
static void forget_removed(struct world *w, const struct member *before, size_t nbefore)
{
	for (size_t i = 0; i < nbefore; i++) {
		if (i < w->g.nmembers && id_eq(w->g.members[i].id, before[i].id)) {
			continue;
		}
		memmove(&w->obs[i], &w->obs[i + 1], (nbefore - i - 1) * sizeof w->obs[0]);
		memmove(&w->heard[i], &w->heard[i + 1], (nbefore - i - 1) * sizeof w->heard[0]);
		return;
	}
}

/* One call; true when something happened. Each change is a commit: the revision grows. */
static bool step_once(struct world *w)
{
	const struct observation *obs[SEATS] = {};
	struct member before[SEATS];
	size_t nbefore = w->g.nmembers;
	uint64_t epoch = w->g.epoch;
	enum op_phase phase = w->g.op.phase;
	struct history_entry history[ARRAY_LEN(w->history)];
	struct group_out out;

	for (size_t i = 0; i < nbefore; i++) {
		obs[i] = w->heard[i] ? &w->obs[i] : NULL;
	}
	memcpy(before, w->members, sizeof before);
	memcpy(history, w->history, sizeof history);
	group_step(&w->g, &w->live,
		   &(struct group_in){
			   .obs = obs,
			   .silent = w->silent,
			   .now_ms = w->now_ms,
			   .wall_ms = 1000000 + w->now_ms,
			   .fresh_watch = ++w->watches,
			   .fresh_id = { .b = { 9 } },
			   .reader_watch = w->reader_watch,
			   .reader_until_ms = w->reader_until_ms,
			   .start_limit_ms = 60000,
			   .sync_stall_limit_ms = 60000,
			   .compare_limit_ms = 10000,
			   .stage_limit_ms = 10000,
			   .catch_up_limit_ms = 2000,
			   .handover_limit_ms = 3000,
			   .tidy_limit_ms = 30000,
			   .drain_limit_ms = 10000,
			   .seal_limit_ms = 5000,
			   .fresh_group = { .b = { 77 } },
			   .fresh_name = "db-of-its-own",
		   },
		   &out);
	w->wake_ms = out.wake_ms;
	w->gone |= out.gone;
	trace_events(w, &out);
	assert_true(out.changed || !out.gone);
	/* What did not change the record did not touch it. */
	assert_true(out.changed || memcmp(before, w->members, sizeof before) == 0);
	assert_true(out.changed || memcmp(history, w->history, sizeof history) == 0);
	assert_true(out.changed || (w->g.epoch == epoch && w->g.op.phase == phase));
	if (w->g.nmembers < nbefore) {
		forget_removed(w, before, nbefore);
	}
	w->g.revision += out.changed;
	return out.changed || out.nevents > 0;
}

/* Steps until nothing changes; that they end is part of every test. */
static void settle(struct world *w)
{
	int n = 0;

	while (!w->gone && step_once(w)) {
		if (++n > 40) {
			fail_msg("the steps do not end: %s", w->trace);
		}
	}
}

#define expect_events(w, text)                                                                     \
	do {                                                                                       \
		settle(w);                                                                         \
		assert_string_equal((w)->trace, (text));                                           \
		(w)->trace[0] = '\0';                                                              \
	} while (0)

static void add_member(struct world *w, const char *name)
{
	size_t i = w->g.nmembers++;

	w->members[i] = (struct member){ .id = seat_id(i), .name = name, .host = "here",
					 .address = "127.0.77.1", .port = 6379, .flavor = "1",
					 .datastore = "redis", .version = "7.0.15" };
	w->member_live[i] = (struct member_live){};
}

static void world_init(struct world *w)
{
	*w = (struct world){ .now_ms = 1000 };
	w->g = (struct group){
		.id = { .b = { 7 } }, .project = "p", .name = "db", .revision = 1, .epoch = 1,
		.source = seat_id(SOURCE), .members = w->members, .history = w->history,
		.op = { .kind = OP_CREATE, .phase = PHASE_CREATE_START, .target = seat_id(SOURCE) },
	};
	w->live.members = w->member_live;
	add_member(w, "db");
}

/* What the hosts say. */
static struct observation *hear(struct world *w, size_t i, struct observation o)
{
	o.watch = w->watches; /* agents answer with the newest number they have */
	if (o.goal_epoch == 0) {
		o.goal_epoch = w->g.epoch;
	}
	w->obs[i] = o;
	w->heard[i] = true;
	return &w->obs[i];
}

static struct observation master(const char *run, const char *replid, int64_t offset, int64_t keys)
{
	struct observation o = { .proc = PROC_RUNNING, .role = SERVER_ROLE_MASTER, .offset = offset,
				 .slave_offset = -1, .keys = keys, .goal_applied = true,
				 .save_progress = -1 };

	snprintf(o.run_id.s, sizeof o.run_id.s, "%s", run);
	snprintf(o.replid.s, sizeof o.replid.s, "%s", replid);
	return o;
}

static struct observation replica(const char *replid, int64_t offset, int64_t keys)
{
	struct observation o = { .proc = PROC_RUNNING, .role = SERVER_ROLE_REPLICA,
				 .offset = offset, .slave_offset = offset, .keys = keys,
				 .link_up = true, .upstream_host = "127.0.77.1",
				 .upstream_port = 6379, .run_id = { RUN_3 } };

	snprintf(o.replid.s, sizeof o.replid.s, "%s", replid);
	return o;
}

static struct observation guarded(const char *run, enum marker_verdict marker, int64_t keys)
{
	struct observation o = replica(HIST_3, 0, keys);

	snprintf(o.run_id.s, sizeof o.run_id.s, "%s", run);
	o.guarded = true;
	o.marker = marker;
	o.link_up = false;
	o.upstream_port = 0;
	return o;
}

static void created(struct world *w)
{
	struct observation o = master(RUN_1, HIST_1, 0, 0);

	world_init(w);
	settle(w);
	o.start_at_once = true;
	hear(w, SOURCE, o);
	settle(w);
	w->trace[0] = '\0';
}

/* A source with two attached replicas that hold 5 keys at offset 100. */
static void with_replicas(struct world *w)
{
	created(w);
	add_member(w, "db-1");
	add_member(w, "db-2");
	for (int turn = 0; turn < 3; turn++) {
		hear(w, SOURCE, master(RUN_1, HIST_1, 100, 5));
		hear(w, R1, replica(HIST_1, 100, 5));
		hear(w, R2, replica(HIST_1, 100, 5));
		settle(w);
	}
	assert_int_equal(w->members[R1].state, MEMBER_ACTIVE);
	assert_int_equal(w->members[R2].state, MEMBER_ACTIVE);
	w->trace[0] = '\0';
}

/* The source was restarted as run `run`; its replicas say what they hold. */
static void restarted(struct world *w, const char *run, enum marker_verdict marker, int64_t keys)
{
	hear(w, SOURCE, guarded(run, marker, keys));
	settle(w); /* asks the replicas */
	w->obs[R1].watch = w->obs[R2].watch = w->watches;
	w->obs[R1].link_up = w->obs[R2].link_up = false;
}

static void create_ends_when_the_source_serves(void **)
{
	struct world w;

	world_init(&w);
	expect_events(&w, "");
	assert_int_equal(w.wake_ms, 61000);
	hear(&w, SOURCE, (struct observation){ .proc = PROC_STARTING });
	expect_events(&w, "");

	struct observation *o = hear(&w, SOURCE, master(RUN_1, HIST_1, 0, 0));

	o->goal_applied = false;
	expect_events(&w, "");
	o->goal_applied = true;
	o->loading = true;
	expect_events(&w, "");
	o->loading = false;
	expect_events(&w, "instance.started ");
	assert_int_equal(w.members[SOURCE].state, MEMBER_ACTIVE);
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_string_equal(w.g.source_run.s, RUN_1);
	assert_int_equal(w.g.nhistory, 1);
	assert_string_equal(w.history[0].replid.s, HIST_1);
	assert_int_equal(w.history[0].epoch, 1);
}

static void a_failed_start_says_why_and_recovers(void **)
{
	struct world w;

	world_init(&w);
	hear(&w, SOURCE, (struct observation){ .proc = PROC_FAILED, .error = "Address in use" });
	expect_events(&w, "instance.failed ");
	assert_int_equal(w.members[SOURCE].fault.kind, FAULT_START);
	assert_non_null(strstr(w.members[SOURCE].fault.text, "Address in use"));
	assert_int_equal(w.g.op.kind, OP_NONE);
	hear(&w, SOURCE, master(RUN_1, HIST_1, 0, 0));
	expect_events(&w, "instance.returned ");
	assert_int_equal(w.members[SOURCE].state, MEMBER_ACTIVE);
	assert_int_equal(w.members[SOURCE].fault.kind, FAULT_NONE);
	assert_string_equal(w.g.source_run.s, RUN_1);
	assert_int_equal(w.g.nhistory, 1);
}

static void a_start_nobody_sees_ends_at_its_limit(void **)
{
	struct world w;

	world_init(&w);
	settle(&w);
	w.now_ms += 59999;
	expect_events(&w, "");
	w.now_ms += 1;
	expect_events(&w, "instance.failed ");
	assert_int_equal(w.members[SOURCE].state, MEMBER_ERROR);
	assert_int_equal(w.g.op.kind, OP_NONE);
}

static void a_replica_is_attached_only_after_the_sample(void **)
{
	struct world w;

	created(&w);
	add_member(&w, "db-1");
	w.members[R1].state = MEMBER_STARTING;
	expect_events(&w, "");
	hear(&w, R1, replica("", 0, 0))->link_up = false;
	expect_events(&w, "instance.started instance.syncing ");
	assert_int_equal(w.live.watch, 0);

	/* Link up: that is not attached. The source is asked where it is. */
	hear(&w, R1, replica(HIST_1, 40, 5));
	expect_events(&w, "");
	assert_true(w.live.watch != 0);
	assert_true(w.live.watch_all);

	/* An answer from before the question does not count. */
	struct observation *s = hear(&w, SOURCE, master(RUN_1, HIST_1, 40, 5));
	s->watch = w.live.watch - 1;
	expect_events(&w, "");
	s->watch = w.live.watch;
	s->offset = 100;
	expect_events(&w, "");
	hear(&w, R1, replica(HIST_1, 99, 5));
	expect_events(&w, "");

	/* Offsets that disagree, another history, a source that would start at once: not yet. */
	hear(&w, R1, replica(HIST_1, 100, 5))->offset = 400;
	expect_events(&w, "");
	hear(&w, R1, replica(HIST_2, 100, 5));
	expect_events(&w, "");
	w.obs[SOURCE].start_at_once = true;
	hear(&w, R1, replica(HIST_1, 100, 5));
	expect_events(&w, "");
	assert_false(w.members[R1].attached_once);
	w.obs[SOURCE].start_at_once = false;
	expect_events(&w, "instance.attached ");
	assert_int_equal(w.members[R1].state, MEMBER_ACTIVE);
	assert_true(w.members[R1].attached_once);
	settle(&w);
	assert_int_equal(w.live.watch, 0);
}

static void a_link_that_drops_voids_the_sample(void **)
{
	struct world w;

	created(&w);
	add_member(&w, "db-1");
	hear(&w, R1, replica(HIST_1, 10, 0));
	settle(&w);
	hear(&w, SOURCE, master(RUN_1, HIST_1, 100, 5));
	settle(&w);
	assert_true(w.member_live[R1].sampled);
	hear(&w, R1, replica(HIST_1, 10, 0))->link_up = false;
	settle(&w);
	assert_false(w.member_live[R1].sampled);
	assert_int_equal(w.live.watch, 0);
}

static void a_copy_that_stands_still_is_an_error_until_attached(void **)
{
	struct world w;

	created(&w);
	add_member(&w, "db-1");
	hear(&w, SOURCE, master(RUN_1, HIST_1, 100, 5));

	struct observation *o = hear(&w, R1, replica("", 0, 0));

	o->link_up = false;
	o->sync_in_progress = true;
	settle(&w);
	w.trace[0] = '\0';
	for (int i = 1; i <= 5; i++) { /* slow, but it moves */
		w.now_ms += 50000;
		o->sync_done_bytes = i * 1000;
		expect_events(&w, "");
	}
	o->sync_done_bytes = 0;
	for (int i = 1; i <= 5; i++) { /* the source still writes what it will send */
		w.now_ms += 50000;
		hear(&w, SOURCE, master(RUN_1, HIST_1, 100, 5))->save_progress = i * 7;
		expect_events(&w, "");
	}
	hear(&w, SOURCE, master(RUN_1, HIST_1, 100, 5));
	w.now_ms += 50000; /* loading counts by itself */
	o->sync_in_progress = false;
	o->loading = true;
	expect_events(&w, "");
	assert_int_equal(w.wake_ms, w.now_ms + 60000);
	w.now_ms += 60000;
	expect_events(&w, "instance.failed ");
	assert_int_equal(w.members[R1].fault.kind, FAULT_SYNC);
	assert_int_equal(w.members[SOURCE].state, MEMBER_ACTIVE);

	hear(&w, R1, replica(HIST_1, 100, 5));
	settle(&w);
	hear(&w, SOURCE, master(RUN_1, HIST_1, 100, 5));
	expect_events(&w, "instance.attached ");
	assert_int_equal(w.members[R1].fault.kind, FAULT_NONE);
}

static void a_group_of_one_restarts_at_once(void **)
{
	struct world w;

	created(&w);
	hear(&w, SOURCE, (struct observation){ .proc = PROC_EXITED, .error = "killed by signal 9" });
	expect_events(&w, "instance.down ");
	hear(&w, SOURCE, (struct observation){ .proc = PROC_STARTING });
	expect_events(&w, "");
	hear(&w, SOURCE, master(RUN_2, HIST_2, 0, 3))->start_at_once = true;
	expect_events(&w, "epoch.started ");
	assert_int_equal(w.g.epoch, 2);
	assert_string_equal(w.g.source_run.s, RUN_2);
	assert_int_equal(w.g.nhistory, 2);
	assert_string_equal(w.history[1].replid.s, HIST_2);
	hear(&w, SOURCE, master(RUN_2, HIST_2, 0, 3))->start_at_once = true;
	expect_events(&w, "instance.returned ");
}

static void an_intact_source_is_confirmed(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, SOURCE, (struct observation){ .proc = PROC_EXITED });
	expect_events(&w, "instance.down ");
	hear(&w, SOURCE, guarded(RUN_2, MARKER_INTACT, 5));
	expect_events(&w, "source.comparing source.confirmed ");
	assert_int_equal(w.g.op.phase, PHASE_RESTART_CONFIRM);
	assert_int_equal(w.g.epoch, 2);
	assert_string_equal(w.g.source_run.s, RUN_2);
	assert_string_equal(w.history[1].replid.s, "");

	hear(&w, SOURCE, master(RUN_2, HIST_2, 0, 5));
	expect_events(&w, "epoch.started instance.returned ");
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_string_equal(w.history[1].replid.s, HIST_2);
	assert_int_equal(w.members[SOURCE].state, MEMBER_ACTIVE);
}

static void a_source_without_its_data_is_held(void **)
{
	struct world w;

	with_replicas(&w);
	restarted(&w, RUN_2, MARKER_DIFFERENT, 0);
	assert_int_equal(w.g.op.phase, PHASE_RESTART_COMPARE);
	expect_events(&w, "source.comparing source.held instance.failed ");
	assert_int_equal(w.members[SOURCE].state, MEMBER_ERROR);
	assert_int_equal(w.members[SOURCE].fault.kind, FAULT_GUARD);
	assert_non_null(strstr(w.members[SOURCE].fault.text, "holds 5"));
	assert_non_null(strstr(w.members[SOURCE].fault.text, "--accept-data-loss"));
	assert_non_null(strstr(w.members[SOURCE].fault.text, "eject-replica-source"));
	assert_int_equal(w.g.epoch, 1);
	assert_string_equal(w.g.source_run.s, RUN_1);
	assert_int_equal(w.wake_ms, 0);
	w.now_ms += 3600 * 1000;
	expect_events(&w, "");

	/* The word was for another run: nothing. For this one: it goes on. */
	snprintf(w.members[SOURCE].accepted_run.s, 41, "%s", RUN_3);
	expect_events(&w, "");
	snprintf(w.members[SOURCE].accepted_run.s, 41, "%s", RUN_2);
	expect_events(&w, "source.confirmed ");
	assert_int_equal(w.members[SOURCE].state, MEMBER_ACTIVE);
	assert_string_equal(w.members[SOURCE].accepted_run.s, "");
	assert_int_equal(w.g.epoch, 2);
}

static void a_doubt_that_news_removes_is_over(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, SOURCE, guarded(RUN_2, MARKER_REBOOTED, 5));
	w.obs[SOURCE].recorded = (struct recorded_position){ { HIST_1 }, 100, 5 };
	w.silent[R2] = true;
	settle(&w);
	w.obs[R1].watch = w.watches;
	expect_events(&w, "source.comparing ");
	w.now_ms += 10000;
	expect_events(&w, "source.held instance.failed ");
	assert_non_null(strstr(w.members[SOURCE].fault.text, "'db-2' has not been heard"));
	w.silent[R2] = false;
	hear(&w, R2, replica(HIST_1, 100, 5));
	expect_events(&w, "source.confirmed ");
	assert_int_equal(w.members[SOURCE].fault.kind, FAULT_NONE);
}

static void figures_from_before_the_restart_do_not_count(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, SOURCE, guarded(RUN_2, MARKER_DIFFERENT, 0));
	w.obs[R1].keys = w.obs[R2].keys = 0; /* what they last said, long ago */
	expect_events(&w, "source.comparing ");
	assert_int_equal(w.g.op.phase, PHASE_RESTART_COMPARE);
	assert_true(w.live.watch > w.obs[R1].watch);
	hear(&w, R1, replica(HIST_1, 100, 5));
	hear(&w, R2, replica(HIST_1, 100, 5));
	expect_events(&w, "source.held instance.failed ");
}

static void loading_is_not_limited_by_time(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, SOURCE, guarded(RUN_2, MARKER_INTACT, 0))->loading = true;
	expect_events(&w, "source.comparing ");
	for (int i = 0; i < 10; i++) {
		w.now_ms += 9000;
		expect_events(&w, "");
	}
	hear(&w, SOURCE, guarded(RUN_2, MARKER_INTACT, 5));
	expect_events(&w, "source.confirmed ");
}

static void the_limit_for_answers_begins_after_loading(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, SOURCE, guarded(RUN_2, MARKER_DIFFERENT, 5))->loading = true;
	expect_events(&w, "source.comparing ");
	w.now_ms += 60000;
	expect_events(&w, "");
	hear(&w, SOURCE, guarded(RUN_2, MARKER_DIFFERENT, 5));
	w.now_ms += 9999;
	expect_events(&w, "");
	w.now_ms += 1;
	expect_events(&w, "source.held instance.failed ");
	assert_non_null(strstr(w.members[SOURCE].fault.text, "has not been heard"));
}

static void a_restart_that_raced_with_a_new_replica_is_compared(void **)
{
	struct world w;

	created(&w);
	add_member(&w, "db-1"); /* the source's agent has not heard of it yet */
	hear(&w, SOURCE, master(RUN_2, HIST_2, 0, 3))->start_at_once = true;
	expect_events(&w, "source.comparing source.confirmed epoch.started ");
	assert_int_equal(w.g.epoch, 2);
	assert_string_equal(w.g.source_run.s, RUN_2);
	assert_int_equal(w.g.op.kind, OP_NONE);
}

static void killed_twice_the_newest_run_counts(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, SOURCE, guarded(RUN_2, MARKER_INTACT, 5));
	expect_events(&w, "source.comparing source.confirmed ");
	hear(&w, SOURCE, guarded(RUN_3, MARKER_INTACT, 5)); /* died before it was promoted */
	expect_events(&w, "source.comparing source.confirmed ");
	assert_int_equal(w.g.epoch, 3);
	assert_string_equal(w.g.source_run.s, RUN_3);

	/* A word for a run that is gone is not a word for the next. */
	with_replicas(&w);
	restarted(&w, RUN_2, MARKER_NEW, 0);
	settle(&w);
	assert_int_equal(w.g.op.phase, PHASE_RESTART_HELD);
	snprintf(w.members[SOURCE].accepted_run.s, 41, "%s", RUN_2);

	uint64_t asked = w.live.compare_watch;

	restarted(&w, RUN_3, MARKER_NEW, 0);
	assert_true(w.live.compare_watch > asked); /* the replicas are asked again, too */
	settle(&w);
	assert_int_equal(w.g.op.phase, PHASE_RESTART_HELD);
	assert_int_equal(w.g.epoch, 1);
}

static void a_confirmed_source_that_never_serves_ends_the_operation(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, SOURCE, guarded(RUN_2, MARKER_INTACT, 5));
	settle(&w);
	w.trace[0] = '\0';
	w.now_ms += 60000;
	expect_events(&w, "instance.failed ");
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_int_equal(w.members[SOURCE].fault.kind, FAULT_START);
	hear(&w, SOURCE, master(RUN_2, HIST_2, 0, 5));
	expect_events(&w, "epoch.started instance.returned ");
	assert_int_equal(w.members[SOURCE].state, MEMBER_ACTIVE);
	assert_string_equal(w.history[1].replid.s, HIST_2);
}

static void a_source_that_cannot_start_again_says_why(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, SOURCE, guarded(RUN_2, MARKER_INTACT, 5));
	settle(&w);
	w.trace[0] = '\0';
	hear(&w, SOURCE, (struct observation){ .proc = PROC_FAILED, .error = "disk full" });
	expect_events(&w, "instance.failed ");
	assert_int_equal(w.g.op.kind, OP_NONE);
	hear(&w, SOURCE, guarded(RUN_3, MARKER_INTACT, 5));
	expect_events(&w, "source.comparing source.confirmed ");
	hear(&w, SOURCE, master(RUN_3, HIST_3, 0, 5));
	expect_events(&w, "epoch.started instance.returned ");
	assert_int_equal(w.members[SOURCE].state, MEMBER_ACTIVE);
}

static void silence_is_no_evidence(void **)
{
	struct world w;

	with_replicas(&w);
	w.silent[SOURCE] = w.silent[R1] = w.silent[R2] = true;
	hear(&w, SOURCE, (struct observation){ .proc = PROC_EXITED });
	w.now_ms += 3600 * 1000;
	expect_events(&w, "");
	assert_int_equal(w.wake_ms, 0);

	/* A control plane that has just started has heard nobody. */
	memset(&w.heard, 0, sizeof w.heard);
	memset(&w.member_live, 0, sizeof w.member_live);
	w.live = (struct group_live){ .members = w.member_live };
	expect_events(&w, "");
}

static void a_replica_that_dies_comes_back(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, R1, (struct observation){ .proc = PROC_HUNG });
	expect_events(&w, "instance.down ");
	expect_events(&w, "");
	hear(&w, R1, replica(HIST_1, 100, 5));
	expect_events(&w, "instance.returned ");
	hear(&w, R1, (struct observation){ .proc = PROC_FAILED });
	expect_events(&w, "instance.failed ");
	hear(&w, R1, replica(HIST_1, 100, 5));
	expect_events(&w, "instance.returned ");
	assert_int_equal(w.members[R1].state, MEMBER_ACTIVE);
}

static void a_replica_promoted_by_hand_is_named_and_comes_back_on_a_word(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, R1, master(RUN_2, HIST_2, 100, 6));
	expect_events(&w, "instance.failed ");
	assert_int_equal(w.members[R1].fault.kind, FAULT_DIVERGED);
	assert_int_equal(w.members[SOURCE].state, MEMBER_ACTIVE);
	snprintf(w.members[R1].accepted_run.s, 41, "%s", RUN_2);
	expect_events(&w, "");

	struct goal goal = goal_of(&w.g, &w.members[R1], (struct id){}, &(struct server_settings){});
	assert_true(goal.demote_accepted);
	assert_string_equal(goal.confirmed_run.s, RUN_2);

	hear(&w, R1, replica(HIST_1, 50, 0))->link_up = false;
	expect_events(&w, "instance.returned instance.syncing ");
	assert_int_equal(w.members[R1].state, MEMBER_SYNCING);
	assert_true(w.members[R1].attached_once); /* what it holds is still protected */
	assert_string_equal(w.members[R1].accepted_run.s, "");
	hear(&w, R1, replica(HIST_1, 100, 5));
	settle(&w);
	hear(&w, SOURCE, master(RUN_1, HIST_1, 100, 5));
	expect_events(&w, "instance.attached ");

	/* Restarted while it was a master, it comes back guarded: the same. */
	hear(&w, R1, guarded(RUN_2, MARKER_INTACT, 6));
	expect_events(&w, "instance.failed ");
	assert_int_equal(w.members[R1].fault.kind, FAULT_DIVERGED);
}

static void a_replica_that_never_held_the_data_cannot_diverge(void **)
{
	struct world w;

	created(&w);
	add_member(&w, "db-1");
	hear(&w, R1, (struct observation){ .proc = PROC_FAILED });
	expect_events(&w, "instance.failed ");
	hear(&w, R1, master(RUN_2, HIST_2, 0, 0));
	expect_events(&w, "");
	assert_int_equal(w.members[R1].fault.kind, FAULT_START);
}

static void a_master_among_the_replicas_holds_the_source(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, R1, master(RUN_3, HIST_2, 120, 7));
	hear(&w, SOURCE, guarded(RUN_2, MARKER_INTACT, 5));
	settle(&w);
	assert_int_equal(w.members[SOURCE].fault.kind, FAULT_GUARD);
	assert_int_equal(w.members[R1].fault.kind, FAULT_DIVERGED);
	assert_non_null(strstr(w.members[SOURCE].fault.text, "promoted by hand"));
}

static void deleted_members_leave_the_source_last(void **)
{
	struct world w;

	with_replicas(&w);
	for (size_t i = 0; i < w.g.nmembers; i++) {
		w.members[i].state = MEMBER_DELETING;
	}
	expect_events(&w, "");
	hear(&w, SOURCE, (struct observation){ .proc = PROC_DELETED });
	hear(&w, R1, (struct observation){ .proc = PROC_EXITED });
	expect_events(&w, "");
	hear(&w, R1, (struct observation){ .proc = PROC_DELETED });
	expect_events(&w, "instance.deleted ");
	assert_int_equal(w.g.nmembers, 2);
	assert_true(id_eq(w.members[1].id, seat_id(R2)));
	hear(&w, 1, (struct observation){ .proc = PROC_DELETED });
	expect_events(&w, "instance.deleted instance.deleted group.deleted ");
	assert_true(w.gone);
	assert_int_equal(w.g.nmembers, 0);
}

static void deleting_a_held_source_ends_its_operation(void **)
{
	struct world w;

	with_replicas(&w);
	restarted(&w, RUN_2, MARKER_NEW, 0);
	settle(&w);
	assert_int_equal(w.g.op.phase, PHASE_RESTART_HELD);
	w.members[SOURCE].state = MEMBER_DELETING;
	settle(&w);
	assert_int_equal(w.g.op.kind, OP_NONE);
}

static void a_replica_that_is_deleted_no_longer_holds_the_source(void **)
{
	struct world w;

	with_replicas(&w);
	restarted(&w, RUN_2, MARKER_NEW, 0);
	settle(&w);
	assert_int_equal(w.g.op.phase, PHASE_RESTART_HELD);
	w.members[R1].state = w.members[R2].state = MEMBER_DELETING;
	settle(&w);
	assert_int_equal(w.g.op.phase, PHASE_RESTART_CONFIRM);
}

/* Promoted by hand while it was held, it had an id of its own until its agent guarded it again. */
static void a_stream_noted_too_soon_is_put_right(void **)
{
	struct world w;

	with_replicas(&w);
	restarted(&w, RUN_2, MARKER_NEW, 0);
	expect_events(&w, "source.comparing source.held instance.failed ");
	snprintf(w.members[SOURCE].accepted_run.s, sizeof w.members[SOURCE].accepted_run.s, RUN_2);
	hear(&w, SOURCE, master(RUN_2, HIST_3, 0, 0))->goal_epoch = 1;
	expect_events(&w, "source.confirmed epoch.started ");
	assert_string_equal(w.history[1].replid.s, HIST_3);

	struct observation *o = hear(&w, SOURCE, master(RUN_2, HIST_2, 0, 0));

	o->goal_applied = false;
	expect_events(&w, "");
	o->goal_applied = true;
	assert_int_equal(o->goal_epoch, w.g.epoch);
	step_once(&w);
	assert_string_equal(w.trace, "epoch.started ");
	assert_string_equal(w.history[1].replid.s, HIST_2);
	assert_int_equal(w.g.nhistory, 2);
}

static void a_store_older_than_its_hosts_stops_everything(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, R1, replica(HIST_1, 100, 5))->goal_epoch = 9;
	hear(&w, SOURCE, guarded(RUN_2, MARKER_INTACT, 5));
	expect_events(&w, "instance.failed store.older ");
	assert_int_equal(w.members[R1].fault.kind, FAULT_STORE);
	assert_non_null(strstr(w.members[R1].fault.text, "older than the hosts"));
	assert_int_equal(w.g.epoch, 1);
	assert_int_equal(w.g.op.kind, OP_NONE);
	w.now_ms += 3600 * 1000;
	expect_events(&w, "");
	w.g.epoch = 9; /* the copy was put back again by a newer one */
	settle(&w);
	assert_int_equal(w.members[R1].state, MEMBER_ACTIVE);
}

static void a_change_that_the_store_forgot_counts_as_an_epoch_does(void **)
{
	struct world w;

	with_replicas(&w);
	hear(&w, R1, replica(HIST_1, 100, 5))->goal_revision = w.g.revision;
	expect_events(&w, "");
	w.obs[R1].goal_revision += 10;
	expect_events(&w, "instance.failed store.older ");
	w.g.revision = w.obs[R1].goal_revision; /* so many commits later its host takes goals again */
	expect_events(&w, "instance.returned ");
}

static bool adopt(struct world *w, struct err *e)
{
	const struct observation *heard[SEATS] = {};
	struct group_event event = {};
	struct group before = w->g;

	for (size_t i = 0; i < w->g.nmembers; i++) {
		heard[i] = w->heard[i] && !w->silent[i] ? &w->obs[i] : NULL;
	}
	bool ok = group_adopt(&w->g, heard, &event, e);

	assert_true(ok == (event.kind == EVENT_STORE_ADOPTED && event.epoch == w->g.epoch));
	assert_true(ok || memcmp(&before, &w->g, sizeof before) == 0);
	w->g.revision += ok;
	return ok;
}

/* The record is at epoch 1 with run 1; the hosts have gone on to epoch 4 with run 2. */
static void put_back(struct world *w)
{
	with_replicas(w);
	hear(w, SOURCE, master(RUN_2, HIST_2, 900, 50))->goal_epoch = 4;
	hear(w, R1, replica(HIST_2, 900, 50))->goal_epoch = 4;
	hear(w, R2, replica(HIST_2, 900, 50))->goal_epoch = 4;
	settle(w);
	assert_int_equal(w->members[SOURCE].fault.kind, FAULT_STORE);
	w->trace[0] = '\0';
}

static void adopting_takes_the_source_as_it_runs(void **)
{
	struct world w;
	struct err e = {};

	put_back(&w);
	w.g.op = (struct operation){ .kind = OP_RESTART, .phase = PHASE_RESTART_CONFIRM,
				     .target = seat_id(SOURCE), .run = { RUN_1 } };
	assert_ok(adopt(&w, &e), &e);
	/* Above all that was seen: at the very same epoch the hosts would refuse its goals. */
	assert_int_equal(w.g.epoch, 5);
	assert_string_equal(w.g.source_run.s, RUN_2);
	assert_int_equal(w.g.nhistory, 2);
	assert_string_equal(w.history[1].replid.s, HIST_2);
	assert_int_equal(w.history[1].epoch, 5);
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_int_equal(w.members[SOURCE].fault.kind, FAULT_STORE); /* the next step clears it */
	expect_events(&w, "instance.returned instance.returned instance.returned ");
	for (size_t i = 0; i < w.g.nmembers; i++) {
		assert_int_equal(w.members[i].state, MEMBER_ACTIVE);
		assert_int_equal(w.members[i].fault.kind, FAULT_NONE);
	}
	assert_false(adopt(&w, &e));
	assert_int_equal(e.code, ERR_UNPROCESSABLE);
}

static void adopting_is_refused(void **)
{
	static const struct {
		const char *says;
		bool put_back, unheard_source, unheard_replica, silent_replica;
		const char *message;
	} rows[] = {
		{ "nothing is older", .message = "nothing to adopt" },
		{ "the source is not heard", .put_back = true, .unheard_source = true, .message = "'db' is not heard" },
		{ "a replica with the fault is not heard", .put_back = true, .unheard_replica = true, .message = "'db-1' is not heard" },
		{ "or was heard long ago", .put_back = true, .silent_replica = true, .message = "'db-1' is not heard" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct world w;
		struct err e = {};

		printf("# %s\n", rows[i].says);
		if (rows[i].put_back) {
			put_back(&w);
		} else {
			with_replicas(&w);
		}
		w.heard[SOURCE] = !rows[i].unheard_source;
		w.heard[R1] = !rows[i].unheard_replica;
		w.silent[R1] = rows[i].silent_replica;
		assert_false(adopt(&w, &e));
		assert_int_equal(e.code, ERR_UNPROCESSABLE);
		if (strstr(e.msg, rows[i].message) == NULL) {
			fail_msg("'%s' lacks '%s'", e.msg, rows[i].message);
		}
	}
}

/* It is not known what it has: it is compared like any restarted source. */
static void adopting_confirms_no_source_that_does_not_serve(void **)
{
	struct world w;
	struct err e = {};

	put_back(&w);
	hear(&w, SOURCE, guarded(RUN_3, MARKER_DIFFERENT, 0))->goal_epoch = 4;
	assert_ok(adopt(&w, &e), &e);
	assert_int_equal(w.g.epoch, 5);
	assert_string_equal(w.g.source_run.s, RUN_1);
	settle(&w);
	w.obs[R1].watch = w.obs[R2].watch = w.watches;
	settle(&w);
	assert_int_equal(w.g.op.phase, PHASE_RESTART_HELD);
	assert_int_equal(w.members[SOURCE].fault.kind, FAULT_GUARD);
}

/* By hand anybody can be promoted: only a goal that was carried out makes a source. */
static void adopting_follows_a_handover_but_no_hand(void **)
{
	struct world w;
	struct err e = {};

	put_back(&w);
	hear(&w, SOURCE, replica(HIST_3, 950, 60))->goal_epoch = 4;
	struct observation *o = hear(&w, R1, master(RUN_2, HIST_3, 950, 60));
	o->goal_epoch = 6;
	o->replid2 = (struct replid){ HIST_2 };
	o->second_offset = 901;
	o->goal_applied = false;
	assert_ok(adopt(&w, &e), &e);
	assert_true(id_eq(w.g.source, seat_id(SOURCE)));
	assert_int_equal(w.g.epoch, 7);

	o->goal_epoch = 9;
	o->goal_applied = true;
	assert_ok(adopt(&w, &e), &e);
	assert_true(id_eq(w.g.source, seat_id(R1)));
	assert_int_equal(w.g.epoch, 10);
	assert_int_equal(w.history[w.g.nhistory - 1].start, 901);
}

/* A delete that the hosts refuse as older goes through once they are taken at their word. */
static void adopting_helps_a_delete(void **)
{
	struct world w;
	struct err e = {};

	put_back(&w);
	for (size_t i = 0; i < w.g.nmembers; i++) {
		w.members[i].state = MEMBER_DELETING;
	}
	assert_ok(adopt(&w, &e), &e);
	assert_int_equal(w.g.epoch, 5);
}

/* A replica that has just left, alone in its new group, as the request committed it. */
static void detached(struct world *w)
{
	created(w);
	w->g.epoch = 5;
	w->history[0].replid = (struct replid){ HIST_1 };
	history_push(&w->g, &(struct replid){}, 101);
	w->g.op = (struct operation){ .kind = OP_DETACH, .phase = PHASE_DETACH_PROMOTE,
				      .target = seat_id(SOURCE) };
	w->heard[SOURCE] = false;
	settle(w);
}

static void a_detach_ends_when_its_server_is_a_master(void **)
{
	struct world w;
	struct observation o = master(RUN_1, HIST_2, 120, 5);

	detached(&w);
	o.replid2 = (struct replid){ HIST_1 };
	o.second_offset = 101;
	hear(&w, SOURCE, replica(HIST_1, 100, 5))->run_id = (struct replid){ RUN_1 };
	expect_events(&w, "");
	hear(&w, SOURCE, o)->goal_applied = false; /* a setting of replication may be left */
	w.obs[SOURCE].goal_epoch = 4;
	settle(&w);
	assert_int_equal(w.g.op.phase, PHASE_DETACH_PROMOTE);
	hear(&w, SOURCE, o)->watch = 0; /* an earlier life */
	settle(&w);
	assert_int_equal(w.g.op.phase, PHASE_DETACH_PROMOTE);
	hear(&w, SOURCE, o);
	settle(&w);
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_true(w.g.last.done);
	assert_string_equal(w.trace, "epoch.started detach.done ");
	assert_non_null(strstr(w.reason, "the source of a group of its own"));
	assert_string_equal(w.history[1].replid.s, HIST_2);
	assert_int_equal(w.history[1].start, 101);
	assert_int_equal(w.g.epoch, 5);
}

static void a_detach_whose_server_fails_or_restarts_ends(void **)
{
	struct world w;
	struct observation o = master(RUN_2, HIST_3, 0, 5);

	detached(&w);
	hear(&w, SOURCE, (struct observation){ .proc = PROC_FAILED, .error = "no memory" });
	settle(&w);
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_false(w.g.last.done);
	assert_non_null(strstr(w.trace, "detach.done instance.failed "));
	assert_int_equal(w.members[SOURCE].fault.kind, FAULT_START);

	detached(&w);
	o.start_at_once = true;
	hear(&w, SOURCE, o);
	settle(&w);
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_true(w.g.last.done);
	assert_string_equal(w.g.source_run.s, RUN_2); /* alone: what it came back with is it */
	assert_string_equal(w.history[w.g.nhistory - 1].replid.s, HIST_3);
	assert_int_equal(w.g.epoch, 6);
}

/* Nobody else asks for figures of a group that stands still. */
static void a_reader_has_all_asked_until_they_answered(void **)
{
	struct world w;

	with_replicas(&w);
	settle(&w);
	assert_int_equal(w.live.watch, 0);
	w.reader_watch = 900;
	w.reader_until_ms = w.now_ms + 500;
	settle(&w);
	assert_int_equal(group_live_of(&w.g, &w.live, &w.members[R1]).watch, 900);
	assert_false(group_live_of(&w.g, &w.live, &w.members[R1]).stream);
	assert_true(w.wake_ms == w.now_ms + 500);
	w.obs[SOURCE].watch = w.obs[R2].watch = 900;
	settle(&w);
	assert_int_equal(w.live.watch, 900);
	w.obs[R1].watch = 901; /* a newer question answers this one too */
	settle(&w);
	assert_int_equal(w.live.watch, 0);

	w.reader_watch = 902;
	settle(&w);
	assert_int_equal(w.live.watch, 902);
	w.silent[SOURCE] = w.silent[R1] = w.silent[R2] = true; /* nobody is there to answer */
	settle(&w);
	assert_int_equal(w.live.watch, 0);

	w.silent[R1] = false;
	settle(&w);
	assert_int_equal(w.live.watch, 902);
	w.now_ms += 500; /* its time is over */
	settle(&w);
	assert_int_equal(w.live.watch, 0);
}

/* Right behind a restart: should the source die now, its replicas' stream must be known. */
static void a_stream_that_nobody_knows_is_asked_for(void **)
{
	struct world w;

	with_replicas(&w);
	settle(&w);
	assert_int_equal(w.live.watch, 0);
	w.obs[R1].replid = (struct replid){ HIST_3 };
	settle(&w);
	assert_int_not_equal(w.live.watch, 0);
	w.obs[SOURCE].watch = w.live.watch;
	settle(&w);
	assert_int_equal(w.live.watch, 0); /* asked once */

	w.obs[SOURCE].replid = (struct replid){ HIST_3 };
	expect_events(&w, "epoch.started ");
	assert_string_equal(w.history[0].replid.s, HIST_3);

	w.obs[R1].replid = (struct replid){ HIST_1 };
	w.obs[R1].link_up = false; /* it tells of another time */
	settle(&w);
	assert_int_equal(w.live.watch, 0);
}

static void history_keeps_the_newest_reigns(void **)
{
	struct world w;

	created(&w);
	for (int i = 0; i < MODEL_HISTORY_MAX + 5; i++) {
		struct observation o = master(RUN_2, HIST_2, 0, 0);

		snprintf(o.run_id.s, sizeof o.run_id.s, "%040d", i);
		o.start_at_once = true;
		hear(&w, SOURCE, o);
		settle(&w);
		w.trace[0] = '\0';
	}
	assert_int_equal(w.g.nhistory, MODEL_HISTORY_MAX);
	assert_int_equal(w.history[MODEL_HISTORY_MAX - 1].epoch, w.g.epoch);
	assert_int_equal(w.history[0].epoch, w.g.epoch - MODEL_HISTORY_MAX + 1);
}

/* The table of phases. */

static const struct phase_row *row_of(enum op_phase p)
{
	const struct phase_row *row = NULL;

	for (size_t i = 0; i < nphase_rows; i++) {
		if (phase_rows[i].phase == p) {
			assert_null(row); /* exactly one */
			row = &phase_rows[i];
		}
	}
	return row;
}

static bool ends(enum op_phase p, int depth)
{
	const struct phase_row *row = row_of(p);

	for (size_t i = 0; row != NULL && depth > 0 && i < row->nnext; i++) {
		if (row->next[i] == PHASE_NONE || ends(row->next[i], depth - 1)) {
			return true;
		}
	}
	return false;
}

static void every_phase_has_a_way_out(void **)
{
	for (int p = PHASE_NONE + 1; p < PHASE_COUNT; p++) {
		const struct phase_row *row = row_of((enum op_phase)p);

		assert_non_null(row);
		assert_true(row->op > OP_NONE && row->op < OP_KIND_COUNT);
		assert_true(row->nnext > 0 && row->nnext <= ARRAY_LEN(row->next));
		for (size_t i = 0; i < row->nnext; i++) {
			enum op_phase next = row->next[i];

			/* A handover whose target dies before it served goes on as an eject of it. */
			assert_true(next == PHASE_NONE || row_of(next)->op == row->op ||
				    (row->phase == PHASE_HANDOVER_PROMOTE && next == PHASE_EJECT_SEAL));
		}
		assert_true(row->leaves_when[0] != '\0' && row->why[0] != '\0');
		assert_true(ends((enum op_phase)p, PHASE_COUNT));
		/* Without a limit only where a human is asked, and the row says so. */
		assert_true(row->limit_ms > 0 || strstr(row->leaves_when, "operator") != NULL ||
			    strstr(row->leaves_when, "cancelled") != NULL);
	}
	assert_int_equal(nphase_rows, PHASE_COUNT - 1);
}

/* A group in this phase, as the store has it after a restart of the control plane. */
static void in_phase(struct world *w, const struct phase_row *row)
{
	bool replaced = row->phase == PHASE_HANDOVER_PROMOTE || row->phase == PHASE_HANDOVER_TIDY ||
			row->phase == PHASE_HANDOVER_DROP || row->phase == PHASE_EJECT_PROMOTE ||
			row->phase == PHASE_EJECT_TIDY;

	if (row->op == OP_CREATE) {
		world_init(w);
		return;
	}
	with_replicas(w);
	w->g.op = (struct operation){
		.kind = row->op,
		.phase = row->phase,
		.target = row->op == OP_HANDOVER || replaced ? seat_id(R1) : seat_id(SOURCE),
		.from = row->op == OP_HANDOVER ? seat_id(SOURCE) : (struct id){},
		.run = { RUN_2 },
	};
	w->g.source = replaced ? seat_id(R1) : seat_id(SOURCE);
}

/* Whatever is stored, a phase whose limit has passed without a word from anybody is left. */
static void every_limit_is_kept_without_news(void **)
{
	for (size_t i = 0; i < nphase_rows; i++) {
		const struct phase_row *row = &phase_rows[i];
		struct world w;

		if (row->limit_ms == 0) {
			continue;
		}
		printf("# %s\n", op_phase_name(row->phase));
		in_phase(&w, row);
		memset(w.heard, 0, sizeof w.heard);
		w.heard[SOURCE] = row->phase == PHASE_HANDOVER_DROP; /* else there is nobody to ask */
		w.silent[R1] = row->phase == PHASE_HANDOVER_PROMOTE ||
			       row->phase == PHASE_EJECT_PROMOTE; /* else it may just be connecting */
		settle(&w);
		assert_int_equal(w.g.op.phase, row->phase);
		assert_true(w.wake_ms > w.now_ms);
		assert_in_range(w.wake_ms - w.now_ms, 1, row->limit_ms);
		for (int64_t end_ms = w.now_ms + row->limit_ms; w.now_ms < end_ms;) {
			w.now_ms = w.wake_ms;
			settle(&w);
			if (w.g.op.phase != row->phase) {
				break;
			}
			assert_true(w.wake_ms > w.now_ms);
		}
		assert_int_not_equal(w.g.op.phase, row->phase);
	}
}

#define LIMIT_OF(name, text, limit, why) [MEMBER_##name] = limit,
static const int64_t state_limits[] = { MEMBER_STATES(LIMIT_OF) };

static void every_limited_state_has_a_way_out(void **)
{
	for (int st = 0; st < MEMBER_STATE_COUNT; st++) {
		struct world w;

		if (state_limits[st] == 0) {
			continue;
		}
		created(&w);
		add_member(&w, "db-1");
		w.members[R1].state = (enum member_state)st;
		settle(&w);
		assert_int_equal(w.members[R1].state, st);
		w.now_ms += state_limits[st];
		settle(&w);
		assert_int_equal(w.members[R1].state, MEMBER_ERROR);
		assert_int_not_equal(w.members[R1].fault.kind, FAULT_NONE);
	}
}

/* Any mixture of what hosts can say: the steps end, and one thing holds throughout. */
static void random_histories_settle(void **)
{
	uint64_t seed = 42;
	uint64_t epochs = 0;

	for (int round = 0; round < 300; round++) {
		struct world w;

		with_replicas(&w);
		for (int turn = 0; turn < 40; turn++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			size_t i = (seed >> 33) % 3;
			struct observation o = {};

			switch ((seed >> 40) % 6) {
			case 0: o = master(RUN_1, HIST_1, 100, 5); break;
			case 1: o = replica(HIST_1, 100, 5); break;
			case 2: o = guarded(RUN_2, (enum marker_verdict)((seed >> 44) % 6), 0); break;
			case 3: o = guarded(RUN_3, MARKER_REBOOTED, 5); break;
			case 4: o.proc = (enum proc_state)((seed >> 44) % PROC_DELETED); break;
			case 5: o = master(RUN_2, HIST_2, 100, 5); break;
			}
			hear(&w, i, o);
			w.silent[(seed >> 50) % 3] = (seed >> 55) % 2;
			w.now_ms += (int64_t)((seed >> 56) % 64) * 1000;

			uint64_t before = w.g.epoch;
			bool empty = w.obs[SOURCE].guarded && w.obs[SOURCE].keys == 0;
			bool held[] = { false, w.members[R1].attached_once && w.obs[R1].keys > 0,
					w.members[R2].attached_once && w.obs[R2].keys > 0 };

			settle(&w);
			w.trace[0] = '\0';
			epochs += w.g.epoch - before;
			/* An empty source is never confirmed while an attached replica holds keys. */
			assert_true(!empty || w.g.epoch == before || (!held[R1] && !held[R2]));
		}
	}
	assert_true(epochs > 0);
}

static void an_answer_to_an_earlier_life_is_none(void **)
{
	const uint64_t life = (uint64_t)7 << 32, earlier = (uint64_t)9 << 32;

	assert_true(watch_answers(life + 3, life + 3));
	assert_true(watch_answers(life + 4, life + 3));
	assert_false(watch_answers(life + 2, life + 3));
	assert_false(watch_answers(earlier + 99, life + 3));
	assert_false(watch_answers(0, life + 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_to_an_earlier_life_is_none),
		cmocka_unit_test(create_ends_when_the_source_serves),
		cmocka_unit_test(a_failed_start_says_why_and_recovers),
		cmocka_unit_test(a_start_nobody_sees_ends_at_its_limit),
		cmocka_unit_test(a_replica_is_attached_only_after_the_sample),
		cmocka_unit_test(a_link_that_drops_voids_the_sample),
		cmocka_unit_test(a_copy_that_stands_still_is_an_error_until_attached),
		cmocka_unit_test(a_group_of_one_restarts_at_once),
		cmocka_unit_test(an_intact_source_is_confirmed),
		cmocka_unit_test(a_source_without_its_data_is_held),
		cmocka_unit_test(a_doubt_that_news_removes_is_over),
		cmocka_unit_test(figures_from_before_the_restart_do_not_count),
		cmocka_unit_test(a_stream_noted_too_soon_is_put_right),
		cmocka_unit_test(loading_is_not_limited_by_time),
		cmocka_unit_test(the_limit_for_answers_begins_after_loading),
		cmocka_unit_test(a_restart_that_raced_with_a_new_replica_is_compared),
		cmocka_unit_test(killed_twice_the_newest_run_counts),
		cmocka_unit_test(a_confirmed_source_that_never_serves_ends_the_operation),
		cmocka_unit_test(a_source_that_cannot_start_again_says_why),
		cmocka_unit_test(silence_is_no_evidence),
		cmocka_unit_test(a_replica_that_dies_comes_back),
		cmocka_unit_test(a_replica_promoted_by_hand_is_named_and_comes_back_on_a_word),
		cmocka_unit_test(a_replica_that_never_held_the_data_cannot_diverge),
		cmocka_unit_test(a_master_among_the_replicas_holds_the_source),
		cmocka_unit_test(deleted_members_leave_the_source_last),
		cmocka_unit_test(deleting_a_held_source_ends_its_operation),
		cmocka_unit_test(a_replica_that_is_deleted_no_longer_holds_the_source),
		cmocka_unit_test(a_store_older_than_its_hosts_stops_everything),
		cmocka_unit_test(a_change_that_the_store_forgot_counts_as_an_epoch_does),
		cmocka_unit_test(adopting_takes_the_source_as_it_runs),
		cmocka_unit_test(adopting_is_refused),
		cmocka_unit_test(adopting_confirms_no_source_that_does_not_serve),
		cmocka_unit_test(adopting_follows_a_handover_but_no_hand),
		cmocka_unit_test(adopting_helps_a_delete),
		cmocka_unit_test(a_reader_has_all_asked_until_they_answered),
		cmocka_unit_test(a_stream_that_nobody_knows_is_asked_for),
		cmocka_unit_test(a_detach_ends_when_its_server_is_a_master),
		cmocka_unit_test(a_detach_whose_server_fails_or_restarts_ends),
		cmocka_unit_test(history_keeps_the_newest_reigns),
		cmocka_unit_test(every_phase_has_a_way_out),
		cmocka_unit_test(every_limit_is_kept_without_news),
		cmocka_unit_test(every_limited_state_has_a_way_out),
		cmocka_unit_test(random_histories_settle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
