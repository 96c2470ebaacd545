/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * simulate.h - cold starts, prewarms and idle time of the functions of a trace under a keep-alive rule, with the decisions of
 * user/keepalive.c, the very lines that a node runs.
 *
 * Each function is by itself and has any number of instances, most recently used first. Nothing is evicted for memory, and whoever
 * finds no idle instance starts one: a node does that with --instances-memory-mb 0 --starts all. What runs costs the same under
 * every rule, so memory-time is that of idle instances. All times are in ms.
 */
#ifndef WC_BENCH_SIMULATE_H
#define WC_BENCH_SIMULATE_H

#include "tools/workload/trace.h"
#include "user/keepalive.h"

enum cold {
	COLD_FIRST,
	COLD_EXPIRED,
	COLD_EARLY, /* before the predicted call: it was not loaded yet */
	COLD_BURST,
	COLD_COUNT,
};

struct outcome {
	uint64_t calls, cold[COLD_COUNT], prewarms, wasted;
	double mb_hours;     /* of idle instances: memory x time */
	double idle_minutes; /* of idle instances, whatever their memory */
};

uint64_t outcome_cold(const struct outcome *outcome);

/*
 * What a node takes beyond the calls themselves. In a trace that is not scaled it is nothing, and zero; in one that is a thousand times
 * as fast a start takes seconds of the trace, and calls overlap that would not.
 */
struct overhead {
	uint64_t start; /* a call that finds no instance ends so much later, one that is started ahead is ready so much later */
	uint64_t call; /* every call ends so much later */
};

/* All functions of the trace. Ends early after a signal (bench_interrupted()). */
struct outcome simulate(const struct trace *trace, const struct wc_keepalive_knobs *knobs,
			const struct overhead *overhead);

#endif
