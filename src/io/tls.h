/*
 * What a TLS server shows of itself: a certificate with the CAs between it and the root, and its
 * key, from PEM files. GnuTLS, which the HTTP library is built with.
 *
 * An identity is counted: the server holds one for those to come, and every connection the one it
 * began with, so that files can be exchanged under connections that live.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"

struct tls_identity;

/*
 * The caller holds it once. Every refusal names the file: ERR_NOT_FOUND, ERR_IO (it cannot be
 * read), ERR_INVALID (no certificate or key in it, or the key is of another certificate). Dates
 * are not looked at.
 */
[[nodiscard]] bool tls_identity_load(const char *cert_file, const char *key_file,
				     struct tls_identity **ret, struct err *e);

struct tls_identity *tls_identity_hold(struct tls_identity *t); /* returns t; NULL is fine */
void tls_identity_drop(struct tls_identity *t);                 /* NULL is fine */

/* The certificate is valid from *ret_begin to *ret_end. */
void tls_identity_dates(const struct tls_identity *t, time_t *ret_begin, time_t *ret_end);

/* "sha256//BASE64" of the public key: what a client may be given as a pin. Lives as long as t. */
const char *tls_identity_pin(const struct tls_identity *t);

/*
 * The answer to gnutls_certificate_set_retrieve_function3(): lends t, which must outlive the
 * handshake.
 */
struct gnutls_pcert_st;
struct gnutls_privkey_st;
void tls_identity_lend(const struct tls_identity *t, struct gnutls_pcert_st **ret_chain,
		       unsigned *ret_len, struct gnutls_privkey_st **ret_key);
