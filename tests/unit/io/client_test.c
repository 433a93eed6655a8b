/* The HTTP client against our own server, both on one loop. */
#include "folder.h"

#include <fcntl.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "io/client.h"
#include "io/httpd.h"
#include "io/listen.h"
#include "io/tls.h"

enum { PATIENCE_MS = 5000 };

struct fixture {
	struct loop *loop;
	struct httpd *httpd;
	struct http_client *client;
	struct timer *patience;
	int handled, gone;
	/* the last result */
	int results, status;
	struct str body;
	struct err err;
	int wanted;               /* results after which the loop stops */
	struct http_call *victim; /* cancelled in a callback */
};

static void on_request(void *arg, struct http_request *rq)
{
	struct fixture *f = arg;
	auto_str body = {};
	const char *type = http_header(rq, "Content-Type"), *x = http_header(rq, "X-Test");

	f->handled++;
	if (strcmp(rq->path, "/hold") == 0) {
		return;
	}
	if (strcmp(rq->path, "/move") == 0) {
		http_reply(rq, 302, &body, (struct http_reply_header[]){ { "Location", "/moved" } },
			   1);
		return;
	}
	str_printf(&body, "%s %s type=%s x=%s body=%s", http_method_name(rq->method), rq->path,
		   type == NULL ? "-" : type, x == NULL ? "-" : x, rq->body);
	http_reply(rq, strcmp(rq->path, "/error") == 0 ? 500 : 200, &body, NULL, 0);
}

static void on_gone(void *arg, struct http_request *)
{
	((struct fixture *)arg)->gone++;
}

static size_t ceiling(void *, enum http_method, const char *)
{
	return 1 << 20;
}

static void refuse(void *, const char *, int, const char *text, struct str *ret)
{
	str_append(ret, text);
}

static void out_of_patience(void *arg)
{
	loop_stop(((struct fixture *)arg)->loop);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct httpd_config c = {
		.address = "127.0.0.1",
		.max_connections = 64,
		.head_limit_ms = SEC(10),
		.body_limit_ms = SEC(10),
		.idle_limit_ms = SEC(10),
		.handler = on_request,
		.gone = on_gone,
		.ceiling = ceiling,
		.refuse = refuse,
		.arg = f,
	};
	struct err e = {};

	/* No proxy of the environment may get our requests. */
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
	f->loop = loop_new();
	f->patience = timer_new(f->loop, out_of_patience, f);
	f->client = http_client_new(f->loop);
	assert_ok(httpd_start(f->loop, &c, &f->httpd, &e), &e);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	http_client_free(f->client);
	httpd_free(f->httpd);
	timer_free(f->patience);
	loop_free(f->loop);
	str_done(&f->body);
	free(f);
	return 0;
}

static void on_result(void *arg, int status, const char *body, size_t len, const struct err *e)
{
	struct fixture *f = arg;

	f->results++;
	f->status = status;
	f->err = *e;
	str_clear(&f->body);
	str_append_mem(&f->body, body, len);
	if (f->victim != NULL) {
		http_call_cancel(f->victim);
		f->victim = NULL;
	}
	if (f->results == f->wanted) {
		loop_stop(f->loop);
	}
}

struct url {
	char s[80];
};

static struct url url_of(const struct fixture *f, const char *path)
{
	struct url u;

	snprintf(u.s, sizeof u.s, "http://127.0.0.1:%u%s", httpd_port(f->httpd), path);
	return u;
}

static struct http_call *start(struct fixture *f, const char *url)
{
	return http_call_start(
		f->client,
		&(struct http_call_spec){
			.method = "GET", .url = url, .limit_ms = PATIENCE_MS, .max_body = 1000 },
		on_result, f);
}

static void run_until(struct fixture *f, int results)
{
	f->wanted = results;
	timer_set_in(f->patience, PATIENCE_MS);
	loop_run(f->loop);
	assert_int_equal(f->results, results);
}

static void run_ms(struct fixture *f, int64_t ms)
{
	f->wanted = -1;
	timer_set_in(f->patience, ms);
	loop_run(f->loop);
}

static void requests(void **state)
{
	struct fixture *f = *state;
	static const char *const custom[] = { "X-Test: yes", "content-type: text/plain" };
	static const struct {
		const char *says, *method, *path, *body;
		size_t nheaders;
		int status;
		const char *want;
	} cases[] = {
		{ "a GET", "GET", "/a", NULL, 0, 200, "GET /a type=- x=- body=" },
		{ "a POST is JSON", "POST", "/a", "{}", 0, 200,
		  "POST /a type=application/json x=- body={}" },
		{ "a POST of another type", "POST", "/a", "hi", 2, 200,
		  "POST /a type=text/plain x=yes body=hi" },
		{ "a POST without body", "POST", "/a", NULL, 0, 200, "POST /a type=- x=- body=" },
		{ "a PUT", "PUT", "/a", "1", 1, 200, "PUT /a type=application/json x=yes body=1" },
		{ "a PATCH", "PATCH", "/a", "1", 0, 200,
		  "PATCH /a type=application/json x=- body=1" },
		{ "a DELETE", "DELETE", "/a", NULL, 1, 200, "DELETE /a type=- x=yes body=" },
		{ "a HEAD", "HEAD", "/a", NULL, 0, 200, "" },
		{ "a status of failure is an answer", "GET", "/error", NULL, 0, 500,
		  "GET /error type=- x=- body=" },
		{ "no redirects", "GET", "/move", NULL, 0, 302, "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		print_message("# %s\n", cases[i].says);
		http_call_start(
			f->client,
			&(struct http_call_spec){
				.method = cases[i].method,
				.url = url_of(f, cases[i].path).s,
				.headers = custom,
				.nheaders = cases[i].nheaders,
				.body = cases[i].body,
				.body_len = cases[i].body == NULL ? 0 : strlen(cases[i].body),
				.limit_ms = PATIENCE_MS,
				.max_body = 1000,
			},
			on_result, f);
		assert_int_equal(f->results, i); /* never before its starter has returned */
		run_until(f, (int)i + 1);
		assert_int_equal(f->err.code, ERR_NONE);
		assert_int_equal(f->status, cases[i].status);
		assert_string_equal(str_cstr(&f->body), cases[i].want);
	}
}

static void large_body(void **state)
{
	struct fixture *f = *state;
	auto_str body = {};

	while (body.len < 1 << 20) {
		str_append(&body, "0123456789abcdef");
	}
	http_call_start(f->client,
			&(struct http_call_spec){ .method = "POST",
						  .url = url_of(f, "/").s,
						  .body = body.p,
						  .body_len = body.len,
						  .limit_ms = PATIENCE_MS,
						  .max_body = 2 << 20 },
			on_result, f);
	run_until(f, 1);
	assert_int_equal(f->status, 200);
	assert_true(f->body.len > body.len);
}

static void failures(void **state)
{
	struct fixture *f = *state;
	uint16_t port;
	int fd;
	struct err e = {};
	struct url refused;

	/* A port that was free a moment ago and is nobody's now. */
	assert_ok(listen_on("127.0.0.1", 0, &fd, &port, &e), &e);
	close(fd);
	snprintf(refused.s, sizeof refused.s, "http://127.0.0.1:%u/", port);

	const struct {
		const char *says;
		struct url url;
		int64_t limit_ms;
		size_t max_body;
		enum err_code want;
	} cases[] = {
		{ "nobody listens", refused, PATIENCE_MS, 10, ERR_UNAVAILABLE },
		{ "no answer in time", url_of(f, "/hold"), 60, 10, ERR_TIMEOUT },
		{ "an answer too large", url_of(f, "/large"), PATIENCE_MS, 10, ERR_OVER_LIMIT },
		{ "no URL", { "http://" }, PATIENCE_MS, 10, ERR_UNAVAILABLE },
		{ "no HTTP", { "file:///etc/passwd" }, PATIENCE_MS, 10, ERR_UNAVAILABLE },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int64_t began_ms = clock_ms();

		print_message("# %s\n", cases[i].says);
		http_call_start(f->client,
				&(struct http_call_spec){ .method = "GET",
							  .url = cases[i].url.s,
							  .limit_ms = cases[i].limit_ms,
							  .max_body = cases[i].max_body },
				on_result, f);
		run_until(f, (int)i + 1);
		assert_int_equal(f->err.code, cases[i].want);
		assert_int_equal(f->status, 0);
		assert_int_equal(f->body.len, 0);
		assert_non_null(strstr(f->err.msg, cases[i].url.s));
		if (cases[i].want == ERR_TIMEOUT) {
			assert_in_range(clock_ms() - began_ms, cases[i].limit_ms, 1000);
		}
	}
}

static void answer_as_large_as_allowed(void **state)
{
	struct fixture *f = *state;
	const char want[] = "GET / type=- x=- body=";

	http_call_start(f->client,
			&(struct http_call_spec){ .method = "GET",
						  .url = url_of(f, "/").s,
						  .limit_ms = PATIENCE_MS,
						  .max_body = sizeof want - 1 },
			on_result, f);
	run_until(f, 1);
	assert_string_equal(str_cstr(&f->body), want);
}

static void cancelled(void **state)
{
	struct fixture *f = *state;

	http_call_cancel(NULL);
	http_call_cancel(start(f, url_of(f, "/a").s)); /* before it began */
	struct http_call *held = start(f, url_of(f, "/hold").s);
	run_ms(f, 50);
	assert_int_equal(f->handled, 1);
	http_call_cancel(held);
	run_ms(f, 50);
	assert_int_equal(f->results, 0);
	assert_int_equal(f->gone, 1); /* the server learns of it */
}

/* Two answers may be there in one turn: the first callback cancels the second call. */
static void cancelled_in_a_callback(void **state)
{
	struct fixture *f = *state;

	start(f, url_of(f, "/a").s);
	f->victim = start(f, url_of(f, "/hold").s);
	run_until(f, 1);
	assert_string_equal(str_cstr(&f->body), "GET /a type=- x=- body=");
	run_ms(f, 50);
	assert_int_equal(f->results, 1);

	/* Its own call: over already, so nothing happens. */
	f->victim = start(f, url_of(f, "/b").s);
	run_until(f, 2);
	assert_int_equal(f->status, 200);
}

static void freed_with_calls_under_way(void **state)
{
	struct fixture *f = *state;

	start(f, url_of(f, "/hold").s);
	run_ms(f, 30);
	start(f, url_of(f, "/a").s);
	http_client_free(f->client);
	f->client = NULL;
	run_ms(f, 50);
	assert_int_equal(f->results, 0);
	assert_int_equal(f->gone, 1);
	http_client_free(NULL);
}

/* Both ends are in this process: a connection is two descriptors. */
static void connections_are_kept(void **state)
{
	struct fixture *f = *state;
	int before = open_descriptors();

	for (int i = 1; i <= 10; i++) {
		start(f, url_of(f, "/").s);
		run_until(f, i);
		assert_int_equal(open_descriptors(), before + 2);
	}
}

/* ---- a server that sends what a test says, at the moment that it says ---- */

struct script {
	pthread_t thread;
	int listener, go[2];
	uint16_t port;
	int requests; /* that came, over all connections */
	/* One per request, at each '|' in it on_data() is waited for. NULL: the connection ends. */
	const char *const *answers;
};

static void send_in_pieces(struct script *sc, int fd, const char *text)
{
	char byte;

	while (*text != '\0') {
		size_t len = strcspn(text, "|");

		(void)!send(fd, text, len, MSG_NOSIGNAL);
		text += len;
		if (*text == '|') {
			text++;
			(void)!read(sc->go[0], &byte, 1);
		}
	}
}

/* Ends when the listener does. */
static void *run_script(void *arg)
{
	struct script *sc = arg;
	char request[4096];
	int fd;

	while ((fd = accept(sc->listener, NULL, NULL)) >= 0) {
		while (recv(fd, request, sizeof request, 0) > 0) {
			const char *answer = sc->answers[sc->requests++];

			if (answer == NULL) {
				break;
			}
			send_in_pieces(sc, fd, answer);
		}
		close(fd);
	}
	return NULL;
}

static void script_start(struct script *sc, const char *const *answers)
{
	struct err e;

	*sc = (struct script){ .answers = answers };
	assert_ok(listen_on("127.0.0.1", 0, &sc->listener, &sc->port, &e), &e);
	/* It waits in accept(), which shutdown() ends. */
	fcntl(sc->listener, F_SETFL, fcntl(sc->listener, F_GETFL) & ~O_NONBLOCK);
	assert_int_equal(pipe(sc->go), 0);
	assert_int_equal(pthread_create(&sc->thread, NULL, run_script, sc), 0);
}

/* Returns the number of requests. */
static int script_end(struct fixture *f, struct script *sc)
{
	http_client_free(f->client); /* ends the connection that the script reads from */
	f->client = NULL;
	shutdown(sc->listener, SHUT_RDWR);
	close(sc->go[1]);
	pthread_join(sc->thread, NULL);
	close(sc->listener);
	close(sc->go[0]);
	return sc->requests;
}

static struct url script_url(const struct script *sc)
{
	struct url u;

	snprintf(u.s, sizeof u.s, "http://127.0.0.1:%u/", sc->port);
	return u;
}

/* ---- answers that stream ---- */

struct stream {
	struct fixture *f;
	struct script *sc;
	struct str pieces;
	int n, status;
	struct http_call *call;
	bool cancel;
};

static void on_data(void *arg, int status, const char *data, size_t len)
{
	struct stream *st = arg;

	assert_int_equal(st->f->results, 0);
	st->status = status;
	st->n++;
	str_append_mem(&st->pieces, data, len);
	str_append_char(&st->pieces, '|');
	if (st->cancel) {
		http_call_cancel(st->call);
		loop_stop(st->f->loop);
		return;
	}
	assert_int_equal(write(st->sc->go[1], "", 1), 1); /* the next one only now */
}

static void on_stream_end(void *arg, int status, const char *body, size_t len, const struct err *e)
{
	on_result(((struct stream *)arg)->f, status, body, len, e);
}

#define HEAD "HTTP/1.1 200 OK\r\n"
#define CHUNKED HEAD "Transfer-Encoding: chunked\r\n\r\n"

static void start_stream(struct stream *st)
{
	st->call = http_call_start(st->f->client,
				   &(struct http_call_spec){ .method = "POST",
							     .url = script_url(st->sc).s,
							     .body = "{}",
							     .body_len = 2,
							     .connect_limit_ms = PATIENCE_MS,
							     .max_body = 10,
							     .data = on_data },
				   on_stream_end, st);
}

static void pieces_as_they_come(void **state)
{
	static const char *const answers[] = { CHUNKED
					       "4\r\none\n\r\n|4\r\ntwo\n\r\n|6\r\nthree\n\r\n|"
					       "0\r\n\r\n" };
	struct script sc;
	struct stream st = { .f = *state, .sc = &sc };

	script_start(&sc, answers);
	start_stream(&st);
	run_until(st.f, 1);
	assert_string_equal(str_cstr(&st.pieces), "one\n|two\n|three\n|");
	assert_int_equal(st.status, 200);
	assert_int_equal(st.f->status, 200);
	assert_int_equal(st.f->body.len, 0);
	script_end(st.f, &sc);
	str_done(&st.pieces);
}

static void piece_too_large(void **state)
{
	static const char *const answers[] = { CHUNKED "1\r\n1\r\n|b\r\n12345678901\r\n" };
	struct script sc;
	struct stream st = { .f = *state, .sc = &sc };

	script_start(&sc, answers);
	start_stream(&st);
	run_until(st.f, 1);
	assert_string_equal(str_cstr(&st.pieces), "1|");
	assert_int_equal(st.f->err.code, ERR_OVER_LIMIT);
	script_end(st.f, &sc);
	str_done(&st.pieces);
}

static void stream_cancelled_in_its_callback(void **state)
{
	static const char *const answers[] = { CHUNKED "1\r\n1\r\n1\r\n2\r\n" };
	struct script sc;
	struct stream st = { .f = *state, .sc = &sc, .cancel = true };

	script_start(&sc, answers);
	start_stream(&st);
	timer_set_in(st.f->patience, PATIENCE_MS);
	loop_run(st.f->loop);
	assert_int_equal(st.n, 1);
	run_ms(st.f, 30);
	assert_int_equal(st.f->results, 0);
	script_end(st.f, &sc);
	str_done(&st.pieces);
}

/* ---- requests that must not go out twice ---- */

struct sent {
	struct fixture *f;
	struct http_call *call;
	bool sent;
};

static void on_sent(void *arg, int status, const char *body, size_t len, const struct err *e)
{
	struct sent *s = arg;

	s->sent = http_call_was_sent(s->call);
	on_result(s->f, status, body, len, e);
}

static void start_sent(struct sent *s, const char *url, bool once)
{
	s->call = http_call_start(s->f->client,
				  &(struct http_call_spec){ .method = "POST",
							    .url = url,
							    .limit_ms = PATIENCE_MS,
							    .max_body = 1000,
							    .once = once },
				  on_sent, s);
}

/* The kept connection ends instead of the second answer. */
static void once_or_again(void **state)
{
	static const char ok[] = HEAD "Content-Length: 2\r\n\r\nok";
	static const char *const answers[] = { ok, NULL, ok };
	struct fixture *f = *state;

	for (int once = 0; once < 2; once++) {
		struct script sc;
		struct sent s = { .f = f };

		f->results = 0;
		if (f->client == NULL) {
			f->client = http_client_new(f->loop);
		}
		script_start(&sc, answers);
		start_sent(&s, script_url(&sc).s, once);
		run_until(f, 1);
		assert_int_equal(f->status, 200);
		start_sent(&s, script_url(&sc).s, once);
		run_until(f, 2);
		assert_true(s.sent);
		assert_int_equal(f->status, once ? 0 : 200);
		assert_int_equal(f->err.code, once ? ERR_UNAVAILABLE : ERR_NONE);
		assert_int_equal(script_end(f, &sc), once ? 2 : 3);
	}
}

static void never_sent(void **state)
{
	struct sent s = { .f = *state };
	uint16_t port;
	int fd;
	struct err e;
	struct url u;

	assert_ok(listen_on("127.0.0.1", 0, &fd, &port, &e), &e);
	close(fd);
	snprintf(u.s, sizeof u.s, "http://127.0.0.1:%u/", port);
	start_sent(&s, u.s, true);
	run_until(s.f, 1);
	assert_int_equal(s.f->err.code, ERR_UNAVAILABLE);
	assert_false(s.sent);
}

/* TLS. */

static void pins(void **)
{
	static const char good[] = "sha256//AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
	static const struct {
		const char *text;
		bool ok;
	} cases[] = {
		{ "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", true },
		{ "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", true },
		{ "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", true },
		{ good, true },
		{ "", false },
		{ "sha256//", false },
		{ "sha1//AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", false },
		{ "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1", false },
		{ "00010203040506070809zz0b0c0d0e0f101112131415161718191a1b1c1d1e1f", false },
		{ "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==", false },
		{ "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=;sha256//AAEC", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char got[TLS_PIN_SIZE] = "";
		struct err e = {};

		assert_int_equal(tls_pin_parse(cases[i].text, got, &e), cases[i].ok);
		assert_string_equal(got, cases[i].ok ? good : "");
		assert_int_equal(e.code, cases[i].ok ? ERR_NONE : ERR_INVALID);
	}
}

static void put(const struct folder *dir, const char *name, gnutls_datum_t *pem)
{
	struct err e;

	assert_ok(file_replace(path_in(dir, name).s, pem->data, pem->size, 0600, &e), &e);
	gnutls_free(pem->data);
}

/* A key, and a certificate for 127.0.0.1 that it has signed itself: NAME.pem and NAME.key. */
static struct tls_identity *identity_new(const struct folder *dir, const char *name)
{
	static const unsigned char address[] = { 127, 0, 0, 1 };
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t cert;
	gnutls_datum_t pem;
	struct tls_identity *t;
	char cert_name[32], key_name[32];
	struct err e;

	snprintf(cert_name, sizeof cert_name, "%s.pem", name);
	snprintf(key_name, sizeof key_name, "%s.key", name);
	gnutls_x509_privkey_init(&key);
	gnutls_x509_crt_init(&cert);
	gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
				     GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	gnutls_x509_crt_set_version(cert, 3);
	gnutls_x509_crt_set_serial(cert, "\1", 1);
	gnutls_x509_crt_set_activation_time(cert, time(NULL) - 3600);
	gnutls_x509_crt_set_expiration_time(cert, time(NULL) + 3600);
	gnutls_x509_crt_set_dn(cert, "CN=test", NULL);
	gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_IPADDRESS, address, sizeof address,
					     GNUTLS_FSAN_SET);
	gnutls_x509_crt_set_key(cert, key);
	gnutls_x509_crt_set_basic_constraints(cert, 1, -1);
	assert_int_equal(gnutls_x509_crt_sign2(cert, cert, key, GNUTLS_DIG_SHA256, 0), 0);
	gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &pem);
	put(dir, cert_name, &pem);
	gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem);
	put(dir, key_name, &pem);
	gnutls_x509_crt_deinit(cert);
	gnutls_x509_privkey_deinit(key);
	assert_ok(tls_identity_load(path_in(dir, cert_name).s, path_in(dir, key_name).s, &t, &e),
		  &e);
	return t;
}

struct doubted {
	struct fixture *f;
	struct http_call *call;
	enum tls_doubt doubt;
};

static void on_doubt(void *arg, int status, const char *body, size_t len, const struct err *e)
{
	struct doubted *d = arg;

	d->doubt = http_call_doubt(d->call);
	on_result(d->f, status, body, len, e);
}

enum { ECHO_BYTES = 300 << 10 }; /* many records of TLS, there and back */

/* The status that a client of its own gets, who trusts this; 0 with *ret otherwise. */
static int visit(struct fixture *f, const char *ca_file, const char *pin, enum tls_doubt *ret)
{
	struct doubted d = { .f = f };
	struct http_client *client = http_client_new(f->loop);
	static char big[ECHO_BYTES];
	char url[80];

	snprintf(url, sizeof url, "https://127.0.0.1:%u/x", httpd_port(f->httpd));
	memset(big, 'x', sizeof big);
	f->results = 0;
	d.call = http_call_start(client,
				 &(struct http_call_spec){ .method = "POST",
							   .url = url,
							   .body = big,
							   .body_len = sizeof big,
							   .limit_ms = PATIENCE_MS,
							   .max_body = 2 * ECHO_BYTES,
							   .ca_file = ca_file,
							   .pin = pin },
				 on_doubt, &d);
	run_until(f, 1);
	http_client_free(client);
	assert_true(f->status == 0 || f->body.len > ECHO_BYTES);
	*ret = d.doubt;
	return f->status;
}

static void certificates_come_and_go(void **state)
{
	struct fixture *f = *state;
	auto_folder dir = folder_new();
	struct path ca = path_in(&dir, "a.pem"), other = path_in(&dir, "b.pem");
	struct tls_identity *a = identity_new(&dir, "a"), *b = identity_new(&dir, "b");
	struct httpd_config c = {
		.address = "127.0.0.1",
		.identity = a,
		.max_connections = 64,
		.head_limit_ms = SEC(10),
		.body_limit_ms = SEC(10),
		.idle_limit_ms = SEC(10),
		.handler = on_request,
		.gone = on_gone,
		.ceiling = ceiling,
		.refuse = refuse,
		.arg = f,
	};
	char pin[TLS_PIN_SIZE], other_pin[TLS_PIN_SIZE];
	enum tls_doubt doubt;
	struct err e;

	snprintf(pin, sizeof pin, "%s", tls_identity_pin(a));
	snprintf(other_pin, sizeof other_pin, "%s", tls_identity_pin(b));
	assert_int_equal(visit(f, NULL, pin, &doubt), 0); /* it speaks plain text */
	assert_int_equal(doubt, TLS_NO_HANDSHAKE);
	httpd_free(f->httpd);
	assert_ok(httpd_start(f->loop, &c, &f->httpd, &e), &e);
	tls_identity_drop(a);

	assert_int_equal(visit(f, ca.s, NULL, &doubt), 200);
	assert_int_equal(doubt, TLS_NO_DOUBT);
	assert_int_equal(visit(f, NULL, pin, &doubt), 200);
	assert_int_equal(visit(f, ca.s, pin, &doubt), 200);
	assert_int_equal(visit(f, NULL, NULL, &doubt), 0);
	assert_int_equal(doubt, TLS_STRANGER);
	assert_int_equal(visit(f, other.s, pin, &doubt), 0);
	assert_int_equal(doubt, TLS_STRANGER);
	assert_int_equal(visit(f, NULL, other_pin, &doubt), 0);
	assert_int_equal(doubt, TLS_WRONG_KEY);
	assert_int_equal(visit(f, ca.s, other_pin, &doubt), 0);
	assert_int_equal(doubt, TLS_WRONG_KEY);
	assert_int_equal(visit(f, path_in(&dir, "none.pem").s, NULL, &doubt), 0);
	assert_int_equal(doubt, TLS_NO_CA_FILE);

	httpd_set_identity(f->httpd, b);
	tls_identity_drop(b);
	assert_int_equal(visit(f, NULL, pin, &doubt), 0);
	assert_int_equal(doubt, TLS_WRONG_KEY);
	assert_int_equal(visit(f, other.s, other_pin, &doubt), 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pins),
		cmocka_unit_test_setup_teardown(certificates_come_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(requests, setup, teardown),
		cmocka_unit_test_setup_teardown(large_body, setup, teardown),
		cmocka_unit_test_setup_teardown(failures, setup, teardown),
		cmocka_unit_test_setup_teardown(answer_as_large_as_allowed, setup, teardown),
		cmocka_unit_test_setup_teardown(cancelled, setup, teardown),
		cmocka_unit_test_setup_teardown(cancelled_in_a_callback, setup, teardown),
		cmocka_unit_test_setup_teardown(freed_with_calls_under_way, setup, teardown),
		cmocka_unit_test_setup_teardown(connections_are_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(pieces_as_they_come, setup, teardown),
		cmocka_unit_test_setup_teardown(piece_too_large, setup, teardown),
		cmocka_unit_test_setup_teardown(stream_cancelled_in_its_callback, setup, teardown),
		cmocka_unit_test_setup_teardown(once_or_again, setup, teardown),
		cmocka_unit_test_setup_teardown(never_sent, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
