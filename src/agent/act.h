/*
 * An act under way, shared by the files that carry them out.
 */
#pragma once

#include "agent/engine_state.h"
#include "proto/conf.h"

typedef void act_end_fn(struct act *a);

struct act {
	struct engine *e;
	struct instance_out out;
	act_done_fn *done;
	int64_t began_ms;
	struct start_mode mode_before;
	struct arena arena;
	bool failed;
	struct err why;

	/* WRITE_CONF, and what DELETE_FILES renamed the folder to */
	struct str text;
	const char *trash;

	/* START */
	struct marker marker; /* to be saved before it */
	struct marker_files files;
	enum marker_verdict verdict;

	unsigned unanswered; /* commands that went out together */

	/* CONFIG_SET */
	struct conf_setting *settings; /* asked about; then the first nsettings differ */
	size_t nsettings;
	const struct conf_user *users;
	size_t nusers;
	size_t next;        /* setting or user that is answered next */
	struct str refused; /* what the server refused, in its own words */
	uint64_t sum;

	/* FENCE, UNFENCE, DROP_CLIENTS */
	act_end_fn *carried_out;
};

/* Ends the act; *a is freed, and the engine told. */
void act_finish(struct act *a);
void act_fail(struct act *a, const struct err *why); /* notes it; act_finish() follows */

void act_start_server(struct act *a); /* act_start.c */
void act_set_config(struct act *a);   /* act_config.c */

/* act_fence.c */
void act_fence(struct act *a);
void act_unfence(struct act *a);
void act_drop_clients(struct act *a);

/* For the answer to one command. */
enum { ACT_COMMAND_LIMIT_MS = 5000 };
