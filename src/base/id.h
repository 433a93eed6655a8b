/*
 * Ids (UUIDs, as Trove's clients expect) and random secrets.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct id {
	uint8_t b[16];
};

enum { ID_TEXT_BYTES = 37 }; /* 36 characters and the NUL */

struct id_text {
	char s[ID_TEXT_BYTES];
};

/* A random (version 4) id. */
struct id id_new(void);

/* The id that always belongs to this name (version 8): datastores and versions have no record. */
struct id id_of_name(const char *name);

/* Only the canonical form: 36 characters, hyphens in place, either case. */
[[nodiscard]] bool id_parse(const char *s, struct id *ret);

/* By value, so that it can stand in an argument: id_text(x).s */
struct id_text id_text(struct id id);

bool id_eq(struct id a, struct id b);
int id_cmp(struct id a, struct id b); /* order of the text form */
bool id_is_zero(struct id id);

/* Fills p with random bytes from the kernel. */
void random_bytes(void *p, size_t len);

/* Writes len random letters and digits and a NUL: buf has len + 1 bytes. */
void random_secret(char *buf, size_t len);
