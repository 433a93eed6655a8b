#include "agent/report.h"

#include "base/str.h"

static bool same_goal(const struct observation *a, const struct observation *b)
{
	return a->goal_epoch == b->goal_epoch && a->goal_revision == b->goal_revision &&
	       a->goal_applied == b->goal_applied && a->start_at_once == b->start_at_once &&
	       a->watch == b->watch;
}

static bool same_run(const struct observation *a, const struct observation *b)
{
	return a->proc == b->proc && replid_eq(&a->run_id, &b->run_id) &&
	       a->guarded == b->guarded && a->fenced == b->fenced && str_eq(a->error, b->error) &&
	       a->marker == b->marker && a->loading == b->loading && a->role == b->role;
}

static bool same_stream(const struct observation *a, const struct observation *b)
{
	return replid_eq(&a->replid, &b->replid) && replid_eq(&a->replid2, &b->replid2) &&
	       a->second_offset == b->second_offset && a->link_up == b->link_up &&
	       a->sync_in_progress == b->sync_in_progress &&
	       (a->sync_total_bytes < 0) == (b->sync_total_bytes < 0) &&
	       str_eq(a->upstream_host, b->upstream_host) && a->upstream_port == b->upstream_port;
}

static bool same_files(const struct observation *a, const struct observation *b)
{
	return a->sync_full == b->sync_full && a->aof_enabled == b->aof_enabled &&
	       a->aof_rewriting == b->aof_rewriting &&
	       a->aof_last_rewrite_ok == b->aof_last_rewrite_ok && a->durable == b->durable &&
	       a->disk_error == b->disk_error;
}

/* What moves by itself. */
static bool same_figures(const struct observation *a, const struct observation *b)
{
	return a->offset == b->offset && a->slave_offset == b->slave_offset &&
	       a->read_offset == b->read_offset && a->keys == b->keys &&
	       a->sync_done_bytes == b->sync_done_bytes && a->loading_pct == b->loading_pct &&
	       a->save_progress == b->save_progress &&
	       a->recorded.offset == b->recorded.offset && a->recorded.keys == b->recorded.keys &&
	       replid_eq(&a->recorded.replid, &b->recorded.replid);
}

static bool same_rest(const struct observation *a, const struct observation *b)
{
	return a->used_memory_bytes == b->used_memory_bytes &&
	       a->connected_clients == b->connected_clients && a->last_io_s == b->last_io_s &&
	       a->disk_free_bytes == b->disk_free_bytes && a->disk_used_bytes == b->disk_used_bytes;
}

enum report_news report_compare(const struct observation *now, const struct observation *sent,
				enum report_pace pace)
{
	if (!same_goal(now, sent) || !same_run(now, sent) || !same_stream(now, sent) ||
	    !same_files(now, sent)) {
		return NEWS_NOW;
	}
	if (!same_figures(now, sent)) {
		return pace == REPORT_STREAM ? NEWS_NOW : NEWS_SLOW;
	}
	return same_rest(now, sent) ? NEWS_NONE : NEWS_SLOW;
}
