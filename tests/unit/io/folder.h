/*
 * A temporary folder of a test, removed when it leaves scope; and the number of descriptors that
 * this process has open, to show that none is lost.
 */
#pragma once

#include <dirent.h>
#include <limits.h>
#include <unistd.h>

#include "../test.h"

#include "io/file.h"

struct folder {
	char path[64];
};

#define auto_folder [[gnu::cleanup(folder_done)]] struct folder

static inline struct folder folder_new(void)
{
	struct folder f = { "/tmp/tanist-test-XXXXXX" };

	assert_non_null(mkdtemp(f.path));
	return f;
}

static inline void folder_done(struct folder *f)
{
	struct err e;

	assert_ok(dir_remove(f->path, &e), &e);
}

struct path {
	char s[PATH_MAX];
};

/* By value, so that it can stand in an argument: path_in(&f, "name").s */
static inline struct path path_in(const struct folder *f, const char *name)
{
	struct path p;

	snprintf(p.s, sizeof p.s, "%s/%s", f->path, name);
	return p;
}

static inline int open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL) {
		n++;
	}
	closedir(d);
	return n - 3; /* ".", ".." and the folder's own */
}
