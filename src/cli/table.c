/*
 * libsmartcols does the layout. Which columns a narrow terminal can do without is decided here,
 * because names cut to four letters help nobody while an id can be asked for.
 */
#include "cli/table.h"

#include <assert.h>
#include <libsmartcols.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { SEPARATOR_WIDTH = 2, BRANCH_WIDTH = 2 };

struct table {
	struct libscols_table *scols;
	size_t ncolumns;
	enum column_kind kinds[TABLE_COLUMNS_MAX];
	size_t widths[TABLE_COLUMNS_MAX]; /* that the texts so far need */
};

/* The library fails only for want of memory. */
static void must(bool ok)
{
	if (!ok) {
		abort();
	}
}

struct table *table_new(const struct column *columns, size_t n)
{
	static const int flags[] = {
		[COLUMN_TEXT] = 0,
		[COLUMN_EXTRA] = 0,
		[COLUMN_LONG] = SCOLS_FL_TRUNC,
		[COLUMN_RIGHT] = SCOLS_FL_RIGHT,
		[COLUMN_TREE] = SCOLS_FL_TREE,
	};
	struct table *t = calloc(1, sizeof *t);

	must(t != NULL);
	assert(n <= TABLE_COLUMNS_MAX);
	t->ncolumns = n;
	t->scols = scols_new_table();
	must(t->scols != NULL && scols_table_set_column_separator(t->scols, "  ") == 0);
	for (size_t i = 0; i < n; i++) {
		must(scols_table_new_column(t->scols, columns[i].title, 0, flags[columns[i].kind]) !=
		     NULL);
		t->kinds[i] = columns[i].kind;
		t->widths[i] = strlen(columns[i].title);
	}
	scols_table_enable_noheadings(t->scols, columns[0].title[0] == '\0');
	return t;
}

void table_free(struct table *t)
{
	if (t != NULL) {
		scols_unref_table(t->scols);
		free(t);
	}
}

void table_freep(struct table **t)
{
	table_free(*t);
}

struct libscols_line *table_row(struct table *t, struct libscols_line *parent)
{
	struct libscols_line *row = scols_table_new_line(t->scols, parent);

	must(row != NULL);
	return row;
}

/* Characters, of which few take two columns: a table may end up a little too wide, no more. */
static size_t width_of(const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++) {
		n += (*text & 0xC0) != 0x80;
	}
	return n;
}

void table_cell(struct table *t, struct libscols_line *row, size_t column, const char *text)
{
	auto_str clean = {};

	text_clean(text == NULL ? "" : text, &clean);
	size_t width = width_of(str_cstr(&clean));

	if (t->kinds[column] == COLUMN_TREE && scols_line_get_parent(row) != NULL) {
		width += BRANCH_WIDTH;
	}
	t->widths[column] = width > t->widths[column] ? width : t->widths[column];
	must(scols_line_set_data(row, column, str_cstr(&clean)) == 0);
}

/* 0: no terminal, no limit. */
static size_t width_for(FILE *out)
{
	struct winsize w = {};

	return isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &w) == 0 ? w.ws_col : 0;
}

static void leave_out(struct table *t, size_t width)
{
	size_t total = SEPARATOR_WIDTH * (t->ncolumns - 1);

	for (size_t i = 0; i < t->ncolumns; i++) {
		total += t->widths[i];
	}
	for (size_t i = t->ncolumns; i-- > 0 && total > width;) {
		struct libscols_column *column = scols_table_get_column(t->scols, i);

		if (t->kinds[i] == COLUMN_EXTRA) {
			must(scols_column_set_flags(column, SCOLS_FL_HIDDEN) == 0);
			total -= t->widths[i] + SEPARATOR_WIDTH;
		}
	}
}

void table_print(struct table *t, FILE *out)
{
	size_t width = width_for(out);

	if (width > 0) {
		leave_out(t, width);
	}
	scols_table_set_stream(t->scols, out);
	must(scols_print_table(t->scols) == 0);
}

/* Length of the UTF-8 sequence at p, 0 when there is none; *ret is the character. */
static size_t utf8_read(const unsigned char *p, uint32_t *ret)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = p[0] < 0x80   ? 1
		     : p[0] < 0xC2 ? 0
		     : p[0] < 0xE0 ? 2
		     : p[0] < 0xF0 ? 3
		     : p[0] < 0xF5 ? 4
				   : 0;

	if (len <= 1) {
		*ret = p[0];
		return len;
	}
	uint32_t c = p[0] & (0x7Fu >> len);

	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xC0) != 0x80) { /* also the end of the text */
			return 0;
		}
		c = c << 6 | (p[i] & 0x3Fu);
	}
	if (c < least[len] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) {
		return 0;
	}
	*ret = c;
	return len;
}

static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7F && c <= 0x9F);
}

/* Marks that reorder what is shown: a name could pass for another. */
static bool turns_text(uint32_t c)
{
	return c == 0x061C || c == 0x200E || c == 0x200F || c == 0x2028 || c == 0x2029 ||
	       (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

void text_clean(const char *text, struct str *out)
{
	const unsigned char *p = (const unsigned char *)text;

	while (*p != '\0') {
		uint32_t c = 0;
		size_t len = utf8_read(p, &c);

		if (len == 0 || is_control(c) || turns_text(c)) {
			bool space = *p == '\n' || *p == '\t';

			str_append_char(out, space ? ' ' : '?');
		} else {
			str_append_mem(out, p, len);
		}
		p += len == 0 ? 1 : len;
	}
}

void text_json(const struct str *body, FILE *out)
{
	const unsigned char *p = (const unsigned char *)str_cstr(body);

	if (!isatty(fileno(out))) {
		fwrite(p, 1, body->len, out);
		p += body->len;
	}
	while (*p != '\0') {
		uint32_t c = 0;
		size_t len = utf8_read(p, &c);

		if (c >= 0x7F && c <= 0x9F) {
			fprintf(out, "\\u%04X", (unsigned)c);
		} else {
			fwrite(p, 1, len == 0 ? 1 : len, out);
		}
		p += len == 0 ? 1 : len;
	}
	fputc('\n', out);
	fflush(out);
}

const char *text_bytes(int64_t bytes, char buf[TEXT_BYTES_MAX])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double n = (double)bytes;
	size_t unit = 0;

	while (n >= 1024 && unit < 4) {
		n /= 1024;
		unit++;
	}
	snprintf(buf, TEXT_BYTES_MAX, unit == 0 ? "%.0f %s" : "%.1f %s", n, units[unit]);
	return buf;
}

const char *text_time(int64_t wall_ms, char buf[TEXT_TIME_MAX])
{
	time_t s = (time_t)(wall_ms / 1000);
	struct tm tm;

	buf[0] = '\0';
	if (gmtime_r(&s, &tm) != NULL) {
		strftime(buf, TEXT_TIME_MAX, "%Y-%m-%d %H:%M:%S", &tm);
	}
	return buf;
}
