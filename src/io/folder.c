#include "io/folder.h"

#include <errno.h>
#include <limits.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/str.h"

struct watched {
	int wd;
	const char *file;
	loop_fn *fn;
	void *arg;
};

struct folders {
	int fd;
	struct fd_watch *watch;
	struct watched *items;
	size_t n;
};

/* At most one per turn and folder that matters: the owner looks at the file as it is now. */
static void tell(const struct folders *f, const struct inotify_event *ev)
{
	for (size_t i = 0; ev->len > 0 && i < f->n; i++) {
		const struct watched *w = &f->items[i];

		if (w->wd == ev->wd && str_eq(w->file, ev->name)) {
			w->fn(w->arg);
			return;
		}
	}
}

static void on_readable(void *arg)
{
	struct folders *f = arg;
	_Alignas(struct inotify_event) char buf[4 * (sizeof(struct inotify_event) + NAME_MAX + 1)];
	ssize_t n;

	while ((n = read(f->fd, buf, sizeof buf)) > 0) {
		const struct inotify_event *ev;

		for (const char *p = buf; p < buf + n; p += sizeof *ev + ev->len) {
			ev = (const struct inotify_event *)(const void *)p;
			tell(f, ev);
		}
	}
}

struct folders *folders_new(struct loop *l)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	if (fd < 0) {
		return NULL;
	}
	struct folders *f = calloc(1, sizeof *f);

	if (f == NULL) {
		abort();
	}
	f->fd = fd;
	f->watch = fd_watch_new(l, fd, on_readable, f);
	return f;
}

void folders_free(struct folders *f)
{
	if (f == NULL) {
		return;
	}
	fd_watch_free(f->watch);
	close(f->fd);
	free(f->items);
	free(f);
}

static struct watched *find(const struct folders *f, const void *arg)
{
	for (size_t i = 0; i < f->n; i++) {
		if (f->items[i].arg == arg) {
			return &f->items[i];
		}
	}
	return NULL;
}

void folders_watch(struct folders *f, const char *path, const char *file, loop_fn *fn, void *arg)
{
	if (f == NULL) {
		return;
	}
	/* The same number again for a folder that is watched already. */
	int wd = inotify_add_watch(f->fd, path, IN_MOVED_TO | IN_ONLYDIR);
	struct watched *w = find(f, arg);

	if (w != NULL && w->wd == wd) {
		return;
	}
	folders_forget(f, arg);
	if (wd < 0) {
		return;
	}
	struct watched *more = reallocarray(f->items, f->n + 1, sizeof *more);

	if (more == NULL) {
		abort();
	}
	f->items = more;
	f->items[f->n++] = (struct watched){ .wd = wd, .file = file, .fn = fn, .arg = arg };
}

void folders_forget(struct folders *f, const void *arg)
{
	struct watched *w = f == NULL ? NULL : find(f, arg);

	if (w != NULL) {
		(void)inotify_rm_watch(f->fd, w->wd); /* gone already when its folder is */
		*w = f->items[--f->n];
	}
}
