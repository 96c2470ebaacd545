/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* output.h - what is made of the runs of a study, into its folder: CSV, plots, and one report as Markdown and as HTML. */
#ifndef WC_STUDY_OUTPUT_H
#define WC_STUDY_OUTPUT_H

#include "tools/study/claims.h"
#include "tools/study/folder.h"

/* --- csv.c --- */
/* results.csv: a line for each run, with all metrics. summary.csv: one for each cell and metric, with median and interval. */
int csv_write(const struct folder *folder, const struct study *study, const struct results *results,
	      struct wc_fault *fault);

/* --- plot.c --- */
/*
 * plots/NN.dat and NN.gp, and NN.svg of these, by gnuplot. Without gnuplot there are no pictures: 0, and *ret_drawn says how many there are.
 * A study that declares no plots gets one for each part that has an axis.
 */
int plots_write(const struct folder *folder, struct study *study, const struct results *results, uint32_t *ret_drawn,
		bool *ret_no_gnuplot, struct wc_fault *fault);
/* Name of a plot's file in the folder. */
void plot_name(uint32_t plot, const char *ending, char name[32]);

/* --- report.c --- */
struct report_facts {
	const struct folder *folder;
	const struct study *study;
	const struct results *results;
	bool no_gnuplot;
};
/* report.md and report.html */
int report_write(const struct report_facts *facts, struct wc_fault *fault);

#endif
