/*
 * The registry over a real store: what was committed is there after a restart, what was not is
 * not, and lists, names, addresses and events are as their rules say.
 */
#include "engine.h"
#include "forgetful.h"

static void an_empty_store_becomes_an_installation(void **)
{
	auto_engine en = engine_new();

	engine_open(&en);
	struct id id = registry_installation(en.r);
	assert_false(id_is_zero(id));
	engine_close(&en);

	engine_open(&en);
	assert_true(id_eq(registry_installation(en.r), id));
}

static void a_commit_is_seen_when_it_is_durable(void **)
{
	auto_engine en = engine_new();
	struct engine_group eg;
	struct instance_ref ref;

	engine_open(&en);
	engine_group_init(&eg, "dev", "sessions", 2);
	registry_commit(en.r, NULL, &eg.g, NULL, 0, engine_committed, &en);
	assert_false(registry_find(en.r, "dev", eg.m[0].id, &ref));
	engine_run(&en);
	assert_int_equal(en.outcome, STORE_COMMITTED);
	assert_true(registry_find(en.r, "dev", eg.m[1].id, &ref));
	assert_int_equal(ref.index, 1);
	assert_false(registry_find(en.r, "other", eg.m[1].id, &ref));
	assert_true(registry_find(en.r, NULL, eg.m[1].id, &ref));
	uint64_t revision = ref.g->revision;
	assert_true(revision > 0);
	engine_close(&en);

	engine_open(&en);
	assert_true(registry_find(en.r, "dev", eg.m[0].id, &ref));
	assert_string_equal(ref.m->address, "127.0.77.1");
	assert_int_equal(ref.g->revision, revision);
	assert_int_equal(registry_usage(en.r, "dev").instances, 2);
	assert_int_equal(registry_usage(en.r, "dev").volume_gb, 2);
}

/* ---- outcomes ---- */

enum change { MAKE, CHANGE, REMOVE };

/* Brings a group to where the change can begin; returns its entry, NULL before MAKE. */
static struct entry *prepare(struct engine *en, struct engine_group *eg, enum change change)
{
	engine_group_init(eg, "dev", "sessions", 1);
	if (change != MAKE) {
		assert_int_equal(engine_commit(en, NULL, &eg->g, NULL, 0), STORE_COMMITTED);
	}
	eg->g.epoch = 2;
	return registry_group(en->r, eg->g.id);
}

static uint64_t epoch_shown(const struct engine *en, struct id group)
{
	const struct entry *entry = registry_group(en->r, group);

	return entry == NULL ? 0 : entry->g->epoch;
}

static void an_unknown_outcome_is_read_back(void **)
{
	static const struct group_event ev = { .kind = EVENT_GROUP_CREATED };
	static const struct {
		const char *says;
		int mode;
		enum change change;
		enum store_outcome outcome;
		uint64_t epoch; /* shown afterwards; 0: no such group */
	} cases[] = {
		{ "a new record that is there", DO_AND_FORGET, MAKE, STORE_COMMITTED, 2 },
		{ "a new record that is not there", FORGET, MAKE, STORE_FAILED, 0 },
		{ "a change that is there", DO_AND_FORGET, CHANGE, STORE_COMMITTED, 2 },
		{ "the old record is still there", FORGET, CHANGE, STORE_FAILED, 1 },
		{ "a record that is gone", DO_AND_FORGET, REMOVE, STORE_COMMITTED, 0 },
		{ "a record that did not go", FORGET, REMOVE, STORE_FAILED, 1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_engine en = engine_new();
		struct engine_group eg;

		print_message("# %s\n", cases[i].says);
		engine_open_with(&en, make_forgetful);
		struct entry *entry = prepare(&en, &eg, cases[i].change);

		forgetful.mode = cases[i].mode;
		assert_int_equal(
			engine_commit(&en, entry, cases[i].change == REMOVE ? NULL : &eg.g, &ev, 1),
			cases[i].outcome);
		assert_int_equal(epoch_shown(&en, eg.g.id), cases[i].epoch);
		assert_int_equal(registry_last_event(en.r), cases[i].outcome == STORE_COMMITTED);

		/* The revision is the right one too: the next change finds what it expects. */
		entry = registry_group(en.r, eg.g.id);
		assert_int_equal(engine_commit(&en, entry, &eg.g, &ev, 1), STORE_COMMITTED);
	}
}

struct pending {
	struct engine *en;
	size_t seen; /* by a reader, when the second event was durable */
};

static void second_is_durable(void *arg, enum store_outcome outcome, const struct err *)
{
	struct pending *p = arg;
	struct event_text text[4];

	assert_int_equal(outcome, STORE_COMMITTED);
	p->seen = registry_events(p->en->r, NULL, EVENTS_OF_PROJECT, 0, text, 4);
}

/* Else a reader who has seen the second would never ask for the first. */
static void an_event_waits_for_those_before_it(void **)
{
	static const struct group_event ev = { .kind = EVENT_GROUP_CREATED };
	auto_engine en = engine_new();
	struct engine_group eg;
	struct pending p = { &en, 99 };
	struct event_text text[4];

	engine_open_with(&en, make_forgetful);
	engine_group_init(&eg, "dev", "sessions", 1);
	forgetful.mode = DO_AND_FORGET;
	registry_event(en.r, &ev);
	registry_commit(en.r, NULL, &eg.g, &ev, 1, second_is_durable, &p);
	engine_until(&en, engine_is_idle);
	assert_int_equal(p.seen, 0);
	assert_int_equal(registry_events(en.r, NULL, EVENTS_OF_PROJECT, 0, text, 4), 2);
	assert_int_equal(text[0].seq, 1);
}

static void stored(void *arg, enum store_outcome outcome, uint64_t, const struct err *)
{
	assert_int_equal(outcome, STORE_COMMITTED);
	engine_stop(arg);
}

static void a_record_that_somebody_else_changed_is_a_conflict(void **)
{
	auto_engine en = engine_new();
	struct engine_group eg;
	struct instance_ref ref;
	char key[RECORD_KEY_BYTES];

	engine_open(&en);
	engine_group_init(&eg, "dev", "sessions", 1);
	assert_int_equal(engine_commit(&en, NULL, &eg.g, NULL, 0), STORE_COMMITTED);
	record_key_group(eg.g.id, key);
	store_commit(en.store, &(struct store_op){ .key = key, .value = "{}", .len = 2 }, 1, stored,
		     &en);
	engine_run(&en);

	eg.g.epoch = 2;
	assert_true(registry_find(en.r, "dev", eg.m[0].id, &ref));
	assert_int_equal(engine_commit(&en, ref.entry, &eg.g, NULL, 0), STORE_CONFLICT);
	assert_true(registry_find(en.r, "dev", eg.m[0].id, &ref));
	assert_int_equal(ref.g->epoch, 1);
	assert_false(ref.entry->committing);
}

static void a_damaged_or_strange_record_is_refused_by_name(void **)
{
	static const struct {
		const char *key, *value, *says;
	} cases[] = {
		{ "group/x", "{", "group/x" },
		{ "group/00000000-0000-4000-8000-000000000001", "{\"format\":99}", "newer" },
		{ "plan/1", "{}", "newer tanist" },
		{ "event/1", "[]", "event/1" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_engine en = engine_new();

		engine_open(&en);
		store_commit(en.store,
			     &(struct store_op){ .key = cases[i].key,
						 .value = cases[i].value,
						 .len = strlen(cases[i].value) },
			     1, stored, &en);
		engine_run(&en);
		engine_close(&en);

		engine_open_with(&en, NULL);
		assert_null(en.r);
		if (strstr(en.opened.msg, cases[i].says) == NULL) {
			fail_msg("'%s' does not say '%s'", en.opened.msg, cases[i].says);
		}
	}
}

/* ---- lists ---- */

enum { MANY = 1000 };

struct listed {
	int64_t created;
	struct id id;
};

static int by_creation(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;

	if (x->created != y->created) {
		return x->created < y->created ? -1 : 1;
	}
	return id_cmp(x->id, y->id);
}

/* Walks all pages and compares with what is expected. */
static void walk(const struct registry *r, const struct listed *want, size_t n, size_t page)
{
	struct instance_ref refs[128];
	struct id after = {};
	size_t seen = 0;
	bool more = true, known;

	while (more) {
		size_t got = registry_page(r, "dev", after, refs, page, &more, &known);

		assert_true(known);
		assert_true(got == page || !more);
		for (size_t i = 0; i < got; i++) {
			assert_true(id_eq(refs[i].m->id, want[seen + i].id));
		}
		seen += got;
		after = got > 0 ? refs[got - 1].m->id : after;
	}
	assert_int_equal(seen, n);
}

struct landed {
	struct engine *en;
	size_t left;
};

static void one_landed(void *arg, enum store_outcome outcome, const struct err *)
{
	struct landed *l = arg;

	assert_int_equal(outcome, STORE_COMMITTED);
	if (--l->left == 0) {
		loop_stop(l->en->loop);
	}
}

static void pages_are_in_order_over_deletes(void **)
{
	auto_engine en = engine_new();
	static struct listed all[MANY];
	struct landed l = { &en, MANY };
	bool more, known;

	engine_open(&en);
	for (size_t i = 0; i < MANY; i++) {
		struct engine_group eg;
		char name[20];

		snprintf(name, sizeof name, "i%zu", i);
		engine_group_init(&eg, "dev", name, 1);
		eg.m[0].created_wall_ms =
			1000 + (int64_t)(i * 7919 % 300); /* many at the same time */
		all[i] = (struct listed){ eg.m[0].created_wall_ms, eg.m[0].id };
		registry_commit(en.r, NULL, &eg.g, NULL, 0, one_landed, &l);
	}
	engine_run(&en);
	qsort(all, MANY, sizeof all[0], by_creation);
	walk(en.r, all, MANY, 20);
	walk(en.r, all, MANY, 128);
	walk(en.r, all, MANY, 1);

	size_t left = 0;
	l.left = MANY / 3 + 1;
	for (size_t i = 0; i < MANY; i++) {
		struct instance_ref ref;

		if (i % 3 == 0) {
			assert_true(registry_find(en.r, "dev", all[i].id, &ref));
			registry_commit(en.r, ref.entry, NULL, NULL, 0, one_landed, &l);
		}
	}
	engine_run(&en);
	struct id deleted = all[0].id;
	for (size_t i = 0; i < MANY; i++) {
		if (i % 3 != 0) {
			all[left++] = all[i];
		}
	}
	walk(en.r, all, left, 20);
	assert_int_equal(registry_page(en.r, "dev", deleted, NULL, 0, &more, &known), 0);
	assert_false(known);
	assert_int_equal(registry_page(en.r, "nobody", (struct id){}, NULL, 0, &more, &known), 0);
	assert_true(known);
	engine_close(&en);

	engine_open(&en);
	walk(en.r, all, left, 20);
	assert_int_equal(registry_usage(en.r, "dev").instances, left);
}

static void a_name_is_of_its_project(void **)
{
	auto_engine en = engine_new();
	struct engine_group one, other;
	struct entry *found;

	engine_open(&en);
	engine_group_init(&one, "dev", "sessions", 1);
	engine_group_init(&other, "prod", "sessions", 1);
	assert_int_equal(engine_commit(&en, NULL, &one.g, NULL, 0), STORE_COMMITTED);
	assert_int_equal(engine_commit(&en, NULL, &other.g, NULL, 0), STORE_COMMITTED);
	assert_true(registry_group_by_name(en.r, "dev", "sessions", &found));
	assert_true(id_eq(found->g->id, one.g.id));
	assert_true(registry_group_by_name(en.r, "prod", "sessions", &found));
	assert_true(id_eq(found->g->id, other.g.id));
	assert_int_equal(engine_commit(&en, found, NULL, NULL, 0), STORE_COMMITTED);
	assert_false(registry_group_by_name(en.r, "prod", "sessions", &found));
}

/* ---- turns ---- */

struct turns {
	struct engine *en;
	char order[8];
	size_t n;
};

struct turn {
	struct turns *all;
	const char *project;
	char name;
};

static void turn_comes(void *arg)
{
	struct turn *t = arg;

	t->all->order[t->all->n++] = t->name;
	if (t->all->n == 4) {
		loop_stop(t->all->en->loop);
	}
	registry_turn_end(t->all->en->r, t->project);
}

static void stop_when_two(void *arg)
{
	struct turn *t = arg;

	t->all->order[t->all->n++] = t->name;
	if (t->all->n == 2) {
		loop_stop(t->all->en->loop);
	}
}

static void turns_of_a_project_come_in_order(void **)
{
	auto_engine en = engine_new();
	struct turns all = { .en = &en };
	struct turn a = { &all, "dev", 'a' }, b = { &all, "dev", 'b' }, c = { &all, "dev", 'c' };
	struct turn x = { &all, "prod", 'x' };

	engine_open(&en);
	registry_turn_begin(en.r, "dev", stop_when_two, &a);
	registry_turn_begin(en.r, "dev", turn_comes, &b);
	registry_turn_begin(en.r, "dev", turn_comes, &c);
	registry_turn_begin(en.r, "prod", stop_when_two, &x);
	assert_int_equal(all.n, 0);
	engine_run(&en);
	assert_string_equal(all.order, "ax");
	registry_turn_end(en.r, "prod");
	registry_turn_end(en.r, "dev");
	engine_run(&en);
	assert_string_equal(all.order, "axbc");
}

/* ---- addresses ---- */

static const struct placement_wish tiny = { .datastore = "redis", .version = "7.0.15" };

static void expect_place(struct engine *en, const char *address, struct placement *ret)
{
	struct err e = {};

	assert_ok(registry_place(en->r, &tiny, ret, &e), &e);
	assert_string_equal(ret->address, address);
	assert_string_equal(ret->host, "here");
}

static void refuse_place(struct engine *en, const char *version, const char *says)
{
	const struct placement_wish w = { .datastore = "redis", .version = version };
	struct placement p;
	struct err e = {};

	assert_false(registry_place(en->r, &w, &p, &e));
	assert_int_equal(e.code, ERR_UNPROCESSABLE);
	if (strstr(e.msg, says) == NULL) {
		fail_msg("'%s' does not say '%s'", e.msg, says);
	}
}

static void an_address_is_used_once_and_again_when_it_is_free(void **)
{
	auto_engine en = engine_new();
	struct engine_group eg;
	struct placement a, b, c;
	struct instance_ref ref;

	engine_open(&en);
	refuse_place(&en, "7.0.15", "No host");
	engine_join(&en, "here", "127.0.77.1-127.0.77.3");
	refuse_place(&en, "6.0.0", "for redis 6.0.0 with 0 MB of memory and 0 GB of disk: of 1 host 1 does not have this version");

	expect_place(&en, "127.0.77.1", &a);
	expect_place(&en, "127.0.77.2", &b);
	expect_place(&en, "127.0.77.3", &c);
	refuse_place(&en, "7.0.15", "1 has no free address");
	registry_release(en.r, &b);
	expect_place(&en, "127.0.77.2", &b);

	engine_group_init(&eg, "dev", "sessions", 1); /* at 127.0.77.1 */
	assert_int_equal(engine_commit(&en, NULL, &eg.g, NULL, 0), STORE_COMMITTED);
	registry_release(en.r, &a); /* the record has it: no effect */
	refuse_place(&en, "7.0.15", "1 has no free address");
	registry_release(en.r, &c);
	expect_place(&en, "127.0.77.3", &c);

	assert_true(registry_find(en.r, NULL, eg.m[0].id, &ref));
	assert_int_equal(engine_commit(&en, ref.entry, NULL, NULL, 0), STORE_COMMITTED);
	expect_place(&en, "127.0.77.1", &a);
	registry_release(en.r, &a);
	registry_release(en.r, &b);
}

static void a_member_that_comes_or_goes_takes_its_address_along(void **)
{
	auto_engine en = engine_new();
	struct engine_group eg;
	struct placement a;
	struct entry *entry;

	engine_open(&en);
	engine_join(&en, "here", "127.0.77.1-127.0.77.2");
	engine_group_init(&eg, "dev", "sessions", 2);
	eg.g.nmembers = 1;
	assert_int_equal(engine_commit(&en, NULL, &eg.g, NULL, 0), STORE_COMMITTED);
	entry = registry_group(en.r, eg.g.id);
	eg.g.nmembers = 2;
	assert_int_equal(engine_commit(&en, entry, &eg.g, NULL, 0), STORE_COMMITTED);
	assert_int_equal(registry_usage(en.r, "dev").instances, 2);
	refuse_place(&en, "7.0.15", "1 has no free address");
	eg.g.nmembers = 1;
	assert_int_equal(engine_commit(&en, entry, &eg.g, NULL, 0), STORE_COMMITTED);
	assert_int_equal(registry_usage(en.r, "dev").instances, 1);
	expect_place(&en, "127.0.77.2", &a);
}

static void addresses_go_on_behind_the_newest_after_a_restart(void **)
{
	auto_engine en = engine_new();
	struct engine_group eg;
	struct placement a;

	engine_open(&en);
	engine_join(&en, "here", "127.0.77.1-127.0.77.9");
	engine_group_init(&eg, "dev", "sessions", 3);
	assert_int_equal(engine_commit(&en, NULL, &eg.g, NULL, 0), STORE_COMMITTED);
	engine_close(&en);

	engine_open(&en);
	expect_place(&en, "127.0.77.4", &a);
}

static void expect_promised(const struct engine *en, int64_t memory_mb, int64_t disk_gb)
{
	int64_t memory, disk;

	registry_promised(en->r, "here", &memory, &disk);
	assert_int_equal(memory >> 20, memory_mb);
	assert_int_equal(disk >> 30, disk_gb);
}

/* A host has 4 GB of memory: what lives there counts, and what is about to. */
static void what_is_promised_counts(void **)
{
	auto_engine en = engine_new();
	const struct placement_wish two_gb = {
		.datastore = "redis", .version = "7.0.15", .flavor = "3", .volume_gb = 40
	};
	struct engine_group eg;
	struct placement a, b;
	struct err e = {};

	engine_open(&en);
	engine_join(&en, "here", "127.0.77.1-127.0.77.9");
	expect_promised(&en, 0, 0);
	assert_ok(registry_place(en.r, &two_gb, &a, &e), &e);
	expect_promised(&en, 2048, 40);

	engine_group_init(&eg, "dev", "sessions", 1); /* at 127.0.77.1 */
	eg.m[0].flavor = "3";
	eg.m[0].volume_gb = 40;
	assert_int_equal(engine_commit(&en, NULL, &eg.g, NULL, 0), STORE_COMMITTED);
	expect_promised(&en, 2048, 40); /* no hold any more: it lives there */
	assert_ok(registry_place(en.r, &two_gb, &b, &e), &e);
	expect_promised(&en, 4096, 80);
	assert_false(registry_place(en.r, &two_gb, &a, &e));
	assert_non_null(strstr(e.msg, "1 has too little memory (0 MB free at most)"));
	registry_release(en.r, &b);
	engine_close(&en);

	engine_open(&en); /* counted anew from the records */
	expect_promised(&en, 2048, 40);
	struct entry *entry = registry_group(en.r, eg.g.id);
	assert_int_equal(engine_commit(&en, entry, NULL, NULL, 0), STORE_COMMITTED);
	expect_promised(&en, 0, 0);
}

static void a_wish_for_company_is_kept(void **)
{
	auto_engine en = engine_new();
	struct placement placed[1] = { { .host = "here" } };
	struct placement_wish w = tiny;
	struct placement p;
	struct err e = {};

	engine_open(&en);
	engine_join(&en, "here", "127.0.77.1-127.0.77.9");
	w.locality = PLACE_ANTI_AFFINITY;
	expect_place(&en, "127.0.77.1", &p);
	w.placed = placed;
	w.nplaced = 1;
	assert_false(registry_place(en.r, &w, &p, &e));
	assert_non_null(strstr(e.msg, "1 has one of its group, against anti-affinity"));
	w.locality = PLACE_AFFINITY;
	assert_ok(registry_place(en.r, &w, &p, &e), &e);
}

/* ---- events ---- */

struct counting {
	struct engine *en;
	size_t rows;
};

static bool a_row(void *arg, const char *, const char *, size_t, uint64_t, struct err *)
{
	((struct counting *)arg)->rows++;
	return true;
}

static void all_rows(void *arg, const struct err *)
{
	engine_stop(((struct counting *)arg)->en);
}

static size_t count_rows(struct engine *en)
{
	struct counting c = { .en = en };

	store_load(en->store, "event/", a_row, all_rows, &c);
	engine_run(en);
	return c.rows;
}

static void event_of_kind(struct engine *en, enum event_kind kind)
{
	registry_event(en->r, &(struct group_event){ .kind = kind, .reason = "because" });
	engine_until(en, engine_is_idle);
}

static void old_events_leave_and_numbers_go_on(void **)
{
	auto_engine en = engine_new();
	struct event_text seen[200];

	engine_set(&en, "events.keep", "100");
	engine_open(&en);
	for (int i = 0; i < 130; i++) {
		event_of_kind(&en, EVENT_ORPHAN_FOUND);
	}
	assert_int_equal(registry_last_event(en.r), 130);
	assert_int_equal(registry_event_count(en.r, EVENT_ORPHAN_FOUND), 130);
	assert_int_equal(registry_events(en.r, NULL, EVENTS_OF_PROJECT, 0, seen, 200), 100);
	assert_int_equal(seen[0].seq, 31);
	assert_int_equal(registry_events(en.r, NULL, EVENTS_OF_PROJECT, 128, seen, 200), 2);
	assert_int_equal(registry_events(en.r, NULL, EVENTS_OF_PROJECT, 50, seen, 7), 7);
	assert_int_equal(seen[6].seq, 57);
	assert_int_equal(count_rows(&en), 100);
	engine_close(&en);

	engine_open(&en);
	assert_int_equal(registry_last_event(en.r), 130);
	event_of_kind(&en, EVENT_HOST_JOINED);
	assert_int_equal(registry_last_event(en.r), 131);
	assert_int_equal(registry_events(en.r, NULL, EVENTS_OF_PROJECT, 0, seen, 200), 100);
}

static void an_event_is_seen_by_its_project(void **)
{
	static const struct group_event ev = { .kind = EVENT_GROUP_CREATED, .reason = "made" };
	auto_engine en = engine_new();
	struct engine_group eg;
	struct event_text seen[8];

	engine_open(&en);
	engine_group_init(&eg, "dev", "sessions", 1);
	assert_int_equal(engine_commit(&en, NULL, &eg.g, &ev, 1), STORE_COMMITTED);
	event_of_kind(&en, EVENT_HOST_JOINED);
	assert_int_equal(registry_events(en.r, "dev", EVENTS_OF_PROJECT, 0, seen, 8), 1);
	assert_non_null(strstr(seen[0].json, "group.created"));
	assert_int_equal(registry_events(en.r, "dev", EVENTS_AND_HOSTS, 0, seen, 8), 2);
	assert_int_equal(registry_events(en.r, "prod", EVENTS_OF_PROJECT, 0, seen, 8), 0);
	assert_int_equal(registry_events(en.r, NULL, EVENTS_OF_PROJECT, 0, seen, 8), 2);
}

static void events_alone_leave_the_record_as_it_is(void **)
{
	static const struct group_event ev = { .kind = EVENT_INSTANCE_DOWN, .reason = "gone" };
	auto_engine en = engine_new();
	struct engine_group eg;
	struct instance_ref ref;

	engine_open(&en);
	engine_group_init(&eg, "dev", "sessions", 1);
	assert_int_equal(engine_commit(&en, NULL, &eg.g, NULL, 0), STORE_COMMITTED);
	assert_true(registry_find(en.r, NULL, eg.m[0].id, &ref));
	uint64_t revision = ref.g->revision;
	registry_commit_events(en.r, ref.entry, &ev, 1, engine_committed, &en);
	assert_true(ref.entry->committing);
	engine_run(&en);
	assert_int_equal(en.outcome, STORE_COMMITTED);
	assert_int_equal(ref.entry->g->revision, revision);
	assert_int_equal(registry_last_event(en.r), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_store_becomes_an_installation),
		cmocka_unit_test(a_commit_is_seen_when_it_is_durable),
		cmocka_unit_test(an_unknown_outcome_is_read_back),
		cmocka_unit_test(an_event_waits_for_those_before_it),
		cmocka_unit_test(a_record_that_somebody_else_changed_is_a_conflict),
		cmocka_unit_test(a_damaged_or_strange_record_is_refused_by_name),
		cmocka_unit_test(pages_are_in_order_over_deletes),
		cmocka_unit_test(a_name_is_of_its_project),
		cmocka_unit_test(turns_of_a_project_come_in_order),
		cmocka_unit_test(an_address_is_used_once_and_again_when_it_is_free),
		cmocka_unit_test(a_member_that_comes_or_goes_takes_its_address_along),
		cmocka_unit_test(addresses_go_on_behind_the_newest_after_a_restart),
		cmocka_unit_test(what_is_promised_counts),
		cmocka_unit_test(a_wish_for_company_is_kept),
		cmocka_unit_test(old_events_leave_and_numbers_go_on),
		cmocka_unit_test(an_event_is_seen_by_its_project),
		cmocka_unit_test(events_alone_leave_the_record_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
