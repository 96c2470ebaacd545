/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * stats.h - the median of a few repetitions, and an interval for it.
 *
 * The interval is exact and needs no assumption about the distribution: between two order statistics, the closest to the middle of which
 * the binomial distribution says that they enclose the true median with at least 95 %. It needs 6 repetitions (the range, 96.9 %); with
 * fewer it is the range, and `coverage` says what that is worth. Decided against: the bootstrap, which gives the same range with so few
 * repetitions but claims 95 % also where it is less (5: 93.8 %), and Student's t, because repetitions beside a noisy neighbour are skewed,
 * and one that never answered is infinite.
 */
#ifndef WC_STUDY_STATS_H
#define WC_STUDY_STATS_H

#include <stdint.h>

#define STATS_CONFIDENCE 0.95
#define STATS_MAX 100u

struct stats_interval {
	double median, low, high; /* NAN without a value; may be infinite */
	double coverage;	  /* of [low, high], 0 to 1 */
	uint32_t count;
};

/* Of up to STATS_MAX values; those that are NAN do not count. */
void stats_median(const double *values, uint32_t count, struct stats_interval *ret);

/* Which order statistic (from 1) is the lower end of the interval for so many values, and its coverage. */
uint32_t stats_rank(uint32_t count, double *ret_coverage);

/* Of sorted values, linear between the closest (type 7); NAN without one. rank: 0 to 1. */
double stats_quantile(const double *sorted, uint32_t count, double rank);
/* Ascending; infinite ones are fine, NAN is not. */
void stats_sort(double *values, uint32_t count);

#endif
