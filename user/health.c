/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* health.c - see health.h. */
#include "user/health.h"

#include "user/lead.h"
#include "user/member.h"

#include <stdarg.h>

static void add(json_t *list, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(json_t *list, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	json_array_append_new(list, json_vsprintf(format, arguments));
	va_end(arguments);
}

static void look_at_datapath(const struct wc_node *node, json_t *problems)
{
	uint32_t missing = 0;

	if (node->xdp && !wc_xdp_attached(node->xdp))
		add(problems,
		    "the XDP program is not attached to %s any more: the device is gone, or somebody has detached it; start the node again",
		    node->dev);
	for (uint32_t i = 0; i < node->tables.wc_cores_max; i++)
		missing += WC_READ(node->tables.wc_cores[i].state) == WC_CORE_OFFLINE;
	if (missing)
		add(problems, "%u of %u cores have no agent", missing, node->tables.wc_cores_max);
}

/* A node of a cluster gets invocations from its scheduler when it has joined, and has all functions. */
static void look_at_membership(const json_t *membership, json_t *waits_for)
{
	const char *why = json_string_value(json_object_get(membership, "why"));
	size_t lacks = json_array_size(json_object_get(membership, "lacks"));

	if (!json_is_true(json_object_get(membership, "joined")))
		add(waits_for, "it has not joined the cluster of %s: %s",
		    json_string_value(json_object_get(membership, "scheduler")) ?: "?", why ?: "not yet");
	else if (lacks)
		add(waits_for, "it lacks %zu functions of the cluster, as `warmcore nodes` shows", lacks);
	else if (json_is_true(json_object_get(membership, "draining")))
		add(waits_for, "its cluster's scheduler was told to drain it");
}

json_t *wc_health(struct wc_node *node)
{
	json_t *problems = json_array(), *waits_for = json_array();
	json_t *membership = wc_member_json(node), *election = wc_lead_json(node);
	const char *why = json_string_value(json_object_get(election, "etcd_error"));
	bool serves, ready;

	look_at_datapath(node, problems);
	if (atomic_load(&node->stopping))
		add(waits_for, "it is stopping");
	if (json_is_object(election) && !json_is_string(json_object_get(election, "leader")))
		add(waits_for, "nobody is known to lead the cluster%s%s", why ? ": " : "", why ?: "");
	else if (json_is_object(membership)) /* a node, or one of several schedulers that does not lead */
		look_at_membership(membership, waits_for);
	json_decref(membership);
	json_decref(election);
	serves = !json_array_size(problems);
	ready = serves && !json_array_size(waits_for);
	return json_pack("{s:b, s:b, s:o, s:b, s:o}", "ok", 1, "serves", serves, "problems", problems, "ready", ready,
			 "waits_for", waits_for);
}
