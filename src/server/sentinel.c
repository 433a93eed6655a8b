/*
 * Connections of discovery and their limits. A request is read only when the answers before it are
 * nearly out, so that a client that asks without reading holds itself up and nobody else.
 */
#include <sys/resource.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/listen.h"
#include "server/sentinel_impl.h"

enum {
	REQUEST_LIMIT_MS = 30'000, /* to send the rest of a request, and to log in */
	STALL_LIMIT_MS = 30'000,
	KEEPALIVE_S = 60,
	PIPELINE_BYTES = 64 << 10, /* unsent answers up to which the next request is read */
	UNSENT_MAX = 1 << 20,      /* with messages; one answer may be longer */
	ALL_UNSENT_MAX = 256 << 20,
	DESCRIPTORS_KEPT = 64, /* for the store, the log and the listeners */
};

/* ---- a client ---- */

struct client *client_new(struct sentinel *s, struct stream *stream)
{
	struct client *c = memory_alloc(1, sizeof *c);

	c->s = s;
	c->stream = stream;
	c->id = ++s->last_id;
	c->reader = resp_reader_new();
	client_log_out(c);
	if (!c->logged_in) {
		c->login_until_ms = clock_ms() + REQUEST_LIMIT_MS;
	}
	LIST_INSERT_HEAD(&s->clients, c, others);
	s->nclients++;
	return c;
}

/* Streams close in turns of their own, so the last client may outlive the endpoint. */
static void release(struct sentinel *s)
{
	if (s->freed && s->nclients == 0) {
		free(s);
	}
}

void client_free(struct client *c)
{
	struct sentinel *s = c->s;

	LIST_REMOVE(c, others);
	s->nclients--;
	subscriptions_drop(c);
	resp_reader_free(c->reader);
	str_done(&c->out.text);
	free(c);
	release(s);
}

void client_flush(struct client *c)
{
	if (c->stream == NULL) {
		return;
	}
	stream_send(c->stream, c->out.text.p, c->out.text.len);
	str_done(&c->out.text); /* thousands may be silent: no buffers for them */
}

static size_t unsent(const struct client *c)
{
	return c->out.text.len + (c->stream == NULL ? 0 : stream_unsent(c->stream));
}

/* Subscribers may be silent for ever, as with Sentinel. */
static int64_t deadline(struct client *c, bool held_up)
{
	int64_t now_ms = clock_ms();

	if (held_up || !resp_inside(c->reader)) {
		c->inside_ms = 0;
	} else if (c->inside_ms == 0) {
		c->inside_ms = now_ms;
	}
	if (!c->logged_in) {
		return c->login_until_ms;
	}
	if (c->inside_ms != 0) {
		return c->inside_ms + REQUEST_LIMIT_MS;
	}
	if (held_up || c->nsubs > 0 || c->s->idle_limit_ms == 0) {
		return 0;
	}
	return now_ms + c->s->idle_limit_ms;
}

/* False: there is no whole request. */
static bool run_one(struct client *c)
{
	const struct resp_request *rq;
	struct err e = {};

	switch (resp_read(c->reader, &rq, &e)) {
	case RESP_REQUEST:
		if (rq->argc > 0) {
			command_run(c, rq);
		}
		return true;
	case RESP_MORE:
		return false;
	case RESP_ERROR:
		resp_error(&c->out, "ERR %s", e.msg);
		c->leaving = true;
		return true;
	}
	abort();
}

static void run(struct client *c)
{
	bool more = true;

	while (more && !c->leaving && unsent(c) <= PIPELINE_BYTES) {
		more = run_one(c);
	}
	client_flush(c);
	if (c->stream == NULL) {
		return;
	}
	if (c->leaving) {
		stream_finish(c->stream);
		return;
	}
	stream_pause(c->stream, more);
	stream_set_deadline(c->stream, deadline(c, more));
}

void client_feed(struct client *c, const void *p, size_t len)
{
	resp_feed(c->reader, p, len);
	run(c);
}

/* ---- its stream ---- */

static void *on_opened(void *arg, struct stream *stream)
{
	struct client *c = client_new(arg, stream);

	stream_set_deadline(stream, deadline(c, false));
	return c;
}

static void on_received(void *owner, const char *p, size_t len)
{
	client_feed(owner, p, len);
}

static void on_drained(void *owner)
{
	struct client *c = owner;

	if (!c->leaving) {
		run(c);
	}
}

static void on_closed(void *owner)
{
	client_free(owner);
}

/* ---- the endpoint ---- */

/*
 * As many as there are descriptors for: the API has its own connections, and a store that cannot
 * open a file is worse than a client refused.
 */
static size_t affordable(const struct settings *settings)
{
	size_t wanted = (size_t)setting_int(settings, "discovery.max_clients");
	size_t others = (size_t)setting_int(settings, "api.max_connections") + DESCRIPTORS_KEPT;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
		return wanted;
	}
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
			(void)getrlimit(RLIMIT_NOFILE, &limit);
		}
	}
	if (limit.rlim_cur >= wanted + others) {
		return wanted;
	}
	size_t left = limit.rlim_cur > others ? limit.rlim_cur - others : 1;

	LOG(LOG_WARN, "discovery.limited", KV("clients", left), KV("wanted", wanted),
	    KV("hint", "raise the limit of open files (LimitNOFILE=)"));
	return left;
}

struct sentinel *sentinel_new(struct registry *r, const struct auth *auth)
{
	struct sentinel *s = memory_alloc(1, sizeof *s);
	const struct settings *settings = registry_settings(r);

	s->r = r;
	s->auth = auth;
	s->started_ms = clock_ms();
	s->idle_limit_ms = SEC(setting_int(settings, "discovery.idle_limit"));
	s->max_clients = (size_t)setting_int(settings, "discovery.max_clients");
	LIST_INIT(&s->clients);
	return s;
}

bool sentinel_start(struct registry *r, const struct auth *auth, struct sentinel **ret,
		    struct err *e)
{
	const char *listen = setting_text(registry_settings(r), "discovery.listen");
	char address[64];
	uint16_t port;

	if (!listen_parse(listen, address, sizeof address, &port, e)) {
		return err_wrap(e, "discovery.listen");
	}
	struct sentinel *s = sentinel_new(r, auth);

	s->max_clients = affordable(registry_settings(r));
	const struct stream_config config = {
		.address = address,
		.port = port,
		.max_streams = s->max_clients,
		.full = "-ERR max number of clients reached\r\n",
		.unsent_max = UNSENT_MAX,
		.all_unsent_max = ALL_UNSENT_MAX,
		.stall_limit_ms = STALL_LIMIT_MS,
		.keepalive_s = KEEPALIVE_S,
		.opened = on_opened,
		.received = on_received,
		.drained = on_drained,
		.closed = on_closed,
		.arg = s,
	};

	if (!stream_listen(registry_loop(r), &config, &s->listener, e)) {
		free(s);
		return err_wrap(e, "discovery.listen");
	}
	sentinel_names_start(s);
	*ret = s;
	return true;
}

uint16_t sentinel_port(const struct sentinel *s)
{
	return stream_listener_port(s->listener);
}

void sentinel_free(struct sentinel *s)
{
	if (s == NULL) {
		return;
	}
	stream_listener_free(s->listener);
	sentinel_names_done(s);
	s->freed = true;
	release(s);
}
