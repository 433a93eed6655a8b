/*
 * Records and commits. A commit reaches the store at one moment and is known at a later one; in
 * between the control plane may die, or wait to read it back. What is checked of a change is
 * checked at the first of the two.
 */
#include <assert.h>

#include "world.h"

enum { RETRY_FIRST_MS = 1000, RETRY_MOST_MS = 8000 };

void record_copy(struct record *to, const struct record *from)
{
	to->there = from->there;
	to->serial = from->serial;
	to->g = from->g;
	memcpy(to->members, from->members, from->g.nmembers * sizeof from->members[0]);
	memcpy(to->history, from->history, from->g.nhistory * sizeof from->history[0]);
	to->g.members = to->members;
	to->g.history = to->history;
	if (from->g.last.reason != NULL) {
		memcpy(to->reason, from->reason, sizeof to->reason);
		to->g.last.reason = to->reason;
	}
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

int store_slot_of(const struct world *w, int node)
{
	for (int s = 0; s < SIM_GROUPS; s++) {
		if (record_member(&w->store.records[s], node) != NULL) {
			return s;
		}
	}
	return SIM_NOBODY;
}

int plane_slot_of(const struct world *w, int node)
{
	for (int s = 0; s < SIM_GROUPS; s++) {
		if (record_member(&w->plane.groups[s].r, node) != NULL) {
			return s;
		}
	}
	return SIM_NOBODY;
}

int store_free_slot(const struct world *w)
{
	int s = 0;

	while (w->store.records[s].there || w->plane.groups[s].r.there) {
		s++;
	}
	assert(s < SIM_GROUPS);
	return s;
}

/* commits */

static int64_t commit_time(struct world *w)
{
	bool trouble = w->now_ms < w->store.trouble_until_ms;

	return trouble && sim_one_in(w, 3) ? sim_between(w, 50, 4000)
	       : sim_one_in(w, 20)         ? sim_between(w, 10, 400)
					   : sim_between(w, 1, 8);
}

void commit_begin(struct world *w, enum purpose purpose, int about)
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

static void note_members(struct world *w)
{
	for (int i = 0; i < SIM_NODES; i++) {
		struct node *n = &w->nodes[i];
		bool member = store_slot_of(w, i) != SIM_NOBODY;

		n->forgotten = n->created && !member;
		n->created |= member;
	}
	check_members(w);
}

static void tell_events(struct world *w, const struct commit *c)
{
	for (size_t i = 0; w->telling && i < c->nevents; i++) {
		const struct group_event *ev = &c->events[i];
		const char *name =
			id_is_zero(ev->instance) ? "" : w->nodes[ev->instance.b[15]].name;

		STORY(w, "plane: %s %s: %s %s", event_kind_name(ev->kind), name, ev->reason,
		      ev->figures);
	}
}

static void apply_change(struct world *w, const struct change *ch)
{
	struct record *r = &w->store.records[ch->slot];
	struct record before;

	record_copy(&before, r);
	record_copy(r, &ch->next);
	r->there = !ch->drops;
	r->g.revision = w->store.commits;
	if (!before.there) {
		r->serial = ++w->store.serials;
		w->ledger.must[ch->slot] = (struct data){};
		w->ledger.ops[ch->slot] = (struct op_ledger){};
	}
	check_change(w, ch->slot, &before);
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
	tell_events(w, c);
	for (size_t i = 0; i < c->nchanges; i++) {
		apply_change(w, &c->changes[i]);
	}
	note_members(w);
	w->ledger.changed = true;
	if (c->purpose == FOR_ACCEPT) {
		ledger_accept_loss(w, c->about);
	} else if (c->purpose != FOR_STEP) {
		ledger_forgive(w); /* who is deleted or detached takes along what it alone has */
	}
}

/* What is remembered of a member goes with it, wherever it stands in the record now. */
static void move_live(struct shown *s, const struct record *now)
{
	struct member_live moved[SIM_NODES + 1] = {};

	for (size_t i = 0; i < now->g.nmembers; i++) {
		for (size_t k = 0; k < s->r.g.nmembers; k++) {
			if (id_eq(now->members[i].id, s->r.members[k].id)) {
				moved[i] = s->live_members[k];
			}
		}
	}
	memcpy(s->live_members, moved, sizeof moved);
}

static void show(struct world *w, const struct change *ch)
{
	struct shown *s = &w->plane.groups[ch->slot];
	const struct record *r = &w->store.records[ch->slot];

	if (!s->r.there) {
		*s = (struct shown){ .wake_ms = SIM_NEVER };
		s->live.members = s->live_members;
	} else if (w->plane.commit.purpose != FOR_STEP) {
		move_live(s, r);
	}
	record_copy(&s->r, r);
	s->publish_ms = w->now_ms;
	s->dirty = true;
}

/* Members that came by a call are behind the others; those that go took their live with them. */
static void commit_done(struct world *w)
{
	struct plane *p = &w->plane;
	struct commit *c = &p->commit;
	struct shown *first = &p->groups[c->changes[0].slot];

	p->failures = 0;
	p->retry_ms = 0;
	if (c->purpose == FOR_STEP) {
		memcpy(first->live_members, c->live_members, sizeof first->live_members);
		first->live = c->live;
		first->live.members = first->live_members;
	}
	first->dirty = true;
	for (size_t i = 0; !c->events_only && i < c->nchanges; i++) {
		show(w, &c->changes[i]);
	}
}

static void commit_failed(struct world *w)
{
	struct plane *p = &w->plane;
	int64_t wait = (int64_t)RETRY_FIRST_MS << (p->failures < 4 ? p->failures : 4);

	p->failures++;
	p->retry_ms = w->now_ms + (wait < RETRY_MOST_MS ? wait : RETRY_MOST_MS);
	STORY(w, "plane: a commit failed");
}

void commit_tick(struct world *w)
{
	struct commit *c = &w->plane.commit;

	if (c->under_way && !c->applied && !c->fails && w->now_ms >= c->apply_ms) {
		commit_apply(w);
	}
	if (!c->under_way || w->now_ms < c->answer_ms) {
		return;
	}
	c->under_way = false;
	for (int s = 0; s < SIM_GROUPS; s++) {
		w->plane.groups[s].dirty = true; /* others waited for their turn */
	}
	if (c->applied) {
		commit_done(w);
	} else {
		commit_failed(w);
	}
}

void commit_orphan(struct world *w)
{
	struct commit *c = &w->plane.commit;

	if (c->under_way && !c->applied && !c->fails && sim_one_in(w, 2)) {
		commit_apply(w); /* it was on its way to the disk */
	}
	c->under_way = false;
}
