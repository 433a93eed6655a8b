/*
 * An idle handle of libuv: while one is active the loop does not wait, and it runs once a turn.
 */
#include "io/turn.h"

#include <uv.h>

struct turn {
	uv_idle_t uv;
	loop_fn *fn;
	void *arg;
};

struct turn *turn_new(struct loop *l, loop_fn *fn, void *arg)
{
	struct turn *t = calloc(1, sizeof *t);

	if (t == NULL) {
		abort();
	}
	uv_idle_init(loop_uv(l), &t->uv); /* cannot fail */
	t->fn = fn;
	t->arg = arg;
	return t;
}

static void on_idle(uv_idle_t *uv)
{
	struct turn *t = container_of(uv, struct turn, uv);

	uv_idle_stop(uv);
	t->fn(t->arg);
}

void turn_set(struct turn *t)
{
	uv_idle_start(&t->uv, on_idle);
}

static void on_closed(uv_handle_t *uv)
{
	free(container_of(uv, struct turn, uv));
}

void turn_free(struct turn *t)
{
	if (t != NULL) {
		uv_close((uv_handle_t *)&t->uv, on_closed);
	}
}
