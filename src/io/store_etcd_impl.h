/*
 * What the files of io/store_etcd.h share:
 *
 *	store_etcd.c         from open to free, the standing
 *	store_etcd_commit.c  the queue of commits
 *	store_etcd_lead.c    the lease and the leader's key
 *	store_etcd_view.c    what is there: the listing and the watch
 *	store_etcd_check.c   whether the watch has missed nothing
 *	store_etcd_pages.c   reading all rows at one revision, and loads
 *
 * Two keys under the prefix are the store's own: `leader`, and `newest`, which every commit puts,
 * so that its mod_revision is that of the last commit.
 */
#pragma once

#include <sys/queue.h>

#include "base/arena.h"
#include "base/str.h"
#include "io/etcd.h"
#include "io/etcd_text.h"
#include "io/revisions.h"
#include "io/store_etcd.h"
#include "io/turn.h"

#define KEY_LEADER "leader"
#define KEY_NEWEST "newest"

enum { ETCD_OPS_MAX = 128 }; /* its default (--max-txn-ops) */

struct store_etcd;

/* ---- store_etcd_pages.c ---- */

/* key is without the prefix. false ends the reading. */
typedef bool pages_row_fn(void *arg, const struct etcd_kv *kv, struct err *e);
/* All rows have been given (e->code ERR_NONE), or not; code as in struct etcd_answer. */
typedef void pages_done_fn(void *arg, const struct err *e, int code);

/* All rows whose key begins with `begin`, as they are at one revision. */
struct pages {
	struct store_etcd *s;
	const char *begin; /* the caller's */
	uint64_t unless;   /* not while the leader's key is at this revision; 0: whenever */
	pages_row_fn *row;
	pages_done_fn *done;
	void *arg;
	/* filled on the way */
	uint64_t revision;
	int64_t asked_ms;
	struct str after; /* the last key so far */
	bool more;
	struct etcd_call *call;
};

void pages_start(struct pages *p); /* the upper part is filled, the rest zero */
void pages_stop(struct pages *p);  /* nothing is called any more; also after its end */

struct load;
struct load *load_new(struct store_etcd *s, const char *prefix, store_row_fn *row,
		      store_loaded_fn *done, void *arg);
void load_start(struct load *ld);
void load_end(struct load *ld, const struct err *e); /* and frees it */

/* ---- store_etcd_commit.c ---- */

TAILQ_HEAD(jobs, job);

/* Carried out, or not, as far as it is known. */
void jobs_pump(struct store_etcd *s);
void jobs_add_commit(struct store_etcd *s, const struct store_op *ops, size_t n,
		     store_commit_fn *fn, void *arg);
void jobs_add_load(struct store_etcd *s, struct load *ld);
/* The fence has moved, or we lead no more: commits in doubt are told as unknown. */
void jobs_decided(struct store_etcd *s);
/* Ends all of them with callbacks. */
void jobs_end(struct store_etcd *s);

/* ---- store_etcd_lead.c ---- */

enum lead_phase {
	LEAD_NONE,
	LEAD_GRANTING, /* asks for a lease */
	LEAD_PUTTING,  /* tries to put the key */
	LEAD_HELD,     /* the key is ours */
};

struct lead {
	enum lead_phase phase;
	struct etcd_call *campaign, *renewal, *mover;
	char lease[24];
	uint64_t term;    /* create_revision of our key */
	uint64_t fence;   /* its mod_revision: what commits compare */
	uint64_t doubt;   /* a commit that compared this may be on its way still; 0: none */
	int64_t until_ms; /* we may lead until then */
	struct timer *end;
};

void lead_init(struct store_etcd *s);
/* Campaigns when nobody leads. */
void lead_consider(struct store_etcd *s);
/* Renews the lease. */
void lead_pulse(struct store_etcd *s);
bool lead_now(const struct store_etcd *s);
/* Logs why. Nothing when we do not lead. */
void lead_lost(struct store_etcd *s, const char *why);
/* A commit that compared the key's revision `guard` is carried out by now, or never. */
bool lead_is_decided(const struct store_etcd *s, uint64_t guard);
/* It has got no answer and is not decided: puts the key anew. */
void lead_in_doubt(struct store_etcd *s, uint64_t guard);
/* Our key is at this revision. */
void lead_fence_seen(struct store_etcd *s, uint64_t mod_revision);
/* The view has a new state of the key, of this revision of the store. */
void lead_key_seen(struct store_etcd *s, uint64_t at);
void lead_done(struct store_etcd *s); /* gives the lease back, within a limit */

/* ---- store_etcd_view.c, store_etcd_check.c ---- */

enum view_phase { VIEW_OFF, VIEW_LISTING, VIEW_WATCHING, VIEW_PAUSED };

struct view_row {
	STAILQ_ENTRY(view_row) next;
	struct store_row row;
};

STAILQ_HEAD(view_rows, view_row);

struct view {
	enum view_phase phase;
	bool ready;    /* the first listing was given */
	uint64_t seen; /* all that happened up to this revision was given */
	struct revisions known;
	struct etcd_watch *watch;
	int64_t began_ms;    /* it */
	struct timer *again; /* begins anew after a failure */
	bool list_anew;      /* not only watch: what comes between is lost */
	bool trust_nothing;  /* the store was put back: equal revisions say nothing */
	bool refusal_logged;
	/* the leader's key */
	uint64_t leader_created, leader_modified; /* 0: there is none */
	struct str leader;
	/* a listing */
	struct pages pages;
	struct arena arena;
	struct view_rows rows;
	size_t nrows;
	unsigned pass;
	uint64_t list_created, list_modified;
	struct str list_leader;
	/* the first load */
	bool load_waits;
	store_row_fn *row;
	store_loaded_fn *loaded;
	void *load_arg;
};

struct check {
	struct etcd_call *call;
	bool open; /* answered, but the watch has not come that far */
	int64_t sent_ms, opened_ms, until_ms;
	uint64_t seen_before, revision, need, leader_modified;
	struct timer *stale;
};

void view_init(struct store_etcd *s);
/* The first load of all rows. */
void view_load(struct store_etcd *s, store_row_fn *row, store_loaded_fn *loaded, void *arg);
/* The watch is started anew, from another endpoint; list: from what is there. */
void view_renew(struct store_etcd *s, const char *why, bool list);
void view_done(struct store_etcd *s);

void check_init(struct store_etcd *s);
/* Asks etcd for the newest revision; the watch of the last time has to have come that far. */
void check_pulse(struct store_etcd *s);
/* The watch has brought something. */
void check_again(struct store_etcd *s);
/* It was all there at this time. */
void check_passed(struct store_etcd *s, int64_t at_ms);
bool check_is_current(const struct store_etcd *s);
void check_done(struct store_etcd *s);

/* ---- store_etcd.c ---- */

struct store_etcd {
	struct store base;
	struct loop *loop;
	struct etcd *etcd;
	char *prefix, *self;
	int64_t lease_ms;
	bool campaign, closing;
	struct store_listener listener;
	struct store_standing told;
	struct str told_leader;
	struct timer *pulse; /* every third of the lease */
	struct turn *turn;
	struct jobs jobs;
	size_t in_flight;
	LIST_HEAD(, load) loads; /* under way */
	struct lead lead;
	struct view view;
	struct check check;
};

/* Tells the listener when it has changed. */
void standing_update(struct store_etcd *s);
void *store_etcd_alloc(size_t bytes);
bool store_etcd_own_key(const char *key);
