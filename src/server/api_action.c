/*
 * Actions on an instance. Every request is checked as far as it can be; what cannot be done yet
 * says so then. Those that begin an operation of its group are in api_operate.c.
 */
#include "base/clock.h"
#include "core/status.h"
#include "server/api_operate.h"
#include "server/handlers.h"

static bool not_yet(struct err *e, const char *what)
{
	return err_set(e, ERR_NOT_IMPLEMENTED, "%s is not available yet.", what);
}

static bool check_flavor(struct call *c, const struct instance_ref *ref, const char *flavor_ref,
			 struct err *e)
{
	if (settings_flavor(c->api->settings, flavor_ref) == NULL) {
		return err_set(e, ERR_INVALID,
			       "resize['flavorRef']: flavor '%.64s' cannot be found (GET /flavors "
			       "lists what "
			       "there is).",
			       flavor_ref);
	}
	if (str_eq(ref->m->flavor, flavor_ref)) {
		return err_set(e, ERR_INVALID, "Instance %s has flavor '%.64s' already.",
			       id_text(ref->m->id).s, flavor_ref);
	}
	return true;
}

static bool check_volume(struct call *c, const struct instance_ref *ref, int64_t gb, struct err *e)
{
	int64_t most = setting_int(c->api->settings, "volume.max_gb");

	if (gb > most) {
		return err_set(e, ERR_OVER_LIMIT,
			       "The volume's size cannot be more than %lld GB; %lld "
			       "were asked for.",
			       (long long)most, (long long)gb);
	}
	if (gb <= ref->m->volume_gb) {
		return err_set(e, ERR_INVALID,
			       "The volume can only grow: it has %u GB, %lld were asked "
			       "for.",
			       ref->m->volume_gb, (long long)gb);
	}
	return true;
}

static bool resize(struct call *c, const struct instance_ref *ref, const struct trove_action *x,
		   struct err *e)
{
	if (!status_allows(CALL_ACTION, ref->g, ref->m, e)) {
		return false;
	}
	bool fits = x->flavor_ref != NULL ? check_flavor(c, ref, x->flavor_ref, e)
					  : check_volume(c, ref, x->volume_gb, e);
	return fits && not_yet(e, "resize");
}

/* The fault is about one run of the server; is it another one that runs now? */
static bool started_again(const struct instance_ref *ref)
{
	const struct operation *op = &ref->g->op;

	return op->kind == OP_RESTART && id_eq(op->target, ref->m->id) && replid_known(&op->run) &&
	       !replid_eq(&op->run, &ref->o->run_id);
}

/*
 * The operator's word to go on at the price of data. It is for the one run of the server that is
 * seen now: should the server start again, he is asked again.
 */
static bool start(struct call *c, const struct instance_ref *ref, struct err *e)
{
	const struct member *m = ref->m;

	if (m->fault.kind != FAULT_GUARD && m->fault.kind != FAULT_DIVERGED) {
		return err_set(e, ERR_UNPROCESSABLE,
			       "Instance %s is not held back for lack of data: "
			       "there is nothing to accept.",
			       id_text(m->id).s);
	}
	if (!status_allows(CALL_START, ref->g, m, e)) {
		return false;
	}
	if (ref->o == NULL || ref->silent || !replid_known(&ref->o->run_id)) {
		return err_set(
			e, ERR_UNPROCESSABLE,
			"Instance %s: its server is not heard, so nobody can tell what would be "
			"accepted. Try again when host %s and the server answer.",
			id_text(m->id).s, m->host);
	}
	if (started_again(ref)) {
		return err_set(
			e, ERR_UNPROCESSABLE,
			"Instance %s: its server was started again since the fault was written. "
			"Look at the fault again, then decide.",
			id_text(m->id).s);
	}
	struct group *next = record_scratch_group(ref->g, c->arena);
	next->members[ref->index].accepted_run = ref->o->run_id;
	next->members[ref->index].updated_wall_ms = clock_wall_ms();
	struct group_event event = {
		.kind = EVENT_SOURCE_ACCEPTED,
		.instance = m->id,
		.epoch = ref->g->epoch,
	};
	snprintf(event.reason, sizeof event.reason, "a client accepted the loss of data: %.250s",
		 m->fault.text);
	snprintf(event.figures, sizeof event.figures, "run=%s keys=%lld offset=%lld",
		 ref->o->run_id.s, (long long)ref->o->keys, (long long)ref->o->offset);
	call_commit(c, ref->entry, next, &event, 1, call_reply_empty);
	return true;
}

/* The operator's word that the hosts are right and the store is not. */
static bool adopt(struct call *c, const struct instance_ref *ref, struct err *e)
{
	struct group *next = record_scratch_group(ref->g, c->arena);
	const struct observation **heard =
		arena_alloc(c->arena, next->nmembers * sizeof *heard);
	struct group_event event;

	for (size_t i = 0; i < next->nmembers; i++) {
		bool silent = registry_host_silent(c->api->registry, next->members[i].host);

		heard[i] = silent ? NULL : ref->entry->obs[i];
	}
	if (!group_adopt(next, heard, &event, e)) {
		return false;
	}
	call_commit(c, ref->entry, next, &event, 1, call_reply_empty);
	return true;
}

static bool act(struct call *c, const struct instance_ref *ref, const struct trove_action *x,
		struct err *e)
{
	switch (x->kind) {
	case TROVE_ACTION_RESTART:
		return status_allows(CALL_ACTION, ref->g, ref->m, e) && not_yet(e, "restart");
	case TROVE_ACTION_RESIZE:
		return resize(c, ref, x, e);
	case TROVE_ACTION_PROMOTE:
		return operation_promote(c, ref, e);
	case TROVE_ACTION_EJECT:
		return operation_eject(c, ref, x->accept_data_loss, e);
	case TROVE_ACTION_RESET_STATUS:
		return c->admin ? not_yet(e, "reset_status")
				: err_set(e, ERR_FORBIDDEN,
					  "Only an administrator may reset the "
					  "status of an instance.");
	case TROVE_ACTION_START:
		return start(c, ref, e);
	case TROVE_ACTION_ADOPT:
		return adopt(c, ref, e);
	case TROVE_ACTION_CANCEL:
		return operation_cancel(c, ref, e);
	case TROVE_ACTION_ATTACH:
		return operation_attach(c, ref, x->replica_of, e);
	case TROVE_ACTION_DURABILITY:
		return operation_durability(c, ref, x->durability, e);
	case TROVE_ACTION_DELETE_GROUP:
		return operation_delete_group(c, ref, e);
	case TROVE_ACTION_COUNT:
		break;
	}
	return not_yet(e, "this action");
}

bool api_instance_action(struct call *c, struct err *e)
{
	struct instance_ref ref;
	struct trove_action x;

	if (!call_instance(c, 0, &ref, e) ||
	    !trove_read_action(c->rq->body, c->rq->body_len, c->arena, &x, e)) {
		return false;
	}
	return call_wait_idle(c, ref.entry) || act(c, &ref, &x, e);
}
