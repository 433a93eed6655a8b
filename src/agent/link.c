#include "agent/link.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/client.h"
#include "io/file.h"
#include "io/turn.h"

enum {
	REPORT_LIMIT_MS = 10000,
	HOLD_S = 30, /* how long the control plane may hold a request for goals */
	GOALS_LIMIT_MS = (HOLD_S + 10) * 1000,
	BACKOFF_FIRST_MS = 100,
	BACKOFF_MAX_MS = 2000,
	TOKEN_MAX = 512,
};

struct link {
	struct link_config c;
	struct http_client *client;
	char *authorization; /* a header; a secret */

	struct http_call *report, *goals; /* under way */
	struct timer *report_timer;       /* the next report: heartbeat, or after an error */
	struct turn *report_now;          /* the next report: there is news */
	struct timer *goals_timer;        /* the next request after an error */
	bool report_again;                /* news came while one was under way */
	bool told_full; /* the report under way, or the last one, was a full one */
	bool full;      /* the control plane does not know this session, or missed one */
	bool heard, lost, running;
	enum tls_doubt doubt, told_doubt;     /* of the last call; when link.lost was logged */
	unsigned report_errors, goals_errors; /* in a row */
	uint64_t after, watch;
};

/* A token that cannot be read is asked for again with the next attempt. */
static void read_token(struct link *k)
{
	auto_str text = {};
	auto_str header = {};
	struct err e;

	free(k->authorization);
	k->authorization = NULL;
	if (!file_read(k->c.token_file, TOKEN_MAX, &text, &e)) {
		LOG(LOG_WARN, "token.unreadable", KV("reason", e.msg));
		return;
	}
	size_t len = strcspn(str_cstr(&text), " \t\r\n");
	str_printf(&header, "Authorization: Bearer %.*s", (int)len, str_cstr(&text));
	k->authorization = str_take(&header);
}

static struct http_call *call(struct link *k, const char *method, const char *path,
			      const struct str *body, int64_t limit_ms, http_call_fn *fn)
{
	auto_str url = {};
	const char *headers[] = { "Content-Type: application/json", k->authorization };

	str_printf(&url, "%s%s", k->c.server, path);
	return http_call_start(k->client,
			       &(struct http_call_spec){
				       .method = method,
				       .url = url.p,
				       .headers = headers,
				       .nheaders = k->authorization == NULL ? 1 : 2,
				       .body = body == NULL ? NULL : body->p,
				       .body_len = body == NULL ? 0 : body->len,
				       .limit_ms = limit_ms,
				       .max_body = WIRE_BODY_MAX,
				       .ca_file = k->c.ca_file,
				       .pin = k->c.pin,
			       },
			       fn, k);
}

/* Doubles from 0.1 to 2 s, and half of it by chance, so that many hosts do not come at once. */
static int64_t backoff_ms(unsigned errors)
{
	int64_t ms = (int64_t)BACKOFF_FIRST_MS << (errors < 5 ? errors : 5);
	uint16_t chance;

	random_bytes(&chance, sizeof chance);
	ms = ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
	return ms / 2 + ms / 2 * chance / UINT16_MAX;
}

/*
 * Told once when it goes and once when it is back; and again when it is the certificate that is in
 * the way, or is no more, or something else about it is wrong now.
 */
static void note_lost(struct link *k, const char *what, int status, const char *why)
{
	if (status == 401 || status == 403) {
		read_token(k);
	}
	if (!k->lost || k->doubt != k->told_doubt) {
		k->lost = true;
		k->told_doubt = k->doubt;
		LOG(LOG_WARN, "link.lost", KV("server", k->c.server), KV("call", what),
		    KV("status", status), KV("reason", why));
	}
}

static void note_back(struct link *k)
{
	if (k->lost || !k->heard) {
		LOG(LOG_INFO, "link.up", KV("server", k->c.server));
	}
	k->lost = false;
	if (!k->heard) {
		k->heard = true;
		k->c.heard(k->c.arg);
	}
}

static const char *first_line(const char *body, size_t len, char *buf, size_t size)
{
	snprintf(buf, size, "%.*s", (int)(len < size ? len : size - 1), body == NULL ? "" : body);
	return buf;
}

/* goals */

static void ask_for_goals(void *arg);

/*
 * After any error everything is asked for anew: the control plane may be another one now, and what
 * it lists is what confirms the goals we hold.
 */
static void goals_failed(struct link *k, int status, const char *why)
{
	note_lost(k, "goals", status, why);
	k->after = 0;
	k->watch = 0;
	timer_set_in(k->goals_timer, backoff_ms(k->goals_errors++));
}

static void on_goals(void *arg, int status, const char *body, size_t len, const struct err *err)
{
	struct link *k = arg;
	auto_arena a = {};
	struct wire_goals g;
	struct err why;
	char text[160];

	k->doubt = http_call_doubt(k->goals);
	k->goals = NULL;
	if (status != 200) {
		if (status == 404) {
			k->full = true; /* it does not know this host */
		}
		goals_failed(k, status,
			     status == 0 ? err->msg : first_line(body, len, text, sizeof text));
		return;
	}
	if (!wire_read_goals(body, len, &a, &g, &why)) {
		goals_failed(k, status, why.msg);
		return;
	}
	k->goals_errors = 0;
	host_take_goals(k->c.host, &g, k->after == 0 ? GOALS_ALL : GOALS_NEW);
	k->after = g.revision;
	k->watch = g.watch_revision;
	if (k->after == 0) {
		/* Without a number to come back with every answer would be sent at once. */
		timer_set_in(k->goals_timer, BACKOFF_FIRST_MS);
	} else {
		ask_for_goals(k);
	}
}

static void ask_for_goals(void *arg)
{
	struct link *k = arg;
	auto_str path = {};

	if (k->goals != NULL) {
		return;
	}
	str_printf(&path, "/agent/v1/goals?host=%s&after=%" PRIu64 "&watch=%" PRIu64 "&wait=%d",
		   id_text(host_id(k->c.host)).s, k->after, k->watch, HOLD_S);
	k->goals = call(k, "GET", path.p, NULL, GOALS_LIMIT_MS, on_goals);
}

/* reports */

static int64_t next_heartbeat(const struct link *k, int64_t now)
{
	enum { BEHIND_MS = 20 }; /* behind the looks of the same beat, which it takes along */
	int64_t every = k->c.report_interval_ms;

	return (now / every + 1) * every + BEHIND_MS;
}

static void report_failed(struct link *k, int status, const char *why)
{
	note_lost(k, "report", status, why);
	k->full = true; /* what it contained is not known there */
	timer_set_in(k->report_timer, backoff_ms(k->report_errors++));
}

/*
 * One that does not know this session was started since the last report, perhaps from another
 * store: what it holds back for us may be counted from numbers that mean nothing to it.
 */
static void take_answer(struct link *k, const struct wire_report_answer *answer)
{
	bool stranger = answer->want_full && !k->told_full;

	k->full = answer->want_full;
	if (stranger) {
		k->report_again = true;
		http_call_cancel(k->goals);
		k->goals = NULL;
		timer_stop(k->goals_timer);
		k->after = 0;
		k->watch = 0;
	}
	if (k->goals == NULL && !timer_is_set(k->goals_timer)) {
		ask_for_goals(k); /* the first one: now it knows this host */
	}
}

static void on_report(void *arg, int status, const char *body, size_t len, const struct err *err)
{
	struct link *k = arg;
	struct wire_report_answer answer;
	struct err why;
	char text[160];

	k->doubt = http_call_doubt(k->report);
	k->report = NULL;
	if (status < 200 || status > 299) {
		report_failed(k, status,
			      status == 0 ? err->msg : first_line(body, len, text, sizeof text));
		return;
	}
	if (!wire_read_report_answer(body, len, &answer, &why)) {
		report_failed(k, status, why.msg);
		return;
	}
	k->report_errors = 0;
	host_report_arrived(k->c.host);
	note_back(k);
	take_answer(k, &answer);
	if (k->report_again) {
		turn_set(k->report_now);
	} else {
		timer_set_at(k->report_timer, next_heartbeat(k, clock_ms()));
	}
	k->report_again = false;
}

static void send_report(void *arg)
{
	struct link *k = arg;
	auto_str body = {};

	if (k->report != NULL) {
		k->report_again = true;
		return;
	}
	timer_stop(k->report_timer);
	k->told_full = k->full;
	host_write_report(k->c.host, k->full ? REPORT_FULL : REPORT_CHANGES, &body);
	k->report = call(k, "POST", "/agent/v1/report", &body, REPORT_LIMIT_MS, on_report);
}

void link_report(struct link *k)
{
	if (k->report != NULL) {
		k->report_again = true;
	} else if (k->running && k->report_errors == 0) {
		turn_set(k->report_now); /* what else this turn brings goes along */
	}
}

/* lifecycle */

struct link *link_new(const struct link_config *c)
{
	struct link *k = calloc(1, sizeof *k);

	if (k == NULL) {
		abort();
	}
	k->c = *c;
	k->full = true;
	k->client = http_client_new(c->loop);
	k->report_timer = timer_new(c->loop, send_report, k);
	k->report_now = turn_new(c->loop, send_report, k);
	k->goals_timer = timer_new(c->loop, ask_for_goals, k);
	return k;
}

void link_start(struct link *k)
{
	k->running = true;
	read_token(k);
	send_report(k);
}

void link_free(struct link *k)
{
	if (k == NULL) {
		return;
	}
	http_client_free(k->client);
	timer_free(k->report_timer);
	turn_free(k->report_now);
	timer_free(k->goals_timer);
	free(k->authorization);
	free(k);
}
