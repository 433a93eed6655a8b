/*
 * Settings: one table of rows, an INI file checked against it. `tanistd --settings` and the man
 * page print the rows.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

enum setting_type { SETTING_INT, SETTING_BOOL, SETTING_TEXT, SETTING_CHOICE };
enum setting_reload { SETTING_RESTART, SETTING_LIVE };

struct setting {
	const char *name; /* "section.key" */
	enum setting_type type;
	const char *unit; /* "s", "ms", "bytes", ""; for people */
	int64_t min, max; /* INT: of the value; TEXT: characters */
	const char *choices; /* CHOICE: "a|b|c" */
	const char *standard; /* the default, as text */
	enum setting_reload reload;
	const char *meaning; /* one sentence */
	bool (*check)(const char *value, struct err *e); /* TEXT: its form; NULL: any text */
};

/* Order is the order of `--settings`. Sections with rows of their own kind are below. */
extern const struct setting settings_table[];
extern const size_t nsettings;

struct flavor {
	const char *id, *name;
	uint32_t ram_mb, vcpus, disk_gb, ephemeral_gb;
	uint32_t maxmemory_pct;       /* of ram: what maxmemory gets */
	const char *maxmemory_policy;
};

/*
 * A datastore version that is shown without an agent having it (tests of the recorded contract).
 * Of each [datastore:NAME]: id=UUID, default=VERSION, and any number of
 * version.VERSION=UUID active|inactive [NUMBER] (NUMBER: as VERSION when not given).
 */
struct catalogue_entry {
	const char *datastore, *datastore_id, *version, *version_id, *number;
	bool active, is_default;
};

/* A static token: [token:NAME] project=P roles=member|admin; NAME is the token, and a secret. */
struct token {
	const char *token, *project;
	bool admin;
};

struct settings {
	struct arena arena;
	const char **text; /* value of row i, as text; never NULL */
	struct flavor *flavors; /* [flavor:ID] sections, or the built-in five when there are none */
	size_t nflavors;
	struct catalogue_entry *catalogue; /* [datastore:NAME] sections */
	size_t ncatalogue;
	struct token *tokens;
	size_t ntokens;
};

/* NULL when there is no such row. */
const struct setting *setting_find(const char *name);

/* ERR_INVALID with what is allowed; the name is the caller's to add. */
[[nodiscard]] bool setting_check(const struct setting *row, const char *value, struct err *e);

/*
 * path NULL: all defaults. Every bad line is reported in *report as "FILE:LINE: what, and what is
 * allowed" (one per line); then ERR_INVALID. ERR_NOT_FOUND, ERR_IO: the file cannot be read. Free
 * with settings_done().
 */
[[nodiscard]] bool settings_load(const char *path, struct str *report, struct settings *ret,
				 struct err *e);
/* Overrides one row (the command line); the same checks. */
[[nodiscard]] bool settings_set(struct settings *s, const char *name, const char *value,
				struct err *e);
void settings_done(struct settings *s);

/* Values by name; asking for a name that is not in the table, or by a wrong type, is our bug. */
int64_t setting_int(const struct settings *s, const char *name);
bool setting_bool(const struct settings *s, const char *name);
const char *setting_text(const struct settings *s, const char *name);
/* As it was written, of any type. */
const char *setting_written(const struct settings *s, const char *name);

const struct flavor *settings_flavor(const struct settings *s, const char *id);

/* Prints the table as a file to start from: meaning, type, range, unit and default of each. */
void settings_print(FILE *f);
