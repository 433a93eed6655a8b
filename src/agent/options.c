#include "agent/options.h"

#include "base/str.h"

const char options_help[] =
	"Usage: tanist-agent --dir DIR --server URL --token-file FILE [OPTION]...\n"
	"Runs the Redis and Valkey servers of this host for a tanist control plane.\n"
	"\n"
	"  --dir DIR          state folder: the host's id, its instances and their data\n"
	"  --server URL       the control plane, https://ADDRESS:PORT or http://...\n"
	"  --token-file FILE  what to log in with there (tanistd's agent.token)\n"
	"  --ca FILE          the CA that signed the control plane's certificate\n"
	"  --pin SHA256       of the control plane's public key, where there is no CA to go by\n"
	"  --config FILE      settings\n"
	"  --set KEY=VALUE    one setting, over the file's; may be given again\n"
	"  --ready-fd N       write 'ready' there once the control plane has accepted this host\n"
	"  --version, --help\n"
	"\n"
	"SIGTERM ends the agent, its servers run on. SIGUSR2 stops all servers cleanly first.\n"
	"SIGHUP looks again which server programs are installed.\n";

static bool take_value(const char *name, const char *value, struct options *o, struct err *e)
{
	uint64_t fd;

	if (str_eq(name, "--dir")) {
		o->dir = value;
	} else if (str_eq(name, "--server")) {
		o->server = value;
	} else if (str_eq(name, "--token-file")) {
		o->token_file = value;
	} else if (str_eq(name, "--ca")) {
		o->ca = value;
	} else if (str_eq(name, "--pin")) {
		return tls_pin_parse(value, o->pin, e) || err_wrap(e, "--pin");
	} else if (str_eq(name, "--config")) {
		o->config = value;
	} else if (str_eq(name, "--set")) {
		if (o->nsets == OPTIONS_SETS_MAX) {
			return err_set(e, ERR_OVER_LIMIT, "more than %d --set", OPTIONS_SETS_MAX);
		}
		o->sets[o->nsets++] = value;
	} else if (str_eq(name, "--ready-fd")) {
		if (!str_to_u64(value, &fd) || fd > 1023) {
			return err_set(e, ERR_INVALID, "--ready-fd wants a descriptor, not '%s'",
				       value);
		}
		o->ready_fd = (int)fd;
	} else {
		return err_set(e, ERR_INVALID, "unknown option '%s'; see --help", name);
	}
	return true;
}

static bool check(const struct options *o, struct err *e)
{
	if (o->help || o->version || o->crash_points) {
		return true;
	}
	if (o->dir == NULL || o->server == NULL || o->token_file == NULL) {
		return err_set(e, ERR_INVALID, "%s is needed; see --help",
			       o->dir == NULL      ? "--dir DIR"
			       : o->server == NULL ? "--server URL"
						   : "--token-file FILE");
	}
	if (!str_starts(o->server, "http://") && !str_starts(o->server, "https://")) {
		return err_set(e, ERR_INVALID, "--server wants http:// or https://, not '%s'",
			       o->server);
	}
	if ((o->ca != NULL || o->pin[0] != '\0') && !str_starts(o->server, "https://")) {
		return err_set(e, ERR_INVALID, "--ca and --pin are for https://, not '%s'",
			       o->server);
	}
	return true;
}

bool options_read(int argc, char **argv, struct options *ret, struct err *e)
{
	struct options o = { .ready_fd = -1 };

	for (int i = 1; i < argc; i++) {
		if (str_eq(argv[i], "--help")) {
			o.help = true;
		} else if (str_eq(argv[i], "--version")) {
			o.version = true;
		} else if (str_eq(argv[i], "--crash-points")) {
			o.crash_points = true;
		} else if (!str_starts(argv[i], "--")) {
			return err_set(e, ERR_INVALID, "'%s' is not expected; see --help", argv[i]);
		} else if (i + 1 == argc) {
			return err_set(e, ERR_INVALID, "'%s' wants a value; see --help", argv[i]);
		} else {
			if (!take_value(argv[i], argv[i + 1], &o, e)) {
				return false;
			}
			i++;
		}
	}
	if (!check(&o, e)) {
		return false;
	}
	*ret = o;
	return true;
}

static bool apply_set(struct settings *s, const char *set, struct err *e)
{
	auto_str name = {};
	const char *equals = strchr(set, '=');

	if (equals == NULL) {
		return err_set(e, ERR_INVALID, "--set wants section.key=value, not '%s'", set);
	}
	str_append_mem(&name, set, (size_t)(equals - set));
	return settings_set(s, name.p, equals + 1, e);
}

bool options_settings(const struct options *o, struct settings *ret, struct err *e)
{
	auto_str report = {};

	if (!settings_load(o->config, &report, ret, e)) {
		fputs(str_cstr(&report), stderr);
		return false;
	}
	for (size_t i = 0; i < o->nsets; i++) {
		if (!apply_set(ret, o->sets[i], e)) {
			settings_done(ret);
			return false;
		}
	}
	return true;
}
