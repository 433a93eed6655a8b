/*
 * An operation is told from others by its id: the one that runs when the request has been accepted,
 * or, when it was quick, the one that ended since. What a record says of a third one means that
 * ours is over and was replaced.
 */
#include "cli/outcome.h"

#include "base/clock.h"
#include "cli/instance.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "cli/wait.h"

enum { HELD_S = 10 }; /* a request for news is held so long: every phase ends with an event */

#define CHANGE_OPERATION(name, operation) [CHANGE_##name] = operation,
static const char *const operations[] = { CHANGES(CHANGE_OPERATION) };
#undef CHANGE_OPERATION

/* What one look at the group says. */
enum state {
	STATE_UNSEEN,   /* neither running nor ended: the answer has not caught up */
	STATE_RUNNING,
	STATE_HELD,     /* it waits for a human, or for a member that is away */
	STATE_DONE,     /* it did what its name says */
	STATE_NOT_DONE, /* refused or undone */
	STATE_REPLACED, /* it is over, and another is the last one told of */
};

struct seen {
	enum state state;
	char operation[32], phase[32];
	char reason[512];
};

static bool get_instance(struct api *api, const char *id, struct api_answer *r, struct err *e)
{
	auto_str path = {};

	str_printf(&path, "/instances/%s", id);
	return api_get(api, str_cstr(&path), r, e);
}

static void add_member(struct outcome *o, const char *text)
{
	struct id id;

	if (o->nmembers < OUTCOME_MEMBERS_MAX - 1 && id_parse(text, &id) &&
	    !str_eq(id_text(id).s, o->asked.s)) {
		o->members[o->nmembers++] = id_text(id);
	}
}

static void add_replicas(struct outcome *o, const json_t *source)
{
	const json_t *replicas = api_array(source, "replicas");

	for (size_t i = 0; i < json_array_size(replicas); i++) {
		add_member(o, api_text(json_array_get(replicas, i), "id"));
	}
}

/* The others first: they stay in the group whatever becomes of the asked one. */
static bool find_members(struct outcome *o, const json_t *asked, struct err *e)
{
	const char *source_id = api_text(api_object(asked, "replica_of"), "id");
	auto_answer r = {};

	if (o->change == CHANGE_DETACH) {
		o->group[0] = '\0'; /* the asked one alone goes there */
	} else if (source_id[0] == '\0') {
		add_replicas(o, asked);
	} else {
		add_member(o, source_id);
		if (!get_instance(&o->c->api, source_id, &r, e) && r.status != 404) {
			return false;
		}
		add_replicas(o, api_object(r.json, "instance"));
	}
	o->members[o->nmembers++] = o->asked;
	return true;
}

bool outcome_begin(struct cli *c, enum change change, const struct id_text *asked,
		   struct outcome *ret, struct err *e)
{
	int64_t limit_s = args_number(&c->args, OPT_TIMEOUT, WAIT_SECONDS);
	auto_answer r = {};

	*ret = (struct outcome){
		.c = c,
		.change = change,
		.asked = *asked,
		.limit_s = limit_s,
		.news = news_start(&c->api, clock_ms() + SEC(limit_s)),
	};
	if (!get_instance(&c->api, asked->s, &r, e)) {
		return false;
	}
	const json_t *instance = api_object(r.json, "instance");

	str_copy(ret->name, sizeof ret->name, api_text(instance, "name"));
	str_copy(ret->group, sizeof ret->group, api_text(instance, "group_id"));
	str_copy(ret->before, sizeof ret->before,
		 api_text(api_object(instance, "last_operation"), "id"));
	if (change == CHANGE_CANCEL) {
		str_copy(ret->ours, sizeof ret->ours,
			 api_text(api_object(instance, "operation"), "id"));
	}
	if (ret->group[0] == '\0') {
		return err_set(e, ERR_IO, "%s does not tell how an operation ends; --no-wait does "
			       "not ask", c->api.base);
	}
	return find_members(ret, instance, e);
}

/* Which operation is ours, as far as this record shows it. */
static void recognise(struct outcome *o, const char *running, const char *kind, const char *ended)
{
	if (o->ours[0] != '\0') {
		return;
	}
	if (running[0] != '\0' && str_eq(kind, operations[o->change])) {
		str_copy(o->ours, sizeof o->ours, running);
	} else if (ended[0] != '\0' && !str_eq(ended, o->before)) {
		str_copy(o->ours, sizeof o->ours, ended);
	}
}

static void read_instance(struct outcome *o, const json_t *instance, struct seen *ret)
{
	const json_t *op = api_object(instance, "operation");
	const json_t *last = api_object(instance, "last_operation");
	const char *running = api_text(op, "id"), *ended = api_text(last, "id");
	bool is_over;

	*ret = (struct seen){};
	recognise(o, running, api_text(op, "operation"), ended);
	if (o->ours[0] == '\0') {
		return;
	}
	is_over = str_eq(ended, o->ours);
	str_copy(ret->operation, sizeof ret->operation,
		 api_text(is_over ? last : op, "operation"));
	if (is_over) {
		ret->state = json_is_true(json_object_get(last, "done")) ? STATE_DONE
									 : STATE_NOT_DONE;
		str_copy(ret->reason, sizeof ret->reason, api_text(last, "reason"));
	} else if (str_eq(running, o->ours)) {
		str_copy(ret->phase, sizeof ret->phase, api_text(op, "phase"));
		ret->state = str_eq(ret->phase, "eject-held") ? STATE_HELD : STATE_RUNNING;
	} else {
		ret->state = STATE_REPLACED;
	}
}

/* Asks one member after the other until one is found that is in the group. */
static bool look(struct outcome *o, struct seen *ret, struct err *e)
{
	for (size_t i = 0; i < o->nmembers; i++) {
		auto_answer r = {};
		bool ok = get_instance(&o->c->api, o->members[i].s, &r, e);

		if (!ok && r.status == 404) {
			continue;
		}
		if (!ok) {
			return news_looked(&o->news, false, e);
		}
		const json_t *instance = api_object(r.json, "instance");

		if (o->change == CHANGE_DETACH) {
			str_copy(o->group, sizeof o->group, api_text(instance, "group_id"));
		}
		if (str_eq(o->group, api_text(instance, "group_id"))) {
			read_instance(o, instance, ret);
			return news_looked(&o->news, true, e);
		}
	}
	return err_set(e, ERR_NOT_FOUND, "the group of %s is gone: nobody can tell how it ended",
		       o->name);
}

static void show(struct progress *progress, const struct outcome *o, const struct seen *seen)
{
	const char *status = seen->phase;

	switch (seen->state) {
	case STATE_UNSEEN:
		status = "...";
		break;
	case STATE_DONE:
		status = "done";
		break;
	case STATE_NOT_DONE:
	case STATE_REPLACED:
		status = "not done";
		break;
	case STATE_RUNNING:
	case STATE_HELD:
		break;
	}
	progress_show(progress, &(struct progress_row){ .name = o->name, .status = status },
		      clock_ms());
}

static bool is_ours(const void *arg, const json_t *event)
{
	const struct outcome *o = arg;

	return str_eq(o->asked.s, api_text(event, "instance")) ||
	       str_eq(o->group, api_text(event, "group"));
}

static bool too_long(struct outcome *o, const struct seen *seen, struct err *e)
{
	snprintf(o->c->api.hint, sizeof o->c->api.hint,
		 "it goes on without us: `tanist operations` shows it; `tanist cancel %.80s` takes it "
		 "back if it has not committed", o->name);
	return err_set(e, ERR_TIMEOUT, "waited %lld s, and it still is in %s", (long long)o->limit_s,
		       seen->phase[0] == '\0' ? "progress" : seen->phase);
}

/* An eject that found nobody: the fault of the one to be ejected says why. */
static bool held(struct outcome *o, struct err *e)
{
	auto_answer r = {};
	struct err asking = {};
	const char *fault = "";

	if (get_instance(&o->c->api, o->asked.s, &r, &asking)) {
		fault = api_text(api_object(api_object(r.json, "instance"), "fault"), "message");
	}
	snprintf(o->c->api.hint, sizeof o->c->api.hint,
		 "it goes on when a member returns; `tanist elect` shows the figures, `tanist eject "
		 "--accept-data-loss` takes the loss, `tanist cancel` gives it up");
	return err_set(e, ERR_CONFLICT, "%s",
		       fault[0] == '\0' ? "no replica can be promoted yet" : fault);
}

/* The operation did what was asked: a cancel wants it not to, and a handover may end as an eject. */
static bool is_success(const struct outcome *o, const struct seen *seen)
{
	if (o->change == CHANGE_CANCEL) {
		return seen->state == STATE_NOT_DONE;
	}
	return seen->state == STATE_DONE && str_eq(seen->operation, operations[o->change]);
}

static bool tell(struct outcome *o, const struct seen *seen, struct err *e)
{
	bool success = is_success(o, seen);
	auto_str reason = {};

	if (seen->state == STATE_HELD) {
		return held(o, e);
	}
	if (!success) {
		str_copy(o->c->api.hint, sizeof o->c->api.hint,
			 "`tanist events` shows each step and what it was decided on");
	}
	if (seen->state == STATE_REPLACED) {
		return err_set(e, ERR_CONFLICT, "it was replaced by another change%s%s",
			       seen->operation[0] == '\0' ? "" : ": ", seen->operation);
	}
	if (!success) {
		return err_set(e, ERR_CONFLICT, "%s",
			       seen->reason[0] == '\0' ? "it was not done" : seen->reason);
	}
	if (!args_given(&o->c->args, OPT_JSON)) {
		text_clean(seen->reason[0] == '\0' ? "done" : seen->reason, &reason);
		fprintf(o->c->out, "%s\n", str_cstr(&reason));
	}
	return true;
}

static bool follow(struct outcome *o, struct progress *progress, struct err *e)
{
	struct seen seen = {};

	for (;;) {
		if (!look(o, &seen, e)) {
			return false;
		}
		show(progress, o, &seen);
		if (seen.state != STATE_UNSEEN && seen.state != STATE_RUNNING) {
			return tell(o, &seen, e);
		}
		if (clock_ms() >= o->news.deadline_ms) {
			return too_long(o, &seen, e);
		}
		if (!news_await(&o->news, HELD_S, is_ours, o, e)) {
			return false;
		}
	}
}

/* The instance as it is now: the request's own answer is empty. */
static bool print_json(struct outcome *o, struct err *e)
{
	auto_answer r = {};

	if (!get_instance(&o->c->api, o->asked.s, &r, e)) {
		return false;
	}
	text_json(&r.body, o->c->out);
	return true;
}

bool outcome_wait(struct outcome *o, struct err *e)
{
	struct progress *progress = progress_new(1);
	bool ok = follow(o, progress, e);
	struct err unprinted = {};
	char hint[sizeof o->c->api.hint];

	progress_free(progress);
	if (!args_given(&o->c->args, OPT_JSON) || (!ok && e->code != ERR_CONFLICT)) {
		return ok;
	}
	if (ok) {
		return print_json(o, e);
	}
	str_copy(hint, sizeof hint, o->c->api.hint); /* every request clears it */
	(void)print_json(o, &unprinted);
	str_copy(o->c->api.hint, sizeof o->c->api.hint, hint);
	return false;
}
