/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * control_metrics.c - the op `metrics` of the control socket: everything that metrics_text.c makes text of, in one answer. The state of
 * `status`, and what is counted for each function and core. It is made by the thread of the request, which takes a lock of one function for a
 * moment at most; what agents and lanes record is read beside them (latency.h).
 */
#include "user/control.h"

#include "user/agent.h"
#include "user/clock.h"
#include "user/cold_starts.h"
#include "user/process.h"
#include "user/status.h"
#include "user/warmth.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define NICE 10

/* What a request adds up, too large for the stack of its thread. One request at a time. */
static struct {
	pthread_mutex_t lock;
	struct wc_latency ran, cold;
	uint64_t busy[WC_CORES_MAX], idle[WC_CORES_MAX]; /* as they were told last: counters must not go down */
	uint64_t started;				 /* of the node that these are of */
} state = { .lock = PTHREAD_MUTEX_INITIALIZER };

static json_t *counts_json(const uint64_t *values, const char *const *names, size_t count)
{
	json_t *object = json_object();

	for (size_t i = 0; i < count; i++)
		if (values[i])
			json_object_set_new(object, names[i], json_integer((json_int_t)values[i]));
	return object;
}

/* Buckets that are not empty: number, count, number, count ... */
static json_t *times_json(const struct wc_latency *latency, unsigned which)
{
	json_t *buckets = json_array();

	for (unsigned i = 0; i < WC_HISTOGRAM_BUCKETS; i++) {
		if (!latency->buckets[which][i])
			continue;
		json_array_append_new(buckets, json_integer(i));
		json_array_append_new(buckets, json_integer((json_int_t)latency->buckets[which][i]));
	}
	return json_pack("{s:I, s:o}", "sum_ns", (json_int_t)latency->sum_ns[which], "buckets", buckets);
}

/* Entry `index` of what was recorded, for the function `id`; 0: for those that share number 0. */
static json_t *recorded(struct wc_node *node, unsigned index, uint32_t id)
{
	json_t *object = json_object();

	memset(&state.ran, 0, sizeof(state.ran));
	memset(&state.cold, 0, sizeof(state.cold));
	state.ran.id = state.cold.id = id;
	if (wc_agents_latency(node, index, &state.ran)) {
		json_object_set_new(object, "wait", times_json(&state.ran, 0));
		json_object_set_new(object, "service", times_json(&state.ran, 1));
	}
	json_object_set_new(object, "ends", counts_json(state.ran.ends, wc_end_names, WC_END_COUNT));
	if (wc_cold_starts_read(node->cold_starts, index, &state.cold))
		json_object_set_new(object, "start", times_json(&state.cold, 0));
	json_object_set_new(object, "cold_starts", counts_json(state.cold.ends, wc_cold_names, WC_COLD_COUNT));
	return object;
}

static void add_number(json_t *object, const char *key, uint64_t more)
{
	json_object_set_new(object, key,
			    json_integer(json_integer_value(json_object_get(object, key)) + (json_int_t)more));
}

/* What is there now of a function: into its object, or added to that of all that have none. */
static void add_now(struct wc_node *node, json_t *object, const struct wc_function *entry, uint32_t id)
{
	struct wc_warmth_instances instances = { 0 };

	wc_warmth_instances(node->warmth, id, &instances);
	add_number(object, "waiting", WC_READ(entry->waiting));
	add_number(object, "instances_running", instances.running);
	add_number(object, "instances_idle", instances.idle);
	add_number(object, "instances_starting", instances.starting);
	add_number(object, "memory_kib", instances.memory_kib);
}

/* Those with metrics of their own, and one object for all others. */
static json_t *functions_json(struct wc_node *node)
{
	json_t *list = json_array(), *others = NULL, *object;
	uint32_t named = node->options.metrics_functions, count = 0;

	others = recorded(node, 0, 0);
	json_object_set_new(others, "name", json_null());
	for (uint32_t slot = 1; slot < node->tables.wc_functions_max; slot++) {
		const struct wc_function *entry = &node->tables.wc_functions[slot];
		uint32_t id = WC_READ(entry->id);
		char name[WC_LABEL_MAX];

		if (!id)
			continue;
		/* Not from the registry, whose lock every invocation takes. The id comes last, and goes first. */
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		memcpy(name, entry->name, sizeof(name));
		name[sizeof(name) - 1] = 0;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (WC_READ(entry->id) != id)
			continue;
		object = slot <= named ? recorded(node, slot, id) : others;
		add_now(node, object, entry, id);
		count += slot > named;
		if (slot <= named) {
			json_object_set_new(object, "name", json_string(name));
			json_object_set_new(object, "concurrency", json_integer(WC_READ(entry->running_max)));
			json_array_append_new(list, object);
		}
	}
	json_object_set_new(others, "functions", json_integer(count));
	json_array_append_new(list, others);
	return list;
}

/* Adds to the cores of `status` how long each was busy and idle until now. */
static void add_busy(struct wc_node *node, json_t *cores)
{
	uint64_t now = wc_now(), busy, idle;
	json_t *core;
	size_t i;

	if (state.started != node->started) {
		memset(state.busy, 0, sizeof(state.busy));
		memset(state.idle, 0, sizeof(state.idle));
		state.started = node->started;
	}
	json_array_foreach (cores, i, core) {
		if (i >= node->agents_started)
			break;
		busy = wc_agent_busy(node, (uint32_t)i, now);
		/* One that ended after `now` is in it as a whole: microseconds, but a counter may not go back by them. */
		busy = busy > state.busy[i] ? busy : state.busy[i];
		idle = now - node->started > busy ? now - node->started - busy : 0;
		idle = idle > state.idle[i] ? idle : state.idle[i];
		state.busy[i] = busy;
		state.idle[i] = idle;
		json_object_set_new(core, "busy_ns", json_integer((json_int_t)busy));
		json_object_set_new(core, "idle_ns", json_integer((json_int_t)idle));
	}
}

static json_t *daemon_json(void)
{
	struct wc_process process;

	wc_process_read(&process);
	return json_pack("{s:f, s:f, s:I, s:I, s:I, s:I, s:I}", "cpu_s", process.cpu_s, "start_s", process.start_s,
			 "resident_bytes", (json_int_t)process.resident_bytes, "virtual_bytes",
			 (json_int_t)process.virtual_bytes, "open_fds", (json_int_t)process.open_fds, "max_fds",
			 (json_int_t)process.max_fds, "threads", (json_int_t)process.threads);
}

json_t *wc_control_metrics(struct wc_node *node)
{
	json_t *object;

	/* A thousand functions take tens of milliseconds, on a CPU that may be an agent's: this thread, which ends with the answer, comes last. */
	setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
	object = wc_status(node);
	pthread_mutex_lock(&state.lock);
	add_busy(node, json_object_get(object, "cores"));
	json_object_set_new(object, "functions", functions_json(node));
	pthread_mutex_unlock(&state.lock);
	json_object_set_new(object, "daemon", daemon_json());
	return object;
}
