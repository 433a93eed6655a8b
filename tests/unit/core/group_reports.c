#include "group_reports.h"

struct observation *hear(struct world *w, size_t seat, struct observation o)
{
	o.watch = w->watches; /* agents answer with the newest number they have */
	if (o.goal_epoch == 0) {
		o.goal_epoch = w->g.epoch;
	}
	w->obs[seat] = o;
	w->heard[seat] = true;
	return &w->obs[seat];
}

struct observation master(const char *run, const char *replid, int64_t offset, int64_t keys)
{
	struct observation o = {
		.proc = PROC_RUNNING,
		.role = SERVER_ROLE_MASTER,
		.offset = offset,
		.slave_offset = -1,
		.keys = keys,
		.goal_applied = true,
		.save_progress = -1,
	};

	snprintf(o.run_id.s, sizeof o.run_id.s, "%s", run);
	snprintf(o.replid.s, sizeof o.replid.s, "%s", replid);
	return o;
}

struct observation replica(const char *replid, int64_t offset, int64_t keys)
{
	struct observation o = {
		.proc = PROC_RUNNING,
		.role = SERVER_ROLE_REPLICA,
		.offset = offset,
		.slave_offset = offset,
		.keys = keys,
		.link_up = true,
		.upstream_host = "127.0.77.1",
		.upstream_port = 6379,
		.run_id = { RUN_3 },
	};

	snprintf(o.replid.s, sizeof o.replid.s, "%s", replid);
	return o;
}

struct observation guarded(const char *run, enum marker_verdict marker, int64_t keys)
{
	struct observation o = replica(HIST_3, 0, keys);

	snprintf(o.run_id.s, sizeof o.run_id.s, "%s", run);
	o.guarded = true;
	o.marker = marker;
	o.link_up = false;
	o.upstream_port = 0;
	return o;
}

void creating(struct world *w)
{
	world_init(w, 1);
	w->g.op = (struct operation){
		.kind = OP_CREATE,
		.phase = PHASE_CREATE_START,
		.target = seat_id(SOURCE),
	};
	(void)add_member(w);
}

void created(struct world *w)
{
	struct observation o = master(RUN_1, HIST_1, 0, 0);

	creating(w);
	settle(w);
	o.start_at_once = true;
	hear(w, SOURCE, o);
	settle(w);
	forget_events(w);
}

void with_replicas(struct world *w)
{
	created(w);
	(void)add_member(w);
	(void)add_member(w);
	for (int turn = 0; turn < 3; turn++) {
		hear(w, SOURCE, master(RUN_1, HIST_1, 100, 5));
		hear(w, R1, replica(HIST_1, 100, 5));
		hear(w, R2, replica(HIST_1, 100, 5));
		settle(w);
	}
	assert_int_equal(w->members[R1].state, MEMBER_ACTIVE);
	assert_int_equal(w->members[R2].state, MEMBER_ACTIVE);
	forget_events(w);
}

void restarted(struct world *w, const char *run, enum marker_verdict marker, int64_t keys)
{
	hear(w, SOURCE, guarded(run, marker, keys));
	settle(w); /* asks the replicas */
	w->obs[R1].watch = w->obs[R2].watch = w->watches;
	w->obs[R1].link_up = w->obs[R2].link_up = false;
}
