/*
 * The HTTP server seen from the other end of raw sockets, both ends on one loop. Limits are short;
 * what is measured is that nothing is cut before its limit and everything soon after.
 */
#include "folder.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "io/httpd.h"

enum { CEILING = 1000, PATIENCE_MS = 5000, HEAD_MS = 100, BODY_MS = 150, IDLE_MS = 300 };

struct fixture {
	struct loop *loop;
	struct httpd *httpd;
	struct timer *patience, *later;
	struct http_request *held[8];
	size_t nheld;
	int gone, handled;
	struct fd_watch *watch;
	int fd; /* of the client */
	struct str got;
	bool closed;
	const char *until;
	const char *drip; /* sent one byte at a time */
	size_t dripped;
};

static void reply_text(struct http_request *rq, int status, const char *text)
{
	auto_str body = {};

	str_append(&body, text);
	http_reply(rq, status, &body, NULL, 0);
}

static void reply_held(void *arg)
{
	struct fixture *f = arg;
	size_t n = f->nheld;

	f->nheld = 0;
	for (size_t i = 0; i < n; i++) {
		reply_text(f->held[i], 200, "held");
	}
}

static void reply_big(struct http_request *rq)
{
	auto_str body = {};

	for (size_t i = 0; i < 16 << 10; i++) {
		str_append_mem(&body, (char[1024]){}, 1024);
	}
	http_reply(rq, 200, &body, NULL, 0);
}

static void on_request(void *arg, struct http_request *rq)
{
	struct fixture *f = arg;
	auto_str body = {};

	f->handled++;
	if (str_starts(rq->path, "/hold")) {
		f->held[f->nheld++] = rq;
		if (strcmp(rq->path, "/hold") == 0) {
			timer_set_in(f->later, 20);
		}
		return;
	}
	if (strcmp(rq->path, "/big") == 0) {
		reply_big(rq);
		return;
	}
	if (strcmp(rq->path, "/none") == 0) {
		http_reply(rq, 202, &body, NULL, 0);
		return;
	}
	const char *x = http_query(rq, "x"), *h = http_header(rq, "x-test");
	str_printf(&body, "[%s %s x=%s h=%s body=%s]", http_method_name(rq->method), rq->path,
		   x == NULL ? "-" : x, h == NULL ? "-" : h, rq->body);
	http_reply(rq, 200, &body,
		   (struct http_reply_header[]){ { "X-Mine", "yes" }, { "X-Bad", "a\r\nb: c" } },
		   2);
}

static void on_gone(void *arg, struct http_request *rq)
{
	struct fixture *f = arg;

	f->gone++;
	for (size_t i = 0; i < f->nheld; i++) {
		if (f->held[i] == rq) {
			f->held[i] = f->held[--f->nheld];
		}
	}
	loop_stop(f->loop);
}

static size_t ceiling(void *, enum http_method m, const char *path)
{
	assert_int_not_equal(m, HTTP_OTHER);
	return strcmp(path, "/small") == 0 ? 10 : CEILING;
}

static void refuse(void *, const char *, int status, const char *text, struct str *ret)
{
	str_printf(ret, "{\"refused\":%d,\"text\":\"%s\"}", status, text);
}

static void out_of_patience(void *arg)
{
	struct fixture *f = arg;

	loop_stop(f->loop);
	f->until = "(patience)";
}

static struct httpd_config config_of(struct fixture *f)
{
	return (struct httpd_config){
		.address = "127.0.0.1",
		.max_connections = 64,
		.head_limit_ms = HEAD_MS,
		.body_limit_ms = BODY_MS,
		.idle_limit_ms = IDLE_MS,
		.handler = on_request,
		.gone = on_gone,
		.ceiling = ceiling,
		.refuse = refuse,
		.arg = f,
	};
}

static void start_with(struct fixture *f, const struct httpd_config *c)
{
	struct err e = {};

	assert_ok(httpd_start(f->loop, c, &f->httpd, &e), &e);
	assert_int_not_equal(httpd_port(f->httpd), 0);
}

static int setup_loop(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->loop = loop_new();
	f->patience = timer_new(f->loop, out_of_patience, f);
	f->later = timer_new(f->loop, reply_held, f);
	f->fd = -1;
	*state = f;
	return 0;
}

static int setup_hasty(void **state)
{
	setup_loop(state);
	struct fixture *f = *state;
	struct httpd_config c = config_of(f);

	start_with(f, &c);
	return 0;
}

/* Where limits are not the matter: a machine under load must not run into them. */
static int setup(void **state)
{
	setup_loop(state);
	struct fixture *f = *state;
	struct httpd_config c = config_of(f);

	c.head_limit_ms = c.body_limit_ms = c.idle_limit_ms = 2 * PATIENCE_MS;
	start_with(f, &c);
	return 0;
}

static void hang_up(struct fixture *f)
{
	fd_watch_free(f->watch);
	f->watch = NULL;
	if (f->fd >= 0) {
		close(f->fd);
	}
	f->fd = -1;
	f->closed = false;
	str_clear(&f->got);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	hang_up(f);
	httpd_free(f->httpd);
	timer_free(f->patience);
	timer_free(f->later);
	loop_free(f->loop);
	str_done(&f->got);
	free(f);
	return 0;
}

/* The client. */

static void on_readable(void *arg)
{
	struct fixture *f = arg;
	char buf[65536];
	ssize_t n = read(f->fd, buf, sizeof buf);

	if (n > 0) {
		str_append_mem(&f->got, buf, (size_t)n);
	} else if (n == 0 || errno != EAGAIN) {
		f->closed = true;
		fd_watch_free(f->watch);
		f->watch = NULL;
	}
	if (f->closed || (f->until != NULL && strstr(str_cstr(&f->got), f->until) != NULL)) {
		loop_stop(f->loop);
	}
}

static int dial(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static void connect_client(struct fixture *f)
{
	hang_up(f);
	f->fd = dial(httpd_port(f->httpd));
}

static void send_text(struct fixture *f, const char *text)
{
	assert_int_equal(send(f->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Runs until the text has come (NULL: until the server closes); what has come. */
static const char *receive(struct fixture *f, const char *until)
{
	f->until = until;
	if (f->watch == NULL && !f->closed) {
		f->watch = fd_watch_new(f->loop, f->fd, on_readable, f);
	}
	timer_set_in(f->patience, PATIENCE_MS);
	loop_run(f->loop);
	timer_stop(f->patience);
	assert_ptr_equal(f->until, until);
	return str_cstr(&f->got);
}

/* One conversation on a connection of its own. */
static const char *talk(struct fixture *f, const char *text, const char *until)
{
	connect_client(f);
	send_text(f, text);
	return receive(f, until);
}

static void run_ms(struct fixture *f, int64_t ms)
{
	timer_set_in(f->patience, ms);
	loop_run(f->loop);
}

static size_t count(const char *text, const char *word)
{
	size_t n = 0;

	while ((text = strstr(text, word)) != NULL) {
		n++;
		text++;
	}
	return n;
}

static void expect(const char *got, const char *want)
{
	if (strstr(got, want) == NULL) {
		fail_msg("'%s' is not in '%s'", want, got);
	}
}

#define HOST "Host: a\r\n"

static void answers(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *says, *request, *want;
	} cases[] = {
		{ "a GET", "GET /a%20b?x=1+2%263 HTTP/1.1\r\n" HOST "\r\n",
		  "[GET /a b x=1 2&3 h=- body=]" },
		{ "a query without '='", "GET /?x HTTP/1.1\r\n" HOST "\r\n",
		  "[GET / x= h=- body=]" },
		{ "a header of any case", "GET / HTTP/1.1\r\n" HOST "X-TEST: v\r\n\r\n",
		  "[GET / x=- h=v body=]" },
		{ "a POST", "POST /p HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello",
		  "[POST /p x=- h=- body=hello]" },
		{ "a PATCH in chunks",
		  "PATCH /p HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
		  "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
		  "[PATCH /p x=- h=- body=hello]" },
		{ "a DELETE with a body",
		  "DELETE /p HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhi",
		  "[DELETE /p x=- h=- body=hi]" },
		{ "HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "[GET / x=- h=- body=]" },
		{ "an empty answer", "GET /none HTTP/1.1\r\n" HOST "\r\n",
		  "Content-Length: 0\r\n" },
		{ "JSON by default", "GET / HTTP/1.1\r\n" HOST "\r\n",
		  "Content-Type: application/json\r\n" },
		{ "a header of the handler", "GET / HTTP/1.1\r\n" HOST "\r\n", "X-Mine: yes\r\n" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		print_message("# %s\n", cases[i].says);
		const char *got = talk(f, cases[i].request, cases[i].want);

		expect(got, cases[i].want);
		assert_null(strstr(got, "\nb: c"));
	}
}

static void head_has_no_body(void **state)
{
	struct fixture *f = *state;
	/* The answer to what follows tells that the first one is over. */
	const char *got = talk(f,
			       "HEAD /a HTTP/1.1\r\n" HOST "\r\n"
			       "GET /b HTTP/1.1\r\n" HOST "\r\n",
			       "[GET /b");

	assert_int_equal(count(got, "200 OK"), 2);
	assert_null(strstr(got, "[HEAD"));
	assert_int_equal(f->handled, 2);
}

static void refusals(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *says, *request;
		int status;
	} cases[] = {
		{ "Content-Length and Transfer-Encoding",
		  "POST / HTTP/1.1\r\n" HOST
		  "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "0\r\n\r\nGET /smuggled HTTP/1.1\r\n" HOST "\r\n",
		  400 },
		{ "the same with GET",
		  "GET / HTTP/1.1\r\n" HOST
		  "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
		  "0\r\n\r\nGET /smuggled HTTP/1.1\r\n" HOST "\r\n",
		  400 },
		{ "a doubled Content-Length",
		  "POST / HTTP/1.1\r\n" HOST "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
		  400 },
		{ "no Host", "GET / HTTP/1.1\r\n\r\nGET /smuggled HTTP/1.1\r\n" HOST "\r\n", 400 },
		{ "an unknown coding",
		  "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\nhi", 400 },
		{ "white space behind a header's name",
		  "POST / HTTP/1.1\r\n" HOST "Content-Length : 2\r\n\r\nhi", 400 },
		{ "bad percent encoding", "GET /%zz HTTP/1.1\r\n" HOST "\r\n", 400 },
		{ "%00", "GET /a%00b HTTP/1.1\r\n" HOST "\r\n", 400 },
		{ "no UTF-8", "GET /%ff HTTP/1.1\r\n" HOST "\r\n", 400 },
		{ "a space in the path", "GET /a b HTTP/1.1\r\n" HOST "\r\n", 400 },
		{ "a body over the ceiling, by its length",
		  "POST / HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n", 413 },
		{ "the ceiling of this path",
		  "POST /small HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\n", 413 },
		{ "a body over the ceiling, in chunks",
		  "POST /small HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
		  "6\r\nabcdef\r\n6\r\nabcdef\r\n0\r\n\r\n",
		  413 },
		{ "one chunk over the ceiling",
		  "POST /small HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
		  "b\r\nabcdefghijk\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n" HOST "\r\n",
		  413 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char want[40];

		print_message("# %s\n", cases[i].says);
		snprintf(want, sizeof want, "{\"refused\":%d,", cases[i].status);
		const char *got = talk(f, cases[i].request, NULL);

		expect(got, want);
		assert_int_equal(count(got, "\r\nContent-Length: "), 1);
		assert_true(f->closed);
	}
	assert_int_equal(f->handled, 0);
}

static void body_at_the_ceiling(void **state)
{
	struct fixture *f = *state;
	const char *got = talk(f,
			       "POST /small HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n"
			       "0123456789",
			       "]");

	expect(got, "body=0123456789]");
	got = talk(f,
		   "POST /small HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
		   "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n",
		   "]");
	expect(got, "body=0123456789]");
}

/* More than is read for politeness' sake: closed, with nothing kept in memory. */
static void endless_body(void **state)
{
	struct fixture *f = *state;
	auto_str chunk = {};

	str_append(&chunk, "10000\r\n");
	for (int i = 0; i < 0x10000; i++) {
		str_append_char(&chunk, 'x');
	}
	str_append(&chunk, "\r\n");
	connect_client(f);
	send_text(f, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 20; i++) { /* 1.25 MiB: fits in the sockets' buffers, or is cut */
		ssize_t ignored = send(f->fd, chunk.p, chunk.len, MSG_NOSIGNAL);
		(void)ignored;
		run_ms(f, 1);
	}
	receive(f, NULL);
	assert_true(f->closed);
	assert_int_equal(f->handled, 0);
}

static void head_too_large(void **state)
{
	struct fixture *f = *state;
	auto_str request = {};

	str_append(&request, "GET / HTTP/1.1\r\n" HOST "X-Long: ");
	for (int i = 0; i < 9000; i++) {
		str_append_char(&request, 'x');
	}
	str_append(&request, "\r\n\r\n");
	const char *got = talk(f, str_cstr(&request), NULL);

	if (!str_starts(got, "HTTP/1.1 431 ") && !str_starts(got, "HTTP/1.1 413 ")) {
		fail_msg("'%s'", got);
	}
	assert_int_equal(f->handled, 0);

	/* A token of a login service fits. */
	str_clear(&request);
	str_append(&request, "GET / HTTP/1.1\r\n" HOST "X-Test: ");
	for (int i = 0; i < 2000; i++) {
		str_append_char(&request, 'x');
	}
	str_append(&request, "\r\n\r\n");
	expect(talk(f, str_cstr(&request), "body=]"), "200 OK");
}

static void pipelining(void **state)
{
	struct fixture *f = *state;
	const char *got = talk(f,
			       "GET /1 HTTP/1.1\r\n" HOST "\r\n"
			       "POST /2 HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhi"
			       "GET /hold HTTP/1.1\r\n" HOST "\r\n"
			       "GET /3 HTTP/1.1\r\n" HOST "\r\n",
			       "[GET /3");
	const char *one = strstr(got, "[GET /1"), *two = strstr(got, "[POST /2");
	const char *held = strstr(got, "held"), *three = strstr(got, "[GET /3");

	assert_true(one != NULL && one < two && two < held && held < three);
	assert_false(f->closed);
}

static void held_and_answered_later(void **state)
{
	struct fixture *f = *state;
	int64_t began_ms = clock_ms();

	expect(talk(f, "GET /hold HTTP/1.1\r\n" HOST "\r\n", "held"), "200 OK");
	assert_in_range(clock_ms() - began_ms, 20, 2000);
	assert_int_equal(f->gone, 0);

	/* The connection goes on, and holding again works as well. */
	str_clear(&f->got);
	send_text(f, "GET /hold HTTP/1.1\r\n" HOST "\r\n");
	expect(receive(f, "held"), "200 OK");
}

static void held_outlives_the_limits(void **state)
{
	struct fixture *f = *state;

	connect_client(f);
	send_text(f, "GET /hold/long HTTP/1.1\r\n" HOST "\r\n");
	run_ms(f, IDLE_MS + BODY_MS);
	assert_int_equal(f->nheld, 1);
	reply_held(f);
	expect(receive(f, "held"), "200 OK");
}

static void held_client_gone(void **state)
{
	struct fixture *f = *state;

	connect_client(f);
	send_text(f, "GET /hold/a HTTP/1.1\r\n" HOST "\r\n"
		     "GET /never-read HTTP/1.1\r\n" HOST "\r\n");
	run_ms(f, 30);
	assert_int_equal(f->nheld, 1);
	hang_up(f);
	run_ms(f, PATIENCE_MS); /* on_gone() ends it */
	assert_int_equal(f->gone, 1);
	assert_int_equal(f->nheld, 0);
	run_ms(f, 30);
	assert_int_equal(f->gone, 1);
	assert_int_equal(f->handled, 1);
	expect(talk(f, "GET /after HTTP/1.1\r\n" HOST "\r\n", "]"), "/after");
}

/* The answer and the hang-up in one turn of the loop. */
static void held_answered_as_it_goes(void **state)
{
	struct fixture *f = *state;

	connect_client(f);
	send_text(f, "GET /hold/a HTTP/1.1\r\n" HOST "\r\n");
	run_ms(f, 30);
	hang_up(f);
	reply_held(f);
	run_ms(f, 30);
	assert_int_equal(f->gone, 0);
}

static void held_at_the_end(void **state)
{
	struct fixture *f = *state;
	int fds[3];

	for (int i = 0; i < 3; i++) {
		fds[i] = dial(httpd_port(f->httpd));
		assert_true(send(fds[i], "GET /hold/x HTTP/1.1\r\n" HOST "\r\n", 33, 0) > 0);
	}
	run_ms(f, 30);
	assert_int_equal(f->nheld, 3);
	reply_text(f->held[--f->nheld], 200, "resumed, but not sent yet");
	httpd_free(f->httpd);
	f->httpd = NULL;
	assert_int_equal(f->gone, 2);
	for (int i = 0; i < 3; i++) {
		close(fds[i]);
	}
}

/* Time-outs. */

static void drip(void *arg)
{
	struct fixture *f = arg;

	if (f->fd >= 0 && f->drip[f->dripped] != '\0') {
		ssize_t ignored = send(f->fd, &f->drip[f->dripped++], 1, MSG_NOSIGNAL);
		(void)ignored;
	}
	timer_set_in(f->later, 20);
}

/* Sends `first`, then drips, and measures how long the server bears it. */
static int64_t borne_ms(struct fixture *f, const char *first, const char *drops)
{
	struct timer *reply_timer = f->later;
	int64_t began_ms;

	connect_client(f);
	send_text(f, first);
	f->drip = drops;
	f->dripped = 0;
	f->later = timer_new(f->loop, drip, f);
	timer_set_in(f->later, 20);
	began_ms = clock_ms();
	receive(f, NULL);
	timer_free(f->later);
	f->later = reply_timer;
	return clock_ms() - began_ms;
}

static const char drops[] =
	"X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

static void slow_clients(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *says, *first, *drops;
		int64_t limit_ms;
	} cases[] = {
		{ "says nothing", "", "", HEAD_MS },
		{ "stops in the head", "GET / HTTP/1.1\r\nHos", "", HEAD_MS },
		{ "drips the head", "GET / HTTP/1.1\r\n", drops, HEAD_MS },
		{ "stops in the body", "POST / HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\nabc",
		  "", BODY_MS },
		{ "drips the body", "POST / HTTP/1.1\r\n" HOST "Content-Length: 900\r\n\r\n", drops,
		  BODY_MS },
		{ "drips chunks",
		  "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nff\r\n", drops,
		  BODY_MS },
		{ "drips the trailer",
		  "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n", drops,
		  BODY_MS },
		{ "keeps the connection, idle", "GET / HTTP/1.1\r\n" HOST "\r\n", "", IDLE_MS },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		print_message("# %s\n", cases[i].says);
		int64_t ms = borne_ms(f, cases[i].first, cases[i].drops);

		assert_in_range(ms, cases[i].limit_ms - 10, cases[i].limit_ms + 2000);
		print_message("#   %lld ms\n", (long long)ms);
	}
	assert_int_equal(f->handled, 1);
}

/* A head on a kept connection has the head's limit, not the longer one of idleness. */
static void slow_second_head(void **state)
{
	struct fixture *f = *state;
	struct httpd_config c = config_of(f);

	c.idle_limit_ms = 2 * PATIENCE_MS;
	start_with(f, &c);
	int64_t ms = borne_ms(f, "GET / HTTP/1.1\r\n" HOST "\r\n", drops);
	assert_in_range(ms, HEAD_MS - 10, 3000);
}

static void unread_answer(void **state)
{
	struct fixture *f = *state;

	connect_client(f);
	int without_server_end = open_descriptors();
	send_text(f, "GET /big HTTP/1.1\r\n" HOST "\r\n");
	run_ms(f, IDLE_MS);
	for (int i = 0; i < PATIENCE_MS / 20 && open_descriptors() > without_server_end; i++) {
		run_ms(f, 20);
	}
	receive(f, NULL);
	assert_true(f->closed);
	assert_in_range(f->got.len, 1, (16 << 20) - 1);
}

static void big_answer(void **state)
{
	struct fixture *f = *state;

	talk(f, "GET /big HTTP/1.0\r\n\r\n", NULL);
	assert_in_range(f->got.len, 16 << 20, (16 << 20) + 500);
}

/* Those above the limit wait in the backlog until a place is free. */
static void connection_limit(void **state)
{
	struct fixture *f = *state;
	struct httpd_config c = config_of(f);
	int first, second;

	c.max_connections = 2;
	c.head_limit_ms = 2 * PATIENCE_MS; /* so that nothing but the free place wakes the server */
	start_with(f, &c);
	first = dial(httpd_port(f->httpd));
	second = dial(httpd_port(f->httpd));
	run_ms(f, 20);
	connect_client(f);
	send_text(f, "GET / HTTP/1.1\r\n" HOST "\r\n");
	run_ms(f, 20);
	assert_int_equal(f->handled, 0);
	close(first);
	expect(receive(f, "]"), "200 OK");
	close(second);
}

static void addresses(void **state)
{
	struct fixture *f = *state;
	struct httpd_config c = config_of(f);
	struct httpd *other = NULL;
	struct err e = {};
	char want[60];

	c.port = httpd_port(f->httpd);
	snprintf(want, sizeof want, "127.0.0.1:%u is in use", c.port);
	assert_false(httpd_start(f->loop, &c, &other, &e));
	assert_int_equal(e.code, ERR_CONFLICT);
	assert_string_equal(e.msg, want);

	c.address = "localhost";
	assert_false(httpd_start(f->loop, &c, &other, &e));
	assert_int_equal(e.code, ERR_INVALID);

	c.address = "192.0.2.1";
	c.port = 0;
	assert_false(httpd_start(f->loop, &c, &other, &e));
	assert_int_equal(e.code, ERR_IO);
	assert_null(other);

	c.address = "::1";
	if (httpd_start(f->loop, &c, &other, &e)) {
		c.port = httpd_port(other);
		struct httpd *third;

		snprintf(want, sizeof want, "[::1]:%u is in use", c.port);
		assert_false(httpd_start(f->loop, &c, &third, &e));
		assert_string_equal(e.msg, want);
		httpd_free(other);
	}
}

static void nothing_is_left_open(void **)
{
	int before = open_descriptors();
	void *state;

	setup(&state);
	talk(state, "GET / HTTP/1.1\r\n" HOST "\r\n", "]");
	teardown(&state);
	assert_int_equal(open_descriptors(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(answers, setup, teardown),
		cmocka_unit_test_setup_teardown(head_has_no_body, setup, teardown),
		cmocka_unit_test_setup_teardown(refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(body_at_the_ceiling, setup, teardown),
		cmocka_unit_test_setup_teardown(endless_body, setup, teardown),
		cmocka_unit_test_setup_teardown(head_too_large, setup, teardown),
		cmocka_unit_test_setup_teardown(pipelining, setup, teardown),
		cmocka_unit_test_setup_teardown(held_and_answered_later, setup, teardown),
		cmocka_unit_test_setup_teardown(held_outlives_the_limits, setup_hasty, teardown),
		cmocka_unit_test_setup_teardown(held_client_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(held_answered_as_it_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(held_at_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(slow_clients, setup_hasty, teardown),
		cmocka_unit_test_setup_teardown(slow_second_head, setup_loop, teardown),
		cmocka_unit_test_setup_teardown(unread_answer, setup_hasty, teardown),
		cmocka_unit_test_setup_teardown(big_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(connection_limit, setup_loop, teardown),
		cmocka_unit_test_setup_teardown(addresses, setup, teardown),
		cmocka_unit_test(nothing_is_left_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
