/*
 * The shell round group_step(): one commit under way at a time, steps only between commits, and
 * memory that follows the store. What is checked of a step is checked on what it was decided on.
 */
#include "sim_plane.h"

#include "base/str.h"
#include "world.h"

enum { PUBLISH_MS = 1000 };

static const struct server_settings settings = {
	.maxmemory_policy = "noeviction",
	.appendfsync = "everysec",
};

/* steps */

bool plane_is_silent(const struct world *w, int host)
{
	const struct plane *p = &w->plane;
	int64_t since = p->heard_ms[host] != 0 ? p->heard_ms[host] : p->started_ms;

	return w->now_ms - since > SIM_SILENT_AFTER_MS;
}

static void check_step(struct world *w, const struct shown *s, const struct commit *c)
{
	const struct record *next = &c->changes[0].next;

	for (size_t i = 0; i < next->g.nmembers; i++) {
		if (s->live_members[i].sample_watch == 0 && c->live_members[i].sample_watch != 0) {
			check_link_seen(w, record_node(next, i));
		}
	}
}

static void check_events(struct world *w, const struct commit *c)
{
	struct sim_result *r = &w->result;

	for (size_t i = 0; i < c->nevents; i++) {
		int node = c->events[i].instance.b[15];
		enum event_kind kind = c->events[i].kind;

		if (kind == EVENT_INSTANCE_ATTACHED) {
			check_attached(w, node, &w->plane.seen[node]);
		}
		r->attached += kind == EVENT_INSTANCE_ATTACHED;
		r->confirmed += kind == EVENT_SOURCE_CONFIRMED;
		r->held += kind == EVENT_SOURCE_HELD;
		r->handovers += kind == EVENT_HANDOVER_DONE;
		r->undone += kind == EVENT_HANDOVER_UNDONE;
		r->ejects += kind == EVENT_EJECT_DONE;
		r->ejects_held += kind == EVENT_EJECT_HELD;
	}
}

static void run_step(struct world *w, int slot, struct group_out *out)
{
	struct plane *p = &w->plane;
	struct shown *s = &p->groups[slot];
	struct commit *c = &p->commit;
	struct record *next = &c->changes[0].next;
	const struct observation *obs[SIM_NODES + 1];
	bool silent[SIM_NODES + 1];

	record_copy(next, &s->r);
	c->live = s->live;
	memcpy(c->live_members, s->live_members, sizeof c->live_members);
	c->live.members = c->live_members;
	for (size_t i = 0; i < next->g.nmembers; i++) {
		int node = record_node(next, i);

		obs[i] = p->has[node] ? &p->seen[node].o : NULL;
		silent[i] = plane_is_silent(w, sim_host_of(node));
	}
	group_step(&next->g, &c->live,
		   &(struct group_in){
			   .obs = obs,
			   .silent = silent,
			   .now_ms = w->now_ms,
			   .wall_ms = w->now_ms,
			   .fresh_watch = p->next_watch,
			   .fresh_id = sim_fresh_id(w),
			   .fresh_group = sim_fresh_id(w),
			   .fresh_name = w->group_names[store_free_slot(w)],
			   .start_limit_ms = SIM_START_LIMIT_MS,
			   .sync_stall_limit_ms = SIM_STALL_LIMIT_MS,
			   .compare_limit_ms = SIM_COMPARE_LIMIT_MS,
			   .stage_limit_ms = SIM_STAGE_LIMIT_MS,
			   .catch_up_limit_ms = SIM_CATCH_UP_LIMIT_MS,
			   .handover_limit_ms = SIM_HANDOVER_LIMIT_MS,
			   .tidy_limit_ms = SIM_TIDY_LIMIT_MS,
			   .drain_limit_ms = SIM_DRAIN_LIMIT_MS,
			   .seal_limit_ms = SIM_SEAL_LIMIT_MS,
		   },
		   out);
	p->next_watch += c->live.watch == p->next_watch;
}

static void keep_outcome(struct record *r)
{
	if (r->g.last.reason != NULL && r->g.last.reason != r->reason) {
		str_copy(r->reason, sizeof r->reason, r->g.last.reason);
		r->g.last.reason = r->reason;
	}
}

/* The group that a member left for, in the same transaction. */
static void add_split(struct world *w, const struct group_out *out)
{
	struct commit *c = &w->plane.commit;
	struct change *ch = &c->changes[c->nchanges++];
	struct record *r = &ch->next;

	*ch = (struct change){ .slot = store_free_slot(w) };
	r->there = true;
	r->g = out->split;
	memcpy(r->members, out->split.members, out->split.nmembers * sizeof r->members[0]);
	memcpy(r->history, out->split.history, out->split.nhistory * sizeof r->history[0]);
	r->g.members = r->members;
	r->g.history = r->history;
	keep_outcome(r);
}

static bool same_live(const struct group_live *a, const struct group_live *b)
{
	return a->watch == b->watch && a->watch_all == b->watch_all && a->urgent == b->urgent &&
	       a->peer_offset == b->peer_offset;
}

/* More may be told before the commit is done. */
static void keep_seen(struct world *w)
{
	const struct plane *p = &w->plane;
	struct commit *c = &w->plane.commit;

	for (int i = 0; i < SIM_NODES; i++) {
		c->decided_on[i] = p->seen[i].o;
		c->heard[i] = p->has[i] && !plane_is_silent(w, sim_host_of(i));
	}
}

static void step_commits(struct world *w, int slot, const struct group_out *out)
{
	struct commit *c = &w->plane.commit;

	keep_seen(w);
	c->events_only = !out->changed;
	c->changes[0].slot = slot;
	c->changes[0].drops = out->gone;
	c->nchanges = 1;
	keep_outcome(&c->changes[0].next);
	if (out->has_split) {
		add_split(w, out);
	}
	commit_begin(w, FOR_STEP, 0);
}

static void step(struct world *w, int slot)
{
	struct plane *p = &w->plane;
	struct shown *s = &p->groups[slot];
	struct commit *c = &p->commit;
	struct group_out out;

	run_step(w, slot, &out);
	c->nevents = out.nevents;
	memcpy(c->events, out.events, out.nevents * sizeof out.events[0]);
	if (c->changes[0].next.g.nmembers == s->r.g.nmembers) {
		check_step(w, s, c);
	}
	check_events(w, c);
	if (out.changed || out.nevents > 0) {
		step_commits(w, slot, &out);
		return;
	}
	if (!same_live(&c->live, &s->live)) {
		s->publish_ms = w->now_ms;
	}
	memcpy(s->live_members, c->live_members, sizeof s->live_members);
	s->live = c->live;
	s->live.members = s->live_members;
	s->wake_ms = out.wake_ms != 0 ? out.wake_ms : SIM_NEVER;
}

/* publishing */

static void publish(struct world *w, struct shown *s)
{
	s->publish_ms = w->now_ms + PUBLISH_MS;
	for (size_t i = 0; i < s->r.g.nmembers; i++) {
		const struct member *member = &s->r.g.members[i];
		struct message m = { .used = true, .kind = MESSAGE_GOAL };

		m.node = record_node(&s->r, i);
		m.host = sim_host_of(m.node);
		m.session = w->hosts[m.host].agent.session; /* the request it answers */
		m.order.goal = goal_of(&s->r.g, member, w->installation, &settings);
		m.order.live = group_live_of(&s->r.g, &s->live, member);
		net_send(w, &m);
	}
}

uint64_t plane_epoch_of(const struct world *w, int node)
{
	int slot = plane_slot_of(w, node);

	return w->plane.up && slot != SIM_NOBODY ? w->plane.groups[slot].r.g.epoch : 0;
}

static bool step_is_due(const struct world *w, int slot)
{
	const struct plane *p = &w->plane;
	const struct shown *s = &p->groups[slot];

	return s->r.there && !p->commit.under_way && w->now_ms >= p->retry_ms &&
	       (s->dirty || w->now_ms >= s->wake_ms);
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
	for (int slot = 0; slot < SIM_GROUPS; slot++) {
		struct shown *s = &p->groups[slot];

		while (step_is_due(w, slot)) {
			s->dirty = false;
			step(w, slot);
		}
		if (s->r.there && w->now_ms >= s->publish_ms) {
			publish(w, s);
		}
	}
}

int64_t plane_wake(const struct world *w)
{
	const struct plane *p = &w->plane;
	const struct commit *c = &p->commit;
	int64_t wake = SIM_NEVER;

	if (!p->up) {
		return p->up_ms;
	}
	if (c->under_way) {
		wake = c->applied || c->fails ? c->answer_ms : c->apply_ms;
	}
	for (int slot = 0; slot < SIM_GROUPS; slot++) {
		const struct shown *s = &p->groups[slot];
		int64_t due = s->dirty                   ? p->retry_ms
			      : s->wake_ms > p->retry_ms ? s->wake_ms
							 : p->retry_ms;

		if (!s->r.there) {
			continue;
		}
		due = c->under_way || s->publish_ms < due ? s->publish_ms : due;
		wake = due < wake ? due : wake;
	}
	return wake;
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
	for (int slot = 0; slot < SIM_GROUPS; slot++) {
		p->groups[slot].dirty = true;
	}
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
	for (int slot = 0; slot < SIM_GROUPS; slot++) {
		struct shown *s = &p->groups[slot];

		s->live.members = s->live_members;
		s->dirty = true;
		s->wake_ms = SIM_NEVER;
		s->publish_ms = w->now_ms;
		record_copy(&s->r, &w->store.records[slot]);
	}
	STORY(w, "plane: starts");
}

void plane_die(struct world *w)
{
	commit_orphan(w);
	w->plane.up = false;
}
