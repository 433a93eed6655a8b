/*
 * The goal of a member, from the record alone. Every member of every record that can be stored
 * has one: what a record means for a server is decided here and nowhere else.
 */
#include "core/goal.h"

#include "base/macros.h"
#include "base/str.h"
#include "core/names.h"
#include "core/versions.h"

static const char *const run_names[] = { [GOAL_RUN] = "run", [GOAL_DELETE] = "delete" };
/* clang-format off */
static const char *const role_names[] = {
	[GOAL_SOURCE] = "source",
	[GOAL_REPLICA] = "replica",
	[GOAL_GUARDED] = "guarded",
	[GOAL_YIELDING] = "yielding",
	[GOAL_SEALED] = "sealed",
};
/* clang-format on */

static uint32_t replicas_without_copy(const struct group *g)
{
	uint32_t n = 0;

	for (size_t i = 0; i < g->nmembers; i++) {
		const struct member *m = &g->members[i];

		n += !id_eq(m->id, g->source) && m->state != MEMBER_DELETING && !m->attached_once;
	}
	return n;
}

bool member_keeps_position(const struct member *m)
{
	struct server_version v;

	return version_parse(m->datastore, m->version, &v) && version_rules(v)->psync2;
}

static void follow(const struct member *upstream, struct goal *goal)
{
	goal->upstream_host = upstream->address;
	goal->upstream_port = upstream->port;
}

static void be_fenced(struct goal *goal)
{
	goal->role = GOAL_GUARDED;
	goal->kill_hung = true;
	/* Settings come before roles: one that still serves must not take writes in between. */
	goal->min_slaves_to_write = FENCE_MIN_SLAVES;
	goal->min_slaves_max_lag_s = DURABILITY_MAX_LAG_S;
}

static void be_source(const struct group *g, const struct member *m, struct goal *goal)
{
	const struct member *target = group_find(g, g->op.target);

	if (m->state == MEMBER_FENCED || group_is_sealing(g) || g->op.phase == PHASE_EJECT_DRAIN) {
		be_fenced(goal);
		return;
	}
	goal->confirmed_run = g->source_run;
	goal->min_slaves_to_write = g->durability;
	goal->min_slaves_max_lag_s = g->durability > 0 ? DURABILITY_MAX_LAG_S : 0;
	if (g->op.phase == PHASE_HANDOVER_FENCE && target != NULL) {
		goal->role = GOAL_YIELDING;
		goal->fenced = true;
		follow(target, goal);
		return;
	}
	goal->role = GOAL_SOURCE;
	goal->start_at_once = group_replica_count(g) == 0;
	goal->waiting_replicas = replicas_without_copy(g);
}

bool goal_is_staged(const struct group *g, const struct member *m)
{
	bool stages = g->op.phase == PHASE_HANDOVER_STAGE || g->op.phase == PHASE_HANDOVER_FENCE;
	uint32_t stay = g->durability > 1 ? g->durability - 1 : 0;

	if (!stages || !m->attached_once || !member_keeps_position(m) || id_eq(m->id, g->op.target)) {
		return false;
	}
	for (size_t i = g->nmembers; i > 0 && stay > 0; i--) {
		const struct member *other = &g->members[i - 1];

		/* Who is not attached is no help: its links do not count for min-slaves yet. */
		if (!group_is_replica(g, other) || id_eq(other->id, g->op.target) ||
		    other->state != MEMBER_ACTIVE) {
			continue;
		}
		if (other == m) {
			return false;
		}
		stay--;
	}
	return true;
}

/*
 * Until its successor serves, the AOF of one that was demoted may be the only place that has all of
 * the group's writes: it is not given up for a faster way back.
 */
static bool waits_for_master(const struct group *g)
{
	return g->op.phase == PHASE_HANDOVER_PROMOTE || g->op.phase == PHASE_EJECT_PROMOTE;
}

static void be_replica(const struct group *g, const struct member *m, const struct member *source,
		       struct goal *goal)
{
	const struct member *target = group_find(g, g->op.target);

	if (group_is_sealing(g) && member_keeps_position(m)) {
		goal->role = GOAL_SEALED;
		return;
	}
	goal->role = GOAL_REPLICA;
	goal->demote_accepted =
		(m->demoted && !waits_for_master(g)) || replid_known(&m->accepted_run);
	goal->confirmed_run = m->demoted ? (struct replid){} : m->accepted_run;
	goal->staged = goal_is_staged(g, m) && target != NULL;
	follow(goal->staged ? target : source, goal);
	if (id_eq(m->id, g->op.from)) {
		goal->kill_hung = true;
		goal->drop_clients = g->op.phase == PHASE_HANDOVER_DROP;
	}
}

struct goal goal_of(const struct group *g, const struct member *m, struct id installation,
		    const struct server_settings *s)
{
	const struct member *source = group_source(g);
	struct goal goal = {
		.installation = installation,
		.group = g->id,
		.instance = m->id,
		.epoch = g->epoch,
		.revision = g->revision,
		.run = m->state == MEMBER_DELETING ? GOAL_DELETE : GOAL_RUN,
		.role = GOAL_GUARDED, /* follows nobody, should the source be no member any more */
		.upstream_host = "",
		.name = m->name,
		.project = g->project,
		.address = m->address,
		.port = m->port,
		.datastore = m->datastore,
		.version = m->version,
		.settings = *s,
		.secrets = g->secrets,
	};

	if (source == m || id_eq(g->source, m->id)) {
		be_source(g, m, &goal);
	} else if (source != NULL) {
		be_replica(g, m, source, &goal);
	}
	return goal;
}

int goal_cmp(uint64_t epoch_a, uint64_t revision_a, uint64_t epoch_b, uint64_t revision_b)
{
	if (epoch_a != epoch_b) {
		return epoch_a < epoch_b ? -1 : 1;
	}
	return (revision_a > revision_b) - (revision_a < revision_b);
}

bool goal_same_role(const struct goal *a, const struct goal *b)
{
	return a->run == b->run && a->role == b->role && a->start_at_once == b->start_at_once &&
	       a->demote_accepted == b->demote_accepted && a->staged == b->staged &&
	       a->fenced == b->fenced && a->kill_hung == b->kill_hung &&
	       a->drop_clients == b->drop_clients &&
	       replid_eq(&a->confirmed_run, &b->confirmed_run) &&
	       str_eq(a->upstream_host, b->upstream_host) && a->upstream_port == b->upstream_port;
}

const char *goal_run_name(enum goal_run r)
{
	return run_names[r];
}

const char *goal_role_name(enum goal_role r)
{
	return role_names[r];
}

bool goal_run_parse(const char *s, enum goal_run *ret)
{
	size_t i = names_find(run_names, ARRAY_LEN(run_names), s);

	if (i == ARRAY_LEN(run_names)) {
		return false;
	}
	*ret = (enum goal_run)i;
	return true;
}

bool goal_role_parse(const char *s, enum goal_role *ret)
{
	size_t i = names_find(role_names, ARRAY_LEN(role_names), s);

	if (i == ARRAY_LEN(role_names)) {
		return false;
	}
	*ret = (enum goal_role)i;
	return true;
}
