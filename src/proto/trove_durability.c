/*
 * Durability of a group, in words: "async", or "bounded(K)" for a source that takes writes only
 * while K replicas are linked to it.
 */
#include "proto/trove.h"

#include <inttypes.h>

bool trove_read_durability(const json_t *v, const char *where, uint32_t *ret, struct err *e)
{
	const char *s = json_is_string(v) ? json_string_value(v) : "";
	size_t len = strlen(s);
	char digits[8];
	uint64_t k;

	if (str_eq(s, "async")) {
		*ret = 0;
		return true;
	}
	if (str_starts(s, "bounded(") && s[len - 1] == ')' &&
	    len < sizeof digits + strlen("bounded()")) {
		snprintf(digits, sizeof digits, "%.*s", (int)(len - strlen("bounded()")),
			 s + strlen("bounded("));
		if (str_to_u64(digits, &k) && k >= 1 && k < MODEL_MEMBERS_MAX) {
			*ret = (uint32_t)k;
			return true;
		}
	}
	return err_set(e, ERR_INVALID,
		       "Validation error: %s must be \"async\" or \"bounded(K)\", where K is how "
		       "many replicas must be linked for the source to take writes, from 1 to %d",
		       where, MODEL_MEMBERS_MAX - 1);
}

const char *trove_durability_text(uint32_t k, char *buf, size_t size)
{
	if (k == 0) {
		str_copy(buf, size, "async");
	} else {
		snprintf(buf, size, "bounded(%" PRIu32 ")", k);
	}
	return buf;
}
