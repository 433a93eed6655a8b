#include "agent/host_id.h"

#include "base/str.h"
#include "io/file.h"
#include "proto/json.h"

enum { HOST_FILE_MAX = 4096, HOST_FORMAT = 1 };

static bool create(const char *path, struct id *ret, struct err *e)
{
	auto_str text = {};
	struct jw w = { .out = &text };
	struct id id = id_new();

	jw_object(&w, NULL);
	jw_int(&w, "format", HOST_FORMAT);
	jw_id(&w, "id", id);
	jw_end(&w);
	if (!file_replace(path, text.p, text.len, 0600, e)) {
		return false;
	}
	*ret = id;
	return true;
}

bool host_id_load(const char *dir, struct id *ret, struct err *e)
{
	auto_str path = {};
	auto_str text = {};
	auto_json *j = NULL;
	struct err why;

	str_printf(&path, "%s/host.json", dir);
	if (!file_read(path.p, HOST_FILE_MAX, &text, &why)) {
		if (why.code == ERR_NOT_FOUND) {
			return create(path.p, ret, e);
		}
		*e = why;
		return false;
	}
	if (!json_parse(str_cstr(&text), text.len, &j, e) || !json_get_id(j, "id", ret, e)) {
		return err_wrap(e, "'%s'", path.p);
	}
	return true;
}
