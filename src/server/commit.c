/*
 * A group's record on its way to the store: memory shows the change when, and only when, it is
 * durable. One way at a time per group.
 */
#include <assert.h>

#include "base/crash.h"
#include "base/log.h"
#include "server/registry_impl.h"

struct commit {
	struct registry *r;
	struct entry *en;   /* NULL: a new group */
	struct group *next; /* packed; NULL: the record goes, or only events come */
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

static void show(struct commit *c, uint64_t revision)
{
	struct registry *r = c->r;
	const struct group *before = c->en == NULL ? NULL : c->en->g;

	c->next->revision = revision;
	crash_points(before, c->next);
	if (c->en == NULL) {
		c->en = entry_new(c->next);
		index_change(r, c->en, NULL, c->next);
		hosts_change(r, c->en, NULL, c->next);
	} else {
		index_change(r, c->en, before, c->next);
		hosts_change(r, c->en, before, c->next);
		entry_show(c->en, c->next);
	}
	c->next = NULL;
	r->last_shown = revision > r->last_shown ? revision : r->last_shown + 1;
	c->en->shown = r->last_shown;
}

static void remove_entry(struct commit *c)
{
	c->en->gone = true;
	hosts_change(c->r, c->en, c->en->g, NULL);
	index_change(c->r, c->en, c->en->g, NULL);
}

static void settled(void *arg, enum store_outcome outcome, uint64_t revision, const struct err *e)
{
	struct commit *c = arg;
	struct registry *r = c->r;

	if (c->en != NULL) {
		c->en->committing = false;
	}
	if (outcome == STORE_COMMITTED && c->next != NULL) {
		show(c, revision);
	} else if (outcome == STORE_COMMITTED && !c->only_events) {
		remove_entry(c);
	}
	free(c->next);
	c->done(c->arg, outcome, e);
	if (c->en != NULL) {
		struct entry *en = c->en;

		waiting_release(r, &en->idle, &en->idle_last);
		registry_notify(r, en);
		if (en->gone) {
			entry_free(en);
		}
	}
	free(c);
}

static struct commit *commit_new(struct registry *r, struct entry *en, registry_done_fn *done,
				 void *arg)
{
	struct commit *c = memory_alloc(1, sizeof *c);

	assert(en == NULL || (!en->committing && !en->gone));
	*c = (struct commit){ .r = r, .en = en, .done = done, .arg = arg };
	if (en != NULL) {
		en->committing = true;
	}
	return c;
}

void registry_commit(struct registry *r, struct entry *en, const struct group *next,
		     const struct group_event *events, size_t nevents, registry_done_fn *done,
		     void *arg)
{
	assert(en != NULL || next != NULL);
	struct commit *c = commit_new(r, en, done, arg);
	const struct group *about = next != NULL ? next : en->g;
	auto_str json = {};
	char key[RECORD_KEY_BYTES];

	record_key_group(about->id, key);
	if (next != NULL) {
		c->next = record_pack_group(next);
		record_write_group(next, &json);
	}
	write_start(r,
		    &(struct write_spec){
			    .key = key,
			    .value = next == NULL ? NULL : str_cstr(&json),
			    .len = json.len,
			    .expect = en == NULL ? STORE_ABSENT : STORE_REVISION,
			    .revision = en == NULL ? 0 : en->g->revision,
			    .about = about,
			    .events = events,
			    .nevents = nevents,
		    },
		    settled, c);
}

void registry_commit_events(struct registry *r, struct entry *en, const struct group_event *events,
			    size_t nevents, registry_done_fn *done, void *arg)
{
	struct commit *c = commit_new(r, en, done, arg);

	c->only_events = true;
	write_start(r, &(struct write_spec){ .about = en->g, .events = events, .nevents = nevents },
		    settled, c);
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
