/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * trace.h - what the files of `warmcore trace` share: cmd_trace.c reads a node, trace_meanwhile.c finds out what a core did meanwhile, trace_print.c prints,
 * trace_export.c writes files. The last three know nothing of a node, so tests give them what they like.
 */
#ifndef WC_TOOLS_TRACE_H
#define WC_TOOLS_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "user/trace_view.h"

#define TRACE_SLOWEST_MAX 100
#define TRACE_OTHERS_MAX 4

struct trace_other {
	uint32_t tid, pid;
	char comm[16];
	uint64_t ns;
};

/* What was going on while an invocation was under way, on the CPU of its core and with its two threads. */
struct trace_meanwhile {
	bool known;			     /* else events were lost, or nobody looked */
	uint64_t wait_ns[WC_STAGE_COUNT];    /* whoever's turn it was could run, but another thread had the CPU */
	uint64_t softirq_ns[WC_STAGE_COUNT]; /* on the CPU, */
	uint64_t irq_ns[WC_STAGE_COUNT];     /* whoever ran there */
	uint32_t softirqs, irqs;
	uint32_t switches, migrations, faults;	     /* on the CPU; of its threads; of its threads */
	uint64_t others_ns;			     /* the CPU ran other threads, */
	struct trace_other others[TRACE_OTHERS_MAX]; /* these the longest, longest first; tid 0: no more */
};

/* The last events, of all CPUs: a window that moves on. */
struct trace_events {
	struct wc_event *events;
	size_t count, capacity;
	uint64_t lost_until; /* some before this are missing */
};

/* Add one. What is older than the window drops out in time. False: no memory. */
bool trace_events_add(struct trace_events *window, const struct wc_event *event);
/* Some were lost, up to `now`, or to a later time that was said before. */
void trace_events_lost(struct trace_events *window, uint64_t now);
void trace_events_free(struct trace_events *window);

/* What the window has about an invocation, all of which must be in there. */
void trace_meanwhile(const struct trace_events *window, const struct wc_trace *trace, struct trace_meanwhile *ret);

extern const char *const trace_stage_names[WC_STAGE_ROWS];
extern const char *const trace_point_names[WC_POINT_COUNT];
static inline uint64_t trace_stage_ns(const struct wc_trace *trace, unsigned row)
{
	return row == WC_STAGE_TOTAL ? trace->at[WC_POINT_sent] - trace->at[WC_POINT_received] :
				       trace->at[row + 1] - trace->at[row];
}

/* One of the slowest. */
struct trace_slow {
	struct wc_trace trace;
	struct trace_meanwhile meanwhile;
	char name[WC_LABEL_MAX];
};

/* What a run found. */
struct trace_report {
	const char *node;
	double seconds;
	struct wc_stage_sum *functions; /* those that ran, most invocations first */
	size_t function_count;
	struct trace_slow *slowest; /* slowest first */
	size_t slow_count;
	uint64_t traces, lost, events_lost; /* whole traces that were read; and what was overwritten before */
	uint64_t received, sent, instance;  /* of those read: that have these points */
	bool kernel_datapath, meanwhile, faults, ended; /* ended: the daemon did, before its time */
};

json_t *trace_json(const struct trace_report *report);
void trace_print(const struct trace_report *report, FILE *out);
/* "1.2 us", as long as eight characters. Returns `out`. */
char *trace_time(uint64_t ns, char *out, size_t size);

/* Files. Each returns false when it could not write: see errno. */
bool trace_csv_begin(FILE *file);
bool trace_csv_add(FILE *file, const struct wc_trace *trace, const char *name);
/* Chrome's trace format, which Perfetto reads: one JSON object. */
bool trace_chrome_begin(FILE *file, const char *node);
bool trace_chrome_add(FILE *file, const struct wc_trace *trace, const char *name);
/* `begin`: of a switch, when the thread that leaves had got the CPU; 0: not known. */
bool trace_chrome_event(FILE *file, const struct wc_event *event, uint64_t begin, const char *comm);
bool trace_chrome_end(FILE *file);

#endif
