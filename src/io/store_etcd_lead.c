/*
 * Leadership: a lease, and the leader's key put with it where there was none. Whoever waits learns
 * from the watch that the key is gone.
 *
 * The fence. Every commit compares the key's mod_revision. It moves when the key is put anew, and
 * it is gone for good when the key is deleted, because revisions never come back. So a commit that
 * compared number N can be carried out as long as the key is at N, and never after that.
 *
 * A commit without an answer may still be on its way, in the network or inside etcd. While we lead
 * the key is put anew, and only then the commit's outcome is told as unknown: from then on a
 * reading shows what is there for good. When we cannot do that before our leadership ends, it is
 * told as unknown right then, though the key may stand at N for a while yet: our clock ends our
 * leadership before etcd ends the lease. Reading back then could show nothing, and the commit
 * arrive behind it. Therefore a load compares that the key is not at N any more, and fails until
 * that is so (`doubt`). It comes to be so: the lease ends, or a new leader puts its key.
 *
 * All these requests may be sent twice and arrive late. A late lease holds no key and ends. A late
 * put of the key finds one there, or its lease gone. A late putting anew finds the key of another
 * term; or ours, and moves the fence once more: a commit refused for that is sent again with the
 * number that it was shown.
 */
#include "base/clock.h"
#include "base/log.h"
#include "io/store_etcd_impl.h"

enum {
	MARGIN_PART = 10, /* of the lease: we stop before etcd lets another begin */
	LEAVE_MS = 1000,  /* for giving the lease back at the end */
};

static int64_t margin_ms(const struct store_etcd *s)
{
	return s->lease_ms / MARGIN_PART;
}

bool lead_now(const struct store_etcd *s)
{
	const struct lead *ld = &s->lead;

	return ld->phase == LEAD_HELD && s->view.seen >= ld->term && clock_ms() < ld->until_ms;
}

static void lease_renewed(struct store_etcd *s, int64_t sent_ms)
{
	s->lead.until_ms = sent_ms + s->lease_ms - margin_ms(s);
	timer_set_at(s->lead.end, s->lead.until_ms);
}

static void write_lease(struct str *body, const char *lease)
{
	struct jw w = { .out = body };

	jw_object(&w, NULL);
	jw_str(&w, "ID", lease);
	jw_end(&w);
}

/* ---- the end of it ---- */

static void on_given_back(void *, const struct etcd_answer *)
{
}

/* Its key goes with it, so that another need not wait. Should this not arrive, the lease ends. */
static void give_back(struct store_etcd *s)
{
	auto_str body = {};

	write_lease(&body, s->lead.lease);
	etcd_ask(s->etcd, "/v3/lease/revoke", &body, ETCD_AGAIN, s->lease_ms, on_given_back, NULL);
	s->lead.lease[0] = '\0';
}

static void stop_calls(struct lead *ld)
{
	etcd_cancel(ld->campaign);
	etcd_cancel(ld->renewal);
	etcd_cancel(ld->mover);
	ld->campaign = ld->renewal = ld->mover = NULL;
	timer_stop(ld->end);
}

static void retire(struct store_etcd *s)
{
	stop_calls(&s->lead);
	if (s->lead.lease[0] != '\0') {
		give_back(s);
	}
	s->lead.phase = LEAD_NONE;
}

void lead_lost(struct store_etcd *s, const char *why)
{
	if (s->lead.phase != LEAD_HELD) {
		return;
	}
	LOG(LOG_WARN, "store.lead-lost", KV("term", s->lead.term), KV("why", why));
	retire(s);
	jobs_decided(s);
	standing_update(s);
}

static void on_end(void *arg)
{
	lead_lost(arg, "the lease was not renewed in time");
}

/* ---- campaign ---- */

static void won(struct store_etcd *s, uint64_t created, uint64_t modified)
{
	s->lead.phase = LEAD_HELD;
	s->lead.term = created;
	s->lead.fence = modified; /* lower than the last one, in a store that was put back */
	s->lead.doubt = 0;
	standing_update(s); /* leads when the watch has come that far */
}

static void on_put(void *arg, const struct etcd_answer *a)
{
	struct store_etcd *s = arg;
	auto_arena mem = {};
	struct etcd_kv kv;

	s->lead.campaign = NULL;
	if (a->fate == ETCD_ANSWERED && json_is_true(json_object_get(a->body, "succeeded"))) {
		won(s, etcd_revision(a->body), etcd_revision(a->body));
	} else if (a->fate == ETCD_ANSWERED &&
		   etcd_read_kv(json_array_get(etcd_got(a->body, 0), 0), &mem, &kv) &&
		   str_eq(kv.lease, s->lead.lease)) {
		won(s, kv.create_revision, kv.mod_revision); /* the first sending had arrived */
	} else {
		retire(s);
	}
}

static void put_key(struct store_etcd *s)
{
	auto_str body = {};
	struct jw w = { .out = &body };

	jw_object(&w, NULL);
	jw_array(&w, "compare");
	etcd_write_compare(&w, s->prefix, KEY_LEADER, ETCD_CREATED, ETCD_IS, 0);
	jw_end(&w);
	jw_array(&w, "success");
	etcd_write_put(&w, s->prefix, KEY_LEADER, s->self, strlen(s->self), s->lead.lease);
	jw_end(&w);
	jw_array(&w, "failure");
	etcd_write_get(&w, s->prefix, KEY_LEADER, ETCD_NO_VALUE);
	jw_end(&w);
	jw_end(&w);
	s->lead.phase = LEAD_PUTTING;
	s->lead.campaign =
		etcd_ask(s->etcd, "/v3/kv/txn", &body, ETCD_AGAIN, s->lease_ms, on_put, s);
}

static void on_granted(void *arg, const struct etcd_answer *a)
{
	struct store_etcd *s = arg;
	const char *lease = a->fate == ETCD_ANSWERED ? etcd_word(a->body, "ID") : "";

	s->lead.campaign = NULL;
	if (lease[0] == '\0' || !str_copy(s->lead.lease, sizeof s->lead.lease, lease)) {
		s->lead.lease[0] = '\0';
		s->lead.phase = LEAD_NONE; /* the next pulse tries again */
		return;
	}
	lease_renewed(s, a->sent_ms);
	put_key(s);
}

void lead_consider(struct store_etcd *s)
{
	auto_str body = {};
	struct jw w = { .out = &body };

	if (!s->campaign || s->closing || s->lead.phase != LEAD_NONE ||
	    s->view.leader_modified != 0 || !check_is_current(s)) {
		return;
	}
	jw_object(&w, NULL);
	etcd_write_number(&w, "TTL", (uint64_t)(s->lease_ms + 999) / 1000);
	jw_end(&w);
	s->lead.phase = LEAD_GRANTING;
	s->lead.campaign =
		etcd_ask(s->etcd, "/v3/lease/grant", &body, ETCD_AGAIN, s->lease_ms, on_granted, s);
}

/* ---- the fence ---- */

static void on_moved(void *arg, const struct etcd_answer *a)
{
	struct store_etcd *s = arg;

	s->lead.mover = NULL;
	if (a->fate != ETCD_ANSWERED) {
		return; /* the next pulse tries again, until our leadership ends */
	}
	if (json_is_true(json_object_get(a->body, "succeeded"))) {
		lead_fence_seen(s, etcd_revision(a->body));
	} else {
		lead_lost(s, "the leader's key is another's");
	}
}

static void move_fence(struct store_etcd *s)
{
	auto_str body = {};
	struct jw w = { .out = &body };

	jw_object(&w, NULL);
	jw_array(&w, "compare");
	etcd_write_compare(&w, s->prefix, KEY_LEADER, ETCD_CREATED, ETCD_IS, s->lead.term);
	jw_end(&w);
	jw_array(&w, "success");
	etcd_write_put_anew(&w, s->prefix, KEY_LEADER);
	jw_end(&w);
	jw_end(&w);
	s->lead.mover =
		etcd_ask(s->etcd, "/v3/kv/txn", &body, ETCD_AGAIN, s->lease_ms, on_moved, s);
}

bool lead_is_decided(const struct store_etcd *s, uint64_t guard)
{
	return guard < s->lead.fence || (s->view.seen >= guard && s->view.leader_modified != guard);
}

void lead_in_doubt(struct store_etcd *s, uint64_t guard)
{
	struct lead *ld = &s->lead;

	ld->doubt = guard;
	if (ld->phase == LEAD_HELD && ld->mover == NULL) {
		move_fence(s);
	}
}

void lead_fence_seen(struct store_etcd *s, uint64_t mod_revision)
{
	struct lead *ld = &s->lead;

	ld->fence = mod_revision > ld->fence ? mod_revision : ld->fence;
	if (ld->doubt < ld->fence) {
		ld->doubt = 0;
		jobs_decided(s);
	}
}

void lead_key_seen(struct store_etcd *s, uint64_t at)
{
	struct lead *ld = &s->lead;
	const struct view *v = &s->view;

	if (at > ld->doubt && v->leader_modified != ld->doubt) {
		ld->doubt = 0;
	}
	if (ld->phase == LEAD_HELD && at > ld->term && v->leader_created != ld->term) {
		lead_lost(s, "the leader's key is gone");
	} else if (ld->phase == LEAD_HELD && v->leader_created == ld->term) {
		lead_fence_seen(s, v->leader_modified);
	}
}

/* ---- staying ---- */

static void on_renewed(void *arg, const struct etcd_answer *a)
{
	struct store_etcd *s = arg;

	s->lead.renewal = NULL;
	if (a->fate != ETCD_ANSWERED) {
		return;
	}
	if (etcd_number(json_object_get(a->body, "result"), "TTL") == 0) {
		lead_lost(s, "etcd has ended the lease");
		return;
	}
	lease_renewed(s, a->sent_ms);
}

void lead_pulse(struct store_etcd *s)
{
	auto_str body = {};

	if (s->lead.phase != LEAD_HELD) {
		lead_consider(s);
		return;
	}
	if (s->lead.doubt != 0 && s->lead.mover == NULL) {
		move_fence(s);
	}
	if (s->lead.renewal == NULL) {
		write_lease(&body, s->lead.lease);
		s->lead.renewal = etcd_ask(s->etcd, "/v3/lease/keepalive", &body, ETCD_AGAIN,
					   s->lease_ms / 3, on_renewed, s);
	}
}

/* ---- from beginning to end ---- */

void lead_init(struct store_etcd *s)
{
	s->lead.end = timer_new(s->loop, on_end, s);
}

void lead_done(struct store_etcd *s)
{
	auto_str body = {};

	stop_calls(&s->lead);
	if (s->lead.lease[0] != '\0') {
		write_lease(&body, s->lead.lease);
		if (!etcd_ask_here(s->etcd, "/v3/lease/revoke", &body, LEAVE_MS)) {
			LOG(LOG_INFO, "store.lease-left", KV("ends_within_ms", s->lease_ms));
		}
	}
	timer_free(s->lead.end);
}
