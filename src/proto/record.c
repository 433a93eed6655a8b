/*
 * Records as tables of their fields (proto/fields.h). A group is written for every commit and
 * read once, when the control plane starts; whatever is off in it stops that start, because a
 * record half understood would be acted on.
 */
#include "proto/record.h"

#include <assert.h>
#include <inttypes.h>

#include "proto/fields.h"

FIELD_WORDS(member_state);
FIELD_WORDS(op_kind);
FIELD_WORDS(op_phase);
FIELD_WORDS(fault_kind);
FIELD_WORDS(event_kind);
FIELD_WORDS(place_locality);

/* Bytes of texts that come from the API or the settings. */
enum {
	NAME_BYTES = 4 * MODEL_NAME_MAX, /* the limit counts characters */
	WORD_BYTES = 255,
	ADDRESS_BYTES = 63,
	REASON_BYTES = 1023, /* ours, cut at 319; each half character at a cut is written as three */
};

#define TIME .min = 0, .max = INT64_MAX
#define NEEDED .need = FIELD_NEEDED

/* clang-format off */
static const struct field installation_rows[] = {
	{ "id",      FIELD_ID,  FIELD_AT(struct installation, id), NEEDED },
	{ "created", FIELD_I64, FIELD_AT(struct installation, created_wall_ms), TIME, NEEDED },
};

static const struct field group_rows[] = {
	{ "id",         FIELD_ID,     FIELD_AT(struct group, id), NEEDED },
	{ "project",    FIELD_STRING, FIELD_AT(struct group, project), NEEDED, .min = 1, .max = WORD_BYTES },
	{ "name",       FIELD_STRING, FIELD_AT(struct group, name), NEEDED, .min = 1, .max = NAME_BYTES },
	{ "epoch",      FIELD_U64,    FIELD_AT(struct group, epoch), NEEDED, .min = 1, .max = INT64_MAX },
	{ "source",     FIELD_ID,     FIELD_AT(struct group, source), NEEDED },
	{ "source_run", FIELD_REPLID, FIELD_AT(struct group, source_run) },
	{ "created",    FIELD_I64,    FIELD_AT(struct group, created_wall_ms), TIME, NEEDED },
	{ "durability", FIELD_U32,    FIELD_AT(struct group, durability), .max = MODEL_MEMBERS_MAX },
	{ "durability_proven", FIELD_U32, FIELD_AT(struct group, durability_proven), .max = MODEL_MEMBERS_MAX },
	{ "locality",   FIELD_ENUM,   FIELD_AT(struct group, locality), .words = &place_locality_words },
};

static const struct field secrets_rows[] = {
	{ "replication", FIELD_SECRET, FIELD_AT(struct group_secrets, replication), NEEDED, .min = 1 },
	{ "agent",       FIELD_SECRET, FIELD_AT(struct group_secrets, agent), NEEDED, .min = 1 },
};

static const struct field op_rows[] = {
	{ "id",          FIELD_ID,     FIELD_AT(struct operation, id), NEEDED },
	{ "kind",        FIELD_ENUM,   FIELD_AT(struct operation, kind), NEEDED, .words = &op_kind_words },
	{ "phase",       FIELD_ENUM,   FIELD_AT(struct operation, phase), NEEDED, .words = &op_phase_words },
	{ "target",      FIELD_ID,     FIELD_AT(struct operation, target), NEEDED },
	{ "started",     FIELD_I64,    FIELD_AT(struct operation, started_wall_ms), TIME, NEEDED },
	{ "phase_since", FIELD_I64,    FIELD_AT(struct operation, phase_since_wall_ms), TIME, NEEDED },
	{ "run",         FIELD_REPLID, FIELD_AT(struct operation, run) },
	{ "from",        FIELD_ID,     FIELD_AT(struct operation, from) },
	{ "accept_data_loss", FIELD_BOOL, FIELD_AT(struct operation, accept_data_loss) },
};

static const struct field last_rows[] = {
	{ "op",     FIELD_ID,     FIELD_AT(struct op_outcome, op), NEEDED },
	{ "kind",   FIELD_ENUM,   FIELD_AT(struct op_outcome, kind), NEEDED, .words = &op_kind_words },
	{ "done",   FIELD_BOOL,   FIELD_AT(struct op_outcome, done) },
	{ "at",     FIELD_I64,    FIELD_AT(struct op_outcome, at_wall_ms), TIME },
	{ "reason", FIELD_STRING, FIELD_AT(struct op_outcome, reason), .max = REASON_BYTES },
};

static const struct field member_rows[] = {
	{ "id",            FIELD_ID,     FIELD_AT(struct member, id), NEEDED },
	{ "name",          FIELD_STRING, FIELD_AT(struct member, name), NEEDED, .min = 1, .max = NAME_BYTES },
	{ "host",          FIELD_STRING, FIELD_AT(struct member, host), NEEDED, .min = 1, .max = WORD_BYTES },
	{ "address",       FIELD_STRING, FIELD_AT(struct member, address), NEEDED, .min = 1, .max = ADDRESS_BYTES },
	{ "port",          FIELD_U16,    FIELD_AT(struct member, port), NEEDED, .min = 1, .max = UINT16_MAX },
	{ "flavor",        FIELD_STRING, FIELD_AT(struct member, flavor), .max = WORD_BYTES },
	{ "datastore",     FIELD_STRING, FIELD_AT(struct member, datastore), NEEDED, .min = 1, .max = 15 },
	{ "version",       FIELD_STRING, FIELD_AT(struct member, version), NEEDED, .min = 1, .max = 15 },
	{ "volume_gb",     FIELD_U32,    FIELD_AT(struct member, volume_gb) },
	{ "created",       FIELD_I64,    FIELD_AT(struct member, created_wall_ms), TIME, NEEDED },
	{ "updated",       FIELD_I64,    FIELD_AT(struct member, updated_wall_ms), TIME, NEEDED },
	{ "state",         FIELD_ENUM,   FIELD_AT(struct member, state), NEEDED, .words = &member_state_words },
	{ "state_since",   FIELD_I64,    FIELD_AT(struct member, state_since_wall_ms), TIME, NEEDED },
	{ "attached_once", FIELD_BOOL,   FIELD_AT(struct member, attached_once) },
	{ "accepted_run",  FIELD_REPLID, FIELD_AT(struct member, accepted_run) },
	{ "demoted",       FIELD_BOOL,   FIELD_AT(struct member, demoted) },
	{ "fault",         FIELD_ENUM,   FIELD_AT(struct member, fault.kind), .words = &fault_kind_words },
	{ "fault_at",      FIELD_I64,    FIELD_AT(struct member, fault.at_wall_ms), TIME },
	{ "fault_text",    FIELD_PROSE,  FIELD_AT(struct member, fault.text) },
};

static const struct field history_rows[] = {
	{ "epoch",  FIELD_U64,    FIELD_AT(struct history_entry, epoch), NEEDED, .min = 1, .max = INT64_MAX },
	{ "replid", FIELD_REPLID, FIELD_AT(struct history_entry, replid) },
	{ "start",  FIELD_I64,    FIELD_AT(struct history_entry, start), .max = INT64_MAX },
	{ "source", FIELD_ID,     FIELD_AT(struct history_entry, source), NEEDED },
};

static const struct field event_rows[] = {
	{ "seq",        FIELD_U64,    FIELD_AT(struct event_record, seq), NEEDED, .min = 1, .max = INT64_MAX },
	{ "at_ms",      FIELD_I64,    FIELD_AT(struct event_record, wall_ms), TIME, NEEDED },
	{ "event",      FIELD_ENUM,   FIELD_AT(struct event_record, event.kind), NEEDED, .words = &event_kind_words },
	{ "project",    FIELD_STRING, FIELD_AT(struct event_record, project), .max = WORD_BYTES },
	{ "group",      FIELD_ID,     FIELD_AT(struct event_record, group) },
	{ "group_name", FIELD_STRING, FIELD_AT(struct event_record, group_name), .max = NAME_BYTES },
	{ "instance",   FIELD_ID,     FIELD_AT(struct event_record, event.instance) },
	{ "epoch",      FIELD_U64,    FIELD_AT(struct event_record, event.epoch) },
	{ "reason",     FIELD_PROSE,  FIELD_AT(struct event_record, event.reason) },
	{ "figures",    FIELD_PROSE,  FIELD_AT(struct event_record, event.figures) },
};
/* clang-format on */

static const struct field_list members_list = {
	.key = "members",
	.rows = member_rows,
	.nrows = ARRAY_LEN(member_rows),
	.size = sizeof(struct member),
	.max = MODEL_MEMBERS_MAX,
};

static const struct field_list history_list = {
	.key = "history",
	.rows = history_rows,
	.nrows = ARRAY_LEN(history_rows),
	.size = sizeof(struct history_entry),
	.max = MODEL_HISTORY_MAX,
	.spare = 1,
};

static void begin(struct jw *w)
{
	jw_object(w, NULL);
	jw_int(w, "format", RECORD_FORMAT);
}

/* Parses a record and looks at its format, before anything else is believed of it. */
static bool parse(const char *json, size_t len, json_t **ret, struct err *e)
{
	auto_json *j = NULL;
	int64_t format = 0;

	if (!json_parse(json, len, &j, e) || !json_get_i64(j, "format", &format, e)) {
		return false;
	}
	if (format > RECORD_FORMAT) {
		return err_set(e, ERR_CONFLICT,
			       "the store was written by a newer tanist: format %" PRId64
			       ", this one reads up to %d",
			       format, RECORD_FORMAT);
	}
	if (format < 1) {
		return err_set(e, ERR_INVALID, "'format' is %" PRId64 ", which there never was",
			       format);
	}
	*ret = json_incref(j);
	return true;
}

void record_write_installation(const struct installation *i, struct str *out)
{
	struct jw w = { .out = out };

	begin(&w);
	fields_write(&w, installation_rows, ARRAY_LEN(installation_rows), i);
	jw_end(&w);
}

bool record_read_installation(const char *json, size_t len, struct installation *ret, struct err *e)
{
	auto_json *j = NULL;
	struct installation i = {};

	if (!parse(json, len, &j, e) ||
	    !fields_read(j, installation_rows, ARRAY_LEN(installation_rows), NULL, &i, e)) {
		return false;
	}
	if (id_is_zero(i.id)) {
		return err_set(e, ERR_INVALID, "'id' is zero");
	}
	*ret = i;
	return true;
}

static void write_object(struct jw *w, const char *key, const struct field *rows, size_t n,
			 const void *from)
{
	jw_object(w, key);
	fields_write(w, rows, n, from);
	jw_end(w);
}

void record_write_group(const struct group *g, struct str *out)
{
	struct jw w = { .out = out };

	begin(&w);
	fields_write(&w, group_rows, ARRAY_LEN(group_rows), g);
	write_object(&w, "secrets", secrets_rows, ARRAY_LEN(secrets_rows), &g->secrets);
	if (g->op.kind != OP_NONE) {
		write_object(&w, "op", op_rows, ARRAY_LEN(op_rows), &g->op);
	}
	if (!id_is_zero(g->last.op)) {
		write_object(&w, "last", last_rows, ARRAY_LEN(last_rows), &g->last);
	}
	fields_write_list(&w, &members_list, g->members, g->nmembers);
	fields_write_list(&w, &history_list, g->history, g->nhistory);
	jw_end(&w);
}

static bool read_secrets(const json_t *j, struct group_secrets *ret, struct err *e)
{
	const json_t *o;

	if (!json_get_object(j, "secrets", &o, e)) {
		return false;
	}
	return fields_read(o, secrets_rows, ARRAY_LEN(secrets_rows), NULL, ret, e) ||
	       err_wrap(e, "secrets");
}

static bool read_op(const json_t *j, struct operation *ret, struct err *e)
{
	const json_t *o = json_object_get(j, "op");

	if (o == NULL) {
		return true; /* none is running */
	}
	if (!fields_read(o, op_rows, ARRAY_LEN(op_rows), NULL, ret, e)) {
		return err_wrap(e, "op");
	}
	if (ret->kind == OP_NONE || ret->phase == PHASE_NONE) {
		return err_set(e, ERR_INVALID, "op: is there, but is none");
	}
	return true;
}

static bool read_last(const json_t *j, struct arena *a, struct op_outcome *ret, struct err *e)
{
	const json_t *o = json_object_get(j, "last");

	if (o == NULL) {
		return true; /* no operation has ended yet */
	}
	return fields_read(o, last_rows, ARRAY_LEN(last_rows), a, ret, e) || err_wrap(e, "last");
}

static bool check_members(const struct group *g, struct err *e)
{
	if (g->nmembers == 0) {
		return err_set(e, ERR_INVALID, "'members' is missing");
	}
	for (size_t i = 0; i < g->nmembers; i++) {
		for (size_t k = 0; k < i; k++) {
			if (id_eq(g->members[i].id, g->members[k].id)) {
				return err_set(e, ERR_INVALID,
					       "members[%zu]: 'id' is that of members[%zu]", i, k);
			}
		}
	}
	return true;
}

bool record_read_group(const char *json, size_t len, struct arena *a, struct group *ret,
		       struct err *e)
{
	auto_json *j = NULL;
	struct group g = {};
	void *members, *history;

	if (!parse(json, len, &j, e) ||
	    !fields_read(j, group_rows, ARRAY_LEN(group_rows), a, &g, e) ||
	    !read_secrets(j, &g.secrets, e) || !read_op(j, &g.op, e) ||
	    !read_last(j, a, &g.last, e) ||
	    !fields_read_list(j, &members_list, a, &members, &g.nmembers, e) ||
	    !fields_read_list(j, &history_list, a, &history, &g.nhistory, e)) {
		return false;
	}
	g.members = members;
	g.history = history;
	if (!check_members(&g, e)) {
		return false;
	}
	*ret = g;
	return true;
}

bool record_read_host(const char *json, size_t len, struct host *ret, struct err *e)
{
	auto_json *j = NULL;

	return parse(json, len, &j, e) && record_get_host(j, ret, e);
}

void record_write_event(const struct event_record *ev, struct str *out)
{
	struct jw w = { .out = out };

	begin(&w);
	jw_time(&w, "time", ev->wall_ms, JW_ZULU); /* for people; at_ms is what is read */
	fields_write(&w, event_rows, ARRAY_LEN(event_rows), ev);
	jw_end(&w);
}

bool record_read_event(const char *json, size_t len, struct arena *a, struct event_record *ret,
		       struct err *e)
{
	auto_json *j = NULL;
	struct event_record ev = {};

	if (!parse(json, len, &j, e) ||
	    !fields_read(j, event_rows, ARRAY_LEN(event_rows), a, &ev, e)) {
		return false;
	}
	*ret = ev;
	return true;
}

void record_key_group(struct id id, char *buf)
{
	snprintf(buf, RECORD_KEY_BYTES, "group/%s", id_text(id).s);
}

void record_key_host(const char *name, char *buf)
{
	snprintf(buf, RECORD_KEY_BYTES, "host/%s", name);
}

void record_key_event(uint64_t seq, char *buf)
{
	snprintf(buf, RECORD_KEY_BYTES, "event/%020" PRIu64, seq);
}
