/*
 * The link to the control plane: reports go up, goals come down on a request that it holds open.
 * The agent dials out and works on without it.
 */
#pragma once

#include "agent/host.h"

struct link;

struct link_config {
	struct loop *loop;
	struct agent_host *host;
	const char *server;        /* base URL, without a slash at its end; borrowed */
	const char *token_file;    /* read again after every refusal; borrowed */
	const char *ca_file, *pin; /* whom https trusts, see tls_trust(); borrowed */
	int64_t report_interval_ms;
	loop_fn *heard; /* the control plane has accepted a report for the first time */
	void *arg;
};

struct link *link_new(const struct link_config *c);
void link_start(struct link *k);
void link_free(struct link *k); /* NULL is fine */

/* Something is to be reported: now, or right behind the report that is under way. */
void link_report(struct link *k);
