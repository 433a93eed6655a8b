/*
 * libuv behind our own small face. Three things are ours: handles live on the heap and close
 * asynchronously, so that freeing one inside its own callback is fine; a timer never fires before
 * its point on clock_ms(), though libuv's idea of the time may be older; and deferred functions run
 * before the loop waits, from whichever side of the poll they were asked for.
 */
#include "io/loop.h"

#include <assert.h>
#include <sys/queue.h>

#include <uv.h>

#include "base/clock.h"

/* What timers, watches and signals share; freed by libuv's close callback. */
struct handle {
	LIST_ENTRY(handle) others;
	union {
		uv_handle_t any;
		uv_timer_t timer;
		uv_poll_t poll;
		uv_signal_t signal;
	} uv;
	loop_fn *fn;
	void *arg;
	int64_t deadline_ms; /* timers only */
};

/* Two names for the compiler's sake: a timer is not a watch. */
struct timer {
	struct handle h;
};

struct fd_watch {
	struct handle h;
};
static_assert(sizeof(struct timer) == sizeof(struct handle), "handle_new() allocates either");
static_assert(sizeof(struct fd_watch) == sizeof(struct handle), "handle_new() allocates either");

struct deferred {
	STAILQ_ENTRY(deferred) next;
	loop_fn *fn;
	void *arg;
};

struct work {
	uv_work_t uv;
	loop_fn *work, *done;
	void *arg;
};

STAILQ_HEAD(deferred_list, deferred);

struct loop {
	uv_loop_t uv;
	uv_prepare_t prepare; /* deferred by timers: before the loop waits */
	uv_check_t check;     /* deferred by input: right after it */
	uv_idle_t idle;       /* runs while something is deferred, so that the loop does not wait */
	struct deferred_list deferred;
	LIST_HEAD(, handle) open;
};

/* For calls that fail only when memory or descriptors have run out: state is on disk. */
static void must(int rc)
{
	if (rc != 0) {
		fprintf(stderr, "loop: %s\n", uv_strerror(rc));
		abort();
	}
}

static void *must_alloc(size_t bytes)
{
	void *p = calloc(1, bytes);

	if (p == NULL) {
		abort();
	}
	return p;
}

static void idle_nothing(uv_idle_t *)
{
}

/* Only what is there now: what these defer in turn waits until the loop has looked for input. */
static void run_deferred(struct loop *l)
{
	struct deferred_list now = STAILQ_HEAD_INITIALIZER(now);

	STAILQ_CONCAT(&now, &l->deferred);
	while (!STAILQ_EMPTY(&now)) {
		struct deferred *d = STAILQ_FIRST(&now);

		STAILQ_REMOVE_HEAD(&now, next);
		d->fn(d->arg);
		free(d);
	}
	if (STAILQ_EMPTY(&l->deferred)) {
		uv_idle_stop(&l->idle);
	} else {
		must(uv_idle_start(&l->idle, idle_nothing));
	}
}

static void on_prepare(uv_prepare_t *p)
{
	run_deferred(container_of(p, struct loop, prepare));
}

static void on_check(uv_check_t *c)
{
	run_deferred(container_of(c, struct loop, check));
}

struct loop *loop_new(void)
{
	struct loop *l = must_alloc(sizeof *l);
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	must(uv_loop_init(&l->uv));
	must(uv_prepare_init(&l->uv, &l->prepare));
	must(uv_check_init(&l->uv, &l->check));
	must(uv_idle_init(&l->uv, &l->idle));
	must(uv_prepare_start(&l->prepare, on_prepare));
	must(uv_check_start(&l->check, on_check));
	STAILQ_INIT(&l->deferred);
	LIST_INIT(&l->open);
	sigaction(SIGPIPE, &ignore, NULL);
	return l;
}

void loop_run(struct loop *l)
{
	uv_run(&l->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *l)
{
	uv_stop(&l->uv);
}

struct uv_loop_s *loop_uv(struct loop *l)
{
	return &l->uv;
}

static struct handle *handle_new(loop_fn *fn, void *arg)
{
	struct handle *h = must_alloc(sizeof *h);

	h->fn = fn;
	h->arg = arg;
	return h;
}

static void handle_open(struct loop *l, struct handle *h)
{
	h->uv.any.data = h;
	LIST_INSERT_HEAD(&l->open, h, others);
}

static void on_handle_closed(uv_handle_t *uv)
{
	free(uv->data);
}

static void handle_close(struct handle *h)
{
	LIST_REMOVE(h, others);
	uv_close(&h->uv.any, on_handle_closed);
}

/* Handles of others that were not closed: their memory is not ours, but the loop has to end. */
static void close_foreign(uv_handle_t *uv, void *)
{
	if (!uv_is_closing(uv)) {
		uv_close(uv, NULL);
	}
}

static void drop_deferred(struct loop *l)
{
	while (!STAILQ_EMPTY(&l->deferred)) {
		struct deferred *d = STAILQ_FIRST(&l->deferred);

		STAILQ_REMOVE_HEAD(&l->deferred, next);
		free(d);
	}
}

void loop_free(struct loop *l)
{
	if (l == NULL) {
		return;
	}
	/* More than one round: work still under way ends here, and may open new handles. */
	while (uv_loop_close(&l->uv) == UV_EBUSY) {
		while (!LIST_EMPTY(&l->open)) {
			handle_close(LIST_FIRST(&l->open));
		}
		uv_walk(&l->uv, close_foreign, NULL);
		uv_run(&l->uv, UV_RUN_DEFAULT);
	}
	drop_deferred(l);
	free(l);
}

/* libuv may hold an older time than clock_ms() and fire too early: the rest is waited for. */
static void on_timer(uv_timer_t *uv)
{
	struct handle *h = uv->data;
	int64_t rest_ms = h->deadline_ms - clock_ms();

	if (rest_ms > 0) {
		uv_timer_start(uv, on_timer, (uint64_t)rest_ms, 0);
		return;
	}
	h->fn(h->arg);
}

struct timer *timer_new(struct loop *l, loop_fn *fn, void *arg)
{
	struct handle *h = handle_new(fn, arg);

	must(uv_timer_init(&l->uv, &h->uv.timer));
	handle_open(l, h);
	return container_of(h, struct timer, h);
}

void timer_set_at(struct timer *t, int64_t deadline_ms)
{
	int64_t ms = deadline_ms - clock_ms();

	/*
	 * At least 1: libuv runs timers of 0 in the turn that sets them, so one that sets itself
	 * again and again would keep input from being looked at.
	 */
	t->h.deadline_ms = deadline_ms;
	must(uv_timer_start(&t->h.uv.timer, on_timer, ms < 1 ? 1 : (uint64_t)ms, 0));
}

void timer_set_in(struct timer *t, int64_t ms)
{
	timer_set_at(t, clock_ms() + ms);
}

void timer_stop(struct timer *t)
{
	uv_timer_stop(&t->h.uv.timer);
}

bool timer_is_set(const struct timer *t)
{
	return uv_is_active(&t->h.uv.any);
}

void timer_free(struct timer *t)
{
	if (t != NULL) {
		handle_close(&t->h);
	}
}

void loop_defer(struct loop *l, loop_fn *fn, void *arg)
{
	struct deferred *d = must_alloc(sizeof *d);

	d->fn = fn;
	d->arg = arg;
	STAILQ_INSERT_TAIL(&l->deferred, d, next);
}

static void on_signal(uv_signal_t *uv, int)
{
	struct handle *h = uv->data;

	h->fn(h->arg);
}

bool loop_on_signal(struct loop *l, int signum, loop_fn *fn, void *arg, struct err *e)
{
	struct handle *h = handle_new(fn, arg);

	must(uv_signal_init(&l->uv, &h->uv.signal));
	handle_open(l, h);

	int rc = uv_signal_start(&h->uv.signal, on_signal, signum);
	if (rc != 0) {
		handle_close(h);
		return err_set(e, ERR_IO, "watch for signal %d: %s", signum, uv_strerror(rc));
	}
	return true;
}

/*
 * libuv stops a watch whose descriptor has an error pending. Ours goes on: the owner reads, gets
 * the error, and frees the watch.
 */
static void on_readable(uv_poll_t *uv, int status, int)
{
	struct handle *h = uv->data;

	if (status < 0) {
		must(uv_poll_start(uv, UV_READABLE, on_readable));
	}
	h->fn(h->arg);
}

struct fd_watch *fd_watch_new(struct loop *l, int fd, loop_fn *fn, void *arg)
{
	struct handle *h = handle_new(fn, arg);

	must(uv_poll_init(&l->uv, &h->uv.poll, fd));
	must(uv_poll_start(&h->uv.poll, UV_READABLE, on_readable));
	handle_open(l, h);
	return container_of(h, struct fd_watch, h);
}

void fd_watch_free(struct fd_watch *w)
{
	if (w != NULL) {
		handle_close(&w->h);
	}
}

static void run_work(uv_work_t *uv)
{
	struct work *w = uv->data;

	w->work(w->arg);
}

static void after_work(uv_work_t *uv, int)
{
	struct work *w = uv->data;

	w->done(w->arg);
	free(w);
}

void loop_work(struct loop *l, loop_fn *work, loop_fn *done, void *arg)
{
	struct work *w = must_alloc(sizeof *w);

	w->uv.data = w;
	w->work = work;
	w->done = done;
	w->arg = arg;
	must(uv_queue_work(&l->uv, &w->uv, run_work, after_work));
}
