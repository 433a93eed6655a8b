/*
 * Crash points: places where a test stops or kills this program to see that the end state is the
 * same. Compiled in with -Dcrash_points=true only (./check); nothing in a release build.
 *
 * TANIST_CRASH=NAME[#N]      the point at which the program kills itself (SIGKILL), when it passes
 *                            there for the N-th time (1)
 * TANIST_CRASH=@FILE         the same, read from FILE at each pass: one life, many crashes
 * TANIST_CRASH_SIGNAL=STOP   it stops itself there instead (SIGSTOP): the test kills what it likes
 *                            at just that moment, and continues it
 * TANIST_CRASH_FLAG=FILE     created at that moment; while it exists no point kills again. Beside
 *                            it FILE.passes counts, so that N goes on over restarts
 * TANIST_CRASH_TRACE=FILE    gets the name of each point that is passed, a line each
 *
 * The names are "PREFIX.WHAT.SUFFIX", for example "act.start.before". They come from the tables
 * (acts, phases, states), never from a list of their own, so a new row brings its points along.
 * tanistd and tanist-agent print theirs with --crash-points, an option for tests alone.
 */
#pragma once

#include <stdbool.h>

#ifdef TANIST_CRASH_POINTS
void crash_point(const char *prefix, const char *what, const char *suffix);
#else
static inline void crash_point(const char *, const char *, const char *)
{
}
#endif

/*
 * From now on a point prints its name to stdout, a line each, and does nothing else: whoever has
 * points then runs through them all. False: this build has none.
 */
[[nodiscard]] bool crash_list(void);
