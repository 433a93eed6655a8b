/*
 * The settings file: INI, read by inih, every line checked against the rows. A bad line is
 * reported with its number and reading goes on, so that one run names them all.
 *
 * inih tells neither line numbers nor the second line that it cannot parse, cuts long lines into
 * pieces and section names short. So lines go through a reader of ours, which counts, refuses the
 * over-long, opens the sections, and notices when inih made nothing of a line. What a key, a value
 * and a comment is stays inih's business.
 */
#include "io/settings_file.h"

#include <assert.h>
#include <ctype.h>
#include <ini.h>
#include <stdarg.h>

#include "io/file.h"

void settings_bad(struct reading *r, unsigned line, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	str_printf(r->report, "%s:%u: %s\n", r->path, line, text);
	r->nbad++;
}

/*
 * Sections
 */

/* Is it "section.", the beginning of a row's name? len is the section's. */
static bool row_in(const struct setting *row, const char *section, size_t len)
{
	return strncmp(row->name, section, len) == 0 && row->name[len] == '.';
}

static bool is_table_section(const char *section)
{
	for (size_t i = 0; i < nsettings; i++) {
		if (row_in(&settings_table[i], section, strlen(section))) {
			return true;
		}
	}
	return false;
}

/* The text before the ':' only: what follows may be a token under a misspelt word. */
static void report_unknown_section(struct reading *r, const char *header)
{
	auto_str known = {};
	size_t shown = 0;

	for (size_t i = 0; i < nsettings; i++) {
		const char *name = settings_table[i].name;
		size_t len = strcspn(name, ".");

		if (i == 0 || !row_in(&settings_table[i], settings_table[i - 1].name, len) ||
		    settings_table[i - 1].name[len] != '.') {
			str_printf(&known, "[%.*s], ", (int)len, name);
		}
	}
	for (size_t i = 0; i < nsection_kinds; i++) {
		str_printf(&known, "%s[%s:NAME]", i == 0 ? "" : ", ", section_kinds[i].prefix);
	}
	shown = strcspn(header, ":");
	settings_bad(r, r->line, "there is no section [%.*s%s]; there are %s",
		     (int)(shown > 60 ? 60 : shown), header, header[shown] == ':' ? ":..." : "",
		     str_cstr(&known));
}

static bool good_name(const struct section_kind *k, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = name; *p != '\0'; p++) {
		if (k->name == NAME_WORD && !isalnum((unsigned char)*p) &&
		    strchr("._-", *p) == NULL) {
			return false;
		}
	}
	return len >= 1 && len <= k->name_max;
}

static void open_thing(struct reading *r, const struct section_kind *k, const char *name)
{
	if (!good_name(k, name)) {
		settings_bad(r, r->line, "the name in [%s:NAME] must have 1 to %zu %s", k->prefix,
			     k->name_max,
			     k->name == NAME_WORD ? "letters, digits, '.', '_' and '-'"
						  : "characters");
		return;
	}
	r->kind = k;
	r->section = arena_strdup(&r->s->arena, name);
	r->first_version = r->s->ncatalogue;
}

static void open_section(struct reading *r, const char *header)
{
	r->section_line = r->line;
	r->nbad_before = r->nbad;
	for (size_t i = 0; i < nsection_kinds; i++) {
		size_t len = strlen(section_kinds[i].prefix);

		if (str_starts(header, section_kinds[i].prefix) && header[len] == ':') {
			open_thing(r, &section_kinds[i], header + len + 1);
			return;
		}
	}
	if (!is_table_section(header)) {
		report_unknown_section(r, header);
		return;
	}
	r->in_table = true;
	r->section = arena_strdup(&r->s->arena, header);
}

/* A thing is made when its section ends, if it is whole. */
static void close_section(struct reading *r)
{
	const struct section_kind *k = r->kind;
	bool whole = k != NULL && r->nbad == r->nbad_before;

	for (size_t i = 0; k != NULL && i < k->nkeys; i++) {
		if (r->value[i] == NULL && k->keys[i].standard == NULL) {
			settings_bad(r, r->section_line, "[%s:%s] has no '%s'", k->prefix,
				     k->name == NAME_SECRET ? "..." : r->section, k->keys[i].name);
			whole = false;
		} else if (r->value[i] == NULL) {
			r->value[i] = k->keys[i].standard;
		}
	}
	if (whole) {
		k->close(r);
	}
	r->kind = NULL;
	r->in_table = false;
	for (size_t i = 0; i < SETTINGS_KEYS_MAX; i++) {
		r->value[i] = NULL;
		r->value_line[i] = 0;
	}
}

/*
 * Pairs
 */

static void set_row(struct reading *r, const char *key, const char *value)
{
	auto_str name = {}, known = {};
	struct err e;

	str_printf(&name, "%s.%s", r->section, key);
	const struct setting *row = setting_find(name.p);
	if (row == NULL) {
		for (size_t i = 0; i < nsettings; i++) {
			if (row_in(&settings_table[i], r->section, strlen(r->section))) {
				str_printf(&known, "%s%s", known.len == 0 ? "" : ", ",
					   strchr(settings_table[i].name, '.') + 1);
			}
		}
		settings_bad(r, r->line, "there is no '%.60s' in [%s]; there are %s", key,
			     r->section, known.p);
		return;
	}
	unsigned *line = &r->row_line[row - settings_table];
	if (*line != 0) {
		settings_bad(r, r->line, "%s was set in line %u already", row->name, *line);
		return;
	}
	*line = r->line;
	if (!setting_check(row, value, &e)) {
		settings_bad(r, r->line, "%s: %s", row->name, e.msg);
		return;
	}
	r->s->text[row - settings_table] = arena_strdup(&r->s->arena, value);
}

static void set_key(struct reading *r, size_t i, const char *value)
{
	const struct setting *key = &r->kind->keys[i];
	struct err e;

	if (r->value_line[i] != 0) {
		settings_bad(r, r->line, "%s was set in line %u already", key->name,
			     r->value_line[i]);
		return;
	}
	r->value_line[i] = r->line;
	r->value[i] = arena_strdup(&r->s->arena, value); /* a bad one too: it is not missing */
	if (!setting_check(key, value, &e)) {
		settings_bad(r, r->line, "%s: %s", key->name, e.msg);
	}
}

static void set_key_of_thing(struct reading *r, const char *key, const char *value)
{
	auto_str known = {};

	for (size_t i = 0; i < r->kind->nkeys; i++) {
		if (str_eq(r->kind->keys[i].name, key)) {
			set_key(r, i, value);
			return;
		}
		str_printf(&known, "%s%s", i == 0 ? "" : ", ", r->kind->keys[i].name);
	}
	if (r->kind->other_key != NULL && r->kind->other_key(r, key, value)) {
		return;
	}
	settings_bad(r, r->line, "there is no '%.60s' in [%s:NAME]; there are %s%s", key,
		     r->kind->prefix, known.p,
		     r->kind->other_key == NULL ? "" : r->kind->other_keys);
}

/* inih's callback, one per pair. Its idea of the section is cut at 49 bytes: ours is used. */
static int on_pair(void *arg, const char *, const char *key, const char *value)
{
	struct reading *r = arg;

	r->expected = false;
	if (r->section == NULL) {
		settings_bad(r, r->line, "'%.60s' stands before any [section]", key);
	} else if (r->in_table) {
		set_row(r, key, value);
	} else if (r->kind != NULL) {
		set_key_of_thing(r, key, value);
	}
	return 1; /* else below a bad header, which has been reported */
}

/*
 * Lines
 */

static void report_unused(struct reading *r)
{
	if (r->expected) {
		settings_bad(r, r->line, "expected 'key = value', '[section]' or a comment");
	}
	r->expected = false;
}

/* p is behind the '['. */
static void read_header(struct reading *r, const char *p)
{
	const char *close = strchr(p, ']');
	const char *rest = close == NULL ? "" : close + 1 + strspn(close + 1, " \t\r\n");
	auto_str name = {};

	close_section(r);
	r->section = "";
	if (close == NULL || (*rest != '\0' && *rest != ';' && *rest != '#')) {
		settings_bad(r, r->line, "expected '[section]' and nothing behind it");
		return;
	}
	str_append_mem(&name, p, (size_t)(close - p));
	open_section(r, name.p);
}

/* What inih shall see of a line: itself, or an empty one when all has been said about it. */
static bool take_line(struct reading *r, const char *line, size_t len)
{
	if (len > SETTINGS_LINE_MAX) {
		settings_bad(r, r->line, "a line of %zu bytes, the limit is %d", len,
			     SETTINGS_LINE_MAX);
		return false;
	}
	if (memchr(line, '\0', len) != NULL) {
		settings_bad(r, r->line, "a byte 0 in the text");
		return false;
	}
	return true;
}

static char *next_line(char *buf, int size, void *arg)
{
	struct reading *r = arg;

	report_unused(r);
	if (r->at == r->end) {
		return NULL;
	}
	const char *nl = memchr(r->at, '\n', (size_t)(r->end - r->at));
	size_t len = (size_t)((nl == NULL ? r->end : nl) - r->at);
	const char *line = r->at;

	r->at = nl == NULL ? r->end : nl + 1;
	r->line++;
	buf[0] = '\0';
	if (!take_line(r, line, len)) {
		return buf;
	}
	assert(len < (size_t)size);
	memcpy(buf, line, len);
	buf[len] = '\0';

	const char *first = buf + strspn(buf, " \t\r\v\f");
	if (*first == '[') {
		read_header(r, first + 1);
		buf[0] = '\0';
	} else {
		r->expected = *first != '\0' && *first != ';' && *first != '#';
	}
	return buf;
}

/* inih's settings are the process's; nobody else uses it. Its stack buffer has 200 bytes. */
static void read_lines(struct reading *r)
{
	ini_use_stack = false;
	ini_max_line = ini_initial_alloc = SETTINGS_LINE_MAX + 3;
	ini_allow_multiline = false;
	if (ini_parse_stream(next_line, r, on_pair, r) == -2) {
		abort();
	}
	close_section(r);
}

bool settings_file_read(const char *path, struct str *report, struct settings *s, struct err *e)
{
	static const char bom[] = "\xef\xbb\xbf";
	auto_str text = {};

	if (!file_read(path, SETTINGS_FILE_MAX, &text, e)) {
		return false;
	}
	struct reading r = {
		.s = s,
		.report = report,
		.path = path,
		.at = str_cstr(&text),
		.end = str_cstr(&text) + text.len,
		.row_line = arena_alloc(&s->arena, nsettings * sizeof(unsigned)),
	};
	if (str_starts(r.at, bom)) {
		r.at += strlen(bom);
	}
	read_lines(&r);
	return r.nbad == 0 || err_set(e, ERR_INVALID, "'%s' has %u bad line%s", path, r.nbad,
				      r.nbad == 1 ? "" : "s");
}
