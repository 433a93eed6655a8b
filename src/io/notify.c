/*
 * What we tell is a datagram that must not be lost and must not block: when the manager's queue is
 * full it is kept, joined by what is told meanwhile (a message may hold many lines), and sent by
 * the next try. Pings are not kept, since the next one says as much.
 */
#include "io/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"

enum {
	RETRY_MS = 50,
	STATUS_MAX = 200,
	UNSENT_MAX = 4096, /* a manager that takes nothing must not make us grow */
};

struct notify {
	int fd; /* -1: nobody listens */
	struct sockaddr_un address;
	socklen_t address_len;
	struct str unsent;
	struct timer *retry;
	struct timer *ping; /* NULL: no watchdog */
	int64_t ping_ms;
	bool ready; /* it was told so */
};

static ssize_t send_text(const struct notify *n, const char *text, size_t len)
{
	return sendto(n->fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL,
		      (const struct sockaddr *)&n->address, n->address_len);
}

static void send_unsent(void *arg)
{
	struct notify *n = arg;

	if (send_text(n, n->unsent.p, n->unsent.len) < 0) {
		if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR) {
			timer_set_in(n->retry, RETRY_MS);
			return;
		}
		LOG(LOG_DEBUG, "notify.failed", KV("why", strerror(errno)));
	}
	str_clear(&n->unsent);
}

static void on_ping(void *arg)
{
	static const char ping[] = "WATCHDOG=1\n";
	struct notify *n = arg;

	(void)send_text(n, ping, sizeof ping - 1);
	timer_set_in(n->ping, n->ping_ms);
}

/* Paths and, behind an '@', names in the abstract space; the manager uses either. */
static bool read_address(struct notify *n, const char *name)
{
	size_t len = strlen(name);

	if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof n->address.sun_path) {
		return false;
	}
	n->address.sun_family = AF_UNIX;
	memcpy(n->address.sun_path, name, len);
	if (name[0] == '@') {
		n->address.sun_path[0] = '\0';
	}
	n->address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	return true;
}

/* 0: no watchdog, or one for another process than this. */
static int64_t watchdog_ms(void)
{
	const char *usec = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");
	int64_t us, whose;

	if (usec == NULL || !str_to_i64(usec, &us) || us <= 0) {
		return 0;
	}
	if (pid != NULL && (!str_to_i64(pid, &whose) || whose != getpid())) {
		return 0;
	}
	return us / 1000;
}

struct notify *notify_new(struct loop *l)
{
	struct notify *n = calloc(1, sizeof *n);
	const char *name = getenv("NOTIFY_SOCKET");
	int64_t limit_ms = watchdog_ms();

	if (n == NULL) {
		abort();
	}
	n->fd = -1;
	if (name != NULL && read_address(n, name)) {
		n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	}
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	if (n->fd < 0) {
		return n;
	}
	n->retry = timer_new(l, send_unsent, n);
	if (limit_ms > 0) {
		n->ping_ms = limit_ms / 2;
		n->ping = timer_new(l, on_ping, n);
		timer_set_in(n->ping, 0);
	}
	return n;
}

void notify_free(struct notify *n)
{
	if (n == NULL) {
		return;
	}
	timer_free(n->ping);
	timer_free(n->retry);
	if (n->fd >= 0) {
		close(n->fd);
	}
	str_done(&n->unsent);
	free(n);
}

static void tell(struct notify *n, const char *state, const char *status)
{
	/* One line: what stands behind a line's end would be a word to the manager. */
	size_t len = strcspn(status, "\n");

	if (n == NULL || n->fd < 0 || n->unsent.len > UNSENT_MAX) {
		return;
	}
	str_append(&n->unsent, state);
	if (len > 0) {
		str_printf(&n->unsent, "STATUS=%.*s\n", (int)(len < STATUS_MAX ? len : STATUS_MAX),
			   status);
	}
	send_unsent(n);
}

void notify_ready(struct notify *n, const char *status)
{
	if (n != NULL) {
		n->ready = true;
	}
	tell(n, "READY=1\n", status);
}

void notify_stopping(struct notify *n, const char *status)
{
	tell(n, "STOPPING=1\n", status);
}

void notify_status(struct notify *n, const char *status)
{
	tell(n, "", status);
}

void notify_reloading(struct notify *n)
{
	char state[64];

	if (n != NULL && n->ready) {
		/* The time tells the manager which reload this is the beginning of. */
		snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\n",
			 clock_us());
		tell(n, state, "");
	}
}

void notify_reloaded(struct notify *n)
{
	if (n != NULL && n->ready) {
		tell(n, "READY=1\n", "");
	}
}
