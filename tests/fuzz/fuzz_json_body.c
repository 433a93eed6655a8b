/*
 * Bodies of API requests: the JSON parser and the readers of create, update and action. Every
 * string that comes out of a body is written and read again as it was.
 */
#include "fuzz.h"

#include "proto/json.h"
#include "proto/trove.h"

/* Writes a parsed value with our writer; an object as a list, because the writer's keys are literals. */
static void rewrite(struct jw *w, const json_t *j)
{
	const char *k;
	json_t *v;
	size_t i;

	if (json_is_string(j)) {
		jw_str(w, NULL, json_string_value(j));
	} else if (json_is_integer(j)) {
		jw_int(w, NULL, json_integer_value(j));
	} else if (json_is_real(j)) {
		jw_double(w, NULL, json_real_value(j), 3);
	} else if (json_is_boolean(j)) {
		jw_bool(w, NULL, json_is_true(j));
	} else if (json_is_null(j)) {
		jw_null(w, NULL);
	} else if (w->depth + 1 == JW_DEPTH_MAX) {
		jw_null(w, NULL);
	} else if (json_is_array(j)) {
		jw_array(w, NULL);
		json_array_foreach(j, i, v) {
			rewrite(w, v);
		}
		jw_end(w);
	} else {
		jw_array(w, NULL);
		json_object_foreach((json_t *)(uintptr_t)j, k, v) {
			jw_str(w, NULL, k);
			rewrite(w, v);
		}
		jw_end(w);
	}
}

static void check_json(const char *text, size_t size)
{
	auto_json *j = NULL, *again = NULL;
	auto_str once = {}, twice = {};
	struct err e = {};

	if (!json_parse(text, size, &j, &e)) {
		PROMISE_REFUSED(e);
		return;
	}
	rewrite(&(struct jw){ .out = &once }, j);
	PROMISE(json_parse(once.p, once.len, &again, &e));
	rewrite(&(struct jw){ .out = &twice }, again);
	PROMISE(same_text(&once, &twice));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	auto_arena a = {};
	struct trove_create create;
	struct trove_update update;
	struct trove_action action;
	struct err e = {};

	check_json(text, size);
	if (!trove_read_create(text, size, &a, &create, &e)) {
		PROMISE_REFUSED(e);
	}
	e = (struct err){};
	if (!trove_read_update(text, size, TROVE_PUT, &a, &update, &e)) {
		PROMISE_REFUSED(e);
	}
	e = (struct err){};
	if (!trove_read_update(text, size, TROVE_PATCH, &a, &update, &e)) {
		PROMISE_REFUSED(e);
	}
	e = (struct err){};
	if (!trove_read_action(text, size, &a, &action, &e)) {
		PROMISE_REFUSED(e);
	}
	auto_str fault = {};
	trove_write_fault(&e, &fault);
	return 0;
}
