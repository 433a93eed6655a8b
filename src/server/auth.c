#include "server/auth.h"

/*
 * Tokens are few and static, so a scan is enough. Comparing takes the same time wherever the
 * first difference is.
 */
struct auth {
	const struct settings *settings;
	bool open;
};

struct auth *auth_new(const struct settings *settings)
{
	struct auth *a = calloc(1, sizeof *a);

	if (a == NULL) {
		abort();
	}
	a->settings = settings;
	a->open = str_eq(setting_text(settings, "auth.mode"), "none");
	return a;
}

void auth_free(struct auth *a)
{
	free(a);
}

bool auth_open(const struct auth *a)
{
	return a->open;
}

static bool same_secret(const char *a, const char *b)
{
	size_t alen = strlen(a), blen = strlen(b);
	unsigned char differs = alen != blen;

	for (size_t i = 0; i < alen; i++) {
		differs |= (unsigned char)(a[i] ^ b[blen == 0 ? 0 : i % blen]);
	}
	return differs == 0;
}

bool auth_token(const struct auth *a, const char *token, struct login *ret)
{
	bool found = false;

	if (a->open) {
		*ret = (struct login){ .admin = true };
		return true;
	}
	for (size_t i = 0; token != NULL && i < a->settings->ntokens; i++) {
		const struct token *t = &a->settings->tokens[i];

		if (same_secret(token, t->token)) {
			*ret = (struct login){ .project = t->project, .admin = t->admin };
			found = true;
		}
	}
	return found;
}

bool auth_login(const struct auth *a, const struct http_request *rq, struct login *ret)
{
	return auth_token(a, http_header(rq, "X-Auth-Token"), ret);
}

bool auth_agent(const struct http_request *rq, const char *agent_token)
{
	static const char bearer[] = "Bearer ";
	const char *h = http_header(rq, "Authorization");

	/* without a token of ours nobody is an agent */
	return h != NULL && agent_token != NULL && agent_token[0] != '\0' &&
	       str_starts(h, bearer) && same_secret(h + sizeof bearer - 1, agent_token);
}
