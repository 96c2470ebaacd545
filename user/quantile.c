// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* quantile.c - exact percentiles of latency samples; see quantile.h for the contract. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "user/quantile.h"

#define CAPACITY_FIRST 256

int wc_samples_reserve(struct wc_samples *samples, size_t count)
{
	__u64 *values;

	if (count <= samples->capacity)
		return 0;
	if (count > SIZE_MAX / sizeof(*values))
		return -ENOMEM;
	values = realloc(samples->values, count * sizeof(*values));
	if (!values)
		return -ENOMEM;
	samples->values = values;
	samples->capacity = count;
	return 0;
}

int wc_samples_add(struct wc_samples *samples, __u64 value)
{
	int ret;

	if (samples->count == samples->capacity) {
		ret = wc_samples_reserve(samples, samples->capacity ? samples->capacity * 2 : CAPACITY_FIRST);
		if (ret)
			return ret;
	}
	samples->values[samples->count++] = value;
	samples->sorted = false;
	return 0;
}

static int compare(const void *a, const void *b)
{
	__u64 left = *(const __u64 *)a, right = *(const __u64 *)b;

	return (left > right) - (left < right);
}

__u64 wc_samples_quantile(struct wc_samples *samples, __u32 ppm)
{
	unsigned __int128 product;
	size_t rank;

	if (!samples->count)
		return 0;
	if (!samples->sorted) {
		qsort(samples->values, samples->count, sizeof(*samples->values), compare);
		samples->sorted = true;
	}
	if (ppm > WC_QUANTILE_MAX)
		ppm = WC_QUANTILE_MAX;
	product = (unsigned __int128)samples->count * ppm;
	rank = (size_t)((product + WC_QUANTILE_MAX - 1) / WC_QUANTILE_MAX); /* 1-based, rounded up */
	return samples->values[rank ? rank - 1 : 0];
}

__u64 wc_samples_mean(const struct wc_samples *samples)
{
	unsigned __int128 sum = 0;

	if (!samples->count)
		return 0;
	for (size_t i = 0; i < samples->count; i++)
		sum += samples->values[i];
	return (__u64)(sum / samples->count);
}

void wc_samples_clear(struct wc_samples *samples)
{
	free(samples->values);
	*samples = (struct wc_samples){ 0 };
}
