/*
 * The certificate that the API shows, as the settings api.tls_cert and api.tls_key name it; loaded
 * at the start, and again on SIGHUP.
 */
#pragma once

#include "base/err.h"
#include "io/settings.h"
#include "io/tls.h"

/*
 * *ret is NULL where the settings name none. One that has expired is taken, and the log says so.
 * ERR_INVALID, ERR_NOT_FOUND, ERR_IO with the file's name.
 */
[[nodiscard]] bool certificate_load(const struct settings *s, struct tls_identity **ret,
				    struct err *e);

/* The same; ERR_INVALID when there is none where it must not be missing: off loopback. */
[[nodiscard]] bool certificate_prepare(const struct settings *s, struct tls_identity **ret,
				       struct err *e);
