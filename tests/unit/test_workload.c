/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_workload.c - tools/workload: the families of service times and arrivals against their closed forms, popularity against its weights,
 * the histogram against exact quantiles, seeds, and what the parsers refuse. All draws are from fixed seeds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/workload/arrivals.h"
#include "tools/workload/distribution.h"
#include "tools/workload/histogram.h"
#include "tools/workload/popularity.h"
#include "tools/workload/units.h"
#include "user/quantile.h"

#define DRAWS 400000

#define assert_near(value, expected, part)                                                                             \
	do {                                                                                                           \
		double is = (value), be = (expected);                                                                  \
		if (!(fabs(is - be) <= (part)*fabs(be)))                                                               \
			fail_msg("%s is %g, not %g", #value, is, be);                                                  \
	} while (0)

static void test_distributions(void **state)
{
	static const struct {
		const char *text;
		double mean,
			deviation; /* ns; deviation < 0: only that of the samples is compared with the closed form */
	} rows[] = {
		{ "fixed:10ms", 10e6, 0 },
		{ "exp:250us", 250e3, 250e3 },
		{ "uniform:1s,3s", 2e9, 577350269.2 },
		{ "bimodal:10us,1ms,0.1", 109e3, 297e3 },
		{ "lognormal:1ms,0.5", 1e6 * 1.133148, -1 },
		{ "lognormal:680ms,2.36,60s", 5.2777e+09, -1 },
		{ "erlang:4ms,16", 4e6, 1e6 },
		{ "hyper:1ms,3", 1e6, 3e6 },
		{ "fixed:0", 0, 0 },
		{ "lognormal:1ms,0,10ms", 1e6, -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct random random = random_seed(7, i);
		struct distribution d;
		struct wc_fault fault;
		double sum = 0, squares = 0;

		assert_int_equal(distribution_parse(&d, rows[i].text, &fault), 0);
		assert_near(distribution_mean(&d), rows[i].mean, 0.001);
		if (rows[i].deviation >= 0)
			assert_near(sqrt(distribution_variance(&d)), rows[i].deviation, 1e-6);
		for (int n = 0; n < DRAWS; n++) {
			double value = distribution_draw(&d, &random);

			assert_true(value >= 0);
			sum += value;
			squares += value * value;
		}
		sum /= DRAWS;
		assert_near(sum, distribution_mean(&d), 0.01);
		assert_near(sqrt(fmax(0, squares / DRAWS - sum * sum)) + sum, sqrt(distribution_variance(&d)) + sum,
			    0.02);
	}
}

static void test_refused(void **state)
{
	static const char *const times[] = { "",
					     "exp",
					     "exp:",
					     "exp:1",
					     "exp:-1ms",
					     "exp:1ms,2ms",
					     "exp:inf",
					     "exp:nan",
					     "exp:0x1s",
					     "exp: 1s",
					     "exponential:1s",
					     "bimodal:1s,2s",
					     "bimodal:1s,2s,2",
					     "uniform:2s,1s",
					     "lognormal:0,1",
					     "lognormal:1s,11",
					     "erlang:1s,0",
					     "erlang:1s,1.5",
					     "hyper:1s,0.5",
					     "fixed:1e300s",
					     "fixed:1ms,",
					     "fixed:,1ms" };
	static const char *const processes[] = {
		"",	     "poisson",	    "poisson:",	      "poisson:0",     "poisson:-1",	"poisson:2G",
		"fixed:1,2", "mmpp:1,2,1s", "mmpp:0,1,1s,1s", "mmpp:1,2,1,1s", "mmpp:1,2,0,1s", "uniform:1"
	};
	static const char *const laws[] = { "", "zipf", "zipf:", "zipf:-1", "zipf:11", "hot:1.1", "hot:x", "Zipf:1" };
	struct arrivals arrivals = { .at = 5 };
	struct distribution d = { .a = 5 };
	struct popularity popularity = { 0 };
	struct wc_fault fault;

	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		fault.text[0] = 0;
		assert_int_equal(distribution_parse(&d, times[i], &fault), -EINVAL);
		assert_true(fault.text[0]);
	}
	assert_true(d.a == 5);
	for (size_t i = 0; i < sizeof(processes) / sizeof(processes[0]); i++) {
		fault.text[0] = 0;
		assert_int_equal(arrivals_parse(&arrivals, processes[i], &fault), -EINVAL);
		assert_true(fault.text[0]);
	}
	assert_true(arrivals.at == 5);
	for (size_t i = 0; i < sizeof(laws) / sizeof(laws[0]); i++)
		assert_int_equal(popularity_parse(&popularity, laws[i], 10, &fault), -EINVAL);
	assert_int_equal(popularity_parse(&popularity, "uniform", 0, &fault), -EINVAL);
	assert_int_equal(popularity_parse(&popularity, "uniform", POPULARITY_FUNCTIONS_MAX + 1, &fault), -EINVAL);
	assert_null(popularity.cells);
}

/* Rate, and the index of dispersion of counts in windows: 1 for Poisson, 0 for even gaps, more for MMPP. */
static void test_arrivals(void **state)
{
	static const struct {
		const char *text;
		double rate, dispersion_min, dispersion_max;
	} rows[] = {
		{ "poisson:10k", 10000, 0.97, 1.03 },
		{ "fixed:2000", 2000, 0, 0.01 },
		{ "mmpp:20000,5000,100ms,300ms", 8750, 100, 10000 },
		{ "mmpp:10000,0,10ms,10ms", 5000, 10, 1000 },
	};
	struct wc_fault fault;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct arrivals arrivals, again;
		double last = 0, end = 0, window = 50e6, sum = 0, squares = 0, n = 0, count = 0;

		assert_int_equal(arrivals_parse(&arrivals, rows[i].text, &fault), 0);
		assert_near(arrivals_rate(&arrivals), rows[i].rate, 1e-9);
		again = arrivals;
		arrivals_begin(&arrivals, random_seed(3, i));
		arrivals_begin(&again, random_seed(3, i));
		for (int k = 0; k < 4000000; k++) {
			double at = arrivals_next(&arrivals);

			if (k < 1000)
				assert_true(at == arrivals_next(&again));
			assert_true(at >= last);
			last = at;
			for (; at > end + window; end += window, count = 0) {
				sum += count;
				squares += count * count;
				n++;
			}
			count++;
		}
		assert_near(4000000 / (last / 1e9), rows[i].rate, 0.04);
		assert_true((squares / n - sum / n * sum / n) / (sum / n) >= rows[i].dispersion_min - 1e-9);
		assert_true((squares / n - sum / n * sum / n) / (sum / n) <= rows[i].dispersion_max);
	}
}

static void test_popularity(void **state)
{
	static const char *const laws[] = { "uniform", "zipf:1", "zipf:0", "hot:0.9", "hot:0" };
	enum {
		FUNCTIONS = 50
	};
	struct wc_fault fault;

	(void)state;
	for (size_t i = 0; i < sizeof(laws) / sizeof(laws[0]); i++) {
		struct random random = random_seed(11, i);
		unsigned counts[FUNCTIONS] = { 0 };
		struct popularity popularity;
		double zipf = 0;

		assert_int_equal(popularity_parse(&popularity, laws[i], FUNCTIONS, &fault), 0);
		for (int n = 0; n < 2000000; n++)
			counts[popularity_draw(&popularity, &random)]++; /* asan sees one beyond */
		for (int f = 0; f < FUNCTIONS; f++)
			zipf += 1.0 / (f + 1);
		for (int f = 0; f < FUNCTIONS; f++) {
			double share[] = { 1.0 / FUNCTIONS, 1 / zipf / (f + 1), 1.0 / FUNCTIONS,
					   f ? 0.1 / (FUNCTIONS - 1) : 0.9, f ? 1.0 / (FUNCTIONS - 1) : 0 };

			assert_near(counts[f], share[i] * 2000000, 0.07);
		}
		popularity_free(&popularity);
	}
	{
		struct random random = random_seed(0, 0);
		struct popularity one;

		assert_int_equal(popularity_parse(&one, "hot:0.5", 1, &fault), 0);
		assert_int_equal(popularity_draw(&one, &random), 0);
		popularity_free(&one);
	}
}

static void test_histogram(void **state)
{
	static const double ranks[] = { 0, 0.01, 0.5, 0.9, 0.99, 0.999, 1 };
	struct histogram *histogram = calloc(1, sizeof(*histogram)), *other = calloc(1, sizeof(*other));
	struct distribution d;
	struct random random = random_seed(5, 0);
	struct wc_samples samples = { 0 };
	struct wc_fault fault;

	(void)state;
	assert_non_null(histogram);
	assert_non_null(other);
	assert_true(histogram_quantile(histogram, 0.5) == 0);
	for (uint64_t value = 0; value < 256; value++)
		assert_int_equal(histogram_bucket(value), value);
	assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
	for (int bit = 8; bit < 64; bit++) /* no gap, no overlap where the width doubles */
		assert_int_equal(histogram_bucket(1ull << bit), histogram_bucket((1ull << bit) - 1) + 1);
	assert_int_equal(distribution_parse(&d, "lognormal:10us,2", &fault), 0);
	for (int n = 0; n < 200000; n++) {
		uint64_t value = (uint64_t)distribution_draw(&d, &random);

		histogram_add(n % 2 ? histogram : other, value);
		assert_int_equal(wc_samples_add(&samples, value), 0);
	}
	histogram_merge(histogram, other);
	assert_int_equal(histogram->count, 200000);
	for (size_t i = 0; i < sizeof(ranks) / sizeof(ranks[0]); i++)
		assert_near(histogram_quantile(histogram, ranks[i]),
			    (double)wc_samples_quantile(&samples, (unsigned)(ranks[i] * WC_QUANTILE_MAX)), 0.008);
	assert_near(histogram_mean(histogram), (double)wc_samples_mean(&samples), 0.0001);
	wc_samples_clear(&samples);
	free(histogram);
	free(other);
}

/* A seed means the same on every machine. The first number is from another implementation of the two generators, in Python. */
static void test_seeds(void **state)
{
	struct random one = random_seed(1, 0), same = random_seed(1, 0), stream = random_seed(1, 1),
		      two = random_seed(2, 0);
	struct random zero = random_seed(0, 0);
	uint64_t first = random_next(&one);

	(void)state;
	assert_true(first == 0x704560ced7cc0501ull && first == random_next(&same));
	assert_true(first != random_next(&stream));
	assert_true(first != random_next(&two));
	assert_true(random_next(&zero) | random_next(&zero));
}

static void test_units(void **state)
{
	char parts[3][UNITS_PARTS_MAX];
	double value = -1;

	(void)state;
	assert_true(units_time("0", &value) && value == 0);
	assert_true(units_time("1.5ms", &value) && value == 1.5e6);
	assert_true(units_time("2h", &value) && value == 7200e9);
	assert_false(units_time("5", &value) || units_time("1d", &value) || units_time("ms", &value));
	assert_true(value == 7200e9);
	assert_true(units_number("2.5k", &value) && value == 2500);
	assert_false(units_number("1K", &value) || units_number("", &value) || units_number("+1", &value));
	assert_int_equal(units_split("a,bc", parts, 3), 2);
	assert_string_equal(parts[1], "bc");
	assert_int_equal(units_split("a,,b", parts, 3), 0);
	assert_int_equal(units_split("a,b,c,d", parts, 3), 0);
	assert_int_equal(units_split("", parts, 3), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_distributions), cmocka_unit_test(test_refused),	cmocka_unit_test(test_arrivals),
		cmocka_unit_test(test_popularity),    cmocka_unit_test(test_histogram), cmocka_unit_test(test_seeds),
		cmocka_unit_test(test_units),
	};

	return cmocka_run_group_tests_name("workload", tests, NULL, NULL);
}
