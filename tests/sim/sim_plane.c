/*
 * The shell round group_step(): one commit under way at a time, steps only between commits, and
 * memory that follows the store. What is checked of a step is checked on what it was decided on.
 */
#include "sim_plane.h"

#include <assert.h>

#include "base/str.h"
#include "core/status.h"
#include "world.h"

enum { PUBLISH_MS = 1000, RETRY_FIRST_MS = 1000, RETRY_MOST_MS = 8000 };

static const struct server_settings settings = {
	.maxmemory_policy = "noeviction",
	.appendfsync = "everysec",
};

/* records */

static void record_copy(struct record *to, const struct record *from)
{
	to->there = from->there;
	to->g = from->g;
	memcpy(to->members, from->members, from->g.nmembers * sizeof from->members[0]);
	memcpy(to->history, from->history, from->g.nhistory * sizeof from->history[0]);
	to->g.members = to->members;
	to->g.history = to->history;
}

/* The number of a node is the last byte of its id. */
int record_node(const struct record *r, size_t i)
{
	return r->g.members[i].id.b[15];
}

const struct member *record_member(const struct record *r, int node)
{
	for (size_t i = 0; r->there && i < r->g.nmembers; i++) {
		if (record_node(r, i) == node) {
			return &r->g.members[i];
		}
	}
	return NULL;
}

static size_t member_index(const struct record *r, int node)
{
	const struct member *m = record_member(r, node);

	return m == NULL ? r->g.nmembers : (size_t)(m - r->g.members);
}

/* the store */

static int64_t commit_time(struct world *w)
{
	bool trouble = w->now_ms < w->store.trouble_until_ms;

	return trouble && sim_one_in(w, 3) ? sim_between(w, 50, 4000)
	       : sim_one_in(w, 20)         ? sim_between(w, 10, 400)
					   : sim_between(w, 1, 8);
}

static void commit_begin(struct world *w, enum purpose purpose, int about)
{
	struct commit *c = &w->plane.commit;
	bool trouble = w->now_ms < w->store.trouble_until_ms;
	bool unknown = trouble && sim_one_in(w, 3);

	assert(!c->under_way);
	c->under_way = true;
	c->applied = false;
	c->purpose = purpose;
	c->about = about;
	c->fails = trouble && sim_one_in(w, 2);
	c->apply_ms = w->now_ms + commit_time(w);
	/* An unknown outcome is read back before anything else is done. */
	c->answer_ms = c->apply_ms + (unknown ? sim_between(w, 100, 2500) : 1);
}

static void note_effects(struct world *w, const struct commit *c)
{
	w->ledger.changed = true;
	for (int i = 0; i < SIM_NODES; i++) {
		struct node *n = &w->nodes[i];
		bool member = record_member(&w->store.record, i) != NULL;

		n->forgotten = n->created && !member;
		n->created |= member;
	}
	if (c->purpose == FOR_DELETE) {
		ledger_forgive(w);
	} else if (c->purpose == FOR_ACCEPT) {
		ledger_accept_loss(w, c->about);
	}
}

/* The commit is durable from now on, whoever lives to hear of it. */
static void commit_apply(struct world *w)
{
	struct commit *c = &w->plane.commit;

	c->applied = true;
	w->store.commits++;
	if (c->events_only) {
		return;
	}
	record_copy(&w->store.record, &c->next);
	w->store.record.there = !c->drops;
	w->store.record.g.revision = w->store.commits;
	note_effects(w, c);
	for (size_t i = 0; w->telling && i < c->nevents; i++) {
		STORY(w, "plane: %s %s: %s %s", event_kind_name(c->events[i].kind),
		      id_is_zero(c->events[i].instance)
			      ? ""
			      : w->nodes[c->events[i].instance.b[15]].name,
		      c->events[i].reason, c->events[i].figures);
	}
}

static void show(struct plane *p, const struct record *r)
{
	record_copy(&p->shown, r);
}

static void keep_live(struct plane *p, const struct group_live *live,
		      const struct member_live *members)
{
	p->live = *live;
	memcpy(p->live_members, members, sizeof p->live_members);
	p->live.members = p->live_members;
}

/* Members that came by a call are behind the others; those that go took their live with them. */
static void commit_known(struct world *w)
{
	struct plane *p = &w->plane;
	struct commit *c = &p->commit;

	c->under_way = false;
	p->dirty = true;
	if (!c->applied) {
		int64_t wait = (int64_t)RETRY_FIRST_MS << (p->failures < 4 ? p->failures : 4);

		p->failures++;
		p->retry_ms = w->now_ms + (wait < RETRY_MOST_MS ? wait : RETRY_MOST_MS);
		STORY(w, "plane: a commit failed");
		return;
	}
	p->failures = 0;
	p->retry_ms = 0;
	if (c->purpose == FOR_STEP) {
		keep_live(p, &c->live, c->live_members);
	}
	if (!c->events_only) {
		show(p, &w->store.record);
		p->publish_ms = w->now_ms;
	}
}

static void commit_tick(struct world *w)
{
	struct commit *c = &w->plane.commit;

	if (c->under_way && !c->applied && !c->fails && w->now_ms >= c->apply_ms) {
		commit_apply(w);
	}
	if (c->under_way && w->now_ms >= c->answer_ms) {
		commit_known(w);
	}
}

/* steps */

static bool is_silent(const struct world *w, int host)
{
	const struct plane *p = &w->plane;
	int64_t since = p->heard_ms[host] != 0 ? p->heard_ms[host] : p->started_ms;

	return w->now_ms - since > SIM_SILENT_AFTER_MS;
}

static void check_step(struct world *w, const struct commit *c)
{
	for (size_t i = 0; i < c->next.g.nmembers; i++) {
		if (w->plane.live_members[i].sample_watch == 0 &&
		    c->live_members[i].sample_watch != 0) {
			check_link_seen(w, record_node(&c->next, i));
		}
	}
}

static void check_events(struct world *w, const struct commit *c)
{
	for (size_t i = 0; i < c->nevents; i++) {
		int node = c->events[i].instance.b[15];

		if (c->events[i].kind == EVENT_INSTANCE_ATTACHED) {
			check_attached(w, node, &w->plane.seen[node]);
		}
		w->result.attached += c->events[i].kind == EVENT_INSTANCE_ATTACHED;
		w->result.confirmed += c->events[i].kind == EVENT_SOURCE_CONFIRMED;
		w->result.held += c->events[i].kind == EVENT_SOURCE_HELD;
	}
}

/* The link is seen at the observation that shows it, before a step may count on it. */
static void run_step(struct world *w, struct group_out *out)
{
	struct plane *p = &w->plane;
	struct commit *c = &p->commit;
	const struct observation *obs[SIM_NODES + 1];
	bool silent[SIM_NODES + 1];

	record_copy(&c->next, &p->shown);
	c->live = p->live;
	memcpy(c->live_members, p->live_members, sizeof c->live_members);
	c->live.members = c->live_members;
	for (size_t i = 0; i < c->next.g.nmembers; i++) {
		int node = record_node(&c->next, i);

		obs[i] = p->has[node] ? &p->seen[node].o : NULL;
		silent[i] = is_silent(w, sim_host_of(node));
	}
	group_step(&c->next.g, &c->live,
		   &(struct group_in){
			   .obs = obs,
			   .silent = silent,
			   .now_ms = w->now_ms,
			   .wall_ms = w->now_ms,
			   .fresh_watch = p->next_watch,
			   .fresh_id = sim_fresh_id(w),
			   .start_limit_ms = SIM_START_LIMIT_MS,
			   .sync_stall_limit_ms = SIM_STALL_LIMIT_MS,
			   .compare_limit_ms = SIM_COMPARE_LIMIT_MS,
		   },
		   out);
	p->next_watch += c->live.watch == p->next_watch;
}

static void step(struct world *w)
{
	struct plane *p = &w->plane;
	struct commit *c = &p->commit;
	struct group_out out;

	run_step(w, &out);
	c->nevents = out.nevents;
	memcpy(c->events, out.events, out.nevents * sizeof out.events[0]);
	if (c->next.g.nmembers == p->shown.g.nmembers) {
		check_step(w, c);
	}
	check_events(w, c);
	if (out.changed || out.nevents > 0) {
		c->events_only = !out.changed;
		c->drops = out.gone;
		commit_begin(w, FOR_STEP, 0);
		return;
	}
	if (c->live.watch != p->live.watch || c->live.watch_all != p->live.watch_all) {
		p->publish_ms = w->now_ms;
	}
	keep_live(p, &c->live, c->live_members);
	p->wake_ms = out.wake_ms != 0 ? out.wake_ms : SIM_NEVER;
}

static void publish(struct world *w)
{
	struct plane *p = &w->plane;

	p->publish_ms = w->now_ms + PUBLISH_MS;
	for (size_t i = 0; i < p->shown.g.nmembers; i++) {
		int node = record_node(&p->shown, i);
		struct message m;

		m.used = true;
		m.kind = MESSAGE_GOAL;
		m.host = sim_host_of(node);
		m.node = node;
		m.session = w->hosts[m.host].agent.session; /* the request it answers */
		m.order.goal =
			goal_of(&p->shown.g, &p->shown.members[i], w->installation, &settings);
		m.order.watch = p->live.watch;
		m.order.stream = p->live.watch_all;
		net_send(w, &m);
	}
}

static bool step_is_due(const struct world *w)
{
	const struct plane *p = &w->plane;

	return p->shown.there && !p->commit.under_way && w->now_ms >= p->retry_ms &&
	       (p->dirty || w->now_ms >= p->wake_ms);
}

void plane_tick(struct world *w)
{
	struct plane *p = &w->plane;

	if (!p->up) {
		if (w->now_ms < p->up_ms) {
			return;
		}
		plane_start(w);
	}
	commit_tick(w);
	while (step_is_due(w)) {
		p->dirty = false;
		step(w);
	}
	if (p->shown.there && w->now_ms >= p->publish_ms) {
		publish(w);
	}
}

int64_t plane_wake(const struct world *w)
{
	const struct plane *p = &w->plane;
	const struct commit *c = &p->commit;
	int64_t wake = p->publish_ms;

	if (!p->up) {
		return p->up_ms;
	}
	if (c->under_way) {
		int64_t at = c->applied || c->fails ? c->answer_ms : c->apply_ms;

		return at < wake ? at : wake;
	}
	int64_t due = p->dirty ? p->retry_ms : p->wake_ms > p->retry_ms ? p->wake_ms : p->retry_ms;

	return due < wake ? due : wake;
}

/* what agents tell */

static bool is_old(struct plane *p, int host, int node, uint64_t session, uint64_t seq)
{
	if (session < p->session[host]) {
		return true; /* it was long on its way: the agent has started anew */
	}
	if (session > p->session[host]) {
		p->session[host] = session;
		for (int i = host; i < SIM_NODES; i += SIM_HOSTS) {
			p->has[i] = false;
			p->node_seq[i] = 0;
		}
	}
	return node != SIM_NOBODY && seq <= p->node_seq[node];
}

void plane_take_report(struct world *w, int host, int node, uint64_t session, uint64_t seq,
		       const struct seen *seen)
{
	struct plane *p = &w->plane;

	if (!p->up || is_old(p, host, node, session, seq)) {
		return;
	}
	p->heard_ms[host] = w->now_ms;
	p->dirty = true;
	if (node != SIM_NOBODY) {
		p->node_seq[node] = seq;
		p->has[node] = true;
		p->seen[node] = *seen;
	}
}

/* beginnings and ends */

void plane_start(struct world *w)
{
	struct plane *p = &w->plane;

	memset(p, 0, sizeof *p);
	p->up = true;
	p->run = ++w->fresh;
	p->started_ms = w->now_ms;
	p->next_watch = (uint64_t)sim_between(w, 1, INT32_MAX) << 32 | 1; /* watch_answers() */
	p->live.members = p->live_members;
	p->dirty = true;
	p->wake_ms = SIM_NEVER;
	p->publish_ms = w->now_ms;
	show(p, &w->store.record);
	STORY(w, "plane: starts, record at epoch %" PRIu64 " revision %" PRIu64, p->shown.g.epoch,
	      p->shown.g.revision);
}

void plane_die(struct world *w)
{
	struct commit *c = &w->plane.commit;

	if (c->under_way && !c->applied && !c->fails && sim_one_in(w, 2)) {
		commit_apply(w); /* it was on its way to the disk */
	}
	c->under_way = false;
	w->plane.up = false;
}

/* the operator's calls */

static bool may_call(const struct world *w)
{
	return w->plane.up && !w->plane.commit.under_way && w->now_ms >= w->plane.retry_ms;
}

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
		if (!w->nodes[i].created && record_member(&w->plane.shown, i) == NULL) {
			return i;
		}
	}
	return SIM_NOBODY;
}

static struct record *call_begin(struct world *w)
{
	struct commit *c = &w->plane.commit;

	record_copy(&c->next, &w->plane.shown);
	c->events_only = c->drops = false;
	c->nevents = 0;
	return &c->next;
}

bool plane_create_group(struct world *w)
{
	if (!may_call(w) || w->plane.shown.there || w->store.commits > 0) {
		return false;
	}
	struct record *r = call_begin(w);

	r->there = true;
	r->g = (struct group){
		.id = w->group,
		.project = "p",
		.name = "g",
		.epoch = 1,
		.source = w->nodes[0].id,
		.op = { .id = sim_fresh_id(w),
			.kind = OP_CREATE,
			.phase = PHASE_CREATE_START,
			.target = w->nodes[0].id },
		.members = r->members,
		.nmembers = 1,
		.history = r->history,
	};
	r->members[0] = new_member(w, 0);
	commit_begin(w, FOR_CREATE, 0);
	STORY(w, "operator: create %s", w->nodes[0].name);
	return true;
}

bool plane_create_replica(struct world *w)
{
	int node = unused_node(w);
	struct err e;

	if (!may_call(w) || !w->plane.shown.there || node == SIM_NOBODY) {
		return false;
	}
	const struct member *source = group_source(&w->plane.shown.g);

	if (source == NULL || !status_allows(CALL_CREATE_REPLICA, &w->plane.shown.g, source, &e)) {
		return false;
	}
	struct record *r = call_begin(w);

	r->members[r->g.nmembers++] = new_member(w, node);
	commit_begin(w, FOR_REPLICA, node);
	STORY(w, "operator: create replica %s", w->nodes[node].name);
	return true;
}

bool plane_delete(struct world *w, int node)
{
	const struct member *m = record_member(&w->plane.shown, node);
	struct err e;

	if (!may_call(w) || m == NULL || m->state == MEMBER_DELETING ||
	    !status_allows(CALL_DELETE, &w->plane.shown.g, m, &e)) {
		return false;
	}
	struct record *r = call_begin(w);

	r->members[member_index(r, node)].state = MEMBER_DELETING;
	commit_begin(w, FOR_DELETE, node);
	STORY(w, "operator: delete %s", w->nodes[node].name);
	return true;
}

bool plane_accept_loss(struct world *w, int node)
{
	const struct record *shown = &w->plane.shown;
	const struct member *m = record_member(shown, node);
	const struct observation *o = &w->plane.seen[node].o;
	struct err e;

	if (!may_call(w) || m == NULL || m->fault.kind != FAULT_GUARD || !w->plane.has[node] ||
	    is_silent(w, sim_host_of(node)) || !replid_known(&o->run_id) ||
	    !status_allows(CALL_START, &shown->g, m, &e) ||
	    (shown->g.op.kind == OP_RESTART && !replid_eq(&shown->g.op.run, &o->run_id))) {
		return false;
	}
	struct record *r = call_begin(w);

	r->members[member_index(r, node)].accepted_run = o->run_id;
	commit_begin(w, FOR_ACCEPT, node);
	w->result.accepted++;
	STORY(w, "operator: start %s --accept-data-loss", w->nodes[node].name);
	return true;
}
