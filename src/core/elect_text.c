/*
 * What an election says: its names, the sentence about the whole, the line about one candidate.
 * All figures are in input and result; nothing is decided here.
 */
#include "core/elect.h"

#include <assert.h>
#include <inttypes.h>

#include "base/macros.h"
#include "base/text.h"

#define ELECT_WHY_ROW(name, weight, text, sentence) [ELECT_WHY_##name] = { text, sentence },
static const struct {
	const char *name, *sentence;
} whys[] = { ELECT_WHYS(ELECT_WHY_ROW) };
#undef ELECT_WHY_ROW
static_assert(ARRAY_LEN(whys) == ELECT_WHY_COUNT);

#define ELECT_BY_ROW(name, text, sentence) [ELECT_BY_##name] = { text, sentence },
static const struct {
	const char *name, *sentence;
} bys[] = { ELECT_BYS(ELECT_BY_ROW) };
#undef ELECT_BY_ROW
static_assert(ARRAY_LEN(bys) == ELECT_BY_COUNT);

/* clang-format off */
static const char *const verdict_names[] = {
	[ELECT_WINNER] = "winner",
	[ELECT_NONE] = "none",
	[ELECT_WOULD_LOSE] = "would-lose",
	[ELECT_TOO_FEW_SEALED] = "too-few-sealed",
};
/* clang-format on */
static_assert(ARRAY_LEN(verdict_names) == ELECT_VERDICT_COUNT);

/* How the sentences call a member: names may have 255 characters, a sentence has 320. */
#define NAME_FMT "'%.48s'"

const char *elect_why_name(enum elect_why w)
{
	return whys[w].name;
}

const char *elect_why_text(enum elect_why w)
{
	return whys[w].sentence;
}

const char *elect_by_name(enum elect_by b)
{
	return bys[b].name;
}

const char *elect_verdict_name(enum elect_verdict v)
{
	return verdict_names[v];
}

static void put_offset(struct text *t, int64_t offset)
{
	if (offset >= 0) {
		text_add(t, "offset %" PRId64, offset);
	} else {
		text_add(t, "offset unknown");
	}
}

static void put_member(struct text *t, const struct elect_in *in, const struct elect_out *out,
		       size_t i)
{
	text_add(t, NAME_FMT " (", in->candidates[i].name);
	put_offset(t, out->of[i].offset);
	text_add(t, ")");
}

static void put_choice(struct text *t, const struct elect_in *in, const struct elect_out *out)
{
	put_member(t, in, out, out->winner);
	if (out->runner_up != ELECT_NOBODY) {
		text_add(t, " goes before ");
		put_member(t, in, out, out->runner_up);
		text_add(t, ": it");
	}
	text_add(t, " %s", bys[out->by].sentence);
}

static void put_specification(struct text *t, const struct elect_in *in,
			      const struct elect_out *out)
{
	if (out->spec_choice == ELECT_NOBODY) {
		return;
	}
	const struct elect_candidate *s = &in->candidates[out->spec_choice];

	if (out->spec_ties > 1) {
		text_add(t, "; by master_last_io_seconds_ago %zu are equal (%d)", out->spec_ties,
			 (int)s->last_io_now_s);
	} else {
		text_add(t, "; by master_last_io_seconds_ago it would be " NAME_FMT " (%d)",
			 s->name, (int)s->last_io_now_s);
	}
}

static void put_cost(struct text *t, const struct elect_in *in, const struct elect_out *out)
{
	if (in->bounded) {
		bool enough = out->sealed + in->k > out->replicas;

		text_add(t, "; %zu of %zu replicas are sealed, %s for k = %" PRIu32, out->sealed,
			 out->replicas, enough ? "enough" : "too few", in->k);
	}
	if (out->loss_bytes == 0) {
		text_add(t, "; nothing is known to be lost");
	} else if (out->loss_bytes > 0) {
		text_add(t, "; %" PRId64 " bytes are known to be lost", out->loss_bytes);
	} else if (out->last_resort) {
		text_add(t, "; what is lost is not known");
	}
	if (out->ahead != ELECT_NOBODY) {
		text_add(t, ", " NAME_FMT " has more", in->candidates[out->ahead].name);
	}
	if (!out->durable) {
		text_add(t, "; its data are not all on disk yet");
	}
}

static void put_nobody(struct text *t, const struct elect_in *in, const struct elect_out *out)
{
	text_add(t, "none of %zu replicas can be promoted", in->n);
	for (size_t i = 0; i < in->n; i++) {
		text_add(t, "%s " NAME_FMT ": %s", i == 0 ? ":" : ";", in->candidates[i].name,
			 whys[out->of[i].why].sentence);
	}
}

const char *elect_reason(const struct elect_in *in, const struct elect_out *out, char *buf,
			 size_t size)
{
	struct text t = text_in(buf, size);

	if (out->winner == ELECT_NOBODY) {
		put_nobody(&t, in, out);
		return buf;
	}
	if (out->last_resort) {
		text_add(&t, "none of %zu replicas is eligible; the last resort: ", in->n);
	}
	put_choice(&t, in, out);
	put_cost(&t, in, out);
	put_specification(&t, in, out);
	return buf;
}

/* With an id its history has a sentence about the offset. */
static void put_position(struct text *t, const struct elect_in *in, const struct elect_candidate *c,
			 int64_t offset)
{
	if (replid_known(&c->at.replid)) {
		text_add(t, "%s", history_judge(&in->history, &c->at).why);
	} else {
		put_offset(t, offset);
	}
	if (offset < 0) {
		text_add(t, " (master_repl_offset %" PRId64 ", slave_repl_offset %" PRId64 ")",
			 c->at.offset, c->slave_offset);
	}
}

static void put_figures(struct text *t, const struct elect_candidate *c)
{
	text_add(t, "last_io %d s (now %d), priority %d, %" PRId64 " keys, %sdurable",
		 (int)c->last_io_s, (int)c->last_io_now_s, (int)c->priority, c->keys,
		 c->durable ? "" : "not ");
}

const char *elect_explain(const struct elect_in *in, const struct elect_out *out, size_t i,
			  char *buf, size_t size)
{
	const struct elect_candidate *c = &in->candidates[i];
	struct text t = text_in(buf, size);
	enum elect_why why = out->of[i].why;
	bool wins = i == out->winner;

	text_add(&t, NAME_FMT ": ", c->name);
	if (wins) {
		text_add(&t, "%s", out->verdict == ELECT_WINNER ? "chosen" : "would be chosen");
	}
	if (why != ELECT_WHY_ELIGIBLE) {
		text_add(&t, "%snot eligible, %s", wins ? ", though " : "", whys[why].sentence);
	} else if (!wins) {
		text_add(&t, "eligible");
	}
	if (c->heard && c->running) {
		text_add(&t, "; ");
		put_position(&t, in, c, out->of[i].offset);
		text_add(&t, "; ");
		put_figures(&t, c);
	}
	return buf;
}
