/*
 * The newest events, in memory as the JSON the store has. A ring in the order of their numbers:
 * the front leaves by retention, in the same transaction that adds new ones at the back. Readers
 * see up to the first event whose write is still under way, so the order never has gaps to fill.
 */
#include "base/clock.h"
#include "base/log.h"
#include "server/registry_impl.h"

static struct event_item *item_at(const struct event_ring *ring, size_t i)
{
	return ring->items[(ring->first + i) % ring->cap];
}

static void ring_grow(struct event_ring *ring)
{
	size_t cap = ring->cap == 0 ? 64 : ring->cap * 2;
	struct event_item **items = memory_alloc(cap, sizeof *items);

	for (size_t i = 0; i < ring->n; i++) {
		items[i] = item_at(ring, i);
	}
	free(ring->items);
	ring->items = items;
	ring->first = 0;
	ring->cap = cap;
}

static struct event_item *ring_push(struct event_ring *ring, const struct event_record *ev,
				    const char *json, size_t len)
{
	size_t project_len = strlen(ev->project);
	struct event_item *it = memory_alloc(1, sizeof *it + project_len + 1 + len + 1);

	if (ring->n == ring->cap) {
		ring_grow(ring);
	}
	it->seq = ev->seq;
	it->kind = ev->event.kind;
	it->len = (uint32_t)len;
	it->json_at = (uint32_t)project_len + 1;
	memcpy(it->text, ev->project, project_len);
	memcpy(it->text + it->json_at, json, len);
	ring->items[(ring->first + ring->n++) % ring->cap] = it;
	ring->next_seq = ev->seq + 1;
	return it;
}

bool events_told_of_orphan(const struct registry *r, struct id instance)
{
	for (size_t i = 0; i < r->norphans; i++) {
		if (id_eq(r->orphans[i], instance)) {
			return true;
		}
	}
	return r->norphans == REGISTRY_ORPHANS_MAX;
}

/* An orphan is told of once; a restart of ours does not forget it while the event is kept. */
static void remember_orphan(struct registry *r, const struct group_event *ev)
{
	if (ev->kind != EVENT_ORPHAN_FOUND || events_told_of_orphan(r, ev->instance)) {
		return;
	}
	r->orphans = memory_grow(r->orphans, r->norphans, &r->orphans_cap, sizeof *r->orphans);
	r->orphans[r->norphans++] = ev->instance;
}

bool events_load(struct registry *r, const char *json, size_t len, struct err *e)
{
	auto_arena a = {};
	struct event_record ev;

	if (!record_read_event(json, len, &a, &ev, e)) {
		return false;
	}
	if (ev.seq < r->events.next_seq) {
		return err_set(e, ERR_IO, "event %llu comes behind event %llu",
			       (unsigned long long)ev.seq,
			       (unsigned long long)r->events.next_seq - 1);
	}
	ring_push(&r->events, &ev, json, len)->state = EVENT_READY;
	r->events.last_ready = ev.seq;
	remember_orphan(r, &ev.event);
	return true;
}

struct event_item *events_add(struct registry *r, const struct group *about,
			      const struct group_event *event)
{
	struct event_record ev = {
		.seq = r->events.next_seq == 0 ? 1 : r->events.next_seq,
		.wall_ms = clock_wall_ms(),
		.group = about == NULL ? (struct id){} : about->id,
		.project = about == NULL ? "" : about->project,
		.group_name = about == NULL ? "" : about->name,
		.event = *event,
	};
	auto_str json = {};

	record_write_event(&ev, &json);
	remember_orphan(r, event);
	return ring_push(&r->events, &ev, str_cstr(&json), json.len);
}

static bool is_ready(const struct event_item *it)
{
	return it->state == EVENT_READY || it->state == EVENT_LEAVING;
}

struct event_item *events_take_oldest(struct registry *r)
{
	struct event_ring *ring = &r->events;
	size_t keep = (size_t)setting_int(r->settings, "events.keep");

	/* Leaving ones stand at the front; there are few, a write takes along a limited number. */
	for (size_t i = 0; ring->n - i > keep; i++) {
		struct event_item *it = item_at(ring, i);

		if (it->state == EVENT_READY) {
			it->state = EVENT_LEAVING;
			return it;
		}
		if (it->state == EVENT_PENDING) {
			return NULL;
		}
	}
	return NULL;
}

static void drop_void_front(struct event_ring *ring)
{
	while (ring->n > 0 && item_at(ring, 0)->state == EVENT_VOID) {
		free(item_at(ring, 0));
		ring->first = (ring->first + 1) % ring->cap;
		ring->n--;
	}
}

/* The newest event with none pending before it. */
static uint64_t last_visible(const struct event_ring *ring)
{
	size_t i = ring->n;
	uint64_t last = ring->last_ready;

	while (i > 0 && item_at(ring, i - 1)->seq > ring->last_ready) {
		i--;
	}
	for (; i < ring->n && item_at(ring, i)->state != EVENT_PENDING; i++) {
		if (is_ready(item_at(ring, i))) {
			last = item_at(ring, i)->seq;
		}
	}
	return last;
}

static void announce(struct event_ring *ring)
{
	uint64_t last = last_visible(ring);

	if (last == ring->last_ready) {
		return;
	}
	ring->last_ready = last;
	if (ring->listener != NULL) {
		ring->listener(ring->listener_arg);
	}
}

void events_settle(struct registry *r, struct event_item *const *added, size_t nadded,
		   struct event_item *const *leaving, size_t nleaving, bool committed)
{
	for (size_t i = 0; i < nadded; i++) {
		added[i]->state = committed ? EVENT_READY : EVENT_VOID;
		r->events.counts[added[i]->kind] += committed;
	}
	for (size_t i = 0; i < nleaving; i++) {
		leaving[i]->state = committed ? EVENT_VOID : EVENT_READY;
	}
	announce(&r->events);
	drop_void_front(&r->events);
}

const char *event_json(const struct event_item *it)
{
	return it->text + it->json_at;
}

/* Position of the first item with a number above `after`. */
static size_t first_behind(const struct event_ring *ring, uint64_t after)
{
	size_t low = 0, high = ring->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (item_at(ring, mid)->seq <= after) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	return low;
}

static bool in_scope(const struct event_item *it, const char *project, enum event_scope scope)
{
	return project == NULL || str_eq(it->text, project) ||
	       (scope == EVENTS_AND_HOSTS && it->text[0] == '\0');
}

size_t registry_events(const struct registry *r, const char *project, enum event_scope scope,
		       uint64_t after, struct event_text *ret, size_t max)
{
	const struct event_ring *ring = &r->events;
	size_t n = 0;

	for (size_t i = first_behind(ring, after); i < ring->n && n < max; i++) {
		const struct event_item *it = item_at(ring, i);

		if (it->seq > ring->last_ready) {
			break;
		}
		if (is_ready(it) && in_scope(it, project, scope)) {
			ret[n++] = (struct event_text){ it->seq, event_json(it), it->len };
		}
	}
	return n;
}

uint64_t registry_last_event(const struct registry *r)
{
	return r->events.last_ready;
}

uint64_t registry_event_count(const struct registry *r, enum event_kind k)
{
	return r->events.counts[k];
}

void registry_on_event(struct registry *r, loop_fn *fn, void *arg)
{
	r->events.listener = fn;
	r->events.listener_arg = arg;
}

void events_free(struct registry *r)
{
	struct event_ring *ring = &r->events;

	for (size_t i = 0; i < ring->n; i++) {
		free(item_at(ring, i));
	}
	free(ring->items);
	*ring = (struct event_ring){};
}
