/*
 * Reading the settings file: private to settings.c, settings_file.c (lines, sections and pairs) and
 * settings_things.c (the sections that stand for one thing each).
 */
#pragma once

#include "io/settings.h"

enum {
	SETTINGS_FILE_MAX = 1 << 20,
	SETTINGS_LINE_MAX = 4096,
	SETTINGS_KEYS_MAX = 8, /* of a thing */
	SETTINGS_FLAVORS_MAX = 256,
	SETTINGS_TOKENS_MAX = 1024,
	SETTINGS_VERSIONS_MAX = 256,
};

struct reading;

/* A kind of section that stands for one thing, such as a flavor: "[prefix:NAME]". */
struct section_kind {
	const char *prefix;
	const struct setting *keys; /* standard NULL: the key must be there */
	size_t nkeys;
	size_t name_max;
	enum { NAME_WORD, NAME_SECRET } name; /* a secret is not named in messages, and any text */
	void (*close)(struct reading *r);     /* makes the thing of r->value[] */
	/* Takes a key that is not in `keys`; false: there is no such key. NULL: never */
	bool (*other_key)(struct reading *r, const char *key, const char *value);
	const char *other_keys; /* for messages */
};

struct reading {
	struct settings *s;
	struct str *report;
	const char *path;
	unsigned nbad;
	const char *at, *end; /* of the text that is left */
	unsigned line;
	bool expected; /* inih has to make a pair of this line */

	/* The section we are in: table rows, a thing, or (neither) one whose header was bad. */
	const char *section; /* "api" or a thing's name; NULL: before any header */
	bool in_table;
	const struct section_kind *kind;
	unsigned section_line;
	unsigned nbad_before; /* this section: a thing with a bad line is not made */
	const char *value[SETTINGS_KEYS_MAX]; /* of a thing's keys */
	unsigned value_line[SETTINGS_KEYS_MAX];
	size_t first_version; /* of a datastore section, in s->catalogue */

	unsigned *row_line; /* where each row was set, 0: not yet */
};

extern const struct section_kind section_kinds[];
extern const size_t nsection_kinds;

/* Appends "FILE:LINE: text" to the report. */
void settings_bad(struct reading *r, unsigned line, const char *fmt, ...) PRINTF_LIKE(3, 4);

/*
 * Puts what the file says into *s, which holds the defaults. Every bad line is appended to
 * *report; then ERR_INVALID, and *s is half changed. ERR_NOT_FOUND, ERR_OVER_LIMIT, ERR_IO: the
 * file cannot be read.
 */
[[nodiscard]] bool settings_file_read(const char *path, struct str *report, struct settings *s,
				      struct err *e);
