/*
 * The settings, one row each, and what a value of a row may be. Help, the template that
 * `--settings` prints, the manual and every message about a bad value come from here.
 */
#include "io/settings.h"

#include <arpa/inet.h>

#include "core/pool.h"

/* An address is an IPv4 one or an IPv6 one in brackets; port 0 takes any free one. */
static bool check_listen(const char *value, struct err *e)
{
	const char *colon = strrchr(value, ':');
	char host[64];
	struct in6_addr addr;
	uint64_t port;

	if (colon != NULL && str_to_u64(colon + 1, &port) && port <= UINT16_MAX &&
	    (size_t)(colon - value) < sizeof host) {
		snprintf(host, sizeof host, "%.*s", (int)(colon - value), value);
		size_t len = strlen(host);
		if (inet_pton(AF_INET, host, &addr) == 1) {
			return true;
		}
		if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
			host[len - 1] = '\0';
			if (inet_pton(AF_INET6, host + 1, &addr) == 1) {
				return true;
			}
		}
	}
	return err_set(e, ERR_INVALID,
		       "'%.60s' is no address with a port, such as 127.0.0.1:8779 or [::1]:8779",
		       value);
}

static bool check_listen_or_none(const char *value, struct err *e)
{
	return value[0] == '\0' || check_listen(value, e);
}

static bool check_addresses(const char *value, struct err *e)
{
	struct pool p;

	return pool_parse(value, "6379", &p, e);
}

static bool check_ports(const char *value, struct err *e)
{
	struct pool p;

	return pool_parse("127.0.0.1-127.0.0.1", value, &p, e);
}

/* clang-format off */
#define INT(n, unit_, lo, hi, def, what) \
	{ .name = n, .type = SETTING_INT, .unit = unit_, .min = lo, .max = hi, .standard = def, .meaning = what }
#define BOOL(n, def, what) \
	{ .name = n, .type = SETTING_BOOL, .unit = "", .standard = def, .meaning = what }
#define TEXT(n, lo, hi, def, check_, what) \
	{ .name = n, .type = SETTING_TEXT, .unit = "", .min = lo, .max = hi, .standard = def, .check = check_, .meaning = what }
#define CHOICE(n, words, def, what) \
	{ .name = n, .type = SETTING_CHOICE, .unit = "", .choices = words, .standard = def, .meaning = what }

const struct setting settings_table[] = {
	TEXT("api.listen", 1, 80, "127.0.0.1:8779", check_listen,
	     "Address and port of the API."),
	TEXT("api.tls_cert", 0, 4000, "", NULL,
	     "PEM file of the API's certificate, with the CAs between it and the root behind it; when set, the API speaks TLS."),
	TEXT("api.tls_key", 0, 4000, "", NULL,
	     "PEM file of the key of that certificate, without a password."),
	BOOL("api.plain_text", "no",
	     "Whether the API may speak plain text on an address that is not loopback: passwords and tokens can be read on the way."),
	TEXT("api.region", 1, 255, "RegionOne", NULL,
	     "Name of the region that the API shows with every instance."),
	CHOICE("api.active_status", "ACTIVE|HEALTHY", "ACTIVE",
	     "The word for an instance that serves, for clients that wait for a particular one."),
	BOOL("api.strict", "no",
	     "Whether a replica's flavor, datastore, volume and locality are refused, as release 18 of Trove does, rather than checked."),
	INT("api.page_size", "", 1, 1000, "20",
	     "Items on a page of a list when the client names no number."),
	INT("api.page_max", "", 1, 10000, "1000",
	     "Most items on a page, whatever number the client names."),
	INT("api.max_connections", "", 4, 100000, "1024",
	     "Most connections to the API at the same time."),
	INT("api.head_limit", "s", 1, 3600, "10",
	     "Time a client has to send the head of a request."),
	INT("api.body_limit", "s", 1, 3600, "30",
	     "Time a client has to send the body of a request."),
	INT("api.idle_limit", "s", 1, 86400, "75",
	     "Time after which a connection without a request is closed."),
	INT("api.rate_limit", "requests a minute", 0, 1000000000, "0",
	     "Most requests of a project with the same verb; 0 sets no limit."),

	TEXT("discovery.listen", 0, 80, "", check_listen_or_none,
	     "Address and port of the endpoint that answers Redis clients as a Sentinel would; when empty, there is none."),
	INT("discovery.max_clients", "", 1, 1000000, "10000",
	     "Most connections to the discovery endpoint at the same time."),
	INT("discovery.idle_limit", "s", 0, 86400, "600",
	     "Time after which a discovery connection without a request is closed, unless it has subscribed; 0 sets no limit."),

	CHOICE("auth.mode", "none|token", "none",
	     "Who may call: anybody, as the project named in the URL, or the holders of a token of a [token:NAME] section."),

	INT("quota.instances", "", -1, 1000000, "100",
	     "Most instances of a project; -1 sets no limit."),
	INT("quota.ram_mb", "MB", -1, INT64_C(1) << 40, "-1",
	     "Most memory of a project's instances, by their flavors; -1 sets no limit."),
	INT("quota.volumes_gb", "GB", -1, INT64_C(1) << 30, "1000",
	     "Most volume of a project's instances; -1 sets no limit."),
	INT("quota.backups", "", -1, 1000000, "50",
	     "Most backups of a project; -1 sets no limit."),
	INT("volume.max_gb", "GB", 1, 1 << 20, "100",
	     "Largest volume of one instance."),

	CHOICE("redis.replication_strategy", "RedisSyncReplication", "RedisSyncReplication",
	     "How replicas get their data: the server's own synchronisation."),
	CHOICE("redis.appendfsync", "everysec|always", "everysec",
	     "When a server's append-only file reaches the disk: each second, or before a write is acknowledged."),
	TEXT("redis.default_datastore", 1, 64, "redis", NULL,
	     "Datastore of an instance whose request names none."),

	INT("placement.memory_percent", "%", 0, 10000, "100",
	    "Memory that may be promised to instances, by their flavors, in percent of a host's; 0 sets no limit."),
	INT("placement.disk_percent", "%", 0, 10000, "100",
	    "Disk that may be promised to instances, by their volumes, in percent of a host's; 0 sets no limit."),

	INT("replication.max_replicas", "", 0, 60, "15",
	     "Most replicas of one source."),
	BOOL("replication.diskless_sync", "no",
	     "Whether a source sends first copies straight from memory rather than from a file."),
	INT("replication.diskless_sync_delay", "s", 0, 60, "1",
	     "Time a source waits for more replicas before a first copy from memory."),
	INT("replication.timeout", "s", 2, 3600, "15",
	     "Silence after which source and replica give a link up."),
	INT("replication.ping_period", "s", 1, 60, "1",
	     "Time between two signs of life from a source to its replicas."),
	INT("replication.backlog_bytes", "bytes", 16384, INT64_C(1) << 40, "16777216",
	     "Stream that a source keeps, so that a replica that was away goes on without a new copy."),
	INT("replication.start_limit", "s", 1, 86400, "60",
	     "Time a new instance has until its server runs with its settings."),
	INT("replication.sync_stall_limit", "s", 1, 86400, "60",
	     "Time without progress after which a first copy has failed."),
	INT("replication.compare_limit", "s", 1, 86400, "10",
	     "Time that replicas have to be heard when a restarted source is compared with them."),
	INT("replication.stage_limit", "s", 1, 3600, "10",
	     "Time a handover gives the other replicas to follow its target, before writes are stopped."),
	INT("replication.catch_up_limit", "s", 1, 60, "2",
	     "Time without writes in which a handover's target has to catch up; then it is undone."),
	INT("replication.handover_limit", "s", 1, 60, "3",
	     "Longest time without writes before a handover is committed or undone."),
	INT("replication.tidy_limit", "s", 1, 3600, "30",
	     "Time that the other replicas have to link to a new source before the operation ends without them."),
	INT("replication.drain_limit", "s", 1, 3600, "10",
	     "Time an eject gives the replicas to apply what they have received."),
	INT("replication.seal_limit", "s", 1, 3600, "5",
	     "Time an eject waits for replicas that do not answer before it elects among the others."),

	TEXT("agent.name", 0, 63, "", NULL,
	     "Name of the host; when empty, its host name."),
	TEXT("agent.addresses", 1, 63, "127.0.77.1-127.0.77.250", check_addresses,
	     "Range of IPv4 addresses that instances of the host get, one each."),
	TEXT("agent.ports", 1, 15, "6379", check_ports,
	     "Port of the instances, or a range of ports when they share an address."),
	TEXT("agent.servers", 0, 4000, "", NULL,
	     "Paths of the server binaries, separated by spaces; when empty, redis-server and valkey-server as found in PATH."),
	INT("agent.restart_delay", "ms", 0, 3600000, "0",
	     "Time that a server that ended stays down before it is started again."),
	INT("agent.report_interval", "ms", 50, 60000, "1000",
	     "Time between two reports of an agent when nothing happens."),
	INT("agent.stop_limit", "s", 1, 3600, "30",
	     "Time a server has to save and end before it is killed."),
	INT("agent.start_limit", "s", 1, 86400, "30",
	     "Time a server has to answer after its start, loading not counted."),
	TEXT("agent.socket_dir", 0, 60, "", NULL,
	     "Folder of the servers' sockets; when empty, one of our own under XDG_RUNTIME_DIR or /tmp."),
	INT("agent.silent_after", "s", 1, 3600, "5",
	     "Silence after which an agent counts as not heard."),
	INT("agent.disk_reserve_bytes", "bytes", 0, INT64_C(1) << 60, "0",
	     "Free space that is counted as not there when a first copy needs room."),

	INT("events.keep", "", 1, 10000000, "5000",
	     "Events that are kept; the oldest go first."),
	CHOICE("log.level", "error|warn|info|debug", "info",
	     "Least important lines that are logged."),
};
/* clang-format on */
const size_t nsettings = ARRAY_LEN(settings_table);

const struct setting *setting_find(const char *name)
{
	for (size_t i = 0; i < nsettings; i++) {
		if (str_eq(settings_table[i].name, name)) {
			return &settings_table[i];
		}
	}
	return NULL;
}

/* Appends "a, b, c" for "a|b|c". */
static void list_choices(const char *choices, struct str *out)
{
	for (const char *p = choices; *p != '\0'; p++) {
		if (*p == '|') {
			str_append(out, ", ");
		} else {
			str_append_char(out, *p);
		}
	}
}

static bool is_choice(const char *choices, const char *value)
{
	size_t len = strlen(value);

	for (const char *p = choices; p != NULL; p = strchr(p, '|')) {
		p += *p == '|';
		if (strcspn(p, "|") == len && strncmp(p, value, len) == 0) {
			return true;
		}
	}
	return false;
}

static bool check_choice(const struct setting *row, const char *value, struct err *e)
{
	auto_str words = {};

	if (is_choice(row->choices, value)) {
		return true;
	}
	list_choices(row->choices, &words);
	return err_set(e, ERR_INVALID, "'%.60s' is none of: %s", value, str_cstr(&words));
}

static bool check_int(const struct setting *row, const char *value, struct err *e)
{
	int64_t n;

	return (str_to_i64(value, &n) && n >= row->min && n <= row->max) ||
	       err_set(e, ERR_INVALID, "'%.60s' is no whole number from %lld to %lld", value,
		       (long long)row->min, (long long)row->max);
}

static bool check_text(const struct setting *row, const char *value, struct err *e)
{
	int64_t len = (int64_t)strlen(value);

	if (len < row->min) {
		return err_set(e, ERR_INVALID, "it must not be empty");
	}
	if (len > row->max) {
		return err_set(e, ERR_INVALID, "it has %lld characters, the limit is %lld",
			       (long long)len, (long long)row->max);
	}
	return row->check == NULL || row->check(value, e);
}

bool setting_check(const struct setting *row, const char *value, struct err *e)
{
	bool b;

	switch (row->type) {
	case SETTING_INT:
		return check_int(row, value, e);
	case SETTING_BOOL:
		return str_to_bool(value, &b) ||
		       err_set(e, ERR_INVALID, "'%.60s' is neither yes nor no", value);
	case SETTING_TEXT:
		return check_text(row, value, e);
	case SETTING_CHOICE:
		return check_choice(row, value, e);
	}
	abort();
}

/* "whole number from 1 to 1000, s" */
static void describe(const struct setting *row, struct str *out)
{
	switch (row->type) {
	case SETTING_INT:
		str_printf(out, "whole number from %lld to %lld", (long long)row->min,
			   (long long)row->max);
		break;
	case SETTING_BOOL:
		str_append(out, "yes or no");
		break;
	case SETTING_TEXT:
		str_printf(out, "text of %lld to %lld characters", (long long)row->min,
			   (long long)row->max);
		break;
	case SETTING_CHOICE:
		str_append(out, "one of: ");
		list_choices(row->choices, out);
		break;
	}
	if (row->unit[0] != '\0') {
		str_printf(out, ", in %s", row->unit);
	}
	str_append(out, row->reload == SETTING_LIVE ? "; taken up while running"
						    : "; taken up at the next start");
}

static void print_row(FILE *f, const struct setting *row)
{
	auto_str kind = {};

	describe(row, &kind);
	fprintf(f, "\n# %s\n# (%s)\n", row->meaning, str_cstr(&kind));
	fprintf(f, "#%s =%s%s\n", strchr(row->name, '.') + 1, row->standard[0] == '\0' ? "" : " ",
		row->standard);
}

/* clang-format off */
static const char sections_help[] =
	"\n\n# Flavors: one section each. Without any there are redis.tiny to redis.xlarge, 1 to 5.\n"
	"#\n"
	"#[flavor:6]\n"
	"#name = redis.huge\n"
	"#ram = 16384                  ; MB\n"
	"#vcpus = 8                    ; 1 when not given\n"
	"#disk = 80                    ; GB, 0 when not given\n"
	"#ephemeral = 0                ; GB, 0 when not given\n"
	"#maxmemory_pct = 75           ; of ram that the data may take, 75 when not given\n"
	"#policy = noeviction          ; maxmemory-policy, noeviction when not given\n"
	"\n"
	"# Tokens for auth.mode = token: the name is the token itself.\n"
	"#\n"
	"#[token:NAME]\n"
	"#project = dev\n"
	"#roles = member               ; or admin\n"
	"\n"
	"# Datastore versions that are shown without any agent having them, for tests.\n"
	"#\n"
	"#[datastore:redis]\n"
	"#id = aaaaaaaa-0000-4000-8000-000000000001\n"
	"#default = 7.0                ; one of the versions; none when not given\n"
	"#version.7.0 = aaaaaaaa-0000-4000-8000-000000000002 active 7.0.15\n";
/* clang-format on */

void settings_print(FILE *f)
{
	const char *section = "";
	size_t len = 0;

	fputs("# Settings of tanist. Each stands with its default: take the '#' before it away to\n"
	      "# change it. A ';' behind a space begins a comment.\n",
	      f);
	for (size_t i = 0; i < nsettings; i++) {
		const char *name = settings_table[i].name;

		if (strncmp(name, section, len + 1) != 0 || len == 0) {
			section = name;
			len = strcspn(name, ".");
			fprintf(f, "\n\n[%.*s]\n", (int)len, section);
		}
		print_row(f, &settings_table[i]);
	}
	fputs(sections_help, f);
}
