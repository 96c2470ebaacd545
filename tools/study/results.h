/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* results.h - what the runs of a study measured, in memory: cell by repetition by metric. */
#ifndef WC_STUDY_RESULTS_H
#define WC_STUDY_RESULTS_H

#include "tools/study/metrics.h"
#include "tools/study/noise.h"
#include "tools/study/stats.h"
#include "tools/study/study.h"

#include <stdbool.h>

struct run {
	bool done;
	bool kept_up; /* the load was what was asked for */
	char why_not[256];
	char facts[160]; /* how the node ran: "datapath kernel, XDP native, ..." */
	char begun[32];	 /* UTC */
	double seconds;	 /* that all of it took */
	double metrics[METRIC_COUNT];
	struct noise noise;   /* just before it */
	double steal_percent; /* of the CPUs' time during the run, taken by the hypervisor; NAN: not known */
};

struct results {
	uint32_t cells, repetitions;
	struct run *runs; /* of cell c in repetition r: runs[r * cells + c] */
};

int results_init(struct results *results, uint32_t cells, uint32_t repetitions);
void results_free(struct results *results);
struct run *results_run(const struct results *results, uint32_t cell, uint32_t repetition);
/* The values of a metric in all repetitions of a cell, NAN where there is none: at most STUDY_REPETITIONS_MAX. Returns the number. */
uint32_t results_values(const struct results *results, uint32_t cell, enum metric metric, double *ret_values);
void results_interval(const struct results *results, uint32_t cell, enum metric metric, struct stats_interval *ret);
/* Does any cell of the part have it? */
bool results_has(const struct results *results, const struct study *study, uint32_t part, enum metric metric);
/* Part of the time, %, that a thread was kept from its CPU before the runs, median; NAN: not measured. Over RESULTS_BUSY others decide, too. */
double results_lost_percent(const struct results *results);
#define RESULTS_BUSY 5.0
/* How many runs are done; of these, with a load that was not what was asked for. */
uint32_t results_done(const struct results *results, uint32_t *ret_not_kept_up);

#endif
