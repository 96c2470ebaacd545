/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * plan.h - which calls a load makes, from texts as tools/workload reads them: when, of which function, and how long each shall take. The same
 * texts and seed make the same calls, on every machine, whatever becomes of them.
 */
#ifndef WC_TOOLS_LOAD_PLAN_H
#define WC_TOOLS_LOAD_PLAN_H

#include "tools/load/engine.h"
#include "user/error.h"

#define LOAD_SERVICE_MAX_US 900000000u /* the longest time limit that a function can have */
#define LOAD_SPEED_MIN 0.001
#define LOAD_SPEED_MAX 1e6

struct load_plan_options {
	const char *arrivals;	/* open: arrivals.h */
	const char *think;	/* closed: distribution.h */
	const char *const *csv; /* open: files of the Azure Functions data set, a day each */
	unsigned csv_count;	/* at most TRACE_DAYS_MAX */
	double speed;		/* of the trace: 60 makes a minute of it a second */
	const char *service;	/* distribution.h, or "trace"; NULL: calls have no service time */
	const char *popularity; /* popularity.h; a trace says itself which function */
	uint32_t functions;	/* 1 to LOAD_FUNCTIONS_MAX; those of a trace share them, by number modulo this */
	uint64_t seed;
	bool (*stop)(void); /* asked while a trace is read */
};

struct load_plan;

/* Exactly one of arrivals, think and csv. 0, -EINVAL, -ENOMEM, -EIO or -EINTR with a sentence. */
int load_plan_new(const struct load_plan_options *options, struct load_plan **ret_plan, struct wc_fault *fault);
void load_plan_free(struct load_plan *plan);

/* The calls from the first one on; it goes on where it was when asked for again. Belongs to the plan. */
struct load_source load_plan_source(struct load_plan *plan);

/* Length of the trace at this speed, ns; 0: there is none, and the calls have no end. */
uint64_t load_plan_length(const struct load_plan *plan);

/* Functions in the trace, or 0. */
uint32_t load_plan_trace_functions(const struct load_plan *plan);

#endif
