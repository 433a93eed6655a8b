/*
 * The election: who is eligible, who is best, what the choice would lose. Each is one function
 * over plain values. Nothing here asks whether the source is dead; that was decided before.
 *
 * Offset before everything else, unlike Sentinel: lost bytes are lost for good, while the
 * operator's preference can still be met later by a planned handover. Equal offsets in one history
 * are equal data, so there a winner that survives its own restart is worth more than one that
 * heard the source a second later.
 */
#include "core/elect.h"

#include <assert.h>

#include "base/macros.h"

#define ELECT_WHY_WEIGHT(name, weight, text, sentence) [ELECT_WHY_##name] = ELECT_##weight,
static const enum elect_weight weights[] = { ELECT_WHYS(ELECT_WHY_WEIGHT) };
#undef ELECT_WHY_WEIGHT
static_assert(ARRAY_LEN(weights) == ELECT_WHY_COUNT);

/* candidates */

/*
 * No copy has ever come to an end there: no client was told of a write because of it. What was seen
 * before the seal does not tell: the copy may have ended since, and its agent not been heard.
 */
static bool is_empty(const struct member *m, const struct observation *o, bool fresh)
{
	if (m->attached_once || o == NULL || !fresh) {
		return false;
	}
	bool copying = o->sync_in_progress || o->slave_offset <= 1;

	return o->proc == PROC_NONE || (o->proc == PROC_RUNNING && copying);
}

struct elect_candidate elect_candidate_of(const struct member *m, const struct observation *o,
					  const struct elect_beside *beside)
{
	struct elect_candidate c = {
		.id = m->id,
		.name = m->name,
		.created_wall_ms = m->created_wall_ms,
		.deleting = m->state == MEMBER_DELETING,
		.attached_once = m->attached_once,
		.may_hold = !is_empty(m, o, beside->fresh),
		.at = { .offset = -1, .second_offset = -1 },
		.slave_offset = -1,
		.last_io_now_s = -1,
		.last_io_s = beside->last_io_s,
		.priority = beside->priority,
		.preferred_zone = beside->preferred_zone,
		.disk_error = beside->disk_error,
	};

	c.version_known = version_parse(m->datastore, m->version, &c.version);
	if (o == NULL) {
		return c;
	}
	c.heard = true;
	c.sealed = beside->sealed;
	c.running = o->proc == PROC_RUNNING;
	c.loading = o->loading;
	c.syncing = o->sync_in_progress;
	c.role = o->role;
	c.at = history_position_of(o);
	c.slave_offset = o->slave_offset;
	c.keys = o->keys;
	c.durable = o->durable;
	c.last_io_now_s = o->last_io_s;
	return c;
}

/* Since 4.0 a server names its history and shows its position twice. */
static bool has_history(const struct elect_candidate *c)
{
	return !c->version_known || version_rules(c->version)->psync2;
}

/*
 * An emptied server still shows its old master_repl_offset, and one that broke off a copy may show
 * either: only together are they a position.
 */
static bool offsets_agree(const struct elect_candidate *c)
{
	return c->at.offset >= 0 && c->slave_offset == c->at.offset;
}

/* Its position; -1: unknown. Before 4.0 servers show 1 when they have none. */
static int64_t offset_of(const struct elect_candidate *c)
{
	if (has_history(c)) {
		return offsets_agree(c) ? c->at.offset : -1;
	}
	return c->slave_offset > 1 ? c->slave_offset : -1;
}

/* Somebody who stays in the group could not copy from it. */
static bool strands(const struct elect_in *in, const struct elect_candidate *c)
{
	for (size_t i = 0; i < in->n; i++) {
		const struct elect_candidate *other = &in->candidates[i];

		if (other == c || other->deleting) {
			continue;
		}
		if (!c->version_known || !other->version_known ||
		    !version_can_feed(c->version, other->version)) {
			return true;
		}
	}
	return false;
}

static bool is_canonical(const struct elect_in *in, const struct history_position *p)
{
	return history_judge(&in->history, p).verdict == HISTORY_CANONICAL;
}

static enum elect_why why_not_ready(const struct elect_candidate *c)
{
	return !c->heard                        ? ELECT_WHY_UNHEARD
	       : c->deleting                    ? ELECT_WHY_DELETING
	       : !c->running                    ? ELECT_WHY_DOWN
	       : c->loading                     ? ELECT_WHY_LOADING
	       : c->role != SERVER_ROLE_REPLICA ? ELECT_WHY_NOT_REPLICA
	       : c->syncing                     ? ELECT_WHY_SYNCING
	       : !c->sealed                     ? ELECT_WHY_UNSEALED
						: ELECT_WHY_ELIGIBLE;
}

/* What speaks against it; hard reasons before soft ones. */
static enum elect_why why_not(const struct elect_in *in, const struct elect_candidate *c)
{
	enum elect_why ready = why_not_ready(c);

	if (ready != ELECT_WHY_ELIGIBLE) {
		return ready;
	}
	bool named = has_history(c);
	enum history_verdict v =
		named ? history_judge(&in->history, &c->at).verdict : HISTORY_CANONICAL;

	return v == HISTORY_DIVERGED        ? ELECT_WHY_DIVERGED
	       : c->priority == 0           ? ELECT_WHY_PRIORITY
	       : strands(in, c)             ? ELECT_WHY_STRANDS
	       : !c->attached_once          ? ELECT_WHY_UNATTACHED
	       : named && !offsets_agree(c) ? ELECT_WHY_OFFSETS
	       : v == HISTORY_EARLIER       ? ELECT_WHY_EARLIER
	       : v == HISTORY_UNKNOWN       ? ELECT_WHY_UNKNOWN
	       : c->disk_error              ? ELECT_WHY_DISK
					    : ELECT_WHY_ELIGIBLE;
}

/* order: below 0 when a is better */

static int smaller_first(int64_t a, int64_t b)
{
	return (a > b) - (a < b);
}

static int by_keys(const struct elect_candidate *a, const struct elect_candidate *b)
{
	return smaller_first(b->keys, a->keys);
}

static int by_offset(const struct elect_candidate *a, const struct elect_candidate *b)
{
	return smaller_first(offset_of(b), offset_of(a));
}

/* Without offsets the data need not be equal, and the specification's figure goes first. */
static int by_durable(const struct elect_candidate *a, const struct elect_candidate *b)
{
	return offset_of(a) < 0 || offset_of(b) < 0 ? 0 : smaller_first(b->durable, a->durable);
}

static int by_last_io(const struct elect_candidate *a, const struct elect_candidate *b)
{
	int64_t of_a = a->last_io_s < 0 ? INT64_MAX : a->last_io_s;
	int64_t of_b = b->last_io_s < 0 ? INT64_MAX : b->last_io_s;

	return smaller_first(of_a, of_b);
}

static int by_priority(const struct elect_candidate *a, const struct elect_candidate *b)
{
	return smaller_first(a->priority, b->priority);
}

static int by_zone(const struct elect_candidate *a, const struct elect_candidate *b)
{
	return smaller_first(b->preferred_zone, a->preferred_zone);
}

static int by_age(const struct elect_candidate *a, const struct elect_candidate *b)
{
	return smaller_first(a->created_wall_ms, b->created_wall_ms);
}

static int by_id(const struct elect_candidate *a, const struct elect_candidate *b)
{
	return id_cmp(a->id, b->id);
}

/* clang-format off */
static const struct {
	enum elect_by by;
	int (*cmp)(const struct elect_candidate *a, const struct elect_candidate *b);
} order[] = {
	{ ELECT_BY_KEYS,     by_keys }, /* last resort only */
	{ ELECT_BY_OFFSET,   by_offset },
	{ ELECT_BY_DURABLE,  by_durable },
	{ ELECT_BY_LAST_IO,  by_last_io },
	{ ELECT_BY_PRIORITY, by_priority },
	{ ELECT_BY_ZONE,     by_zone },
	{ ELECT_BY_AGE,      by_age },
	{ ELECT_BY_ID,       by_id },
};
/* clang-format on */

static bool better(const struct elect_candidate *a, const struct elect_candidate *b,
		   bool last_resort, enum elect_by *ret_by)
{
	for (size_t i = last_resort ? 0 : 1; i < ARRAY_LEN(order); i++) {
		int c = order[i].cmp(a, b);

		if (c != 0) {
			*ret_by = order[i].by;
			return c < 0;
		}
	}
	return false;
}

static bool may_win(enum elect_why w, bool last_resort)
{
	return last_resort ? weights[w] == ELECT_SOFT : w == ELECT_WHY_ELIGIBLE;
}

/* The best but `except`; ELECT_NOBODY when there is none. */
static size_t best_of(const struct elect_in *in, const struct elect_out *out, size_t except)
{
	size_t best = ELECT_NOBODY;
	enum elect_by by;

	for (size_t i = 0; i < in->n; i++) {
		if (i == except || !may_win(out->of[i].why, out->last_resort)) {
			continue;
		}
		if (best == ELECT_NOBODY ||
		    better(&in->candidates[i], &in->candidates[best], out->last_resort, &by)) {
			best = i;
		}
	}
	return best;
}

static void choose(const struct elect_in *in, struct elect_out *out)
{
	out->winner = best_of(in, out, ELECT_NOBODY);
	if (out->winner == ELECT_NOBODY) {
		out->last_resort = true;
		out->winner = best_of(in, out, ELECT_NOBODY);
	}
	if (out->winner == ELECT_NOBODY) {
		out->last_resort = false;
		return;
	}
	out->durable = in->candidates[out->winner].durable;
	out->runner_up = best_of(in, out, out->winner);
	if (out->runner_up != ELECT_NOBODY) {
		(void)better(&in->candidates[out->winner], &in->candidates[out->runner_up],
			     out->last_resort, &out->by);
	}
}

/* what the choice costs */

/* Its offset measures the same thing as every other comparable one's: a prefix of one history. */
static bool is_comparable(const struct elect_in *in, const struct elect_candidate *c)
{
	if (!c->heard || !c->running || c->loading || c->syncing || offset_of(c) < 0) {
		return false;
	}
	return !has_history(c) || is_canonical(in, &c->at);
}

/* How far it holds the group's data: of one that went its own way, up to there. -1: not known. */
static int64_t held_of_group(const struct elect_in *in, const struct elect_candidate *c)
{
	if (!has_history(c)) {
		return is_comparable(in, c) ? offset_of(c) : -1;
	}
	bool told = c->heard && c->running && !c->loading && !c->syncing && offset_of(c) >= 0;

	return told ? history_judge(&in->history, &c->at).shared : -1;
}

/* Both with a named history, or neither: a number with an id and one without do not compare. */
static bool are_comparable(const struct elect_in *in, const struct elect_candidate *a,
			   const struct elect_candidate *b)
{
	return has_history(a) == has_history(b) && is_comparable(in, a) && is_comparable(in, b);
}

static void count_sealed(const struct elect_in *in, struct elect_out *out)
{
	const struct elect_candidate *w = &in->candidates[out->winner];

	for (size_t i = 0; i < in->n; i++) {
		const struct elect_candidate *c = &in->candidates[i];
		bool has_all = i == out->winner ||
			       (are_comparable(in, c, w) && offset_of(c) <= offset_of(w));

		out->replicas += c->may_hold;
		out->sealed += c->may_hold && c->sealed && has_all;
	}
}

/* The old source's last known offset, where it compares with the winner's; else -1. */
static int64_t source_offset(const struct elect_in *in, const struct elect_candidate *winner)
{
	bool same = has_history(winner) ? is_canonical(in, &in->source)
					: !replid_known(&in->source.replid);

	return same ? in->source.offset : -1;
}

static void count_loss(const struct elect_in *in, struct elect_out *out)
{
	const struct elect_candidate *w = &in->candidates[out->winner];

	if (!is_comparable(in, w)) {
		return;
	}
	int64_t known = source_offset(in, w), most = offset_of(w);

	for (size_t i = 0; i < in->n; i++) {
		const struct elect_candidate *c = &in->candidates[i];

		if (has_history(c) == has_history(w) && held_of_group(in, c) > most) {
			most = held_of_group(in, c);
			out->ahead = i;
		}
	}
	if (known < 0 && out->ahead == ELECT_NOBODY) {
		return;
	}
	out->loss_bytes = (known > most ? known : most) - offset_of(w);
}

/*
 * Whoever has held all of the data, has more of it than the winner, and is kept from being promoted
 * by something else. Async means that what nobody got may be lost, not what somebody has.
 */
static bool is_passed_over(const struct elect_in *in, const struct elect_out *out, size_t i)
{
	const struct elect_candidate *c = &in->candidates[i], *w = &in->candidates[out->winner];

	return c->attached_once && c->role == SERVER_ROLE_REPLICA && !c->deleting &&
	       is_comparable(in, w) && has_history(c) == has_history(w) &&
	       held_of_group(in, c) > offset_of(w);
}

static bool somebody_is_passed_over(const struct elect_in *in, const struct elect_out *out)
{
	for (size_t i = 0; i < in->n; i++) {
		if (is_passed_over(in, out, i)) {
			return true;
		}
	}
	return false;
}

static enum elect_verdict judge(const struct elect_in *in, const struct elect_out *out)
{
	if (out->last_resort) {
		return ELECT_WOULD_LOSE;
	}
	if (in->bounded && out->sealed + in->k <= out->replicas) {
		return ELECT_TOO_FEW_SEALED;
	}
	if (somebody_is_passed_over(in, out)) {
		return ELECT_WOULD_LOSE;
	}
	if (in->loss_limit_bytes != ELECT_NO_LOSS_LIMIT && out->loss_bytes > in->loss_limit_bytes) {
		return ELECT_WOULD_LOSE;
	}
	return ELECT_WINNER;
}

/* -1 is the smallest of all to the letter of the rule, and it means that the link is down. */
static void apply_specification(const struct elect_in *in, struct elect_out *out)
{
	for (size_t i = 0; i < in->n; i++) {
		const struct elect_candidate *c = &in->candidates[i];

		if (!c->heard || !c->running || c->role != SERVER_ROLE_REPLICA) {
			continue;
		}
		const struct elect_candidate *best =
			out->spec_choice == ELECT_NOBODY ? NULL : &in->candidates[out->spec_choice];

		if (best == NULL || c->last_io_now_s < best->last_io_now_s) {
			out->spec_choice = i;
			out->spec_ties = 1;
		} else if (c->last_io_now_s == best->last_io_now_s) {
			out->spec_ties++;
			out->spec_choice = id_cmp(c->id, best->id) < 0 ? i : out->spec_choice;
		}
	}
}

/* Only a prefix of the current family goes on counting in it. */
static int64_t history_start(const struct elect_in *in, const struct elect_candidate *w)
{
	return has_history(w) && is_comparable(in, w) ? offset_of(w) + 1 : 0;
}

void elect_pick(const struct elect_in *in, struct elect_out *out)
{
	assert(in->n <= MODEL_MEMBERS_MAX);
	*out = (struct elect_out){
		.verdict = ELECT_NONE,
		.winner = ELECT_NOBODY,
		.runner_up = ELECT_NOBODY,
		.ahead = ELECT_NOBODY,
		.spec_choice = ELECT_NOBODY,
		.loss_bytes = -1,
	};
	for (size_t i = 0; i < in->n; i++) {
		out->of[i].why = why_not(in, &in->candidates[i]);
		out->of[i].offset = offset_of(&in->candidates[i]);
	}
	choose(in, out);
	apply_specification(in, out);
	if (out->winner == ELECT_NOBODY) {
		return;
	}
	count_sealed(in, out);
	count_loss(in, out);
	out->history_start = history_start(in, &in->candidates[out->winner]);

	enum elect_verdict verdict = judge(in, out);

	out->accepted = in->accept_data_loss && verdict != ELECT_WINNER;
	out->verdict = out->accepted ? ELECT_WINNER : verdict;
}
