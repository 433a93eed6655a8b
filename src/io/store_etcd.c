#include "io/store_etcd_impl.h"

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"

enum {
	LEASE_MIN_MS = 2000, /* etcd grants no less than one and a half of its elections */
	TRIES_PER_LEASE = 6, /* a dead endpoint must not cost the lease */
};

void *store_etcd_alloc(size_t bytes)
{
	void *p = calloc(1, bytes);

	if (p == NULL) {
		abort();
	}
	return p;
}

bool store_etcd_own_key(const char *key)
{
	return str_eq(key, KEY_LEADER) || str_eq(key, KEY_NEWEST);
}

static struct store_etcd *of(struct store *s)
{
	return container_of(s, struct store_etcd, base);
}

/* ---- where we stand ---- */

/* Our own key while we do not lead (not yet, not any more, left by our last life) is nobody's. */
static struct store_standing standing_now(const struct store_etcd *s)
{
	const struct view *v = &s->view;
	bool leads = lead_now(s);
	bool known = leads || (v->leader_modified != 0 && !str_eq(str_cstr(&v->leader), s->self));

	return (struct store_standing){
		.leads = leads,
		.current = leads || check_is_current(s), /* whoever leads writes it all */
		.term = !known  ? 0
			: leads ? s->lead.term
				: v->leader_created,
		.leader = !known  ? ""
			  : leads ? s->self
				  : str_cstr(&v->leader),
	};
}

static void log_standing(const struct store_standing *was, const struct store_standing *now)
{
	if (now->leads && !was->leads) {
		LOG(LOG_INFO, "store.leads", KV("term", now->term));
	} else if (!now->leads && now->term != 0 && (now->term != was->term || was->leads)) {
		LOG(LOG_INFO, "store.follows", KV("leader", now->leader), KV("term", now->term));
	} else if (now->term == 0 && was->term != 0 && !was->leads) {
		LOG(LOG_WARN, "store.leaderless", KV("term", was->term));
	}
	if (was->current && !now->current) {
		LOG(LOG_WARN, "store.watch-lost");
	} else if (now->current && !was->current) {
		LOG(LOG_INFO, "store.current");
	}
}

void standing_update(struct store_etcd *s)
{
	struct store_standing now = standing_now(s);
	struct store_standing was = s->told;

	if (s->closing || (now.leads == was.leads && now.current == was.current &&
			   now.term == was.term && str_eq(now.leader, was.leader))) {
		return;
	}
	log_standing(&was, &now);
	str_clear(&s->told_leader);
	str_append(&s->told_leader, now.leader);
	s->told = now;
	s->told.leader = str_cstr(&s->told_leader);
	if (s->listener.stands != NULL) {
		s->listener.stands(s->listener.arg, &s->told);
	}
}

/* ---- the interface ---- */

static void etcd_store_load(struct store *base, const char *prefix, store_row_fn *row,
			    store_loaded_fn *done, void *arg)
{
	struct store_etcd *s = of(base);
	bool follows = s->campaign || s->listener.changed != NULL || s->listener.stands != NULL;

	if (follows && prefix[0] == '\0' && !s->closing && !s->view.ready &&
	    s->view.phase == VIEW_OFF) {
		view_load(s, row, done, arg);
	} else {
		jobs_add_load(s, load_new(s, prefix, row, done, arg));
	}
}

static void etcd_store_commit(struct store *base, const struct store_op *ops, size_t n,
			      store_commit_fn *fn, void *arg)
{
	jobs_add_commit(of(base), ops, n, fn, arg);
}

static bool etcd_store_leads(const struct store *base)
{
	static_assert(offsetof(struct store_etcd, base) == 0, "the cast below");

	return lead_now((const struct store_etcd *)base);
}

static void etcd_store_listen(struct store *base, const struct store_listener *l)
{
	of(base)->listener = *l;
}

static void etcd_store_free(struct store *base)
{
	struct store_etcd *s = of(base);

	s->closing = true;
	lead_done(s);
	view_done(s);
	jobs_end(s);
	check_done(s);
	timer_free(s->pulse);
	turn_free(s->turn);
	etcd_free(s->etcd);
	str_done(&s->told_leader);
	free(s->prefix);
	free(s->self);
	free(s);
}

static const struct store_impl etcd_impl = {
	.load = etcd_store_load,
	.commit = etcd_store_commit,
	.leads = etcd_store_leads,
	.listen = etcd_store_listen,
	.free = etcd_store_free,
};

/* ---- from the beginning ---- */

static int64_t pulse_ms(const struct store_etcd *s)
{
	return s->lease_ms / 3;
}

static void on_pulse(void *arg)
{
	struct store_etcd *s = arg;

	timer_set_in(s->pulse, pulse_ms(s));
	lead_pulse(s);
	check_pulse(s);
}

static void on_turn(void *arg)
{
	jobs_pump(arg);
}

static bool check_config(const struct store_etcd_config *c, struct err *e)
{
	size_t len = strlen(c->prefix);

	if (len < 2 || c->prefix[0] != '/' || c->prefix[len - 1] != '/') {
		return err_set(e, ERR_INVALID, "etcd prefix '%s' is not of the form '/NAME/'",
			       c->prefix);
	}
	if (c->lease_ms < LEASE_MIN_MS) {
		return err_set(e, ERR_INVALID, "a lease of %lld ms: at least %d",
			       (long long)c->lease_ms, LEASE_MIN_MS);
	}
	return true;
}

bool store_etcd_open(struct loop *l, const struct store_etcd_config *c, struct store **ret,
		     struct err *e)
{
	int64_t try_ms = c->lease_ms / TRIES_PER_LEASE;
	struct etcd_config ec = { .endpoints = c->endpoints,
				  .user = c->user,
				  .password = c->password,
				  .ca_file = c->ca_file,
				  .try_limit_ms = try_ms,
				  .connect_limit_ms = try_ms };
	struct etcd *etcd = NULL;

	if (!check_config(c, e) || !etcd_new(l, &ec, &etcd, e)) {
		return false;
	}
	struct store_etcd *s = store_etcd_alloc(sizeof *s);

	s->base.impl = &etcd_impl;
	s->loop = l;
	s->etcd = etcd;
	s->prefix = strdup(c->prefix);
	s->self = strdup(c->self);
	s->lease_ms = c->lease_ms;
	s->campaign = c->campaign;
	s->told.leader = "";
	TAILQ_INIT(&s->jobs);
	LIST_INIT(&s->loads);
	s->turn = turn_new(l, on_turn, s);
	lead_init(s);
	view_init(s);
	check_init(s);
	s->pulse = timer_new(l, on_pulse, s);
	timer_set_in(s->pulse, pulse_ms(s));
	*ret = &s->base;
	return true;
}
