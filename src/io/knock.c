#include "io/knock.h"

#include <stdlib.h>

#include <uv.h>

#include "base/macros.h"

struct knock {
	uv_tcp_t tcp;
	uv_timer_t limit;
	uv_connect_t connect;
	uv_write_t write;
	unsigned open; /* handles that are not closed yet */
	bool ended, answers;
	char read[64];
	knock_fn *fn;
	void *arg;
};

static void on_closed(uv_handle_t *h)
{
	struct knock *k = h->data;

	if (--k->open == 0) {
		k->fn(k->arg, k->answers);
		free(k);
	}
}

/* Also for requests that are still under way: they come back with UV_ECANCELED before that. */
static void end(struct knock *k, bool answers)
{
	if (k->ended) {
		return;
	}
	k->ended = true;
	k->answers = answers;
	uv_close((uv_handle_t *)&k->tcp, on_closed);
	uv_close((uv_handle_t *)&k->limit, on_closed);
}

static void on_limit(uv_timer_t *t)
{
	end(t->data, false);
}

static void give_room(uv_handle_t *h, size_t, uv_buf_t *ret)
{
	struct knock *k = h->data;

	*ret = uv_buf_init(k->read, sizeof k->read);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *)
{
	if (n != 0) {
		end(s->data, n > 0);
	}
}

static void on_written(uv_write_t *w, int status)
{
	if (status != 0) {
		end(w->data, false);
	}
}

static void on_connected(uv_connect_t *c, int status)
{
	static char ping[] = "PING\r\n";
	struct knock *k = c->data;
	uv_stream_t *s = (uv_stream_t *)&k->tcp;
	uv_buf_t buf = uv_buf_init(ping, sizeof ping - 1);

	if (k->ended) {
		return;
	}
	if (status != 0 || uv_read_start(s, give_room, on_read) != 0 ||
	    uv_write(&k->write, s, &buf, 1, on_written) != 0) {
		end(k, false);
	}
}

static bool connect_to(struct knock *k, const char *address, uint16_t port)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} to;

	if (uv_ip4_addr(address, port, &to.v4) != 0 && uv_ip6_addr(address, port, &to.v6) != 0) {
		return false;
	}
	return uv_tcp_connect(&k->connect, &k->tcp, &to.any, on_connected) == 0;
}

void knock_start(struct loop *l, const char *address, uint16_t port, int64_t limit_ms, knock_fn *fn,
		 void *arg)
{
	struct knock *k = calloc(1, sizeof *k);

	if (k == NULL || uv_tcp_init(loop_uv(l), &k->tcp) != 0 ||
	    uv_timer_init(loop_uv(l), &k->limit) != 0) {
		abort();
	}
	k->fn = fn;
	k->arg = arg;
	k->open = 2;
	k->tcp.data = k->limit.data = k->connect.data = k->write.data = k;
	uv_update_time(loop_uv(l));
	if (!connect_to(k, address, port) ||
	    uv_timer_start(&k->limit, on_limit, (uint64_t)limit_ms, 0) != 0) {
		end(k, false);
	}
}
