/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * histogram.h - times in buckets that are narrow enough for percentiles and that add up exactly (as in HdrHistogram).
 *
 * The buckets are those of workload/histogram.h, 128 to an octave: a quantile is the middle of its bucket, wrong by 0.4 % at most; below 256
 * it is exact. That one is for a simulator's inner loop; this one keeps what results need that are added up: count, least, largest and sum
 * exactly, whatever the order, and memory, 1 KiB, only for octaves that have values, because every function has some histograms. Values over
 * 4.9 hours count as that.
 *
 * A zeroed struct is empty. Not thread-safe.
 */
#ifndef WC_TOOLS_LOAD_HISTOGRAM_H
#define WC_TOOLS_LOAD_HISTOGRAM_H

#include <stdint.h>

#include "tools/workload/histogram.h"

#define LOAD_HISTOGRAM_PAGE (1u << HISTOGRAM_BITS)
#define LOAD_HISTOGRAM_PAGES 38u
#define LOAD_HISTOGRAM_BUCKETS (LOAD_HISTOGRAM_PAGE * LOAD_HISTOGRAM_PAGES)
#define LOAD_HISTOGRAM_LIMIT ((1ull << 44) - 1) /* 4.9 hours in ns */

struct load_histogram {
	uint64_t count, min, max;
	unsigned __int128 sum;
	uint64_t *pages[LOAD_HISTOGRAM_PAGES];
};

/* How many values are in a bucket. */
uint64_t load_histogram_at(const struct load_histogram *histogram, unsigned bucket);

/* One more value. -ENOMEM: it was not counted. */
int load_histogram_add(struct load_histogram *histogram, uint64_t value);

/*
 * So many more in a bucket, without least, largest, count and sum: for who reads a histogram and sets those. -ENOMEM, or -ERANGE: no such
 * bucket, or more than 2^63 - 1 in it.
 */
int load_histogram_fill(struct load_histogram *histogram, unsigned bucket, uint64_t more);

/* Adds what is in `from`. -ENOMEM, -ERANGE (more than 2^63 - 1 values, or a sum of more than 2^63 thousand millions): nothing was added. */
int load_histogram_merge(struct load_histogram *into, const struct load_histogram *from);

#define LOAD_QUANTILE_MISSING UINT64_MAX

/*
 * The value that at least `ppm` millionths of all do not exceed; 0: the least, 1,000,000: the largest, both exact. `missing` more values are
 * known to be larger than all that were counted: LOAD_QUANTILE_MISSING, when it is one of those. 0 without any value.
 */
uint64_t load_histogram_quantile(const struct load_histogram *histogram, uint64_t missing, uint32_t ppm);

/* 0 without any value. */
double load_histogram_mean(const struct load_histogram *histogram);

/* Frees its memory; it is empty then. */
void load_histogram_clear(struct load_histogram *histogram);

#endif
