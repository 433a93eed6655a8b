/*
 * Operations of a group that a call begins, or takes back (core/operate.h), for the handlers of
 * actions and updates. Each is as a handler: false with what is in the way, true when the answer
 * is given or on its way. No commit of the instance's own group may be under way.
 */
#pragma once

#include "server/api.h"

/* What is known of a group's servers now. Lives in the call's arena. */
struct operate_in operation_look(const struct call *c, const struct entry *en);

[[nodiscard]] bool operation_promote(struct call *c, const struct instance_ref *ref, struct err *e);
[[nodiscard]] bool operation_eject(struct call *c, const struct instance_ref *ref,
				   bool accept_data_loss, struct err *e);
[[nodiscard]] bool operation_cancel(struct call *c, const struct instance_ref *ref, struct err *e);
[[nodiscard]] bool operation_attach(struct call *c, const struct instance_ref *ref,
				    struct id replica_of, struct err *e);
[[nodiscard]] bool operation_durability(struct call *c, const struct instance_ref *ref, uint32_t k,
					struct err *e);
[[nodiscard]] bool operation_delete_group(struct call *c, const struct instance_ref *ref,
					  struct err *e);
/* name: the instance's new one, when it gets one on the way; NULL: none. */
[[nodiscard]] bool operation_detach(struct call *c, const struct instance_ref *ref,
				    const char *name, struct err *e);
