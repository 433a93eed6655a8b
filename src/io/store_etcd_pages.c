/*
 * Reading rows: pages of one revision, the first of which is linearizable: it sees whatever was
 * committed before it was asked for.
 */
#include "base/clock.h"
#include "io/store_etcd_impl.h"

enum { PAGE_ROWS = 128 };

static void pages_end(struct pages *p, const struct err *e, int code)
{
	pages_stop(p);
	p->done(p->arg, e, code);
}

static bool give_row(struct pages *p, const json_t *item, struct err *e)
{
	auto_arena a = {};
	struct etcd_kv kv;
	size_t prefix = strlen(p->s->prefix);

	if (!etcd_read_kv(item, &a, &kv) || !str_starts(kv.key, p->s->prefix)) {
		return err_set(e, ERR_IO, "etcd has a key under '%s' that tanist did not put",
			       p->s->prefix);
	}
	kv.key += prefix;
	str_clear(&p->after);
	str_append(&p->after, kv.key);
	return p->row(p->arg, &kv, e);
}

static void ask(struct pages *p);

static void on_page(void *arg, const struct etcd_answer *a)
{
	struct pages *p = arg;
	struct err e = {};
	const json_t *kvs, *item;
	size_t i;

	p->call = NULL;
	if (a->fate != ETCD_ANSWERED) {
		pages_end(p, &a->err, a->code);
		return;
	}
	if (!json_is_true(json_object_get(a->body, "succeeded"))) {
		err_set(&e, ERR_UNAVAILABLE, "a change whose outcome is unknown may be on its way");
		pages_end(p, &e, 0);
		return;
	}
	if (p->revision == 0) {
		p->revision = etcd_revision(a->body);
		p->asked_ms = a->sent_ms;
	}
	kvs = etcd_got(a->body, 0);
	p->more = json_array_size(kvs) == PAGE_ROWS;
	json_array_foreach(kvs, i, item)
	{
		if (!give_row(p, item, &e)) {
			pages_end(p, &e, 0);
			return;
		}
	}
	if (p->more) {
		ask(p);
	} else {
		pages_end(p, &e, 0);
	}
}

static void ask(struct pages *p)
{
	auto_str body = {};
	struct jw w = { .out = &body };

	jw_object(&w, NULL);
	jw_array(&w, "compare");
	if (p->unless != 0 && p->revision == 0) {
		etcd_write_compare(&w, p->s->prefix, KEY_LEADER, ETCD_MODIFIED, ETCD_IS_NOT,
				   p->unless);
	}
	jw_end(&w);
	jw_array(&w, "success");
	etcd_write_get_span(&w, &(struct etcd_span){ .prefix = p->s->prefix,
						     .begin = p->begin,
						     .after = p->more ? p->after.p : NULL,
						     .revision = p->revision,
						     .limit = PAGE_ROWS });
	jw_end(&w);
	jw_end(&w);
	p->call = etcd_ask(p->s->etcd, "/v3/kv/txn", &body, ETCD_AGAIN, p->s->lease_ms, on_page, p);
}

void pages_start(struct pages *p)
{
	ask(p);
}

void pages_stop(struct pages *p)
{
	etcd_cancel(p->call);
	p->call = NULL;
	str_done(&p->after);
}

/* ---- loads ---- */

struct load {
	LIST_ENTRY(load) others;
	bool started;
	struct pages pages;
	char *prefix;
	store_row_fn *row;
	store_loaded_fn *done;
	void *arg;
};

static bool on_row(void *arg, const struct etcd_kv *kv, struct err *e)
{
	struct load *ld = arg;

	return store_etcd_own_key(kv->key) ||
	       ld->row(ld->arg, kv->key, kv->value, kv->len, kv->mod_revision, e);
}

void load_end(struct load *ld, const struct err *e)
{
	store_loaded_fn *done = ld->done;
	void *arg = ld->arg;

	if (ld->started) {
		LIST_REMOVE(ld, others);
	}
	pages_stop(&ld->pages);
	free(ld->prefix);
	free(ld);
	done(arg, e);
}

static void on_done(void *arg, const struct err *e, int)
{
	load_end(arg, e);
}

struct load *load_new(struct store_etcd *s, const char *prefix, store_row_fn *row,
		      store_loaded_fn *done, void *arg)
{
	struct load *ld = store_etcd_alloc(sizeof *ld);

	ld->pages.s = s;
	ld->prefix = strdup(prefix);
	ld->row = row;
	ld->done = done;
	ld->arg = arg;
	return ld;
}

void load_start(struct load *ld)
{
	ld->started = true;
	LIST_INSERT_HEAD(&ld->pages.s->loads, ld, others);
	ld->pages.begin = ld->prefix;
	ld->pages.unless = ld->pages.s->lead.doubt;
	ld->pages.row = on_row;
	ld->pages.done = on_done;
	ld->pages.arg = ld;
	pages_start(&ld->pages);
}
