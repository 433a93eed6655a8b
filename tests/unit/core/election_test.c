/*
 * Random groups whose members hold prefixes of random histories, byte by byte, put before
 * election_hold() as record and observations. What the election says is held against the bytes:
 * the winner has every byte of every eligible member, and under bounded(k) every write that k
 * replicas had applied.
 */
#include "../test.h"
#include "core/operate.h"

enum { REIGNS_MAX = 5, BYTES_MAX = 200, REPLICAS_MAX = 6 };

/* A stream: who wrote its byte n, and where it left the one before it. */
struct stream {
	uint8_t writer[BYTES_MAX + 1]; /* [1..] */
	int64_t start;
	int64_t len; /* written by its source, also after it was left */
	struct replid replid;
};

struct data {
	uint8_t writer[BYTES_MAX + 1];
	int64_t len;
};

struct world {
	struct stream streams[REIGNS_MAX];
	size_t nstreams;
	struct data data[REPLICAS_MAX + 1];
	struct group g;
	struct member members[REPLICAS_MAX + 1];
	struct member_live member_live[REPLICAS_MAX + 1];
	struct history_entry history[REIGNS_MAX];
	struct observation obs[REPLICAS_MAX + 1];
	const struct observation *seen[REPLICAS_MAX + 1];
	bool silent[REPLICAS_MAX + 1];
	struct group_live live;
	struct election e;
};

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static int64_t between(uint64_t *s, int64_t lo, int64_t hi)
{
	return hi <= lo ? lo : lo + (int64_t)(next_random(s) % (uint64_t)(hi - lo + 1));
}

static bool one_in(uint64_t *s, uint64_t n)
{
	return next_random(s) % n == 0;
}

/*
 * Each source takes over where it stands, at or before the end of what the one before wrote. That
 * one may have written on, for nobody or for a replica that was not told.
 */
static void write_streams(struct world *w, uint64_t *s)
{
	int64_t reach = 60;

	w->nstreams = (size_t)between(s, 1, REIGNS_MAX);
	for (size_t i = 0; i < w->nstreams; i++) {
		struct stream *x = &w->streams[i];

		if (i > 0) {
			const struct stream *before = &w->streams[i - 1];

			x->start = between(s, before->start > 10 ? before->start - 10 : 1, before->len);
			memcpy(x->writer, before->writer, sizeof x->writer);
		}
		x->len = between(s, x->start, reach += 25);
		for (int64_t n = x->start > 0 ? x->start : 1; n <= x->len; n++) {
			x->writer[n] = (uint8_t)(i + 1);
		}
		snprintf(x->replid.s, sizeof x->replid.s, "%040zu", i + 1);
	}
}

/* The last source's stream is the group's; what an id is not known of is written down as pending. */
static void write_record(struct world *w, uint64_t *s, size_t nreplicas)
{
	w->g = (struct group){ .epoch = w->nstreams, .members = w->members,
			       .nmembers = nreplicas + 1, .history = w->history,
			       .nhistory = w->nstreams,
			       .op = { .kind = OP_EJECT, .phase = PHASE_EJECT_SEAL } };
	for (size_t i = 0; i < w->nstreams; i++) {
		w->history[i] = (struct history_entry){ .epoch = i + 1, .start = w->streams[i].start,
							.replid = w->streams[i].replid,
							.source = { .b = { 2, (uint8_t)(i + 1) } } };
		if (i > 0 && one_in(s, 3)) {
			w->history[i].replid = (struct replid){};
		}
	}
	w->live = (struct group_live){ .members = w->member_live, .op_watch = 1 };
}

/* Follows one stream up to some byte; it may have come from the one before, or copied it whole. */
static void write_replica(struct world *w, uint64_t *s, size_t i)
{
	size_t r = (size_t)between(s, 0, (int64_t)w->nstreams - 1);
	struct observation *o = &w->obs[i];

	r = one_in(s, 4) ? r : w->nstreams - 1;
	const struct stream *x = &w->streams[r];
	int64_t least = x->start > 10 ? x->start - 10 : 1;

	w->data[i].len = between(s, least, x->len);
	memcpy(w->data[i].writer, x->writer, sizeof x->writer);
	*o = (struct observation){
		.proc = PROC_RUNNING, .role = SERVER_ROLE_REPLICA, .replid = x->replid,
		.offset = w->data[i].len, .slave_offset = w->data[i].len, .second_offset = -1,
		.goal_applied = true, .goal_epoch = w->g.epoch, .watch = 1, .last_io_s = -1,
		.durable = !one_in(s, 3), .keys = between(s, 0, 9),
	};
	if (r > 0 && !one_in(s, 4)) {
		int64_t at = one_in(s, 3) ? between(s, least, x->start) : x->start;

		o->replid2 = w->streams[r - 1].replid;
		o->second_offset = at <= o->offset + 1 ? at : o->offset + 1;
	}
}

static void disturb(struct world *w, uint64_t *s, size_t i)
{
	struct observation *o = &w->obs[i];
	bool heard = !one_in(s, 6);

	w->silent[i] = !heard;
	w->seen[i] = heard || one_in(s, 2) ? o : NULL;
	o->loading = one_in(s, 20);
	o->goal_applied = !one_in(s, 12);
	o->upstream_port = o->goal_applied ? 0 : 6379;
	o->sync_in_progress = one_in(s, 25);
	o->disk_error = one_in(s, 25);
	o->slave_offset = one_in(s, 25) ? 1 : o->offset;
	w->members[i].attached_once = !one_in(s, 20);
	w->members[i].state = one_in(s, 25) ? MEMBER_DELETING : MEMBER_ACTIVE;
}

static void make_world(struct world *w, uint64_t *s)
{
	static const char *const names[] = { "s", "a", "b", "c", "d", "e", "f" };
	size_t n = (size_t)between(s, 1, REPLICAS_MAX - 1);

	memset(w, 0, sizeof *w);
	write_streams(w, s);
	write_record(w, s, n);
	for (size_t i = 0; i <= n; i++) {
		w->members[i] = (struct member){ .id = { .b = { 1, (uint8_t)i } }, .name = names[i],
						 .datastore = "redis", .version = "7.0.15",
						 .state = MEMBER_ACTIVE, .attached_once = true };
		if (i > 0) {
			write_replica(w, s, i);
			disturb(w, s, i);
		}
	}
	w->g.source = w->members[0].id;
	w->silent[0] = true;
	w->g.durability = w->g.durability_proven = (uint32_t)between(s, 0, (int64_t)n);
}

static bool hold(struct world *w, bool accept)
{
	const struct operate_in in = { .obs = w->seen, .silent = w->silent, .live = &w->live };

	election_hold(&w->g, &in, ELECTION_SEALED, accept, &w->e);
	return w->e.out.verdict == ELECT_WINNER;
}

static bool holds(const struct data *a, int64_t n, uint8_t writer)
{
	return a->len >= n && a->writer[n] == writer;
}

static bool holds_all_of(const struct data *a, const struct data *b)
{
	return a->len >= b->len &&
	       memcmp(&a->writer[1], &b->writer[1], (size_t)b->len * sizeof a->writer[0]) == 0;
}

static size_t winner_of(const struct world *w)
{
	return w->e.out.winner + 1; /* the source is the first member, and no candidate */
}

static int check_winner_holds_all(const struct world *w)
{
	int eligible = 0;

	for (size_t i = 0; i < w->e.in.n; i++) {
		if (w->e.out.of[i].why == ELECT_WHY_ELIGIBLE) {
			assert_true(holds_all_of(&w->data[winner_of(w)], &w->data[i + 1]));
			eligible++;
		}
	}
	return eligible;
}

/* Every byte of the last source's stream that k replicas have applied: WAIT k has said so. */
static int check_waited_writes(const struct world *w)
{
	const struct stream *last = &w->streams[w->nstreams - 1];
	int found = 0;

	for (int64_t n = last->start > 0 ? last->start : 1; n <= last->len; n++) {
		uint32_t copies = 0;

		for (size_t i = 1; i < w->g.nmembers; i++) {
			copies += w->members[i].attached_once &&
				  holds(&w->data[i], n, last->writer[n]);
		}
		if (copies >= w->g.durability) {
			assert_true(holds(&w->data[winner_of(w)], n, last->writer[n]));
			found++;
		}
	}
	return found;
}

/* Its reign starts one byte after what it holds, unless what it holds is of no family. */
static void check_start(const struct world *w)
{
	int64_t len = w->data[winner_of(w)].len;

	assert_true(w->e.out.history_start == len + 1);
}

static void the_winner_holds_what_was_promised(void **)
{
	uint64_t s = 0x7a6e6973740011;
	int chosen = 0, several = 0, waited = 0, filled = 0;

	for (int round = 0; round < 60000; round++) {
		struct world w;

		make_world(&w, &s);
		size_t pending = 0;

		for (size_t i = 0; i < w.g.nhistory; i++) {
			pending += !replid_known(&w.history[i].replid);
		}
		if (!hold(&w, false)) {
			continue;
		}
		chosen++;
		several += check_winner_holds_all(&w) > 1;
		check_start(&w);
		if (w.g.durability > 0) {
			waited += check_waited_writes(&w) > 0;
		}
		for (size_t i = 0; i < w.g.nhistory; i++) {
			bool told = replid_known(&w.e.history[i].replid);

			pending -= told && !replid_known(&w.history[i].replid);
			filled += told && !replid_known(&w.history[i].replid);
			assert_true(!told || replid_eq(&w.e.history[i].replid, &w.streams[i].replid));
		}
	}
	printf("# chosen %d, of several %d, with waited writes %d, ids found %d\n", chosen, several,
	       waited, filled);
	assert_true(chosen > 10000 && several > 5000 && waited > 3000 && filled > 1000);
}

/* With the operator's word nobody is chosen who holds bytes that the group never had. */
static void no_word_makes_a_stranger_the_source(void **)
{
	uint64_t s = 0x7a6e6973740012;
	int accepted = 0;

	for (int round = 0; round < 30000; round++) {
		struct world w;

		make_world(&w, &s);
		if (!hold(&w, true) || !w.e.out.accepted) {
			continue;
		}
		accepted++;
		assert_true(w.e.out.of[w.e.out.winner].why != ELECT_WHY_DIVERGED);
		assert_true(w.seen[winner_of(&w)] != NULL && !w.silent[winner_of(&w)]);
	}
	assert_true(accepted > 1000);
}

static void a_dry_run_counts_who_could_be_sealed(void **)
{
	struct world w;
	uint64_t s = 0x7a6e6973740013;
	const struct operate_in in = { .obs = w.seen, .silent = w.silent, .live = &w.live };

	do {
		make_world(&w, &s);
	} while (!hold(&w, false) || w.e.out.sealed < 2);
	for (size_t i = 1; i < w.g.nmembers; i++) {
		w.obs[i].goal_applied = false;
		w.obs[i].upstream_port = 6379;
		w.obs[i].link_up = true;
	}
	size_t winner = w.e.out.winner;

	assert_false(hold(&w, false));
	election_hold(&w.g, &in, ELECTION_DRY_RUN, false, &w.e);
	assert_int_equal(w.e.out.winner, winner);
	assert_true(w.e.out.verdict == ELECT_WINNER);
}

/* Before 4.0 a seal would erase the position: there being out of reach, or still, is enough. */
static void old_servers_are_not_sealed(void **)
{
	struct member m = { .id = { .b = { 1 } }, .datastore = "redis", .version = "3.2.12",
			    .state = MEMBER_ACTIVE, .attached_once = true };
	struct group g = { .members = &m, .nmembers = 1, .epoch = 2 };
	struct member_live l = {};
	struct group_live live = { .members = &l, .op_watch = 5 };
	struct observation o = { .proc = PROC_RUNNING, .role = SERVER_ROLE_REPLICA, .watch = 5,
				 .slave_offset = 70, .read_offset = -1, .upstream_port = 6379 };

	assert_false(member_keeps_position(&m));
	assert_true(election_sealed(&g, &live, 0, &o));
	o.link_up = true;
	assert_false(election_sealed(&g, &live, 0, &o));
	assert_false(election_drained(&g, &live, 0, &o,
				      &(struct election_clock){ .now_ms = 10, .fresh_watch = 6 }));
	assert_false(election_drained(&g, &live, 0, &o,
				      &(struct election_clock){ .now_ms = 60, .fresh_watch = 7 }));
	assert_int_equal(live.watch, 7);
	assert_false(election_sealed(&g, &live, 0, &o));
	o.watch = 7;
	assert_true(election_drained(&g, &live, 0, &o,
				     &(struct election_clock){ .now_ms = 61, .fresh_watch = 8 }));
	assert_true(election_sealed(&g, &live, 0, &o));
	o.slave_offset = 71;
	assert_false(election_sealed(&g, &live, 0, &o));
	m.version = "4.0.14";
	o.link_up = false;
	assert_false(election_sealed(&g, &live, 0, &o));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_winner_holds_what_was_promised),
		cmocka_unit_test(no_word_makes_a_stranger_the_source),
		cmocka_unit_test(a_dry_run_counts_who_could_be_sealed),
		cmocka_unit_test(old_servers_are_not_sealed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
