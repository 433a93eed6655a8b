/*
 * Connections to us: what arrives, what is told at the end, and who is dropped. The peers are
 * blocking sockets of the test itself.
 */
#include "../test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "folder.h"
#include "io/stream.h"

enum { LIMIT_MS = 20'000, PEERS = 4 };

struct scene {
	struct loop *loop;
	struct stream_listener *ls;
	struct timer *limit;
	struct stream *stream[PEERS]; /* NULL: closed */
	size_t opened, closed, drained;
	struct str got;
	bool echo, finish;
	bool (*until)(struct scene *sc);
};

struct owner {
	struct scene *sc;
	size_t i;
};

static struct owner owners[PEERS];

static void look(struct scene *sc)
{
	if (sc->until != NULL && sc->until(sc)) {
		loop_stop(sc->loop);
	}
}

static void *on_opened(void *arg, struct stream *s)
{
	struct scene *sc = arg;
	size_t i = sc->opened++;

	assert_true(i < PEERS);
	owners[i] = (struct owner){ sc, i };
	sc->stream[i] = s;
	look(sc);
	return &owners[i];
}

static void on_received(void *arg, const char *p, size_t len)
{
	struct owner *o = arg;

	str_append_mem(&o->sc->got, p, len);
	if (o->sc->echo) {
		stream_send(o->sc->stream[o->i], p, len);
	}
	if (o->sc->finish) {
		stream_finish(o->sc->stream[o->i]);
	}
	look(o->sc);
}

static void on_drained(void *arg)
{
	struct owner *o = arg;

	o->sc->drained++;
	look(o->sc);
}

static void on_closed(void *arg)
{
	struct owner *o = arg;

	assert_non_null(o->sc->stream[o->i]);
	o->sc->stream[o->i] = NULL;
	o->sc->closed++;
	look(o->sc);
}

static void too_long(void *)
{
	fail_msg("nothing happened within %d ms", LIMIT_MS);
}

static struct stream_config config_of(struct scene *sc)
{
	return (struct stream_config){
		.address = "127.0.0.1",
		.max_streams = 2,
		.full = "full\n",
		.unsent_max = 1000,
		.all_unsent_max = 64 << 20,
		.stall_limit_ms = 60'000,
		.keepalive_s = 60,
		.opened = on_opened,
		.received = on_received,
		.drained = on_drained,
		.closed = on_closed,
		.arg = sc,
	};
}

static void begin(struct scene *sc, const struct stream_config *c)
{
	struct err e = {};

	log_set_level(LOG_ERROR);
	sc->loop = loop_new();
	assert_ok(stream_listen(sc->loop, c, &sc->ls, &e), &e);
}

static void run_until(struct scene *sc, bool (*holds)(struct scene *sc))
{
	if (holds(sc)) {
		return;
	}
	sc->limit = timer_new(sc->loop, too_long, NULL);
	timer_set_in(sc->limit, LIMIT_MS);
	sc->until = holds;
	loop_run(sc->loop);
	sc->until = NULL;
	timer_free(sc->limit);
}

static void finish(struct scene *sc)
{
	size_t opened = sc->opened;

	stream_listener_free(sc->ls);
	loop_free(sc->loop);
	assert_int_equal(sc->closed, opened); /* exactly once each */
	str_done(&sc->got);
}

static int join(const struct scene *sc)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(stream_listener_port(sc->ls)),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	return fd;
}

/* All until the end. */
static void read_end(int fd, struct str *out)
{
	char buf[512];
	ssize_t n;

	while ((n = read(fd, buf, sizeof buf)) > 0) {
		str_append_mem(out, buf, (size_t)n);
	}
	close(fd);
}

static bool one_opened(struct scene *sc)
{
	return sc->opened == 1;
}

static bool two_opened(struct scene *sc)
{
	return sc->opened == 2;
}

static bool one_closed(struct scene *sc)
{
	return sc->closed == 1;
}

static bool hello_drained(struct scene *sc)
{
	return sc->got.len == 5 && sc->drained > 0;
}

static void what_is_said_is_heard_and_answered(void **)
{
	struct scene sc = { .echo = true };
	struct stream_config c = config_of(&sc);
	auto_str answer = {};

	loop_free(loop_new()); /* libuv keeps two descriptors of the first loop for the next */
	int before = open_descriptors();

	begin(&sc, &c);
	int fd = join(&sc);
	assert_int_equal(write(fd, "hello", 5), 5);
	run_until(&sc, hello_drained);
	assert_int_equal(stream_count(sc.ls), 1);
	assert_int_equal(stream_unsent(sc.stream[0]), 0);
	sc.finish = true;
	assert_int_equal(write(fd, "!", 1), 1);
	run_until(&sc, one_closed);
	read_end(fd, &answer);
	assert_string_equal(str_cstr(&answer), "hello!"); /* finished: what was sent arrives */
	finish(&sc);
	assert_int_equal(open_descriptors(), before);
}

static void one_too_many_is_told(void **)
{
	struct scene sc = {};
	struct stream_config c = config_of(&sc);
	auto_str answer = {};

	begin(&sc, &c);
	int a = join(&sc), b = join(&sc), third = join(&sc);
	run_until(&sc, two_opened);
	/* The refused one never opens; the next turn of the loop has dealt with it. */
	close(a);
	run_until(&sc, one_closed);
	read_end(third, &answer);
	assert_string_equal(str_cstr(&answer), "full\n");
	close(b);
	finish(&sc);
}

static void who_does_not_take_it_is_dropped(void **)
{
	static char much[1 << 20];
	struct scene sc = {};
	struct stream_config c = config_of(&sc);

	begin(&sc, &c);
	int fd = join(&sc);
	run_until(&sc, one_opened);
	/* One answer may be of any length; the next on top of it may not be. */
	for (int i = 0; i < 64 && stream_unsent(sc.stream[0]) <= c.unsent_max; i++) {
		stream_send(sc.stream[0], much, sizeof much);
	}
	assert_int_equal(sc.closed, 0); /* never inside a call of ours */
	stream_send(sc.stream[0], "x", 1);
	stream_send(sc.stream[0], "y", 1); /* nothing happens: it is closing */
	run_until(&sc, one_closed);
	close(fd);
	finish(&sc);
}

static void who_stalls_is_dropped(void **)
{
	static char much[8 << 20];
	struct scene sc = {};
	struct stream_config c = config_of(&sc);

	c.stall_limit_ms = 100;
	begin(&sc, &c);
	int fd = join(&sc);
	run_until(&sc, one_opened);
	stream_send(sc.stream[0], much, sizeof much);
	stream_finish(sc.stream[0]);
	run_until(&sc, one_closed);
	close(fd);
	finish(&sc);
}

static void who_is_past_the_deadline_is_dropped(void **)
{
	struct scene sc = {};
	struct stream_config c = config_of(&sc);
	auto_str answer = {};

	begin(&sc, &c);
	int fd = join(&sc), other = join(&sc);
	run_until(&sc, two_opened);
	stream_set_deadline(sc.stream[0], clock_ms() + 10);
	run_until(&sc, one_closed);
	assert_null(sc.stream[0]);
	assert_non_null(sc.stream[1]);
	read_end(fd, &answer);
	close(other);
	finish(&sc);
}

static void what_is_paused_hears_later(void **)
{
	struct scene sc = { .echo = true };
	struct stream_config c = config_of(&sc);

	begin(&sc, &c);
	int fd = join(&sc), other = join(&sc);
	run_until(&sc, two_opened);
	stream_pause(sc.stream[0], true);
	assert_int_equal(write(fd, "hello", 5), 5);
	close(other);
	run_until(&sc, one_closed);
	assert_int_equal(sc.got.len, 0);
	stream_pause(sc.stream[0], false);
	run_until(&sc, hello_drained);
	close(fd);
	finish(&sc);
}

static void a_taken_address_is_told(void **)
{
	struct scene sc = {};
	struct stream_config c = config_of(&sc);
	struct stream_listener *second;
	struct err e = {};

	begin(&sc, &c);
	c.port = stream_listener_port(sc.ls);
	assert_false(stream_listen(sc.loop, &c, &second, &e));
	assert_int_equal(e.code, ERR_CONFLICT);
	finish(&sc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_said_is_heard_and_answered),
		cmocka_unit_test(one_too_many_is_told),
		cmocka_unit_test(who_does_not_take_it_is_dropped),
		cmocka_unit_test(who_stalls_is_dropped),
		cmocka_unit_test(who_is_past_the_deadline_is_dropped),
		cmocka_unit_test(what_is_paused_hears_later),
		cmocka_unit_test(a_taken_address_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
