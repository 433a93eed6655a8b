#include "core/names.h"

#include "base/str.h"

size_t names_find(const char *const *names, size_t n, const char *s)
{
	size_t i = 0;

	while (i < n && (s == NULL || !str_eq(names[i], s))) {
		i++;
	}
	return i;
}
