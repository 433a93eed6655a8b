/*
 * What each server version can do. A row is for its version and all later ones up to the next
 * row of its kind; everything that depends on a version is a field of it.
 *
 * The ACL rules. Agent: what our agent sends and nothing that reads or writes a key. Replication:
 * the tried minimum; `sync` besides, without which dual-channel replication loops for ever.
 * Customer: everything but what changes roles, persistence, settings or users; of the dangerous
 * commands those that clients and people need are given back one by one. From 7.0 on a
 * sub-command is a command of its own; before, `client` is administrative as a whole and single
 * first arguments are given back. 6.0 has no channels (`&*`).
 */
#include "core/versions.h"

#include "base/macros.h"
#include "base/str.h"

#define REPL_60 "resetkeys -@all +psync +sync +replconf +ping"
#define REPL_62 "resetkeys resetchannels -@all +psync +sync +replconf +ping"

#define AGENT_COMMANDS                                                                             \
	" +ping +info +role +replicaof +slaveof +wait +bgsave +bgrewriteaof +lastsave +dbsize"     \
	" +shutdown +hello +auth"
/* Tried on 6.0 with whole commands only. */
#define AGENT_60 "resetkeys -@all" AGENT_COMMANDS " +config +client +acl"
#define AGENT_62                                                                                   \
	"resetkeys resetchannels -@all" AGENT_COMMANDS                                             \
	" +failover +config|get +config|set +client|pause +client|unpause +client|kill"            \
	" +client|list +client|setname +client|id +acl|setuser +acl|whoami"

#define CUSTOMER_GIVEN_BACK                                                                        \
	" +info +role +keys +sort +flushall +flushdb +restore +swapdb +lastsave"                   \
	" +slowlog|get +slowlog|len +client|list +client|unblock"
#define CUSTOMER_6X                                                                                \
	" +@all -@admin -@dangerous" CUSTOMER_GIVEN_BACK                                           \
	" +client|id +client|setname +client|getname +client|reply +client|caching"                \
	" +client|tracking +client|getredir +acl|whoami +acl|cat"
#define CUSTOMER_60 "~*" CUSTOMER_6X
#define CUSTOMER_62 "~* &*" CUSTOMER_6X " +client|info +client|trackinginfo"
#define CUSTOMER_70                                                                                \
	"~* &* +@all -@admin -@dangerous" CUSTOMER_GIVEN_BACK " +sort_ro +client|no-evict"

#define ACL_60 .acl = true, .agent_acl = AGENT_60, .repl_acl = REPL_60, .customer_acl = CUSTOMER_60
#define ACL_62 .acl = true, .agent_acl = AGENT_62, .repl_acl = REPL_62, .customer_acl = CUSTOMER_62
#define ACL_70                                                                                     \
	.acl = true, .client_subcommands = true, .agent_acl = AGENT_62, .repl_acl = REPL_62,       \
	.customer_acl = CUSTOMER_70

#define SINCE_32 .announce = true, .protected_mode = true
#define SINCE_40 SINCE_32, .psync2 = true
#define SINCE_62 SINCE_40, .pause_writes = true
#define SINCE_70 SINCE_62, .multi_part_aof = true, .diskless_max_replicas = true

/* clang-format off */
static const struct version_rules rows[] = {
	/* kind,        from,  RDB writes, reads */
	{ SERVER_REDIS,  2, 8, .rdb_writes = 6,  .rdb_reads = 6 },
	{ SERVER_REDIS,  3, 2, .rdb_writes = 7,  .rdb_reads = 7,  SINCE_32 },
	{ SERVER_REDIS,  4, 0, .rdb_writes = 8,  .rdb_reads = 8,  SINCE_40 },
	{ SERVER_REDIS,  5, 0, .rdb_writes = 9,  .rdb_reads = 9,  SINCE_40 },
	{ SERVER_REDIS,  6, 0, .rdb_writes = 9,  .rdb_reads = 9,  SINCE_40, ACL_60 },
	{ SERVER_REDIS,  6, 2, .rdb_writes = 9,  .rdb_reads = 9,  SINCE_62, ACL_62 },
	{ SERVER_REDIS,  7, 0, .rdb_writes = 10, .rdb_reads = 10, SINCE_70, ACL_70 },
	{ SERVER_REDIS,  7, 2, .rdb_writes = 11, .rdb_reads = 11, SINCE_70, ACL_70 },
	{ SERVER_REDIS,  7, 4, .rdb_writes = 12, .rdb_reads = 12, SINCE_70, ACL_70 },
	{ SERVER_REDIS,  8, 0, .rdb_writes = 12, .rdb_reads = 12, SINCE_70, ACL_70 },
	{ SERVER_VALKEY, 7, 2, .rdb_writes = 11, .rdb_reads = 11, SINCE_70, ACL_70 },
	{ SERVER_VALKEY, 8, 0, .rdb_writes = 11, .rdb_reads = 11, SINCE_70, ACL_70 },
	{ SERVER_VALKEY, 8, 1, .rdb_writes = 11, .rdb_reads = 11, SINCE_70, ACL_70 },
	{ SERVER_VALKEY, 9, 0, .rdb_writes = 80, .rdb_reads = 11, SINCE_70, ACL_70 },
};
/* clang-format on */

/* Reads digits from *s on, at most UINT16_MAX; false when there are none. */
static bool number_take(const char **s, uint16_t *ret)
{
	uint32_t n = 0;
	const char *p = *s;

	for (; *p >= '0' && *p <= '9'; p++) {
		n = n * 10 + (uint32_t)(*p - '0');
		if (n > UINT16_MAX) {
			return false;
		}
	}
	if (p == *s) {
		return false;
	}
	*s = p;
	*ret = (uint16_t)n;
	return true;
}

static bool numbers_parse(const char *s, struct server_version *v)
{
	if (!number_take(&s, &v->major) || *s++ != '.' || !number_take(&s, &v->minor)) {
		return false;
	}
	if (*s == '.') {
		s++;
		if (!number_take(&s, &v->patch)) {
			return false;
		}
	}
	return *s == '\0' || *s == '-'; /* a release candidate counts as its release */
}

bool version_parse(const char *datastore, const char *text, struct server_version *ret)
{
	struct server_version v = {};

	if (str_eq(datastore, "redis")) {
		v.kind = SERVER_REDIS;
	} else if (str_eq(datastore, "valkey")) {
		v.kind = SERVER_VALKEY;
	} else {
		return false;
	}
	if (text == NULL || !numbers_parse(text, &v)) {
		return false;
	}
	*ret = v;
	return true;
}

/* Of two versions of one kind, patches left out. */
static bool at_least(struct server_version v, uint16_t major, uint16_t minor)
{
	return v.major != major ? v.major > major : v.minor >= minor;
}

static const struct version_rules *row_of(struct server_version v)
{
	const struct version_rules *row = NULL;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].kind != v.kind) {
			continue;
		}
		if (row == NULL || at_least(v, rows[i].from_major, rows[i].from_minor)) {
			row = &rows[i];
		}
	}
	return row;
}

const struct version_rules *version_rules(struct server_version v)
{
	return row_of(v);
}

/* Newer than every row of its kind: nobody has tried it. */
static bool untried(struct server_version v)
{
	const struct version_rules *row = row_of(v);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].kind == v.kind && &rows[i] > row) {
			return false;
		}
	}
	return v.major != row->from_major || v.minor != row->from_minor;
}

bool version_can_feed(struct server_version from, struct server_version to)
{
	if (untried(from)) {
		return from.kind == to.kind && at_least(to, from.major, from.minor);
	}
	uint8_t sent = row_of(from)->rdb_writes;

	return sent == row_of(to)->rdb_writes || sent <= row_of(to)->rdb_reads;
}

bool version_supported(struct server_version v)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].kind == v.kind) {
			return at_least(v, rows[i].from_major, rows[i].from_minor);
		}
	}
	return false;
}
