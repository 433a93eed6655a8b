/*
 * Knocking at what answers, hangs up, hangs, refuses, or is no address at all.
 */
#include "../test.h"

#include <arpa/inet.h>

#include "base/clock.h"
#include "io/file.h"
#include "io/knock.h"
#include "io/stream.h"

enum { LIMIT_MS = 10000, SHORT_LIMIT_MS = 60 };

static struct loop *loop;
static int answered; /* -1: not yet */

static void on_answer(void *arg, bool answers)
{
	assert_ptr_equal(arg, &answered);
	assert_int_equal(answered, -1);
	answered = answers;
	loop_stop(loop);
}

static bool knock(const char *address, uint16_t port, int64_t limit_ms)
{
	answered = -1;
	knock_start(loop, address, port, limit_ms, on_answer, &answered);
	assert_int_equal(answered, -1);
	loop_run(loop);
	return answered == 1;
}

/* ---- a server of ours ---- */

static const char *says; /* to whoever sends something; NULL: hangs up at once */

static void *opened(void *, struct stream *s)
{
	if (says == NULL) {
		stream_finish(s);
	}
	return s;
}

static void received(void *s, const char *p, size_t len)
{
	assert_int_equal(len, strlen("PING\r\n"));
	assert_memory_equal(p, "PING\r\n", len);
	stream_send(s, says, strlen(says));
}

static void nothing(void *)
{
}

static bool knock_at_server(const char *words)
{
	struct stream_config config = { .address = "127.0.0.1",
					.max_streams = 4,
					.full = "",
					.unsent_max = 1000,
					.all_unsent_max = 1000,
					.stall_limit_ms = 1000,
					.keepalive_s = 60,
					.opened = opened,
					.received = received,
					.drained = nothing,
					.closed = nothing };
	struct stream_listener *ls;
	struct err e = {};

	says = words;
	loop = loop_new();
	assert_ok(stream_listen(loop, &config, &ls, &e), &e);
	bool answers = knock("127.0.0.1", stream_listener_port(ls), LIMIT_MS);
	stream_listener_free(ls);
	loop_free(loop);
	return answers;
}

static void whatever_is_read_is_an_answer(void **)
{
	assert_true(knock_at_server("+PONG\r\n"));
	assert_true(knock_at_server("-NOAUTH Authentication required.\r\n"));
	assert_true(knock_at_server("?"));
}

static void a_connection_that_is_closed_is_none(void **)
{
	assert_false(knock_at_server(NULL));
}

/* A socket of ours, bound; listening or not. Nobody ever accepts. */
static int bound(bool listens, uint16_t *ret_port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	assert_true(!listens || listen(fd, 4) == 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static void a_server_that_hangs_is_given_up_at_the_limit(void **)
{
	uint16_t port;
	auto_fd fd = bound(true, &port);
	int64_t began_ms = clock_ms();

	loop = loop_new();
	assert_false(knock("127.0.0.1", port, SHORT_LIMIT_MS));
	assert_true(clock_ms() - began_ms >= SHORT_LIMIT_MS - 1);
	loop_free(loop);
}

static void who_refuses_is_known_before_the_limit(void **)
{
	uint16_t port;
	auto_fd fd = bound(false, &port);
	int64_t began_ms = clock_ms();

	loop = loop_new();
	assert_false(knock("127.0.0.1", port, LIMIT_MS));
	assert_false(knock("no address", port, LIMIT_MS));
	assert_true(clock_ms() - began_ms < LIMIT_MS);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_is_read_is_an_answer),
		cmocka_unit_test(a_connection_that_is_closed_is_none),
		cmocka_unit_test(a_server_that_hangs_is_given_up_at_the_limit),
		cmocka_unit_test(who_refuses_is_known_before_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
