/* Reading strictly, with errors for people; writing what always parses. */
#include "../test.h"

#include <inttypes.h>
#include <math.h>

#include "proto/json.h"

static void reads_what_is_json(void **)
{
	static const char *const good[] = {
		"{}", "[]", "null", "true", "12", "\"x\"", " {\"a\":[1,2,{\"b\":null}]}\n",
		"{\"\\u00e9\":\"\\ud83d\\ude00\"}", "\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[\"",
	};

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		auto_json *j = NULL;
		struct err e = {};

		assert_ok(json_parse(good[i], strlen(good[i]), &j, &e), &e);
		assert_non_null(j);
	}
}

static void refuses_what_is_not(void **)
{
	static const struct {
		const char *says, *text;
		size_t len;
		const char *message;
	} bad[] = {
		{ "nothing", "", 0, "not JSON: there is no text" },
		{ "only white space", "  \n", 3, "not JSON: line" },
		{ "cut off", "{\"a\":1", 6, "not JSON: line 1, column 6: " },
		{ "a second value", "{} {}", 5, "not JSON: line 1, column 4: end of file expected" },
		{ "a doubled key", "{\"a\":1,\n\"a\":2}", 14, "not JSON: line 2" },
		{ "a NUL in a string", "\"a\\u0000b\"", 10, "not JSON: " },
		{ "a raw NUL", "\"a\0b\"", 5, "not JSON: " },
		{ "a NUL in a key", "{\"a\\u0000\":1}", 13, "not JSON: " },
		{ "bad UTF-8", "\"\xff\"", 3, "not JSON: " },
		{ "a surrogate in UTF-8", "\"\xed\xa0\x80\"", 5, "not JSON: " },
		{ "half a surrogate pair", "\"\\ud800\"", 8, "not JSON: " },
		{ "an integer of 20 digits", "99999999999999999999", 20, "not JSON: " },
		{ "a real out of range", "1e999", 5, "not JSON: " },
		{ "NaN", "NaN", 3, "not JSON: " },
		{ "a comma too many", "[1,]", 4, "not JSON: " },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		json_t *j = NULL;
		struct err e = {};

		print_message("# %s\n", bad[i].says);
		assert_false(json_parse(bad[i].text, bad[i].len, &j, &e));
		assert_null(j);
		assert_int_equal(e.code, ERR_INVALID);
		if (strncmp(e.msg, bad[i].message, strlen(bad[i].message)) != 0) {
			fail_msg("got: %s", e.msg);
		}
	}
}

static void an_error_quotes_nothing_of_the_text(void **)
{
	static const char text[] = "{\"agent\":\"hunter2secret\" \"x\"}";
	json_t *j = NULL;
	struct err e = {};

	assert_false(json_parse(text, sizeof text - 1, &j, &e));
	assert_null(strstr(e.msg, "\"x"));
	assert_null(strstr(e.msg, "hunter2"));
	assert_false(json_parse("{\"a\":hunter2}", 13, &j, &e));
	assert_null(strstr(e.msg, "hunter2"));
}

static void depth_ends_at_32(void **)
{
	char text[200];
	struct err e = {};

	for (int depth = 32; depth <= 33; depth++) {
		json_t *j = NULL;

		memset(text, '[', (size_t)depth);
		memset(text + depth, ']', (size_t)depth);
		assert_int_equal(json_parse(text, 2 * (size_t)depth, &j, &e), depth == 32);
		json_decref(j);
	}
	assert_string_equal(e.msg, "not JSON: line 1, column 33: nested more than 32 deep");
}

/* A hundred thousand brackets are refused without a hundred thousand levels of recursion. */
static void a_tower_of_brackets_is_refused(void **)
{
	enum { N = 100000 };
	char *text = malloc(N);
	json_t *j = NULL;
	struct err e = {};

	assert_non_null(text);
	memset(text, '[', N);
	assert_false(json_parse(text, N, &j, &e));
	free(text);
}

#define assert_refused(want, call)                       \
	do {                                             \
		assert_false(call);                      \
		assert_int_equal(e.code, ERR_INVALID);   \
		assert_string_equal(e.msg, want);        \
	} while (0)

static void getters_name_the_member(void **)
{
	static const char text[] = "{\"s\":\"x\",\"n\":7,\"r\":1.5,\"b\":true,\"z\":null,\"o\":{},"
				   "\"a\":[1],\"id\":\"00000000-0000-4000-8000-000000000001\"}";
	auto_json *j = NULL;
	struct err e = {};
	const char *s = "untouched";
	int64_t n = 5;
	bool b = false;
	struct id id = {};
	char small[2] = "";
	const json_t *sub;

	assert_ok(json_parse(text, sizeof text - 1, &j, &e), &e);
	assert_ok(json_get_str(j, "s", &s, &e), &e);
	assert_string_equal(s, "x");
	assert_ok(json_opt_str(j, "missing", &s, &e), &e);
	assert_string_equal(s, "x");
	assert_ok(json_opt_i64(j, "missing", &n, &e), &e);
	assert_int_equal(n, 5);
	assert_ok(json_opt_range(j, "n", 7, 7, &n, &e), &e);
	assert_int_equal(n, 7);
	assert_ok(json_opt_range(j, "missing", 100, 200, &n, &e), &e);
	assert_int_equal(n, 7);
	assert_ok(json_opt_bool(j, "b", &b, &e), &e);
	assert_true(b);
	assert_ok(json_get_id(j, "id", &id, &e), &e);
	assert_int_equal(id.b[15], 1);
	assert_ok(json_opt_text(j, "s", small, sizeof small, &e), &e);
	assert_string_equal(small, "x");
	assert_ok(json_get_object(j, "o", &sub, &e), &e);
	assert_ok(json_opt_array(j, "a", &sub, &e), &e);
	assert_int_equal(json_array_size(sub), 1);
	assert_ok(json_opt_array(j, "missing", &sub, &e), &e);
	assert_null(sub);

	assert_refused("'gone' is missing", json_get_str(j, "gone", &s, &e));
	assert_refused("'n' must be a string, not a whole number", json_get_str(j, "n", &s, &e));
	assert_refused("'z' must be a string, not null", json_opt_str(j, "z", &s, &e));
	assert_refused("'r' must be a whole number, not a number with a fraction",
		       json_get_i64(j, "r", &n, &e));
	assert_refused("'n' is 7, must be from 8 to 9", json_opt_range(j, "n", 8, 9, &n, &e));
	assert_int_equal(n, 7);
	assert_refused("'o' must be a boolean, not an object", json_opt_bool(j, "o", &b, &e));
	assert_refused("'s' must be a UUID of 36 characters", json_get_id(j, "s", &id, &e));
	assert_refused("'id' has 36 bytes, at most 1 are allowed",
		       json_opt_text(j, "id", small, sizeof small, &e));
	assert_string_equal(small, "x");
	assert_refused("'a' must be an object, not an array", json_get_object(j, "a", &sub, &e));
	assert_refused("'b' must be an array, not a boolean", json_opt_array(j, "b", &sub, &e));
	assert_refused("'x' is looked for in an array, not in an object",
		       json_get_str(json_object_get(j, "a"), "x", &s, &e));
}

static void writes_objects_and_arrays(void **)
{
	auto_str out = {};
	struct jw w = { .out = &out };

	jw_object(&w, NULL);
	jw_str(&w, "name", "r\"1\"\\\n\r\t\x01\x7f/é€😀");
	jw_str(&w, "none", NULL);
	jw_array(&w, "list");
	jw_int(&w, NULL, INT64_MIN);
	jw_int(&w, NULL, 0);
	jw_int(&w, NULL, INT64_MAX);
	jw_uint(&w, NULL, UINT64_MAX);
	jw_object(&w, NULL);
	jw_end(&w);
	jw_array(&w, NULL);
	jw_end(&w);
	jw_end(&w);
	jw_bool(&w, "yes", true);
	jw_bool(&w, "no", false);
	jw_null(&w, "z");
	jw_id(&w, "id", (struct id){ { 0x12, 0xab } });
	jw_raw(&w, "raw", "[1]", 3);
	jw_end(&w);
	assert_string_equal(out.p,
			    "{\"name\":\"r\\\"1\\\"\\\\\\n\\r\\t\\u0001\x7f/é€😀\",\"none\":null,"
			    "\"list\":[-9223372036854775808,0,9223372036854775807,"
			    "18446744073709551615,{},[]],\"yes\":true,\"no\":false,\"z\":null,"
			    "\"id\":\"12ab0000-0000-0000-0000-000000000000\",\"raw\":[1]}");
}

static void writes_fractions_and_times(void **)
{
	static const struct {
		double value;
		int decimals;
		const char *want;
	} cases[] = {
		{ 0, 2, "0.00" },       { 0.005, 2, "0.01" }, { 1.5, 0, "2" },
		{ -0.001, 2, "0.00" },  { -2.25, 2, "-2.25" }, { 12.04, 2, "12.04" },
		{ 9.999, 2, "10.00" },  { NAN, 2, "null" },    { -INFINITY, 2, "null" },
		{ 1e300, 2, "null" },   { 123456.000000001, 9, "123456.000000001" },
	};
	static const struct {
		int64_t wall_ms;
		enum jw_zone zone;
		const char *want;
	} times[] = {
		{ 0, JW_NAIVE, "\"1970-01-01T00:00:00\"" },
		{ 1795333023999, JW_ZULU, "\"2026-11-22T07:37:03Z\"" },
		{ 1795333023000, JW_NAIVE, "\"2026-11-22T07:37:03\"" },
		{ INT64_MAX, JW_NAIVE, "\"9999-12-31T23:59:59\"" },
		{ INT64_MIN, JW_NAIVE, "\"1970-01-01T00:00:00\"" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_str out = {};

		jw_double(&(struct jw){ .out = &out }, NULL, cases[i].value, cases[i].decimals);
		assert_string_equal(out.p, cases[i].want);
	}
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		auto_str out = {};

		jw_time(&(struct jw){ .out = &out }, NULL, times[i].wall_ms, times[i].zone);
		assert_string_equal(out.p, times[i].want);
	}
}

static void bad_bytes_become_replacement_characters(void **)
{
	static const struct {
		const char *in, *want;
	} cases[] = {
		{ "a\xff" "b", "\"a\xef\xbf\xbd" "b\"" },
		{ "\xc3", "\"\xef\xbf\xbd\"" },
		{ "\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xe2\x82\xac", "\"\xe2\x82\xac\"" },
		{ "\xf0\x9f\x98", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_str out = {};

		jw_str(&(struct jw){ .out = &out }, NULL, cases[i].in);
		assert_string_equal(out.p, cases[i].want);
	}
}

/* Every string of two bytes, and all lead bytes before every pair of borders, parses again. */
static void whatever_is_written_parses(void **)
{
	static const unsigned char border[] = { 0x01, 0x22, 0x5c, 0x7f, 0x80, 0x8f, 0x90,
						0x9f, 0xa0, 0xbf, 0xc0, 0xf4, 0xff };
	auto_str out = {};
	struct err e = {};

	for (unsigned a = 1; a < 256; a++) {
		struct jw w = { .out = &out };

		str_clear(&out);
		jw_array(&w, NULL);
		for (unsigned b = 0; b < 256; b++) {
			jw_str(&w, NULL, (char[]){ (char)a, (char)b, '\0' });
		}
		for (size_t i = 0; i < ARRAY_LEN(border) * ARRAY_LEN(border); i++) {
			char b = (char)border[i / ARRAY_LEN(border)];
			char c = (char)border[i % ARRAY_LEN(border)];

			jw_str(&w, NULL, (char[]){ (char)a, b, c, '\0' });
			jw_str(&w, NULL, (char[]){ (char)a, b, c, (char)0x80, '\0' });
		}
		jw_end(&w);
		auto_json *j = NULL;
		assert_ok(json_parse(out.p, out.len, &j, &e), &e);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_is_json),
		cmocka_unit_test(refuses_what_is_not),
		cmocka_unit_test(an_error_quotes_nothing_of_the_text),
		cmocka_unit_test(depth_ends_at_32),
		cmocka_unit_test(a_tower_of_brackets_is_refused),
		cmocka_unit_test(getters_name_the_member),
		cmocka_unit_test(writes_objects_and_arrays),
		cmocka_unit_test(writes_fractions_and_times),
		cmocka_unit_test(bad_bytes_become_replacement_characters),
		cmocka_unit_test(whatever_is_written_parses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
