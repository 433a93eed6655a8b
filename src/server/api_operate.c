/*
 * Operations of a group: begun and taken back by a call. What may be done when, and what then
 * becomes of the record, is core's (status.h, operate.h); here is what surrounds it: the look at the
 * servers, the knock at one whose agent is silent, and the commit.
 */
#include "server/api_operate.h"

#include "base/clock.h"
#include "core/status.h"
#include "server/create.h"
#include "server/handlers.h"

struct operate_in operation_look(const struct call *c, const struct entry *en)
{
	bool *silent = arena_alloc(c->arena, en->g->nmembers * sizeof *silent);

	for (size_t i = 0; i < en->g->nmembers; i++) {
		silent[i] = registry_host_silent(c->api->registry, en->g->members[i].host);
	}
	return (struct operate_in){
		.obs = (const struct observation *const *)en->obs,
		.silent = silent,
		.live = &en->live,
		.op = id_new(),
		.now_ms = clock_ms(),
		.wall_ms = clock_wall_ms(),
	};
}

bool operation_promote(struct call *c, const struct instance_ref *ref, struct err *e)
{
	struct group *next = record_scratch_group(ref->g, c->arena);
	const struct operate_in in = operation_look(c, ref->entry);
	struct group_event event;

	if (!status_allows(CALL_PROMOTE, ref->g, ref->m, e) ||
	    !operate_handover(next, &in, ref->m->id, &event, e)) {
		return false;
	}
	call_commit(c, ref->entry, next, &event, 1, call_reply_empty);
	return true;
}

/*
 * Where the source's own agent is silent, the server is asked by ourselves: the handler comes here
 * again with the answer.
 */
bool operation_eject(struct call *c, const struct instance_ref *ref, bool accept_data_loss,
		     struct err *e)
{
	struct group *next = record_scratch_group(ref->g, c->arena);
	const struct operate_in in = operation_look(c, ref->entry);
	bool knocks = operate_needs_probe(ref->g, &in);
	enum probe_answer probe = knocks ? c->probe : PROBE_NOT_MADE;
	bool leads = id_eq(ref->m->id, ref->g->source) && group_replica_count(ref->g) > 0;
	struct group_event event;
	bool again = false;

	/* what is no replica source is told so, whatever it is doing: as Trove does */
	if (leads && !status_allows(CALL_EJECT, ref->g, ref->m, e)) {
		return false;
	}
	if (leads && knocks && probe == PROBE_NOT_MADE) {
		call_knock(c, ref->m);
		return true;
	}
	if (!operate_eject(next, &in, ref->m->id, probe, accept_data_loss, &again, &event, e)) {
		return false;
	}
	if (again) {
		call_reply_empty(c);
		return true;
	}
	call_commit(c, ref->entry, next, &event, 1, call_reply_empty);
	return true;
}

bool operation_cancel(struct call *c, const struct instance_ref *ref, struct err *e)
{
	struct group *next = record_scratch_group(ref->g, c->arena);
	const struct operate_in in = operation_look(c, ref->entry);
	struct group_event event;

	if (!status_allows(CALL_CANCEL, ref->g, ref->m, e) ||
	    !operate_cancel(next, &in, &event, e)) {
		return false;
	}
	call_commit(c, ref->entry, next, &event, 1, call_reply_empty);
	return true;
}

bool operation_delete_group(struct call *c, const struct instance_ref *ref, struct err *e)
{
	struct group *next = record_scratch_group(ref->g, c->arena);
	const struct operate_in in = operation_look(c, ref->entry);
	struct group_event event;

	if (!status_allows(CALL_DELETE_GROUP, ref->g, ref->m, e) ||
	    !operate_delete_group(next, &in, &event, e)) {
		return false;
	}
	call_commit(c, ref->entry, next, &event, 1, call_reply_empty);
	return true;
}

/* ---- durability ---- */

struct promise {
	uint32_t k;
	char text[OPERATE_PROMISE_BYTES];
};

static void write_promise(const struct promise *p, struct str *body)
{
	char durability[TROVE_DURABILITY_BYTES];
	struct jw w = { .out = body };

	jw_object(&w, NULL);
	jw_object(&w, "durability");
	jw_str(&w, "durability", trove_durability_text(p->k, durability, sizeof durability));
	jw_str(&w, "promise", p->text);
	jw_end(&w);
	jw_end(&w);
}

static void reply_promise(struct call *c)
{
	struct str body = {};

	write_promise(c->state, &body);
	call_reply_status(c, 200, &body);
}

bool api_instance_durability(struct call *c, struct err *e)
{
	struct instance_ref ref;
	struct promise p;

	if (!call_instance(c, 0, &ref, e)) {
		return false;
	}
	p.k = ref.g->durability;
	(void)operate_promise(ref.g, p.text, sizeof p.text);
	c->state = &p;
	reply_promise(c);
	return true;
}

bool operation_durability(struct call *c, const struct instance_ref *ref, uint32_t k, struct err *e)
{
	struct group *next = record_scratch_group(ref->g, c->arena);
	const struct operate_in in = operation_look(c, ref->entry);
	struct promise *p = arena_alloc(c->arena, sizeof *p);
	struct group_event event;

	if (!status_allows(CALL_DURABILITY, ref->g, ref->m, e) ||
	    !operate_durability(next, &in, k, &event, p->text, sizeof p->text, e)) {
		return false;
	}
	p->k = k;
	c->state = p;
	call_commit(c, ref->entry, next, &event, 1, reply_promise);
	return true;
}

/* ---- from one group to another ---- */

bool operation_detach(struct call *c, const struct instance_ref *ref, const char *name,
		      struct err *e)
{
	const struct operate_in in = operation_look(c, ref->entry);
	struct operate_pair *pair = arena_alloc(c->arena, sizeof *pair);
	const char *group_name = registry_free_name(c->api->registry, ref->g->project,
						    name != NULL ? name : ref->m->name, c->arena);
	struct group_event event;

	if (!status_allows(CALL_DETACH, ref->g, ref->m, e) ||
	    !operate_detach(ref->g, &in, ref->m->id, id_new(), group_name, pair, &event, e)) {
		return false;
	}
	if (name != NULL) {
		group_find(&pair->to, ref->m->id)->name = name;
	}
	const struct registry_change changes[] = { { ref->entry, &pair->from },
						   { NULL, &pair->to } };

	call_commit_pair(c, changes, &event, 1, call_reply_empty);
	return true;
}

/* What holds for a new replica holds for one that joins. */
static bool check_attach(struct call *c, const struct instance_ref *ref,
			 const struct instance_ref *to, struct err *e)
{
	const struct creation joining = { .source = *to, .n = 1 };

	if (!status_allows(CALL_ATTACH, ref->g, ref->m, e)) {
		return false;
	}
	if (ref->entry == to->entry) {
		return err_set(
			e, ERR_INVALID,
			"Instance %s cannot follow itself: name the source of another group.",
			id_text(ref->m->id).s);
	}
	if (!create_check_is_source(to, e) ||
	    !status_allows(CALL_CREATE_REPLICA, to->g, to->m, e) ||
	    !create_check_group_room(c, &joining, e)) {
		return false;
	}
	if (ref->m->volume_gb < to->m->volume_gb) {
		return err_set(e, ERR_FORBIDDEN,
			       "A replica's volume must not be smaller than its source's: instance "
			       "%s has %u GB, the source has %u GB.",
			       id_text(ref->m->id).s, ref->m->volume_gb, to->m->volume_gb);
	}
	return true;
}

bool operation_attach(struct call *c, const struct instance_ref *ref, struct id replica_of,
		      struct err *e)
{
	const struct operate_in in = operation_look(c, ref->entry);
	struct instance_ref to;
	struct group_event event;

	if (!call_instance_by_id(c, replica_of, &to, e)) {
		return false;
	}
	if (call_wait_idle(c, to.entry)) {
		return true;
	}
	struct operate_pair *pair = arena_alloc(c->arena, sizeof *pair);

	if (!check_attach(c, ref, &to, e) ||
	    !operate_attach(ref->g, to.g, &in, ref->m->id, pair, &event, e)) {
		return false;
	}
	const struct registry_change changes[] = {
		{ to.entry, &pair->to },
		{ ref->entry, pair->from.nmembers == 0 ? NULL : &pair->from },
	};

	call_commit_pair(c, changes, &event, 1, call_reply_empty);
	return true;
}
