#include "etcd_scene.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <curl/curl.h>

#include "base/clock.h"
#include "io/etcd_text.h"

/* ---- addresses ---- */

const char *scene_address(void)
{
	static char text[20];
	unsigned pid = (unsigned)getpid();

	if (text[0] == '\0') { /* a child of a test stays with its parent's */
		snprintf(text, sizeof text, "127.%u.%u.%u", 64 + (pid >> 16 & 63), pid >> 8 & 255,
			 1 + pid % 254);
	}
	return text;
}

uint16_t scene_port(void)
{
	static uint16_t next = 21000;

	return next++;
}

/* ---- etcd ---- */

static size_t collect(char *data, size_t size, size_t n, void *arg)
{
	str_append_mem(arg, data, size * n);
	return size * n;
}

static bool post(const char *url, const char *body, struct str *ret)
{
	CURL *c = curl_easy_init();

	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)PATIENCE_MS);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, collect);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, ret);
	bool ok = curl_easy_perform(c) == CURLE_OK;
	curl_easy_cleanup(c);
	return ok;
}

const char *member_ask(const struct member *m, const char *path, const char *body)
{
	static char text[65536];
	auto_str url = {}, answer = {};

	str_printf(&url, "%s%s", m->url, path);
	if (!post(str_cstr(&url), body, &answer)) {
		fail_msg("no answer to %s", str_cstr(&url));
	}
	str_copy(text, sizeof text, str_cstr(&answer));
	return text;
}

const char *b64(const char *text)
{
	static char out[4][200];
	static unsigned turn;
	auto_str json = {};
	struct jw w = { .out = &json };
	char *to = out[turn++ % 4];

	etcd_write_bytes(&w, NULL, text, "", 0);
	json.p[json.len - 1] = '\0'; /* the quotes */
	str_copy(to, sizeof out[0], json.p + 1);
	return to;
}

static void initial_cluster(const struct cluster *c, struct str *ret)
{
	for (size_t i = 0; i < c->n; i++) {
		str_printf(ret, "%s%s=http://%s:%u", i > 0 ? "," : "", c->members[i].name,
			   scene_address(), c->members[i].peer_port);
	}
}

void member_start(struct cluster *c, size_t i)
{
	struct member *m = &c->members[i];
	auto_str peers = {}, peer = {};
	struct path log = path_in(&c->dir, m->name), data;
	const char *argv[40];
	size_t n = 0;

	snprintf(data.s, sizeof data.s, "%s/data-%s", c->dir.path, m->name);
	initial_cluster(c, &peers);
	str_printf(&peer, "http://%s:%u", scene_address(), m->peer_port);
	const char *const fixed[] = { "/usr/bin/etcd",
				      "--name",
				      m->name,
				      "--data-dir",
				      data.s,
				      "--listen-client-urls",
				      m->url,
				      "--advertise-client-urls",
				      m->url,
				      "--listen-peer-urls",
				      str_cstr(&peer),
				      "--initial-advertise-peer-urls",
				      str_cstr(&peer),
				      "--initial-cluster",
				      str_cstr(&peers),
				      "--heartbeat-interval",
				      "100",
				      "--election-timeout",
				      "1000",
				      "--log-level",
				      "error" };
	for (; n < ARRAY_LEN(fixed); n++) {
		argv[n] = fixed[n];
	}
	for (const char *const *o = c->options; o != NULL && *o != NULL; o++) {
		argv[n++] = *o;
	}
	argv[n] = NULL;
	m->pid = fork();
	if (m->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails does not clean up */
		int fd = open(log.s, O_WRONLY | O_CREAT | O_APPEND, 0600);

		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
		execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	assert_true(m->pid > 0);
}

void member_kill(struct cluster *c, size_t i)
{
	struct member *m = &c->members[i];

	if (m->pid > 0) {
		kill(m->pid, SIGKILL);
		waitpid(m->pid, NULL, 0);
		m->pid = 0;
	}
}

void cluster_wait(const struct cluster *c, size_t i)
{
	int64_t deadline_ms = clock_ms() + PATIENCE_MS;
	auto_str url = {}, answer = {};

	str_printf(&url, "%s/v3/kv/range", c->members[i].url);
	while (clock_ms() < deadline_ms) {
		str_clear(&answer);
		/* Without login it says so: it serves. */
		if (post(str_cstr(&url), "{\"key\":\"AA==\"}", &answer) &&
		    (strstr(str_cstr(&answer), "header") != NULL ||
		     strstr(str_cstr(&answer), "user name is empty") != NULL)) {
			return;
		}
		usleep(20000);
	}
	fail_msg("etcd does not start: %s", str_cstr(&answer));
}

struct cluster cluster_new(size_t n, const char *const *options)
{
	struct cluster c = { .dir = folder_new(), .n = n, .options = options, .scheme = "http" };

	for (size_t i = 0; options != NULL && options[i] != NULL; i++) {
		if (str_eq(options[i], "--cert-file")) {
			c.scheme = "https";
		}
	}
	for (size_t i = 0; i < n; i++) {
		struct member *m = &c.members[i];

		m->port = scene_port();
		m->peer_port = scene_port();
		snprintf(m->name, sizeof m->name, "m%zu", i);
		snprintf(m->url, sizeof m->url, "%s://%s:%u", c.scheme, scene_address(), m->port);
	}
	for (size_t i = 0; i < n; i++) {
		member_start(&c, i);
	}
	for (size_t i = 0; i < n; i++) {
		cluster_wait(&c, i);
	}
	return c;
}

void cluster_done(struct cluster *c)
{
	for (size_t i = 0; i < c->n; i++) {
		member_kill(c, i);
	}
	folder_done(&c->dir);
}

const char *cluster_urls(const struct cluster *c)
{
	static char text[4][300];
	static unsigned turn;
	char *to = text[turn++ % 4];
	size_t len = 0;

	for (size_t i = 0; i < c->n; i++) {
		len += (size_t)snprintf(to + len, sizeof text[0] - len, "%s%s", i > 0 ? "," : "",
					c->members[i].url);
	}
	return to;
}

/* ---- the loop ---- */

static void on_tick(void *arg)
{
	struct scene *s = arg;

	s->reached = s->until != NULL && s->until(s->who, s->wanted);
	if (s->reached || clock_ms() >= s->deadline_ms) {
		loop_stop(s->loop);
	} else {
		timer_set_in(s->tick, 5);
	}
}

struct scene *scene_new(void)
{
	struct scene *s = calloc(1, sizeof *s);

	s->loop = loop_new();
	s->tick = timer_new(s->loop, on_tick, s);
	return s;
}

void scene_free(struct scene **s)
{
	for (size_t i = 0; i < (*s)->nnodes; i++) {
		struct node *n = &(*s)->nodes[i];

		node_free(n);
		str_done(&n->changes);
		str_done(&n->results);
		str_done(&n->rows);
	}
	timer_free((*s)->tick);
	loop_free((*s)->loop);
	free(*s);
}

static void run(struct scene *s, int64_t limit_ms)
{
	s->reached = false;
	s->deadline_ms = clock_ms() + limit_ms;
	timer_set_in(s->tick, 0);
	loop_run(s->loop);
}

void run_until(struct node *n, bool (*until)(struct node *n, int64_t wanted), int64_t wanted)
{
	struct scene *s = n->scene;

	s->until = until;
	s->who = n;
	s->wanted = wanted;
	run(s, PATIENCE_MS);
	s->until = NULL;
	if (!s->reached) {
		fail_msg("it does not come: leads %d current %d term %llu results '%s' error '%s'",
			 n->stands.leads, n->stands.current, (unsigned long long)n->stands.term,
			 str_cstr(&n->results), n->err.msg);
	}
}

void run_ms(struct scene *s, int64_t ms)
{
	run(s, ms);
}

bool leads(struct node *n, int64_t yes)
{
	return n->stands.leads == (yes != 0) && store_leads(n->store) == n->stands.leads;
}

bool current(struct node *n, int64_t yes)
{
	return n->stands.current == (yes != 0);
}

bool follows(struct node *n, int64_t)
{
	return !n->stands.leads && n->stands.current && n->stands.term != 0;
}

bool has_loaded(struct node *n, int64_t)
{
	return n->loaded;
}

bool results(struct node *n, int64_t at_least)
{
	return n->nresults >= at_least;
}

bool seen(struct node *n, int64_t revision)
{
	return n->last_change >= (uint64_t)revision;
}

/* ---- stores ---- */

static void changed(void *arg, const struct store_row *rows, size_t nrows)
{
	struct node *n = arg;

	uint64_t last = 0;

	assert_true(n->loaded && nrows > 0);
	for (size_t i = 0; i < nrows; i++) {
		str_append(&n->changes, i == 0 ? "[" : " ");
		if (rows[i].value == NULL) {
			str_printf(&n->changes, "%s-", rows[i].key);
		} else {
			str_printf(&n->changes, "%s=%.*s", rows[i].key, (int)rows[i].len,
				   rows[i].value);
		}
		last = rows[i].revision > last ? rows[i].revision : last;
	}
	assert_true(last > n->last_change);
	n->last_change = last;
	str_append(&n->changes, "] ");
	n->nchanges++;
}

static void stands(void *arg, const struct store_standing *now)
{
	struct node *n = arg;

	n->stands = *now;
	str_copy(n->leader, sizeof n->leader, now->leader);
	n->stands.leader = n->leader;
	n->nstands++;
}

static bool on_row(void *arg, const char *key, const char *value, size_t len, uint64_t,
		   struct err *)
{
	struct node *n = arg;

	str_printf(&n->rows, "%s=", key);
	str_append_mem(&n->rows, value, len);
	str_append_char(&n->rows, ' ');
	return true;
}

static void on_loaded(void *arg, const struct err *e)
{
	struct node *n = arg;

	n->loaded = n->loaded || e->code == ERR_NONE;
	n->err = *e;
	n->nloads++;
}

struct node *node_new(struct scene *s, const struct node_spec *spec)
{
	struct store_etcd_config c = {
		.endpoints = spec->endpoints,
		.prefix = spec->prefix,
		.user = spec->user == NULL ? "" : spec->user,
		.ca_file = spec->ca_file == NULL ? "" : spec->ca_file,
		.self = spec->self,
		.lease_ms = spec->lease_ms == 0 ? SEC(5) : spec->lease_ms,
		.campaign = !spec->bystander,
	};
	struct node *n = &s->nodes[s->nnodes++];
	struct err e;

	assert_true(s->nnodes <= NODES_MAX);
	str_copy(c.password.open, sizeof c.password.open,
		 spec->password == NULL ? "" : spec->password);
	n->scene = s;
	n->stands.leader = n->leader;
	assert_ok(store_etcd_open(s->loop, &c, &n->store, &e), &e);
	if (!spec->bystander) {
		store_listen(n->store, &(struct store_listener){ changed, stands, n });
	}
	if (!spec->waits) {
		store_load(n->store, "", on_row, on_loaded, n);
		run_until(n, has_loaded, 0);
	}
	return n;
}

void node_free(struct node *n)
{
	store_free(n->store);
	n->store = NULL;
}

static void on_commit(void *arg, enum store_outcome outcome, uint64_t revision, const struct err *e)
{
	static const char *const words[] = {
		[STORE_COMMITTED] = "committed",
		[STORE_CONFLICT] = "conflict",
		[STORE_FAILED] = "failed",
		[STORE_UNKNOWN] = "unknown",
	};
	struct node *n = arg;

	assert_int_equal(e->code == ERR_NONE, outcome == STORE_COMMITTED);
	assert_int_equal(revision != 0, outcome == STORE_COMMITTED);
	n->outcome = outcome;
	n->err = *e;
	n->revision = revision;
	n->nresults++;
	str_printf(&n->results, "%s ", words[outcome]);
}

void commit(struct node *n, const struct store_op *ops, size_t nops)
{
	int before = n->nresults;

	store_commit(n->store, ops, nops, on_commit, n);
	assert_int_equal(n->nresults, before); /* never before it has returned */
}

void put(struct node *n, const char *key, const char *value)
{
	commit(n, &(struct store_op){ .key = key, .value = value, .len = strlen(value) }, 1);
}

static bool loads(struct node *n, int64_t at_least)
{
	return n->nloads >= at_least;
}

const char *content(struct node *n, const char *prefix)
{
	int before = n->nloads;

	str_clear(&n->rows);
	store_load(n->store, prefix, on_row, on_loaded, n);
	assert_int_equal(n->nloads, before);
	run_until(n, loads, before + 1);
	return n->err.code == ERR_NONE ? str_cstr(&n->rows) : n->err.msg;
}
