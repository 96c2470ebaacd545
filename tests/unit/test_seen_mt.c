/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_seen_mt.c - the at-most-once window on many threads: of all that enter the same id at the same time exactly one is
 * told that it is new, and of all that would begin it exactly one may.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/perturb.h"

#include "bpf/seen.h"

#include <pthread.h>
#include <stdio.h>

#define SETS 4
#define THREADS 6
#define ROUNDS 6000
#define IDS 8 /* of a round; all of one set in the crowded case, so never more than it holds */

static struct wc_seen_set sets[SETS];
static struct wc_tables tables = { .wc_seen = sets, .wc_seen_max = SETS };
static pthread_barrier_t barrier;
static unsigned new_ones[IDS], entered[IDS], begun[IDS], contended, failures;
static bool crowded, announced; /* by the claimer; else the agents enter the ids when they begin them */

static __u32 set_of_id(unsigned id)
{
	return crowded ? 1 : id % SETS;
}

static struct wc_fingerprint print_of(unsigned round, unsigned id)
{
	return (struct wc_fingerprint){ .value = 1 + (__u64)round * IDS + id, .set = set_of_id(id) };
}

/* Enter every id of the round, each thread in an order of its own. A thread that lost its races sends again, as clients do. */
static void enter_all(unsigned self, unsigned round)
{
	for (unsigned i = 0; i < IDS; i++) {
		unsigned id = self % 2 ? (i + self) % IDS : (2 * IDS - 1 - i - self) % IDS;
		struct wc_fingerprint print = print_of(round, id);
		enum wc_seen_result result;
		__u32 entry = 0;

		while ((result = wc_seen_enter(&tables, &print, 0, &entry)) == WC_SEEN_CONTENDED)
			__atomic_fetch_add(&contended, 1, __ATOMIC_RELAXED);
		if (result == WC_SEEN_NEW) {
			__atomic_fetch_add(&new_ones[id], 1, __ATOMIC_RELAXED);
			__atomic_store_n(&entered[id], entry, __ATOMIC_RELAXED);
		}
		if (entry / WC_SEEN_WAYS != print.set)
			__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED);
	}
}

static void check_round(unsigned round)
{
	for (unsigned id = 0; id < IDS; id++) {
		struct wc_fingerprint print = print_of(round, id);
		__u32 entry = entered[id];
		int copies = 0;

		for (int way = 0; way < WC_SEEN_WAYS; way++)
			copies += WC_SEEN_FINGERPRINT(sets[set_of_id(id)].slot[way]) == print.value;
		if (new_ones[id] != (announced ? 1 : 0) || copies != 1 || begun[id] != 1 ||
		    !(wc_seen_find(&tables, &print) & WC_SEEN_STARTED) ||
		    (announced &&
		     WC_SEEN_FINGERPRINT(sets[entry / WC_SEEN_WAYS].slot[entry % WC_SEEN_WAYS]) != print.value)) {
			if (!failures)
				printf("round %u, id %u: new %u times, begun %u times, there %d times\n", round, id,
				       new_ones[id], begun[id], copies);
			failures++;
		}
		new_ones[id] = begun[id] = 0;
	}
}

/* Three threads compete for each id; one of them, as the agent of a core that was claimed at once, knows of no entry. */
static void begin_all(unsigned self, unsigned round)
{
	for (unsigned id = self % 2; id < IDS; id += 2) {
		struct wc_fingerprint print = print_of(round, id);
		__u32 entry = announced && self / 2 ? __atomic_load_n(&entered[id], __ATOMIC_RELAXED) : WC_NONE;
		enum wc_seen_result result;

		while ((result = wc_seen_begin(&tables, &print, entry)) == WC_SEEN_CONTENDED)
			__atomic_fetch_add(&contended, 1, __ATOMIC_RELAXED);
		if (result == WC_SEEN_NEW)
			__atomic_fetch_add(&begun[id], 1, __ATOMIC_RELAXED);
	}
}

static void *worker(void *argument)
{
	unsigned self = (unsigned)(uintptr_t)argument;

	for (unsigned round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(&barrier);
		if (announced)
			enter_all(self, round);
		pthread_barrier_wait(&barrier);
		begin_all(self, round);
		if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
			check_round(round);
	}
	return NULL;
}

static void run(void)
{
	pthread_t threads[THREADS];

	memset(sets, 0, sizeof(sets));
	failures = contended = 0;
	pthread_barrier_init(&barrier, NULL, THREADS);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, worker, (void *)i), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&barrier);
	printf("%u lost all their races\n", contended);
	assert_int_equal(failures, 0);
}

static void test_spread(void **state)
{
	(void)state;
	crowded = false;
	announced = true;
	run();
}

static void test_crowded(void **state)
{
	(void)state;
	crowded = announced = true;
	run();
}

/* Nobody waited, so nobody entered them: the agents do, all at once. */
static void test_unannounced(void **state)
{
	(void)state;
	announced = false;
	for (int i = 0; i < 2; i++) {
		crowded = i;
		run();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spread),
		cmocka_unit_test(test_crowded),
		cmocka_unit_test(test_unannounced),
	};

	return cmocka_run_group_tests_name("seen, many threads", tests, NULL, NULL);
}
