/*
 * One list of settings serves both the file and CONFIG SET, so that a server that was set at run
 * time and one that was restarted are the same. The file adds what only a start can set: where it
 * listens, where its files are, its users and its role.
 */
#include "proto/conf.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>

enum { SETTINGS_MAX = 40, USERS = 3, WORDS_MAX = 64 };

struct input {
	const struct goal *g;
	struct start_mode mode;
	const struct version_rules *rules;
};

static struct input input_of(const struct goal *g, struct start_mode mode)
{
	struct server_version v = {};
	bool known = version_parse(g->datastore, g->version, &v);

	assert(known);
	return (struct input){ .g = g, .mode = mode, .rules = version_rules(v) };
}

struct list {
	struct conf_setting *items;
	size_t n;
};

static void add(struct list *l, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void add(struct list *l, const char *name, const char *fmt, ...)
{
	assert(l->n < SETTINGS_MAX);
	struct conf_setting *c = &l->items[l->n++];
	va_list ap;

	c->name = name;
	va_start(ap, fmt);
	int len = vsnprintf(c->value, sizeof c->value, fmt, ap);
	va_end(ap);
	assert(len >= 0 && (size_t)len < sizeof c->value);
}

static uint64_t at_least(uint64_t v, uint64_t least)
{
	return v < least ? least : v;
}

/* The text, or what stands for "nothing was asked for". */
static const char *or_else(const char *s, const char *standard)
{
	return s[0] == '\0' ? standard : s;
}

static bool has_password(const struct input *in)
{
	return !in->rules->acl && !in->g->settings.customer_open;
}

static void add_credentials(const struct input *in, struct list *l)
{
	const struct group_secrets *s = &in->g->secrets;

	if (in->rules->acl) {
		add(l, "masteruser", "%s", CONF_USER_REPL);
		add(l, "masterauth", "%s", s->replication.open);
	} else if (has_password(in)) {
		add(l, "masterauth", "%s", s->agent.open);
		add(l, "requirepass", "%s", s->agent.open);
	}
}

static void add_replica_settings(const struct input *in, struct list *l)
{
	add(l, "slave-serve-stale-data", "yes");
	add(l, "slave-read-only", "yes");
	add(l, "slave-priority", "100");
	if (in->rules->announce) {
		add(l, "slave-announce-ip", "%s", in->g->address);
		add(l, "slave-announce-port", "%u", in->g->port);
	}
}

/*
 * With a delay of its own a single replica would wait for nobody; several share one transfer, and
 * where the server can count them it begins when the last has come.
 */
static void add_sync_settings(const struct input *in, struct list *l)
{
	const struct server_settings *s = &in->g->settings;
	uint32_t waiting = in->g->waiting_replicas;
	bool several = s->diskless_sync && waiting > 1;

	add(l, "repl-diskless-sync", "%s", s->diskless_sync ? "yes" : "no");
	add(l, "repl-diskless-sync-delay", "%u", several ? s->diskless_delay_s : 0);
	if (in->rules->diskless_max_replicas) {
		add(l, "repl-diskless-sync-max-replicas", "%u", several ? waiting : 0);
	}
}

/*
 * What a replica may fall behind before its source drops it: it must hold more than the backlog,
 * else each drop costs a full copy; and while first copies are taken, the writes meanwhile wait
 * here, so no lower limit counts then.
 */
static void add_output_limit(const struct input *in, struct list *l)
{
	const struct server_settings *s = &in->g->settings;
	uint64_t hard = at_least(MIB(256), s->maxmemory_bytes / 4);

	hard = at_least(hard, s->backlog_bytes > UINT64_MAX / 4 ? s->backlog_bytes
								: 2 * s->backlog_bytes);
	if (in->g->waiting_replicas > 0) {
		add(l, "client-output-buffer-limit", "slave %" PRIu64 " 0 0", hard);
	} else {
		add(l, "client-output-buffer-limit", "slave %" PRIu64 " %" PRIu64 " 60", hard,
		    hard / 4);
	}
}

uint32_t conf_max_lag_s(const struct goal *g)
{
	if (g->min_slaves_to_write == 0) {
		return CONF_FENCE_MAX_LAG_S;
	}
	return g->min_slaves_max_lag_s == 0 ? 1 : g->min_slaves_max_lag_s;
}

static void add_stream_settings(const struct input *in, struct list *l)
{
	const struct server_settings *s = &in->g->settings;

	add(l, "repl-backlog-size", "%" PRIu64, at_least(s->backlog_bytes, KIB(16)));
	add(l, "repl-backlog-ttl", "0"); /* else an idle source changes its replid in an hour */
	add(l, "repl-ping-slave-period", "%" PRIu64, at_least(s->ping_period_s, 1));
	add(l, "repl-timeout", "%" PRIu64, at_least(s->repl_timeout_s, 2));
	add_output_limit(in, l);
	/* A lag of 0 would switch the fence off; it comes first so that it holds from the start. */
	add(l, "min-slaves-max-lag", "%u", conf_max_lag_s(in->g));
	add(l, "min-slaves-to-write", "%u", in->g->min_slaves_to_write);
}

static void add_data_settings(const struct input *in, struct list *l)
{
	const struct server_settings *s = &in->g->settings;

	add(l, "maxmemory", "%" PRIu64, s->maxmemory_bytes);
	add(l, "maxmemory-policy", "%s", or_else(s->maxmemory_policy, "noeviction"));
	/* Beside the AOF: an RDB carries the replication id, an AOF does not. */
	add(l, "save", "3600 1 300 100 60 10000");
	add(l, "appendfsync", "%s", or_else(s->appendfsync, "everysec"));
	if (in->rules->psync2) { /* 4.0 brought both */
		add(l, "aof-use-rdb-preamble", "yes");
	}
}

static struct list live_list(const struct input *in, struct arena *a)
{
	struct list l = { .items = arena_alloc(a, SETTINGS_MAX * sizeof *l.items) };

	add_credentials(in, &l);
	add_replica_settings(in, &l);
	add_data_settings(in, &l);
	add_sync_settings(in, &l);
	add_stream_settings(in, &l);
	return l;
}

size_t conf_live_settings(const struct goal *g, struct start_mode mode, struct arena *a,
			  const struct conf_setting **ret)
{
	struct input in = input_of(g, mode);
	struct list l = live_list(&in, a);

	if (!mode.from_rdb) {
		add(&l, "appendonly", "yes");
	}
	*ret = l.items;
	return l.n;
}

/* Users. */

struct words {
	const char *items[WORDS_MAX];
	size_t n;
};

static void add_word(struct words *w, const char *word)
{
	assert(w->n < WORDS_MAX);
	w->items[w->n++] = word;
}

/* Splits at spaces; no rule has any inside. */
static void add_words(struct words *w, const char *text, struct arena *a)
{
	while (*text != '\0') {
		size_t n = strcspn(text, " ");

		if (n > 0) {
			add_word(w, arena_printf(a, "%.*s", (int)n, text));
		}
		text += n + strspn(text + n, " ");
	}
}

static struct conf_user make_user(const char *name, const struct words *w, struct arena *a)
{
	return (struct conf_user){
		.name = name,
		.rules = arena_dup(a, w->items, w->n * sizeof w->items[0]),
		.nrules = w->n,
	};
}

/* `resetpass` before the password: an older one ends, and giving it twice changes nothing. */
static struct conf_user own_user(const char *name, const struct secret *s, const char *rules,
				 struct arena *a)
{
	struct words w = {};

	add_word(&w, "on");
	add_word(&w, "resetpass");
	add_word(&w, arena_printf(a, ">%s", s->open));
	add_words(&w, rules, a);
	return make_user(name, &w, a);
}

/* Customers: open, or shut as long as no goal carries a password of theirs. */
static struct conf_user customer_user(const struct input *in, struct arena *a)
{
	struct words w = {};

	add_word(&w, in->g->settings.customer_open ? "on" : "off");
	add_word(&w, in->g->settings.customer_open ? "nopass" : "resetpass");
	add_words(&w, in->rules->customer_acl, a);
	return make_user("default", &w, a);
}

size_t conf_users(const struct goal *g, struct arena *a, const struct conf_user **ret)
{
	struct input in = input_of(g, (struct start_mode){});

	if (!in.rules->acl) {
		*ret = NULL;
		return 0;
	}
	struct conf_user *users = arena_alloc(a, USERS * sizeof *users);

	users[0] = own_user(CONF_USER_AGENT, &g->secrets.agent, in.rules->agent_acl, a);
	users[1] = own_user(CONF_USER_REPL, &g->secrets.replication, in.rules->repl_acl, a);
	users[2] = customer_user(&in, a);
	*ret = users;
	return USERS;
}

/* The file. */

static bool is_plain(const char *s)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
				  "_-./: ";

	return s[0] != '\0' && s[strspn(s, set)] == '\0';
}

/* In quotes as the server's own parser undoes them: nothing can end the word or the line. */
static void put_quoted(struct str *out, const char *s)
{
	str_append_char(out, '"');
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\') {
			str_append_char(out, '\\');
			str_append_char(out, *s);
		} else if (c < 0x20 || c == 0x7f) {
			str_printf(out, "\\x%02x", c);
		} else {
			str_append_char(out, *s);
		}
	}
	str_append_char(out, '"');
}

/* One line. A value of several words is made of plain ones only; all else is one word. */
static void put_line(struct str *out, const char *name, const char *value)
{
	str_append(out, name);
	str_append_char(out, ' ');
	if (is_plain(value)) {
		str_append(out, value);
	} else {
		put_quoted(out, value);
	}
	str_append_char(out, '\n');
}

/* A path is always one word, whatever it is called. */
static void put_path(struct str *out, const char *name, const char *path)
{
	str_append(out, name);
	str_append_char(out, ' ');
	put_quoted(out, path);
	str_append_char(out, '\n');
}

static void put_number(struct str *out, const char *name, uint64_t value)
{
	str_printf(out, "%s %" PRIu64 "\n", name, value);
}

static void put_head(const struct goal *g, struct str *out)
{
	str_append(out, "# Written by tanist-agent, and written again whenever its goal changes.\n"
			"# instance ");
	str_append(out, id_text(g->instance).s);
	str_append(out, " ");
	put_quoted(out, g->name);
	str_append(out, " of project ");
	put_quoted(out, g->project);
	str_printf(out, ", epoch %" PRIu64 ", revision %" PRIu64 "\n\n", g->epoch, g->revision);
}

static void put_process(const struct input *in, const struct conf_paths *p, struct str *out)
{
	put_line(out, "bind", in->g->address);
	put_number(out, "port", in->g->port);
	if (in->rules->protected_mode) {
		/* It is bound to one address and has users of ours; this would refuse replicas. */
		put_line(out, "protected-mode", "no");
	}
	put_path(out, "unixsocket", p->socket);
	put_line(out, "unixsocketperm", "700");
	put_line(out, "tcp-backlog", "511");
	put_line(out, "tcp-keepalive", "60");
	put_line(out, "timeout", "0");
	put_line(out, "daemonize", "no");
	put_path(out, "pidfile", p->pid);
	put_path(out, "logfile", p->log);
	put_path(out, "dir", p->dir);
	put_line(out, "databases", "16");
}

/* `save` takes one pair a line on versions before 7.0. */
static void put_save(struct str *out)
{
	str_append(out, "save 3600 1\nsave 300 100\nsave 60 10000\n");
}

static void put_settings(const struct input *in, struct arena *a, struct str *out)
{
	struct list l = live_list(in, a);

	for (size_t i = 0; i < l.n; i++) {
		if (str_eq(l.items[i].name, "save")) {
			put_save(out);
		} else {
			put_line(out, l.items[i].name, l.items[i].value);
		}
	}
	put_line(out, "appendonly", in->mode.from_rdb ? "no" : "yes");
	if (in->rules->acl) { /* 6.0 brought both. Here only: a loading server refuses to change it
			       */
		put_line(out, "repl-diskless-load", "disabled");
	}
}

static void put_users(const struct input *in, struct arena *a, struct str *out)
{
	const struct conf_user *users;
	size_t n = conf_users(in->g, a, &users);

	for (size_t i = 0; i < n; i++) {
		str_append(out, "user ");
		str_append(out, users[i].name);
		for (size_t k = 0; k < users[i].nrules; k++) {
			str_append_char(out, ' ');
			str_append(out, users[i].rules[k]);
		}
		str_append_char(out, '\n');
	}
}

/*
 * A closed port: the server is read-only, its replicas get NOMASTERLINK and keep their keys. It
 * stands in the file of a source that has replicas even while that source is a master: whoever
 * starts it from this file has not compared it with them. The same file serves that source while
 * it yields, so that a handover writes none while the clients wait. A member that is staged does
 * not start behind the next source either: it may be ahead of it, and would copy less than it has.
 */
static void put_role(const struct input *in, struct str *out)
{
	const struct goal *g = in->g;
	bool at_once = g->role == GOAL_SOURCE && g->start_at_once;

	if (in->mode.guarded || g->staged || (g->role != GOAL_REPLICA && !at_once)) {
		str_append(out, "slaveof 127.0.0.1 0\n");
	} else if (g->role == GOAL_REPLICA) {
		str_append(out, "slaveof ");
		put_quoted(out, g->upstream_host);
		str_printf(out, " %u\n", g->upstream_port);
	}
}

void conf_write(const struct goal *g, struct start_mode mode, const struct conf_paths *p,
		struct str *out)
{
	auto_arena a = {};
	struct input in = input_of(g, mode);

	put_head(g, out);
	put_process(&in, p, out);
	put_settings(&in, &a, out);
	put_users(&in, &a, out);
	put_role(&in, out);
}

/* What stands behind `before` at the beginning of a line; NULL: no line begins so. */
static const char *behind(const char *file, const char *before)
{
	size_t len = strlen(before);

	for (const char *line = file; line != NULL; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, before, len) == 0) {
			return line + len;
		}
	}
	return NULL;
}

bool conf_agent_secret(const char *file, struct secret *ret)
{
	const char *word = behind(file, "user " CONF_USER_AGENT " on resetpass >");

	if (word == NULL) {
		word = behind(file, "requirepass ");
	}
	if (word == NULL) {
		return false;
	}
	word += *word == '"';
	size_t len = strcspn(word, "\" \n");

	if (len == 0 || len >= sizeof ret->open) {
		return false;
	}
	*ret = (struct secret){};
	memcpy(ret->open, word, len);
	return true;
}
