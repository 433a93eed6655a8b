/* Heads that could be read in two ways, and targets that are not text. */
#include "../test.h"

#include "io/http_head.h"

static void heads(void **)
{
	static const struct {
		const char *says, *version;
		const char *fields[8]; /* name, value, ... */
		bool good;
	} cases[] = {
		{ "Host alone is enough", "HTTP/1.1", { "Host", "a" }, true },
		{ "names are of any case", "HTTP/1.1", { "hOST", "a" }, true },
		{ "HTTP/1.1 without Host", "HTTP/1.1", {}, false },
		{ "HTTP/1.0 without Host is fine", "HTTP/1.0", {}, true },
		{ "two Hosts", "HTTP/1.1", { "Host", "a", "Host", "b" }, false },
		{ "two Hosts in HTTP/1.0", "HTTP/1.0", { "Host", "a", "Host", "b" }, false },
		{ "a length", "HTTP/1.1", { "Host", "a", "Content-Length", "5" }, true },
		{ "a length twice, though the same",
		  "HTTP/1.1",
		  { "Host", "a", "Content-Length", "5", "content-length", "5" },
		  false },
		{ "chunked", "HTTP/1.1", { "Host", "a", "Transfer-Encoding", "Chunked" }, true },
		{ "chunked with a length",
		  "HTTP/1.1",
		  { "Host", "a", "Transfer-Encoding", "chunked", "Content-Length", "5" },
		  false },
		{ "another coding",
		  "HTTP/1.1",
		  { "Host", "a", "Transfer-Encoding", "gzip, chunked" },
		  false },
		{ "chunked twice",
		  "HTTP/1.1",
		  { "Host", "a", "Transfer-Encoding", "chunked", "Transfer-Encoding", "chunked" },
		  false },
		{ "chunked in HTTP/1.0", "HTTP/1.0", { "Transfer-Encoding", "chunked" }, false },
		{ "white space behind a name",
		  "HTTP/1.1",
		  { "Host", "a", "Content-Length ", "5" },
		  false },
		{ "no version", "", { "Host", "a" }, false },
		{ "HTTP/2 spelt out", "HTTP/2.0", { "Host", "a" }, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct http_head h = {};

		print_message("# %s\n", cases[i].says);
		for (size_t k = 0; k < 8 && cases[i].fields[k] != NULL; k += 2) {
			http_head_field(&h, cases[i].fields[k], cases[i].fields[k + 1]);
		}
		assert_int_equal(http_head_defect(&h, cases[i].version) == NULL, cases[i].good);
	}
}

static void targets(void **)
{
	static const struct {
		const char *says, *target, *path; /* NULL: refused */
	} cases[] = {
		{ "as it is", "/v1.0/p/instances", "/v1.0/p/instances" },
		{ "decoded", "/a%20b%2Fc", "/a b/c" },
		{ "the query is cut off", "/a?b=%20", "/a" },
		{ "an empty query", "/a?", "/a" },
		{ "a '?' in the query", "/a?b?c", "/a" },
		{ "UTF-8", "/%C3%A4", "/\xc3\xa4" },
		{ "UTF-8 as it is", "/\xf0\x9f\x90\x99", "/\xf0\x9f\x90\x99" },
		{ "absolute form", "http://h:1/a?b", "/a" },
		{ "a '%' at the end", "/a%", NULL },
		{ "one digit", "/a%4", NULL },
		{ "no digits", "/a%zz", NULL },
		{ "a digit and the query", "/a%4?1", NULL },
		{ "a NUL", "/a%00", NULL },
		{ "Latin-1", "/%E4", NULL },
		{ "overlong", "/%C0%AF", NULL },
		{ "overlong in three bytes", "/%E0%80%AF", NULL },
		{ "a surrogate", "/%ED%A0%80", NULL },
		{ "above U+10FFFF", "/%F4%90%80%80", NULL },
		{ "cut short", "/%E2%82", NULL },
		{ "a space", "/a b", NULL },
		{ "a control character", "/a\001", NULL },
		{ "a bad query", "/a?b=%f", NULL },
		{ "a NUL in the query", "/a?b=%00", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_arena a = {};
		const char *path = NULL;
		const char *defect = http_target_path(cases[i].target, &a, &path);

		print_message("# %s\n", cases[i].says);
		if (cases[i].path == NULL) {
			assert_non_null(defect);
			assert_string_equal(path, "");
		} else {
			assert_null(defect);
			assert_string_equal(path, cases[i].path);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heads),
		cmocka_unit_test(targets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
