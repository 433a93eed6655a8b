/*
 * Requests against a record: a row a sentence of what is refused, with which status and what the
 * message must name, and what is allowed; then what each request leaves in the record.
 */
#include "../test.h"
#include "core/operate.h"

/* A row says what differs from MASTER or RESTARTED, behind it. */
#pragma GCC diagnostic ignored "-Woverride-init"

#define RUN_1 "1111111111111111111111111111111111111111"
#define RUN_2 "2222222222222222222222222222222222222222"
#define HIST_1 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

enum { S = 0, A = 1, B = 2, SEATS = 3 };

struct world {
	struct group g;
	struct member members[SEATS];
	struct history_entry history[MODEL_HISTORY_MAX + 1];
	struct observation obs[SEATS];
	const struct observation *seen[SEATS];
	bool silent[SEATS];
	struct member_live member_live[SEATS];
	struct group_live live;
	struct operate_in in;
	struct operate_pair pair;
	struct group_event ev;
	struct err e;
	bool again;
};

static struct id seat_id(size_t i)
{
	return (struct id){ .b = { 1, (uint8_t)(i + 1) } };
}

/* A source at offset 1000 that was last seen 4 s ago, and two attached replicas at 990 and 980. */
static void make_world(struct world *w)
{
	static const char *const names[] = { "db", "a", "b" };
	static const char *const addresses[] = { "127.0.77.1", "127.0.77.2", "127.0.77.3" };

	*w = (struct world){};
	for (size_t i = 0; i < SEATS; i++) {
		w->members[i] = (struct member){ .id = seat_id(i), .name = names[i], .host = names[i],
						 .address = addresses[i], .port = 6379,
						 .datastore = "redis", .version = "7.0.15",
						 .state = MEMBER_ACTIVE, .attached_once = true };
		w->obs[i] = (struct observation){
			.proc = PROC_RUNNING, .role = SERVER_ROLE_REPLICA, .replid = { HIST_1 },
			.second_offset = -1, .run_id = { RUN_2 }, .link_up = true, .last_io_s = 9, .durable = true,
			.upstream_host = "127.0.77.1", .upstream_port = 6379,
			.offset = 1000 - 10 * (int64_t)i, .slave_offset = 1000 - 10 * (int64_t)i,
		};
		w->seen[i] = &w->obs[i];
	}
	w->obs[S].role = SERVER_ROLE_MASTER;
	w->obs[S].run_id = (struct replid){ RUN_1 };
	w->g = (struct group){ .id = { .b = { 7 } }, .project = "p", .name = "db", .revision = 5,
			       .epoch = 4, .source = seat_id(S), .source_run = { RUN_1 },
			       .members = w->members, .nmembers = SEATS, .history = w->history,
			       .secrets = { .agent = { "agent's" }, .replication = { "repl's" } } };
	history_push(&w->g, &w->obs[S].replid, 0);
	w->live = (struct group_live){ .members = w->member_live, .source_at_ms = 1000,
				       .source_at = history_position_of(&w->obs[S]) };
	w->in = (struct operate_in){ .obs = w->seen, .silent = w->silent, .live = &w->live,
				     .op = { .b = { 9 } }, .now_ms = 5000, .wall_ms = 77 };
}

/* eject: evidence */

struct evidence_case {
	const char *says;
	struct observation source;
	bool silent, unheard;
	enum probe_answer probe;
	int32_t last_io_s; /* of replica a's link to the source; 0: 9 */
	bool b_silent;
	uint32_t k, proven;
	bool accept;
	enum err_code want; /* ERR_NONE: allowed */
	const char *names;  /* the message */
};

#define MASTER .proc = PROC_RUNNING, .role = SERVER_ROLE_MASTER, .offset = 1000, .run_id = { RUN_1 }
#define RESTARTED .proc = PROC_RUNNING, .role = SERVER_ROLE_REPLICA, .run_id = { RUN_2 }
#define NOBODY_HEARS { MASTER }, .silent = true, .probe = PROBE_SILENT

/* clang-format off */
static const struct evidence_case evidence_cases[] = {
	{ "a source that serves", { MASTER }, .want = ERR_INVALID, .names = "offset 1000" },
	{ "whatever the operator accepts", { MASTER }, .accept = true, .want = ERR_INVALID, .names = "heartbeat" },
	{ "one that is demoted for a moment", { MASTER, .role = SERVER_ROLE_REPLICA },
	  .want = ERR_INVALID, .names = "undone by itself" },
	{ "one that is confirmed after a restart and about to serve", { MASTER, .role = SERVER_ROLE_REPLICA, .guarded = true },
	  .want = ERR_INVALID },
	{ "its process is gone", { .proc = PROC_EXITED } },
	{ "it does not start", { .proc = PROC_FAILED } },
	{ "it is being started", { .proc = PROC_STARTING } },
	{ "it hangs: its agent kills it first", { MASTER, .proc = PROC_HUNG } },
	{ "restarted and guarded", { RESTARTED, .guarded = true } },
	{ "restarted and loading", { RESTARTED, .loading = true } },
	{ "restarted, and a master all the same", { RESTARTED, .role = SERVER_ROLE_MASTER }, .want = ERR_INVALID },
	{ "its agent has not reported to this control plane yet", { MASTER }, .unheard = true, .probe = PROBE_SILENT,
	  .accept = true, .want = ERR_UNPROCESSABLE, .names = "in a moment" },
	{ "its agent is silent and nobody knocked", { MASTER }, .silent = true, .accept = true,
	  .want = ERR_UNPROCESSABLE },
	{ "its agent is silent, the server answers", { MASTER }, .silent = true, .probe = PROBE_ANSWERS, .accept = true,
	  .want = ERR_INVALID, .names = "answers at 127.0.77.1 port 6379" },
	{ "its agent's last word was that it is gone, and something answers there", { .proc = PROC_EXITED },
	  .silent = true, .probe = PROBE_ANSWERS, .accept = true, .want = ERR_INVALID },
	{ "its agent's last word was that it is gone", { .proc = PROC_EXITED }, .silent = true, .probe = PROBE_SILENT },
	{ "its agent's last word was that it hangs", { MASTER, .proc = PROC_HUNG }, .silent = true, .probe = PROBE_SILENT,
	  .want = ERR_UNPROCESSABLE },
	{ "nobody hears it, a replica's stream moves", NOBODY_HEARS, .last_io_s = 1, .accept = true,
	  .want = ERR_INVALID, .names = "'a' is linked to it and heard it 1 s ago" },
	{ "nobody hears it, async", NOBODY_HEARS, .want = ERR_UNPROCESSABLE,
	  .names = "'a' would be promoted at offset 990, the source was last seen at 1000, 4 s ago" },
	{ "and it may take writes", NOBODY_HEARS, .want = ERR_UNPROCESSABLE, .names = "until its agent is back" },
	{ "nobody hears it, async, by the operator's word", NOBODY_HEARS, .accept = true },
	{ "nobody hears it, bounded(1), both replicas are there", NOBODY_HEARS, .k = 1, .proven = 1 },
	{ "nobody hears it, bounded(1), one replica is not heard", NOBODY_HEARS, .k = 1, .proven = 1, .b_silent = true,
	  .want = ERR_UNPROCESSABLE, .names = "1 of 2 replicas reached, k = 1" },
	{ "nobody hears it, bounded(2), one replica is enough", NOBODY_HEARS, .k = 2, .proven = 2, .b_silent = true },
	{ "but not while that is not proven", NOBODY_HEARS, .k = 2, .proven = 1, .b_silent = true,
	  .want = ERR_UNPROCESSABLE },
};
/* clang-format on */

static bool eject(struct world *w, enum probe_answer probe, bool accept)
{
	return operate_eject(&w->g, &w->in, w->g.source, probe, accept, &w->again, &w->ev, &w->e);
}

static void an_eject_needs_evidence(void **)
{
	for (size_t i = 0; i < ARRAY_LEN(evidence_cases); i++) {
		const struct evidence_case *c = &evidence_cases[i];
		struct world w;

		make_world(&w);
		w.obs[S] = c->source;
		w.seen[S] = c->unheard ? NULL : &w.obs[S];
		w.silent[S] = c->silent;
		w.silent[B] = c->b_silent;
		w.obs[A].last_io_s = c->last_io_s > 0 ? c->last_io_s : 9;
		w.g.durability = c->k;
		w.g.durability_proven = c->proven;
		struct group before = w.g;
		bool allowed = eject(&w, c->probe, c->accept);

		printf("# %s: %s\n", c->says, allowed ? w.ev.reason : w.e.msg);
		assert_int_equal(operate_needs_probe(&w.g, &w.in), c->silent || c->unheard);
		assert_int_equal(allowed ? ERR_NONE : w.e.code, c->want);
		if (!allowed) {
			assert_memory_equal(&before, &w.g, sizeof before);
			assert_true(c->names == NULL || strstr(w.e.msg, c->names) != NULL);
			continue;
		}
		assert_int_equal(w.g.op.phase, PHASE_EJECT_DRAIN);
		assert_int_equal(w.g.op.accept_data_loss, c->accept);
		assert_true(id_eq(w.g.op.target, seat_id(S)));
		assert_int_equal(w.ev.kind, EVENT_EJECT_STARTED);
	}
}

/* The texts that Trove's clients know, with what is ours behind them. */
static void refusals_begin_with_troves_words(void **)
{
	struct world w;
	char want[200];

	make_world(&w);
	assert_false(eject(&w, PROBE_NOT_MADE, false));
	snprintf(want, sizeof want, "Replica Source %s cannot be ejected as it has a current heartbeat",
		 id_text(seat_id(S)).s);
	assert_ptr_equal(strstr(w.e.msg, want), w.e.msg);
	assert_false(operate_eject(&w.g, &w.in, seat_id(A), PROBE_NOT_MADE, false, &w.again, &w.ev,
				   &w.e));
	snprintf(want, sizeof want, "Instance %s is not a replica source.", id_text(seat_id(A)).s);
	assert_string_equal(w.e.msg, want);
	assert_int_equal(w.e.code, ERR_INVALID);
	w.g.nmembers = 1;
	w.obs[S].proc = PROC_EXITED;
	assert_false(eject(&w, PROBE_NOT_MADE, false));
	assert_int_equal(w.e.code, ERR_INVALID);
	assert_false(operate_detach(&w.g, &w.in, seat_id(S), (struct id){}, "x", &w.pair, &w.ev, &w.e));
	snprintf(want, sizeof want, "Instance %s is not a replica.", id_text(seat_id(S)).s);
	assert_string_equal(w.e.msg, want);
	assert_int_equal(w.e.code, ERR_INVALID);
}

/* eject: beside what runs already */

static void what_an_eject_replaces_and_what_it_waits_for(void **)
{
	static const struct {
		enum op_kind kind;
		enum op_phase phase;
		bool replaces;
		uint64_t epoch; /* afterwards */
		bool ended, done; /* what the record says of the one replaced */
	} rows[] = {
		{ OP_NONE, PHASE_NONE, true, 4, false, false },
		{ OP_RESTART, PHASE_RESTART_COMPARE, true, 4, false, false },
		{ OP_RESTART, PHASE_RESTART_HELD, true, 4, false, false },
		{ OP_RESTART, PHASE_RESTART_CONFIRM, true, 4, false, false },
		{ OP_HANDOVER, PHASE_HANDOVER_CHECK, true, 5, true, false },
		{ OP_HANDOVER, PHASE_HANDOVER_STAGE, true, 5, true, false },
		{ OP_HANDOVER, PHASE_HANDOVER_FENCE, true, 5, true, false },
		{ OP_HANDOVER, PHASE_HANDOVER_UNDO, true, 5, true, false },
		{ OP_HANDOVER, PHASE_HANDOVER_PROMOTE, false, 4, false, false },
		{ OP_HANDOVER, PHASE_HANDOVER_TIDY, true, 5, true, true },
		{ OP_HANDOVER, PHASE_HANDOVER_DROP, true, 5, true, true },
		{ OP_EJECT, PHASE_EJECT_PROMOTE, false, 4, false, false },
		{ OP_EJECT, PHASE_EJECT_TIDY, true, 4, true, true },
		{ OP_DETACH, PHASE_DETACH_PROMOTE, false, 4, false, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct world w;

		printf("# %s\n", op_phase_name(rows[i].phase));
		make_world(&w);
		w.obs[S].proc = PROC_EXITED;
		w.g.op = (struct operation){ .id = { .b = { 3 } }, .kind = rows[i].kind,
					     .phase = rows[i].phase, .target = seat_id(A) };
		assert_int_equal(eject(&w, PROBE_NOT_MADE, false), rows[i].replaces);
		assert_int_equal(w.g.epoch, rows[i].epoch);
		assert_int_equal(!id_is_zero(w.g.last.op), rows[i].ended);
		assert_int_equal(w.g.last.done, rows[i].done);
		if (!rows[i].replaces) {
			assert_int_equal(w.e.code, ERR_UNPROCESSABLE);
			assert_non_null(strstr(w.e.msg, "in a moment"));
			assert_non_null(strstr(w.e.msg, op_kind_name(rows[i].kind)));
		}
	}
}

static void a_second_eject_is_the_same(void **)
{
	struct world w;

	make_world(&w);
	w.obs[S].proc = PROC_EXITED;
	assert_true(eject(&w, PROBE_NOT_MADE, false));
	assert_false(w.again);
	struct group before = w.g;

	w.in.op = (struct id){ .b = { 10 } };
	assert_true(eject(&w, PROBE_NOT_MADE, false));
	assert_true(w.again);
	assert_memory_equal(&before, &w.g, sizeof before);
	assert_true(eject(&w, PROBE_NOT_MADE, true));
	assert_false(w.again);
	assert_int_equal(w.ev.kind, EVENT_SOURCE_ACCEPTED);
	assert_true(w.g.op.accept_data_loss);
	assert_true(id_eq(before.op.id, w.g.op.id));
	assert_true(eject(&w, PROBE_NOT_MADE, false)); /* a word is not taken back */
	assert_true(w.again && w.g.op.accept_data_loss);
}

static void a_store_older_than_its_hosts_is_not_acted_on(void **)
{
	struct world w;

	make_world(&w);
	w.obs[S].proc = PROC_EXITED;
	w.members[B].state = MEMBER_ERROR;
	w.members[B].fault.kind = FAULT_STORE;
	assert_false(eject(&w, PROBE_NOT_MADE, true));
	assert_int_equal(w.e.code, ERR_UNPROCESSABLE);
}

/* What it was told may have been carried out, seen or not: a new name, at the latest there. */
static void taken_back_the_source_may_have_a_new_name(void **)
{
	static const struct {
		const char *says;
		struct observation source;
		bool silent;
		const char *newest; /* id of the newest reign before */
		size_t nhistory;
		int64_t start;
	} rows[] = {
		{ "seen guarded: it stands still there", { MASTER, .role = SERVER_ROLE_REPLICA, .replid = { HIST_1 } },
		  false, HIST_1, 2, 1001 },
		{ "seen as a master: it may write on", { MASTER, .replid = { HIST_1 } }, false, HIST_1, 2, INT64_MAX },
		{ "not seen", { MASTER, .replid = { HIST_1 } }, true, HIST_1, 2, INT64_MAX },
		{ "it had no name for its reign yet", { MASTER, .replid = { HIST_1 } }, true, "", 1, 0 },
		{ "dead", { .proc = PROC_EXITED }, false, HIST_1, 2, INT64_MAX },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct world w;

		printf("# %s\n", rows[i].says);
		make_world(&w);
		w.obs[S] = rows[i].source;
		w.silent[S] = rows[i].silent;
		snprintf(w.history[0].replid.s, sizeof w.history[0].replid.s, "%s", rows[i].newest);
		w.members[S].state = MEMBER_ERROR;
		w.members[S].fault.kind = FAULT_ELECT;
		operate_undo_eject(&w.g, &w.in);
		assert_int_equal(w.g.epoch, 5);
		assert_int_equal(w.g.nhistory, rows[i].nhistory);
		assert_true(w.history[w.g.nhistory - 1].start == rows[i].start);
		assert_int_equal(w.members[S].state, MEMBER_ACTIVE);
		assert_int_equal(w.members[S].fault.kind, FAULT_NONE);
	}
}

/* An election that nobody asked for */

/* The new source of a handover died before it served: what the handover had secured is not lost. */
static void an_election_that_nobody_asked_for_loses_nothing(void **)
{
	static const struct replid unknown = {};
	struct world w;
	struct election e;

	make_world(&w);
	w.silent[S] = true;
	w.g.epoch = 5;
	history_push(&w.g, &unknown, 1001);
	w.g.op = (struct operation){ .kind = OP_EJECT, .phase = PHASE_EJECT_SEAL,
				     .target = seat_id(S), .from = seat_id(A) };
	w.obs[A].slave_offset = w.obs[A].offset = 1000;
	election_hold(&w.g, &w.in, ELECTION_DRY_RUN, false, &e);
	assert_int_equal(e.out.verdict, ELECT_WINNER);

	w.obs[A].slave_offset = w.obs[A].offset = 999;
	election_hold(&w.g, &w.in, ELECTION_DRY_RUN, false, &e);
	assert_int_equal(e.out.verdict, ELECT_WOULD_LOSE);
	assert_int_equal(e.out.loss_bytes, 1);
	election_hold(&w.g, &w.in, ELECTION_DRY_RUN, true, &e);
	assert_int_equal(e.out.verdict, ELECT_WINNER);

	w.g.op.from = (struct id){}; /* an eject that was asked for, of an async group */
	election_hold(&w.g, &w.in, ELECTION_DRY_RUN, false, &e);
	assert_int_equal(e.out.verdict, ELECT_WINNER);
}

/* durability */

static void durability_is_never_trusted_too_early(void **)
{
	static const struct {
		const char *says;
		uint32_t k, proven, ask, want_proven;
	} rows[] = {
		{ "async promised nothing, but the source does not keep to it yet", 0, 0, 1, 0 },
		{ "a raise leaves writes behind that are on one replica", 1, 1, 2, 1 },
		{ "asked for again it is the same", 2, 1, 2, 1 },
		{ "less is known at once", 2, 2, 1, 1 },
		{ "also when a raise was not proven yet", 2, 1, 1, 1 },
		{ "to async", 2, 2, 0, 0 },
	};
	struct world w;
	char text[OPERATE_PROMISE_BYTES];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		make_world(&w);
		w.g.durability = rows[i].k;
		w.g.durability_proven = rows[i].proven;
		assert_true(operate_durability(&w.g, &w.in, rows[i].ask, &w.ev, text, sizeof text,
					       &w.e));
		assert_int_equal(w.g.durability, rows[i].ask);
		assert_int_equal(w.g.durability_proven, rows[i].want_proven);
		assert_non_null(strstr(text, rows[i].ask > 0 ? "WAIT" : "handover"));
		assert_int_equal(strstr(text, "seen to hold what was acknowledged before") != NULL,
				 rows[i].want_proven < rows[i].ask);
	}
	make_world(&w);
	w.members[B].attached_once = false;
	assert_false(operate_durability(&w.g, &w.in, 2, &w.ev, text, sizeof text, &w.e));
	assert_int_equal(w.e.code, ERR_INVALID);
	assert_int_equal(w.g.durability, 0);
}

#define FENCE(who) "The source takes writes only while " who
#define WAIT_FOR(k)                                                                               \
	"; cut off, it stops within 3 s. No write waits for that: certain to outlive the source " \
	"is what the client's own WAIT " k " has confirmed. "
#define NO_SPARE                                                                                \
	" There is no replica to spare: when one is lost the writes stop, and when the source " \
	"is ejected a replica takes its place and takes no writes, until a replica is added or " \
	"the durability is lowered."

/* The whole sentences, because that is what a person reads. replicas: that hold the data. */
static void a_promise_says_what_it_is_worth(void **)
{
	static const struct {
		size_t replicas;
		uint32_t k, proven;
		const char *want;
	} rows[] = {
		{ 2, 0, 0,
		  "The source takes writes whatever its replicas do. Should it be lost, so is what it "
		  "had acknowledged and not yet sent; a handover loses nothing." },
		{ 1, 1, 1,
		  FENCE("its replica answers") WAIT_FOR("1")
		  "An eject finds every such write on the replica." NO_SPARE },
		{ 2, 2, 2,
		  FENCE("all 2 of its replicas answer") WAIT_FOR("2")
		  "An eject finds every such write on any one replica that it reaches." NO_SPARE },
		{ 2, 1, 1,
		  FENCE("1 of its 2 replicas answers") WAIT_FOR("1")
		  "An eject finds every such write when it reaches all 2 replicas; with fewer it "
		  "needs the operator's word." },
		{ 3, 2, 2,
		  FENCE("2 of its 3 replicas answer") WAIT_FOR("2")
		  "An eject finds every such write when it reaches 2 of the 3 replicas; with fewer it "
		  "needs the operator's word." },
		{ 3, 2, 0,
		  FENCE("2 of its 3 replicas answer") WAIT_FOR("2")
		  "An eject needs the operator's word, until every replica is seen to hold what was "
		  "acknowledged before." },
		{ 1, 2, 1,
		  "The source takes no writes: 2 replicas must answer it, and 1 holds its data. Add a "
		  "replica or lower the durability." },
		{ 0, 1, 1,
		  "The source takes no writes: 1 replica must answer it, and 0 hold its data. Add a "
		  "replica or lower the durability." },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct member members[4] = {};
		char text[OPERATE_PROMISE_BYTES];
		struct group g = { .members = members, .nmembers = ARRAY_LEN(members),
				   .durability = rows[i].k, .durability_proven = rows[i].proven,
				   .source = seat_id(0) };

		for (size_t m = 0; m < ARRAY_LEN(members); m++) {
			members[m].id = seat_id(m);
			members[m].attached_once = m <= rows[i].replicas;
		}
		assert_string_equal(operate_promise(&g, text, sizeof text), rows[i].want);
	}
}

/* detach */

static bool detach(struct world *w, size_t who)
{
	return operate_detach(&w->g, &w->in, seat_id(who), (struct id){ .b = { 8 } }, "a-2", &w->pair,
			      &w->ev, &w->e);
}

static void a_detached_replica_has_a_group_of_its_own(void **)
{
	struct world w;

	make_world(&w);
	w.g.durability = w.g.durability_proven = 1;
	w.members[A].demoted = true;
	assert_true(detach(&w, A));
	const struct group *from = &w.pair.from, *to = &w.pair.to;

	assert_int_equal(w.g.nmembers, SEATS); /* the record itself is as it was */
	assert_int_equal(from->nmembers, 2);
	assert_true(id_eq(from->members[1].id, seat_id(B)));
	assert_int_equal(from->epoch, 4);
	/* It may have been the one replica that held a write. */
	assert_int_equal(from->durability_proven, 0);
	assert_int_equal(to->nmembers, 1);
	assert_true(id_eq(to->source, seat_id(A)) && id_eq(to->members[0].id, seat_id(A)));
	assert_string_equal(to->source_run.s, RUN_2);
	assert_string_equal(to->name, "a-2");
	assert_string_equal(to->project, "p");
	assert_string_equal(to->secrets.agent.open, "agent's");
	assert_string_equal(to->secrets.replication.open, "repl's");
	assert_int_equal(to->epoch, 5);
	assert_int_equal(to->revision, 0);
	assert_int_equal(to->durability, 0);
	assert_int_equal(to->op.phase, PHASE_DETACH_PROMOTE);
	assert_int_equal(to->members[0].state, MEMBER_ACTIVE);
	assert_false(to->members[0].demoted);
	assert_int_equal(to->nhistory, 1);
	assert_int_equal(to->history[0].epoch, 5);
	assert_false(replid_known(&to->history[0].replid));
	assert_int_equal(w.ev.kind, EVENT_REPLICA_DETACHED);
}

static void who_cannot_be_detached(void **)
{
	static const struct {
		const char *says;
		bool unattached, unheard, silent;
		struct observation o;
		uint32_t k;
		enum op_kind op;
		const char *names;
	} rows[] = {
		{ "never attached", .unattached = true, .names = "never seen to hold" },
		{ "not heard", .unheard = true, .names = "not heard" },
		{ "silent", .silent = true, .names = "not heard" },
		{ "down", .o = { .proc = PROC_EXITED }, .names = "not heard" },
		{ "loading", .o = { RESTARTED, .loading = true }, .names = "not heard" },
		{ "copying", .o = { RESTARTED, .sync_in_progress = true }, .names = "a copy" },
		{ "promoted by hand", .o = { MASTER }, .names = "does not run as a replica" },
		{ "durability needs it", .k = 2, .names = "bounded(2)" },
		{ "something runs", .op = OP_HANDOVER, .names = "handover" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct world w;

		make_world(&w);
		w.members[A].attached_once = !rows[i].unattached;
		w.seen[A] = rows[i].unheard ? NULL : &w.obs[A];
		w.silent[A] = rows[i].silent;
		if (rows[i].o.proc != PROC_NONE) {
			w.obs[A] = rows[i].o;
		}
		w.g.durability = rows[i].k;
		w.g.op.kind = rows[i].op;
		assert_false(detach(&w, A));
		printf("# %s: %s\n", rows[i].says, w.e.msg);
		assert_int_equal(w.e.code, ERR_UNPROCESSABLE);
		assert_non_null(strstr(w.e.msg, rows[i].names));
	}
}

/* attach */

/* The ejected one, alone; `in` is about its group. */
static void make_ejected(struct world *w, struct member *m, struct group *from)
{
	make_world(w);
	*m = w->members[B];
	m->id = (struct id){ .b = { 4 } };
	m->state = MEMBER_FENCED;
	m->fault.kind = FAULT_EJECTED;
	*from = (struct group){ .id = { .b = { 6 } }, .project = "p", .name = "db-2", .epoch = 9,
				.source = m->id, .members = m, .nmembers = 1, .history = w->history,
				.nhistory = 1 };
	w->obs[S].run_id = (struct replid){ RUN_2 };
	w->obs[S].role = SERVER_ROLE_REPLICA;
	w->obs[S].guarded = true;
	w->g.nmembers = 2;
}

static void an_ejected_source_joins_as_one_that_holds_nothing(void **)
{
	struct world w;
	struct member m;
	struct group from;

	make_ejected(&w, &m, &from);
	assert_true(operate_attach(&from, &w.g, &w.in, m.id, &w.pair, &w.ev, &w.e));
	const struct group *to = &w.pair.to;
	const struct member *joined = &to->members[2];

	assert_int_equal(w.pair.from.nmembers, 0);
	assert_int_equal(to->nmembers, 3);
	assert_int_equal(to->epoch, 10); /* above what its agent has seen */
	assert_true(id_eq(to->source, seat_id(S)));
	assert_true(id_eq(joined->id, m.id));
	assert_int_equal(joined->state, MEMBER_STARTING);
	assert_false(joined->attached_once);
	assert_string_equal(joined->accepted_run.s, RUN_2);
	assert_int_equal(joined->fault.kind, FAULT_NONE);
	assert_true(joined->demoted); /* a later run that waits guarded holds no more than this one */
	assert_int_equal(w.g.nmembers, 2);
	from.epoch = 2;
	assert_true(operate_attach(&from, &w.g, &w.in, m.id, &w.pair, &w.ev, &w.e));
	assert_int_equal(w.pair.to.epoch, 4);
}

static void who_cannot_be_attached(void **)
{
	enum what { NOT_EJECTED, OTHER_PROJECT, OTHER_DATASTORE, TOO_OLD, ITSELF, UNHEARD, BUSY, GOING };
	static const struct {
		enum what what;
		enum err_code want;
		const char *names;
	} rows[] = {
		{ NOT_EJECTED, ERR_UNPROCESSABLE, "not ejected" },
		{ OTHER_PROJECT, ERR_INVALID, "project" },
		{ OTHER_DATASTORE, ERR_INVALID, "valkey" },
		{ TOO_OLD, ERR_INVALID, "5.0.14" },
		{ ITSELF, ERR_INVALID, "itself" },
		{ UNHEARD, ERR_UNPROCESSABLE, "not heard" },
		{ BUSY, ERR_UNPROCESSABLE, "handover" },
		{ GOING, ERR_UNPROCESSABLE, "no source" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct world w;
		struct member m;
		struct group from;
		enum what what = rows[i].what;

		make_ejected(&w, &m, &from);
		m.state = what == NOT_EJECTED ? MEMBER_ACTIVE : m.state;
		from.project = what == OTHER_PROJECT ? "q" : from.project;
		m.datastore = what == OTHER_DATASTORE ? "valkey" : m.datastore;
		m.version = what == TOO_OLD ? "5.0.14" : m.version;
		from.id = what == ITSELF ? w.g.id : from.id;
		w.silent[0] = what == UNHEARD;
		w.g.op.kind = what == BUSY ? OP_HANDOVER : OP_NONE;
		w.members[S].state = what == GOING ? MEMBER_DELETING : MEMBER_ACTIVE;
		assert_false(operate_attach(&from, &w.g, &w.in, m.id, &w.pair, &w.ev, &w.e));
		printf("# %s\n", w.e.msg);
		assert_int_equal(w.e.code, rows[i].want);
		assert_non_null(strstr(w.e.msg, rows[i].names));
	}
}

/* delete */

static void a_group_goes_whole(void **)
{
	struct world w;

	make_world(&w);
	w.g.op = (struct operation){ .id = { .b = { 3 } }, .kind = OP_HANDOVER,
				     .phase = PHASE_HANDOVER_PROMOTE };
	assert_false(operate_delete_group(&w.g, &w.in, &w.ev, &w.e));
	assert_int_equal(w.e.code, ERR_UNPROCESSABLE);
	assert_int_equal(w.members[A].state, MEMBER_ACTIVE);
	w.g.op.phase = PHASE_HANDOVER_FENCE;
	assert_true(operate_delete_group(&w.g, &w.in, &w.ev, &w.e));
	assert_int_equal(w.g.op.kind, OP_NONE);
	assert_true(id_eq(w.g.last.op, (struct id){ .b = { 3 } }));
	assert_false(w.g.last.done);
	for (size_t i = 0; i < SEATS; i++) {
		assert_int_equal(w.members[i].state, MEMBER_DELETING);
	}
	assert_true(operate_delete_group(&w.g, &w.in, &w.ev, &w.e)); /* again: no harm */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_eject_needs_evidence),
		cmocka_unit_test(refusals_begin_with_troves_words),
		cmocka_unit_test(what_an_eject_replaces_and_what_it_waits_for),
		cmocka_unit_test(a_second_eject_is_the_same),
		cmocka_unit_test(a_store_older_than_its_hosts_is_not_acted_on),
		cmocka_unit_test(taken_back_the_source_may_have_a_new_name),
		cmocka_unit_test(an_election_that_nobody_asked_for_loses_nothing),
		cmocka_unit_test(durability_is_never_trusted_too_early),
		cmocka_unit_test(a_promise_says_what_it_is_worth),
		cmocka_unit_test(a_detached_replica_has_a_group_of_its_own),
		cmocka_unit_test(who_cannot_be_detached),
		cmocka_unit_test(an_ejected_source_joins_as_one_that_holds_nothing),
		cmocka_unit_test(who_cannot_be_attached),
		cmocka_unit_test(a_group_goes_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
