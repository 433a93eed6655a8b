/*
 * The nouns' names in both directions, and finding a member of a group.
 */
#include "core/model.h"

#include <assert.h>

#include "base/macros.h"
#include "base/str.h"
#include "core/names.h"

#define MEMBER_STATE_NAME(name, text, limit, why) [MEMBER_##name] = text,
static const char *const state_names[] = { MEMBER_STATES(MEMBER_STATE_NAME) };
#undef MEMBER_STATE_NAME
static_assert(ARRAY_LEN(state_names) == MEMBER_STATE_COUNT);

/* clang-format off */
static const char *const op_names[] = {
	[OP_NONE] = "none",
	[OP_CREATE] = "create",
	[OP_RESTART] = "restart",
	[OP_HANDOVER] = "handover",
	[OP_EJECT] = "eject",
	[OP_DETACH] = "detach",
};
/* clang-format on */
static_assert(ARRAY_LEN(op_names) == OP_KIND_COUNT);

/* clang-format off */
static const char *const phase_names[] = {
	[PHASE_NONE] = "none",
	[PHASE_CREATE_START] = "create-start",
	[PHASE_RESTART_COMPARE] = "restart-compare",
	[PHASE_RESTART_HELD] = "restart-held",
	[PHASE_RESTART_CONFIRM] = "restart-confirm",
	[PHASE_HANDOVER_CHECK] = "handover-check",
	[PHASE_HANDOVER_STAGE] = "handover-stage",
	[PHASE_HANDOVER_FENCE] = "handover-fence",
	[PHASE_HANDOVER_UNDO] = "handover-undo",
	[PHASE_HANDOVER_PROMOTE] = "handover-promote",
	[PHASE_HANDOVER_TIDY] = "handover-tidy",
	[PHASE_HANDOVER_DROP] = "handover-drop",
	[PHASE_EJECT_DRAIN] = "eject-drain",
	[PHASE_EJECT_SEAL] = "eject-seal",
	[PHASE_EJECT_HELD] = "eject-held",
	[PHASE_EJECT_PROMOTE] = "eject-promote",
	[PHASE_EJECT_TIDY] = "eject-tidy",
	[PHASE_DETACH_PROMOTE] = "detach-promote",
};
/* clang-format on */
static_assert(ARRAY_LEN(phase_names) == PHASE_COUNT);

/* clang-format off */
static const char *const fault_names[] = {
	[FAULT_NONE] = "none",
	[FAULT_START] = "start",
	[FAULT_SYNC] = "sync",
	[FAULT_GUARD] = "guard",
	[FAULT_DIVERGED] = "diverged",
	[FAULT_STORE] = "store",
	[FAULT_ELECT] = "elect",
	[FAULT_EJECTED] = "ejected",
};
/* clang-format on */
static_assert(ARRAY_LEN(fault_names) == FAULT_KIND_COUNT);

bool replid_eq(const struct replid *a, const struct replid *b)
{
	return str_eq(a->s, b->s);
}

bool replid_known(const struct replid *a)
{
	return a->s[0] != '\0';
}

struct member *group_find(const struct group *g, struct id id)
{
	for (size_t i = 0; i < g->nmembers; i++) {
		if (id_eq(g->members[i].id, id)) {
			return &g->members[i];
		}
	}
	return NULL;
}

struct member *group_source(const struct group *g)
{
	return group_find(g, g->source);
}

bool group_is_replica(const struct group *g, const struct member *m)
{
	return m->state != MEMBER_DELETING && !id_eq(m->id, g->source);
}

bool group_is_sealing(const struct group *g)
{
	return g->op.phase == PHASE_EJECT_SEAL || g->op.phase == PHASE_EJECT_HELD;
}

size_t group_replica_count(const struct group *g)
{
	size_t n = 0;

	for (size_t i = 0; i < g->nmembers; i++) {
		n += group_is_replica(g, &g->members[i]);
	}
	return n;
}

size_t group_attached_count(const struct group *g)
{
	size_t n = 0;

	for (size_t i = 0; i < g->nmembers; i++) {
		n += group_is_replica(g, &g->members[i]) && g->members[i].attached_once;
	}
	return n;
}

const char *member_state_name(enum member_state s)
{
	return state_names[s];
}

const char *op_kind_name(enum op_kind k)
{
	return op_names[k];
}

const char *op_phase_name(enum op_phase p)
{
	return phase_names[p];
}

const char *fault_kind_name(enum fault_kind k)
{
	return fault_names[k];
}

bool member_state_parse(const char *s, enum member_state *ret)
{
	size_t i = names_find(state_names, ARRAY_LEN(state_names), s);

	if (i == ARRAY_LEN(state_names)) {
		return false;
	}
	*ret = (enum member_state)i;
	return true;
}

bool op_kind_parse(const char *s, enum op_kind *ret)
{
	size_t i = names_find(op_names, ARRAY_LEN(op_names), s);

	if (i == ARRAY_LEN(op_names)) {
		return false;
	}
	*ret = (enum op_kind)i;
	return true;
}

bool op_phase_parse(const char *s, enum op_phase *ret)
{
	size_t i = names_find(phase_names, ARRAY_LEN(phase_names), s);

	if (i == ARRAY_LEN(phase_names)) {
		return false;
	}
	*ret = (enum op_phase)i;
	return true;
}

bool fault_kind_parse(const char *s, enum fault_kind *ret)
{
	size_t i = names_find(fault_names, ARRAY_LEN(fault_names), s);

	if (i == ARRAY_LEN(fault_names)) {
		return false;
	}
	*ret = (enum fault_kind)i;
	return true;
}
