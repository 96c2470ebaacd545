/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * open_loop.h - calls of the example `spin` at times that are planned before, whatever comes back: one thread sends, one receives, both above everything
 * else, so that they measure and do not wait. For groups that compare with a model, and so need each call by itself; `warmcore load` is for all else.
 */
#ifndef WC_TESTS_BENCH_OPEN_LOOP_H
#define WC_TESTS_BENCH_OPEN_LOOP_H

#include "tests/bench/nodes.h"

#include <stdbool.h>
#include <stdint.h>

struct bench_request {
	uint64_t at;	  /* intended, ns after the start */
	uint32_t service; /* us, nominal */
	uint32_t function;
	uint64_t done;	     /* ns after the start; 0 = not yet */
	uint64_t service_ns; /* as measured by the node */
	bool busy;	     /* it was not answered with a reply */
};

struct bench_open_loop {
	const struct bench_node *node;
	const uint32_t *ids;		/* of the functions */
	struct bench_request *requests; /* `done`, `service_ns` and `busy` are filled in */
	unsigned count;
	double seconds;	  /* when the last one is sent, */
	unsigned drain_s; /* and how long answers are waited for after that */
	uint64_t late_ns; /* sending is late from so much on */
	/* What became of it. */
	uint64_t span_ns;	  /* all of that time */
	unsigned answered, wrong; /* wrong: of those, with something else than a reply; */
	char wrong_text[240];	  /* the first of them */
	uint64_t late;
};

/* 0, -EINTR after a signal, or another negative errno. Answers that are missing, or no replies, are no error here. */
int bench_open_loop(struct bench_open_loop *loop);

/* Start a node with so many virtual cores on the CPUs that there are, and deploy `spin` so often, as PREFIX0, PREFIX1, ... */
int bench_open_loop_node(struct bench_node *node, unsigned cores, const char *prefix, unsigned functions,
			 uint32_t *ret_ids);

#endif
