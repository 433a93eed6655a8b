/*
 * What must hold before an instance is created: limits and quotas, what exists, what this service
 * has, and room on the disks. Nothing here changes anything.
 */
#include "server/create.h"

bool create_check_strict(const struct call *c, const struct trove_create *b, struct err *e)
{
	const char *given = b->flavor_ref != NULL                        ? "flavor"
			    : b->datastore != NULL || b->version != NULL ? "datastore"
			    : b->volume_gb > 0                           ? "volume"
			    : b->has_locality                            ? "locality"
									 : NULL;

	if (!b->has_replica_of || given == NULL || !setting_bool(c->api->settings, "api.strict")) {
		return true;
	}
	return err_set(e, ERR_INVALID,
		       "Cannot specify %s when creating replicas: they have their "
		       "source's (api.strict).",
		       given);
}

bool create_check_count(const struct call *c, const struct trove_create *b, struct err *e)
{
	int64_t most = setting_int(c->api->settings, "replication.max_replicas");

	if (b->replica_count > most) {
		return err_set(e, ERR_INVALID,
			       "Validation error: instance['replica_count'] %lld is "
			       "greater than the maximum of %lld",
			       (long long)b->replica_count, (long long)most);
	}
	if (!b->has_replica_of && b->replica_count > 1) {
		return err_set(e, ERR_INVALID,
			       "instance['replica_count'] is for replicas: name their source in "
			       "replica_of, or create %lld instances one by one.",
			       (long long)b->replica_count);
	}
	return true;
}

/* With fewer replicas than that its source would take no writes, however many there are to be. */
static bool check_durability(const struct call *c, const struct trove_create *b, struct err *e)
{
	int64_t most = setting_int(c->api->settings, "replication.max_replicas");

	if (b->has_durability && b->has_replica_of) {
		return err_set(e, ERR_INVALID,
			       "instance['durability']: a replica has that of its group; change it "
			       "with the action durability.");
	}
	return b->durability <= most ||
	       err_set(e, ERR_INVALID,
		       "instance['durability']: a source can have %lld replicas, so it cannot wait "
		       "for %u.",
		       (long long)most, b->durability);
}

bool create_check_features(const struct call *c, const struct trove_create *b, struct err *e)
{
	if (!check_durability(c, b, e)) {
		return false;
	}
	if (b->region != NULL && !str_eq(b->region, setting_text(c->api->settings, "api.region"))) {
		return err_set(e, ERR_INVALID,
			       "instance['region_name']: region '%.64s' is not this one, %s.",
			       b->region, setting_text(c->api->settings, "api.region"));
	}
	if (b->has_users || b->has_databases) {
		return err_set(e, b->has_replica_of ? ERR_INVALID : ERR_UNPROCESSABLE,
			       "Neither users nor databases can be given: Redis has its own, and a "
			       "replica has its source's.");
	}
	if (b->has_nics_ip || b->has_nics_subnet) {
		return err_set(e, ERR_INVALID,
			       "An address cannot be chosen: it comes from the host's "
			       "pool. Leave ip_address and subnet_id out.");
	}
	if (b->has_modules) {
		return err_set(e, ERR_NOT_FOUND, "The module cannot be found: there are none.");
	}
	if (b->wants_public || b->has_cidrs) {
		return err_set(e, ERR_NOT_IMPLEMENTED,
			       "Instances have no public addresses and no "
			       "access lists: leave access out.");
	}
	if (b->has_restore_point) {
		return err_set(e, ERR_NOT_FOUND, "Backup %s cannot be found: there are none yet.",
			       b->backup_ref);
	}
	return true;
}

bool create_find_version(struct call *c, const struct trove_create *b,
			 const struct catalogue_version **ret, struct err *e)
{
	const char *type = b->datastore != NULL
				   ? b->datastore
				   : setting_text(c->api->settings, "redis.default_datastore");
	struct catalogue cat;
	const struct catalogue_datastore *d;

	catalogue_make(c->api->registry, c->arena, &cat);
	if (type[0] == '\0') {
		return err_set(e, ERR_INVALID, "Name a datastore: there is no default one.");
	}
	if (!catalogue_datastore(&cat, type, &d, e)) {
		return false;
	}
	const char *version = b->version != NULL ? b->version : d->default_version;
	if (version == NULL) {
		return err_set(e, ERR_INVALID,
			       "Name a version of datastore %s: it has no default one.", d->name);
	}
	if (!catalogue_version(&cat, d, version, ret, e)) {
		return false;
	}
	const struct catalogue_version *v = *ret;
	if (!v->active) {
		return err_set(e, ERR_INVALID, "Datastore version '%s' is not active.", v->name);
	}
	const char *number = b->version_number;
	if (number != NULL && !str_eq(number, v->number) && !str_eq(number, v->name) &&
	    !str_eq(number, v->installed)) {
		return err_set(
			e, ERR_INVALID,
			"instance['datastore']['version_number']: version '%s' has number %s, not "
			"'%.32s'.",
			v->name, v->number, number);
	}
	return true;
}

bool create_check_flavor(const struct call *c, const char *id, struct err *e)
{
	if (id == NULL) {
		return err_set(e, ERR_INVALID,
			       "Validation error: instance['flavorRef'] is missing (GET "
			       "/flavors lists what there is)");
	}
	if (settings_flavor(c->api->settings, id) == NULL) {
		return err_set(e, ERR_INVALID,
			       "instance['flavorRef']: flavor '%.64s' cannot be found (GET "
			       "/flavors lists what "
			       "there is).",
			       id);
	}
	return true;
}

bool create_check_volume(const struct call *c, int64_t gb, struct err *e)
{
	int64_t most = setting_int(c->api->settings, "volume.max_gb");

	if (gb == 0) {
		return err_set(e, ERR_INVALID,
			       "The volume's size is missing: give volume {\"size\": "
			       "GB}.");
	}
	if (gb > most) {
		return err_set(e, ERR_OVER_LIMIT,
			       "The volume's size cannot be more than %lld GB; %lld "
			       "were asked for.",
			       (long long)most, (long long)gb);
	}
	return true;
}

static bool within_quota(const char *what, int64_t limit, uint64_t used, uint64_t more,
			 struct err *e)
{
	if (limit < 0 || used + more <= (uint64_t)limit) {
		return true;
	}
	return err_set(e, ERR_OVER_LIMIT,
		       "Quota exceeded for %s: %llu of %lld are used, %llu more were "
		       "asked for.",
		       what, (unsigned long long)used, (long long)limit, (unsigned long long)more);
}

bool create_check_quota(const struct call *c, const struct creation *n, struct err *e)
{
	const struct settings *s = c->api->settings;
	const struct flavor *f = settings_flavor(s, n->flavor);
	struct project_usage u = registry_usage(c->api->registry, c->project);
	uint64_t ram_mb = f == NULL ? 0 : (uint64_t)f->ram_mb * n->n;

	return within_quota("instances", setting_int(s, "quota.instances"), u.instances, n->n, e) &&
	       within_quota("volumes (GB)", setting_int(s, "quota.volumes_gb"), u.volume_gb,
			    (uint64_t)n->volume_gb * n->n, e) &&
	       within_quota("ram (MB)", setting_int(s, "quota.ram_mb"), u.ram_mb, ram_mb, e);
}

bool create_check_configuration(const struct trove_create *b, struct err *e)
{
	return b->configuration == NULL ||
	       err_set(e, ERR_NOT_FOUND,
		       "Configuration group '%.64s' cannot be found: there are none "
		       "yet.",
		       b->configuration);
}

bool create_check_is_source(const struct instance_ref *ref, struct err *e)
{
	return id_eq(ref->g->source, ref->m->id) ||
	       err_set(e, ERR_FORBIDDEN,
		       "Instance %s is a replica: a replica of a replica is "
		       "not possible. Name its source, %s.",
		       id_text(ref->m->id).s, id_text(ref->g->source).s);
}

bool create_find_source(struct call *c, struct creation *n, struct err *e)
{
	/* the project's own, for an administrator too: it is this project's turn and quota */
	if (!call_instance_by_id(c, n->body.replica_of, &n->source, e) ||
	    !str_eq(n->source.g->project, c->project)) {
		return err_set(e, ERR_NOT_FOUND, "Instance %s cannot be found in this project.",
			       id_text(n->body.replica_of).s);
	}
	return create_check_is_source(&n->source, e);
}

bool create_check_same_version(struct call *c, const struct creation *n, struct err *e)
{
	const struct member *m = n->source.m;
	const struct catalogue_version *v;
	char name[32];

	if (n->body.datastore == NULL && n->body.version == NULL) {
		return true;
	}
	if (!create_find_version(c, &n->body, &v, e)) {
		return false;
	}
	trove_version_name(m->version, name, sizeof name);
	if (!str_eq(v->datastore, m->datastore) || !str_eq(v->name, name)) {
		return err_set(e, ERR_INVALID,
			       "A replica has its source's datastore version, %s %s, not "
			       "%s %s: leave datastore out.",
			       m->datastore, name, v->datastore, v->name);
	}
	return true;
}

bool create_check_locality(const struct creation *n, struct err *e)
{
	const struct group *g = n->source.g;

	if (!n->body.has_locality || n->body.locality == g->locality) {
		return true;
	}
	return err_set(e, ERR_INVALID,
		       "A replica has its group's locality, %s, not %s: leave locality out.",
		       g->locality == PLACE_ANYWHERE ? "none" : place_locality_name(g->locality),
		       place_locality_name(n->body.locality));
}

bool create_check_replica_volume(const struct creation *n, struct err *e)
{
	const struct member *m = n->source.m;

	if (n->body.volume_gb != 0 && n->body.volume_gb < m->volume_gb) {
		return err_set(e, ERR_FORBIDDEN,
			       "A replica's volume must not be smaller than its "
			       "source's: %lld GB were asked for, the source has %u GB.",
			       (long long)n->body.volume_gb, m->volume_gb);
	}
	return true;
}

bool create_check_group_room(const struct call *c, const struct creation *n, struct err *e)
{
	const struct group *g = n->source.g;
	size_t most = (size_t)setting_int(c->api->settings, "replication.max_replicas");

	if (group_replica_count(g) + n->n > most || g->nmembers + n->n > MODEL_MEMBERS_MAX) {
		return err_set(e, ERR_OVER_LIMIT,
			       "A source can have %zu replicas; this one has %zu, %zu "
			       "more were asked for.",
			       most, group_replica_count(g), n->n);
	}
	return true;
}

/* Free bytes on a host, as the newest observation of a member there says; -1: not known. */
static int64_t free_on_host(const struct instance_ref *source, const char *host)
{
	const struct entry *en = source->entry;

	for (size_t i = 0; i < en->g->nmembers; i++) {
		const struct observation *o = en->obs[i];

		if (o != NULL && o->proc == PROC_RUNNING && str_eq(en->g->members[i].host, host)) {
			return o->disk_free_bytes;
		}
	}
	return -1;
}

static bool check_room_on(const struct instance_ref *source, const char *host, int64_t need,
			  struct err *e)
{
	int64_t room = free_on_host(source, host);

	if (room < 0 || room >= need) {
		return true;
	}
	return err_set(
		e, ERR_UNPROCESSABLE,
		"Host %s has not enough free disk for the first copy: it "
		"takes about %lld bytes, %lld are free. Free some, or create fewer replicas.",
		host, (long long)need, (long long)room);
}

bool create_check_disk(const struct creation *n, struct err *e)
{
	const struct observation *o = n->source.o;
	const char *source_host = n->source.m->host;

	if (o == NULL || n->source.silent || o->proc != PROC_RUNNING) {
		return true;
	}
	int64_t copy = o->used_memory_bytes, at_source = copy;
	for (size_t i = 0; i < n->nplaces; i++) {
		int64_t here = 0;

		if (str_eq(n->places[i].host, source_host)) {
			at_source += 2 * copy;
			continue;
		}
		for (size_t k = 0; k < n->nplaces; k++) {
			here += str_eq(n->places[k].host, n->places[i].host) ? 2 * copy : 0;
		}
		if (!check_room_on(&n->source, n->places[i].host, here, e)) {
			return false;
		}
	}
	return check_room_on(&n->source, source_host, at_source, e);
}
