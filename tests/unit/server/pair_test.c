/*
 * Two groups in one transaction: a member moves from one to the other, and whatever the store does
 * on the way, it is in exactly one of them, with its address, its quota and what was seen of it.
 */
#include "engine.h"
#include "forgetful.h"

/* What the registry told its watchers. */
struct told {
	struct id group;
	bool gone;
};
static struct told told[16];
static size_t ntold;

static void on_change(void *, struct entry *en)
{
	assert_true(ntold < ARRAY_LEN(told));
	told[ntold++] = (struct told){ en->g->id, en->gone };
}

struct scene {
	struct engine_group eg, other; /* two replicas and their source; a group of one */
	struct observation seen[3];
	struct group left; /* eg without its last member */
	struct group own;  /* the last member alone */
	struct history_entry own_history[2];
	struct group joined; /* eg with the other one's member */
	struct member joined_members[4];
};

static void make_groups(struct scene *sc)
{
	engine_group_init(&sc->eg, "dev", "sessions", 3);
	engine_group_init(&sc->other, "dev", "carts", 1);
	snprintf(sc->other.address[0], sizeof sc->other.address[0], "127.0.77.9");
	sc->left = sc->eg.g;
	sc->left.nmembers = 2;
	sc->left.epoch = 2;
	sc->own = sc->eg.g;
	sc->own.id = id_new();
	sc->own.name = "sessions-2";
	sc->own.epoch = 2;
	sc->own.source = sc->eg.m[2].id;
	sc->own.members = &sc->eg.m[2];
	sc->own.nmembers = 1;
	sc->own.history = sc->own_history;
	sc->joined = sc->eg.g;
	sc->joined.epoch = 7;
	memcpy(sc->joined_members, sc->eg.m, sizeof sc->joined_members);
	sc->joined_members[3] = sc->other.m[0];
	sc->joined.members = sc->joined_members;
	sc->joined.nmembers = 4;
}

static void begin(struct engine *en, struct scene *sc, struct store *(*wrap)(struct store *))
{
	struct observation all[4];
	struct wire_report_answer answer;
	struct err e = {};

	engine_open_with(en, wrap);
	assert_non_null(en->r);
	engine_join(en, "here", "127.0.77.1-127.0.77.9");
	make_groups(sc);
	assert_int_equal(engine_commit(en, NULL, &sc->eg.g, NULL, 0), STORE_COMMITTED);
	assert_int_equal(engine_commit(en, NULL, &sc->other.g, NULL, 0), STORE_COMMITTED);
	for (size_t i = 0; i < 4; i++) {
		all[i] = (struct observation){ .instance =
						       i < 3 ? sc->eg.m[i].id : sc->other.m[0].id,
					       .proc = PROC_RUNNING,
					       .offset = (int64_t)(100 + i) };
	}
	assert_ok(engine_report(en, false, NULL, all, 4, &answer, &e), &e);
	registry_on_change(en->r, on_change, NULL);
	ntold = 0;
}

static struct entry *entry_of(const struct engine *en, const struct group *g)
{
	return registry_group(en->r, g->id);
}

/* The two ways of moving: the last member of eg leaves, or the other group's member joins. */
enum move { SPLIT, JOIN };

static void changes_of(const struct engine *en, const struct scene *sc, enum move move,
		       struct registry_change ret[2])
{
	struct entry *eg = entry_of(en, &sc->eg.g);

	ret[0] = (struct registry_change){ eg, move == SPLIT ? &sc->left : &sc->joined };
	ret[1] = move == SPLIT ? (struct registry_change){ NULL, &sc->own }
			       : (struct registry_change){ entry_of(en, &sc->other.g), NULL };
}

static size_t ndone;

static void on_done(void *arg, enum store_outcome outcome, const struct err *e)
{
	ndone++;
	engine_committed(arg, outcome, e);
}

static void start_move(struct engine *en, const struct scene *sc, enum move move)
{
	static const struct group_event ev = { .kind = EVENT_REPLICA_ADDED };
	struct registry_change changes[2];

	ndone = 0;
	changes_of(en, sc, move, changes);
	registry_commit_pair(en->r, changes, &ev, 1, on_done, en);
}

static enum store_outcome do_move(struct engine *en, const struct scene *sc, enum move move)
{
	start_move(en, sc, move);
	engine_run(en);
	return en->outcome;
}

/* ---- what must hold at every moment ---- */

struct count {
	size_t groups, members;
};

static bool count_group(void *arg, struct entry *en)
{
	struct count *c = arg;

	c->groups++;
	c->members += en->g->nmembers;
	return true;
}

static int64_t offset_seen(const struct engine *en, struct id instance)
{
	struct instance_ref ref;

	assert_true(registry_find(en->r, "dev", instance, &ref));
	assert_non_null(ref.o);
	assert_true(id_eq(ref.o->instance, instance));
	return ref.o->offset;
}

/* Four instances on the host, each with its own address, and five addresses are free. */
static void expect_whole(struct engine *en, const struct scene *sc, size_t groups)
{
	struct count all = {}, here = {};
	const struct placement_wish w = { .datastore = "redis", .version = "7.0.15" };
	struct placement p[6];
	struct instance_ref page[8];
	bool more, known;
	struct err e = {};

	registry_each(en->r, count_group, &all);
	registry_each_on_host(en->r, "here", count_group, &here);
	assert_int_equal(all.groups, groups);
	assert_int_equal(here.groups, groups);
	assert_int_equal(all.members, 4);
	assert_int_equal(registry_usage(en->r, "dev").instances, 4);
	assert_int_equal(registry_usage(en->r, "dev").volume_gb, 4);
	assert_int_equal(
		registry_page(en->r, "dev", (struct id){}, page, ARRAY_LEN(page), &more, &known),
		4);
	for (size_t i = 0; i < 5; i++) {
		assert_ok(registry_place(en->r, &w, &p[i], &e), &e);
	}
	assert_false(registry_place(en->r, &w, &p[5], &e));
	for (size_t i = 0; i < 5; i++) {
		registry_release(en->r, &p[i]);
	}
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(offset_seen(en, sc->eg.m[i].id), 100 + (int64_t)i);
	}
	assert_int_equal(offset_seen(en, sc->other.m[0].id), 103);
}

static struct id group_of(const struct engine *en, struct id instance)
{
	struct instance_ref ref;

	assert_true(registry_find(en->r, "dev", instance, &ref));
	return ref.g->id;
}

static void expect_before(struct engine *en, const struct scene *sc)
{
	expect_whole(en, sc, 2);
	assert_true(id_eq(group_of(en, sc->eg.m[2].id), sc->eg.g.id));
	assert_true(id_eq(group_of(en, sc->other.m[0].id), sc->other.g.id));
	assert_int_equal(entry_of(en, &sc->eg.g)->g->epoch, 1);
	assert_null(entry_of(en, &sc->own));
}

static void expect_after(struct engine *en, const struct scene *sc, enum move move)
{
	struct entry *taken;

	expect_whole(en, sc, move == SPLIT ? 3 : 1);
	if (move == SPLIT) {
		assert_true(id_eq(group_of(en, sc->eg.m[2].id), sc->own.id));
		assert_int_equal(entry_of(en, &sc->eg.g)->g->nmembers, 2);
		assert_true(registry_group_by_name(en->r, "dev", "sessions-2", &taken));
	} else {
		assert_true(id_eq(group_of(en, sc->other.m[0].id), sc->eg.g.id));
		assert_null(entry_of(en, &sc->other.g));
		assert_false(registry_group_by_name(en->r, "dev", "carts", &taken));
	}
}

static void a_member_moves_in_one_step(void **)
{
	for (enum move move = SPLIT; move <= JOIN; move++) {
		auto_engine en = engine_new();
		struct scene sc = {};

		begin(&en, &sc, NULL);
		expect_before(&en, &sc);
		start_move(&en, &sc, move);
		assert_true(entry_of(&en, &sc.eg.g)->committing);
		assert_true(move == SPLIT || entry_of(&en, &sc.other.g)->committing);
		expect_before(&en, &sc);
		engine_run(&en);
		assert_int_equal(en.outcome, STORE_COMMITTED);
		assert_int_equal(ndone, 1);
		expect_after(&en, &sc, move);
		assert_int_equal(ntold, 2);
		assert_int_equal(told[0].gone + told[1].gone, move == JOIN);
		assert_int_equal(registry_last_event(en.r), 2); /* the first: the host joined */
		uint64_t revision = entry_of(&en, &sc.eg.g)->g->revision;
		engine_close(&en);

		engine_open(&en);
		assert_int_equal(entry_of(&en, &sc.eg.g)->g->revision, revision);
		assert_true(move == JOIN || entry_of(&en, &sc.own)->g->revision == revision);
		assert_int_equal(registry_usage(en.r, "dev").instances, 4);
	}
}

static void an_unknown_outcome_is_found_out_for_both(void **)
{
	static const struct {
		const char *says;
		int mode;
		size_t blind;
		bool moved;
	} cases[] = {
		{ "it took place", DO_AND_FORGET, 0, true },
		{ "it did not", FORGET, 0, false },
		{ "it took place between the readings", DO_AND_FORGET, 1, true },
	};

	for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
		enum move move = i % 2 == 0 ? SPLIT : JOIN;
		auto_engine en = engine_new();
		struct scene sc = {};

		print_message("# %s (%s)\n", cases[i / 2].says, move == SPLIT ? "split" : "join");
		begin(&en, &sc, make_forgetful);
		forgetful.mode = (__typeof__(forgetful.mode))cases[i / 2].mode;
		forgetful.blind = cases[i / 2].blind;
		assert_int_equal(do_move(&en, &sc, move),
				 cases[i / 2].moved ? STORE_COMMITTED : STORE_FAILED);
		assert_int_equal(ndone, 1);
		assert_false(entry_of(&en, &sc.eg.g)->committing);
		if (cases[i / 2].moved) {
			expect_after(&en, &sc, move);
		} else {
			expect_before(&en, &sc);
			/* the revisions are still the right ones: the next attempt goes through */
			assert_int_equal(do_move(&en, &sc, move), STORE_COMMITTED);
		}
		const struct entry *last = entry_of(&en, &sc.eg.g);
		assert_int_equal(engine_commit(&en, entry_of(&en, &sc.eg.g), last->g, NULL, 0),
				 STORE_COMMITTED);
	}
}

static void stored(void *arg, enum store_outcome outcome, uint64_t, const struct err *)
{
	assert_int_equal(outcome, STORE_COMMITTED);
	engine_stop(arg);
}

/* Either record, changed by somebody else, stops the whole. */
static void a_conflict_in_one_changes_neither(void **)
{
	for (size_t i = 0; i < 2; i++) {
		auto_engine en = engine_new();
		struct scene sc = {};
		char key[RECORD_KEY_BYTES];

		begin(&en, &sc, NULL);
		record_key_group(i == 0 ? sc.eg.g.id : sc.other.g.id, key);
		store_commit(en.store, &(struct store_op){ .key = key, .value = "{}", .len = 2 }, 1,
			     stored, &en);
		engine_run(&en);
		assert_int_equal(do_move(&en, &sc, JOIN), STORE_CONFLICT);
		expect_before(&en, &sc);
	}
}

static void a_name_on_its_way_is_taken(void **)
{
	auto_engine en = engine_new();
	auto_arena a = {};
	struct scene sc = {};

	begin(&en, &sc, make_forgetful);
	assert_string_equal(registry_free_name(en.r, "dev", "sessions", &a), "sessions-2");
	assert_string_equal(registry_free_name(en.r, "dev", "other", &a), "other");
	assert_string_equal(registry_free_name(en.r, "ops", "sessions", &a), "sessions");
	forgetful.mode = FORGET;
	start_move(&en, &sc, SPLIT);
	assert_string_equal(registry_free_name(en.r, "dev", "sessions", &a), "sessions-3");
	assert_string_equal(registry_free_name(en.r, "ops", "sessions-2", &a), "sessions-2");
	engine_run(&en);
	assert_int_equal(en.outcome, STORE_FAILED);
	assert_string_equal(registry_free_name(en.r, "dev", "sessions", &a), "sessions-2");
}

/* The longest name there is leaves room for the number, and no character is cut. */
static void a_long_name_keeps_within_its_record(void **)
{
	auto_engine en = engine_new();
	auto_arena a = {};
	auto_str text = {};
	struct engine_group eg;
	char name[4 * MODEL_NAME_MAX + 1] = "";
	struct group got;
	struct err e = {};

	for (size_t i = 0; i < MODEL_NAME_MAX; i++) {
		memcpy(name + 4 * i, "\xf0\x9f\x90\x98", 5);
	}
	engine_open(&en);
	engine_group_init(&eg, "dev", name, 1);
	assert_int_equal(engine_commit(&en, NULL, &eg.g, NULL, 0), STORE_COMMITTED);
	const char *second = registry_free_name(en.r, "dev", name, &a);

	assert_string_equal(second + strlen(second) - 6, "\xf0\x9f\x90\x98-2");
	engine_group_init(&eg, "dev", second, 1);
	record_write_group(&eg.g, &text);
	assert_ok(record_read_group(text.p, text.len, &a, &got, &e), &e);
	assert_string_equal(got.name, second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_member_moves_in_one_step),
		cmocka_unit_test(an_unknown_outcome_is_found_out_for_both),
		cmocka_unit_test(a_conflict_in_one_changes_neither),
		cmocka_unit_test(a_name_on_its_way_is_taken),
		cmocka_unit_test(a_long_name_keeps_within_its_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
