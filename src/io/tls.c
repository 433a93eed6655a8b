#include "io/tls.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdlib.h>

#include "base/str.h"
#include "io/file.h"

enum {
	FILE_MAX = 1 << 20,
	CHAIN_MAX = 16,
	KEY_ID_BYTES = 32,
	PIN_SIZE = 64, /* "sha256//", 44 characters, NUL */
};

struct tls_identity {
	unsigned holders;
	struct gnutls_pcert_st chain[CHAIN_MAX]; /* the server's own first */
	unsigned chain_len;
	gnutls_privkey_t key;
	time_t begin, end;
	char pin[PIN_SIZE];
};

static void wipe_done(struct str *s)
{
	if (s->p != NULL) {
		explicit_bzero(s->p, s->len);
	}
	str_done(s);
}

/* A file with a key in it is not left behind in memory. */
#define auto_secret [[gnu::cleanup(wipe_done)]] struct str

static gnutls_datum_t datum_of(struct str *s)
{
	return (gnutls_datum_t){ .data = (unsigned char *)s->p, .size = (unsigned)s->len };
}

static bool read_pem(const char *path, struct str *ret, struct err *e)
{
	return file_read(path, FILE_MAX, ret, e);
}

static bool key_id_of(gnutls_x509_crt_t cert, unsigned char id[KEY_ID_BYTES])
{
	size_t len = KEY_ID_BYTES;

	return gnutls_x509_crt_get_key_id(cert, GNUTLS_KEYID_USE_SHA256, id, &len) == 0;
}

static bool take_own(struct tls_identity *t, gnutls_x509_crt_t cert)
{
	unsigned char id[KEY_ID_BYTES];
	gnutls_datum_t raw = { .data = id, .size = sizeof id };
	gnutls_datum_t text = {};

	if (!key_id_of(cert, id) || gnutls_base64_encode2(&raw, &text) < 0) {
		return false;
	}
	snprintf(t->pin, sizeof t->pin, "sha256//%.*s", (int)text.size, (char *)text.data);
	gnutls_free(text.data);
	t->begin = gnutls_x509_crt_get_activation_time(cert);
	t->end = gnutls_x509_crt_get_expiration_time(cert);
	return true;
}

static bool load_chain(struct tls_identity *t, const char *path, struct err *e)
{
	auto_str pem = {};
	gnutls_x509_crt_t certs[CHAIN_MAX];
	unsigned n = CHAIN_MAX;

	if (!read_pem(path, &pem, e)) {
		return false;
	}
	gnutls_datum_t data = datum_of(&pem);
	int got = pem.len == 0 ? GNUTLS_E_NO_CERTIFICATE_FOUND
			       : gnutls_x509_crt_list_import(
					 certs, &n, &data, GNUTLS_X509_FMT_PEM,
					 GNUTLS_X509_CRT_LIST_SORT |
						 GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);

	if (got <= 0) {
		return err_set(e, ERR_INVALID, "'%s' holds no certificate in PEM form: %s", path,
			       gnutls_strerror(got < 0 ? got : GNUTLS_E_NO_CERTIFICATE_FOUND));
	}
	bool ok = take_own(t, certs[0]);

	for (int i = 0; i < got; i++) {
		ok = ok && gnutls_pcert_import_x509(&t->chain[i], certs[i], 0) == 0;
		t->chain_len += ok;
		gnutls_x509_crt_deinit(certs[i]);
	}
	return ok || err_set(e, ERR_INVALID, "'%s' holds a certificate that cannot be used", path);
}

static bool load_key(struct tls_identity *t, const char *path, struct err *e)
{
	auto_secret pem = {};

	if (!read_pem(path, &pem, e)) {
		return false;
	}
	gnutls_datum_t data = datum_of(&pem);
	int got = gnutls_privkey_init(&t->key);

	if (got == 0) {
		got = gnutls_privkey_import_x509_raw(t->key, &data, GNUTLS_X509_FMT_PEM, NULL, 0);
	}
	if (got == GNUTLS_E_DECRYPTION_FAILED) {
		return err_set(e, ERR_INVALID, "the key in '%s' has a password; it must have none",
			       path);
	}
	return got == 0 || err_set(e, ERR_INVALID, "'%s' holds no private key in PEM form: %s",
				   path, gnutls_strerror(got));
}

static bool key_fits(const struct tls_identity *t)
{
	gnutls_pubkey_t of_key = NULL;
	unsigned char a[KEY_ID_BYTES], b[KEY_ID_BYTES];
	size_t a_len = sizeof a, b_len = sizeof b;

	bool ok = gnutls_pubkey_init(&of_key) == 0 &&
		  gnutls_pubkey_import_privkey(of_key, t->key, 0, 0) == 0 &&
		  gnutls_pubkey_get_key_id(of_key, GNUTLS_KEYID_USE_SHA256, a, &a_len) == 0 &&
		  gnutls_pubkey_get_key_id(t->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256, b,
					   &b_len) == 0 &&
		  a_len == b_len && memcmp(a, b, a_len) == 0;

	gnutls_pubkey_deinit(of_key);
	return ok;
}

bool tls_identity_load(const char *cert_file, const char *key_file, struct tls_identity **ret,
		       struct err *e)
{
	struct tls_identity *t = calloc(1, sizeof *t);

	if (t == NULL) {
		abort();
	}
	t->holders = 1;
	if (!load_chain(t, cert_file, e) || !load_key(t, key_file, e)) {
		tls_identity_drop(t);
		return false;
	}
	if (!key_fits(t)) {
		tls_identity_drop(t);
		return err_set(e, ERR_INVALID,
			       "the key in '%s' is not that of the certificate in '%s'", key_file,
			       cert_file);
	}
	*ret = t;
	return true;
}

struct tls_identity *tls_identity_hold(struct tls_identity *t)
{
	if (t != NULL) {
		t->holders++;
	}
	return t;
}

void tls_identity_drop(struct tls_identity *t)
{
	if (t == NULL || --t->holders > 0) {
		return;
	}
	for (unsigned i = 0; i < t->chain_len; i++) {
		gnutls_pcert_deinit(&t->chain[i]);
	}
	gnutls_privkey_deinit(t->key);
	free(t);
}

void tls_identity_dates(const struct tls_identity *t, time_t *ret_begin, time_t *ret_end)
{
	*ret_begin = t->begin;
	*ret_end = t->end;
}

const char *tls_identity_pin(const struct tls_identity *t)
{
	return t->pin;
}

void tls_identity_lend(const struct tls_identity *t, struct gnutls_pcert_st **ret_chain,
		       unsigned *ret_len, struct gnutls_privkey_st **ret_key)
{
	/* GnuTLS takes them without const, and only reads them. */
	*ret_chain = (struct gnutls_pcert_st *)(uintptr_t)t->chain;
	*ret_len = t->chain_len;
	*ret_key = t->key;
}
