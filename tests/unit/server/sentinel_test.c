/*
 * Discovery without sockets: what a client that says this hears. Groups are committed by hand, so
 * a source can change before anything in the control plane changes one.
 */
#include "engine.h"

#include "server/sentinel_impl.h"

struct scene {
	struct engine en;
	struct auth *auth;
	struct sentinel *s;
};

static struct token tokens[] = {
	{ .token = "red-token", .project = "red" },
	{ .token = "blue-token", .project = "blue", .admin = true },
};

static struct scene scene_new(const char *auth_mode)
{
	struct scene sc = { .en = engine_new() };

	engine_set(&sc.en, "auth.mode", auth_mode);
	sc.en.settings.tokens = tokens;
	sc.en.settings.ntokens = ARRAY_LEN(tokens);
	return sc;
}

/* The engine must not move any more. */
static void scene_start(struct scene *sc)
{
	engine_open(&sc->en);
	engine_join(&sc->en, "here", "127.0.77.1-127.0.77.9");
	sc->auth = auth_new(&sc->en.settings);
	sc->s = sentinel_new(sc->en.r, sc->auth);
	sentinel_names_start(sc->s);
}

static void scene_done(struct scene *sc)
{
	if (sc->s != NULL) {
		while (!LIST_EMPTY(&sc->s->clients)) {
			client_free(LIST_FIRST(&sc->s->clients));
		}
		engine_close(&sc->en);
		sentinel_free(sc->s);
	}
	auth_free(sc->auth);
	engine_done(&sc->en);
}

#define auto_scene [[gnu::cleanup(scene_done)]] struct scene

static void add_group(struct scene *sc, struct engine_group *eg, const char *project,
		      const char *name, size_t nmembers)
{
	static int net;

	engine_group_init(eg, project, name, nmembers);
	net++;
	for (size_t i = 0; i < nmembers; i++) {
		snprintf(eg->address[i], sizeof eg->address[i], "127.1.%d.%zu", net, i + 1);
		eg->m[i].state = MEMBER_ACTIVE;
	}
	assert_int_equal(engine_commit(&sc->en, NULL, &eg->g, NULL, 0), STORE_COMMITTED);
}

static void change(struct scene *sc, struct engine_group *eg)
{
	struct entry *en = registry_group(sc->en.r, eg->g.id);

	assert_non_null(en);
	assert_int_equal(engine_commit(&sc->en, en, &eg->g, NULL, 0), STORE_COMMITTED);
}

static const char *heard(struct client *c)
{
	return str_cstr(&c->out.text);
}

/* What the client hears when it says this line. */
static const char *say(struct client *c, const char *line)
{
	auto_str text = {};

	str_clear(&c->out.text);
	str_printf(&text, "%s\r\n", line);
	client_feed(c, text.p, text.len);
	return heard(c);
}

static bool contains(const char *text, const char *part)
{
	return strstr(text, part) != NULL;
}

static void where(char *out, size_t size, const struct engine_group *eg, size_t i)
{
	snprintf(out, size, "*2\r\n$%zu\r\n%s\r\n$4\r\n6379\r\n", strlen(eg->address[i]),
		 eg->address[i]);
}

static const char *ask(struct client *c, const char *name)
{
	char line[512];

	snprintf(line, sizeof line, "SENTINEL get-master-addr-by-name \"%s\"", name);
	return say(c, line);
}

/* ---- names ---- */

static void a_group_answers_to_its_names(void **)
{
	auto_scene sc = scene_new("none");
	struct engine_group red, blue, only, odd;
	char red_at[64], blue_at[64], only_at[64];

	scene_start(&sc);
	add_group(&sc, &red, "red", "sessions", 2);
	add_group(&sc, &blue, "blue", "sessions", 1);
	add_group(&sc, &only, "red", "carts", 1);
	add_group(&sc, &odd, "blue", "red/carts", 1);
	where(red_at, sizeof red_at, &red, 0);
	where(blue_at, sizeof blue_at, &blue, 0);
	where(only_at, sizeof only_at, &only, 0);

	const struct {
		const char *says, *name, *want;
	} cases[] = {
		{ "project/name", "red/sessions", red_at },
		{ "project/name of another project", "blue/sessions", blue_at },
		{ "a bare name that two have is nobody's", "sessions", "*-1\r\n" },
		{ "a bare name that one has", "carts", only_at },
		{ "project/name goes before a name that looks like it", "red/carts", only_at },
		{ "the id of the group", id_text(red.g.id).s, red_at },
		{ "the id of the source", id_text(red.m[0].id).s, red_at },
		{ "the id of a replica leads to the source", id_text(red.m[1].id).s, red_at },
		{ "an unknown id", "00000000-0000-4000-8000-000000000000", "*-1\r\n" },
		{ "an unknown name", "nope", "*-1\r\n" },
		{ "no name", "", "*-1\r\n" },
		{ "half a path", "red/", "*-1\r\n" },
		{ "other case is another name", "Carts", "*-1\r\n" },
	};
	struct client *c = client_new(sc.s, NULL);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		printf("# %s\n", cases[i].says);
		assert_string_equal(ask(c, cases[i].name), cases[i].want);
	}
	/* And it is listed under each: redis-py looks its name up in the list. */
	say(c, "SENTINEL masters");
	assert_true(contains(heard(c), "$12\r\nred/sessions\r\n"));
	assert_true(contains(heard(c), "$5\r\ncarts\r\n"));
	assert_true(contains(heard(c), id_text(red.m[1].id).s));
	assert_false(contains(heard(c), "name\r\n$8\r\nsessions\r\n"));
}

static void names_come_and_go_with_the_records(void **)
{
	auto_scene sc = scene_new("none");
	struct engine_group red, blue;
	char red_at[64];

	scene_start(&sc);
	add_group(&sc, &red, "red", "sessions", 2);
	add_group(&sc, &blue, "blue", "sessions", 1);
	where(red_at, sizeof red_at, &red, 0);

	struct client *c = client_new(sc.s, NULL);
	assert_string_equal(ask(c, "sessions"), "*-1\r\n");

	struct entry *en = registry_group(sc.en.r, blue.g.id);
	assert_int_equal(engine_commit(&sc.en, en, NULL, NULL, 0), STORE_COMMITTED);
	assert_string_equal(ask(c, "sessions"), red_at);
	assert_string_equal(ask(c, "blue/sessions"), "*-1\r\n");

	/* What is being deleted is nothing to connect to. */
	red.m[0].state = MEMBER_DELETING;
	change(&sc, &red);
	assert_string_equal(ask(c, "sessions"), "*-1\r\n");
	assert_string_equal(say(c, "SENTINEL masters"), "*0\r\n");
}

/* ---- login ---- */

static void a_token_opens_its_project_alone(void **)
{
	auto_scene sc = scene_new("token");
	struct engine_group red, blue;
	char red_at[64], blue_at[64];

	scene_start(&sc);
	add_group(&sc, &red, "red", "sessions", 1);
	add_group(&sc, &blue, "blue", "sessions", 1);
	where(red_at, sizeof red_at, &red, 0);
	where(blue_at, sizeof blue_at, &blue, 0);

	struct client *c = client_new(sc.s, NULL);
	const struct {
		const char *line, *want;
	} talk[] = {
		{ "PING", "-NOAUTH Authentication required.\r\n" },
		{ "SENTINEL masters", "-NOAUTH Authentication required.\r\n" },
		{ "SUBSCRIBE +switch-master", "-NOAUTH Authentication required.\r\n" },
		{ "AUTH nope",
		  "-WRONGPASS invalid username-password pair or user is disabled.\r\n" },
		{ "AUTH \"red-token\\x00\"",
		  "-WRONGPASS invalid username-password pair or user is disabled.\r\n" },
		{ "AUTH blue red-token",
		  "-WRONGPASS invalid username-password pair or user is disabled.\r\n" },
		{ "PING", "-NOAUTH Authentication required.\r\n" },
		{ "AUTH red-token", "+OK\r\n" },
		{ "PING", "+PONG\r\n" },
		{ "SENTINEL get-master-addr-by-name sessions", red_at },
		{ "SENTINEL get-master-addr-by-name red/sessions", red_at },
		{ "SENTINEL get-master-addr-by-name blue/sessions", "*-1\r\n" },
		{ "SENTINEL master blue/sessions", "-ERR No such master with that name\r\n" },
		{ "ROLE", "*2\r\n$8\r\nsentinel\r\n*1\r\n$8\r\nsessions\r\n" },
		{ "AUTH blue blue-token", "+OK\r\n" },
		{ "SENTINEL get-master-addr-by-name sessions", blue_at },
		{ "AUTH default red-token", "+OK\r\n" },
		{ "SENTINEL get-master-addr-by-name sessions", red_at },
		{ "RESET", "+RESET\r\n" },
		{ "PING", "-NOAUTH Authentication required.\r\n" },
	};

	for (size_t i = 0; i < ARRAY_LEN(talk); i++) {
		printf("# %s\n", talk[i].line);
		assert_string_equal(say(c, talk[i].line), talk[i].want);
	}
	assert_string_equal(ask(c, id_text(blue.g.id).s), "-NOAUTH Authentication required.\r\n");
	say(c, "AUTH red-token");
	assert_string_equal(ask(c, id_text(blue.g.id).s), "*-1\r\n");
	assert_string_equal(ask(c, id_text(blue.m[0].id).s), "*-1\r\n");
	assert_string_equal(ask(c, id_text(red.m[0].id).s), red_at);
	assert_false(contains(say(c, "SENTINEL masters"), "blue"));
	assert_true(str_starts(say(c, "HELLO 3 AUTH default red-token SETNAME x"), "%6\r\n"));
	assert_true(str_starts(say(c, "HELLO 2"), "*12\r\n"));
}

/* ---- +switch-master ---- */

/* The payload as a bulk string. */
static bool was_told(struct client *c, const char *name, const struct engine_group *eg, size_t from,
		     size_t to)
{
	char text[512], bulk[600];

	snprintf(text, sizeof text, "%s %s 6379 %s 6379", name, eg->address[from], eg->address[to]);
	snprintf(bulk, sizeof bulk, "$14\r\n+switch-master\r\n$%zu\r\n%s\r\n", strlen(text), text);
	return contains(heard(c), bulk);
}

static void a_switch_is_told_at_its_commit(void **)
{
	auto_scene sc = scene_new("none");
	struct engine_group eg, other;
	char at[64];

	scene_start(&sc);
	add_group(&sc, &eg, "red", "sessions", 2);
	add_group(&sc, &other, "blue", "carts", 1);

	struct client *plain = client_new(sc.s, NULL), *pattern = client_new(sc.s, NULL);
	struct client *v3 = client_new(sc.s, NULL), *deaf = client_new(sc.s, NULL);

	say(plain, "SUBSCRIBE x +switch-master");
	say(pattern, "PSUBSCRIBE +sw*");
	say(v3, "HELLO 3");
	say(v3, "SUBSCRIBE +switch-master");
	say(deaf, "SUBSCRIBE +sdown");
	say(deaf, "PSUBSCRIBE -* [a-z]*");
	struct client *all[] = { plain, pattern, v3, deaf };

	/* A change of something else is nothing to tell. */
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		str_clear(&all[i]->out.text);
	}
	eg.g.epoch++;
	change(&sc, &eg);
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		assert_string_equal(heard(all[i]), "");
	}

	eg.g.epoch++;
	eg.g.source = eg.m[1].id;
	change(&sc, &eg);
	assert_true(str_starts(heard(plain), "*3\r\n$7\r\nmessage\r\n"));
	assert_true(was_told(plain, "sessions", &eg, 0, 1));
	assert_true(was_told(plain, "red/sessions", &eg, 0, 1));
	assert_true(was_told(plain, id_text(eg.g.id).s, &eg, 0, 1));
	assert_true(was_told(plain, id_text(eg.m[0].id).s, &eg, 0, 1));
	assert_true(was_told(plain, id_text(eg.m[1].id).s, &eg, 0, 1));
	assert_true(str_starts(heard(pattern), "*4\r\n$8\r\npmessage\r\n$4\r\n+sw*\r\n"));
	assert_true(was_told(pattern, "sessions", &eg, 0, 1));
	assert_true(str_starts(heard(v3), ">3\r\n$7\r\nmessage\r\n"));
	assert_string_equal(heard(deaf), "");

	where(at, sizeof at, &eg, 1);
	struct client *late = client_new(sc.s, NULL);
	assert_string_equal(ask(late, "sessions"), at);
}

/* The commit of an eject: the winner is the source, and who was it is in a group of its own. */
static void eject(struct scene *sc, struct engine_group *eg, struct group *left)
{
	struct group next = eg->g;

	*left = eg->g;
	left->id = id_new();
	left->name = "sessions-2";
	left->epoch = next.epoch = eg->g.epoch + 1;
	left->nmembers = 1;
	left->members = &eg->m[0];
	left->history = NULL;
	left->nhistory = 0;
	eg->m[0].state = MEMBER_FENCED;
	eg->m[0].fault = (struct fault){ .kind = FAULT_EJECTED, .text = "ejected" };
	next.members = &eg->m[1];
	next.nmembers = 1;
	next.source = eg->m[1].id;
	next.op = (struct operation){ .id = id_new(),
				      .kind = OP_EJECT,
				      .phase = PHASE_EJECT_PROMOTE,
				      .target = eg->m[1].id };
	eg->history[0] = (struct history_entry){ .epoch = next.epoch, .source = next.source };
	next.nhistory = 1;

	const struct registry_change changes[] = { { registry_group(sc->en.r, eg->g.id), &next },
						   { NULL, left } };

	registry_commit_pair(sc->en.r, changes, NULL, 0, engine_committed, &sc->en);
	engine_run(&sc->en);
	assert_int_equal(sc->en.outcome, STORE_COMMITTED);
}

/* Clients are sent to the winner at the commit, and to the one that was ejected by no name at all.
 */
static void who_was_ejected_is_not_found_any_more(void **)
{
	auto_scene sc = scene_new("none");
	struct engine_group eg;
	struct group left;
	char at[64];

	scene_start(&sc);
	add_group(&sc, &eg, "red", "sessions", 2);
	struct client *c = client_new(sc.s, NULL), *ear = client_new(sc.s, NULL);

	where(at, sizeof at, &eg, 0);
	assert_string_equal(ask(c, id_text(eg.m[0].id).s), at);
	say(ear, "SUBSCRIBE +switch-master");
	str_clear(&ear->out.text);
	eject(&sc, &eg, &left);
	assert_true(was_told(ear, "sessions", &eg, 0, 1));
	assert_false(contains(heard(ear), "sessions-2"));

	where(at, sizeof at, &eg, 1);
	assert_string_equal(ask(c, "sessions"), at);
	assert_string_equal(ask(c, id_text(eg.m[1].id).s), at);
	const char *gone[] = { "sessions-2", "red/sessions-2", id_text(left.id).s,
			       id_text(eg.m[0].id).s };
	for (size_t i = 0; i < ARRAY_LEN(gone); i++) {
		assert_string_equal(ask(c, gone[i]), "*-1\r\n");
	}
	assert_true(contains(say(c, "INFO sentinel"), "sentinel_masters:1\r\n"));
	assert_false(contains(say(c, "SENTINEL masters"), eg.address[0]));
	assert_false(contains(say(c, "SENTINEL replicas sessions"), eg.address[0]));
}

static void a_switch_is_told_to_those_who_may_know(void **)
{
	auto_scene sc = scene_new("token");
	struct engine_group eg, spaced;

	scene_start(&sc);
	add_group(&sc, &eg, "red", "sessions", 2);
	add_group(&sc, &spaced, "red", "two words", 2);

	struct client *red = client_new(sc.s, NULL), *blue = client_new(sc.s, NULL);
	struct client *nobody = client_new(sc.s, NULL), *left = client_new(sc.s, NULL);
	struct client *all[] = { red, blue, nobody, left };

	say(red, "AUTH red-token");
	say(blue, "AUTH blue-token");
	say(left, "AUTH red-token");
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		say(all[i], "SUBSCRIBE +switch-master");
	}
	say(left, "UNSUBSCRIBE");
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		str_clear(&all[i]->out.text);
	}
	eg.g.source = eg.m[1].id;
	change(&sc, &eg);
	assert_true(was_told(red, "sessions", &eg, 0, 1));
	assert_string_equal(heard(blue), "");
	assert_string_equal(heard(nobody), "");
	assert_string_equal(heard(left), "");

	/* Five words it must be: a name of two cannot be told, its ids can. */
	str_clear(&red->out.text);
	spaced.g.source = spaced.m[1].id;
	change(&sc, &spaced);
	assert_false(contains(heard(red), "two words"));
	assert_true(was_told(red, id_text(spaced.g.id).s, &spaced, 0, 1));
}

/* ---- flags ---- */

static void report(struct scene *sc, const struct observation *o)
{
	struct wire_report_answer answer;
	struct err e = {};

	assert_ok(engine_report(&sc->en, false, NULL, o, 1, &answer, &e), &e);
}

static void a_source_that_is_down_is_marked_and_still_named(void **)
{
	auto_scene sc = scene_new("none");
	struct engine_group eg;
	char at[64];

	scene_start(&sc);
	add_group(&sc, &eg, "red", "sessions", 2);
	where(at, sizeof at, &eg, 0);

	const struct {
		const char *says;
		struct observation o;
		enum op_phase phase;
		enum member_state state;
		bool down;
	} cases[] = {
		{ "it serves",
		  { .proc = PROC_RUNNING, .role = SERVER_ROLE_MASTER },
		  PHASE_NONE,
		  MEMBER_ACTIVE,
		  false },
		{ "its server has ended",
		  { .proc = PROC_EXITED },
		  PHASE_NONE,
		  MEMBER_ACTIVE,
		  true },
		{ "its server hangs", { .proc = PROC_HUNG }, PHASE_NONE, MEMBER_ACTIVE, true },
		{ "it is guarded",
		  { .proc = PROC_RUNNING, .guarded = true, .role = SERVER_ROLE_REPLICA },
		  PHASE_NONE,
		  MEMBER_ACTIVE,
		  true },
		{ "it is held",
		  { .proc = PROC_RUNNING, .role = SERVER_ROLE_MASTER },
		  PHASE_RESTART_HELD,
		  MEMBER_ACTIVE,
		  true },
		{ "it is in ERROR",
		  { .proc = PROC_RUNNING, .role = SERVER_ROLE_MASTER },
		  PHASE_NONE,
		  MEMBER_ERROR,
		  true },
		{ "it is compared",
		  { .proc = PROC_RUNNING, .role = SERVER_ROLE_MASTER },
		  PHASE_RESTART_COMPARE,
		  MEMBER_ACTIVE,
		  true },
		{ "it is ejected",
		  { .proc = PROC_RUNNING, .role = SERVER_ROLE_MASTER },
		  PHASE_EJECT_SEAL,
		  MEMBER_ACTIVE,
		  true },
		{ "it is a replica",
		  { .proc = PROC_RUNNING, .role = SERVER_ROLE_REPLICA },
		  PHASE_NONE,
		  MEMBER_ACTIVE,
		  true },
		{ "it is about to be promoted",
		  { .proc = PROC_RUNNING, .role = SERVER_ROLE_REPLICA },
		  PHASE_HANDOVER_PROMOTE,
		  MEMBER_ACTIVE,
		  false },
		{ "it died before it was promoted",
		  { .proc = PROC_EXITED, .role = SERVER_ROLE_REPLICA },
		  PHASE_HANDOVER_PROMOTE,
		  MEMBER_ACTIVE,
		  true },
		{ "it serves again",
		  { .proc = PROC_RUNNING, .role = SERVER_ROLE_MASTER },
		  PHASE_NONE,
		  MEMBER_ACTIVE,
		  false },
	};
	struct client *c = client_new(sc.s, NULL);

	/* Not heard yet is no evidence. */
	assert_true(contains(say(c, "SENTINEL master sessions"), "flags\r\n$6\r\nmaster\r\n"));
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct observation o = cases[i].o;

		printf("# %s\n", cases[i].says);
		o.instance = eg.m[0].id;
		eg.m[0].state = cases[i].state;
		eg.g.op.phase = cases[i].phase;
		/* the reconciler does not run here, so any kind will do */
		eg.g.op.kind = cases[i].phase == PHASE_NONE ? OP_NONE : OP_RESTART;
		change(&sc, &eg);
		report(&sc, &o);
		assert_string_equal(ask(c, "sessions"), at);
		say(c, "SENTINEL master sessions");
		assert_int_equal(contains(heard(c), "$20\r\ns_down,o_down,master\r\n"),
				 cases[i].down);
		assert_int_equal(contains(heard(c), "o-down-time"), cases[i].down);
		assert_int_equal(contains(heard(c), "flags\r\n$6\r\nmaster\r\n"), !cases[i].down);
		assert_int_equal(contains(say(c, "INFO sentinel"), "status=ok"), !cases[i].down);
	}
}

static void a_replica_without_all_data_is_nothing_to_read_from(void **)
{
	auto_scene sc = scene_new("none");
	struct engine_group eg;

	scene_start(&sc);
	add_group(&sc, &eg, "red", "sessions", 2);

	struct client *c = client_new(sc.s, NULL);
	assert_true(contains(say(c, "SENTINEL replicas sessions"), "flags\r\n$5\r\nslave\r\n"));
	eg.m[1].state = MEMBER_SYNCING;
	change(&sc, &eg);
	assert_true(contains(say(c, "SENTINEL slaves sessions"), "$12\r\ns_down,slave\r\n"));
	eg.m[1].state = MEMBER_DELETING;
	change(&sc, &eg);
	assert_string_equal(say(c, "SENTINEL replicas sessions"), "*0\r\n");
	assert_true(contains(say(c, "SENTINEL master sessions"), "num-slaves\r\n$1\r\n0\r\n"));
}

/* ---- limits ---- */

static void a_client_has_so_many_subscriptions(void **)
{
	auto_scene sc = scene_new("none");
	char line[SUBSCRIPTION_TEXT_MAX + 64];

	scene_start(&sc);
	struct client *c = client_new(sc.s, NULL);

	for (int i = 0; i < SUBSCRIPTIONS_MAX; i++) {
		snprintf(line, sizeof line, "SUBSCRIBE channel-%d", i);
		assert_true(str_starts(say(c, line), "*3\r\n"));
	}
	assert_true(str_starts(say(c, "PSUBSCRIBE more"), "-ERR at most"));
	assert_true(str_starts(say(c, "SUBSCRIBE channel-0"), "*3\r\n")); /* it has that one */
	say(c, "UNSUBSCRIBE");
	assert_string_equal(say(c, "PING"), "+PONG\r\n");
	snprintf(line, sizeof line, "PSUBSCRIBE %0*d", SUBSCRIPTION_TEXT_MAX + 1, 0);
	assert_true(str_starts(say(c, line), "-ERR a channel"));
	snprintf(line, sizeof line, "CLIENT SETNAME %0*d", CLIENT_NAME_MAX + 1, 0);
	assert_true(str_starts(say(c, line), "-ERR Client names"));
	assert_string_equal(say(c, "CLIENT GETNAME"), "$-1\r\n");
}

static void what_is_no_request_ends_the_talk(void **)
{
	auto_scene sc = scene_new("none");

	scene_start(&sc);
	static const char *const bad[] = { "*x",      "*1\r\n+PING", "PING \"", "POST / HTTP/1.1",
					   "Host: x", "*129",        "QUIT" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct client *c = client_new(sc.s, NULL);

		say(c, bad[i]);
		assert_true(c->leaving);
		assert_string_equal(say(c, "PING"), "");
		client_free(c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_group_answers_to_its_names),
		cmocka_unit_test(names_come_and_go_with_the_records),
		cmocka_unit_test(a_token_opens_its_project_alone),
		cmocka_unit_test(a_switch_is_told_at_its_commit),
		cmocka_unit_test(who_was_ejected_is_not_found_any_more),
		cmocka_unit_test(a_switch_is_told_to_those_who_may_know),
		cmocka_unit_test(a_source_that_is_down_is_marked_and_still_named),
		cmocka_unit_test(a_replica_without_all_data_is_nothing_to_read_from),
		cmocka_unit_test(a_client_has_so_many_subscriptions),
		cmocka_unit_test(what_is_no_request_ends_the_talk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
