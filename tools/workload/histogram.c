/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* histogram.c - see histogram.h. */
#include "tools/workload/histogram.h"

#include <math.h>

void histogram_merge(struct histogram *histogram, const struct histogram *other)
{
	histogram->count += other->count;
	histogram->sum += other->sum;
	histogram->max = other->max > histogram->max ? other->max : histogram->max;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		histogram->bucket[i] += other->bucket[i];
}

static double middle(unsigned bucket)
{
	uint64_t low = histogram_low(bucket);

	return (double)low + (double)(histogram_high(bucket) - low) / 2;
}

double histogram_quantile(const struct histogram *histogram, double rank)
{
	uint64_t before = 0, wanted = (uint64_t)ceil(rank * (double)histogram->count);

	if (!histogram->count)
		return 0;
	wanted = wanted < 1 ? 1 : wanted > histogram->count ? histogram->count : wanted;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		before += histogram->bucket[i];
		if (before >= wanted)
			return fmin(middle(i), (double)histogram->max);
	}
	return (double)histogram->max;
}

double histogram_mean(const struct histogram *histogram)
{
	return histogram->count ? histogram->sum / (double)histogram->count : 0;
}
