/*
 * Requests to the API: one at a time, over one kept connection, with limits on time and size, and
 * no redirects. Whatever the server answers is checked to be JSON before anybody looks at it.
 *
 * Errors: ERR_UNAVAILABLE the server cannot be reached or gave no answer; ERR_NOT_FOUND a 404;
 * ERR_CONFLICT refused with another 4xx; ERR_IO anything else. The message is the API's own; what
 * to do next is in api->hint.
 */
#pragma once

#include "base/err.h"
#include "base/id.h"
#include "base/macros.h"
#include "base/str.h"
#include "io/tls_trust.h"
#include "proto/json.h"

enum {
	API_URL_MAX = 512,
	API_LIMIT_MS = 30'000,
	API_BODY_MAX = 64 << 20, /* 10,000 instances in detail are a third of it */
};

struct api {
	char base[API_URL_MAX]; /* "http://127.0.0.1:8779/v1.0/dev" */
	const char *token;      /* X-Auth-Token; NULL: none. Borrowed */
	/*
	 * Whom https trusts: a file of CAs, a pin as tls_pin_parse() takes it. NULL: TANIST_CA or
	 * OS_CACERT, and TANIST_PIN, of the environment, if they are set. Borrowed.
	 */
	const char *ca_file, *pin;
	char checked_pin[TLS_PIN_SIZE]; /* private */
	void *curl;             /* made by the first request */
	char hint[240];         /* what to do about the last error; "" when nothing is known */
};

void api_done(struct api *a);

struct api_answer {
	int status;      /* 0: there was none */
	struct str body; /* as it came */
	json_t *json;    /* NULL when the body was empty */
};

#define auto_answer [[gnu::cleanup(api_answer_done)]] struct api_answer
void api_answer_done(struct api_answer *r);

/*
 * path is behind the base ("/instances"). body NULL: none. *ret must be empty ({}); it is filled
 * also when the answer is a refusal. Free with api_answer_done().
 */
[[nodiscard]] bool api_call(struct api *a, const char *method, const char *path, const char *body,
			    int64_t limit_ms, struct api_answer *ret, struct err *e);

/* api_call() with GET and the usual limit. */
[[nodiscard]] bool api_get(struct api *a, const char *path, struct api_answer *ret, struct err *e);

/* Posts an action on the instance with this id, with the usual limit. */
[[nodiscard]] bool api_action(struct api *a, const struct id_text *id, const char *body,
			      struct api_answer *ret, struct err *e);

/*
 * All pages of /instances or /instances/detail, as one array that the caller frees. *ret_body is
 * the answer itself when there was one page, else the pages put together.
 */
[[nodiscard]] bool api_instances(struct api *a, const char *path, json_t **ret,
				 struct str *ret_body, struct err *e);

/* Appends {"instances": [...]}. */
void api_write_instances(const json_t *all, struct str *out);

/*
 * The id for a name or an id. An id is not looked up. ERR_NOT_FOUND: no such name; ERR_CONFLICT:
 * several, and the message lists their ids.
 */
[[nodiscard]] bool api_find(struct api *a, const char *name_or_id, struct id_text *ret,
			    struct err *e);

/* Number of the newest event: what happens from now on comes behind it. */
[[nodiscard]] bool api_events_last(struct api *a, uint64_t *ret, struct err *e);

/*
 * Where to go on behind this answer of /events; `after` when it does not say. It is before `after`
 * when an older store was put back.
 */
uint64_t api_events_next(const json_t *answer, uint64_t after);

/*
 * Members of an object that came from elsewhere: absent or of another type is "", the fallback,
 * or NULL. Borrowed from o; o may be NULL.
 */
const char *api_text(const json_t *o, const char *key);
int64_t api_number(const json_t *o, const char *key, int64_t fallback);
const json_t *api_object(const json_t *o, const char *key);
const json_t *api_array(const json_t *o, const char *key);
