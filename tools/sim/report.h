/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* report.h - a result of the simulator for people, as JSON and as a line of CSV, all from one table of figures. */
#ifndef WC_SIM_REPORT_H
#define WC_SIM_REPORT_H

#include "tools/sim/sim.h"

#include <jansson.h>
#include <stdio.h>

/* What a table and a line of CSV begin with. */
struct report {
	const struct sim_options *options;
	const struct sim_result *result;
};

void report_text(const struct report *report, FILE *file);
/* A new reference; NULL: no memory. */
json_t *report_json(const struct report *report);
void report_csv_header(FILE *file);
void report_csv(const struct report *report, FILE *file);

#endif
