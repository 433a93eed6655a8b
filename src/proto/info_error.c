/*
 * Why a server did not start, in its own words. Its log holds earlier starts and chatter as well:
 * the words are the last lines of weight since the last start, and for the well-known ones a hint
 * says what to do. What goes into a message never has the value of a setting in it: a line of the
 * configuration that the server quotes back may hold a password.
 */
#include "proto/info.h"

#include <ctype.h>

#include "base/macros.h"
#include "base/str.h"
#include "proto/span.h"

enum { KEPT = 3 };

struct words {
	struct span kept[KEPT]; /* the last ones, oldest first */
	size_t n;
	bool config;  /* behind the head of a configuration error: every line counts */
	bool crashed; /* what follows is a dump of registers and stack */
};

/* clang-format off */
static const struct {
	const char *words, *hint;
} hints[] = {
	{ "Address already in use",
	  "another program listens there (`ss -ltnp` names it): stop it, or leave the address out of agent.addresses" },
	{ "Cannot assign requested address",
	  "the host does not have this address: check agent.addresses" },
	{ "Failed opening Unix socket",
	  "check agent.socket_dir: it must exist, be the agent's own and have a short path" },
	{ "No space left on device", "make room on the disk of its folder" },
	{ "Permission denied", "the agent's user must own the instance's folder" },
	{ "Can't handle RDB format version",
	  "its files are from a newer version: start it with that version" },
	{ "append only file",
	  "its AOF is damaged: keep a copy, then repair it with redis-check-aof" },
	{ "loading DB", "its RDB is damaged or memory is short: keep a copy, check it with redis-check-rdb" },
	{ "Out Of Memory", "the host has too little free memory for it" },
	{ "Bad directive", "this version of the server does not know the setting" },
	{ "wrong number of arguments", "this version of the server does not take the setting so" },
	{ "unable to write command to disk", "make room on the disk of its folder" },
	{ "crashed by signal", "its log has the details; the agent starts it again" },
};

/* Of weight by their level, but said at every start and every stop. */
static const char *const chatter[] = {
	"oO0", "Redis version", "Valkey version", "Configuration loaded", "Server initialized",
	"Server started", "WARNING", "User requested shutdown", "Received SIG", "Redis is now ready",
	"Valkey is now ready", "=== ", "---",
};
/* clang-format on */

/*
 * Takes pid and time off a line of the log: "17:M 22 Nov 2026 10:38:48.212 # text", before 3.0
 * "[17] 22 Nov 10:38:48.212 # text". Returns the level's character; 0: it is no such line.
 */
static char take_stamp(struct span *line)
{
	enum { STAMP_MAX = 64 };

	for (size_t i = 0; i + 6 < line->len && i < STAMP_MAX; i++) {
		const char *c = line->p + i;

		if (c[0] == '.' && isdigit((unsigned char)c[1]) && isdigit((unsigned char)c[2]) &&
		    isdigit((unsigned char)c[3]) && c[4] == ' ' && strchr("#*-.", c[5]) != NULL &&
		    c[5] != '\0' && c[6] == ' ') {
			char level = c[5];

			*line = span_from(*line, i + 7);
			return level;
		}
	}
	return '\0';
}

static bool is_chatter(struct span text)
{
	for (size_t i = 0; i < ARRAY_LEN(chatter); i++) {
		if (span_starts(text, chatter[i])) {
			return true;
		}
	}
	return text.len == 0;
}

static void keep(struct words *w, struct span text)
{
	if (w->n == KEPT) {
		memmove(&w->kept[0], &w->kept[1], (KEPT - 1) * sizeof w->kept[0]);
		w->n--;
	}
	w->kept[w->n++] = text;
}

static void see_line(struct words *w, struct span line)
{
	char level = take_stamp(&line);

	if (span_has(line, "is starting oO0") || span_has(line, "FATAL CONFIG FILE ERROR")) {
		*w = (struct words){ .config = span_has(line, "FATAL CONFIG") };
		return;
	}
	bool counts = level == '#' || span_has(line, "Fatal") || (w->config && level == '\0') ||
		      span_has(line, "Could not create server TCP listening socket");

	if (!counts || w->crashed || is_chatter(line)) {
		return;
	}
	if (span_has(line, "crashed by signal") || span_has(line, "Guru Meditation") ||
	    span_has(line, "Out Of Memory")) {
		w->n = 0;
		w->crashed = true;
	}
	keep(w, line);
}

/* Printable ASCII; anything else becomes a question mark, so that a cut never splits a character.
 */
static void put_text(struct str *out, struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.p[i];

		str_append_char(out, c >= ' ' && c < 0x7f ? c : '?');
	}
}

/* The line ">>> 'masterauth secret'" with all behind the setting's name left out. */
static void put_quoted_line(struct str *out, struct span text)
{
	struct span rest = span_from(text, 5);
	size_t n = 0;

	while (n < rest.len && (isalnum((unsigned char)rest.p[n]) || rest.p[n] == '-')) {
		n++;
	}
	str_append(out, "in the line '");
	put_text(out, (struct span){ rest.p, n });
	str_append(out, " ...'");
}

static void put_words(struct str *out, const struct words *w)
{
	for (size_t i = 0; i < w->n; i++) {
		str_append(out, i == 0 ? "" : "; ");
		if (span_starts(w->kept[i], ">>> '")) {
			put_quoted_line(out, w->kept[i]);
		} else {
			put_text(out, w->kept[i]);
		}
	}
}

static const char *hint_for(const char *words)
{
	for (size_t i = 0; i < ARRAY_LEN(hints); i++) {
		if (strstr(words, hints[i].words) != NULL) {
			return hints[i].hint;
		}
	}
	return "";
}

/* The hint is what helps: when both do not fit, the words are cut. */
static void put_both(const char *words, const char *hint, char *buf, size_t size)
{
	size_t hint_bytes = hint[0] == '\0' ? 0 : strlen(hint) + 2;

	if (hint_bytes >= size / 4 * 3) {
		hint = "";
		hint_bytes = 0;
	}
	str_copy(buf, size - hint_bytes, words);
	if (hint_bytes > 0) {
		size_t len = strlen(buf);

		snprintf(buf + len, size - len, ": %s", hint);
	}
}

static struct words find_words(struct span rest)
{
	enum { LOOKED_AT = 64 << 10 };
	struct words w = {};

	if (rest.len > LOOKED_AT) {
		rest = span_from(rest, rest.len - LOOKED_AT);
	}
	while (rest.len > 0) {
		see_line(&w, span_take_line(&rest));
	}
	return w;
}

void info_crash_error(const char *log, size_t len, char *buf, size_t size)
{
	auto_str words = {};
	struct words w = find_words((struct span){ log, len });

	if (w.crashed) {
		put_words(&words, &w);
	}
	if (size > 0) {
		put_both(str_cstr(&words), hint_for(str_cstr(&words)), buf, size);
	}
}

void info_start_error(const char *log, size_t len, char *buf, size_t size)
{
	auto_str words = {};

	if (size == 0) {
		return;
	}
	struct words w = find_words((struct span){ log, len });
	put_words(&words, &w);
	put_both(words.len == 0 ? "the server left no word in its log" : words.p,
		 hint_for(str_cstr(&words)), buf, size);
}
