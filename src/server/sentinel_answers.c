/*
 * Groups as Sentinel shows them: the same fields in the same order, filled with what tanist knows.
 * A source that is down or held is marked so and still named: its successor is somebody else's
 * decision, and until that is committed clients must not be sent elsewhere.
 */
#include <inttypes.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/sentinel_impl.h"

enum { FAILOVER_LIMIT_MS = 180'000 }; /* Sentinel's default; nobody here counts it */

#define NO_SUCH_MASTER "ERR No such master with that name"

/* ---- what is known of a member ---- */

struct view {
	const struct entry *en;
	const struct member *m;
	const struct observation *o; /* NULL: not heard */
	bool silent;
	int64_t heard_ago_ms, state_ago_ms;
};

static struct view view_of(const struct sentinel *s, const struct entry *en, size_t i)
{
	const struct member *m = &en->g->members[i];
	const struct reg_host *host = registry_host(s->r, m->host);
	int64_t now_ms = clock_ms();
	int64_t since_ms = en->live.members[i].state_since_ms;

	return (struct view){
		.en = en,
		.m = m,
		.o = en->obs[i],
		.silent = registry_host_silent(s->r, m->host),
		.heard_ago_ms = now_ms - (host == NULL || host->heard_ms == 0 ? s->started_ms
									      : host->heard_ms),
		.state_ago_ms = now_ms - (since_ms == 0 ? s->started_ms : since_ms),
	};
}

static bool find_source(const struct sentinel *s, const struct entry *en, struct view *ret)
{
	for (size_t i = 0; i < en->g->nmembers; i++) {
		if (id_eq(en->g->members[i].id, en->g->source)) {
			*ret = view_of(s, en, i);
			return true;
		}
	}
	return false;
}

/* Not heard at all is no evidence: we may have just begun to listen. */
static bool is_down(const struct view *v)
{
	return v->silent || v->m->state == MEMBER_ERROR || v->m->state == MEMBER_STARTING ||
	       (v->o != NULL && v->o->proc != PROC_RUNNING);
}

/* It is not to serve before something has been decided, or it is given up. */
static bool is_kept_from_serving(enum op_phase p)
{
	return p == PHASE_RESTART_COMPARE || p == PHASE_RESTART_HELD || p == PHASE_EJECT_DRAIN ||
	       p == PHASE_EJECT_SEAL || p == PHASE_EJECT_HELD;
}

/* A source that is read-only for milliseconds is not down: clients that look now are right there. */
static bool changes_role(enum op_phase p)
{
	return p == PHASE_HANDOVER_FENCE || p == PHASE_HANDOVER_UNDO ||
	       p == PHASE_HANDOVER_PROMOTE || p == PHASE_EJECT_PROMOTE;
}

bool source_is_down(const struct sentinel *s, const struct entry *en)
{
	enum op_phase phase = en->g->op.phase;
	struct view v;

	if (!find_source(s, en, &v) || is_down(&v) || is_kept_from_serving(phase)) {
		return true;
	}
	return v.o != NULL &&
	       (v.o->guarded || (v.o->role == SERVER_ROLE_REPLICA && !changes_role(phase)));
}

/* Without all of the data it is nothing to read from, whatever its link says. */
static bool replica_is_down(const struct view *v)
{
	return is_down(v) || v->m->state != MEMBER_ACTIVE;
}

static bool is_replica(const struct group *g, const struct member *m)
{
	return m->state != MEMBER_DELETING && !id_eq(m->id, g->source);
}

/* ---- fields ---- */

struct fields {
	struct resp_out *o; /* where they end up */
	struct resp_out text;
	size_t n;
};

static void field(struct fields *f, const char *name, const char *value)
{
	resp_bulk(&f->text, name);
	resp_bulk(&f->text, value);
	f->n++;
}

static void field_int(struct fields *f, const char *name, int64_t value)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRId64, value);
	field(f, name, text);
}

static void fields_end(struct fields *f)
{
	resp_map(f->o, f->n);
	str_append_mem(&f->o->text, f->text.text.p, f->text.text.len);
	str_done(&f->text.text);
}

static const char *run_id(const struct view *v)
{
	if (v->o != NULL && replid_known(&v->o->run_id)) {
		return v->o->run_id.s;
	}
	return id_eq(v->m->id, v->en->g->source) ? v->en->g->source_run.s : "";
}

/* What Sentinel says of both kinds, up to and with role-reported-time. */
static void common_fields(struct fields *f, const struct sentinel *s, const char *name,
			  const struct view *v, const char *role, int64_t down_ms)
{
	bool source = id_eq(v->m->id, v->en->g->source);
	bool down = down_ms >= 0;
	char flags[64];

	snprintf(flags, sizeof flags, "%s%s%s%s", down ? "s_down," : "",
		 down && source ? "o_down," : "", source ? "master" : "slave",
		 v->silent ? ",disconnected" : "");
	field(f, "name", name);
	field(f, "ip", v->m->address);
	field_int(f, "port", v->m->port);
	field(f, "runid", run_id(v));
	field(f, "flags", flags);
	field_int(f, "link-pending-commands", 0);
	field_int(f, "link-refcount", 1);
	field_int(f, "last-ping-sent", 0);
	field_int(f, "last-ok-ping-reply", v->heard_ago_ms);
	field_int(f, "last-ping-reply", v->heard_ago_ms);
	if (down) {
		field_int(f, "s-down-time", down_ms);
	}
	if (down && source) {
		field_int(f, "o-down-time", down_ms);
	}
	field_int(f, "down-after-milliseconds",
		  SEC(setting_int(registry_settings(s->r), "agent.silent_after")));
	field_int(f, "info-refresh", v->heard_ago_ms);
	field(f, "role-reported", role);
	field_int(f, "role-reported-time", v->state_ago_ms);
}

static const char *reported_role(const struct view *v)
{
	bool source = id_eq(v->m->id, v->en->g->source);

	if (v->o == NULL || v->o->role == SERVER_ROLE_UNKNOWN) {
		return source ? "master" : "slave";
	}
	return v->o->role == SERVER_ROLE_MASTER ? "master" : "slave";
}

/* How long; -1: it is up. */
static int64_t source_down_ms(const struct sentinel *s, const struct entry *en)
{
	const struct known *k = sentinel_known(s, en->g->id);

	if (!source_is_down(s, en)) {
		return -1;
	}
	return k == NULL || k->down_since_ms == 0 ? 0 : clock_ms() - k->down_since_ms;
}

static void write_master(struct client *c, const struct entry *en, const char *name)
{
	struct fields f = { .o = &c->out, .text = { .v3 = c->out.v3 } };
	const struct group *g = en->g;
	struct view v;

	if (!find_source(c->s, en, &v)) {
		resp_map(&c->out, 0);
		return;
	}
	common_fields(&f, c->s, name, &v, reported_role(&v), source_down_ms(c->s, en));
	field_int(&f, "config-epoch", (int64_t)g->epoch);
	field_int(&f, "num-slaves", (int64_t)group_replica_count(g));
	field_int(&f, "num-other-sentinels", 0);
	field_int(&f, "quorum", 1);
	field_int(&f, "failover-timeout", FAILOVER_LIMIT_MS);
	field_int(&f, "parallel-syncs", 1);
	fields_end(&f);
}

static void write_replica(struct client *c, const struct entry *en, size_t i)
{
	struct fields f = { .o = &c->out, .text = { .v3 = c->out.v3 } };
	const struct member *source = group_source(en->g);
	struct view v = view_of(c->s, en, i);
	bool linked = v.o != NULL && v.o->link_up;
	char name[128];

	snprintf(name, sizeof name, "%s:%u", v.m->address, v.m->port);
	common_fields(&f, c->s, name, &v, reported_role(&v),
		      replica_is_down(&v) ? v.heard_ago_ms : -1);
	field_int(&f, "master-link-down-time", linked ? 0 : v.state_ago_ms);
	field(&f, "master-link-status", linked ? "ok" : "err");
	field(&f, "master-host", source == NULL ? "?" : source->address);
	field_int(&f, "master-port", source == NULL ? 0 : source->port);
	field_int(&f, "slave-priority", 100);
	field_int(&f, "slave-repl-offset",
		  v.o == NULL || v.o->slave_offset < 0 ? 0 : v.o->slave_offset);
	field_int(&f, "replica-announced", 1);
	fields_end(&f);
}

/* ---- SENTINEL ... ---- */

/* NULL: refused. */
static struct entry *find_named(struct client *c, const struct resp_request *rq)
{
	struct entry *en = sentinel_find(c->s, c->project, rq->argv[2]);

	if (en == NULL) {
		resp_error(&c->out, NO_SUCH_MASTER);
	}
	return en;
}

void answer_address(struct client *c, const struct resp_request *rq)
{
	const struct entry *en = sentinel_find(c->s, c->project, rq->argv[2]);
	char port[8];

	if (en == NULL) {
		resp_nil_array(&c->out);
		return;
	}
	const struct member *source = group_source(en->g);

	snprintf(port, sizeof port, "%u", source->port);
	resp_array(&c->out, 2);
	resp_bulk(&c->out, source->address);
	resp_bulk(&c->out, port);
}

void answer_master(struct client *c, const struct resp_request *rq)
{
	const struct entry *en = find_named(c, rq);

	if (en != NULL) {
		write_master(c, en, rq->argv[2]);
	}
}

/* Ids make a list four times as long: only while it stays readable by a client in a moment. */
static size_t listed_names(const struct client *c, const struct group *g, size_t ngroups,
			   struct names *ret)
{
	sentinel_names_of(c->s, c->project, g, ret);
	if (ngroups <= LIST_IDS_MAX) {
		return ret->n;
	}
	return ret->n < 2 ? ret->n : 2;
}

void answer_masters(struct client *c, const struct resp_request *)
{
	struct names names;
	struct resp_out all = { .v3 = c->out.v3 }, before = c->out;
	size_t n, rows = 0;
	struct entry **list = sentinel_list(c->s, c->project, &n);

	c->out = all;
	for (size_t i = 0; i < n; i++) {
		size_t spelled = listed_names(c, list[i]->g, n, &names);

		for (size_t k = 0; k < spelled; k++) {
			write_master(c, list[i], names.text[k]);
		}
		rows += spelled;
	}
	all = c->out;
	c->out = before;
	resp_array(&c->out, rows);
	str_append_mem(&c->out.text, all.text.p, all.text.len);
	str_done(&all.text);
	free(list);
}

void answer_replicas(struct client *c, const struct resp_request *rq)
{
	const struct entry *en = find_named(c, rq);

	if (en == NULL) {
		return;
	}
	resp_array(&c->out, group_replica_count(en->g));
	for (size_t i = 0; i < en->g->nmembers; i++) {
		if (is_replica(en->g, &en->g->members[i])) {
			write_replica(c, en, i);
		}
	}
}

/* Others than the one that is asked: there is none. */
void answer_sentinels(struct client *c, const struct resp_request *rq)
{
	if (find_named(c, rq) != NULL) {
		resp_array(&c->out, 0);
	}
}

void answer_quorum(struct client *c, const struct resp_request *rq)
{
	if (find_named(c, rq) != NULL) {
		resp_simple(&c->out, "OK 1 usable Sentinels. Quorum and failover authorization can "
				     "be reached");
	}
}

/* A Sentinel asks for our vote. We have none to give: it is not for Sentinels to decide here. */
void answer_down_by_address(struct client *c, const struct resp_request *)
{
	resp_array(&c->out, 3);
	resp_int(&c->out, 0);
	resp_bulk(&c->out, "*");
	resp_int(&c->out, 0);
}

/* 40 hex digits, of the installation's id and its beginning again. */
void answer_my_id(struct client *c, const struct resp_request *)
{
	struct id id = registry_installation(c->s->r);
	char text[41];

	for (size_t i = 0; i < 20; i++) {
		snprintf(text + 2 * i, 3, "%02x", id.b[i % sizeof id.b]);
	}
	resp_bulk(&c->out, text);
}

/* ---- ROLE and INFO ---- */

void answer_role(struct client *c, const struct resp_request *)
{
	struct names names;
	size_t n;
	struct entry **list = sentinel_list(c->s, c->project, &n);

	resp_array(&c->out, 2);
	resp_bulk(&c->out, "sentinel");
	resp_array(&c->out, n);
	for (size_t i = 0; i < n; i++) {
		sentinel_names_of(c->s, c->project, list[i]->g, &names);
		resp_bulk(&c->out, names.text[0]);
	}
	free(list);
}

static void info_server(struct client *c, struct str *out)
{
	int64_t up_s = (clock_ms() - c->s->started_ms) / 1000;

	str_printf(out,
		   "redis_version:" SENTINEL_DIALECT "\r\n"
		   "redis_mode:sentinel\r\n"
		   "tanist_version:" TANIST_VERSION "\r\n"
		   "arch_bits:%zu\r\n"
		   "process_id:%d\r\n"
		   "tcp_port:%u\r\n"
		   "uptime_in_seconds:%" PRId64 "\r\n"
		   "uptime_in_days:%" PRId64 "\r\n",
		   sizeof(void *) * 8, (int)getpid(),
		   c->s->listener == NULL ? 0 : stream_listener_port(c->s->listener), up_s,
		   up_s / 86400);
}

static void info_clients(struct client *c, struct str *out)
{
	str_printf(out, "connected_clients:%zu\r\nmaxclients:%zu\r\nblocked_clients:0\r\n",
		   c->s->nclients, c->s->max_clients);
}

static void info_stats(struct client *c, struct str *out)
{
	str_printf(out,
		   "total_connections_received:%" PRIu64 "\r\n"
		   "total_commands_processed:%" PRIu64 "\r\n",
		   c->s->last_id, c->s->ncommands);
}

/* A line's parts are separated by commas and line ends: a name keeps none. */
static void append_name(struct str *out, const char *name)
{
	for (; *name != '\0'; name++) {
		str_append_char(out, strchr(",\r\n", *name) == NULL ? *name : '?');
	}
}

static void info_sentinel(struct client *c, struct str *out)
{
	struct names names;
	size_t n;
	struct entry **list = sentinel_list(c->s, c->project, &n);

	str_printf(out,
		   "sentinel_masters:%zu\r\n"
		   "sentinel_tilt:0\r\n"
		   "sentinel_tilt_since_seconds:-1\r\n"
		   "sentinel_running_scripts:0\r\n"
		   "sentinel_scripts_queue_length:0\r\n"
		   "sentinel_simulate_failure_flags:0\r\n",
		   n);
	for (size_t i = 0; i < n; i++) {
		const struct member *source = group_source(list[i]->g);

		sentinel_names_of(c->s, c->project, list[i]->g, &names);
		str_printf(out, "master%zu:name=", i);
		append_name(out, names.text[0]);
		str_printf(out, ",status=%s,address=%s:%u,slaves=%zu,sentinels=1\r\n",
			   source_is_down(c->s, list[i]) ? "odown" : "ok", source->address,
			   source->port, group_replica_count(list[i]->g));
	}
	free(list);
}

struct section {
	const char *name;
	void (*write)(struct client *c, struct str *out);
};

static const struct section sections[] = {
	{ "Server", info_server },
	{ "Clients", info_clients },
	{ "Stats", info_stats },
	{ "Sentinel", info_sentinel },
};

static bool is_wanted(const struct section *sec, const struct resp_request *rq)
{
	for (size_t i = 1; i < rq->argc; i++) {
		if (strcasecmp(rq->argv[i], sec->name) == 0 ||
		    strcasecmp(rq->argv[i], "default") == 0 ||
		    strcasecmp(rq->argv[i], "everything") == 0 ||
		    strcasecmp(rq->argv[i], "all") == 0) {
			return true;
		}
	}
	return rq->argc == 1;
}

void answer_info(struct client *c, const struct resp_request *rq)
{
	auto_str text = {};

	for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
		if (!is_wanted(&sections[i], rq)) {
			continue;
		}
		str_printf(&text, "%s# %s\r\n", text.len == 0 ? "" : "\r\n", sections[i].name);
		sections[i].write(c, &text);
	}
	resp_bulk(&c->out, str_cstr(&text));
}
