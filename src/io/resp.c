/*
 * hiredis is a client's parser: it takes whatever a reply may be, of any size. Here it gets a
 * request line by line, so that it never holds bytes behind its end, and builds it through our
 * own functions, which take one array of at most so many strings and refuse all else. What a peer
 * has sent of one request is counted, whether it is with us or with hiredis.
 *
 * Lines that are no array are split here: words, quotes and escapes, for people with telnet.
 */
#include "io/resp.h"

#include <ctype.h>
#include <inttypes.h>

#include <hiredis/hiredis.h>

/* A request that is being read, or is with our user. */
struct request {
	redisReader *array;
	bool inside;     /* hiredis has the beginning of it */
	size_t size;     /* bytes of it that hiredis was fed */
	const char *why; /* one of our functions refused */

	struct str words; /* one behind the other, each with its NUL */
	size_t start[RESP_ARGS_MAX];
	struct resp_request rq;
};

struct resp_reader {
	struct str in; /* not looked at yet */
	size_t at;     /* of the first byte in it that was not */
	size_t looked; /* behind `at`: no line end among so many bytes */
	/* NULL while the peer is silent: thousands of silent ones are to cost next to nothing. */
	struct request *now;
};

/* ---- arrays: hiredis ---- */

/* What hiredis takes for an object; NULL would be out of memory. */
static void *refuse(struct request *r, const char *why)
{
	if (r->why == NULL) {
		r->why = why;
	}
	return NULL;
}

static void *add_word(struct request *r, const char *p, size_t len)
{
	if (r->rq.argc == RESP_ARGS_MAX) {
		return refuse(r, "too many words");
	}
	r->start[r->rq.argc] = r->words.len;
	r->rq.len[r->rq.argc++] = len;
	str_append_mem(&r->words, p, len);
	str_append_char(&r->words, '\0');
	return r;
}

static void *on_string(const redisReadTask *t, char *p, size_t len)
{
	struct request *r = t->privdata;

	if (t->parent == NULL || t->type != REDIS_REPLY_STRING) {
		return refuse(r, "expected '$'");
	}
	return add_word(r, p, len);
}

static void *on_array(const redisReadTask *t, int n)
{
	struct request *r = t->privdata;

	if (t->parent != NULL) {
		return refuse(r, "expected '$'");
	}
	return n < 0 || n > RESP_ARGS_MAX ? refuse(r, "invalid multibulk length") : r;
}

static void *on_integer(const redisReadTask *t, long long)
{
	return refuse(t->privdata, "expected '$'");
}

static void *on_nil(const redisReadTask *t)
{
	struct request *r = t->privdata;

	return t->parent != NULL ? refuse(r, "invalid bulk length") : r;
}

static void forget(void *)
{
}

static redisReplyObjectFunctions functions = { on_string, on_array, on_integer, on_nil, forget };

struct resp_reader *resp_reader_new(void)
{
	struct resp_reader *r = calloc(1, sizeof *r);

	if (r == NULL) {
		abort();
	}
	return r;
}

static void request_free(struct request *r)
{
	if (r == NULL) {
		return;
	}
	if (r->array != NULL) {
		redisReaderFree(r->array);
	}
	str_done(&r->words);
	free(r);
}

void resp_reader_free(struct resp_reader *r)
{
	if (r == NULL) {
		return;
	}
	request_free(r->now);
	str_done(&r->in);
	free(r);
}

void resp_feed(struct resp_reader *r, const void *p, size_t len)
{
	if (r->at > 0) {
		memmove(r->in.p, r->in.p + r->at, r->in.len - r->at);
		r->in.len -= r->at;
		r->at = 0;
	}
	str_append_mem(&r->in, p, len);
}

static bool is_inside(const struct resp_reader *r)
{
	return r->now != NULL && r->now->inside;
}

bool resp_inside(const struct resp_reader *r)
{
	return is_inside(r) || r->in.len > r->at;
}

static enum resp_outcome broken(struct err *e, const char *why)
{
	err_set(e, ERR_INVALID, "Protocol error: %s", why);
	return RESP_ERROR;
}

static enum resp_outcome take_request(struct request *r, const struct resp_request **ret)
{
	for (size_t i = 0; i < r->rq.argc; i++) {
		r->rq.argv[i] = r->words.p + r->start[i];
	}
	*ret = &r->rq;
	return RESP_REQUEST;
}

static void begin_request(struct request *r)
{
	r->rq.argc = 0;
	str_clear(&r->words);
	r->size = 0;
}

static enum resp_outcome read_array(struct request *r, const char *line, size_t len,
				    const struct resp_request **ret, struct err *e)
{
	void *done = NULL;

	if (r->array == NULL) {
		r->array = redisReaderCreateWithFunctions(&functions);
		if (r->array == NULL) {
			abort();
		}
		r->array->privdata = r;
	}
	if (!r->inside) {
		begin_request(r);
	}
	r->inside = true;
	r->size += len;
	if (redisReaderFeed(r->array, line, len) != REDIS_OK ||
	    redisReaderGetReply(r->array, &done) != REDIS_OK) {
		return broken(e, r->why != NULL ? r->why : r->array->errstr);
	}
	if (done == NULL) {
		return RESP_MORE;
	}
	if (r->array->pos < r->array->len) {
		return broken(e, "expected the end of a line behind a word");
	}
	r->inside = false;
	return take_request(r, ret);
}

/* ---- lines ---- */

static int hex_digit(char c)
{
	const char *digits = "0123456789abcdef";
	const char *at = c == '\0' ? NULL : strchr(digits, tolower((unsigned char)c));

	return at == NULL ? -1 : (int)(at - digits);
}

static char escaped(char c)
{
	switch (c) {
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	case 'b':
		return '\b';
	case 'a':
		return '\a';
	default:
		return c;
	}
}

/* *p is behind a backslash; moves behind the character that it stands for. */
static char take_escape(const char **p, const char *end)
{
	const char *s = *p;

	if (end - s >= 3 && s[0] == 'x' && hex_digit(s[1]) >= 0 && hex_digit(s[2]) >= 0) {
		*p = s + 3;
		return (char)(hex_digit(s[1]) * 16 + hex_digit(s[2]));
	}
	*p = s + 1;
	return escaped(*s);
}

/* *p is behind the opening quote; moves behind the closing one. False: there is none. */
static bool take_quoted(const char **p, const char *end, char quote, struct str *word)
{
	while (*p < end) {
		char c = *(*p)++;

		if (c == quote) {
			return *p == end || isspace((unsigned char)**p);
		}
		if (c == '\\' && *p < end && (quote == '"' || **p == quote)) {
			c = quote == '"' ? take_escape(p, end) : *(*p)++;
		}
		str_append_char(word, c);
	}
	return false;
}

static bool take_word(const char **p, const char *end, struct str *word)
{
	while (*p < end && !isspace((unsigned char)**p)) {
		char c = *(*p)++;

		if (c == '"' || c == '\'') {
			if (!take_quoted(p, end, c, word)) {
				return false;
			}
		} else {
			str_append_char(word, c);
		}
	}
	return true;
}

static enum resp_outcome read_line(struct request *r, const char *line, size_t len,
				   const struct resp_request **ret, struct err *e)
{
	const char *end = line + len;
	auto_str word = {};

	begin_request(r);
	for (;;) {
		while (line < end && isspace((unsigned char)*line)) {
			line++;
		}
		if (line == end) {
			return take_request(r, ret);
		}
		str_clear(&word);
		if (!take_word(&line, end, &word)) {
			return broken(e, "unbalanced quotes in request");
		}
		if (add_word(r, str_cstr(&word), word.len) == NULL) {
			return broken(e, r->why);
		}
	}
}

/* All was read out. Between two requests nothing is kept. */
static void rest(struct resp_reader *r)
{
	str_done(&r->in);
	r->at = 0;
	if (!is_inside(r)) {
		request_free(r->now);
		r->now = NULL;
	}
}

static struct request *request_now(struct resp_reader *r)
{
	if (r->now == NULL) {
		r->now = calloc(1, sizeof *r->now);
	}
	if (r->now == NULL) {
		abort();
	}
	return r->now;
}

enum resp_outcome resp_read(struct resp_reader *r, const struct resp_request **ret, struct err *e)
{
	for (;;) {
		const char *line = r->in.p + r->at;
		size_t left = r->in.len - r->at;
		const char *lf =
			left == 0 ? NULL : memchr(line + r->looked, '\n', left - r->looked);
		size_t len = lf == NULL ? left : (size_t)(lf - line) + 1;
		bool inside = is_inside(r);

		if ((inside ? r->now->size : 0) + len > RESP_REQUEST_MAX) {
			return broken(e, "too big request");
		}
		if (lf == NULL) {
			r->looked = left;
			if (left == 0) {
				rest(r);
			}
			return RESP_MORE;
		}
		r->looked = 0;
		r->at += len;

		enum resp_outcome got = inside || line[0] == '*'
						? read_array(request_now(r), line, len, ret, e)
						: read_line(request_now(r), line, len, ret, e);
		if (got != RESP_MORE) {
			return got;
		}
	}
}

/* ---- replies ---- */

static void header(struct resp_out *o, char type, int64_t n)
{
	str_printf(&o->text, "%c%" PRId64 "\r\n", type, n);
}

void resp_simple(struct resp_out *o, const char *text)
{
	str_printf(&o->text, "+%s\r\n", text);
}

void resp_error(struct resp_out *o, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	for (char *p = text; *p != '\0'; p++) {
		if (!isprint((unsigned char)*p)) {
			*p = *p == '\r' || *p == '\n' ? ' ' : '?';
		}
	}
	str_printf(&o->text, "-%s\r\n", text);
}

void resp_int(struct resp_out *o, int64_t n)
{
	header(o, ':', n);
}

void resp_bulk(struct resp_out *o, const char *text)
{
	resp_bulk_mem(o, text, strlen(text));
}

void resp_bulk_mem(struct resp_out *o, const void *p, size_t len)
{
	header(o, '$', (int64_t)len);
	str_append_mem(&o->text, p, len);
	str_append(&o->text, "\r\n");
}

void resp_array(struct resp_out *o, size_t n)
{
	header(o, '*', (int64_t)n);
}

void resp_map(struct resp_out *o, size_t n)
{
	header(o, o->v3 ? '%' : '*', (int64_t)(o->v3 ? n : 2 * n));
}

void resp_push(struct resp_out *o, size_t n)
{
	header(o, o->v3 ? '>' : '*', (int64_t)n);
}

void resp_nil(struct resp_out *o)
{
	str_append(&o->text, o->v3 ? "_\r\n" : "$-1\r\n");
}

void resp_nil_array(struct resp_out *o)
{
	str_append(&o->text, o->v3 ? "_\r\n" : "*-1\r\n");
}
