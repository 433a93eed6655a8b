/*
 * An instance's goal on disk, durable in one write and one fdatasync: an operation holds writes up
 * while its goals are saved, and replacing a file costs two syncs and the file system's journal.
 *
 * goal.slots holds the two newest goals, each in a slot of whole blocks. A new one overwrites the
 * older of them in place, so that the newest that was finished is there at any moment; a slot that
 * a crash left torn does not count, nor did anybody act on it. They are made with the first goal,
 * so that a disk that fills up later takes every further one. goal.json is for people, for what
 * does not fit, and for agents that know no slots: brought up later, when nobody waits for the
 * disk. The higher goal of the two files counts (goal_cmp()), so either may be missing or behind.
 *
 * One call at a time for an instance.
 */
#pragma once

#include "agent/paths.h"
#include "base/arena.h"
#include "base/err.h"
#include "core/goal.h"

/* Makes a goal (its JSON) durable: in a slot, else as goal.json. The instance's folder is there. */
[[nodiscard]] bool goal_file_save(const struct paths *p, const char *json, size_t len,
				  struct err *e);

/*
 * What was put off: goal.json becomes the goal that counts, and where there are no slots they are
 * made for the next one. Writes nothing when all is well.
 */
[[nodiscard]] bool goal_file_settle(const struct paths *p, struct err *e);

/* The goal that counts; its strings in *a. ERR_NOT_FOUND when there is none. */
[[nodiscard]] bool goal_file_load(const struct paths *p, struct arena *a, struct goal *ret,
				  struct err *e);
