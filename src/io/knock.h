/*
 * Knocking at a server's address: does anything answer there? For a control plane that hears
 * nothing of a server's agent and has to know whether the server itself still lives.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "io/loop.h"

struct knock;

/*
 * Connects, sends PING without a login, and tells whether anything at all was read (an error and a
 * refusal are answers too) within limit_ms. A connection that is refused, or accepted and then
 * silent, is no answer: the kernel accepts for a server that hangs as well.
 *
 * fn(arg, answers) runs once, never before this returns. address: numeric IPv4 or IPv6; one that
 * is neither does not answer.
 */
typedef void knock_fn(void *arg, bool answers);
void knock_start(struct loop *l, const char *address, uint16_t port, int64_t limit_ms, knock_fn *fn,
		 void *arg);
