/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * trace_view.h - for who traces a node: ask its daemon for it, read what agents write down, and watch the kernel meanwhile.
 *
 * The daemon traces as long as the connection is there, and the programs in the kernel are attached as long as the process is: nothing has to be
 * taken back, however the process ends. Root only. One thread.
 */
#ifndef WC_TRACE_VIEW_H
#define WC_TRACE_VIEW_H

#include "bpf/trace.h"
#include "user/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wc_trace_wish {
	uint32_t sample;    /* every n-th is kept whole; 0: none */
	uint64_t slower_ns; /* and each that takes as long; 0: none */
	bool meanwhile;	    /* what the worker cores' CPUs do; else only the devices are watched */
};

/* What one function's invocations took, on all cores. */
struct wc_stage_sum {
	uint32_t id; /* 0: nothing was recorded; of slot 0 WC_STAGES_OTHER */
	char name[WC_LABEL_MAX];
	uint64_t count;
	uint64_t incomplete[WC_STAGE_ROWS]; /* of `count`, as in struct wc_stages */
	uint64_t sum_ns[WC_STAGE_ROWS], max_ns[WC_STAGE_ROWS];
	uint64_t buckets[WC_STAGE_ROWS][WC_TRACE_BUCKETS];
};

struct wc_trace_view {
	uint32_t cores, functions;    /* functions with histograms of their own: slots 1 to that; 0 has all others */
	bool kernel_datapath, faults; /* page faults are seen */
	uint64_t lost;		      /* whole traces that were overwritten before they were read */
	uint64_t events_lost;
	uint32_t verified_insns; /* of the programs that are attached, all together */
};

/* 0, or a negative errno and a sentence: -EHOSTDOWN no daemon, -EACCES not root, -EPROTO one of another version. */
int wc_trace_view_open(struct wc_trace_view **ret_view, const char *node, const struct wc_trace_wish *wish,
		       struct wc_fault *fault);
/* Accepts NULL. */
void wc_trace_view_close(struct wc_trace_view *shown);

/* The descriptor that becomes readable when the daemon ends it: it stops, or another one takes over. */
int wc_trace_view_fd(const struct wc_trace_view *shown);

/*
 * The next whole trace; of each core in its order. False: a round is over, every core was visited once, and all that was there when the round began was
 * read or lost. So a round ends also when more is written than can be read; the next call begins another one.
 */
bool wc_trace_view_next(struct wc_trace_view *shown, struct wc_trace *ret_trace);
/* What was not read by now counts as lost. */
void wc_trace_view_skip(struct wc_trace_view *shown);
/* Was everything written down that had returned when this was first called? An answer leaves a moment before its trace is there. */
bool wc_trace_view_settled(struct wc_trace_view *shown);
/* The next event; of each CPU in its order. False: as above, of CPUs. */
bool wc_trace_view_event(struct wc_trace_view *shown, struct wc_event *ret_event);

/* Since tracing was first switched on; slot 0 to `functions`. False: nothing was recorded. */
bool wc_trace_view_stages(const struct wc_trace_view *shown, uint32_t slot, struct wc_stage_sum *ret_sum);
/* Take away what was there before, of the same function. `count` is 0 when not all of it is there any more. The maxima are then at most those of the last bucket that is left. */
void wc_stage_sum_since(struct wc_stage_sum *sum, const struct wc_stage_sum *before);
/* How many invocations the histogram of a stage, or of the total, has: without those of which it is incomplete. */
uint64_t wc_stage_samples(const struct wc_stage_sum *sum, unsigned row);
/* The time, ns, that so many millionths of these do not exceed, within 1 % (below 64 ns, 32 ns). 0: there are none. */
uint64_t wc_stage_quantile(const struct wc_stage_sum *sum, unsigned row, uint32_t ppm);
/* The largest time in a bucket, ns; UINT64_MAX for the last one. */
uint64_t wc_trace_bound(unsigned bucket);

#endif
