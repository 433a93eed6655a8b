/*
 * Answers of the API. An instance is on every list, so this is written straight into the answer:
 * nothing is built first, and links are a prefix made once per request and an id.
 */
#include "proto/trove.h"

#include "core/status.h"

/* Bytes that may stand in a link as they are; all others are percent-encoded. */
static const bool fits_url[256] = {
	['0' ... '9'] = true, ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['-'] = true, ['.'] = true,
	['_'] = true,	      ['~'] = true,	    [':'] = true,	  ['['] = true, [']'] = true,
};

static size_t fit_run(const char *text)
{
	size_t n = 0;

	while (fits_url[(unsigned char)text[n]]) {
		n++;
	}
	return n;
}

static void put_encoded(struct str *out, const char *text)
{
	while (*text != '\0') {
		size_t run = fit_run(text);

		str_append_mem(out, text, run);
		text += run;
		if (*text != '\0') {
			str_printf(out, "%%%02X", (unsigned char)*text++);
		}
	}
}

void trove_links_init(struct trove_links *l, const char *scheme, const char *host,
		      const char *project, struct arena *a)
{
	auto_str s = {};

	*l = (struct trove_links){ .scheme = scheme, .host = host, .project = project };
	str_append_char(&s, '"');
	str_append(&s, scheme);
	str_append(&s, "://");
	put_encoded(&s, host);
	str_append_char(&s, '/');
	l->bookmark = arena_dup(a, s.p, s.len + 1);
	l->bookmark_len = s.len;
	str_append(&s, "v1.0/");
	put_encoded(&s, project);
	str_append_char(&s, '/');
	l->self = arena_dup(a, s.p, s.len + 1);
	l->self_len = s.len;
}

/* Links stand on every list many times over: they are put together from pieces, in one go. */
struct piece {
	const char *p;
	size_t len;
};
#define PIECE(literal) { (literal), sizeof(literal) - 1 }

static void append_pieces(struct str *out, const struct piece *pieces, size_t n)
{
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		len += pieces[i].len;
	}
	char *at = str_room(out, len);

	for (size_t i = 0; i < n; i++) {
		at = (char *)memcpy(at, pieces[i].p, pieces[i].len) + pieces[i].len;
	}
	*at = '\0';
	out->len += len;
}

void trove_write_links(struct jw *w, const struct trove_links *l, const char *kind, const char *id)
{
	auto_str encoded = {};

	if (id[fit_run(id)] != '\0') {
		put_encoded(&encoded, id);
		id = encoded.p;
	}
	const size_t kind_len = strlen(kind), id_len = strlen(id);
	const struct piece pieces[] = {
		PIECE("[{\"href\":"),
		{ l->self, l->self_len },
		{ kind, kind_len },
		PIECE("/"),
		{ id, id_len },
		PIECE("\",\"rel\":\"self\"},{\"href\":"),
		{ l->bookmark, l->bookmark_len },
		{ kind, kind_len },
		PIECE("/"),
		{ id, id_len },
		PIECE("\",\"rel\":\"bookmark\"}]"),
	};

	jw_raw(w, "links", "", 0);
	append_pieces(w->out, pieces, ARRAY_LEN(pieces));
}

void trove_write_next(struct jw *w, const struct trove_links *l, const char *what, int64_t limit,
		      struct id marker, const char *extra)
{
	jw_array(w, "links");
	jw_object(w, NULL);
	jw_str(w, "rel", "next");
	jw_raw(w, "href", l->self, l->self_len);
	str_printf(w->out, "%s?limit=%lld&marker=%s%s\"", what, (long long)limit, id_text(marker).s,
		   extra);
	jw_end(w);
	jw_end(w);
}

void trove_version_name(const char *version, char *buf, size_t size)
{
	const char *dot = strchr(version, '.');
	const char *patch = dot == NULL ? NULL : strchr(dot + 1, '.');

	str_copy(buf, size, version);
	if (patch != NULL && (size_t)(patch - version) < size) {
		buf[patch - version] = '\0';
	}
}

static void write_member_ref(struct jw *w, const char *key, struct id id,
			     const struct trove_links *l)
{
	struct id_text text = id_text(id);

	jw_object(w, key);
	jw_str(w, "id", text.s);
	trove_write_links(w, l, "instances", text.s);
	jw_end(w);
}

static void write_datastore(struct jw *w, const struct member *m, enum trove_depth depth)
{
	char name[32];

	trove_version_name(m->version, name, sizeof name);
	jw_object(w, "datastore");
	jw_str(w, "type", m->datastore);
	jw_str(w, "version", name);
	if (depth != TROVE_LIST) {
		jw_str(w, "version_number", m->version);
	}
	jw_end(w);
}

static bool building(const struct member *m)
{
	return m->state == MEMBER_STARTING || m->state == MEMBER_SYNCING;
}

static void write_kind(struct jw *w, const struct trove_instance *i, enum trove_depth depth,
		       const struct trove_links *l)
{
	const struct member *m = i->m;

	jw_object(w, "flavor");
	jw_str(w, "id", m->flavor);
	trove_write_links(w, l, "flavors", m->flavor);
	jw_end(w);
	write_datastore(w, m, depth);
	jw_str(w, "region", i->region);
	jw_object(w, "access");
	if (!building(m)) {
		jw_bool(w, "is_public", false);
	}
	jw_end(w);
}

static bool alike(const struct member *a, const struct member *b)
{
	return str_eq(a->flavor, b->flavor) && str_eq(a->datastore, b->datastore) &&
	       str_eq(a->version, b->version) && building(a) == building(b);
}

/* A third of a list is the same from item to item: it is copied from the item before. */
static void write_common(struct jw *w, const struct trove_instance *i, enum trove_depth depth,
			 const struct trove_links *l)
{
	struct trove_repeat none = {};
	struct trove_repeat *r = i->repeat != NULL ? i->repeat : &none;
	struct str *out = w->out;

	if (r->like == NULL || !alike(r->like, i->m)) {
		size_t at = out->len;

		write_kind(w, i, depth, l);
		*r = (struct trove_repeat){ .like = i->m, .at = at, .len = out->len - at };
		return;
	}
	char *to = str_room(out, r->len); /* the answer may move here */

	memcpy(to, out->p + r->at, r->len);
	to[r->len] = '\0';
	out->len += r->len;
}

/* As Trove, which asks the server itself: only for GET one, and not while much is going on there.
 */
static bool shows_used(const struct trove_instance *i, enum trove_depth depth)
{
	const char *status = status_of(i->g, i->m);

	return depth == TROVE_SHOW && i->o != NULL && !building(i->m) &&
	       !str_eq(status, "PROMOTE") && !str_eq(status, "EJECT") && !str_eq(status, "REBOOT");
}

static void write_volume(struct jw *w, const struct trove_instance *i, enum trove_depth depth)
{
	jw_object(w, "volume");
	jw_uint(w, "size", i->m->volume_gb);
	if (shows_used(i, depth)) {
		jw_double(w, "used", (double)i->o->disk_used_bytes / (double)GIB(1), 2);
	}
	jw_end(w);
}

static void write_addresses(struct jw *w, const struct member *m)
{
	jw_array(w, "ip");
	jw_str(w, NULL, m->address);
	jw_end(w);
	jw_array(w, "addresses");
	jw_object(w, NULL);
	jw_str(w, "address", m->address);
	jw_str(w, "type", "private");
	/* clients expect a network's id; the pool of a host is the only network there is */
	jw_id(w, "network", id_of_name("network"));
	jw_end(w);
	jw_end(w);
}

static void write_relations(struct jw *w, const struct trove_instance *i,
			    const struct trove_links *l)
{
	const struct group *g = i->g;

	if (!id_eq(g->source, i->m->id)) {
		write_member_ref(w, "replica_of", g->source, l);
		return;
	}
	if (group_replica_count(g) == 0) {
		return;
	}
	jw_array(w, "replicas");
	for (size_t k = 0; k < g->nmembers; k++) {
		const struct member *r = &g->members[k];

		if (r->state != MEMBER_DELETING && !id_eq(r->id, g->source)) {
			write_member_ref(w, NULL, r->id, l);
		}
	}
	jw_end(w);
}

/* Of the record, else what is seen right now. */
static void write_fault(struct jw *w, const struct trove_instance *i)
{
	const struct fault *f = &i->m->fault;
	bool recorded = f->kind != FAULT_NONE;
	char seen[sizeof f->text];

	if (!recorded && !status_trouble(i->g, i->m, i->o, i->source_o, seen, sizeof seen)) {
		return;
	}
	jw_object(w, "fault");
	jw_str(w, "message", recorded ? f->text : seen);
	jw_time(w, "created", recorded ? f->at_wall_ms : i->wall_ms, JW_NAIVE);
	jw_str(w, "details", i->admin && recorded ? fault_kind_name(f->kind) : NULL);
	jw_end(w);
}

/* How many bytes a linked replica is behind; false: it cannot be known. */
static bool lag_of(const struct trove_instance *i, int64_t *ret)
{
	const struct observation *o = i->o, *s = i->source_o;

	if (o == NULL || s == NULL || id_eq(i->g->source, i->m->id) || !o->link_up ||
	    !replid_eq(&o->replid, &s->replid)) {
		return false;
	}
	*ret = s->offset > o->slave_offset ? s->offset - o->slave_offset : 0;
	return true;
}

/* The first copy on its way. Where the server tells no total, the source's memory is a guess. */
static void write_sync(struct jw *w, const struct observation *o, const struct observation *source)
{
	bool told = o->sync_total_bytes >= 0;
	int64_t guess = source == NULL ? 0 : source->used_memory_bytes;

	jw_object(w, "sync");
	jw_int(w, "done_bytes", o->sync_done_bytes > 0 ? o->sync_done_bytes : 0);
	jw_int(w, "total_bytes", told ? o->sync_total_bytes : guess);
	jw_bool(w, "estimated", !told);
	jw_end(w);
}

static void write_durability(struct jw *w, const struct group *g)
{
	char text[TROVE_DURABILITY_BYTES];

	jw_str(w, "durability", trove_durability_text(g->durability, text, sizeof text));
}

/* What runs in its group, and how the last thing that somebody asked for ended. */
static void write_operations(struct jw *w, const struct group *g)
{
	const struct operation *op = &g->op;
	const struct op_outcome *last = &g->last;

	if (op->kind != OP_NONE) {
		jw_object(w, "operation");
		jw_id(w, "id", op->id);
		jw_str(w, "operation", op_kind_name(op->kind));
		jw_str(w, "phase", op_phase_name(op->phase));
		jw_id(w, "target", op->target);
		jw_time(w, "since", op->started_wall_ms, JW_ZULU);
		jw_end(w);
	}
	if (!id_is_zero(last->op)) {
		jw_object(w, "last_operation");
		jw_id(w, "id", last->op);
		jw_str(w, "operation", op_kind_name(last->kind));
		jw_bool(w, "done", last->done);
		jw_str(w, "reason", last->reason);
		jw_time(w, "at", last->at_wall_ms, JW_ZULU);
		jw_end(w);
	}
}

/* Keys that Trove lacks; always at the top level of an instance, where clients ignore them. */
static void write_own(struct jw *w, const struct trove_instance *i, enum trove_depth depth)
{
	const struct group *g = i->g;
	const struct member *m = i->m;
	bool source = id_eq(g->source, m->id);
	int64_t lag;

	jw_uint(w, "port", m->port);
	jw_str(w, "role", source ? "source" : "replica");
	jw_str(w, "group", g->name);
	jw_id(w, "group_id", g->id);
	jw_uint(w, "epoch", g->epoch);
	jw_str(w, "host", m->host);
	if (lag_of(i, &lag)) {
		jw_int(w, "lag_bytes", lag);
	}
	if (i->o != NULL) {
		jw_bool(w, "durable", i->o->durable);
		if (!source && building(m)) {
			write_sync(w, i->o, i->source_o);
		}
	}
	if (depth == TROVE_LIST) {
		return;
	}
	write_durability(w, g);
	write_operations(w, g);
	if (i->replica_ids != NULL) {
		jw_array(w, "replica_ids");
		for (size_t k = 0; k < i->nreplica_ids; k++) {
			jw_id(w, NULL, i->replica_ids[k]);
		}
		jw_end(w);
	}
}

void trove_write_instance(struct jw *w, const char *key, const struct trove_instance *i,
			  enum trove_depth depth, const struct trove_links *l)
{
	const struct member *m = i->m;
	struct id_text id = id_text(m->id);
	const char *status = status_of(i->g, m);

	jw_object(w, key);
	jw_str(w, "id", id.s);
	jw_str(w, "name", m->name);
	jw_str(w, "status", str_eq(status, "ACTIVE") ? i->active_status : status);
	jw_str(w, "operating_status", operating_status_of(i->g, m, i->o, i->silent));
	trove_write_links(w, l, "instances", id.s);
	write_common(w, i, depth, l);
	if (i->admin) {
		jw_str(w, "tenant_id", i->g->project);
	}
	write_volume(w, i, depth);
	if (!building(m)) {
		write_addresses(w, m);
	}
	write_relations(w, i, l);
	if (depth != TROVE_LIST) {
		jw_time(w, "created", m->created_wall_ms, JW_NAIVE);
		jw_time(w, "updated", m->updated_wall_ms, JW_NAIVE);
		jw_time(w, "service_status_updated", m->state_since_wall_ms, JW_NAIVE);
		write_fault(w, i);
		if (i->g->locality != PLACE_ANYWHERE) {
			jw_str(w, "locality", place_locality_name(i->g->locality));
		}
	}
	write_own(w, i, depth);
	jw_end(w);
}

static void write_named_fault(const char *name, int status, const char *text, struct str *out)
{
	struct jw w = { .out = out };

	jw_object(&w, NULL);
	jw_object(&w, name);
	jw_int(&w, "code", status);
	jw_str(&w, "message", text);
	jw_end(&w);
	jw_end(&w);
}

void trove_write_fault(const struct err *e, struct str *out)
{
	write_named_fault(err_fault_key(e->code), err_http_status(e->code), e->msg, out);
}

void trove_write_status_fault(int status, const char *text, struct str *out)
{
	for (enum err_code c = ERR_NONE + 1; c < ERR_COUNT; c++) {
		if (err_http_status(c) == status) {
			write_named_fault(err_fault_key(c), status, text, out);
			return;
		}
	}
	write_named_fault(status >= 500 ? "serviceUnavailable" : "badRequest", status, text, out);
}
