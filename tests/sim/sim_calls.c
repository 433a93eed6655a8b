/*
 * The operator's calls: checked against what is shown, as the API does it, and
 * committed before they are answered. What is refused must have changed
 * nothing.
 */
#include "base/str.h"
#include "core/operate.h"
#include "core/status.h"
#include "world.h"

static bool may_call(const struct world *w)
{
	return w->plane.up && !w->plane.commit.under_way && w->now_ms >= w->plane.retry_ms;
}

static const struct shown *shown_of(const struct world *w, int node)
{
	int slot = plane_slot_of(w, node);

	return slot == SIM_NOBODY ? NULL : &w->plane.groups[slot];
}

static struct change *change_begin(struct world *w, int slot)
{
	struct commit *c = &w->plane.commit;
	struct change *ch = &c->changes[0];

	c->events_only = ch->drops = false;
	c->nevents = 0;
	c->nchanges = 1;
	ch->slot = slot;
	record_copy(&ch->next, &w->plane.groups[slot].r);
	return ch;
}

/* The instance's status allows it now; the group as it is shown, to be changed.
 */
static struct change *allowed_change(struct world *w, enum call_kind call, int node)
{
	const struct shown *s = shown_of(w, node);
	struct err e;

	if (!may_call(w) || s == NULL ||
	    !status_allows(call, &s->r.g, record_member(&s->r, node), &e)) {
		return NULL;
	}
	return change_begin(w, plane_slot_of(w, node));
}

static bool same_record(const struct record *a, const struct record *b)
{
	struct group ga = a->g, gb = b->g;

	ga.members = gb.members = NULL;
	ga.history = gb.history = NULL;
	ga.last.reason = gb.last.reason = NULL;
	return memcmp(&ga, &gb, sizeof ga) == 0 &&
	       memcmp(a->members, b->members, a->g.nmembers * sizeof a->members[0]) == 0 &&
	       memcmp(a->history, b->history, a->g.nhistory * sizeof a->history[0]) == 0;
}

static void keep_reason(struct record *r)
{
	if (r->g.last.reason != NULL && r->g.last.reason != r->reason) {
		str_copy(r->reason, sizeof r->reason, r->g.last.reason);
		r->g.last.reason = r->reason;
	}
}

/* A call of operate_*(): what it is given, and what it gives back. */
struct call {
	int node;
	struct change *change;
	struct group *g; /* of the change */
	const struct observation *obs[SIM_NODES + 1];
	bool silent[SIM_NODES + 1];
	struct operate_in in; /* borrows from here */
	struct group_event ev;
	struct err e;
};

/* False: it may not be made now. */
static bool call_begin(struct world *w, enum call_kind kind, int node, struct call *c)
{
	struct change *ch = allowed_change(w, kind, node);

	if (ch == NULL) {
		return false;
	}
	*c = (struct call){ .node = node, .change = ch, .g = &ch->next.g };
	for (size_t i = 0; i < c->g->nmembers; i++) {
		int n = record_node(&ch->next, i);

		c->obs[i] = w->plane.has[n] ? &w->plane.seen[n].o : NULL;
		c->silent[i] = plane_is_silent(w, sim_host_of(n));
	}
	c->in = (struct operate_in){
		.obs = c->obs,
		.silent = c->silent,
		.live = &w->plane.groups[ch->slot].live,
		.op = sim_fresh_id(w),
		.now_ms = w->now_ms,
		.wall_ms = w->now_ms,
	};
	return true;
}

/* Invariant 7: a refused request changes nothing. */
static bool refused(struct world *w, const struct call *c, const char *what)
{
	if (!same_record(&c->change->next, &w->plane.groups[c->change->slot].r)) {
		sim_broken(w, "7: %s was refused (%.120s), and the record is not as before", what,
			   c->e.msg);
	}
	w->result.refused++;
	return false;
}

/* Commits what was decided; `done` is what operate_*() answered. */
static bool call_end(struct world *w, const struct call *c, bool done, enum purpose purpose,
		     const char *what)
{
	struct commit *commit = &w->plane.commit;

	if (!done) {
		return refused(w, c, what);
	}
	for (size_t i = 0; i < commit->nchanges; i++) {
		keep_reason(&commit->changes[i].next);
	}
	commit->events[0] = c->ev;
	commit->nevents = 1;
	commit_begin(w, purpose, c->node);
	STORY(w, "operator: %s %s", what, w->nodes[c->node].name);
	return true;
}

/* instances */

static struct member new_member(struct world *w, int node)
{
	const struct node *n = &w->nodes[node];

	return (struct member){
		.id = n->id,
		.name = n->name,
		.host = n->host,
		.address = n->address,
		.port = 6379,
		.flavor = "1",
		.datastore = "redis",
		.version = "7.0.15",
		.created_wall_ms = w->now_ms,
		.updated_wall_ms = w->now_ms,
		.state = MEMBER_STARTING,
		.state_since_wall_ms = w->now_ms,
	};
}

static int unused_node(const struct world *w)
{
	for (int i = 0; i < SIM_NODES; i++) {
		if (!w->nodes[i].created && plane_slot_of(w, i) == SIM_NOBODY) {
			return i;
		}
	}
	return SIM_NOBODY;
}

bool plane_create_group(struct world *w)
{
	int node = unused_node(w);

	if (!may_call(w) || node == SIM_NOBODY) {
		return false;
	}
	struct change *ch = change_begin(w, store_free_slot(w));
	struct record *r = &ch->next;

	r->there = true;
	r->g = (struct group){
		.id = sim_fresh_id(w),
		.project = "p",
		.name = w->group_names[ch->slot],
		.epoch = 1,
		.source = w->nodes[node].id,
		.op = { .id = sim_fresh_id(w),
			.kind = OP_CREATE,
			.phase = PHASE_CREATE_START,
			.target = w->nodes[node].id },
		.members = r->members,
		.nmembers = 1,
		.history = r->history,
	};
	if (sim_one_in(w, 3)) {
		r->g.durability = r->g.durability_proven = 1;
	}
	r->members[0] = new_member(w, node);
	commit_begin(w, FOR_CREATE, node);
	STORY(w, "operator: create %s, durability %u", w->nodes[node].name, r->g.durability);
	return true;
}

bool plane_create_replica(struct world *w, int of)
{
	int node = unused_node(w);
	const struct shown *s = shown_of(w, of);

	if (node == SIM_NOBODY || s == NULL || group_source(&s->r.g) == NULL) {
		return false;
	}
	struct change *ch =
		allowed_change(w, CALL_CREATE_REPLICA, (int)group_source(&s->r.g)->id.b[15]);

	if (ch == NULL) {
		return false;
	}
	ch->next.members[ch->next.g.nmembers++] = new_member(w, node);
	commit_begin(w, FOR_REPLICA, node);
	STORY(w, "operator: create replica %s", w->nodes[node].name);
	return true;
}

bool plane_delete(struct world *w, int node)
{
	struct change *ch = allowed_change(w, CALL_DELETE, node);

	if (ch == NULL || record_member(&ch->next, node)->state == MEMBER_DELETING) {
		return false;
	}
	ch->next.members[record_member(&ch->next, node) - ch->next.g.members].state =
		MEMBER_DELETING;
	commit_begin(w, FOR_DELETE, node);
	STORY(w, "operator: delete %s", w->nodes[node].name);
	return true;
}

bool plane_accept_loss(struct world *w, int node)
{
	const struct shown *s = shown_of(w, node);
	const struct observation *o = &w->plane.seen[node].o;

	if (s == NULL || record_member(&s->r, node)->fault.kind != FAULT_GUARD ||
	    !w->plane.has[node] || plane_is_silent(w, sim_host_of(node)) ||
	    !replid_known(&o->run_id) ||
	    (s->r.g.op.kind == OP_RESTART && !replid_eq(&s->r.g.op.run, &o->run_id))) {
		return false;
	}
	struct change *ch = allowed_change(w, CALL_START, node);

	if (ch == NULL) {
		return false;
	}
	ch->next.members[record_member(&ch->next, node) - ch->next.g.members].accepted_run =
		o->run_id;
	commit_begin(w, FOR_ACCEPT, node);
	w->result.accepted++;
	STORY(w, "operator: start %s --accept-data-loss", w->nodes[node].name);
	return true;
}

/* changes of the source */

bool plane_promote(struct world *w, int node)
{
	struct call c;

	return call_begin(w, CALL_PROMOTE, node, &c) &&
	       call_end(w, &c, operate_handover(c.g, &c.in, w->nodes[node].id, &c.ev, &c.e),
			FOR_OPERATION, "promote");
}

/* The control plane knocks by itself. */
static enum probe_answer probe(const struct world *w, int node)
{
	bool reached =
		w->hosts[sim_host_of(node)].up && !net_is_cut(w, sim_host_of(node), SIM_PLANE);
	const struct server *s = &w->nodes[node].server;

	return reached && s->alive && !s->stopped ? PROBE_ANSWERS : PROBE_SILENT;
}

/* Nobody may be ejected who is seen to live, unless the operator gives up what
 * is lost by it. */
static void check_evidence(struct world *w, int node)
{
	const struct observation *o = &w->plane.seen[node].o;
	bool heard = w->plane.has[node] && !plane_is_silent(w, sim_host_of(node));

	if (heard && o->proc == PROC_RUNNING && !o->loading && o->role == SERVER_ROLE_MASTER) {
		sim_broken(w, "7: %s is ejected, and is seen as a master", w->nodes[node].name);
	}
}

bool plane_eject(struct world *w, int node, bool accept_data_loss)
{
	const char *what = accept_data_loss ? "eject --accept-data-loss" : "eject";
	struct call c;
	bool again = false;

	if (!call_begin(w, CALL_EJECT, node, &c)) {
		return false;
	}
	enum probe_answer p = operate_needs_probe(c.g, &c.in) ? probe(w, node) : PROBE_NOT_MADE;
	bool done = operate_eject(c.g, &c.in, w->nodes[node].id, p, accept_data_loss, &again, &c.ev,
				  &c.e);

	if (done && again) {
		return true;
	}
	if (done && !accept_data_loss) {
		check_evidence(w, node);
	}
	return call_end(w, &c, done, FOR_OPERATION, what);
}

bool plane_cancel(struct world *w, int node)
{
	struct call c;

	return call_begin(w, CALL_CANCEL, node, &c) &&
	       call_end(w, &c, operate_cancel(c.g, &c.in, &c.ev, &c.e), FOR_OPERATION, "cancel");
}

bool plane_durability(struct world *w, int node, uint32_t n)
{
	struct call c;
	char promise[640];

	if (!call_begin(w, CALL_DURABILITY, node, &c)) {
		return false;
	}
	bool done = operate_durability(c.g, &c.in, n, &c.ev, promise, sizeof promise, &c.e);

	if (done) {
		STORY(w, "operator: durability %u", n);
	}
	return call_end(w, &c, done, FOR_OPERATION, "durability of");
}

/* two records at once */

static void take_group(struct record *to, const struct group *g)
{
	to->there = true;
	to->g = *g;
	memcpy(to->members, g->members, g->nmembers * sizeof to->members[0]);
	memcpy(to->history, g->history, g->nhistory * sizeof to->history[0]);
	to->g.members = to->members;
	to->g.history = to->history;
}

static void take_pair(struct world *w, const struct operate_pair *pair, int to_slot)
{
	struct commit *c = &w->plane.commit;
	struct change *to = &c->changes[1];

	take_group(&c->changes[0].next, &pair->from);
	c->changes[0].drops = pair->from.nmembers == 0;
	to->slot = to_slot;
	to->drops = false;
	to->next.serial = w->plane.groups[to_slot].r.serial;
	take_group(&to->next, &pair->to);
	c->nchanges = 2;
}

bool plane_detach(struct world *w, int node)
{
	static struct operate_pair pair; /* large */
	int to = store_free_slot(w);
	struct call c;

	if (!call_begin(w, CALL_DETACH, node, &c)) {
		return false;
	}
	bool done = operate_detach(c.g, &c.in, w->nodes[node].id, sim_fresh_id(w),
				   w->group_names[to], &pair, &c.ev, &c.e);

	if (done) {
		take_pair(w, &pair, to);
	}
	return call_end(w, &c, done, FOR_DETACH, "detach");
}

bool plane_attach(struct world *w, int node, int to_node)
{
	static struct operate_pair pair;
	int to = plane_slot_of(w, to_node);
	struct call c;

	if (to == SIM_NOBODY || to == plane_slot_of(w, node) ||
	    !call_begin(w, CALL_ATTACH, node, &c)) {
		return false;
	}
	bool done = operate_attach(c.g, &w->plane.groups[to].r.g, &c.in, w->nodes[node].id, &pair,
				   &c.ev, &c.e);

	if (done) {
		take_pair(w, &pair, to);
		w->result.joined++;
	}
	return call_end(w, &c, done, FOR_ATTACH, "attach");
}

bool plane_delete_group(struct world *w, int node)
{
	struct call c;

	return call_begin(w, CALL_DELETE_GROUP, node, &c) &&
	       call_end(w, &c, operate_delete_group(c.g, &c.in, &c.ev, &c.e), FOR_DELETE,
			"delete the group of");
}
