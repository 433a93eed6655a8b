#include "io/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/str.h"
#include "io/file.h"

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static bool address_parse(const char *text, uint16_t port, union address *ret, socklen_t *ret_len,
			  struct err *e)
{
	*ret = (union address){};
	if (inet_pton(AF_INET, text, &ret->v4.sin_addr) == 1) {
		ret->v4.sin_family = AF_INET;
		ret->v4.sin_port = htons(port);
		*ret_len = sizeof ret->v4;
		return true;
	}
	if (inet_pton(AF_INET6, text, &ret->v6.sin6_addr) == 1) {
		ret->v6.sin6_family = AF_INET6;
		ret->v6.sin6_port = htons(port);
		*ret_len = sizeof ret->v6;
		return true;
	}
	return err_set(e, ERR_INVALID, "'%s' is no numeric IPv4 or IPv6 address", text);
}

bool listen_on(const char *text, uint16_t port, int *ret_fd, uint16_t *ret_port, struct err *e)
{
	union address a;
	socklen_t len;
	char name[INET6_ADDRSTRLEN + 16];

	if (!address_parse(text, port, &a, &len, e)) {
		return false;
	}
	snprintf(name, sizeof name, a.any.sa_family == AF_INET ? "%s:%u" : "[%s]:%u", text, port);

	auto_fd fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		return err_sys(e, "listen on %s", name);
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (bind(fd, &a.any, len) < 0 || listen(fd, SOMAXCONN) < 0 ||
	    getsockname(fd, &a.any, &len) < 0) {
		return errno == EADDRINUSE ? err_set(e, ERR_CONFLICT, "%s is in use", name)
					   : err_sys(e, "listen on %s", name);
	}
	*ret_port = ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
	*ret_fd = fd_take(&fd);
	return true;
}

bool listen_parse(const char *text, char *address, size_t size, uint16_t *ret_port, struct err *e)
{
	const char *colon = strrchr(text, ':');
	size_t len = colon == NULL ? 0 : (size_t)(colon - text);
	bool v6 = len >= 2 && text[0] == '[' && colon[-1] == ']';
	uint64_t port;

	if (colon == NULL || !str_to_u64(colon + 1, &port) || port > UINT16_MAX || len >= size) {
		return err_set(e, ERR_INVALID, "'%.80s' is not ADDR:PORT", text);
	}
	snprintf(address, size, "%.*s", (int)len - (v6 ? 2 : 0), text + v6);
	*ret_port = (uint16_t)port;
	return true;
}
