/*
 * Messages. Any channel can be subscribed to, as with Sentinel, but only +switch-master ever says
 * something; whether a pattern matches it is found out once.
 */
#include <fnmatch.h>

#include "server/sentinel_impl.h"

static void forget(struct client *c, size_t i)
{
	free(c->subs[i].text);
	c->nsubs--;
	memmove(&c->subs[i], &c->subs[i + 1], (c->nsubs - i) * sizeof *c->subs);
}

void subscriptions_drop(struct client *c)
{
	while (c->nsubs > 0) {
		forget(c, c->nsubs - 1);
	}
	free(c->subs);
	c->subs = NULL;
}

static size_t find(const struct client *c, bool pattern, const char *text)
{
	for (size_t i = 0; i < c->nsubs; i++) {
		if (c->subs[i].pattern == pattern && strcmp(c->subs[i].text, text) == 0) {
			return i;
		}
	}
	return SIZE_MAX;
}

static void add(struct client *c, bool pattern, const char *text)
{
	size_t len = strlen(text);
	char *copy = memory_alloc(1, len + 1);

	if (c->subs == NULL) {
		c->subs = memory_alloc(SUBSCRIPTIONS_MAX, sizeof *c->subs);
	}
	memcpy(copy, text, len);
	c->subs[c->nsubs++] = (struct subscription){
		.pattern = pattern,
		.hears = pattern ? fnmatch(text, SENTINEL_CHANNEL, 0) == 0
				 : strcmp(text, SENTINEL_CHANNEL) == 0,
		.text = copy,
	};
}

static void confirm(struct client *c, const char *kind, const char *text)
{
	resp_push(&c->out, 3);
	resp_bulk(&c->out, kind);
	if (text == NULL) {
		resp_nil(&c->out);
	} else {
		resp_bulk(&c->out, text);
	}
	resp_int(&c->out, (int64_t)c->nsubs);
}

static void begin(struct client *c, const struct resp_request *rq, bool pattern)
{
	for (size_t i = 1; i < rq->argc; i++) {
		bool new = find(c, pattern, rq->argv[i]) == SIZE_MAX;

		if (strlen(rq->argv[i]) > SUBSCRIPTION_TEXT_MAX) {
			resp_error(&c->out, "ERR a channel has at most %d characters",
				   SUBSCRIPTION_TEXT_MAX);
			return;
		}
		if (new && c->nsubs == SUBSCRIPTIONS_MAX) {
			resp_error(&c->out, "ERR at most %d subscriptions", SUBSCRIPTIONS_MAX);
			return;
		}
		if (new) {
			add(c, pattern, rq->argv[i]);
		}
		confirm(c, pattern ? "psubscribe" : "subscribe", rq->argv[i]);
	}
}

static void end_all(struct client *c, bool pattern, const char *kind)
{
	bool any = false;

	for (size_t i = 0; i < c->nsubs;) {
		if (c->subs[i].pattern != pattern) {
			i++;
			continue;
		}
		char *text = c->subs[i].text;

		c->subs[i].text = NULL;
		forget(c, i);
		confirm(c, kind, text);
		free(text);
		any = true;
	}
	if (!any) {
		confirm(c, kind, NULL);
	}
}

static void end(struct client *c, const struct resp_request *rq, bool pattern)
{
	const char *kind = pattern ? "punsubscribe" : "unsubscribe";

	if (rq->argc == 1) {
		end_all(c, pattern, kind);
	}
	for (size_t i = 1; i < rq->argc; i++) {
		size_t at = find(c, pattern, rq->argv[i]);

		if (at != SIZE_MAX) {
			forget(c, at);
		}
		confirm(c, kind, rq->argv[i]);
	}
}

void subscribe(struct client *c, const struct resp_request *rq)
{
	begin(c, rq, false);
}

void psubscribe(struct client *c, const struct resp_request *rq)
{
	begin(c, rq, true);
}

void unsubscribe(struct client *c, const struct resp_request *rq)
{
	end(c, rq, false);
}

void punsubscribe(struct client *c, const struct resp_request *rq)
{
	end(c, rq, true);
}

/* ---- the message ---- */

static void tell(struct client *c, const char *payload)
{
	for (size_t i = 0; i < c->nsubs; i++) {
		const struct subscription *sub = &c->subs[i];

		if (!sub->hears) {
			continue;
		}
		resp_push(&c->out, sub->pattern ? 4 : 3);
		resp_bulk(&c->out, sub->pattern ? "pmessage" : "message");
		if (sub->pattern) {
			resp_bulk(&c->out, sub->text);
		}
		resp_bulk(&c->out, SENTINEL_CHANNEL);
		resp_bulk(&c->out, payload);
	}
}

/* The words of a message are separated by spaces, so a name with one in it cannot be told. */
static bool can_be_told(const char *name)
{
	return strpbrk(name, " \t\r\n") == NULL;
}

struct switched {
	const struct member *source;
	const char *old_address;
	uint16_t old_port;
};

static void tell_names(struct client *c, const struct names *names, const struct switched *sw)
{
	auto_str payload = {};

	for (size_t i = 0; i < names->n; i++) {
		if (!can_be_told(names->text[i])) {
			continue;
		}
		str_clear(&payload);
		str_printf(&payload, "%s %s %u %s %u", names->text[i], sw->old_address,
			   sw->old_port, sw->source->address, sw->source->port);
		tell(c, str_cstr(&payload));
	}
	client_flush(c);
}

void publish_switch(struct sentinel *s, const struct group *g, const char *old_address,
		    uint16_t old_port)
{
	const struct switched sw = { group_source(g), old_address, old_port };
	struct names in_all, in_project;

	sentinel_names_of(s, NULL, g, &in_all);
	sentinel_names_of(s, g->project, g, &in_project);
	for (struct client *c = LIST_FIRST(&s->clients), *next; c != NULL; c = next) {
		next = LIST_NEXT(c, others);
		if (c->leaving || c->nsubs == 0) {
			continue;
		}
		if (c->project == NULL) {
			tell_names(c, &in_all, &sw);
		} else if (str_eq(c->project, g->project)) {
			tell_names(c, &in_project, &sw);
		}
	}
}
