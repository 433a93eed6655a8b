/*
 * Placement: which host a new instance goes to. Pure; who asks gathers what is known of the hosts,
 * what is promised to instances there, and where the group's members live.
 *
 * A host is fit when its agent is heard and wants more, has the version, and has room: an address,
 * memory by the flavor, disk by the volume. Of those that are fit the group's own hosts come last,
 * so that a replica never shares a host with its source, or another member, while another host has
 * room; then the failure domains that hold members; then the one with the most memory to spare, or, where
 * no limit is set, with the fewest instances.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Trove's locality: of a group's members. */
enum place_locality {
	PLACE_ANYWHERE,      /* apart where that can be had */
	PLACE_AFFINITY,      /* all on one host, or refused */
	PLACE_ANTI_AFFINITY, /* no two on one host, or refused */
};

struct place_host {
	const char *name;
	const char *domain; /* label failure_domain; "": the host is one by itself */
	bool has_version, silent, draining;
	size_t free_addresses;
	int64_t memory_free, disk_free; /* bytes not promised to anybody; below 0: overbooked */
	size_t instances;               /* living there .. */
	size_t members;                 /* .. and of the group */
};

struct place_wish {
	int64_t memory, disk; /* bytes */
	enum place_locality locality;
};

/* How many hosts fell at each hurdle; each host counts at the first one only. */
struct place_shortage {
	size_t hosts, version, draining, silent, locality, addresses, memory, disk;
	int64_t most_memory, most_disk; /* free on any host that fell there; bytes */
};

/* The place in hosts[] of the best one; SIZE_MAX: none is fit, and *ret says why. */
size_t place_pick(const struct place_host *hosts, size_t n, const struct place_wish *w,
		  struct place_shortage *ret);

/*
 * Why there is no room, for people: what is short on how many hosts. what names the datastore and
 * version, "redis 7.0.15". Always ERR_UNPROCESSABLE; returns false.
 */
bool place_refuse(const struct place_shortage *s, const struct place_wish *w, const char *what,
		  struct err *e);

/* "affinity", "anti-affinity", ""; false: none of them. */
[[nodiscard]] bool place_locality_parse(const char *s, enum place_locality *ret);
const char *place_locality_name(enum place_locality l);
