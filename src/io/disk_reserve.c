#include "io/disk_reserve.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"
#include "io/file.h"

static const int64_t refill_pause_ms = SEC(10);

void disk_reserve_init(struct disk_reserve *r, const char *path, size_t bytes)
{
	*r = (struct disk_reserve){ .bytes = bytes };
	snprintf(r->path, sizeof r->path, "%s-reserve", path);
	unlink(r->path); /* an old one counts as room */
	disk_reserve_refill(r);
}

bool disk_reserve_release(struct disk_reserve *r)
{
	if (!r->held) {
		return false;
	}
	r->held = false;
	r->again_at_ms = clock_ms() + refill_pause_ms;
	if (unlink(r->path) < 0) {
		return false;
	}
	LOG(LOG_WARN, "disk.reserve-released", KV("file", &r->path[0]), KV("bytes", r->bytes));
	return true;
}

void disk_reserve_refill(struct disk_reserve *r)
{
	if (r->held || clock_ms() < r->again_at_ms) {
		return;
	}
	r->again_at_ms = clock_ms() + refill_pause_ms;

	auto_fd fd = open(r->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		return;
	}
	/* Twice: what it takes must not be what the next commit lacks. */
	r->held = dir_free_bytes(r->path) >= 2 * (int64_t)r->bytes &&
		  posix_fallocate(fd, 0, (off_t)r->bytes) == 0;
	if (!r->held) {
		unlink(r->path);
	}
}
