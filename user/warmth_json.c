/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* warmth_json.c - see warmth.h: what is known and counted, for people. */
#include "user/warmth_internal.h"

#include "user/clock.h"
#include "user/node.h"

#include <string.h>

#define NAME(name, text) #name,
static const char *const hit_names[] = { WC_HITS(NAME) };
const char *const wc_cold_names[] = { WC_COLDS(NAME) };
static const char *const stop_names[] = { WC_STOPS(NAME) };
static const char *const prewarm_names[] = { WC_PREWARMS(NAME) };
#undef NAME

static json_t *counts(const uint64_t *values, const char *const *names, size_t count)
{
	json_t *object = json_object();

	for (size_t i = 0; i < count; i++)
		json_object_set_new(object, names[i], json_integer((json_int_t)values[i]));
	return object;
}

static void add_counters(json_t *object, const struct wc_warmth_counters *counters)
{
	json_object_set_new(object, "hits", counts(counters->hit, hit_names, WC_HIT_COUNT));
	json_object_set_new(object, "cold_starts", counts(counters->cold, wc_cold_names, WC_COLD_COUNT));
	json_object_set_new(object, "prewarms", counts(counters->prewarm, prewarm_names, WC_PREWARM_COUNT));
	json_object_set_new(object, "stops", counts(counters->stop, stop_names, WC_STOP_COUNT));
	json_object_set_new(object, "idle_ms", json_integer((json_int_t)(counters->idle_ns / WC_MS)));
	json_object_set_new(object, "idle_mb_s", json_real((double)counters->idle_kib_s / 1024));
}

/* A time of the plan in ms; null: never. */
static json_t *plan_ms(uint64_t ns)
{
	return ns == WC_KEEPALIVE_NEVER ? json_null() : json_integer((json_int_t)(ns / WC_MS));
}

static json_t *history_json(const struct wc_keepalive_histogram *history)
{
	json_t *bins = json_object();
	char bin[8];

	for (uint32_t i = 0; i < WC_KEEPALIVE_BINS; i++) {
		if (!history->count[i])
			continue;
		snprintf(bin, sizeof(bin), "%u", i);
		json_object_set_new(bins, bin, json_integer(history->count[i]));
	}
	return json_pack("{s:I, s:I, s:o}", "within", (json_int_t)history->within, "beyond",
			 (json_int_t)history->beyond, "bins", bins);
}

/* Under the lock. */
static json_t *known_json(const struct wc_known *warm, uint64_t now)
{
	const struct wc_keepalive_plan *plan = &warm->plan;
	json_t *object = json_pack("{s:s, s:s, s:o, s:o, s:o, s:s, s:i, s:i, s:i, s:i, s:I, s:b, s:I, s:I}", "why",
				   wc_keepalive_why_names[plan->why], "why_text", wc_keepalive_why_texts[plan->why],
				   "prewarm_ms", plan_ms(plan->prewarm), "keep_ms", plan_ms(plan->end), "more_keep_ms",
				   plan_ms(plan->more), "more_why", wc_keepalive_why_names[plan->more_why], "ready",
				   (int)warm->loaded, "idle",
				   (int)(warm->loaded > warm->running ? warm->loaded - warm->running : 0), "running",
				   (int)warm->running, "starting", (int)warm->starting, "memory_kib",
				   (json_int_t)wc_known_memory(warm), "measured", warm->memory_kib != 0, "start_us",
				   (json_int_t)(warm->start_ns / WC_US), "execution_us",
				   (json_int_t)(warm->execution_ns / WC_US));

	json_object_set_new(object, "prewarm_in_ms",
			    warm->prewarm_at ?
				    json_integer(((json_int_t)warm->prewarm_at - (json_int_t)now) / (json_int_t)WC_MS) :
				    json_null());
	json_object_set_new(object, "idle_times", history_json(&warm->known.first));
	json_object_set_new(object, "more_idle_times", history_json(&warm->known.more));
	add_counters(object, &warm->counters);
	return object;
}

json_t *wc_warmth_list(struct wc_warmth *warmth, const char *name)
{
	json_t *functions = wc_functions_list(warmth->node->functions, true), *list = json_array(), *function;
	size_t i;

	json_array_foreach (functions, i, function) {
		const char *its = json_string_value(json_object_get(function, "name"));
		uint32_t id = (uint32_t)json_integer_value(json_object_get(function, "id"));
		struct wc_known *warm = wc_known_at(warmth, id);
		json_t *object = NULL;

		if (name && (!its || strcmp(its, name) != 0))
			continue;
		pthread_mutex_lock(&warm->lock);
		if (warm->id == id)
			object = known_json(warm, wc_now());
		pthread_mutex_unlock(&warm->lock);
		if (!object) { /* it never had an instance */
			const struct wc_keepalive_knobs knobs = wc_warmth_knobs(warmth);
			struct wc_known none = { .id = 0 };

			none.plan = wc_keepalive_plan(&none.known, &knobs);
			object = known_json(&none, 0);
		}
		json_object_set_new(object, "name", json_string(its));
		json_object_set(object, "qualifier", json_object_get(function, "qualifier"));
		json_object_set_new(object, "provisioned",
				    json_integer(json_integer_value(json_object_get(function, "provisioned"))));
		json_array_append_new(list, object);
	}
	json_decref(functions);
	return list;
}

bool wc_warmth_instances(struct wc_warmth *warmth, uint32_t function_id, struct wc_warmth_instances *ret_instances)
{
	struct wc_known *warm = wc_known_at(warmth, function_id);
	bool known;

	pthread_mutex_lock(&warm->lock);
	known = warm->id == function_id;
	if (known)
		*ret_instances = (struct wc_warmth_instances){
			.running = warm->running,
			.idle = warm->loaded > warm->running ? warm->loaded - warm->running : 0,
			.starting = warm->starting,
			.memory_kib = warm->loaded * wc_known_memory(warm),
		};
	pthread_mutex_unlock(&warm->lock);
	return known;
}

json_t *wc_warmth_json(struct wc_warmth *warmth)
{
	const struct wc_options *options = &warmth->node->options;
	struct wc_warmth_counters sum;
	json_t *object;

	pthread_mutex_lock(&warmth->gone_lock);
	sum = warmth->gone;
	pthread_mutex_unlock(&warmth->gone_lock);
	for (uint32_t i = 1; i < atomic_load(&warmth->used); i++) {
		struct wc_known *warm = &warmth->functions[i];

		pthread_mutex_lock(&warm->lock);
		for (size_t j = 0; j < sizeof(sum) / sizeof(uint64_t); j++)
			((uint64_t *)&sum)[j] += ((const uint64_t *)&warm->counters)[j];
		pthread_mutex_unlock(&warm->lock);
	}
	object = json_pack("{s:s, s:I, s:I, s:b, s:I, s:s, s:I}", "keep_alive",
			   wc_keepalive_rule_names[WC_READ(options->keep_alive)], "keep_alive_ms",
			   (json_int_t)WC_READ(options->keep_alive_ms), "keep_alive_bin_ms",
			   (json_int_t)WC_READ(options->keep_alive_bin_ms), "prewarm", WC_READ(options->prewarm),
			   "instances_memory_mb", (json_int_t)WC_READ(options->instances_memory_mb), "starts",
			   wc_starts_names[WC_READ(options->starts)], "memory_kib",
			   (json_int_t)atomic_load(&warmth->memory_kib));
	add_counters(object, &sum);
	return object;
}
