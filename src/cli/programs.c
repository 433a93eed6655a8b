/*
 * Words are collected once; a restart uses the same ones.
 */
#include "cli/programs.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "io/file.h"
#include "io/listen.h"
#include "io/settings.h"

/* Beside this program, where a build tree has it, or on the PATH. NULL: nowhere. */
static const char *find_program(struct cli *c, const char *name, const char *build_dir)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	const char *path = getenv("PATH");

	if (n > 0) {
		self[n] = '\0';
		*strrchr(self, '/') = '\0';
		const char *places[] = {
			arena_printf(&c->arena, "%s/%s", self, name),
			arena_printf(&c->arena, "%s/../%s/%s", self, build_dir, name),
			arena_printf(&c->arena, "%s/src/%s/%s", self, build_dir, name),
		};
		for (size_t i = 0; i < ARRAY_LEN(places); i++) {
			if (access(places[i], X_OK) == 0) {
				return places[i];
			}
		}
	}
	while (path != NULL && path[0] != '\0') {
		int len = (int)strcspn(path, ":");
		const char *place = arena_printf(&c->arena, "%.*s/%s", len, path, name);

		if (place[0] == '/' && access(place, X_OK) == 0) {
			return place;
		}
		path += len + (path[len] == ':');
	}
	return NULL;
}

static bool add_args(struct child *ch, const char *const *args, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		if (!child_arg(ch, args[i], e)) {
			return false;
		}
	}
	return true;
}

/* What both programs are told alike. */
static bool add_settings(struct cli *c, struct child *ch, struct err *e)
{
	const struct args *args = &c->args;

	if (args_given(args, OPT_CONFIG)) {
		char *file = realpath(args->text[OPT_CONFIG], NULL);

		if (file == NULL) {
			return err_sys(e, "settings file '%s'", args->text[OPT_CONFIG]);
		}
		const char *words[] = { "--config", arena_strdup(&c->arena, file) };

		free(file);
		if (!add_args(ch, words, ARRAY_LEN(words), e)) {
			return false;
		}
	}
	for (size_t i = 0; i < args->nsettings; i++) {
		const char *words[] = { "--set", args->settings[i] };

		if (!add_args(ch, words, ARRAY_LEN(words), e)) {
			return false;
		}
	}
	return true;
}

/* sub_dir: of state and log below dir. */
static bool prepare(struct cli *c, const char *dir, const char *name, const char *build_dir,
		    const char *sub_dir, struct child *ret, struct err *e)
{
	const char *path = find_program(c, name, build_dir);
	const char *state = arena_printf(&c->arena, "%s/%s", dir, sub_dir);

	if (path == NULL) {
		return err_set(e, ERR_IO, "%s is neither beside this program nor on the PATH", name);
	}
	if (!dir_make(state, 0700, e)) {
		return false;
	}
	*ret = child_new(name, path, arena_printf(&c->arena, "%s/%s.log", dir, sub_dir));
	const char *words[] = { "--dir", state, "--ready-fd", "3" };

	static_assert(CHILD_READY_FD == 3, "the word above");
	return add_args(ret, words, ARRAY_LEN(words), e) && add_settings(c, ret, e);
}

/* The last --set of it; NULL: none. */
static const char *set_by_option(const struct args *args, const char *name)
{
	size_t len = strlen(name);
	const char *value = NULL;

	for (size_t i = 0; i < args->nsettings; i++) {
		if (str_starts(args->settings[i], name) && args->settings[i][len] == '=') {
			value = args->settings[i] + len + 1;
		}
	}
	return value;
}

/* What tanistd itself will find; a bad file it reports better than we do. NULL: the default. */
static const char *set_by_file(struct cli *c, const char *name)
{
	auto_str report = {};
	struct settings s;
	struct err e = {};
	const char *value = NULL;

	if (!args_given(&c->args, OPT_CONFIG) ||
	    !settings_load(c->args.text[OPT_CONFIG], &report, &s, &e)) {
		return NULL;
	}
	if (!str_eq(setting_written(&s, name), setting_find(name)->standard)) {
		value = arena_strdup(&c->arena, setting_written(&s, name));
	}
	settings_done(&s);
	return value;
}

static bool add_standard(struct cli *c, struct child *ch, const char *name, const char *value,
			 struct err *e)
{
	const char *words[] = { "--set", arena_printf(&c->arena, "%s=%s", name, value) };

	return set_by_option(&c->args, name) != NULL || set_by_file(c, name) != NULL ||
	       add_args(ch, words, ARRAY_LEN(words), e);
}

/* On one machine, for trying things, instances are not kept from being more than it can fill. */
bool programs_server(struct cli *c, const char *dir, struct child *ret, struct err *e)
{
	const char *words[] = { "--listen", c->args.text[OPT_LISTEN] };

	if (set_by_option(&c->args, "api.tls_cert") != NULL ||
	    set_by_file(c, "api.tls_cert") != NULL) {
		return err_set(e, ERR_INVALID,
			       "api.tls_cert: `tanist dev` is for one machine and speaks plain text on "
			       "loopback; run tanistd and tanist-agent for TLS");
	}
	return prepare(c, dir, "tanistd", "server", "tanistd", ret, e) &&
	       add_standard(c, ret, "placement.memory_percent", "0", e) &&
	       add_standard(c, ret, "placement.disk_percent", "0", e) &&
	       (words[1] == NULL || add_args(ret, words, ARRAY_LEN(words), e));
}

static bool is_taken(const char *listen)
{
	auto_fd fd = -1;
	struct err e = {};
	char address[64];
	uint16_t port;

	return listen_parse(listen, address, sizeof address, &port, &e) &&
	       !listen_on(address, port, &fd, &port, &e) && e.code == ERR_CONFLICT;
}

bool programs_sentinel(struct cli *c, struct child *server, const char **ret, bool *ret_taken,
		       struct err *e)
{
	const char *listen = c->args.text[OPT_SENTINEL];
	bool asked = listen != NULL;

	*ret_taken = false;
	if (!asked) {
		listen = set_by_option(&c->args, "discovery.listen");
	}
	if (listen == NULL) {
		listen = set_by_file(c, "discovery.listen");
	}
	if (listen == NULL) {
		*ret_taken = is_taken(PROGRAMS_SENTINEL);
		listen = *ret_taken ? "" : PROGRAMS_SENTINEL;
		asked = !*ret_taken;
	}
	*ret = listen;
	const char *words[] = { "--set", arena_printf(&c->arena, "discovery.listen=%s", listen) };

	return !asked || add_args(server, words, ARRAY_LEN(words), e);
}

bool programs_agent(struct cli *c, const char *dir, const char *url, struct child *ret,
		    struct err *e)
{
	const char *addresses = c->args.text[OPT_ADDRESSES];
	const char *words[] = { "--server", url, "--token-file",
				arena_printf(&c->arena, "%s/tanistd/agent.token", dir) };

	if (!prepare(c, dir, "tanist-agent", "agent", "agent", ret, e) ||
	    !add_args(ret, words, ARRAY_LEN(words), e)) {
		return false;
	}
	if (addresses == NULL) {
		return true;
	}
	const char *more[] = { "--set", arena_printf(&c->arena, "agent.addresses=%s", addresses) };

	return add_args(ret, more, ARRAY_LEN(more), e);
}

bool programs_pin_listen(struct child *server, const char *url, struct err *e)
{
	const char *address = url + (str_starts(url, "http://") ? strlen("http://") : 0);
	const char *words[] = { "--listen", address };

	for (size_t i = 0; i + 1 < server->argc; i++) {
		if (str_eq(server->argv[i], "--listen")) {
			server->argv[i + 1] = address;
			return true;
		}
	}
	return add_args(server, words, ARRAY_LEN(words), e);
}
