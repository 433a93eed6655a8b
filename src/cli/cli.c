/*
 * Where the API is, and how an error is told.
 */
#include "cli/cli.h"

#include <limits.h>
#include <unistd.h>

#include "cli/table.h"
#include "io/file.h"

void cli_complain(const struct cli *c, const struct err *e)
{
	auto_str text = {};

	text_clean(e->msg, &text);
	if (c->api.hint[0] != '\0') {
		str_append(&text, "\n  ");
		text_clean(c->api.hint, &text);
	}
	fflush(c->out); /* what succeeded stands before what did not */
	fprintf(stderr, "tanist: %s\n", str_cstr(&text));
}

bool cli_state_dir(char *buf, size_t size)
{
	const char *state = getenv("XDG_STATE_HOME");
	const char *home = getenv("HOME");

	if (state != NULL && state[0] == '/') { /* a relative one is to be ignored */
		return (size_t)snprintf(buf, size, "%s/tanist", state) < size;
	}
	if (home == NULL || home[0] != '/') {
		return false;
	}
	return (size_t)snprintf(buf, size, "%s/.local/state/tanist", home) < size;
}

/* Where a `tanist dev` in the default folder said that it listens; "" when none runs. */
static void recorded_url(char *buf, size_t size)
{
	char dir[PATH_MAX], path[PATH_MAX + 16];
	auto_str text = {};

	buf[0] = '\0';
	if (!cli_state_dir(dir, sizeof dir)) {
		return;
	}
	snprintf(path, sizeof path, "%s/dev.url", dir);
	if (file_read(path, API_URL_MAX, &text, NULL)) {
		snprintf(buf, size, "%.*s", (int)strcspn(str_cstr(&text), "\n"), str_cstr(&text));
	}
}

static bool check_url(const char *url, struct err *e)
{
	bool http = str_starts(url, "http://"), https = str_starts(url, "https://");
	const char *host = url + (https ? strlen("https://") : strlen("http://"));

	if ((!http && !https) || host[0] == '\0' || host[0] == '/') {
		return err_set(e, ERR_INVALID,
			       "the API's address is like http://127.0.0.1:8779/v1.0/dev, not '%s'", url);
	}
	if (memchr(host, '@', strcspn(host, "/")) != NULL) {
		return err_set(e, ERR_INVALID, "no password belongs in a URL: use TANIST_TOKEN");
	}
	for (const char *p = url; *p != '\0'; p++) {
		if ((unsigned char)*p <= ' ' || *p == '?' || *p == '#' || *p == 0x7F) {
			return err_set(e, ERR_INVALID, "the API's address '%s' has a character that "
				       "no address has", url);
		}
	}
	return true;
}

bool cli_url(const struct args *args, char *buf, size_t size, struct err *e)
{
	char recorded[API_URL_MAX];
	const char *url = args->text[OPT_URL];

	if (url == NULL) {
		url = getenv("TANIST_URL");
	}
	if (url == NULL || url[0] == '\0') {
		recorded_url(recorded, sizeof recorded);
		url = recorded[0] != '\0' ? recorded
					  : "http://" CLI_DEFAULT_LISTEN CLI_DEV_PROJECT;
	}
	if (!check_url(url, e)) {
		return false;
	}
	size_t len = strlen(url);

	while (url[len - 1] == '/') {
		len--;
	}
	/* The bare address of a server means the project that `tanist dev` suggests. */
	size_t host = (size_t)(strstr(url, "://") + strlen("://") - url);
	bool bare = memchr(url + host, '/', len - host) == NULL;

	int n = snprintf(buf, size, "%.*s%s", (int)len, url, bare ? CLI_DEV_PROJECT : "");

	if ((size_t)n >= size) {
		return err_set(e, ERR_INVALID, "the API's address is too long");
	}
	return true;
}
