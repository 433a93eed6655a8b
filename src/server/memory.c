#include "server/memory.h"

#include <stdlib.h>

void *memory_alloc(size_t n, size_t bytes)
{
	void *p = calloc(n > 0 ? n : 1, bytes);

	if (p == NULL) {
		abort();
	}
	return p;
}

void *memory_grow(void *array, size_t n, size_t *cap, size_t bytes)
{
	if (n < *cap) {
		return array;
	}
	*cap = *cap == 0 ? 4 : *cap + *cap / 2;
	array = reallocarray(array, *cap, bytes);
	if (array == NULL) {
		abort();
	}
	return array;
}
