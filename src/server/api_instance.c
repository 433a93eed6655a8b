/*
 * Instances: seen, renamed, deleted. Created in api_create.c; the actions are in api_action.c.
 */
#include "base/clock.h"
#include "core/status.h"
#include "server/api_operate.h"
#include "server/catalogue.h"
#include "server/handlers.h"

/* ---- lists ---- */

enum { ITEM_BYTES = 1000 }; /* about; an answer that is longer grows */

struct page {
	size_t limit;
	struct id after;
	const char *extra; /* of the query: kept in the link to the next page */
};

static bool read_page(struct call *c, struct page *ret, struct err *e)
{
	const char *limit = http_query(c->rq, "limit");
	const char *marker = http_query(c->rq, "marker");
	const char *clustered = http_query(c->rq, "include_clustered");
	uint64_t n = (uint64_t)setting_int(c->api->settings, "api.page_size");
	uint64_t most = (uint64_t)setting_int(c->api->settings, "api.page_max");
	bool with = false;

	if (limit != NULL && (!str_to_u64(limit, &n) || n < 1)) {
		return err_set(e, ERR_INVALID,
			       "limit '%.32s' is not valid: give a whole number from 1 "
			       "to %llu.",
			       limit, (unsigned long long)most);
	}
	*ret = (struct page){ .limit = n < most ? n : most, .extra = "" };
	if (marker != NULL && !id_parse(marker, &ret->after)) {
		return err_set(e, ERR_INVALID,
			       "marker '%.64s' is not valid: give the id of the last "
			       "instance of the page before.",
			       marker);
	}
	/* there are no clusters, so this changes nothing but the link */
	if (clustered != NULL && str_to_bool(clustered, &with)) {
		ret->extra = with ? "&include_clustered=True" : "&include_clustered=False";
	}
	return true;
}

static bool list(struct call *c, const char *what, enum trove_depth depth, struct err *e)
{
	struct str body = {};
	struct jw w = { .out = &body };
	struct trove_repeat repeat = {};
	struct page page;
	bool more, known;

	if (!read_page(c, &page, e)) {
		return false;
	}
	struct instance_ref *refs = arena_alloc(c->arena, page.limit * sizeof *refs);
	size_t n = registry_page(c->api->registry, c->project, page.after, refs, page.limit, &more,
				 &known);
	if (!known) {
		return err_set(e, ERR_INVALID,
			       "marker %s is no instance of this project (any more): "
			       "begin again without one.",
			       id_text(page.after).s);
	}
	str_grow(&body, (n + 1) * ITEM_BYTES);
	jw_object(&w, NULL);
	jw_array(&w, "instances");
	for (size_t i = 0; i < n; i++) {
		struct trove_instance one = call_describe(c, &refs[i]);

		one.repeat = &repeat;
		trove_write_instance(&w, NULL, &one, depth, &c->links);
	}
	jw_end(&w);
	if (more && n > 0) {
		trove_write_next(&w, &c->links, what, (int64_t)page.limit, refs[n - 1].m->id,
				 page.extra);
	}
	jw_end(&w);
	call_reply(c, &body);
	return true;
}

bool api_instance_list(struct call *c, struct err *e)
{
	return list(c, "instances", TROVE_LIST, e);
}

bool api_instance_detail(struct call *c, struct err *e)
{
	return list(c, "instances/detail", TROVE_DETAIL, e);
}

bool api_instance_show(struct call *c, struct err *e)
{
	struct str body = {};
	struct jw w = { .out = &body };
	struct instance_ref ref;

	if (!call_instance(c, 0, &ref, e)) {
		return false;
	}
	struct trove_instance one = call_describe(c, &ref);
	jw_object(&w, NULL);
	trove_write_instance(&w, "instance", &one, TROVE_SHOW, &c->links);
	jw_end(&w);
	call_reply(c, &body);
	return true;
}

/* ---- changes ---- */

/* Commits a change of one member, made on a copy, with one event. */
static void commit_member(struct call *c, const struct instance_ref *ref, struct group *next,
			  enum event_kind kind, const char *reason)
{
	struct group_event event = {
		.kind = kind,
		.instance = ref->m->id,
		.epoch = next->epoch,
	};

	str_copy(event.reason, sizeof event.reason, reason);
	next->members[ref->index].updated_wall_ms = clock_wall_ms();
	call_commit(c, ref->entry, next, &event, 1, call_reply_empty);
}

/*
 * A change of the source needs its two ends until it has ended; the others may go at any time. One
 * that is left alone with an eject may go too: there is nobody to promote.
 */
static bool check_takes_no_part(const struct group *g, const struct member *m, struct err *e)
{
	const struct operation *op = &g->op;
	bool changes = op->kind == OP_HANDOVER || op->kind == OP_EJECT;
	bool part = id_eq(m->id, op->target) || id_eq(m->id, op->from) || id_eq(m->id, g->source);

	if (!changes || !part || (op->kind == OP_EJECT && group_replica_count(g) == 0)) {
		return true;
	}
	return err_set(e, ERR_UNPROCESSABLE,
		       "Instance %s takes part in the operation %s that runs (phase %s): delete it "
		       "when that has ended, or cancel that first.",
		       id_text(m->id).s, op_kind_name(op->kind), op_phase_name(op->phase));
}

bool api_instance_delete(struct call *c, struct err *e)
{
	struct instance_ref ref;

	if (!call_instance(c, 0, &ref, e)) {
		return false;
	}
	if (call_wait_idle(c, ref.entry)) {
		return true;
	}
	if (!status_allows(CALL_DELETE, ref.g, ref.m, e)) {
		return false;
	}
	if (ref.m->state == MEMBER_DELETING) {
		call_reply_empty(c); /* it is on its way already */
		return true;
	}
	if (!check_takes_no_part(ref.g, ref.m, e)) {
		return false;
	}
	struct group *next = record_scratch_group(ref.g, c->arena);
	next->members[ref.index].state = MEMBER_DELETING;
	next->members[ref.index].state_since_wall_ms = clock_wall_ms();
	commit_member(c, &ref, next, EVENT_INSTANCE_DELETING, "a client asked for it");
	return true;
}

/* What an update asks for besides a name; only what changes nothing can be answered with yes. */
static bool check_version(struct call *c, const struct instance_ref *ref, const char *version,
			  struct err *e)
{
	struct catalogue cat;
	const struct catalogue_datastore *d;
	const struct catalogue_version *v;
	char name[32];

	catalogue_make(c->api->registry, c->arena, &cat);
	if (!catalogue_datastore(&cat, ref->m->datastore, &d, e) ||
	    !catalogue_version(&cat, d, version, &v, e)) {
		return false;
	}
	trove_version_name(ref->m->version, name, sizeof name);
	return str_eq(v->name, name) ||
	       err_set(e, ERR_NOT_IMPLEMENTED, "Instances cannot be upgraded yet.");
}

static bool check_update(struct call *c, const struct instance_ref *ref,
			 const struct trove_update *u, struct err *e)
{
	if (u->configuration != NULL) {
		return err_set(e, ERR_NOT_FOUND,
			       "Configuration group '%.64s' cannot be found: there "
			       "are none yet.",
			       u->configuration);
	}
	if (u->wants_public || u->has_cidrs) {
		return err_set(e, ERR_NOT_IMPLEMENTED,
			       "Instances have no public addresses and no "
			       "access lists: access can only be {\"is_public\": false}.");
	}
	return !u->has_datastore_version || check_version(c, ref, u->datastore_version, e);
}

static bool update(struct call *c, enum trove_update_verb verb, struct err *e)
{
	struct instance_ref ref;
	struct trove_update u;

	if (!call_instance(c, 0, &ref, e) ||
	    !trove_read_update(c->rq->body, c->rq->body_len, verb, c->arena, &u, e)) {
		return false;
	}
	if (call_wait_idle(c, ref.entry)) {
		return true;
	}
	if (u.detach) {
		return operation_detach(c, &ref, u.name, e);
	}
	if (!check_update(c, &ref, &u, e) ||
	    (u.name != NULL && !status_allows(CALL_RENAME, ref.g, ref.m, e))) {
		return false;
	}
	if (u.name == NULL || str_eq(u.name, ref.m->name)) {
		call_reply_empty(c);
		return true;
	}
	struct group *next = record_scratch_group(ref.g, c->arena);
	next->members[ref.index].name = u.name;
	commit_member(c, &ref, next, EVENT_INSTANCE_RENAMED,
		      arena_printf(c->arena, "from '%.120s' to '%.120s'", ref.m->name, u.name));
	return true;
}

bool api_instance_put(struct call *c, struct err *e)
{
	return update(c, TROVE_PUT, e);
}

bool api_instance_patch(struct call *c, struct err *e)
{
	return update(c, TROVE_PATCH, e);
}
