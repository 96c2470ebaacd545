/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* popularity.c - see popularity.h. */
#include "tools/workload/popularity.h"
#include "tools/workload/units.h"

#include <stdlib.h>
#include <string.h>

#define ZIPF_MAX 10.0

/* Cells that have too little are filled up from one that has too much, whose rest is looked at again. */
static void fill(struct popularity_cell *cells, double *share, uint32_t *order, uint32_t count)
{
	uint32_t small = 0, large = count;

	for (uint32_t i = 0; i < count; i++)
		if (share[i] < 1)
			order[small++] = i;
		else
			order[--large] = i;
	while (small && large < count) {
		uint32_t less = order[--small], more = order[large];

		cells[less] = (struct popularity_cell){ (uint32_t)(share[less] * 0x1p32), more };
		share[more] -= 1 - share[less];
		if (share[more] < 1) {
			large++;
			order[small++] = more;
		}
	}
	/* What rounding has left over is whole. */
	for (; small; small--)
		cells[order[small - 1]] = (struct popularity_cell){ UINT32_MAX, order[small - 1] };
	for (; large < count; large++)
		cells[order[large]] = (struct popularity_cell){ UINT32_MAX, order[large] };
}

static int popularity_weights(struct popularity *popularity, const double *weights, uint32_t count)
{
	struct popularity_cell *cells = calloc(count, sizeof(*cells));
	double *share = calloc(count, sizeof(*share)), sum = 0;
	uint32_t *order = calloc(count, sizeof(*order));
	int error = -ENOMEM;

	if (cells && share && order) {
		for (uint32_t i = 0; i < count; i++)
			sum += weights[i];
		for (uint32_t i = 0; i < count; i++)
			share[i] = weights[i] * count / sum;
		fill(cells, share, order, count);
		*popularity = (struct popularity){ .count = count, .cells = cells };
		cells = NULL;
		error = 0;
	}
	free(cells);
	free(share);
	free(order);
	return error;
}

int popularity_parse(struct popularity *popularity, const char *text, uint32_t count, struct wc_fault *fault)
{
	bool zipf = !strncmp(text, "zipf:", 5), hot = !strncmp(text, "hot:", 4);
	double parameter, *weights;
	int error;

	if (!count || count > POPULARITY_FUNCTIONS_MAX)
		return wc_fail(fault, EINVAL, "%u functions: 1 to %u are possible", count, POPULARITY_FUNCTIONS_MAX);
	if (!strcmp(text, "uniform")) {
		*popularity = (struct popularity){ .count = count };
		return 0;
	}
	if (!zipf && !hot)
		return wc_fail(fault, EINVAL, "'%s' is no popularity: " POPULARITY_SYNTAX " is expected", text);
	if (!units_number(strchr(text, ':') + 1, &parameter) || parameter > (zipf ? ZIPF_MAX : 1))
		return wc_fail(fault, EINVAL, "'%s': %s", text, zipf ? "S is 0 to 10" : "SHARE is 0 to 1");
	weights = calloc(count, sizeof(*weights));
	if (!weights)
		return wc_fail(fault, ENOMEM, "out of memory for %u functions", count);
	for (uint32_t i = 0; i < count; i++)
		weights[i] = zipf ? pow(i + 1.0, -parameter) : i ? (1 - parameter) / (count - 1) : parameter;
	if (count == 1)
		weights[0] = 1;
	error = popularity_weights(popularity, weights, count);
	free(weights);
	return error ? wc_fail(fault, ENOMEM, "out of memory for %u functions", count) : 0;
}

void popularity_free(struct popularity *popularity)
{
	free(popularity->cells);
	*popularity = (struct popularity){ 0 };
}
