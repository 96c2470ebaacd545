// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_decide_words.c - the decision on a node whose cores fill more than one word of three shards: the order of the ring, the
 * last look in every word, and hints and ids at the edges of their tables. test_decide.c has the steps one by one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/decide_fixture.h"

#define CORES 70
#define SHARDS 3

static int setup(void **state)
{
	(void)state;
	node_open(CORES, SHARDS);
	memset(config->cpu_core, 0, sizeof(config->cpu_core));
	request.cpu = 5;
	request.shard = 1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	node_close();
	return 0;
}

static void expect(__u32 core, __u32 how)
{
	expect_core(core, how);
	check_sound();
}

/* The own shard from its lowest to its highest core, then the ring: shard 2, then shard 0. */
static void test_ring(void **state)
{
	(void)state;
	for (__u32 core = 1; core < CORES; core += SHARDS)
		expect(core, 0);
	for (__u32 core = 2; core < CORES; core += SHARDS)
		expect(core, WC_HOW_STOLEN);
	for (__u32 core = 0; core < CORES; core += SHARDS)
		expect(core, WC_HOW_STOLEN);
	assert_int_equal(counters.claim_stolen, 47);
	assert_int_equal(counters.claim_late, 0);
	assert_int_equal(decide(), WC_OUTCOME_to_pending);
}

/* One shard has nobody to steal from; the other cores are another function's. */
static void test_single_shard(void **state)
{
	(void)state;
	config->shard_count = 1;
	for (__u32 core = 0; core < CORES; core++)
		if (core % SHARDS)
			move_home(core, WC_SHARDS_MAX + 1);
	request.shard = 0;
	for (__u32 core = 0; core < CORES; core += SHARDS)
		expect(core, 0);
	assert_int_equal(decide(), WC_OUTCOME_to_pending);
	check_sound();
}

/* Only one core is free and the summary hides it, in any word of any shard: the exact look finds it, nothing waits. */
static void test_late_everywhere(void **state)
{
	for (__u32 core = 0; core < CORES; core++) {
		teardown(state);
		setup(state);
		take_all_but(core);
		tables.wc_shards[core % SHARDS].summary = 0;
		expect(core, core % SHARDS == 1 ? 0 : WC_HOW_STOLEN);
		assert_int_equal(counters.claim_late, 1);
		assert_int_equal(tables.wc_shards[1].pending_in, 0);
	}
}

/* BUSY is no execution: its id is forgotten each time, and only its own shard is full. */
static void test_busy(void **state)
{
	(void)state;
	take_all_but(WC_NONE);
	for (__u32 i = 0; i < config->pending_max; i++)
		assert_int_equal(decide(), WC_OUTCOME_to_pending);
	request.id.request_id++;
	for (int i = 0; i < 20; i++) {
		assert_int_equal(decide_same(), WC_OUTCOME_busy_pending);
		assert_true(seen_slot() == 0);
		assert_int_equal(wc_pending_count(&tables.wc_shards[1]), config->pending_max);
	}
	request.shard = 2;
	assert_int_equal(decide_same(), WC_OUTCOME_to_pending);
	assert_true(seen_slot() != 0);
	assert_int_equal(decide_same(), WC_OUTCOME_pass_retransmit); /* one that waits is remembered */
	assert_int_equal(wc_pending_count(&tables.wc_shards[2]), 1);
	check_sound();
}

/* What hints may say, being hints. */
static void test_hints(void **state)
{
	(void)state;
	config->cpu_core[5] = CORES + 1;
	function->warm[0] = UINT16_MAX;
	function->warm[1] = CORES + 1;
	function->warm[2] = CORES;
	expect(CORES - 1, WC_HOW_WARM | WC_HOW_STOLEN);
	expect(1, 0);
	config->cpu_core[5] = 0; /* no worker core there: does not match the empty places of the list */
	function->warm[0] = 0;
	expect(4, 0);
	config->cpu_core[WC_CPUS_MAX - 1] = 50;
	request.cpu = WC_CPUS_MAX - 1;
	expect(49, WC_HOW_LOCAL);
	config->cpu_core[0] = 62;
	request.cpu = WC_CPUS_MAX;
	expect(7, 0);
	request.cpu = UINT32_MAX;
	expect(10, 0);
	assert_int_equal(counters.claim_local, 1);
}

/* A hint beyond the largest table must not end up at the core whose bit it would share. */
static void test_hints_beyond(void **state)
{
	(void)state;
	for (__u32 prefer = 0; prefer < WC_PREFER_COUNT; prefer++) {
		node_close();
		node_open(WC_CORES_MAX, 1);
		config->prefer = prefer;
		function->warm[0] = WC_CORES_MAX + 1;
		function->warm[1] = UINT16_MAX;
		expect(0, 0);
		function->warm[0] = UINT16_MAX;
		function->warm[1] = 0;
		expect(1, 0);
	}
}

static void test_function_ids(void **state)
{
	(void)state;
	request.function_id = 0; /* nobody's, although the empty slot 0 says so */
	assert_int_equal(decide(), WC_OUTCOME_error_unknown);
	assert_true(seen_slot() == 0);
	request.function_id = tables.wc_functions[0].id = 5 << WC_FUNCTION_SLOT_BITS; /* slot 0 is like others */
	expect(1, 0);
	request.function_id = tables.wc_functions[WC_FUNCTIONS_MAX - 1].id = UINT32_MAX;
	expect(4, 0);
	tables.wc_functions[WC_FUNCTIONS_MAX - 1].id = 0; /* removed between two packets */
	assert_int_equal(decide(), WC_OUTCOME_error_unknown);
	check_sound();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_ring),  TEST(test_single_shard), TEST(test_late_everywhere), TEST(test_busy),
		TEST(test_hints), TEST(test_hints_beyond), TEST(test_function_ids),
	};

	return cmocka_run_group_tests_name("decide, more than one word", tests, NULL, NULL);
}
