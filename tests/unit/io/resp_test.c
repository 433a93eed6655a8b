/*
 * Requests of all shapes, whole and in pieces, and what is refused before it can grow.
 */
#include "../test.h"

#include "io/resp.h"

/* The requests in text, as "word,word;word;", and "!why" for an error. */
static void read_all(const char *text, size_t len, size_t piece, struct str *out)
{
	struct resp_reader *r = resp_reader_new();
	const struct resp_request *rq;
	enum resp_outcome got = RESP_MORE;
	struct err e = {};

	for (size_t at = 0; at < len && got != RESP_ERROR; at += piece) {
		resp_feed(r, text + at, len - at < piece ? len - at : piece);
		while ((got = resp_read(r, &rq, &e)) == RESP_REQUEST) {
			for (size_t i = 0; i < rq->argc; i++) {
				assert_int_equal(rq->argv[i][rq->len[i]], '\0');
				str_printf(out, "%s%s", i == 0 ? "" : ",", rq->argv[i]);
			}
			str_append(out, ";");
		}
	}
	if (got == RESP_ERROR) {
		str_printf(out, "!%s", e.msg);
	}
	resp_reader_free(r);
}

static void requests(void **)
{
	static const struct {
		const char *says, *text, *want;
	} cases[] = {
		{ "a line", "PING\r\n", "PING;" },
		{ "a line of Unix", "PING\n", "PING;" },
		{ "an empty line", "\r\nPING\r\n", ";PING;" },
		{ "words", "  a  b\tc \r\n", "a,b,c;" },
		{ "quotes", "a 'b c' \"d\\\"e\\x41\\n\" 'it\\'s'\r\n", "a,b c,d\"eA\n,it's;" },
		{ "an empty word", "a \"\"\r\n", "a,;" },
		{ "quotes that do not end", "a \"b\r\n",
		  "!Protocol error: unbalanced quotes in request" },
		{ "quotes that go on", "a \"b\"c\r\n",
		  "!Protocol error: unbalanced quotes in request" },
		{ "an array", "*2\r\n$1\r\na\r\n$3\r\nb\r\n\r\n", "a,b\r\n;" },
		{ "two arrays", "*1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n", "a;b;" },
		{ "an array, then a line", "*1\r\n$1\r\na\r\nb\r\n", "a;b;" },
		{ "an empty array", "*0\r\nb\r\n", ";b;" },
		{ "no array", "*-1\r\nb\r\n", ";b;" },
		{ "an empty string", "*1\r\n$0\r\n\r\n", ";" },
		{ "part of one", "*2\r\n$1\r\na\r\n", "" },
		{ "a length that is none", "*x\r\n", "!Protocol error: Bad multi-bulk length" },
		{ "too many words", "*129\r\n", "!Protocol error: invalid multibulk length" },
		{ "far too many", "*2147483647\r\n", "!Protocol error: invalid multibulk length" },
		{ "an array in an array", "*1\r\n*1\r\n$1\r\na\r\n",
		  "!Protocol error: expected '$'" },
		{ "a number in it", "*1\r\n:1\r\n", "!Protocol error: expected '$'" },
		{ "a status in it", "*1\r\n+a\r\n", "!Protocol error: expected '$'" },
		{ "no string in it", "*1\r\n$-1\r\n", "!Protocol error: invalid bulk length" },
		{ "more than it said", "*1\r\n$1\r\nabcde\r\n",
		  "!Protocol error: expected the end of a line behind a word" },
		{ "a string alone is a line", "$1\r\na\r\n", "$1;a;" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t len = strlen(cases[i].text);

		printf("# %s\n", cases[i].says);
		for (size_t piece = 1; piece <= len; piece++) {
			auto_str got = {};

			read_all(cases[i].text, len, piece, &got);
			assert_string_equal(str_cstr(&got), cases[i].want);
		}
	}
}

/* However it is cut, what a peer can make us keep of one request has a ceiling. */
static void nothing_grows_beyond_its_limit(void **)
{
	static const char *const heads[] = { "", "*", "*1\r\n$9999999\r\n", "*2\r\n$5\r\n",
					     "*1\r\n$2147483647\r\n" };

	for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
		for (int lines = 0; lines < 2; lines++) {
			struct resp_reader *r = resp_reader_new();
			const struct resp_request *rq;
			enum resp_outcome got = RESP_MORE;
			struct err e = {};
			size_t fed = strlen(heads[i]);

			resp_feed(r, heads[i], fed);
			while (got != RESP_ERROR && fed < 3 * RESP_REQUEST_MAX) {
				got = resp_read(r, &rq, &e);
				resp_feed(r, lines && i > 1 ? "aaaaaaa\n" : "aaaaaaaa", 8);
				fed += 8;
			}
			assert_int_equal(got, RESP_ERROR);
			resp_reader_free(r);
		}
	}
}

static void replies(void **)
{
	struct resp_out o = {};

	resp_error(&o, "ERR %s", "two\r\nlines\x01");
	assert_string_equal(o.text.p, "-ERR two  lines?\r\n");
	str_clear(&o.text);
	resp_map(&o, 2);
	resp_nil(&o);
	resp_nil_array(&o);
	resp_push(&o, 3);
	assert_string_equal(o.text.p, "*4\r\n$-1\r\n*-1\r\n*3\r\n");
	str_clear(&o.text);
	o.v3 = true;
	resp_map(&o, 2);
	resp_nil(&o);
	resp_nil_array(&o);
	resp_push(&o, 3);
	resp_array(&o, 1);
	resp_int(&o, -5);
	resp_bulk_mem(&o, "a\0b", 3);
	assert_int_equal(o.text.len, strlen("%2\r\n_\r\n_\r\n>3\r\n*1\r\n:-5\r\n$3\r\na.b\r\n"));
	str_done(&o.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests),
		cmocka_unit_test(nothing_grows_beyond_its_limit),
		cmocka_unit_test(replies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
