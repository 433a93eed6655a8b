/*
 * A server's whole configuration file, and the settings to bring to a running server, from a
 * goal. Old directive names throughout (slaveof, masterauth, ...): every version from 2.8 to
 * Valkey 8 takes them (REDIS.md finding 12). The goal's version must be one that version_parse()
 * takes; wire_read_goal() has seen to that.
 */
#pragma once

#include "base/arena.h"
#include "base/str.h"
#include "core/goal.h"
#include "core/instance.h"
#include "core/versions.h"

struct conf_paths {
	const char *dir;    /* the instance's data folder, absolute */
	const char *socket; /* unix socket of the agent's own connection */
	const char *log;
	const char *pid;
};

/*
 * The file. Contains secrets: write it with mode 0600. It is what a restart in this mode needs:
 * a replica that restarts comes back as a read-only replica of its upstream, and a source that has
 * replicas comes back guarded, also when somebody starts it by hand.
 */
void conf_write(const struct goal *g, struct start_mode mode, const struct conf_paths *p,
		struct str *out);

/*
 * The secret with which the agent logs in to a server that has the settings of this file, which
 * conf_write() made. false: there is none in it.
 */
[[nodiscard]] bool conf_agent_secret(const char *file, struct secret *ret);

struct conf_setting {
	const char *name;
	char value[160];
};

/*
 * What CONFIG SET must make true on a running server that is not loading, in this order, role
 * (SLAVEOF) left out. appendonly is in it (yes, last) unless mode.from_rdb. Contains secrets.
 * Returns the number written to *ret (in *a).
 */
size_t conf_live_settings(const struct goal *g, struct start_mode mode, struct arena *a,
			  const struct conf_setting **ret);

/* min-slaves-max-lag as the goal asks; never 0, which would switch off every fence. */
enum { CONF_FENCE_MAX_LAG_S = 10 }; /* where the goal asks for none: the default of all versions */
uint32_t conf_max_lag_s(const struct goal *g);

/*
 * Users and their ACL rules as words for ACL SETUSER (6.0 and later); 0 below. Contains secrets.
 * Giving them again changes nothing and drops no connection.
 *
 * Below 6.0 a server has one password or none. goal.settings.customer_open: it has none, the
 * agent does not log in, and only the bind to loopback protects it. Else it is the agent's secret,
 * for the agent (AUTH without a user) and the replicas alike, and customers have no way in.
 */
struct conf_user {
	const char *name;
	const char *const *rules;
	size_t nrules;
};
size_t conf_users(const struct goal *g, struct arena *a, const struct conf_user **ret);

#define CONF_USER_AGENT "tanist-agent"
#define CONF_USER_REPL "tanist-repl"
