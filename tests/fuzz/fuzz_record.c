/*
 * The store's records: a damaged store is refused or read whole. The first byte of the input says
 * which kind of record the rest is.
 */
#include "fuzz.h"

#include "proto/record.h"

static void check_group(const char *text, size_t size)
{
	auto_arena a = {};
	auto_str once = {}, twice = {}, packed_text = {};
	struct group g, again;
	struct err e = {};

	if (!record_read_group(text, size, &a, &g, &e)) {
		PROMISE_REFUSED(e);
		return;
	}
	record_write_group(&g, &once);
	PROMISE(record_read_group(once.p, once.len, &a, &again, &e));
	record_write_group(&again, &twice);
	PROMISE(same_text(&once, &twice));

	struct group *packed = record_pack_group(&g);
	struct group *scratch = record_scratch_group(packed, &a);

	scratch->history[scratch->nhistory] = (struct history_entry){ .epoch = 1 };
	packed->history[packed->nhistory] = (struct history_entry){ .epoch = 1 };
	record_write_group(packed, &packed_text);
	PROMISE(same_text(&once, &packed_text));
	free(packed);
}

static void check_host(const char *text, size_t size)
{
	auto_str once = {};
	struct host h, again;
	struct err e = {};

	if (!record_read_host(text, size, &h, &e)) {
		PROMISE_REFUSED(e);
		return;
	}
	char key[RECORD_KEY_BYTES];

	record_key_host(h.name, key);
	PROMISE(strlen(key) == strlen("host/") + strlen(h.name));
	record_write_host(&h, &once);
	PROMISE(record_read_host(once.p, once.len, &again, &e));
	PROMISE(again.ndatastores == h.ndatastores && pool_slots(&h.pool) > 0);
}

static void check_event(const char *text, size_t size)
{
	auto_arena a = {};
	auto_str once = {}, twice = {};
	struct event_record ev, again;
	struct err e = {};

	if (!record_read_event(text, size, &a, &ev, &e)) {
		PROMISE_REFUSED(e);
		return;
	}
	record_write_event(&ev, &once);
	PROMISE(record_read_event(once.p, once.len, &a, &again, &e));
	record_write_event(&again, &twice);
	PROMISE(same_text(&once, &twice));
}

static void check_installation(const char *text, size_t size)
{
	auto_str once = {};
	struct installation i, again;
	struct err e = {};

	if (!record_read_installation(text, size, &i, &e)) {
		PROMISE_REFUSED(e);
		return;
	}
	record_write_installation(&i, &once);
	PROMISE(record_read_installation(once.p, once.len, &again, &e));
	PROMISE(id_eq(i.id, again.id) && i.created_wall_ms == again.created_wall_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0) {
		return 0;
	}
	const char *text = (const char *)data + 1;

	switch (data[0]) {
	case 'h':
		check_host(text, size - 1);
		return 0;
	case 'e':
		check_event(text, size - 1);
		return 0;
	case 'i':
		check_installation(text, size - 1);
		return 0;
	default:
		check_group(text, size - 1);
		return 0;
	}
}
