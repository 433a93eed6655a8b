/*
 * Durability of a group: on how many replicas a write must be for an election to find it again.
 * Two numbers: what is asked for (the source's min-slaves-to-write), and what is proven of writes
 * already acknowledged. An election counts with the smaller one, so that neither a raise nor a
 * replica that leaves makes it trust copies that are not there; core/group_durability.c proves
 * the rest.
 */
#include <inttypes.h>
#include <stdarg.h>

#include "base/macros.h"
#include "core/operate.h"

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static void add(char *buf, size_t size, const char *fmt, ...) PRINTF_LIKE(3, 4);

static void add(char *buf, size_t size, const char *fmt, ...)
{
	size_t len = strlen(buf);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf + len, size - len, fmt, ap);
	va_end(ap);
}

/* k of n replicas, as a sentence begins or goes on with them. */
static void add_replicas(char *buf, size_t size, size_t k, size_t n, const char *verb)
{
	if (n == 1) {
		add(buf, size, "its replica %ss", verb);
	} else if (k == n) {
		add(buf, size, "all %zu of its replicas %s", n, verb);
	} else {
		add(buf, size, "%zu of its %zu replicas %s%s", k, n, verb, k == 1 ? "s" : "");
	}
}

/* What an election needs to trust k copies, S + k > R, said as how many are to be there. */
static void add_election(char *buf, size_t size, const struct group *g, size_t n)
{
	uint32_t k = least(g->durability, g->durability_proven);

	if (k == 0) {
		add(buf, size, " An eject needs the operator's word");
	} else if (n == 1) {
		add(buf, size, " An eject finds every such write on the replica");
	} else if (k == n) {
		add(buf, size,
		    " An eject finds every such write on any one replica that it reaches");
	} else if (k == 1) {
		add(buf, size,
		    " An eject finds every such write when it reaches all %zu replicas; with fewer "
		    "it "
		    "needs the operator's word",
		    n);
	} else {
		add(buf, size,
		    " An eject finds every such write when it reaches %zu of the %zu replicas; "
		    "with "
		    "fewer it needs the operator's word",
		    n - k + 1, n);
	}
	add(buf, size,
	    g->durability_proven < g->durability
		    ? ", until every replica is seen to hold what was acknowledged before."
		    : ".");
}

static void add_spare(char *buf, size_t size, uint32_t k, size_t n)
{
	if (n == k) {
		add(buf, size,
		    " There is no replica to spare: when one is lost the writes stop, and when the "
		    "source is ejected a replica takes its place and takes no writes, until a "
		    "replica is added or the durability is lowered.");
	}
}

const char *operate_promise(const struct group *g, char *buf, size_t size)
{
	uint32_t k = g->durability;
	size_t n = group_attached_count(g);

	buf[0] = '\0';
	if (k == 0) {
		add(buf, size,
		    "The source takes writes whatever its replicas do. Should it be lost, so is "
		    "what it had acknowledged and not yet sent; a handover loses nothing.");
		return buf;
	}
	if (k > n) {
		add(buf, size,
		    "The source takes no writes: %" PRIu32
		    " replica%s must answer it, and %zu hold%s "
		    "its data. Add a replica or lower the durability.",
		    k, k == 1 ? "" : "s", n, n == 1 ? "s" : "");
		return buf;
	}
	add(buf, size, "The source takes writes only while ");
	add_replicas(buf, size, k, n, "answer");
	add(buf, size,
	    "; cut off, it stops within %d s. No write waits for that: certain to outlive the "
	    "source is what the client's own WAIT %" PRIu32 " has confirmed.",
	    DURABILITY_MAX_LAG_S + 2, k);
	add_election(buf, size, g, n);
	add_spare(buf, size, k, n);
	return buf;
}

bool operate_durability(struct group *g, const struct operate_in *in, uint32_t k,
			struct group_event *ret, char *buf, size_t size, struct err *e)
{
	size_t n = group_attached_count(g);
	uint32_t before = g->durability;

	(void)in;
	if (k > n) {
		return err_set(e, ERR_INVALID,
			       "Durability bounded(%" PRIu32 ") needs %" PRIu32
			       " replicas that hold the source's data, the group "
			       "has %zu: its source would take no write.",
			       k, k, n);
	}
	/* A raise counts when the source has it: cut off before that, it would go on without replicas. */
	if (k < g->durability_proven) {
		g->durability_proven = k;
	}
	g->durability = k;
	*ret = (struct group_event){ .kind = EVENT_DURABILITY_CHANGED, .epoch = g->epoch };
	if (k == 0) {
		snprintf(ret->reason, sizeof ret->reason, "a client asked for async");
	} else {
		snprintf(ret->reason, sizeof ret->reason, "a client asked for bounded(%" PRIu32 ")",
			 k);
	}
	snprintf(ret->figures, sizeof ret->figures,
		 "from=%" PRIu32 " to=%" PRIu32 " proven=%" PRIu32, before, k,
		 g->durability_proven);
	(void)operate_promise(g, buf, size);
	return true;
}
