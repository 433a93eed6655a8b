/*
 * Who a client is. Where nobody logs in (auth.mode none) everybody sees all projects; elsewhere a
 * token is the password, and its project is all that the client sees.
 */
#include <ctype.h>

#include "base/clock.h"
#include "server/sentinel_impl.h"

#define WRONG_PASSWORD "WRONGPASS invalid username-password pair or user is disabled."

void client_log_out(struct client *c)
{
	c->logged_in = auth_open(c->s->auth);
	c->project = NULL;
	c->name[0] = '\0';
	c->out.v3 = false;
}

/*
 * Redis has the user "default" where only a password is known; the project's name is what else
 * people write there.
 */
static bool log_in(struct client *c, const char *user, const char *password)
{
	struct login login;

	if (auth_open(c->s->auth)) {
		return str_eq(user, "default");
	}
	if (!auth_token(c->s->auth, password, &login) ||
	    (!str_eq(user, "default") && !str_eq(user, login.project))) {
		return false;
	}
	c->logged_in = true;
	c->project = login.project;
	return true;
}

/* Bytes behind a NUL would not be compared: such a word is never a password. */
static const char *whole_word(const struct resp_request *rq, size_t i)
{
	return strlen(rq->argv[i]) == rq->len[i] ? rq->argv[i] : "";
}

void login_auth(struct client *c, const struct resp_request *rq)
{
	bool with_user = rq->argc == 3;

	if (!with_user && auth_open(c->s->auth)) {
		resp_error(&c->out,
			   "ERR AUTH <password> called without any password configured for "
			   "the default user. Are you sure your configuration is correct?");
		return;
	}
	if (log_in(c, with_user ? whole_word(rq, 1) : "default",
		   whole_word(rq, with_user ? 2 : 1))) {
		resp_simple(&c->out, "OK");
	} else {
		resp_error(&c->out, WRONG_PASSWORD);
	}
}

bool client_set_name(struct client *c, const char *name)
{
	for (const char *p = name; *p != '\0'; p++) {
		if (!isgraph((unsigned char)*p)) {
			resp_error(&c->out, "ERR Client names cannot contain spaces, newlines or "
					    "special characters.");
			return false;
		}
	}
	if (!str_copy(c->name, sizeof c->name, name)) {
		c->name[0] = '\0';
		resp_error(&c->out, "ERR Client names have at most %d characters.",
			   CLIENT_NAME_MAX);
		return false;
	}
	return true;
}

/* ---- HELLO [VERSION [AUTH USER PASSWORD] [SETNAME NAME]] ---- */

struct hello {
	int64_t version; /* 0: as it is */
	const char *user, *password, *name;
};

static bool read_options(struct client *c, const struct resp_request *rq, struct hello *h)
{
	for (size_t i = 2; i < rq->argc;) {
		if (strcasecmp(rq->argv[i], "auth") == 0 && i + 2 < rq->argc) {
			h->user = whole_word(rq, i + 1);
			h->password = whole_word(rq, i + 2);
			i += 3;
		} else if (strcasecmp(rq->argv[i], "setname") == 0 && i + 1 < rq->argc) {
			h->name = rq->argv[i + 1];
			i += 2;
		} else {
			resp_error(&c->out, "ERR Syntax error in HELLO option '%.128s'",
				   rq->argv[i]);
			return false;
		}
	}
	return true;
}

static bool read_hello(struct client *c, const struct resp_request *rq, struct hello *h)
{
	if (rq->argc == 1) {
		return true;
	}
	if (!str_to_i64(rq->argv[1], &h->version)) {
		resp_error(&c->out, "ERR Protocol version is not an integer or out of range");
		return false;
	}
	if (h->version != 2 && h->version != 3) {
		resp_error(&c->out, "NOPROTO unsupported protocol version");
		return false;
	}
	return read_options(c, rq, h);
}

static bool introduce(struct client *c, const struct hello *h)
{
	if (h->user != NULL && !log_in(c, h->user, h->password)) {
		resp_error(&c->out, WRONG_PASSWORD);
		return false;
	}
	if (!c->logged_in) {
		resp_error(
			&c->out,
			"NOAUTH HELLO must be called with the client already authenticated, "
			"otherwise the HELLO <proto> AUTH <user> <pass> option can be used to "
			"authenticate the client and select the RESP protocol version at the same "
			"time");
		return false;
	}
	return h->name == NULL || client_set_name(c, h->name);
}

void login_hello(struct client *c, const struct resp_request *rq)
{
	struct hello h = {};

	if (!read_hello(c, rq, &h) || !introduce(c, &h)) {
		return;
	}
	if (h.version != 0) {
		c->out.v3 = h.version == 3;
	}
	resp_map(&c->out, 6);
	resp_bulk(&c->out, "server");
	resp_bulk(&c->out, "redis");
	resp_bulk(&c->out, "version");
	resp_bulk(&c->out, SENTINEL_DIALECT);
	resp_bulk(&c->out, "proto");
	resp_int(&c->out, c->out.v3 ? 3 : 2);
	resp_bulk(&c->out, "id");
	resp_int(&c->out, (int64_t)c->id);
	resp_bulk(&c->out, "mode");
	resp_bulk(&c->out, "sentinel");
	resp_bulk(&c->out, "modules");
	resp_array(&c->out, 0);
}
