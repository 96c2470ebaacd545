/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* members_functions.c - which functions the nodes of a cluster have, and so may be sent to them. */
#include "user/members_internal.h"

#include "user/clock.h"
#include "user/cluster_functions.h"
#include "user/shared_registry.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_NS (100 * WC_MS) /* between two looks at the functions */

/* Those that are new, or others than before, have become so in this generation. Under the lock. */
static void date_functions(struct wc_members *members, const json_t *list)
{
	const json_t *each, *old;
	json_t *by_id = json_object();
	char key[24];
	size_t i;

	json_array_foreach (members->functions, i, each) {
		snprintf(key, sizeof(key), "%lld", (long long)json_integer_value(json_object_get(each, "id")));
		json_object_set(by_id, key, (json_t *)(uintptr_t)each);
	}
	json_array_foreach (list, i, each) {
		snprintf(key, sizeof(key), "%lld", (long long)json_integer_value(json_object_get(each, "id")));
		old = json_object_get(by_id, key);
		if (!old || !json_equal(old, each))
			members->since[WC_FUNCTION_SLOT(json_integer_value(json_object_get(each, "id")))] =
				members->generation;
	}
	json_decref(by_id);
}

/* Is it waited for with what is new? Else it gets nothing. */
bool wc_members_may_get(const struct wc_member_session *session)
{
	return !session->lacking && !session->missed;
}

/* The siblings that have this function as it is now; 0: none, of none. Under the lock. */
static uint8_t siblings_with(const struct wc_members *members, uint32_t id)
{
	uint8_t bits = 0;

	for (uint32_t s = 0; id && s < WC_SIBLINGS_MAX; s++) {
		const struct wc_member_session *session = members->siblings[s];

		if (session && session->has && session->has[WC_FUNCTION_SLOT(id)] == id &&
		    members->since[WC_FUNCTION_SLOT(id)] <= session->knows)
			bits |= (uint8_t)(1 << s);
	}
	return bits;
}

/* What all nodes that get something have may be sent to them. Under the lock. */
void wc_members_open_functions(struct wc_node *node)
{
	const struct wc_members *members = node->members;
	uint64_t known = members->generation;
	uint32_t ids[WC_FUNCTIONS_MAX] = { 0 };
	const json_t *each;
	size_t i;

	for (uint32_t id = 1; id < WC_MEMBERS_MAX; id++) {
		const struct wc_member_session *session = members->sessions[id];

		if (session && !session->sibling && wc_members_may_get(session) && session->knows < known)
			known = session->knows;
	}
	json_array_foreach (members->functions, i, each) {
		uint32_t id = (uint32_t)json_integer_value(json_object_get(each, "id"));

		if (members->since[WC_FUNCTION_SLOT(id)] <= known)
			ids[WC_FUNCTION_SLOT(id)] = id;
	}
	for (uint32_t slot = 0; slot < WC_FUNCTIONS_MAX && slot < node->tables.wc_member_functions_max; slot++) {
		struct wc_member_function *function = &node->tables.wc_member_functions[slot];

		/* Siblings first: what is new there must not have those of what was there before. */
		WC_WRITE(function->siblings, siblings_with(members, ids[slot]));
		__sync_synchronize();
		WC_WRITE(function->id, ids[slot]);
	}
}

/* Looked at again now and then: who deploys need not think of nodes. Under the lock. */
void wc_members_refresh_functions(struct wc_node *node)
{
	struct wc_members *members = node->members;
	uint32_t changes = wc_functions_changes(node->functions); /* before the look */
	uint64_t now = wc_now();
	json_t *list;
	bool whole;

	if (members->functions_ns && now - members->functions_ns < LOOK_NS)
		return;
	if (!wc_shared_known(node))
		return;
	/* What several schedulers share may have changed without them. */
	if (!node->shared && members->functions && members->functions_changes == changes)
		return;
	members->functions_changes = changes;
	list = wc_cluster_functions(node);
	whole = wc_shared_strip(node, list);
	members->functions_ns = now;
	if (members->functions && whole == members->whole && json_equal(list, members->functions)) {
		json_decref(list);
		return;
	}
	members->generation++;
	members->whole = whole;
	date_functions(members, list);
	json_decref(members->functions);
	members->functions = list;
	wc_members_open_functions(node);
}

/* It says which functions it has. Under the lock. */
void wc_members_note_has(struct wc_member_session *session, const json_t *has)
{
	const json_t *id;
	size_t i;

	if (!session->sibling || !json_is_array(has))
		return;
	memset(session->has, 0, WC_FUNCTIONS_MAX * sizeof(*session->has));
	json_array_foreach (has, i, id)
		session->has[WC_FUNCTION_SLOT(json_integer_value(id))] = (uint32_t)json_integer_value(id);
}
