/*
 * The command line of tanist-agent.
 */
#pragma once

#include "base/err.h"
#include "io/settings.h"
#include "io/tls_trust.h"

enum { OPTIONS_SETS_MAX = 64 };

struct options {
	const char *dir, *server, *token_file, *config; /* config NULL: none */
	const char *ca;         /* NULL: the system's CAs */
	char pin[TLS_PIN_SIZE]; /* "": none */
	const char *sets[OPTIONS_SETS_MAX];             /* "section.key=value" */
	size_t nsets;
	int ready_fd; /* -1: nobody waits */
	bool help, version;
	bool crash_points; /* tests: print the names, see base/crash.h */
};

extern const char options_help[];

/* Strings are borrowed from argv. ERR_INVALID says what is wrong with which word. */
[[nodiscard]] bool options_read(int argc, char **argv, struct options *ret, struct err *e);

/* The settings: file, then --set. Bad lines of the file go to stderr. Free with settings_done(). */
[[nodiscard]] bool options_settings(const struct options *o, struct settings *ret, struct err *e);
