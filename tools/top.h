/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * top.h - what the files of `warmcore top` share: top_sample.c reads the maps, top_frame.c makes of two samples what is shown,
 * top_table.c, top_json.c and top_screen.c show it.
 *
 * All texts in here are as they are in the maps: whoever shows one goes through printable() first.
 */
#ifndef WC_TOOLS_TOP_H
#define WC_TOOLS_TOP_H

#include <stdio.h>

#include "tools/cli.h"
#include "user/view.h"

#define TOP_FILTER_MAX 64 /* bytes, with its 0 */

/* --- samples --- */

/* The maps at one moment, more or less: copies, and for each core what its lanes run. */
struct top_sample {
	uint64_t ns;  /* CLOCK_MONOTONIC */
	bool whole;   /* the maps were the node's when it was taken, and still are */
	pid_t daemon; /* 0: there is none */
	struct wc_config config;
	struct wc_counters counters;
	struct wc_shard shards[WC_QUEUES_MAX];
	uint64_t steals[WC_SHARDS_MAX];			/* by thief */
	uint32_t core_count, function_count, cpu_count; /* entries; functions: up to the last slot in use */
	struct wc_core *cores;
	uint64_t *started_ns; /* by core: since when its longest invocation runs; 0: none does */
	uint64_t *running_ns; /* by core: for how long what runs has run, summed over its lanes */
	struct wc_function *functions;
	struct wc_time *times; /* by slot of a function; zeros without sched_ext */
	struct wc_cpu *cpus;
	bool placed; /* sched_ext counts: times and cpus say something */
};

/* Out of memory ends the program. */
struct top_sample *top_sample_sized(uint32_t cores); /* empty, with room for so many */
struct top_sample *top_sample_new(const struct wc_view *view);
void top_sample_take(struct top_sample *sample, const struct wc_view *view, const char *node);
void top_sample_free(struct top_sample *sample);

/* --- frames --- */

/* Rates are a second, NAN: not known (there is no earlier sample). */
struct top_core {
	uint32_t core;
	const struct wc_core *entry;
	const char *function;		/* that it runs, "" */
	uint64_t age_ns;		/* for which it has run */
	double busy;			/* part of the time, 0 to 1 */
	double claims;			/* rate */
	double instances, daemon, host; /* part of its CPU's time that each had, by sched_ext; NAN without */
};

struct top_function {
	uint32_t slot;
	const struct wc_function *entry;
	uint32_t running; /* cores that run it */
	uint32_t warm;	  /* cores with an idle instance, among the 8 last functions of each */
	double rate, errors, cold;
	double wait_us, service_us; /* means over those that ended since the last sample; NAN: none did */
	double load;		    /* cores' worth of time that it took */
	double cpu;		    /* CPUs' worth of time by sched_ext, NAN without */
};

struct top_shard {
	uint32_t queue;	   /* WC_SHARDS_MAX and up: a reserve */
	const char *owner; /* of a reserve, else NULL */
	uint32_t cores, free;
	uint64_t pending;
	double pended, stolen; /* rates */
};

/* X(name, title): rates over the whole node */
#define TOP_RATES(X)                                                                                                   \
	X(invocations, "invocations")                                                                                  \
	X(errors, "errors")                                                                                            \
	X(cold_starts, "cold starts")                                                                                  \
	X(steals, "steals")                                                                                            \
	X(pended, "queued")                                                                                            \
	X(busy, "BUSY")                                                                                                \
	X(packets, "packets")                                                                                          \
	X(dropped, "dropped")                                                                                          \
	X(node_down, "NODE_DOWN")

enum top_pane {
	TOP_CORES,
	TOP_FUNCTIONS,
	TOP_SHARDS,
	TOP_PANES
};

/* How rows are chosen and put in order. */
struct top_order {
	const char *sort[TOP_PANES]; /* a key of that pane, see top_keys() */
	bool reverse[TOP_PANES];
	char filter[TOP_FILTER_MAX]; /* part of a name, whatever its case; "": all */
};

struct top_frame {
	const struct top_sample *now;
	double seconds; /* between the samples; NAN: there is one only */
	struct {
#define TOP_RATE_FIELD(name, title) double name;
		TOP_RATES(TOP_RATE_FIELD)
#undef TOP_RATE_FIELD
	} rate;
	uint32_t states[WC_CORE_PARKED + 2]; /* cores by state, the last one: any other number */
	double busy;			     /* mean over the cores that are not offline or parked */
	uint64_t pending, pending_max;
	struct top_core *cores;
	struct top_function *functions;
	struct top_shard shards[WC_QUEUES_MAX];
	size_t rows[TOP_PANES];	 /* those that the filter lets through, which are the first, in order */
	size_t total[TOP_PANES]; /* all */
};

/*
 * Fill *frame from two samples of the same maps; before may be NULL. `frame` must be zeroed at first, and may be used again; its rows point into
 * `now`. Out of memory ends the program.
 */
void top_frame_make(struct top_frame *frame, const struct top_sample *before, const struct top_sample *now,
		    const struct top_order *order);
void top_frame_free(struct top_frame *frame);

/* Keys by which a pane can be sorted, NULL at the end; the first is the default. */
const char *const *top_keys(enum top_pane pane);

/* Name of a function by its id in a sample, "" when there is none. */
const char *top_function_name(const struct top_sample *sample, uint32_t id);
const char *top_state_name(uint32_t state);

/* --- showing --- */

/* Titles, and rows [first, first + count) of a pane, one a line, without escape sequences. */
void top_table_print(const struct top_frame *frame, enum top_pane pane, size_t first, size_t count, FILE *out);
/* The lines above the panes. */
void top_head_print(const struct top_frame *frame, const char *node, FILE *out);
json_t *top_json(const struct top_frame *frame, const char *node);

/* Show it on the terminal until the user or a signal ends it. Returns enum cli_exit. */
int top_screen_run(struct cli *cli, struct top_order *order, double seconds, long long count);

#endif
