/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_slow_nodes.c - which nodes are slow (user/slow_nodes.h): examples of each rule, and random clusters in which what must never happen does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "user/slow_nodes.h"

#define MS 1000000.0
#define INTERVAL 1000ull
#define EJECT 10000ull

static struct wc_slow slow;
static uint64_t now;
static uint16_t changed[WC_MEMBERS_MAX];

static void begin(uint32_t nodes)
{
	memset(&slow, 0, sizeof(slow));
	slow.rule = (struct wc_slow_rule){
		.times = 4, .intervals = 3, .percent = 25, .interval_ns = INTERVAL, .eject_ns = EJECT
	};
	now = 1000000;
	wc_slow_usable(&slow, WC_SLOW_SELF, true, 0);
	for (uint16_t n = 1; n <= nodes; n++) {
		wc_slow_joins(&slow, n);
		wc_slow_usable(&slow, n, true, 2);
	}
	/* The first interval does not count. */
	assert_int_equal(wc_slow_tick(&slow, now, changed), 0);
	now += INTERVAL;
	assert_int_equal(wc_slow_tick(&slow, now, changed), 0);
}

/* `count` invocations of the function, that took so long each. */
static void runs(uint16_t node, uint32_t function, uint32_t count, double ms)
{
	wc_slow_add(&slow, node, function, count, 0, count * ms * MS);
}

static uint32_t end_interval(void)
{
	now += INTERVAL;
	return wc_slow_tick(&slow, now, changed);
}

static uint32_t count_ejected(void)
{
	uint32_t count = 0;

	for (uint32_t n = 0; n < WC_MEMBERS_MAX; n++)
		count += slow.nodes[n].state == WC_SLOW_EJECTED;
	return count;
}

/* An interval in which node 3 of 3 took so long, and the others 20 ms. */
static uint32_t third_takes(double ms)
{
	runs(1, 77, 30, 20);
	runs(2, 77, 30, 20);
	if (slow.nodes[3].state != WC_SLOW_EJECTED)
		runs(3, 77, 10, ms);
	return end_interval();
}

static void eject_third(void)
{
	assert_int_equal(third_takes(200), 0);
	assert_int_equal(third_takes(200), 0);
	assert_int_equal(third_takes(200), 1);
	assert_int_equal(changed[0], 3);
	assert_int_equal(slow.nodes[3].state, WC_SLOW_EJECTED);
}

static void test_ejected_and_back(void **state)
{
	(void)state;
	begin(3);
	eject_third();
	assert_int_equal(slow.ejected_total, 1);
	assert_int_equal(slow.nodes[3].last.judgement, WC_SLOW_BAD_FUNCTIONS);
	assert_true(slow.nodes[3].last.own_ns > 199 * MS && slow.nodes[3].last.usual_ns < 21 * MS);
	for (uint64_t i = 1; i < EJECT / INTERVAL; i++)
		assert_int_equal(third_takes(200), 0);
	assert_int_equal(third_takes(20), 1);
	assert_int_equal(slow.nodes[3].state, WC_SLOW_PROBATION);
	/* The interval in which it came back does not count, and then as many good ones as it took. */
	for (int i = 0; i < 3; i++)
		assert_int_equal(third_takes(20), i == 2);
	assert_int_equal(slow.nodes[3].state, WC_SLOW_WELL);
	/* And in time it is as if nothing had been. */
	assert_int_equal(slow.nodes[3].ejections, 1);
	for (uint64_t i = 0; i < EJECT / INTERVAL; i++)
		assert_int_equal(third_takes(20), 0);
	assert_int_equal(slow.nodes[3].ejections, 0);
}

static void test_probation_fails(void **state)
{
	uint64_t times;

	(void)state;
	begin(3);
	eject_third();
	for (times = 1; times < 13; times++) {
		uint64_t wanted = EJECT * (times < WC_SLOW_EJECTIONS_MAX ? times : WC_SLOW_EJECTIONS_MAX);

		assert_int_equal(slow.nodes[3].until, now + wanted);
		for (uint64_t i = 1; i < wanted / INTERVAL; i++)
			assert_int_equal(third_takes(200), 0);
		assert_int_equal(third_takes(200), 1);
		assert_int_equal(slow.nodes[3].state, WC_SLOW_PROBATION);
		/* It was ejected for the most part of the interval that ends now. One slow interval is enough then. */
		assert_int_equal(third_takes(200), 1);
		assert_int_equal(slow.nodes[3].state, WC_SLOW_EJECTED);
	}
	assert_int_equal(slow.ejected_total, times);
}

static void test_in_a_row(void **state)
{
	(void)state;
	begin(3);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(third_takes(200), 0);
		assert_int_equal(third_takes(200), 0);
		assert_int_equal(third_takes(20), 0);
	}
	/* One that says nothing is neither. */
	assert_int_equal(third_takes(200), 0);
	assert_int_equal(third_takes(200), 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(end_interval(), 0);
	assert_int_equal(third_takes(200), 1);
}

static void test_slow_everywhere(void **state)
{
	(void)state;
	begin(4);
	for (int i = 0; i < 50; i++) {
		for (uint16_t n = 0; n <= 4; n++) {
			runs(n, 5, 20, i < 20 ? 10 : 1000);
			runs(n, 6, 20, 1);
		}
		assert_int_equal(end_interval(), 0);
	}
}

static void test_one_function_among_many(void **state)
{
	(void)state;
	begin(3);
	/* Function 9 takes 100 times as long at node 3, which is most of what it spends, but a small part of what is done. */
	for (int i = 0; i < 50; i++) {
		for (uint16_t n = 1; n <= 3; n++) {
			runs(n, 7, 20, 10);
			runs(n, 8, 20, 10);
			runs(n, 9, 5, n == 3 ? 1000 : 10);
		}
		assert_int_equal(end_interval(), 0);
	}
}

static void test_cold_starts(void **state)
{
	(void)state;
	begin(3);
	for (int i = 0; i < 50; i++) {
		runs(1, 7, 20, 10);
		runs(2, 7, 20, 10);
		wc_slow_add(&slow, 3, 7, 20, 6, 20 * 500 * MS);
		assert_int_equal(end_interval(), 0);
	}
	for (int i = 0; i < 3; i++) {
		runs(1, 7, 20, 10);
		runs(2, 7, 20, 10);
		wc_slow_add(&slow, 3, 7, 20, 5, 20 * 500 * MS);
		assert_int_equal(end_interval(), i == 2);
	}
}

static void test_floors(void **state)
{
	(void)state;
	begin(3);
	for (int i = 0; i < 20; i++) { /* too few */
		runs(1, 7, 20, 10);
		runs(2, 7, 20, 10);
		runs(3, 7, 4, 500);
		assert_int_equal(end_interval(), 0);
	}
	for (int i = 0; i < 20; i++) { /* forty times as long, and nobody minds */
		runs(1, 7, 20, 0.1);
		runs(2, 7, 20, 0.1);
		runs(3, 7, 20, 4);
		assert_int_equal(end_interval(), 0);
	}
	for (int i = 0; i < 20; i++) { /* one of two: who of them is slow? */
		runs(2, 7, 20, 10);
		runs(3, 7, 20, 500);
		assert_int_equal(end_interval(), 0);
	}
	for (int i = 0; i < 20; i++) { /* nobody else has that function */
		runs(1, 7, 20, 10);
		runs(2, 7, 20, 10);
		runs(3, 8, 20, 500);
		assert_int_equal(end_interval(), 0);
	}
	for (int i = 0; i < 3; i++) { /* the scheduler's host is one to compare with */
		runs(0, 7, 20, 10);
		runs(2, 7, 20, 10);
		runs(3, 7, 20, 500);
		assert_int_equal(end_interval(), i == 2);
	}
}

static void test_link(void **state)
{
	(void)state;
	begin(3);
	for (int i = 0; i < 20; i++) { /* not that much longer, or not that many times as long */
		wc_slow_add(&slow, 0, WC_SLOW_LINK, 1, 0, 0);
		wc_slow_add(&slow, 1, WC_SLOW_LINK, 20, 0, (i < 10 ? 1 : 20) * 20 * MS);
		wc_slow_add(&slow, 2, WC_SLOW_LINK, 20, 0, (i < 10 ? 1 : 20) * 20 * MS);
		wc_slow_add(&slow, 3, WC_SLOW_LINK, 20, 0, (i < 10 ? 45 : 75) * 20 * MS);
		assert_int_equal(end_interval(), 0);
	}
	for (int i = 0; i < 3; i++) { /* so bad that there is one only */
		wc_slow_add(&slow, 0, WC_SLOW_LINK, 1, 0, 0);
		wc_slow_add(&slow, 1, WC_SLOW_LINK, 20, 0, 20 * MS);
		wc_slow_add(&slow, 2, WC_SLOW_LINK, 20, 0, 20 * MS);
		wc_slow_add(&slow, 3, WC_SLOW_LINK, 1, 0, 900 * MS);
		runs(1, 7, 20, 10);
		runs(2, 7, 20, 10);
		runs(3, 7, 20, 10);
		assert_int_equal(end_interval(), i == 2);
	}
	assert_int_equal(slow.nodes[3].last.judgement, WC_SLOW_BAD_LINK);
}

/* Most are slow: as many as may be are ejected, the slowest of them; and as others go, some come back. */
static void test_share(void **state)
{
	(void)state;
	begin(9);
	for (int i = 0; i < 3; i++) {
		for (uint16_t n = 0; n <= 9; n++)
			runs(n, 7, 20, n >= 6 ? 100 * n : 10);
		assert_int_equal(end_interval(), i == 2 ? 2 : 0);
	}
	assert_int_equal(slow.nodes[9].state, WC_SLOW_EJECTED);
	assert_int_equal(slow.nodes[8].state, WC_SLOW_EJECTED);
	wc_slow_usable(&slow, 1, false, 0);
	wc_slow_usable(&slow, 2, false, 0);
	assert_int_equal(wc_slow_tick(&slow, now + 1, changed), 1);
	assert_int_equal(changed[0], 8);
	assert_int_equal(slow.nodes[8].state, WC_SLOW_PROBATION);
	for (uint16_t n = 3; n <= 8; n++)
		wc_slow_usable(&slow, n, false, 0);
	assert_int_equal(wc_slow_tick(&slow, now + 2, changed), 1);
	assert_int_equal(count_ejected(), 0);
}

static void test_cores(void **state)
{
	(void)state;
	begin(3);
	wc_slow_usable(&slow, 3, true, 5); /* more than the others have */
	for (int i = 0; i < 10; i++)
		assert_int_equal(third_takes(200), 0);
	wc_slow_usable(&slow, 3, true, 4);
	assert_int_equal(third_takes(200), 1);
}

static void test_comes_and_goes(void **state)
{
	(void)state;
	begin(3);
	eject_third();
	wc_slow_usable(&slow, 3, false, 0);
	assert_int_equal(third_takes(200), 0);
	assert_int_equal(slow.nodes[3].state, WC_SLOW_EJECTED);
	wc_slow_joins(&slow, 3); /* perhaps another host by now */
	wc_slow_usable(&slow, 3, true, 2);
	assert_int_equal(slow.nodes[3].state, WC_SLOW_PROBATION);
	assert_int_equal(third_takes(200), 0); /* it has just come */
	assert_int_equal(third_takes(200), 1);
	assert_int_equal(slow.nodes[3].state, WC_SLOW_EJECTED);
	wc_slow_forgive(&slow, 3);
	assert_int_equal(slow.nodes[3].state, WC_SLOW_WELL);
	assert_int_equal(third_takes(200), 0);
	assert_int_equal(third_takes(200), 0);
	assert_int_equal(third_takes(200), 0);
	assert_int_equal(third_takes(200), 1);
}

static void test_off(void **state)
{
	(void)state;
	begin(3);
	slow.rule.times = 0;
	for (int i = 0; i < 20; i++)
		assert_int_equal(third_takes(2000), 0);
	assert_int_equal(slow.nodes[1].sample_count, 0);
}

/* --- whatever comes --- */

static double uniform(void)
{
	return rand() / (RAND_MAX + 1.0);
}

static uint32_t below(uint32_t count)
{
	return (uint32_t)(uniform() * count);
}

static void check_bearable(void)
{
	uint64_t nodes = 0, ejected = 0, cores = 0, ejected_cores = 0, share;

	for (uint32_t n = 1; n < WC_MEMBERS_MAX; n++) {
		const struct wc_slow_node *node = &slow.nodes[n];

		if (!node->usable)
			continue;
		nodes++;
		cores += node->cores;
		ejected += node->state == WC_SLOW_EJECTED;
		ejected_cores += node->state == WC_SLOW_EJECTED ? node->cores : 0;
	}
	share = nodes * slow.rule.percent / 100;
	assert_true(ejected <= (share ? share : 1));
	assert_true(!ejected || ejected < nodes);
	assert_true(2 * ejected_cores <= cores);
	assert_int_equal(slow.nodes[WC_SLOW_SELF].state, WC_SLOW_WELL);
}

/* Nodes come, go and are slow as they like: there is always enough left, and changes are told. */
static void test_random(void **state)
{
	(void)state;
	srand(1);
	for (int round = 0; round < 300; round++) {
		uint32_t nodes = 1 + below(12), functions = 1 + below(8);
		uint8_t known[WC_MEMBERS_MAX] = { 0 };

		begin(nodes);
		slow.rule.percent = 1 + below(50);
		slow.rule.intervals = 1 + below(4);
		for (int step = 0; step < 60; step++) {
			uint16_t who = (uint16_t)(1 + below(nodes));
			uint32_t count;

			if (uniform() < 0.1)
				wc_slow_usable(&slow, who, uniform() < 0.5, 1 + below(8));
			if (uniform() < 0.02) {
				wc_slow_joins(&slow, who);
				known[who] = (uint8_t)slow.nodes[who].state;
			}
			for (uint16_t n = 0; n <= nodes; n++)
				for (uint32_t f = 1; f <= functions; f++)
					wc_slow_add(&slow, n, f, below(30), below(4),
						    uniform() * 1e9 * (n % 3 ? 1 : 20));
			now += below(2 * INTERVAL);
			count = wc_slow_tick(&slow, now, changed);
			for (uint32_t i = 0; i < count; i++)
				known[changed[i]] = (uint8_t)slow.nodes[changed[i]].state;
			for (uint32_t n = 0; n < WC_MEMBERS_MAX; n++)
				assert_int_equal(known[n], slow.nodes[n].state);
			check_bearable();
		}
	}
}

/* Nodes whose speeds differ by less than the factor: nobody is ever ejected, whatever functions there are, and how busy they are. */
static void test_never_without_reason(void **state)
{
	(void)state;
	srand(2);
	for (int round = 0; round < 300; round++) {
		uint32_t nodes = 2 + below(12), functions = 1 + below(8);
		double speed[16], length[16];

		begin(nodes);
		for (uint32_t n = 0; n <= nodes; n++)
			speed[n] = 1 + 2.9 * uniform();
		for (int step = 0; step < 30; step++) {
			for (uint32_t f = 1; f <= functions; f++)
				length[f] = 1 + 1000 * uniform() * uniform();
			for (uint16_t n = 0; n <= nodes; n++)
				for (uint32_t f = 1; f <= functions; f++)
					runs(n, f, below(40), length[f] * speed[n]);
			assert_int_equal(end_interval(), 0);
		}
	}
}

/* One that is slower than the factor, with enough to compare: it is found in time, and it alone. */
static void test_always_with_reason(void **state)
{
	(void)state;
	srand(3);
	for (int round = 0; round < 300; round++) {
		uint32_t nodes = 2 + below(12), functions = 1 + below(8);
		uint16_t which = (uint16_t)(1 + below(nodes));
		double length[16];

		begin(nodes);
		for (int step = 0; step < 3; step++) {
			for (uint32_t f = 1; f <= functions; f++)
				length[f] = 5 + 1000 * uniform() * uniform();
			for (uint16_t n = 0; n <= nodes; n++)
				for (uint32_t f = 1; f <= functions; f++)
					runs(n, f, 5 + below(40),
					     length[f] * (n == which ? 5.1 : 0.8 + 0.4 * uniform()));
			assert_int_equal(end_interval(), step == 2);
		}
		assert_int_equal(slow.nodes[which].state, WC_SLOW_EJECTED);
		assert_int_equal(count_ejected(), 1);
	}
}

/* More functions than are compared, and figures without measure. */
static void test_limits(void **state)
{
	(void)state;
	begin(3);
	for (int i = 0; i < 10; i++) {
		for (uint16_t n = 0; n <= 3; n++)
			for (uint32_t f = 1; f <= 2 * WC_SLOW_SAMPLES_MAX; f++) {
				wc_slow_add(&slow, n, f, UINT32_MAX, UINT32_MAX, 1e300);
				wc_slow_add(&slow, n, f, UINT32_MAX, 0, -1e300);
			}
		assert_int_equal(slow.nodes[1].sample_count, WC_SLOW_SAMPLES_MAX);
		end_interval();
		check_bearable();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ejected_and_back),
		cmocka_unit_test(test_probation_fails),
		cmocka_unit_test(test_in_a_row),
		cmocka_unit_test(test_slow_everywhere),
		cmocka_unit_test(test_one_function_among_many),
		cmocka_unit_test(test_cold_starts),
		cmocka_unit_test(test_floors),
		cmocka_unit_test(test_link),
		cmocka_unit_test(test_share),
		cmocka_unit_test(test_cores),
		cmocka_unit_test(test_comes_and_goes),
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_never_without_reason),
		cmocka_unit_test(test_always_with_reason),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
