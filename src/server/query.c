#include "server/query.h"

bool query_number(const struct call *c, const char *name, uint64_t max, uint64_t *ret,
		  struct err *e)
{
	const char *text = http_query(c->rq, name);
	uint64_t value;

	if (text == NULL) {
		return true;
	}
	if (!str_to_u64(text, &value) || value > max) {
		return err_set(e, ERR_INVALID, "'%s' must be a whole number from 0 to %llu.", name,
			       (unsigned long long)max);
	}
	*ret = value;
	return true;
}
