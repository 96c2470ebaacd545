/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_keepalive.c - user/keepalive.c: histograms of idle times, the windows that follow from them, worth, and how many to start. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "user/keepalive.h"

#include <stdlib.h>
#include <string.h>

#define MINUTE 60000ull
#define FIXED (10 * MINUTE)

static struct wc_keepalive known;
static struct wc_keepalive_knobs knobs;

static int setup(void **state)
{
	(void)state;
	memset(&known, 0, sizeof(known));
	knobs = wc_keepalive_defaults(MINUTE, FIXED);
	return 0;
}

static void note(unsigned times, uint64_t idle)
{
	while (times--)
		wc_keepalive_note(&known, &knobs, 1, idle);
}

static struct wc_keepalive_plan expect(uint64_t prewarm, uint64_t end, enum wc_keepalive_why why)
{
	struct wc_keepalive_plan plan = wc_keepalive_plan(&known, &knobs);

	assert_string_equal(wc_keepalive_why_names[plan.why], wc_keepalive_why_names[why]);
	assert_int_equal(plan.prewarm, prewarm);
	assert_int_equal(plan.end, end);
	return plan;
}

static void test_nothing_known(void **state)
{
	struct wc_keepalive_plan plan;

	(void)state;
	plan = expect(0, FIXED, WC_KEEPALIVE_WHY_few);
	assert_int_equal(plan.more, FIXED);
	note(knobs.samples_min - 1, 30 * MINUTE);
	expect(0, FIXED, WC_KEEPALIVE_WHY_few);
	note(1, 30 * MINUTE);
	expect(27 * MINUTE, 31 * MINUTE * 11 / 10, WC_KEEPALIVE_WHY_learned);
}

static void test_rules(void **state)
{
	struct wc_keepalive_plan plan;

	(void)state;
	note(100, 30 * MINUTE);
	knobs.rule = WC_KEEPALIVE_FIXED;
	expect(0, FIXED, WC_KEEPALIVE_WHY_fixed);
	knobs.rule = WC_KEEPALIVE_OFF;
	plan = expect(0, WC_KEEPALIVE_NEVER, WC_KEEPALIVE_WHY_off);
	assert_int_equal(plan.more, WC_KEEPALIVE_NEVER);
	knobs.rule = WC_KEEPALIVE_PERCENTILE;
	expect(27 * MINUTE, 31 * MINUTE * 11 / 10, WC_KEEPALIVE_WHY_learned);
	knobs.prewarm = false;
	expect(0, 31 * MINUTE * 11 / 10, WC_KEEPALIVE_WHY_learned);
	knobs.rule = WC_KEEPALIVE_HYBRID; /* half an hour of idling to save a start that is worth ten minutes */
	expect(0, 0, WC_KEEPALIVE_WHY_unpaid);
}

/* By nearest rank, the head at the lower edge of its bin, the tail at the upper one; 10 % of margin each. */
static void test_percentiles(void **state)
{
	(void)state;
	knobs.rule = WC_KEEPALIVE_PERCENTILE;
	note(4, 5 * MINUTE);
	note(95, 20 * MINUTE);
	note(1, 100 * MINUTE);
	expect(18 * MINUTE, 21 * MINUTE * 11 / 10, WC_KEEPALIVE_WHY_learned); /* 4 % below, 99 % within */
	note(2, 5 * MINUTE); /* 6 of 102: 5 % are in the bin of 5 min */
	expect(5 * MINUTE * 9 / 10, 21 * MINUTE * 11 / 10, WC_KEEPALIVE_WHY_learned);
	note(1, 100 * MINUTE); /* 2 of 103: 99 % are not within 20 min any more */
	expect(5 * MINUTE * 9 / 10, 101 * MINUTE * 11 / 10, WC_KEEPALIVE_WHY_learned);
	note(6, 59999);
	expect(0, 101 * MINUTE * 11 / 10, WC_KEEPALIVE_WHY_learned);
}

static void test_edges_of_bins(void **state)
{
	(void)state;
	note(1, 0);
	note(1, MINUTE - 1);
	assert_int_equal(known.first.count[0], 2);
	note(1, MINUTE);
	assert_int_equal(known.first.count[1], 1);
	note(1, WC_KEEPALIVE_BINS * MINUTE - 1);
	assert_int_equal(known.first.count[WC_KEEPALIVE_BINS - 1], 1);
	note(1, WC_KEEPALIVE_BINS * MINUTE);
	note(1, UINT64_MAX);
	assert_int_equal(known.first.within, 4);
	assert_int_equal(known.first.beyond, 2);
	assert_int_equal(known.first.squares, 4 + 1 + 1);
}

static void test_out_of_bounds(void **state)
{
	(void)state;
	note(51, 20 * MINUTE);
	note(49, 300 * MINUTE);
	assert_int_equal(wc_keepalive_plan(&known, &knobs).why, WC_KEEPALIVE_WHY_learned);
	note(2, 300 * MINUTE); /* 51 of 102 */
	expect(0, FIXED, WC_KEEPALIVE_WHY_rare);
	memset(&known, 0, sizeof(known));
	note(10, 300 * MINUTE);
	expect(0, FIXED, WC_KEEPALIVE_WHY_rare);
}

/* Coefficient of variation: with k of 240 bins equally full it is sqrt(240 / k - 1), which is 2 at k = 48. */
static void test_representative(void **state)
{
	(void)state;
	knobs.rule = WC_KEEPALIVE_PERCENTILE;
	for (uint64_t i = 0; i < 48; i++)
		note(3, i * MINUTE);
	assert_int_equal(wc_keepalive_plan(&known, &knobs).why, WC_KEEPALIVE_WHY_learned);
	note(3, 48 * MINUTE);
	expect(0, FIXED, WC_KEEPALIVE_WHY_spread);
}

/* A window is not longer than it pays: ten minutes for each start that it saves. */
static void test_pays(void **state)
{
	struct wc_keepalive_plan plan;

	(void)state;
	/* Nine of ten within a minute, one after two hours: the paper's 99 % wait for it, which saves one start in 119 minutes. */
	note(90, MINUTE / 2);
	note(10, 120 * MINUTE);
	knobs.rule = WC_KEEPALIVE_PERCENTILE;
	expect(0, 121 * MINUTE * 11 / 10, WC_KEEPALIVE_WHY_learned);
	knobs.rule = WC_KEEPALIVE_HYBRID;
	expect(0, 1 * MINUTE * 11 / 10, WC_KEEPALIVE_WHY_learned);
	knobs.fixed = 130 * MINUTE; /* now it is worth it */
	expect(0, 121 * MINUTE * 11 / 10, WC_KEEPALIVE_WHY_learned);

	/* A window that is narrow and far away pays with prewarming: only the time within it is idled. */
	memset(&known, 0, sizeof(known));
	knobs.fixed = FIXED;
	note(50, 60 * MINUTE);
	plan = expect(54 * MINUTE, 61 * MINUTE * 11 / 10, WC_KEEPALIVE_WHY_learned);
	assert_true(plan.end > plan.prewarm);
	knobs.fixed = 5 * MINUTE; /* 54 to 61 min: it idles for 6.5 on average */
	expect(0, 0, WC_KEEPALIVE_WHY_unpaid);
}

static void test_levels(void **state)
{
	struct wc_keepalive_plan plan;

	(void)state;
	note(1000, 100); /* the first is busy all the time */
	for (int i = 0; i < 100; i++)
		wc_keepalive_note(&known, &knobs, 2 + i % 3, 7 * MINUTE);
	plan = wc_keepalive_plan(&known, &knobs);
	assert_int_equal(plan.end, MINUTE * 11 / 10);
	assert_int_equal(plan.more, 8 * MINUTE * 11 / 10);
	assert_int_equal(plan.more_why, WC_KEEPALIVE_WHY_learned);
	for (int i = 0; i < 1000; i++)
		wc_keepalive_note(&known, &knobs, 2,
				  30 * MINUTE); /* longer than it is worth; seven minutes still are, hardly ever */
	plan = wc_keepalive_plan(&known, &knobs);
	assert_int_equal(plan.more, 0);
	assert_int_equal(plan.more_why, WC_KEEPALIVE_WHY_unpaid);
	assert_int_equal(plan.end, MINUTE * 11 / 10);
}

/* A function that changes its habits is followed; sums stay sums. */
static void test_forgets(void **state)
{
	uint64_t squares = 0;
	uint32_t within = 0;

	(void)state;
	note(10 * WC_KEEPALIVE_MEMORY, 30 * MINUTE);
	assert_true(known.first.within <= WC_KEEPALIVE_MEMORY);
	note(3 * WC_KEEPALIVE_MEMORY, 90 * MINUTE);
	note(3 * WC_KEEPALIVE_MEMORY, 300 * MINUTE);
	note(3 * WC_KEEPALIVE_MEMORY, 60 * MINUTE);
	assert_true(known.first.within + known.first.beyond <= WC_KEEPALIVE_MEMORY);
	for (unsigned i = 0; i < WC_KEEPALIVE_BINS; i++) {
		within += known.first.count[i];
		squares += (uint64_t)known.first.count[i] * known.first.count[i];
	}
	assert_int_equal(known.first.within, within);
	assert_int_equal(known.first.squares, squares);
	note(WC_KEEPALIVE_MEMORY * 4, 60 * MINUTE);
	expect(54 * MINUTE, 61 * MINUTE * 11 / 10, WC_KEEPALIVE_WHY_learned);
}

/* With ns and the widest bins and longest times that the knobs allow nothing overflows. */
static void test_largest(void **state)
{
	const uint64_t day = 24ull * 3600 * 1000000000;
	struct wc_keepalive_plan plan;

	(void)state;
	knobs = wc_keepalive_defaults(day, 7 * day);
	for (int i = 0; i < 20000; i++)
		wc_keepalive_note(&known, &knobs, 1, 239 * day);
	plan = wc_keepalive_plan(&known, &knobs);
	assert_int_equal(plan.why, WC_KEEPALIVE_WHY_unpaid);
	knobs.rule = WC_KEEPALIVE_PERCENTILE;
	plan = wc_keepalive_plan(&known, &knobs);
	assert_int_equal(plan.prewarm, 239 * day / 10 * 9);
	assert_int_equal(plan.end, 24 * day * 11);
}

/* Whatever happens, a window is one: it begins before it ends, and not after the shortest idle time that counts. */
static void test_random(void **state)
{
	(void)state;
	srandom(1);
	for (int round = 0; round < 2000; round++) {
		int count = (int)(random() % 200);

		memset(&known, 0, sizeof(known));
		knobs = wc_keepalive_defaults(1 + (uint64_t)random() % 1000, 1 + (uint64_t)random() % 100000);
		knobs.rule = (enum wc_keepalive_rule)(random() % 4);
		for (int i = 0; i < count; i++)
			wc_keepalive_note(&known, &knobs, 1 + (uint32_t)random() % 3,
					  (uint64_t)random() % (knobs.bin << random() % 9));
		for (int i = 0; i < 4; i++) {
			struct wc_keepalive_plan plan;

			knobs.prewarm = i & 1;
			plan = wc_keepalive_plan(&known, &knobs);
			assert_true(plan.why < WC_KEEPALIVE_WHY_COUNT && plan.more_why < WC_KEEPALIVE_WHY_COUNT);
			assert_true(plan.prewarm < plan.end || (!plan.prewarm && !plan.end));
			assert_true(knobs.prewarm || !plan.prewarm);
			if (knobs.rule != WC_KEEPALIVE_OFF && plan.end != knobs.fixed)
				assert_true(plan.end <= WC_KEEPALIVE_BINS * knobs.bin * 110 / 100);
			knobs.rule = (enum wc_keepalive_rule)(random() % 4);
		}
	}
}

static void test_worth(void **state)
{
	struct wc_keepalive_cost cost = { .clock = 100, .calls = 10, .start_us = 5000, .memory_kib = 1000 }, other;
	uint64_t worth = wc_keepalive_worth(&cost);

	(void)state;
	assert_int_equal(worth, 150);
	other = cost;
	other.calls = 20;
	assert_true(wc_keepalive_worth(&other) > worth);
	other = cost;
	other.start_us = 9000;
	assert_true(wc_keepalive_worth(&other) > worth);
	other = cost;
	other.memory_kib = 2000;
	assert_true(wc_keepalive_worth(&other) < worth);
	other = cost;
	other.clock = 200; /* used later */
	assert_true(wc_keepalive_worth(&other) > worth);
	cost = (struct wc_keepalive_cost){ UINT64_MAX / 4, UINT64_MAX, UINT64_MAX, 0 };
	assert_true(wc_keepalive_worth(&cost) >= UINT64_MAX / 4);
}

static void test_burst(void **state)
{
	struct wc_keepalive_burst burst = { .wanting = 64, .execution_ns = 10000, .start_ns = 1000000 };

	(void)state;
	assert_true(wc_keepalive_start(&burst)); /* there is nobody to wait for */
	burst.starting = 1;			 /* it will do 100 in the time of a start */
	assert_false(wc_keepalive_start(&burst));
	burst.wanting = 100;
	assert_false(wc_keepalive_start(&burst));
	burst.wanting = 101;
	assert_true(wc_keepalive_start(&burst));
	burst.running = 1;
	assert_false(wc_keepalive_start(&burst));
	burst.wanting = 1000; /* ten are enough */
	burst.starting = 5;
	burst.running = 4;
	assert_true(wc_keepalive_start(&burst));
	burst.running = 5;
	assert_false(wc_keepalive_start(&burst));
	burst.execution_ns = burst.start_ns; /* long ones: one for each */
	assert_true(wc_keepalive_start(&burst));
	burst.execution_ns = 0; /* not known yet */
	assert_true(wc_keepalive_start(&burst));
	burst.execution_ns = 1;
	burst.start_ns = 0;
	assert_true(wc_keepalive_start(&burst));
	burst.wanting = 5; /* each that is being started is somebody's, but for one */
	assert_false(wc_keepalive_start(&burst));
	burst.wanting = 6;
	assert_true(wc_keepalive_start(&burst));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_nothing_known, setup), cmocka_unit_test_setup(test_rules, setup),
		cmocka_unit_test_setup(test_percentiles, setup),   cmocka_unit_test_setup(test_edges_of_bins, setup),
		cmocka_unit_test_setup(test_out_of_bounds, setup), cmocka_unit_test_setup(test_representative, setup),
		cmocka_unit_test_setup(test_pays, setup),	   cmocka_unit_test_setup(test_levels, setup),
		cmocka_unit_test_setup(test_forgets, setup),	   cmocka_unit_test_setup(test_largest, setup),
		cmocka_unit_test_setup(test_random, setup),	   cmocka_unit_test_setup(test_worth, setup),
		cmocka_unit_test_setup(test_burst, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
