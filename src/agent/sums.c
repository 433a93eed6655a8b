/*
 * Sums that notice a change: of the file a goal asks for, of the settings, of the users. A change
 * of the goal that touches none of them costs the server nothing.
 */
#include "agent/engine_state.h"

#include "base/str.h"
#include "io/file.h"
#include "proto/conf.h"

/* FNV-1a. */
uint64_t sum_of(const void *p, size_t len, uint64_t from)
{
	const uint8_t *at = p;
	uint64_t h = from ^ 0xcbf29ce484222325u;

	for (size_t i = 0; i < len; i++) {
		h = (h ^ at[i]) * 0x100000001b3u;
	}
	return h;
}

/* Without comments: they name the revision, which changes with every commit of the group. */
uint64_t sum_conf(const char *text)
{
	uint64_t sum = 0;

	while (*text != '\0') {
		size_t n = strcspn(text, "\n");

		sum = text[0] == '#' ? sum : sum_of(text, n, sum);
		text += n + (text[n] != '\0');
	}
	return sum;
}

uint64_t engine_conf_sum(const struct engine *e, struct start_mode mode)
{
	auto_str text = {};
	struct conf_paths p = {
		.dir = e->paths.data,
		.socket = e->paths.socket,
		.log = e->paths.log,
		.pid = e->paths.pid,
	};

	conf_write(&e->goal, mode, &p, &text);
	return sum_conf(str_cstr(&text));
}

static uint64_t sum_text(const char *s, uint64_t from)
{
	return sum_of(s, strlen(s) + 1, from);
}

uint64_t engine_settings_sum(const struct engine *e, struct start_mode mode)
{
	auto_arena a = {};
	const struct conf_setting *settings;
	const struct conf_user *users;
	uint64_t sum = 0;
	size_t n = conf_live_settings(&e->goal, mode, &a, &settings);

	for (size_t i = 0; i < n; i++) {
		sum = sum_text(settings[i].value, sum_text(settings[i].name, sum));
	}
	n = conf_users(&e->goal, &a, &users);
	for (size_t i = 0; i < n; i++) {
		sum = sum_text(users[i].name, sum);
		for (size_t k = 0; k < users[i].nrules; k++) {
			sum = sum_text(users[i].rules[k], sum);
		}
	}
	return sum >> 1; /* it is kept in JSON, whose numbers are signed */
}

/* While no server runs the file itself is asked: somebody may have removed it. */
void engine_read_conf(struct engine *e)
{
	auto_str text = {};

	e->conf_sum =
		file_read(e->paths.conf, KIB(256), &text, NULL) ? sum_conf(str_cstr(&text)) : 0;
}
