/*
 * Records on their way to the store, one group's or two: memory shows the change when, and only
 * when, it is durable. One way at a time per group.
 *
 * Two records go together when a member moves from one group to another: at every moment it is in
 * exactly one of them, with its address, its part of the quota and what was seen of it.
 */
#include <assert.h>

#include "base/crash.h"
#include "base/log.h"
#include "server/registry_impl.h"

enum { PARTS_MAX = 2 };

struct part {
	struct entry *en;   /* NULL: a new group */
	struct group *next; /* packed; NULL: the record goes, or only events come */
};

struct commit {
	LIST_ENTRY(commit) others;
	struct registry *r;
	struct part parts[PARTS_MAX];
	size_t nparts;
	bool only_events;
	registry_done_fn *done;
	void *arg;
};

/* Where a test kills us: right behind the commit that entered a phase or state. */
static void crash_in_phase(enum op_phase p)
{
	if (p != PHASE_NONE) {
		crash_point("phase", op_phase_name(p), "entered");
	}
}

static void crash_in_state(enum member_state s)
{
	crash_point("member", member_state_name(s), "entered");
}

void registry_crash_points(void)
{
	for (int p = 0; p < PHASE_COUNT; p++) {
		crash_in_phase((enum op_phase)p);
	}
	for (int s = 0; s < MEMBER_STATE_COUNT; s++) {
		crash_in_state((enum member_state)s);
	}
}

static void crash_points(const struct group *before, const struct group *now)
{
	enum op_phase was = before == NULL ? PHASE_NONE : before->op.phase;

	if (now->op.phase != was) {
		crash_in_phase(now->op.phase);
	}
	for (size_t i = 0; i < now->nmembers; i++) {
		const struct member *m = &now->members[i];
		size_t old = before == NULL ? SIZE_MAX : index_member(before, m->id);

		if (old == SIZE_MAX || before->members[old].state != m->state) {
			crash_in_state(m->state);
		}
	}
}

/* ---- memory ---- */

static const struct group *before_of(const struct part *p)
{
	return p->en == NULL || p->en->g == p->next ? NULL : p->en->g;
}

/* Does a member leave one for the other? */
static bool gives(const struct part *from, const struct part *to)
{
	const struct group *before = before_of(from);

	for (size_t i = 0; before != NULL && to->next != NULL && i < before->nmembers; i++) {
		struct id id = before->members[i].id;
		bool stays = from->next != NULL && index_member(from->next, id) != SIZE_MAX;

		if (!stays && index_member(to->next, id) != SIZE_MAX) {
			return true;
		}
	}
	return false;
}

static void count_end_of_operation(struct registry *r, const struct group *before,
				   const struct group *now)
{
	const struct op_outcome *last = &now->last;

	if (before != NULL && !id_is_zero(last->op) && !id_eq(before->last.op, last->op)) {
		r->op_ends[last->kind][last->done]++;
	}
}

/* Who is where: the indexes and the hosts' addresses. */
static void place(struct registry *r, struct part *p)
{
	const struct group *before = before_of(p);

	index_change(r, p->en, before, p->next);
	hosts_change(r, p->en, before, p->next);
}

static void show_one(struct registry *r, struct part *p, uint64_t revision)
{
	p->next->revision = revision;
	count_end_of_operation(r, before_of(p), p->next);
	if (p->en->g != p->next) {
		entry_show(p->en, p->next);
	}
	p->next = NULL;
	r->last_shown = revision > r->last_shown ? revision : r->last_shown + 1;
	p->en->shown = r->last_shown;
}

/*
 * A member that moves is taken out of its old group before it is put into its new one, and what
 * was seen of it out of the old one before that forgets it. Nobody looks in between.
 */
static void show(struct commit *c, uint64_t revision)
{
	struct registry *r = c->r;
	bool turned = c->nparts == 2 && gives(&c->parts[1], &c->parts[0]);
	struct part *order[PARTS_MAX] = { &c->parts[turned], &c->parts[!turned] };

	for (size_t i = 0; i < c->nparts; i++) {
		if (c->parts[i].next != NULL) {
			crash_points(before_of(&c->parts[i]), c->parts[i].next);
		}
	}
	for (size_t i = 0; i < c->nparts; i++) {
		if (order[i]->en == NULL) {
			order[i]->en = entry_new(order[i]->next);
		}
		place(r, order[i]);
	}
	for (size_t i = c->nparts; i > 0; i--) {
		struct part *p = order[i - 1];

		if (p->next == NULL) {
			p->en->gone = true;
			continue;
		}
		show_one(r, p, revision);
		if (i == 2) {
			entry_carry(order[0]->en, p->en);
		}
	}
}

/* ---- the way to the store and back ---- */

static void settled(void *arg, enum store_outcome outcome, uint64_t revision, const struct err *e)
{
	struct commit *c = arg;
	struct registry *r = c->r;

	LIST_REMOVE(c, others);
	for (size_t i = 0; i < c->nparts; i++) {
		if (c->parts[i].en != NULL) {
			c->parts[i].en->committing = false;
		}
	}
	if (outcome == STORE_COMMITTED && !c->only_events) {
		show(c, revision);
	}
	for (size_t i = 0; i < c->nparts; i++) {
		free(c->parts[i].next);
	}
	c->done(c->arg, outcome, e);
	for (size_t i = 0; i < c->nparts; i++) {
		struct entry *en = c->parts[i].en;

		if (en == NULL) {
			continue;
		}
		waiting_release(r, &en->idle, &en->idle_last);
		registry_notify(r, en);
		if (en->gone) {
			entry_free(en);
		}
	}
	free(c);
}

static struct commit *commit_new(struct registry *r, registry_done_fn *done, void *arg)
{
	struct commit *c = memory_alloc(1, sizeof *c);

	*c = (struct commit){ .r = r, .done = done, .arg = arg };
	LIST_INSERT_HEAD(&r->commits, c, others);
	return c;
}

static struct part *add_part(struct commit *c, struct entry *en)
{
	struct part *p = &c->parts[c->nparts++];

	assert(en == NULL || (!en->committing && !en->gone));
	p->en = en;
	if (en != NULL) {
		en->committing = true;
	}
	return p;
}

/* A record's text and key, until the store has copied them. */
struct draft {
	char key[RECORD_KEY_BYTES];
	struct str json;
};

static struct write_record draft_record(struct draft *d, const struct registry_change *x)
{
	record_key_group(x->next != NULL ? x->next->id : x->en->g->id, d->key);
	if (x->next != NULL) {
		record_write_group(x->next, &d->json);
	}
	return (struct write_record){
		.key = d->key,
		.value = x->next == NULL ? NULL : str_cstr(&d->json),
		.len = d->json.len,
		.expect = x->en == NULL ? STORE_ABSENT : STORE_REVISION,
		.revision = x->en == NULL ? 0 : x->en->g->revision,
	};
}

static void commit_changes(struct registry *r, const struct registry_change *changes, size_t n,
			   const struct group_event *events, size_t nevents, registry_done_fn *done,
			   void *arg)
{
	struct commit *c = commit_new(r, done, arg);
	struct write_record records[PARTS_MAX];
	struct draft drafts[PARTS_MAX] = {};

	for (size_t i = 0; i < n; i++) {
		const struct registry_change *x = &changes[i];

		assert(x->en != NULL || x->next != NULL);
		records[i] = draft_record(&drafts[i], x);
		struct part *p = add_part(c, x->en);
		p->next = x->next == NULL ? NULL : record_pack_group(x->next);
	}
	write_start(r,
		    &(struct write_spec){
			    .records = records,
			    .nrecords = n,
			    .about = changes[0].next != NULL ? changes[0].next : changes[0].en->g,
			    .events = events,
			    .nevents = nevents,
		    },
		    settled, c);
	for (size_t i = 0; i < n; i++) {
		str_done(&drafts[i].json);
	}
}

void registry_commit(struct registry *r, struct entry *en, const struct group *next,
		     const struct group_event *events, size_t nevents, registry_done_fn *done,
		     void *arg)
{
	commit_changes(r, &(struct registry_change){ en, next }, 1, events, nevents, done, arg);
}

void registry_commit_pair(struct registry *r, const struct registry_change changes[2],
			  const struct group_event *events, size_t nevents, registry_done_fn *done,
			  void *arg)
{
	commit_changes(r, changes, 2, events, nevents, done, arg);
}

void registry_commit_events(struct registry *r, struct entry *en, const struct group_event *events,
			    size_t nevents, registry_done_fn *done, void *arg)
{
	struct commit *c = commit_new(r, done, arg);

	add_part(c, en);
	c->only_events = true;
	write_start(r, &(struct write_spec){ .about = en->g, .events = events, .nevents = nevents },
		    settled, c);
}

bool commit_gives_name(const struct registry *r, const char *project, const char *name)
{
	const struct commit *c;

	LIST_FOREACH(c, &r->commits, others)
	{
		for (size_t i = 0; i < c->nparts; i++) {
			const struct part *p = &c->parts[i];

			if (p->en == NULL && str_eq(p->next->name, name) &&
			    str_eq(p->next->project, project)) {
				return true;
			}
		}
	}
	return false;
}

static void nobody_waits(void *, enum store_outcome outcome, uint64_t, const struct err *e)
{
	if (outcome != STORE_COMMITTED) {
		LOG(LOG_WARN, "event.lost", KV("why", e->msg));
	}
}

void registry_event(struct registry *r, const struct group_event *event)
{
	write_start(r, &(struct write_spec){ .events = event, .nevents = 1 }, nobody_waits, NULL);
}
