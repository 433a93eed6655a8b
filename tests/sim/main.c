/*
 * sim --seed N [--story]       one history
 * sim --seeds FROM-TO          many; the first that breaks an invariant is told again with its
 * story
 *     --ticks N                at most so many ticks of each history
 *     --chaos-ms N             how long things go wrong in each
 *     --seconds N              stop after so much real time, with what was done by then
 *     --survey                 goes on after a history that broke: one line for each
 * sim --script FILE            commands to servers alone, see script.c
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/str.h"
#include "sim.h"

enum { CHAOS_MS = 12000 };

struct job {
	uint64_t from, to;
	int64_t seconds; /* 0: no limit */
	bool survey;
	const char *script;
	struct sim_options o;
};

struct sum {
	uint64_t seeds, ticks, virtual_ms;
	uint64_t written, waited, attached, confirmed, held, accepted;
	uint64_t handovers, undone, ejects, ejects_held, detached, joined, refused, broken;
};

static int usage(void)
{
	fputs("usage: sim --seed N [--story] | --seeds FROM-TO  [--ticks N] [--chaos-ms N] "
	      "[--seconds N] [--survey] | --script FILE\n",
	      stderr);
	return 2;
}

static bool read_range(const char *text, struct job *j)
{
	char from[24];
	const char *dash = strchr(text, '-');

	if (dash == NULL || (size_t)(dash - text) >= sizeof from) {
		return false;
	}
	memcpy(from, text, (size_t)(dash - text));
	from[dash - text] = '\0';
	return str_to_u64(from, &j->from) && str_to_u64(dash + 1, &j->to) && j->from <= j->to;
}

static bool read_number(const char *name, const char *text, struct job *j)
{
	uint64_t n;

	if (!str_to_u64(text, &n)) {
		return false;
	}
	if (str_eq(name, "--seed")) {
		j->from = j->to = n;
	} else if (str_eq(name, "--ticks")) {
		j->o.ticks_most = n;
	} else if (str_eq(name, "--chaos-ms")) {
		j->o.chaos_ms = (int64_t)n;
	} else if (str_eq(name, "--seconds")) {
		j->seconds = (int64_t)n;
	} else {
		return false;
	}
	return true;
}

static bool read_arguments(int argc, char **argv, struct job *j)
{
	for (int i = 1; i < argc; i++) {
		if (str_eq(argv[i], "--story")) {
			j->o.story = true;
		} else if (str_eq(argv[i], "--survey")) {
			j->survey = true;
		} else if (i + 1 == argc) {
			return false;
		} else if (str_eq(argv[i], "--seeds")) {
			if (!read_range(argv[++i], j)) {
				return false;
			}
		} else if (str_eq(argv[i], "--script")) {
			j->script = argv[++i];
		} else {
			const char *name = argv[i];

			if (!read_number(name, argv[++i], j)) {
				return false;
			}
		}
	}
	return argc > 1;
}

static void add(struct sum *s, const struct sim_result *r)
{
	s->seeds++;
	s->ticks += r->ticks;
	s->virtual_ms += (uint64_t)r->end_ms;
	s->written += r->written;
	s->attached += r->attached;
	s->confirmed += r->confirmed;
	s->held += r->held;
	s->accepted += r->accepted;
	s->waited += r->waited;
	s->handovers += r->handovers;
	s->undone += r->undone;
	s->ejects += r->ejects;
	s->ejects_held += r->ejects_held;
	s->detached += r->detached;
	s->joined += r->joined;
	s->refused += r->refused;
	s->broken += r->broken;
}

static void tell(const struct job *j, uint64_t seed, const struct sim_result *r)
{
	struct sim_options o = j->o;

	if (!o.story) {
		o.seed = seed;
		o.story = true;
		(void)sim_run(&o);
	}
	printf("seed %" PRIu64 " broke at %" PRId64 " ms: %s\n", seed, r->end_ms, r->why);
	printf("again: sim --seed %" PRIu64 " --chaos-ms %" PRId64 " --story\n", seed,
	       j->o.chaos_ms);
}

static bool has_time(const struct job *j, int64_t began_ms)
{
	return j->seconds == 0 || clock_ms() - began_ms < SEC(j->seconds);
}

static void summarize(const struct sum *s, int64_t ms)
{
	printf("%" PRIu64 " histories, %" PRIu64 " ticks, %.1f hours; %" PRIu64 " writes, %" PRIu64
	       " with WAIT, %" PRIu64 " attached; restarts: %" PRIu64 " confirmed, %" PRIu64
	       " held, %" PRIu64 " accepted; handovers: %" PRIu64 ", %" PRIu64
	       " undone; ejects: %" PRIu64 ", %" PRIu64 " held; %" PRIu64 " detached, %" PRIu64
	       " joined again, %" PRIu64 " calls refused; %.1f s\n",
	       s->seeds, s->ticks, (double)s->virtual_ms / 3600000, s->written, s->waited,
	       s->attached, s->confirmed, s->held, s->accepted, s->handovers, s->undone, s->ejects,
	       s->ejects_held, s->detached, s->joined, s->refused, (double)ms / 1000);
}

static int run_histories(struct job *j)
{
	struct sum s = {};
	int64_t began_ms = clock_ms();

	for (uint64_t seed = j->from; seed <= j->to && has_time(j, began_ms); seed++) {
		j->o.seed = seed;
		struct sim_result r = sim_run(&j->o);

		add(&s, &r);
		if (r.broken && !j->survey) {
			tell(j, seed, &r);
			return 1;
		}
		if (r.broken) {
			printf("seed %" PRIu64 " broke at %" PRId64 " ms: %s\n", seed, r.end_ms,
			       r.why);
		}
	}
	summarize(&s, clock_ms() - began_ms);
	return s.broken > 0;
}

int main(int argc, char **argv)
{
	struct job j = { .o = { .chaos_ms = CHAOS_MS } };

	if (!read_arguments(argc, argv, &j)) {
		return usage();
	}
	return j.script != NULL ? sim_script(j.script) : run_histories(&j);
}
