/*
 * A world for tests of a group, in virtual time. On one side the control plane: a record in
 * memory, the real group_step() and what it may know (group_world.c). On the other side a small
 * model of servers, with agents that carry out the real goal_of() by the real instance_step()
 * (group_servers.c). A turn is a millisecond: every agent does one act that its goal asks for and
 * reports, clients write wherever a server takes writes, the control plane takes its steps.
 *
 * What a seat is holds for the whole test, whoever leaves the group meanwhile: servers,
 * observations and ids are numbered by it. Members are as the record has them.
 */
#pragma once

#include "../test.h"
#include "core/group.h"
#include "core/instance.h"
#include "core/operate.h"

/* The source is A at first. NOWHERE: a closed port. */
enum { A, B, C, D, SEATS, NOWHERE };

/* A server and what its agent keeps of it. */
struct server {
	bool runs, hangs, master, fenced, paused, dropped, deleted;
	bool link, closed; /* closed: by its upstream, and it hangs and has not seen that yet */
	size_t upstream;
	int run; /* number of its run; its run id is made of it */
	int stream, stream2;
	int64_t second, offset, data;    /* data: writes it holds */
	int64_t received, received_data; /* with its link up: at least offset and data */
	int32_t last_io_s;               /* with its link up */
	bool durable, disk_error, stuck; /* stuck: applies nothing of what it receives */
	enum marker_verdict marker;
	struct start_mode mode;
	int64_t dies_ms;
	bool mute; /* its agent neither hears nor is heard */
	bool lazy; /* its agent is heard, but does nothing and has no news */
	bool stays_down;
};

struct world {
	struct group g;
	struct group_live live;
	struct member members[SEATS];
	struct member_live member_live[SEATS];
	struct history_entry history[MODEL_HISTORY_MAX + 1];
	struct server servers[SEATS];
	struct observation obs[SEATS];
	bool heard[SEATS], silent[SEATS];
	int64_t mute_since_ms[SEATS];
	int64_t now_ms, turn_ms, wake_ms;
	uint64_t watches, reader_watch;
	int64_t reader_until_ms;
	int runs, streams, full_syncs, commits;
	int64_t writes_bytes; /* of every turn */
	int64_t acked;        /* writes that clients were told of */
	bool keeps_links;  /* 7.0: a source that becomes a replica keeps its own replicas linked */
	int lose_commit;   /* the number of the commit that does not happen; 0: none */
	int forget_commit; /* likewise: it happens, but nobody is told */
	/* The events since they were last looked at, and each one's texts in a line. */
	char trace[4000], reasons[6000], figures[4000];
	char outcome[320];
	bool gone, has_split;
	struct member split_member;
	/* As group_step() and requests take them: per member. */
	const struct observation *member_obs[SEATS];
	bool member_silent[SEATS];
};

/* group_world.c */

struct id seat_id(size_t seat);
size_t seat_of(struct id id); /* NOWHERE: of the zero id */
struct member *member_of(struct world *w, size_t seat);
bool is_source(const struct world *w, size_t seat);

/* A group at this epoch with seat A as its source, and no members yet. */
void world_init(struct world *w, uint64_t epoch);
struct member *add_member(struct world *w);

/* One call; true when something happened. Each change is a commit: the revision grows. */
bool step_once(struct world *w);
/* Steps until nothing changes; that they end is part of every test. */
void settle(struct world *w);
/* The control plane is restarted: what it has are records. */
void restart_plane(struct world *w);

/* What a request is decided on. */
struct operate_in operate_in_of(struct world *w);
/* A request's event, which the control plane commits with it. */
void commit_request(struct world *w, const struct group_event *ev);
bool ask(struct world *w, size_t target, struct err *e); /* a handover */
bool cancel(struct world *w, struct err *e);

bool traced(const struct world *w, const char *events);
void forget_events(struct world *w);
void expect_in(const char *text, const char *part);

/* The events since the last look, each with a blank behind it. */
#define expect_events(w, text)                                                                     \
	do {                                                                                       \
		settle(w);                                                                         \
		assert_string_equal((w)->trace, (text));                                           \
		forget_events(w);                                                                  \
	} while (0)

/* group_servers.c */

/* A run id ('a') or a replication id ('c') of the model. */
struct replid numbered(char kind, int n);
bool takes_writes(const struct server *s);
void server_die(struct world *w, size_t seat);
void server_promote(struct world *w, size_t seat);
void server_follow(struct world *w, size_t seat, size_t upstream);
/* The source takes a write of so many bytes, and whoever is linked to it receives it. */
void write_bytes(struct world *w, int64_t n);

/* What an agent does in a millisecond: one act, and a report of what is then. */
void agent_turn(struct world *w, size_t seat);
/* Agents report what is, before anything else happens. */
void agents_report(struct world *w);
/* Its host cannot reach the control plane, for so long that this one has noticed; it can again. */
void cut_off(struct world *w, size_t seat);
void reach_again(struct world *w, size_t seat);

void turn(struct world *w);
void turns(struct world *w, int n);
void turn_until(struct world *w, enum op_phase phase, int limit);

/* A source and its replicas, known to the control plane; the source stands at 1000. */
void quiet_scene(struct world *w, size_t nreplicas);
/* Three servers at work for a while: clients write in every turn. */
void scene(struct world *w);
/* .. that are about to hand over from A to B. */
void begin(struct world *w);

/* No operation runs, the source takes writes, and every other member has all that it has. */
bool everybody_follows(const struct world *w);
/* Everything that must hold when an operation has ended, whatever happened in it. */
void expect_whole(struct world *w);
