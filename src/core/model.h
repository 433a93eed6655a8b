/*
 * The nouns: what the store keeps of a group, and the words of its life. Plain values; strings
 * are borrowed from whoever owns the record (the registry packs each group into one block).
 *
 * Times named *_wall_ms are for display. Whatever is decided by time is decided on the monotonic
 * clock, which the record does not hold: see struct group_live in core/group.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "base/macros.h"
#include "base/secret.h"
#include "core/place.h"

enum {
	MODEL_NAME_MAX = 255,   /* characters of an instance's name, Trove's limit */
	MODEL_MEMBERS_MAX = 64, /* of one group, deleted ones included; the quota is far below */
	MODEL_HISTORY_MAX = 32, /* entries kept; older ones are dropped from the front */
};

/* A replication id or a run id of a server: 40 hex digits, "" when unknown. */
struct replid {
	char s[41];
};

bool replid_eq(const struct replid *a, const struct replid *b);
bool replid_known(const struct replid *a);

/*
 * The states of an instance. BUILD is STARTING and SYNCING; the API's words are in core/status.h.
 *
 * X(NAME, "name", time limit in ms (0: none, it is steady), "what it waits for")
 */
#define MEMBER_STATES(X)                                                                        \
	X(STARTING, "starting", SEC(60), "its server runs with the goal applied")               \
	X(SYNCING, "syncing", SEC(60), "it is attached: its data are the source's; the limit is for no progress") \
	X(ACTIVE, "active", 0, "nothing: it serves in its role")                                \
	X(ERROR, "error", 0, "what its fault names, or a delete")                               \
	X(FENCED, "fenced", 0, "the user: it was ejected, takes no writes; attach or delete it") \
	X(DELETING, "deleting", 0, "its agent has confirmed that process and files are gone")

#define MEMBER_STATE_ENUM(name, text, limit, why) MEMBER_##name,
enum member_state { MEMBER_STATES(MEMBER_STATE_ENUM) MEMBER_STATE_COUNT };
#undef MEMBER_STATE_ENUM

/* What kind of thing went wrong: decides what clears it. Kept in the record. */
enum fault_kind {
	FAULT_NONE,
	FAULT_START,    /* the server does not start; text has its own words; clears when it runs */
	FAULT_SYNC,     /* the first copy makes no progress; clears when attached */
	FAULT_GUARD,    /* a restarted source may lack data its replicas hold; `start --accept-data-loss` */
	FAULT_DIVERGED, /* a replica was promoted by hand: `start --accept-data-loss` follows the source again */
	FAULT_STORE,    /* the host has done more than the record knows: the store is older; `tanist adopt` */
	FAULT_ELECT,    /* source: an eject found nobody to promote; clears when one is, or it is undone */
	FAULT_EJECTED,  /* it was the source until it was ejected; `tanist attach`, or delete */
	FAULT_KIND_COUNT,
};

struct fault {
	enum fault_kind kind;
	int64_t at_wall_ms;
	char text[480]; /* what failed, why, what to do; what the API shows */
};

struct member {
	struct id id;
	const char *name;
	const char *host; /* name of the host it lives on */
	const char *address;
	uint16_t port;
	const char *flavor;    /* flavor id */
	const char *datastore; /* "redis", "valkey" */
	const char *version;   /* exact, "7.0.15" */
	uint32_t volume_gb;
	int64_t created_wall_ms, updated_wall_ms;
	enum member_state state;
	int64_t state_since_wall_ms;
	bool attached_once; /* it has held the group's whole data set: eligible, and to be protected */
	/*
	 * The operator's word to go on at the price of data, for the one run of the server that he
	 * saw (its run id); a later run must be asked about again.
	 */
	struct replid accepted_run;
	/*
	 * It was the source until a handover, and then held nothing that its successor lacks: what it
	 * is found to be a master of may be given up. Until it is seen to follow.
	 */
	bool demoted;
	struct fault fault;
};

/* One reign: from `start` on, the stream named replid was written by `source`. */
struct history_entry {
	uint64_t epoch;
	struct replid replid; /* "" while the promoted server has not been heard */
	int64_t start;        /* offset of its first byte; 0 for the first and after a restart from AOF */
	struct id source;
};

/*
 * Operations of a group and their phases. The table that says how each is left is in
 * core/group.c; a test proves that every phase has a way out.
 */
enum op_kind {
	OP_NONE,
	OP_CREATE,
	OP_RESTART,
	OP_HANDOVER, /* planned: a replica becomes the source, nothing is lost */
	OP_EJECT,    /* the source is gone: the most current replica becomes the source */
	OP_DETACH,   /* in the new group: what was a replica becomes its source */
	OP_KIND_COUNT,
};

enum op_phase {
	PHASE_NONE,
	PHASE_CREATE_START,    /* create: the source's server is being started */
	PHASE_RESTART_COMPARE, /* restart: the source runs guarded, is compared with its replicas */
	PHASE_RESTART_HELD,    /* restart: in doubt; a human decides, or news that removes the doubt */
	PHASE_RESTART_CONFIRM, /* restart: committed that it goes on; waits for role:master */
	/* Handover: g->source is the old source until HANDOVER_PROMOTE is committed. */
	PHASE_HANDOVER_CHECK,   /* all that can be known before anything is touched */
	PHASE_HANDOVER_STAGE,   /* the other replicas follow the target already, the target is durable */
	PHASE_HANDOVER_FENCE,   /* the source takes no writes; once the target has all, it follows it */
	PHASE_HANDOVER_UNDO,    /* committed instead of PROMOTE: the source is master again, unfenced */
	PHASE_HANDOVER_PROMOTE, /* committed: the target is the source; waits for role:master */
	PHASE_HANDOVER_TIDY,    /* it serves; the others link to it */
	PHASE_HANDOVER_DROP,    /* the old source's clients are dropped, so that they look again */
	/* Eject: g->source is the one that is gone until EJECT_PROMOTE is committed. */
	PHASE_EJECT_DRAIN,   /* the replicas apply what they have received */
	PHASE_EJECT_SEAL,    /* epoch + 1: they follow nobody and stay read-only */
	PHASE_EJECT_HELD,    /* sealed, and nobody can be elected: news, a word, or the source's return */
	PHASE_EJECT_PROMOTE, /* committed: the winner is the source; waits for role:master */
	PHASE_EJECT_TIDY,    /* it serves; the others link to it */
	PHASE_DETACH_PROMOTE, /* a group of its own; waits for role:master */
	PHASE_COUNT,
};

struct operation {
	struct id id;
	enum op_kind kind; /* OP_NONE: none is running */
	enum op_phase phase;
	/*
	 * The instance it is about. Handover: the one that is to be the source. Eject: the one that
	 * is ejected, and from EJECT_PROMOTE on the winner. Detach: the new group's only member.
	 */
	struct id target;
	struct id from; /* handover, and the eject that it may turn into: the source at the beginning */
	int64_t started_wall_ms, phase_since_wall_ms;
	struct replid run; /* the run of the server it is about, once that is known */
	bool accept_data_loss; /* eject: the operator's word */
};

/* How the last operation that a user asked for ended; kept until the next one ends. */
struct op_outcome {
	struct id op; /* zero: none has ended yet */
	enum op_kind kind;
	bool done; /* it did what was asked; else it was refused or undone, and nothing was lost */
	int64_t at_wall_ms;
	const char *reason; /* a sentence with the figures; NULL: none */
};

struct group_secrets {
	struct secret replication; /* user `tanist-repl`: members among themselves */
	struct secret agent;       /* user `tanist-agent`: the agent on each member */
};

struct group {
	struct id id;
	const char *project;
	const char *name;  /* unique in the project, never changes */
	uint64_t revision; /* commit number of the record; 0 before the first commit */
	uint64_t epoch;    /* how often the source has changed or restarted; 1 at birth */
	struct id source;
	struct replid source_run; /* the run of the source's server that may be master; "" at birth */
	int64_t created_wall_ms;
	struct group_secrets secrets;
	struct operation op;
	struct op_outcome last;
	/*
	 * Durability: replicas that must be linked for the source to take writes; 0: async. An
	 * election counts with durability_proven, which follows a raise only when all replicas hold
	 * what was acknowledged before it (DESIGN.md 5).
	 */
	uint32_t durability, durability_proven;
	enum place_locality locality; /* of its members, from birth */
	struct member *members; /* in order of creation */
	size_t nmembers;
	struct history_entry *history; /* oldest first */
	size_t nhistory;
};

/* NULL when the group has no such member. */
struct member *group_find(const struct group *g, struct id id);
struct member *group_source(const struct group *g);

/* Is m not the source, and not on its way out? */
bool group_is_replica(const struct group *g, const struct member *m);

/* Is an eject past its drain and before its commit: do the replicas follow nobody? */
bool group_is_sealing(const struct group *g);

/* Members that are not being deleted, less the source. */
size_t group_replica_count(const struct group *g);
/* Those of them that have held the whole data set: they can confirm a write. */
size_t group_attached_count(const struct group *g);

const char *member_state_name(enum member_state s);
const char *op_kind_name(enum op_kind k);
const char *op_phase_name(enum op_phase p);
const char *fault_kind_name(enum fault_kind k);

/* The reverse, for the decoders. */
[[nodiscard]] bool member_state_parse(const char *s, enum member_state *ret);
[[nodiscard]] bool op_kind_parse(const char *s, enum op_kind *ret);
[[nodiscard]] bool op_phase_parse(const char *s, enum op_phase *ret);
[[nodiscard]] bool fault_kind_parse(const char *s, enum fault_kind *ret);
