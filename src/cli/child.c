/*
 * Between fork and exec only system calls run, and every descriptor but the four that the program
 * is to have is closed.
 */
#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macros.h"
#include "cli/table.h"
#include "io/file.h"

enum {
	QUICK_MS = 3000,       /* an end so soon after the start is one of the row */
	RESTART_MS = 250,      /* doubles with each of them */
	LOG_KEEP_BYTES = 16 << 20, /* above, the next start puts the log aside */
	OUTPUT_BYTES = 4096,
	OUTPUT_LINES = 8,
};

struct child child_new(const char *name, const char *path, const char *log)
{
	struct child ch = { .name = name, .path = path, .log = log, .ready_fd = -1 };

	ch.argv[ch.argc++] = path;
	return ch;
}

bool child_arg(struct child *ch, const char *arg, struct err *e)
{
	if (ch->argc == CHILD_ARGS_MAX) {
		return err_set(e, ERR_INVALID, "more than %d words for %s", CHILD_ARGS_MAX,
			       ch->name);
	}
	ch->argv[ch->argc++] = arg;
	return true;
}

static bool open_log(struct child *ch, int *ret_fd, struct err *e)
{
	struct stat st;

	if (stat(ch->log, &st) == 0 && st.st_size > LOG_KEEP_BYTES) {
		auto_str old = {};

		str_printf(&old, "%s.1", ch->log);
		(void)rename(ch->log, str_cstr(&old)); /* if not, it just grows */
	}
	auto_fd fd = open(ch->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 || fstat(fd, &st) < 0) {
		return err_sys(e, "open '%s'", ch->log);
	}
	ch->log_start = st.st_size;
	*ret_fd = fd_take(&fd);
	return true;
}

/*
 * In the child, between fork and exec: system calls only. A process group of its own, because
 * Ctrl-C is for us: we stop the two in order.
 */
[[gnu::noreturn]] static void become(const struct child *ch, pid_t parent, int null_fd, int log_fd,
				int ready_fd)
{
	static const char sorry[] = "the program cannot be started\n";
	sigset_t none;

	sigemptyset(&none);
	(void)setpgid(0, 0);
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent ||
	    dup2(null_fd, 0) < 0 || dup2(log_fd, 1) < 0 || dup2(log_fd, 2) < 0 ||
	    dup2(ready_fd, CHILD_READY_FD) < 0 || close_range(CHILD_READY_FD + 1, ~0U, 0) < 0 ||
	    sigprocmask(SIG_SETMASK, &none, NULL) < 0) {
		_exit(126);
	}
	execv(ch->path, (char *const *)(uintptr_t)ch->argv);
	ssize_t ignored = write(2, sorry, sizeof sorry - 1);
	(void)ignored;
	_exit(127);
}

/* The descriptors handed to become() must not lie where it puts them. */
static bool above_ready(int *fd, struct err *e)
{
	int moved = fcntl(*fd, F_DUPFD_CLOEXEC, CHILD_READY_FD + 1);

	if (moved < 0) {
		return err_sys(e, "duplicate a descriptor");
	}
	close(*fd);
	*fd = moved;
	return true;
}

bool child_start(struct child *ch, struct err *e)
{
	int pipe_fds[2];
	auto_fd log_fd = -1;
	pid_t parent = getpid();

	child_done(ch);
	ch->restart_ms = 0;
	ch->is_ready = false;
	if (!open_log(ch, &log_fd, e)) {
		return false;
	}
	auto_fd null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (null_fd < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0) {
		return err_sys(e, "start %s", ch->name);
	}
	auto_fd read_fd = pipe_fds[0], write_fd = pipe_fds[1];

	if (!above_ready(&log_fd, e) || !above_ready(&null_fd, e) || !above_ready(&write_fd, e) ||
	    fcntl(read_fd, F_SETFL, O_NONBLOCK) < 0) {
		return false;
	}
	ch->line[0] = '\0';
	ch->started_ms = clock_ms();
	ch->pid = fork();
	if (ch->pid == 0) {
		become(ch, parent, null_fd, log_fd, write_fd);
	}
	if (ch->pid < 0) {
		ch->pid = 0;
		return err_sys(e, "start %s", ch->name);
	}
	ch->ready_fd = fd_take(&read_fd);
	return true;
}

void child_read_ready(struct child *ch)
{
	size_t have = strlen(ch->line);
	ssize_t n = read(ch->ready_fd, ch->line + have, sizeof ch->line - 1 - have);

	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		return;
	}
	ch->line[have + (n > 0 ? (size_t)n : 0)] = '\0';
	char *end = strchr(ch->line, '\n');

	if (end != NULL) {
		*end = '\0';
		ch->is_ready = str_starts(ch->line, "ready");
	}
	if (end != NULL || n <= 0) {
		close(ch->ready_fd);
		ch->ready_fd = -1;
	}
}

const char *child_ready_text(const struct child *ch)
{
	const char *space = strchr(ch->line, ' ');

	return space == NULL ? "" : space + 1;
}

bool child_ended(struct child *ch, int status)
{
	int64_t ran_ms = clock_ms() - ch->started_ms;

	if (WIFSIGNALED(status)) {
		snprintf(ch->last_words, sizeof ch->last_words, "was ended by signal %d (%s)",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	} else {
		snprintf(ch->last_words, sizeof ch->last_words, "exited with status %d",
			 WEXITSTATUS(status));
	}
	ch->pid = 0;
	ch->is_ready = false;
	ch->quick_exits = ran_ms < QUICK_MS ? ch->quick_exits + 1 : 0;
	if (ch->quick_exits >= CHILD_QUICK_EXITS_MAX) {
		return false;
	}
	ch->restart_ms = clock_ms() + ((int64_t)RESTART_MS << ch->quick_exits);
	return true;
}

void child_signal(const struct child *ch, int signum)
{
	if (ch->pid > 0) {
		(void)kill(ch->pid, signum); /* ours until waitpid() has taken it: never another's */
	}
}

/* Start of the last `lines` lines. */
static const char *last_lines(const char *text, size_t len, unsigned lines)
{
	const char *p = text + len;

	while (p > text) {
		if (p[-1] == '\n' && p != text + len && --lines == 0) {
			break;
		}
		p--;
	}
	return p;
}

void child_output(const struct child *ch, struct str *out)
{
	auto_str tail = {}, clean = {};
	struct stat st;

	if (stat(ch->log, &st) < 0 || st.st_size <= ch->log_start) {
		return;
	}
	int64_t ours = st.st_size - ch->log_start;
	size_t max = ours < OUTPUT_BYTES ? (size_t)ours : OUTPUT_BYTES;

	if (!file_read_tail(ch->log, max, &tail, NULL)) {
		return;
	}
	const char *p = last_lines(str_cstr(&tail), tail.len, OUTPUT_LINES);

	while (*p != '\0') {
		size_t len = strcspn(p, "\n");
		auto_str line = {};

		str_append_mem(&line, p, len);
		str_append(out, "  ");
		text_clean(str_cstr(&line), out);
		str_append_char(out, '\n');
		p += len + (p[len] == '\n');
	}
}

void child_done(struct child *ch)
{
	fd_closep(&ch->ready_fd);
	ch->ready_fd = -1;
}
