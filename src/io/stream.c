/*
 * One write is under way per stream (`flying`); what is sent meanwhile gathers in `waiting`, so
 * that many small answers become one system call. A timer looks over all streams while there are
 * any: deadlines of a second's grain need no timer each.
 */
#include "io/stream.h"

#include <assert.h>
#include <sys/queue.h>

#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "io/file.h"
#include "io/listen.h"

enum {
	SWEEP_MS = 1000,
	READ_BYTES = 16 << 10,
	BACKLOG = 511,
};

struct stream {
	LIST_ENTRY(stream) others;
	struct stream_listener *ls;
	uv_tcp_t tcp;
	uv_write_t write;
	struct str flying, waiting;
	bool writing, finishing;
	bool told;            /* opened() has run, so closed() has to */
	size_t unsent_before; /* when the sweep looked last */
	int64_t moved_ms;     /* when the peer last took something, or began to owe it */
	int64_t deadline_ms;  /* 0: none */
	void *owner;
};

struct stream_listener {
	struct stream_config config;
	struct loop *loop;
	uv_tcp_t tcp;
	struct timer *sweep;
	LIST_HEAD(, stream) open;
	size_t n;
	size_t unsent; /* of all streams */
	size_t held;   /* streams whose handle is not closed yet, and one for the listener's own */
	uint16_t port;
	char read[READ_BYTES]; /* of the stream whose turn it is */
};

/* ---- ends ---- */

static void release(struct stream_listener *ls)
{
	if (--ls->held == 0) {
		free(ls);
	}
}

static void on_stream_closed(uv_handle_t *h)
{
	struct stream *s = h->data;
	struct stream_listener *ls = s->ls;

	ls->unsent -= stream_unsent(s);
	if (s->told) {
		ls->config.closed(s->owner);
	}
	str_done(&s->flying);
	str_done(&s->waiting);
	free(s);
	release(ls);
}

void stream_drop(struct stream *s)
{
	uv_handle_t *h = (uv_handle_t *)&s->tcp;

	if (uv_is_closing(h)) {
		return;
	}
	LIST_REMOVE(s, others);
	s->ls->n--;
	uv_close(h, on_stream_closed);
}

void stream_finish(struct stream *s)
{
	if (stream_unsent(s) == 0) {
		stream_drop(s);
		return;
	}
	s->finishing = true;
	stream_pause(s, true);
}

/* ---- writing ---- */

size_t stream_unsent(const struct stream *s)
{
	return s->flying.len + s->waiting.len;
}

static void write_next(struct stream *s);

static void on_written(uv_write_t *w, int status)
{
	struct stream *s = w->data;

	s->writing = false;
	if (status < 0) {
		stream_drop(s);
		return;
	}
	s->ls->unsent -= s->flying.len;
	str_done(&s->flying); /* idle streams hold no buffers: there may be thousands */
	s->moved_ms = clock_ms();
	if (s->waiting.len > 0) {
		write_next(s);
	} else if (s->finishing) {
		stream_drop(s);
	} else {
		s->ls->config.drained(s->owner);
	}
}

static void write_next(struct stream *s)
{
	s->flying = s->waiting;
	s->waiting = (struct str){};

	uv_buf_t buf = uv_buf_init(s->flying.p, (unsigned)s->flying.len);

	s->write.data = s;
	s->writing = true;
	s->unsent_before = 0;
	if (uv_write(&s->write, (uv_stream_t *)&s->tcp, &buf, 1, on_written) < 0) {
		s->writing = false;
		stream_drop(s);
	}
}

void stream_send(struct stream *s, const void *p, size_t len)
{
	const struct stream_config *c = &s->ls->config;

	if (uv_is_closing((uv_handle_t *)&s->tcp) || s->finishing || len == 0) {
		return;
	}
	if (stream_unsent(s) > c->unsent_max || s->ls->unsent > c->all_unsent_max) {
		LOG(LOG_INFO, "stream.dropped", KV("why", "it does not take what it is sent"),
		    KV("unsent_bytes", stream_unsent(s)));
		stream_drop(s);
		return;
	}
	if (stream_unsent(s) == 0) {
		s->moved_ms = clock_ms();
	}
	str_append_mem(&s->waiting, p, len);
	s->ls->unsent += len;
	if (!s->writing) {
		write_next(s);
	}
}

/* ---- reading ---- */

static void give_buffer(uv_handle_t *h, size_t, uv_buf_t *ret)
{
	struct stream *s = h->data;

	*ret = uv_buf_init(s->ls->read, READ_BYTES);
}

static void on_read(uv_stream_t *tcp, ssize_t n, const uv_buf_t *buf)
{
	struct stream *s = tcp->data;

	if (n < 0) {
		stream_drop(s);
	} else if (n > 0) {
		s->ls->config.received(s->owner, buf->base, (size_t)n);
	}
}

void stream_pause(struct stream *s, bool paused)
{
	uv_stream_t *tcp = (uv_stream_t *)&s->tcp;

	if (uv_is_closing((uv_handle_t *)tcp)) {
		return;
	}
	if (paused || s->finishing) {
		uv_read_stop(tcp);
	} else {
		uv_read_start(tcp, give_buffer, on_read);
	}
}

/* ---- limits ---- */

void stream_set_deadline(struct stream *s, int64_t deadline_ms)
{
	s->deadline_ms = deadline_ms;
}

static bool is_stalled(struct stream *s, int64_t now_ms)
{
	size_t unsent = s->waiting.len + uv_stream_get_write_queue_size((uv_stream_t *)&s->tcp);
	size_t before = s->unsent_before;

	s->unsent_before = unsent;
	if (unsent == 0 || unsent < before) {
		s->moved_ms = now_ms;
	}
	return now_ms - s->moved_ms > s->ls->config.stall_limit_ms;
}

static void sweep(void *arg)
{
	struct stream_listener *ls = arg;
	int64_t now_ms = clock_ms();

	for (struct stream *s = LIST_FIRST(&ls->open), *next; s != NULL; s = next) {
		next = LIST_NEXT(s, others);
		if (is_stalled(s, now_ms) || (s->deadline_ms != 0 && now_ms >= s->deadline_ms)) {
			stream_drop(s);
		}
	}
	if (ls->n > 0) {
		timer_set_in(ls->sweep, SWEEP_MS);
	}
}

/* ---- beginnings ---- */

static struct stream *stream_new(struct stream_listener *ls)
{
	struct stream *s = calloc(1, sizeof *s);

	if (s == NULL || uv_tcp_init(loop_uv(ls->loop), &s->tcp) < 0) {
		abort();
	}
	s->ls = ls;
	s->tcp.data = s;
	s->moved_ms = clock_ms();
	ls->held++;
	ls->n++;
	LIST_INSERT_HEAD(&ls->open, s, others);
	return s;
}

/* The few bytes of the refusal fit into any socket's buffer. */
static void refuse(struct stream *s)
{
	const char *full = s->ls->config.full;
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)full, (unsigned)strlen(full));

	(void)uv_try_write((uv_stream_t *)&s->tcp, &buf, 1);
	stream_drop(s);
}

static void on_connection(uv_stream_t *tcp, int status)
{
	struct stream_listener *ls = tcp->data;

	if (status < 0) {
		LOG(LOG_WARN, "stream.not-accepted", KV("why", uv_strerror(status)));
		return;
	}
	struct stream *s = stream_new(ls);

	if (uv_accept(tcp, (uv_stream_t *)&s->tcp) < 0) {
		stream_drop(s);
		return;
	}
	if (ls->n > ls->config.max_streams) {
		refuse(s);
		return;
	}
	(void)uv_tcp_nodelay(&s->tcp, 1);
	(void)uv_tcp_keepalive(&s->tcp, 1, (unsigned)ls->config.keepalive_s);
	if (!timer_is_set(ls->sweep)) {
		timer_set_in(ls->sweep, SWEEP_MS);
	}
	s->owner = ls->config.opened(ls->config.arg, s);
	s->told = true;
	stream_pause(s, false);
}

static void on_listener_closed(uv_handle_t *h)
{
	release(h->data);
}

bool stream_listen(struct loop *l, const struct stream_config *c, struct stream_listener **ret,
		   struct err *e)
{
	auto_fd fd = -1;
	uint16_t port;

	if (!listen_on(c->address, c->port, &fd, &port, e)) {
		return false;
	}
	struct stream_listener *ls = calloc(1, sizeof *ls);

	if (ls == NULL || uv_tcp_init(loop_uv(l), &ls->tcp) < 0) {
		abort();
	}
	ls->tcp.data = ls;
	ls->config = *c;
	ls->loop = l;
	ls->port = port;
	ls->held = 1;
	LIST_INIT(&ls->open);
	ls->sweep = timer_new(l, sweep, ls);

	int rc = uv_tcp_open(&ls->tcp, fd);
	if (rc == 0) {
		(void)fd_take(&fd);
		rc = uv_listen((uv_stream_t *)&ls->tcp, BACKLOG, on_connection);
	}
	if (rc != 0) {
		stream_listener_free(ls);
		return err_set(e, ERR_IO, "listen: %s", uv_strerror(rc));
	}
	*ret = ls;
	return true;
}

uint16_t stream_listener_port(const struct stream_listener *ls)
{
	return ls->port;
}

size_t stream_count(const struct stream_listener *ls)
{
	return ls->n;
}

void stream_listener_free(struct stream_listener *ls)
{
	if (ls == NULL) {
		return;
	}
	while (!LIST_EMPTY(&ls->open)) {
		stream_drop(LIST_FIRST(&ls->open));
	}
	timer_free(ls->sweep);
	uv_close((uv_handle_t *)&ls->tcp, on_listener_closed);
}
