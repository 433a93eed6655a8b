#include "server/certificate.h"

#include <time.h>

#include "base/log.h"
#include "base/str.h"

/* Before it is in use, so that its dates are told of once for each file. */
static void tell_certificate(const struct tls_identity *t)
{
	time_t begin, end, now = time(NULL);
	char until[32] = "?";
	struct tm tm;

	tls_identity_dates(t, &begin, &end);
	if (gmtime_r(&end, &tm) != NULL) {
		strftime(until, sizeof until, "%Y-%m-%dT%H:%M:%SZ", &tm);
	}
	LOG(LOG_INFO, "certificate.loaded", KV("valid_until", &until[0]),
	    KV("pin", tls_identity_pin(t)));
	if (now > end || now < begin) {
		LOG(LOG_WARN, now > end ? "certificate.expired" : "certificate.early",
		    KV("valid_until", &until[0]), KV("hint", "clients will refuse it"));
	}
}

bool certificate_load(const struct settings *s, struct tls_identity **ret, struct err *e)
{
	const char *cert = setting_text(s, "api.tls_cert");
	const char *key = setting_text(s, "api.tls_key");

	if (cert[0] == '\0' && key[0] == '\0') {
		*ret = NULL;
		return true;
	}
	if (cert[0] == '\0' || key[0] == '\0') {
		return err_set(e, ERR_INVALID,
			       "%s is set and %s is not: a certificate needs its key",
			       cert[0] == '\0' ? "api.tls_key" : "api.tls_cert",
			       cert[0] == '\0' ? "api.tls_cert" : "api.tls_key");
	}
	if (!tls_identity_load(cert, key, ret, e)) {
		return err_wrap(e, "api.tls_cert, api.tls_key");
	}
	tell_certificate(*ret);
	return true;
}

/* "::1" written otherwise is not known as loopback here, and then has to be allowed. */
static bool check_plain_text(const struct settings *s, struct err *e)
{
	const char *listen = setting_text(s, "api.listen");

	if (str_starts(listen, "127.") || str_starts(listen, "[::1]:") ||
	    setting_bool(s, "api.plain_text")) {
		return true;
	}
	return err_set(e, ERR_INVALID,
		       "api.listen = %s is not loopback, and everybody on the way could read "
		       "passwords and tokens: set api.tls_cert and api.tls_key, or allow it with "
		       "api.plain_text = yes",
		       listen);
}

bool certificate_prepare(const struct settings *s, struct tls_identity **ret, struct err *e)
{
	return certificate_load(s, ret, e) && (*ret != NULL || check_plain_text(s, e));
}
