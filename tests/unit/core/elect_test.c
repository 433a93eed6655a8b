/*
 * The election, a row a sentence of the policy; then its properties over random groups.
 *
 * In a row a replica is { GOOD, what differs }: GOOD is eligible, with all keys before the winner.
 */
#include "core/elect.h"

#include "../test.h"

/* A row says what differs from GOOD, behind it. */
#pragma GCC diagnostic ignored "-Woverride-init"

#define A { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" }
#define B { "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb" }
#define X { "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" }

#define V(k, ma, mi) .version_known = true, .version = { k, ma, mi, 0 }
#define V32 V(SERVER_REDIS, 3, 2)
#define V50 V(SERVER_REDIS, 5, 0)
#define V70 V(SERVER_REDIS, 7, 0)

#define HEARD                                                                                \
	.heard = true, .sealed = true, .running = true, .role = SERVER_ROLE_REPLICA,         \
	.attached_once = true, .may_hold = true, .durable = true, .last_io_now_s = -1,       \
	.last_io_s = -1, .priority = ELECT_PRIORITY, .created_wall_ms = 1000, .keys = 10
#define GOOD V70, HEARD
#define OLD V32, HEARD, .at = { .offset = 0, .second_offset = -1 }
#define AT(id, o) .at = { .replid = id, .offset = o, .second_offset = -1 }, .slave_offset = o
/* Nothing but the record is known. */
#define SILENT V70, .attached_once = true, .may_hold = true, .slave_offset = -1,             \
	.at = { .offset = -1, .second_offset = -1 }, .last_io_now_s = -1, .last_io_s = -1,   \
	.priority = ELECT_PRIORITY

enum { NOBODY = ELECT_NOBODY, CANDIDATES_MAX = 4 };

/* Epoch 2 began anew at 0, so offsets of epoch 1 say nothing now; epoch 3 went on from 1000. */
static const struct history_entry entries[] = {
	{ .epoch = 1, .replid = X, .start = 0 },
	{ .epoch = 2, .replid = A, .start = 0 },
	{ .epoch = 3, .replid = B, .start = 1001 },
};
static const struct history history = { entries, ARRAY_LEN(entries) };

struct elect_case {
	const char *says;
	size_t n;
	struct elect_candidate r[CANDIDATES_MAX];
	uint32_t k;
	bool lost_copies; /* bounded, and k has come down to 0 */
	struct history_position source;
	int64_t limit;
	bool accept;
	enum elect_verdict want;
	size_t winner;
	enum elect_by by;
	enum elect_why why[CANDIDATES_MAX]; /* 0: eligible */
	int64_t loss;
};

#define ANY .limit = ELECT_NO_LOSS_LIMIT, .source = { .offset = -1 }, .loss = -1
#define WINS(i, b) .want = ELECT_WINNER, .winner = i, .by = ELECT_BY_##b
#define SOURCE_AT(id, o) .source = { .replid = id, .offset = o, .second_offset = -1 }

/* clang-format off */
static const struct elect_case cases[] = {
	{ "a group without replicas has no heir", 0, {}, ANY, .want = ELECT_NONE, .winner = NOBODY },
	{ "the only one is chosen", 1, { { GOOD, AT(B, 2000) } }, ANY, WINS(0, NOTHING) },

	/* REDIS.md 1 no. 1 */
	{ "no. 1: the stale one shows -1 and the good one 2: the offset decides", 2,
	  { { GOOD, AT(B, 6203), .last_io_now_s = -1 }, { GOOD, AT(B, 173983), .last_io_now_s = 2, .last_io_s = 2 } },
	  ANY, WINS(1, OFFSET) },
	{ "no. 1: a figure remembered from before the link fell does not beat an offset", 2,
	  { { GOOD, AT(B, 6203), .last_io_s = 0 }, { GOOD, AT(B, 6204), .last_io_s = 9 } }, ANY, WINS(1, OFFSET) },
	{ "offsets of two reigns of one family compare", 2,
	  { { GOOD, AT(A, 1000), .last_io_s = 0 }, { GOOD, AT(B, 1001) } }, ANY, WINS(1, OFFSET) },

	/* between equals */
	{ "of equal offsets the durable one", 2,
	  { { GOOD, AT(B, 9), .durable = false, .last_io_s = 0 }, { GOOD, AT(B, 9), .last_io_s = 5 } }, ANY, WINS(1, DURABLE) },
	{ "durable does not beat an offset", 2,
	  { { GOOD, AT(B, 9) }, { GOOD, AT(B, 10), .durable = false } }, ANY, WINS(1, OFFSET) },
	{ "then who heard the source last", 2,
	  { { GOOD, AT(B, 9), .last_io_s = 3, .priority = 1 }, { GOOD, AT(B, 9), .last_io_s = 2 } }, ANY, WINS(1, LAST_IO) },
	{ "a remembered figure beats none", 2,
	  { { GOOD, AT(B, 9) }, { GOOD, AT(B, 9), .last_io_s = 60 } }, ANY, WINS(1, LAST_IO) },
	{ "then the lower priority number", 2,
	  { { GOOD, AT(B, 9), .preferred_zone = true }, { GOOD, AT(B, 9), .priority = 10 } }, ANY, WINS(1, PRIORITY) },
	{ "then the preferred zone", 2,
	  { { GOOD, AT(B, 9), .created_wall_ms = 1 }, { GOOD, AT(B, 9), .preferred_zone = true } }, ANY, WINS(1, ZONE) },
	{ "then the older one", 2,
	  { { GOOD, AT(B, 9) }, { GOOD, AT(B, 9), .created_wall_ms = 1 } }, ANY, WINS(1, AGE) },
	{ "then the id, so that it is always the same one", 2,
	  { { GOOD, AT(B, 9) }, { GOOD, AT(B, 9) } }, ANY, WINS(0, ID) },

	/* who is not eligible */
	{ "priority 0 never wins", 2,
	  { { GOOD, AT(B, 9), .priority = 0 }, { GOOD, AT(B, 9) } },
	  ANY, WINS(1, NOTHING), .why = { ELECT_WHY_PRIORITY } },
	{ "not even by the operator's word", 1,
	  { { GOOD, AT(B, 9), .priority = 0 } },
	  ANY, .accept = true, .want = ELECT_NONE, .winner = NOBODY, .why = { ELECT_WHY_PRIORITY } },
	{ "one that loads", 2, { { GOOD, AT(B, 99), .loading = true }, { GOOD, AT(B, 9) } },
	  ANY, WINS(1, NOTHING), .why = { ELECT_WHY_LOADING } },
	{ "row 11: one in the middle of a copy, whatever offset it shows", 2,
	  { { GOOD, AT(B, 99), .syncing = true }, { GOOD, AT(B, 9) } },
	  ANY, WINS(1, NOTHING), .why = { ELECT_WHY_SYNCING } },
	{ "one that was promoted by hand", 2,
	  { { GOOD, AT(B, 99), .role = SERVER_ROLE_MASTER, .slave_offset = -1 }, { GOOD, AT(B, 9) } },
	  ANY, WINS(1, NOTHING), .why = { ELECT_WHY_NOT_REPLICA } },
	{ "one whose server is gone", 2, { { GOOD, AT(B, 99), .running = false }, { GOOD, AT(B, 9) } },
	  ANY, WINS(1, NOTHING), .why = { ELECT_WHY_DOWN } },
	{ "one that is being deleted", 2, { { GOOD, AT(B, 9), .deleting = true }, { GOOD, AT(B, 9) } },
	  ANY, WINS(1, NOTHING), .why = { ELECT_WHY_DELETING } },
	{ "one whose disk fails, while there is another", 2,
	  { { GOOD, AT(B, 9), .disk_error = true }, { GOOD, AT(B, 9) } },
	  ANY, WINS(1, NOTHING), .why = { ELECT_WHY_DISK } },
	{ "row 12: one that is not sealed has not applied all that it received", 2,
	  { { GOOD, AT(B, 9), .sealed = false }, { GOOD, AT(B, 9) } },
	  ANY, WINS(1, NOTHING), .why = { ELECT_WHY_UNSEALED } },
	{ "row 13: one unreachable replica stops nothing", 3,
	  { { SILENT }, { GOOD, AT(B, 9) }, { GOOD, AT(B, 8) } }, ANY, WINS(1, OFFSET), .why = { ELECT_WHY_UNHEARD } },
	{ "no. 5: an emptied one shows its old master offset, and 1 beside it", 2,
	  { { GOOD, AT(B, 394913), .slave_offset = 1, .keys = 0 }, { GOOD, AT(B, 9) } },
	  ANY, WINS(1, NOTHING), .why = { ELECT_WHY_OFFSETS } },
	{ "no. 6: linked, but never seen to hold the source's data", 2,
	  { { GOOD, AT(B, 99), .attached_once = false }, { GOOD, AT(B, 90) } },
	  ANY, WINS(1, NOTHING), .why = { ELECT_WHY_UNATTACHED }, .loss = 9 },
	{ "row 10: a stranger's larger offset is no offset of ours", 2,
	  { { GOOD, AT({ "cc" }, 999999) }, { GOOD, AT(B, 9) } },
	  ANY, WINS(1, NOTHING), .why = { ELECT_WHY_DIVERGED } },
	{ "row 10: an old source that wrote on after it was left", 2,
	  { { GOOD, AT(A, 5000) }, { GOOD, AT(B, 2000) } }, ANY, WINS(1, NOTHING), .why = { ELECT_WHY_DIVERGED } },
	{ "what one that diverged holds of the group's is not passed over", 2,
	  { { GOOD, AT(A, 5000) }, { GOOD, AT(A, 900) } },
	  .limit = ELECT_NO_LOSS_LIMIT, .source = { .offset = -1 }, .want = ELECT_WOULD_LOSE, .winner = 1,
	  .why = { ELECT_WHY_DIVERGED }, .loss = 100 },
	{ "unless the operator accepts it", 2,
	  { { GOOD, AT(A, 5000) }, { GOOD, AT(A, 900) } },
	  .limit = ELECT_NO_LOSS_LIMIT, .source = { .offset = -1 }, .accept = true, WINS(1, NOTHING),
	  .why = { ELECT_WHY_DIVERGED }, .loss = 100 },
	{ "one that diverged is never taken, whatever the operator accepts", 1,
	  { { GOOD, AT(A, 5000) } },
	  ANY, .accept = true, .want = ELECT_NONE, .winner = NOBODY, .why = { ELECT_WHY_DIVERGED } },
	{ "an offset from before the source began anew does not compare", 2,
	  { { GOOD, AT(X, 999999) }, { GOOD, AT(B, 9) } }, ANY, WINS(1, NOTHING), .why = { ELECT_WHY_EARLIER } },
	{ "row 27: the newest version would strand the other, so the other is chosen", 2,
	  { { GOOD, AT(B, 9) }, { V50, HEARD, AT(B, 9) } }, ANY, WINS(1, NOTHING), .why = { ELECT_WHY_STRANDS } },
	{ "row 27: also one that is unreachable just now", 3,
	  { { GOOD, AT(B, 9) }, { V50, HEARD, AT(B, 9), .heard = false }, { V50, HEARD, AT(B, 9) } },
	  ANY, WINS(2, NOTHING), .why = { ELECT_WHY_STRANDS, ELECT_WHY_UNHEARD } },
	{ "one that is being deleted strands nobody", 2,
	  { { GOOD, AT(B, 9) }, { V50, HEARD, AT(B, 9), .deleting = true } },
	  ANY, WINS(0, NOTHING), .why = { 0, ELECT_WHY_DELETING } },
	{ "a version nobody knows feeds nobody", 2,
	  { { GOOD, AT(B, 9), .version_known = false }, { SILENT } },
	  ANY, .want = ELECT_NONE, .winner = NOBODY, .why = { ELECT_WHY_STRANDS, ELECT_WHY_UNHEARD } },

	/* the last resort: row 14 */
	{ "row 14: nobody is eligible: the most keys, and only by the operator's word", 3,
	  { { GOOD, AT(B, 394913), .slave_offset = 1, .keys = 0 }, { GOOD, AT(X, 50), .keys = 7 }, { SILENT } },
	  ANY, .want = ELECT_WOULD_LOSE, .winner = 1, .by = ELECT_BY_KEYS,
	  .why = { ELECT_WHY_OFFSETS, ELECT_WHY_EARLIER, ELECT_WHY_UNHEARD } },
	{ "row 14: with it he gets that one", 2,
	  { { GOOD, AT(B, 394913), .slave_offset = 1, .keys = 0 }, { GOOD, AT(X, 50), .keys = 7 } },
	  ANY, .accept = true, WINS(1, KEYS), .why = { ELECT_WHY_OFFSETS, ELECT_WHY_EARLIER } },
	{ "row 15: all came back from their AOFs, without a position", 2,
	  { { GOOD, AT({ "cc" }, 0), .keys = 5 }, { GOOD, AT({ "dd" }, 0), .keys = 6 } },
	  ANY, .want = ELECT_WOULD_LOSE, .winner = 1, .by = ELECT_BY_KEYS,
	  .why = { ELECT_WHY_UNKNOWN, ELECT_WHY_UNKNOWN } },
	{ "who is whole but for its disk loses nothing known, and still needs the word", 1,
	  { { GOOD, AT(B, 90), .disk_error = true } }, ANY, SOURCE_AT(B, 90), .loss = 0,
	  .want = ELECT_WOULD_LOSE, .winner = 0, .why = { ELECT_WHY_DISK } },
	{ "the operator's word changes nothing for who is eligible anyway", 2,
	  { { GOOD, AT(B, 9) }, { GOOD, AT(X, 99), .keys = 99 } },
	  ANY, .accept = true, WINS(0, NOTHING), .why = { 0, ELECT_WHY_EARLIER } },

	/* what is lost */
	{ "async: what the source had and nobody got is counted", 1,
	  { { GOOD, AT(B, 990) } }, ANY, SOURCE_AT(B, 1000), .loss = 10, WINS(0, NOTHING) },
	{ "a winner ahead of what was known of the source lost nothing known", 1,
	  { { GOOD, AT(B, 1010) } }, ANY, SOURCE_AT(B, 1000), .loss = 0, WINS(0, NOTHING) },
	{ "a loss above the limit is refused, and counted", 1,
	  { { GOOD, AT(B, 990) } }, SOURCE_AT(B, 1000), .limit = 9, .loss = 10,
	  .want = ELECT_WOULD_LOSE, .winner = 0 },
	{ "a loss within the limit is not", 1,
	  { { GOOD, AT(B, 990) } }, SOURCE_AT(B, 1000), .limit = 10, .loss = 10, WINS(0, NOTHING) },
	{ "the operator may accept it", 1,
	  { { GOOD, AT(B, 990) } }, SOURCE_AT(B, 1000), .limit = 0, .loss = 10, .accept = true, WINS(0, NOTHING) },
	{ "a source's offset from before a break says nothing of the loss", 1,
	  { { GOOD, AT(B, 990) } }, SOURCE_AT(X, 5000), .limit = 0, .loss = -1, WINS(0, NOTHING) },
	{ "what a member that may not be promoted has more is known to be lost, too", 2,
	  { { GOOD, AT(B, 990) }, { GOOD, AT(B, 995), .priority = 0 } }, SOURCE_AT(B, 992), .limit = 0, .loss = 5,
	  .want = ELECT_WOULD_LOSE, .winner = 0, .why = { 0, ELECT_WHY_PRIORITY } },
	{ "not what one shows that was emptied", 2,
	  { { GOOD, AT(B, 990) }, { GOOD, AT(B, 995), .slave_offset = 1 } }, SOURCE_AT(B, 990), .limit = 0, .loss = 0,
	  WINS(0, NOTHING), .why = { 0, ELECT_WHY_OFFSETS } },

	{ "async: what one has who is there, and may not be promoted, is not given up unasked", 2,
	  { { GOOD, AT(B, 990) }, { GOOD, AT(B, 995), .disk_error = true } }, ANY, .loss = 5,
	  .want = ELECT_WOULD_LOSE, .winner = 0, .why = { 0, ELECT_WHY_DISK } },
	{ "nor what one has who is there and not sealed yet", 2,
	  { { GOOD, AT(B, 990) }, { GOOD, AT(B, 995), .sealed = false } }, ANY, .loss = 5,
	  .want = ELECT_WOULD_LOSE, .winner = 0, .why = { 0, ELECT_WHY_UNSEALED } },
	{ "what the user deletes is his to give up", 2,
	  { { GOOD, AT(B, 990) }, { GOOD, AT(B, 995), .deleting = true } }, ANY, .loss = 5,
	  WINS(0, NOTHING), .why = { 0, ELECT_WHY_DELETING } },

	/* bounded(k): S + k > R */
	{ "R = 1, k = 1: it is sealed", 1, { { GOOD, AT(B, 9) } }, ANY, .k = 1, WINS(0, NOTHING) },
	{ "R = 2, k = 1: both are sealed", 2,
	  { { GOOD, AT(B, 9) }, { GOOD, AT(B, 8) } }, ANY, .k = 1, WINS(0, OFFSET) },
	{ "R = 2, k = 1: one is not heard, and may have what the client was told of", 2,
	  { { GOOD, AT(B, 9) }, { SILENT } }, ANY, .k = 1,
	  .want = ELECT_TOO_FEW_SEALED, .winner = 0, .why = { 0, ELECT_WHY_UNHEARD } },
	{ "R = 2, k = 2: one is enough, the write is on both", 2,
	  { { GOOD, AT(B, 9) }, { SILENT } }, ANY, .k = 2, WINS(0, NOTHING), .why = { 0, ELECT_WHY_UNHEARD } },
	{ "R = 3, k = 2: two are enough", 3,
	  { { GOOD, AT(B, 9) }, { GOOD, AT(B, 8) }, { SILENT } },
	  ANY, .k = 2, WINS(0, OFFSET), .why = { 0, 0, ELECT_WHY_UNHEARD } },
	{ "R = 3, k = 2: one is not", 3,
	  { { GOOD, AT(B, 9) }, { SILENT }, { SILENT } },
	  ANY, .k = 2, .want = ELECT_TOO_FEW_SEALED, .winner = 0, .why = { 0, ELECT_WHY_UNHEARD, ELECT_WHY_UNHEARD } },
	{ "the operator may accept that, too", 2,
	  { { GOOD, AT(B, 9) }, { SILENT } }, ANY, .k = 1, .accept = true, WINS(0, NOTHING), .why = { 0, ELECT_WHY_UNHEARD } },
	{ "sealed and ahead, but not to be promoted: the winner lacks what it acknowledged", 2,
	  { { GOOD, AT(B, 9) }, { GOOD, AT(B, 10), .priority = 0 } }, ANY, .k = 1, .loss = 1,
	  .want = ELECT_TOO_FEW_SEALED, .winner = 0, .why = { 0, ELECT_WHY_PRIORITY } },
	{ "a write that may be on nobody who is left: no number of sealed ones is enough", 1,
	  { { GOOD, AT(B, 9) } }, ANY, .lost_copies = true, .want = ELECT_TOO_FEW_SEALED, .winner = 0 },
	{ "sealed, not to be promoted and not ahead: the winner has all of it", 2,
	  { { GOOD, AT(B, 9) }, { GOOD, AT(B, 9), .priority = 0 } }, ANY, .k = 1,
	  WINS(0, NOTHING), .why = { 0, ELECT_WHY_PRIORITY } },
	{ "sealed, but emptied: what it had acknowledged is not known to be in the winner", 2,
	  { { GOOD, AT(B, 9) }, { GOOD, AT(B, 9), .slave_offset = 1 } }, ANY, .k = 1,
	  .want = ELECT_TOO_FEW_SEALED, .winner = 0, .why = { 0, ELECT_WHY_OFFSETS } },
	{ "one in its first copy has acknowledged nothing, and is not one of R", 2,
	  { { GOOD, AT(B, 9) }, { GOOD, AT(B, 0), .syncing = true, .attached_once = false, .may_hold = false } },
	  ANY, .k = 1, WINS(0, NOTHING), .why = { 0, ELECT_WHY_SYNCING } },
	{ "nor does it make up for one of R that is missing", 3,
	  { { GOOD, AT(B, 9) }, { GOOD, AT(B, 1), .attached_once = false, .may_hold = false }, { SILENT } },
	  ANY, .k = 1, .want = ELECT_TOO_FEW_SEALED, .winner = 0,
	  .why = { 0, ELECT_WHY_UNATTACHED, ELECT_WHY_UNHEARD } },

	/* before 4.0 */
	{ "3.2: no ids, no second offset; the drained offset decides", 2,
	  { { OLD, .slave_offset = 500, .last_io_s = 1 }, { OLD, .slave_offset = 600, .last_io_s = 2 } }, ANY, WINS(1, OFFSET) },
	{ "3.2: an offset of 1 is none, and the specification's figure decides", 2,
	  { { OLD, .slave_offset = 1, .last_io_s = 2 }, { OLD, .slave_offset = 1, .last_io_s = 1, .durable = false } },
	  ANY, WINS(1, LAST_IO) },
	{ "3.2: bounded(1) with no offsets proves nothing about the other", 2,
	  { { OLD, .slave_offset = 1, .last_io_s = 2 }, { OLD, .slave_offset = 1, .last_io_s = 1 } }, ANY, .k = 1,
	  .want = ELECT_TOO_FEW_SEALED, .winner = 1, .by = ELECT_BY_LAST_IO },
	{ "3.2: the loss is counted without an id", 1,
	  { { OLD, .slave_offset = 500 } }, .limit = ELECT_NO_LOSS_LIMIT, .source = { .offset = 600 }, .loss = 100,
	  WINS(0, NOTHING) },
};
/* clang-format on */

/* Names r0, r1, ... and ids in that order. */
static void name_them(struct elect_candidate *c, size_t n)
{
	static const char *const names[] = { "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7" };

	for (size_t i = 0; i < n && i < ARRAY_LEN(names); i++) {
		c[i].name = names[i];
		c[i].id = (struct id){ .b = { [15] = (uint8_t)(i + 1) } };
	}
}

static void check_case(const struct elect_case *c)
{
	struct elect_candidate r[CANDIDATES_MAX];
	char line[400];

	memcpy(r, c->r, sizeof r);
	name_them(r, c->n);
	struct elect_in in = {
		.candidates = r,
		.n = c->n,
		.history = history,
		.bounded = c->k > 0 || c->lost_copies,
		.k = c->k,
		.source = c->source,
		.loss_limit_bytes = c->limit,
		.accept_data_loss = c->accept,
	};
	struct elect_out out;

	elect_pick(&in, &out);
	printf("# %s: %s: %s\n", c->says, elect_verdict_name(out.verdict),
	       elect_reason(&in, &out, line, sizeof line));
	for (size_t i = 0; i < c->n; i++) {
		printf("#	%s\n", elect_explain(&in, &out, i, line, sizeof line));
		assert_string_equal(elect_why_name(out.of[i].why), elect_why_name(c->why[i]));
	}
	assert_string_equal(elect_verdict_name(out.verdict), elect_verdict_name(c->want));
	assert_int_equal(out.winner, c->winner);
	assert_string_equal(elect_by_name(out.by), elect_by_name(c->by));
	assert_int_equal(out.loss_bytes, c->loss);
	if (out.winner != ELECT_NOBODY) {
		assert_int_equal(out.durable, r[out.winner].durable);
		assert_int_equal(out.last_resort, c->why[out.winner] != ELECT_WHY_ELIGIBLE);
	}
}

static void the_policy(void **)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		check_case(&cases[i]);
	}
}

/* The names follow the checks: soft reasons are told of those only who have no hard one. */
static void every_reason_is_in_a_sentence_of_the_policy(void **)
{
	bool seen[ELECT_WHY_COUNT] = { [ELECT_WHY_ELIGIBLE] = true };
	bool by[ELECT_BY_COUNT] = {};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		by[cases[i].by] = true;
		for (size_t j = 0; j < cases[i].n; j++) {
			seen[cases[i].why[j]] = true;
		}
	}
	for (size_t i = 0; i < ELECT_WHY_COUNT; i++) {
		printf("# %s\n", elect_why_name((enum elect_why)i));
		assert_true(seen[i]);
		assert_true(strlen(elect_why_text((enum elect_why)i)) > 10);
	}
	for (size_t i = 0; i < ELECT_BY_COUNT; i++) {
		printf("# by %s\n", elect_by_name((enum elect_by)i));
		assert_true(by[i]);
	}
}

static void accepting_is_said_only_where_it_mattered(void **)
{
	struct elect_candidate r[] = { { GOOD, AT(B, 9) }, { SILENT } };
	struct elect_in in = {
		.candidates = r,
		.n = 2,
		.history = history,
		.source = { .offset = -1 },
		.loss_limit_bytes = ELECT_NO_LOSS_LIMIT,
		.accept_data_loss = true,
	};
	struct elect_out out;

	name_them(r, 2);
	elect_pick(&in, &out);
	assert_false(out.accepted);
	in.bounded = true;
	in.k = 1;
	elect_pick(&in, &out);
	assert_true(out.accepted);
	assert_int_equal(out.sealed, 1);
	assert_int_equal(out.replicas, 2);
}

/* An entry that starts above 0 says that what was before goes on: only a canonical winner may. */
static void the_winners_reign_starts_where_it_stood(void **)
{
	static const struct {
		const char *says;
		struct elect_candidate r;
		int64_t start;
	} starts[] = {
		{ "in the current family it goes on", { GOOD, AT(B, 2000) }, 2001 },
		{ "also from an earlier reign of it", { GOOD, AT(A, 1000) }, 1001 },
		{ "from before a break it begins anew", { GOOD, AT(X, 2000) }, 0 },
		{ "with offsets that differ too", { GOOD, AT(B, 2000), .slave_offset = 1 }, 0 },
		{ "and before 4.0", { OLD, .slave_offset = 2000 }, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
		struct elect_candidate r = starts[i].r;
		struct elect_out out;

		printf("# %s\n", starts[i].says);
		name_them(&r, 1);
		elect_pick(&(struct elect_in){ .candidates = &r, .n = 1, .history = history,
					       .source = { .offset = -1 }, .accept_data_loss = true },
			   &out);
		assert_int_equal(out.verdict, ELECT_WINNER);
		assert_int_equal(out.history_start, starts[i].start);
	}
}

static void the_specifications_choice_is_told(void **)
{
	static const struct {
		const char *says;
		size_t n;
		int32_t shown[3];
		size_t choice, ties;
		const char *reason;
	} specs[] = {
		{ "with one link up the stale one is the smallest", 2, { 2, -1 }, 1, 1, "it would be 'r1' (-1)" },
		{ "with the source dead it cannot tell", 3, { -1, -1, -1 }, 0, 3, "3 are equal (-1)" },
		{ "with all links up it is who heard last", 3, { 2, 1, 3 }, 1, 1, "it would be 'r1' (1)" },
	};

	for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
		struct elect_candidate r[3] = { { GOOD, AT(B, 90) }, { GOOD, AT(B, 70) }, { GOOD, AT(B, 80) } };
		struct elect_in in = { .candidates = r, .n = specs[i].n, .history = history,
				       .loss_limit_bytes = ELECT_NO_LOSS_LIMIT };
		struct elect_out out;
		char text[320];

		name_them(r, 3);
		for (size_t j = 0; j < specs[i].n; j++) {
			r[j].last_io_now_s = specs[i].shown[j];
		}
		elect_pick(&in, &out);
		printf("# %s: %s\n", specs[i].says, elect_reason(&in, &out, text, sizeof text));
		assert_int_equal(out.winner, 0);
		assert_int_equal(out.spec_choice, specs[i].choice);
		assert_int_equal(out.spec_ties, specs[i].ties);
		assert_non_null(strstr(text, specs[i].reason));
	}
}

static void the_texts_have_the_figures(void **)
{
	struct elect_candidate r[] = {
		{ GOOD, AT(B, 173983), .last_io_s = 2, .keys = 5200, .durable = false },
		{ GOOD, AT(B, 6203), .keys = 200 },
		{ GOOD, AT(B, 394913), .slave_offset = 1, .keys = 0 },
		{ SILENT },
	};
	struct elect_in in = { .candidates = r, .n = 4, .history = history, .bounded = true, .k = 1,
			       .source = { .replid = B, .offset = 174000, .second_offset = -1 } };
	struct elect_out out;
	char text[400], tiny[8];

	name_them(r, 4);
	elect_pick(&in, &out);
	assert_string_equal(elect_explain(&in, &out, 0, text, sizeof text),
			    "'r0': would be chosen; offset 173983 of epoch 3; last_io 2 s (now -1), "
			    "priority 100, 5200 keys, not durable");
	assert_string_equal(elect_explain(&in, &out, 2, text, sizeof text),
			    "'r2': not eligible, its two offsets differ: a copy was broken off, its "
			    "data may be gone; offset 394913 of epoch 3 (master_repl_offset 394913, "
			    "slave_repl_offset 1); last_io -1 s (now -1), priority 100, 0 keys, "
			    "durable");
	assert_string_equal(elect_explain(&in, &out, 3, text, sizeof text),
			    "'r3': not eligible, it has not been heard");
	assert_string_equal(elect_reason(&in, &out, text, sizeof text),
			    "'r0' (offset 173983) goes before 'r1' (offset 6203): it has the higher "
			    "offset; 2 of 4 replicas are sealed, too few for k = 1; 17 bytes are known to be "
			    "lost; its data are not all on disk yet; by master_last_io_seconds_ago "
			    "3 are equal (-1)");
	assert_string_equal(elect_explain(&in, &out, 0, tiny, sizeof tiny), "'r0': w");
	assert_string_equal(elect_reason(&in, &out, tiny, 1), "");
	tiny[0] = 'x';
	(void)elect_reason(&in, &out, tiny, 0);
	assert_int_equal(tiny[0], 'x');
}

/* Every figure of an observation gets where it is judged. */
static void a_candidate_is_made_of_member_and_observation(void **)
{
	struct member m = { .name = "m", .datastore = "redis", .version = "7.0.15",
			    .created_wall_ms = 7, .state = MEMBER_ACTIVE, .attached_once = true };
	struct observation o = { .proc = PROC_RUNNING, .role = SERVER_ROLE_REPLICA, .replid = B,
				 .replid2 = A, .offset = 50, .second_offset = 40, .slave_offset = 50,
				 .last_io_s = -1, .keys = 3, .durable = true };
	struct elect_beside beside = { .sealed = true, .last_io_s = 4, .priority = 100 };
	struct elect_candidate c = elect_candidate_of(&m, &o, &beside);
	struct elect_out out;

	assert_true(c.heard && c.sealed && c.running && c.durable && c.may_hold && c.version_known);
	assert_int_equal(c.version.major, 7);
	assert_int_equal(c.at.second_offset, 40);
	assert_int_equal(c.last_io_s, 4);
	assert_int_equal(c.last_io_now_s, -1);
	elect_pick(&(struct elect_in){ .candidates = &c, .n = 1, .history = history,
				       .loss_limit_bytes = ELECT_NO_LOSS_LIMIT }, &out);
	assert_int_equal(out.winner, 0);
	assert_int_equal(out.verdict, ELECT_WINNER);

	c = elect_candidate_of(&m, NULL, &beside);
	assert_false(c.heard || c.sealed);
	assert_true(c.may_hold);
	o.proc = PROC_EXITED;
	assert_false(elect_candidate_of(&m, &o, &beside).running);
	m.state = MEMBER_DELETING;
	assert_true(elect_candidate_of(&m, &o, &beside).deleting);
}

/* R: whoever may have told the source, and it a client, that it has a write. */
static void who_counts_among_the_replicas(void **)
{
	static const struct {
		const char *says;
		bool attached, heard;
		struct observation o;
		bool want;
	} rows[] = {
		{ "one that was attached, always", true, true, { .proc = PROC_RUNNING, .sync_in_progress = true }, true },
		{ "one that was attached and is silent", true, false, {}, true },
		{ "one never seen attached and silent now: it may have been", false, false, {}, true },
		{ "one whose server was never started", false, true, { .proc = PROC_NONE }, false },
		{ "one in its first copy", false, true,
		  { .proc = PROC_RUNNING, .sync_in_progress = true, .slave_offset = 50 }, false },
		{ "one that has copied nothing yet", false, true, { .proc = PROC_RUNNING, .slave_offset = 1 }, false },
		{ "one that has a position and was not seen attached yet", false, true,
		  { .proc = PROC_RUNNING, .slave_offset = 50 }, true },
		{ "one that is down: it may have had one", false, true, { .proc = PROC_EXITED }, true },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct member m = { .name = "m", .datastore = "redis", .version = "7.0.15",
				    .state = MEMBER_SYNCING, .attached_once = rows[i].attached };

		printf("# %s\n", rows[i].says);
		const struct observation *o = rows[i].heard ? &rows[i].o : NULL;
		const struct elect_beside now = { .fresh = true }, before = {};

		assert_int_equal(elect_candidate_of(&m, o, &now).may_hold, rows[i].want);
		/* Its copy may have ended since. */
		assert_true(elect_candidate_of(&m, o, &before).may_hold);
	}
}

/* properties */

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static uint64_t below(uint64_t *s, uint64_t n)
{
	return next_random(s) % n;
}

static bool one_in(uint64_t *s, uint64_t n)
{
	return below(s, n) == 0;
}

enum { GROUP_MAX = 7 };

/* One in `odds` has this or that wrong with it. */
static struct elect_candidate random_candidate(uint64_t *s, uint64_t odds)
{
	static const struct replid strays[] = { X, { "cc" } }, ours[] = { A, B, B };
	int64_t offset = (int64_t)(995 + below(s, 12));
	struct elect_candidate c = { GOOD };

	c.at = (struct history_position){ .offset = offset };
	c.at.replid = one_in(s, odds) ? strays[below(s, 2)] : ours[below(s, 3)];
	c.slave_offset = one_in(s, odds) ? 1 : offset;
	c.heard = !one_in(s, odds);
	c.sealed = c.heard && !one_in(s, odds);
	c.running = !one_in(s, odds);
	c.loading = one_in(s, odds);
	c.syncing = one_in(s, odds);
	c.role = one_in(s, odds) ? SERVER_ROLE_MASTER : SERVER_ROLE_REPLICA;
	c.attached_once = !one_in(s, odds);
	c.may_hold = c.attached_once || !one_in(s, 3);
	c.deleting = one_in(s, odds);
	c.disk_error = one_in(s, odds);
	c.durable = !one_in(s, 3);
	c.priority = one_in(s, odds) ? 0 : (int32_t)(99 + below(s, 3));
	c.preferred_zone = one_in(s, 2);
	c.last_io_s = (int32_t)below(s, 4) - 1;
	c.last_io_now_s = one_in(s, 2) ? -1 : c.last_io_s;
	c.created_wall_ms = (int64_t)below(s, 3);
	c.keys = (int64_t)below(s, 4);
	return c;
}

static bool is_on_our_history(const struct elect_candidate *c)
{
	static const struct replid a = A, b = B;

	return c->at.offset == c->slave_offset &&
	       (replid_eq(&c->at.replid, &b) ||
		(replid_eq(&c->at.replid, &a) && c->at.offset < 1001));
}

/* DESIGN.md 5, said once more and otherwise. All are of one version. */
static bool should_be_eligible(const struct elect_candidate *c)
{
	bool quiet = !c->loading && !c->syncing && !c->deleting && !c->disk_error;

	return c->heard && c->sealed && c->running && c->role == SERVER_ROLE_REPLICA && quiet &&
	       is_on_our_history(c) && c->attached_once && c->priority != 0;
}

/* Nothing it ever told a client of is beyond this offset of our history. */
static bool holds_no_more(const struct elect_candidate *c, int64_t offset)
{
	bool frozen = c->heard && c->sealed && c->running && !c->loading && !c->syncing;

	return !c->may_hold || (frozen && is_on_our_history(c) && c->at.offset <= offset);
}

static void shuffle(uint64_t *s, struct elect_candidate *c, size_t n)
{
	for (size_t i = n; i > 1; i--) {
		size_t j = below(s, i);
		struct elect_candidate t = c[i - 1];

		c[i - 1] = c[j];
		c[j] = t;
	}
}

struct random_group {
	struct elect_candidate c[GROUP_MAX + 1];
	struct elect_in in;
};

static void random_group(uint64_t *s, struct random_group *g)
{
	uint64_t odds = one_in(s, 2) ? 10 : 100;

	*g = (struct random_group){};
	g->in = (struct elect_in){
		.candidates = g->c,
		.n = below(s, GROUP_MAX + 1),
		.history = history,
		.k = (uint32_t)below(s, 5),
		.source = { .replid = B, .offset = (int64_t)(995 + below(s, 20)) },
		.loss_limit_bytes = (int64_t)below(s, 12) - 1,
		.accept_data_loss = one_in(s, 2),
	};
	g->in.bounded = g->in.k > 0;
	for (size_t i = 0; i < g->in.n; i++) {
		g->c[i] = random_candidate(s, odds);
	}
	name_them(g->c, g->in.n);
}

static struct id winner_of(const struct elect_in *in, const struct elect_out *out)
{
	return out->winner == ELECT_NOBODY ? (struct id){} : in->candidates[out->winner].id;
}

/* A write on k replicas, of which fewer than k may have more than the winner, is in the winner. */
static void check_promise(const struct elect_in *in, int64_t offset)
{
	size_t may_have_more = 0;

	for (size_t i = 0; i < in->n; i++) {
		may_have_more += !holds_no_more(&in->candidates[i], offset);
	}
	assert_true(may_have_more < in->k);
}

/* Returns whether a promise of bounded(k) was kept. */
static bool check_winner(const struct elect_in *in, const struct elect_out *out)
{
	int64_t most = -1;

	for (size_t i = 0; i < in->n; i++) {
		bool eligible = should_be_eligible(&in->candidates[i]);

		assert_int_equal(out->of[i].why == ELECT_WHY_ELIGIBLE, eligible);
		if (eligible && in->candidates[i].at.offset > most) {
			most = in->candidates[i].at.offset;
		}
	}
	assert_int_equal(out->winner == ELECT_NOBODY, out->verdict == ELECT_NONE);
	if (most < 0) {
		assert_true(out->winner == ELECT_NOBODY || out->last_resort);
		assert_true(out->verdict != ELECT_WINNER || in->accept_data_loss);
		return false;
	}
	assert_false(out->last_resort);
	assert_int_equal(in->candidates[out->winner].at.offset, most);
	if (out->verdict != ELECT_WINNER || out->accepted || in->k == 0) {
		return false;
	}
	check_promise(in, most);
	return true;
}

static void the_winner_has_the_most_of_the_eligible(void **)
{
	uint64_t s = 0x7a6e6973740001;
	int promised = 0;

	for (int round = 0; round < 20000; round++) {
		struct random_group g;
		struct elect_out out;

		random_group(&s, &g);
		elect_pick(&g.in, &out);
		promised += check_winner(&g.in, &out);
	}
	assert_true(promised > 1000);
}

static void the_order_of_the_candidates_changes_nothing(void **)
{
	uint64_t s = 0x7a6e6973740002;

	for (int round = 0; round < 20000; round++) {
		struct random_group g;
		struct elect_out before, after;

		random_group(&s, &g);
		elect_pick(&g.in, &before);
		struct id was = winner_of(&g.in, &before);

		shuffle(&s, g.c, g.in.n);
		elect_pick(&g.in, &after);
		assert_true(id_eq(winner_of(&g.in, &after), was));
		assert_int_equal(after.verdict, before.verdict);
		assert_int_equal(after.by, before.by);
		assert_true(after.loss_bytes == before.loss_bytes);
		assert_int_equal(after.sealed, before.sealed);
		assert_int_equal(after.replicas, before.replicas);
		assert_int_equal(after.spec_ties, before.spec_ties);
	}
}

/* Who is eligible decides among those who are; others only show what is lost. */
static void one_who_is_not_eligible_changes_no_choice(void **)
{
	uint64_t s = 0x7a6e6973740003;
	int tried = 0;

	for (int round = 0; round < 20000; round++) {
		struct random_group g;
		struct elect_out before, after;

		random_group(&s, &g);
		elect_pick(&g.in, &before);
		struct elect_candidate more = random_candidate(&s, 10);

		if (should_be_eligible(&more) || before.last_resort || before.winner == ELECT_NOBODY) {
			continue;
		}
		tried++;
		g.c[g.in.n++] = more;
		name_them(g.c, g.in.n);
		elect_pick(&g.in, &after);
		assert_int_equal(after.winner, before.winner);
		assert_int_equal(after.runner_up, before.runner_up);
		assert_int_equal(after.by, before.by);
		assert_true(after.loss_bytes >= before.loss_bytes);
		/* Nor does it turn a refusal into a choice. */
		assert_true(after.verdict != ELECT_WINNER || before.verdict == ELECT_WINNER);
	}
	assert_true(tried > 5000);
}

static void without_offsets_the_rule_is_the_specifications(void **)
{
	uint64_t s = 0x7a6e6973740004;

	for (int round = 0; round < 20000; round++) {
		struct elect_candidate c[GROUP_MAX] = {};
		size_t n = 1 + below(&s, GROUP_MAX);
		int64_t smallest = INT64_MAX;
		struct elect_out out;

		for (size_t i = 0; i < n; i++) {
			c[i] = (struct elect_candidate){ OLD };
			c[i].slave_offset = (int64_t)below(&s, 3) - 1; /* none of -1, 0, 1 is one */
			c[i].last_io_s = (int32_t)below(&s, 4);
			c[i].last_io_now_s = c[i].last_io_s; /* the links are up */
			c[i].durable = one_in(&s, 2);
			c[i].priority = (int32_t)(99 + below(&s, 3));
			smallest = c[i].last_io_s < smallest ? c[i].last_io_s : smallest;
		}
		name_them(c, n);
		elect_pick(&(struct elect_in){ .candidates = c, .n = n, .history = history,
					       .source = { .offset = -1 } }, &out);
		assert_int_equal(out.verdict, ELECT_WINNER);
		assert_int_equal(c[out.winner].last_io_s, smallest);
		assert_true(out.spec_ties > 1 || out.spec_choice == out.winner);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_policy),
		cmocka_unit_test(every_reason_is_in_a_sentence_of_the_policy),
		cmocka_unit_test(accepting_is_said_only_where_it_mattered),
		cmocka_unit_test(the_winners_reign_starts_where_it_stood),
		cmocka_unit_test(the_specifications_choice_is_told),
		cmocka_unit_test(the_texts_have_the_figures),
		cmocka_unit_test(a_candidate_is_made_of_member_and_observation),
		cmocka_unit_test(who_counts_among_the_replicas),
		cmocka_unit_test(the_winner_has_the_most_of_the_eligible),
		cmocka_unit_test(the_order_of_the_candidates_changes_nothing),
		cmocka_unit_test(one_who_is_not_eligible_changes_no_choice),
		cmocka_unit_test(without_offsets_the_rule_is_the_specifications),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
