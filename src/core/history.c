/*
 * The canonical history. An id that the list names settles the matter: the member is a prefix up
 * to the end of that reign. An id that it does not name may still be that of a reign whose source
 * was promoted and not heard since; the rest of the file is about how far a member's second id,
 * the one it had before, tells so. It never guesses: what may be and may not be is UNKNOWN.
 */
#include "core/history.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>

#include "base/macros.h"

#define HISTORY_VERDICT_NAME(name, text, meaning) [HISTORY_##name] = text,
static const char *const verdict_names[] = { HISTORY_VERDICTS(HISTORY_VERDICT_NAME) };
#undef HISTORY_VERDICT_NAME
static_assert(ARRAY_LEN(verdict_names) == HISTORY_VERDICT_COUNT);

/* A server that was started without a position may show 1: it counts the opening of its backlog. */
enum { NO_POSITION_MAX = 1 };

const char *history_verdict_name(enum history_verdict v)
{
	return verdict_names[v];
}

struct history history_of(const struct group *g)
{
	return (struct history){ .entries = g->history, .n = g->nhistory };
}

struct history_position history_position_of(const struct observation *o)
{
	return (struct history_position){
		.replid = o->replid,
		.offset = o->offset,
		.replid2 = o->replid2,
		.second_offset = o->second_offset,
	};
}

/* reigns and families */

static bool is_break(const struct history *h, size_t i)
{
	return i > 0 && h->entries[i].start <= 0;
}

static bool is_pending(const struct history *h, size_t i)
{
	return !replid_known(&h->entries[i].replid);
}

/* The same source went on under a new id: it was demoted, and promoted back. */
static bool is_undo(const struct history *h, size_t i)
{
	return i > 0 && !is_break(h, i) && !id_is_zero(h->entries[i].source) &&
	       id_eq(h->entries[i].source, h->entries[i - 1].source);
}

/* The first entry of the family of i. */
static size_t family_of(const struct history *h, size_t i)
{
	while (i > 0 && !is_break(h, i)) {
		i--;
	}
	return i;
}

int64_t history_end(const struct history *h, size_t i)
{
	int64_t end = INT64_MAX;

	for (size_t j = i + 1; j < h->n && !is_break(h, j); j++) {
		if (h->entries[j].start - 1 < end) {
			end = h->entries[j].start - 1;
		}
	}
	return end;
}

/* The reign of this id; h->n when there is none. */
static size_t reign_of(const struct history *h, const struct replid *replid)
{
	for (size_t i = h->n; i > 0; i--) {
		if (replid_eq(&h->entries[i - 1].replid, replid)) {
			return i - 1;
		}
	}
	return h->n;
}

/* reigns whose id is not known yet */

/*
 * Is this id the newest known one of the family before entry i, and may a server have gone from it
 * straight into the reign of i? Not where a reign in between, whose id is not known, starts before
 * i does: what i had came by way of that one.
 */
static bool precedes(const struct history *h, size_t i, const struct replid *replid)
{
	for (size_t j = i; j > 0 && !is_break(h, j); j--) {
		if (!is_pending(h, j - 1)) {
			return replid_eq(&h->entries[j - 1].replid, replid);
		}
		if (h->entries[j - 1].start < h->entries[i].start) {
			return false;
		}
	}
	return false;
}

/*
 * Pending entry i explains the id of p: the same id before, and it changed at the first byte of the
 * reign, or earlier, as whoever lagged did.
 */
static bool explains(const struct history *h, size_t i, const struct history_position *p)
{
	return is_pending(h, i) && replid_known(&p->replid2) &&
	       p->second_offset <= h->entries[i].start && precedes(h, i, &p->replid2);
}

/*
 * And only it does, as far as it alone is concerned: who changed earlier may as well have been
 * promoted by hand there. Where the source itself went on nobody else was promoted at all.
 */
static bool fits(const struct history *h, size_t i, const struct history_position *p)
{
	return explains(h, i, p) &&
	       (p->second_offset == h->entries[i].start || is_undo(h, i));
}

/* Entry i may explain it. Whoever copied everything anew has no second id. */
static bool may_fit(const struct history *h, size_t i, const struct history_position *p)
{
	if (!is_pending(h, i)) {
		return false;
	}
	if (!replid_known(&p->replid2)) {
		return true;
	}
	bool in_time = i > 0 && !is_break(h, i) && p->second_offset <= h->entries[i].start;

	return explains(h, i, p) || (in_time && is_pending(h, i - 1));
}

bool history_find_pending(const struct history *h, const struct history_position *p, size_t *ret)
{
	size_t found = 0, at = 0;

	if (!replid_known(&p->replid) || reign_of(h, &p->replid) < h->n) {
		return false;
	}
	for (size_t i = 0; i < h->n; i++) {
		if (explains(h, i, p)) {
			found++;
			at = i;
		}
	}
	if (found != 1 || !fits(h, at, p)) {
		return false;
	}
	*ret = at;
	return true;
}

/* writing */

void history_push(struct group *g, const struct replid *replid, int64_t start)
{
	if (g->nhistory == MODEL_HISTORY_MAX) {
		memmove(&g->history[0], &g->history[1], (--g->nhistory) * sizeof g->history[0]);
	}
	g->history[g->nhistory++] = (struct history_entry){
		.epoch = g->epoch,
		.replid = *replid,
		.start = start,
		.source = g->source,
	};
}

/* Nobody else claims entry i under another id: one of two would be a stranger. */
static bool is_only_claim(const struct history *h, size_t i, const struct history_position *all,
			  size_t n, const struct history_position *p)
{
	for (size_t j = 0; j < n; j++) {
		if (fits(h, i, &all[j]) && !replid_eq(&all[j].replid, &p->replid)) {
			return false;
		}
	}
	return true;
}

static bool fill_one(struct history_entry *entries, size_t n, const struct history_position *all,
		     size_t nall)
{
	const struct history h = { .entries = entries, .n = n };

	for (size_t j = 0; j < nall; j++) {
		size_t i;

		if (history_find_pending(&h, &all[j], &i) &&
		    is_only_claim(&h, i, all, nall, &all[j])) {
			entries[i].replid = all[j].replid;
			return true;
		}
	}
	return false;
}

/* One id may be what the next is told by; each turn leaves one pending entry less. */
void history_fill(struct history_entry *entries, size_t n, const struct history_position *all,
		  size_t nall)
{
	while (fill_one(entries, n, all, nall)) {
	}
}

/* judging */

static struct history_finding finding(enum history_verdict v, const char *fmt, ...)
	PRINTF_LIKE(2, 3);

static struct history_finding finding(enum history_verdict v, const char *fmt, ...)
{
	struct history_finding f = { .verdict = v, .shared = -1 };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f.why, sizeof f.why, fmt, ap);
	va_end(ap);
	return f;
}

static struct history_finding judge_in_reign(const struct history *h, size_t i, int64_t offset)
{
	uint64_t epoch = h->entries[i].epoch;
	int64_t end = history_end(h, i);
	size_t family = family_of(h, i);
	struct history_finding f;

	if (offset > end) {
		f = finding(HISTORY_DIVERGED,
			    "offset %" PRId64 " of epoch %" PRIu64 " is %" PRId64
			    " bytes past what the group has of it, which is up to %" PRId64,
			    offset, epoch, offset - end, end);
	} else if (family != family_of(h, h->n - 1)) {
		f = finding(HISTORY_EARLIER,
			    "offset %" PRId64 " is of epoch %" PRIu64
			    ", before the source's stream began anew; it does not compare",
			    offset, epoch);
	} else {
		f = finding(HISTORY_CANONICAL, "offset %" PRId64 " of epoch %" PRIu64, offset,
			    epoch);
	}
	f.epoch = epoch;
	f.family = h->entries[family].epoch;
	if (family == family_of(h, h->n - 1)) {
		f.shared = offset < end ? offset : end;
	}
	return f;
}

/* An id that no reign is known to have, and that one or more pending ones explain. */
static struct history_finding judge_explained(const struct history *h,
					      const struct history_position *p)
{
	size_t all = 0, canonical = 0, diverged = 0;
	struct history_finding f = {};

	for (size_t i = 0; i < h->n; i++) {
		if (explains(h, i, p)) {
			f = judge_in_reign(h, i, p->offset);
			all++;
			canonical += f.verdict == HISTORY_CANONICAL;
			diverged += f.verdict == HISTORY_DIVERGED;
		}
	}
	if (all == 1 || canonical == all || diverged == all) {
		f.shared = all == 1 || f.verdict == HISTORY_CANONICAL ? f.shared : -1;
		return f;
	}
	return finding(HISTORY_UNKNOWN,
		       "offset %" PRId64
		       " may be of any of %zu epochs whose sources were not heard",
		       p->offset, all);
}

static struct history_finding judge_unnamed(const struct history *h,
					    const struct history_position *p)
{
	size_t nfitting = 0;
	uint64_t may_be = 0;

	for (size_t i = 0; i < h->n; i++) {
		nfitting += fits(h, i, p);
		if (may_fit(h, i, p)) {
			may_be = h->entries[i].epoch;
		}
	}
	if (nfitting > 0) {
		return judge_explained(h, p);
	}
	if (p->offset <= NO_POSITION_MAX && !replid_known(&p->replid2)) {
		return finding(HISTORY_UNKNOWN,
			       "it was started without a position, as from an AOF, "
			       "and has copied nothing since");
	}
	if (may_be != 0) {
		return finding(HISTORY_UNKNOWN,
			       "offset %" PRId64 " of %.8s may be of epoch %" PRIu64
			       ", whose source was not heard",
			       p->offset, p->replid.s, may_be);
	}
	return finding(HISTORY_DIVERGED,
		       "offset %" PRId64 " is of %.8s, the id of no epoch of the group", p->offset,
		       p->replid.s);
}

struct history_finding history_judge(const struct history *h, const struct history_position *p)
{
	if (h->n == 0) {
		return finding(HISTORY_UNKNOWN, "the group has no history yet");
	}
	if (!replid_known(&p->replid) || p->offset < 0) {
		return finding(HISTORY_UNKNOWN, "it tells no replication id and offset");
	}
	size_t i = reign_of(h, &p->replid);

	return i < h->n ? judge_in_reign(h, i, p->offset) : judge_unnamed(h, p);
}

enum history_order history_compare(const struct history *h, const struct history_position *a,
				   const struct history_position *b)
{
	struct history_finding fa = history_judge(h, a), fb = history_judge(h, b);
	bool known =
		fa.family != 0 && fa.verdict != HISTORY_DIVERGED && fb.verdict != HISTORY_DIVERGED;

	if (!known || fa.family != fb.family) {
		return HISTORY_INCOMPARABLE;
	}
	return a->offset == b->offset  ? HISTORY_EQUAL
	       : a->offset > b->offset ? HISTORY_AHEAD
				       : HISTORY_BEHIND;
}
