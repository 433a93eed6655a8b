/*
 * The canonical history, a row a sentence: an entry of the list is { id, start }, a position
 * { id, offset, second id, second offset }. Ids are one letter here; "" is an id not known yet.
 */
#include "core/history.h"

#include "../test.h"

struct reign {
	const char *id;
	int64_t start;
	int source; /* 0: not told, nobody's successor */
};

struct place {
	const char *id;
	int64_t offset;
	const char *id2;
	int64_t second;
};

/* Forty times the letter. */
static struct replid replid_of(const char *letter)
{
	struct replid r = {};

	if (letter != NULL && letter[0] != '\0') {
		memset(r.s, letter[0], sizeof r.s - 1);
	}
	return r;
}

static struct history_position position_of(const struct place *p)
{
	return (struct history_position){
		.replid = replid_of(p->id),
		.offset = p->offset,
		.replid2 = replid_of(p->id2),
		.second_offset = p->id2 == NULL ? -1 : p->second,
	};
}

enum { REIGNS_MAX = 6 };

/* Epochs count from 1. */
static struct history history_from(const struct reign *reigns, struct history_entry *entries)
{
	size_t n = 0;

	for (; n < REIGNS_MAX && reigns[n].id != NULL; n++) {
		entries[n] = (struct history_entry){
			.epoch = n + 1,
			.replid = replid_of(reigns[n].id),
			.start = reigns[n].start,
			.source = { .b = { (uint8_t)reigns[n].source } },
		};
	}
	return (struct history){ .entries = entries, .n = n };
}

struct judge_case {
	const char *says;
	struct reign reigns[REIGNS_MAX];
	struct place at;
	enum history_verdict want;
	uint64_t epoch, family;
	const char *why; /* a part of it */
};

#define CANONICAL HISTORY_CANONICAL
#define EARLIER HISTORY_EARLIER
#define DIVERGED HISTORY_DIVERGED
#define UNKNOWN HISTORY_UNKNOWN

/* clang-format off */
static const struct judge_case judge_cases[] = {
	{ "a group without a history knows nothing",
	  {}, { "a", 100 }, UNKNOWN, 0, 0, "no history yet" },
	{ "a server before 4.0 names no history",
	  { { "a", 0 } }, { "", 100 }, UNKNOWN, 0, 0, "no replication id" },
	{ "a server whose offset was not told stands nowhere",
	  { { "a", 0 } }, { "a", -1 }, UNKNOWN, 0, 0, "no replication id and offset" },
	{ "the current reign is open at its end",
	  { { "a", 0 } }, { "a", 1000000 }, CANONICAL, 1, 1, "offset 1000000 of epoch 1" },
	{ "a follower of the current reign may be behind its start",
	  { { "a", 0 }, { "b", 101 } }, { "b", 60, "a", 61 }, CANONICAL, 2, 1 },
	{ "a reign ends one byte before the next one starts",
	  { { "a", 0 }, { "b", 101 } }, { "a", 100 }, CANONICAL, 1, 1 },
	{ "one byte more and it diverged",
	  { { "a", 0 }, { "b", 101 } }, { "a", 101 }, DIVERGED, 1, 1, "is 1 bytes past" },
	{ "an old source that wrote on after the switch diverged, however far ahead it is",
	  { { "a", 0 }, { "b", 101 }, { "c", 501 } }, { "a", 9000 }, DIVERGED, 1, 1, "8900 bytes past" },
	{ "a later source that had less ends the reigns before it earlier",
	  { { "a", 0 }, { "b", 101 }, { "c", 51 } }, { "a", 51 }, DIVERGED, 1, 1, "up to 50" },
	{ "and what it had is still canonical",
	  { { "a", 0 }, { "b", 101 }, { "c", 51 } }, { "a", 50 }, CANONICAL, 1, 1 },
	{ "a reign that starts above the last one's start is past what the group has",
	  { { "a", 0 }, { "b", 101 }, { "c", 51 } }, { "b", 120 }, DIVERGED, 2, 1 },
	{ "an id of nobody is another history, be its offset ever so large",
	  { { "a", 0 } }, { "x", 9000 }, DIVERGED, 0, 0, "the id of no epoch" },
	{ "a replica promoted by hand diverged, though its second id is the group's",
	  { { "a", 0 } }, { "x", 105, "a", 101 }, DIVERGED, 0, 0 },
	{ "also while it has written nothing of its own",
	  { { "a", 0 } }, { "x", 100, "a", 101 }, DIVERGED, 0, 0 },
	{ "a source restarted from its AOF begins a family: what was before does not compare",
	  { { "a", 0 }, { "b", 0 } }, { "a", 9000 }, EARLIER, 1, 1, "does not compare" },
	{ "and the new family is judged by itself",
	  { { "a", 0 }, { "b", 0 } }, { "b", 10 }, CANONICAL, 2, 2 },
	{ "a restart whose id is not known yet is a break already",
	  { { "a", 0 }, { "", 0 } }, { "a", 9000 }, EARLIER, 1, 1 },
	{ "the break ends no reign before it: its offsets say nothing there",
	  { { "a", 0 }, { "b", 101 }, { "c", 0 }, { "d", 51 } }, { "b", 9000 }, EARLIER, 2, 1 },
	{ "but a reign of an earlier family still ends where its own successor started",
	  { { "a", 0 }, { "b", 101 }, { "c", 0 } }, { "a", 101 }, DIVERGED, 1, 1 },
	{ "the family is named by the epoch that it began with",
	  { { "a", 0 }, { "b", 0 }, { "c", 31 }, { "d", 61 } }, { "d", 99 }, CANONICAL, 4, 2 },
	{ "a promoted server not heard yet: who changed ids just there follows it",
	  { { "a", 0 }, { "", 101 } }, { "x", 130, "a", 101 }, CANONICAL, 2, 1 },
	{ "who changed ids earlier lags behind it, or was promoted by hand",
	  { { "a", 0 }, { "", 101 } }, { "x", 130, "a", 61 }, UNKNOWN, 0, 0, "may be of epoch 2" },
	{ "who changed ids later wrote on in the reign that was over",
	  { { "a", 0 }, { "", 101 } }, { "x", 130, "a", 111 }, DIVERGED, 0, 0 },
	{ "who comes from another id than the one before does not follow it",
	  { { "a", 0 }, { "b", 51 }, { "", 101 } }, { "x", 130, "a", 101 }, DIVERGED, 0, 0 },
	{ "who copied everything anew has no second id: it may be the new source's copy",
	  { { "a", 0 }, { "", 101 } }, { "x", 130 }, UNKNOWN, 0, 0, "may be of epoch 2" },
	{ "with the id known such a copy is told apart",
	  { { "a", 0 }, { "b", 101 } }, { "x", 130 }, DIVERGED, 0, 0 },
	{ "a restarted source not heard yet: a copy of a new id may be of it",
	  { { "a", 0 }, { "", 0 } }, { "x", 130 }, UNKNOWN, 0, 0, "may be of epoch 2" },
	{ "but nobody continues into a stream that began anew",
	  { { "a", 0 }, { "", 0 } }, { "x", 130, "a", 101 }, DIVERGED, 0, 0 },
	{ "a source promoted and dead unheard, another after it at the same byte: either may be",
	  { { "a", 0 }, { "", 101 }, { "", 101 } }, { "x", 130, "a", 101 }, UNKNOWN, 0, 0, "any of 2" },
	{ "what both had is canonical all the same",
	  { { "a", 0 }, { "", 101 }, { "", 101 } }, { "x", 100, "a", 101 }, CANONICAL, 3, 1 },
	{ "who changed ids where a later unheard one started, and before an earlier one did: either may be",
	  { { "a", 0 }, { "", 101 }, { "", 91 } }, { "x", 130, "a", 91 }, UNKNOWN, 0, 0, "any of 2" },
	{ "the first of two unheard ones, followed past where the second starts",
	  { { "a", 0 }, { "", 101 }, { "", 121 } }, { "x", 130, "a", 101 }, DIVERGED, 2, 1 },
	{ "the second of two unheard ones, of one whose second id is the first one's",
	  { { "a", 0 }, { "", 101 }, { "", 121 } }, { "y", 130, "x", 121 }, UNKNOWN, 0, 0 },
	{ "a server started from an AOF has an id of its own and no position",
	  { { "a", 0 } }, { "x", 0 }, UNKNOWN, 0, 0, "without a position" },
	{ "a source promoted back: whoever follows it on is no stranger, wherever it changed ids",
	  { { "a", 0, 1 }, { "", 101, 1 } }, { "x", 130, "a", 61 }, CANONICAL, 2, 1 },
	{ "also where it is not known how far the source had come by then",
	  { { "a", 0, 1 }, { "", INT64_MAX, 1 } }, { "x", 130, "a", 101 }, CANONICAL, 2, 1 },
	{ "and then nobody in the reign before is past its end",
	  { { "a", 0, 1 }, { "", INT64_MAX, 1 } }, { "a", 9000 }, CANONICAL, 1, 1 },
	{ "another source's reign is not that of one promoted back",
	  { { "a", 0, 1 }, { "", 101, 2 } }, { "x", 130, "a", 61 }, UNKNOWN, 0, 0 },
	{ "a restarted source is none that was promoted back",
	  { { "a", 0, 1 }, { "", 0, 1 } }, { "x", 130, "a", 61 }, DIVERGED, 0, 0 },
	{ "one promoted by hand at the very start is not taken for that",
	  { { "a", 0 } }, { "x", 0, "a", 1 }, DIVERGED, 0, 0 },
};
/* clang-format on */

static void judges(void **)
{
	for (size_t i = 0; i < ARRAY_LEN(judge_cases); i++) {
		const struct judge_case *c = &judge_cases[i];
		struct history_entry entries[REIGNS_MAX];
		struct history h = history_from(c->reigns, entries);
		struct history_position p = position_of(&c->at);
		struct history_finding f = history_judge(&h, &p);

		printf("# %s: %s (%s)\n", c->says, history_verdict_name(f.verdict), f.why);
		assert_int_equal(f.verdict, c->want);
		assert_int_equal(f.epoch, c->epoch);
		assert_int_equal(f.family, c->family);
		assert_true(f.why[0] != '\0');
		if (c->why != NULL) {
			assert_non_null(strstr(f.why, c->why));
		}
	}
}

static void two_positions_compare_within_one_family_only(void **)
{
	static const struct reign reigns[REIGNS_MAX] = {
		{ "a", 0 }, { "b", 101 }, { "c", 0 }, { "d", 51 }
	};
	static const struct {
		const char *says;
		struct place a, b;
		enum history_order want;
	} cases[] = {
		{ "the larger offset is ahead", { "d", 70 }, { "d", 60 }, HISTORY_AHEAD },
		{ "the smaller one is behind", { "d", 60 }, { "d", 70 }, HISTORY_BEHIND },
		{ "across a promotion offsets go on", { "c", 50 }, { "d", 70 }, HISTORY_BEHIND },
		{ "equal offsets of two reigns are equal data", { "c", 50 }, { "d", 50 }, HISTORY_EQUAL },
		{ "across a break nothing compares", { "b", 9000 }, { "d", 70 }, HISTORY_INCOMPARABLE },
		{ "not even equal numbers", { "b", 70 }, { "d", 70 }, HISTORY_INCOMPARABLE },
		{ "two of the same earlier family do", { "a", 100 }, { "b", 400 }, HISTORY_BEHIND },
		{ "one that diverged does not", { "c", 51 }, { "d", 60 }, HISTORY_INCOMPARABLE },
		{ "nor with its like", { "c", 51 }, { "c", 51 }, HISTORY_INCOMPARABLE },
		{ "nor does a stranger", { "x", 51 }, { "d", 60 }, HISTORY_INCOMPARABLE },
		{ "nor two strangers of one id", { "x", 51 }, { "x", 60 }, HISTORY_INCOMPARABLE },
		{ "nor one that tells no id", { "", 51 }, { "", 60 }, HISTORY_INCOMPARABLE },
	};
	struct history_entry entries[REIGNS_MAX];
	struct history h = history_from(reigns, entries);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct history_position a = position_of(&cases[i].a), b = position_of(&cases[i].b);

		printf("# %s\n", cases[i].says);
		assert_int_equal(history_compare(&h, &a, &b), cases[i].want);
	}
}

static void ends_of_reigns(void **)
{
	static const struct reign reigns[REIGNS_MAX] = {
		{ "a", 0 }, { "b", 101 }, { "c", 51 }, { "", 0 }, { "e", 301 }
	};
	static const int64_t want[] = { 50, 50, INT64_MAX, 300, INT64_MAX };
	struct history_entry entries[REIGNS_MAX];
	struct history h = history_from(reigns, entries);

	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		printf("# epoch %zu\n", i + 1);
		assert_true(history_end(&h, i) == want[i]);
	}
}

static void a_pending_id_is_told_by_whoever_changed_to_it_at_its_start(void **)
{
	enum { NONE = 99 };
	static const struct {
		const char *says;
		struct reign reigns[REIGNS_MAX];
		struct place at;
		size_t want;
	} cases[] = {
		{ "its follower tells it", { { "a", 0 }, { "", 101 } }, { "x", 130, "a", 101 }, 1 },
		{ "an id that is in the list already is none",
		  { { "a", 0 }, { "b", 51 }, { "", 101 } }, { "b", 130, "a", 101 }, NONE },
		{ "a follower that lagged is no proof",
		  { { "a", 0 }, { "", 101 } }, { "x", 130, "a", 99 }, NONE },
		{ "a copy made anew is no proof", { { "a", 0 }, { "", 101 } }, { "x", 130 }, NONE },
		{ "a restart has no follower that continued",
		  { { "a", 0 }, { "", 0 } }, { "x", 130, "a", 0 }, NONE },
		{ "of two that fit it tells neither",
		  { { "a", 0 }, { "", 101 }, { "", 101 } }, { "x", 130, "a", 101 }, NONE },
		{ "nor where it may have lagged behind an earlier one",
		  { { "a", 0 }, { "", 101 }, { "", 91 } }, { "x", 130, "a", 91 }, NONE },
		{ "of two it tells the one that fits",
		  { { "a", 0 }, { "", 101 }, { "", 121 } }, { "x", 110, "a", 101 }, 1 },
		{ "a second id from before a break is no proof",
		  { { "a", 0 }, { "", 0 }, { "", 101 } }, { "x", 130, "a", 101 }, NONE },
		{ "one that names no id tells none", { { "a", 0 }, { "", 101 } }, { "", 130, "a", 101 }, NONE },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct history_entry entries[REIGNS_MAX];
		struct history h = history_from(cases[i].reigns, entries);
		struct history_position p = position_of(&cases[i].at);
		size_t got = NONE;

		printf("# %s\n", cases[i].says);
		assert_int_equal(history_find_pending(&h, &p, &got), cases[i].want != NONE);
		assert_int_equal(got, cases[i].want);
	}
}

/* Once its id is filled in, followers that lagged are known for what they are. */
static void filling_a_pending_id_settles_the_others(void **)
{
	static const struct reign reigns[REIGNS_MAX] = { { "a", 0 }, { "", 101 } };
	static const struct place exact = { "x", 130, "a", 101 }, lagged = { "x", 120, "a", 61 };
	struct history_entry entries[REIGNS_MAX];
	struct history h = history_from(reigns, entries);
	struct history_position e = position_of(&exact), l = position_of(&lagged);
	size_t at;

	assert_int_equal(history_judge(&h, &l).verdict, HISTORY_UNKNOWN);
	assert_true(history_find_pending(&h, &e, &at));
	entries[at].replid = e.replid;
	assert_int_equal(history_judge(&h, &l).verdict, HISTORY_CANONICAL);
	assert_int_equal(history_compare(&h, &l, &e), HISTORY_BEHIND);
}

/* The election knows more together than each position by itself. */
static void ids_are_filled_in_beyond_doubt_only(void **)
{
	static const struct {
		const char *says;
		struct reign reigns[REIGNS_MAX];
		struct place at[3];
		const char *want[REIGNS_MAX];
	} cases[] = {
		{ "one follower tells the id", { { "a", 0 }, { "", 101 } }, { { "x", 130, "a", 101 } }, { "a", "x" } },
		{ "so do two", { { "a", 0 }, { "", 101 } },
		  { { "x", 130, "a", 101 }, { "x", 110, "a", 101 } }, { "a", "x" } },
		{ "two of different ids tell none: one is a stranger", { { "a", 0 }, { "", 101 } },
		  { { "x", 130, "a", 101 }, { "y", 110, "a", 101 } }, { "a", "" } },
		{ "one reign after the other", { { "a", 0 }, { "", 101 }, { "", 201 } },
		  { { "y", 230, "x", 201 }, { "x", 200, "a", 101 } }, { "a", "x", "y" } },
		{ "nobody tells anything", { { "a", 0 }, { "", 101 } }, { { "a", 90 } }, { "a", "" } },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct history_entry entries[REIGNS_MAX];
		struct history h = history_from(cases[i].reigns, entries);
		struct history_position at[3];
		size_t n = 0;

		printf("# %s\n", cases[i].says);
		for (; n < 3 && cases[i].at[n].id != NULL; n++) {
			at[n] = position_of(&cases[i].at[n]);
		}
		history_fill(entries, h.n, at, n);
		for (size_t j = 0; j < h.n; j++) {
			struct replid want = replid_of(cases[i].want[j]);

			assert_string_equal(entries[j].replid.s, want.s);
		}
	}
}

static void a_new_reign_drops_the_oldest_when_there_are_too_many(void **)
{
	struct history_entry entries[MODEL_HISTORY_MAX + 1] = {};
	struct group g = { .history = entries, .source = { .b = { 3 } } };
	struct replid none = {};

	for (g.epoch = 1; g.epoch <= MODEL_HISTORY_MAX + 2; g.epoch++) {
		history_push(&g, &none, (int64_t)g.epoch);
	}
	assert_int_equal(g.nhistory, MODEL_HISTORY_MAX);
	assert_int_equal(entries[0].epoch, 3);
	assert_int_equal(entries[MODEL_HISTORY_MAX - 1].epoch, MODEL_HISTORY_MAX + 2);
	assert_true(id_eq(entries[0].source, g.source));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(judges),
		cmocka_unit_test(two_positions_compare_within_one_family_only),
		cmocka_unit_test(ends_of_reigns),
		cmocka_unit_test(a_pending_id_is_told_by_whoever_changed_to_it_at_its_start),
		cmocka_unit_test(filling_a_pending_id_settles_the_others),
		cmocka_unit_test(ids_are_filled_in_beyond_doubt_only),
		cmocka_unit_test(a_new_reign_drops_the_oldest_when_there_are_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
