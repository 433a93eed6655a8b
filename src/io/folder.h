/*
 * Being told of a file that was replaced: of its new version moved into the folder under its name,
 * which is how careful programs write (file_replace(), a server's AOF manifest). Of writes into
 * files nothing is told. It is a help, not a promise: events may be lost, so look now and then.
 */
#pragma once

#include "io/loop.h"

/* All watches of a program: one descriptor, of which a user may have few. */
struct folders;

/* NULL when the kernel gives none; then nothing is ever told. */
struct folders *folders_new(struct loop *l);
void folders_free(struct folders *f); /* before the loop; NULL is fine */

/*
 * fn(arg) on the loop, now and then more than once, after `file` (borrowed) was moved into the
 * folder. One folder per arg: the newest, so call it again when the folder may be another one. A
 * folder that cannot be watched, or f NULL: nothing is told.
 */
void folders_watch(struct folders *f, const char *path, const char *file, loop_fn *fn, void *arg);
void folders_forget(struct folders *f, const void *arg);
