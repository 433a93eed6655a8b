/*
 * Clients that are slow, or gone.
 *
 * The library's own time-out counts silence only, so one byte a minute holds a connection for
 * ever; here one timer sweeps all connections and shuts those down that have been in their state
 * for too long.
 *
 * A held request is a suspended connection, of which the library does not watch the socket. An
 * epoll set of our own does, for the peer's hang-up alone: two system calls per held request,
 * nothing while it waits. A client that closes its sending side counts as gone.
 */
#include "io/httpd_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

enum {
	HANGUPS_AT_ONCE = 64,
	SWEEP_MIN_MS = 10,
	SWEEP_MAX_MS = 1000,
};

void connection_hold(struct http_connection *c)
{
	struct epoll_event ev = { .events = EPOLLRDHUP, .data.ptr = c };

	/* Without the watch an answer to somebody gone fails later: worse, but right. */
	if (epoll_ctl(c->h->hangups, EPOLL_CTL_ADD, c->fd, &ev) < 0) {
		LOG(LOG_DEBUG, "http.hangup-unwatched", KV("errno", errno));
	}
	c->held = true;
	MHD_suspend_connection(c->mhd);
}

void connection_resume(struct http_connection *c)
{
	epoll_ctl(c->h->hangups, EPOLL_CTL_DEL, c->fd, NULL);
	c->held = false;
	MHD_resume_connection(c->mhd);
	turn_set(c->h->again); /* it takes effect in MHD_run(), and nothing else asks for one */
}

void connection_gone(struct http_connection *c)
{
	const struct httpd_config *config = &c->h->config;

	config->gone(config->arg, c->rq);
	connection_drop_request(c);
	connection_resume(c);
	c->state = CONNECTION_CUT;
}

/* gone() may answer other held requests, so each is looked at again. None is freed in here. */
static void on_hangup(void *arg)
{
	struct httpd *h = arg;
	struct epoll_event events[HANGUPS_AT_ONCE];
	int n = epoll_wait(h->hangups, events, HANGUPS_AT_ONCE, 0);

	for (int i = 0; i < n; i++) {
		struct http_connection *c = events[i].data.ptr;

		if (c->held) {
			connection_gone(c);
		}
	}
}

static void sweep_later(struct httpd *h)
{
	const struct httpd_config *c = &h->config;
	int64_t ms = c->head_limit_ms < c->body_limit_ms ? c->head_limit_ms : c->body_limit_ms;

	ms = (ms < c->idle_limit_ms ? ms : c->idle_limit_ms) / 4;
	ms = ms < SWEEP_MIN_MS ? SWEEP_MIN_MS : ms > SWEEP_MAX_MS ? SWEEP_MAX_MS : ms;
	timer_set_in(h->sweep, ms);
}

static void connection_cut(struct http_connection *c)
{
	LOG(LOG_DEBUG, "http.connection-cut", KV("state", (int)c->state));
	c->state = CONNECTION_CUT;
	shutdown(c->fd, SHUT_RDWR);
}

/* False when the kernel does not tell. */
static bool tcp_times(int fd, struct tcp_info *ret)
{
	socklen_t len = sizeof *ret;

	*ret = (struct tcp_info){};
	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, ret, &len) == 0;
}

/*
 * The library says nothing of a head before its first line is complete. But the kernel knows when
 * bytes came last: after the answer was sent, so they are of a new head.
 */
static bool head_has_begun(const struct http_connection *c, int64_t now_ms)
{
	struct tcp_info info;
	const int64_t jiffy_ms = 10; /* the kernel's clock is that coarse */

	return tcp_times(c->fd, &info) &&
	       now_ms - (int64_t)info.tcpi_last_data_recv > c->since_ms + jiffy_ms;
}

/* Large answers take their time on slow lines, as long as something is sent. */
static bool reply_is_stuck(const struct http_connection *c)
{
	struct tcp_info info;

	return tcp_times(c->fd, &info) &&
	       (int64_t)info.tcpi_last_data_sent > c->h->config.idle_limit_ms;
}

static bool connection_is_late(struct http_connection *c, int64_t now_ms)
{
	const struct httpd_config *config = &c->h->config;
	int64_t age_ms = now_ms - c->since_ms;

	switch (c->state) {
	case CONNECTION_HEAD:
		return age_ms > config->head_limit_ms;
	case CONNECTION_BODY:
		return age_ms > config->body_limit_ms;
	case CONNECTION_REPLY:
		return age_ms > config->idle_limit_ms && reply_is_stuck(c);
	case CONNECTION_IDLE:
		return age_ms > config->idle_limit_ms;
	case CONNECTION_HANDLED:
	case CONNECTION_CUT:
		break;
	}
	return false;
}

static void on_sweep(void *arg)
{
	struct httpd *h = arg;
	struct http_connection *c;

	/* What has come already counts, should it have been us who were slow. */
	httpd_run(h);

	int64_t now_ms = h->now_ms;
	LIST_FOREACH(c, &h->connections, others)
	{
		if (connection_is_late(c, now_ms)) {
			connection_cut(c);
		} else if (c->state == CONNECTION_IDLE && head_has_begun(c, now_ms)) {
			connection_enter(c, CONNECTION_HEAD);
		}
	}
	if (!LIST_EMPTY(&h->connections)) {
		sweep_later(h);
	}
}

void patience_begin(struct httpd *h)
{
	if (!timer_is_set(h->sweep)) {
		sweep_later(h);
	}
}

bool patience_start(struct httpd *h, struct loop *l, struct err *e)
{
	h->hangups = epoll_create1(EPOLL_CLOEXEC);
	if (h->hangups < 0) {
		return err_sys(e, "create an epoll set");
	}
	h->hangup_watch = fd_watch_new(l, h->hangups, on_hangup, h);
	h->sweep = timer_new(l, on_sweep, h);
	return true;
}

void patience_stop(struct httpd *h)
{
	fd_watch_free(h->hangup_watch);
	timer_free(h->sweep);
	close(h->hangups);
}
