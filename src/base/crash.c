#include "base/crash.h"

#ifdef TANIST_CRASH_POINTS

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"

enum { NAME_BYTES = 120 };

static bool listing;

bool crash_list(void)
{
	listing = true;
	return true;
}

static void trace(const char *name)
{
	const char *path = getenv("TANIST_CRASH_TRACE");
	int fd = path == NULL ? -1 : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd >= 0) {
		dprintf(fd, "%s\n", name);
		close(fd);
	}
}

/* A byte for each pass, in a file: a program that was started again goes on counting. */
static uint64_t count_pass(const char *flag)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s.passes", flag);
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	off_t passes = fd >= 0 && write(fd, ".", 1) == 1 ? lseek(fd, 0, SEEK_CUR) : 0;

	if (fd >= 0) {
		close(fd);
	}
	return (uint64_t)passes;
}

/* "" when the file is not there: a test writes one name after another into it. */
static void read_wanted(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, buf, size - 1);

	buf[n > 0 ? n : 0] = '\0';
	if (fd >= 0) {
		close(fd);
	}
}

/* The point we are to stop at, and this is the pass that is meant. */
static bool is_wanted(const char *name, const char *flag)
{
	const char *wanted = getenv("TANIST_CRASH");
	char from_file[NAME_BYTES];
	size_t len = strlen(name);
	uint64_t pass = 1;

	if (wanted != NULL && wanted[0] == '@') {
		read_wanted(wanted + 1, from_file, sizeof from_file);
		wanted = from_file;
	}
	if (wanted == NULL || strncmp(wanted, name, len) != 0) {
		return false;
	}
	if (wanted[len] != '\0' && (wanted[len] != '#' || !str_to_u64(wanted + len + 1, &pass))) {
		return false;
	}
	return count_pass(flag) == pass;
}

void crash_point(const char *prefix, const char *what, const char *suffix)
{
	const char *flag = getenv("TANIST_CRASH_FLAG");
	const char *signal_name = getenv("TANIST_CRASH_SIGNAL");
	char name[NAME_BYTES];

	snprintf(name, sizeof name, "%s.%s.%s", prefix, what, suffix);
	if (listing) {
		puts(name);
		return;
	}
	trace(name);
	if (flag == NULL || !is_wanted(name, flag)) {
		return;
	}
	int fd = open(flag, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		return; /* it has crashed there once: this is the run after it */
	}
	LOG(LOG_WARN, "crash.reached", KV("point", name));
	dprintf(fd, "%d\n", getpid());
	close(fd);
	kill(getpid(), signal_name != NULL && str_eq(signal_name, "STOP") ? SIGSTOP : SIGKILL);
}

#else

bool crash_list(void)
{
	return false;
}

#endif
