/*
 * A reserve of disk: a file of allocated blocks beside another one, given up when that cannot be
 * written for want of room, so that what is under way can end; taken again when there is plenty.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk_reserve {
	char path[PATH_MAX];
	size_t bytes;
	bool held;
	int64_t again_at_ms; /* not refilled before */
};

/* "PATH-reserve". A disk too full for it is no error. */
void disk_reserve_init(struct disk_reserve *r, const char *path, size_t bytes);

/* False when there is none to give up. */
bool disk_reserve_release(struct disk_reserve *r);

/* Takes it again if it was given up and there is room for twice as much. Cheap when held. */
void disk_reserve_refill(struct disk_reserve *r);
