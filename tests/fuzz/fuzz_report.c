/* Reports of agents, as the control plane reads them. */
#include "fuzz.h"

#include "proto/wire.h"

/* Ranges that the control plane's arithmetic relies on. */
static void check_ranges(const struct observation *o)
{
	PROMISE(o->offset >= -1 && o->slave_offset >= -1 && o->second_offset >= -1);
	PROMISE(o->sync_done_bytes >= -1 && o->sync_total_bytes >= -1 && o->last_io_s >= -1);
	PROMISE(o->recorded.offset >= -1 && o->recorded.keys >= -1 && o->keys >= 0);
	PROMISE(o->disk_free_bytes >= 0 && o->disk_used_bytes >= 0 && o->loading_pct <= 100);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena a = {};
	auto_str once = {}, twice = {};
	struct wire_report r, again;
	struct err e = {};

	if (!wire_read_report((const char *)data, size, &a, &r, &e)) {
		PROMISE_REFUSED(e);
		return 0;
	}
	for (size_t i = 0; i < r.nobservations; i++) {
		check_ranges(&r.observations[i]);
	}
	wire_write_report(&r, &once);
	PROMISE(wire_read_report(once.p, once.len, &a, &again, &e));
	PROMISE(again.nobservations == r.nobservations && again.norphans == r.norphans);
	PROMISE(r.nobservations == 0 || memcmp(again.observations, r.observations,
					       r.nobservations * sizeof *r.observations) == 0);
	wire_write_report(&again, &twice);
	PROMISE(same_text(&once, &twice));
	return 0;
}
