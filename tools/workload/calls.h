/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * calls.h - invocations one after the other in the order of their time, from a trace of many functions or from a file.
 *
 * A file has one invocation a line, "AT FUNCTION TAKES": two times in ms, which may have a fraction, and between them the number of the
 * function from 0. Their order is that of time. That is what `bench_warmness --trace` writes, sorted. Lines that are empty or begin with # are left out.
 */
#ifndef WC_WORKLOAD_CALLS_H
#define WC_WORKLOAD_CALLS_H

#include "tools/workload/trace.h"

#define CALLS_FILE_MAX 200000000u

struct call {
	uint64_t at_ns, takes_ns;
	uint32_t function;
};

struct calls;

/* All calls of a trace, merged; the trace must stay. 24 to 80 bytes a function. 0 or -ENOMEM. */
int calls_of_trace(struct calls **ret_calls, const struct trace *trace);
/* A file, read as it is used. 0, or negative with a sentence. */
int calls_of_file(struct calls **ret_calls, const char *path, struct wc_fault *fault);
/* 1: the next one; 0: that was all; negative with a sentence: a line of the file is wrong. */
int calls_next(struct calls *calls, struct call *ret_call, struct wc_fault *fault);
void calls_free(struct calls *calls);

#endif
