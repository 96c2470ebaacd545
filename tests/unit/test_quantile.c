// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_quantile.c - exact percentiles, against a slow count of the definition. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "user/quantile.h"

static void test_empty(void **state)
{
	struct wc_samples samples = { 0 };

	(void)state;
	assert_int_equal(wc_samples_quantile(&samples, WC_QUANTILE_P50), 0);
	assert_int_equal(wc_samples_mean(&samples), 0);
	wc_samples_clear(&samples);
}

static void test_known(void **state)
{
	struct wc_samples samples = { 0 };

	(void)state;
	for (__u64 i = 100; i >= 1; i--)
		assert_int_equal(wc_samples_add(&samples, i), 0);
	assert_int_equal(wc_samples_quantile(&samples, 0), 1);
	assert_int_equal(wc_samples_quantile(&samples, 1), 1);
	assert_int_equal(wc_samples_quantile(&samples, WC_QUANTILE_P50), 50);
	assert_int_equal(wc_samples_quantile(&samples, WC_QUANTILE_P50 + 1), 51);
	assert_int_equal(wc_samples_quantile(&samples, WC_QUANTILE_P90), 90);
	assert_int_equal(wc_samples_quantile(&samples, WC_QUANTILE_P99), 99);
	assert_int_equal(wc_samples_quantile(&samples, WC_QUANTILE_P999), 100);
	assert_int_equal(wc_samples_quantile(&samples, WC_QUANTILE_MAX), 100);
	assert_int_equal(wc_samples_quantile(&samples, UINT32_MAX), 100);
	assert_int_equal(wc_samples_mean(&samples), 50);

	assert_int_equal(wc_samples_add(&samples, 0), 0); /* unsorted again: must be sorted again */
	assert_int_equal(wc_samples_quantile(&samples, 0), 0);
	wc_samples_clear(&samples);
	assert_int_equal(samples.count, 0);
}

static void test_one_and_extremes(void **state)
{
	struct wc_samples samples = { 0 };

	(void)state;
	assert_int_equal(wc_samples_add(&samples, UINT64_MAX), 0);
	assert_true(wc_samples_quantile(&samples, 0) == UINT64_MAX);
	assert_true(wc_samples_quantile(&samples, WC_QUANTILE_P50) == UINT64_MAX);
	assert_int_equal(wc_samples_add(&samples, UINT64_MAX), 0);
	assert_true(wc_samples_mean(&samples) == UINT64_MAX); /* the sum does not fit 64 bits */
	wc_samples_clear(&samples);
}

/* The definition, counted: the smallest sample that at least ppm millionths of all do not exceed. */
static __u64 slow_quantile(const __u64 *values, size_t count, __u32 ppm)
{
	__u64 best = UINT64_MAX;

	for (size_t i = 0; i < count; i++) {
		size_t below = 0;

		for (size_t j = 0; j < count; j++)
			below += values[j] <= values[i];
		if ((unsigned __int128)below * WC_QUANTILE_MAX >= (unsigned __int128)count * ppm && values[i] < best)
			best = values[i];
	}
	return best;
}

static void test_against_definition(void **state)
{
	__u64 values[400];

	(void)state;
	srand(1);
	for (unsigned round = 0; round < 60; round++) {
		size_t count = 1 + (size_t)rand() % 400;
		struct wc_samples samples = { 0 };

		for (size_t i = 0; i < count; i++) {
			values[i] = (__u64)rand() % 50; /* many equal ones */
			assert_int_equal(wc_samples_add(&samples, values[i]), 0);
		}
		for (unsigned i = 0; i < 20; i++) {
			__u32 ppm = (__u32)rand() % (WC_QUANTILE_MAX + 1);

			assert_int_equal(wc_samples_quantile(&samples, ppm), slow_quantile(values, count, ppm));
		}
		wc_samples_clear(&samples);
	}
}

static void test_reserve(void **state)
{
	struct wc_samples samples = { 0 };
	const __u64 *before;

	(void)state;
	assert_int_equal(wc_samples_reserve(&samples, 5000), 0);
	before = samples.values;
	for (__u64 i = 0; i < 5000; i++)
		assert_int_equal(wc_samples_add(&samples, i), 0);
	assert_ptr_equal(samples.values, before);
	assert_int_equal(wc_samples_reserve(&samples, SIZE_MAX), -ENOMEM);
	assert_int_equal(samples.count, 5000);
	assert_int_equal(wc_samples_quantile(&samples, WC_QUANTILE_MAX), 4999);
	wc_samples_clear(&samples);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_one_and_extremes),
		cmocka_unit_test(test_against_definition),
		cmocka_unit_test(test_reserve),
	};

	return cmocka_run_group_tests_name("quantile", tests, NULL, NULL);
}
