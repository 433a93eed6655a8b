/*
 * What the two halves of a handover share, up to its commit; core/operate.c begins and cancels it.
 * Private to core/group_check.c, core/group_handover.c and core/operate.c.
 */
#pragma once

#include "core/group_rules.h"

/* The two it is about, with what they said since the phase was committed. */
struct handover_sides {
	size_t source, target;             /* indexes; nmembers when it is no member any more */
	const struct observation *so, *to; /* NULL: not yet, or silent */
	bool ids; /* servers of the source's version name their stream: since 4.0 */
};
struct handover_sides handover_sides_of(const struct step *s);

/* Whatever the phase: why there is nothing left to wait for; NULL when there is. */
const char *handover_broken_off(const struct step *s, const struct handover_sides *d);

bool handover_is_leaving(const struct step *s, size_t i);
const char *handover_target_name(const struct step *s);
void handover_leave_phase(struct step *s, enum op_phase next, const char *reason);

/* Is o at a place in the canonical stream, with all of its data? Since 4.0. */
bool server_in_stream(const struct group *g, const struct observation *o);

/* core/group_check.c: the phase HANDOVER_CHECK. */
bool handover_check(struct step *s);

/* May the target take over, as far as can be seen? Also for the request itself. */
enum handover_verdict {
	HANDOVER_READY,
	HANDOVER_NOT_YET, /* it may pass by itself */
	HANDOVER_CANNOT,
};
struct handover_view {
	const struct group *g;
	const struct observation *const *obs; /* per member, NULL: not known */
	struct id target;
};
/* The reason is a sentence without a full stop, in buf; "" when ready. */
enum handover_verdict handover_judge(const struct handover_view *v, char *buf, size_t size);

/*
 * Instead of the commit: epoch + 1, the source stays. Behind a fence it may have been a replica for
 * a moment, so from FENCE on its stream may have a new id: past everything that anybody has of it.
 * obs: per member, NULL: not known. The phase is the caller's to change.
 */
void handover_take_back(struct group *g, const struct group_live *live,
			const struct observation *const *obs);
