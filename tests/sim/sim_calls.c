/*
 * The operator's calls: checked against what is shown, as the API does it, and committed before
 * they are answered. What is refused must have changed nothing.
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

/* The instance's status allows it now; the group as it is shown, to be changed. */
static struct change *call_begin(struct world *w, enum call_kind call, int node)
{
	const struct shown *s = shown_of(w, node);
	struct err e;

	if (!may_call(w) || s == NULL ||
	    !status_allows(call, &s->r.g, record_member(&s->r, node), &e)) {
		return NULL;
	}
	return change_begin(w, plane_slot_of(w, node));
}

struct knowledge {
	const struct observation *obs[SIM_NODES + 1];
	bool silent[SIM_NODES + 1];
	struct operate_in in;
};

static void know(struct world *w, const struct record *r, const struct group_live *live,
		 struct knowledge *ret)
{
	for (size_t i = 0; i < r->g.nmembers; i++) {
		int node = record_node(r, i);

		ret->obs[i] = w->plane.has[node] ? &w->plane.seen[node].o : NULL;
		ret->silent[i] = plane_is_silent(w, sim_host_of(node));
	}
	ret->in = (struct operate_in){
		.obs = ret->obs,
		.silent = ret->silent,
		.live = live,
		.op = sim_fresh_id(w),
		.now_ms = w->now_ms,
		.wall_ms = w->now_ms,
	};
}

static void one_event(struct world *w, const struct group_event *ev)
{
	w->plane.commit.events[0] = *ev;
	w->plane.commit.nevents = 1;
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

/* Invariant 7: a refused request changes nothing. */
static bool refused(struct world *w, const struct change *ch, const char *what, const struct err *e)
{
	if (!same_record(&ch->next, &w->plane.groups[ch->slot].r)) {
		sim_broken(w, "7: %s was refused (%.120s), and the record is not as before", what,
			   e->msg);
	}
	w->result.refused++;
	return false;
}

static void keep_reason(struct record *r)
{
	if (r->g.last.reason != NULL && r->g.last.reason != r->reason) {
		str_copy(r->reason, sizeof r->reason, r->g.last.reason);
		r->g.last.reason = r->reason;
	}
}

static bool accepted(struct world *w, enum purpose purpose, int node, const char *what,
		     const struct group_event *ev)
{
	for (size_t i = 0; i < w->plane.commit.nchanges; i++) {
		keep_reason(&w->plane.commit.changes[i].next);
	}
	one_event(w, ev);
	commit_begin(w, purpose, node);
	STORY(w, "operator: %s %s", what, w->nodes[node].name);
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
		call_begin(w, CALL_CREATE_REPLICA, (int)group_source(&s->r.g)->id.b[15]);

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
	struct change *ch = call_begin(w, CALL_DELETE, node);

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
	struct change *ch = call_begin(w, CALL_START, node);

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
	struct change *ch = call_begin(w, CALL_PROMOTE, node);
	struct knowledge k;
	struct group_event ev = {};
	struct err e;

	if (ch == NULL) {
		return false;
	}
	know(w, &ch->next, &w->plane.groups[ch->slot].live, &k);
	if (!operate_handover(&ch->next.g, &k.in, w->nodes[node].id, &ev, &e)) {
		return refused(w, ch, "promote", &e);
	}
	return accepted(w, FOR_OPERATION, node, "promote", &ev);
}

/* The control plane knocks by itself. */
static enum probe_answer probe(const struct world *w, int node)
{
	bool reached =
		w->hosts[sim_host_of(node)].up && !net_is_cut(w, sim_host_of(node), SIM_PLANE);
	const struct server *s = &w->nodes[node].server;

	return reached && s->alive && !s->stopped ? PROBE_ANSWERS : PROBE_SILENT;
}

/* Nobody may be ejected who is seen to live, unless the operator gives up what is lost by it. */
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
	struct change *ch = call_begin(w, CALL_EJECT, node);
	struct knowledge k;
	struct group_event ev = {};
	struct err e;
	bool again = false;

	if (ch == NULL) {
		return false;
	}
	know(w, &ch->next, &w->plane.groups[ch->slot].live, &k);
	enum probe_answer p =
		operate_needs_probe(&ch->next.g, &k.in) ? probe(w, node) : PROBE_NOT_MADE;

	if (!operate_eject(&ch->next.g, &k.in, w->nodes[node].id, p, accept_data_loss, &again, &ev,
			   &e)) {
		return refused(w, ch, "eject", &e);
	}
	if (again) {
		return true;
	}
	if (!accept_data_loss) {
		check_evidence(w, node);
	}
	return accepted(w, FOR_OPERATION, node,
			accept_data_loss ? "eject --accept-data-loss" : "eject", &ev);
}

bool plane_cancel(struct world *w, int node)
{
	struct change *ch = call_begin(w, CALL_CANCEL, node);
	struct knowledge k;
	struct group_event ev = {};
	struct err e;

	if (ch == NULL) {
		return false;
	}
	know(w, &ch->next, &w->plane.groups[ch->slot].live, &k);
	if (!operate_cancel(&ch->next.g, &k.in, &ev, &e)) {
		return refused(w, ch, "cancel", &e);
	}
	return accepted(w, FOR_OPERATION, node, "cancel", &ev);
}

bool plane_durability(struct world *w, int node, uint32_t n)
{
	struct change *ch = call_begin(w, CALL_DURABILITY, node);
	struct knowledge k;
	struct group_event ev = {};
	struct err e;
	char text[640];

	if (ch == NULL) {
		return false;
	}
	know(w, &ch->next, &w->plane.groups[ch->slot].live, &k);
	if (!operate_durability(&ch->next.g, &k.in, n, &ev, text, sizeof text, &e)) {
		return refused(w, ch, "durability", &e);
	}
	STORY(w, "operator: durability %u", n);
	return accepted(w, FOR_OPERATION, node, "durability of", &ev);
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
	struct change *ch = call_begin(w, CALL_DETACH, node);
	int to = store_free_slot(w);
	struct knowledge k;
	struct group_event ev = {};
	struct err e;

	if (ch == NULL) {
		return false;
	}
	know(w, &ch->next, &w->plane.groups[ch->slot].live, &k);
	if (!operate_detach(&ch->next.g, &k.in, w->nodes[node].id, sim_fresh_id(w),
			    w->group_names[to], &pair, &ev, &e)) {
		return refused(w, ch, "detach", &e);
	}
	take_pair(w, &pair, to);
	return accepted(w, FOR_DETACH, node, "detach", &ev);
}

bool plane_attach(struct world *w, int node, int to_node)
{
	static struct operate_pair pair;
	struct change *ch = call_begin(w, CALL_ATTACH, node);
	int to = plane_slot_of(w, to_node);
	struct knowledge k;
	struct group_event ev = {};
	struct err e;

	if (ch == NULL || to == SIM_NOBODY || to == ch->slot) {
		return false;
	}
	know(w, &ch->next, &w->plane.groups[ch->slot].live, &k);
	if (!operate_attach(&ch->next.g, &w->plane.groups[to].r.g, &k.in, w->nodes[node].id, &pair,
			    &ev, &e)) {
		return refused(w, ch, "attach", &e);
	}
	take_pair(w, &pair, to);
	w->result.joined++;
	return accepted(w, FOR_ATTACH, node, "attach", &ev);
}

bool plane_delete_group(struct world *w, int node)
{
	struct change *ch = call_begin(w, CALL_DELETE_GROUP, node);
	struct knowledge k;
	struct group_event ev = {};
	struct err e;

	if (ch == NULL) {
		return false;
	}
	know(w, &ch->next, &w->plane.groups[ch->slot].live, &k);
	if (!operate_delete_group(&ch->next.g, &k.in, &ev, &e)) {
		return refused(w, ch, "delete group", &e);
	}
	return accepted(w, FOR_DELETE, node, "delete the group of", &ev);
}
