/*
 * The registry's frame: loading everything from the store, entries and their life, and telling
 * the watchers. See registry_impl.h for what its other files do.
 */
#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/registry_impl.h"

/* ---- entries ---- */

static void live_alloc(struct entry *en)
{
	size_t n = en->g->nmembers;

	en->live.members = memory_alloc(n, sizeof *en->live.members);
	en->obs = memory_alloc(n, sizeof(struct observation *));
	en->seen_ms = memory_alloc(n, sizeof *en->seen_ms);
}

struct entry *entry_new(struct group *g)
{
	struct entry *en = memory_alloc(1, sizeof *en);

	en->g = g;
	live_alloc(en);
	return en;
}

void entry_free(struct entry *en)
{
	for (size_t i = 0; i < en->g->nmembers; i++) {
		free(en->obs[i]);
	}
	free(en->obs);
	free(en->seen_ms);
	free(en->live.members);
	free(en->g);
	free(en);
}

void entry_show(struct entry *en, struct group *g)
{
	struct group *before = en->g;
	struct member_live *live = en->live.members;
	struct observation **obs = en->obs;
	int64_t *seen_ms = en->seen_ms;

	en->g = g;
	live_alloc(en);
	for (size_t i = 0; i < before->nmembers; i++) {
		size_t now = index_member(g, before->members[i].id);

		if (now == SIZE_MAX) {
			free(obs[i]);
			continue;
		}
		en->live.members[now] = live[i];
		en->obs[now] = obs[i];
		en->seen_ms[now] = seen_ms[i];
	}
	free(live);
	free(obs);
	free(seen_ms);
	free(before);
}

void entry_carry(struct entry *from, struct entry *to)
{
	for (size_t i = 0; i < from->g->nmembers; i++) {
		size_t k = index_member(to->g, from->g->members[i].id);

		if (k != SIZE_MAX && to->obs[k] == NULL) {
			to->obs[k] = from->obs[i];
			from->obs[i] = NULL;
			to->seen_ms[k] = from->seen_ms[i];
		}
	}
}

/* ---- loading ---- */

static bool all_are_new(const struct registry *r, const struct group *g, struct err *e)
{
	for (size_t i = 0; i < g->nmembers; i++) {
		if (index_instance(r, g->members[i].id) != NULL) {
			return err_set(e, ERR_IO, "instance %s is in two groups",
				       id_text(g->members[i].id).s);
		}
	}
	return true;
}

static void warn_of_missing_flavors(const struct registry *r, const struct group *g)
{
	for (size_t i = 0; i < g->nmembers; i++) {
		if (settings_flavor(r->settings, g->members[i].flavor) == NULL) {
			LOG(LOG_WARN, "flavor.missing", KV("instance", g->members[i].id),
			    KV("flavor", g->members[i].flavor),
			    KV("hint", "put its [flavor:ID] section back: until then it has no "
				       "memory limit"));
		}
	}
}

static bool load_group(struct registry *r, const char *json, size_t len, uint64_t revision,
		       struct err *e)
{
	auto_arena a = {};
	struct group g;

	if (!record_read_group(json, len, &a, &g, e) || !all_are_new(r, &g, e)) {
		return false;
	}
	g.revision = revision;

	struct entry *en = entry_new(record_pack_group(&g));
	en->shown = revision;
	index_change(r, en, NULL, en->g);
	warn_of_missing_flavors(r, en->g);
	return true;
}

static bool load_host(struct registry *r, const char *json, size_t len, struct err *e)
{
	struct host h;

	if (!record_read_host(json, len, &h, e)) {
		return false;
	}
	hosts_add(r, &h)->recorded = true;
	return true;
}

static bool load_row(struct registry *r, const char *key, const char *value, size_t len,
		     uint64_t revision, struct err *e)
{
	if (str_eq(key, RECORD_KEY_INSTALLATION)) {
		return record_read_installation(value, len, &r->installation, e);
	}
	if (str_starts(key, "group/")) {
		return load_group(r, value, len, revision, e);
	}
	if (str_starts(key, "host/")) {
		return load_host(r, value, len, e);
	}
	if (str_starts(key, "event/")) {
		return events_load(r, value, len, e);
	}
	return err_set(e, ERR_CONFLICT,
		       "nothing is known of this kind of record: the store was "
		       "written by a newer tanist");
}

static bool on_row(void *arg, const char *key, const char *value, size_t len, uint64_t revision,
		   struct err *e)
{
	struct registry *r = arg;

	r->last_shown = revision > r->last_shown ? revision : r->last_shown;
	return load_row(r, key, value, len, revision, e) || err_wrap(e, "record '%s'", key);
}

static void opened(struct registry *r, const struct err *e)
{
	void (*fn)(void *, struct registry *, const struct err *) = r->opened;
	void *arg = r->opened_arg;

	if (e->code != ERR_NONE) {
		registry_free(r);
		fn(arg, NULL, e);
		return;
	}
	r->loaded = true;
	r->started_ms = clock_ms();
	r->last_shown++; /* 0 is for those who know nothing yet */
	hosts_start(r);
	fn(arg, r, e);
}

static void on_installation(void *arg, enum store_outcome outcome, uint64_t revision,
			    const struct err *e)
{
	struct registry *r = arg;
	struct err why = outcome == STORE_COMMITTED ? (struct err){} : *e;

	if (outcome != STORE_COMMITTED && why.code == ERR_NONE) {
		err_set(&why, ERR_CONFLICT, "the store was written to by somebody else");
	}
	if (why.code != ERR_NONE) {
		err_wrap(&why, "record of a new installation");
	}
	r->last_shown = revision;
	opened(r, &why);
}

static void create_installation(struct registry *r)
{
	auto_str json = {};

	r->installation = (struct installation){ id_new(), clock_wall_ms() };
	record_write_installation(&r->installation, &json);
	write_start(r,
		    &(struct write_spec){
			    .records = &(struct write_record){ .key = RECORD_KEY_INSTALLATION,
							       .value = str_cstr(&json),
							       .len = json.len,
							       .expect = STORE_ABSENT },
			    .nrecords = 1 },
		    on_installation, r);
}

static void on_loaded(void *arg, const struct err *e)
{
	struct registry *r = arg;
	struct err why = *e;

	if (why.code == ERR_NONE && id_is_zero(r->installation.id)) {
		if (r->groups.n == 0 && r->nhosts == 0 && r->events.n == 0) {
			create_installation(r);
			return;
		}
		err_set(&why, ERR_IO,
			"the store has records but lacks its record 'installation': "
			"it is damaged");
	}
	opened(r, &why);
}

void registry_open(struct loop *l, struct store *s, const struct settings *settings,
		   void (*done)(void *arg, struct registry *r, const struct err *e), void *arg)
{
	struct registry *r = memory_alloc(1, sizeof *r);

	r->loop = l;
	r->store = s;
	r->settings = settings;
	r->silent_after_ms = SEC(setting_int(settings, "agent.silent_after"));
	r->opened = done;
	r->opened_arg = arg;
	r->events.next_seq = 1;
	LIST_INIT(&r->commits);
	store_load(s, "", on_row, on_loaded, r);
}

static void free_projects(struct registry *r)
{
	size_t cursor = 0;
	struct project *p;

	while ((p = table_next(&r->projects, &cursor)) != NULL) {
		while (p->turn != NULL) {
			struct waiting *w = p->turn;

			p->turn = w->next;
			free(w);
		}
		free(p->items);
		free(p->name);
		free(p);
	}
	table_done(&r->projects);
}

void registry_free(struct registry *r)
{
	size_t cursor = 0;
	struct entry *en;

	if (r == NULL) {
		return;
	}
	assert(!registry_busy(r));
	while ((en = table_next(&r->groups, &cursor)) != NULL) {
		entry_free(en);
	}
	table_done(&r->groups);
	table_done(&r->instances);
	table_done(&r->names);
	free_projects(r);
	hosts_free_all(r);
	events_free(r);
	free(r->orphans);
	free(r);
}

/* ---- the rest ---- */

struct id registry_installation(const struct registry *r)
{
	return r->installation.id;
}

const struct settings *registry_settings(const struct registry *r)
{
	return r->settings;
}

struct loop *registry_loop(const struct registry *r)
{
	return r->loop;
}

bool registry_leads(const struct registry *r)
{
	return store_leads(r->store);
}

uint64_t registry_shown(const struct registry *r)
{
	return r->last_shown;
}

void registry_on_change(struct registry *r, registry_watch_fn *fn, void *arg)
{
	assert(r->nwatchers < REGISTRY_WATCHERS);
	r->watchers[r->nwatchers++] = (struct watcher){ fn, arg };
}

void registry_notify(struct registry *r, struct entry *en)
{
	for (size_t i = 0; i < r->nwatchers; i++) {
		r->watchers[i].fn(r->watchers[i].arg, en);
	}
}
