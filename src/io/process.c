/*
 * Server processes. Whether started or adopted, a process is held by its pidfd: it tells of the
 * death, it reaps (when the process is a child of ours), and a signal through it cannot hit
 * another process that got the number later. libuv's child handling is not used: it knows nothing
 * of processes it did not start itself.
 */
#include "io/process.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include "io/file.h"

struct process {
	struct process_key key;
	int pidfd;
	struct fd_watch *watch; /* NULL once it has ended */
	process_exit_fn *on_exit;
	void *arg;
};

/* What we need of /proc/PID/stat. */
struct stat_line {
	char state;
	uint64_t cpu_ticks, start_ticks;
};

/*
 * proc(5): "pid (comm) state ppid ...". comm is whatever the program likes, spaces and parentheses
 * included, so counting begins behind the last ')'. Fields: state 3, utime 14, stime 15,
 * starttime 22.
 */
static bool parse_stat(const char *line, struct stat_line *ret)
{
	enum { STATE = 3, UTIME = 14, STIME = 15, STARTTIME = 22 };
	const char *p = strrchr(line, ')');
	struct stat_line got = {};

	if (p == NULL || p[1] != ' ' || p[2] == '\0') {
		return false;
	}
	p += 2;
	got.state = p[0];
	for (int field = STATE; field < STARTTIME; field++) {
		p = strchr(p, ' ');
		if (p == NULL) {
			return false;
		}
		p++;
		if (field + 1 == UTIME || field + 1 == STIME) {
			got.cpu_ticks += strtoull(p, NULL, 10);
		}
	}
	got.start_ticks = strtoull(p, NULL, 10);
	*ret = got;
	return true;
}

/* ERR_NOT_FOUND when there is no such process. */
static bool read_stat(pid_t pid, struct stat_line *ret, struct err *e)
{
	auto_str line = {};
	char path[40];

	snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
	if (!file_read(path, KIB(4), &line, e)) {
		if (e->sys == ESRCH) { /* it ended between open and read */
			e->code = ERR_NOT_FOUND;
		}
		return false;
	}
	return parse_stat(str_cstr(&line), ret) || err_set(e, ERR_IO, "'%s' is unreadable", path);
}

/* The form of waitpid(), out of the form of waitid(). */
static int wait_status(const siginfo_t *si)
{
	if (si->si_code == CLD_EXITED) {
		return W_EXITCODE(si->si_status, 0);
	}
	return W_EXITCODE(0, si->si_status) | (si->si_code == CLD_DUMPED ? WCOREFLAG : 0);
}

static void on_end(void *arg)
{
	struct process *p = arg;
	siginfo_t si = {};

	fd_watch_free(p->watch);
	p->watch = NULL;

	/* An adopted one is somebody else's child: ECHILD, and no status. */
	bool known = waitid(P_PIDFD, (id_t)p->pidfd, &si, WEXITED | WNOHANG) == 0 && si.si_pid != 0;
	p->on_exit(p->arg, known, known ? wait_status(&si) : 0); /* may free p */
}

/* Takes pidfd. */
static struct process *process_new(struct loop *l, const struct process_key *key, int pidfd,
				   process_exit_fn *on_exit, void *arg)
{
	struct process *p = calloc(1, sizeof *p);

	if (p == NULL) {
		abort();
	}
	p->key = *key;
	p->pidfd = pidfd;
	p->on_exit = on_exit;
	p->arg = arg;
	p->watch = fd_watch_new(l, pidfd, on_end, p);
	return p;
}

static bool set_actions(posix_spawn_file_actions_t *fa, const struct process_start *s, int output)
{
	/* closefrom: not every library we use opens its sockets close-on-exec */
	return posix_spawn_file_actions_addopen(fa, 0, "/dev/null", O_RDONLY, 0) == 0 &&
	       posix_spawn_file_actions_adddup2(fa, output, 1) == 0 &&
	       posix_spawn_file_actions_adddup2(fa, output, 2) == 0 &&
	       posix_spawn_file_actions_addclosefrom_np(fa, 3) == 0 &&
	       posix_spawn_file_actions_addchdir_np(fa, s->dir) == 0;
}

/* A session of its own, so that Ctrl-C at our terminal is not a server's; signals as at boot. */
static bool set_attributes(posix_spawnattr_t *attr)
{
	sigset_t all, none;

	sigfillset(&all);
	sigemptyset(&none);
	return posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
						      POSIX_SPAWN_SETSIGDEF) == 0 &&
	       posix_spawnattr_setsigdefault(attr, &all) == 0 &&
	       posix_spawnattr_setsigmask(attr, &none) == 0;
}

/*
 * Ours is changed for the moment of the spawn, since the child has to have its own before its
 * first instruction: a server reads it once, when it starts. Above the hard limit: the hard limit.
 */
static int spawn_limited(pid_t *ret, const struct process_start *s,
			 const posix_spawn_file_actions_t *fa, const posix_spawnattr_t *attr)
{
	/* posix_spawn does not write to it */
	char *const *argv = (char *const *)(uintptr_t)s->argv;
	struct rlimit ours = {};
	bool limit = s->nofile != 0 && getrlimit(RLIMIT_NOFILE, &ours) == 0;

	if (limit) {
		struct rlimit its = ours;

		its.rlim_cur = s->nofile < ours.rlim_max ? s->nofile : ours.rlim_max;
		setrlimit(RLIMIT_NOFILE, &its);
	}
	int rc = posix_spawn(ret, s->argv[0], fa, attr, argv, environ);
	if (limit) {
		setrlimit(RLIMIT_NOFILE, &ours);
	}
	return rc;
}

static bool spawn(const struct process_start *s, pid_t *ret, struct err *e)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW;
	auto_fd output = open(s->output, flags, 0600);

	if (output < 0) {
		return err_sys(e, "open '%s'", s->output);
	}
	if (access(s->dir, X_OK) < 0) { /* else posix_spawn would blame the binary */
		return err_sys(e, "enter '%s'", s->dir);
	}
	/* these two fail only without memory */
	if (posix_spawn_file_actions_init(&fa) != 0 || posix_spawnattr_init(&attr) != 0 ||
	    !set_actions(&fa, s, output) || !set_attributes(&attr)) {
		abort();
	}
	int rc = spawn_limited(ret, s, &fa, &attr);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&attr);
	if (rc != 0) {
		errno = rc;
		return err_sys(e, "start '%s'", s->argv[0]);
	}
	return true;
}

/* Until it is reaped the number of a child of ours cannot be another's. */
static bool hold_child(pid_t pid, struct process_key *ret_key, int *ret_pidfd, struct err *e)
{
	struct stat_line st;
	auto_fd pidfd = pidfd_open(pid, 0);

	if (pidfd < 0) {
		return err_sys(e, "watch process %ld", (long)pid);
	}
	if (!read_stat(pid, &st, e)) {
		return false;
	}
	*ret_key = (struct process_key){ .pid = pid, .start_ticks = st.start_ticks };
	str_copy(ret_key->boot, sizeof ret_key->boot, boot_id());
	*ret_pidfd = fd_take(&pidfd);
	return true;
}

bool process_spawn(struct loop *l, const struct process_start *s, process_exit_fn *on_exit,
		   void *arg, struct process **ret, struct err *e)
{
	struct process_key key;
	int pidfd = -1;
	pid_t pid;

	if (!spawn(s, &pid, e)) {
		return false;
	}
	if (!hold_child(pid, &key, &pidfd, e)) {
		/* one that nobody watches must not run */
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return err_wrap(e, "start '%s'", s->argv[0]);
	}
	*ret = process_new(l, &key, pidfd, on_exit, arg);
	return true;
}

bool process_adopt(struct loop *l, const struct process_key *key, process_exit_fn *on_exit,
		   void *arg, struct process **ret, struct err *e)
{
	struct stat_line st;

	if (key->pid <= 0 || !str_eq(key->boot, boot_id())) {
		return err_set(e, ERR_NOT_FOUND, "process %ld was started before the machine was",
			       (long)key->pid);
	}
	/* Opened before the start time is compared: the number cannot change hands in between. */
	auto_fd pidfd = pidfd_open(key->pid, 0);
	if (pidfd < 0 && (errno == ESRCH || errno == EINVAL)) { /* EINVAL: now a thread's number */
		return err_set(e, ERR_NOT_FOUND, "process %ld is gone", (long)key->pid);
	}
	if (pidfd < 0) {
		return err_sys(e, "watch process %ld", (long)key->pid);
	}
	if (!read_stat(key->pid, &st, e)) {
		return false;
	}
	if (st.start_ticks != key->start_ticks) {
		return err_set(e, ERR_NOT_FOUND, "process %ld is another one now", (long)key->pid);
	}
	*ret = process_new(l, key, fd_take(&pidfd), on_exit, arg);
	return true;
}

struct process_key process_key(const struct process *p)
{
	return p->key;
}

bool process_signal(struct process *p, int signum, struct err *e)
{
	if (pidfd_send_signal(p->pidfd, signum, NULL, 0) == 0 || errno == ESRCH) {
		return true;
	}
	return err_sys(e, "send signal %d to process %ld", signum, (long)p->key.pid);
}

void process_free(struct process *p)
{
	if (p == NULL) {
		return;
	}
	fd_watch_free(p->watch);
	close(p->pidfd);
	free(p);
}

char process_state(const struct process *p, uint64_t *ret_cpu_ticks)
{
	struct stat_line st;
	struct err e;

	if (!read_stat(p->key.pid, &st, &e) || st.start_ticks != p->key.start_ticks) {
		return 0;
	}
	*ret_cpu_ticks = st.cpu_ticks;
	return st.state;
}
