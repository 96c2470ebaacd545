// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* results.c - see results.h. */
#include "tools/study/results.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int results_init(struct results *results, uint32_t cells, uint32_t repetitions)
{
	results->cells = cells;
	results->repetitions = repetitions;
	results->runs = calloc((size_t)cells * repetitions, sizeof(*results->runs));
	if (!results->runs)
		return -ENOMEM;
	for (size_t i = 0; i < (size_t)cells * repetitions; i++) {
		for (unsigned m = 0; m < METRIC_COUNT; m++)
			results->runs[i].metrics[m] = NAN;
		results->runs[i].steal_percent = NAN;
	}
	return 0;
}

void results_free(struct results *results)
{
	free(results->runs);
	results->runs = NULL;
}

struct run *results_run(const struct results *results, uint32_t cell, uint32_t repetition)
{
	return &results->runs[(size_t)repetition * results->cells + cell];
}

uint32_t results_values(const struct results *results, uint32_t cell, enum metric metric, double *ret_values)
{
	for (uint32_t r = 0; r < results->repetitions; r++)
		ret_values[r] = results_run(results, cell, r)->done ? results_run(results, cell, r)->metrics[metric] :
								      NAN;
	return results->repetitions;
}

void results_interval(const struct results *results, uint32_t cell, enum metric metric, struct stats_interval *ret)
{
	double values[STUDY_REPETITIONS_MAX];

	stats_median(values, results_values(results, cell, metric, values), ret);
}

bool results_has(const struct results *results, const struct study *study, uint32_t part, enum metric metric)
{
	struct stats_interval interval;

	for (uint32_t c = 0; c < study->parts[part].cells; c++) {
		results_interval(results, study->parts[part].first_cell + c, metric, &interval);
		if (interval.count)
			return true;
	}
	return false;
}

uint32_t results_done(const struct results *results, uint32_t *ret_not_kept_up)
{
	uint32_t done = 0;

	*ret_not_kept_up = 0;
	for (size_t i = 0; i < (size_t)results->cells * results->repetitions; i++) {
		done += results->runs[i].done;
		*ret_not_kept_up += results->runs[i].done && !results->runs[i].kept_up;
	}
	return done;
}

double results_lost_percent(const struct results *results)
{
	size_t all = (size_t)results->cells * results->repetitions;
	double *values = calloc(all, sizeof(*values)), median;
	uint32_t count = 0;

	if (!values)
		return NAN;
	for (size_t i = 0; i < all; i++)
		if (results->runs[i].done && results->runs[i].noise.samples &&
		    !isnan(results->runs[i].noise.lost_percent))
			values[count++] = results->runs[i].noise.lost_percent;
	stats_sort(values, count);
	median = stats_quantile(values, count, 0.5);
	free(values);
	return median;
}
