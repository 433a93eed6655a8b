/*
 * Hand-made reports for tests of group_step(): a history reads as what the hosts say, and the
 * events that follow. The servers of group_world.h stand still meanwhile.
 */
#pragma once

#include "group_world.h"

#define RUN_1 "1111111111111111111111111111111111111111"
#define RUN_2 "2222222222222222222222222222222222222222"
#define RUN_3 "3333333333333333333333333333333333333333"
#define HIST_1 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HIST_2 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define HIST_3 "cccccccccccccccccccccccccccccccccccccccc"

enum { SOURCE = A, R1 = B, R2 = C };

/* What a host says: a server that is a master, follows the source, or waits guarded. */
struct observation master(const char *run, const char *replid, int64_t offset, int64_t keys);
struct observation replica(const char *replid, int64_t offset, int64_t keys);
struct observation guarded(const char *run, enum marker_verdict marker, int64_t keys);

/* It says so now. Borrowed until the next time. */
struct observation *hear(struct world *w, size_t seat, struct observation o);

/* A group whose only member is about to start. */
void creating(struct world *w);
/* .. and serves. */
void created(struct world *w);
/* A source with two attached replicas that hold 5 keys at offset 100. */
void with_replicas(struct world *w);
/* The source was restarted as run `run`; its replicas say what they hold. */
void restarted(struct world *w, const char *run, enum marker_verdict marker, int64_t keys);
