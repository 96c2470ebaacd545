/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * histogram.h - how often which value: log-linear like HdrHistogram (Tene), 128 buckets to an octave, so a quantile is wrong by less than
 * 0.8 %, and exact below 256. All of uint64_t; 58 KiB. Adding takes no branch that depends on the value's size. user/latency.h has a smaller,
 * coarser one that threads share.
 */
#ifndef WC_WORKLOAD_HISTOGRAM_H
#define WC_WORKLOAD_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BITS 7
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_BITS) * (1 << HISTOGRAM_BITS) + (1 << HISTOGRAM_BITS))

struct histogram {
	uint64_t count, max;
	double sum;
	uint64_t bucket[HISTOGRAM_BUCKETS];
};

static inline unsigned histogram_bucket(uint64_t value)
{
	unsigned shift = 63 - (unsigned)__builtin_clzll(value | 1 << HISTOGRAM_BITS) - HISTOGRAM_BITS;

	return (shift << HISTOGRAM_BITS) + (unsigned)(value >> shift);
}

/* Least and largest value of a bucket. */
static inline uint64_t histogram_low(unsigned bucket)
{
	unsigned octave = bucket >> HISTOGRAM_BITS,
		 shift = octave ? octave - 1 : 0; /* the first two octaves are exact */

	return (uint64_t)(bucket - (shift << HISTOGRAM_BITS)) << shift;
}

static inline uint64_t histogram_high(unsigned bucket)
{
	unsigned octave = bucket >> HISTOGRAM_BITS, shift = octave ? octave - 1 : 0;

	return histogram_low(bucket) + (1ull << shift) - 1;
}

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
	histogram->count++;
	histogram->sum += (double)value;
	histogram->max = value > histogram->max ? value : histogram->max;
	histogram->bucket[histogram_bucket(value)]++;
}

/* Everything of another one, too. */
void histogram_merge(struct histogram *histogram, const struct histogram *other);
/* The middle of the bucket that has the sample of this rank (0 to 1, nearest rank), but not over the largest. 0: there is none. */
double histogram_quantile(const struct histogram *histogram, double rank);
/* Exact. 0 when there is none. */
double histogram_mean(const struct histogram *histogram);

#endif
