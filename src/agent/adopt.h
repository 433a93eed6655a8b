/*
 * Finding a server again that an earlier run of the agent started. It writes down which process
 * it is right after the spawn; should it have died in between, the process is known by its
 * working folder, which is the instance's own from its first moment on.
 */
#pragma once

#include "base/err.h"
#include "core/instance.h"
#include "io/process.h"

/* What process.json holds. */
struct run_record {
	struct process_key key;
	struct start_mode mode;
	char socket[108];  /* where it listens: our own folder for sockets may have moved since */
	uint64_t settings; /* engine_settings_sum() of what it was brought to; 0: not known */
};

[[nodiscard]] bool run_record_save(const char *path, const struct run_record *r, struct err *e);

/* ERR_NOT_FOUND when missing. */
[[nodiscard]] bool run_record_load(const char *path, struct run_record *ret, struct err *e);

/*
 * The server that works in this folder (a resolved path): a session of its own, so that the
 * children it forks for saving are not taken for it. ERR_NOT_FOUND when there is none.
 */
[[nodiscard]] bool adopt_find(const char *data_dir, struct process_key *ret, struct err *e);
