/*
 * The guard's policy, a row a sentence.
 */
#include "core/guard.h"

#include "../test.h"

#define CURRENT "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define OTHER "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* A replica that answers; in a row: { "name", REPLICA, .keys = .. }. */
#define RUNS .proc = PROC_RUNNING, .role = SERVER_ROLE_REPLICA
#define IN_HISTORY RUNS, .replid = { CURRENT }
#define STRAYED RUNS, .replid = { OTHER }
#define POWERLESS STRAYED, .marker = MARKER_REBOOTED

struct guard_case {
	const char *says;
	struct observation source;
	size_t nreplicas;
	struct observation replicas[3];
	bool silent[3];
	bool accepted, waited_out, elsewhere;
	enum guard_verdict want;
	const char *reason; /* a part of it */
};

#define SOURCE(m, k) .source = { RUNS, .guarded = true, .marker = m, .keys = k }
#define REBOOTED_AT(off, k)                                                                  \
	.source = { RUNS, .guarded = true, .marker = MARKER_REBOOTED, .keys = k,             \
		    .recorded = { .replid = { CURRENT }, .offset = off, .keys = k } }

/* clang-format off */
static const struct guard_case cases[] = {
	{ "without replicas there is nothing to lose",
	  SOURCE(MARKER_NEW, 0), .want = GUARD_CONFIRM, .reason = "no replica" },
	{ "the operator's word goes before every doubt",
	  SOURCE(MARKER_NEW, 0), 1, { { IN_HISTORY, .keys = 9 } }, .accepted = true,
	  .want = GUARD_CONFIRM, .reason = "operator" },
	{ "a source that loads is not judged",
	  .source = { RUNS, .marker = MARKER_INTACT, .loading = true, .loading_pct = 42 },
	  1, { { IN_HISTORY, .keys = 9 } }, .want = GUARD_WAIT, .reason = "42 %" },
	{ "a source that loads is not judged after the limit either",
	  .source = { RUNS, .marker = MARKER_NEW, .loading = true },
	  1, { { IN_HISTORY } }, .waited_out = true, .want = GUARD_WAIT },
	{ "a replica promoted by hand refuses even a source with all its files",
	  SOURCE(MARKER_INTACT, 9), 1, { { .proc = PROC_RUNNING, .role = SERVER_ROLE_MASTER, .keys = 7 } },
	  .want = GUARD_REFUSE, .reason = "promoted by hand" },
	{ "the files of the last run hold all that was acknowledged",
	  SOURCE(MARKER_INTACT, 9), 1, { { IN_HISTORY, .keys = 9 } },
	  .want = GUARD_CONFIRM, .reason = "files are those" },
	{ "with the files of the last run no replica need be heard",
	  SOURCE(MARKER_INTACT, 9), 1, { { IN_HISTORY } }, { true },
	  .want = GUARD_CONFIRM },
	{ "unless it has no keys: then what the replicas hold must be known",
	  SOURCE(MARKER_INTACT, 0), 1, { { IN_HISTORY } }, { true },
	  .want = GUARD_WAIT },
	{ "nobody copies from an empty source, whatever its marker says",
	  SOURCE(MARKER_INTACT, 0), 1, { { IN_HISTORY, .keys = 1 } },
	  .want = GUARD_REFUSE, .reason = "0 keys" },
	{ "a group never written to goes on without its files",
	  SOURCE(MARKER_NEW, 0), 2, { { IN_HISTORY }, { IN_HISTORY } },
	  .want = GUARD_CONFIRM, .reason = "neither" },
	{ "never written to is known only when all are heard",
	  SOURCE(MARKER_NEW, 0), 2, { { IN_HISTORY }, { IN_HISTORY } }, { false, true },
	  .want = GUARD_WAIT },
	{ "a silent replica is waited for",
	  REBOOTED_AT(100, 9), 1, { { IN_HISTORY } }, { true },
	  .want = GUARD_WAIT, .reason = "'r0' has not been heard" },
	{ "a replica that stays silent is a doubt, and is named",
	  REBOOTED_AT(100, 9), 2, { { IN_HISTORY, .offset = 90, .keys = 9 }, { IN_HISTORY } },
	  { false, true }, .waited_out = true, .want = GUARD_REFUSE, .reason = "'r1' has not been heard" },
	{ "a replica that loads is not known yet",
	  SOURCE(MARKER_MISSING, 9), 1, { { IN_HISTORY, .loading = true } },
	  .want = GUARD_WAIT, .reason = "loads" },
	{ "a replica whose server is gone is not known",
	  SOURCE(MARKER_MISSING, 9), 1, { { .proc = PROC_EXITED } }, .waited_out = true,
	  .want = GUARD_REFUSE, .reason = "does not run" },
	{ "rebooted: a replica beyond the recorded position may hold what the source lost",
	  REBOOTED_AT(100, 9), 1, { { IN_HISTORY, .offset = 101, .keys = 9 } },
	  .want = GUARD_REFUSE, .reason = "offset 101" },
	{ "rebooted: at the recorded position with the same keys nothing is missing",
	  REBOOTED_AT(100, 9), 1, { { IN_HISTORY, .offset = 100, .keys = 9 } },
	  .want = GUARD_CONFIRM },
	{ "rebooted: at the recorded position with fewer keys on the replica a delete was lost",
	  REBOOTED_AT(100, 9), 1, { { IN_HISTORY, .offset = 100, .keys = 8 } },
	  .want = GUARD_REFUSE, .reason = "9 keys" },
	{ "rebooted: behind the recorded position with no more keys nothing is missing",
	  REBOOTED_AT(100, 9), 1, { { IN_HISTORY, .offset = 60, .keys = 8 } },
	  .want = GUARD_CONFIRM },
	{ "rebooted: behind the recorded position, yet with more keys",
	  REBOOTED_AT(100, 9), 1, { { IN_HISTORY, .offset = 60, .keys = 10 } },
	  .want = GUARD_REFUSE },
	{ "rebooted: without a record nothing says how far the source was",
	  SOURCE(MARKER_REBOOTED, 9), 1, { { IN_HISTORY, .offset = 60, .keys = 9 } },
	  .want = GUARD_REFUSE, .reason = "does not compare" },
	{ "all lost power, none has a position left: keys decide, enough",
	  REBOOTED_AT(100, 9), 2, { { POWERLESS, .keys = 9 }, { POWERLESS, .keys = 3 } },
	  .want = GUARD_CONFIRM },
	{ "a replica that was only restarted has all it ever had: keys do not tell what is in them",
	  REBOOTED_AT(100, 9), 1, { { STRAYED, .marker = MARKER_INTACT, .keys = 9 } },
	  .want = GUARD_REFUSE, .reason = "does not compare" },
	{ "a replica on another host lost power at another time",
	  REBOOTED_AT(100, 9), 1, { { POWERLESS, .keys = 9 } }, .elsewhere = true,
	  .want = GUARD_REFUSE, .reason = "does not compare" },
	{ "nor when it lost power earlier and was linked since",
	  REBOOTED_AT(100, 9), 1, { { STRAYED, .marker = MARKER_REBOOTED, .offset = 50, .keys = 9 } },
	  .want = GUARD_REFUSE, .reason = "does not compare" },
	{ "all lost power, none has a position left: keys decide, too few",
	  REBOOTED_AT(100, 9), 2, { { POWERLESS, .keys = 9 }, { POWERLESS, .keys = 10 } },
	  .want = GUARD_REFUSE, .reason = "'r1' holds 10" },
	{ "the worst of several replicas decides",
	  REBOOTED_AT(100, 9), 3,
	  { { IN_HISTORY, .offset = 90, .keys = 9 }, { POWERLESS, .keys = 2 }, { IN_HISTORY, .offset = 200, .keys = 9 } },
	  .want = GUARD_REFUSE, .reason = "'r2'" },
	{ "other files, and a replica holds keys",
	  SOURCE(MARKER_DIFFERENT, 100), 1, { { IN_HISTORY, .keys = 1 } },
	  .want = GUARD_REFUSE, .reason = "other files" },
	{ "no marker, and a replica holds keys",
	  SOURCE(MARKER_MISSING, 100), 1, { { IN_HISTORY, .keys = 1 } }, .want = GUARD_REFUSE },
	{ "no files at all, and a replica holds keys",
	  SOURCE(MARKER_NEW, 0), 1, { { IN_HISTORY, .keys = 1 } },
	  .want = GUARD_REFUSE, .reason = "without any files" },
	{ "the agent does not know, and a replica holds keys",
	  SOURCE(MARKER_UNKNOWN, 100), 1, { { IN_HISTORY, .keys = 1 } }, .want = GUARD_REFUSE },
	{ "other files, but no replica holds a key",
	  SOURCE(MARKER_DIFFERENT, 100), 1, { { IN_HISTORY } }, .want = GUARD_CONFIRM },
};
/* clang-format on */

static struct guard_out run_case(const struct guard_case *c)
{
	static const char *const names[] = { "r0", "r1", "r2" };
	struct guard_replica replicas[3] = {};

	for (size_t i = 0; i < c->nreplicas; i++) {
		replicas[i].name = names[i];
		replicas[i].beside_source = !c->elsewhere;
		replicas[i].obs = c->silent[i] ? NULL : &c->replicas[i];
	}
	return guard_decide(&(struct guard_in){
		.source = &c->source,
		.replicas = replicas,
		.nreplicas = c->nreplicas,
		.accepted = c->accepted,
		.waited_out = c->waited_out,
	});
}

static void guard_policy(void **)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct guard_out got = run_case(&cases[i]);

		if (got.verdict != cases[i].want) {
			fail_msg("%s: verdict %d, want %d (%s)", cases[i].says, got.verdict,
				 cases[i].want, got.reason);
		}
		if (cases[i].reason != NULL && strstr(got.reason, cases[i].reason) == NULL) {
			fail_msg("%s: reason '%s' lacks '%s'", cases[i].says, got.reason,
				 cases[i].reason);
		}
		assert_true(got.reason[0] != '\0');
	}
}

/* The invariant behind the table: whatever is known, an empty source never beats held keys. */
static void nobody_copies_from_an_empty_source(void **)
{
	for (int marker = 0; marker < MARKER_VERDICT_COUNT; marker++) {
		for (int64_t offset = 0; offset <= 200; offset += 50) {
			for (int waited = 0; waited < 2; waited++) {
				struct guard_case c = {
					.source = { RUNS, .marker = (enum marker_verdict)marker,
						    .recorded = { { CURRENT }, 100, 5 } },
					.nreplicas = 2,
					.replicas = { { IN_HISTORY, .offset = offset, .keys = 5 },
						      { STRAYED, .keys = 0 } },
					.waited_out = waited,
				};

				assert_int_equal(run_case(&c).verdict, GUARD_REFUSE);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guard_policy),
		cmocka_unit_test(nobody_copies_from_an_empty_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
