#include "io/revisions.h"

#include "base/str.h"

enum { FIRST_CAP = 64 };

/* FNV-1a. Keys are our own: nobody outside chooses them. */
uint64_t revisions_hash(const char *key)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *key != '\0'; key++) {
		h = (h ^ (unsigned char)*key) * 0x100000001b3u;
	}
	return h;
}

/* Where it is, or the free slot where it belongs. */
static size_t slot_of(const struct revisions *r, const char *key, uint64_t hash)
{
	size_t i = hash & (r->cap - 1);

	while (r->slots[i] != NULL &&
	       (r->slots[i]->hash != hash || !str_eq(r->slots[i]->key, key))) {
		i = (i + 1) & (r->cap - 1);
	}
	return i;
}

static void grow(struct revisions *r)
{
	struct revisions old = *r;

	r->cap = old.cap == 0 ? FIRST_CAP : old.cap * 2;
	r->slots = calloc(r->cap, sizeof *r->slots);
	if (r->slots == NULL) {
		abort();
	}
	for (size_t i = 0; i < old.cap; i++) {
		if (old.slots[i] != NULL) {
			r->slots[slot_of(r, old.slots[i]->key, old.slots[i]->hash)] = old.slots[i];
		}
	}
	free(old.slots);
}

struct revision *revisions_find(const struct revisions *r, const char *key)
{
	return r->cap == 0 ? NULL : r->slots[slot_of(r, key, revisions_hash(key))];
}

struct revision *revisions_put(struct revisions *r, const char *key, uint64_t number)
{
	uint64_t hash = revisions_hash(key);

	if (r->n * 2 >= r->cap) {
		grow(r);
	}
	struct revision **slot = &r->slots[slot_of(r, key, hash)];
	if (*slot == NULL) {
		size_t len = strlen(key) + 1;
		struct revision *new = calloc(1, sizeof *new + len);

		if (new == NULL) {
			abort();
		}
		new->hash = hash;
		memcpy(new->key, key, len);
		*slot = new;
		r->n++;
	}
	(*slot)->number = number;
	return *slot;
}

/* Those behind it that are not where they belong move up, so that no search ends too early. */
void revisions_drop(struct revisions *r, const char *key)
{
	size_t hole, i;

	if (revisions_find(r, key) == NULL) {
		return;
	}
	hole = slot_of(r, key, revisions_hash(key));
	free(r->slots[hole]);
	r->slots[hole] = NULL;
	r->n--;
	for (i = (hole + 1) & (r->cap - 1); r->slots[i] != NULL; i = (i + 1) & (r->cap - 1)) {
		struct revision *moved = r->slots[i];

		r->slots[i] = NULL;
		r->slots[slot_of(r, moved->key, moved->hash)] = moved;
	}
}

void revisions_done(struct revisions *r)
{
	for (size_t i = 0; i < r->cap; i++) {
		free(r->slots[i]);
	}
	free(r->slots);
	*r = (struct revisions){};
}
