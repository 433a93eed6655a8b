/*
 * Whom a TLS client believes: a CA file, a pinned key, or the system's CAs; and in words for
 * people why it did not believe somebody. For libcurl with GnuTLS.
 */
#pragma once

#include "base/err.h"

/* Why there is no TLS with this server. */
enum tls_doubt {
	TLS_NO_DOUBT, /* whatever failed, it was not that */
	TLS_NO_HANDSHAKE,
	TLS_STRANGER, /* no CA that is trusted has signed the certificate */
	TLS_EXPIRED,
	TLS_NOT_YET_VALID,
	TLS_WRONG_NAME,
	TLS_WRONG_KEY, /* not the pinned one */
	TLS_NO_CA_FILE,
	TLS_DOUBTS,
};

enum { TLS_PIN_SIZE = 64 };

/*
 * SHA-256 of a public key, as 64 hexadecimal digits or in base64, "sha256//" before it or not:
 * into the form that libcurl takes. ERR_INVALID.
 */
[[nodiscard]] bool tls_pin_parse(const char *text, char ret[TLS_PIN_SIZE], struct err *e);

/* Early, for a clear message: there is a certificate in the file. ERR_INVALID names it. */
[[nodiscard]] bool tls_ca_check(const char *ca_file, struct err *e);

/*
 * For the libcurl handle. TLS 1.2 and later. NULL or "": none. With a CA file the system's CAs
 * have no say. A pin alone is enough: name, dates and CA do not matter then, the key says who it
 * is; beside a CA file it has to be right too. pin is of tls_pin_parse(); strings are copied.
 */
void tls_trust(void *curl, const char *ca_file, const char *pin);

/* After a transfer that ended with this CURLcode. */
enum tls_doubt tls_doubt_of(void *curl, int code);

/* "its certificate has expired"; "" for TLS_NO_DOUBT. */
const char *tls_doubt_text(enum tls_doubt d);
