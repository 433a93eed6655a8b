/*
 * Commands that change who is the source of a group, or which group an instance is in, and how
 * much a change may cost. Each sends one request and follows what it began to its end.
 */
#include "cli/cli.h"
#include "cli/outcome.h"
#include "cli/table.h"
#include "cli/wait.h"

static bool no_wait(const struct cli *c)
{
	return args_given(&c->args, OPT_NO_WAIT);
}

static bool accepted(void)
{
	fprintf(stderr, "in progress: `tanist operations` shows it, `tanist show` how it ended\n");
	return true;
}

/* Sends the request between two looks at the group, so that its operation is told from others. */
static bool change(struct cli *c, enum change what, const char *body, struct err *e)
{
	struct id_text id;
	struct outcome outcome;
	auto_answer r = {};

	if (!api_find(&c->api, c->args.words[0], &id, e)) {
		return false;
	}
	if (!no_wait(c) && !outcome_begin(c, what, &id, &outcome, e)) {
		return false;
	}
	if (!api_action(&c->api, &id, body, &r, e)) {
		return false;
	}
	return no_wait(c) ? accepted() : outcome_wait(&outcome, e);
}

bool cmd_promote(struct cli *c, struct err *e)
{
	return change(c, CHANGE_HANDOVER, "{\"promote_to_replica_source\":{}}", e);
}

bool cmd_eject(struct cli *c, struct err *e)
{
	bool accept = args_given(&c->args, OPT_ACCEPT_DATA_LOSS);

	return change(c, CHANGE_EJECT,
		      accept ? "{\"eject_replica_source\":{\"accept_data_loss\":true}}"
			     : "{\"eject_replica_source\":{}}",
		      e);
}

bool cmd_cancel(struct cli *c, struct err *e)
{
	return change(c, CHANGE_CANCEL, "{\"cancel\":{}}", e);
}

bool cmd_detach_replica(struct cli *c, struct err *e)
{
	struct id_text id;
	struct outcome outcome;
	auto_answer r = {};
	auto_str path = {};

	if (!api_find(&c->api, c->args.words[0], &id, e)) {
		return false;
	}
	if (!no_wait(c) && !outcome_begin(c, CHANGE_DETACH, &id, &outcome, e)) {
		return false;
	}
	str_printf(&path, "/instances/%s", id.s);
	if (!api_call(&c->api, "PUT", str_cstr(&path), "{\"instance\":{\"replica_of\":null}}",
		      API_LIMIT_MS, &r, e)) {
		return false;
	}
	return no_wait(c) ? accepted() : outcome_wait(&outcome, e);
}

/* No operation of the group: the instance is in BUILD like any new replica. */
bool cmd_attach(struct cli *c, struct err *e)
{
	const char *source = c->args.text[OPT_REPLICA_OF];
	struct id_text id, source_id;
	auto_str body = {};
	auto_answer r = {};

	if (source == NULL) {
		return err_set(e, ERR_INVALID, "'attach' needs --replica-of INSTANCE");
	}
	if (!api_find(&c->api, c->args.words[0], &id, e) ||
	    !api_find(&c->api, source, &source_id, e)) {
		return false;
	}
	str_printf(&body, "{\"attach\":{\"replica_of\":\"%s\"}}", source_id.s);
	if (!api_action(&c->api, &id, str_cstr(&body), &r, e)) {
		return false;
	}
	return no_wait(c) ? accepted() : wait_for_instances(c, &id, 1, WAIT_ACTIVE, e);
}

static void show_durability(const struct api_answer *r, FILE *out)
{
	const json_t *answer = api_object(r->json, "durability");
	auto_str text = {}, clean = {};

	str_append(&text, api_text(answer, "durability"));
	str_append(&text, ": ");
	str_append(&text, api_text(answer, "promise"));
	text_clean(str_cstr(&text), &clean);
	fprintf(out, "%s\n", str_cstr(&clean));
}

static bool get_durability(struct api *api, const struct id_text *id, struct api_answer *r,
			   struct err *e)
{
	auto_str path = {};

	str_printf(&path, "/instances/%s/durability", id->s);
	return api_get(api, str_cstr(&path), r, e);
}

static bool set_durability(struct api *api, const struct id_text *id,
			   const struct durability_text *durability, struct api_answer *r,
			   struct err *e)
{
	auto_str body = {};

	str_printf(&body, "{\"durability\":\"%s\"}", durability->s);
	return api_action(api, id, str_cstr(&body), r, e);
}

bool cmd_durability(struct cli *c, struct err *e)
{
	bool sets = c->args.nwords > 1;
	struct durability_text durability;
	struct id_text id;
	auto_answer r = {};

	if ((sets && !args_durability(c->args.words[1], &durability, e)) ||
	    !api_find(&c->api, c->args.words[0], &id, e)) {
		return false;
	}
	if (!(sets ? set_durability(&c->api, &id, &durability, &r, e)
		   : get_durability(&c->api, &id, &r, e))) {
		return false;
	}
	if (args_given(&c->args, OPT_JSON)) {
		text_json(&r.body, c->out);
	} else {
		show_durability(&r, c->out);
	}
	return true;
}
