#include "base/crash.h"

#ifdef TANIST_CRASH_POINTS

#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"

void crash_point(const char *prefix, const char *what, const char *suffix)
{
	const char *wanted = getenv("TANIST_CRASH");
	const char *flag = getenv("TANIST_CRASH_FLAG");
	char name[120];

	if (wanted == NULL || flag == NULL) {
		return;
	}
	snprintf(name, sizeof name, "%s.%s.%s", prefix, what, suffix);
	if (!str_eq(wanted, name)) {
		return;
	}
	int fd = open(flag, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		return; /* it has crashed there once: this is the run after it */
	}
	close(fd);
	LOG(LOG_WARN, "crash.reached", KV("point", name));
	kill(getpid(), SIGKILL);
}

#else
typedef int crash_points_are_off; /* an empty file is no C file */
#endif
