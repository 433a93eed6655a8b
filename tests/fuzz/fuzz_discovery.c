/*
 * What clients of the discovery endpoint send, over a handful of groups. The first byte chooses
 * whether they have to log in and into which pieces the rest is cut. However it is cut, the
 * answers are whole values of RESP, and as many.
 */
#include "fuzz.h"

#include "io/loop.h"
#include "io/store.h"
#include "proto/record.h"
#include "server/sentinel_impl.h"

/* ---- a store of three groups, which nobody writes to ---- */

static void load(struct store *, const char *, store_row_fn *row, store_loaded_fn *done, void *arg)
{
	static const char *const names[][2] = { { "red", "a" }, { "blue", "a" }, { "red", "b c" } };
	const struct installation inst = { .id = id_of_name("installation") };
	auto_str text = {};
	struct err e = {};

	record_write_installation(&inst, &text);
	PROMISE(row(arg, RECORD_KEY_INSTALLATION, text.p, text.len, 1, &e));
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct member m[2] = {};
		char key[RECORD_KEY_BYTES], name[16];

		for (size_t k = 0; k < 2; k++) {
			snprintf(name, sizeof name, "member-%zu-%zu", i, k);
			m[k] = (struct member){ .id = id_of_name(name),
						.name = "m",
						.host = "h",
						.address = k == 0 ? "127.0.0.1" : "127.0.0.2",
						.port = 6379,
						.flavor = "1",
						.datastore = "redis",
						.version = "7.0.15",
						.volume_gb = 1,
						.state = MEMBER_ACTIVE };
		}
		snprintf(name, sizeof name, "group-%zu", i);
		const struct group g = { .id = id_of_name(name),
					 .project = names[i][0],
					 .name = names[i][1],
					 .epoch = 1,
					 .source = m[0].id,
					 .secrets = { { "secretsecretsecret" },
						      { "secretsecretsecret" } },
					 .members = m,
					 .nmembers = 2 };

		str_clear(&text);
		record_write_group(&g, &text);
		record_key_group(g.id, key);
		PROMISE(row(arg, key, text.p, text.len, 2 + i, &e));
	}
	done(arg, &(struct err){});
}

static void commit(struct store *, const struct store_op *, size_t, store_commit_fn *, void *)
{
	abort();
}

static bool leads(const struct store *)
{
	return true;
}

static void forget(struct store *)
{
}

static const struct store_impl impl = { load, commit, leads, NULL, forget };

struct world {
	struct store store;
	struct settings settings;
	struct registry *r;
	struct sentinel *open, *closed; /* without and with login */
};

static void on_opened(void *arg, struct registry *r, const struct err *e)
{
	PROMISE(e->code == ERR_NONE);
	((struct world *)arg)->r = r;
}

static struct sentinel *make(struct world *w, const char *mode)
{
	static struct token tokens[] = { { .token = "t", .project = "red" } };
	struct settings *s = malloc(sizeof *s);
	auto_str report = {};
	struct err e = {};

	PROMISE(s != NULL && settings_load(NULL, &report, s, &e));
	PROMISE(settings_set(s, "auth.mode", mode, &e));
	s->tokens = tokens;
	s->ntokens = 1;
	struct sentinel *made = sentinel_new(w->r, auth_new(s));

	sentinel_names_start(made);
	return made;
}

/* Made once and kept: a run changes nothing in it. */
static struct world *world(void)
{
	static struct world w;
	auto_str report = {};
	struct err e = {};

	if (w.r == NULL) {
		w.store.impl = &impl;
		PROMISE(settings_load(NULL, &report, &w.settings, &e));
		registry_open(loop_new(), &w.store, &w.settings, on_opened, &w);
		w.open = make(&w, "none");
		w.closed = make(&w, "token");
	}
	return &w;
}

/* ---- the answers ---- */

/* Behind the value at p; NULL: it is not whole. */
static const char *skip_value(const char *p, const char *end)
{
	const char *cr = memchr(p, '\r', (size_t)(end - p));

	if (cr == NULL || cr + 1 >= end || cr[1] != '\n') {
		return NULL;
	}
	char type = *p;
	long long n = type == '+' || type == '-' || type == '_' ? 0 : strtoll(p + 1, NULL, 10);

	p = cr + 2;
	if (type == '$' && n >= 0) {
		return end - p < n + 2 || p[n] != '\r' || p[n + 1] != '\n' ? NULL : p + n + 2;
	}
	if (type == '*' || type == '%' || type == '>') {
		n *= type == '%' ? 2 : 1;
		while (n-- > 0 && p != NULL) {
			p = p < end ? skip_value(p, end) : NULL;
		}
		return p;
	}
	PROMISE(strchr("+-:$_", type) != NULL);
	return p;
}

static size_t count_answers(const struct str *s)
{
	const char *p = str_cstr(s), *end = p + s->len;
	size_t n = 0;

	for (; p < end; n++) {
		p = skip_value(p, end);
		PROMISE(p != NULL);
	}
	return n;
}

static size_t talk(struct sentinel *s, const uint8_t *data, size_t size, size_t piece)
{
	struct client *c = client_new(s, NULL);

	for (size_t at = 0; at < size; at += piece) {
		client_feed(c, data + at, size - at < piece ? size - at : piece);
	}
	size_t n = count_answers(&c->out.text);

	PROMISE(c->nsubs <= SUBSCRIPTIONS_MAX);
	PROMISE(c->project == NULL || str_eq(c->project, "red"));
	client_free(c);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0) {
		return 0;
	}
	struct world *w = world();
	struct sentinel *s = (data[0] & 1) == 0 ? w->open : w->closed;
	size_t piece = 1 + (data[0] >> 1);

	PROMISE(talk(s, data + 1, size - 1, size) == talk(s, data + 1, size - 1, piece));
	return 0;
}
