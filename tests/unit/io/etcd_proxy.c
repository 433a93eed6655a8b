/*
 * A TCP proxy on a thread of its own, so that it works whatever the loop of the stores is doing.
 * Requests of the stores are small: one comes in one piece.
 */
#include "etcd_scene.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include "io/listen.h"

enum { PAIRS_MAX = 128, RULES_MAX = 8, PIECE = 1 << 16 };

struct pair {
	int client, server; /* -1: closed */
	bool watch, lose, frozen, held;
	struct str request; /* held back */
};

struct rule {
	char text[100];
	enum proxy_action action;
	int times;
};

struct proxy {
	pthread_t thread;
	pthread_mutex_t lock;
	int listener, wake[2];
	uint16_t target;
	char url[64];
	struct pair pairs[PAIRS_MAX];
	size_t n;
	struct rule rules[RULES_MAX];
	size_t nrules;
	int matches;
	bool cut, stop;
	char data[PIECE];
	struct pollfd fds[2 + 2 * PAIRS_MAX];
};

/* The thread's poll() may hold it open a moment longer: the other side is to see it end now. */
static void close_one(int *fd)
{
	if (*fd >= 0) {
		shutdown(*fd, SHUT_RDWR);
		close(*fd);
	}
	*fd = -1;
}

static void pair_close(struct pair *pr)
{
	close_one(&pr->client);
	if (!pr->held) {
		close_one(&pr->server);
	}
}

static int connect_to(uint16_t port)
{
	struct timeval limit = { .tv_sec = PATIENCE_MS / 1000 };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, scene_address(), &to.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
		close_one(&fd);
	}
	return fd;
}

static void add_pair(struct proxy *p)
{
	int fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
	int server = p->cut || p->n == PAIRS_MAX ? -1 : connect_to(p->target);

	if (fd < 0 || server < 0) {
		close_one(&fd);
		close_one(&server);
		return;
	}
	p->pairs[p->n++] = (struct pair){ .client = fd, .server = server };
}

static void send_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n <= 0) {
			return;
		}
		data += n;
		len -= (size_t)n;
	}
}

static struct rule *match(struct proxy *p, const char *data, size_t len)
{
	for (size_t i = p->nrules; i > 0; i--) {
		struct rule *r = &p->rules[i - 1];

		if (r->times != 0 && memmem(data, len, r->text, strlen(r->text)) != NULL) {
			r->times -= r->times > 0;
			p->matches++;
			return r;
		}
	}
	return NULL;
}

static void from_client(struct proxy *p, struct pair *pr)
{
	char *data = p->data;
	ssize_t n = recv(pr->client, data, PIECE, 0);

	if (n <= 0) {
		pair_close(pr);
		return;
	}
	struct rule *r = pr->held ? NULL : match(p, data, (size_t)n);
	pr->watch = pr->watch || memmem(data, (size_t)n, "/v3/watch", 9) != NULL;
	if (r != NULL && r->action == PROXY_REFUSE) {
		pair_close(pr);
		return;
	}
	pr->lose = pr->lose || (r != NULL && r->action == PROXY_LOSE_ANSWER);
	pr->held = pr->held || (r != NULL && r->action == PROXY_HOLD);
	if (pr->held) {
		str_append_mem(&pr->request, data, (size_t)n);
	} else {
		send_all(pr->server, data, (size_t)n);
	}
}

static void from_server(struct proxy *p, struct pair *pr)
{
	char *data = p->data;
	ssize_t n = recv(pr->server, data, PIECE, 0);

	if (n <= 0 || pr->lose) {
		pair_close(pr);
	} else if (!pr->frozen) {
		send_all(pr->client, data, (size_t)n);
	}
}

static void forget_closed(struct proxy *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++) {
		if (p->pairs[i].client >= 0 || p->pairs[i].held) {
			p->pairs[n++] = p->pairs[i];
		}
	}
	p->n = n;
}

static void wait_for_input(struct proxy *p)
{
	struct pollfd *fds = p->fds;
	size_t n = p->n;

	fds[0] = (struct pollfd){ .fd = p->wake[0], .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = p->listener, .events = POLLIN };
	for (size_t i = 0; i < n; i++) {
		fds[2 + 2 * i] = (struct pollfd){ .fd = p->pairs[i].client, .events = POLLIN };
		fds[3 + 2 * i] = (struct pollfd){ .fd = p->pairs[i].held ? -1 : p->pairs[i].server,
						  .events = POLLIN };
	}
	pthread_mutex_unlock(&p->lock);
	poll(fds, 2 + 2 * n, -1);
	pthread_mutex_lock(&p->lock);
}

static void *work(void *arg)
{
	struct proxy *p = arg;
	struct pollfd *fds = p->fds;
	char byte;

	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		size_t n = p->n;

		wait_for_input(p);
		if (fds[0].revents != 0 && read(p->wake[0], &byte, 1) == 1) {
			forget_closed(p);
			continue; /* what is what may have changed */
		}
		for (size_t i = 0; i < n; i++) {
			struct pair *pr = &p->pairs[i];

			if (fds[2 + 2 * i].revents != 0 && pr->client >= 0) {
				from_client(p, pr);
			}
			if (fds[3 + 2 * i].revents != 0 && pr->server >= 0 && !pr->held) {
				from_server(p, pr);
			}
		}
		if (fds[1].revents != 0) {
			add_pair(p);
		}
		forget_closed(p);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

struct proxy *proxy_new(uint16_t target_port)
{
	struct proxy *p = calloc(1, sizeof *p);
	uint16_t port;
	struct err e;

	assert_ok(listen_on(scene_address(), 0, &p->listener, &port, &e), &e);
	assert_int_equal(pipe2(p->wake, O_CLOEXEC), 0);
	snprintf(p->url, sizeof p->url, "http://%s:%u", scene_address(), port);
	p->target = target_port;
	pthread_mutex_init(&p->lock, NULL);
	assert_int_equal(pthread_create(&p->thread, NULL, work, p), 0);
	return p;
}

const char *proxy_url(const struct proxy *p)
{
	return p->url;
}

static void wake(struct proxy *p)
{
	assert_int_equal(write(p->wake[1], "", 1), 1);
}

void proxy_rule(struct proxy *p, const char *text, enum proxy_action action, int times)
{
	pthread_mutex_lock(&p->lock);
	assert_true(p->nrules < RULES_MAX);
	struct rule *r = &p->rules[p->nrules++];
	str_copy(r->text, sizeof r->text, text);
	r->action = action;
	r->times = times;
	pthread_mutex_unlock(&p->lock);
}

void proxy_pass(struct proxy *p)
{
	pthread_mutex_lock(&p->lock);
	p->nrules = 0;
	pthread_mutex_unlock(&p->lock);
}

void proxy_cut(struct proxy *p, bool cut)
{
	pthread_mutex_lock(&p->lock);
	p->cut = cut;
	for (size_t i = 0; cut && i < p->n; i++) {
		pair_close(&p->pairs[i]);
	}
	pthread_mutex_unlock(&p->lock);
	wake(p);
}

void proxy_freeze(struct proxy *p)
{
	pthread_mutex_lock(&p->lock);
	for (size_t i = 0; i < p->n; i++) {
		p->pairs[i].frozen = p->pairs[i].frozen || p->pairs[i].watch;
	}
	pthread_mutex_unlock(&p->lock);
}

void proxy_stop_listening(struct proxy *p)
{
	pthread_mutex_lock(&p->lock);
	p->cut = true;
	close_one(&p->listener);
	for (size_t i = 0; i < p->n; i++) {
		pair_close(&p->pairs[i]);
	}
	pthread_mutex_unlock(&p->lock);
	wake(p);
}

int proxy_matches(struct proxy *p)
{
	pthread_mutex_lock(&p->lock);
	int n = p->matches;
	pthread_mutex_unlock(&p->lock);
	return n;
}

/* One request behind the other, each on a connection of its own, as slow networks do. */
void proxy_release(struct proxy *p)
{
	char answer[4096];

	pthread_mutex_lock(&p->lock);
	for (size_t i = 0; i < p->n; i++) {
		struct pair *pr = &p->pairs[i];

		if (!pr->held) {
			continue;
		}
		send_all(pr->server, pr->request.p, pr->request.len);
		pr->held = false;
		str_done(&pr->request);
		if (pr->client < 0) {
			assert_true(recv(pr->server, answer, sizeof answer, 0) > 0);
			pair_close(pr);
		}
	}
	pthread_mutex_unlock(&p->lock);
	wake(p);
}

void proxy_free(struct proxy *p)
{
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_mutex_unlock(&p->lock);
	wake(p);
	pthread_join(p->thread, NULL);
	for (size_t i = 0; i < p->n; i++) {
		p->pairs[i].held = false;
		str_done(&p->pairs[i].request);
		pair_close(&p->pairs[i]);
	}
	close_one(&p->listener);
	close(p->wake[0]);
	close(p->wake[1]);
	free(p);
}
