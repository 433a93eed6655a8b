/*
 * Bringing a running server's settings to the goal's: all are asked for, and only what differs is
 * set, then the users. Questions go out together, and so do the orders: a server that is about to
 * be promoted is waited for. What the server refuses does not stop the rest, and is reported in its
 * own words.
 */
#include "agent/act.h"

#include "base/log.h"

enum { USER_WORDS_MAX = 256 };

/* False when there is no answer. The act is over when the last command has had its turn. */
static bool answered(struct act *a, const redisReply *reply, const struct err *err)
{
	a->unanswered--;
	if (reply == NULL && !a->failed) {
		act_fail(a, err);
	}
	return reply != NULL;
}

/* setting */

/*
 * After a failure nobody knows which settings hold: orders that were not answered may be carried
 * out later. Then all are asked for again, even if the goal is back at what was set before.
 */
static void finish(struct act *a)
{
	if (!a->failed && a->refused.len > 0) {
		struct err why;

		err_set(&why, ERR_CONFLICT, "the server refuses %s", a->refused.p);
		act_fail(a, &why);
	}
	a->e->run.settings = a->failed ? 0 : a->sum;
	keeper_save_run(a->e);
	act_finish(a);
}

/* Of a user its words may repeat a rule, and a rule may be a password. */
static void note_refusal(struct act *a, const redisReply *reply)
{
	const char *comma = a->refused.len > 0 ? "; " : "";

	if (a->next < a->nsettings) {
		str_printf(&a->refused, "%s%s: %s", comma, a->settings[a->next].name, reply->str);
	} else {
		str_printf(&a->refused, "%sthe rules of user %s", comma,
			   a->users[a->next - a->nsettings].name);
	}
}

static void on_set(void *arg, const redisReply *reply, const struct err *err)
{
	struct act *a = arg;

	if (answered(a, reply, err) && reply->type == REDIS_REPLY_ERROR) {
		note_refusal(a, reply);
	}
	a->next++;
	if (a->unanswered == 0) {
		finish(a);
	}
}

static void order(struct act *a, size_t argc, const char *const *argv)
{
	a->unanswered++;
	redis_command(a->e->redis, argc, argv, ACT_COMMAND_LIMIT_MS, on_set, a);
}

static void set_user(struct act *a, const struct conf_user *u)
{
	const char *argv[USER_WORDS_MAX] = { "ACL", "SETUSER", u->name };
	size_t n = 3;

	for (size_t i = 0; i < u->nrules && n < USER_WORDS_MAX; i++) {
		argv[n++] = u->rules[i];
	}
	order(a, n, argv);
}

static void set_all(struct act *a)
{
	a->next = 0;
	if (a->failed || a->nsettings + a->nusers == 0) {
		finish(a);
		return;
	}
	for (size_t i = 0; i < a->nsettings; i++) {
		const struct conf_setting *s = &a->settings[i];

		order(a, 4, (const char *[]){ "CONFIG", "SET", s->name, s->value });
	}
	for (size_t i = 0; i < a->nusers; i++) {
		set_user(a, &a->users[i]);
	}
}

/* asking */

/* Of the limits for all classes of clients we set one: it is among those that are answered. */
static bool has_value(const redisReply *reply, const struct conf_setting *s)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
	    reply->element[1]->type != REDIS_REPLY_STRING) {
		return false;
	}
	const char *is = reply->element[1]->str;
	return str_eq(is, s->value) ||
	       (str_eq(s->name, "client-output-buffer-limit") && strstr(is, s->value) != NULL);
}

/* Answers come in order: what differs moves to the front, in place. */
static void on_get(void *arg, const redisReply *reply, const struct err *err)
{
	struct act *a = arg;
	const struct conf_setting *s = &a->settings[a->next++];

	if (answered(a, reply, err) && !has_value(reply, s)) {
		a->settings[a->nsettings++] = *s;
	}
	if (a->unanswered == 0) {
		set_all(a);
	}
}

/* A fence holds these two until it ends, and its end sets them as the goal asks. */
static bool is_fences_own(const struct act *a, const char *name)
{
	return a->e->run.fenced &&
	       (str_eq(name, "min-slaves-to-write") || str_eq(name, "min-slaves-max-lag"));
}

/* The users of a server that was started with just these are right: nobody but us may set them. */
void act_set_config(struct act *a)
{
	struct engine *e = a->e;
	const struct conf_setting *wanted;
	size_t n = conf_live_settings(&e->goal, a->out.mode, &a->arena, &wanted);

	a->nusers = conf_users(&e->goal, &a->arena, &a->users);
	a->sum = engine_settings_sum(e, a->out.mode);
	a->settings = arena_alloc(&a->arena, n * sizeof *a->settings);
	for (size_t i = 0; i < n; i++) {
		if (!is_fences_own(a, wanted[i].name)) {
			const char *argv[] = { "CONFIG", "GET", wanted[i].name };

			a->settings[a->unanswered++] = wanted[i];
			redis_command(e->redis, ARRAY_LEN(argv), argv, ACT_COMMAND_LIMIT_MS, on_get,
				      a);
		}
	}
}
