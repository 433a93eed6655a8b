/*
 * Work put off to the next turn of the loop that its owner can call off: loop_defer() for things
 * that may be freed before their turn comes.
 */
#pragma once

#include "io/loop.h"

struct turn;

/* Never NULL. arg is borrowed until turn_free(). */
struct turn *turn_new(struct loop *l, loop_fn *fn, void *arg);

/* fn(arg) runs once, on the loop, before it waits again. Setting it twice is setting it once. */
void turn_set(struct turn *t);

/* NULL is fine; safe inside its own callback. Before loop_free(). */
void turn_free(struct turn *t);
