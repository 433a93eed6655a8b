#include "agent/paths.h"

#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"
#include "io/file.h"

enum {
	SOCKET_ID_CHARS = 12, /* of the instance's id: unique on any host */
	HOST_ID_CHARS = 8,
	SOCKET_NAME_BYTES = 1 + SOCKET_ID_CHARS + sizeof ".sock",
	SOCKET_DIR_MAX = sizeof(((struct sockaddr_un *)0)->sun_path) - SOCKET_NAME_BYTES,
};

struct paths paths_of(const char *dir, const char *socket_dir, struct id instance, struct arena *a)
{
	struct id_text id = id_text(instance);
	const char *own = arena_printf(a, "%s/%s", paths_instances(dir, a), id.s);

	/* The first 12 hex digits, the hyphen between them left out. */
	return (struct paths){
		.dir = own,
		.data = arena_printf(a, "%s/data", own),
		.goal = arena_printf(a, "%s/goal.json", own),
		.goal_slots = arena_printf(a, "%s/goal.slots", own),
		.conf = arena_printf(a, "%s/redis.conf", own),
		.process = arena_printf(a, "%s/process.json", own),
		.marker = arena_printf(a, "%s/marker.json", own),
		.log = arena_printf(a, "%s/server.log", own),
		.pid = arena_printf(a, "%s/server.pid", own),
		.socket = arena_printf(a, "%s/%.8s%.4s.sock", socket_dir, id.s, id.s + 9),
	};
}

const char *paths_instances(const char *dir, struct arena *a)
{
	return arena_printf(a, "%s/instances", dir);
}

const char *paths_deleted(const char *dir, struct arena *a)
{
	return arena_printf(a, "%s/deleted", dir);
}

static bool make_own_folder(const char *path, struct err *e)
{
	struct stat st;

	if (strlen(path) > SOCKET_DIR_MAX) {
		return err_set(e, ERR_INVALID,
			       "'%s' is too long for a folder of sockets (at most %d)", path,
			       (int)SOCKET_DIR_MAX);
	}
	if (!dir_make(path, 0700, e)) {
		return false;
	}
	if (lstat(path, &st) != 0) {
		return err_sys(e, "look at '%s'", path);
	}
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0) {
		return err_set(
			e, ERR_FORBIDDEN,
			"'%s' is not a folder of ours alone: remove it, or set agent.socket_dir",
			path);
	}
	return true;
}

bool paths_socket_dir(const char *wanted, struct id host, struct arena *a, const char **ret,
		      struct err *e)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	struct id_text id = id_text(host);

	if (wanted[0] != '\0') {
		*ret = arena_strdup(a, wanted);
		return make_own_folder(*ret, e);
	}
	if (runtime != NULL && runtime[0] == '/') {
		*ret = arena_printf(a, "%s/tanist-%.*s", runtime, HOST_ID_CHARS, id.s);
		if (make_own_folder(*ret, NULL)) {
			return true;
		}
	}
	*ret = arena_printf(a, "/tmp/tanist-%u-%.*s", (unsigned)geteuid(), HOST_ID_CHARS, id.s);
	return make_own_folder(*ret, e);
}
