// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * top_sample.c - a node's maps at one moment, copied: what is shown must not change while it is sorted.
 *
 * It costs the node the cache lines that are read, once a sample. Lanes are looked at where a policy lets invocations share
 * cores; elsewhere each core has one.
 */
#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/policies.h"
#include "tools/top.h"
#include "user/clock.h"

static void *make(size_t count, size_t size)
{
	void *memory = calloc(count ?: 1, size);

	if (!memory)
		err(1, "top");
	return memory;
}

static uint32_t cores_of(const struct wc_view *view)
{
	return view->tables.wc_cores_max < WC_CORES_MAX ? view->tables.wc_cores_max : WC_CORES_MAX;
}

struct top_sample *top_sample_sized(uint32_t cores)
{
	struct top_sample *sample = make(1, sizeof(*sample));

	sample->cores = make(cores, sizeof(*sample->cores));
	sample->started_ns = make(cores, sizeof(*sample->started_ns));
	sample->running_ns = make(cores, sizeof(*sample->running_ns));
	sample->functions = make(WC_FUNCTIONS_MAX, sizeof(*sample->functions));
	sample->times = make(WC_FUNCTIONS_MAX, sizeof(*sample->times));
	sample->cpus = make(WC_CPUS_MAX, sizeof(*sample->cpus));
	return sample;
}

struct top_sample *top_sample_new(const struct wc_view *view)
{
	return top_sample_sized(cores_of(view));
}

void top_sample_free(struct top_sample *sample)
{
	if (!sample)
		return;
	free(sample->cores);
	free(sample->started_ns);
	free(sample->running_ns);
	free(sample->functions);
	free(sample->times);
	free(sample->cpus);
	free(sample);
}

/* What core runs, before its count of what has ended is read: what ends in between is in neither, rather than in both. */
static void take_runs(struct top_sample *sample, const struct wc_view *view, uint32_t core, uint32_t lanes)
{
	uint64_t now = wc_now();

	sample->started_ns[core] = sample->running_ns[core] = 0;
	for (uint32_t lane = 0; lane < lanes; lane++) {
		uint32_t index = core * WC_LANES_MAX + lane;
		const struct wc_run *run;
		uint64_t started;

		if (index >= view->tables.wc_runs_max)
			return;
		run = &view->tables.wc_runs[index];
		if (!WC_READ(run->function_id))
			continue;
		started = WC_READ(run->started_ns);
		if (!started || started > now)
			continue;
		sample->running_ns[core] += now - started;
		if (!sample->started_ns[core] || started < sample->started_ns[core])
			sample->started_ns[core] = started;
	}
}

static void take_functions(struct top_sample *sample, const struct wc_view *view)
{
	uint32_t max = view->tables.wc_functions_max < WC_FUNCTIONS_MAX ? view->tables.wc_functions_max :
									  WC_FUNCTIONS_MAX;

	sample->function_count = 0;
	for (uint32_t slot = 0; slot < max; slot++) {
		const struct wc_function *entry = &view->tables.wc_functions[slot];
		struct wc_function *copy = &sample->functions[slot];
		uint32_t id = WC_READ(entry->id);

		if (!id) {
			copy->id = 0;
			continue;
		}
		memcpy(copy, entry, sizeof(*copy));
		__sync_synchronize();
		/* Removed or replaced meanwhile: the name may be half of another one. */
		copy->id = WC_READ(entry->id) == id ? id : 0;
		copy->name[WC_LABEL_MAX - 1] = 0;
		if (copy->id)
			sample->function_count = slot + 1;
		if (slot < view->times_max)
			sample->times[slot] = view->times[slot];
	}
}

void top_sample_take(struct top_sample *sample, const struct wc_view *view, const char *node)
{
	const struct wc_tables *tables = &view->tables;
	uint32_t lanes;

	sample->daemon = wc_view_daemon(node);
	sample->ns = wc_now();
	memcpy(&sample->config, tables->wc_config, sizeof(sample->config));
	lanes = wc_policy_service(sample->config.policy) == WC_SERVE_SHARE ? WC_LANES_MAX : 1;
	sample->core_count = cores_of(view);
	for (uint32_t core = 0; core < sample->core_count; core++) {
		take_runs(sample, view, core, lanes);
		memcpy(&sample->cores[core], &tables->wc_cores[core], sizeof(sample->cores[core]));
	}
	memcpy(sample->shards, tables->wc_shards, sizeof(sample->shards));
	for (uint32_t thief = 0; thief < WC_SHARDS_MAX && thief < tables->wc_steals_max; thief++) {
		sample->steals[thief] = 0;
		for (uint32_t from = 0; from < WC_SHARDS_MAX; from++)
			sample->steals[thief] += WC_READ(tables->wc_steals[thief].from[from]);
	}
	take_functions(sample, view);
	sample->placed = wc_view_placed(view);
	sample->cpu_count = view->cpus_max < WC_CPUS_MAX ? view->cpus_max : WC_CPUS_MAX;
	if (sample->placed)
		memcpy(sample->cpus, view->cpus, sample->cpu_count * sizeof(*sample->cpus));
	sample->whole = !wc_view_counters(view, &sample->counters) && wc_view_is_current(view);
}
