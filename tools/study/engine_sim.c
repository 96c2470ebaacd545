// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* engine_sim.c - a run of the simulator: `warmcore sim --json`, as a child. */
#include "tools/study/engine.h"
#include "tools/study/process.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_S 1800u

static double get(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_number(value) ? json_number_value(value) : NAN;
}

/* Its quantiles are of those that were completed; a refused one is slower than all of them. */
static double quantile(const json_t *object, const char *key, double rank, double refused)
{
	return refused > 1 - rank ? INFINITY : get(object, key);
}

static int fill(const json_t *raw, struct run *run, struct wc_fault *fault)
{
	double arrived = get(raw, "arrived"), completed = get(raw, "completed"), refused;
	double *m = run->metrics;

	if (!(arrived > 0) || !(completed >= 0))
		return wc_fail(fault, EBADMSG, "what `warmcore sim` printed is no result: nothing arrived");
	refused = get(raw, "refused") / arrived;
	m[METRIC_latency_mean_us] = get(raw, "response_us_mean");
	m[METRIC_latency_p50_us] = quantile(raw, "response_us_p50", 0.5, refused);
	m[METRIC_latency_p90_us] = quantile(raw, "response_us_p90", 0.9, refused);
	m[METRIC_latency_p99_us] = quantile(raw, "response_us_p99", 0.99, refused);
	m[METRIC_latency_p999_us] = quantile(raw, "response_us_p999", 0.999, refused);
	m[METRIC_latency_max_us] = get(raw, "response_us_max");
	m[METRIC_slowdown_p50] = quantile(raw, "slowdown_p50", 0.5, refused);
	m[METRIC_slowdown_p90] = quantile(raw, "slowdown_p90", 0.9, refused);
	m[METRIC_slowdown_p99] = quantile(raw, "slowdown_p99", 0.99, refused);
	m[METRIC_wait_p50_us] = get(raw, "wait_us_p50");
	m[METRIC_wait_p99_us] = get(raw, "wait_us_p99");
	m[METRIC_cold_percent] = completed > 0 ? 100 * get(raw, "cold") / completed : NAN;
	m[METRIC_unserved_percent] = 100 * refused;
	m[METRIC_moved_percent] = completed > 0 ? 100 * get(raw, "moved") / completed : NAN;
	m[METRIC_stolen_percent] = 100 * (get(raw, "steals") + get(raw, "node_steals")) / arrived;
	m[METRIC_utilization] = get(raw, "utilization");
	return 0;
}

int engine_sim(const struct engine *engine, uint32_t cell, uint64_t seed, struct run *run, json_t **ret_raw,
	       struct wc_fault *fault)
{
	static struct engine_names names;
	struct process sim = { .argv = { engine->program, "--json", "sim", "--quiet", "--seed" },
			       .argc = 5,
			       .timeout_s = TIMEOUT_S,
			       .stop = engine->stop };
	const char *offered = study_setting(engine->study, cell, "offered");
	char number[24], percent[24];
	json_error_t wrong;
	int error;

	names.count = 0;
	snprintf(number, sizeof(number), "%llu", (unsigned long long)seed);
	process_add(&sim, number);
	if (offered) { /* read.c has checked it: up to 10 */
		snprintf(percent, sizeof(percent), "%.0f", 100 * strtod(offered, NULL));
		process_add(&sim, "--load");
		process_add(&sim, percent);
	}
	if (engine_options(engine, cell, "sim", &sim, &names))
		return wc_fail(fault, E2BIG, "too many settings");
	error = process_run(&sim, fault);
	if (!error && sim.status)
		error = wc_fail(fault, EIO, "`warmcore sim` failed: %s", sim.complaint);
	if (!error) {
		*ret_raw = json_loadb(sim.output, sim.length, 0, &wrong);
		if (!*ret_raw)
			error = wc_fail(fault, EBADMSG, "what `warmcore sim` printed is no JSON: %s", wrong.text);
	}
	error = error ?: fill(*ret_raw, run, fault);
	snprintf(run->facts, sizeof(run->facts), "simulated");
	process_free(&sim);
	return error;
}
