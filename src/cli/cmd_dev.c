/*
 * tanist dev: control plane and agent of one machine in one foreground command. It starts both,
 * says when the API can be used, starts again what ends unasked, and stops them in order: the
 * agent first, because only it can stop the servers cleanly.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/programs.h"
#include "cli/table.h"
#include "io/file.h"
#include "io/listen.h"

enum {
	READY_LIMIT_MS = 30'000,      /* of each program */
	DATASTORES_LIMIT_MS = 15'000, /* until the control plane knows what the agent can run */
	PROBE_MS = 50,
	PROBE_LIMIT_MS = 1000,
	AGENT_STOP_MS = 60'000, /* it gives each server agent.stop_limit, 30 s by default */
	SERVER_STOP_MS = 10'000,
};

struct dev {
	struct cli *c;
	char dir[PATH_MAX];
	const char *keep_hint;
	const char *sentinel; /* where Redis clients find sources; "": nowhere */
	struct child server, agent;
	int signals; /* signalfd */
	unsigned stops;       /* how often we were told to stop */
	bool stopping;
	struct child *hopeless; /* ended too often too soon */
};

/* The condition that a wait is for. */
typedef bool dev_fn(struct dev *d);

enum waited { WAITED_YES, WAITED_STOP, WAITED_HOPELESS, WAITED_LIMIT };

/* ---- signals, ends and restarts ---- */

static void say(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void say(const char *fmt, ...)
{
	va_list ap;

	fputs("tanist dev: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static void child_has_ended(struct dev *d, struct child *ch, int status)
{
	bool again = child_ended(ch, status);

	if (d->stopping) {
		return;
	}
	if (!again) {
		d->hopeless = ch;
		return;
	}
	say("%s %s; starting it again", ch->name, ch->last_words);
}

static void reap(struct dev *d)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == d->server.pid) {
			child_has_ended(d, &d->server, status);
		} else if (pid == d->agent.pid) {
			child_has_ended(d, &d->agent, status);
		}
	}
}

static void read_signals(struct dev *d)
{
	struct signalfd_siginfo info;

	while (read(d->signals, &info, sizeof info) == sizeof info) {
		if (info.ssi_signo != SIGCHLD) {
			d->stops++;
		}
	}
	reap(d);
}

static void restart_due(struct dev *d, struct child *ch)
{
	struct err e = {};

	if (d->stopping || ch->restart_ms == 0 || clock_ms() < ch->restart_ms) {
		return;
	}
	if (!child_start(ch, &e)) {
		say("%s", e.msg);
		ch->restart_ms = clock_ms() + 1000; /* no descriptor or process to be had: it may pass */
	}
}

static int poll_limit(const struct dev *d, int64_t until_ms)
{
	const struct child *children[] = { &d->server, &d->agent };
	int64_t at = until_ms;

	for (size_t i = 0; i < ARRAY_LEN(children); i++) {
		if (children[i]->restart_ms != 0 && children[i]->restart_ms < at && !d->stopping) {
			at = children[i]->restart_ms;
		}
	}
	int64_t left = at - clock_ms();

	return left < 0 ? 0 : left > 60'000 ? 60'000 : (int)left;
}

/* Waits for something to happen, until then at most, and deals with it. */
static void turn(struct dev *d, int64_t until_ms)
{
	struct pollfd fds[] = {
		{ .fd = d->signals, .events = POLLIN },
		{ .fd = d->server.ready_fd, .events = POLLIN },
		{ .fd = d->agent.ready_fd, .events = POLLIN },
	};

	if (poll(fds, ARRAY_LEN(fds), poll_limit(d, until_ms)) > 0) {
		if (fds[1].revents != 0) {
			child_read_ready(&d->server);
		}
		if (fds[2].revents != 0) {
			child_read_ready(&d->agent);
		}
		if (fds[0].revents != 0) {
			read_signals(d);
		}
	}
	restart_due(d, &d->server);
	restart_due(d, &d->agent);
}

/* step_ms: how often the condition is looked at though nothing happened; 0: no need. */
static enum waited wait_until(struct dev *d, dev_fn *is_so, int64_t limit_ms, int64_t step_ms)
{
	int64_t deadline = clock_ms() + limit_ms;
	unsigned stops = d->stops;

	for (;;) {
		if (is_so(d)) {
			return WAITED_YES;
		}
		if (d->stops > stops) {
			return WAITED_STOP;
		}
		if (d->hopeless != NULL && !d->stopping) {
			return WAITED_HOPELESS;
		}
		int64_t now = clock_ms();

		if (now >= deadline) {
			return WAITED_LIMIT;
		}
		turn(d, step_ms > 0 && now + step_ms < deadline ? now + step_ms : deadline);
	}
}

/* ---- getting ready ---- */

static bool server_ready(struct dev *d)
{
	return d->server.is_ready;
}

static bool agent_ready(struct dev *d)
{
	return d->agent.is_ready;
}

/* The agent has told the control plane what it can run. */
static bool datastores_known(struct dev *d)
{
	auto_answer r = {};
	struct err e = {};

	return api_call(&d->c->api, "GET", "/datastores", NULL, PROBE_LIMIT_MS, &r, &e) &&
	       json_array_size(api_array(r.json, "datastores")) > 0;
}

static bool never(struct dev *)
{
	return false;
}

/* ch: whose fault it is. Its last words go to stderr as they are, below the message. */
static bool give_up(struct child *ch, const char *what, struct err *e)
{
	auto_str words = {};

	child_output(ch, &words);
	if (words.len > 0) {
		fprintf(stderr, "the end of %s:\n%s", ch->log, str_cstr(&words));
	}
	return err_set(e, ERR_IO, "%s %s", ch->name, what);
}

static bool not_reached(struct dev *d, enum waited w, struct child *ch, const char *late,
			struct err *e)
{
	if (w == WAITED_HOPELESS) {
		return give_up(d->hopeless,
			       arena_printf(&d->c->arena, "%s, %d times in a row",
					    d->hopeless->last_words, CHILD_QUICK_EXITS_MAX),
			       e);
	}
	return give_up(ch, late, e);
}

static const char *first_flavor(struct dev *d)
{
	auto_answer r = {};
	struct err e = {};
	auto_str name = {};

	if (api_call(&d->c->api, "GET", "/flavors", NULL, PROBE_LIMIT_MS, &r, &e)) {
		text_clean(api_text(json_array_get(api_array(r.json, "flavors"), 0), "name"), &name);
	}
	return name.len == 0 ? "FLAVOR" : arena_strdup(&d->c->arena, str_cstr(&name));
}

static void print_sentinel(const struct dev *d)
{
	char address[64];
	uint16_t port;
	struct err e = {};

	if (d->sentinel[0] != '\0' &&
	    listen_parse(d->sentinel, address, sizeof address, &port, &e)) {
		fprintf(d->c->out, "  redis-cli -h %s -p %u sentinel get-master-addr-by-name sessions\n",
			address, port);
	}
}

/* The words for tanistd; says so when the default is not to be had. */
static bool choose_sentinel(struct dev *d, struct err *e)
{
	bool taken;

	if (!programs_sentinel(d->c, &d->server, &d->sentinel, &taken, e)) {
		return false;
	}
	if (taken) {
		say("another program listens on " PROGRAMS_SENTINEL
		    ": going on without discovery (--sentinel ADDR:PORT names another place)");
	}
	return true;
}

static bool announce(struct dev *d, struct err *e)
{
	FILE *out = d->c->out;
	const char *url = d->c->api.base;
	const char *file = arena_printf(&d->c->arena, "%s/dev.url", d->dir);
	char found[API_URL_MAX] = "";

	if (!file_replace(file, url, strlen(url), 0600, e)) {
		return false;
	}
	/* Does the command line find us without help? */
	struct args plain = {};
	bool found_us = cli_url(&plain, found, sizeof found, e) && str_eq(found, url);

	fprintf(out, "ready %s\n", url);
	if (!found_us) {
		fprintf(out, "  export TANIST_URL=%s\n", url);
	}
	fprintf(out,
		"  tanist create sessions %s --size 1 --wait\n"
		"  tanist create sessions-copy --replica-of sessions --replica-count 2 --wait\n"
		"  tanist topology\n",
		first_flavor(d));
	print_sentinel(d);
	fprintf(out, "Ctrl-C stops it%s. State and logs are in %s\n", d->keep_hint, d->dir);
	fflush(out);
	return true;
}

/* True: it runs, or we were told to stop (d->stops). */
static bool come_up(struct dev *d, struct err *e)
{
	if (!programs_server(d->c, d->dir, &d->server, e) || !choose_sentinel(d, e) ||
	    !child_start(&d->server, e)) {
		return false;
	}
	enum waited w = wait_until(d, server_ready, READY_LIMIT_MS, 0);

	if (w != WAITED_YES) {
		return w == WAITED_STOP || not_reached(d, w, &d->server, "does not get ready", e);
	}
	const char *url = arena_strdup(&d->c->arena, child_ready_text(&d->server));

	if ((size_t)snprintf(d->c->api.base, sizeof d->c->api.base, "%s" CLI_DEV_PROJECT, url) >=
	    sizeof d->c->api.base) {
		return err_set(e, ERR_IO, "tanistd names an address that is too long");
	}
	if (!programs_pin_listen(&d->server, url, e) ||
	    !programs_agent(d->c, d->dir, url, &d->agent, e) || !child_start(&d->agent, e)) {
		return false;
	}
	w = wait_until(d, agent_ready, READY_LIMIT_MS, 0);
	if (w != WAITED_YES) {
		return w == WAITED_STOP || not_reached(d, w, &d->agent, "does not get ready", e);
	}
	w = wait_until(d, datastores_known, DATASTORES_LIMIT_MS, PROBE_MS);
	if (w != WAITED_YES) {
		return w == WAITED_STOP ||
		       not_reached(d, w, &d->agent,
				   "reports no server that it could run: install redis-server, or "
				   "name its path with --set agent.servers=PATH",
				   e);
	}
	return announce(d, e);
}

/* ---- going down ---- */

static bool agent_gone(struct dev *d)
{
	return d->agent.pid == 0;
}

static bool server_gone(struct dev *d)
{
	return d->server.pid == 0;
}

/* Asks, waits, and kills what does not go: by then it is stuck, or somebody is in a hurry. */
static void stop_child(struct dev *d, struct child *ch, int signum, dev_fn *gone, int64_t limit_ms)
{
	child_signal(ch, signum);
	enum waited w = wait_until(d, gone, limit_ms, 0);

	if (w != WAITED_YES) {
		say("%s did not stop%s: killing it", ch->name, w == WAITED_STOP ? " yet" : "");
		child_signal(ch, SIGKILL);
		(void)wait_until(d, gone, SERVER_STOP_MS, 0);
	}
}

static void go_down(struct dev *d, bool stop_servers)
{
	bool agent_ran = d->agent.pid != 0;

	d->stopping = true;
	if (stop_servers && agent_ran) {
		say("stopping the servers (again: leave them and go)");
	}
	stop_child(d, &d->agent, stop_servers ? SIGUSR2 : SIGTERM, agent_gone, AGENT_STOP_MS);
	if (stop_servers && d->agent.name != NULL && !agent_ran) {
		say("the agent did not run, so servers may run on");
	}
	stop_child(d, &d->server, SIGTERM, server_gone, SERVER_STOP_MS);
	child_done(&d->agent);
	child_done(&d->server);
	(void)unlink(arena_printf(&d->c->arena, "%s/dev.url", d->dir));
}

/* ---- the command ---- */

static bool open_dir(struct dev *d, int *ret_lock, struct err *e)
{
	const char *dir = d->c->args.text[OPT_DIR];
	char standard[PATH_MAX];

	if (dir == NULL) {
		if (!cli_state_dir(standard, sizeof standard)) {
			return err_set(e, ERR_INVALID, "there is no home folder: name one with --dir");
		}
		dir = standard;
	}
	if (!dir_make(dir, 0700, e)) {
		return false;
	}
	if (realpath(dir, d->dir) == NULL) {
		return err_sys(e, "folder '%s'", dir);
	}
	return dir_lock(d->dir, "tanist dev", ret_lock, e);
}

static bool catch_signals(struct dev *d, struct err *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) {
		return err_sys(e, "block signals");
	}
	d->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	/* A reader of ours that goes away is no reason to leave without stopping the servers. */
	sigaddset(&set, SIGPIPE);
	return (d->signals >= 0 && sigprocmask(SIG_BLOCK, &set, NULL) == 0) ||
	       err_sys(e, "receive signals");
}

static bool run_until_told(struct dev *d, struct err *e)
{
	enum waited w = WAITED_LIMIT;

	while (w == WAITED_LIMIT) {
		w = wait_until(d, never, SEC(3600), 0);
	}
	return w == WAITED_STOP || not_reached(d, w, d->hopeless, "", e);
}

bool cmd_dev(struct cli *c, struct err *e)
{
	auto_fd lock = -1;
	bool keep = args_given(&c->args, OPT_KEEP_SERVERS);
	struct dev d = {
		.c = c,
		.keep_hint = keep ? ", and leaves the servers running" : " with all servers",
		.signals = -1,
		.server = { .ready_fd = -1 },
		.agent = { .ready_fd = -1 },
	};

	if (!open_dir(&d, &lock, e) || !catch_signals(&d, e)) {
		return false;
	}
	bool ok = come_up(&d, e) && (d.stops > 0 || run_until_told(&d, e));

	/* A failure of ours is no reason to end the servers: databases may be in use. */
	go_down(&d, ok && !keep);
	c->api.hint[0] = '\0';
	fd_closep(&d.signals);
	return ok;
}
