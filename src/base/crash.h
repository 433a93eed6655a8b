/*
 * Crash points: places where a test kills this program to see that the end state is the same.
 * Compiled in with -Dcrash_points=true only (./check); nothing in a release build.
 *
 * TANIST_CRASH=NAME          the point at which the program kills itself (SIGKILL)
 * TANIST_CRASH_FLAG=FILE     created at that moment; while it exists no point kills again
 *
 * The names are "PREFIX.WHAT.SUFFIX", for example "act.start.before". They come from the tables
 * (acts, phases, states), never from a list of their own, so a new row brings its points along.
 */
#pragma once

#ifdef TANIST_CRASH_POINTS
void crash_point(const char *prefix, const char *what, const char *suffix);
#else
static inline void crash_point(const char *, const char *, const char *)
{
}
#endif
