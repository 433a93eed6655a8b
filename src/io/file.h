/*
 * Files: owned descriptors, durable replacement, locks, folders.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

/* A descriptor that closes when it leaves scope; fd_take() hands it on. */
#define auto_fd [[gnu::cleanup(fd_closep)]] int
void fd_closep(int *fd);
int fd_take(int *fd);

/* Whole new content or the old one, durable when it returns true: write, fsync, rename, fsync folder. */
[[nodiscard]] bool file_replace(const char *path, const void *data, size_t len, mode_t mode,
				struct err *e);

/* Makes a create, rename or removal of path durable: fsync of its folder. */
[[nodiscard]] bool file_sync_parent(const char *path, struct err *e);

/* Appends the content to *ret. ERR_NOT_FOUND when missing, ERR_OVER_LIMIT above max bytes. */
[[nodiscard]] bool file_read(const char *path, size_t max, struct str *ret, struct err *e);

/* The last max bytes. ERR_NOT_FOUND when missing. */
[[nodiscard]] bool file_read_tail(const char *path, size_t max, struct str *ret, struct err *e);

bool file_exists(const char *path);

/* mkdir -p; the last one gets mode. */
[[nodiscard]] bool dir_make(const char *path, mode_t mode, struct err *e);

/* rm -r, without following links. Missing is fine. */
[[nodiscard]] bool dir_remove(const char *path, struct err *e);

/* Bytes free for us on path's file system, and bytes in use below path. -1: unknown. */
int64_t dir_free_bytes(const char *path);
int64_t dir_used_bytes(const char *path);

/*
 * One lock per state folder: path/lock, held while *ret_fd is open (flock), with our pid and name
 * in it. Taken: ERR_CONFLICT "'DIR' is in use by NAME, process PID".
 */
[[nodiscard]] bool dir_lock(const char *dir, const char *name, int *ret_fd, struct err *e);

/* The id of this boot of the machine; "" when the kernel does not tell. Borrowed for ever. */
const char *boot_id(void);
