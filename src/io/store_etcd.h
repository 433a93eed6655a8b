/*
 * The store that several control planes share: etcd (v3, JSON gateway over HTTP, from 3.4 on). The
 * interface is io/store.h; nothing of consensus is written here.
 *
 * Keys live under a prefix. One key beside them, `<prefix>leader`, is held with a lease by the
 * control plane that leads. Every transaction compares that key's mod_revision with the one that
 * this leader put, so a commit that arrives late, from one that does not lead any more, changes
 * nothing. A commit whose outcome is unknown (its connection was cut after the request) may still
 * be on its way inside etcd: before it is read back the leader puts its key anew, which moves the
 * mod_revision, and from then on the late one cannot succeed (store_etcd_lead.c has the whole of
 * it).
 *
 * Leading ends by our own clock: a lease that was not renewed within its time, counted from when
 * the renewal was sent, is taken for lost before etcd gives it to another.
 *
 * What differs from the embedded store: commits end with STORE_CONFLICT while we do not lead.
 * Outcomes are told in the order asked for, but commits that have no key in common may change
 * places, so that a later one has a lower revision. The watch may give a commit of ours before its
 * outcome is told, or after. A load may fail with ERR_UNAVAILABLE, also because a commit of unknown
 * outcome could still arrive. store_free() tells commits without an answer as STORE_UNKNOWN, those
 * not sent as STORE_FAILED, and gives the lease back (at most a second).
 */
#pragma once

#include "base/secret.h"
#include "io/store.h"

struct store_etcd_config {
	const char *endpoints; /* "http://10.0.0.1:2379,https://...": tried in turns, at most 16 */
	const char *prefix;    /* "/tanist/": all the user needs to read and write */
	const char *user;      /* "": etcd without login */
	struct secret password;
	const char *ca_file; /* whom https trusts; "": the system's */
	const char *self;    /* what others are told of us when we lead: our URL, one for each */
	int64_t lease_ms;    /* at least 2000; etcd counts in whole seconds */
	/*
	 * false: never lead (import, export, tests). Commits then succeed as long as nobody leads;
	 * a load gives up after lease_ms, and nothing is watched without a listener.
	 */
	bool campaign;
};

/*
 * Opens without waiting for etcd: the first store_load() of all rows waits for it, for as long as
 * it takes. With that load the watch begins, and the campaign. ERR_INVALID: the configuration
 * cannot be used.
 */
[[nodiscard]] bool store_etcd_open(struct loop *l, const struct store_etcd_config *c,
				   struct store **ret, struct err *e);
