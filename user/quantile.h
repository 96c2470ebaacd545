/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * quantile.h - exact percentiles of latency samples.
 *
 * Keeps every sample (8 bytes each) and sorts when asked: no buckets, no estimate. Quantiles are by nearest rank, so
 * each one is a value that was really measured. A zeroed struct is an empty set.
 */
#ifndef WC_USER_QUANTILE_H
#define WC_USER_QUANTILE_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/types.h>

struct wc_samples {
	__u64 *values;
	size_t count;
	size_t capacity;
	bool sorted;
};

/* Quantiles are given in parts per million, so that p50, p99.9 and p99.999 are all exact integers. */
#define WC_QUANTILE_P50 500000u
#define WC_QUANTILE_P90 900000u
#define WC_QUANTILE_P99 990000u
#define WC_QUANTILE_P999 999000u
#define WC_QUANTILE_MAX 1000000u

/* Makes room for `count` samples in all, so that adding them later neither fails nor allocates. -ENOMEM. */
int wc_samples_reserve(struct wc_samples *samples, size_t count);

/* Adds one sample, in any unit. -ENOMEM. */
int wc_samples_add(struct wc_samples *samples, __u64 value);

/*
 * The smallest sample that at least `ppm` millionths of all samples do not exceed; ppm 0 is the minimum, and ppm is
 * clamped to WC_QUANTILE_MAX. 0 when there are no samples. Sorts when samples were added since the last time.
 */
__u64 wc_samples_quantile(struct wc_samples *samples, __u32 ppm);

/* Mean, rounded down; 0 when there are no samples. Does not overflow. */
__u64 wc_samples_mean(const struct wc_samples *samples);

/* Frees the memory and leaves an empty set. */
void wc_samples_clear(struct wc_samples *samples);

#endif
