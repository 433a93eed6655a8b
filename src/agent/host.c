#include "agent/host_state.h"

#include <dirent.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agent/binaries.h"
#include "agent/host_id.h"
#include "agent/paths.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/file.h"
#include "io/folder.h"

enum {
	FIRST_LOOK_MS = 1000, /* reports begin then at the latest */
	QUIT_LIMIT_MS = 3000, /* for what is under way */
};

struct id host_id(const struct agent_host *h)
{
	return h->about.id;
}

/* instances */

struct slot *host_slot_find(struct agent_host *h, struct id id)
{
	for (size_t i = 0; i < h->nslots; i++) {
		if (id_eq(engine_id(h->slots[i].engine), id)) {
			return &h->slots[i];
		}
	}
	return NULL;
}

struct slot *host_slot_add(struct agent_host *h, struct id id)
{
	struct slot *more = reallocarray(h->slots, h->nslots + 1, sizeof *more);

	if (more == NULL) {
		abort();
	}
	h->slots = more;
	h->slots[h->nslots] = (struct slot){ .engine = engine_new(&h->env, id) };
	return &h->slots[h->nslots++];
}

void host_slot_remove(struct agent_host *h, struct slot *s)
{
	engine_free(s->engine);
	*s = h->slots[--h->nslots];
}

/* Goals of one host are all of one installation: the first one found. */
static void note_installation(struct agent_host *h, const struct engine *e)
{
	const struct goal *g = engine_goal(e);

	if (g != NULL && id_is_zero(h->installation)) {
		h->installation = g->installation;
	}
}

static void closedirp(DIR **d)
{
	if (*d != NULL) {
		closedir(*d);
	}
}

static bool adopt_all(struct agent_host *h, struct err *e)
{
	const char *path = paths_instances(h->env.dir, &h->arena);

	if (!dir_make(path, 0700, e)) {
		return false;
	}
	[[gnu::cleanup(closedirp)]] DIR *dir = opendir(path);
	if (dir == NULL) {
		return err_sys(e, "open '%s'", path);
	}
	for (struct dirent *d = readdir(dir); d != NULL; d = readdir(dir)) {
		struct id id;

		if (id_parse(d->d_name, &id)) {
			note_installation(h, host_slot_add(h, id)->engine);
		}
	}
	return true;
}

/* What a crash left half deleted: it was renamed out of the instances' way before. */
static bool remove_leftovers(struct agent_host *h, struct err *e)
{
	const char *path = paths_deleted(h->env.dir, &h->arena);

	return dir_remove(path, e) && dir_make(path, 0700, e);
}

/* news */

static bool all_looked(const struct agent_host *h)
{
	for (size_t i = 0; i < h->nslots; i++) {
		if (!engine_has_looked(h->slots[i].engine)) {
			return false;
		}
	}
	return true;
}

static void become_ready(struct agent_host *h)
{
	if (!h->ready && !h->env.quitting && h->scan == NULL) {
		h->ready = true;
		h->hooks.ready(h->hooks.arg);
	}
}

static bool any_busy(const struct agent_host *h)
{
	for (size_t i = 0; i < h->nslots; i++) {
		if (engine_is_busy(h->slots[i].engine)) {
			return true;
		}
	}
	return false;
}

static void finish(struct agent_host *h)
{
	if (!h->done) {
		h->done = true;
		timer_stop(h->timer);
		h->hooks.done(h->hooks.arg);
	}
}

static bool any_replica_runs(const struct agent_host *h)
{
	for (size_t i = 0; i < h->nslots; i++) {
		const struct engine *e = h->slots[i].engine;

		if (engine_has_server(e) && engine_observation(e)->role == SERVER_ROLE_REPLICA) {
			return true;
		}
	}
	return false;
}

/* Replicas first: a source waits at its end for those that lag. */
static void go_on_stopping(struct agent_host *h)
{
	bool replicas = any_replica_runs(h);
	bool all = true;

	for (size_t i = 0; i < h->nslots; i++) {
		struct engine *e = h->slots[i].engine;

		if (!replicas || engine_observation(e)->role == SERVER_ROLE_REPLICA ||
		    !engine_has_server(e)) {
			engine_stop(e);
		}
		all = all && engine_is_stopped(e);
	}
	if (all) {
		LOG(LOG_INFO, "servers.stopped", KV("instances", h->nslots));
		host_quit(h);
	}
}

static void on_changed(void *arg)
{
	struct agent_host *h = arg;
	int64_t now = clock_ms();

	if (h->env.quitting) {
		if (!any_busy(h)) {
			finish(h);
		}
		return;
	}
	if (h->stopping) {
		go_on_stopping(h);
		return;
	}
	if (!h->ready) {
		if (all_looked(h)) {
			become_ready(h);
		}
		return;
	}
	for (size_t i = 0; i < h->nslots; i++) {
		if (host_slot_news(&h->slots[i], now) == NEWS_NOW) {
			h->hooks.news(h->hooks.arg);
			return;
		}
	}
}

/* lifecycle */

static void on_scanned(void *arg)
{
	struct agent_host *h = arg;
	struct err e;

	h->about.ndatastores = binaries_list(h->scan, h->about.datastores);
	binaries_free(h->scan);
	h->scan = NULL;
	h->about_changed = true;
	for (size_t i = 0; i < h->about.ndatastores; i++) {
		const struct host_datastore *d = &h->about.datastores[i];

		LOG(LOG_INFO, "binary.found", KV("datastore", d->datastore),
		    KV("version", d->version), KV("path", d->binary));
	}
	if (h->ready) {
		h->hooks.news(h->hooks.arg);
		return;
	}
	if (!adopt_all(h, &e)) {
		LOG(LOG_ERROR, "host.unreadable", KV("reason", e.msg));
	}
	if (h->nslots == 0) {
		become_ready(h);
	} else {
		timer_set_in(h->timer, FIRST_LOOK_MS);
	}
}

static void on_timer(void *arg)
{
	struct agent_host *h = arg;

	if (h->env.quitting) {
		LOG(LOG_WARN, "agent.impatient", KV("jobs", h->env.jobs),
		    KV("hint", "something on disk takes longer than the limit"));
		_exit(0); /* state is on disk, and workers may still hold what we would free */
	}
	become_ready(h);
}

void host_rescan(struct agent_host *h)
{
	if (h->scan == NULL && !h->env.quitting) {
		h->scan = binaries_scan(h->env.loop, setting_text(h->settings, "agent.servers"),
					h->env.dir, on_scanned, h);
	}
}

void host_quit(struct agent_host *h)
{
	if (h->env.quitting) {
		return;
	}
	h->env.quitting = true;
	timer_set_in(h->timer, QUIT_LIMIT_MS);
	on_changed(h);
}

void host_stop_servers(struct agent_host *h)
{
	if (!h->stopping && !h->env.quitting) {
		h->stopping = true;
		LOG(LOG_INFO, "servers.stopping", KV("instances", h->nslots));
		on_changed(h);
	}
}

static bool describe(struct agent_host *h, struct err *e)
{
	struct host *about = &h->about;
	const char *name = setting_text(h->settings, "agent.name");
	const char *addresses = setting_text(h->settings, "agent.addresses");
	const char *ports = setting_text(h->settings, "agent.ports");
	struct statvfs fs = {};

	if (name[0] != '\0') {
		str_copy(about->name, sizeof about->name, name);
	} else if (gethostname(about->name, sizeof about->name - 1) != 0) {
		return err_sys(e, "this host's name");
	}
	if (!str_copy(about->pool_addresses, sizeof about->pool_addresses, addresses) ||
	    !str_copy(about->pool_ports, sizeof about->pool_ports, ports)) {
		return err_set(e, ERR_INVALID, "agent.addresses or agent.ports is too long");
	}
	about->memory_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
	about->disk_bytes =
		statvfs(h->env.dir, &fs) == 0 ? (int64_t)fs.f_blocks * (int64_t)fs.f_frsize : 0;
	return pool_parse(addresses, ports, &about->pool, e);
}

static void read_settings(struct agent_host *h)
{
	const struct settings *s = h->settings;

	h->env.restart_delay_ms = setting_int(s, "agent.restart_delay");
	h->env.start_limit_ms = SEC(setting_int(s, "agent.start_limit"));
	h->env.stop_limit_ms = SEC(setting_int(s, "agent.stop_limit"));
	h->env.disk_reserve_bytes = setting_int(s, "agent.disk_reserve_bytes");
}

bool host_new(struct loop *l, const char *dir, const struct settings *s,
	      const struct host_hooks *hooks, struct agent_host **ret, struct err *e)
{
	struct agent_host *h = calloc(1, sizeof *h);

	if (h == NULL) {
		abort();
	}
	h->settings = s;
	h->hooks = *hooks;
	h->session = id_new();
	h->env = (struct agent_env){
		.loop = l, .about = &h->about, .changed = on_changed, .arg = h
	};
	h->env.dir = arena_strdup(&h->arena, dir);
	read_settings(h);
	if (!host_id_load(dir, &h->about.id, e) || !describe(h, e) || !remove_leftovers(h, e) ||
	    !paths_socket_dir(setting_text(s, "agent.socket_dir"), h->about.id, &h->arena,
			      &h->env.socket_dir, e)) {
		arena_done(&h->arena);
		free(h);
		return false;
	}
	h->timer = timer_new(l, on_timer, h);
	h->env.folders = folders_new(l);
	host_rescan(h);
	*ret = h;
	return true;
}

void host_free(struct agent_host *h)
{
	if (h == NULL) {
		return;
	}
	for (size_t i = 0; i < h->nslots; i++) {
		engine_free(h->slots[i].engine);
	}
	free(h->slots);
	folders_free(h->env.folders);
	binaries_free(h->scan);
	timer_free(h->timer);
	(void)rmdir(h->env.socket_dir); /* when no server is left in it */
	arena_done(&h->arena);
	free(h);
}
