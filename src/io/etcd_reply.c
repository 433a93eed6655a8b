/*
 * What etcd's gateway says: its answer, or why there is none and whether anything was done.
 */
#include "io/etcd_impl.h"

/* gRPC's numbers, google/rpc/code.proto. */
enum {
	INVALID_ARGUMENT = 3,
	ALREADY_EXISTS = 6,
	PERMISSION_DENIED = 7,
	RESOURCE_EXHAUSTED = 8,
	FAILED_PRECONDITION = 9,
	UNIMPLEMENTED = 12,
	UNAUTHENTICATED = 16,
};

/*
 * Refused before it was proposed, or by all members alike when they came to it. The others (a
 * time-out, an election meanwhile, a member that stops) leave open whether it was carried out.
 */
static bool nothing_done(int code, const char *message)
{
	switch (code) {
	case INVALID_ARGUMENT:
	case ETCD_NOT_FOUND:
	case ALREADY_EXISTS:
	case PERMISSION_DENIED:
	case RESOURCE_EXHAUSTED:
	case FAILED_PRECONDITION:
	case ETCD_OUT_OF_RANGE:
	case UNIMPLEMENTED:
	case UNAUTHENTICATED:
		return true;
	default:
		return str_eq(message, "etcdserver: no leader");
	}
}

/* Worth asking again, though nothing is wrong with the request. */
static bool passes_by(int code, const char *message)
{
	return str_eq(message, "etcdserver: no leader") ||
	       (code == RESOURCE_EXHAUSTED && str_eq(message, "etcdserver: too many requests"));
}

static void read_refusal(struct etcd_reply *r, int status)
{
	const char *message = json_string_value(json_object_get(r->body, "message"));
	const json_t *code = json_object_get(r->body, "code");

	if (message == NULL || !json_is_integer(code)) {
		r->refused = status >= 400 && status < 500;
		err_set(&r->err, ERR_UNAVAILABLE, "etcd: HTTP status %d", status);
		return;
	}
	r->code = (int)json_integer_value(code);
	r->refused = nothing_done(r->code, message);
	r->passes = passes_by(r->code, message);
	/* Whatever it is, a customer of ours sees no more of it than that the store does not work.
	 */
	err_set(&r->err, ERR_UNAVAILABLE, "etcd: %s", message);
}

/*
 * An error's text ends with the JSON and, behind it, a trailer that etcd's gateway writes into the
 * body ("Grpc-Trailer-..."), so only the object in front is read.
 */
static json_t *read_object(const char *text, size_t len, int status, struct err *e)
{
	const char *end = status == 200 ? NULL : memrchr(text, '}', len);
	json_t *j = NULL;

	if (!json_parse(text, end == NULL ? len : (size_t)(end - text) + 1, &j, e)) {
		return NULL;
	}
	if (!json_is_object(j)) {
		json_decref(j);
		err_set(e, ERR_INVALID, "not an object");
		return NULL;
	}
	return j;
}

struct etcd_reply etcd_reply(int status, const char *text, size_t len, const struct err *e)
{
	struct etcd_reply r = {};
	struct err why = {};

	if (status == 0) {
		r.err = *e;
		return r;
	}
	r.body = read_object(text, len, status, &why);
	if (status == 200 && r.body != NULL) {
		r.answered = true;
	} else if (status == 200) {
		err_set(&r.err, ERR_UNAVAILABLE, "etcd's answer: %s", why.msg);
	} else {
		read_refusal(&r, status);
	}
	return r;
}
