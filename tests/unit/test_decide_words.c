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

#include "tests/unit/tables_fixture.h"
#include "user/check.h"

#define FUNCTION 0x2003
#define CORES 70
#define SHARDS 3

static struct wc_tables tables;
static struct wc_counters counters;
static struct wc_request request;
static struct wc_decision decision;

static int setup(void **state)
{
	(void)state;
	tables_open(&tables, CORES, SHARDS);
	for (__u32 core = 0; core < CORES; core++)
		wc_release_core(&tables, core);
	tables.wc_functions[WC_FUNCTION_SLOT(FUNCTION)].id = FUNCTION;
	memset(&counters, 0, sizeof(counters));
	request = (struct wc_request){ .function_id = FUNCTION, .cpu = 5, .shard = 1, .now = 1 };
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tables_close(&tables);
	return 0;
}

static void check_sound(void)
{
	json_t *problems = json_array();

	wc_check_tables(&tables, problems);
	if (json_array_size(problems))
		fail_msg("%s", json_string_value(json_array_get(problems, 0)));
	json_decref(problems);
}

static enum wc_outcome decide(void)
{
	memset(&decision, 0xaa, sizeof(decision));
	wc_decide(&tables, tables.wc_config, &request, &counters, &decision);
	return decision.outcome;
}

static enum wc_outcome decide_next(void)
{
	request.id.request_id++;
	return decide();
}

static void expect_core(__u32 core, __u16 how)
{
	assert_int_equal(decide_next(), WC_OUTCOME_to_core);
	assert_int_equal(decision.core, core);
	assert_int_equal(decision.how, how);
	check_sound();
}

static void take_all_but(__u32 spared)
{
	for (__u32 core = 0; core < CORES; core++) {
		if (core == spared)
			continue;
		assert_true(wc_take_core(&tables, core));
		tables.wc_cores[core].claims++;
		tables.wc_cores[core].state = WC_CORE_RUNNING;
	}
}

static bool is_seen(void)
{
	struct wc_fingerprint print = wc_fingerprint(&request.id, tables.wc_config->seen_key);

	for (int way = 0; way < WC_SEEN_WAYS; way++)
		if (WC_SEEN_FINGERPRINT(tables.wc_seen[print.set].slot[way]) == print.value)
			return true;
	return false;
}

/* The own shard from its lowest to its highest core, then the ring: shard 2, then shard 0. */
static void test_ring(void **state)
{
	(void)state;
	for (__u32 core = 1; core < CORES; core += SHARDS)
		expect_core(core, 0);
	for (__u32 core = 2; core < CORES; core += SHARDS)
		expect_core(core, WC_HOW_STOLEN);
	for (__u32 core = 0; core < CORES; core += SHARDS)
		expect_core(core, WC_HOW_STOLEN);
	assert_int_equal(counters.claim_stolen, 47);
	assert_int_equal(counters.claim_late, 0);
	assert_int_equal(decide_next(), WC_OUTCOME_to_pending);
}

/* One shard has nobody to steal from. */
static void test_single_shard(void **state)
{
	(void)state;
	tables.wc_config->shard_count = 1;
	request.shard = 0;
	for (__u32 core = 0; core < CORES; core += SHARDS)
		expect_core(core, 0);
	assert_int_equal(decide_next(), WC_OUTCOME_to_pending);
}

/* Only one core is free and the summary hides it, in any word of any shard: the exact look finds it, nothing waits. */
static void test_late_everywhere(void **state)
{
	for (__u32 core = 0; core < CORES; core++) {
		teardown(state);
		setup(state);
		take_all_but(core);
		tables.wc_shards[core % SHARDS].summary = 0;
		expect_core(core, core % SHARDS == 1 ? 0 : WC_HOW_STOLEN);
		assert_int_equal(counters.claim_late, 1);
		assert_int_equal(tables.wc_shards[1].pending_in, 0);
	}
}

/* BUSY is no execution: its id is forgotten each time, and only its own shard is full. */
static void test_busy(void **state)
{
	(void)state;
	take_all_but(WC_NONE);
	for (__u32 i = 0; i < tables.wc_config->pending_max; i++)
		assert_int_equal(decide_next(), WC_OUTCOME_to_pending);
	request.id.request_id++;
	for (int i = 0; i < 20; i++) {
		assert_int_equal(decide(), WC_OUTCOME_busy_pending);
		assert_false(is_seen());
		assert_int_equal(wc_pending_count(&tables.wc_shards[1]), tables.wc_config->pending_max);
	}
	request.shard = 2;
	assert_int_equal(decide(), WC_OUTCOME_to_pending);
	assert_true(is_seen());
	assert_int_equal(decide(), WC_OUTCOME_pass_retransmit); /* one that waits is remembered */
	assert_int_equal(wc_pending_count(&tables.wc_shards[2]), 1);
	check_sound();
}

/* What hints may say, being hints. */
static void test_hints(void **state)
{
	struct wc_function *function = &tables.wc_functions[WC_FUNCTION_SLOT(FUNCTION)];

	(void)state;
	tables.wc_config->cpu_core[5] = CORES + 1;
	function->warm[0] = UINT16_MAX;
	function->warm[1] = CORES + 1;
	function->warm[2] = CORES;
	expect_core(CORES - 1, WC_HOW_WARM | WC_HOW_STOLEN);
	expect_core(1, 0);
	tables.wc_config->cpu_core[5] = 0; /* no worker core there: does not match the empty places of the list */
	function->warm[0] = 0;
	expect_core(4, 0);
	tables.wc_config->cpu_core[WC_CPUS_MAX - 1] = 50;
	request.cpu = WC_CPUS_MAX - 1;
	expect_core(49, WC_HOW_LOCAL);
	tables.wc_config->cpu_core[0] = 62;
	request.cpu = WC_CPUS_MAX;
	expect_core(7, 0);
	request.cpu = UINT32_MAX;
	expect_core(10, 0);
	assert_int_equal(counters.claim_local, 1);
}

static void test_function_ids(void **state)
{
	(void)state;
	request.function_id = 0; /* nobody's, although the empty slot 0 says so */
	assert_int_equal(decide_next(), WC_OUTCOME_error_unknown);
	assert_false(is_seen());
	request.function_id = tables.wc_functions[0].id = 5 << WC_FUNCTION_SLOT_BITS; /* slot 0 is like others */
	expect_core(1, 0);
	request.function_id = tables.wc_functions[WC_FUNCTIONS_MAX - 1].id = UINT32_MAX;
	expect_core(4, 0);
	tables.wc_functions[WC_FUNCTIONS_MAX - 1].id = 0; /* removed between two packets */
	assert_int_equal(decide_next(), WC_OUTCOME_error_unknown);
	check_sound();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_ring), TEST(test_single_shard), TEST(test_late_everywhere),
		TEST(test_busy), TEST(test_hints),	  TEST(test_function_ids),
	};

	return cmocka_run_group_tests_name("decide, more than one word", tests, NULL, NULL);
}
