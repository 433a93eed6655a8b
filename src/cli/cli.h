/*
 * What a command works with. Results go to `out`, progress and errors to stderr.
 */
#pragma once

#include "cli/api.h"
#include "cli/args.h"

struct cli {
	struct args args;
	struct arena arena; /* ends with the program */
	struct api api;
	FILE *out;
};

/* Prints "tanist: message" and, when the API gave a reason to say more, what to do next. */
void cli_complain(const struct cli *c, const struct err *e);

/*
 * The URL of the API without a trailing slash: --url, TANIST_URL, the one that a running
 * `tanist dev` recorded, or the default.
 */
[[nodiscard]] bool cli_url(const struct args *args, char *buf, size_t size, struct err *e);

#define CLI_DEFAULT_LISTEN "127.0.0.1:8779"
#define CLI_DEV_PROJECT "/v1.0/dev"

/* Writes the default state folder of `tanist dev` (absolute); false when there is no home. */
[[nodiscard]] bool cli_state_dir(char *buf, size_t size);
