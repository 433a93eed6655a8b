/*
 * The guard: may a source that was restarted be master again, or would its replicas lose keys by
 * copying from it? (DESIGN.md 4, REDIS.md 2 rows 1 and 2.)
 */
#pragma once

#include "core/observation.h"

enum guard_verdict {
	GUARD_CONFIRM, /* it goes on */
	GUARD_WAIT,    /* not enough is known yet: a replica has not been heard, or something loads */
	GUARD_REFUSE,  /* in doubt: a human decides */
};

struct guard_replica {
	struct id id;
	const char *name;
	bool beside_source; /* on the source's host: what happened to the host happened to both */
	const struct observation *obs; /* NULL: not heard since this control plane started, or silent */
};

struct guard_in {
	const struct observation *source; /* guarded, of the new run; its server answers */
	const struct guard_replica *replicas; /* the attached ones only */
	size_t nreplicas;
	bool accepted;         /* the operator accepted a loss for exactly this run */
	bool waited_out;       /* the limit for silent replicas has passed */
};

struct guard_out {
	enum guard_verdict verdict;
	char reason[240]; /* a sentence with the figures it was decided on */
};

struct guard_out guard_decide(const struct guard_in *in);
