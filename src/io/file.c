/*
 * Files as the programs keep their state in them: a reader finds the old content whole or the new
 * content whole, whatever moment the machine stopped at, and one program at a time owns a folder.
 */
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

void fd_closep(int *fd)
{
	if (*fd >= 0) {
		close(*fd);
	}
}

int fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* A temporary file that goes when it leaves scope, unless its name was emptied. */
static void unlinkp(char (*path)[PATH_MAX])
{
	if ((*path)[0] != '\0') {
		unlink(*path);
	}
}

static bool write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return false;
		}
		p += n;
		len -= (size_t)n;
	}
	return true;
}

/* Without this a rename is in the kernel's memory only, and the old content may be back. */
bool file_sync_parent(const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char parent[PATH_MAX] = ".";

	if (slash == path) {
		str_copy(parent, sizeof parent, "/");
	} else if (slash != NULL) {
		snprintf(parent, sizeof parent, "%.*s", (int)(slash - path), path);
	}
	auto_fd fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0) {
		return err_sys(e, "sync folder '%s'", parent);
	}
	return true;
}

bool file_replace(const char *path, const void *data, size_t len, mode_t mode, struct err *e)
{
	[[gnu::cleanup(unlinkp)]] char tmp[PATH_MAX] = "";

	if (strlen(path) + sizeof ".new" > sizeof tmp) {
		return err_set(e, ERR_INVALID, "a path of %zu bytes is too long", strlen(path));
	}
	snprintf(tmp, sizeof tmp, "%s.new", path);

	/* One left by a crash may have other rights or be a link: it is never written through. */
	unlink(tmp);
	auto_fd fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0) {
		tmp[0] = '\0';
		return err_sys(e, "create '%s.new'", path);
	}
	/* the umask does not decide who reads a secret, nor who cannot read the rest */
	if (fchmod(fd, mode) < 0 || !write_all(fd, data, len) || fsync(fd) < 0) {
		return err_sys(e, "write '%s'", tmp);
	}
	if (rename(tmp, path) < 0) {
		return err_sys(e, "rename '%s' to '%s'", tmp, path);
	}
	tmp[0] = '\0'; /* the rename took it: nothing left to unlink */
	return file_sync_parent(path, e);
}

/* Opens a regular file only: a FIFO put in its place would hold the loop up. */
static bool open_regular(const char *path, int *ret_fd, struct stat *ret_st, struct err *e)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 && errno == ENOENT) {
		return err_set(e, ERR_NOT_FOUND, "there is no '%s'", path);
	}
	if (fd < 0 || fstat(fd, ret_st) < 0) {
		return err_sys(e, "open '%s'", path);
	}
	if (!S_ISREG(ret_st->st_mode)) {
		return err_set(e, ERR_INVALID, "'%s' is no regular file", path);
	}
	*ret_fd = fd_take(&fd);
	return true;
}

/* Appends what is there, but not more than max + 1 bytes: one above tells that there is more. */
static bool read_up_to(int fd, size_t max, struct str *ret)
{
	char buf[16384];
	size_t left = max + 1;

	while (left > 0) {
		ssize_t n = read(fd, buf, left < sizeof buf ? left : sizeof buf);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			return n == 0;
		}
		str_append_mem(ret, buf, (size_t)n);
		left -= (size_t)n;
	}
	return true;
}

bool file_read(const char *path, size_t max, struct str *ret, struct err *e)
{
	auto_fd fd = -1;
	auto_str got = {};
	struct stat st;

	if (!open_regular(path, &fd, &st, e)) {
		return false;
	}
	if (!read_up_to(fd, max, &got)) {
		return err_sys(e, "read '%s'", path);
	}
	/* counted, not believed from fstat(): it may be growing, and files in /proc say 0 */
	if (got.len > max) {
		return err_set(e, ERR_OVER_LIMIT, "'%s' is larger than %zu bytes", path, max);
	}
	str_append_mem(ret, str_cstr(&got), got.len);
	return true;
}

bool file_read_tail(const char *path, size_t max, struct str *ret, struct err *e)
{
	auto_fd fd = -1;
	auto_str got = {};
	struct stat st;

	if (!open_regular(path, &fd, &st, e)) {
		return false;
	}
	if (st.st_size > (off_t)max && lseek(fd, st.st_size - (off_t)max, SEEK_SET) < 0) {
		return err_sys(e, "seek in '%s'", path);
	}
	if (!read_up_to(fd, max, &got)) {
		return err_sys(e, "read '%s'", path);
	}
	size_t len = got.len < max ? got.len : max;
	str_append_mem(ret, str_cstr(&got), len);
	return true;
}

bool file_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/*
 * The lock is the kernel's, on the open file: it goes with the process, however that ends. The
 * text in it is for the message only.
 */
static bool refuse_locked(int fd, const char *dir, struct err *e)
{
	char holder[160] = "";
	ssize_t n = pread(fd, holder, sizeof holder - 1, 0);

	holder[n > 0 ? n : 0] = '\0';
	holder[strcspn(holder, "\n")] = '\0';
	return err_set(e, ERR_CONFLICT, "'%s' is in use by %s", dir,
		       holder[0] == '\0' ? "another process" : holder);
}

bool dir_lock(const char *dir, const char *name, int *ret_fd, struct err *e)
{
	char path[PATH_MAX], holder[160];

	if (snprintf(path, sizeof path, "%s/lock", dir) >= (int)sizeof path) {
		return err_set(e, ERR_INVALID, "a path of %zu bytes is too long", strlen(dir));
	}
	auto_fd fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		return err_sys(e, "open '%s'", path);
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		return errno == EWOULDBLOCK ? refuse_locked(fd, dir, e)
					    : err_sys(e, "lock '%s'", path);
	}
	int len = snprintf(holder, sizeof holder, "%s, process %ld\n", name, (long)getpid());
	if (ftruncate(fd, 0) < 0 || !write_all(fd, holder, (size_t)len)) {
		return err_sys(e, "write '%s'", path);
	}
	*ret_fd = fd_take(&fd);
	return true;
}

static void read_boot_id(char *buf, size_t size)
{
	auto_str text = {};

#ifdef TANIST_CRASH_POINTS
	const char *played = getenv("TANIST_BOOT_ID"); /* tests play a reboot of the machine */
	if (played != NULL) {
		str_copy(buf, size, played);
		return;
	}
#endif
	if (file_read("/proc/sys/kernel/random/boot_id", size - 1, &text, NULL)) {
		snprintf(buf, size, "%.*s", (int)strcspn(text.p, "\n"), text.p);
	}
}

const char *boot_id(void)
{
	static char id[40];

	if (id[0] == '\0') {
		read_boot_id(id, sizeof id);
	}
	return id;
}
