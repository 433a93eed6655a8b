/*
 * Server processes: started by us, or adopted after a restart of ours. They outlive us. A pidfd
 * tells of their death; a pid alone is never trusted (start time is compared).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/err.h"
#include "io/loop.h"

struct process;

/* Known about a process, enough to find it again: kept in a file by the caller. */
struct process_key {
	pid_t pid;
	uint64_t start_ticks; /* /proc/PID/stat field 22 */
	char boot[40];        /* boot_id() */
};

typedef void process_exit_fn(void *arg, int status_known, int status);

struct process_start {
	const char *const *argv; /* NULL at the end; argv[0] is the path */
	const char *dir;         /* working folder */
	const char *output;      /* stdout and stderr are appended to this file; mode 0600 */
	rlim_t nofile;           /* RLIMIT_NOFILE, at most our hard limit; 0: as ours */
};

/*
 * Spawns in a session of its own, with no descriptor of ours but 0, 1, 2. on_exit runs once, when
 * it ends (status as waitpid gives it). *ret is freed with process_free(), which does not kill.
 */
[[nodiscard]] bool process_spawn(struct loop *l, const struct process_start *s,
				 process_exit_fn *on_exit, void *arg, struct process **ret,
				 struct err *e);

/*
 * Finds a process that an earlier run of ours started. ERR_NOT_FOUND: it is gone, or the pid is
 * another's now. on_exit runs once, with status_known 0 when it is no child of ours any more.
 */
[[nodiscard]] bool process_adopt(struct loop *l, const struct process_key *key,
				 process_exit_fn *on_exit, void *arg, struct process **ret,
				 struct err *e);

struct process_key process_key(const struct process *p);

/* Through the pidfd: never hits another process. Gone already is success. */
[[nodiscard]] bool process_signal(struct process *p, int signum, struct err *e);

/*
 * Forgets it, without killing; on_exit does not run any more. NULL is fine; allowed inside on_exit.
 * A child that ends after that stays a zombie until we end.
 */
void process_free(struct process *p);

/* State letter of /proc/PID/stat ('R', 'S', 'D', 'T', 'Z'), and CPU ticks so far; 0: it is gone. */
char process_state(const struct process *p, uint64_t *ret_cpu_ticks);
