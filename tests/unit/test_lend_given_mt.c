/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Ids that go back to a sibling (user/lend_given.c): each is told, oldest first, and none of what was not told is forgotten. */
#include "user/lend_given.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define WORDS 20000 /* that each thread notes */

static void test_order(void **state)
{
	struct wc_lend_given given = { .count = 0 };
	uint64_t words[WC_GIVEN_MAX];

	(void)state;
	wc_lend_given_open(&given);
	assert_int_equal(wc_lend_given_take(&given, words, WC_GIVEN_MAX), 0);
	assert_false(wc_lend_given_again(&given, 1));
	for (uint64_t word = 1; word <= 3; word++)
		assert_true(wc_lend_given_note(&given, word));
	assert_int_equal(wc_lend_given_take(&given, words, 2), 2);
	assert_int_equal(words[0], 1);
	assert_int_equal(words[1], 2);
	assert_true(wc_lend_given_again(&given, 2));
	assert_int_equal(wc_lend_given_take(&given, words, WC_GIVEN_MAX), 2);
	assert_int_equal(words[0], 2);
	assert_int_equal(words[1], 3);
	assert_int_equal(wc_lend_given_take(&given, words, WC_GIVEN_MAX), 0);
	wc_lend_given_close(&given);
}

static void test_full(void **state)
{
	struct wc_lend_given given = { .count = 0 };
	uint64_t words[WC_GIVEN_MAX];

	(void)state;
	wc_lend_given_open(&given);
	for (uint64_t word = 1; word <= WC_GIVEN_MAX; word++)
		assert_true(wc_lend_given_note(&given, word));
	assert_false(wc_lend_given_note(&given, WC_GIVEN_MAX + 1)); /* the oldest has not been told */
	assert_int_equal(wc_lend_given_take(&given, words, 1), 1);
	assert_int_equal(words[0], 1);
	assert_true(wc_lend_given_note(&given, WC_GIVEN_MAX + 1));
	assert_false(wc_lend_given_again(&given, 1));
	assert_int_equal(wc_lend_given_take(&given, words, WC_GIVEN_MAX), WC_GIVEN_MAX);
	assert_int_equal(words[0], 2);
	assert_int_equal(words[WC_GIVEN_MAX - 1], WC_GIVEN_MAX + 1);
	wc_lend_given_close(&given);
}

static struct wc_lend_given shared;
static bool told[2 * WORDS + 1];

static void *note_main(void *argument)
{
	uint64_t first = *(const uint64_t *)argument;

	for (uint64_t word = first; word < first + WORDS; word++)
		while (!wc_lend_given_note(&shared, word))
			sched_yield();
	return NULL;
}

/* Some note, one tells: what was noted is told, once, however full it is. */
static void test_threads(void **state)
{
	uint64_t firsts[2] = { 1, WORDS + 1 }, words[100];
	pthread_t threads[2];
	size_t count = 0;

	(void)state;
	wc_lend_given_open(&shared);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, note_main, &firsts[i]), 0);
	while (count < 2 * WORDS) {
		size_t taken = wc_lend_given_take(&shared, words, 100);

		for (size_t i = 0; i < taken; i++) {
			assert_in_range(words[i], 1, 2 * WORDS);
			assert_false(told[words[i]]);
			told[words[i]] = true;
		}
		count += taken;
	}
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(wc_lend_given_take(&shared, words, 100), 0);
	wc_lend_given_close(&shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
