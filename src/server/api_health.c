/*
 * For those who watch over tanistd. It answers at all: healthy. It may write: ready. The figures
 * are in metrics.c.
 */
#include "server/handlers.h"
#include "server/metrics.h"

static void reply_status(struct call *c, int http_status, const char *status)
{
	auto_str body = {};
	struct jw w = { .out = &body };

	jw_object(&w, NULL);
	jw_str(&w, "status", status);
	jw_str(&w, "version", TANIST_VERSION);
	jw_end(&w);
	call_reply_status(c, http_status, &body);
}

bool api_healthz(struct call *c, struct err *)
{
	reply_status(c, c->route->ok, "alive");
	return true;
}

bool api_readyz(struct call *c, struct err *)
{
	/* That it was loaded is certain: there is no listener before. */
	if (!registry_leads(c->api->registry)) {
		reply_status(c, 503, "does not lead");
		return true;
	}
	reply_status(c, c->route->ok, "ready");
	return true;
}

bool api_metrics(struct call *c, struct err *)
{
	static const struct http_reply_header type = { "Content-Type",
						       "text/plain; version=0.0.4; charset=utf-8" };
	auto_str body = {};

	metrics_write(c->api, &body);
	call_reply_with(c, c->route->ok, &body, &type, 1);
	return true;
}
