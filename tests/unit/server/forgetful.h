/*
 * A store that loses its answers: what a disk or a network does on a bad day.
 */
#pragma once

#include "../test.h"

#include "io/store.h"

struct forgetful {
	struct store base;
	struct store *real;
	enum { TELL, DO_AND_FORGET, FORGET } mode; /* of the next commit; those behind it TELL .. */
	size_t more;                               /* .. but for so many, which go the same way */
	size_t now, most; /* commits under way */
	size_t blind;     /* so many loads find nothing */
};

static struct forgetful forgetful;

struct forgetful_commit {
	bool tells;
	store_commit_fn *fn;
	void *arg;
};

static void forgetful_load(struct store *, const char *prefix, store_row_fn *row,
			   store_loaded_fn *done, void *arg)
{
	bool sees = forgetful.blind == 0;

	forgetful.blind -= !sees;
	store_load(forgetful.real, sees ? prefix : "nothing begins with this", row, done, arg);
}

static void forgetful_done(void *arg, enum store_outcome outcome, uint64_t revision,
			   const struct err *e)
{
	struct forgetful_commit c = *(struct forgetful_commit *)arg;
	struct err lost = {};

	free(arg);
	forgetful.now--;
	if (c.tells) {
		c.fn(c.arg, outcome, revision, e);
		return;
	}
	err_set(&lost, ERR_TIMEOUT, "no answer");
	c.fn(c.arg, STORE_UNKNOWN, 0, &lost);
}

static void forgetful_commit(struct store *, const struct store_op *ops, size_t n,
			     store_commit_fn *fn, void *arg)
{
	struct forgetful_commit *c = malloc(sizeof *c);

	assert_non_null(c);
	*c = (struct forgetful_commit){ forgetful.mode == TELL, fn, arg };
	forgetful.now++;
	forgetful.most = forgetful.now > forgetful.most ? forgetful.now : forgetful.most;
	store_commit(forgetful.real, ops, forgetful.mode == FORGET ? 0 : n, forgetful_done, c);
	if (forgetful.more == 0) {
		forgetful.mode = TELL;
	} else {
		forgetful.more--;
	}
}

static bool forgetful_leads(const struct store *)
{
	return true;
}

static void forgetful_free(struct store *)
{
	store_free(forgetful.real);
}

static inline struct store *make_forgetful(struct store *real)
{
	static const struct store_impl impl = { forgetful_load, forgetful_commit, forgetful_leads,
						NULL, forgetful_free };

	forgetful = (struct forgetful){ .base = { &impl }, .real = real };
	return &forgetful.base;
}
