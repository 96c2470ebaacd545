// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* top_json.c - a frame as one JSON object; what is not known is null. docs/TOP.md describes it. */
#include <math.h>

#include "bpf/policies.h"
#include "tools/printable.h"
#include "tools/top.h"
#include "user/options.h"

static json_t *number(double value)
{
	return isnan(value) ? json_null() : json_real(round(value * 1e4) / 1e4);
}

static json_t *name_of(const char *name)
{
	char text[WC_LABEL_MAX + 1];

	return json_string(printable(name, WC_LABEL_MAX, text, sizeof(text)));
}

static json_t *core_json(const struct top_frame *frame, const struct top_core *row)
{
	const struct wc_core *entry = row->entry;
	json_t *warm = json_array();

	for (int w = 0; w < WC_WARM_MAX; w++) {
		const char *name = top_function_name(frame->now, entry->warm[w]);

		if (*name)
			json_array_append_new(warm, name_of(name));
	}
	return json_pack("{s:i, s:i, s:i, s:s, s:o, s:o, s:o, s:o, s:I, s:i, s:o, s:o, s:o}", "core", (int)row->core,
			 "cpu", (int)entry->cpu, "shard", (int)entry->home, "state", top_state_name(entry->state),
			 "function", name_of(row->function), "warm", warm, "busy", number(row->busy), "claims_per_s",
			 number(row->claims), "running_us", (json_int_t)(row->age_ns / 1000), "queued",
			 (int)entry->queued, "cpu_instance", number(row->instances), "cpu_agent", number(row->daemon),
			 "cpu_host", number(row->host));
}

static json_t *function_json(const struct top_function *row)
{
	const struct wc_function *entry = row->entry;

	return json_pack("{s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "name",
			 name_of(entry->name), "id", (json_int_t)entry->id, "per_s", number(row->rate), "errors_per_s",
			 number(row->errors), "cold_starts_per_s", number(row->cold), "wait_us", number(row->wait_us),
			 "service_us", number(row->service_us), "load", number(row->load), "cpu", number(row->cpu),
			 "running", (json_int_t)row->running, "running_max", (json_int_t)entry->running_max, "waiting",
			 (json_int_t)entry->waiting, "warm_cores", (json_int_t)row->warm, "invocations",
			 (json_int_t)entry->invocations, "errors", (json_int_t)entry->errors, "cold_starts",
			 (json_int_t)entry->cold_starts);
}

static json_t *shard_json(const struct top_shard *row)
{
	json_t *object = json_pack("{s:I, s:I, s:I, s:I, s:o, s:o}", "shard", (json_int_t)row->queue, "cores",
				   (json_int_t)row->cores, "free", (json_int_t)row->free, "pending",
				   (json_int_t)row->pending, "queued_per_s", number(row->pended), "stolen_per_s",
				   number(row->stolen));

	if (row->owner)
		json_object_set_new(object, "reserved_for", name_of(row->owner));
	return object;
}

json_t *top_json(const struct top_frame *frame, const char *node)
{
	const struct top_sample *now = frame->now;
	json_t *cores = json_array(), *functions = json_array(), *shards = json_array(), *rates = json_object(),
	       *states = json_object();

	for (size_t i = 0; i < frame->rows[TOP_CORES]; i++)
		json_array_append_new(cores, core_json(frame, &frame->cores[i]));
	for (size_t i = 0; i < frame->rows[TOP_FUNCTIONS]; i++)
		json_array_append_new(functions, function_json(&frame->functions[i]));
	for (size_t i = 0; i < frame->rows[TOP_SHARDS]; i++)
		json_array_append_new(shards, shard_json(&frame->shards[i]));
#define SET(name, title) json_object_set_new(rates, #name, number(frame->rate.name));
	TOP_RATES(SET)
#undef SET
	for (uint32_t state = 0; state <= WC_CORE_PARKED; state++)
		json_object_set_new(states, top_state_name(state), json_integer(frame->states[state]));
	return json_pack("{s:b, s:s, s:b, s:i, s:s, s:s, s:o, s:o, s:o, s:{s:I, s:I}, s:o, s:o, s:o, s:o}", "ok", 1,
			 "node", node, "daemon", now->daemon != 0, "pid", (int)now->daemon, "policy",
			 now->config.policy < WC_POLICY_COUNT ? wc_policy_names[now->config.policy] : "?", "placement",
			 now->placed ? "sched_ext" : "affinity", "seconds", number(frame->seconds), "busy",
			 number(frame->busy), "states", states, "pending", "now", (json_int_t)frame->pending, "max",
			 (json_int_t)frame->pending_max, "per_s", rates, "cores", cores, "functions", functions,
			 "shards", shards);
}
