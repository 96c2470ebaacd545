/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* trace_internal.h - what trace.c (synthetic functions, calls) and trace_csv.c (the data set of 2019) share; nobody else includes it. */
#ifndef WC_WORKLOAD_TRACE_INTERNAL_H
#define WC_WORKLOAD_TRACE_INTERNAL_H

#include "tools/workload/trace.h"

#define MINUTES_A_DAY 1440u
#define DAY_MS (MINUTES_A_DAY * TRACE_MINUTE)

enum kind {
	TIMER,
	ERLANG,
	BURSTY,
	GIVEN, /* from a file */
};

struct trace_function {
	enum kind kind;
	double gap; /* mean, ms */
	double cv;
	bool wave;
	double phase, duration_ms, memory_mb;
	uint32_t stages;
	/* GIVEN: minute and number of calls */
	struct minute {
		uint32_t minute, calls;
	} * minutes;
	uint32_t minutes_count, minutes_room;
	char *name;
};

/* How long its calls take, and its memory. */
void trace_make_shape(struct trace_function *function, uint64_t *random);
/* The functions of options->csv. 0, or negative with a sentence; what was made is the caller's to free. */
int trace_read_csv(struct trace *trace, const struct trace_options *options, struct wc_fault *fault);

#endif
