/*
 * Listening sockets.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * A TCP socket that listens, non-blocking; the caller closes it. address is numeric, IPv4 or IPv6;
 * port 0 takes any free one. ERR_CONFLICT "ADDR:PORT is in use", ERR_INVALID for an address that
 * is none.
 */
[[nodiscard]] bool listen_on(const char *address, uint16_t port, int *ret_fd, uint16_t *ret_port,
			     struct err *e);

/*
 * "ADDR:PORT", an IPv6 address in brackets, into a numeric address (size bytes) and its port.
 * ERR_INVALID for anything else.
 */
[[nodiscard]] bool listen_parse(const char *text, char *address, size_t size, uint16_t *ret_port,
				struct err *e);
