/*
 * The host's own id: made at the first start in a state folder, kept in its host.json.
 */
#pragma once

#include "base/err.h"
#include "base/id.h"

/* A damaged file is an error: a new id would make all that runs here strangers. */
[[nodiscard]] bool host_id_load(const char *dir, struct id *ret, struct err *e);
