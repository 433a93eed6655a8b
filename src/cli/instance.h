/*
 * Reading an instance out of the API's JSON, for whoever shows one. Anything may be missing: a
 * plain Trove has none of our keys.
 */
#pragma once

#include "base/str.h"
#include "cli/api.h"

struct instance_sync {
	bool known; /* a first copy is going on */
	int64_t done_bytes, total_bytes; /* -1 unknown */
	bool estimated;
};
struct instance_sync instance_sync(const json_t *instance);

/* Each appends to *out; nothing when it is not known. */
void instance_status(const json_t *instance, struct str *out); /* "ACTIVE", "ACTIVE (SHUTDOWN)" */
void instance_address(const json_t *instance, struct str *out); /* "127.0.77.1:6379" */
void instance_progress(const json_t *instance, struct str *out); /* "1.0 MiB of ~4.0 MiB, 25%" */
void instance_percent(const json_t *instance, struct str *out); /* "~25%" */

/* What belongs together: the group's id, or in a Trove without our keys the source's. */
const char *instance_group(const json_t *instance);

/* "source" or "replica"; "" without a sign of either. */
const char *instance_role(const json_t *instance);
bool instance_is_replica(const json_t *instance);

/* What to write for one member of an instance, as text for people. */
void instance_value(const char *key, const json_t *value, struct str *out);
