/*
 * Quotas, and what is left of this minute's requests.
 */
#include "base/clock.h"
#include "server/handlers.h"
#include "server/rate.h"

static void write_absolute(struct jw *w, const struct settings *s)
{
	jw_object(w, NULL);
	jw_str(w, "verb", "ABSOLUTE");
	jw_int(w, "max_instances", setting_int(s, "quota.instances"));
	jw_int(w, "max_ram", setting_int(s, "quota.ram_mb"));
	jw_int(w, "max_backups", setting_int(s, "quota.backups"));
	jw_int(w, "max_volumes", setting_int(s, "quota.volumes_gb"));
	jw_end(w);
}

static const struct {
	enum rate_verb verb;
	const char *name, *uri, *regex;
} rows[] = {
	{ RATE_POST, "POST", "*", ".*" },
	{ RATE_PUT, "PUT", "*", ".*" },
	{ RATE_DELETE, "DELETE", "*", ".*" },
	{ RATE_GET, "GET", "*", ".*" },
	{ RATE_MGMT_POST, "POST", "*/mgmt", "^/mgmt" },
};

static void write_rates(struct jw *w, const struct rates *r, const char *project)
{
	int64_t ends_in_ms;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint32_t left = rates_left(r, project, rows[i].verb, clock_ms(), &ends_in_ms);

		jw_object(w, NULL);
		jw_time(w, "nextAvailable", clock_wall_ms() + (left > 0 ? 0 : ends_in_ms), JW_ZULU);
		jw_uint(w, "remaining", left);
		jw_str(w, "unit", "MINUTE");
		jw_uint(w, "value", rates_limit(r));
		jw_str(w, "verb", rows[i].name);
		jw_str(w, "uri", rows[i].uri);
		jw_str(w, "regex", rows[i].regex);
		jw_end(w);
	}
}

bool api_limits(struct call *c, struct err *)
{
	struct str body = {};
	struct jw w = { .out = &body };

	jw_object(&w, NULL);
	jw_array(&w, "limits");
	write_absolute(&w, c->api->settings);
	if (c->api->rates != NULL) {
		write_rates(&w, c->api->rates, c->project);
	}
	jw_end(&w);
	jw_end(&w);
	call_reply(c, &body);
	return true;
}
