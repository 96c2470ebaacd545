/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bench_tail.c - group `tail`: what queueing does to the slowest requests. The paper's argument, on any machine.
 *
 * A node with 64 virtual cores gets an open-loop Poisson load of sleeping functions at 80 % of its capacity: 99.5 % take SHORT,
 * 0.5 % a hundred times as long. Slowdown = (answer - intended time of sending) / service time. Measured for the policies
 * `central`, `hash` and `random`, interleaved; the floor is an ideal queue, a simulation of first come, first served on 64
 * servers without any overhead (M/G/64), which is fed with the very same arrivals and the service times that the node
 * measured in that run. The ratio is p99 slowdown over that of the ideal queue.
 *
 * Sleeping, so that 64 cores fit on two CPUs; SHORT is long enough that the wake-ups of the host are below 2 % of it, and the
 * time that the node's own work takes is part of what is measured. What is answered BUSY, or not at all before the round is
 * drained, counts as if it had been answered then: a policy cannot look better by dropping requests. A round of `central` that
 * is not counted comes first, in which the instances are started: queueing is what is compared, not cold starts.
 */
#include "tests/bench/open_loop.h"
#include "user/clock.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CORES 64
#define FUNCTIONS 64
#define LOAD 0.8
#define SHORT_US 10000
#define LONG_FACTOR 100
#define LONG_SHARE 0.005
#define ROUND_S 20
#define RAMP_S 3  /* of a round, in which the queue fills: not counted */
#define DRAIN_S 4 /* after the last arrival: four times the longest service time */
#define REQUESTS_MAX 200000

static struct bench_node node = { .name = "bench-tail", .port = 47530 };
static uint32_t ids[FUNCTIONS];

static struct subject {
	const char *name, *policy, *text;
	double slowdown[BENCH_ROUNDS_MAX], ideal[BENCH_ROUNDS_MAX], p50[BENCH_ROUNDS_MAX];
	uint64_t busy, unanswered, late;
} subjects[] = {
	{ .name = "tail_central_p99", .policy = "central", .text = "central: one queue, late binding" },
	{ .name = "tail_hash_p99", .policy = "hash", .text = "hash: a home core for each function" },
	{ .name = "tail_random_p99", .policy = "random", .text = "random: any core, its own queue" },
};
#define SUBJECTS (sizeof(subjects) / sizeof(subjects[0]))

/* --- the load --- */

/* xorshift64* (Vigna 2016): a seed means the same everywhere. In (0, 1]. */
static double draw(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return ((double)(*state * 0x2545f4914f6cdd1dULL >> 11) + 1) * 0x1p-53;
}

/* The same seed gives the same arrivals, functions and service times to every policy. */
static unsigned plan(struct bench_request *requests, uint64_t seed, double seconds)
{
	double mean_us = SHORT_US * (1 - LONG_SHARE) + (double)SHORT_US * LONG_FACTOR * LONG_SHARE;
	double rate = LOAD * CORES / (mean_us / 1e6), at = 0;
	uint64_t state = seed * 0x9e3779b97f4a7c15ULL | 1;
	unsigned count = 0;

	while (count < REQUESTS_MAX) {
		at += -log(draw(&state)) / rate;
		if (at > seconds)
			break;
		requests[count++] = (struct bench_request){
			.at = (uint64_t)(at * 1e9),
			.service = draw(&state) < LONG_SHARE ? SHORT_US * LONG_FACTOR : SHORT_US,
			.function = (uint32_t)(draw(&state) * FUNCTIONS) % FUNCTIONS,
		};
	}
	return count;
}

/* --- the ideal queue --- */

/* First come, first served by `CORES` servers: each takes the next one when it is free. Completion times into done[]. */
static void ideal(const struct bench_request *requests, unsigned count, double *slowdown)
{
	uint64_t free_at[CORES] = { 0 };

	for (unsigned i = 0; i < count; i++) {
		unsigned first = 0;
		uint64_t begin;

		for (unsigned c = 1; c < CORES; c++)
			if (free_at[c] < free_at[first])
				first = c;
		begin = free_at[first] > requests[i].at ? free_at[first] : requests[i].at;
		free_at[first] = begin + requests[i].service_ns;
		slowdown[i] = (double)(free_at[first] - requests[i].at) / (double)requests[i].service_ns;
	}
}

/* --- a round --- */

static int run_round(struct subject *subject, unsigned round_index, bool warm_up, struct bench_request *requests,
		     unsigned count, double seconds)
{
	static double slowdowns[REQUESTS_MAX];
	struct bench_open_loop loop = { .node = &node,
					.ids = ids,
					.requests = requests,
					.count = count,
					.seconds = seconds,
					.drain_s = DRAIN_S,
					.late_ns = SHORT_US * WC_US / 10 };
	unsigned busy = 0, first = 0;
	int error;

	error = bench_node_command(&node, (const char *const[]){ "set", "--policy", subject->policy, NULL }) ?:
			bench_open_loop(&loop);
	subject->late += loop.late;
	if (error)
		return error;
	while (first < count && requests[first].at < RAMP_S * WC_SECOND)
		first++;
	for (unsigned i = 0; i < count; i++) {
		struct bench_request *request = &requests[i];

		if (!request->done || request->busy) {
			busy++;
			subject->busy += request->busy;
			subject->unanswered += !request->done;
			request->done = loop.span_ns;
			request->service_ns = request->service * WC_US;
		}
		slowdowns[i] = (double)(request->done - request->at) / (double)request->service_ns;
	}
	subject->p50[round_index] = bench_quantile(slowdowns + first, count - first, 500);
	subject->slowdown[round_index] = bench_quantile(slowdowns + first, count - first, 990);
	ideal(requests, count, slowdowns);
	subject->ideal[round_index] = bench_quantile(slowdowns + first, count - first, 990);
	if (warm_up)
		return 0;
	printf("  round %u %-8s p99 slowdown %8.2f  ideal %6.2f  x %6.2f   %u of %u not served\n", round_index + 1,
	       subject->policy, subject->slowdown[round_index], subject->ideal[round_index],
	       subject->slowdown[round_index] / subject->ideal[round_index], busy, count);
	fflush(stdout);
	return 0;
}

/* --- reporting --- */

static double median(const double *values, unsigned count)
{
	double copy[BENCH_ROUNDS_MAX];

	memcpy(copy, values, count * sizeof(*copy));
	return bench_quantile(copy, count, 500);
}

static int report(const struct bench_options *options, const struct bench_facts *facts, double seconds)
{
	FILE *file = options->output ? fopen(options->output, "ae") : NULL;
	int error = 0;

	if (options->output && !file)
		return -errno;
	printf("\n%d virtual cores, %.0f %% load, %.1f %% of the requests %d ms, the others %d ms; %u rounds of %.0f s, "
	       "slowdown\n",
	       CORES, LOAD * 100, LONG_SHARE * 100, SHORT_US * LONG_FACTOR / 1000, SHORT_US / 1000, options->rounds,
	       seconds);
	printf("  %-40s %8s %8s %8s %8s\n", "", "p50", "p99", "ideal", "x ideal");
	for (unsigned i = 0; i < SUBJECTS; i++) {
		struct subject *subject = &subjects[i];
		double ratios[BENCH_ROUNDS_MAX], p99 = median(subject->slowdown, options->rounds);
		double floor = median(subject->ideal, options->rounds), ratio, spread;

		if (options->only && !strstr(subject->name, options->only))
			continue;
		for (unsigned r = 0; r < options->rounds; r++)
			ratios[r] = subject->slowdown[r] / subject->ideal[r];
		ratio = bench_quantile(ratios, options->rounds, 500);
		spread = bench_quantile(ratios, options->rounds, 750) - bench_quantile(ratios, options->rounds, 250);
		printf("  %-40s %8.2f %8.2f %8.2f %8.2f", subject->text, median(subject->p50, options->rounds), p99,
		       floor, ratio);
		if (subject->busy || subject->unanswered)
			printf("   %llu BUSY, %llu without an answer", (unsigned long long)subject->busy,
			       (unsigned long long)subject->unanswered);
		printf("\n");
		if (subject->late)
			printf("    the client was late by more than a tenth of the short service time %llu times\n",
			       (unsigned long long)subject->late);
		if (file)
			fprintf(file,
				"{\"name\":\"%s\",\"value\":%.4f,\"unit\":\"slowdown\",\"floor\":%.4f,\"ratio\":%.4f,"
				"\"runs\":%u,\"spread\":%.4f,\"ratio_min\":%.4f,\"ratio_max\":%.4f,\"p50\":%.4f,\"busy\":%llu,"
				"\"unanswered\":%llu,\"late\":%llu%s%s}\n",
				subject->name, p99, floor, ratio, options->rounds, spread, ratios[0],
				ratios[options->rounds - 1], median(subject->p50, options->rounds),
				(unsigned long long)subject->busy, (unsigned long long)subject->unanswered,
				(unsigned long long)subject->late, facts->text[0] ? "," : "", facts->text);
	}
	if (file && (ferror(file) | fclose(file)))
		error = -EIO;
	return error;
}

/* --- the node --- */

static int prepare(struct bench_request *requests, double seconds)
{
	static struct subject warm = { .name = "", .policy = "central", .text = "" };
	int error = bench_open_loop_node(&node, CORES, "tail", FUNCTIONS, ids);

	if (error)
		return error;
	return run_round(&warm, 0, true, requests, plan(requests, 1, seconds), seconds);
}

int main(int argc, char **argv)
{
	struct bench_options options = { .rounds = 3, .block = ROUND_S };
	static struct bench_request requests[REQUESTS_MAX];
	struct bench_facts facts;
	int error = bench_parse(&options, argc, argv);

	if (error)
		return error - 1;
	if (options.block > 60) { /* --quick, whose blocks are operations elsewhere */
		options.block = RAMP_S + 2;
		options.rounds = 1;
	}
	if (options.block <= RAMP_S) {
		bench_say("--block is the seconds of a round here: %d to 60", RAMP_S + 1);
		return 2;
	}
	bench_catch_signals();
	error = prepare(requests, options.block);
	for (unsigned round = 0; round < options.rounds && !error; round++) {
		for (unsigned i = 0; i < SUBJECTS && !error; i++) {
			struct subject *subject = &subjects[(i + round) % SUBJECTS];
			unsigned count = plan(requests, 1000 + round, options.block);

			if (options.only && !strstr(subject->name, options.only))
				continue;
			error = run_round(subject, round, false, requests, count, options.block);
		}
	}
	if (!error)
		bench_node_facts(&node, &facts);
	if (!error)
		error = report(&options, &facts, options.block);
	bench_node_stop(&node);
	if (error)
		bench_say("tail: %s", strerror(-error));
	return error ? 1 : 0;
}
