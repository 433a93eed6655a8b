/*
 * Messages as tables of their fields (proto/fields.h). What is zero, or -1 where that means
 * unknown, is left out: a heartbeat of an idle host is some hundred bytes.
 */
#include "proto/wire.h"

#include <inttypes.h>

#include "core/versions.h"
#include "proto/fields.h"

FIELD_WORDS(goal_run);
FIELD_WORDS(goal_role);
FIELD_WORDS(proc_state);
FIELD_WORDS(server_role);
FIELD_WORDS(marker_verdict);

enum {
	ITEMS_MAX = 4096, /* of each list: more than a host has instances */
	NAME_BYTES = 4 * MODEL_NAME_MAX,
	WORD_BYTES = 255,
	ADDRESS_BYTES = 63,
};

#define NEEDED .need = FIELD_NEEDED
#define COUNT .max = INT64_MAX
#define OR_UNKNOWN .min = -1, .max = INT64_MAX, .absent = -1 /* -1: not known, or there is none */

/* clang-format off */
static const struct field report_rows[] = {
	{ "host",          FIELD_ID,   FIELD_AT(struct wire_report, host), NEEDED },
	{ "session",       FIELD_ID,   FIELD_AT(struct wire_report, session), NEEDED },
	{ "installation",  FIELD_ID,   FIELD_AT(struct wire_report, installation) },
	{ "seq",           FIELD_U64,  FIELD_AT(struct wire_report, seq), NEEDED },
	{ "full",          FIELD_BOOL, FIELD_AT(struct wire_report, full) },
	{ "highest_epoch", FIELD_U64,  FIELD_AT(struct wire_report, highest_epoch_seen) },
};

static const struct field orphan_rows[] = {
	{ "instance", FIELD_ID,    FIELD_AT(struct wire_orphan, instance), NEEDED },
	{ "detail",   FIELD_PROSE, FIELD_AT(struct wire_orphan, detail) },
};

static const struct field observation_rows[] = {
	{ "instance",        FIELD_ID,     FIELD_AT(struct observation, instance), NEEDED },
	{ "goal_epoch",      FIELD_U64,    FIELD_AT(struct observation, goal_epoch) },
	{ "goal_revision",   FIELD_U64,    FIELD_AT(struct observation, goal_revision) },
	{ "goal_applied",    FIELD_BOOL,   FIELD_AT(struct observation, goal_applied) },
	{ "start_at_once",   FIELD_BOOL,   FIELD_AT(struct observation, start_at_once) },
	{ "watch",           FIELD_U64,    FIELD_AT(struct observation, watch) },

	{ "proc",            FIELD_ENUM,   FIELD_AT(struct observation, proc), NEEDED, .words = &proc_state_words },
	{ "run_id",          FIELD_REPLID, FIELD_AT(struct observation, run_id) },
	{ "guarded",         FIELD_BOOL,   FIELD_AT(struct observation, guarded) },
	{ "fenced",          FIELD_BOOL,   FIELD_AT(struct observation, fenced) },
	{ "error",           FIELD_PROSE,  FIELD_AT(struct observation, error) },

	{ "marker",          FIELD_ENUM,   FIELD_AT(struct observation, marker), .words = &marker_verdict_words },
	{ "recorded_replid", FIELD_REPLID, FIELD_AT(struct observation, recorded.replid) },
	{ "recorded_offset", FIELD_I64,    FIELD_AT(struct observation, recorded.offset), .min = -1, .max = INT64_MAX },
	{ "recorded_keys",   FIELD_I64,    FIELD_AT(struct observation, recorded.keys), .min = -1, .max = INT64_MAX },

	{ "loading",         FIELD_BOOL,   FIELD_AT(struct observation, loading) },
	{ "loading_pct",     FIELD_U8,     FIELD_AT(struct observation, loading_pct), .max = 100 },
	{ "role",            FIELD_ENUM,   FIELD_AT(struct observation, role), .words = &server_role_words },
	{ "replid",          FIELD_REPLID, FIELD_AT(struct observation, replid) },
	{ "replid2",         FIELD_REPLID, FIELD_AT(struct observation, replid2) },
	{ "offset",          FIELD_I64,    FIELD_AT(struct observation, offset), .min = -1, .max = INT64_MAX },
	{ "second_offset",   FIELD_I64,    FIELD_AT(struct observation, second_offset), OR_UNKNOWN },
	{ "slave_offset",    FIELD_I64,    FIELD_AT(struct observation, slave_offset), OR_UNKNOWN },
	{ "read_offset",     FIELD_I64,    FIELD_AT(struct observation, read_offset), OR_UNKNOWN },
	{ "link_up",         FIELD_BOOL,   FIELD_AT(struct observation, link_up) },
	{ "syncing",         FIELD_BOOL,   FIELD_AT(struct observation, sync_in_progress) },
	{ "sync_done",       FIELD_I64,    FIELD_AT(struct observation, sync_done_bytes), OR_UNKNOWN },
	{ "sync_total",      FIELD_I64,    FIELD_AT(struct observation, sync_total_bytes), OR_UNKNOWN },
	{ "last_io_s",       FIELD_I32,    FIELD_AT(struct observation, last_io_s), .min = -1, .max = INT32_MAX, .absent = -1 },
	{ "upstream_host",   FIELD_TEXT,   FIELD_AT(struct observation, upstream_host) },
	{ "upstream_port",   FIELD_U16,    FIELD_AT(struct observation, upstream_port) },

	{ "keys",            FIELD_I64,    FIELD_AT(struct observation, keys), COUNT },
	{ "used_memory",     FIELD_I64,    FIELD_AT(struct observation, used_memory_bytes), COUNT },
	{ "clients",         FIELD_U32,    FIELD_AT(struct observation, connected_clients) },
	{ "sync_full",       FIELD_I64,    FIELD_AT(struct observation, sync_full), COUNT },
	{ "save_progress",   FIELD_I64,    FIELD_AT(struct observation, save_progress), OR_UNKNOWN },
	{ "aof",             FIELD_BOOL,   FIELD_AT(struct observation, aof_enabled) },
	{ "aof_rewriting",   FIELD_BOOL,   FIELD_AT(struct observation, aof_rewriting) },
	{ "aof_rewrite_ok",  FIELD_BOOL,   FIELD_AT(struct observation, aof_last_rewrite_ok) },
	{ "disk_error",      FIELD_BOOL,   FIELD_AT(struct observation, disk_error) },
	{ "durable",         FIELD_BOOL,   FIELD_AT(struct observation, durable) },
	{ "disk_free",       FIELD_I64,    FIELD_AT(struct observation, disk_free_bytes), COUNT },
	{ "disk_used",       FIELD_I64,    FIELD_AT(struct observation, disk_used_bytes), COUNT },
};

static const struct field answer_rows[] = {
	{ "installation", FIELD_ID,   FIELD_AT(struct wire_report_answer, installation), NEEDED },
	{ "want_full",    FIELD_BOOL, FIELD_AT(struct wire_report_answer, want_full) },
};

static const struct field goals_rows[] = {
	{ "installation",   FIELD_ID,  FIELD_AT(struct wire_goals, installation), NEEDED },
	{ "revision",       FIELD_U64, FIELD_AT(struct wire_goals, revision), NEEDED },
	{ "watch_revision", FIELD_U64, FIELD_AT(struct wire_goals, watch_revision) },
};

static const struct field watch_rows[] = {
	{ "instance", FIELD_ID,   FIELD_AT(struct wire_watch, instance), NEEDED },
	{ "watch",    FIELD_U64,  FIELD_AT(struct wire_watch, live.watch) },
	{ "stream",   FIELD_BOOL, FIELD_AT(struct wire_watch, live.stream) },
	{ "urgent",   FIELD_BOOL, FIELD_AT(struct wire_watch, live.urgent) },
	{ "peer",     FIELD_I64,  FIELD_AT(struct wire_watch, live.peer_offset), OR_UNKNOWN },
};

static const struct field goal_rows[] = {
	{ "installation",     FIELD_ID,     FIELD_AT(struct goal, installation), NEEDED },
	{ "group",            FIELD_ID,     FIELD_AT(struct goal, group), NEEDED },
	{ "instance",         FIELD_ID,     FIELD_AT(struct goal, instance), NEEDED },
	{ "epoch",            FIELD_U64,    FIELD_AT(struct goal, epoch), NEEDED },
	{ "revision",         FIELD_U64,    FIELD_AT(struct goal, revision), NEEDED },
	{ "run",              FIELD_ENUM,   FIELD_AT(struct goal, run), NEEDED, .words = &goal_run_words },
	{ "role",             FIELD_ENUM,   FIELD_AT(struct goal, role), NEEDED, .words = &goal_role_words },
	{ "confirmed_run",    FIELD_REPLID, FIELD_AT(struct goal, confirmed_run) },
	{ "start_at_once",    FIELD_BOOL,   FIELD_AT(struct goal, start_at_once) },
	{ "demote_accepted",  FIELD_BOOL,   FIELD_AT(struct goal, demote_accepted) },
	{ "upstream_host",    FIELD_STRING, FIELD_AT(struct goal, upstream_host), .max = ADDRESS_BYTES },
	{ "upstream_port",    FIELD_U16,    FIELD_AT(struct goal, upstream_port) },
	{ "staged",           FIELD_BOOL,   FIELD_AT(struct goal, staged) },
	{ "fenced",           FIELD_BOOL,   FIELD_AT(struct goal, fenced) },
	{ "kill_hung",        FIELD_BOOL,   FIELD_AT(struct goal, kill_hung) },
	{ "drop_clients",     FIELD_BOOL,   FIELD_AT(struct goal, drop_clients) },
	{ "name",             FIELD_STRING, FIELD_AT(struct goal, name), .max = NAME_BYTES },
	{ "project",          FIELD_STRING, FIELD_AT(struct goal, project), .max = WORD_BYTES },
	{ "address",          FIELD_STRING, FIELD_AT(struct goal, address), .max = ADDRESS_BYTES },
	{ "port",             FIELD_U16,    FIELD_AT(struct goal, port) },
	{ "datastore",        FIELD_STRING, FIELD_AT(struct goal, datastore), .max = 15 },
	{ "version",          FIELD_STRING, FIELD_AT(struct goal, version), .max = 15 },

	{ "maxmemory",        FIELD_U64,    FIELD_AT(struct goal, settings.maxmemory_bytes) },
	{ "maxmemory_policy", FIELD_TEXT,   FIELD_AT(struct goal, settings.maxmemory_policy) },
	{ "backlog",          FIELD_U64,    FIELD_AT(struct goal, settings.backlog_bytes) },
	{ "repl_timeout_s",   FIELD_U32,    FIELD_AT(struct goal, settings.repl_timeout_s) },
	{ "ping_period_s",    FIELD_U32,    FIELD_AT(struct goal, settings.ping_period_s) },
	{ "diskless_sync",    FIELD_BOOL,   FIELD_AT(struct goal, settings.diskless_sync) },
	{ "diskless_delay_s", FIELD_U32,    FIELD_AT(struct goal, settings.diskless_delay_s) },
	{ "appendfsync",      FIELD_TEXT,   FIELD_AT(struct goal, settings.appendfsync) },
	{ "customer_open",    FIELD_BOOL,   FIELD_AT(struct goal, settings.customer_open) },

	{ "min_slaves",       FIELD_U32,    FIELD_AT(struct goal, min_slaves_to_write) },
	{ "min_slaves_lag_s", FIELD_U32,    FIELD_AT(struct goal, min_slaves_max_lag_s) },
	{ "waiting",          FIELD_U32,    FIELD_AT(struct goal, waiting_replicas) },
	{ "secret_repl",      FIELD_SECRET, FIELD_AT(struct goal, secrets.replication) },
	{ "secret_agent",     FIELD_SECRET, FIELD_AT(struct goal, secrets.agent) },
};
/* clang-format on */

#define LIST(name, table, type)                                                                    \
	{                                                                                          \
		.key = name, .rows = table, .nrows = ARRAY_LEN(table), .size = sizeof(type),       \
		.max = ITEMS_MAX,                                                                  \
	}
static const struct field_list observations_list =
	LIST("observations", observation_rows, struct observation);
static const struct field_list orphans_list = LIST("orphans", orphan_rows, struct wire_orphan);
static const struct field_list goals_list = LIST("goals", goal_rows, struct goal);
static const struct field_list watches_list = LIST("watches", watch_rows, struct wire_watch);

static void begin(struct jw *w)
{
	jw_object(w, NULL);
	jw_int(w, "wire", WIRE_VERSION);
}

static bool parse(const char *json, size_t len, json_t **ret, struct err *e)
{
	auto_json *j = NULL;
	int64_t version = 0;

	if (!json_parse(json, len, &j, e) || !json_get_i64(j, "wire", &version, e)) {
		return false;
	}
	if (version > WIRE_VERSION) {
		return err_set(e, ERR_CONFLICT,
			       "a message of version %" PRId64
			       " from a newer tanist; this one understands up to %d: update it",
			       version, WIRE_VERSION);
	}
	if (version < 1) {
		return err_set(e, ERR_INVALID, "'wire' is %" PRId64 ", which there never was",
			       version);
	}
	*ret = json_incref(j);
	return true;
}

void wire_write_report(const struct wire_report *r, struct str *out)
{
	struct jw w = { .out = out };

	begin(&w);
	fields_write(&w, report_rows, ARRAY_LEN(report_rows), r);
	if (r->about != NULL) {
		record_put_host(&w, "about", r->about);
	}
	fields_write_list(&w, &observations_list, r->observations, r->nobservations);
	fields_write_list(&w, &orphans_list, r->orphans, r->norphans);
	jw_end(&w);
}

static bool read_about(const json_t *j, struct arena *a, const struct host **ret, struct err *e)
{
	const json_t *o = json_object_get(j, "about");

	if (o == NULL) {
		return true;
	}
	struct host *h = arena_alloc(a, sizeof *h);

	if (!record_get_host(o, h, e)) {
		return err_wrap(e, "about");
	}
	*ret = h;
	return true;
}

bool wire_read_report(const char *json, size_t len, struct arena *a, struct wire_report *ret,
		      struct err *e)
{
	auto_json *j = NULL;
	struct wire_report r = {};
	void *observations, *orphans;

	if (!parse(json, len, &j, e) ||
	    !fields_read(j, report_rows, ARRAY_LEN(report_rows), NULL, &r, e) ||
	    !read_about(j, a, &r.about, e) ||
	    !fields_read_list(j, &observations_list, a, &observations, &r.nobservations, e) ||
	    !fields_read_list(j, &orphans_list, a, &orphans, &r.norphans, e)) {
		return false;
	}
	r.observations = observations;
	r.orphans = orphans;
	*ret = r;
	return true;
}

void wire_write_report_answer(const struct wire_report_answer *r, struct str *out)
{
	struct jw w = { .out = out };

	begin(&w);
	fields_write(&w, answer_rows, ARRAY_LEN(answer_rows), r);
	jw_end(&w);
}

bool wire_read_report_answer(const char *json, size_t len, struct wire_report_answer *ret,
			     struct err *e)
{
	auto_json *j = NULL;
	struct wire_report_answer r = {};

	if (!parse(json, len, &j, e) ||
	    !fields_read(j, answer_rows, ARRAY_LEN(answer_rows), NULL, &r, e)) {
		return false;
	}
	*ret = r;
	return true;
}

/*
 * What a server cannot be started without. A goal to delete needs none of it: its instance may be
 * one that the control plane knows by id only.
 */
static bool check_goal(const struct goal *g, struct err *e)
{
	if (g->run == GOAL_DELETE) {
		return true;
	}
	struct endpoint at;

	if (!endpoint_parse(g->address, g->port, &at)) {
		return err_set(e, ERR_INVALID,
			       "a goal to run needs 'address', an IPv4 address, and 'port'");
	}
	if (g->datastore[0] == '\0' || g->version[0] == '\0') {
		return err_set(e, ERR_INVALID, "a goal to run needs 'datastore' and 'version'");
	}
	if (!version_parse(g->datastore, g->version, &(struct server_version){})) {
		return err_set(e, ERR_INVALID, "'version' %s of '%s' is none that is known",
			       g->version, g->datastore);
	}
	if (g->secrets.agent.open[0] == '\0' || g->secrets.replication.open[0] == '\0') {
		return err_set(e, ERR_INVALID, "a goal to run needs both secrets");
	}
	bool follows = g->role == GOAL_REPLICA || g->role == GOAL_YIELDING;

	if (follows && !endpoint_parse(g->upstream_host, g->upstream_port, &at)) {
		return err_set(e, ERR_INVALID,
			       "the goal of a replica needs 'upstream_host', an IPv4 address, and "
			       "'upstream_port'");
	}
	return true;
}

void wire_write_goals(const struct wire_goals *g, struct str *out)
{
	struct jw w = { .out = out };

	begin(&w);
	fields_write(&w, goals_rows, ARRAY_LEN(goals_rows), g);
	fields_write_list(&w, &goals_list, g->goals, g->ngoals);
	fields_write_list(&w, &watches_list, g->watches, g->nwatches);
	jw_end(&w);
}

bool wire_read_goals(const char *json, size_t len, struct arena *a, struct wire_goals *ret,
		     struct err *e)
{
	auto_json *j = NULL;
	struct wire_goals g = {};
	void *goals, *watches;

	if (!parse(json, len, &j, e) ||
	    !fields_read(j, goals_rows, ARRAY_LEN(goals_rows), NULL, &g, e) ||
	    !fields_read_list(j, &goals_list, a, &goals, &g.ngoals, e) ||
	    !fields_read_list(j, &watches_list, a, &watches, &g.nwatches, e)) {
		return false;
	}
	g.goals = goals;
	g.watches = watches;
	for (size_t i = 0; i < g.ngoals; i++) {
		if (!check_goal(&g.goals[i], e)) {
			return err_wrap(e, "goals[%zu]", i);
		}
	}
	*ret = g;
	return true;
}

void wire_write_goal(const struct goal *g, struct str *out)
{
	struct jw w = { .out = out };

	begin(&w);
	fields_write(&w, goal_rows, ARRAY_LEN(goal_rows), g);
	jw_end(&w);
}

bool wire_read_goal(const char *json, size_t len, struct arena *a, struct goal *ret, struct err *e)
{
	auto_json *j = NULL;
	struct goal g = {};

	if (!parse(json, len, &j, e) ||
	    !fields_read(j, goal_rows, ARRAY_LEN(goal_rows), a, &g, e) || !check_goal(&g, e)) {
		return false;
	}
	*ret = g;
	return true;
}
