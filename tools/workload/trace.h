/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * trace.h - calls of thousands of functions: synthetic ones, as far as the papers about Azure Functions say how they look, or those of
 * the data set of 2019. The same options and seed give the same calls. Times are in ms.
 */
#ifndef WC_WORKLOAD_TRACE_H
#define WC_WORKLOAD_TRACE_H

#include "user/error.h"

#include <stdbool.h>
#include <stdint.h>

#define TRACE_MINUTE 60000ull
#define TRACE_DAYS_MAX 60
#define TRACE_FUNCTIONS_MAX 1000000u

struct trace_options {
	uint64_t functions; /* synthetic ones; of files only the first so many, 0: all */
	uint64_t days, seed;
	uint64_t periodic; /* percent of the functions that are called by a timer */
	uint64_t cap;	   /* calls an hour of the most popular ones */
	const char *csv[TRACE_DAYS_MAX];
	unsigned csv_count;
	bool (*stop)(void); /* asked while files are read: end with -EINTR? NULL: never */
};

struct trace_function;

struct trace {
	uint32_t functions;
	uint64_t length; /* ms */
	uint64_t seed;
	struct trace_function *function;
};

/* 0, or negative with a sentence; there is nothing to free then. */
int trace_make(struct trace *trace, const struct trace_options *options, struct wc_fault *fault);
void trace_free(struct trace *trace);
double trace_memory_mb(const struct trace *trace, uint32_t number);

/* The calls of one function, in order. */
struct trace_calls {
	const struct trace *trace;
	const struct trace_function *function;
	uint64_t random, at, index, sent;
};

void trace_open(const struct trace *trace, uint32_t number, struct trace_calls *calls);
/* When, and how long it takes. False: that was all. */
bool trace_next(struct trace_calls *calls, uint64_t *ret_at, uint64_t *ret_takes);

#endif
