/*
 * The connection to a server, against a real redis-server on a unix socket: stopped, killed,
 * started again, with users. A limit fails a test rather than letting it hang.
 */
#include "../test.h"

#include <unistd.h>

#include "base/clock.h"
#include "folder.h"
#include "io/process.h"
#include "io/redis.h"

#define SERVER "/usr/bin/redis-server"
enum { LONG_MS = 20000 };

struct scene {
	struct folder dir;
	struct loop *loop;
	struct timer *limit;
	struct process *server;
	struct path socket;
	bool server_ended;
};

/* What a callback was told. */
struct answer {
	struct scene *s;
	int calls, type;
	enum err_code code;
	char text[200];
	long long integer;
	struct answer *before; /* that must have been answered by then */
	bool stop;
};

/* Of the server that runs now, 0: none. A test that fails does not get to its own cleanup. */
static pid_t running;

static int kill_leftover(void **)
{
	if (running != 0) {
		kill(running, SIGKILL);
		running = 0;
	}
	return 0;
}

static void too_late(void *)
{
	fail_msg("nothing came within the limit");
}

static struct scene *scene_new(void)
{
	struct scene *s = calloc(1, sizeof *s);

	s->dir = folder_new();
	s->socket = path_in(&s->dir, "s.sock");
	s->loop = loop_new();
	s->limit = timer_new(s->loop, too_late, NULL);
	timer_set_in(s->limit, LONG_MS);
	return s;
}

static void on_server_end(void *arg, int, int)
{
	struct scene *s = arg;

	s->server_ended = true;
	running = 0;
	loop_stop(s->loop);
}

static void kill_server(struct scene *s)
{
	struct err e;

	assert_ok(process_signal(s->server, SIGKILL, &e), &e);
	while (!s->server_ended) {
		loop_run(s->loop);
	}
	process_free(s->server);
	s->server = NULL;
}

static void signal_server(struct scene *s, int signum)
{
	struct err e;

	assert_ok(process_signal(s->server, signum, &e), &e);
}

static void scene_free(struct scene **s)
{
	if ((*s)->server != NULL) {
		kill_server(*s);
	}
	timer_free((*s)->limit);
	loop_free((*s)->loop);
	folder_done(&(*s)->dir);
	free(*s);
}
#define auto_scene [[gnu::cleanup(scene_free)]] struct scene

static void redis_freep(struct redis **r)
{
	redis_free(*r);
}
#define auto_redis [[gnu::cleanup(redis_freep)]] struct redis

static struct redis *connection(struct scene *s, const char *user, const char *password)
{
	struct redis_config c = { .socket = s->socket.s,
				  .user = user,
				  .connect_limit_ms = LONG_MS };

	str_copy(c.password.open, sizeof c.password.open, password);
	return redis_new(s->loop, &c);
}

static void on_answer(void *arg, const redisReply *reply, const struct err *e)
{
	struct answer *a = arg;

	a->calls++;
	a->code = e->code;
	a->type = reply == NULL ? 0 : reply->type;
	a->integer = reply == NULL ? 0 : reply->integer;
	if (reply == NULL) {
		str_copy(a->text, sizeof a->text, e->msg);
	} else if (reply->str != NULL) {
		str_copy(a->text, sizeof a->text, reply->str);
	}
	if (a->before != NULL) {
		assert_int_equal(a->before->calls, 1);
	}
	if (a->stop) {
		loop_stop(a->s->loop);
	}
}

enum { WORDS_MAX = 8 };

static void send_words(struct redis *r, struct answer *a, int64_t limit_ms,
		       const char *const words[WORDS_MAX])
{
	size_t n = 0;

	while (n < WORDS_MAX && words[n] != NULL) {
		n++;
	}
	redis_command(r, n, words, limit_ms, on_answer, a);
	assert_int_equal(a->calls, 0); /* never before its starter returned */
}
#define SEND(r, a, limit_ms, ...)                                                                  \
	send_words(r, a, limit_ms, (const char *const[WORDS_MAX]){ __VA_ARGS__ })

static struct answer ask_words(struct scene *s, struct redis *r, int64_t limit_ms,
			       const char *const words[WORDS_MAX])
{
	struct answer a = { .s = s, .stop = true };

	send_words(r, &a, limit_ms, words);
	while (a.calls == 0) {
		loop_run(s->loop);
	}
	assert_int_equal(a.calls, 1);
	return a;
}
#define ASK(s, r, limit_ms, ...)                                                                   \
	ask_words(s, r, limit_ms, (const char *const[WORDS_MAX]){ __VA_ARGS__ })

/* Asks again until the server listens: its socket is there only some time after the start. */
static void start_server(struct scene *s, const char *settings)
{
	struct path conf = path_in(&s->dir, "redis.conf"), output = path_in(&s->dir, "output");
	auto_str text = {};
	struct err e;

	str_printf(&text, "port 0\nunixsocket %s\nsave \"\"\nlogfile \"\"\n%s", s->socket.s,
		   settings);
	assert_ok(file_replace(conf.s, text.p, text.len, 0600, &e), &e);
	struct process_start spec = {
		.argv = (const char *const[]){ SERVER, conf.s, NULL },
		.dir = s->dir.path,
		.output = output.s,
	};
	s->server_ended = false;
	unlink(s->socket.s);
	assert_ok(process_spawn(s->loop, &spec, on_server_end, s, &s->server, &e), &e);
	running = process_key(s->server).pid;

	auto_redis *r = connection(s, NULL, "");
	while (ASK(s, r, LONG_MS, "PING").code != ERR_NONE) {
		assert_false(s->server_ended);
	}
}

static void missing_socket_is_unavailable(void **)
{
	auto_scene *s = scene_new();
	auto_redis *r = connection(s, NULL, "");

	for (int i = 0; i < 2; i++) {
		struct answer a = ASK(s, r, LONG_MS, "PING");

		assert_int_equal(a.code, ERR_UNAVAILABLE);
		assert_non_null(strstr(a.text, s->socket.s));
		assert_non_null(strstr(a.text, "No such file"));
	}
}

static void over_long_path_is_refused_not_cut(void **)
{
	auto_scene *s = scene_new();

	memset(s->socket.s, 'x', 108);
	s->socket.s[0] = '/';
	s->socket.s[108] = '\0';
	auto_redis *r = connection(s, NULL, "");
	struct answer a = ASK(s, r, LONG_MS, "PING");
	assert_int_equal(a.code, ERR_UNAVAILABLE);
	assert_non_null(strstr(a.text, "too long"));
}

static void commands_are_answered_in_order(void **)
{
	enum { N = 200 };
	auto_scene *s = scene_new();
	struct answer a[N] = {};

	start_server(s, "");
	auto_redis *r = connection(s, NULL, "");
	for (int i = 0; i < N; i++) {
		char number[20];

		snprintf(number, sizeof number, "%d", i);
		a[i] = (struct answer){ s, .before = i > 0 ? &a[i - 1] : NULL, .stop = i + 1 == N };
		SEND(r, &a[i], LONG_MS, "ECHO", number); /* the words are copied */
	}
	while (a[N - 1].calls == 0) {
		loop_run(s->loop);
	}
	for (int i = 0; i < N; i++) {
		char number[20];

		snprintf(number, sizeof number, "%d", i);
		assert_string_equal(a[i].text, number);
		assert_int_equal(a[i].calls, 1);
	}
}

static void error_reply_is_a_reply(void **)
{
	auto_scene *s = scene_new();

	start_server(s, "");
	auto_redis *r = connection(s, NULL, "");
	struct answer a = ASK(s, r, LONG_MS, "NONSENSE");
	assert_int_equal(a.code, ERR_NONE);
	assert_int_equal(a.type, REDIS_REPLY_ERROR);
	assert_true(str_starts(a.text, "ERR unknown command"));
}

/* The answers that come when it goes on must not be taken for those of later commands. */
static void stopped_server_times_out(void **)
{
	auto_scene *s = scene_new();

	start_server(s, "");
	auto_redis *r = connection(s, NULL, "");
	assert_int_equal(ASK(s, r, LONG_MS, "PING").code, ERR_NONE);
	signal_server(s, SIGSTOP);

	struct answer first = { s }, third = { s };
	int64_t began_ms = clock_ms();
	SEND(r, &first, LONG_MS, "ECHO", "first");
	struct answer second = ASK(s, r, 50, "CONFIG", "SET", "masterauth", "hush");
	SEND(r, &third, LONG_MS, "ECHO", "third");
	assert_in_range(clock_ms() - began_ms, 50, LONG_MS / 2);
	assert_int_equal(second.code, ERR_TIMEOUT);
	assert_string_equal(second.text, "no answer to CONFIG within 50 ms");
	assert_int_equal(first.calls, 1);
	assert_int_equal(first.code, ERR_TIMEOUT);
	assert_int_equal(third.calls, 0);

	signal_server(s, SIGCONT);
	assert_string_equal(ASK(s, r, LONG_MS, "ECHO", "fourth").text, "fourth");
	assert_string_equal(third.text, "third");
}

static void killed_server_is_unavailable_and_its_successor_found(void **)
{
	auto_scene *s = scene_new();

	start_server(s, "");
	auto_redis *r = connection(s, NULL, "");
	assert_int_equal(ASK(s, r, LONG_MS, "PING").code, ERR_NONE);
	signal_server(s, SIGSTOP); /* so that it surely dies with the command unanswered */

	struct answer a = { s };
	SEND(r, &a, LONG_MS, "PING");
	kill_server(s);
	while (a.calls == 0) {
		loop_run(s->loop);
	}
	assert_int_equal(a.calls, 1);
	assert_int_equal(a.code, ERR_UNAVAILABLE);
	a = ASK(s, r, LONG_MS, "PING");
	assert_int_equal(a.code, ERR_UNAVAILABLE);
	assert_non_null(strstr(a.text, "refused"));

	start_server(s, "");
	assert_int_equal(ASK(s, r, LONG_MS, "PING").code, ERR_NONE);

	/* one that goes while nobody waits is noticed too */
	kill_server(s);
	start_server(s, "");
	assert_int_equal(ASK(s, r, LONG_MS, "PING").code, ERR_NONE);
}

static void login_comes_first(void **)
{
	static const struct {
		const char *says, *user, *password;
		enum err_code code;
		const char *text;
	} cases[] = {
		{ "user and password", "tanist", "right", ERR_NONE, "tanist" },
		{ "password alone is the default user's", NULL, "opens", ERR_NONE, "default" },
		{ "wrong password", "tanist", "wrong", ERR_UNAUTHORIZED, "WRONGPASS " },
		{ "unknown user", "nobody", "right", ERR_UNAUTHORIZED, "WRONGPASS " },
		{ "no login: the server's refusal is a reply", NULL, "", ERR_NONE, "NOAUTH " },
	};
	auto_scene *s = scene_new();

	start_server(s, "requirepass opens\nuser tanist on >right ~* +@all\n");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_redis *r = connection(s, cases[i].user, cases[i].password);
		struct answer before = { s };

		printf("# %s\n", cases[i].says);
		SEND(r, &before, LONG_MS, "ACL", "WHOAMI");
		struct answer a = ASK(s, r, LONG_MS, "ACL", "WHOAMI");
		assert_int_equal(a.code, cases[i].code);
		assert_true(str_starts(a.text, cases[i].text));
		assert_int_equal(before.calls, 1);
		assert_int_equal(before.code, a.code);
	}
}

/* The default user is open here: a command sent along with the login would be carried out. */
static void refused_login_carries_nothing_out(void **)
{
	auto_scene *s = scene_new();

	start_server(s, "user tanist on >right ~* +@all\n");
	auto_redis *wrong = connection(s, "tanist", "wrong");
	auto_redis *right = connection(s, "tanist", "right");
	assert_int_equal(ASK(s, wrong, LONG_MS, "SET", "key", "x").code, ERR_UNAUTHORIZED);
	assert_int_equal(ASK(s, right, LONG_MS, "EXISTS", "key").integer, 0);
}

static void no_place_for_us_is_unavailable(void **)
{
	auto_scene *s = scene_new();

	start_server(s, "user tanist on >right ~* +@all\nmaxclients 1\n");
	auto_redis *first = connection(s, "tanist", "right");
	auto_redis *second = connection(s, "tanist", "right");

	while (ASK(s, first, LONG_MS, "PING").code != ERR_NONE) {
		/* until the server has noticed that start_server() let go */
	}
	assert_int_equal(ASK(s, second, LONG_MS, "PING").code, ERR_UNAVAILABLE);
}

static void reset_opens_another_connection(void **)
{
	auto_scene *s = scene_new();
	struct answer waits = { s };

	start_server(s, "");
	auto_redis *r = connection(s, NULL, "");
	long long id = ASK(s, r, LONG_MS, "CLIENT", "ID").integer;
	assert_int_equal(ASK(s, r, LONG_MS, "CLIENT", "ID").integer, id);
	SEND(r, &waits, LONG_MS, "PING");
	redis_reset(r);
	assert_int_equal(waits.calls, 0);
	assert_true(ASK(s, r, LONG_MS, "CLIENT", "ID").integer > id);
	assert_int_equal(waits.calls, 1);
	assert_int_equal(waits.code, ERR_UNAVAILABLE);
}

struct nested {
	struct answer answer;
	struct redis *r;
	struct answer left_behind;
};

static void resets_and_asks(void *arg, const redisReply *, const struct err *)
{
	struct nested *n = arg;

	redis_reset(n->r);
	SEND(n->r, &n->answer, LONG_MS, "ECHO", "nested");
}

static void callback_may_reset_and_ask(void **)
{
	auto_scene *s = scene_new();

	start_server(s, "");
	auto_redis *r = connection(s, NULL, "");
	struct nested n = { .answer = { s, .stop = true }, .r = r };
	redis_command(r, 1, (const char *const[]){ "PING" }, LONG_MS, resets_and_asks, &n);
	SEND(r, &n.left_behind, LONG_MS, "ECHO", "behind");
	while (n.answer.calls == 0) {
		loop_run(s->loop);
	}
	assert_string_equal(n.answer.text, "nested");
	assert_int_equal(n.left_behind.calls, 1);
	assert_int_equal(n.left_behind.code, ERR_UNAVAILABLE);
}

enum { TRIES = 20 };

static void tries_again(void *arg, const redisReply *, const struct err *)
{
	struct nested *n = arg;

	if (++n->answer.calls < TRIES) {
		redis_command(n->r, 1, (const char *const[]){ "PING" }, LONG_MS, tries_again, n);
	}
}

static void stop(void *arg)
{
	struct scene *s = arg;

	loop_stop(s->loop);
}

/* One that tries again at once while there is no server does not keep the loop to itself. */
static void trying_again_starves_nobody(void **)
{
	auto_scene *s = scene_new();
	auto_redis *r = connection(s, NULL, "");
	struct timer *t = timer_new(s->loop, stop, s);
	struct nested n = { .r = r };

	redis_command(r, 1, (const char *const[]){ "PING" }, LONG_MS, tries_again, &n);
	timer_set_in(t, 2);
	loop_run(s->loop);
	assert_in_range(n.answer.calls, 1, TRIES - 1);
	while (n.answer.calls < TRIES) {
		timer_set_in(t, 1);
		loop_run(s->loop);
	}
	timer_free(t);
}

static void free_tells_those_who_wait(void **)
{
	auto_scene *s = scene_new();
	struct answer sent = { s }, failed = { s };

	start_server(s, "");
	struct redis *r = connection(s, NULL, "");
	SEND(r, &sent, LONG_MS, "PING");
	redis_free(r);
	assert_int_equal(sent.calls, 1);
	assert_int_equal(sent.code, ERR_UNAVAILABLE);

	kill_server(s);
	r = connection(s, NULL, "");
	SEND(r, &failed, LONG_MS, "PING");
	redis_free(r);
	assert_int_equal(failed.calls, 1);
	redis_free(NULL);
}

static void endless_answer_is_cut_off(void **)
{
	auto_scene *s = scene_new();

	start_server(s, "");
	auto_redis *r = connection(s, NULL, "");
	assert_int_equal(ASK(s, r, LONG_MS, "SETRANGE", "key", "17000000", "x").integer, 17000001);
	assert_int_equal(ASK(s, r, LONG_MS, "GET", "key").code, ERR_UNAVAILABLE);
	assert_int_equal(ASK(s, r, LONG_MS, "PING").code, ERR_NONE);
}

static void no_descriptor_is_lost(void **)
{
	int before = open_descriptors();

	missing_socket_is_unavailable(NULL);
	stopped_server_times_out(NULL);
	killed_server_is_unavailable_and_its_successor_found(NULL);
	callback_may_reset_and_ask(NULL);
	free_tells_those_who_wait(NULL);
	assert_int_equal(open_descriptors(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(missing_socket_is_unavailable, kill_leftover),
		cmocka_unit_test_teardown(over_long_path_is_refused_not_cut, kill_leftover),
		cmocka_unit_test_teardown(commands_are_answered_in_order, kill_leftover),
		cmocka_unit_test_teardown(error_reply_is_a_reply, kill_leftover),
		cmocka_unit_test_teardown(stopped_server_times_out, kill_leftover),
		cmocka_unit_test_teardown(killed_server_is_unavailable_and_its_successor_found,
					  kill_leftover),
		cmocka_unit_test_teardown(login_comes_first, kill_leftover),
		cmocka_unit_test_teardown(refused_login_carries_nothing_out, kill_leftover),
		cmocka_unit_test_teardown(no_place_for_us_is_unavailable, kill_leftover),
		cmocka_unit_test_teardown(reset_opens_another_connection, kill_leftover),
		cmocka_unit_test_teardown(callback_may_reset_and_ask, kill_leftover),
		cmocka_unit_test_teardown(trying_again_starves_nobody, kill_leftover),
		cmocka_unit_test_teardown(free_tells_those_who_wait, kill_leftover),
		cmocka_unit_test_teardown(endless_answer_is_cut_off, kill_leftover),
		cmocka_unit_test_teardown(no_descriptor_is_lost, kill_leftover),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
