/*
 * The goal of an instance: taken only when it is not lower than what was seen, durable before it
 * counts.
 */
#include "agent/engine_state.h"

#include "agent/goal_file.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "io/file.h"
#include "proto/wire.h"

enum {
	SAVE_AGAIN_MS = 1000,
	SETTLE_MS = 1000, /* without another goal: those of an operation come close together */
	SETTLE_AGAIN_MS = 60000,
};

struct goal_saving {
	struct engine *e;
	struct str text;
	bool ok;
	struct err why;
};

static void save_goal_work(void *arg)
{
	struct goal_saving *s = arg;
	const struct paths *p = &s->e->paths;

	s->ok = dir_make(p->dir, 0700, &s->why) && dir_make(p->data, 0700, &s->why) &&
		goal_file_save(p, s->text.p, s->text.len, &s->why);
}

static bool same_secret(const struct secret *a, const struct secret *b)
{
	return strcmp(a->open, b->open) == 0;
}

static void install_goal(struct engine *e, const struct str *text)
{
	struct arena a = {};
	struct goal g;
	struct err why;
	bool reconnect = !e->has_goal;

	if (!wire_read_goal(text->p, text->len, &a, &g, &why)) {
		/* We wrote it ourselves a moment ago. */
		LOG(LOG_ERROR, "goal.damaged", KV("instance", e->id), KV("reason", why.msg));
		arena_done(&a);
		return;
	}
	/* A commit of the group that is not about this instance moves the revision alone. */
	bool same = e->has_goal && g.epoch == e->goal.epoch && g.run == e->goal.run &&
		    g.role == e->goal.role;
	bool secret = e->has_goal && !same_secret(&g.secrets.agent, &e->goal.secrets.agent);
	/* A server that runs has the old one until it is told: then engine_turn() connects anew. */
	e->old_login = (e->old_login || secret) && e->run.process != NULL;
	reconnect = reconnect || (secret && !e->old_login) || !str_eq(g.version, e->goal.version);
	arena_done(&e->goal_arena);
	e->goal_arena = a;
	e->goal = g;
	e->has_goal = true;
	e->confirmed = e->goal_is_new = true;
	e->obs.goal_applied = false;
	e->clients_dropped = e->clients_dropped && g.drop_clients;
	e->pause_spent = e->pause_spent && same;
	e->goal_ms = same ? e->goal_ms : clock_ms();
	e->hold_until_ms = e->refused_until_ms = 0;
	e->refusals = e->repeats = 0;
	e->trouble[0] = '\0';
	e->moved_ms = clock_ms();
	e->settle_ms = e->moved_ms + SETTLE_MS;
	if (reconnect) {
		engine_connect(e);
	}
	LOG(same ? LOG_DEBUG : LOG_INFO, "goal.taken", KV("instance", e->id), KV("epoch", g.epoch),
	    KV("revision", g.revision), KV("run", goal_run_name(g.run)),
	    KV("role", goal_role_name(g.role)));
}

/* A delete goes on even where a full disk does not take its goal: it makes room. */
static void save_goal_done(void *arg)
{
	struct goal_saving *s = arg;
	struct engine *e = s->e;
	bool newer = e->incoming.len > 0;

	if (s->ok || (e->saving_run == GOAL_DELETE && !newer)) {
		install_goal(e, &s->text);
	} else {
		LOG(LOG_ERROR, "goal.unsaved", KV("instance", e->id), KV("reason", s->why.msg));
		str_copy(e->obs.error, sizeof e->obs.error, s->why.msg);
		if (e->obs.proc == PROC_NONE) {
			e->obs.proc = PROC_FAILED; /* its server cannot be started without a goal */
		}
		if (!newer) {
			e->incoming = s->text;
			s->text = (struct str){};
		}
		e->save_again_ms = clock_ms() + SAVE_AGAIN_MS;
	}
	str_done(&s->text);
	free(s);
	engine_changed(e);
	e->again = true;
	engine_rest(e, 0);
}

bool goal_save_is_due(const struct engine *e)
{
	return e->incoming.len > 0 && clock_ms() >= e->save_again_ms;
}

void goal_save(struct engine *e)
{
	struct goal_saving *s = calloc(1, sizeof *s);

	if (s == NULL) {
		abort();
	}
	s->e = e;
	s->text = e->incoming;
	e->incoming = (struct str){};
	e->saving_run = e->newest_run;
	e->save_again_ms = 0;
	if (e->saving_run == GOAL_DELETE && !file_exists(e->paths.dir)) {
		s->ok = true; /* nothing is there to delete: do not make a folder for the order */
		save_goal_done(s);
		return;
	}
	engine_job(e, save_goal_work, save_goal_done, s);
}

struct goal_settling {
	struct engine *e;
	bool ok;
	struct err why;
};

static void settle_work(void *arg)
{
	struct goal_settling *s = arg;

	s->ok = goal_file_settle(&s->e->paths, &s->why);
}

static void settle_done(void *arg)
{
	struct goal_settling *s = arg;
	struct engine *e = s->e;

	e->settle_ms = 0;
	if (!s->ok && file_exists(e->paths.dir)) {
		LOG(LOG_WARN, "goal.unsettled", KV("instance", e->id), KV("reason", s->why.msg));
		e->settle_ms = clock_ms() + SETTLE_AGAIN_MS;
	}
	free(s);
	e->again = true;
	engine_rest(e, 0);
}

/* Not while somebody's writes stand still: the disk is for what they wait for. */
int64_t goal_settle_at(const struct engine *e)
{
	bool waits = e->live.urgent && e->settle_ms < e->urgent_until_ms;

	return e->settle_ms != 0 && waits ? e->urgent_until_ms : e->settle_ms;
}

void goal_settle(struct engine *e)
{
	struct goal_settling *s = calloc(1, sizeof *s);

	if (s == NULL) {
		abort();
	}
	s->e = e;
	engine_job(e, settle_work, settle_done, s);
}

/* The newest one, on its way to the disk or there. */
static int compare_newest(const struct engine *e, const struct goal *g)
{
	if (e->newest_epoch == 0 && e->newest_revision == 0) {
		return 1;
	}
	return goal_cmp(g->epoch, g->revision, e->newest_epoch, e->newest_revision);
}

/*
 * The operator's settings are in no record, so with others the goal of an unchanged record differs
 * at the same numbers. Its sender is the one control plane there is: what it says now counts.
 */
static bool says_the_same(const struct engine *e, const struct goal *g)
{
	auto_str theirs = {};
	auto_str ours = {};

	if (!e->has_goal && e->incoming.len == 0) {
		return true; /* the first one, on its way to the disk */
	}
	wire_write_goal(g, &theirs);
	if (e->incoming.len == 0) {
		wire_write_goal(&e->goal, &ours);
	}
	return str_eq(str_cstr(&theirs), str_cstr(e->incoming.len == 0 ? &ours : &e->incoming));
}

/* The newest goal seen is the one in force, not one on its way to the disk. */
static bool is_installed(const struct engine *e)
{
	return e->has_goal && goal_cmp(e->goal.epoch, e->goal.revision, e->newest_epoch,
				       e->newest_revision) == 0;
}

bool engine_take_goal(struct engine *e, const struct goal *g, struct err *err)
{
	int order = compare_newest(e, g);

	if (order < 0) {
		return err_set(err, ERR_CONFLICT,
			       "goal %llu/%llu is lower than %llu/%llu, which this host has seen",
			       (unsigned long long)g->epoch, (unsigned long long)g->revision,
			       (unsigned long long)e->newest_epoch,
			       (unsigned long long)e->newest_revision);
	}
	if (order == 0 && says_the_same(e, g)) {
		if (e->has_goal && !e->confirmed) {
			e->confirmed = true;
			e->moved_ms = clock_ms();
			engine_wake(e);
		}
		return true;
	}
	if (order == 0 && is_installed(e) && !goal_same_role(g, &e->goal)) {
		return err_set(err, ERR_CONFLICT,
			       "goal %llu/%llu asks another role than the one with these numbers that "
			       "this host has: the store was restored from a copy",
			       (unsigned long long)g->epoch, (unsigned long long)g->revision);
	}
	str_clear(&e->incoming);
	wire_write_goal(g, &e->incoming);
	e->newest_epoch = g->epoch;
	e->newest_revision = g->revision;
	e->newest_run = g->run;
	e->moved_ms = clock_ms();
	engine_wake(e);
	return true;
}

void goal_load(struct engine *e)
{
	struct err why;

	if (!goal_file_load(&e->paths, &e->goal_arena, &e->goal, &why)) {
		LOG(LOG_WARN, "goal.missing", KV("instance", e->id), KV("reason", why.msg),
		    KV("hint", "it is left alone until the control plane sends its goal"));
		return;
	}
	e->has_goal = true;
	e->settle_ms = clock_ms() + SETTLE_MS; /* the last agent may not have come to it */
	e->newest_epoch = e->goal.epoch;
	e->newest_revision = e->goal.revision;
	e->newest_run = e->goal.run;
	e->obs.start_at_once = e->goal.start_at_once;
}
