/*
 * Counting what the API does, and writing all figures of this process for Prometheus.
 */
#pragma once

#include <stdint.h>

#include "base/str.h"
#include "server/api.h"

struct metrics;

/* Never NULL. Free with metrics_free() (NULL is fine). */
struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);

/*
 * One answered request: its route (NULL: none was found), the status, and how many microseconds it
 * took. The dispatcher calls it; m NULL counts nothing. At most METRICS_STATUSES different
 * statuses are told apart per route, which is more than any has.
 */
enum { METRICS_STATUSES = 12 };
void metrics_request(struct metrics *m, const struct route *r, int status, int64_t us);

/* Appends everything in Prometheus' text format, HELP and TYPE included. */
void metrics_write(const struct api *api, struct str *out);
