/*
 * Text for people: what comes from a server cannot steer the terminal, and progress reads well.
 */
#include "../test.h"

#include "cli/instance.h"
#include "cli/progress.h"
#include "cli/table.h"

static void control_characters_are_replaced(void **)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "plain name-1", "plain name-1" },
		{ "", "" },
		{ "gr\xC3\xBC\xC3\x9F", "gr\xC3\xBC\xC3\x9F" },
		{ "\xF0\x9F\x90\xAC", "\xF0\x9F\x90\xAC" },
		{ "a\033[2Jb", "a?[2Jb" },
		{ "a\rb\nc\td", "a?b c d" },
		{ "a\x7F", "a?" },
		{ "a\xC2\x9B" "31m", "a?31m" },         /* CSI in eight bits */
		{ "a\xE2\x80\xAE" "b", "a?b" },          /* right-to-left override */
		{ "a\xE2\x80\xA8" "b", "a?b" },          /* line separator */
		{ "\x9B", "?" },                        /* no UTF-8 */
		{ "a\xC3", "a?" },                      /* cut short */
		{ "\xC0\xAF", "??" },                   /* overlong */
		{ "\xED\xA0\x80", "???" },              /* surrogate */
		{ "\xF4\x90\x80\x80", "????" },         /* beyond Unicode */
		{ "\xE2\x82", "??" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_str out = {};

		text_clean(cases[i].in, &out);
		assert_string_equal(str_cstr(&out), cases[i].out);
	}
}

static void bytes_read_well(void **)
{
	char buf[TEXT_BYTES_MAX];

	assert_string_equal(text_bytes(0, buf), "0 B");
	assert_string_equal(text_bytes(1023, buf), "1023 B");
	assert_string_equal(text_bytes(1024, buf), "1.0 KiB");
	assert_string_equal(text_bytes(100 << 20, buf), "100.0 MiB");
	assert_string_equal(text_bytes(INT64_MAX, buf), "8388608.0 TiB");
}

static void progress_says_what_is_known(void **)
{
	static const struct {
		struct progress_row row;
		const char *text;
	} cases[] = {
		{ { .done_bytes = -1, .total_bytes = -1 }, "" },
		{ { .done_bytes = 1 << 20, .total_bytes = -1 }, "1.0 MiB" },
		{ { .done_bytes = 1 << 20, .total_bytes = 4 << 20 }, "1.0 MiB of 4.0 MiB, 25%" },
		{ { .done_bytes = 1 << 20, .total_bytes = 4 << 20, .estimated = true },
		  "1.0 MiB of ~4.0 MiB, 25%" },
		{ { .done_bytes = 5 << 20, .total_bytes = 4 << 20, .estimated = true },
		  "5.0 MiB of ~4.0 MiB, 100%" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_str out = {};

		progress_text(&cases[i].row, &out);
		assert_string_equal(str_cstr(&out), cases[i].text);
	}
}

/* Whatever the server sends in place of an object, nothing is read that is not there. */
static void an_instance_may_lack_anything(void **)
{
	static const char *const texts[] = {
		"{}",
		"{\"sync\": null, \"ip\": null, \"port\": \"x\", \"status\": 3, \"replica_of\": 1}",
		"{\"sync\": {}, \"ip\": [], \"volume\": [], \"fault\": \"x\"}",
		"{\"sync\": {\"done_bytes\": \"1\"}, \"ip\": [1], \"role\": null}",
		"{\"operation\": {}, \"last_operation\": {\"done\": 1, \"reason\": []}}",
		"{\"operation\": [], \"last_operation\": \"x\", \"durability\": 3}",
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		auto_json *j = json_loads(texts[i], 0, NULL);
		auto_str out = {};
		const char *key;
		json_t *value;

		assert_non_null(j);
		instance_status(j, &out);
		instance_address(j, &out);
		instance_progress(j, &out);
		assert_string_equal(instance_role(j), "");
		assert_string_equal(str_cstr(&out), "");
		json_object_foreach(j, key, value) {
			instance_value(key, value, &out);
		}
	}
}

static void an_instance_reads_well(void **)
{
	auto_json *j = json_loads("{\"status\": \"ACTIVE\", \"operating_status\": \"SHUTDOWN\","
				 "\"ip\": [\"127.0.77.1\"], \"port\": 6379, \"role\": \"source\"}",
				 0, NULL);
	auto_str status = {}, address = {};

	instance_status(j, &status);
	instance_address(j, &address);
	assert_string_equal(str_cstr(&status), "ACTIVE (SHUTDOWN)");
	assert_string_equal(str_cstr(&address), "127.0.77.1:6379");
	assert_string_equal(instance_role(j), "source");
}

static void operations_read_well(void **)
{
	auto_json *j = json_loads(
		"{\"operation\": {\"id\": \"x\", \"operation\": \"handover\","
		" \"phase\": \"handover-stage\", \"since\": \"2026-11-22T07:37:03Z\"},"
		" \"last_operation\": {\"id\": \"y\", \"operation\": \"eject\", \"done\": false,"
		" \"at\": \"2026-11-22T07:37:01Z\", \"reason\": \"the source answers\"}}",
		0, NULL);
	auto_str running = {}, last = {};

	instance_value("operation", json_object_get(j, "operation"), &running);
	instance_value("last_operation", json_object_get(j, "last_operation"), &last);
	assert_string_equal(str_cstr(&running),
			    "handover since 2026-11-22T07:37:03Z, in handover-stage");
	assert_string_equal(str_cstr(&last),
			    "eject not done 2026-11-22T07:37:01Z: the source answers");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(control_characters_are_replaced),
		cmocka_unit_test(bytes_read_well),
		cmocka_unit_test(progress_says_what_is_known),
		cmocka_unit_test(an_instance_may_lack_anything),
		cmocka_unit_test(an_instance_reads_well),
		cmocka_unit_test(operations_read_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
