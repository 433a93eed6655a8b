/*
 * What the HTTP server costs on top of its library: the same fixed body over the same loop, once
 * from libmicrohttpd as bare as it gets, once from io/httpd.
 *
 *	fixed_body bare|httpd PORT [BYTES]
 *	wrk -t1 -c32 -d3s http://127.0.0.1:PORT/
 *
 * The bare one leaves everything out that a server on a network needs (limits, checks, ownership):
 * it is the ceiling, not a rival.
 */
#include <arpa/inet.h>
#include <netinet/in.h>

#include <microhttpd.h>
#include <uv.h>

#include "base/log.h"
#include "io/httpd.h"
#include "io/loop.h"
#include "io/turn.h"

struct bare {
	struct MHD_Daemon *mhd;
	struct MHD_Response *response;
	struct turn *again;
};

struct ours {
	char *body;
	size_t len;
};

static enum MHD_Result bare_request(void *arg, struct MHD_Connection *c, const char *, const char *,
				    const char *, const char *, size_t *, void **context)
{
	struct bare *b = arg;

	if (*context == NULL) {
		*context = b; /* an answer to the first call would close the connection */
		return MHD_YES;
	}
	return MHD_queue_response(c, MHD_HTTP_OK, b->response);
}

static void bare_run(void *arg)
{
	struct bare *b = arg;
	MHD_UNSIGNED_LONG_LONG ms;

	MHD_run(b->mhd);
	if (MHD_get_timeout(b->mhd, &ms) == MHD_YES) {
		turn_set(b->again);
	}
}

static bool bare_start(struct loop *l, struct bare *b, uint16_t port, char *body, size_t len)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	b->response = MHD_create_response_from_buffer(len, body, MHD_RESPMEM_PERSISTENT);
	MHD_add_response_header(b->response, "Content-Type", "application/json");
	b->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, port, NULL, NULL,
				  bare_request, b, MHD_OPTION_SOCK_ADDR, &a,
				  MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)8192, MHD_OPTION_END);
	if (b->mhd == NULL) {
		return false;
	}
	b->again = turn_new(l, bare_run, b);
	turn_set(b->again);
	fd_watch_new(l, MHD_get_daemon_info(b->mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, bare_run,
		     b);
	return true;
}

static void ours_request(void *arg, struct http_request *rq)
{
	struct ours *o = arg;
	auto_str body = {};

	str_append_mem(&body, o->body, o->len);
	http_reply(rq, 200, &body, NULL, 0);
}

static void ours_gone(void *, struct http_request *)
{
}

static size_t ours_ceiling(void *, enum http_method, const char *)
{
	return 0;
}

static void ours_refuse(void *, const char *, int, const char *text, struct str *ret)
{
	str_append(ret, text);
}

static bool ours_start(struct loop *l, struct ours *o, uint16_t port)
{
	struct httpd *h;
	struct err e = {};
	struct httpd_config config = {
		.address = "127.0.0.1",
		.port = port,
		.max_connections = 1024,
		.head_limit_ms = SEC(10),
		.body_limit_ms = SEC(30),
		.idle_limit_ms = SEC(75),
		.handler = ours_request,
		.gone = ours_gone,
		.ceiling = ours_ceiling,
		.refuse = ours_refuse,
		.arg = o,
	};

	if (!httpd_start(l, &config, &h, &e)) {
		fprintf(stderr, "%s\n", e.msg);
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	uint64_t port, bytes = 2000;
	struct loop *l = loop_new();
	struct bare bare = {};
	struct ours ours = {};

	if (argc < 3 || !str_to_u64(argv[2], &port) || (argc > 3 && !str_to_u64(argv[3], &bytes))) {
		fprintf(stderr, "usage: fixed_body bare|httpd PORT [BYTES]\n");
		return 2;
	}
	ours = (struct ours){ .body = malloc(bytes + 1), .len = bytes };
	memset(ours.body, 'x', bytes);

	bool started = strcmp(argv[1], "bare") == 0
			       ? bare_start(l, &bare, (uint16_t)port, ours.body, bytes)
			       : ours_start(l, &ours, (uint16_t)port);
	if (!started) {
		return 1;
	}
	loop_run(l);
	return 0;
}
