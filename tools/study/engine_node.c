// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * engine_node.c - a run of a real node: `warmcore up` with the cell's knobs, `warmcore load`, a look at its counters, `warmcore down`. Every
 * run has a node of its own, so that nothing that the last one has learned, kept warm or queued is in the figures.
 */
#include "tools/floor/echo.h"
#include "tools/load/result.h"
#include "tools/study/engine.h"
#include "tools/study/process.h"
#include "tools/workload/distribution.h"
#include "user/control_client.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define UP_S 60u
#define LOAD_EXTRA_S 120u /* beside what it shall measure: time-outs of calls, starts of functions */
#define STATUS_MS 10000u
#define NO_ANSWER 4 /* exit status of `warmcore load` when nothing was answered: that is a result, too */

/* --- the node --- */

static json_t *status_of(struct wc_fault *fault)
{
	json_t *request = json_pack("{s:s}", "op", "status"), *answer = NULL;
	int error = wc_control_request(ENGINE_NODE, request, STATUS_MS, &answer);

	json_decref(request);
	if (!error && json_is_true(json_object_get(answer, "ok")))
		return answer;
	json_decref(answer);
	wc_fail(fault, EIO, "the node does not answer: %s", error ? strerror(-error) : "it refused");
	return NULL;
}

static int up(const struct engine *engine, uint32_t cell, struct wc_embedded *net, struct wc_fault *fault)
{
	static struct engine_names names;
	struct process process = { .argv = { engine->program, "--node", ENGINE_NODE, "up", "--config", "none" },
				   .argc = 6,
				   .timeout_s = UP_S };
	const char *datapath = study_setting(engine->study, cell, "up.datapath");
	int error = 0;

	names.count = 0;
	/* Without BPF it has no namespace of its own; so that both are behind the same kind of device, it gets one. */
	if (datapath && !strcmp(datapath, "user")) {
		error = floor_net_create(net, ENGINE_NET, fault);
		process.netns = net->netns;
		process_add(&process, "--listen");
		process_add(&process, net->address4);
	}
	if (!error && engine_options(engine, cell, "up", &process, &names))
		error = wc_fail(fault, E2BIG, "too many settings");
	error = error ?: process_run(&process, fault);
	if (!error && process.status)
		error = wc_fail(fault, EIO, "the node does not start: %s", process.complaint);
	process_free(&process);
	return error;
}

static void facts_of(const json_t *status, struct run *run)
{
	const json_t *node = json_object_get(status, "node");
	const char *mode = json_string_value(json_object_get(node, "xdp_mode")) ?: "";
	const char *af_xdp = json_string_value(json_object_get(node, "af_xdp")) ?: "";

	snprintf(run->facts, sizeof(run->facts), "datapath %s%s%s%s%s, scheduler %s, %zu cores",
		 json_string_value(json_object_get(node, "datapath")) ?: "?", *mode ? ", XDP " : "", mode,
		 *af_xdp ? ", AF_XDP " : "", af_xdp, json_string_value(json_object_get(node, "scheduler")) ?: "?",
		 json_array_size(json_object_get(status, "cores")));
}

static double count(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

/* Of the counters of XDP and stack together. */
static void counters_of(const json_t *status, struct run *run)
{
	static const char *const sides[] = { "counters", "stack" };
	const json_t *hits = json_object_get(json_object_get(status, "warmth"), "hits");
	double claims = 0, stolen = 0, ran = count(json_object_get(status, "agents"), "invocations");

	for (unsigned i = 0; i < 2; i++) {
		const json_t *side = json_object_get(status, sides[i]);

		claims += count(side, "to_core");
		stolen += count(side, "claim_stolen");
	}
	run->metrics[METRIC_stolen_percent] = claims > 0 ? 100 * stolen / claims : NAN;
	run->metrics[METRIC_moved_percent] = ran > 0 ? 100 * count(hits, "moved") / ran : NAN;
}

/* --- the load --- */

/* "offered: 0.7" as the rate that keeps so much of all cores busy. */
static int add_rate(const struct engine *engine, uint32_t cell, const json_t *status, char *text, size_t size,
		    struct process *load, struct wc_fault *fault)
{
	const char *offered = study_setting(engine->study, cell, "offered");
	const char *service = study_setting(engine->study, cell, "load.service");
	size_t cores = json_array_size(json_object_get(status, "cores"));
	struct distribution distribution;
	struct wc_fault why;
	double mean, part;

	if (!offered)
		return 0;
	if (!service || distribution_parse(&distribution, service, &why))
		return wc_fail(fault, EINVAL, "'offered' needs load.service, a distribution with a mean: %.200s",
			       service ? why.text : "there is none");
	mean = distribution_mean(&distribution);
	part = strtod(offered, NULL); /* read.c has checked it */
	if (!(mean > 0))
		return wc_fail(fault, EINVAL, "'offered' needs a service that takes time");
	snprintf(text, size, "poisson:%.3f", part * (double)cores / (mean / 1e9));
	process_add(load, "--arrivals");
	process_add(load, text);
	return 0;
}

static double at(const struct load_function *total, enum load_time time, bool with_missing, uint32_t ppm, double unit)
{
	const struct load_histogram *histogram = &total->times[time];
	uint64_t missing = with_missing ? load_missing(total) : 0, value;

	if (!histogram->count && !missing)
		return NAN;
	value = load_histogram_quantile(histogram, missing, ppm);
	return value == LOAD_QUANTILE_MISSING ? INFINITY : (double)value * unit;
}

static int fill(const struct load_result *result, struct run *run, struct wc_fault *fault)
{
	struct load_function total;
	struct load_pace pace;
	double *m = run->metrics, sent;
	int error = load_result_total(result, &total);

	if (error)
		return wc_fail(fault, -error, "the results of the load cannot be added up: %s", strerror(-error));
	load_pace(result, &total, &pace);
	sent = (double)total.counts[LOAD_COUNT_sent];
	m[METRIC_latency_mean_us] =
		total.times[LOAD_TIME_latency].count ? load_histogram_mean(&total.times[LOAD_TIME_latency]) / 1e3 : NAN;
	m[METRIC_latency_p50_us] = at(&total, LOAD_TIME_latency, true, 500000, 1e-3);
	m[METRIC_latency_p90_us] = at(&total, LOAD_TIME_latency, true, 900000, 1e-3);
	m[METRIC_latency_p99_us] = at(&total, LOAD_TIME_latency, true, 990000, 1e-3);
	m[METRIC_latency_p999_us] = at(&total, LOAD_TIME_latency, true, 999000, 1e-3);
	m[METRIC_latency_max_us] = at(&total, LOAD_TIME_latency, false, 1000000, 1e-3);
	if (total.times[LOAD_TIME_slowdown].count) {
		m[METRIC_slowdown_p50] = at(&total, LOAD_TIME_slowdown, true, 500000, 1e-3);
		m[METRIC_slowdown_p90] = at(&total, LOAD_TIME_slowdown, true, 900000, 1e-3);
		m[METRIC_slowdown_p99] = at(&total, LOAD_TIME_slowdown, true, 990000, 1e-3);
	}
	m[METRIC_wait_p50_us] = at(&total, LOAD_TIME_wait, false, 500000, 1e-3);
	m[METRIC_wait_p99_us] = at(&total, LOAD_TIME_wait, false, 990000, 1e-3);
	m[METRIC_wait_max_us] = at(&total, LOAD_TIME_wait, false, 1000000, 1e-3);
	m[METRIC_cold_percent] = total.counts[LOAD_COUNT_replied] ? 100 * (double)total.counts[LOAD_COUNT_cold] /
									    (double)total.counts[LOAD_COUNT_replied] :
								    NAN;
	m[METRIC_unserved_percent] = sent > 0 ? 100 * (sent - (double)total.counts[LOAD_COUNT_replied]) / sent : NAN;
	m[METRIC_rate_per_s] =
		result->span_ns ? (double)total.counts[LOAD_COUNT_replied] / ((double)result->span_ns / 1e9) : NAN;
	m[METRIC_pace] = pace.ratio;
	run->kept_up = pace.kept_up;
	snprintf(run->why_not, sizeof(run->why_not), "%s", pace.kept_up ? "" : pace.text);
	load_function_clear(&total);
	return 0;
}

/* The functions' histograms are large, and their sum is in the metrics: they are not kept. */
static json_t *shorten(const struct process *load)
{
	json_t *raw = json_loadb(load->output, load->length, 0, NULL);

	if (raw)
		json_object_del(raw, "functions");
	return raw;
}

static int drive(const struct engine *engine, uint32_t cell, uint64_t seed, const json_t *status, struct run *run,
		 json_t **ret_raw, struct wc_fault *fault)
{
	static struct engine_names names;
	struct process load = { .argv = { engine->program, "--node", ENGINE_NODE, "load", "--json", "--seed" },
				.argc = 6,
				.timeout_s = (unsigned)engine_guess_s(engine->study, cell) + LOAD_EXTRA_S,
				.stop = engine->stop };
	char number[24], rate[64];
	struct load_result result;
	int error;

	names.count = 0;
	snprintf(number, sizeof(number), "%llu", (unsigned long long)seed);
	process_add(&load, number);
	if (!study_setting(engine->study, cell, "load.deploy")) {
		process_add(&load, "--deploy");
		process_add(&load, "1");
	}
	error = add_rate(engine, cell, status, rate, sizeof(rate), &load, fault);
	if (!error && engine_options(engine, cell, "load", &load, &names))
		error = wc_fail(fault, E2BIG, "too many settings");
	error = error ?: process_run(&load, fault);
	if (!error && load.status && load.status != NO_ANSWER)
		error = wc_fail(fault, EIO, "`warmcore load` failed: %s", load.complaint);
	if (!error) {
		struct wc_fault why;

		if (load_result_parse(load.output, load.length, &result, &why))
			error = wc_fail(fault, EBADMSG, "what `warmcore load` printed is no result: %.300s", why.text);
	}
	if (!error) {
		error = fill(&result, run, fault);
		load_result_clear(&result);
		*ret_raw = shorten(&load);
	}
	process_free(&load);
	return error;
}

int engine_node(const struct engine *engine, uint32_t cell, uint64_t seed, struct run *run, json_t **ret_raw,
		struct wc_fault *fault)
{
	struct wc_embedded net = { .netns = "" };
	json_t *status = NULL;
	struct wc_fault ignored;
	int error = up(engine, cell, &net, fault);

	if (!error) {
		status = status_of(fault);
		error = status ? 0 : -EIO;
	}
	if (!error) {
		facts_of(status, run);
		error = drive(engine, cell, seed, status, run, ret_raw, fault);
		json_decref(status);
	}
	if (!error) {
		status = status_of(fault);
		error = status ? 0 : -EIO;
		if (!error)
			counters_of(status, run);
		json_decref(status);
	}
	/* Whatever went wrong, the node goes; the first error is the one that counts. */
	if (engine_clean(engine, error ? &ignored : fault))
		error = error ?: -EIO;
	if (net.netns[0])
		wc_embedded_remove(&net);
	if (error && *ret_raw) {
		json_decref(*ret_raw);
		*ret_raw = NULL;
	}
	return error;
}
