/*
 * Names of enums: each enum has one table of them, read in both directions.
 */
#pragma once

#include <stddef.h>

/* The index of s among names[0..n), or n when it is none of them. s may be NULL. */
size_t names_find(const char *const *names, size_t n, const char *s);
