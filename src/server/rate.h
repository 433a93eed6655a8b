/*
 * The rate limit: so many requests per project, verb and minute (api.rate_limit).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What is counted apart, in the order of the limits call. PATCH counts as PUT. */
enum rate_verb { RATE_POST, RATE_PUT, RATE_DELETE, RATE_GET, RATE_MGMT_POST, RATE_VERBS };

struct rates;

/* NULL when limit is 0: nothing is counted. */
struct rates *rates_new(uint32_t limit);
void rates_free(struct rates *r);

uint32_t rates_limit(const struct rates *r); /* 0 for NULL */

/* Counts one request. False: over the limit; *ret_retry_s is when the minute ends. */
[[nodiscard]] bool rates_take(struct rates *r, const char *project, enum rate_verb verb,
			      int64_t now_ms, uint32_t *ret_retry_s);

/* What is left of this minute, and in how many ms it ends (0: none has begun). */
uint32_t rates_left(const struct rates *r, const char *project, enum rate_verb verb, int64_t now_ms,
		    int64_t *ret_ends_in_ms);
