// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* result.c - see result.h: adding up, and what follows from the counts. */
#include "tools/load/result.h"

#include <stdlib.h>
#include <string.h>

#define RATIO_MIN 0.99
#define BEHIND_MAX 0.01 /* part of those sent */

const char *const load_count_names[LOAD_COUNT_COUNT] = {
#define X(name, text) #name,
	LOAD_COUNTS(X)
#undef X
};
const char *const load_time_names[LOAD_TIME_COUNT] = {
#define X(name, unit, title, text) #name,
	LOAD_TIMES(X)
#undef X
};
const char *const load_time_units[LOAD_TIME_COUNT] = {
#define X(name, unit, title, text) unit,
	LOAD_TIMES(X)
#undef X
};
const char *const load_time_titles[LOAD_TIME_COUNT] = {
#define X(name, unit, title, text) title,
	LOAD_TIMES(X)
#undef X
};
const char *const load_traffic_names[LOAD_TRAFFIC_COUNT] = {
#define X(name, text) #name,
	LOAD_TRAFFIC(X)
#undef X
};

const struct load_quantile load_quantiles[LOAD_QUANTILES] = {
	{ "p50", 500000 },  { "p90", 900000 },	 { "p99", 990000 },
	{ "p999", 999000 }, { "p9999", 999900 }, { "max", 1000000 },
};

int load_result_init(struct load_result *result, size_t functions)
{
	memset(result, 0, sizeof(*result));
	result->functions = calloc(functions ?: 1, sizeof(*result->functions));
	if (!result->functions)
		return -ENOMEM;
	result->functions_count = functions;
	return 0;
}

void load_function_clear(struct load_function *function)
{
	for (size_t t = 0; t < LOAD_TIME_COUNT; t++)
		load_histogram_clear(&function->times[t]);
	memset(function, 0, sizeof(*function));
}

void load_result_clear(struct load_result *result)
{
	for (size_t i = 0; i < result->functions_count; i++)
		load_function_clear(&result->functions[i]);
	free(result->functions);
	memset(result, 0, sizeof(*result));
}

/* Sums stay what JSON can hold, so that what was written can be read. */
static int add(uint64_t *sum, uint64_t more)
{
	if (more > INT64_MAX || *sum > INT64_MAX - more)
		return -ERANGE;
	*sum += more;
	return 0;
}

int load_function_merge(struct load_function *into, const struct load_function *from)
{
	int ret = 0;

	for (size_t c = 0; c < LOAD_COUNT_COUNT && !ret; c++)
		ret = add(&into->counts[c], from->counts[c]);
	for (size_t c = 0; c < LOAD_CODES && !ret; c++)
		ret = add(&into->codes[c], from->codes[c]);
	for (size_t t = 0; t < LOAD_TIME_COUNT && !ret; t++)
		ret = load_histogram_merge(&into->times[t], &from->times[t]);
	return ret;
}

static struct load_function *find(struct load_result *result, const char *name)
{
	for (size_t i = 0; i < result->functions_count; i++)
		if (!strcmp(result->functions[i].name, name))
			return &result->functions[i];
	return NULL;
}

static int merge_functions(struct load_result *into, const struct load_result *from)
{
	size_t before = into->functions_count;
	struct load_function *larger = realloc(into->functions, (before + from->functions_count + 1) * sizeof(*larger));
	int ret = 0;

	if (!larger)
		return -ENOMEM;
	into->functions = larger;
	for (size_t i = 0; i < from->functions_count && !ret; i++) {
		struct load_function *function = find(into, from->functions[i].name);

		if (!function) {
			if (into->functions_count == LOAD_FUNCTIONS_MAX)
				return -E2BIG;
			function = &into->functions[into->functions_count++];
			memset(function, 0, sizeof(*function));
			memcpy(function->name, from->functions[i].name, sizeof(function->name));
		}
		ret = load_function_merge(function, &from->functions[i]);
	}
	return ret;
}

int load_result_merge(struct load_result *into, const struct load_result *from, struct wc_fault *fault)
{
	int ret = 0;

	if (!into->runs) {
		memcpy(into->load, from->load, sizeof(into->load));
		memcpy(into->loop, from->loop, sizeof(into->loop));
		into->timeout_ns = from->timeout_ns;
		into->behind_ns = from->behind_ns;
	}
	if (strcmp(into->load, from->load) != 0)
		snprintf(into->load, sizeof(into->load), "several loads");
	if (strcmp(into->loop, from->loop) != 0)
		snprintf(into->loop, sizeof(into->loop), "mixed");
	into->timeout_ns = from->timeout_ns < into->timeout_ns ? from->timeout_ns : into->timeout_ns;
	into->behind_ns = from->behind_ns < into->behind_ns ? from->behind_ns : into->behind_ns;
	if (into->runs + from->runs > LOAD_RUNS_MAX)
		return wc_fail(fault, ERANGE, "there are more than %u runs in these results", LOAD_RUNS_MAX);
	into->runs += from->runs;
	into->interrupted += from->interrupted;
	ret = add(&into->window_ns, from->window_ns) ?: add(&into->span_ns, from->span_ns);
	for (size_t i = 0; i < LOAD_TRAFFIC_COUNT && !ret; i++)
		ret = add(&into->traffic[i], from->traffic[i]);
	if (!ret)
		ret = merge_functions(into, from);
	if (ret == -E2BIG)
		return wc_fail(fault, E2BIG, "there are more than %u functions in these results", LOAD_FUNCTIONS_MAX);
	if (ret == -ERANGE)
		return wc_fail(fault, ERANGE, "the sum of these results is larger than 2^63 - 1");
	return ret ? wc_fail(fault, ENOMEM, "out of memory") : 0;
}

int load_result_total(const struct load_result *result, struct load_function *ret_total)
{
	struct load_function total = { .name = "(total)" };
	int ret = 0;

	for (size_t i = 0; i < result->functions_count && !ret; i++)
		ret = load_function_merge(&total, &result->functions[i]);
	if (ret)
		load_function_clear(&total);
	else
		*ret_total = total;
	return ret;
}

uint64_t load_missing(const struct load_function *function)
{
	return function->counts[LOAD_COUNT_scheduled] - function->counts[LOAD_COUNT_replied];
}

void load_pace(const struct load_result *result, const struct load_function *total, struct load_pace *ret_pace)
{
	const uint64_t *counts = total->counts;
	struct load_pace pace = { .ratio = 1, .kept_up = true };
	double sent = (double)counts[LOAD_COUNT_sent], behind = (double)counts[LOAD_COUNT_behind];
	size_t at = 0;

	if (result->window_ns)
		pace.intended_per_s = (double)counts[LOAD_COUNT_scheduled] / ((double)result->window_ns / 1e9);
	if (result->span_ns)
		pace.achieved_per_s = sent / ((double)result->span_ns / 1e9);
	if (pace.intended_per_s > 0 && strcmp(result->loop, "closed") != 0)
		pace.ratio = pace.achieved_per_s / pace.intended_per_s;
	if (counts[LOAD_COUNT_not_sent])
		at += (size_t)snprintf(
			pace.text + at, sizeof(pace.text) - at,
			"%llu calls were not sent: as many as allowed were out, or it was too late for them",
			(unsigned long long)counts[LOAD_COUNT_not_sent]);
	if (pace.ratio < RATIO_MIN)
		at += (size_t)snprintf(pace.text + at, sizeof(pace.text) - at,
				       "%s%.1f %% of the intended rate was achieved", at ? "; " : "", 100 * pace.ratio);
	if (behind > BEHIND_MAX * sent)
		at += (size_t)snprintf(pace.text + at, sizeof(pace.text) - at,
				       "%s%.1f %% of the calls were sent more than %.0f us late", at ? "; " : "",
				       100 * behind / sent, (double)result->behind_ns / 1e3);
	pace.kept_up = !at;
	*ret_pace = pace;
}
