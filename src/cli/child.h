/*
 * One program that `tanist dev` runs beside itself: started with its output in a log file and a
 * pipe for its line "ready ...", restarted when it ends unasked. It stops when we are killed, so
 * that another dev can take its place; the servers that an agent started do not.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

enum { CHILD_ARGS_MAX = 64, CHILD_READY_FD = 3, CHILD_QUICK_EXITS_MAX = 3 };

struct child {
	const char *name;                   /* "tanistd" */
	const char *path;                   /* of the program */
	const char *log;                    /* output is appended here */
	const char *argv[CHILD_ARGS_MAX + 1]; /* texts are the caller's */
	size_t argc;
	pid_t pid;            /* 0: not running */
	int ready_fd;         /* reading end; -1: closed */
	char line[256];       /* what came through it so far */
	bool is_ready;        /* this run has said "ready" */
	int64_t started_ms;   /* of this run */
	int64_t restart_ms;   /* start it again then; 0: not planned */
	unsigned quick_exits; /* in a row, soon after the start */
	int64_t log_start;    /* where this run's output begins */
	char last_words[80];  /* how the last run ended: "exited with status 1" */
};

/* A child with no arguments yet; nothing runs. */
struct child child_new(const char *name, const char *path, const char *log);

/* More than CHILD_ARGS_MAX is dropped by nobody: false. */
[[nodiscard]] bool child_arg(struct child *ch, const char *arg, struct err *e);

[[nodiscard]] bool child_start(struct child *ch, struct err *e);

/* ready_fd is readable: takes what is there; sets is_ready. */
void child_read_ready(struct child *ch);

/* What stands behind "ready " in the line; "" when nothing does. */
const char *child_ready_text(const struct child *ch);

/*
 * It has ended with this status of waitpid(). Plans the restart, a little later each time; false
 * when it has ended too often too soon.
 */
[[nodiscard]] bool child_ended(struct child *ch, int status);

/* Does nothing when it does not run. */
void child_signal(const struct child *ch, int signum);

/* The last lines of this run's output, made harmless, each indented. */
void child_output(const struct child *ch, struct str *out);

/* Closes what is ours; does not kill. */
void child_done(struct child *ch);
