/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* costs.h - what things cost, from the results of the benchmarks: files as `make bench` keeps them (build/bench/GROUP.jsonl). */
#ifndef WC_SIM_COSTS_H
#define WC_SIM_COSTS_H

#include "tools/sim/sim.h"

/* Those figures that the file has replace what is in the options. 0, or negative with a sentence: also when it has none of them. */
int costs_read(struct sim_options *options, const char *path, struct wc_fault *fault);

#endif
