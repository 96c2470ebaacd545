// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_study_verdicts.c - medians, their intervals and verdicts of claims against known values. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/study/claims.h"
#include "tools/study/stats.h"
#include "tools/workload/random.h"

/* Ranks and coverages of the table in Conover, Practical Nonparametric Statistics (sign test), from the binomial distribution. */
static void test_ranks(void **state)
{
	static const struct {
		uint32_t count, rank;
		double coverage;
	} table[] = { { 1, 1, 0 },
		      { 2, 1, 0.5 },
		      { 5, 1, 0.9375 },
		      { 6, 1, 0.96875 },
		      { 7, 1, 0.984375 },
		      { 8, 1, 0.9921875 },
		      { 9, 2, 0.9609375 },
		      { 12, 3, 0.961425781 },
		      { 20, 6, 0.958610535 },
		      { 100, 40, 0.964799800 } };

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		double coverage;

		assert_int_equal(stats_rank(table[i].count, &coverage), table[i].rank);
		assert_true(fabs(coverage - table[i].coverage) < 1e-8);
	}
}

static void test_median(void **state)
{
	const double values[] = { 5, NAN, 1, 4, 2, 3, 6 }, lost[] = { 1, INFINITY, INFINITY, 2, INFINITY, INFINITY };
	struct stats_interval interval;

	(void)state;
	stats_median(values, 7, &interval);
	assert_true(interval.median == 3.5 && interval.low == 1 && interval.high == 6 && interval.count == 6);
	stats_median(lost, 6, &interval);
	assert_true(isinf(interval.median) && interval.low == 1 && isinf(interval.high));
	stats_median(values + 1, 1, &interval);
	assert_true(isnan(interval.median) && isnan(interval.low) && interval.count == 0);
	stats_median(values, 1, &interval);
	assert_true(interval.median == 5 && interval.coverage == 0);
}

/* The interval has the true median as often as it says: of a skewed distribution, whose median is ln 2. */
static void test_coverage(void **state)
{
	enum {
		ROUNDS = 20000
	};
	struct random random = random_seed(3, 1);

	(void)state;
	for (uint32_t count = 6; count <= 15; count += 3) {
		unsigned inside = 0;
		double expected;

		stats_rank(count, &expected);
		for (unsigned i = 0; i < ROUNDS; i++) {
			struct stats_interval interval;
			double values[16];

			for (uint32_t v = 0; v < count; v++)
				values[v] = random_exponential(&random);
			stats_median(values, count, &interval);
			inside += interval.low <= M_LN2 && M_LN2 <= interval.high;
		}
		/* standard error 0.0015; the seed is fixed */
		assert_true(fabs((double)inside / ROUNDS - expected) < 0.006);
	}
}

static void test_quantile(void **state)
{
	const double values[] = { 1, 2, 3, 4 };

	(void)state;
	assert_true(stats_quantile(values, 4, 0.5) == 2.5);
	assert_true(stats_quantile(values, 4, 1) == 4);
	assert_true(stats_quantile(values, 4, 0) == 1);
	assert_true(fabs(stats_quantile(values, 4, 0.9) - 3.7) < 1e-12);
	assert_true(isnan(stats_quantile(values, 0, 0.5)));
}

/* --- verdicts --- */

static const char text[] = "study: s\ntitle: t\nquestion: q\nhypothesis: h\nsource: x\nrepetitions: 6\n"
			   "parts:\n  - {name: a, engine: sim, axes: {p: {sim.policy: [central, hash]}}}\n"
			   "claims:\n"
			   "  - {text: less, that: pace(p=central) < pace(p=hash)}\n"
			   "  - {text: most, that: pace(p=central) <= pace(p=hash)}\n"
			   "  - {text: more, that: pace(p=central) > pace(p=hash)}\n"
			   "  - {text: least, that: pace(p=central) >= pace(p=hash)}\n"
			   "  - {text: factor, that: pace(p=hash) < 1.5 * pace(p=central)}\n"
			   "  - {text: number, that: pace() < 4}\n";

/* Verdicts of the six claims, a letter each: h, f, o. */
static void verdicts(uint32_t repetitions, const double *central, const double *hash, char ret[7])
{
	static struct claim_point points[STUDY_CELLS_MAX];
	static struct study study;
	struct results results;
	struct wc_fault fault;
	uint32_t count;

	assert_int_equal(study_read(&study, "F", text, strlen(text), &fault), 0);
	assert_int_equal(results_init(&results, study.cells_count, repetitions), 0);
	for (uint32_t r = 0; r < repetitions; r++) {
		for (uint32_t c = 0; c < 2; c++) {
			results_run(&results, c, r)->done = true;
			results_run(&results, c, r)->metrics[METRIC_pace] = c ? hash[r] : central[r];
		}
	}
	for (uint32_t i = 0; i < study.claims_count; i++)
		ret[i] = "hfo"[claim_judge(&study, &study.claims[i], &results, points, &count)];
	ret[study.claims_count] = 0;
	results_free(&results);
	study_free(&study);
}

static void test_verdicts(void **state)
{
	const double low[] = { 1, 2, 3, 1, 2, 3 }, high[] = { 2, 3, 4, 2, 3, 4 };
	const double mixed[] = { 2, 3, 2, 2, 3, 4 },
		     never[] = { INFINITY, INFINITY, INFINITY, INFINITY, INFINITY, INFINITY };
	char got[7];

	(void)state;
	/* Always 1 less, although the ranges overlap: pairs decide. 2 is less than 1.5, but not always: open. 4 is not less than 4. */
	verdicts(6, low, high, got);
	assert_string_equal(got, "hhffoo");
	verdicts(6, high, low, got);
	assert_string_equal(got, "ffhhho");
	/* Equal: neither is less. */
	verdicts(6, low, low, got);
	assert_string_equal(got, "fhfhhh");
	/* One of six the other way */
	verdicts(6, low, mixed, got);
	assert_string_equal(got[0] == 'o' ? "o" : got, "o");
	/* Five are not enough for 95 %. */
	verdicts(5, low, high, got);
	assert_string_equal(got, "oooooo");
	/* What never answers is more than what does, and as much as what does not either. */
	verdicts(6, low, never, got);
	assert_string_equal(got, "hhfff"
				 "f");
	verdicts(6, never, never, got);
	assert_string_equal(got, "fhfhf"
				 "f");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ranks),	 cmocka_unit_test(test_median),	  cmocka_unit_test(test_coverage),
		cmocka_unit_test(test_quantile), cmocka_unit_test(test_verdicts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
