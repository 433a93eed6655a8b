#include "io/tls_trust.h"

#include <assert.h>
#include <curl/curl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/str.h"
#include "io/file.h"

enum { SHA256_BYTES = 32, CA_FILE_MAX = 16 << 20 };

static const char *const doubt_texts[] = {
	[TLS_NO_DOUBT] = "",
	[TLS_NO_HANDSHAKE] = "no TLS 1.2 or later is spoken there",
	[TLS_STRANGER] = "its certificate is not signed by a CA that is trusted here",
	[TLS_EXPIRED] = "its certificate has expired",
	[TLS_NOT_YET_VALID] = "its certificate is not valid yet",
	[TLS_WRONG_NAME] = "its certificate is for another name or address",
	[TLS_WRONG_KEY] = "its key is not the pinned one",
	[TLS_NO_CA_FILE] = "the file of trusted CAs cannot be read",
};
static_assert(ARRAY_LEN(doubt_texts) == TLS_DOUBTS);

const char *tls_doubt_text(enum tls_doubt d)
{
	return doubt_texts[d];
}

static bool decode(const char *text, gnutls_datum_t *ret)
{
	gnutls_datum_t in = { .data = (unsigned char *)(uintptr_t)text,
			      .size = (unsigned)strlen(text) };

	return (in.size == SHA256_BYTES * 2 ? gnutls_hex_decode2(&in, ret)
					    : gnutls_base64_decode2(&in, ret)) == 0;
}

bool tls_pin_parse(const char *text, char ret[TLS_PIN_SIZE], struct err *e)
{
	const char *digits = text + (str_starts(text, "sha256//") ? strlen("sha256//") : 0);
	gnutls_datum_t raw = {}, base64 = {};
	bool ok = decode(digits, &raw) && raw.size == SHA256_BYTES &&
		  gnutls_base64_encode2(&raw, &base64) >= 0;

	if (ok) {
		snprintf(ret, TLS_PIN_SIZE, "sha256//%.*s", (int)base64.size, (char *)base64.data);
	}
	gnutls_free(raw.data);
	gnutls_free(base64.data);
	return ok ||
	       err_set(e, ERR_INVALID,
		       "'%.80s' is no SHA-256 of a public key: 64 hexadecimal digits, or base64",
		       text);
}

bool tls_ca_check(const char *ca_file, struct err *e)
{
	auto_str pem = {};
	gnutls_x509_crt_t *certs = NULL;
	unsigned n = 0;

	if (!file_read(ca_file, CA_FILE_MAX, &pem, e)) {
		e->code = ERR_INVALID;
		return false;
	}
	gnutls_datum_t data = { .data = (unsigned char *)pem.p, .size = (unsigned)pem.len };
	int got = pem.len == 0
			  ? GNUTLS_E_NO_CERTIFICATE_FOUND
			  : gnutls_x509_crt_list_import2(&certs, &n, &data, GNUTLS_X509_FMT_PEM, 0);

	for (unsigned i = 0; got >= 0 && i < n; i++) {
		gnutls_x509_crt_deinit(certs[i]);
	}
	gnutls_free(certs);
	return got >= 0 || err_set(e, ERR_INVALID, "'%s' holds no certificate in PEM form: %s",
				   ca_file, gnutls_strerror(got));
}

void tls_trust(void *curl, const char *ca_file, const char *pin)
{
	bool has_ca = ca_file != NULL && ca_file[0] != '\0';
	bool has_pin = pin != NULL && pin[0] != '\0';

	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (has_ca) {
		curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file);
		curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	}
	if (has_pin) {
		curl_easy_setopt(curl, CURLOPT_PINNEDPUBLICKEY, pin);
	}
	if (has_pin && !has_ca) {
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
	}
}

/* libcurl hands on what GnuTLS found, as its bits. */
static enum tls_doubt doubt_of_certificate(CURL *curl)
{
	long found = 0;

	curl_easy_getinfo(curl, CURLINFO_SSL_VERIFYRESULT, &found);
	if ((found & GNUTLS_CERT_SIGNER_NOT_FOUND) != 0) {
		return TLS_STRANGER;
	}
	if ((found & GNUTLS_CERT_EXPIRED) != 0) {
		return TLS_EXPIRED;
	}
	if ((found & GNUTLS_CERT_NOT_ACTIVATED) != 0) {
		return TLS_NOT_YET_VALID;
	}
	return found != 0 ? TLS_STRANGER : TLS_WRONG_NAME;
}

enum tls_doubt tls_doubt_of(void *curl, int code)
{
	switch (code) {
	case CURLE_PEER_FAILED_VERIFICATION:
		return doubt_of_certificate(curl);
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
		return TLS_WRONG_KEY;
	case CURLE_SSL_CACERT_BADFILE:
		return TLS_NO_CA_FILE;
	case CURLE_SSL_CONNECT_ERROR:
		return TLS_NO_HANDSHAKE;
	default:
		return TLS_NO_DOUBT;
	}
}
