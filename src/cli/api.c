/*
 * libcurl's easy interface, one handle for the whole run so that the connection is kept; and the
 * few questions that several commands ask.
 */
#include "cli/api.h"

#include <curl/curl.h>

#include "base/macros.h"

enum { API_PAGE = 1000, API_PAGES_MAX = 1000, API_CONNECT_MS = 5000 };

static const char hint_list[] = "`tanist list` shows what there is";
static const char hint_url[] = "check --url or TANIST_URL: an API's address ends in /v1.0/PROJECT";

struct sink {
	struct str *body;
	bool over;
};

void api_done(struct api *a)
{
	curl_easy_cleanup(a->curl);
	a->curl = NULL;
}

void api_answer_done(struct api_answer *r)
{
	json_decref(r->json);
	str_done(&r->body);
	*r = (struct api_answer){};
}

const char *api_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s == NULL ? "" : s;
}

int64_t api_number(const json_t *o, const char *key, int64_t fallback)
{
	const json_t *j = json_object_get(o, key);

	return json_is_integer(j) ? json_integer_value(j) : fallback;
}

const json_t *api_object(const json_t *o, const char *key)
{
	const json_t *j = json_object_get(o, key);

	return json_is_object(j) ? j : NULL;
}

const json_t *api_array(const json_t *o, const char *key)
{
	const json_t *j = json_object_get(o, key);

	return json_is_array(j) ? j : NULL;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct sink *s = arg;
	size_t len = size * n;

	if (s->body->len + len > API_BODY_MAX) {
		s->over = true;
		return 0;
	}
	str_append_mem(s->body, p, len);
	return len;
}

/* A proxy named in the environment cannot reach our loopback. */
static bool is_loopback(const char *url)
{
	return strstr(url, "://127.") != NULL || strstr(url, "://localhost") != NULL ||
	       strstr(url, "://[::1]") != NULL;
}

static void set_request(CURL *h, const struct api *a, const char *method, const char *url,
			const char *body, int64_t limit_ms)
{
	curl_easy_reset(h); /* keeps the connection */
	curl_easy_setopt(h, CURLOPT_URL, url);
	curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)API_CONNECT_MS);
	curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)limit_ms);
	curl_easy_setopt(h, CURLOPT_USERAGENT, "tanist/" TANIST_VERSION);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
	tls_trust(h, a->ca_file, a->checked_pin);
	if (is_loopback(a->base)) {
		curl_easy_setopt(h, CURLOPT_PROXY, "");
	}
	if (body != NULL) {
		curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
		curl_easy_setopt(h, CURLOPT_POSTFIELDS, body);
	}
}

static void headers_freep(struct curl_slist **list)
{
	curl_slist_free_all(*list);
}

static struct curl_slist *headers_for(const struct api *a, bool has_body)
{
	struct curl_slist *list = curl_slist_append(NULL, "Accept: application/json");

	if (has_body) {
		list = curl_slist_append(list, "Content-Type: application/json");
		list = curl_slist_append(list, "Expect:"); /* no round trip to ask for leave */
	}
	if (a->token != NULL) {
		auto_str line = {};

		str_printf(&line, "X-Auth-Token: %s", a->token);
		list = curl_slist_append(list, str_cstr(&line));
	}
	return list;
}

static const char *from_environment(const char *name)
{
	const char *value = getenv(name);

	return value == NULL || value[0] == '\0' ? NULL : value;
}

/* Before the first request: what is wrong with a file or a pin is said by its name. */
static bool choose_trust(struct api *a, struct err *e)
{
	if (a->ca_file == NULL) {
		a->ca_file = from_environment("TANIST_CA");
	}
	if (a->ca_file == NULL) {
		a->ca_file = from_environment("OS_CACERT");
	}
	if (a->pin == NULL) {
		a->pin = from_environment("TANIST_PIN");
	}
	if (!str_starts(a->base, "https://")) {
		return true;
	}
	return (a->ca_file == NULL || tls_ca_check(a->ca_file, e) || err_wrap(e, "trusted CA")) &&
	       (a->pin == NULL || tls_pin_parse(a->pin, a->checked_pin, e) || err_wrap(e, "pin"));
}

static void set_doubt_hint(struct api *a, enum tls_doubt doubt)
{
	switch (doubt) {
	case TLS_STRANGER:
		str_copy(a->hint, sizeof a->hint,
			 "name the file of its CA in TANIST_CA or OS_CACERT, or the SHA-256 of its "
			 "key in TANIST_PIN");
		return;
	case TLS_NO_HANDSHAKE:
		str_copy(a->hint, sizeof a->hint, "perhaps its address begins with http://");
		return;
	case TLS_WRONG_KEY:
		str_copy(a->hint, sizeof a->hint,
			 "it may have a new key: tanistd logs the pin of the one it uses");
		return;
	case TLS_WRONG_NAME:
		str_copy(a->hint, sizeof a->hint, "use a name that its certificate is for");
		return;
	case TLS_EXPIRED:
	case TLS_NOT_YET_VALID:
		str_copy(a->hint, sizeof a->hint,
			 "tanistd needs another certificate, or a clock is wrong");
		return;
	case TLS_NO_DOUBT:
	case TLS_NO_CA_FILE:
	case TLS_DOUBTS:
		return;
	}
}

/* What libcurl says of the bytes with which a TLS server refuses plain text. */
static bool may_want_tls(const struct api *a, CURLcode code)
{
	return str_starts(a->base, "http://") &&
	       (code == CURLE_GOT_NOTHING || code == CURLE_UNSUPPORTED_PROTOCOL ||
		code == CURLE_WEIRD_SERVER_REPLY || code == CURLE_RECV_ERROR);
}

static bool no_answer(struct api *a, CURLcode code, const char *text, int64_t limit_ms,
		      struct err *e)
{
	const char *why = text[0] != '\0' ? text : curl_easy_strerror(code);
	curl_off_t connected = 0;

	curl_easy_getinfo(a->curl, CURLINFO_PRETRANSFER_TIME_T, &connected);
	if (code == CURLE_OPERATION_TIMEDOUT && connected > 0) {
		snprintf(a->hint, sizeof a->hint,
			 "it may be overloaded or stopped; whether a change was made, `tanist list` shows");
		return err_set(e, ERR_UNAVAILABLE, "%s gave no answer within %lld s", a->base,
			       (long long)(limit_ms + 999) / 1000);
	}
	enum tls_doubt doubt = tls_doubt_of(a->curl, (int)code);

	if (doubt != TLS_NO_DOUBT) {
		set_doubt_hint(a, doubt);
		return err_set(e, ERR_UNAVAILABLE, "cannot use %s: %s", a->base,
			       tls_doubt_text(doubt));
	}
	if (may_want_tls(a, code)) {
		str_copy(a->hint, sizeof a->hint, "perhaps its address begins with https://");
		return err_set(e, ERR_UNAVAILABLE, "cannot use %s: %s", a->base, why);
	}
	snprintf(a->hint, sizeof a->hint,
		 "start one for this machine with `tanist dev`, or name another with --url or TANIST_URL");
	return err_set(e, ERR_UNAVAILABLE, "cannot reach %s: %s", a->base, why);
}

/* Of {"badRequest": {"message": "..."}}, or a message at the top as Keystone's filter has it. */
static const char *fault_text(const json_t *j)
{
	const char *top = api_text(j, "message");

	if (top[0] != '\0' || !json_is_object(j)) {
		return top;
	}
	void *it = json_object_iter((json_t *)(uintptr_t)j);

	return it == NULL ? "" : api_text(json_object_iter_value(it), "message");
}

static void set_hint(struct api *a, int status)
{
	static const struct {
		int status;
		const char *hint;
	} hints[] = {
		{ 401, "set TANIST_TOKEN to a token of this project" },
		{ 403, "`tanist topology` shows who depends on whom" },
		{ 413, "delete what is not needed, or have the quota or limit raised: `tanistd --settings`" },
		{ 422, "`tanist topology` shows the states, `tanist operations` what is in progress" },
		{ 503, "try again in a moment; the log of tanistd says more" },
	};

	for (size_t i = 0; i < ARRAY_LEN(hints); i++) {
		if (hints[i].status == status) {
			str_copy(a->hint, sizeof a->hint, hints[i].hint);
		}
	}
}

static bool refused(struct api *a, const char *path, const struct api_answer *r, struct err *e)
{
	const char *text = fault_text(r->json);
	enum err_code code = r->status == 404	? ERR_NOT_FOUND
			     : r->status >= 500 ? ERR_IO
						: ERR_CONFLICT;

	if (text[0] == '\0') {
		str_copy(a->hint, sizeof a->hint, hint_url);
		return err_set(e, code, "%s answered HTTP %d, and not as a Trove API does", a->base,
			       r->status);
	}
	set_hint(a, r->status);
	if (r->status == 404 && str_starts(path, "/instances/")) {
		str_copy(a->hint, sizeof a->hint, hint_list);
	}
	return err_set(e, code, "%s (HTTP %d)", text, r->status);
}

static bool read_answer(struct api *a, const char *path, struct api_answer *r, struct err *e)
{
	struct err why = {};
	bool is_json = r->body.len == 0 || json_parse(r->body.p, r->body.len, &r->json, &why);

	if (r->status < 200 || r->status > 299) {
		return refused(a, path, r, e);
	}
	if (!is_json) {
		str_copy(a->hint, sizeof a->hint, hint_url);
		return err_set(e, ERR_IO, "%s answered something that is not JSON: %s", a->base,
			       why.msg);
	}
	return true;
}

bool api_call(struct api *a, const char *method, const char *path, const char *body,
	      int64_t limit_ms, struct api_answer *ret, struct err *e)
{
	char text[CURL_ERROR_SIZE] = "";
	struct sink sink = { .body = &ret->body };
	auto_str url = {};
	long status = 0;

	a->hint[0] = '\0';
	if (a->curl == NULL) {
		if (!choose_trust(a, e)) {
			return false;
		}
		a->curl = curl_easy_init();
	}
	if (a->curl == NULL) {
		return err_set(e, ERR_IO, "the HTTP library does not start");
	}
	str_printf(&url, "%s%s", a->base, path);
	set_request(a->curl, a, method, str_cstr(&url), body, limit_ms);
	[[gnu::cleanup(headers_freep)]] struct curl_slist *headers = headers_for(a, body != NULL);

	curl_easy_setopt(a->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(a->curl, CURLOPT_ERRORBUFFER, text);
	curl_easy_setopt(a->curl, CURLOPT_WRITEDATA, &sink);
	CURLcode code = curl_easy_perform(a->curl);

	curl_easy_setopt(a->curl, CURLOPT_ERRORBUFFER, NULL);
	if (sink.over) {
		return err_set(e, ERR_IO, "the answer of %s is larger than %d MiB", a->base,
			       API_BODY_MAX >> 20);
	}
	if (code != CURLE_OK) {
		return no_answer(a, code, text, limit_ms, e);
	}
	curl_easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, &status);
	ret->status = (int)status;
	return read_answer(a, path, ret, e);
}

bool api_get(struct api *a, const char *path, struct api_answer *ret, struct err *e)
{
	return api_call(a, "GET", path, NULL, API_LIMIT_MS, ret, e);
}

bool api_action(struct api *a, const struct id_text *id, const char *body, struct api_answer *ret,
		struct err *e)
{
	auto_str path = {};

	str_printf(&path, "/instances/%s/action", id->s);
	return api_call(a, "POST", str_cstr(&path), body, API_LIMIT_MS, ret, e);
}

/* The marker of the link to the next page. False: this was the last page. */
static bool next_marker(const json_t *page, struct id_text *ret)
{
	const json_t *links = api_array(page, "links");

	for (size_t i = 0; i < json_array_size(links); i++) {
		const json_t *link = json_array_get(links, i);
		const char *at = strstr(api_text(link, "href"), "marker=");
		struct id id;
		char text[ID_TEXT_BYTES];

		if (!str_eq(api_text(link, "rel"), "next") || at == NULL) {
			continue;
		}
		str_copy(text, sizeof text, at + strlen("marker="));
		if (id_parse(text, &id)) {
			*ret = id_text(id);
			return true;
		}
	}
	return false;
}

void api_write_instances(const json_t *all, struct str *out)
{
	auto_json *whole = json_pack("{s:O}", "instances", all);
	char *text = json_dumps(whole, JSON_COMPACT);

	str_append(out, text == NULL ? "" : text);
	free(text);
}

bool api_instances(struct api *a, const char *path, json_t **ret, struct str *ret_body,
		   struct err *e)
{
	auto_json *all = json_array();
	struct id_text marker = {}, before = {};
	bool more = true;
	int pages = 0;

	for (; more && pages < API_PAGES_MAX; pages++) {
		auto_answer page = {};
		auto_str url = {};

		str_printf(&url, "%s?limit=%d%s%s", path, API_PAGE,
			   marker.s[0] == '\0' ? "" : "&marker=", marker.s);
		if (!api_get(a, str_cstr(&url), &page, e)) {
			return false;
		}
		json_t *items = json_object_get(page.json, "instances");

		if (!json_is_array(items)) {
			return err_set(e, ERR_IO, "%s answered no list of instances", a->base);
		}
		json_array_extend(all, items);
		before = marker;
		more = next_marker(page.json, &marker);
		if (more && str_eq(marker.s, before.s)) {
			return err_set(e, ERR_IO, "%s answers the same page again and again",
				       a->base);
		}
		if (!more && pages == 0) {
			str_append_mem(ret_body, page.body.p, page.body.len);
		}
	}
	if (pages > 1) {
		api_write_instances(all, ret_body);
	}
	*ret = json_incref(all);
	return true;
}

bool api_find(struct api *a, const char *name_or_id, struct id_text *ret, struct err *e)
{
	struct id id;
	auto_json *all = NULL;
	auto_str body = {}, ids = {};
	size_t found = 0;

	if (id_parse(name_or_id, &id)) {
		*ret = id_text(id);
		return true;
	}
	if (!api_instances(a, "/instances", &all, &body, e)) {
		return false;
	}
	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *item = json_array_get(all, i);

		if (str_eq(api_text(item, "name"), name_or_id) &&
		    id_parse(api_text(item, "id"), &id)) {
			str_printf(&ids, "%s%s", found == 0 ? "" : ", ", id_text(id).s);
			*ret = id_text(id);
			found++;
		}
	}
	if (found == 1) {
		return true;
	}
	if (found == 0) {
		str_copy(a->hint, sizeof a->hint, hint_list);
		return err_set(e, ERR_NOT_FOUND, "there is no instance '%s'", name_or_id);
	}
	str_copy(a->hint, sizeof a->hint, "name the one you mean by its id");
	return err_set(e, ERR_CONFLICT, "%zu instances have the name '%s': %s", found, name_or_id,
		       str_cstr(&ids));
}

bool api_events_last(struct api *a, uint64_t *ret, struct err *e)
{
	auto_answer r = {};

	/* Nothing lies behind the highest number there can be, so the answer is `last` alone. */
	if (!api_get(a, "/events?after=9223372036854775807", &r, e)) {
		return false;
	}
	int64_t last = api_number(r.json, "last", -1);

	if (last < 0) {
		return err_set(e, ERR_IO, "%s answered no events", a->base);
	}
	*ret = (uint64_t)last;
	return true;
}

uint64_t api_events_next(const json_t *answer, uint64_t after)
{
	int64_t last = api_number(answer, "last", -1);

	return last >= 0 ? (uint64_t)last : after;
}
