/*
 * The record of a host. An agent's report carries the same fields: what the agent may say of its
 * host is what the store keeps of it.
 */
#include "proto/fields.h"
#include "proto/record.h"

#include <inttypes.h>

#define NEEDED .need = FIELD_NEEDED

/* clang-format off */
static const struct field host_rows[] = {
	{ "id",           FIELD_ID,   FIELD_AT(struct host, id), NEEDED },
	{ "name",         FIELD_TEXT, FIELD_AT(struct host, name), NEEDED, .min = 1 },
	{ "addresses",    FIELD_TEXT, FIELD_AT(struct host, pool_addresses), NEEDED, .min = 1 },
	{ "ports",        FIELD_TEXT, FIELD_AT(struct host, pool_ports), NEEDED, .min = 1 },
	{ "memory_bytes", FIELD_I64,  FIELD_AT(struct host, memory_bytes), .max = INT64_MAX },
	{ "disk_bytes",   FIELD_I64,  FIELD_AT(struct host, disk_bytes), .max = INT64_MAX },
};

static const struct field datastore_rows[] = {
	{ "datastore", FIELD_TEXT, FIELD_AT(struct host_datastore, datastore), NEEDED, .min = 1 },
	{ "version",   FIELD_TEXT, FIELD_AT(struct host_datastore, version), NEEDED, .min = 1 },
	{ "binary",    FIELD_TEXT, FIELD_AT(struct host_datastore, binary), NEEDED, .min = 1 },
};
/* clang-format on */

static const struct field_list datastores_list = {
	.key = "datastores",
	.rows = datastore_rows,
	.nrows = ARRAY_LEN(datastore_rows),
	.size = sizeof(struct host_datastore),
	.max = HOST_DATASTORES_MAX,
};

static void put_fields(struct jw *w, const struct host *h)
{
	fields_write(w, host_rows, ARRAY_LEN(host_rows), h);
	fields_write_list(w, &datastores_list, h->datastores, h->ndatastores);
}

void record_put_host(struct jw *w, const char *key, const struct host *h)
{
	jw_object(w, key);
	put_fields(w, h);
	jw_end(w);
}

/* The name becomes a part of a key and of paths: no slash, nothing that a terminal would act on. */
static bool check_name(const char *name, struct err *e)
{
	for (const char *c = name; *c != '\0'; c++) {
		if ((unsigned char)*c <= ' ' || *c == 0x7f || *c == '/') {
			return err_set(
				e, ERR_INVALID,
				"'name' of a host has no spaces, slashes or control characters");
		}
	}
	return true;
}

bool record_get_host(const json_t *o, struct host *ret, struct err *e)
{
	auto_arena a = {};
	struct host h = {};
	void *datastores;

	if (!fields_read(o, host_rows, ARRAY_LEN(host_rows), NULL, &h, e) ||
	    !check_name(h.name, e) ||
	    !fields_read_list(o, &datastores_list, &a, &datastores, &h.ndatastores, e) ||
	    !pool_parse(h.pool_addresses, h.pool_ports, &h.pool, e)) {
		return false;
	}
	memcpy(h.datastores, datastores, h.ndatastores * sizeof h.datastores[0]);
	*ret = h;
	return true;
}

void record_write_host(const struct host *h, struct str *out)
{
	struct jw w = { .out = out };

	jw_object(&w, NULL);
	jw_int(&w, "format", RECORD_FORMAT);
	put_fields(&w, h);
	jw_end(&w);
}
