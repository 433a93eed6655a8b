/*
 * INFO, of every version from 2.8 on: lines "name:value", sections in between. A name we do not
 * know is passed over, a value that is none is as if its line were not there: what a server says
 * is input like any other.
 */
#include "proto/info.h"

#include <ctype.h>

#include "base/macros.h"
#include "proto/span.h"

/* What is only known when all lines have been read. */
struct reading {
	struct observation *o;
	bool recognised; /* at least one line was INFO's */
	bool in_keyspace;
	bool said_sync;            /* the text has master_sync_in_progress */
	int64_t total, read, left; /* of a copy in progress; -1: not said */
	bool said_save, saving;    /* an RDB, to disk or to replicas */
	int64_t save_keys, save_s; /* how far; 0: not said */
	bool said_bgsave, bgsave_failed;
	bool said_rewrite;
	bool rewriting, rewrite_waits;
};

/* Digits from the front, a sign before them; what is too large becomes the largest. */
static bool span_number(struct span s, int64_t *ret)
{
	bool negative = s.len > 0 && s.p[0] == '-';
	size_t i = negative ? 1 : 0;
	int64_t v = 0;

	if (i == s.len || !isdigit((unsigned char)s.p[i])) {
		return false;
	}
	for (; i < s.len && isdigit((unsigned char)s.p[i]); i++) {
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, s.p[i] - '0', &v)) {
			v = INT64_MAX;
			break;
		}
	}
	*ret = negative ? -v : v;
	return true;
}

static int64_t clamp(int64_t v, int64_t min, int64_t max)
{
	return v < min ? min : v > max ? max : v;
}

/* The number in s within [min, max]; `was` when there is none. */
static int64_t number_or(struct span s, int64_t min, int64_t max, int64_t was)
{
	int64_t v;

	return span_number(s, &v) ? clamp(v, min, max) : was;
}

static bool flag_of(struct span s)
{
	return span_is(s, "1");
}

/* 40 hex digits, or unknown. All zeros is the servers' own word for "none". */
static struct replid replid_of(struct span s)
{
	struct replid r = {};
	bool zeros = true;

	if (s.len != sizeof r.s - 1) {
		return r;
	}
	for (size_t i = 0; i < s.len; i++) {
		if (!isxdigit((unsigned char)s.p[i]) || isupper((unsigned char)s.p[i])) {
			return r;
		}
		zeros = zeros && s.p[i] == '0';
	}
	if (!zeros) {
		memcpy(r.s, s.p, s.len);
	}
	return r;
}

static void host_of(struct span s, char *buf, size_t size)
{
	size_t n = s.len < size ? s.len : size - 1;

	for (size_t i = 0; i < n; i++) {
		buf[i] = s.p[i] > ' ' && s.p[i] < 0x7f ? s.p[i] : '?';
	}
	buf[n] = '\0';
}

/* A master has no upstream: what was known of one is over. */
static void forget_upstream(struct observation *o)
{
	o->slave_offset = -1;
	o->read_offset = -1;
	o->last_io_s = -1;
	o->link_up = false;
	o->sync_in_progress = false;
	o->sync_done_bytes = -1;
	o->sync_total_bytes = -1;
	o->upstream_host[0] = '\0';
	o->upstream_port = 0;
}

static void see_role(struct reading *r, struct span v)
{
	if (span_is(v, "master")) {
		r->o->role = SERVER_ROLE_MASTER;
		forget_upstream(r->o);
	} else if (span_is(v, "slave")) {
		r->o->role = SERVER_ROLE_REPLICA;
	}
}

static void see_offset(struct reading *r, struct span v)
{
	r->o->offset = number_or(v, 0, INT64_MAX, r->o->offset);
}

static void see_slave_offset(struct reading *r, struct span v)
{
	r->o->slave_offset = number_or(v, -1, INT64_MAX, r->o->slave_offset);
}

static void see_read_offset(struct reading *r, struct span v)
{
	r->o->read_offset = number_or(v, -1, INT64_MAX, r->o->read_offset);
}

static void see_second_offset(struct reading *r, struct span v)
{
	r->o->second_offset = number_or(v, -1, INT64_MAX, r->o->second_offset);
}

static void see_run_id(struct reading *r, struct span v)
{
	r->o->run_id = replid_of(v);
}

static void see_replid(struct reading *r, struct span v)
{
	r->o->replid = replid_of(v);
}

static void see_replid2(struct reading *r, struct span v)
{
	r->o->replid2 = replid_of(v);
}

static void see_master_host(struct reading *r, struct span v)
{
	host_of(v, r->o->upstream_host, sizeof r->o->upstream_host);
}

static void see_master_port(struct reading *r, struct span v)
{
	r->o->upstream_port = (uint16_t)number_or(v, 0, UINT16_MAX, r->o->upstream_port);
}

static void see_link(struct reading *r, struct span v)
{
	r->o->link_up = span_is(v, "up");
}

static void see_last_io(struct reading *r, struct span v)
{
	r->o->last_io_s = (int32_t)number_or(v, -1, INT32_MAX, r->o->last_io_s);
}

static void see_sync(struct reading *r, struct span v)
{
	r->said_sync = true;
	r->o->sync_in_progress = flag_of(v);
}

static void see_sync_total(struct reading *r, struct span v)
{
	r->total = number_or(v, -1, INT64_MAX, -1);
}

static void see_sync_read(struct reading *r, struct span v)
{
	r->read = number_or(v, -1, INT64_MAX, -1);
}

static void see_sync_left(struct reading *r, struct span v)
{
	r->left = number_or(v, -1, INT64_MAX, -1);
}

static void see_loading(struct reading *r, struct span v)
{
	r->o->loading = flag_of(v);
	if (!r->o->loading) {
		r->o->loading_pct = 0;
	}
}

static void see_loading_pct(struct reading *r, struct span v)
{
	r->o->loading_pct = (uint8_t)number_or(v, 0, 100, r->o->loading_pct);
}

static void see_clients(struct reading *r, struct span v)
{
	r->o->connected_clients = (uint32_t)number_or(v, 0, UINT32_MAX, r->o->connected_clients);
}

static void see_memory(struct reading *r, struct span v)
{
	r->o->used_memory_bytes = number_or(v, 0, INT64_MAX, r->o->used_memory_bytes);
}

static void see_sync_full(struct reading *r, struct span v)
{
	r->o->sync_full = number_or(v, 0, INT64_MAX, r->o->sync_full);
}

static void see_saving(struct reading *r, struct span v)
{
	r->said_save = true;
	r->saving = flag_of(v);
}

static void see_save_keys(struct reading *r, struct span v)
{
	r->save_keys = number_or(v, 0, INT64_MAX, 0);
}

static void see_save_time(struct reading *r, struct span v)
{
	r->save_s = number_or(v, 0, INT64_MAX, 0);
}

static void see_bgsave_status(struct reading *r, struct span v)
{
	r->said_bgsave = true;
	r->bgsave_failed = !span_is(v, "ok");
}

static void see_aof(struct reading *r, struct span v)
{
	r->o->aof_enabled = flag_of(v);
}

static void see_rewriting(struct reading *r, struct span v)
{
	r->said_rewrite = true;
	r->rewriting = flag_of(v);
}

static void see_rewrite_waits(struct reading *r, struct span v)
{
	r->said_rewrite = true;
	r->rewrite_waits = flag_of(v);
}

static void see_rewrite_status(struct reading *r, struct span v)
{
	r->o->aof_last_rewrite_ok = span_is(v, "ok");
}

static void see_write_status(struct reading *r, struct span v)
{
	r->o->aof_write_failed = !span_is(v, "ok");
}

/* clang-format off */
static const struct {
	const char *name;
	void (*see)(struct reading *r, struct span value);
} lines[] = {
	{ "role",                       see_role },
	{ "run_id",                     see_run_id },
	{ "master_replid",              see_replid },         /* 4.0 */
	{ "master_replid2",             see_replid2 },        /* 4.0 */
	{ "master_repl_offset",         see_offset },
	{ "second_repl_offset",         see_second_offset },  /* 4.0 */
	{ "slave_repl_offset",          see_slave_offset },
	{ "slave_read_repl_offset",     see_read_offset },    /* 6.2 */
	{ "master_host",                see_master_host },
	{ "master_port",                see_master_port },
	{ "master_link_status",         see_link },
	{ "master_last_io_seconds_ago", see_last_io },
	{ "master_sync_in_progress",    see_sync },
	{ "master_sync_total_bytes",    see_sync_total },     /* 6.2 */
	{ "master_sync_read_bytes",     see_sync_read },      /* 6.2 */
	{ "master_sync_left_bytes",     see_sync_left },
	{ "loading",                    see_loading },
	{ "loading_loaded_perc",        see_loading_pct },
	{ "connected_clients",          see_clients },
	{ "used_memory",                see_memory },
	{ "sync_full",                  see_sync_full },
	{ "rdb_bgsave_in_progress",     see_saving },
	{ "rdb_last_bgsave_status",     see_bgsave_status },
	{ "current_save_keys_processed", see_save_keys },     /* 7.0 */
	{ "rdb_current_bgsave_time_sec", see_save_time },
	{ "aof_enabled",                see_aof },
	{ "aof_rewrite_in_progress",    see_rewriting },
	{ "aof_rewrite_scheduled",      see_rewrite_waits },
	{ "aof_last_bgrewrite_status",  see_rewrite_status },
	{ "aof_last_write_status",      see_write_status },
};
/* clang-format on */

/* "db0:keys=2,expires=0,..." */
static void see_database(struct reading *r, struct span value)
{
	static const char head[] = "keys=";

	if (!span_starts(value, head)) {
		return;
	}
	int64_t keys = number_or(span_from(value, sizeof head - 1), 0, INT64_MAX, 0);

	if (__builtin_add_overflow(r->o->keys, keys, &r->o->keys)) {
		r->o->keys = INT64_MAX;
	}
}

static bool is_database(struct span name)
{
	return name.len > 2 && span_starts(name, "db") && isdigit((unsigned char)name.p[2]);
}

/* The section says that it is there, also when all databases are empty. */
static void begin_section(struct reading *r, struct span line)
{
	r->in_keyspace = span_is(line, "# Keyspace");
	if (r->in_keyspace) {
		r->recognised = true;
		r->o->keys = 0;
	}
}

static void read_line(struct reading *r, struct span line)
{
	if (line.len > 0 && line.p[0] == '#') {
		begin_section(r, line);
		return;
	}
	const char *colon = line.len == 0 ? NULL : memchr(line.p, ':', line.len);

	if (colon == NULL) {
		return;
	}
	struct span name = { line.p, (size_t)(colon - line.p) };
	struct span value = span_from(line, name.len + 1);

	if (r->in_keyspace && is_database(name)) {
		see_database(r, value);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		if (span_is(name, lines[i].name)) {
			r->recognised = true;
			lines[i].see(r, value);
			return;
		}
	}
}

/*
 * Versions before 6.2 tell only what is left: the most that was ever left stands for the total,
 * so that progress shows. A transfer without a known length (diskless) says 0 or -1 as total.
 */
static void set_progress(struct reading *r)
{
	struct observation *o = r->o;

	if (!o->sync_in_progress) {
		o->sync_done_bytes = -1;
		o->sync_total_bytes = -1;
	} else if (r->read >= 0) {
		o->sync_done_bytes = r->read;
		o->sync_total_bytes = r->total > 0 ? r->total : -1;
	} else if (r->left >= 0) {
		if (o->sync_total_bytes < r->left) {
			o->sync_total_bytes = r->left;
		}
		o->sync_done_bytes = o->sync_total_bytes - r->left;
	}
}

bool info_read(const char *text, size_t len, struct observation *o, struct err *e)
{
	struct observation seen = *o; /* kept whole until the text has proved to be INFO */
	struct reading r = { .o = &seen, .total = -1, .read = -1, .left = -1 };
	struct span rest = { text, len };

	while (rest.len > 0) {
		read_line(&r, span_take_line(&rest));
	}
	if (!r.recognised) {
		return err_set(e, ERR_INVALID, "the server's answer of %zu bytes is no INFO", len);
	}
	if (r.said_sync) {
		set_progress(&r);
	}
	if (r.said_save) {
		seen.save_progress = !r.saving ? -1 : r.save_keys > 0 ? r.save_keys : r.save_s;
	}
	if (r.said_rewrite) {
		seen.aof_rewriting = r.rewriting || r.rewrite_waits;
	}
	if (r.said_bgsave) {
		seen.disk_error = r.bgsave_failed || seen.aof_write_failed ||
				  (seen.aof_enabled && !seen.aof_last_rewrite_ok);
	}
	info_set_durable(&seen);
	*o = seen;
	return true;
}

void info_set_durable(struct observation *o)
{
	o->durable = o->aof_enabled && !o->aof_rewriting && o->aof_last_rewrite_ok &&
		     !o->aof_write_failed && !o->loading && !o->sync_in_progress;
}
