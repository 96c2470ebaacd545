/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* members_show.c - the nodes of a cluster for people, and for the registry in etcd; and who is drained. */
#include "user/members_internal.h"

#include "user/clock.h"
#include "user/lead.h"
#include "user/log.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

int wc_members_drain(struct wc_node *node, const char *name, bool drain, struct wc_fault *fault)
{
	struct wc_members *members = node->members;
	int error = -ENOENT;

	if (!members)
		return wc_fail(fault, EINVAL, "this node is no scheduler of a cluster");
	pthread_mutex_lock(&members->lock);
	for (uint32_t id = 1; id < WC_MEMBERS_MAX && error; id++) {
		struct wc_member_session *session = members->sessions[id];

		if (!session || strcmp(session->name, name) != 0)
			continue;
		members->drained[id] = drain;
		if (!drain) /* who says so has looked at it */
			wc_slow_forgive(wc_members_slow_rules(members->slow), (uint16_t)id);
		wc_members_set_state(node, session);
		error = 0;
	}
	for (uint16_t id = 1; id < WC_MEMBERS_MAX && error; id++) /* one that is away, of which that was said */
		if (members->drained[id] && !strcmp(wc_roll_name(members->roll, id), name)) {
			members->drained[id] = drain;
			error = 0;
		}
	pthread_mutex_unlock(&members->lock);
	return error ? wc_fail(fault, ENOENT, "no node of this name is in the cluster; see `warmcore nodes`") : 0;
}

json_t *wc_members_drained(const struct wc_node *node)
{
	struct wc_members *members = node->members;
	json_t *names = json_array();

	if (!members)
		return names;
	pthread_mutex_lock(&members->lock);
	for (uint16_t id = 1; id < WC_MEMBERS_MAX; id++)
		if (members->drained[id])
			json_array_append_new(names, json_string(wc_roll_name(members->roll, id)));
	pthread_mutex_unlock(&members->lock);
	return names;
}

void wc_members_set_drained(struct wc_node *node, const json_t *names, bool whole)
{
	struct wc_members *members = node->members;
	struct wc_fault fault;
	const json_t *each;
	size_t i;

	if (!members)
		return;
	pthread_mutex_lock(&members->lock);
	if (whole)
		memset(members->drained, 0, sizeof(members->drained));
	json_array_foreach (names, i, each) {
		const char *name = json_string_value(each) ?: "";
		uint16_t id = wc_roll_name_valid(name) ? wc_roll_id(members->roll, name, &fault) : 0;

		if (id)
			members->drained[id] = true;
	}
	for (uint32_t id = 1; id < WC_MEMBERS_MAX; id++)
		if (members->sessions[id])
			wc_members_set_state(node, members->sessions[id]);
	pthread_mutex_unlock(&members->lock);
}

static json_t *session_json(const struct wc_node *node, const struct wc_member_session *session)
{
	const struct wc_member *member = &node->tables.wc_members[session->id];
	char address[INET_ADDRSTRLEN] = "";
	uint64_t heard = WC_READ(member->heard_ns), now = wc_now();
	int free_cores = 0;

	for (uint32_t i = 0; i < member->count; i++)
		free_cores += WC_READ(node->tables.wc_member_cores[member->first + i].state) == WC_CORE_FREE;
	inet_ntop(AF_INET, &member->address, address, sizeof(address));
	return json_pack("{s:s, s:i, s:s, s:i, s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:O?, s:o, s:i, s:o}", "name",
			 session->name, "id", (int)session->id, "address", address, "port", (int)ntohs(member->port),
			 "state",
			 session->silent || session->missed			  ? "silent" :
			 session->leaving					  ? "leaving" :
			 node->members->drained[session->id]			  ? "draining" :
			 session->lacking					  ? "lacking" :
			 wc_members_slow_ejects(node->members->slow, session->id) ? "slow" :
			 session->sibling					  ? "sibling" :
										    "ready",
			 "cores", (int)member->count, "free", free_cores, "orders", (json_int_t)WC_READ(member->orders),
			 "core_free_messages", (json_int_t)WC_READ(member->frees), "heard_ms_ago",
			 heard && now > heard ? (json_int_t)((now - heard) / WC_MS) : (json_int_t)-1, "knows",
			 (json_int_t)session->knows, "lacks", session->lacks, "slow",
			 wc_members_slow_json(node->members->slow, session->id, now), "protocol",
			 (int)session->agreed.last, "features", wc_features_json(session->agreed.features));
}

json_t *wc_members_json(const struct wc_node *node)
{
	struct wc_members *members = node->members;
	json_t *nodes, *refused;

	if (!members || !wc_lead_leads(node))
		return json_null();
	nodes = json_array();
	pthread_mutex_lock(&members->lock);
	for (uint32_t id = 1; id < WC_MEMBERS_MAX; id++)
		if (members->sessions[id]) {
			json_t *each = session_json(node, members->sessions[id]);

			json_object_set_new(each, "sibling", json_boolean(members->sessions[id]->sibling));
			json_array_append_new(nodes, each);
		}
	refused = wc_refused_json(&members->refusals, wc_now());
	pthread_mutex_unlock(&members->lock);
	return json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "nodes", nodes, "refused", refused,
			 "generation", (json_int_t)members->generation, "sent_by_daemon",
			 (json_int_t)atomic_load(&members->sent), "sent_again",
			 (json_int_t)atomic_load(&members->again), "lost", (json_int_t)atomic_load(&members->lost),
			 "retried", (json_int_t)atomic_load(&members->retried), "returned",
			 (json_int_t)atomic_load(&members->returned), "left_total",
			 (json_int_t)atomic_load(&members->departed), "ejected_total",
			 (json_int_t)wc_members_slow_rules(members->slow)->ejected_total);
}
