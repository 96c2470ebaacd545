// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* stats.c - see stats.h. */
#include "tools/study/stats.h"

#include <math.h>
#include <stdlib.h>

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

void stats_sort(double *values, uint32_t count)
{
	qsort(values, count, sizeof(*values), compare);
}

double stats_quantile(const double *sorted, uint32_t count, double rank)
{
	double at, part;
	uint32_t i;

	if (!count)
		return NAN;
	at = rank * (count - 1);
	i = (uint32_t)at;
	if (i + 1 >= count)
		return sorted[count - 1];
	part = at - i;
	if (part == 0 || sorted[i] == sorted[i + 1]) /* also when both are infinite */
		return sorted[i];
	return sorted[i] + part * (sorted[i + 1] - sorted[i]);
}

/* The true median is below the k-th smallest of n with the probability that fewer than k of n coins show heads; above it, the same. */
uint32_t stats_rank(uint32_t count, double *ret_coverage)
{
	double term = pow(0.5, count), below = term, coverage = 1 - 2 * below;
	uint32_t rank = 1;

	for (uint32_t k = 1; 2 * (k + 1) <= count + 1; k++) {
		term = term * (count - k + 1) / k;
		below += term;
		if (1 - 2 * below < STATS_CONFIDENCE)
			break;
		rank = k + 1;
		coverage = 1 - 2 * below;
	}
	*ret_coverage = count > 1 ? coverage : 0;
	return rank;
}

void stats_median(const double *values, uint32_t count, struct stats_interval *ret)
{
	double sorted[STATS_MAX];
	uint32_t n = 0, rank;

	for (uint32_t i = 0; i < count && n < STATS_MAX; i++)
		if (!isnan(values[i]))
			sorted[n++] = values[i];
	*ret = (struct stats_interval){ .median = NAN, .low = NAN, .high = NAN, .count = n };
	if (!n)
		return;
	stats_sort(sorted, n);
	rank = stats_rank(n, &ret->coverage);
	ret->median = stats_quantile(sorted, n, 0.5);
	ret->low = sorted[rank - 1];
	ret->high = sorted[n - rank];
}
