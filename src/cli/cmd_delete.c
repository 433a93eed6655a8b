/*
 * Deleting: instances one by one, or a group whole.
 */
#include "cli/cli.h"
#include "cli/instance.h"
#include "cli/wait.h"

/* Looks all of them up, replicas first: a source with replicas cannot go. */
static bool find_doomed(struct cli *c, struct id_text *ret_ids, struct err *e)
{
	size_t n = c->args.nwords, front = 0, back = n;

	for (size_t i = 0; i < n; i++) {
		struct id_text id;
		auto_answer r = {};
		auto_str path = {};

		if (!api_find(&c->api, c->args.words[i], &id, e)) {
			return false;
		}
		str_printf(&path, "/instances/%s", id.s);
		if (!api_get(&c->api, str_cstr(&path), &r, e)) {
			return err_wrap(e, "%s", c->args.words[i]);
		}
		ret_ids[instance_is_replica(api_object(r.json, "instance")) ? front++ : --back] = id;
	}
	return true;
}

static bool delete_each(struct cli *c, struct err *e)
{
	size_t n = c->args.nwords, going = 0;
	struct id_text *ids = arena_alloc(&c->arena, sizeof *ids * n);

	if (!find_doomed(c, ids, e)) {
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		auto_answer r = {};
		auto_str path = {};

		str_printf(&path, "/instances/%s", ids[i].s);
		if (api_call(&c->api, "DELETE", str_cstr(&path), NULL, API_LIMIT_MS, &r, e)) {
			ids[going++] = ids[i];
		} else if (e->code == ERR_UNAVAILABLE) {
			return false;
		} else if (n > 1) {
			cli_complain(c, e);
		}
	}
	if (args_given(&c->args, OPT_WAIT) && going > 0) {
		struct err waiting = {};

		if (!wait_for_instances(c, ids, going, WAIT_GONE, &waiting)) {
			*e = waiting;
			return false;
		}
	}
	if (going < n && n > 1) {
		c->api.hint[0] = '\0';
		return err_set(e, ERR_CONFLICT, "%zu of %zu were not deleted", n - going, n);
	}
	return going == n;
}

/* The ids of all members of the instance's group, which is among them. */
static bool find_group(struct cli *c, const struct id_text *id, struct id_text *ret_ids,
		       size_t *ret_n, struct err *e)
{
	auto_json *all = NULL;
	auto_str body = {};
	const char *group = "";
	size_t n = 0;

	if (!api_instances(&c->api, "/instances/detail", &all, &body, e)) {
		return false;
	}
	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *instance = json_array_get(all, i);

		if (str_eq(api_text(instance, "id"), id->s)) {
			group = instance_group(instance);
		}
	}
	for (size_t i = 0; i < json_array_size(all) && n < WAIT_IDS_MAX; i++) {
		const json_t *instance = json_array_get(all, i);
		struct id member;

		if (str_eq(instance_group(instance), group) &&
		    id_parse(api_text(instance, "id"), &member)) {
			ret_ids[n++] = id_text(member);
		}
	}
	*ret_n = n;
	return true;
}

static bool delete_group(struct cli *c, struct err *e)
{
	struct id_text *ids = arena_alloc(&c->arena, sizeof *ids * WAIT_IDS_MAX);
	struct id_text id;
	size_t n = 0;
	auto_answer r = {};

	if (c->args.nwords > 1) {
		return err_set(e, ERR_INVALID, "--group takes one instance: any member of the group");
	}
	if (!api_find(&c->api, c->args.words[0], &id, e) ||
	    !find_group(c, &id, ids, &n, e) ||
	    !api_action(&c->api, &id, "{\"delete_group\":{}}", &r, e)) {
		return false;
	}
	return !args_given(&c->args, OPT_WAIT) || wait_for_instances(c, ids, n, WAIT_GONE, e);
}

bool cmd_delete(struct cli *c, struct err *e)
{
	return args_given(&c->args, OPT_GROUP) ? delete_group(c, e) : delete_each(c, e);
}
