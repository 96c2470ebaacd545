/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_freeq_mt.c - the free-core queue on many threads: no core is ever given twice, none is lost, and an invocation that
 * waits and a core that sleeps never coexist (the protocol at the top of freeq.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/perturb.h"

#include "bpf/decide.h"
#include "user/check.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <time.h>

#define SHARDS 3
#define CORES_MAX 192
#define THREADS 8
#define WATCHDOG_SECONDS 60 /* generous: a slow machine is no failure */

static struct wc_tables tables;
static unsigned failures; /* assertions of cmocka belong to the main thread only */

static void make(__u32 cores)
{
	tables.wc_shards = calloc(SHARDS, sizeof(*tables.wc_shards));
	tables.wc_cores = calloc(cores, sizeof(*tables.wc_cores));
	assert_true(tables.wc_shards && tables.wc_cores);
	tables.wc_shards_max = SHARDS;
	tables.wc_cores_max = cores;
	for (__u32 core = 0; core < cores; core++) {
		tables.wc_cores[core].shard = (__u16)(core % SHARDS);
		tables.wc_cores[core].state = WC_CORE_FREE;
		wc_freeq_put(&tables.wc_shards[core % SHARDS], core);
	}
}

static int teardown(void **state)
{
	(void)state;
	free(tables.wc_shards);
	free(tables.wc_cores);
	return 0;
}

static void check_tables(const char *when)
{
	json_t *problems = json_array();

	wc_check_tables(&tables, problems);
	if (json_array_size(problems))
		fail_msg("%s: %s", when, json_dumps(problems, JSON_INDENT(1)));
	json_decref(problems);
}

static void start_all(void *(*body)(void *), pthread_t threads[THREADS])
{
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, body, (void *)i), 0);
}

static void join_all(pthread_t threads[THREADS])
{
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

/* --- who owns what --- */

#define ROUNDS 40
#define OPERATIONS 1500 /* of a thread in a round */

static unsigned owner[CORES_MAX]; /* thread + 1, 0 = in a queue */
static unsigned long successes;

static __u32 claim_somehow(unsigned how, __u32 shard)
{
	__u32 core = how % tables.wc_cores_max;

	switch (how % 5) {
	case 0:
		return wc_take_core(&tables, core) ? core : WC_NONE;
	case 1:
		return wc_freeq_steal(&tables, shard, SHARDS);
	case 2:
		return wc_freeq_claim_exact(&tables, shard, SHARDS, tables.wc_cores_max);
	default:
		return wc_freeq_claim(&tables, shard);
	}
}

static void *claim_and_release(void *argument)
{
	unsigned self = (unsigned)(uintptr_t)argument + 1, seed = self * 7919;
	unsigned long count = 0;

	for (int i = 0; i < OPERATIONS; i++) {
		__u32 core, held[2];
		int holding = 0;

		for (int want = 0; want < 2; want++) {
			seed = seed * 1664525 + 1013904223;
			core = claim_somehow(seed >> 8, (seed >> 16) % SHARDS);
			if (core == WC_NONE)
				continue;
			if (__atomic_exchange_n(&owner[core], self, __ATOMIC_RELAXED))
				__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED);
			/* The entry is the owner's: plain accesses, which the thread sanitizer watches. */
			tables.wc_cores[core].claims++;
			tables.wc_cores[core].state = WC_CORE_CLAIMED;
			held[holding++] = core;
			count++;
		}
		while (holding) {
			core = held[--holding];
			if (__atomic_exchange_n(&owner[core], 0, __ATOMIC_RELAXED) != self)
				__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED);
			wc_release_core(&tables, core);
		}
	}
	__atomic_fetch_add(&successes, count, __ATOMIC_RELAXED);
	return NULL;
}

static void own(__u32 cores)
{
	pthread_t threads[THREADS];

	make(cores);
	memset(owner, 0, sizeof(owner));
	failures = 0;
	successes = 0;
	for (int round = 0; round < ROUNDS; round++) {
		__u64 claims = 0;

		start_all(claim_and_release, threads);
		join_all(threads);
		assert_int_equal(failures, 0);
		check_tables("at rest");
		for (__u32 core = 0; core < cores; core++) {
			assert_int_equal(owner[core], 0);
			assert_int_equal(tables.wc_cores[core].state, WC_CORE_FREE);
			claims += tables.wc_cores[core].claims;
		}
		assert_int_equal(claims, successes);
	}
	assert_true(successes > OPERATIONS);
}

static void test_one_core(void **state)
{
	(void)state;
	own(1);
}

static void test_few_cores(void **state)
{
	(void)state;
	own(5);
}

static void test_many_cores(void **state)
{
	(void)state;
	own(CORES_MAX);
}

/* --- idle cores and waiting invocations --- */

#define CONSUMERS 3
#define PRODUCERS 3
#define ITEMS 4 /* of a producer in a round */

static struct mailbox {
	sem_t posted;
	int items;
} mailboxes[CONSUMERS];

static pthread_mutex_t pending_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned pending_visible[SHARDS]; /* under the lock: delivered to the pending queue */
static sem_t round_start[PRODUCERS], done;
static bool stop;
static unsigned long served, waited;

static void produce(__u32 shard)
{
	__u32 core = wc_freeq_claim(&tables, shard);

	if (core == WC_NONE)
		core = wc_freeq_steal(&tables, shard, SHARDS);
	if (core == WC_NONE) {
		wc_fetch_add(&tables.wc_shards[shard].pending_in, 1);
		core = wc_freeq_claim_exact(&tables, shard, SHARDS, CONSUMERS);
		if (core == WC_NONE) { /* nobody is told: whoever becomes idle looks */
			perturb();
			pthread_mutex_lock(&pending_lock);
			pending_visible[shard]++;
			pthread_mutex_unlock(&pending_lock);
			return;
		}
		wc_fetch_add(&tables.wc_shards[shard].pending_in, -1ULL);
	}
	tables.wc_cores[core].claims++;
	mailboxes[core].items++; /* the owner's */
	sem_post(&mailboxes[core].posted);
}

static void *producer(void *argument)
{
	unsigned self = (unsigned)(uintptr_t)argument;

	for (;;) {
		while (sem_wait(&round_start[self]))
			;
		if (__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
			return NULL;
		for (int i = 0; i < ITEMS; i++)
			produce((self + (unsigned)i) % SHARDS);
	}
}

static bool something_pending(void)
{
	for (__u32 shard = 0; shard < SHARDS; shard++)
		if (wc_pending_count(&tables.wc_shards[shard]))
			return true;
	return false;
}

static bool take_pending(void)
{
	bool taken = false;

	pthread_mutex_lock(&pending_lock);
	for (__u32 shard = 0; shard < SHARDS && !taken; shard++) {
		if (!pending_visible[shard])
			continue;
		pending_visible[shard]--;
		WC_WRITE(tables.wc_shards[shard].pending_out, tables.wc_shards[shard].pending_out + 1);
		taken = true;
	}
	pthread_mutex_unlock(&pending_lock);
	return taken;
}

static void serve(unsigned long *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
	sem_post(&done);
}

/* A core agent: asleep until its core is claimed; before it sleeps again it serves what waits. */
static void *consumer(void *argument)
{
	__u32 self = (__u32)(uintptr_t)argument;

	for (;;) {
		while (sem_wait(&mailboxes[self].posted))
			;
		if (__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
			return NULL;
		if (mailboxes[self].items-- != 1)
			__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED);
		serve(&served);
		for (;;) {
			while (take_pending())
				serve(&waited);
			wc_release_core(&tables, self);
			if (!something_pending() || !wc_take_core(&tables, self))
				break;			/* nothing waits, or someone has claimed us and will post */
			tables.wc_cores[self].claims++; /* announced, perhaps not delivered yet */
			sched_yield();
		}
	}
}

static bool wait_for(unsigned long count)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WATCHDOG_SECONDS;
	while (count--) {
		int ret;

		do
			ret = sem_timedwait(&done, &until);
		while (ret && errno == EINTR);
		if (ret)
			return false;
	}
	return true;
}

static void test_pending(void **state)
{
	pthread_t producers[PRODUCERS], consumers[CONSUMERS];
	int rounds = 4000;

	(void)state;
	make(CONSUMERS);
	failures = 0;
	sem_init(&done, 0, 0);
	for (uintptr_t i = 0; i < CONSUMERS; i++) {
		sem_init(&mailboxes[i].posted, 0, 0);
		assert_int_equal(pthread_create(&consumers[i], NULL, consumer, (void *)i), 0);
	}
	for (uintptr_t i = 0; i < PRODUCERS; i++) {
		sem_init(&round_start[i], 0, 0);
		assert_int_equal(pthread_create(&producers[i], NULL, producer, (void *)i), 0);
	}
	/* Each round ends when everything is served: a lost wake-up has nothing later that would hide it. */
	for (int round = 0; round < rounds; round++) {
		for (int i = 0; i < PRODUCERS; i++)
			sem_post(&round_start[i]);
		if (!wait_for(PRODUCERS * ITEMS))
			fail_msg(
				"round %d: an invocation waits and nobody comes; pending %llu %llu %llu, served %lu + %lu",
				round, (unsigned long long)wc_pending_count(&tables.wc_shards[0]),
				(unsigned long long)wc_pending_count(&tables.wc_shards[1]),
				(unsigned long long)wc_pending_count(&tables.wc_shards[2]), served, waited);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	for (int i = 0; i < PRODUCERS; i++) {
		sem_post(&round_start[i]);
		pthread_join(producers[i], NULL);
	}
	for (int i = 0; i < CONSUMERS; i++) {
		sem_post(&mailboxes[i].posted);
		pthread_join(consumers[i], NULL);
	}
	assert_int_equal(failures, 0);
	assert_int_equal(served + waited, (unsigned long)rounds * PRODUCERS * ITEMS);
	assert_true(served && waited); /* both ways were taken */
	for (__u32 shard = 0; shard < SHARDS; shard++)
		assert_int_equal(pending_visible[shard], 0);
	printf("%lu given to a core, %lu waited\n", served, waited);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_one_core, teardown),
		cmocka_unit_test_teardown(test_few_cores, teardown),
		cmocka_unit_test_teardown(test_many_cores, teardown),
		cmocka_unit_test_teardown(test_pending, teardown),
	};

	return cmocka_run_group_tests_name("freeq, many threads", tests, NULL, NULL);
}
