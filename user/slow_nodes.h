/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * slow_nodes.h - which nodes of a cluster are so much slower than the others that they get nothing for a while (docs/CLUSTER.md). Pure: figures and times go
 * in, and what has changed comes out; members_slow.c brings both. The rules are those of outlier detection as proxies do it:
 *
 * - Time goes in intervals. In each, a node is compared with the others by what both have done in it: functions, each with itself only, and the way to the
 *   scheduler's host and back. What is slow everywhere is slow nowhere.
 * - What has had many cold starts is not compared, nor what too few have done too seldom.
 * - So many intervals in a row in which it was slow, and it is ejected; an interval that says nothing neither adds to them nor ends them.
 * - A share of the nodes at most, and of their cores, is ejected at a time, the slowest first; when others go, some come back before their time.
 * - Ejected for a time that grows with each time; then on probation: one slow interval ejects again, as many good ones as it takes to be ejected end it.
 */
#ifndef WC_SLOW_NODES_H
#define WC_SLOW_NODES_H

#include "bpf/cluster_tables.h"

#include <stdbool.h>
#include <stdint.h>

#define WC_SLOW_LINK 0 /* the function that is the way to the scheduler's host and back; no function has this id */
#define WC_SLOW_SAMPLES_MAX 128 /* functions of a node that are compared in an interval */
#define WC_SLOW_SELF 0 /* the node that is the scheduler's host: others are compared with it, but it is not ejected */

#define WC_SLOW_COUNT_MIN 5	   /* invocations of a node that can be compared, in an interval */
#define WC_SLOW_VOICE_MIN 3	   /* of one function, for its time to count */
#define WC_SLOW_OTHERS_MIN 2	   /* nodes whose time counts, beside the one that is judged */
#define WC_SLOW_COLD 4		   /* at most every fourth with a cold start */
#define WC_SLOW_MORE_NS 5000000ull /* less than so much longer, on the average, hurts nobody */
#define WC_SLOW_LINK_MORE_NS                                                                                           \
	50000000ull		 /* likewise of the way there and back, which is not on the way of an invocation */
#define WC_SLOW_EJECTIONS_MAX 10 /* the time does not grow beyond this many times the first one */

struct wc_slow_rule {
	uint32_t times; /* as long as with others is slow; 0: nobody is */
	uint32_t intervals;
	uint32_t percent; /* of the nodes, but always one */
	uint64_t interval_ns, eject_ns;
};

enum wc_slow_state {
	WC_SLOW_WELL,
	WC_SLOW_EJECTED,
	WC_SLOW_PROBATION,
};

/* Of one function in this interval. */
struct wc_slow_sample {
	uint32_t function, count, cold;
	double sum_ns;
};

enum wc_slow_judgement {
	WC_SLOW_UNKNOWN, /* too little to compare */
	WC_SLOW_GOOD,
	WC_SLOW_BAD_FUNCTIONS,
	WC_SLOW_BAD_LINK,
};

/* What an interval says of a node. */
struct wc_slow_verdict {
	enum wc_slow_judgement judgement;
	double own_ns, usual_ns; /* on the average: here, and what the same would have taken elsewhere */
};

struct wc_slow_node {
	/* The caller's. */
	bool usable; /* it gets something, unless it is slow. Others are neither compared nor counted */
	uint32_t cores;
	/* Of this interval. */
	uint32_t sample_count;
	struct wc_slow_sample samples[WC_SLOW_SAMPLES_MAX];
	bool fresh; /* it has become usable, or has come back, in this interval: the next one counts */
	/* What came of it. */
	enum wc_slow_state state;
	uint32_t bad, good; /* intervals in a row */
	uint32_t ejections; /* lately */
	uint64_t until;	    /* EJECTED: the end of it; WELL: when one of the ejections is forgotten */
	struct wc_slow_verdict last;
};

struct wc_slow {
	struct wc_slow_rule rule;
	uint64_t next; /* end of this interval; 0: none has begun */
	uint64_t ejected_total;
	struct wc_slow_node nodes[WC_MEMBERS_MAX];
};

/* Something was done there: `count` times, in `sum_ns` all together, of which `cold` began with a cold start. */
void wc_slow_add(struct wc_slow *slow, uint16_t node, uint32_t function, uint32_t count, uint32_t cold, double sum_ns);
/* It has joined, or whether it is usable is another matter now, or how many cores it has. One that joins while it is ejected is on probation. */
void wc_slow_joins(struct wc_slow *slow, uint16_t node);
void wc_slow_usable(struct wc_slow *slow, uint16_t node, bool usable, uint32_t cores);
/* Somebody who knows says that it is well. */
void wc_slow_forgive(struct wc_slow *slow, uint16_t node);

/* How fast each node was in this interval. */
void wc_slow_judge(const struct wc_slow *slow, struct wc_slow_verdict ret_verdicts[WC_MEMBERS_MAX]);
/* Often. At the end of an interval: judge. Which nodes are in another state than before; their number. */
uint32_t wc_slow_tick(struct wc_slow *slow, uint64_t now, uint16_t ret_changed[WC_MEMBERS_MAX]);

#endif
