/*
 * Discovery: a TCP endpoint that answers Redis clients as a Sentinel would: where the source of a
 * group is, which replicas it has, and when the source changes. It answers from the committed
 * records, so it is right at the commit. It takes no part in decisions and changes nothing.
 *
 * doc/discovery.md says what it speaks, what names it takes, and what differs from a Sentinel.
 */
#pragma once

#include "server/auth.h"
#include "server/registry.h"

struct sentinel;

/*
 * Listens on the setting discovery.listen, which must not be empty. r and auth are borrowed until
 * sentinel_free(). ERR_CONFLICT: the address is in use.
 */
[[nodiscard]] bool sentinel_start(struct registry *r, const struct auth *auth,
				  struct sentinel **ret, struct err *e);
uint16_t sentinel_port(const struct sentinel *s);

/* Drops all connections; before loop_free(), when the registry changes no more. NULL is fine. */
void sentinel_free(struct sentinel *s);
