// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* histogram.c - see histogram.h. */
#include "tools/load/histogram.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PPM 1000000u
#define SUM_MAX ((unsigned __int128)INT64_MAX * 1000000000u) /* as result_json.c writes it */

_Static_assert((44 - 1 - HISTOGRAM_BITS) * LOAD_HISTOGRAM_PAGE + 2 * LOAD_HISTOGRAM_PAGE - 1 ==
		       LOAD_HISTOGRAM_BUCKETS - 1,
	       "the limit is in the last bucket");

uint64_t load_histogram_at(const struct load_histogram *histogram, unsigned bucket)
{
	const uint64_t *page = histogram->pages[bucket / LOAD_HISTOGRAM_PAGE];

	return page ? page[bucket % LOAD_HISTOGRAM_PAGE] : 0;
}

static int need_page(struct load_histogram *histogram, unsigned page)
{
	if (!histogram->pages[page])
		histogram->pages[page] = calloc(LOAD_HISTOGRAM_PAGE, sizeof(uint64_t));
	return histogram->pages[page] ? 0 : -ENOMEM;
}

int load_histogram_add(struct load_histogram *histogram, uint64_t value)
{
	unsigned bucket;

	if (value > LOAD_HISTOGRAM_LIMIT)
		value = LOAD_HISTOGRAM_LIMIT;
	bucket = histogram_bucket(value);
	if (need_page(histogram, bucket / LOAD_HISTOGRAM_PAGE))
		return -ENOMEM;
	histogram->pages[bucket / LOAD_HISTOGRAM_PAGE][bucket % LOAD_HISTOGRAM_PAGE]++;
	if (!histogram->count || value < histogram->min)
		histogram->min = value;
	if (value > histogram->max)
		histogram->max = value;
	histogram->count++;
	histogram->sum += value;
	return 0;
}

int load_histogram_fill(struct load_histogram *histogram, unsigned bucket, uint64_t more)
{
	uint64_t *count;

	if (bucket >= LOAD_HISTOGRAM_BUCKETS)
		return -ERANGE;
	if (need_page(histogram, bucket / LOAD_HISTOGRAM_PAGE))
		return -ENOMEM;
	count = &histogram->pages[bucket / LOAD_HISTOGRAM_PAGE][bucket % LOAD_HISTOGRAM_PAGE];
	if (more > INT64_MAX - *count)
		return -ERANGE;
	*count += more;
	return 0;
}

int load_histogram_merge(struct load_histogram *into, const struct load_histogram *from)
{
	if (!from->count)
		return 0;
	if (from->count > INT64_MAX - into->count || from->sum + into->sum > SUM_MAX)
		return -ERANGE;
	for (unsigned page = 0; page < LOAD_HISTOGRAM_PAGES; page++)
		if (from->pages[page] && need_page(into, page))
			return -ENOMEM;
	for (unsigned page = 0; page < LOAD_HISTOGRAM_PAGES; page++)
		for (unsigned i = 0; from->pages[page] && i < LOAD_HISTOGRAM_PAGE; i++)
			into->pages[page][i] += from->pages[page][i];
	if (!into->count || from->min < into->min)
		into->min = from->min;
	if (from->max > into->max)
		into->max = from->max;
	into->count += from->count;
	into->sum += from->sum;
	return 0;
}

uint64_t load_histogram_quantile(const struct load_histogram *histogram, uint64_t missing, uint32_t ppm)
{
	unsigned __int128 all = (unsigned __int128)histogram->count + missing, rank;
	uint64_t passed = 0, middle;

	if (!all)
		return 0;
	if (ppm > PPM)
		ppm = PPM;
	rank = (all * ppm + PPM - 1) / PPM;
	if (!rank)
		rank = 1;
	if (rank > histogram->count)
		return LOAD_QUANTILE_MISSING;
	if (rank == 1)
		return histogram->min;
	if (rank == histogram->count)
		return histogram->max;
	for (unsigned bucket = 0; bucket < LOAD_HISTOGRAM_BUCKETS; bucket++) {
		if (!histogram->pages[bucket / LOAD_HISTOGRAM_PAGE]) {
			bucket += LOAD_HISTOGRAM_PAGE - 1;
			continue;
		}
		passed += load_histogram_at(histogram, bucket);
		if (passed < rank)
			continue;
		middle = histogram_low(bucket) + (histogram_high(bucket) - histogram_low(bucket)) / 2;
		if (middle < histogram->min)
			return histogram->min;
		return middle > histogram->max ? histogram->max : middle;
	}
	return histogram->max;
}

double load_histogram_mean(const struct load_histogram *histogram)
{
	return histogram->count ? (double)histogram->sum / (double)histogram->count : 0;
}

void load_histogram_clear(struct load_histogram *histogram)
{
	for (unsigned page = 0; page < LOAD_HISTOGRAM_PAGES; page++)
		free(histogram->pages[page]);
	memset(histogram, 0, sizeof(*histogram));
}
