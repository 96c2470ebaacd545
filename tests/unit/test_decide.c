// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_decide.c - which core gets an invocation, and what happens when none is free. One thread; races are made by a hook. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bpf/shim.h"

static void (*before_add)(void); /* called once before the next atomic add */

static __u64 hooked_add(__u64 *word, __u64 value)
{
	void (*hook)(void) = before_add;

	before_add = NULL;
	if (hook)
		hook();
	return __sync_fetch_and_add(word, value);
}
#undef wc_fetch_add
#define wc_fetch_add(p, v) hooked_add((p), (v))

#include "tests/unit/tables_fixture.h"
#include "user/check.h"

#define FUNCTION 0x5003
#define CORES 8
#define SHARDS 2
#define CPU 10 /* core i runs on CPU 10 + i */

static struct wc_tables tables;
static struct wc_function *function;
static struct wc_counters counters;
static struct wc_decision decision;
static struct wc_request request;

/* Even cores belong to shard 0, odd ones to shard 1. All are free. */
static int setup(void **state)
{
	(void)state;
	tables_open(&tables, CORES, SHARDS);
	for (__u32 core = 0; core < CORES; core++) {
		wc_release_core(&tables, core);
		tables.wc_config->cpu_core[CPU + core] = (__u16)(core + 1);
	}
	function = &tables.wc_functions[WC_FUNCTION_SLOT(FUNCTION)];
	function->id = FUNCTION;
	memset(&counters, 0, sizeof(counters));
	memset(&request, 0, sizeof(request));
	request.function_id = FUNCTION;
	request.now = 12345;
	before_add = NULL;
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

static int teardown(void **state)
{
	(void)state;
	check_sound();
	tables_close(&tables);
	return 0;
}

static enum wc_outcome decide(void)
{
	memset(&decision, 0xee, sizeof(decision));
	request.id.request_id++;
	wc_decide(&tables, tables.wc_config, &request, &counters, &decision);
	return decision.outcome;
}

static void expect_core(__u32 core, __u16 how)
{
	assert_int_equal(decide(), WC_OUTCOME_to_core);
	assert_int_equal(decision.core, core);
	assert_int_equal(decision.how, how);
	assert_int_equal(tables.wc_cores[core].state, WC_CORE_CLAIMED);
	assert_int_equal(tables.wc_cores[core].function_id, FUNCTION);
	assert_true(tables.wc_cores[core].claimed_ns == 12345);
	assert_int_equal(tables.wc_cores[core].seen, decision.seen);
	assert_true(tables.wc_cores[core].print == decision.print.value);
	assert_true(tables.wc_cores[core].claims == tables.wc_cores[core].releases + 1);
}

static void take_all(void)
{
	for (int i = 0; i < CORES; i++)
		assert_int_equal(decide(), WC_OUTCOME_to_core);
}

static void test_unknown(void **state)
{
	static const __u32 unknown[] = { 0, 3, 0x6003, 0x5004, 0x5000, UINT32_MAX };

	(void)state;
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		request.function_id = unknown[i];
		assert_int_equal(decide(), WC_OUTCOME_error_unknown);
		assert_int_equal(decision.core, WC_NONE);
		assert_int_equal(decision.seen, WC_NONE);
	}
	for (int i = 0; i < WC_SEEN_SETS * WC_SEEN_WAYS; i++)
		assert_true(tables.wc_seen[i / WC_SEEN_WAYS].slot[i % WC_SEEN_WAYS] == 0);
	request.function_id = FUNCTION;
	expect_core(0, 0); /* nothing was claimed meanwhile */
}

static void test_retransmit(void **state)
{
	__u32 seen;

	(void)state;
	expect_core(0, 0);
	seen = decision.seen;
	request.id.request_id--;
	assert_int_equal(decide(), WC_OUTCOME_pass_retransmit);
	assert_int_equal(decision.seen, seen);
	assert_int_equal(decision.core, WC_NONE);
	request.id.request_id--;
	request.id.client_port = 7; /* the same id of another client */
	expect_core(2, 0);
}

static void test_order(void **state)
{
	(void)state;
	/* warm and local before warm, although that was used more recently */
	function->warm[0] = 6 + 1;
	function->warm[1] = 4 + 1;
	request.cpu = CPU + 4;
	expect_core(4, WC_HOW_WARM | WC_HOW_LOCAL);
	expect_core(6, WC_HOW_WARM); /* warm before local: core 4 is taken anyway */
	request.cpu = CPU + 2;
	expect_core(2, WC_HOW_LOCAL); /* warm ones are taken */
	expect_core(0, 0);	      /* own shard */
	expect_core(1, WC_HOW_STOLEN);
	expect_core(3, WC_HOW_STOLEN);
	assert_int_equal(counters.claim_warm, 2);
	assert_int_equal(counters.claim_local, 2);
	assert_int_equal(counters.claim_stolen, 2);
	assert_int_equal(counters.claim_late, 0);
}

static void test_warm_before_local(void **state)
{
	(void)state;
	function->warm[0] = 6 + 1;
	request.cpu = CPU + 2;
	expect_core(6, WC_HOW_WARM);
}

static void test_warm_list(void **state)
{
	(void)state;
	/* the last of the list counts, one after a gap does not, one out of range does no harm; from another shard: stolen */
	memcpy(function->warm, (const __u16[]){ 60000, 1, 3, 5, 7, 2, 4, 8 }, sizeof(function->warm));
	expect_core(0, WC_HOW_WARM);
	expect_core(2, WC_HOW_WARM);
	expect_core(4, WC_HOW_WARM);
	expect_core(6, WC_HOW_WARM);
	expect_core(1, WC_HOW_WARM | WC_HOW_STOLEN);
	expect_core(3, WC_HOW_WARM | WC_HOW_STOLEN);
	expect_core(7, WC_HOW_WARM | WC_HOW_STOLEN);
	wc_release_core(&tables, 6);
	wc_release_core(&tables, 0);
	memcpy(function->warm, (const __u16[]){ 0, 7 }, 4);
	expect_core(0, 0);
	assert_int_equal(counters.claim_warm, 7);
	assert_int_equal(counters.claim_stolen, 3);
}

static void test_local(void **state)
{
	(void)state;
	request.cpu = CPU + 5; /* receive CPU first even when the core is another shard's */
	expect_core(5, WC_HOW_LOCAL | WC_HOW_STOLEN);
	request.cpu = WC_CPUS_MAX + CPU + 5; /* beyond the table */
	expect_core(0, 0);
	request.cpu = CPU - 1; /* no worker core there */
	expect_core(2, 0);
}

static void test_other_shard(void **state)
{
	(void)state;
	request.shard = 1;
	expect_core(1, 0);
	expect_core(3, 0);
	expect_core(5, 0);
	expect_core(7, 0);
	expect_core(0, WC_HOW_STOLEN);
}

static void test_pending(void **state)
{
	struct wc_shard *shard = &tables.wc_shards[0];

	(void)state;
	take_all();
	for (int i = 0; i < 4; i++) {
		assert_int_equal(decide(), WC_OUTCOME_to_pending);
		assert_int_equal(decision.core, WC_NONE);
		assert_int_equal(decision.how, WC_HOW_PENDED);
		assert_int_not_equal(decision.seen, WC_NONE);
	}
	assert_int_equal(wc_pending_count(shard), 4);

	/* full: refused, and the id may be tried again */
	assert_int_equal(decide(), WC_OUTCOME_busy_pending);
	request.id.request_id--;
	assert_int_equal(decide(), WC_OUTCOME_busy_pending);
	assert_int_equal(wc_pending_count(shard), 4);
	shard->pending_out++;
	request.id.request_id--;
	assert_int_equal(decide(), WC_OUTCOME_to_pending);
	request.id.request_id--;
	assert_int_equal(decide(), WC_OUTCOME_pass_retransmit);
	shard->pending_lost += 4; /* announced but never delivered: does not fill the queue */
	assert_int_equal(wc_pending_count(shard), 0);

	request.shard = 1; /* each shard has a queue of its own */
	assert_int_equal(decide(), WC_OUTCOME_to_pending);
	assert_int_equal(tables.wc_shards[1].pending_in, 1);
	assert_int_equal(counters.claim_late, 0);
}

static void test_pending_count(void **state)
{
	struct wc_shard *shard = &tables.wc_shards[0];

	(void)state;
	shard->pending_in = 5;
	shard->pending_out = 4;
	shard->pending_lost = 3; /* for a moment only, but never negative */
	assert_true(wc_pending_count(shard) == 0);
	memset(shard, 0, 128 + 16);
	for (__u32 core = 0; core < CORES; core += 2)
		shard->summary |= 1;
}

static __u32 late_core;

static void release_late(void)
{
	wc_release_core(&tables, late_core);
}

/* A core becomes free after the first look and before the count: the exact look must find it, in every shard. */
static void test_late(void **state)
{
	(void)state;
	for (late_core = 0; late_core < CORES; late_core++) {
		take_all();
		before_add = release_late;
		expect_core(late_core, late_core % 2 ? WC_HOW_STOLEN : 0);
		assert_null(before_add);
		assert_int_equal(tables.wc_shards[0].pending_in, 0);
		assert_int_equal(counters.claim_late, late_core + 1);
		check_sound();
		for (__u32 core = 0; core < CORES; core++)
			wc_release_core(&tables, core);
	}
}

static void test_release(void **state)
{
	(void)state;
	take_all();
	tables.wc_cores[5].pid = 99;
	tables.wc_cores[5].state = WC_CORE_RUNNING;
	wc_release_core(&tables, 5);
	assert_int_equal(tables.wc_cores[5].state, WC_CORE_FREE);
	assert_int_equal(tables.wc_cores[5].pid, 0);
	assert_true(tables.wc_shards[1].word[0] == 1 << 5);
	check_sound();
	wc_release_core(&tables, CORES); /* no such core: no effect */
	expect_core(5, WC_HOW_STOLEN);
}

static void test_no_such_shard(void **state)
{
	(void)state;
	tables.wc_config->shard_count = 1;
	request.shard = SHARDS;
	assert_int_equal(decide(), WC_OUTCOME_drop_contended);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_unknown), CASE(test_retransmit),  CASE(test_order),	CASE(test_warm_before_local),
		CASE(test_local),   CASE(test_warm_list),   CASE(test_pending), CASE(test_pending_count),
		CASE(test_late),    CASE(test_other_shard), CASE(test_release), CASE(test_no_such_shard),
	};

	return cmocka_run_group_tests_name("decide", tests, NULL, NULL);
}
