/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_latency_mt.c - histograms: bounds of buckets, quantiles against exact ones, entries by function, and readers beside a writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "user/latency.h"
#include "user/quantile.h"

static void test_bounds(void **state)
{
	uint64_t lower = 0, upper;

	(void)state;
	assert_int_equal(wc_histogram_bucket(0), 0);
	for (unsigned i = 0; i < WC_HISTOGRAM_BUCKETS - 1; i++, lower = upper) {
		upper = wc_histogram_bound(i);
		assert_true(upper > lower);
		assert_int_equal(wc_histogram_bucket(upper), i);
		assert_int_equal(wc_histogram_bucket(lower + 1), i);
		assert_int_equal(wc_histogram_bucket(upper + 1), i + 1);
		if (i)
			assert_true((upper - lower) * WC_HISTOGRAM_PARTS <= lower);
	}
	assert_int_equal(lower, 1ULL << WC_HISTOGRAM_HIGH);
	assert_true(wc_histogram_bound(WC_HISTOGRAM_BUCKETS - 1) == UINT64_MAX);
	assert_int_equal(wc_histogram_bucket(UINT64_MAX), WC_HISTOGRAM_BUCKETS - 1);
	/* What Prometheus is shown: every octave ends with a bucket. */
	for (unsigned octave = WC_HISTOGRAM_LOW; octave <= WC_HISTOGRAM_HIGH; octave++)
		assert_true(wc_histogram_bound((octave - WC_HISTOGRAM_LOW) * WC_HISTOGRAM_PARTS) == 1ULL << octave);
}

/* The bucket of the sample that wc_samples_quantile() returns. */
static unsigned quantile_bucket(const struct wc_latency *latency, unsigned which, uint32_t ppm)
{
	uint64_t total = 0, rank, seen = 0;
	unsigned i;

	for (i = 0; i < WC_HISTOGRAM_BUCKETS; i++)
		total += latency->buckets[which][i];
	rank = (total * ppm + WC_QUANTILE_MAX - 1) / WC_QUANTILE_MAX;
	for (i = 0; i < WC_HISTOGRAM_BUCKETS - 1; i++) {
		seen += latency->buckets[which][i];
		if (seen >= (rank ?: 1))
			break;
	}
	return i;
}

static void test_quantiles(void **state)
{
	static const uint32_t asked[] = {
		1, WC_QUANTILE_P50, WC_QUANTILE_P90, WC_QUANTILE_P99, WC_QUANTILE_P999, WC_QUANTILE_MAX
	};

	(void)state;
	srandom(1);
	for (unsigned round = 0; round < 20; round++) {
		struct wc_latencies *latencies = wc_latencies_new(3);
		struct wc_samples samples[2] = { { 0 } };
		struct wc_latency latency = { .id = 0 };
		uint64_t sums[2] = { 0 };

		for (unsigned i = 0; i < 5000; i++) {
			uint64_t ns[2];

			for (unsigned w = 0; w < 2; w++) { /* all magnitudes, or around one */
				uint64_t any = (uint64_t)random() << 31 | (uint64_t)random();

				ns[w] = round % 2 ? any >> (18 + random() % 44) : 20000 + any % (1000u << round);
				sums[w] += ns[w];
				assert_int_equal(wc_samples_add(&samples[w], ns[w]), 0);
			}
			wc_latency_add(latencies, 1 << 12 | 2, "f", 0, ns[0], ns[1]);
		}
		assert_true(wc_latency_read(latencies, 2, &latency));
		assert_int_equal(latency.ends[0], 5000);
		for (unsigned w = 0; w < 2; w++) {
			assert_true(latency.sum_ns[w] == sums[w]);
			for (size_t q = 0; q < sizeof(asked) / sizeof(asked[0]); q++)
				assert_int_equal(wc_histogram_bucket(wc_samples_quantile(&samples[w], asked[q])),
						 quantile_bucket(&latency, w, asked[q]));
			wc_samples_clear(&samples[w]);
		}
		wc_latencies_free(latencies);
	}
}

static void test_entries(void **state)
{
	struct wc_latencies *latencies = wc_latencies_new(2);
	struct wc_latency sum = { .id = 0 };
	char longest[200];

	(void)state;
	assert_int_equal(wc_latencies_count(latencies), 3);
	assert_false(wc_latency_read(latencies, 0, &sum));
	assert_false(wc_latency_read(latencies, 2, &sum));
	assert_false(wc_latency_read(latencies, 3, &sum)); /* there is none */
	wc_latency_add(latencies, 1 << 12 | 2, "two", WC_END_ok, 1000, 2000);
	wc_latency_add(latencies, 1 << 12 | 2, "two", WC_END_crash, WC_LATENCY_NONE, 3000);
	wc_latency_add(latencies, 1 << 12 | 2, "two", WC_LATENCY_ENDS, WC_LATENCY_NONE, WC_LATENCY_NONE);
	assert_true(wc_latency_read(latencies, 2, &sum));
	assert_string_equal(sum.name, "two");
	assert_int_equal(sum.id, 1 << 12 | 2);
	assert_true(sum.ends[WC_END_ok] == 1 && sum.ends[WC_END_crash] == 1);
	assert_true(sum.sum_ns[0] == 1000 && sum.sum_ns[1] == 5000);
	assert_true(wc_latency_read(latencies, 2, &sum)); /* adds */
	assert_true(sum.ends[WC_END_ok] == 2 && sum.sum_ns[1] == 10000);
	/* Another function in the slot begins at 0, and is not taken for the first. */
	memset(longest, 'n', sizeof(longest));
	longest[sizeof(longest) - 1] = 0;
	wc_latency_add(latencies, 2 << 12 | 2, longest, WC_END_ok, 7, 7);
	assert_false(wc_latency_read(latencies, 2, &sum));
	sum = (struct wc_latency){ .id = 2 << 12 | 2 };
	assert_true(wc_latency_read(latencies, 2, &sum));
	assert_true(sum.ends[WC_END_ok] == 1 && !sum.ends[WC_END_crash] && sum.sum_ns[0] == 7);
	assert_int_equal(strlen(sum.name), WC_LABEL_MAX - 1);
	/* What the first one ends late is not taken for the other's, and wipes nothing. */
	wc_latency_add(latencies, 1 << 12 | 2, "two", WC_END_timeout, 9, 9);
	sum = (struct wc_latency){ .id = 2 << 12 | 2 };
	assert_true(wc_latency_read(latencies, 2, &sum));
	assert_true(sum.ends[WC_END_ok] == 1 && !sum.ends[WC_END_timeout] && sum.sum_ns[0] == 7);
	sum = (struct wc_latency){ .id = 0 };
	assert_true(wc_latency_read(latencies, 0, &sum) && sum.ends[WC_END_timeout] == 1);
	/* All beyond share one, which never begins anew. */
	for (uint32_t slot = 3; slot < 3 + 5; slot++)
		wc_latency_add(latencies, 1 << 12 | slot, "x", WC_END_function, 1, 1);
	wc_latency_add(latencies, WC_FUNCTIONS_MAX, "", WC_END_removed, WC_LATENCY_NONE, WC_LATENCY_NONE);
	sum = (struct wc_latency){ .id = 0 };
	assert_true(wc_latency_read(latencies, 0, &sum));
	assert_true(sum.ends[WC_END_function] == 5 && sum.ends[WC_END_removed] == 1);
	wc_latencies_free(latencies);
	latencies = wc_latencies_new(0);
	wc_latency_add(latencies, 1 << 12 | 1, "x", WC_END_ok, 1, 1);
	sum = (struct wc_latency){ .id = 0 };
	assert_true(wc_latency_read(latencies, 0, &sum) && sum.ends[WC_END_ok] == 1);
	wc_latencies_free(latencies);
	wc_latencies_free(NULL);
}

#define LOOKS 30000
#define BREATH                                                                                                         \
	3000	  /* between some writes, as between invocations: longer than a look, or a reader would never get one */
#define EACH 1000 /* writes until the slot is another function's */

static atomic_bool over;

static void *write_many(void *argument)
{
	volatile unsigned breath;

	for (uint32_t i = 0; !atomic_load_explicit(&over, memory_order_relaxed); i++) {
		wc_latency_add(argument, (1 + i / EACH) << 12 | 1, "f", i % 3, 5000, 70000);
		if (i % 64 == 0)
			for (breath = 0; breath < BREATH; breath++)
				;
	}
	return NULL;
}

/* Every look is at one moment: all its numbers belong together. */
static void test_readers(void **state)
{
	struct wc_latencies *latencies = wc_latencies_new(1);
	uint64_t looks = 0;
	pthread_t thread;

	(void)state;
	atomic_store(&over, false);
	assert_int_equal(pthread_create(&thread, NULL, write_many, latencies), 0);
	while (looks < LOOKS) {
		struct wc_latency sum = { .id = 0 };
		uint64_t count;

		if (!wc_latency_read(latencies, 1, &sum))
			continue;
		looks++;
		count = sum.ends[0] + sum.ends[1] + sum.ends[2];
		assert_in_range(count, 1, EACH);
		assert_int_equal(sum.sum_ns[0], 5000 * count);
		assert_int_equal(sum.sum_ns[1], 70000 * count);
		assert_int_equal(sum.buckets[0][wc_histogram_bucket(5000)], count);
		assert_int_equal(sum.buckets[1][wc_histogram_bucket(70000)], count);
	}
	atomic_store(&over, true);
	pthread_join(thread, NULL);
	wc_latencies_free(latencies);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_bounds), cmocka_unit_test(test_quantiles),
					    cmocka_unit_test(test_entries), cmocka_unit_test(test_readers) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
