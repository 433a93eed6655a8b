/*
 * Folders: made, measured and removed. Walks hold folders open by descriptor and never follow a
 * link, so that nothing outside is touched whatever a server has put inside.
 */
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* A server's folder is two deep. Deeper ones are not ours, and each level holds a descriptor. */
enum { DIR_DEPTH_MAX = 32 };

static void dir_closep(DIR **d)
{
	if (*d != NULL) {
		closedir(*d);
	}
}
#define auto_dir [[gnu::cleanup(dir_closep)]] DIR

static bool make_one(const char *path, mode_t mode, struct err *e)
{
	struct stat st;

	if (mkdir(path, mode) == 0) {
		return true;
	}
	if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		return true;
	}
	return err_sys(e, "make folder '%s'", path);
}

bool dir_make(const char *path, mode_t mode, struct err *e)
{
	char part[PATH_MAX];

	if (!str_copy(part, sizeof part, path)) {
		return err_set(e, ERR_INVALID, "a path of %zu bytes is too long", strlen(path));
	}
	for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (!make_one(part, 0755, e)) {
			return false;
		}
		*slash = '/';
	}
	return make_one(part, mode, e);
}

static DIR *open_dir_at(int parent, const char *name)
{
	auto_fd fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (d != NULL) {
		fd_take(&fd); /* closedir() closes it */
	}
	return d;
}

/* The next entry but "." and "..". NULL at the end (errno 0) and on failure. */
static const char *next_name(DIR *d)
{
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(d);

		if (entry == NULL) {
			return NULL;
		}
		if (!str_eq(entry->d_name, ".") && !str_eq(entry->d_name, "..")) {
			return entry->d_name;
		}
	}
}

/* Files that vanish meanwhile (a server's temporary ones) are what was wanted. */
static bool remove_at(int parent, const char *name, unsigned depth)
{
	if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) {
		return true;
	}
	if (errno != EISDIR && errno != EPERM) {
		return false;
	}
	if (depth == DIR_DEPTH_MAX) {
		errno = ELOOP;
		return false;
	}
	auto_dir *d = open_dir_at(parent, name);
	if (d == NULL) {
		return errno == ENOENT;
	}
	for (const char *inner = next_name(d); inner != NULL; inner = next_name(d)) {
		if (!remove_at(dirfd(d), inner, depth + 1)) {
			return false;
		}
	}
	return errno == 0 && (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT);
}

bool dir_remove(const char *path, struct err *e)
{
	return remove_at(AT_FDCWD, path, 0) || err_sys(e, "remove '%s'", path);
}

int64_t dir_free_bytes(const char *path)
{
	struct statvfs fs;

	if (statvfs(path, &fs) < 0) {
		return -1;
	}
	return (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
}

/* Blocks on the disk, not lengths: a sparse file takes what it takes. -1 on failure. */
static int64_t used_at(int parent, const char *name, unsigned depth)
{
	struct stat st;

	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		return errno == ENOENT && depth > 0 ? 0 : -1;
	}
	int64_t bytes = (int64_t)st.st_blocks * 512;
	if (!S_ISDIR(st.st_mode)) {
		return bytes;
	}
	if (depth == DIR_DEPTH_MAX) {
		return -1;
	}
	auto_dir *d = open_dir_at(parent, name);
	if (d == NULL) {
		return errno == ENOENT && depth > 0 ? 0 : -1;
	}
	for (const char *inner = next_name(d); inner != NULL; inner = next_name(d)) {
		int64_t below = used_at(dirfd(d), inner, depth + 1);

		if (below < 0) {
			return -1;
		}
		bytes += below;
	}
	return bytes;
}

int64_t dir_used_bytes(const char *path)
{
	return used_at(AT_FDCWD, path, 0);
}
