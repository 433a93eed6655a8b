/*
 * Bringing a running server's settings to the goal's: each is asked for and only what differs is
 * set, then the users. What the server refuses does not stop the rest, and is reported in its own
 * words.
 */
#include "agent/act.h"

#include "base/log.h"

enum { USER_WORDS_MAX = 256 };

static void next_setting(struct act *a);
static void next_user(struct act *a);

/* True when the reply is an answer; the act is over when it is not. */
static bool answered(struct act *a, const redisReply *reply, const struct err *err)
{
	if (reply == NULL) {
		act_fail(a, err);
		act_finish(a);
		return false;
	}
	return true;
}

static void note_refusal(struct act *a, const char *what, const redisReply *reply)
{
	if (reply->type == REDIS_REPLY_ERROR) {
		str_printf(&a->refused, "%s%s: %s", a->refused.len > 0 ? "; " : "", what,
			   reply->str);
	}
}

static void on_set(void *arg, const redisReply *reply, const struct err *err)
{
	struct act *a = arg;

	if (answered(a, reply, err)) {
		note_refusal(a, a->settings[a->next].name, reply);
		a->next++;
		next_setting(a);
	}
}

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

static void on_get(void *arg, const redisReply *reply, const struct err *err)
{
	struct act *a = arg;
	const struct conf_setting *s = &a->settings[a->next];

	if (!answered(a, reply, err)) {
		return;
	}
	if (has_value(reply, s)) {
		a->next++;
		next_setting(a);
		return;
	}
	const char *argv[] = { "CONFIG", "SET", s->name, s->value };
	redis_command(a->e->redis, ARRAY_LEN(argv), argv, ACT_COMMAND_LIMIT_MS, on_set, a);
}

static void on_user(void *arg, const redisReply *reply, const struct err *err)
{
	struct act *a = arg;

	if (!answered(a, reply, err)) {
		return;
	}
	if (reply->type == REDIS_REPLY_ERROR) {
		/* Its words may repeat a rule, and a rule may be a password. */
		str_printf(&a->refused, "%sthe rules of user %s", a->refused.len > 0 ? "; " : "",
			   a->users[a->next].name);
	}
	a->next++;
	next_user(a);
}

static void finish(struct act *a)
{
	struct engine *e = a->e;

	if (a->refused.len > 0) {
		struct err why;

		err_set(&why, ERR_CONFLICT, "the server refuses %s", a->refused.p);
		act_fail(a, &why);
	} else {
		e->run.settings = a->sum;
		keeper_save_run(e);
	}
	act_finish(a);
}

static void next_user(struct act *a)
{
	const char *argv[USER_WORDS_MAX] = { "ACL", "SETUSER" };

	if (a->next == a->nusers) {
		finish(a);
		return;
	}
	const struct conf_user *u = &a->users[a->next];
	size_t n = 2;

	argv[n++] = u->name;
	for (size_t i = 0; i < u->nrules && n < USER_WORDS_MAX; i++) {
		argv[n++] = u->rules[i];
	}
	redis_command(a->e->redis, n, argv, ACT_COMMAND_LIMIT_MS, on_user, a);
}

static void next_setting(struct act *a)
{
	if (a->next == a->nsettings) {
		a->next = 0;
		next_user(a);
		return;
	}
	const char *argv[] = { "CONFIG", "GET", a->settings[a->next].name };
	redis_command(a->e->redis, ARRAY_LEN(argv), argv, ACT_COMMAND_LIMIT_MS, on_get, a);
}

/* The users of a server that was started with just these are right: nobody but us may set them. */
void act_set_config(struct act *a)
{
	struct engine *e = a->e;

	a->nsettings = conf_live_settings(&e->goal, a->out.mode, &a->arena, &a->settings);
	a->nusers = conf_users(&e->goal, &a->arena, &a->users);
	a->sum = engine_settings_sum(e, a->out.mode);
	next_setting(a);
}
