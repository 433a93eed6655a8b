/*
 * Every draw is one write, so that a terminal never shows half of it.
 */
#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/table.h"

enum { BAR_CELLS = 20, BAR_MIN_WIDTH = 90, PLAIN_EVERY_MS = 1000 };

struct shown {
	char status[24];
	int64_t done_bytes;
	int64_t at_ms;
};

struct progress {
	size_t nrows;
	size_t drawn; /* lines above the cursor that are ours */
	struct shown *shown;
};

struct progress *progress_new(size_t nrows)
{
	struct progress *p = calloc(1, sizeof *p);
	struct shown *shown = calloc(nrows, sizeof *shown);

	if (p == NULL || shown == NULL) {
		abort();
	}
	p->nrows = nrows;
	p->shown = shown;
	return p;
}

void progress_free(struct progress *p)
{
	if (p != NULL) {
		free(p->shown);
		free(p);
	}
}

int progress_percent(const struct progress_row *row)
{
	if (row->total_bytes <= 0 || row->done_bytes < 0) {
		return -1;
	}
	double part = (double)row->done_bytes * 100 / (double)row->total_bytes;

	return part > 100 ? 100 : (int)part;
}

void progress_text(const struct progress_row *row, struct str *out)
{
	char done[TEXT_BYTES_MAX], total[TEXT_BYTES_MAX];

	if (row->done_bytes < 0) {
		return;
	}
	str_append(out, text_bytes(row->done_bytes, done));
	if (row->total_bytes > 0) {
		str_printf(out, " of %s%s, %d%%", row->estimated ? "~" : "",
			   text_bytes(row->total_bytes, total), progress_percent(row));
	}
}

static void row_text(const struct progress_row *row, bool bar, struct str *out)
{
	int pct = progress_percent(row);

	text_clean(row->name, out);
	str_append(out, "  ");
	text_clean(row->status, out);
	if (!row->copying) {
		return;
	}
	str_append(out, "  ");
	if (bar && pct >= 0) {
		str_append_char(out, '[');
		for (int i = 0; i < BAR_CELLS; i++) {
			str_append_char(out, i < pct * BAR_CELLS / 100 ? '#' : '.');
		}
		str_append(out, "]  ");
	}
	str_append(out, "first copy ");
	progress_text(row, out);
}

/* A window in which all rows can be redrawn; false: print plain lines. */
static bool window_for(size_t nrows, size_t *ret_width)
{
	const char *term = getenv("TERM");
	struct winsize w = {};

	if (!isatty(STDERR_FILENO) || term == NULL || str_eq(term, "dumb")) {
		return false;
	}
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) < 0 || w.ws_row <= nrows || w.ws_col < 20) {
		return false;
	}
	*ret_width = w.ws_col;
	return true;
}

/* The first `width` characters: a line that wraps could not be redrawn in place. */
static int bytes_of_width(const char *text, size_t width)
{
	const char *p = text;

	while (*p != '\0' && width > 0) {
		p++;
		while ((*p & 0xC0) == 0x80) {
			p++;
		}
		width--;
	}
	return (int)(p - text);
}

static void redraw(struct progress *p, const struct progress_row *rows, size_t width)
{
	auto_str all = {};

	if (p->drawn > 0) {
		str_printf(&all, "\033[%zuA", p->drawn);
	}
	for (size_t i = 0; i < p->nrows; i++) {
		auto_str line = {};

		row_text(&rows[i], width >= BAR_MIN_WIDTH, &line);
		str_printf(&all, "%.*s\033[K\n", bytes_of_width(str_cstr(&line), width - 1),
			   str_cstr(&line));
	}
	p->drawn = p->nrows;
	fputs(str_cstr(&all), stderr);
	fflush(stderr);
}

static bool worth_a_line(const struct shown *s, const struct progress_row *row, int64_t now_ms)
{
	if (!str_eq(s->status, row->status)) {
		return true;
	}
	return row->copying && row->done_bytes != s->done_bytes &&
	       now_ms - s->at_ms >= PLAIN_EVERY_MS;
}

void progress_show(struct progress *p, const struct progress_row *rows, int64_t now_ms)
{
	size_t width;

	if (window_for(p->nrows, &width)) {
		redraw(p, rows, width);
		return;
	}
	p->drawn = 0;
	for (size_t i = 0; i < p->nrows; i++) {
		auto_str line = {};

		if (!worth_a_line(&p->shown[i], &rows[i], now_ms)) {
			continue;
		}
		row_text(&rows[i], false, &line);
		fprintf(stderr, "%s\n", str_cstr(&line));
		str_copy(p->shown[i].status, sizeof p->shown[i].status, rows[i].status);
		p->shown[i].done_bytes = rows[i].done_bytes;
		p->shown[i].at_ms = now_ms;
	}
}
