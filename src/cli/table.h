/*
 * Output for people: tables that know the width of the terminal, trees, sizes, and text from
 * elsewhere made harmless.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/macros.h"
#include "base/str.h"

struct table;
struct libscols_line;

enum column_kind {
	COLUMN_TEXT,  /* never cut: addresses, states */
	COLUMN_EXTRA, /* left out when the terminal is too narrow, the last such column first */
	COLUMN_LONG,  /* cut when the terminal is too narrow even then */
	COLUMN_RIGHT, /* numbers */
	COLUMN_TREE,  /* carries the branches of the tree */
};

struct column {
	const char *title;
	enum column_kind kind;
};

enum { TABLE_COLUMNS_MAX = 12 };

/*
 * title "" in the first column: no headings. Never NULL. Free with table_free(). A pipe or a file
 * gets every column whole.
 */
struct table *table_new(const struct column *columns, size_t n);
void table_free(struct table *t); /* NULL is fine */
#define auto_table [[gnu::cleanup(table_freep)]] struct table
void table_freep(struct table **t);

/* A new row; parent NULL outside trees. The row lives as long as the table. */
struct libscols_line *table_row(struct table *t, struct libscols_line *parent);

/* Text is copied and made harmless; "" and NULL show as nothing. */
void table_cell(struct table *t, struct libscols_line *row, size_t column, const char *text);
void table_print(struct table *t, FILE *out);

/*
 * Appends text with everything that could steer a terminal replaced: control characters, their
 * eight-bit forms, bytes that are not UTF-8, and the characters that turn the direction of text.
 */
void text_clean(const char *text, struct str *out);

/*
 * Prints an answer of the API and a newline. On a terminal the few control characters that JSON
 * allows raw are written as \u escapes, which mean the same.
 */
void text_json(const struct str *body, FILE *out);

/* "0 B", "12.3 MiB". buf is for the caller's argument list: returns buf. */
enum { TEXT_BYTES_MAX = 16 };
const char *text_bytes(int64_t bytes, char buf[TEXT_BYTES_MAX]);

/* "2026-11-22 07:37:03" in UTC. */
enum { TEXT_TIME_MAX = 32 };
const char *text_time(int64_t wall_ms, char buf[TEXT_TIME_MAX]);
