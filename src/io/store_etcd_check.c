/*
 * Whether the watch has missed nothing. A watch may be silent because nothing happens, or because
 * its connection or its member is dead; etcd's own progress notes come every ten minutes only. So
 * every pulse asks for the revision of the last commit and of the leader's key, linearizable: when
 * the watch has brought those, then what was given is what was there at that moment.
 */
#include "base/clock.h"
#include "base/log.h"
#include "io/store_etcd_impl.h"

enum { TIME_PART = 10 }; /* of the lease: what the watch may come behind the answer */

static void on_stale(void *arg)
{
	standing_update(arg);
}

void check_init(struct store_etcd *s)
{
	s->check.stale = timer_new(s->loop, on_stale, s);
}

bool check_is_current(const struct store_etcd *s)
{
	return s->view.ready && clock_ms() < s->check.until_ms;
}

void check_passed(struct store_etcd *s, int64_t at_ms)
{
	struct check *c = &s->check;

	c->open = false;
	if (at_ms + s->lease_ms > c->until_ms) {
		c->until_ms = at_ms + s->lease_ms;
		timer_set_at(c->stale, c->until_ms);
	}
}

void check_again(struct store_etcd *s)
{
	struct check *c = &s->check;
	const struct view *v = &s->view;
	bool all = v->seen >= c->need && v->leader_modified == c->leader_modified;

	if (c->open && (all || v->seen > c->revision)) {
		check_passed(s, c->sent_ms);
	}
}

static uint64_t modified(const json_t *answer, size_t i)
{
	return etcd_number(json_array_get(etcd_got(answer, i), 0), "mod_revision");
}

static void on_answer(void *arg, const struct etcd_answer *a)
{
	struct store_etcd *s = arg;
	struct check *c = &s->check;

	c->call = NULL;
	if (a->fate != ETCD_ANSWERED || s->view.phase != VIEW_WATCHING) {
		return; /* the last one counts for as long as it does */
	}
	c->revision = etcd_revision(a->body);
	if (c->revision < c->seen_before) {
		/* A store that goes back was put back from a copy by somebody. */
		view_renew(s, "etcd is at an older revision than before", true);
		return;
	}
	c->leader_modified = modified(a->body, 0);
	c->need = modified(a->body, 1);
	c->need = c->need > c->leader_modified ? c->need : c->leader_modified;
	c->sent_ms = a->sent_ms;
	c->opened_ms = clock_ms();
	c->open = true;
	check_again(s);
	standing_update(s);
	lead_consider(s);
}

static void ask(struct store_etcd *s)
{
	auto_str body = {};
	struct jw w = { .out = &body };

	jw_object(&w, NULL);
	jw_array(&w, "success");
	etcd_write_get(&w, s->prefix, KEY_LEADER, ETCD_NO_VALUE);
	etcd_write_get(&w, s->prefix, KEY_NEWEST, ETCD_NO_VALUE);
	jw_end(&w);
	jw_end(&w);
	s->check.seen_before = s->view.seen;
	s->check.call =
		etcd_ask(s->etcd, "/v3/kv/txn", &body, ETCD_AGAIN, s->lease_ms / 3, on_answer, s);
}

void check_pulse(struct store_etcd *s)
{
	struct check *c = &s->check;

	if (!s->view.ready) {
		return;
	}
	if (c->open && clock_ms() - c->opened_ms < s->lease_ms / TIME_PART) {
		return; /* it may be on its way */
	}
	if (c->open) {
		c->open = false;
		view_renew(s, "a commit did not come through it", false);
	}
	if (c->call == NULL) {
		ask(s);
	}
}

void check_done(struct store_etcd *s)
{
	etcd_cancel(s->check.call);
	timer_free(s->check.stale);
}
