/*
 * The two clocks. Deadlines are points on clock_ms(); wall time is for display only.
 */
#pragma once

#include <stdint.h>

int64_t clock_ms(void);      /* monotonic, milliseconds since some fixed point */
int64_t clock_us(void);      /* the same clock in microseconds, for measuring */
int64_t clock_wall_ms(void); /* milliseconds since 1970, UTC */
