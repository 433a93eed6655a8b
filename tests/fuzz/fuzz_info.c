/*
 * What a server says of itself: INFO and the end of its log. Whatever it is, the observation made
 * of it passes the wire, and its words fit the buffer.
 */
#include "fuzz.h"

#include "proto/info.h"
#include "proto/wire.h"

static void check_passes(const struct observation *o)
{
	struct id id = { { 1 } };
	struct wire_report r = { .host = id, .session = id, .observations = o, .nobservations = 1 };
	struct wire_report got;
	auto_arena a = {};
	auto_str text = {}, again = {};
	struct err e = {};

	wire_write_report(&r, &text);
	PROMISE(wire_read_report(text.p, text.len, &a, &got, &e));
	wire_write_report(&got, &again);
	PROMISE(same_text(&text, &again));
}

static void check_words(const char *text, size_t size)
{
	char words[sizeof((struct observation *)NULL)->error];

	for (size_t room = 1; room <= sizeof words; room += 60) {
		memset(words, 'x', sizeof words);
		info_start_error(text, size, words, room);
		PROMISE(strnlen(words, room) < room);
		for (const char *c = words; *c != '\0'; c++) {
			PROMISE(*c >= ' ' && *c < 0x7f);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct observation o = { .keys = 7 };
	struct err e = {};

	check_words((const char *)data, size);
	if (!info_read((const char *)data, size, &o, &e)) {
		PROMISE_REFUSED(e);
		PROMISE(o.keys == 7);
		return 0;
	}
	PROMISE(o.loading_pct <= 100 && o.keys >= 0 && o.last_io_s >= -1);
	PROMISE(o.slave_offset >= -1 && o.second_offset >= -1 && o.offset >= 0);
	/* A second answer on top of the first, as the agent does. */
	PROMISE(info_read((const char *)data, size, &o, &e));
	check_passes(&o);
	return 0;
}
