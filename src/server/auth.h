/*
 * Who calls: auth.mode none (the project of the URL, administrator) or token (X-Auth-Token is one
 * of the settings' tokens, and its project must be the URL's).
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "io/httpd.h"
#include "io/settings.h"

struct auth;

/* settings are borrowed until auth_free(). Never NULL. */
struct auth *auth_new(const struct settings *settings);
void auth_free(struct auth *a);

/* True when the service asks for no login. */
bool auth_open(const struct auth *a);

struct login {
	const char *project; /* NULL: any (no login) */
	bool admin;
};

/* Checks X-Auth-Token; false: missing or unknown. */
[[nodiscard]] bool auth_login(const struct auth *a, const struct http_request *rq,
			      struct login *ret);
/* The same for a token in hand; NULL is unknown. */
[[nodiscard]] bool auth_token(const struct auth *a, const char *token, struct login *ret);

/* Checks `Authorization: Bearer` against the agents' token, in a time that tells nothing of it. */
[[nodiscard]] bool auth_agent(const struct http_request *rq, const char *agent_token);
