/*
 * Processes, with /bin/sh and /bin/sleep as servers. Each test waits on the loop for the end it
 * is told of; a limit fails it rather than letting it hang.
 */
#include "../test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "folder.h"
#include "io/process.h"

struct scene {
	struct loop *loop;
	struct timer *limit;
	struct process *p;
	int exits, status_known, status;
};

static void too_late(void *)
{
	fail_msg("nothing came within the limit");
}

static struct scene *scene_new(void)
{
	struct scene *s = calloc(1, sizeof *s);

	s->loop = loop_new();
	s->limit = timer_new(s->loop, too_late, NULL);
	timer_set_in(s->limit, 20000);
	return s;
}

static void scene_free(struct scene **s)
{
	process_free((*s)->p);
	timer_free((*s)->limit);
	loop_free((*s)->loop);
	free(*s);
}
#define auto_scene [[gnu::cleanup(scene_free)]] struct scene

static void ended(void *arg, int status_known, int status)
{
	struct scene *s = arg;

	s->exits++;
	s->status_known = status_known;
	s->status = status;
	loop_stop(s->loop);
}

static void start(struct scene *s, const struct folder *f, const char *const *argv)
{
	struct path output = path_in(f, "output");
	struct process_start spec = { .argv = argv, .dir = f->path, .output = output.s };
	struct err e = {};

	assert_ok(process_spawn(s->loop, &spec, ended, s, &s->p, &e), &e);
	assert_int_equal(s->exits, 0);
}

static void start_sleep(struct scene *s, const struct folder *f)
{
	start(s, f, (const char *const[]){ "/bin/sleep", "100", NULL });
}

static void kill_it(struct scene *s)
{
	struct err e = {};

	assert_ok(process_signal(s->p, SIGKILL, &e), &e);
	loop_run(s->loop);
	assert_int_equal(s->exits, 1);
}

static void check_output(const struct folder *f, const char *want)
{
	auto_str got = {};
	struct err e = {};

	assert_ok(file_read(path_in(f, "output").s, 10000, &got, &e), &e);
	assert_string_equal(str_cstr(&got), want);
}

static void end_is_told_with_its_status(void **)
{
	static const struct {
		const char *script;
		int status;
	} cases[] = {
		{ "exit 0", W_EXITCODE(0, 0) },
		{ "exit 7", W_EXITCODE(7, 0) },
		{ "kill -TERM $$", W_EXITCODE(0, SIGTERM) },
		{ "kill -KILL $$", W_EXITCODE(0, SIGKILL) },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_folder f = folder_new();
		auto_scene *s = scene_new();

		start(s, &f, (const char *const[]){ "/bin/sh", "-c", cases[i].script, NULL });
		loop_run(s->loop);
		assert_int_equal(s->exits, 1);
		assert_true(s->status_known);
		assert_int_equal(s->status, cases[i].status);
	}
}

/* Everything a server could inherit by accident, seen from inside. */
static void child_has_nothing_of_ours(void **)
{
	static const char script[] =
		"read -r pid comm state ppid pgrp session rest < /proc/self/stat\n"
		"[ $session = $$ ] && echo a session of its own\n"
		"[ -e /proc/self/fd/50 ] || echo no descriptor of ours\n"
		"[ /proc/self/fd/0 -ef /dev/null ] && echo nothing to read\n"
		"while read -r name value; do case $name in\n"
		"SigBlk:) echo blocked $((0x$value));;\n"
		"SigIgn:) echo ignored $((0x$value & 0x7fffffff));; # above are glibc's own\n"
		"esac; done < /proc/self/status\n"
		"pwd\n"
		"ulimit -n\n"
		"echo told >&2\n";
	auto_folder f = folder_new();
	auto_scene *s = scene_new();
	struct path output = path_in(&f, "output");
	struct process_start spec = {
		.argv = (const char *const[]){ "/bin/sh", "-c", script, NULL },
		.dir = f.path,
		.output = output.s,
		.nofile = 77,
	};
	struct rlimit before, after;
	sigset_t blocked, old;
	struct err e = {};
	char want[500];

	assert_int_equal(dup2(1, 50), 50); /* without close-on-exec, as some libraries do */
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, &old);
	getrlimit(RLIMIT_NOFILE, &before);
	assert_ok(process_spawn(s->loop, &spec, ended, s, &s->p, &e), &e);
	getrlimit(RLIMIT_NOFILE, &after);
	sigprocmask(SIG_SETMASK, &old, NULL);
	close(50);
	loop_run(s->loop);

	assert_memory_equal(&before, &after, sizeof before);
	snprintf(want, sizeof want,
		 "a session of its own\nno descriptor of ours\nnothing to read\n"
		 "blocked 0\nignored 0\n%s\n77\ntold\n",
		 f.path);
	check_output(&f, want);

	struct stat st;
	assert_int_equal(stat(output.s, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void output_is_appended(void **)
{
	auto_folder f = folder_new();

	for (int i = 0; i < 2; i++) {
		auto_scene *s = scene_new();

		start(s, &f, (const char *const[]){ "/bin/sh", "-c", "echo line", NULL });
		loop_run(s->loop);
	}
	check_output(&f, "line\nline\n");
}

static void failed_start_says_what_is_missing(void **)
{
	static const struct {
		const char *binary, *dir, *output, *says;
		int sys;
	} cases[] = {
		{ "/none/redis-server", "/", "output", "start '/none/redis-server': ", ENOENT },
		{ "/etc/passwd", "/", "output", "start '/etc/passwd': ", EACCES },
		{ "/bin/true", "/none", "output", "enter '/none': ", ENOENT },
		{ "/bin/true", "/", "none/output", "open '", ENOENT },
	};
	auto_folder f = folder_new();

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_scene *s = scene_new();
		struct path output = path_in(&f, cases[i].output);
		struct process_start spec = {
			.argv = (const char *const[]){ cases[i].binary, NULL },
			.dir = cases[i].dir,
			.output = output.s,
		};
		struct err e = {};

		assert_false(process_spawn(s->loop, &spec, ended, s, &s->p, &e));
		assert_int_equal(e.code, ERR_IO);
		assert_int_equal(e.sys, cases[i].sys);
		assert_true(str_starts(e.msg, cases[i].says));
		assert_null(s->p);
	}
}

static void adopted_process_is_watched_and_signalled(void **)
{
	auto_folder f = folder_new();
	auto_scene *s = scene_new();
	struct err e = {};

	start_sleep(s, &f);
	struct process_key key = process_key(s->p);
	process_free(s->p); /* does not kill */
	s->p = NULL;
	assert_int_equal(kill(key.pid, 0), 0);

	assert_ok(process_adopt(s->loop, &key, ended, s, &s->p, &e), &e);
	assert_int_equal(process_key(s->p).pid, key.pid);
	kill_it(s);
	assert_ok(process_signal(s->p, SIGKILL, &e), &e); /* gone already is success */

	process_free(s->p);
	s->p = NULL;
	assert_false(process_adopt(s->loop, &key, ended, s, &s->p, &e));
	assert_int_equal(e.code, ERR_NOT_FOUND);
}

/* As after a restart of the agent: the process is a child of somebody else. */
static void adopted_strangers_status_is_unknown(void **)
{
	auto_folder f = folder_new();
	auto_scene *s = scene_new();
	auto_str text = {};
	struct err e = {};
	uint64_t pid;

	start(s, &f, (const char *const[]){ "/bin/sh", "-c", "sleep 100 & echo $!", NULL });
	loop_run(s->loop);
	assert_int_equal(s->exits, 1);
	process_free(s->p);
	s->p = NULL;

	assert_ok(file_read(path_in(&f, "output").s, 100, &text, &e), &e);
	text.p[strcspn(text.p, "\n")] = '\0';
	assert_true(str_to_u64(text.p, &pid));

	/* its start time, by another way than the code under test: field 22 by sscanf */
	struct process_key key = { .pid = (pid_t)pid };
	auto_str line = {};
	char path[40];
	snprintf(path, sizeof path, "/proc/%d/stat", key.pid);
	assert_ok(file_read(path, 1000, &line, &e), &e);
	assert_int_equal(
		sscanf(line.p,
		       "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d "
		       "%*d %*d %*d %*d %*d %lu",
		       &key.start_ticks),
		1);
	str_copy(key.boot, sizeof key.boot, boot_id());

	s->exits = 0;
	assert_ok(process_adopt(s->loop, &key, ended, s, &s->p, &e), &e);
	kill_it(s);
	assert_false(s->status_known);
}

static void number_alone_is_not_trusted(void **)
{
	auto_folder f = folder_new();
	auto_scene *s = scene_new();
	struct process *other = NULL;
	struct err e = {};

	start_sleep(s, &f);
	struct process_key good = process_key(s->p), bad = good;

	bad.start_ticks++;
	assert_false(process_adopt(s->loop, &bad, ended, s, &other, &e));
	assert_int_equal(e.code, ERR_NOT_FOUND);

	bad = good;
	bad.boot[0] = bad.boot[0] == 'a' ? 'b' : 'a';
	assert_false(process_adopt(s->loop, &bad, ended, s, &other, &e));
	assert_int_equal(e.code, ERR_NOT_FOUND);

	bad = (struct process_key){};
	str_copy(bad.boot, sizeof bad.boot, boot_id());
	assert_false(process_adopt(s->loop, &bad, ended, s, &other, &e));
	assert_int_equal(e.code, ERR_NOT_FOUND);
	kill_it(s);
}

/* The name in /proc/PID/stat is made to look like the fields behind it. */
static void name_with_spaces_and_parentheses_is_read(void **)
{
	auto_folder f = folder_new();
	auto_scene *s = scene_new();
	struct path weird = path_in(&f, "a) Z 1 (b");
	struct err e = {};
	uint64_t ticks = 99;

	assert_int_equal(symlink("/bin/sleep", weird.s), 0);
	start(s, &f, (const char *const[]){ weird.s, "100", NULL });
	struct process_key key = process_key(s->p);
	assert_true(key.start_ticks > 100);
	assert_ok(process_signal(s->p, SIGSTOP, &e), &e);
	siginfo_t si;
	assert_int_equal(waitid(P_PID, (id_t)key.pid, &si, WSTOPPED), 0);
	assert_int_equal(process_state(s->p, &ticks), 'T');
	assert_true(ticks < 99);
	kill_it(s);
	assert_int_equal(process_state(s->p, &ticks), 0); /* reaped */
}

static void frees_itself(void *arg, int status_known, int status)
{
	struct scene *s = arg;

	process_free(s->p);
	s->p = NULL;
	ended(s, status_known, status);
}

static void process_is_freed_inside_its_callback(void **)
{
	auto_folder f = folder_new();
	auto_scene *s = scene_new();
	struct path output = path_in(&f, "output");
	struct process_start spec = {
		.argv = (const char *const[]){ "/bin/true", NULL },
		.dir = f.path,
		.output = output.s,
	};
	struct err e = {};

	assert_ok(process_spawn(s->loop, &spec, frees_itself, s, &s->p, &e), &e);
	loop_run(s->loop);
	assert_int_equal(s->exits, 1);
	process_free(NULL);
}

static void no_descriptor_is_lost(void **)
{
	int before = open_descriptors();

	end_is_told_with_its_status(NULL);
	failed_start_says_what_is_missing(NULL);
	adopted_process_is_watched_and_signalled(NULL);
	number_alone_is_not_trusted(NULL);
	process_is_freed_inside_its_callback(NULL);
	assert_int_equal(open_descriptors(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(end_is_told_with_its_status),
		cmocka_unit_test(child_has_nothing_of_ours),
		cmocka_unit_test(output_is_appended),
		cmocka_unit_test(failed_start_says_what_is_missing),
		cmocka_unit_test(adopted_process_is_watched_and_signalled),
		cmocka_unit_test(adopted_strangers_status_is_unknown),
		cmocka_unit_test(number_alone_is_not_trusted),
		cmocka_unit_test(name_with_spaces_and_parentheses_is_read),
		cmocka_unit_test(process_is_freed_inside_its_callback),
		cmocka_unit_test(no_descriptor_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
