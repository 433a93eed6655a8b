/*
 * Where things of one instance are: its folder under the agent's, and its socket in a folder of
 * ours with a short name (a socket's path has 107 bytes at most).
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/id.h"

/* All absolute, in the arena they were made in. */
struct paths {
	const char *dir;     /* DIR/instances/<id> */
	const char *data;    /* the server's own folder: dump.rdb, appendonlydir/ */
	const char *goal;    /* the durable goal, and where it is first: see goal_file.h */
	const char *goal_slots;
	const char *conf;    /* 0600: holds secrets */
	const char *process; /* which process it is, see engine.h */
	const char *marker;
	const char *log;
	const char *pid;
	const char *socket;
};

struct paths paths_of(const char *dir, const char *socket_dir, struct id instance, struct arena *a);

/* DIR/instances and DIR/deleted (folders on their way out), in *a. */
const char *paths_instances(const char *dir, struct arena *a);
const char *paths_deleted(const char *dir, struct arena *a);

/*
 * The folder for sockets, made when missing: `wanted` (the setting; "" for none), else below
 * XDG_RUNTIME_DIR, else below /tmp. It must be ours alone (0700): a folder that somebody else has
 * put there is refused, because whoever owns it could answer in a server's place.
 */
[[nodiscard]] bool paths_socket_dir(const char *wanted, struct id host, struct arena *a,
				    const char **ret, struct err *e);
