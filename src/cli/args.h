/*
 * The words of the command line, checked against the tables of command.h. Options may stand
 * before, between and behind the arguments; `--` ends them.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "cli/command.h"

struct args {
	const struct command *command; /* NULL: none was named */
	const char **words;            /* its arguments */
	size_t nwords;
	const char *text[OPT_COUNT]; /* NULL: not given; "" for a flag; the last for a list */
	int64_t number[OPT_COUNT];   /* of a NUMBER that was given */
	const char **settings;       /* the values of --set, in order */
	size_t nsettings;
};

/*
 * Texts are borrowed from argv, arrays live in *a. ERR_INVALID: a usage error, with what is
 * allowed and a suggestion. The number of arguments is not checked when --help was given.
 */
[[nodiscard]] bool args_parse(int argc, char *const *argv, struct arena *a, struct args *ret,
			      struct err *e);

bool args_given(const struct args *args, enum option_id option);

/*
 * "async", "K" or "bounded(K)" as the API writes it. ERR_INVALID: neither; the message says what
 * there is.
 */
struct durability_text {
	char s[24];
};
[[nodiscard]] bool args_durability(const char *word, struct durability_text *ret, struct err *e);

/* The number given, or `standard`. */
int64_t args_number(const struct args *args, enum option_id option, int64_t standard);
