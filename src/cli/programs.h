/*
 * Which programs `tanist dev` runs beside itself, and with which words.
 */
#pragma once

#include "cli/child.h"
#include "cli/cli.h"

/*
 * Prepares tanistd or tanist-agent with its state and log below dir (absolute, borrowed for ever);
 * nothing is started. url: "http://ADDR:PORT" of tanistd.
 */
[[nodiscard]] bool programs_server(struct cli *c, const char *dir, struct child *ret,
				   struct err *e);
[[nodiscard]] bool programs_agent(struct cli *c, const char *dir, const char *url,
				  struct child *ret, struct err *e);

/*
 * Where tanistd answers Redis clients (discovery.listen), given to it as an argument: what
 * --sentinel says, else what the settings say, else the default of dev. "" when it does not: turned
 * off, or *ret_taken: the default, and somebody else listens there.
 */
#define PROGRAMS_SENTINEL "127.0.0.1:26379"
[[nodiscard]] bool programs_sentinel(struct cli *c, struct child *server, const char **ret,
				     bool *ret_taken, struct err *e);

/*
 * From its next start on tanistd listens where it said that it does (url), though it was told port
 * 0: agent and users keep the address. url is borrowed for ever.
 */
[[nodiscard]] bool programs_pin_listen(struct child *server, const char *url, struct err *e);
