/*
 * What the tests of the engine room share: a control plane without its API, over a real SQLite
 * store in a temporary folder, and an agent made of hand-written reports. Everything waits for a
 * callback, never for a time to pass.
 */
#pragma once

#include "../test.h"

#include "base/clock.h"
#include "base/log.h"
#include "io/file.h"
#include "server/reconcile.h"
#include "server/registry.h"

enum { ENGINE_LIMIT_MS = 20000 }; /* far above what any wait needs, also under valgrind */

struct engine {
	char dir[64];
	struct loop *loop;
	struct settings settings;
	struct store *store;
	struct registry *r;
	struct reconcile *rc;
	struct err opened;
	bool stopped;
	struct timer *limit;
	/* the last commit */
	enum store_outcome outcome;
	struct err why;
	/* the agent */
	struct id host, session;
	uint64_t seq;
};

static void engine_limit(void *)
{
	fail_msg("nothing happened within %d ms", ENGINE_LIMIT_MS);
}

/* Runs the loop until engine_stop(). */
static inline void engine_run(struct engine *en)
{
	en->limit = timer_new(en->loop, engine_limit, NULL);
	timer_set_in(en->limit, ENGINE_LIMIT_MS);
	loop_run(en->loop);
	timer_free(en->limit);
}

static inline void engine_stop(void *arg)
{
	loop_stop(((struct engine *)arg)->loop);
}

struct engine_until {
	struct engine *en;
	bool (*holds)(struct engine *en);
	struct timer *timer;
};

static void engine_look_again(void *arg)
{
	struct engine_until *u = arg;

	if (u->holds(u->en)) {
		loop_stop(u->en->loop);
		return;
	}
	timer_set_in(u->timer, 1);
}

/* Runs the loop until holds(en). */
static inline void engine_until(struct engine *en, bool (*holds)(struct engine *en))
{
	struct engine_until u = { .en = en, .holds = holds };

	u.timer = timer_new(en->loop, engine_look_again, &u);
	timer_set_in(u.timer, 0);
	engine_run(en);
	timer_free(u.timer);
}

static bool engine_is_idle(struct engine *en)
{
	return !registry_busy(en->r);
}

static void engine_opened(void *arg, struct registry *r, const struct err *e)
{
	struct engine *en = arg;

	en->r = r;
	en->opened = *e;
	loop_stop(en->loop);
}

/* wrap: what stands between the registry and the store; NULL: nothing. */
static inline void engine_open_with(struct engine *en, struct store *(*wrap)(struct store *real))
{
	struct err e = {};
	char path[100];

	snprintf(path, sizeof path, "%s/tanist.db", en->dir);
	en->loop = loop_new();
	assert_ok(store_sqlite_open(en->loop, path, &en->store, &e), &e);
	if (wrap != NULL) {
		en->store = wrap(en->store);
	}
	registry_open(en->loop, en->store, &en->settings, engine_opened, en);
	engine_run(en);
}

static inline void engine_open(struct engine *en)
{
	engine_open_with(en, NULL);
	assert_string_equal(en->opened.msg, "");
}

static inline struct engine engine_new(void)
{
	struct engine en = { .dir = "/tmp/tanist-engine-XXXXXX" };
	auto_str report = {};
	struct err e = {};

	log_set_level(LOG_ERROR);
	assert_non_null(mkdtemp(en.dir));
	assert_ok(settings_load(NULL, &report, &en.settings, &e), &e);
	en.host = id_new();
	en.session = id_new();
	return en;
}

static inline void engine_set(struct engine *en, const char *name, const char *value)
{
	struct err e = {};

	assert_ok(settings_set(&en->settings, name, value, &e), &e);
}

static inline void engine_close(struct engine *en)
{
	if (en->r != NULL && registry_busy(en->r)) {
		engine_until(en, engine_is_idle);
	}
	store_free(en->store);
	reconcile_free(en->rc);
	registry_free(en->r);
	loop_free(en->loop);
	en->store = NULL;
	en->rc = NULL;
	en->r = NULL;
	en->loop = NULL;
}

static inline void engine_done(struct engine *en)
{
	struct err e = {};

	if (en->loop != NULL) {
		engine_close(en);
	}
	settings_done(&en->settings);
	assert_ok(dir_remove(en->dir, &e), &e);
}

#define auto_engine [[gnu::cleanup(engine_done)]] struct engine

/* ---- groups ---- */

enum { ENGINE_MEMBERS = 4 };

/* A group whose parts are all here; the members' names are literals. */
struct engine_group {
	struct group g;
	struct member m[ENGINE_MEMBERS];
	struct history_entry history[2];
	char address[ENGINE_MEMBERS][16];
};

static inline void engine_group_init(struct engine_group *eg, const char *project, const char *name,
				     size_t nmembers)
{
	*eg = (struct engine_group){};
	eg->g = (struct group){
		.id = id_new(),
		.project = project,
		.name = name,
		.epoch = 1,
		.created_wall_ms = clock_wall_ms(),
		.members = eg->m,
		.nmembers = nmembers,
		.history = eg->history,
	};
	random_secret(eg->g.secrets.replication.open, SECRET_LEN);
	random_secret(eg->g.secrets.agent.open, SECRET_LEN);
	for (size_t i = 0; i < nmembers; i++) {
		snprintf(eg->address[i], sizeof eg->address[i], "127.0.77.%zu", i + 1);
		eg->m[i] = (struct member){
			.id = id_new(),
			.name = name,
			.host = "here",
			.address = eg->address[i],
			.port = 6379,
			.flavor = "1",
			.datastore = "redis",
			.version = "7.0.15",
			.volume_gb = 1,
			.created_wall_ms = clock_wall_ms(),
			.updated_wall_ms = clock_wall_ms(),
			.state_since_wall_ms = clock_wall_ms(),
		};
	}
	eg->g.source = eg->m[0].id;
}

static void engine_committed(void *arg, enum store_outcome outcome, const struct err *e)
{
	struct engine *en = arg;

	en->outcome = outcome;
	en->why = *e;
	loop_stop(en->loop);
}

static inline enum store_outcome engine_commit(struct engine *en, struct entry *entry,
					       const struct group *next,
					       const struct group_event *events, size_t n)
{
	registry_commit(en->r, entry, next, events, n, engine_committed, en);
	engine_run(en);
	return en->outcome;
}

/* ---- reports ---- */

static inline struct host engine_host(const struct engine *en, const char *name,
				      const char *addresses)
{
	struct host h = {
		.id = en->host, .memory_bytes = 4LL << 30, .disk_bytes = 100LL << 30, .ndatastores = 1
	};
	struct err e = {};

	str_copy(h.name, sizeof h.name, name);
	str_copy(h.pool_addresses, sizeof h.pool_addresses, addresses);
	str_copy(h.pool_ports, sizeof h.pool_ports, "6379");
	assert_ok(pool_parse(h.pool_addresses, h.pool_ports, &h.pool, &e), &e);
	str_copy(h.datastores[0].datastore, sizeof h.datastores[0].datastore, "redis");
	str_copy(h.datastores[0].version, sizeof h.datastores[0].version, "7.0.15");
	str_copy(h.datastores[0].binary, sizeof h.datastores[0].binary, "/usr/bin/redis-server");
	return h;
}

/* The next report of the agent's session. */
static inline bool engine_report(struct engine *en, bool full, const struct host *about,
				 const struct observation *obs, size_t n,
				 struct wire_report_answer *ret, struct err *e)
{
	const struct wire_report rep = {
		.host = en->host,
		.session = en->session,
		.seq = ++en->seq,
		.full = full,
		.about = about,
		.observations = obs,
		.nobservations = n,
	};

	return registry_report(en->r, &rep, ret, e);
}

/* The agent of host `name` reports for the first time, and its record is durable. */
static inline void engine_join(struct engine *en, const char *name, const char *addresses)
{
	struct host h = engine_host(en, name, addresses);
	struct wire_report_answer answer;
	struct err e = {};

	assert_ok(engine_report(en, true, &h, NULL, 0, &answer, &e), &e);
	assert_false(answer.want_full);
	engine_until(en, engine_is_idle);
}
