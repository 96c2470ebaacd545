/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bench_sim.c - group `sim`: the simulator's speed and memory, its distance from closed forms, and from a node.
 *
 *     bench_sim [OUTPUT.jsonl] [--rounds N] [--block SECONDS] [--only rate|theory|node] [--quick]
 *
 * rate: invocations a second of CPU time with 10,000 cores under `central` at 80 %, exponential service of 10 ms, 50 functions; bytes a core with
 * a million of them and as many invocations. theory: the largest distance of the mean response from theory.c's closed forms. node: a trace is replayed on a real node of 16 virtual cores
 * with functions that sleep, open loop, and through the simulator with the very same arrivals, functions and the durations that the node
 * measured; what a client waits beside that is taken from an unloaded run before. Compared are p50 and p99 of the slowdown.
 */
#include "tests/bench/open_loop.h"
#include "tools/sim/sim.h"
#include "tools/sim/theory.h"
#include "user/clock.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CORES 16
#define FUNCTIONS 8
#define LOAD 0.8
#define SERVICE "bimodal:10ms,100ms,0.05"
#define ROUND_S 20
#define DRAIN_S 4
#define REQUESTS_MAX 100000
#define PROBES 200 /* of the unloaded run */

static FILE *output;

static int write_figure(const char *name, double value, const char *unit, double floor, double ratio, unsigned runs,
			const char *more)
{
	printf("  %-34s %12.5g %-14s %12.5g  x %8.5g  %s\n", name, value, unit, floor, ratio, more);
	if (output)
		fprintf(output,
			"{\"name\":\"%s\",\"value\":%.6g,\"unit\":\"%s\",\"floor\":%.6g,\"ratio\":%.6g,\"runs\":%u%s%s}\n",
			name, value, unit, floor, ratio, runs, *more ? "," : "", more);
	return output && ferror(output) ? -EIO : 0;
}

/* --- rate and theory --- */

static int simulate(struct sim_options *options, const char *policy, const char *service, double load,
		    struct sim_result *result)
{
	struct popularity popularity;
	struct wc_fault fault;
	int error = distribution_parse(&options->service, service, &fault);

	options->policy = sim_policy_find(policy);
	if (!error)
		error = popularity_parse(&popularity, "uniform", options->functions, &fault);
	if (error) {
		bench_say("%s", fault.text);
		return error;
	}
	options->popularity = &popularity;
	options->arrivals = arrivals_poisson(load * options->cores / distribution_mean(&options->service) * 1e9);
	error = sim_run(options, result, &fault);
	popularity_free(&popularity);
	if (error)
		bench_say("%s", fault.text);
	return error;
}

static int rate(unsigned rounds, struct sim_result *result)
{
	double rates[BENCH_ROUNDS_MAX];
	struct sim_options options;
	int error = 0;

	for (unsigned i = 0; i < rounds && !error; i++) {
		sim_defaults(&options);
		options.cores = 10000;
		options.invocations = 2000000;
		options.seed = i + 1;
		error = simulate(&options, "central", "exp:10ms", 0.8, result);
		rates[i] = result->seconds > 0 ? (double)result->arrived / result->seconds : 0;
		if (bench_interrupted())
			return -EINTR;
	}
	if (error)
		return error;
	error = write_figure("sim_rate", bench_quantile(rates, rounds, 500), "invocations/s", 2e6,
			     bench_quantile(rates, rounds, 500) / 2e6, rounds, "");
	sim_defaults(&options);
	options.cores = 1000000;
	options.nodes = 245;
	options.shards = 8;
	options.invocations = 1000000;
	if (!error)
		error = simulate(&options, "central", "exp:10ms", 0.8, result);
	return error ?:
		       write_figure("sim_bytes_per_core", (double)result->bytes / 1e6, "bytes", 400,
				    (double)result->bytes / 4e8, 1, "");
}

static int theory(unsigned rounds, bool quick, struct sim_result *result)
{
	double worst = 0;

	for (unsigned i = 0; i < theory_count; i++) {
		const struct theory_case *c = &theory_cases[i];
		double errors[BENCH_ROUNDS_MAX], expected = theory_response(c), median;
		char name[64];

		for (unsigned round = 0; round < rounds; round++) {
			struct sim_options options;
			int error;

			sim_defaults(&options);
			options.cores = c->cores;
			options.seed = round + 1;
			options.network_ns = options.hop_ns = options.dispatch_ns = options.handover_ns =
				options.cold_ns = 0;
			options.pending_max = options.core_queue = 1u << 30;
			options.lanes = 1u << 20;
			options.invocations = quick ? 1000000 : 4000000;
			error = simulate(&options, c->policy, c->service, c->load, result);
			if (error || bench_interrupted())
				return error ?: -EINTR;
			errors[round] = fabs(histogram_mean(&result->response) / expected - 1);
		}
		median = bench_quantile(errors, rounds, 500);
		worst = median > worst ? median : worst;
		snprintf(name, sizeof(name), "sim_theory_%s", c->name);
		if (write_figure(name, median * 100, "%", 1, median * 100, rounds, ""))
			return -EIO;
	}
	return write_figure("sim_theory_error", worst * 100, "%", 1, worst * 100, rounds, "");
}

/* --- a node --- */

static struct bench_node node = { .name = "bench-sim", .port = 47610 };
static uint32_t ids[FUNCTIONS];

static int replay_on_node(struct bench_request *requests, unsigned count, double seconds)
{
	struct bench_open_loop loop = { .node = &node,
					.ids = ids,
					.requests = requests,
					.count = count,
					.seconds = seconds,
					.drain_s = DRAIN_S,
					.late_ns = WC_MS };
	int error = bench_open_loop(&loop);

	if (error)
		return error;
	if (loop.answered != count || loop.wrong)
		bench_say("sim: %u of %u answered, %u of them not with a reply", loop.answered, count, loop.wrong);
	if (loop.late)
		printf("    the client was late by more than 1 ms %llu times of %u\n", (unsigned long long)loop.late,
		       count);
	if (loop.wrong)
		bench_say("sim: %s", loop.wrong_text);
	return loop.answered == count && !loop.wrong ? 0 : -EIO;
}

static unsigned plan(struct bench_request *requests, uint64_t seed, double seconds)
{
	struct random functions = random_seed(seed, 1), service = random_seed(seed, 2);
	struct distribution takes;
	struct arrivals arrivals;
	struct wc_fault fault;
	unsigned count = 0;

	if (distribution_parse(&takes, SERVICE, &fault))
		return 0;
	arrivals = arrivals_poisson(LOAD * CORES / distribution_mean(&takes) * 1e9);
	arrivals_begin(&arrivals, random_seed(seed, 0));
	while (count < REQUESTS_MAX) {
		double at = arrivals_next(&arrivals);

		if (at > seconds * 1e9)
			break;
		requests[count++] =
			(struct bench_request){ .at = (uint64_t)at,
						.function = random_below(&functions, FUNCTIONS),
						.service = (uint32_t)(distribution_draw(&takes, &service) / 1e3) };
	}
	return count;
}

/* The same arrivals and functions, and the times that the functions took on the node, through the simulator. */
static int replay_in_simulator(const char *policy, const struct bench_request *requests, unsigned count,
			       uint64_t overhead_ns, struct sim_result *result)
{
	char path[] = "/tmp/warmcore-bench-sim-XXXXXX";
	int fd = mkstemp(path), error;
	FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
	struct sim_options options;
	struct wc_fault fault;

	if (!file)
		return -errno;
	for (unsigned i = 0; i < count; i++)
		fprintf(file, "%.6f %u %.6f\n", (double)requests[i].at * 1e-6, requests[i].function,
			(double)requests[i].service_ns * 1e-6);
	error = fclose(file) ? -EIO : 0;
	sim_defaults(&options);
	options.policy = sim_policy_find(policy);
	options.cores = CORES;
	options.functions = FUNCTIONS;
	options.invocations = 0;
	options.network_ns = overhead_ns / 4; /* there and back; the core is busy with the rest */
	options.handover_ns = overhead_ns / 2;
	options.cold_ns = 0; /* the node was warmed up before */
	if (!error)
		error = calls_of_file(&options.calls, path, &fault);
	if (!error) {
		error = sim_run(&options, result, &fault);
		calls_free(options.calls);
	}
	if (error)
		bench_say("sim: %s", fault.text);
	unlink(path);
	return error;
}

/* What a client waits beside the service, one request at a time, median, ns. */
static int unloaded(struct bench_request *requests, uint64_t *ret_ns)
{
	static double values[PROBES];
	int error;

	for (unsigned i = 0; i < PROBES; i++)
		requests[i] =
			(struct bench_request){ .at = i * 20 * WC_MS, .function = i % FUNCTIONS, .service = 10000 };
	error = replay_on_node(requests, PROBES, PROBES * 0.02);
	for (unsigned i = 0; i < PROBES; i++)
		values[i] = (double)(requests[i].done - requests[i].at - requests[i].service_ns);
	if (!error)
		*ret_ns = (uint64_t)fmax(0, bench_quantile(values, PROBES, 500));
	return error;
}

static int compare(const char *policy, struct bench_request *requests, unsigned rounds, double seconds,
		   uint64_t overhead_ns, struct sim_result *result)
{
	static double slowdown[REQUESTS_MAX];
	double node50[BENCH_ROUNDS_MAX], node99[BENCH_ROUNDS_MAX], ratio50[BENCH_ROUNDS_MAX], ratio99[BENCH_ROUNDS_MAX];
	char name[64], more[96];
	int error = bench_node_command(&node, (const char *const[]){ "set", "--policy", policy, NULL });

	for (unsigned r = 0; r < rounds && !error; r++) {
		unsigned count = plan(requests, 100 + r, seconds);

		error = replay_on_node(requests, count, seconds);
		if (!error)
			error = replay_in_simulator(policy, requests, count, overhead_ns, result);
		for (unsigned i = 0; i < count; i++)
			slowdown[i] = (double)(requests[i].done - requests[i].at) / (double)requests[i].service_ns;
		node50[r] = bench_quantile(slowdown, count, 500);
		node99[r] = bench_quantile(slowdown, count, 990);
		ratio50[r] = histogram_quantile(&result->slowdown, 0.5) * 1e-3 / node50[r];
		ratio99[r] = histogram_quantile(&result->slowdown, 0.99) * 1e-3 / node99[r];
		if (!error)
			printf("    %s, round %u: %u invocations; node %.3f, %.3f; simulated x %.3f, x %.3f\n", policy,
			       r + 1, count, node50[r], node99[r], ratio50[r], ratio99[r]);
	}
	if (error)
		return error;
	snprintf(more, sizeof(more), "\"overhead_us\":%.1f", (double)overhead_ns / 1e3);
	snprintf(name, sizeof(name), "sim_node_%s_p50", policy);
	error = write_figure(name, bench_quantile(node50, rounds, 500) * bench_quantile(ratio50, rounds, 500),
			     "slowdown", bench_quantile(node50, rounds, 500), bench_quantile(ratio50, rounds, 500),
			     rounds, more);
	snprintf(name, sizeof(name), "sim_node_%s_p99", policy);
	return error ?:
		       write_figure(name, bench_quantile(node99, rounds, 500) * bench_quantile(ratio99, rounds, 500),
				    "slowdown", bench_quantile(node99, rounds, 500),
				    bench_quantile(ratio99, rounds, 500), rounds, more);
}

static int with_node(unsigned rounds, double seconds, struct sim_result *result)
{
	static const char *const policies[] = { "central", "jsq2" };
	static struct bench_request requests[REQUESTS_MAX];
	uint64_t overhead_ns = 0;
	int error = bench_open_loop_node(&node, CORES, "sim", FUNCTIONS, ids);

	if (!error) /* so that instances are started, on all cores */
		error = replay_on_node(requests, plan(requests, 1, 3), 3);
	if (!error)
		error = unloaded(requests, &overhead_ns);
	for (size_t p = 0; p < sizeof(policies) / sizeof(policies[0]) && !error; p++)
		error = compare(policies[p], requests, rounds, seconds, overhead_ns, result);
	bench_node_stop(&node);
	return error;
}

int main(int argc, char **argv)
{
	struct bench_options options = { .rounds = 3, .block = ROUND_S };
	struct sim_result *result = calloc(1, sizeof(*result));
	int error = bench_parse(&options, argc, argv);
	bool quick;

	if (error || !result)
		return error ? error - 1 : 1;
	quick = options.block > 60; /* --quick, whose blocks are operations elsewhere */
	if (quick) {
		options.block = 5;
		options.rounds = 1;
	}
	bench_catch_signals();
	if (options.output && !(output = fopen(options.output, "ae"))) {
		bench_say("cannot write %s: %s", options.output, strerror(errno));
		return 1;
	}
	if (!options.only || strstr("rate", options.only))
		error = rate(options.rounds, result);
	if (!error && (!options.only || strstr("theory", options.only)))
		error = theory(options.rounds, quick, result);
	if (!error && (!options.only || strstr("node", options.only))) {
		if (geteuid())
			bench_say("sim: root is needed for the comparison with a node, which is left out");
		else
			error = with_node(options.rounds, options.block, result);
	}
	if (output && fclose(output) && !error)
		error = -EIO;
	if (error && error != -EINTR)
		bench_say("sim: %s", strerror(-error));
	free(result);
	return error ? 1 : 0;
}
