// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_decide.c - which core gets an invocation, and what happens when none is free. One thread; races are made by a hook. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bpf/shim.h"

static void (*before_add)(void); /* called once before the next atomic add */

static void run_hook(void)
{
	void (*hook)(void) = before_add;

	before_add = NULL;
	if (hook)
		hook();
}
#undef wc_fetch_add
#define wc_fetch_add(p, v) (run_hook(), __sync_fetch_and_add((p), (v)))

#include "tests/unit/decide_fixture.h"

#define CORES 8
#define SHARDS 2

/* Even cores belong to shard 0, odd ones to shard 1. All are free. */
static int setup(void **state)
{
	(void)state;
	node_open(CORES, SHARDS);
	before_add = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	check_sound();
	node_close();
	return 0;
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

/*
 * Who gets a core at once is not looked up: its copy gets one, too, and the window decides when they begin. Who has begun, or
 * waits, is known to those that would have to wait.
 */
static void test_retransmit(void **state)
{
	struct wc_fingerprint print;
	__u32 entry;

	(void)state;
	expect_core(0, 0);
	print = wc_fingerprint(&request.id, config->seen_key);
	assert_int_equal(decide_same(), WC_OUTCOME_to_core);
	assert_int_equal(decision.core, 2);
	assert_int_equal(decision.seen, WC_NONE);
	assert_int_equal(wc_seen_begin(&tables, &print, WC_NONE), WC_SEEN_NEW);
	assert_int_equal(wc_seen_begin(&tables, &print, WC_NONE), WC_SEEN_AGAIN);
	take_all_but(WC_NONE);
	assert_int_equal(decide_same(), WC_OUTCOME_pass_retransmit);
	assert_int_equal(decision.core, WC_NONE);
	assert_true(decision.print.value == print.value && decision.print.set == print.set);
	entry = decision.seen;
	assert_int_equal(entry / WC_SEEN_WAYS, print.set);
	assert_int_equal(WC_SEEN_FINGERPRINT(tables.wc_seen[print.set].slot[entry % WC_SEEN_WAYS]), print.value);
	request.id.client_port = 7; /* the same id of another client */
	assert_int_equal(decide_same(), WC_OUTCOME_to_pending);
	assert_int_equal(decide_same(), WC_OUTCOME_pass_retransmit); /* it waits */
	assert_int_equal(wc_pending_count(&tables.wc_shards[0]), 1);
	assert_int_equal(function->waiting, 1);
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
		assert_int_equal(WC_SEEN_FINGERPRINT(seen_slot()), decision.print.value);
		assert_false(seen_slot() & WC_SEEN_STARTED);
		assert_int_equal(function->waiting, i + 1);
	}
	assert_int_equal(wc_pending_count(shard), 4);

	/* full: refused, and the id may be tried again */
	assert_int_equal(decide(), WC_OUTCOME_busy_pending);
	assert_int_equal(decision.seen, WC_NONE);
	assert_true(seen_slot() == 0);
	assert_int_equal(decide_same(), WC_OUTCOME_busy_pending);
	assert_int_equal(wc_pending_count(shard), 4);
	assert_int_equal(function->waiting, 4);
	shard->pending_out++;
	function->waiting--;
	assert_int_equal(decide_same(), WC_OUTCOME_to_pending);
	assert_int_equal(decide_same(), WC_OUTCOME_pass_retransmit);
	shard->pending_lost += 4; /* announced but never delivered: does not fill the queue */
	function->waiting -= 4;
	assert_int_equal(wc_pending_count(shard), 0);

	request.shard = 1; /* each shard has a queue of its own */
	assert_int_equal(decide(), WC_OUTCOME_to_pending);
	assert_int_equal(tables.wc_shards[1].pending_in, 1);
	assert_int_equal(counters.claim_late, 0);
	assert_int_equal(counters.to_pending, 6);
	assert_int_equal(counters.busy_pending, 2);
	assert_int_equal(counters.pass_retransmit, 1);
}

static void test_pending_count(void **state)
{
	struct wc_shard *shard = &tables.wc_shards[0];

	(void)state;
	shard->pending_in = 5;
	shard->pending_out = 4;
	shard->pending_lost = 3; /* for a moment only, but never negative */
	assert_true(wc_pending_count(shard) == 0);
	shard->pending_seen = 3;
	assert_true(wc_pending_in_flight(shard) == 0);
	shard->pending_lost = 1;
	assert_true(wc_pending_count(shard) == 0 && wc_pending_in_flight(shard) == 1);
	shard->pending_out = 1;
	assert_true(wc_pending_count(shard) == 3);
	shard->early_in = 2;
	assert_true(wc_early_count(shard) == 2 && wc_shard_load(shard) == 5);
	shard->early_out = 3;
	assert_true(wc_early_count(shard) == 0 && wc_shard_load(shard) == 3);
	shard->pending_in = shard->pending_seen = shard->pending_out = shard->pending_lost = 0;
	shard->early_in = shard->early_out = 0;
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
		assert_true(decision.facts & WC_DECIDED_LATE);
		assert_int_equal(tables.wc_shards[0].pending_in, 0);
		assert_int_equal(function->waiting, 0);
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
	tables.wc_cores[5].state = WC_CORE_RUNNING;
	wc_release_core(&tables, 5);
	assert_int_equal(tables.wc_cores[5].state, WC_CORE_FREE);
	assert_int_equal(tables.wc_cores[5].shard, 1);
	assert_true(tables.wc_shards[1].word[0] == 1 << 5);
	check_sound();
	wc_release_core(&tables, CORES); /* no such core: no effect */
	expect_core(5, WC_HOW_STOLEN);

	/* it goes home, wherever that is by now, and is claimed from there */
	tables.wc_cores[5].home = 0;
	assert_int_equal(tables.wc_cores[5].shard, 1);
	wc_release_core(&tables, 5);
	assert_int_equal(tables.wc_cores[5].shard, 0);
	assert_true(tables.wc_shards[0].word[0] == 1 << 5 && !tables.wc_shards[1].word[0]);
	check_sound();
	expect_core(5, 0);
	tables.wc_cores[5].home = WC_QUEUES_MAX; /* no such queue: the core stays whose it is */
	wc_release_core(&tables, 5);
	assert_int_equal(tables.wc_cores[5].state, WC_CORE_CLAIMED);
	tables.wc_cores[5].home = 0;
}

static void test_no_such_shard(void **state)
{
	(void)state;
	config->shard_count = 1;
	move_home(1, 0);
	move_home(3, 0);
	move_home(5, 0);
	move_home(7, 0);
	for (request.shard = WC_QUEUES_MAX; request.shard; request.shard <<= 1) {
		assert_int_equal(decide(), WC_OUTCOME_drop_contended);
		assert_int_equal(decision.core, WC_NONE);
	}
}

/* A map that is not there, and no decision at all: nothing is claimed. */
static void test_no_tables(void **state)
{
	struct wc_choice choice = { .slot = WC_FUNCTIONS_MAX, .policy = WC_POLICY_COUNT, .core = WC_NONE };

	(void)state;
	memset(&decision, 0, sizeof(decision));
	decision.request = request;
	tables.wc_config_max = 0;
	assert_int_equal(wc_decide_now(&tables, &decision), 1);
	assert_int_equal(wc_decide_wait(&tables, &decision), 0);
	tables.wc_config_max = 1;
	assert_int_equal(wc_decide_now(&tables, NULL), 1);
	assert_int_equal(wc_decide_wait(&tables, NULL), 0);
	assert_int_equal(wc_choose(&tables, NULL), 0);
	config->policy = WC_POLICY_COUNT; /* none: nothing to offer, so it waits, until the exact look finds a core */
	assert_int_equal(wc_choose(&tables, &choice), 0);
	assert_int_equal(choice.core, WC_NONE);
	expect_core(0, 0);
	assert_true(decision.facts & WC_DECIDED_LATE);
}

/* A decision that cannot be carried out leaves nothing behind, whichever it was. */
static void test_undo(void **state)
{
	struct wc_function before;

	(void)state;
	function->running_max = CORES;
	before = *function;
	for (int round = 0; round < 3; round++) {
		expect_core(0, WC_HOW_COUNTED);
		assert_int_equal(function->running, 1);
		wc_undo(&tables, &decision);
		assert_int_equal(tables.wc_cores[0].state, WC_CORE_FREE);
		assert_memory_equal(function, &before, sizeof(before));
		check_sound();
	}
	take_all();
	for (int round = 0; round < 10; round++) { /* more than the queue holds, and always with the same id */
		assert_int_equal(decide_same(), WC_OUTCOME_to_pending);
		assert_int_equal(function->waiting, 1);
		wc_undo(&tables, &decision);
		assert_int_equal(function->waiting, 0);
		assert_int_equal(tables.wc_shards[0].pending_in, 0);
		assert_true(seen_slot() == 0);
	}
	before_add = release_late;
	late_core = 3;
	function->running_max = 0;
	expect_core(3, WC_HOW_STOLEN);
	wc_undo(&tables, &decision);
	assert_true(seen_slot() == 0);
	assert_int_equal(tables.wc_cores[3].state, WC_CORE_FREE);
	function->running = 0;
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_unknown), CASE(test_retransmit),  CASE(test_order),	CASE(test_warm_before_local),
		CASE(test_local),   CASE(test_warm_list),   CASE(test_pending), CASE(test_pending_count),
		CASE(test_late),    CASE(test_other_shard), CASE(test_release), CASE(test_no_such_shard),
		CASE(test_undo),    CASE(test_no_tables),
	};

	return cmocka_run_group_tests_name("decide", tests, NULL, NULL);
}
