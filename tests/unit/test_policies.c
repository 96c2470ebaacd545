/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_policies.c - each policy by itself: how it binds, what it chooses, and how chance is distributed; and the accounts of
 * early binding. What `central` chooses is in test_central.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/decide_fixture.h"

#define CORES 8
#define DRAWS 40000

static int setup(void **state)
{
	(void)state;
	node_open(CORES, 2);
	config->pending_max = 100000;
	config->core_queue_max = 100000;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	node_close();
	return 0;
}

static void reopen(__u32 cores)
{
	__u32 policy = config->policy;

	node_close();
	node_open(cores, 1);
	config->policy = policy;
}

/* What the policy chooses now, with nothing bound. */
static struct wc_choice choose(void)
{
	struct wc_choice choice = { .function_id = request.function_id,
				    .policy = tables.wc_config->policy,
				    .slot = WC_FUNCTION_SLOT(request.function_id),
				    .cpu = request.cpu,
				    .shard = request.shard,
				    .core = WC_NONE };

	wc_choose(&tables, &choice);
	return choice;
}

static void load(__u32 core, __u32 queued)
{
	tables.wc_cores[core].queued = queued;
}

static void test_binding(void **state)
{
	static const struct {
		enum wc_policy policy;
		enum wc_binding binding;
		enum wc_service service;
	} rows[] = {
		{ WC_POLICY_central, WC_BIND_LATE, WC_SERVE_RUN }, { WC_POLICY_ll_ps, WC_BIND_EARLY, WC_SERVE_SHARE },
		{ WC_POLICY_jsq2, WC_BIND_EARLY, WC_SERVE_RUN },   { WC_POLICY_random, WC_BIND_EARLY, WC_SERVE_RUN },
		{ WC_POLICY_hash, WC_BIND_EARLY, WC_SERVE_RUN },   { WC_POLICY_rss, WC_BIND_EARLY, WC_SERVE_RUN },
		{ WC_POLICY_pack, WC_BIND_EARLY, WC_SERVE_SHARE },
	};

	(void)state;
	assert_int_equal(sizeof(rows) / sizeof(rows[0]), WC_POLICY_COUNT);
	for (__u32 i = 0; i < WC_POLICY_COUNT; i++) {
		assert_int_equal(rows[i].policy, i);
		assert_int_equal(wc_policy_binding(i), rows[i].binding);
		assert_int_equal(wc_policy_service(i), rows[i].service);
	}
	assert_int_equal(wc_policy_binding(WC_POLICY_COUNT), WC_BIND_LATE);
	assert_int_equal(wc_policy_service(UINT32_MAX), WC_SERVE_RUN);
}

/* Draws, over all policies that roll dice: how often each core was chosen. */
static void draw(__u32 counts[CORES])
{
	memset(counts, 0, CORES * sizeof(*counts));
	for (int i = 0; i < DRAWS; i++) {
		struct wc_choice choice = choose();

		assert_true(choice.core < CORES);
		assert_int_equal(choice.how, 0);
		counts[choice.core]++;
	}
}

static void expect_share(__u32 count, double share)
{
	double expected = DRAWS * share;

	/* 6 standard deviations of a binomial distribution, at most */
	if (count < expected - 600 || count > expected + 600)
		fail_msg("%u of %d instead of %.0f", count, DRAWS, expected);
}

static void test_random(void **state)
{
	__u32 counts[CORES];

	(void)state;
	config->policy = WC_POLICY_random;
	load(3, 1000); /* it does not look */
	draw(counts);
	for (int core = 0; core < CORES; core++)
		expect_share(counts[core], 1.0 / CORES);
}

/* Of two at random the shorter queue: the longest gets only those where it was drawn twice, the next one three times as many. */
static void test_jsq2(void **state)
{
	__u32 counts[CORES];

	(void)state;
	config->policy = WC_POLICY_jsq2;
	draw(counts);
	for (int core = 0; core < CORES; core++)
		expect_share(counts[core], 1.0 / CORES);
	for (__u32 core = 0; core < CORES; core++)
		load(core, core);
	draw(counts);
	for (int core = 0; core < CORES; core++)
		expect_share(counts[core], (2.0 * (CORES - 1 - core) + 1) / (CORES * CORES));
}

/* A function has one core for ever, whoever asks, however busy it is; functions are spread over all cores. */
static void test_hash(void **state)
{
	__u32 counts[CORES] = { 0 };

	(void)state;
	config->policy = WC_POLICY_hash;
	for (__u32 i = 0; i < DRAWS; i++) {
		__u32 core;

		request.function_id = (i / (WC_FUNCTIONS_MAX - 1) + 1) << WC_FUNCTION_SLOT_BITS |
				      (i % (WC_FUNCTIONS_MAX - 1) + 1);
		request.cpu = request.shard = 0;
		core = choose().core;
		assert_true(core < CORES);
		counts[core]++;
		request.cpu = CPU + i % CORES;
		request.shard = 1;
		load(core, 1000);
		assert_int_equal(choose().core, core);
		assert_int_equal(choose().how, 0);
		load(core, 0);
	}
	for (int core = 0; core < CORES; core++)
		expect_share(counts[core], 1.0 / CORES);
}

static void test_rss(void **state)
{
	(void)state;
	config->policy = WC_POLICY_rss;
	for (__u32 core = 0; core < CORES; core++) {
		request.cpu = CPU + core;
		load(core, 1000);
		assert_int_equal(choose().core, core);
		assert_int_equal(choose().how, WC_HOW_LOCAL);
	}
	request.cpu = CPU + CORES; /* a CPU without a worker core, by its number */
	assert_int_equal(choose().core, (CPU + CORES) % CORES);
	assert_int_equal(choose().how, 0);
	request.cpu = WC_CPUS_MAX + 5;
	assert_int_equal(choose().core, (WC_CPUS_MAX + 5) % CORES);
	request.cpu = UINT32_MAX;
	assert_int_equal(choose().core, CORES - 1);
}

/* The least loaded of up to 64 cores, always; all of the equal ones come up. */
static void test_ll_ps(void **state)
{
	static const __u32 sizes[] = { 1, 2, 63, 64 };

	(void)state;
	config->policy = WC_POLICY_ll_ps;
	for (int i = 0; i < 4; i++) {
		reopen(sizes[i]);
		for (__u32 least = 0; least < sizes[i]; least++) {
			for (__u32 core = 0; core < sizes[i]; core++)
				load(core, core == least ? 4 : 5 + core % 3);
			for (int round = 0; round < 10; round++)
				assert_int_equal(choose().core, least);
		}
	}
	/* 65 cores: the one that no look reaches from where it began */
	reopen(65);
	for (__u32 core = 0; core < 65; core++)
		load(core, core == 7 ? 0 : 9);
	for (int round = 0, other = 0; round < 20000; round++) {
		other += choose().core != 7;
		if (round == 19999)
			assert_in_range(other, 1, 1000);
	}
	reopen(CORES);
	for (__u32 core = 0, seen = 0; core < 1000; core++) {
		seen |= 1U << choose().core;
		if (core == 999)
			assert_int_equal(seen, 0xff);
	}
}

/* Among equally loaded ones the warm one that was used last; never one that is worse. */
static void test_ll_ps_warm(void **state)
{
	(void)state;
	config->policy = WC_POLICY_ll_ps;
	for (__u32 core = 0; core < CORES; core++)
		load(core, 3);
	function->warm[0] = 5 + 1;
	function->warm[1] = 2 + 1;
	function->warm[2] = 6 + 1;
	assert_int_equal(choose().core, 5);
	assert_int_equal(choose().how, WC_HOW_WARM);
	load(5, 4);
	assert_int_equal(choose().core, 2);
	load(2, 4);
	load(6, 4);
	for (int round = 0; round < 100; round++) {
		struct wc_choice choice = choose();

		assert_int_equal(choice.how, 0);
		assert_int_equal(tables.wc_cores[choice.core].queued, 3);
	}
	load(1, 0);
	assert_int_equal(choose().core, 1);
	function->warm[3] = 1 + 1;
	assert_int_equal(choose().how, WC_HOW_WARM);
	function->warm[0] = UINT16_MAX; /* a hint beyond the table does no harm */
	assert_int_equal(choose().core, 1);
	function->warm[2] = 0; /* nothing counts after a gap */
	assert_int_equal(choose().how, 0);
}

/* pack_slots for each core, from the lowest on; then the least full. */
static void test_pack(void **state)
{
	(void)state;
	config->policy = WC_POLICY_pack;
	config->pack_slots = 3;
	for (__u32 i = 0; i < 3 * CORES; i++) {
		assert_int_equal(decide(), WC_OUTCOME_to_core);
		assert_int_equal(decision.core, i / 3);
		assert_int_equal(decision.how, WC_HOW_EARLY | (i % 3 || i / 3 % 2 == 0 ? 0 : WC_HOW_STOLEN));
	}
	for (__u32 i = 0; i < CORES; i++) { /* all are full: evenly from here on */
		assert_int_equal(decide(), WC_OUTCOME_to_core);
		assert_int_equal(tables.wc_cores[decision.core].queued, 4);
	}
	load(5, 2);
	assert_int_equal(choose().core, 5); /* the lowest that has a slot */
	load(2, 2);
	assert_int_equal(choose().core, 2);
	config->pack_slots = 1;
	assert_int_equal(tables.wc_cores[choose().core].queued, 2);
}

/* More cores than it looks at in a row: the others are found by chance, not before the first 64 are full. */
static void test_pack_many(void **state)
{
	__u32 beyond = 0;

	(void)state;
	config->policy = WC_POLICY_pack;
	reopen(200);
	config->pack_slots = 2;
	for (__u32 core = 0; core < 64; core++)
		load(core, 2);
	load(63, 1);
	assert_int_equal(choose().core, 63);
	load(63, 2);
	for (int round = 0; round < 1000; round++) {
		struct wc_choice choice = choose();

		assert_true(choice.core < 200);
		beyond += choice.core >= 64;
	}
	assert_in_range(beyond, 960, 1000); /* any 64 of 200 in a row have one beyond the first 64, but for those */
}

/* A node without cores has none to offer; nothing divides by their number. */
static void test_no_cores(void **state)
{
	(void)state;
	config->core_count = 0;
	tables.wc_cores_max = 0;
	for (config->policy = 1; config->policy < WC_POLICY_COUNT; config->policy++) {
		request.cpu = 0;
		assert_int_equal(decide(), WC_OUTCOME_busy_pending);
		assert_int_equal(decision.core, WC_NONE);
		assert_true(tables.wc_shards[0].early_in == 0);
	}
	tables.wc_cores_max = CORES;
}

/* --- accounts of early binding --- */

static void expect_accounts(__u32 core, __u32 queued, __u64 early)
{
	assert_int_equal(tables.wc_cores[core].queued, queued);
	assert_int_equal(wc_early_count(&tables.wc_shards[request.shard]), early);
	check_sound();
}

static void test_early(void **state)
{
	(void)state;
	config->policy = WC_POLICY_rss;
	request.cpu = CPU + 4;
	assert_int_equal(decide(), WC_OUTCOME_to_core); /* it was free: ours, and to be woken */
	assert_int_equal(decision.core, 4);
	assert_int_equal(decision.how, WC_HOW_LOCAL | WC_HOW_EARLY);
	assert_int_equal(decision.facts, WC_DECIDED_OWNED);
	assert_int_equal(decision.seen, WC_NONE);
	assert_int_equal(tables.wc_cores[4].state, WC_CORE_CLAIMED);
	expect_accounts(4, 1, 1);
	assert_int_equal(decide(), WC_OUTCOME_to_core); /* it is busy: queued behind */
	assert_int_equal(decision.facts, 0);
	assert_int_equal(tables.wc_cores[4].claims - tables.wc_cores[4].releases, 1);
	assert_int_equal(tables.wc_cores[4].bound, 2);
	expect_accounts(4, 2, 2);
	assert_int_equal(counters.claim_early, 1);
	assert_int_equal(counters.claim_local, 1);
	assert_int_equal(counters.to_core, 2);
	request.shard = 1;
	assert_int_equal(decide(), WC_OUTCOME_to_core); /* by way of another shard, but the same core */
	expect_accounts(4, 3, 1);
	assert_true(seen_slot() == 0);
	assert_int_equal(tables.wc_shards[1].pending_in, 0);
}

/* Full at the core, or at the shard whose frames they hold; refused without a trace. */
static void test_early_full(void **state)
{
	struct wc_core before;

	(void)state;
	config->policy = WC_POLICY_rss;
	config->core_queue_max = 3;
	request.cpu = CPU + 4;
	for (int i = 0; i < 3; i++)
		assert_int_equal(decide(), WC_OUTCOME_to_core);
	before = tables.wc_cores[4];
	assert_int_equal(decide(), WC_OUTCOME_busy_pending);
	assert_int_equal(decision.core, WC_NONE);
	assert_int_equal(decision.how, 0);
	assert_memory_equal(&tables.wc_cores[4], &before, sizeof(before));
	expect_accounts(4, 3, 3);
	request.cpu = CPU + 2; /* another core has room */
	config->pending_max = 4;
	assert_int_equal(decide(), WC_OUTCOME_to_core);
	assert_int_equal(decide(), WC_OUTCOME_busy_pending); /* but the shard has none */
	expect_accounts(2, 1, 4);
	tables.wc_shards[0].pending_in = 2; /* invocations that wait from before the policy changed count, too */
	tables.wc_shards[0].early_out = 2;
	function->waiting = 2;
	config->core_queue_max = 10;
	config->policy = WC_POLICY_central;
	take_all_but(WC_NONE);
	config->policy = WC_POLICY_rss;
	assert_int_equal(decide(), WC_OUTCOME_busy_pending);
	request.shard = 1;
	assert_int_equal(decide(), WC_OUTCOME_to_core);
	expect_accounts(2, 2, 1);
}

/* The function's limit holds with every policy; there is no pending queue to hold it back in. */
static void test_early_limit(void **state)
{
	(void)state;
	function->running_max = 2;
	for (config->policy = 1; config->policy < WC_POLICY_COUNT; config->policy++) {
		for (int i = 0; i < 2; i++) {
			assert_int_equal(decide(), WC_OUTCOME_to_core);
			assert_true(decision.how & WC_HOW_COUNTED && decision.how & WC_HOW_EARLY);
		}
		assert_int_equal(decide(), WC_OUTCOME_busy_function);
		assert_int_equal(decision.core, WC_NONE);
		assert_int_equal(decision.how, 0);
		assert_int_equal(function->running, 2);
		assert_true(tables.wc_shards[0].pending_in == 0 && function->waiting == 0);
		function->running = 0;
	}
	config->policy = WC_POLICY_rss;
	config->core_queue_max = 1;
	request.cpu = CPU;
	load(0, 1);
	assert_int_equal(decide(), WC_OUTCOME_busy_pending); /* no room: what was counted is given back */
	assert_int_equal(function->running, 0);
}

static void test_early_undo(void **state)
{
	(void)state;
	function->running_max = 5;
	for (config->policy = 1; config->policy < WC_POLICY_COUNT; config->policy++) {
		for (int i = 0; i < 50; i++) {
			assert_int_equal(decide(), WC_OUTCOME_to_core);
			assert_true(decision.facts & WC_DECIDED_OWNED);
			wc_undo(&tables, &decision);
			assert_int_equal(function->running, 0);
			assert_int_equal(tables.wc_cores[decision.core].state, WC_CORE_FREE);
			expect_accounts(decision.core, 0, 0);
		}
	}
	config->policy = WC_POLICY_hash;
	take_all_but(WC_NONE);
	assert_int_equal(decide(), WC_OUTCOME_to_core);
	assert_int_equal(decision.facts, 0);
	wc_undo(&tables, &decision); /* the core was never ours, so it stays whose it is */
	assert_int_equal(tables.wc_cores[decision.core].state, WC_CORE_RUNNING);
	assert_int_equal(function->running, 0);
	expect_accounts(decision.core, 0, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_binding),	TEST(test_random),     TEST(test_jsq2),	      TEST(test_hash),
		TEST(test_rss),		TEST(test_ll_ps),      TEST(test_ll_ps_warm), TEST(test_pack),
		TEST(test_pack_many),	TEST(test_no_cores),   TEST(test_early),      TEST(test_early_full),
		TEST(test_early_limit), TEST(test_early_undo),
	};

	return cmocka_run_group_tests_name("policies", tests, NULL, NULL);
}
