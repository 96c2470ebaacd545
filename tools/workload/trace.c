/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * trace.c - see trace.h.
 *
 * What is known of Azure (Shahrad et al., ATC 2020), and taken from there:
 *   - calls: 45 % of the applications have at most one an hour, 81 % at most one a minute, eight orders of magnitude between the rarest
 *     and the most popular. The logarithm of the rate is linear between these points.
 *   - 40 % of the applications have an inter-arrival time with a coefficient of variation over 1.
 *   - about half of the load is constant; the other half has a daily wave.
 *   - mean duration: lognormal, ln-mean -0.38, sigma 2.36, in seconds; cut off at 60 s.
 *   - memory: Burr XII, c 11.652, k 0.221, lambda 107.083 MB.
 * What is assumed: functions are like applications; 16 % are called by a timer (the paper's share of functions with a timer), with 1 %
 * of jitter; the others with a coefficient of variation up to 1 have Erlang gaps of 1 to 8 stages; those over 1 have hyperexponential
 * ones of two phases, coefficient 1.5 to 4; a wave has an amplitude of 60 %; single executions vary by a factor of 2. The most popular
 * functions are slowed to a cap: they are warm under every policy, and would only take time to simulate.
 */
#include "tools/workload/random.h"
#include "tools/workload/trace_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define DURATION_MAX_S 60.0
#define MEMORY_MAX_MB 4096.0

/* Between 0 and 1, neither of them. */
static double uniform(uint64_t *state)
{
	return ((double)(random_split(state) >> 11) + 0.5) / 9007199254740992.0;
}

static double exponential(uint64_t *state, double mean)
{
	return -log(uniform(state)) * mean;
}

static double normal(uint64_t *state)
{
	double u = uniform(state), v = uniform(state);

	return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

/* --- synthetic functions --- */

/* Calls a day of the function at this quantile of popularity. */
static double calls_a_day(double quantile)
{
	static const struct {
		double quantile, calls;
	} points[] = { { 0, 0.1 }, { 0.45, 24 }, { 0.81, 1440 }, { 1, 1e7 } };
	int i = 0;

	while (quantile > points[i + 1].quantile)
		i++;
	return exp(log(points[i].calls) + (quantile - points[i].quantile) /
						  (points[i + 1].quantile - points[i].quantile) *
						  (log(points[i + 1].calls) - log(points[i].calls)));
}

void trace_make_shape(struct trace_function *function, uint64_t *random)
{
	double duration = exp(-0.38 + 2.36 * normal(random)), u = uniform(random);

	function->duration_ms = 1000 * (duration < DURATION_MAX_S ? duration : DURATION_MAX_S);
	function->memory_mb = 107.083 * pow(pow(1 - u, -1 / 0.221) - 1, 1 / 11.652);
	if (function->memory_mb > MEMORY_MAX_MB)
		function->memory_mb = MEMORY_MAX_MB;
}

static void make_function(struct trace_function *function, const struct trace_options *options, uint64_t *random)
{
	double rate = calls_a_day(uniform(random)), kind = 100 * uniform(random);

	if (rate > (double)options->cap * 24)
		rate = (double)options->cap * 24;
	function->gap = (double)DAY_MS / rate;
	function->kind = kind < (double)options->periodic ? TIMER : kind < 60 ? ERLANG : BURSTY;
	function->stages = 1u << random_split(random) % 4;
	function->cv = 1.5 + 2.5 * uniform(random);
	function->wave = function->kind != TIMER && random_split(random) % 2;
	function->phase = uniform(random);
	trace_make_shape(function, random);
}

/* Two phases with balanced means: short gaps and long ones, so that mean and coefficient of variation are as asked for. */
static double bursty_gap(const struct trace_function *function, uint64_t *random)
{
	double cv2 = function->cv * function->cv, p = 0.5 * (1 + sqrt((cv2 - 1) / (cv2 + 1)));

	if (uniform(random) < p)
		return exponential(random, function->gap / (2 * p));
	return exponential(random, function->gap / (2 * (1 - p)));
}

static double next_gap(const struct trace_function *function, uint64_t *random)
{
	double gap = 0;

	switch (function->kind) {
	case TIMER:
		return function->gap * (0.99 + 0.02 * uniform(random));
	case ERLANG:
		for (uint32_t i = 0; i < function->stages; i++)
			gap += exponential(random, function->gap / function->stages);
		return gap;
	default:
		return bursty_gap(function, random);
	}
}

static bool next_synthetic(struct trace_calls *calls)
{
	const struct trace_function *function = calls->function;
	double gap = next_gap(function, &calls->random), now = (double)calls->at / (double)DAY_MS;

	/* Not where nobody is for weeks: such a call comes when it comes. */
	if (function->wave && gap < (double)DAY_MS)
		gap /= 1 + 0.6 * sin(2 * M_PI * (now + function->phase));
	if (!calls->index) /* it did not begin with the trace */
		gap *= uniform(&calls->random);
	calls->at += (uint64_t)gap + 1;
	return calls->at < calls->trace->length;
}

static bool next_given(struct trace_calls *calls)
{
	const struct trace_function *function = calls->function;
	const struct minute *minute = &function->minutes[calls->index];

	if (calls->index < function->minutes_count && calls->sent == minute->calls) {
		calls->index++;
		minute++;
		calls->sent = 0;
	}
	if (calls->index >= function->minutes_count)
		return false;
	calls->at = minute->minute * TRACE_MINUTE + (2 * calls->sent + 1) * TRACE_MINUTE / (2ull * minute->calls);
	calls->sent++;
	return calls->at < calls->trace->length;
}

void trace_open(const struct trace *trace, uint32_t number, struct trace_calls *calls)
{
	*calls = (struct trace_calls){
		.trace = trace,
		.function = &trace->function[number],
		.random = trace->seed * 0x9e3779b97f4a7c15ull + number * 0xd1342543de82ef95ull,
	};
	random_split(&calls->random);
}

bool trace_next(struct trace_calls *calls, uint64_t *ret_at, uint64_t *ret_takes)
{
	const struct trace_function *function = calls->function;
	double takes;

	if (function->kind == GIVEN ? !next_given(calls) : !next_synthetic(calls))
		return false;
	calls->index += function->kind != GIVEN;
	takes = function->duration_ms * (0.5 + uniform(&calls->random)) + 1;
	*ret_at = calls->at;
	*ret_takes = (uint64_t)takes;
	return true;
}

double trace_memory_mb(const struct trace *trace, uint32_t number)
{
	return trace->function[number].memory_mb;
}

/* --- all of them --- */

int trace_make(struct trace *trace, const struct trace_options *options, struct wc_fault *fault)
{
	uint64_t random = options->seed;

	trace->seed = options->seed;
	trace->length = (options->csv_count ?: options->days) * DAY_MS;
	if (options->csv_count) {
		int error = trace_read_csv(trace, options, fault);

		if (error)
			trace_free(trace);
		return error;
	}
	trace->function = calloc(options->functions, sizeof(*trace->function));
	if (!trace->function)
		return wc_fail(fault, ENOMEM, "out of memory for %" PRIu64 " functions", options->functions);
	trace->functions = (uint32_t)options->functions;
	for (uint32_t i = 0; i < trace->functions; i++)
		make_function(&trace->function[i], options, &random);
	return 0;
}

void trace_free(struct trace *trace)
{
	for (uint32_t i = 0; i < trace->functions; i++) {
		free(trace->function[i].name);
		free(trace->function[i].minutes);
	}
	free(trace->function);
	trace->function = NULL;
	trace->functions = 0;
}
