/*
 * tanistd, the control plane: options and settings, then everything it is made of in the order in
 * which each needs the one before: lock, store, registry, reconciler, API. It ends in the
 * opposite order, after what waits was answered and what was begun is durable.
 */
#include <getopt.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "io/file.h"
#include "io/listen.h"
#include "io/notify.h"
#include "server/auth.h"
#include "server/certificate.h"
#include "server/held.h"
#include "server/metrics.h"
#include "server/rate.h"
#include "server/sentinel.h"

enum {
	TOKEN_LEN = 40,
	STOP_LIMIT_MS = 10000, /* for commits under way; then the store's own wait has to do */
	STOP_LOOK_MS = 20,     /* the answers to what waited get out first */
};

struct options {
	const char *dir, *config;
	const char *listen;
	const char *sets[64]; /* "section.key=value" */
	size_t nsets;
	int ready_fd; /* -1: tell nobody */
};

struct program {
	struct options options;
	struct settings settings;
	struct loop *loop;
	struct notify *notify;
	struct store *store;
	struct httpd *httpd;
	struct tls_identity *identity; /* NULL: plain text */
	struct sentinel *sentinel;     /* NULL: no discovery endpoint */
	struct api api;
	char agent_token[TOKEN_LEN + 1];
	struct timer *stop_look;
	int64_t stop_began_ms; /* 0: not stopping */
	int exit_status;
};

/* clang-format off */
static const char usage[] =
	"Usage: tanistd --dir DIR [OPTION]...\n"
	"The control plane of tanist: serves the API and keeps the records.\n"
	"\n"
	"  --dir DIR             folder of the state: lock, store, agents' token\n"
	"  --config FILE         settings, an INI file\n"
	"  --set SECTION.KEY=VALUE  one setting, over the file; may be repeated\n"
	"  --listen ADDR:PORT    the same as --set api.listen=ADDR:PORT\n"
	"  --ready-fd N          write 'ready URL' to descriptor N when it can be used\n"
	"  --settings            print every setting with its meaning and default, and exit\n"
	"  --version             print the version and exit\n"
	"  --help                print this and exit\n";
/* clang-format on */

/* ---- options and settings ---- */

static bool options_done(int status)
{
	exit(status);
}

static int print_crash_points(void)
{
	if (!crash_list()) {
		fputs("tanistd: built without -Dcrash_points=true\n", stderr);
		return 2;
	}
	registry_crash_points();
	store_crash_points();
	return 0;
}

static bool read_option(struct program *p, int opt, struct err *e)
{
	struct options *o = &p->options;
	int64_t fd;

	switch (opt) {
	case 'd':
		o->dir = optarg;
		return true;
	case 'c':
		o->config = optarg;
		return true;
	case 'l':
		o->listen = optarg;
		return true;
	case 's':
		if (o->nsets == ARRAY_LEN(o->sets)) {
			return err_set(e, ERR_INVALID, "more than %zu times --set: use --config",
				       ARRAY_LEN(o->sets));
		}
		o->sets[o->nsets++] = optarg;
		return true;
	case 'r':
		if (!str_to_i64(optarg, &fd) || fd < 0 || fd > INT32_MAX) {
			return err_set(e, ERR_INVALID, "--ready-fd needs a descriptor's number");
		}
		o->ready_fd = (int)fd;
		return true;
	case 'p':
		settings_print(stdout);
		return options_done(0);
	case 'x':
		return options_done(print_crash_points());
	case 'v':
		puts("tanistd " TANIST_VERSION);
		return options_done(0);
	case 'h':
		fputs(usage, stdout);
		return options_done(0);
	default:
		return err_set(e, ERR_INVALID, "try: tanistd --help");
	}
}

static bool read_options(struct program *p, int argc, char **argv, struct err *e)
{
	static const struct option options[] = {
		{ "dir", required_argument, NULL, 'd' },
		{ "config", required_argument, NULL, 'c' },
		{ "listen", required_argument, NULL, 'l' },
		{ "set", required_argument, NULL, 's' },
		{ "ready-fd", required_argument, NULL, 'r' },
		{ "settings", no_argument, NULL, 'p' },
		{ "crash-points", no_argument, NULL, 'x' }, /* for tests: see base/crash.h */
		{ "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	int opt;

	p->options.ready_fd = -1;
	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (!read_option(p, opt, e)) {
			return false;
		}
	}
	if (optind < argc) {
		return err_set(e, ERR_INVALID, "'%s' is one word too many; try: tanistd --help",
			       argv[optind]);
	}
	if (p->options.dir == NULL) {
		return err_set(e, ERR_INVALID, "--dir DIR is missing; try: tanistd --help");
	}
	return true;
}

static bool set_one(struct settings *s, const char *text, struct err *e)
{
	const char *equals = strchr(text, '=');
	char name[80];

	if (equals == NULL || (size_t)(equals - text) >= sizeof name) {
		return err_set(e, ERR_INVALID, "--set '%s' is not SECTION.KEY=VALUE", text);
	}
	snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
	return settings_set(s, name, equals + 1, e) || err_wrap(e, "--set %s", name);
}

static bool read_settings(struct program *p, struct err *e)
{
	const struct options *o = &p->options;
	auto_str report = {};
	enum log_level level;

	if (!settings_load(o->config, &report, &p->settings, e)) {
		fputs(str_cstr(&report), stderr);
		return false;
	}
	for (size_t i = 0; i < o->nsets; i++) {
		if (!set_one(&p->settings, o->sets[i], e)) {
			return false;
		}
	}
	if (o->listen != NULL && !settings_set(&p->settings, "api.listen", o->listen, e)) {
		return err_wrap(e, "--listen");
	}
	if (log_level_parse(setting_text(&p->settings, "log.level"), &level)) {
		log_set_level(level);
	}
	return true;
}

/* ---- the state folder ---- */

static bool is_word(const char *s, size_t len)
{
	return len > 0 && strspn(s, "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") >= len;
}

static bool read_token(struct program *p, const char *path, struct err *e)
{
	auto_str text = {};

	if (!file_read(path, 4096, &text, e)) {
		return false;
	}
	size_t len = strcspn(str_cstr(&text), "\r\n");

	if (!is_word(str_cstr(&text), len) || len >= sizeof p->agent_token) {
		return err_set(e, ERR_INVALID,
			       "'%s' is no token of at most %d letters and digits: remove it and a "
			       "new one is made",
			       path, TOKEN_LEN);
	}
	snprintf(p->agent_token, sizeof p->agent_token, "%.*s", (int)len, str_cstr(&text));
	return true;
}

static bool make_token(struct program *p, struct err *e)
{
	auto_str path = {};
	auto_str line = {};
	struct err missing = {};

	str_printf(&path, "%s/agent.token", p->options.dir);
	if (read_token(p, str_cstr(&path), &missing)) {
		return true;
	}
	if (missing.code != ERR_NOT_FOUND) {
		*e = missing;
		return false;
	}
	random_secret(p->agent_token, TOKEN_LEN);
	str_printf(&line, "%s\n", p->agent_token);
	return file_replace(str_cstr(&path), str_cstr(&line), line.len, 0600, e);
}

static bool open_state(struct program *p, int *ret_lock, struct err *e)
{
	auto_str path = {};

	str_printf(&path, "%s/tanist.db", p->options.dir);
	return dir_make(p->options.dir, 0700, e) &&
	       dir_lock(p->options.dir, "tanistd", ret_lock, e) && make_token(p, e) &&
	       store_sqlite_open(p->loop, str_cstr(&path), &p->store, e);
}

/* ---- a new certificate ---- */

/* The files may be new ones. What cannot be used leaves everything as it is. */
static void reload(struct program *p)
{
	struct tls_identity *t = NULL;
	struct err e = {};

	if (p->identity == NULL) {
		LOG(LOG_INFO, "server.nothing-to-reload");
		return;
	}
	if (!certificate_load(&p->settings, &t, &e)) {
		LOG(LOG_ERROR, "certificate.kept", KV("why", e.msg),
		    KV("hint", "the one from before stays in use"));
		return;
	}
	if (p->httpd != NULL) {
		httpd_set_identity(p->httpd, t);
	}
	tls_identity_drop(p->identity);
	p->identity = t;
}

static void on_reload_signal(void *arg)
{
	struct program *p = arg;

	notify_reloading(p->notify);
	reload(p);
	notify_reloaded(p->notify);
}

/* ---- the end ---- */

static void leave(void *arg)
{
	struct program *p = arg;
	bool waited_out = clock_ms() - p->stop_began_ms > STOP_LIMIT_MS;

	bool busy = p->api.registry != NULL && registry_busy(p->api.registry);

	if ((busy || p->api.knocks > 0) && !waited_out) {
		timer_set_in(p->stop_look, STOP_LOOK_MS);
		return;
	}
	loop_stop(p->loop);
}

static void stop(struct program *p, int exit_status)
{
	if (p->stop_began_ms != 0) {
		return;
	}
	p->stop_began_ms = clock_ms();
	p->exit_status = exit_status;
	notify_stopping(p->notify, "ending what is under way");
	if (p->api.held != NULL) {
		held_answer_all(p->api.held);
	}
	p->stop_look = timer_new(p->loop, leave, p);
	timer_set_in(p->stop_look, STOP_LOOK_MS);
}

static void on_signal(void *arg)
{
	LOG(LOG_INFO, "server.stopping");
	stop(arg, EXIT_SUCCESS);
}

static void fail(struct program *p, const struct err *e)
{
	LOG(LOG_ERROR, "server.failed", KV("why", e->msg));
	stop(p, EXIT_FAILURE);
}

/* ---- the beginning ---- */

static void tell_ready(const struct program *p, const char *url)
{
	LOG(LOG_INFO, "server.ready", KV("url", url),
	    KV("installation", registry_installation(p->api.registry)));
	if (p->options.ready_fd >= 0 && dprintf(p->options.ready_fd, "ready %s\n", url) < 0) {
		LOG(LOG_WARN, "server.ready-unheard", KV("fd", p->options.ready_fd));
	}
	notify_ready(p->notify, url);
}

static bool serve(struct program *p, struct err *e)
{
	const struct settings *s = &p->settings;
	const char *listen = setting_text(s, "api.listen");
	bool v6 = listen[0] == '[';
	const char *scheme = p->identity != NULL ? "https" : "http";
	char address[64], url[96];
	uint16_t port;

	if (!listen_parse(listen, address, sizeof address, &port, e)) {
		return err_wrap(e, "api.listen");
	}
	const struct httpd_config config = {
		.address = address,
		.port = port,
		.identity = p->identity,
		.max_connections = (unsigned)setting_int(s, "api.max_connections"),
		.head_limit_ms = SEC(setting_int(s, "api.head_limit")),
		.body_limit_ms = SEC(setting_int(s, "api.body_limit")),
		.idle_limit_ms = SEC(setting_int(s, "api.idle_limit")),
		.handler = routes_handle,
		.gone = routes_gone,
		.ceiling = routes_ceiling,
		.refuse = routes_refuse,
		.arg = &p->api,
	};

	if (!httpd_start(p->loop, &config, &p->httpd, e)) {
		return err_wrap(e, "listen on %s", listen);
	}
	snprintf(url, sizeof url, v6 ? "%s://[%s]:%u" : "%s://%s:%u", scheme, address,
		 httpd_port(p->httpd));
	tell_ready(p, url);
	return true;
}

static bool discover(struct program *p, struct err *e)
{
	if (setting_text(&p->settings, "discovery.listen")[0] == '\0') {
		return true;
	}
	if (!sentinel_start(p->api.registry, p->api.auth, &p->sentinel, e)) {
		return false;
	}
	LOG(LOG_INFO, "discovery.ready", KV("port", sentinel_port(p->sentinel)));
	return true;
}

static void on_opened(void *arg, struct registry *r, const struct err *refused)
{
	struct program *p = arg;
	struct err e = *refused;

	if (e.code != ERR_NONE) {
		err_wrap(&e, "load the store in '%s'", p->options.dir);
		fail(p, &e);
		return;
	}
	p->api.registry = r;
	if (p->stop_began_ms != 0) {
		return;
	}
	p->api.reconcile = reconcile_new(r);
	p->api.held = held_new(&p->api);
	if (!discover(p, &e) || !serve(p, &e)) {
		fail(p, &e);
	}
}

static bool start(struct program *p, int *ret_lock, struct err *e)
{
	p->loop = loop_new();
	p->notify = notify_new(p->loop);
	if (!certificate_prepare(&p->settings, &p->identity, e) ||
	    !loop_on_signal(p->loop, SIGHUP, on_reload_signal, p, e) ||
	    !open_state(p, ret_lock, e) || !loop_on_signal(p->loop, SIGTERM, on_signal, p, e) ||
	    !loop_on_signal(p->loop, SIGINT, on_signal, p, e)) {
		return false;
	}
	p->api = (struct api){
		.loop = p->loop,
		.settings = &p->settings,
		.auth = auth_new(&p->settings),
		.rates = rates_new((uint32_t)setting_int(&p->settings, "api.rate_limit")),
		.metrics = metrics_new(),
		.agent_token = p->agent_token,
	};
	registry_open(p->loop, p->store, &p->settings, on_opened, p);
	return true;
}

static void done(struct program *p)
{
	httpd_free(p->httpd);
	held_free(p->api.held);
	store_free(p->store); /* with the callbacks of what is still under way */
	if (p->api.registry != NULL && registry_busy(p->api.registry)) {
		return; /* an outcome that stays unknown: the next start reads what is there */
	}
	sentinel_free(p->sentinel);
	reconcile_free(p->api.reconcile);
	registry_free(p->api.registry);
	timer_free(p->stop_look);
	notify_free(p->notify);
	loop_free(p->loop);
	metrics_free(p->api.metrics);
	rates_free(p->api.rates);
	auth_free(p->api.auth);
	tls_identity_drop(p->identity);
	settings_done(&p->settings);
}

int main(int argc, char **argv)
{
	static struct program p;
	auto_fd lock = -1;
	struct err e = {};

	log_set_program("tanistd");
	if (!read_options(&p, argc, argv, &e) || !read_settings(&p, &e) || !start(&p, &lock, &e)) {
		fprintf(stderr, "tanistd: %s\n", e.msg);
		p.exit_status = EXIT_FAILURE;
	} else {
		loop_run(p.loop);
	}
	done(&p);
	return p.exit_status;
}
