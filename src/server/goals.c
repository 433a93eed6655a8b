#include "server/goals.h"

/* What the operator's settings ask of every server; the flavor's part comes per instance. */
static struct server_settings common_settings(const struct settings *s)
{
	struct server_settings ss = {
		.backlog_bytes = (uint64_t)setting_int(s, "replication.backlog_bytes"),
		.repl_timeout_s = (uint32_t)setting_int(s, "replication.timeout"),
		.ping_period_s = (uint32_t)setting_int(s, "replication.ping_period"),
		.diskless_sync = setting_bool(s, "replication.diskless_sync"),
		.diskless_delay_s = (uint32_t)setting_int(s, "replication.diskless_sync_delay"),
		.customer_open = str_eq(setting_text(s, "auth.mode"), "none"),
	};

	str_copy(ss.appendfsync, sizeof ss.appendfsync, setting_text(s, "redis.appendfsync"));
	return ss;
}

static void add_flavor(struct server_settings *ss, const struct flavor *f)
{
	if (f == NULL) {
		/* Its section was taken away: rather no limit than a wrong one. Loading warned. */
		ss->maxmemory_bytes = 0;
		str_copy(ss->maxmemory_policy, sizeof ss->maxmemory_policy, "noeviction");
		return;
	}
	ss->maxmemory_bytes = MIB(f->ram_mb) / 100 * f->maxmemory_pct;
	str_copy(ss->maxmemory_policy, sizeof ss->maxmemory_policy, f->maxmemory_policy);
}

struct collecting {
	const char *host;
	uint64_t after;
	struct id installation;
	const struct settings *settings;
	struct server_settings common;
	size_t nmembers; /* of all groups concerned: the most there can be */
	struct goal *goals;
	struct wire_watch *watches;
	struct wire_goals *ret;
};

static bool count_members(void *arg, struct entry *en)
{
	((struct collecting *)arg)->nmembers += en->g->nmembers;
	return true;
}

/* FNV-1a; sums of it do not depend on the order of groups, and stay positive in JSON. */
static uint64_t watch_digest(const struct wire_watch *w)
{
	const uint64_t prime = 0x100000001b3ULL;
	const struct goal_live *l = &w->live;
	uint64_t flags = (uint64_t)l->stream << 1 | l->urgent;
	uint64_t h = 0xcbf29ce484222325ULL ^ l->watch << 2 ^ flags;

	h = (h * prime) ^ (uint64_t)l->peer_offset;
	for (size_t i = 0; i < sizeof w->instance.b; i++) {
		h = (h ^ w->instance.b[i]) * prime;
	}
	return h;
}

static void add_watch(struct collecting *c, const struct entry *en, const struct member *m)
{
	struct wire_watch *w = &c->watches[c->ret->nwatches++];

	*w = (struct wire_watch){ m->id, group_live_of(en->g, &en->live, m) };
	c->ret->watch_revision = (c->ret->watch_revision + watch_digest(w)) & INT64_MAX;
}

static void add_goal(struct collecting *c, const struct entry *en, const struct member *m)
{
	struct server_settings ss = c->common;

	add_flavor(&ss, settings_flavor(c->settings, m->flavor));
	c->goals[c->ret->ngoals++] = goal_of(en->g, m, c->installation, &ss);
}

static bool add_group(void *arg, struct entry *en)
{
	struct collecting *c = arg;

	for (size_t i = 0; i < en->g->nmembers; i++) {
		const struct member *m = &en->g->members[i];

		if (!str_eq(m->host, c->host)) {
			continue;
		}
		if (en->shown > c->after) {
			add_goal(c, en, m);
		}
		if (en->live.watch != 0) {
			add_watch(c, en, m);
		}
	}
	return true;
}

void goals_collect(struct registry *r, const char *host, uint64_t after, struct arena *a,
		   struct wire_goals *ret)
{
	struct collecting c = {
		.host = host,
		.after = after > registry_shown(r) ? 0 : after,
		.installation = registry_installation(r),
		.settings = registry_settings(r),
		.common = common_settings(registry_settings(r)),
		.ret = ret,
	};

	registry_each_on_host(r, host, count_members, &c);
	c.goals = arena_alloc(a, (c.nmembers + 1) * sizeof *c.goals);
	c.watches = arena_alloc(a, (c.nmembers + 1) * sizeof *c.watches);
	*ret = (struct wire_goals){
		.installation = c.installation,
		.revision = registry_shown(r),
		.goals = c.goals,
		.watches = c.watches,
	};
	registry_each_on_host(r, host, add_group, &c);
}
