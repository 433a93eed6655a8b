/*
 * TCP connections that others open to us: accepting, reading, writing with a ceiling, closing.
 * A peer that does not take what it is sent, or whose deadline has passed, is dropped.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "io/loop.h"

struct stream;
struct stream_listener;

struct stream_config {
	const char *address; /* numeric */
	uint16_t port;       /* 0: any free one */
	size_t max_streams;
	const char *full;      /* what one too many is told; borrowed for ever */
	size_t unsent_max;     /* bytes; a stream with more is dropped when more is sent */
	size_t all_unsent_max; /* the same over all streams together */
	int64_t stall_limit_ms; /* unsent bytes of which none was taken for so long: dropped */
	int64_t keepalive_s;    /* silence after which the kernel asks whether the peer lives */

	/*
	 * opened() gives the owner's part of a stream, which the others get. They run on the loop,
	 * never inside a call of ours. closed() comes exactly once for each opened(), whoever ended
	 * it, and is the last: the stream is gone then.
	 */
	void *(*opened)(void *arg, struct stream *s);
	void (*received)(void *owner, const char *p, size_t len);
	void (*drained)(void *owner); /* all that was sent is with the kernel */
	void (*closed)(void *owner);
	void *arg;
};

/* ERR_CONFLICT: the address is in use. Free with stream_listener_free(). */
[[nodiscard]] bool stream_listen(struct loop *l, const struct stream_config *c,
				 struct stream_listener **ret, struct err *e);
uint16_t stream_listener_port(const struct stream_listener *ls);
size_t stream_count(const struct stream_listener *ls);

/* Drops all streams; their closed() runs in a later turn, or in loop_free(). NULL is fine. */
void stream_listener_free(struct stream_listener *ls);

/*
 * Copies. Over a ceiling the stream is dropped instead; on one that is closing it does nothing.
 * Either way the owner hears of the end through closed().
 */
void stream_send(struct stream *s, const void *p, size_t len);
size_t stream_unsent(const struct stream *s);

/* Nothing is received while it is paused; what the peer sends stays in the kernel. */
void stream_pause(struct stream *s, bool paused);

/* From this point on clock_ms() on it is dropped; within a second. 0: no limit. */
void stream_set_deadline(struct stream *s, int64_t deadline_ms);

/* At once; what is unsent is lost. */
void stream_drop(struct stream *s);
/* When all is sent, or the stall limit has passed; nothing is received any more. */
void stream_finish(struct stream *s);
