#include "base/err.h"

#include <errno.h>
#include <stdarg.h>

#define ERR_ROW(name, status, fault) [ERR_##name] = { status, fault },
static const struct {
	int status;
	const char *fault;
} rows[ERR_COUNT] = { [ERR_NONE] = { 200, "" }, ERR_LIST(ERR_ROW) };
#undef ERR_ROW

bool err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
	va_list ap;

	if (e == NULL) {
		return false;
	}
	e->code = code;
	e->sys = 0;
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof e->msg, fmt, ap);
	va_end(ap);
	return false;
}

bool err_sys(struct err *e, const char *fmt, ...)
{
	int sys = errno;
	char what[300];
	va_list ap;

	if (e == NULL) {
		return false;
	}
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	e->code = ERR_IO;
	e->sys = sys;
	snprintf(e->msg, sizeof e->msg, "%s: %s", what, strerrordesc_np(sys));
	return false;
}

bool err_wrap(struct err *e, const char *fmt, ...)
{
	char what[200];
	char old[sizeof e->msg];
	va_list ap;

	if (e == NULL) {
		return false;
	}
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	memcpy(old, e->msg, sizeof old);
	snprintf(e->msg, sizeof e->msg, "%s: %s", what, old);
	return false;
}

int err_http_status(enum err_code code)
{
	return rows[code].status;
}

const char *err_fault_key(enum err_code code)
{
	return rows[code].fault;
}
