/*
 * The order in which the loop runs things, and that whatever is left open ends with it. Each test
 * writes a trace of one letter per call.
 */
#include "../test.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "folder.h"
#include "io/loop.h"

struct scene {
	struct loop *loop;
	struct timer *timer, *other;
	struct fd_watch *watch;
	int fd[2];
	char trace[64];
	int count;
	int64_t fired_ms;
};

static void mark(struct scene *s, char c)
{
	size_t len = strlen(s->trace);

	assert_true(len + 1 < sizeof s->trace);
	s->trace[len] = c;
	s->trace[len + 1] = '\0';
}

static void mark_d(void *arg)
{
	mark(arg, 'd');
}

static void mark_t(void *arg)
{
	mark(arg, 't');
}

static void stop(void *arg)
{
	struct scene *s = arg;

	mark(s, 's');
	loop_stop(s->loop);
}

static void timer_fires(void *arg)
{
	struct scene *s = arg;

	mark(s, 't');
	s->fired_ms = clock_ms();
	loop_stop(s->loop);
}

static void timer_fires_at_its_point_and_once(void **)
{
	struct scene s = { .loop = loop_new() };
	struct timer *t = timer_new(s.loop, timer_fires, &s);

	assert_false(timer_is_set(t));
	for (int ms = 0; ms < 6; ms++) {
		int64_t due = clock_ms() + ms;

		timer_set_at(t, due + 1000);
		timer_set_at(t, due);
		assert_true(timer_is_set(t));
		loop_run(s.loop);
		assert_true(s.fired_ms >= due);
		assert_false(timer_is_set(t));
	}
	assert_string_equal(s.trace, "tttttt");
	timer_free(t);
	loop_free(s.loop);
}

static void stopped_timer_does_not_fire(void **)
{
	struct scene s = { .loop = loop_new() };
	struct timer *t = timer_new(s.loop, mark_t, &s);
	struct timer *end = timer_new(s.loop, stop, &s);

	timer_set_in(t, 1);
	timer_stop(t);
	assert_false(timer_is_set(t));
	timer_set_in(end, 5);
	loop_run(s.loop);
	assert_string_equal(s.trace, "s");
	timer_free(t);
	timer_free(end);
	timer_free(NULL);
	loop_free(s.loop);
}

static void frees_itself_and_another(void *arg)
{
	struct scene *s = arg;

	mark(s, 't');
	timer_free(s->timer);
	timer_free(s->other);
	loop_defer(s->loop, stop, s);
}

static void timer_is_freed_inside_its_callback(void **)
{
	struct scene s = { .loop = loop_new() };

	s.timer = timer_new(s.loop, frees_itself_and_another, &s);
	s.other = timer_new(s.loop, mark_d, &s);
	timer_set_in(s.timer, 1);
	timer_set_in(s.other, 2);
	loop_run(s.loop);
	assert_string_equal(s.trace, "ts");
	loop_free(s.loop);
}

static void sets_itself_again(void *arg)
{
	struct scene *s = arg;

	s->count++;
	timer_set_at(s->timer, clock_ms() - 1000);
}

static void reads_and_stops(void *arg)
{
	struct scene *s = arg;

	mark(s, 'r');
	loop_stop(s->loop);
}

static void overdue_timer_does_not_starve_input(void **)
{
	struct scene s = { .loop = loop_new() };

	assert_int_equal(pipe2(s.fd, O_CLOEXEC), 0);
	assert_int_equal(write(s.fd[1], "x", 1), 1);
	s.timer = timer_new(s.loop, sets_itself_again, &s);
	s.watch = fd_watch_new(s.loop, s.fd[0], reads_and_stops, &s);
	timer_set_in(s.timer, 0);
	loop_run(s.loop);
	assert_string_equal(s.trace, "r");
	timer_free(s.timer);
	fd_watch_free(s.watch);
	close(s.fd[0]);
	close(s.fd[1]);
	loop_free(s.loop);
}

static void defers_two(void *arg)
{
	struct scene *s = arg;

	mark(s, 'a');
	loop_defer(s->loop, mark_d, s);
	loop_defer(s->loop, stop, s);
	mark(s, 'b'); /* never before the asking call has returned */
}

static void deferred_runs_before_the_loop_waits(void **)
{
	struct scene s = { .loop = loop_new() };
	struct timer *t = timer_new(s.loop, defers_two, &s);
	int64_t began = clock_ms();

	/* nothing else would ever wake this loop */
	timer_set_in(t, 1);
	loop_run(s.loop);
	assert_string_equal(s.trace, "abds");

	s.trace[0] = '\0';
	loop_defer(s.loop, defers_two, &s);
	loop_run(s.loop);
	assert_string_equal(s.trace, "abds");
	assert_true(clock_ms() - began < 5000);
	timer_free(t);
	loop_free(s.loop);
}

static void defers_itself(void *arg)
{
	struct scene *s = arg;

	s->count++;
	loop_defer(s->loop, defers_itself, s);
}

static void deferring_for_ever_does_not_starve_input(void **)
{
	struct scene s = { .loop = loop_new() };

	assert_int_equal(pipe2(s.fd, O_CLOEXEC), 0);
	assert_int_equal(write(s.fd[1], "x", 1), 1);
	s.watch = fd_watch_new(s.loop, s.fd[0], reads_and_stops, &s);
	loop_defer(s.loop, defers_itself, &s);
	loop_run(s.loop);
	assert_string_equal(s.trace, "r");
	assert_in_range(s.count, 1, 3);
	fd_watch_free(s.watch);
	close(s.fd[0]);
	close(s.fd[1]);
	loop_free(s.loop); /* with one still deferred */
}

static void reads_one(void *arg)
{
	struct scene *s = arg;
	char c;
	ssize_t n = read(s->fd[0], &c, 1);

	if (n == 1) {
		mark(s, c);
		return;
	}
	mark(s, 'e');
	fd_watch_free(s->watch);
	close(s->fd[0]); /* right after the watch: allowed */
	loop_stop(s->loop);
}

static void watch_tells_until_all_is_read_and_of_the_end(void **)
{
	struct scene s = { .loop = loop_new() };

	assert_int_equal(pipe2(s.fd, O_CLOEXEC), 0);
	assert_int_equal(write(s.fd[1], "xyz", 3), 3);
	close(s.fd[1]);
	s.watch = fd_watch_new(s.loop, s.fd[0], reads_one, &s);
	loop_run(s.loop);
	assert_string_equal(s.trace, "xyze");
	fd_watch_free(NULL);
	loop_free(s.loop);
}

static void signals_itself(void *arg)
{
	mark(arg, 'a');
	kill(getpid(), SIGUSR1);
}

static void signal_arrives_on_the_loop(void **)
{
	struct scene s = { .loop = loop_new() };
	struct err e = {};

	assert_ok(loop_on_signal(s.loop, SIGUSR1, stop, &s, &e), &e);
	for (int i = 0; i < 2; i++) {
		loop_defer(s.loop, signals_itself, &s);
		loop_run(s.loop);
	}
	assert_string_equal(s.trace, "asas");
	assert_false(loop_on_signal(s.loop, SIGKILL, stop, &s, &e));
	assert_int_equal(e.code, ERR_IO);
	loop_free(s.loop);
}

static void sigpipe_is_ignored(void **)
{
	struct loop *l = loop_new();
	int fd[2];

	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	close(fd[0]);
	assert_int_equal(write(fd[1], "x", 1), -1);
	close(fd[1]);
	loop_free(l);
}

static void counts(void *arg)
{
	struct scene *s = arg;

	s->count++;
}

static void work_is_done_on_the_loop(void **)
{
	struct scene s = { .loop = loop_new() };

	loop_work(s.loop, counts, stop, &s);
	assert_string_equal(s.trace, "");
	loop_run(s.loop);
	assert_int_equal(s.count, 1);
	assert_string_equal(s.trace, "s");

	/* work under way when the loop ends is waited for */
	loop_work(s.loop, counts, mark_d, &s);
	loop_free(s.loop);
	assert_int_equal(s.count, 2);
	assert_string_equal(s.trace, "sd");
}

/* Everything of every kind is left open: the sanitizer sees memory, this sees descriptors. */
static void loop_free_closes_what_is_left(void **)
{
	struct err e;

	loop_free(NULL);
	loop_free(loop_new()); /* libuv keeps a pipe for signals from the first loop on */

	int before = open_descriptors();
	for (int i = 0; i < 3; i++) {
		struct scene s = { .loop = loop_new() };

		assert_int_equal(pipe2(s.fd, O_CLOEXEC), 0);
		timer_set_in(timer_new(s.loop, mark_t, &s), 100000);
		(void)timer_new(s.loop, mark_t, &s);
		(void)fd_watch_new(s.loop, s.fd[0], mark_t, &s);
		assert_ok(loop_on_signal(s.loop, SIGUSR1, mark_t, &s, &e), &e);
		loop_defer(s.loop, mark_d, &s);
		loop_free(s.loop);
		assert_string_equal(s.trace, "");
		close(s.fd[0]);
		close(s.fd[1]);
	}
	assert_int_equal(open_descriptors(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timer_fires_at_its_point_and_once),
		cmocka_unit_test(stopped_timer_does_not_fire),
		cmocka_unit_test(timer_is_freed_inside_its_callback),
		cmocka_unit_test(overdue_timer_does_not_starve_input),
		cmocka_unit_test(deferred_runs_before_the_loop_waits),
		cmocka_unit_test(deferring_for_ever_does_not_starve_input),
		cmocka_unit_test(watch_tells_until_all_is_read_and_of_the_end),
		cmocka_unit_test(signal_arrives_on_the_loop),
		cmocka_unit_test(sigpipe_is_ignored),
		cmocka_unit_test(work_is_done_on_the_loop),
		cmocka_unit_test(loop_free_closes_what_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
