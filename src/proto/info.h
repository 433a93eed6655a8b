/*
 * Reading what a server says of itself: INFO, and errors of a start.
 */
#pragma once

#include "base/err.h"
#include "core/observation.h"

/*
 * Reads the text of INFO (all sections that are there) into the server's part of *o; what the
 * text does not name is left as it was. ERR_INVALID when it is no INFO at all. The text need not
 * be terminated. Values out of range are clamped, never trusted. o->durable follows, and with
 * role:master what was known of an upstream is forgotten. Give the same *o again and again: before
 * 6.2 a copy's progress shows only against what was left at first.
 */
[[nodiscard]] bool info_read(const char *text, size_t len, struct observation *o, struct err *e);

/* Fills o->durable from the other fields (DESIGN.md 5). */
void info_set_durable(struct observation *o);

/*
 * The server's own words for why it did not start, from the end of its log: the last lines of
 * level warning (#) or "Fatal", joined, without time stamps; and a hint for the well-known ones
 * (address taken, bad configuration, disk full, cannot load). Lines before the last start in it are
 * passed over, and no value of a setting is quoted. buf is always terminated, printable ASCII.
 */
void info_start_error(const char *log, size_t len, char *buf, size_t size);

/* The same of one that served: only what it said of its own crash; else "". */
void info_crash_error(const char *log, size_t len, char *buf, size_t size);
