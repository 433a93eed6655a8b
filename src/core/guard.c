/*
 * The guard. An AOF carries no position: after a crash a source has a new replication id and
 * offset 0, so it cannot be asked how much it lost. What is left to judge by: the agent's durable
 * marker (are these the files of the last run, on the same boot of the host?), the position it
 * recorded, the number of keys, and what the replicas hold. The rules below are tried in order;
 * the first that has an opinion decides. In doubt the answer is no: a human can say yes later,
 * but a replica that has copied from an empty source cannot give its keys back.
 */
#include "core/guard.h"

#include <inttypes.h>
#include <stdarg.h>

#include "base/macros.h"

static struct guard_out verdict(enum guard_verdict v, const char *fmt, ...) PRINTF_LIKE(2, 3);

static struct guard_out verdict(enum guard_verdict v, const char *fmt, ...)
{
	struct guard_out out = { .verdict = v };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(out.reason, sizeof out.reason, fmt, ap);
	va_end(ap);
	return out;
}

/* How the sentences call a replica: names may have 255 characters, a sentence has 240. */
#define NAME_FMT "'%.48s'"

/* What a replica holds is known only while its server answers and has loaded its data. */
static bool known(const struct guard_replica *r)
{
	return r->obs != NULL && r->obs->proc == PROC_RUNNING && !r->obs->loading;
}

static const struct guard_replica *first_unknown(const struct guard_in *in)
{
	for (size_t i = 0; i < in->nreplicas; i++) {
		if (!known(&in->replicas[i])) {
			return &in->replicas[i];
		}
	}
	return NULL;
}

static const struct guard_replica *first_master(const struct guard_in *in)
{
	for (size_t i = 0; i < in->nreplicas; i++) {
		const struct observation *o = in->replicas[i].obs;

		if (o != NULL && o->proc == PROC_RUNNING && o->role == SERVER_ROLE_MASTER) {
			return &in->replicas[i];
		}
	}
	return NULL;
}

/* The known replica with the most keys; NULL when none is known. */
static const struct guard_replica *fullest(const struct guard_in *in)
{
	const struct guard_replica *best = NULL;

	for (size_t i = 0; i < in->nreplicas; i++) {
		const struct guard_replica *r = &in->replicas[i];

		if (known(r) && (best == NULL || r->obs->keys > best->obs->keys)) {
			best = r;
		}
	}
	return best;
}

/*
 * It lost power in the same moment as the source, and was not linked since: neither AOF has its
 * last second, no position is left to compare, and the number of keys is all there is. So one
 * machine that lost its power comes back by itself; several that did so one after the other do not.
 */
static bool lost_power_too(const struct guard_replica *r)
{
	return r->beside_source && r->obs->marker == MARKER_REBOOTED && r->obs->offset <= 1;
}

/*
 * The host was restarted: the last second that the source acknowledged may not be on its disk. A
 * replica may have it, unless it is at a position of the recorded stream that the recorded one
 * covers. One whose position does not compare (it alone was restarted, or it follows a stream that
 * nobody noted) is a doubt: the number of keys says nothing of what was written to them.
 */
static struct guard_out judge_rebooted(const struct guard_in *in)
{
	const struct recorded_position *rec = &in->source->recorded;
	int64_t keys = in->source->keys;

	for (size_t i = 0; i < in->nreplicas; i++) {
		const struct guard_replica *r = &in->replicas[i];
		const struct observation *o = r->obs;
		bool compares = replid_known(&rec->replid) && replid_eq(&o->replid, &rec->replid);

		if (o->keys == 0) {
			continue;
		}
		if (!compares && !lost_power_too(r)) {
			return verdict(GUARD_REFUSE,
				       "after a restart of its host the position of replica " NAME_FMT
				       " does not compare with the last one recorded of the source; "
				       "it holds %" PRId64 " keys, the source has %" PRId64,
				       r->name, o->keys, keys);
		}
		if (compares && o->offset > rec->offset) {
			return verdict(
				GUARD_REFUSE,
				"after a restart of its host the source may lack its last second: "
				"replica " NAME_FMT " is at offset %" PRId64
				", the last one recorded of the source is %" PRId64,
				r->name, o->offset, rec->offset);
		}
		if (o->keys > keys || (compares && o->offset == rec->offset && o->keys != keys)) {
			return verdict(GUARD_REFUSE,
				       "after a restart of its host the source has %" PRId64
				       " keys, replica " NAME_FMT " holds %" PRId64,
				       keys, r->name, o->keys);
		}
	}
	return verdict(GUARD_CONFIRM,
		       "after a restart of its host the source has %" PRId64
		       " keys, and no replica is ahead of what was recorded of it or holds more",
		       keys);
}

static const char *files_text(enum marker_verdict m)
{
	switch (m) {
	case MARKER_NEW:
		return "it came back without any files";
	case MARKER_DIFFERENT:
		return "it came back with other files than its last run had";
	case MARKER_MISSING:
		return "nothing tells whether its files are those of its last run";
	case MARKER_UNKNOWN:
	case MARKER_INTACT:
	case MARKER_REBOOTED:
	case MARKER_VERDICT_COUNT:
		break;
	}
	return "its agent does not know what files it was started from";
}

/* Every replica is known, none is a master, and the files are not known to be whole. */
static struct guard_out judge_files(const struct guard_in *in)
{
	const struct guard_replica *most = fullest(in);

	if (in->source->keys == 0 && most->obs->keys == 0) {
		return verdict(GUARD_CONFIRM, "neither it nor any replica holds a key");
	}
	if (in->source->marker == MARKER_REBOOTED) {
		return judge_rebooted(in);
	}
	if (most->obs->keys > 0) {
		return verdict(GUARD_REFUSE,
			       "%s: it has %" PRId64 " keys, replica " NAME_FMT " holds %" PRId64,
			       files_text(in->source->marker), in->source->keys, most->name,
			       most->obs->keys);
	}
	return verdict(GUARD_CONFIRM, "no replica holds a key, the source has %" PRId64,
		       in->source->keys);
}

static struct guard_out judge_unknown(const struct guard_in *in, const struct guard_replica *r)
{
	const char *why = r->obs == NULL                 ? "has not been heard"
			  : r->obs->proc == PROC_RUNNING ? "loads its data"
							 : "does not run";

	if (!in->waited_out) {
		return verdict(GUARD_WAIT,
			       "replica " NAME_FMT " %s: what it holds is not known yet", r->name,
			       why);
	}
	return verdict(GUARD_REFUSE,
		       "replica " NAME_FMT " %s, so it may hold more than the %" PRId64
		       " keys of the source",
		       r->name, why, in->source->keys);
}

/*
 * The files are those of the last run. A server writes to its AOF before it answers, except that
 * with appendfsync everysec it puts the write off, for up to 2 s, while an earlier fsync still
 * runs (tried on 7.0.15 with a slowed disk): such a write is acknowledged and lost by a crash, and
 * nothing here can tell. appendfsync always leaves no such gap.
 */
static struct guard_out judge_intact(const struct guard_in *in)
{
	const struct guard_replica *most = fullest(in);
	const struct guard_replica *unknown = first_unknown(in);

	/* Whatever the marker says, nobody copies from a source that came back empty. */
	if (in->source->keys == 0 && most != NULL && most->obs->keys > 0) {
		return verdict(GUARD_REFUSE,
			       "its files are those of its last run, but it has 0 keys, and "
			       "replica " NAME_FMT " holds %" PRId64,
			       most->name, most->obs->keys);
	}
	if (in->source->keys == 0 && unknown != NULL) {
		return judge_unknown(in, unknown);
	}
	return verdict(GUARD_CONFIRM,
		       "its files are those of its last run, on the same boot of its host or after a "
		       "clean stop: %" PRId64 " keys",
		       in->source->keys);
}

struct guard_out guard_decide(const struct guard_in *in)
{
	if (in->nreplicas == 0) {
		return verdict(GUARD_CONFIRM, "no replica holds a copy that could be lost");
	}
	if (in->accepted) {
		return verdict(GUARD_CONFIRM,
			       "the operator accepted that it goes on with its %" PRId64 " keys",
			       in->source->keys);
	}
	if (in->source->loading) {
		return verdict(GUARD_WAIT, "the source loads its data, %u %% so far",
			       in->source->loading_pct);
	}
	const struct guard_replica *master = first_master(in);

	if (master != NULL) {
		return verdict(GUARD_REFUSE,
			       "replica " NAME_FMT " was promoted by hand, is a master and holds "
			       "%" PRId64 " keys; the source has %" PRId64,
			       master->name, master->obs->keys, in->source->keys);
	}
	if (in->source->marker == MARKER_INTACT) {
		return judge_intact(in);
	}
	const struct guard_replica *unknown = first_unknown(in);

	if (unknown != NULL) {
		return judge_unknown(in, unknown);
	}
	return judge_files(in);
}
