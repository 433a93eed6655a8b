/*
 * POST /instances: a new group of one, or replicas that join their source's group. All is checked
 * first, in Trove's order; then addresses are held, and one commit records everything. Refused at
 * any point, nothing is left behind.
 *
 * The project's turn is held from the first check to the answer, so quotas and names are those
 * of what is committed.
 */
#include "base/clock.h"
#include "core/status.h"
#include "server/create.h"
#include "server/handlers.h"

static void release_places(struct call *c)
{
	struct creation *n = c->state;

	for (size_t i = 0; i < n->nplaces; i++) {
		registry_release(c->api->registry, &n->places[i]);
	}
	n->nplaces = 0;
}

static bool hold_places(struct call *c, struct creation *n, struct err *e)
{
	n->places = arena_alloc(c->arena, n->n * sizeof n->places[0]);
	while (n->nplaces < n->n) {
		const struct placement_wish w = {
			.datastore = n->datastore,
			.version = n->version,
			.flavor = n->flavor,
			.volume_gb = n->volume_gb,
			.locality = n->locality,
			.group = n->source.g,
			.placed = n->places,
			.nplaced = n->nplaces,
		};

		if (!registry_place(c->api->registry, &w, &n->places[n->nplaces], e)) {
			release_places(c);
			return false;
		}
		n->nplaces++;
	}
	return true;
}

static int id_order(const void *a, const void *b)
{
	return id_cmp(*(const struct id *)a, *(const struct id *)b);
}

static void make_ids(struct call *c, struct creation *n)
{
	n->ids = arena_alloc(c->arena, n->n * sizeof n->ids[0]);
	for (size_t i = 0; i < n->n; i++) {
		n->ids[i] = id_new();
	}
	qsort(n->ids, n->n, sizeof n->ids[0], id_order);
}

static struct member make_member(const struct creation *n, size_t i, const char *name, int64_t now)
{
	return (struct member){
		.id = n->ids[i],
		.name = name,
		.host = n->places[i].host,
		.address = n->places[i].address,
		.port = n->places[i].port,
		.flavor = n->flavor,
		.datastore = n->datastore,
		.version = n->version,
		.volume_gb = n->volume_gb,
		.created_wall_ms = now,
		.updated_wall_ms = now,
		.state = MEMBER_STARTING,
		.state_since_wall_ms = now,
	};
}

static void reply_created(struct call *c)
{
	const struct creation *n = c->state;
	struct str body = {};
	struct jw w = { .out = &body };
	struct instance_ref ref;
	struct err e;

	if (!call_instance_by_id(c, n->ids[0], &ref, &e)) {
		call_fail(c, &e); /* deleted by now */
		return;
	}
	struct trove_instance one = call_describe(c, &ref);
	if (n->body.has_replica_of) {
		one.replica_ids = n->ids;
		one.nreplica_ids = n->n;
	}
	jw_object(&w, NULL);
	trove_write_instance(&w, "instance", &one, TROVE_DETAIL, &c->links);
	jw_end(&w);
	call_reply(c, &body);
}

static struct group_event event_of(enum event_kind kind, struct id instance, uint64_t epoch,
				   const char *reason)
{
	struct group_event ev = { .kind = kind, .instance = instance, .epoch = epoch };

	str_copy(ev.reason, sizeof ev.reason, reason);
	return ev;
}

static void commit_group(struct call *c, struct creation *n)
{
	int64_t now = clock_wall_ms();
	struct member m = make_member(n, 0, n->body.name, now);
	struct group g = {
		.id = id_new(),
		.project = c->project,
		/* It never changes and is unique in its project: NAME, or NAME-2, ... */
		.name = registry_free_name(c->api->registry, c->project, n->body.name, c->arena),
		.epoch = 1,
		.source = m.id,
		.created_wall_ms = now,
		.op = {
			.id = id_new(),
			.kind = OP_CREATE,
			.phase = PHASE_CREATE_START,
			.target = m.id,
			.started_wall_ms = now,
			.phase_since_wall_ms = now,
		},
		/* nothing has been acknowledged yet, so it holds for all that ever will be */
		.durability = n->body.durability,
		.durability_proven = n->body.durability,
		.locality = n->locality,
		.members = &m,
		.nmembers = 1,
	};
	const struct group_event events[] = {
		event_of(EVENT_GROUP_CREATED, (struct id){}, 1, "a client asked for it"),
		event_of(EVENT_INSTANCE_CREATED, m.id, 1, "the source of a new group"),
	};

	random_secret(g.secrets.replication.open, SECRET_LEN);
	random_secret(g.secrets.agent.open, SECRET_LEN);
	call_commit(c, NULL, &g, events, ARRAY_LEN(events), reply_created);
}

static void commit_replicas(struct call *c, struct creation *n)
{
	const struct group *g = n->source.g;
	struct group *next = record_scratch_group(g, c->arena);
	struct member *members = arena_alloc(c->arena, (g->nmembers + n->n) * sizeof *members);
	struct group_event *events = arena_alloc(c->arena, n->n * sizeof *events);
	const char *reason = arena_printf(c->arena, "a replica of '%.120s'", n->source.m->name);
	int64_t now = clock_wall_ms();

	memcpy(members, next->members, g->nmembers * sizeof *members);
	for (size_t i = 0; i < n->n; i++) {
		const char *name = n->n == 1
					   ? n->body.name
					   : arena_printf(c->arena, "%s-%zu", n->body.name, i + 1);

		members[g->nmembers + i] = make_member(n, i, name, now);
		events[i] = event_of(EVENT_INSTANCE_CREATED, n->ids[i], g->epoch, reason);
	}
	next->members = members;
	next->nmembers += n->n;
	call_commit(c, n->source.entry, next, events, n->n, reply_created);
}

static bool create_source(struct call *c, struct creation *n, struct err *e)
{
	const struct catalogue_version *v;

	if (!create_find_version(c, &n->body, &v, e) ||
	    !create_check_flavor(c, n->body.flavor_ref, e) ||
	    !create_check_volume(c, n->body.volume_gb, e) ||
	    !create_check_features(c, &n->body, e)) {
		return false;
	}
	n->flavor = n->body.flavor_ref;
	n->datastore = v->datastore;
	n->version = v->installed != NULL ? v->installed : v->number;
	n->volume_gb = (uint32_t)n->body.volume_gb;
	n->locality = n->body.locality;
	if (!create_check_quota(c, n, e) || !create_check_configuration(&n->body, e) ||
	    !hold_places(c, n, e)) {
		return false;
	}
	make_ids(c, n);
	commit_group(c, n);
	return true;
}

static bool check_replica_name(const struct creation *n, struct err *e)
{
	size_t most = MODEL_NAME_MAX - (n->n == 1 ? 0 : n->n < 10 ? 2 : 3);

	return strlen(n->body.name) <= most ||
	       err_set(e, ERR_INVALID,
		       "Validation error: instance['name'] can have %zu bytes here: the "
		       "replicas' names end in -1 to -%zu",
		       most, n->n);
}

static bool create_replicas(struct call *c, struct creation *n, struct err *e)
{
	if (!create_find_source(c, n, e)) {
		return false;
	}
	const struct member *source = n->source.m;
	if (!create_check_same_version(c, n, e) || !create_check_locality(n, e) ||
	    !create_check_features(c, &n->body, e) ||
	    !check_replica_name(n, e) ||
	    (n->body.flavor_ref != NULL && !create_check_flavor(c, n->body.flavor_ref, e)) ||
	    (n->body.volume_gb != 0 && !create_check_volume(c, n->body.volume_gb, e))) {
		return false;
	}
	if (call_wait_idle(c, n->source.entry)) {
		return true;
	}
	n->flavor = n->body.flavor_ref != NULL ? n->body.flavor_ref : source->flavor;
	n->datastore = source->datastore;
	n->version = source->version;
	n->locality = n->source.g->locality;
	n->volume_gb = n->body.volume_gb != 0 ? (uint32_t)n->body.volume_gb : source->volume_gb;
	if (!status_allows(CALL_CREATE_REPLICA, n->source.g, source, e) ||
	    !create_check_replica_volume(n, e) || !create_check_group_room(c, n, e) ||
	    !create_check_quota(c, n, e) || !create_check_configuration(&n->body, e) ||
	    !hold_places(c, n, e)) {
		return false;
	}
	if (!create_check_disk(n, e)) {
		release_places(c);
		return false;
	}
	make_ids(c, n);
	commit_replicas(c, n);
	return true;
}

bool api_instance_create(struct call *c, struct err *e)
{
	struct creation *n = arena_alloc(c->arena, sizeof *n);

	c->state = n;
	c->undo = release_places;
	if (!trove_read_create(c->rq->body, c->rq->body_len, c->arena, &n->body, e) ||
	    !create_check_strict(c, &n->body, e) || !create_check_count(c, &n->body, e)) {
		return false;
	}
	n->n = (size_t)n->body.replica_count;
	return n->body.has_replica_of ? create_replicas(c, n, e) : create_source(c, n, e);
}
