#include "base/log.h"

#include <inttypes.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

static enum log_level threshold = LOG_INFO;
static const char *program = "tanist";

static const char *const level_names[] = { "error", "warn", "info", "debug" };

void log_set_level(enum log_level level)
{
	threshold = level;
}

void log_set_program(const char *name)
{
	program = name;
}

bool log_level_parse(const char *s, enum log_level *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
		if (str_eq(s, level_names[i])) {
			*ret = (enum log_level)i;
			return true;
		}
	}
	return false;
}

static bool needs_quotes(const char *s)
{
	if (*s == '\0') {
		return true;
	}
	for (; *s != '\0'; s++) {
		if ((unsigned char)*s <= ' ' || *s == '"' || *s == '=' || *s == '\\') {
			return true;
		}
	}
	return false;
}

static void append_text(struct str *line, const char *s)
{
	if (!needs_quotes(s)) {
		str_append(line, s);
		return;
	}
	str_append_char(line, '"');
	for (; *s != '\0'; s++) {
		if (*s == '\n') {
			str_append(line, "\\n");
		} else if (*s == '"' || *s == '\\') {
			str_append_char(line, '\\');
			str_append_char(line, *s);
		} else {
			str_append_char(line, (unsigned char)*s < ' ' ? ' ' : *s);
		}
	}
	str_append_char(line, '"');
}

static void append_field(struct str *line, const struct log_field *f)
{
	str_printf(line, " %s=", f->key);
	switch (f->kind) {
	case LOG_FIELD_TEXT:
		append_text(line, f->text == NULL ? "-" : f->text);
		break;
	case LOG_FIELD_INT:
		str_printf(line, "%" PRId64, f->i);
		break;
	case LOG_FIELD_UINT:
		str_printf(line, "%" PRIu64, f->u);
		break;
	case LOG_FIELD_ID:
		str_append(line, id_text(f->id).s);
		break;
	}
}

static void append_time(struct str *line)
{
	int64_t wall_ms = clock_wall_ms();
	time_t s = (time_t)(wall_ms / 1000);
	struct tm tm;
	char text[32];

	gmtime_r(&s, &tm);
	strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
	str_printf(line, "time=%s.%03dZ", text, (int)(wall_ms % 1000));
}

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t n)
{
	auto_str line = {};

	if (level > threshold) {
		return;
	}
	append_time(&line);
	str_printf(&line, " level=%s prog=%s event=%s", level_names[level], program, event);
	for (size_t i = 0; i < n; i++) {
		append_field(&line, &fields[i]);
	}
	str_append_char(&line, '\n');
	/* One write per line, so that the lines of two programs on one stderr do not mix. */
	ssize_t ignored = write(STDERR_FILENO, line.p, line.len);
	(void)ignored;
}
