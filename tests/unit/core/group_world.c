/* The control plane's side of group_world.h: record, steps, requests, events. */
#include "group_world.h"

struct id seat_id(size_t seat)
{
	return (struct id){ .b = { 1, (uint8_t)seat } };
}

size_t seat_of(struct id id)
{
	return id_is_zero(id) ? (size_t)NOWHERE : id.b[1];
}

struct member *member_of(struct world *w, size_t seat)
{
	struct member *m = group_find(&w->g, seat_id(seat));

	assert_non_null(m);
	return m;
}

bool is_source(const struct world *w, size_t seat)
{
	return id_eq(w->g.source, seat_id(seat));
}

void world_init(struct world *w, uint64_t epoch)
{
	*w = (struct world){ .now_ms = 1000, .turn_ms = 1 };
	w->g = (struct group){
		.id = { .b = { 7 } },
		.project = "p",
		.name = "db",
		.revision = 1,
		.epoch = epoch,
		.source = seat_id(A),
		.members = w->members,
		.history = w->history,
	};
	w->live.members = w->member_live;
}

struct member *add_member(struct world *w)
{
	static const char *const names[SEATS] = { "db", "db-1", "db-2", "db-3" };
	static const char *const addresses[SEATS] = { "127.0.77.1", "127.0.77.2", "127.0.77.3",
						      "127.0.77.4" };
	size_t i = w->g.nmembers++;

	w->members[i] = (struct member){
		.id = seat_id(i),
		.name = names[i],
		.host = names[i],
		.address = addresses[i],
		.port = 6379,
		.flavor = "1",
		.datastore = "redis",
		.version = "7.0.15",
	};
	w->member_live[i] = (struct member_live){};
	return &w->members[i];
}

/* events */

static void append(char *buf, size_t size, const char *text, const char *end)
{
	size_t len = strlen(buf);

	snprintf(buf + len, size - len, "%s%s", text, end);
}

static void trace(struct world *w, const struct group_event *ev)
{
	assert_true(ev->reason[0] != '\0');
	append(w->trace, sizeof w->trace, event_kind_name(ev->kind), " ");
	append(w->reasons, sizeof w->reasons, ev->reason, "\n");
	append(w->figures, sizeof w->figures, ev->figures, "\n");
}

bool traced(const struct world *w, const char *events)
{
	return strstr(w->trace, events) != NULL;
}

void forget_events(struct world *w)
{
	w->trace[0] = w->reasons[0] = w->figures[0] = '\0';
}

void expect_in(const char *text, const char *part)
{
	if (strstr(text, part) == NULL) {
		fail_msg("'%s' lacks '%s'", text, part);
	}
}

/* steps */

/* What a commit that does not happen takes back. */
struct stored {
	struct group g;
	struct member members[SEATS];
	struct history_entry history[MODEL_HISTORY_MAX + 1];
	struct group_live live;
	struct member_live member_live[SEATS];
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

/* What did not change the record did not touch it. */
static void expect_untouched(const struct world *w, const struct stored *before)
{
	assert_memory_equal(before->members, w->members, sizeof before->members);
	assert_memory_equal(before->history, w->history, sizeof before->history);
	assert_int_equal(before->g.nmembers, w->g.nmembers);
	assert_int_equal(before->g.epoch, w->g.epoch);
	assert_int_equal(before->g.op.phase, w->g.op.phase);
}

static void show(struct world *w)
{
	for (size_t i = 0; i < w->g.nmembers; i++) {
		size_t seat = seat_of(w->members[i].id);

		w->member_obs[i] = w->heard[seat] ? &w->obs[seat] : NULL;
		w->member_silent[i] = w->silent[seat];
	}
}

static void step(struct world *w, struct group_out *out)
{
	show(w);
	group_step(&w->g, &w->live,
		   &(struct group_in){
			   .obs = w->member_obs,
			   .silent = w->member_silent,
			   .now_ms = w->now_ms,
			   .wall_ms = 1000000 + w->now_ms,
			   .fresh_watch = ++w->watches,
			   .fresh_id = { .b = { 9, (uint8_t)w->watches } },
			   .reader_watch = w->reader_watch,
			   .reader_until_ms = w->reader_until_ms,
			   .fresh_group = { .b = { 77 } },
			   .fresh_name = "db-of-its-own",
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
		   out);
}

static void note_outcome(struct world *w, const struct group_out *out)
{
	w->wake_ms = out->wake_ms;
	w->gone |= out->gone;
	for (size_t i = 0; i < out->nevents; i++) {
		trace(w, &out->events[i]);
	}
	if (out->outcome[0] != '\0') {
		snprintf(w->outcome, sizeof w->outcome, "%s", out->outcome);
		w->g.last.reason = w->outcome;
	}
	if (out->has_split) {
		w->has_split = true;
		w->split_member = out->split_member;
	}
}

bool step_once(struct world *w)
{
	struct group_out out;
	struct stored before;

	take_copy(w, &before);
	step(w, &out);
	if (!out.changed) {
		assert_false(out.gone);
		expect_untouched(w, &before);
		note_outcome(w, &out);
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
	note_outcome(w, &out);
	w->g.revision++;
	return true;
}

void settle(struct world *w)
{
	for (int n = 0; !w->gone && step_once(w); n++) {
		if (n == 40) {
			fail_msg("the steps do not end: %s", w->trace);
		}
	}
}

void restart_plane(struct world *w)
{
	w->live = (struct group_live){ .members = w->member_live };
	memset(w->member_live, 0, sizeof w->member_live);
	memset(w->heard, 0, sizeof w->heard);
	w->watches += (uint64_t)1 << 32;
}

/* requests */

struct operate_in operate_in_of(struct world *w)
{
	show(w);
	return (struct operate_in){
		.obs = w->member_obs,
		.silent = w->member_silent,
		.live = &w->live,
		.op = { .b = { 8 } },
		.now_ms = w->now_ms,
		.wall_ms = 1000000 + w->now_ms,
	};
}

void commit_request(struct world *w, const struct group_event *ev)
{
	w->g.revision++;
	trace(w, ev);
}

bool ask(struct world *w, size_t target, struct err *e)
{
	const struct operate_in in = operate_in_of(w);
	struct group_event ev;

	if (!operate_handover(&w->g, &in, seat_id(target), &ev, e)) {
		return false;
	}
	commit_request(w, &ev);
	return true;
}

bool cancel(struct world *w, struct err *e)
{
	const struct operate_in in = operate_in_of(w);
	struct group_event ev;

	if (!operate_cancel(&w->g, &in, &ev, e)) {
		return false;
	}
	commit_request(w, &ev);
	return true;
}
