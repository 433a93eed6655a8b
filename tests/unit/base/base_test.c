/* The base library: errors, strings, arena, ids and the log's line. */
#include "../test.h"

#include <unistd.h>

#include "base/arena.h"
#include "base/id.h"
#include "base/log.h"
#include "base/str.h"

static void an_error_keeps_its_code_when_context_is_added(void **)
{
	struct err e = {};

	assert_false(err_set(&e, ERR_CONFLICT, "'%s' is taken", "a"));
	assert_false(err_wrap(&e, "create %d", 7));
	assert_int_equal(e.code, ERR_CONFLICT);
	assert_string_equal(e.msg, "create 7: 'a' is taken");
	assert_int_equal(err_http_status(e.code), 409);
	assert_string_equal(err_fault_key(e.code), "conflict");
}

static void every_error_has_a_status_of_failure_and_a_fault(void **)
{
	for (int c = 1; c < ERR_COUNT; c++) {
		assert_true(err_http_status((enum err_code)c) >= 400);
		assert_true(strlen(err_fault_key((enum err_code)c)) > 0);
	}
}

static void a_long_error_is_cut_not_overrun(void **)
{
	struct err e = {};
	char big[2000];

	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	err_set(&e, ERR_IO, "%s", big);
	err_wrap(&e, "%s", big);
	assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
}

static void numbers_are_whole_strings_only(void **)
{
	static const struct {
		const char *text;
		bool ok;
		int64_t value;
	} cases[] = {
		{ "0", true, 0 },
		{ "-7", true, -7 },
		{ "9223372036854775807", true, INT64_MAX },
		{ "9223372036854775808", false, 0 },
		{ "", false, 0 },
		{ "-", false, 0 },
		{ " 1", false, 0 },
		{ "1 ", false, 0 },
		{ "+1", false, 0 },
		{ "0x10", false, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int64_t v = 0;

		print_message("# '%s'\n", cases[i].text);
		assert_int_equal(str_to_i64(cases[i].text, &v), cases[i].ok);
		assert_int_equal(v, cases[i].value);
	}
	uint64_t u = 0;
	assert_false(str_to_u64("-1", &u));
	assert_false(str_to_u64("18446744073709551616", &u));
	assert_true(str_to_u64("18446744073709551615", &u));
}

static void a_string_grows_and_stays_terminated(void **)
{
	auto_str s = {};

	assert_string_equal(str_cstr(&s), "");
	for (int i = 0; i < 1000; i++) {
		str_printf(&s, "%d,", i);
		assert_int_equal(strlen(s.p), s.len);
	}
	char small[4];
	assert_false(str_copy(small, sizeof small, "abcd"));
	assert_string_equal(small, "abc");
}

static void an_arena_gives_aligned_zeroed_memory(void **)
{
	auto_arena a = {};

	for (size_t n = 0; n < 5000; n += 37) {
		unsigned char *p = arena_alloc(&a, n);

		assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(p[i], 0);
		}
		memset(p, 0xff, n);
	}
	assert_string_equal(arena_printf(&a, "%s-%d", "x", 5), "x-5");
	assert_null(arena_strdup(&a, NULL));
}

static void an_id_survives_its_text(void **)
{
	struct id a = id_new(), b;

	assert_true(id_parse(id_text(a).s, &b));
	assert_true(id_eq(a, b));
	assert_int_equal(id_text(a).s[14], '4');
	assert_false(id_parse("aaaaaaaa-0000-4000-8000-00000000003", &b));
	assert_false(id_parse("aaaaaaaa-0000-4000-8000-0000000000320", &b));
	assert_false(id_parse("aaaaaaaag0000-4000-8000-000000000032", &b));
	assert_false(id_parse("gaaaaaaa-0000-4000-8000-000000000032", &b));
	assert_true(id_parse("AAAAAAAA-0000-4000-8000-000000000032", &b));
	assert_true(id_eq(id_of_name("redis"), id_of_name("redis")));
	assert_false(id_eq(id_of_name("redis"), id_of_name("redis 7.0")));
}

static void a_secret_has_its_length_and_no_repeats(void **)
{
	char a[41], b[41];

	random_secret(a, 40);
	random_secret(b, 40);
	assert_int_equal(strlen(a), 40);
	assert_string_not_equal(a, b);
}

/* What the log writes to stderr, read back through a pipe. */
static void a_log_line_is_one_line_whatever_is_in_it(void **)
{
	int fds[2];
	char line[1000] = "";

	assert_int_equal(pipe(fds), 0);
	int keep = dup(STDERR_FILENO);
	dup2(fds[1], STDERR_FILENO);
	LOG(LOG_INFO, "thing.done", KV("n", 5), KV("text", "two\nlines \"x\""), KV("none", ""));
	LOG(LOG_DEBUG, "thing.hidden");
	dup2(keep, STDERR_FILENO);
	close(keep);
	close(fds[1]);
	ssize_t n = read(fds[0], line, sizeof line - 1);
	close(fds[0]);

	assert_true(n > 0);
	assert_non_null(strstr(line, "level=info prog=tanist event=thing.done n=5 "
				     "text=\"two\\nlines \\\"x\\\"\" none=\"\"\n"));
	assert_null(strstr(line, "hidden"));
	assert_ptr_equal(strchr(line, '\n'), line + n - 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_error_keeps_its_code_when_context_is_added),
		cmocka_unit_test(every_error_has_a_status_of_failure_and_a_fault),
		cmocka_unit_test(a_long_error_is_cut_not_overrun),
		cmocka_unit_test(numbers_are_whole_strings_only),
		cmocka_unit_test(a_string_grows_and_stays_terminated),
		cmocka_unit_test(an_arena_gives_aligned_zeroed_memory),
		cmocka_unit_test(an_id_survives_its_text),
		cmocka_unit_test(a_secret_has_its_length_and_no_repeats),
		cmocka_unit_test(a_log_line_is_one_line_whatever_is_in_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
