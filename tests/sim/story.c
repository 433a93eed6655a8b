/*
 * The story of a history: one line per event, with its virtual time.
 */
#include <stdarg.h>

#include "world.h"

void story(struct world *w, const char *fmt, ...)
{
	va_list ap;

	printf("%8" PRId64 " ", w->now_ms);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}
