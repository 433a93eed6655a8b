/*
 * The marker: what this agent durably knows of an instance's files while all was well, so that
 * after a death it can tell whether the files are still the ones that hold everything that was
 * acknowledged (DESIGN.md 4: a source that restarts is fenced until it is compared).
 *
 * An AOF carries no position, so the files themselves are recognised: the manifest word for word,
 * and for each file it names the inode with its birth time (an inode alone is reused by a copy
 * put in its place). On the same boot of the host whatever the server had written is in the
 * kernel's memory or on disk, so the same files hold all; after another boot the last second may
 * lack; after a clean stop sizes and times are compared as well.
 *
 * A marker describes a state that was confirmed. A run that waits, guarded, for the control
 * plane's word never renews it: else one more restart would turn any doubt into "intact".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "core/observation.h"

enum {
	MARKER_FILES_MAX = 32, /* of one manifest; more is never called intact */
	MARKER_MANIFEST_MAX = 4096,
	MARKER_NAME_MAX = 64,
};

struct marker_file {
	char name[MARKER_NAME_MAX];
	uint64_t inode;
	int64_t born_ns; /* 0 where the file system does not tell */
	int64_t size;
	int64_t mtime_ns;
};

/* The files a server would load. Free with marker_files_done(). */
struct marker_files {
	char *manifest; /* its text; NULL before 7.0 or when there is none */
	struct marker_file *files;
	size_t nfiles;
	bool over; /* more than the marker holds, or a manifest we cannot read */
};

struct marker {
	bool known;   /* there is one */
	bool trusted; /* false: made for a run whose files nobody has confirmed; holds no files */
	char boot[40];
	struct replid run_id;
	enum server_role role; /* last seen */
	bool durable;          /* the files held all the data then */
	bool clean;            /* we asked the server to stop and it said that it had */
	struct recorded_position position;
	struct marker_files files;

	/* The verdict on the last start, kept until that run is confirmed. */
	enum marker_verdict verdict;
	bool pending;
};

void marker_done(struct marker *m);
void marker_files_done(struct marker_files *f);

/* Looks at the files below the server's folder. A missing folder has no files. */
[[nodiscard]] bool marker_look(const char *data_dir, struct marker_files *ret, struct err *e);

/*
 * Is there an RDB, and at least as new as every file of the AOF? Only then does a boot from it
 * lose nothing that the AOF has: a server saves its RDB as the last thing it does on a clean stop.
 */
bool marker_rdb_is_newest(const char *data_dir);

/*
 * Is there an RDB that was begun after the last write to any file of the AOF? It holds all that
 * the AOF has, whatever ended the server: so it is behind a full sync, until the rewrite that
 * follows has given the AOF the new data. False where the file system tells no time of birth.
 */
bool marker_rdb_holds_aof(const char *data_dir);

/* A cheap number that changes when marker_look() would see other names or a new manifest. */
uint64_t marker_glance(const char *data_dir);

enum marker_verdict marker_judge(const struct marker *m, const struct marker_files *now,
				 const char *boot);

/* *ret is {} with known == false when there is none; ERR_INVALID when it is damaged. */
[[nodiscard]] bool marker_load(const char *path, struct marker *ret, struct err *e);
[[nodiscard]] bool marker_save(const char *path, const struct marker *m, struct err *e);
