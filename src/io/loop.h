/*
 * The event loop: libuv, one thread. Callbacks run on the loop, exactly once per event, never
 * before the call that asked for them has returned.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct loop;
struct timer;
struct fd_watch;
struct uv_loop_s;

typedef void loop_fn(void *arg);

/* Never NULL. SIGPIPE is ignored from then on. */
struct loop *loop_new(void);
void loop_run(struct loop *l);  /* until loop_stop() */
void loop_stop(struct loop *l); /* from a callback */
/*
 * Closes what is left; NULL is fine. Work under way is waited for and its done() runs; deferred
 * functions are dropped. Timers and watches must not be used or freed afterwards.
 */
void loop_free(struct loop *l);
struct uv_loop_s *loop_uv(struct loop *l); /* for io/ only */

/* A timer that can be set again and again; fires once per setting. arg is borrowed until freed. */
struct timer *timer_new(struct loop *l, loop_fn *fn, void *arg);
void timer_set_at(struct timer *t, int64_t deadline_ms); /* point on clock_ms(); replaces the old one */
void timer_set_in(struct timer *t, int64_t ms);
void timer_stop(struct timer *t);
bool timer_is_set(const struct timer *t);
void timer_free(struct timer *t); /* NULL is fine; safe inside its own callback */

/*
 * fn(arg) once, at the end of this turn of the loop, before it waits. What fn defers in turn runs
 * after the loop has looked for input, so deferring again and again starves nobody.
 */
void loop_defer(struct loop *l, loop_fn *fn, void *arg);

/* fn(arg) for every such signal. */
[[nodiscard]] bool loop_on_signal(struct loop *l, int signum, loop_fn *fn, void *arg, struct err *e);

/*
 * fn(arg) whenever fd is readable, at its end, or has an error pending, until freed. The
 * descriptor stays the caller's (who may close it right after freeing the watch) and becomes
 * non-blocking.
 */
struct fd_watch *fd_watch_new(struct loop *l, int fd, loop_fn *fn, void *arg);
void fd_watch_free(struct fd_watch *w); /* NULL is fine */

/* work(arg) on a worker thread, then done(arg) on the loop. For slow calls: fsync, big deletes. */
void loop_work(struct loop *l, loop_fn *work, loop_fn *done, void *arg);
