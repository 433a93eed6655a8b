/*
 * How far instances have come: a line for each, redrawn in place on a terminal; elsewhere a plain
 * line per change of state, and for the bytes of a first copy at most one a second.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct progress_row {
	const char *name;   /* made harmless here */
	const char *status; /* "BUILD", "ACTIVE", "gone" */
	bool copying;
	int64_t done_bytes;  /* of the first copy; -1 unknown */
	int64_t total_bytes; /* -1 unknown */
	bool estimated;      /* the total is our guess: shown with ~ */
};

struct progress;

/* Writes to stderr. Never NULL. Free with progress_free(). */
struct progress *progress_new(size_t nrows);
void progress_free(struct progress *p); /* NULL is fine */

/* rows: as many as progress_new() was told. now_ms is a point on clock_ms(). */
void progress_show(struct progress *p, const struct progress_row *rows, int64_t now_ms);

/* 0 to 100; -1 unknown. */
int progress_percent(const struct progress_row *row);

/* "12.3 MiB of ~100.0 MiB, 12%", "12.3 MiB"; nothing while no byte is known. */
void progress_text(const struct progress_row *row, struct str *out);
