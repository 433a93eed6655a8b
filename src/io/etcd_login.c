/*
 * Login: name and password for a token. etcd forgets tokens: after a time without use, on a
 * restart, when its users and roles change (simple tokens), or at a set time (JWT).
 */
#include "base/clock.h"
#include "base/log.h"
#include "io/etcd_impl.h"

enum {
	LIMIT_MS = 5000,   /* etcd hashes the password with bcrypt */
	REFUSED_MS = 5000, /* asking with the same password changes nothing, until somebody acts */
};

bool etcd_login_wanted(const struct etcd *e, const char *message)
{
	/* etcd's rpctypes: ErrInvalidAuthToken, ErrUserEmpty (no token), ErrAuthOldRevision */
	return e->user[0] != '\0' && (strstr(message, "invalid auth token") != NULL ||
				      strstr(message, "user name is empty") != NULL ||
				      strstr(message, "revision of auth store is old") != NULL);
}

void etcd_login_forget(struct etcd *e, unsigned login)
{
	if (login == e->logins) {
		str_clear(&e->authorization);
	}
}

static void refused(struct etcd *e, const struct etcd_reply *r)
{
	e->login_at_ms = clock_ms() + REFUSED_MS;
	e->login_err = r->err;
	err_wrap(&e->login_err, "login at etcd as '%s'", e->user);
	if (!e->login_refused) {
		e->login_refused = true;
		LOG(LOG_ERROR, "etcd.login-refused", KV("user", e->user), KV("why", r->err.msg));
	}
}

static void on_result(void *arg, int status, const char *text, size_t len, const struct err *err)
{
	struct etcd *e = arg;
	struct etcd_reply r = etcd_reply(status, text, len, err);
	auto_json *body = r.body;
	const char *token = json_string_value(json_object_get(body, "token"));

	e->login = NULL;
	if (r.answered && token != NULL) {
		etcd_endpoint_good(e, e->login_endpoint);
		e->login_refused = false;
		e->logins++;
		str_clear(&e->authorization);
		str_printf(&e->authorization, "Authorization: %s", token);
		etcd_resume(e);
	} else if (r.refused && !r.passes) {
		refused(e, &r);
	} else {
		e->login_at_ms = clock_ms() + ETCD_PAUSE_MS;
		etcd_endpoint_left(e, e->login_endpoint, &r.err);
	}
}

static void start(struct etcd *e)
{
	auto_str body = {};
	struct jw w = { .out = &body };

	jw_object(&w, NULL);
	jw_str(&w, "name", e->user);
	jw_str(&w, "password", e->password.open);
	jw_end(&w);
	e->login_endpoint = e->current;
	e->login = etcd_post(e, "/v3/auth/authenticate", &body,
			     &(struct http_call_spec){ .limit_ms = LIMIT_MS }, on_result, e);
}

bool etcd_login_ready(struct etcd *e)
{
	if (e->user[0] == '\0' || e->authorization.len > 0) {
		return true;
	}
	if (e->login == NULL && clock_ms() >= e->login_at_ms) {
		start(e);
	}
	return false;
}
