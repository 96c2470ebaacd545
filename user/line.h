/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * line.h - the agent's part of lines (runtimes/abi/line.h): a function that calls another one again and again hands over to it without the agent.
 *
 * The called instance stays with the caller meanwhile, out of the pool: caller->line. Whatever else the caller says ends that. Calls on a line are counted when
 * it ends, by what the called instance has noted.
 */
#ifndef WC_USER_LINE_H
#define WC_USER_LINE_H

#include "user/agent_internal.h"

/* Before a call that waits: is the instance that runs it to stay, for wc_line_arm()? `counted`: the function has a limit. */
bool wc_line_wanted(struct wc_worker *worker, struct wc_caller *caller, const struct wc_job *job,
		    const struct wc_fn *fn, bool counted);

/*
 * After it: `instance`, which has run it, is the caller's from now on, until wc_line_end(); then this returns the flags of its RESULT. Or 0: it is not to be,
 * and the instance is as it was.
 */
uint32_t wc_line_arm(struct wc_caller *caller, struct wc_instance *instance);

/* The caller says HOW_LINE: it does not wait alone any more for the last of its `calls` since wc_line_arm(). */
enum wc_line_outcome {
	WC_LINE_ANSWERED,  /* the caller has its answer, and the line has ended */
	WC_LINE_ON_IT,	   /* the answer is on the line, or about to be */
	WC_LINE_NOT_TAKEN, /* the line has ended before the call was looked at: the caller has to say it again */
};
enum wc_line_outcome wc_line_take_over(struct wc_worker *worker, struct wc_caller *caller, uint32_t calls);

/* Count what was called, and let the instance go. What still runs on the line is waited for, within the time of the caller, and its answer dropped. */
void wc_line_end(struct wc_worker *worker, struct wc_caller *caller);

/* run.c: go on with what this instance has begun on a line, as wc_worker_run_call() would. On a failure it is of no further use. */
enum wc_failure wc_worker_run_adopted(struct wc_worker *worker, const struct wc_job *job, struct wc_instance *instance);

#endif
