/*
 * tanist-agent: one per host. Runs the host's servers, makes each match its goal, reports. It
 * decides nothing about a group, and its servers outlive it.
 */
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "agent/engine.h"
#include "agent/host.h"
#include "agent/link.h"
#include "agent/options.h"
#include "base/crash.h"
#include "base/log.h"
#include "base/str.h"
#include "io/file.h"
#include "io/notify.h"

struct program {
	struct loop *loop;
	struct notify *notify;
	struct agent_host *host;
	struct link *link;
	int ready_fd;
};

static void on_host_ready(void *arg)
{
	struct program *p = arg;

	link_start(p->link);
	/*
	 * --ready-fd waits for the control plane; the service manager does not. The servers are
	 * looked after from here on, and while the control plane is away a start that fails for
	 * its silence would help nobody.
	 */
	notify_ready(p->notify, "looks after its servers, not yet heard by the control plane");
}

static void on_news(void *arg)
{
	struct program *p = arg;

	link_report(p->link);
}

static void on_host_done(void *arg)
{
	struct program *p = arg;

	loop_stop(p->loop);
}

static void on_heard(void *arg)
{
	struct program *p = arg;

	notify_status(p->notify, "looks after its servers, heard by the control plane");
	if (p->ready_fd >= 0) {
		ssize_t ignored = write(p->ready_fd, "ready\n", 6);
		(void)ignored;
		close(p->ready_fd);
		p->ready_fd = -1;
	}
}

static void on_quit_signal(void *arg)
{
	struct program *p = arg;

	notify_stopping(p->notify, "ends; its servers run on");
	host_quit(p->host);
}

static void on_stop_signal(void *arg)
{
	struct program *p = arg;

	notify_stopping(p->notify, "stops its servers");
	host_stop_servers(p->host);
}

static void on_hangup(void *arg)
{
	struct program *p = arg;

	notify_reloading(p->notify);
	host_rescan(p->host);
	notify_reloaded(p->notify);
}

static bool watch_signals(struct program *p, struct err *e)
{
	return loop_on_signal(p->loop, SIGTERM, on_quit_signal, p, e) &&
	       loop_on_signal(p->loop, SIGINT, on_quit_signal, p, e) &&
	       loop_on_signal(p->loop, SIGUSR2, on_stop_signal, p, e) &&
	       loop_on_signal(p->loop, SIGHUP, on_hangup, p, e);
}

static bool run(const struct options *o, const struct settings *s, const char *dir, struct err *e)
{
	struct program p = { .loop = loop_new(), .ready_fd = o->ready_fd };
	struct host_hooks hooks = { on_host_ready, on_news, on_host_done, &p };
	auto_str server = {};

	str_append(&server, o->server);
	while (server.len > 0 && server.p[server.len - 1] == '/') {
		server.p[--server.len] = '\0';
	}
	p.notify = notify_new(p.loop);
	bool ok = watch_signals(&p, e) && host_new(p.loop, dir, s, &hooks, &p.host, e);
	if (ok) {
		p.link = link_new(&(struct link_config){
			.loop = p.loop,
			.host = p.host,
			.server = server.p,
			.token_file = o->token_file,
			.ca_file = o->ca,
			.pin = o->pin,
			.report_interval_ms = setting_int(s, "agent.report_interval"),
			.heard = on_heard,
			.arg = &p,
		});
		LOG(LOG_INFO, "agent.started", KV("host", host_id(p.host)), KV("dir", dir),
		    KV("server", server.p), KV("version", TANIST_VERSION));
		loop_run(p.loop);
		LOG(LOG_INFO, "agent.ended", KV("host", host_id(p.host)));
	}
	link_free(p.link);
	host_free(p.host);
	notify_free(p.notify);
	loop_free(p.loop);
	return ok;
}

static bool start(const struct options *o, struct err *e)
{
	struct settings s = {};
	char dir[PATH_MAX];
	auto_fd lock = -1;
	enum log_level level = LOG_INFO;

	if (!options_settings(o, &s, e)) {
		return false;
	}
	if (log_level_parse(setting_text(&s, "log.level"), &level)) {
		log_set_level(level);
	}
	bool ok = (o->ca == NULL || tls_ca_check(o->ca, e) || err_wrap(e, "--ca")) &&
		  dir_make(o->dir, 0700, e) &&
		  (realpath(o->dir, dir) != NULL || err_sys(e, "resolve '%s'", o->dir)) &&
		  dir_lock(dir, "tanist-agent", &lock, e) && run(o, &s, dir, e);
	settings_done(&s);
	return ok;
}

static int print_crash_points(void)
{
	if (!crash_list()) {
		fputs("tanist-agent: built without -Dcrash_points=true\n", stderr);
		return 2;
	}
	acts_crash_points();
	return 0;
}

int main(int argc, char **argv)
{
	struct options o;
	struct err e;

	log_set_program("tanist-agent");
	if (!options_read(argc, argv, &o, &e)) {
		fprintf(stderr, "tanist-agent: %s\n", e.msg);
		return 2;
	}
	if (o.help || o.version) {
		fputs(o.help ? options_help : "tanist-agent " TANIST_VERSION "\n", stdout);
		return 0;
	}
	if (o.crash_points) {
		return print_crash_points();
	}
	if (!start(&o, &e)) {
		LOG(LOG_ERROR, "agent.failed", KV("reason", e.msg));
		return 1;
	}
	return 0;
}
