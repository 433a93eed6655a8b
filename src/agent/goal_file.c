#include "agent/goal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "agent/engine_state.h"
#include "base/str.h"
#include "io/file.h"
#include "proto/wire.h"

/*
 * Whole blocks of the file system, so that a torn write spoils one slot, and nothing is read first.
 * A goal takes 1 KB, with the longest of names 4; a larger one would go the way without slots.
 */
enum { SLOT_BYTES = 8192, SLOTS_BYTES = 2 * SLOT_BYTES };

static const char magic[8] = { 'T', 'A', 'N', 'G', 'O', 'A', 'L', '1' };

/* In this machine's byte order: the file does not leave it. The JSON follows, then zeros. */
struct header {
	char magic[8];
	uint64_t turn; /* counts the goals written: the highest is the newest */
	uint64_t len;
	uint64_t sum;
};

enum { ROOM_BYTES = SLOT_BYTES - sizeof(struct header) };

/* FNV-1a is enough: it has to notice a write that a crash has torn, not somebody who means harm. */
static uint64_t sum_slot(const struct header *h, const char *json)
{
	uint64_t sum = sum_of(&h->len, sizeof h->len, sum_of(&h->turn, sizeof h->turn, 0));

	return sum_of(json, h->len, sum);
}

/* A slot as it was read. */
struct slot {
	uint64_t turn; /* 0: nothing whole is in it */
	const char *json;
	size_t len;
};

static struct slot slot_at(const char *p)
{
	struct header h;
	const char *json = p + sizeof h;

	memcpy(&h, p, sizeof h);
	if (memcmp(h.magic, magic, sizeof magic) != 0 || h.len > ROOM_BYTES ||
	    h.sum != sum_slot(&h, json)) {
		return (struct slot){};
	}
	return (struct slot){ .turn = h.turn, .json = json, .len = h.len };
}

/* Writes a whole slot to p. */
static void fill_slot(char *p, uint64_t turn, const char *json, size_t len)
{
	struct header h = { .turn = turn, .len = len };

	memcpy(h.magic, magic, sizeof magic);
	h.sum = sum_slot(&h, json);
	memset(p, 0, SLOT_BYTES);
	memcpy(p, &h, sizeof h);
	memcpy(p + sizeof h, json, len);
}

struct slots {
	struct str image;
	unsigned newer; /* 0 or 1 */
	struct slot newest;
};

static void slots_done(struct slots *s)
{
	str_done(&s->image);
}
#define auto_slots [[gnu::cleanup(slots_done)]] struct slots

static bool slots_read(const char *path, struct slots *ret, struct err *e)
{
	auto_str image = {};

	if (!file_read(path, SLOTS_BYTES, &image, e)) {
		return false;
	}
	if (image.len != SLOTS_BYTES) {
		return err_set(e, ERR_INVALID, "'%s' has %zu bytes", path, image.len);
	}
	struct slot both[] = { slot_at(image.p), slot_at(image.p + SLOT_BYTES) };
	unsigned newer = both[1].turn > both[0].turn;
	*ret = (struct slots){ .image = image, .newer = newer, .newest = both[newer] };
	image = (struct str){};
	return true;
}

static bool write_at(int fd, const char *p, size_t len, off_t at)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, at);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return false;
		}
		p += n;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

/*
 * After a failed sync the kernel shows what it could not write as if it were on the disk: such a
 * slot must not be taken for the newest.
 */
static bool spoil(int fd, const char *path, off_t at, struct err *e)
{
	static const char nothing[sizeof(struct header)];

	err_sys(e, "write '%s'", path);
	(void)write_at(fd, nothing, sizeof nothing, at);
	return false;
}

/* Over the older of the two, in place. */
static bool slots_write(const char *path, const char *json, size_t len, struct err *e)
{
	auto_slots s = {};
	char slot[SLOT_BYTES];

	if (len > ROOM_BYTES) {
		return err_set(e, ERR_OVER_LIMIT, "'%s' has no room for %zu bytes", path, len);
	}
	if (!slots_read(path, &s, e)) {
		return false;
	}
	fill_slot(slot, s.newest.turn + 1, json, len);
	off_t at = s.newer == 0 ? SLOT_BYTES : 0;
	auto_fd fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		return err_sys(e, "open '%s'", path);
	}
	if (!write_at(fd, slot, sizeof slot, at) || fdatasync(fd) < 0) {
		return spoil(fd, path, at, e);
	}
	return true;
}

static bool slots_make(const char *path, const char *json, size_t len, struct err *e)
{
	char image[SLOTS_BYTES] = {};

	if (len > ROOM_BYTES) {
		return true;
	}
	fill_slot(image, 1, json, len);
	return file_replace(path, image, sizeof image, 0600, e);
}

/* Where goal.json has the newest one, slots with the same numbers but older settings must go. */
static bool slots_remove(const char *path, struct err *e)
{
	if (unlink(path) == 0) {
		return file_sync_parent(path, e);
	}
	return errno == ENOENT || err_sys(e, "remove '%s'", path);
}

bool goal_file_save(const struct paths *p, const char *json, size_t len, struct err *e)
{
	struct err why = {};

	if (slots_write(p->goal_slots, json, len, &why) ||
	    (why.code == ERR_NOT_FOUND && slots_make(p->goal_slots, json, len, NULL))) {
		return true;
	}
	/* Too large a goal, or a disk that fails: the way that needs no slots. */
	return file_replace(p->goal, json, len, 0600, e) && slots_remove(p->goal_slots, e);
}

/* What the two files hold. */
struct found {
	bool has_slots;
	struct slots slots;
	struct str json;
	const char *text; /* of the goal that counts */
	size_t len;
};

static void found_done(struct found *f)
{
	slots_done(&f->slots);
	str_done(&f->json);
}
#define auto_found [[gnu::cleanup(found_done)]] struct found

/*
 * A slot that is whole and yet unreadable, by a later version say, is the newest all the same: to
 * take an older goal in its place would be to accept what was refused before.
 */
static bool find(const struct paths *p, struct found *f, struct arena *a, struct goal *ret,
		 struct err *e)
{
	struct goal from_slot, from_json;
	struct err why;

	f->has_slots = slots_read(p->goal_slots, &f->slots, NULL);
	const struct slot *s = &f->slots.newest;
	bool slot = s->turn > 0;
	if (slot && !wire_read_goal(s->json, s->len, a, &from_slot, e)) {
		return err_wrap(e, "'%s'", p->goal_slots);
	}
	bool json = file_read(p->goal, WIRE_BODY_MAX, &f->json, &why) &&
		    wire_read_goal(str_cstr(&f->json), f->json.len, a, &from_json, &why);
	if (slot && json) {
		slot = goal_cmp(from_slot.epoch, from_slot.revision, from_json.epoch,
				from_json.revision) >= 0;
	}
	if (!slot && !json) {
		return err_set(e, why.code, "%s", why.msg);
	}
	f->text = slot ? s->json : f->json.p;
	f->len = slot ? s->len : f->json.len;
	*ret = slot ? from_slot : from_json;
	return true;
}

bool goal_file_load(const struct paths *p, struct arena *a, struct goal *ret, struct err *e)
{
	auto_found f = {};

	return find(p, &f, a, ret, e);
}

bool goal_file_settle(const struct paths *p, struct err *e)
{
	auto_found f = {};
	auto_arena a = {};
	struct goal g;

	if (!find(p, &f, &a, &g, e)) {
		return false;
	}
	bool behind = f.json.len != f.len || memcmp(str_cstr(&f.json), f.text, f.len) != 0;
	if (behind && !file_replace(p->goal, f.text, f.len, 0600, e)) {
		return false;
	}
	return f.has_slots || slots_make(p->goal_slots, f.text, f.len, e);
}
