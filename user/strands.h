/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * strands.h - what a worker runs in turns: strands of one workflow (workflow.h), each on a stack of its own. The first is the worker's own job, on
 * the thread's stack; the others are begun calls that it runs while that waits. One runs; another gets its turn where this one would wait. So
 * whichever can go on does, in any order: on one common stack one could not end before what was begun later.
 */
#ifndef WC_STRANDS_H
#define WC_STRANDS_H

#include <stdbool.h>
#include <stdint.h>
#include <ucontext.h>

#define WC_STRANDS_MAX 256u /* of a worker, besides the first. Each has an instance that waits */

struct wc_worker;

struct wc_strand {
	ucontext_t context;
	struct wc_strand *next; /* of those that are not used */
	uint8_t *stack;
	void (*run)(struct wc_worker *worker, void *argument);
	void *argument;
	void *fake; /* the address sanitizer's */
};

struct wc_strands {
	struct wc_strand first;
	struct wc_strand *now;	      /* NULL: the first; there never was another one */
	struct wc_strand *ended;      /* its stack is still stood on, or was a moment ago */
	struct wc_strand *unused;     /* some, with their stacks */
	uint32_t unused_count, count; /* count: besides the first, that have not ended */
};

/* For a further strand. NULL: there is no memory, or they are as many as may be. */
struct wc_strand *wc_strand_take(struct wc_strands *strands);
/* It is not needed after all. */
void wc_strand_drop(struct wc_strands *strands, struct wc_strand *strand);
/*
 * Its turn. Returns when another one gives this one its turn. What the argument points to may be on this stack: it has to be copied at once.
 */
void wc_strand_begin(struct wc_worker *worker, struct wc_strand *strand,
		     void (*run)(struct wc_worker *worker, void *argument), void *argument);
/* Which one runs. */
struct wc_strand *wc_strand_now(struct wc_strands *strands);
/* Give another one its turn, until this one has it again. The first also gets it whenever another one ends. */
void wc_strand_go(struct wc_worker *worker, struct wc_strand *to);
/* All have ended. */
void wc_strands_free(struct wc_strands *strands);

#endif
