/*
 * Nothing here trusts the shape of what came: a member of another type counts as absent.
 */
#include "cli/instance.h"

#include <inttypes.h>

#include "cli/progress.h"
#include "cli/table.h"

struct instance_sync instance_sync(const json_t *instance)
{
	const json_t *sync = api_object(instance, "sync");

	if (sync == NULL) {
		return (struct instance_sync){};
	}
	return (struct instance_sync){
		.known = true,
		.done_bytes = api_number(sync, "done_bytes", -1),
		.total_bytes = api_number(sync, "total_bytes", -1),
		.estimated = json_is_true(json_object_get(sync, "estimated")),
	};
}

void instance_status(const json_t *instance, struct str *out)
{
	const char *status = api_text(instance, "status");
	const char *operating = api_text(instance, "operating_status");

	str_append(out, status);
	if (operating[0] != '\0' && !str_eq(operating, "HEALTHY") && !str_eq(operating, status)) {
		str_printf(out, " (%s)", operating);
	}
}

void instance_address(const json_t *instance, struct str *out)
{
	const char *ip = json_string_value(json_array_get(api_array(instance, "ip"), 0));
	int64_t port = api_number(instance, "port", 0);

	if (ip == NULL) {
		return;
	}
	str_append(out, ip);
	if (port != 0) {
		str_printf(out, ":%" PRId64, port);
	}
}

static struct progress_row progress_of(struct instance_sync sync)
{
	return (struct progress_row){
		.done_bytes = sync.known ? sync.done_bytes : -1,
		.total_bytes = sync.total_bytes,
		.estimated = sync.estimated,
	};
}

void instance_progress(const json_t *instance, struct str *out)
{
	struct progress_row row = progress_of(instance_sync(instance));

	progress_text(&row, out);
}

void instance_percent(const json_t *instance, struct str *out)
{
	struct progress_row row = progress_of(instance_sync(instance));

	if (progress_percent(&row) >= 0) {
		str_printf(out, "%s%d%%", row.estimated ? "~" : "", progress_percent(&row));
	}
}

const char *instance_group(const json_t *instance)
{
	const char *group = api_text(instance, "group_id");

	if (group[0] == '\0') {
		group = api_text(api_object(instance, "replica_of"), "id");
	}
	return group[0] == '\0' ? api_text(instance, "id") : group;
}

bool instance_is_replica(const json_t *instance)
{
	return str_eq(api_text(instance, "role"), "replica") ||
	       api_object(instance, "replica_of") != NULL;
}

const char *instance_role(const json_t *instance)
{
	const char *role = api_text(instance, "role");

	if (role[0] != '\0') {
		return role;
	}
	if (instance_is_replica(instance)) {
		return "replica";
	}
	return api_array(instance, "replicas") != NULL ? "source" : "";
}

static void scalar(const json_t *j, struct str *out)
{
	if (json_is_string(j)) {
		str_append(out, json_string_value(j));
	} else if (json_is_integer(j)) {
		str_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(j));
	} else if (json_is_real(j)) {
		str_printf(out, "%.2f", json_real_value(j));
	} else if (json_is_boolean(j)) {
		str_append(out, json_is_true(j) ? "yes" : "no");
	}
}

/* "name value, name value"; of an object with an id, the id. */
static void object(const json_t *j, struct str *out)
{
	const char *key, *sep = "";
	json_t *value;

	if (api_text(j, "id")[0] != '\0') {
		str_append(out, api_text(j, "id"));
		return;
	}
	json_object_foreach((json_t *)(uintptr_t)j, key, value) {
		if (json_is_object(value) || json_is_array(value) || json_is_null(value)) {
			continue;
		}
		str_printf(out, "%s%s ", sep, key);
		scalar(value, out);
		sep = ", ";
	}
}

/* "handover since 2026-11-22T07:37:03Z, in handover-stage" */
static void operation(const json_t *j, struct str *out)
{
	str_printf(out, "%s since %s, in %s", api_text(j, "operation"), api_text(j, "since"),
		   api_text(j, "phase"));
}

/* "handover done 2026-11-22T07:37:03Z: reason" */
static void last_operation(const json_t *j, struct str *out)
{
	bool done = json_is_true(json_object_get(j, "done"));

	str_printf(out, "%s %s %s: %s", api_text(j, "operation"), done ? "done" : "not done",
		   api_text(j, "at"), api_text(j, "reason"));
}

static void array(const json_t *j, struct str *out)
{
	for (size_t i = 0; i < json_array_size(j); i++) {
		const json_t *item = json_array_get(j, i);

		str_append(out, i == 0 ? "" : ", ");
		if (json_is_object(item)) {
			object(item, out);
		} else {
			scalar(item, out);
		}
	}
}

void instance_value(const char *key, const json_t *value, struct str *out)
{
	char bytes[TEXT_BYTES_MAX];

	if (str_eq(key, "fault")) {
		str_append(out, api_text(value, "message"));
	} else if (str_eq(key, "volume")) {
		str_printf(out, "%" PRId64 " GB", api_number(value, "size", 0));
		if (json_is_number(json_object_get(value, "used"))) {
			str_printf(out, ", %.2f GB used",
				   json_number_value(json_object_get(value, "used")));
		}
	} else if (str_eq(key, "operation") && json_is_object(value)) {
		operation(value, out);
	} else if (str_eq(key, "last_operation") && json_is_object(value)) {
		last_operation(value, out);
	} else if (str_eq(key, "lag_bytes") && json_is_integer(value)) {
		str_append(out, text_bytes(json_integer_value(value), bytes));
	} else if (json_is_object(value)) {
		object(value, out);
	} else if (json_is_array(value)) {
		array(value, out);
	} else {
		scalar(value, out);
	}
}
