/*
 * What each server version can do, as data (REDIS.md 3.4 to 3.9). One row per range of versions;
 * nobody else compares version numbers.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum server_kind { SERVER_REDIS, SERVER_VALKEY };

struct server_version {
	enum server_kind kind;
	uint16_t major, minor, patch;
};

struct version_rules {
	enum server_kind kind;
	uint16_t from_major, from_minor; /* the first version the row is for */
	bool psync2;              /* 4.0: replid and offset survive a change of source */
	bool acl;                 /* 6.0: `user` lines, masteruser */
	bool client_subcommands;  /* 7.0: ACL knows config|get and client|setname as commands of their own (6.2: some) */
	bool pause_writes;        /* 6.2: CLIENT PAUSE .. WRITE */
	bool multi_part_aof;      /* 7.0: appenddirname, manifest */
	bool diskless_max_replicas; /* 7.0: repl-diskless-sync-max-replicas */
	bool announce;            /* 3.2: slave-announce-ip/port */
	bool protected_mode;      /* 3.2 */
	uint8_t rdb_writes;       /* format version of the RDB it sends */
	uint8_t rdb_reads;        /* the highest it loads, beside its own */
	const char *agent_acl;    /* rules of user tanist-agent; NULL without ACL */
	const char *repl_acl;     /* rules of user tanist-repl */
	const char *customer_acl; /* rules of user default */
};

/* Parses "7.0.15"; patch may be missing. */
[[nodiscard]] bool version_parse(const char *datastore, const char *text, struct server_version *ret);

/* Never NULL: a version newer than any row has the newest row of its kind. */
const struct version_rules *version_rules(struct server_version v);

/*
 * Can `to` load a full sync that `from` sends? (REDIS.md 3.9) A version newer than any row is
 * trusted to feed only its equals and newer ones of its kind.
 */
bool version_can_feed(struct server_version from, struct server_version to);

/* Too old to be served at all: below 2.8. */
bool version_supported(struct server_version v);
