/*
 * Memory of the long-lived things. Running out ends the program: its state is on disk.
 */
#pragma once

#include <stddef.h>

/* Zeroed memory for n things, none too; never NULL. Free with free(). */
void *memory_alloc(size_t n, size_t bytes);

/*
 * Room for one more in an array of n things with *cap places, which grows as needed. Returns the
 * array, which may have moved; new places are not zeroed.
 */
void *memory_grow(void *array, size_t n, size_t *cap, size_t bytes);
