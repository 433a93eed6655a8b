/*
 * What an agent's report changes: the host's record, its session, the observations of its own
 * instances, and orphans, which are told of and never acted upon.
 */
#include "base/clock.h"
#include "base/log.h"
#include "server/registry_impl.h"

static bool check_installation(const struct registry *r, const struct wire_report *rep,
			       struct err *e)
{
	if (id_is_zero(rep->installation) || id_eq(rep->installation, r->installation.id)) {
		return true;
	}
	return err_set(e, ERR_CONFLICT,
		       "This host belongs to installation %s, and this is %s: point its agent at "
		       "its own control plane, or give it an empty state folder.",
		       id_text(rep->installation).s, id_text(r->installation.id).s);
}

/* A name stands for one host: instances are bound to it. */
static bool check_names(const struct registry *r, const struct wire_report *rep, struct err *e)
{
	if (rep->about == NULL) {
		return true;
	}
	const struct host_entry *same_name = hosts_find(r, rep->about->name);
	const struct host_entry *same_id = hosts_find_id(r, rep->host);

	if (!id_eq(rep->about->id, rep->host)) {
		return err_set(e, ERR_INVALID, "'host' and 'about' name different ids");
	}
	if (same_name != NULL && !id_eq(same_name->pub.h.id, rep->host)) {
		return err_set(e, ERR_CONFLICT,
			       "Another host is known as '%s' already (its id is %s): set "
			       "agent.name on this one, or give its agent the state folder it had.",
			       rep->about->name, id_text(same_name->pub.h.id).s);
	}
	if (same_id != NULL && same_name != same_id) {
		return err_set(e, ERR_CONFLICT,
			       "This host is known as '%s', and its instances are bound to that "
			       "name: set agent.name back to it.",
			       same_id->pub.h.name);
	}
	if (same_id == NULL && r->nhosts == REGISTRY_HOSTS_MAX) {
		return err_set(e, ERR_OVER_LIMIT, "%d hosts are known, which is the limit.",
			       REGISTRY_HOSTS_MAX);
	}
	return true;
}

/* ---- observations ---- */

static bool set_observation(struct entry *en, size_t i, const struct observation *o)
{
	if (o == NULL || en->obs[i] == NULL) {
		if (o == NULL && en->obs[i] == NULL) {
			return false;
		}
		free(en->obs[i]);
		en->obs[i] = NULL;
	}
	if (o == NULL) {
		return true;
	}
	if (en->obs[i] == NULL) {
		en->obs[i] = memory_alloc(1, sizeof *o);
	} else if (memcmp(en->obs[i], o, sizeof *o) == 0) {
		return false;
	}
	*en->obs[i] = *o;
	return true;
}

static bool is_reported(const struct wire_report *rep, struct id instance)
{
	for (size_t i = 0; i < rep->nobservations; i++) {
		if (id_eq(rep->observations[i].instance, instance)) {
			return true;
		}
	}
	return false;
}

/* Forgets what is known of this host's instances, less those that the report (NULL: none) has. */
static void forget_others(struct registry *r, struct host_entry *h, const struct wire_report *rep)
{
	for (size_t i = 0; i < h->ngroups; i++) {
		struct entry *en = h->groups[i];
		bool changed = false;

		for (size_t k = 0; k < en->g->nmembers; k++) {
			const struct member *m = &en->g->members[k];

			if (str_eq(m->host, h->pub.h.name) && en->obs[k] != NULL &&
			    (rep == NULL || !is_reported(rep, m->id))) {
				changed |= set_observation(en, k, NULL);
			}
		}
		if (changed) {
			registry_notify(r, en);
		}
	}
}

static void observe(struct registry *r, struct host_entry *h, const struct observation *o)
{
	struct entry *en = index_instance(r, o->instance);

	if (en == NULL) {
		return; /* its record has just gone, and its agent does not know yet */
	}
	size_t i = index_member(en->g, o->instance);
	const struct member *m = &en->g->members[i];

	if (!str_eq(m->host, h->pub.h.name)) {
		if (!h->refused_logged) {
			h->refused_logged = true;
			LOG(LOG_WARN, "observation.refused", KV("host", h->pub.h.name),
			    KV("instance", m->id), KV("lives_on", m->host));
		}
		return;
	}
	en->seen_ms[i] = clock_ms();
	if (set_observation(en, i, o)) {
		registry_notify(r, en);
	}
}

/* ---- orphans ---- */

static void tell_orphan(struct registry *r, const struct host_entry *h, const struct wire_orphan *o)
{
	struct entry *en = index_instance(r, o->instance);
	bool at_home = en != NULL &&
		       str_eq(en->g->members[index_member(en->g, o->instance)].host, h->pub.h.name);

	if (at_home || events_told_of_orphan(r, o->instance)) {
		return; /* at home: its goal is on the way */
	}
	struct group_event ev = { .kind = EVENT_ORPHAN_FOUND, .instance = o->instance };

	snprintf(ev.reason, sizeof ev.reason,
		 "Host %s has an instance that the store does not know; it is left alone.",
		 h->pub.h.name);
	snprintf(ev.figures, sizeof ev.figures, "%s", o->detail);
	registry_event(r, &ev);
}

/* ---- sessions ---- */

enum report_age { REPORT_NEXT, REPORT_OLD };

/*
 * An agent has one report under way at a time, so one may come after its end. A second one shows
 * that it lives: then it is the other session that was late, and was taken for the newer one.
 */
static bool is_late(const struct host_entry *h, const struct wire_report *rep)
{
	return id_eq(rep->session, h->session_before) && rep->seq <= h->seq_before + 1;
}

static enum report_age follow_session(struct registry *r, struct host_entry *h,
				      const struct wire_report *rep)
{
	if (!id_eq(rep->session, h->pub.session)) {
		if (is_late(h, rep)) {
			return REPORT_OLD; /* the agent has started anew since */
		}
		h->session_before = h->pub.session;
		h->seq_before = h->pub.seq;
		h->pub.session = rep->session;
		h->pub.seq = 0;
		h->want_full = true;
		forget_others(r, h, NULL);
		LOG(LOG_INFO, "agent.connected", KV("host", h->pub.h.name),
		    KV("session", rep->session));
	} else if (rep->seq <= h->pub.seq) {
		return REPORT_OLD;
	} else if (rep->seq != h->pub.seq + 1) {
		h->want_full = true; /* one between is lost */
	}
	h->pub.seq = rep->seq;
	return REPORT_NEXT;
}

static void take_in(struct registry *r, struct host_entry *h, const struct wire_report *rep)
{
	if (rep->full) {
		h->want_full = false;
		forget_others(r, h, rep);
	}
	for (size_t i = 0; i < rep->nobservations; i++) {
		observe(r, h, &rep->observations[i]);
	}
	for (size_t i = 0; i < rep->norphans; i++) {
		tell_orphan(r, h, &rep->orphans[i]);
	}
}

bool registry_report(struct registry *r, const struct wire_report *rep,
		     struct wire_report_answer *ret, struct err *e)
{
	if (!check_installation(r, rep, e) || !check_names(r, rep, e)) {
		return false;
	}
	struct host_entry *h = hosts_find_id(r, rep->host);

	*ret = (struct wire_report_answer){ .installation = r->installation.id, .want_full = true };
	if (h == NULL) {
		if (rep->about == NULL) {
			return true; /* who it is comes with the full report */
		}
		h = hosts_add(r, rep->about);
	}
	if (follow_session(r, h, rep) == REPORT_OLD) {
		ret->want_full = h->want_full;
		return true;
	}
	hosts_hear(r, h);
	if (rep->about != NULL) {
		h->wanted = *rep->about;
		h->unput = true;
	}
	hosts_put(r, h);
	take_in(r, h, rep);
	ret->want_full = h->want_full;
	return true;
}
