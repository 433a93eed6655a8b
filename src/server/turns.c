/*
 * Who waits for whom: changes of one project run one after another, and what must not meet a
 * group's commit waits until it has ended. Both are lists of callbacks in order of arrival.
 */
#include <assert.h>

#include "server/registry_impl.h"

void waiting_add(struct waiting **first, struct waiting ***last, loop_fn *fn, void *arg)
{
	struct waiting *w = memory_alloc(1, sizeof *w);

	*w = (struct waiting){ .fn = fn, .arg = arg };
	if (*first == NULL) {
		*last = first;
	}
	**last = w;
	*last = &w->next;
}

static void release_first(struct registry *r, struct waiting **first, struct waiting ***last)
{
	struct waiting *w = *first;

	*first = w->next;
	if (*first == NULL) {
		*last = first;
	}
	loop_defer(r->loop, w->fn, w->arg);
	free(w);
}

void waiting_release(struct registry *r, struct waiting **first, struct waiting ***last)
{
	while (*first != NULL) {
		release_first(r, first, last);
	}
}

void registry_turn_begin(struct registry *r, const char *project, loop_fn *fn, void *arg)
{
	struct project *p = index_project(r, project);

	if (p->turn_taken) {
		waiting_add(&p->turn, &p->turn_last, fn, arg);
		return;
	}
	p->turn_taken = true;
	loop_defer(r->loop, fn, arg);
}

void registry_turn_end(struct registry *r, const char *project)
{
	struct project *p = index_project(r, project);

	assert(p->turn_taken);
	if (p->turn != NULL) {
		release_first(r, &p->turn, &p->turn_last); /* the turn passes on, still taken */
		return;
	}
	p->turn_taken = false;
	index_project_drop(r, p);
}

void registry_when_idle(struct registry *r, struct id group, loop_fn *fn, void *arg)
{
	struct entry *en = registry_group(r, group);

	if (en == NULL || !en->committing) {
		loop_defer(r->loop, fn, arg);
		return;
	}
	waiting_add(&en->idle, &en->idle_last, fn, arg);
}
