/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_events.c - the simulator's calendar queue against a sorted array: what comes out is the earliest of what is in, whatever is put in how far
 * ahead. How many there are and how far apart changes again and again, in both directions, so that days become longer and shorter, more and
 * fewer, and that with few events as with many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/sim/events.h"
#include "tools/workload/random.h"

#define ROUNDS 60
#define PHASES 6
#define TAKES 20000 /* of a phase: more than are needed until the length of a day is looked at, and again */
#define EVENTS_MAX 1024u
#define SCALE_MAX 44 /* 2^44 ns are five hours; all phases together stay below 2^64 */

static struct events events;
static uint64_t sorted[EVENTS_MAX]; /* what is in, the last one first */
static uint32_t count;

static void put(uint64_t at)
{
	uint32_t low = 0, high = count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (sorted[middle] > at)
			low = middle + 1;
		else
			high = middle;
	}
	memmove(&sorted[low + 1], &sorted[low], (count - low) * sizeof(sorted[0]));
	sorted[low] = at;
	count++;
	/* all of an event is kept, not its time alone */
	assert_int_equal(events_put(&events, &(struct event){ .at = at,
							      .kind = at & 3,
							      .stamp = at & 0xfffffff,
							      .a = (uint32_t)at,
							      .b = (uint32_t)(at >> 32) }),
			 0);
}

static uint64_t take(void)
{
	const struct event *first = events_peek(&events);
	struct event event;

	assert_non_null(first);
	if (first->at != sorted[count - 1])
		fail_msg("of %u events the one at %llu came, not that at %llu", count, (unsigned long long)first->at,
			 (unsigned long long)sorted[count - 1]);
	assert_true(events_take(&events, &event));
	count--;
	assert_int_equal(event.at, sorted[count]);
	assert_int_equal(event.kind, event.at & 3);
	assert_int_equal(event.stamp, event.at & 0xfffffff);
	assert_int_equal(event.a | (uint64_t)event.b << 32, event.at);
	assert_int_equal(events_count(&events), count);
	return event.at;
}

/* Some are near, some at the same time, and some far away, or none. */
static uint64_t ahead(struct random *random, double mean, double strays)
{
	double share = random_uniform(random);

	if (share < 0.02)
		return 0;
	return (uint64_t)(random_exponential(random) * (share < 0.02 + strays ? mean * 1000 : mean));
}

static void phase(struct random *random, uint64_t *now)
{
	double mean = (double)(1ull << (unsigned)(random_uniform(random) * SCALE_MAX));
	uint32_t wanted = 1u << (unsigned)(random_uniform(random) * 10);
	double strays = random_uniform(random) < 0.5 ? 0 : 0.01;

	for (uint32_t i = 0; i < TAKES; i++) {
		while (count < wanted)
			put(*now + ahead(random, mean, strays));
		*now = take();
		/* fewer are wanted than there are: until then two go for one that comes */
		if (count < wanted || i & 1)
			put(*now + ahead(random, mean, strays));
	}
}

static void test_order(void **state)
{
	(void)state;
	for (uint32_t round = 0; round < ROUNDS; round++) {
		struct random random = random_seed(round, 0);
		uint64_t now = 0;
		struct event event;

		assert_int_equal(events_open(&events), 0);
		count = 0;
		for (unsigned i = 0; i < PHASES; i++)
			phase(&random, &now);
		while (count)
			now = take();
		assert_null(events_peek(&events));
		assert_false(events_take(&events, &event));
		put(now); /* and it goes on */
		assert_int_equal(take(), now);
		assert_false(events.failed);
		events_close(&events);
	}
}

/* Two events that are far further apart than a day has been so far: with the look at its length all of them are today. */
static void test_days_become_longer(void **state)
{
	uint64_t now = 0;

	(void)state;
	assert_int_equal(events_open(&events), 0);
	count = 0;
	put(5000);
	for (uint32_t i = 0; i < 100000; i++) {
		put(sorted[0] + 5000);
		now = take();
	}
	assert_int_equal(now, 100000ull * 5000);
	events_close(&events);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_days_become_longer),
	};

	return cmocka_run_group_tests_name("events", tests, NULL, NULL);
}
