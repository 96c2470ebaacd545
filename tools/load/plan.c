// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * plan.c - see plan.h. Times, functions and service times are drawn from streams of their own, so that another distribution of one leaves the
 * others as they are. The calls of a trace's functions come from a heap by their times.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/load/plan.h"
#include "tools/workload/arrivals.h"
#include "tools/workload/distribution.h"
#include "tools/workload/popularity.h"
#include "tools/workload/trace.h"
#include "user/clock.h"

enum stream {
	STREAM_ARRIVALS = 1,
	STREAM_FUNCTIONS,
	STREAM_SERVICE,
	STREAM_THINK,
};

/* A function of the trace, by its next call. */
struct coming {
	uint64_t at, takes; /* ms */
	uint32_t function;
	struct trace_calls calls;
};

struct load_plan {
	uint32_t functions;
	struct arrivals arrivals;
	struct popularity popularity;
	struct distribution service, think;
	struct random pick, draw, pause;
	bool has_service;
	bool has_think;
	bool service_of_trace;
	/* the trace */
	struct trace trace;
	struct coming *heap;
	uint32_t coming;
	double speed;
};

/* --- the trace --- */

static bool earlier(const struct coming *a, const struct coming *b)
{
	return a->at != b->at ? a->at < b->at : a->function < b->function;
}

static void sink(struct load_plan *plan, uint32_t at)
{
	struct coming moved = plan->heap[at];
	uint32_t child;

	while ((child = 2 * at + 1) < plan->coming) {
		if (child + 1 < plan->coming && earlier(&plan->heap[child + 1], &plan->heap[child]))
			child++;
		if (!earlier(&plan->heap[child], &moved))
			break;
		plan->heap[at] = plan->heap[child];
		at = child;
	}
	plan->heap[at] = moved;
}

static int read_trace(struct load_plan *plan, const struct load_plan_options *options, struct wc_fault *fault)
{
	/* nothing is capped: the file says how many calls there are */
	struct trace_options trace = {
		.seed = options->seed, .csv_count = options->csv_count, .cap = UINT32_MAX * 60ull, .stop = options->stop
	};
	int ret;

	if (options->csv_count > TRACE_DAYS_MAX)
		return wc_fail(fault, EINVAL, "a trace has at most %d files, a day each", TRACE_DAYS_MAX);
	if (!(options->speed >= LOAD_SPEED_MIN && options->speed <= LOAD_SPEED_MAX))
		return wc_fail(fault, EINVAL, "the speed of a trace is from %g to %g", LOAD_SPEED_MIN, LOAD_SPEED_MAX);
	for (unsigned i = 0; i < options->csv_count; i++)
		trace.csv[i] = options->csv[i];
	plan->speed = options->speed;
	ret = trace_make(&plan->trace, &trace, fault);
	if (ret)
		return ret;
	plan->heap = calloc(plan->trace.functions ?: 1, sizeof(*plan->heap));
	if (!plan->heap)
		return wc_fail(fault, ENOMEM, "out of memory for the %u functions of the trace", plan->trace.functions);
	for (uint32_t f = 0; f < plan->trace.functions; f++) {
		struct coming *next = &plan->heap[plan->coming];

		next->function = f;
		trace_open(&plan->trace, f, &next->calls);
		plan->coming += trace_next(&next->calls, &next->at, &next->takes);
	}
	for (uint32_t at = plan->coming / 2; at-- > 0;)
		sink(plan, at);
	return 0;
}

static bool next_of_trace(struct load_plan *plan, struct load_call *call)
{
	struct coming *top = plan->heap;

	if (!plan->coming)
		return false;
	call->at_ns = (uint64_t)((double)top->at * (double)WC_MS / plan->speed);
	call->function = top->function % plan->functions;
	if (plan->service_of_trace) {
		double us = (double)top->takes * 1e3 / plan->speed;

		call->service_us = us < LOAD_SERVICE_MAX_US ? (uint32_t)us : LOAD_SERVICE_MAX_US;
	}
	if (!trace_next(&top->calls, &top->at, &top->takes))
		plan->heap[0] = plan->heap[--plan->coming];
	if (plan->coming)
		sink(plan, 0);
	return true;
}

/* --- the rest --- */

static uint64_t whole_ns(double ns)
{
	return ns < 1e18 ? (uint64_t)ns : (uint64_t)1e18;
}

static bool next(void *state, struct load_call *ret_call)
{
	struct load_plan *plan = state;

	*ret_call = (struct load_call){ 0 };
	if (plan->speed > 0) {
		if (!next_of_trace(plan, ret_call))
			return false;
	} else {
		double at = plan->has_think ? distribution_draw(&plan->think, &plan->pause) :
					      arrivals_next(&plan->arrivals);

		if (!isfinite(at))
			return false;
		ret_call->at_ns = whole_ns(at);
		ret_call->function = popularity_draw(&plan->popularity, &plan->pick);
	}
	if (plan->has_service) {
		double us = distribution_draw(&plan->service, &plan->draw) / 1e3 + 0.5;

		ret_call->service_us = us < LOAD_SERVICE_MAX_US ? (uint32_t)us : LOAD_SERVICE_MAX_US;
	}
	return true;
}

static int make(struct load_plan *plan, const struct load_plan_options *options, struct wc_fault *fault)
{
	int ret = 0;

	plan->functions = options->functions;
	plan->pick = random_seed(options->seed, STREAM_FUNCTIONS);
	plan->draw = random_seed(options->seed, STREAM_SERVICE);
	plan->pause = random_seed(options->seed, STREAM_THINK);
	if (!!options->arrivals + !!options->think + !!options->csv_count != 1)
		return wc_fail(fault, EINVAL, "a load has either arrivals, or clients that think, or a trace");
	if (options->service && !strcmp(options->service, "trace")) {
		if (!options->csv_count)
			return wc_fail(fault, EINVAL, "service times can come from a trace only if there is one");
		plan->service_of_trace = true;
	} else if (options->service) {
		ret = distribution_parse(&plan->service, options->service, fault);
		plan->has_service = true;
	}
	if (!ret)
		ret = popularity_parse(&plan->popularity, options->popularity, options->functions, fault);
	if (!ret && options->arrivals) {
		ret = arrivals_parse(&plan->arrivals, options->arrivals, fault);
		if (!ret)
			arrivals_begin(&plan->arrivals, random_seed(options->seed, STREAM_ARRIVALS));
	} else if (!ret && options->think) {
		ret = distribution_parse(&plan->think, options->think, fault);
		plan->has_think = true;
	} else if (!ret) {
		ret = read_trace(plan, options, fault);
	}
	return ret;
}

int load_plan_new(const struct load_plan_options *options, struct load_plan **ret_plan, struct wc_fault *fault)
{
	struct load_plan *plan = calloc(1, sizeof(*plan));
	int ret = plan ? make(plan, options, fault) : wc_fail(fault, ENOMEM, "out of memory");

	if (ret)
		load_plan_free(plan);
	else
		*ret_plan = plan;
	return ret;
}

void load_plan_free(struct load_plan *plan)
{
	if (!plan)
		return;
	popularity_free(&plan->popularity);
	trace_free(&plan->trace);
	free(plan->heap);
	free(plan);
}

struct load_source load_plan_source(struct load_plan *plan)
{
	return (struct load_source){ next, plan };
}

uint64_t load_plan_length(const struct load_plan *plan)
{
	return plan->speed > 0 ? whole_ns((double)plan->trace.length * (double)WC_MS / plan->speed) : 0;
}

uint32_t load_plan_trace_functions(const struct load_plan *plan)
{
	return plan->trace.functions;
}
