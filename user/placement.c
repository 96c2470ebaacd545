/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* placement.c - see placement.h. */
#include "user/placement.h"

#include "user/clock.h"

const char *wc_placement_name(const struct wc_node *node)
{
	struct wc_sched_state state;

	wc_sched_state(node->sched, &state);
	if (!state.active)
		return "affinity";
	return state.mode == WC_SCHED_FULL ? "sched_ext (full)" : "sched_ext (partial)";
}

/* Upper bound of the bucket that a part (per mille) of the waits does not exceed; 0: there were none. */
static uint64_t wait_quantile(const __u64 *waits, uint64_t per_mille)
{
	uint64_t total = 0, seen = 0;

	for (int i = 0; i < WC_WAITS; i++)
		total += WC_READ(waits[i]);
	for (int i = 0; total && i < WC_WAITS; i++) {
		seen += WC_READ(waits[i]);
		if (seen * 1000 >= total * per_mille)
			return 2ULL << i;
	}
	return 0;
}

static json_t *cpu_json(const struct wc_cpu *cpu, uint32_t number, uint64_t now)
{
	uint64_t idle = WC_READ(cpu->ns[WC_THREAD_NONE]), since = WC_READ(cpu->since_ns);
	json_t *waits = json_array();

	if (WC_READ(cpu->idle) && now > since)
		idle += now - since;
	for (int i = 0; i < WC_WAITS; i++)
		json_array_append_new(waits, json_integer((json_int_t)WC_READ(cpu->waits[i])));
	return json_pack("{s:i, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "cpu", (int)number, "online",
			 (int)WC_READ(cpu->online), "idle_ns", (json_int_t)idle, "host_ns",
			 (json_int_t)WC_READ(cpu->ns[WC_THREAD_HOST]), "instances_ns",
			 (json_int_t)WC_READ(cpu->ns[WC_THREAD_INSTANCE]), "agents_ns",
			 (json_int_t)WC_READ(cpu->ns[WC_THREAD_AGENT]), "switches", (json_int_t)WC_READ(cpu->switches),
			 "preemptions", (json_int_t)WC_READ(cpu->preemptions), "host_turns",
			 (json_int_t)WC_READ(cpu->host_turns), "wait_p50_ns",
			 (json_int_t)wait_quantile(cpu->waits, 500), "wait_p99_ns",
			 (json_int_t)wait_quantile(cpu->waits, 990), "waits_log2_ns", waits);
}

json_t *wc_placement_json(const struct wc_node *node)
{
	const struct wc_sched_knobs *knobs = wc_sched_knobs(node->sched);
	json_t *object = json_object(), *cpus;
	struct wc_sched_state state;
	uint64_t now = wc_now();

	wc_sched_state(node->sched, &state);
	json_object_set_new(object, "isolated", json_boolean(node->isolation.group[0]));
	json_object_set_new(object, "lend", json_boolean(node->options.lend));
	json_object_update_new(object,
			       json_pack("{s:s, s:b, s:s, s:s, s:i, s:I}", "by", wc_placement_name(node), "active",
					 state.active, "mode", wc_sched_mode_names[state.mode], "asked",
					 wc_sched_mode_names[node->options.sched], "ejections", (int)state.ejections,
					 "quantum_us", (json_int_t)(wc_node_quantum_ns(node) / WC_US)));
	if (!node->sched)
		json_object_set_new(object, "why", json_string(node->sched_why));
	else if (!state.active && state.last.kind)
		json_object_set_new(object, "why", json_string("the kernel took the scheduler out"));
	if (state.last.kind)
		json_object_set_new(object, "last_exit",
				    json_pack("{s:i, s:I, s:s, s:s}", "kind", (int)state.last.kind, "code",
					      (json_int_t)state.last.code, "reason", state.last.reason, "message",
					      state.last.message));
	if (!node->sched)
		return object;
	json_object_update_new(object,
			       json_pack("{s:I, s:I, s:i}", "host_bound_us", (json_int_t)(knobs->host_bound_ns / WC_US),
					 "host_slice_us", (json_int_t)(knobs->host_slice_ns / WC_US), "verified_insns",
					 (int)wc_sched_verified_insns(node->sched)));
	cpus = json_array();
	for (uint32_t number = 0; number < WC_CPUS_MAX; number++) {
		const struct wc_cpu *cpu = wc_sched_cpu(node->sched, number);

		if (cpu->core)
			json_array_append_new(cpus, cpu_json(cpu, number, now));
	}
	json_object_set_new(object, "cpus", cpus);
	return object;
}

void wc_placement_times(const struct wc_node *node, json_t *functions)
{
	const struct wc_time *time;
	json_t *function;
	size_t index;

	if (json_is_array(functions)) {
		json_array_foreach (functions, index, function)
			wc_placement_times(node, function);
		return;
	}
	time = wc_sched_time(node->sched, (uint32_t)json_integer_value(json_object_get(functions, "id")));
	json_object_set_new(functions, "on_cpu_ns", json_integer(time ? (json_int_t)WC_READ(time->on_cpu_ns) : 0));
	json_object_set_new(functions, "wait_ns", json_integer(time ? (json_int_t)WC_READ(time->wait_ns) : 0));
}
