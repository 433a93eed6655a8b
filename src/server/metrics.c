/*
 * Figures for Prometheus. Requests are counted as they are answered; everything else is read from
 * the registry when it is asked for, so that it cannot be out of step.
 */
#include "server/metrics.h"

#include <inttypes.h>

#include "base/clock.h"
#include "core/status.h"
#include "server/memory.h"

/* Upper bounds of the buckets of durations; the last bucket has none. */
static const int64_t bucket_us[] = { 500, 1000, 2500, 10000, 50000, 250000, 1000000, 10000000 };
enum { BUCKETS = ARRAY_LEN(bucket_us) };

struct status_count {
	int status; /* 0: not used */
	uint64_t n;
};

struct route_count {
	struct status_count statuses[METRICS_STATUSES];
	uint64_t buckets[BUCKETS]; /* each by itself; written as sums */
	uint64_t n, sum_us;
};

struct metrics {
	struct route_count *routes; /* per row of the table; one more for requests without one */
};

struct metrics *metrics_new(void)
{
	struct metrics *m = memory_alloc(1, sizeof *m);

	m->routes = memory_alloc(nroutes + 1, sizeof *m->routes);
	return m;
}

void metrics_free(struct metrics *m)
{
	if (m != NULL) {
		free(m->routes);
		free(m);
	}
}

static void count_status(struct route_count *rc, int status)
{
	for (size_t i = 0; i < METRICS_STATUSES; i++) {
		if (rc->statuses[i].status == status || rc->statuses[i].status == 0) {
			rc->statuses[i].status = status;
			rc->statuses[i].n++;
			return;
		}
	}
}

void metrics_request(struct metrics *m, const struct route *r, int status, int64_t us)
{
	if (m == NULL) {
		return;
	}
	struct route_count *rc = &m->routes[r == NULL ? nroutes : (size_t)(r - routes)];

	count_status(rc, status);
	rc->n++;
	rc->sum_us += us > 0 ? (uint64_t)us : 0;
	for (size_t i = 0; i < BUCKETS; i++) {
		if (us <= bucket_us[i]) {
			rc->buckets[i]++;
			return;
		}
	}
}

/* ---- writing ---- */

static void head(struct str *out, const char *name, const char *type, const char *help)
{
	str_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static const char *route_path(size_t i)
{
	return i == nroutes ? "none" : routes[i].path;
}

static const char *route_method(size_t i)
{
	return i == nroutes ? "any" : http_method_name(routes[i].method);
}

static void write_requests(const struct metrics *m, struct str *out)
{
	head(out, "tanist_http_requests_total", "counter", "Requests answered.");
	for (size_t i = 0; i <= nroutes; i++) {
		for (size_t k = 0; k < METRICS_STATUSES; k++) {
			const struct status_count *sc = &m->routes[i].statuses[k];

			if (sc->status != 0) {
				str_printf(out,
					   "tanist_http_requests_total{method=\"%s\",route=\"%s\","
					   "status=\"%d\"} %" PRIu64 "\n",
					   route_method(i), route_path(i), sc->status, sc->n);
			}
		}
	}
}

static void write_duration(const struct metrics *m, size_t i, struct str *out)
{
	const struct route_count *rc = &m->routes[i];
	uint64_t below = 0;

	for (size_t k = 0; k < BUCKETS; k++) {
		below += rc->buckets[k];
		str_printf(out,
			   "tanist_http_request_duration_seconds_bucket{method=\"%s\",route=\"%s\","
			   "le=\"%g\"} %" PRIu64 "\n",
			   route_method(i), route_path(i), (double)bucket_us[k] / 1e6, below);
	}
	str_printf(out,
		   "tanist_http_request_duration_seconds_bucket{method=\"%s\",route=\"%s\","
		   "le=\"+Inf\"} %" PRIu64 "\n",
		   route_method(i), route_path(i), rc->n);
	str_printf(out,
		   "tanist_http_request_duration_seconds_sum{method=\"%s\",route=\"%s\"} %.6f\n",
		   route_method(i), route_path(i), (double)rc->sum_us / 1e6);
	str_printf(out,
		   "tanist_http_request_duration_seconds_count{method=\"%s\",route=\"%s\"} %" PRIu64
		   "\n",
		   route_method(i), route_path(i), rc->n);
}

static void write_durations(const struct metrics *m, struct str *out)
{
	head(out, "tanist_http_request_duration_seconds", "histogram",
	     "Time from a request's arrival to its answer; held requests wait on purpose.");
	for (size_t i = 0; i <= nroutes; i++) {
		if (m->routes[i].n > 0) {
			write_duration(m, i, out);
		}
	}
}

static void write_events(const struct registry *r, struct str *out)
{
	head(out, "tanist_events_total", "counter", "Events recorded by this process, by kind.");
	for (int k = 0; k < EVENT_KIND_COUNT; k++) {
		str_printf(out, "tanist_events_total{kind=\"%s\"} %" PRIu64 "\n",
			   event_kind_name((enum event_kind)k),
			   registry_event_count(r, (enum event_kind)k));
	}
}

static void write_operations_ended(const struct registry *r, struct str *out)
{
	head(out, "tanist_operations_total", "counter",
	     "Operations that users asked for and that ended, by kind and outcome.");
	for (int k = OP_NONE + 1; k < OP_KIND_COUNT; k++) {
		for (int done = 0; done <= 1; done++) {
			str_printf(out,
				   "tanist_operations_total{kind=\"%s\",outcome=\"%s\"} %" PRIu64
				   "\n",
				   op_kind_name((enum op_kind)k), done ? "done" : "not-done",
				   registry_operation_count(r, (enum op_kind)k, done));
		}
	}
}

static void write_commits(const struct registry *r, struct str *out)
{
	static const char *const names[] = {
		[STORE_COMMITTED] = "committed",
		[STORE_CONFLICT] = "conflict",
		[STORE_FAILED] = "failed",
	};

	head(out, "tanist_store_commits_total", "counter",
	     "Transactions of the store, by outcome.");
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		str_printf(out, "tanist_store_commits_total{outcome=\"%s\"} %" PRIu64 "\n",
			   names[i], registry_write_count(r, (enum store_outcome)i));
	}
}

/* ---- what is read from the groups ---- */

enum { STATUSES_MAX = 24 };

struct tally {
	const char *statuses[STATUSES_MAX]; /* literals of core/status.c */
	uint64_t n[STATUSES_MAX];
	uint64_t operations[OP_KIND_COUNT];
	uint64_t groups;
	struct str lag, up;
};

static void count_instance(struct tally *t, const char *status)
{
	for (size_t i = 0; i < STATUSES_MAX; i++) {
		if (t->statuses[i] == NULL || str_eq(t->statuses[i], status)) {
			t->statuses[i] = status;
			t->n[i]++;
			return;
		}
	}
}

/* Bytes of the source's stream that a replica has not applied; both as last reported. */
static void write_lag(struct tally *t, const struct member *m, const struct observation *o,
		      const struct observation *source)
{
	if (o == NULL || source == NULL || o->role != SERVER_ROLE_REPLICA ||
	    o->proc != PROC_RUNNING || source->proc != PROC_RUNNING ||
	    !replid_eq(&o->replid, &source->replid)) {
		return;
	}
	int64_t lag = source->offset - o->slave_offset;

	str_printf(&t->lag, "tanist_replica_lag_bytes{instance=\"%s\"} %" PRId64 "\n",
		   id_text(m->id).s, lag > 0 ? lag : 0);
	str_printf(&t->up, "tanist_replica_link_up{instance=\"%s\"} %d\n", id_text(m->id).s,
		   o->link_up);
}

static bool tally_group(void *arg, struct entry *en)
{
	struct tally *t = arg;
	const struct observation *source = NULL;

	t->groups++;
	t->operations[en->g->op.kind]++;
	for (size_t i = 0; i < en->g->nmembers; i++) {
		if (id_eq(en->g->members[i].id, en->g->source)) {
			source = en->obs[i];
		}
	}
	for (size_t i = 0; i < en->g->nmembers; i++) {
		const struct member *m = &en->g->members[i];

		count_instance(t, status_of(en->g, m));
		if (!id_eq(m->id, en->g->source)) {
			write_lag(t, m, en->obs[i], source);
		}
	}
	return true;
}

static void write_groups(const struct registry *r, struct str *out)
{
	struct tally t = {};

	registry_each(r, tally_group, &t);
	head(out, "tanist_groups", "gauge", "Groups: a source with its replicas.");
	str_printf(out, "tanist_groups %" PRIu64 "\n", t.groups);
	head(out, "tanist_instances", "gauge", "Instances, by the status that the API shows.");
	for (size_t i = 0; i < STATUSES_MAX && t.statuses[i] != NULL; i++) {
		str_printf(out, "tanist_instances{status=\"%s\"} %" PRIu64 "\n", t.statuses[i],
			   t.n[i]);
	}
	head(out, "tanist_operations", "gauge", "Operations of groups in progress, by kind.");
	for (int k = OP_NONE + 1; k < OP_KIND_COUNT; k++) {
		str_printf(out, "tanist_operations{kind=\"%s\"} %" PRIu64 "\n",
			   op_kind_name((enum op_kind)k), t.operations[k]);
	}
	head(out, "tanist_replica_lag_bytes", "gauge",
	     "Bytes of its source's stream that a replica has not applied, as last reported.");
	str_append(out, str_cstr(&t.lag));
	head(out, "tanist_replica_link_up", "gauge", "Whether a replica is linked to its source.");
	str_append(out, str_cstr(&t.up));
	str_done(&t.lag);
	str_done(&t.up);
}

static void write_agents(const struct registry *r, struct str *out)
{
	const struct reg_host **hosts = memory_alloc(REGISTRY_HOSTS_MAX, sizeof(*hosts));
	size_t n = registry_hosts(r, hosts, REGISTRY_HOSTS_MAX), up = 0;

	for (size_t i = 0; i < n; i++) {
		up += hosts[i]->heard_ms != 0 && !registry_host_silent(r, hosts[i]->h.name);
	}
	free(hosts);
	head(out, "tanist_hosts", "gauge", "Hosts that have joined.");
	str_printf(out, "tanist_hosts %zu\n", n);
	head(out, "tanist_agents_up", "gauge", "Hosts whose agent is heard.");
	str_printf(out, "tanist_agents_up %zu\n", up);
}

void metrics_write(const struct api *api, struct str *out)
{
	head(out, "tanist_build_info", "gauge", "What runs here; always 1.");
	str_append(out, "tanist_build_info{version=\"" TANIST_VERSION "\"} 1\n");
	write_groups(api->registry, out);
	write_agents(api->registry, out);
	write_events(api->registry, out);
	write_operations_ended(api->registry, out);
	write_commits(api->registry, out);
	if (api->metrics != NULL) {
		write_requests(api->metrics, out);
		write_durations(api->metrics, out);
	}
}
