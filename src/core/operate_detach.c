/*
 * Members that change groups, and groups that go. A member is in exactly one record at every
 * moment: two records are made here, and committed together. Its goals must not seem old to its
 * agent, so the record that takes it in is at a higher epoch than the one it leaves.
 */
#include <inttypes.h>

#include "base/macros.h"
#include "base/str.h"
#include "core/operate.h"

static const struct replid no_replid = {};

static size_t index_of(const struct group *g, struct id id)
{
	size_t i = 0;

	while (i < g->nmembers && !id_eq(g->members[i].id, id)) {
		i++;
	}
	return i;
}

/* Its server, when it has just been heard to run with its data loaded; else NULL. */
static const struct observation *running(const struct operate_in *in, size_t i)
{
	const struct observation *o = in->silent[i] ? NULL : in->obs[i];

	return o != NULL && o->proc == PROC_RUNNING && !o->loading && replid_known(&o->run_id)
		       ? o
		       : NULL;
}

static bool refuse_busy(const struct group *g, const struct member *m, const char *what,
			struct err *e)
{
	return err_set(e, ERR_UNPROCESSABLE,
		       "Instance %s: cannot %s while the operation %s of group '%.64s' runs (phase "
		       "%s). Try again when it has ended.",
		       id_text(m->id).s, what, op_kind_name(g->op.kind), g->name,
		       op_phase_name(g->op.phase));
}

/* A copy with arrays of its own. */
static void copy_group(const struct group *g, struct group *to, struct member *members,
		       struct history_entry *history)
{
	*to = *g;
	to->members = members;
	to->history = history;
	memcpy(members, g->members, g->nmembers * sizeof members[0]);
	memcpy(history, g->history, g->nhistory * sizeof history[0]);
}

static void take_out(struct group *g, size_t i)
{
	group_durability_leaves(g, &g->members[i]);
	memmove(&g->members[i], &g->members[i + 1],
		(--g->nmembers - i) * sizeof g->members[0]);
}

/* detach */

/* How many replicas with the whole data would be left without this one. */
static size_t attached_but(const struct group *g, const struct member *m)
{
	size_t n = 0;

	for (size_t i = 0; i < g->nmembers; i++) {
		const struct member *other = &g->members[i];

		n += other != m && group_is_replica(g, other) && other->attached_once;
	}
	return n;
}

static bool check_durability(const struct group *g, const struct member *m, struct err *e)
{
	size_t left = attached_but(g, m);

	if (left >= g->durability) {
		return true;
	}
	return err_set(e, ERR_UNPROCESSABLE,
		       "Instance %s: its group has durability bounded(%" PRIu32
		       "), and without it %zu replica%s would be left that hold%s the source's data: "
		       "the source would take no more writes. Add a replica or lower the "
		       "durability first.",
		       id_text(m->id).s, g->durability, left, left == 1 ? "" : "s",
		       left == 1 ? "s" : "");
}

static bool check_data(const struct member *m, const struct observation *o, struct err *e)
{
	if (!m->attached_once) {
		return err_set(e, ERR_UNPROCESSABLE,
			       "Instance %s was never seen to hold all of its source's data: it "
			       "cannot be detached. Try again when it is ACTIVE.",
			       id_text(m->id).s);
	}
	if (o == NULL) {
		return err_set(e, ERR_UNPROCESSABLE,
			       "Instance %s: its server is not heard to run with its data loaded, so "
			       "it is not known which run of it would be the source. Try again when "
			       "it is.",
			       id_text(m->id).s);
	}
	if (o->role != SERVER_ROLE_REPLICA || o->guarded || o->sync_in_progress) {
		return err_set(e, ERR_UNPROCESSABLE,
			       "Instance %s: %s. Try again when that is over.", id_text(m->id).s,
			       o->sync_in_progress ? "a copy of its source's data is under way"
						   : "its server does not run as a replica");
	}
	if (!o->durable) {
		/* Killed before that, it would come back with nothing, and nobody else has its writes. */
		return err_set(e, ERR_UNPROCESSABLE,
			       "Instance %s: its data are not all on its disk yet (its AOF is being "
			       "written). Try again in a moment.",
			       id_text(m->id).s);
	}
	return true;
}

/*
 * What it holds begins a history of its own: its server gets a new id when it is promoted, and
 * what it continues is no concern of the new group, in which nobody else ever followed it.
 */
static void found_group(const struct group *g, const struct operate_in *in,
			const struct observation *o, struct member *m, struct group *to)
{
	m->state = MEMBER_ACTIVE;
	m->state_since_wall_ms = m->updated_wall_ms = in->wall_ms;
	m->accepted_run = no_replid;
	m->demoted = false;
	m->fault = (struct fault){};
	to->project = g->project;
	to->epoch = g->epoch + 1;
	to->source = m->id;
	to->source_run = o->run_id;
	to->created_wall_ms = in->wall_ms;
	to->secrets = g->secrets;
	to->members = m;
	to->nmembers = 1;
	to->op = (struct operation){
		.id = in->op,
		.kind = OP_DETACH,
		.phase = PHASE_DETACH_PROMOTE,
		.target = m->id,
		.started_wall_ms = in->wall_ms,
		.phase_since_wall_ms = in->wall_ms,
	};
	history_push(to, &no_replid, 0);
}

bool operate_detach(const struct group *g, const struct operate_in *in, struct id replica,
		    struct id fresh_group, const char *fresh_name, struct operate_pair *ret,
		    struct group_event *ret_event, struct err *e)
{
	size_t i = index_of(g, replica);
	const struct member *m = i < g->nmembers ? &g->members[i] : NULL;

	if (m == NULL || !group_is_replica(g, m)) {
		return err_set(e, ERR_INVALID, "Instance %s is not a replica.",
			       id_text(replica).s);
	}
	if (g->op.kind != OP_NONE) {
		return refuse_busy(g, m, "detach it", e);
	}
	const struct observation *o = running(in, i);

	if (!check_data(m, o, e) || !check_durability(g, m, e)) {
		return false;
	}
	copy_group(g, &ret->from, ret->from_members, ret->from_history);
	take_out(&ret->from, i);
	ret->to_members[0] = *m;
	ret->to = (struct group){
		.id = fresh_group,
		.name = fresh_name,
		.history = ret->to_history,
	};
	found_group(g, in, o, &ret->to_members[0], &ret->to);
	*ret_event = (struct group_event){
		.kind = EVENT_REPLICA_DETACHED,
		.instance = m->id,
		.epoch = ret->to.epoch,
	};
	snprintf(ret_event->reason, sizeof ret_event->reason,
		 "a client asked for it: it leaves group '%.64s' and is the source of '%.64s'",
		 g->name, fresh_name);
	snprintf(ret_event->figures, sizeof ret_event->figures,
		 "offset=%" PRId64 " replid=%s keys=%" PRId64 " link_up=%d run=%s", o->slave_offset,
		 o->replid.s, o->keys, o->link_up, o->run_id.s);
	return true;
}

/* attach */

static bool check_datastore(const struct member *source, const struct member *m, struct err *e)
{
	struct server_version from, to;
	bool known = version_parse(source->datastore, source->version, &from) &&
		     version_parse(m->datastore, m->version, &to);

	if (!str_eq(source->datastore, m->datastore)) {
		return err_set(e, ERR_INVALID,
			       "Instance %s is of datastore %s, the source '%.64s' is of %s.",
			       id_text(m->id).s, m->datastore, source->name, source->datastore);
	}
	if (!known || !version_can_feed(from, to)) {
		return err_set(e, ERR_INVALID,
			       "Instance %s of version %s cannot load what the source '%.64s' of "
			       "version %s sends.",
			       id_text(m->id).s, m->version, source->name, source->version);
	}
	return true;
}

static bool check_groups(const struct group *from, const struct group *to, const struct member *m,
			 struct err *e)
{
	if (m == NULL || m->state != MEMBER_FENCED || from->nmembers != 1) {
		return err_set(e, ERR_UNPROCESSABLE,
			       "Instance %s was not ejected: only an ejected source can be "
			       "attached.",
			       m == NULL ? "" : id_text(m->id).s);
	}
	if (id_eq(from->id, to->id)) {
		return err_set(e, ERR_INVALID, "Instance %s cannot be a replica of itself.",
			       id_text(m->id).s);
	}
	if (!str_eq(from->project, to->project)) {
		return err_set(e, ERR_INVALID, "Instance %s is of another project.",
			       id_text(m->id).s);
	}
	if (to->op.kind != OP_NONE) {
		return refuse_busy(to, m, "attach it", e);
	}
	if (to->nmembers >= MODEL_MEMBERS_MAX) {
		return err_set(e, ERR_OVER_LIMIT, "Group '%.64s' has %zu instances, the most there "
						  "can be.",
			       to->name, to->nmembers);
	}
	const struct member *source = group_source(to);

	if (source == NULL || source->state == MEMBER_DELETING ||
	    source->state == MEMBER_FENCED) {
		return err_set(e, ERR_UNPROCESSABLE,
			       "Group '%.64s' has no source that could be followed.", to->name);
	}
	return check_datastore(source, m, e);
}

/* It joins as one that holds nothing, and the operator's word is for the run that he saw. */
static void join(struct operate_pair *p, const struct member *m, const struct replid *run,
		 int64_t wall_ms)
{
	struct member *joined = &p->to_members[p->to.nmembers++];

	*joined = *m;
	joined->state = MEMBER_STARTING;
	joined->state_since_wall_ms = joined->updated_wall_ms = wall_ms;
	joined->attached_once = false;
	joined->accepted_run = *run;
	joined->demoted = true; /* whatever run: a guarded server takes no writes meanwhile */
	joined->fault = (struct fault){};
	if (p->to.epoch <= p->from.epoch) {
		p->to.epoch = p->from.epoch + 1;
	}
	p->from.nmembers = 0;
}

bool operate_attach(const struct group *from, const struct group *to, const struct operate_in *in,
		    struct id instance, struct operate_pair *ret, struct group_event *ret_event,
		    struct err *e)
{
	size_t i = index_of(from, instance);
	const struct member *m = i < from->nmembers ? &from->members[i] : NULL;

	if (!check_groups(from, to, m, e)) {
		return false;
	}
	const struct observation *o = in->silent[i] ? NULL : in->obs[i];

	if (o == NULL || o->proc != PROC_RUNNING || !replid_known(&o->run_id)) {
		return err_set(e, ERR_UNPROCESSABLE,
			       "Instance %s: its server is not heard to run, so it is not known "
			       "which run's data would be given up. Try again when it is.",
			       id_text(m->id).s);
	}
	if (o->role == SERVER_ROLE_MASTER) {
		return err_set(e, ERR_UNPROCESSABLE,
			       "Instance %s: its agent has not fenced it yet, so it may still take "
			       "writes. Try again in a moment.",
			       id_text(m->id).s);
	}
	copy_group(from, &ret->from, ret->from_members, ret->from_history);
	copy_group(to, &ret->to, ret->to_members, ret->to_history);
	join(ret, m, &o->run_id, in->wall_ms);
	*ret_event = (struct group_event){
		.kind = EVENT_REPLICA_ADDED,
		.instance = m->id,
		.epoch = ret->to.epoch,
	};
	snprintf(ret_event->reason, sizeof ret_event->reason,
		 "a client attached it to group '%.64s': what only it holds is given up", to->name);
	snprintf(ret_event->figures, sizeof ret_event->figures,
		 "offset=%" PRId64 " replid=%s keys=%" PRId64 " run=%s", o->offset, o->replid.s,
		 o->keys, o->run_id.s);
	return true;
}

/* delete */

/* Its clients have been told of a source that is not there yet. */
static bool changes_source(enum op_phase p)
{
	return p == PHASE_HANDOVER_PROMOTE || p == PHASE_HANDOVER_TIDY ||
	       p == PHASE_HANDOVER_DROP || p == PHASE_EJECT_PROMOTE || p == PHASE_EJECT_TIDY;
}

static void end_operation(struct group *g, int64_t wall_ms)
{
	if (g->op.kind == OP_HANDOVER || g->op.kind == OP_EJECT) {
		g->last = (struct op_outcome){
			.op = g->op.id,
			.kind = g->op.kind,
			.at_wall_ms = wall_ms,
			.reason = "the whole group is deleted",
		};
	}
	g->op = (struct operation){};
}

bool operate_delete_group(struct group *g, const struct operate_in *in, struct group_event *ret,
			  struct err *e)
{
	size_t n = 0;

	if (changes_source(g->op.phase)) {
		return err_set(e, ERR_UNPROCESSABLE,
			       "Group '%.64s' cannot be deleted while the operation %s, which has "
			       "committed, runs (phase %s). Try again in a moment.",
			       g->name, op_kind_name(g->op.kind), op_phase_name(g->op.phase));
	}
	end_operation(g, in->wall_ms);
	for (size_t i = 0; i < g->nmembers; i++) {
		struct member *m = &g->members[i];

		if (m->state != MEMBER_DELETING) {
			m->state = MEMBER_DELETING;
			m->state_since_wall_ms = m->updated_wall_ms = in->wall_ms;
			n++;
		}
	}
	*ret = (struct group_event){ .kind = EVENT_INSTANCE_DELETING, .epoch = g->epoch };
	snprintf(ret->reason, sizeof ret->reason,
		 "a client deleted the whole group '%.64s': its %zu instance%s are to go", g->name,
		 n, n == 1 ? "" : "s");
	return true;
}
