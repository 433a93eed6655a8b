/*
 * Values of the settings: the defaults, overrides, and asking for one by name. The file is read
 * in settings_file.c, the rows are in settings_table.c.
 */
#include "io/settings.h"

#include <assert.h>

#include "io/settings_file.h"

static const struct flavor standard_flavors[] = {
	{ "1", "redis.tiny", 512, 1, 1, 0, 75, "noeviction" },
	{ "2", "redis.small", 1024, 1, 5, 0, 75, "noeviction" },
	{ "3", "redis.medium", 2048, 2, 10, 0, 75, "noeviction" },
	{ "4", "redis.large", 4096, 2, 20, 0, 75, "noeviction" },
	{ "5", "redis.xlarge", 8192, 4, 40, 0, 75, "noeviction" },
};

bool settings_load(const char *path, struct str *report, struct settings *ret, struct err *e)
{
	[[gnu::cleanup(settings_done)]] struct settings s = {};

	s.text = arena_alloc(&s.arena, nsettings * sizeof *s.text);
	for (size_t i = 0; i < nsettings; i++) {
		s.text[i] = settings_table[i].standard;
	}
	if (path != NULL && !settings_file_read(path, report, &s, e)) {
		return false;
	}
	if (s.nflavors == 0) {
		s.flavors = arena_dup(&s.arena, standard_flavors, sizeof standard_flavors);
		s.nflavors = ARRAY_LEN(standard_flavors);
	}
	*ret = s;
	s = (struct settings){}; /* handed on */
	return true;
}

void settings_done(struct settings *s)
{
	arena_done(&s->arena);
	*s = (struct settings){};
}

bool settings_set(struct settings *s, const char *name, const char *value, struct err *e)
{
	const struct setting *row = setting_find(name);

	if (row == NULL) {
		return err_set(e, ERR_INVALID,
			       "there is no setting '%.60s'; --settings prints them all", name);
	}
	if (!setting_check(row, value, e)) {
		return err_wrap(e, "%s", name);
	}
	s->text[row - settings_table] = arena_strdup(&s->arena, value);
	return true;
}

/* A name that is not in the table, or of another type, is our bug. */
static const char *value_of(const struct settings *s, const char *name, const struct setting **ret)
{
	*ret = setting_find(name);
	assert(*ret != NULL);
	return s->text[*ret - settings_table];
}

int64_t setting_int(const struct settings *s, const char *name)
{
	const struct setting *row;
	const char *value = value_of(s, name, &row);
	int64_t n = 0;
	bool ok = row->type == SETTING_INT && str_to_i64(value, &n);

	assert(ok);
	return n;
}

bool setting_bool(const struct settings *s, const char *name)
{
	const struct setting *row;
	const char *value = value_of(s, name, &row);
	bool b = false;
	bool ok = row->type == SETTING_BOOL && str_to_bool(value, &b);

	assert(ok);
	return b;
}

const char *setting_text(const struct settings *s, const char *name)
{
	const struct setting *row;
	const char *value = value_of(s, name, &row);

	assert(row->type == SETTING_TEXT || row->type == SETTING_CHOICE);
	return value;
}

const char *setting_written(const struct settings *s, const char *name)
{
	const struct setting *row;

	return value_of(s, name, &row);
}

const struct flavor *settings_flavor(const struct settings *s, const char *id)
{
	for (size_t i = 0; i < s->nflavors; i++) {
		if (str_eq(s->flavors[i].id, id)) {
			return &s->flavors[i];
		}
	}
	return NULL;
}
