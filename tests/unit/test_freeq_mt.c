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

#include "tests/unit/tables_fixture.h"
#include "user/check.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <time.h>

#define SHARDS 3
#define RESERVE (WC_SHARDS_MAX + 1) /* one more queue; cores move in and out of it, too */
#define CORES_MAX 192
#define THREADS 8
#define WATCHDOG_SECONDS 60 /* generous: a slow machine is no failure */

static struct wc_tables tables;
static unsigned failures; /* assertions of cmocka belong to the main thread only */

static void make(__u32 cores)
{
	tables_open(&tables, cores, SHARDS);
	for (__u32 core = 0; core < cores; core++)
		wc_release_core(&tables, core);
}

static void check_tables(const char *when)
{
	json_t *problems = json_array();

	wc_check_tables(&tables, problems);
	if (json_array_size(problems))
		fail_msg("%s: %s", when, json_dumps(problems, JSON_INDENT(1)));
	json_decref(problems);
}

/* --- who owns what --- */

/*
 * Two ways to run it: with threads that give up the CPU between any two steps, and as fast as it goes. The latter comes to rest
 * often, because a hint that is wrong for good is a matter of the last few operations.
 */
#ifdef __SANITIZE_THREAD__
#define FAST_ROUNDS 60
#define SHORT_ROUNDS 400
#else
#define FAST_ROUNDS 600
#define SHORT_ROUNDS 4000
#endif
#define SHORT_OPERATIONS 12
#define FAST_OPERATIONS 6000 /* of a thread in a round; a claim and a release are two */
#define FAST_THREADS 4
#define SLOW_ROUNDS 40
#define SLOW_OPERATIONS 3000
#define HELD_MAX 8 /* cores that a thread has at most */

static unsigned owner[CORES_MAX]; /* thread + 1, 0 = in a queue */
static unsigned long claimed;
static unsigned operations; /* of a thread in a round */
static pthread_barrier_t at_rest;
static int rounds;

static __u32 claim_somehow(__u64 how, __u32 shard)
{
	__u32 core = (__u32)(how >> 8) % tables.wc_cores_max;

	switch (how % 8) {
	case 0:
		return wc_take_core(&tables, core) ? core : WC_NONE;
	case 1:
	case 2:
		return wc_freeq_steal(&tables, shard);
	case 3:
		return wc_freeq_claim_exact(&tables, shard, how & 0x8000 ? RESERVE : 0);
	case 4:
		return wc_freeq_claim_next(&tables, shard);
	case 5:
		return wc_freeq_claim(&tables, RESERVE);
	default:
		return wc_freeq_claim(&tables, shard);
	}
}

static void fail_if(bool wrong)
{
	if (wrong)
		__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED);
}

/* The entry is the owner's: plain accesses, which the thread sanitizer watches. */
static bool own(unsigned self, __u32 core)
{
	if (core == WC_NONE)
		return false;
	fail_if(__atomic_exchange_n(&owner[core], self, __ATOMIC_RELAXED));
	tables.wc_cores[core].claims++;
	tables.wc_cores[core].state = WC_CORE_CLAIMED;
	return true;
}

static void give_back(unsigned self, __u32 core)
{
	fail_if(__atomic_exchange_n(&owner[core], 0, __ATOMIC_RELAXED) != self);
	wc_release_core(&tables, core);
}

/* Claims and releases in any order, and the scheduler who moves cores that it does not have. Everything is given back. */
static void one_round(unsigned self, __u64 *seed)
{
	__u32 held[HELD_MAX], holding = 0;
	unsigned long count = 0;

	for (unsigned i = 0; i < operations; i++) {
		__u64 dice = random_next(seed);

		if (dice % 64 == 0)
			WC_WRITE(tables.wc_cores[(dice >> 8) % tables.wc_cores_max].home,
				 (__u16)((dice >> 32) % 8 ? (dice >> 40) % SHARDS : RESERVE));
		if (holding < HELD_MAX && (!holding || dice >> 6 & 1)) {
			held[holding] = claim_somehow(dice >> 8, (__u32)(dice >> 40) % SHARDS);
			if (!own(self, held[holding]))
				continue;
			holding++;
			count++;
		} else {
			__u32 which = (__u32)(dice >> 16) % holding;

			give_back(self, held[which]);
			held[which] = held[--holding];
		}
	}
	while (holding)
		give_back(self, held[--holding]);
	__atomic_fetch_add(&claimed, count, __ATOMIC_RELAXED);
}

/* Every core is back, in the queue that its entry names and in no other, and whoever follows the hints finds it. */
static bool sound_at_rest(void)
{
	__u64 claims = 0, bits = 0;

	for (__u32 q = 0; q < WC_QUEUES_MAX; q++) {
		struct wc_shard *shard = &tables.wc_shards[q];

		for (__u32 w = 0; w < WC_WORDS_MAX; w++) {
			bits += (__u64)__builtin_popcountll(shard->word[w]);
			if (shard->word[w] && !(shard->summary >> w & 1))
				return false;
		}
		if (shard->summary && q < WC_SHARDS_MAX && !(tables.wc_top->shards >> q & 1))
			return false;
	}
	for (__u32 core = 0; core < tables.wc_cores_max; core++) {
		struct wc_core *entry = &tables.wc_cores[core];

		if (entry->state != WC_CORE_FREE || owner[core] ||
		    !(tables.wc_shards[entry->shard].word[core / 64] >> core % 64 & 1))
			return false;
		claims += entry->claims - 1; /* the first one is tables_open()'s */
	}
	return bits == tables.wc_cores_max && claims == claimed;
}

/* What the hints lead to, by claims and steals alone: all of it, as soon as those that say too much are gone. */
static void drain(void)
{
	__u32 found = 0, core;

	for (__u32 looks = 0; looks < 8 * WC_WORDS_MAX; looks++) {
		core = wc_freeq_claim(&tables, looks % 2 ? RESERVE : 0);
		if (core == WC_NONE && looks % 2)
			core = wc_freeq_steal(&tables, 0);
		if (own(1, core))
			found++;
	}
	if (found != tables.wc_cores_max)
		fail_msg("the hints lead to %u of %u cores", found, tables.wc_cores_max);
	claimed += found;
	for (core = 0; core < tables.wc_cores_max; core++)
		give_back(1, core);
}

static void *claim_and_release(void *argument)
{
	unsigned self = (unsigned)(uintptr_t)argument + 1;
	__u64 seed = self * 0x9e3779b97f4a7c15ULL;

	for (int round = 0; round < rounds; round++) {
		one_round(self, &seed);
		if (pthread_barrier_wait(&at_rest) == PTHREAD_BARRIER_SERIAL_THREAD)
			fail_if(!sound_at_rest());
		pthread_barrier_wait(&at_rest);
	}
	return NULL;
}

static void run(__u32 cores, unsigned threads, int some_rounds, unsigned some_operations, unsigned yield_one_in)
{
	unsigned yields = perturb_one_in;
	pthread_t started[THREADS];

	make(cores);
	memset(owner, 0, sizeof(owner));
	failures = 0;
	claimed = 0;
	rounds = some_rounds;
	operations = some_operations;
	perturb_one_in = yield_one_in;
	pthread_barrier_init(&at_rest, NULL, threads);
	for (uintptr_t i = 0; i < threads; i++)
		assert_int_equal(pthread_create(&started[i], NULL, claim_and_release, (void *)i), 0);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(started[i], NULL);
	pthread_barrier_destroy(&at_rest);
	perturb_one_in = yields;
	printf("%u cores: %lu claims and as many releases\n", cores, claimed);
	assert_int_equal(failures, 0);
	assert_true(claimed > some_operations);
	check_tables("at rest");
	drain();
	check_tables("after it was drained by hints");
	assert_int_equal(failures, 0);
	tables_close(&tables);
}

static void test_perturbed(void **state)
{
	static const __u32 sizes[] = { 1, 5, CORES_MAX };

	(void)state;
	for (int i = 0; i < 3; i++)
		run(sizes[i], THREADS, SLOW_ROUNDS, SLOW_OPERATIONS, perturb_one_in);
}

/* Few operations between rests: a core that the hints have lost is found again by the next release beside it. */
static void test_rests(void **state)
{
	static const __u32 sizes[] = { 2, 5, CORES_MAX };

	(void)state;
	for (int i = 0; i < 3; i++)
		run(sizes[i], THREADS, SHORT_ROUNDS, SHORT_OPERATIONS, 4);
}

/* One core, few, one word, and several words of which each holds few cores, so that words run empty all the time. */
static void test_fast(void **state)
{
	static const __u32 sizes[] = { 1, 5, 64, CORES_MAX };

	(void)state;
	for (int i = 0; i < 4; i++)
		run(sizes[i], FAST_THREADS, FAST_ROUNDS, FAST_OPERATIONS, 1U << 20);
}

/* --- idle cores and waiting invocations --- */

/*
 * The whole decision on one side, on the other side agents as in user/agent.c and user/pending.c, in short: they take from the
 * pending queue what its limit allows, and sleep when there was nothing. Function 1 runs as often as there are cores; function
 * 2 no more than once at a time.
 */
#define CONSUMERS 3
#define PRODUCERS 3
#define FUNCTIONS 2
#define ITEMS 4 /* of a producer in a round */
#define PENDING_ROUNDS 3000
#define FUNCTION_ID(f) ((1U << WC_FUNCTION_SLOT_BITS) + 1 + (f))

struct item {
	__u32 function, how;
};

static struct mailbox {
	sem_t posted;
	int items;
	struct item item;
} mailboxes[CONSUMERS];

static pthread_mutex_t pending_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned pending_visible[FUNCTIONS][SHARDS]; /* under the lock: delivered to the pending queue */
static unsigned pending_sum;
static __u64 generation;
static sem_t round_start[PRODUCERS], done;
static bool stop;
static unsigned long served, waited, held_back;
static unsigned running[FUNCTIONS], running_most[FUNCTIONS];

static struct wc_function *function_at(__u32 f)
{
	return &tables.wc_functions[WC_FUNCTION_SLOT(FUNCTION_ID(f))];
}

static void change(void)
{
	__atomic_fetch_add(&generation, 1, __ATOMIC_SEQ_CST);
}

static void arrive(__u32 f, __u32 shard)
{
	pthread_mutex_lock(&pending_lock);
	pending_visible[f][shard]++;
	__atomic_fetch_add(&pending_sum, 1, __ATOMIC_SEQ_CST);
	change();
	WC_WRITE(tables.wc_shards[shard].pending_seen, tables.wc_shards[shard].pending_seen + 1);
	pthread_mutex_unlock(&pending_lock);
}

static void produce(__u32 f, __u32 shard, __u64 id)
{
	struct wc_decision decision = { .request = { .function_id = FUNCTION_ID(f), .cpu = 1000, .shard = shard } };

	decision.request.id.request_id = id;
	wc_decide(&tables, tables.wc_config, &decision);
	if (decision.outcome == WC_OUTCOME_to_core) {
		mailboxes[decision.core].items++; /* the owner's */
		mailboxes[decision.core].item = (struct item){ f, decision.how };
		sem_post(&mailboxes[decision.core].posted);
		return;
	}
	fail_if(decision.outcome != WC_OUTCOME_to_pending);
	if (decision.facts & WC_DECIDED_HELD)
		__atomic_fetch_add(&held_back, 1, __ATOMIC_RELAXED);
	perturb(); /* nobody is told: whoever becomes idle looks */
	arrive(f, shard);
}

static void *producer(void *argument)
{
	unsigned self = (unsigned)(uintptr_t)argument;
	__u64 id = (__u64)self << 32;

	for (;;) {
		while (sem_wait(&round_start[self]))
			;
		if (__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
			return NULL;
		for (unsigned i = 0; i < ITEMS; i++)
			produce((self + i) % FUNCTIONS, (self + i) % SHARDS, id++);
	}
}

static bool in_flight(void)
{
	for (__u32 shard = 0; shard < SHARDS; shard++)
		if (wc_pending_in_flight(&tables.wc_shards[shard]))
			return true;
	return false;
}

static bool pick(struct item *ret_item, __u64 *ret_generation)
{
	bool taken = false, counted = false;

	*ret_generation = __atomic_load_n(&generation, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&pending_sum, __ATOMIC_SEQ_CST) && !in_flight())
		return false;
	pthread_mutex_lock(&pending_lock);
	*ret_generation = __atomic_load_n(&generation, __ATOMIC_SEQ_CST);
	for (__u32 i = 0; i < FUNCTIONS * SHARDS && !taken; i++) {
		__u32 f = i % FUNCTIONS, shard = i / FUNCTIONS;

		if (!pending_visible[f][shard] || !wc_run_begin(function_at(f), &counted))
			continue;
		pending_visible[f][shard]--;
		__atomic_fetch_add(&pending_sum, -1U, __ATOMIC_SEQ_CST);
		wc_fetch_add(&function_at(f)->waiting, -1U);
		WC_WRITE(tables.wc_shards[shard].pending_out, tables.wc_shards[shard].pending_out + 1);
		*ret_item = (struct item){ f, counted ? WC_HOW_COUNTED : 0 };
		taken = true;
	}
	pthread_mutex_unlock(&pending_lock);
	return taken;
}

static void serve(const struct item *item, unsigned long *counter)
{
	unsigned most = __atomic_add_fetch(&running[item->function], 1, __ATOMIC_SEQ_CST);

	if (most > __atomic_load_n(&running_most[item->function], __ATOMIC_RELAXED))
		__atomic_store_n(&running_most[item->function], most, __ATOMIC_RELAXED);
	perturb();
	fail_if(!(item->how & WC_HOW_COUNTED) != !function_at(item->function)->running_max);
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&running[item->function], -1U, __ATOMIC_SEQ_CST);
	if (item->how & WC_HOW_COUNTED) {
		wc_run_end(function_at(item->function));
		if (WC_READ(function_at(item->function)->waiting))
			change();
	}
	sem_post(&done);
}

/* A core agent: asleep until its core is claimed; before it sleeps again it serves what waits and may run. */
static void *consumer(void *argument)
{
	__u32 self = (__u32)(uintptr_t)argument;
	struct item item;
	__u64 seen;

	for (;;) {
		while (sem_wait(&mailboxes[self].posted))
			;
		if (__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
			return NULL;
		fail_if(mailboxes[self].items-- != 1);
		item = mailboxes[self].item;
		serve(&item, &served);
		for (;;) {
			while (pick(&item, &seen))
				serve(&item, &waited);
			wc_release_core(&tables, self);
			if ((!in_flight() && __atomic_load_n(&generation, __ATOMIC_SEQ_CST) == seen) ||
			    !wc_take_core(&tables, self))
				break;			/* nothing new, or someone has claimed us and will post */
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

static void start_both(pthread_t *producers, pthread_t *consumers)
{
	sem_init(&done, 0, 0);
	for (uintptr_t i = 0; i < CONSUMERS; i++) {
		sem_init(&mailboxes[i].posted, 0, 0);
		assert_int_equal(pthread_create(&consumers[i], NULL, consumer, (void *)i), 0);
	}
	for (uintptr_t i = 0; i < PRODUCERS; i++) {
		sem_init(&round_start[i], 0, 0);
		assert_int_equal(pthread_create(&producers[i], NULL, producer, (void *)i), 0);
	}
}

static void stop_both(const pthread_t *producers, const pthread_t *consumers)
{
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	for (int i = 0; i < PRODUCERS; i++) {
		sem_post(&round_start[i]);
		pthread_join(producers[i], NULL);
	}
	for (int i = 0; i < CONSUMERS; i++) {
		sem_post(&mailboxes[i].posted);
		pthread_join(consumers[i], NULL);
	}
}

static void test_pending(void **state)
{
	pthread_t producers[PRODUCERS], consumers[CONSUMERS];

	(void)state;
	make(CONSUMERS);
	tables.wc_config->pending_max = 64;
	for (__u32 f = 0; f < FUNCTIONS; f++)
		function_at(f)->id = FUNCTION_ID(f);
	function_at(1)->running_max = 1;
	failures = 0;
	start_both(producers, consumers);
	/* Each round ends when everything is served: a lost wake-up has nothing later that would hide it. */
	for (int round = 0; round < PENDING_ROUNDS; round++) {
		for (int i = 0; i < PRODUCERS; i++)
			sem_post(&round_start[i]);
		if (!wait_for(PRODUCERS * ITEMS))
			fail_msg(
				"round %d: an invocation waits and nobody comes; pending %llu %llu %llu, running %u of 1, "
				"served %lu + %lu",
				round, (unsigned long long)wc_pending_count(&tables.wc_shards[0]),
				(unsigned long long)wc_pending_count(&tables.wc_shards[1]),
				(unsigned long long)wc_pending_count(&tables.wc_shards[2]), function_at(1)->running,
				served, waited);
	}
	stop_both(producers, consumers);
	assert_int_equal(failures, 0);
	assert_int_equal(served + waited, (unsigned long)PENDING_ROUNDS * PRODUCERS * ITEMS);
	assert_true(served && waited && held_back); /* all ways were taken */
	assert_int_equal(running_most[1], 1);
	assert_in_range(running_most[0], 1, CONSUMERS);
	assert_int_equal(pending_sum, 0);
	for (__u32 f = 0; f < FUNCTIONS; f++)
		assert_true(!function_at(f)->waiting && !function_at(f)->running);
	check_tables("at the end");
	printf("%lu given to a core, %lu waited, %lu of them for their function\n", served, waited, held_back);
	tables_close(&tables);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_perturbed),
		cmocka_unit_test(test_rests),
		cmocka_unit_test(test_fast),
		cmocka_unit_test(test_pending),
	};

	return cmocka_run_group_tests_name("freeq, many threads", tests, NULL, NULL);
}
