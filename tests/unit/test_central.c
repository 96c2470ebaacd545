/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_central.c - the policy `central` and what stands around it: orders and preferences, warmth by function, library set and
 * runtime, reserves, limits, the places in the pending queue, and from whom is stolen. test_decide.c has the first steps, and
 * test_decide_ref.c all of it together.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/decide_fixture.h"

#define CORES 12
#define SHARDS 3
#define RESERVE (WC_SHARDS_MAX + 1)
#define LIBS 3
#define RUNTIME 5
#define OTHER 0x7009

static struct wc_function *other;

/* Cores 0, 3, 6, 9 belong to shard 0; 1, 4, 7, 10 to shard 1; 2, 5, 8, 11 to shard 2. All are free, no CPU is a core's. */
static int setup(void **state)
{
	(void)state;
	node_open(CORES, SHARDS);
	other = deploy(OTHER);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	check_sound();
	node_close();
	return 0;
}

static void warm_tag(__u32 tag, __u32 core)
{
	tables.wc_tags[tag].word[core / 64] |= 1ULL << core % 64;
	tables.wc_tags[tag].summary |= 1ULL << core / 64;
}

static void release(__u32 core)
{
	wc_release_core(&tables, core);
}

static void test_orders(void **state)
{
	static const __u32 local[] = { 6, 0, 3, 9 }, pack[] = { 0, 3, 6, 9 };

	(void)state;
	request.cpu = CPU + 6;
	for (int i = 0; i < 4; i++)
		expect_core(local[i], i ? 0 : WC_HOW_LOCAL);
	config->order = WC_ORDER_PACK;
	for (int i = 0; i < 4; i++)
		release(pack[i]);
	for (int i = 0; i < 4; i++)
		expect_core(pack[i], 0);
	for (int i = 0; i < 10; i++) { /* always the lowest that is free */
		release(3);
		release(9);
		expect_core(3, 0);
		expect_core(9, 0);
	}
	config->order = WC_ORDER_SPREAD;
	for (int i = 0; i < 4; i++)
		release(pack[i]);
	for (int i = 0; i < 20; i++) { /* in turn, although the first one is back each time */
		expect_core(pack[i % 4], 0);
		release(pack[i % 4]);
	}
	request.shard = 1; /* each shard has a cursor of its own */
	expect_core(1, 0);
	request.shard = 0;
	expect_core(0, 0);
}

/* The order is for cores that are not warm: a warm one comes first in each of them. */
static void test_orders_warm(void **state)
{
	(void)state;
	function->warm[0] = 9 + 1;
	for (config->order = 0; config->order < WC_ORDER_COUNT; config->order++) {
		request.cpu = CPU + 3;
		expect_core(9, WC_HOW_WARM);
		release(9);
		request.cpu = CPU + 9;
		expect_core(9, config->order == WC_ORDER_LOCAL ? WC_HOW_WARM | WC_HOW_LOCAL : WC_HOW_WARM);
		release(9);
	}
}

static void test_prefer(void **state)
{
	(void)state;
	function->warm[0] = 4 + 1; /* shard 1's */
	expect_core(4, WC_HOW_WARM | WC_HOW_STOLEN);
	release(4);
	config->prefer = WC_PREFER_SHARD;
	expect_core(0, 0);
	function->warm[1] = 9 + 1;
	expect_core(9, WC_HOW_WARM); /* one of the own shard is as good as ever */
	expect_core(3, 0);
	expect_core(6, 0);
	expect_core(4, WC_HOW_WARM | WC_HOW_STOLEN); /* the own shard is empty */
	expect_core(1, WC_HOW_STOLEN);
	assert_int_equal(counters.claim_warm, 3);
	assert_int_equal(counters.claim_stolen, 3);
}

static void test_prefer_tags(void **state)
{
	(void)state;
	function->tag_libs = LIBS;
	warm_tag(LIBS, 5);
	expect_core(5, WC_HOW_LIBS | WC_HOW_STOLEN);
	release(5);
	config->prefer = WC_PREFER_SHARD;
	expect_core(0, 0);
	warm_tag(LIBS, 9);
	expect_core(9, WC_HOW_LIBS);
}

/* Function, then library set, then runtime, then any. */
static void test_warmth(void **state)
{
	(void)state;
	function->warm[0] = 9 + 1;
	function->tag_libs = LIBS;
	function->tag_runtime = RUNTIME;
	warm_tag(LIBS, 6);
	warm_tag(LIBS, 7);
	warm_tag(RUNTIME, 3);
	warm_tag(RUNTIME, 6);
	warm_tag(RUNTIME, 8);
	warm_tag(LIBS + 1, 0); /* another set's */
	request.cpu = CPU;     /* core 0 is local: that comes after all of these */
	expect_core(9, WC_HOW_WARM);
	expect_core(6, WC_HOW_LIBS);
	expect_core(7, WC_HOW_LIBS | WC_HOW_STOLEN);
	expect_core(3, WC_HOW_RUNTIME);
	expect_core(8, WC_HOW_RUNTIME | WC_HOW_STOLEN);
	expect_core(0, WC_HOW_LOCAL);
	expect_core(1, WC_HOW_STOLEN);
	assert_int_equal(counters.claim_warm, 1);
	assert_int_equal(counters.claim_libs, 2);
	assert_int_equal(counters.claim_runtime, 2);
	assert_int_equal(counters.claim_stolen, 3);
	assert_int_equal(counters.claim_local, 1);
	/* Tags that do not exist, and hints without a core. */
	function->tag_libs = WC_TAGS_MAX;
	function->tag_runtime = RUNTIME + 1;
	tables.wc_tags[RUNTIME + 1].summary = ~0ULL;
	expect_core(4, WC_HOW_STOLEN);
}

/* Reserved cores are for their function: not for others by warmth, as the local one, by theft, or by the last look. */
static void test_reserved(void **state)
{
	(void)state;
	for (__u32 core = 0; core < CORES; core++)
		move_home(core, RESERVE);
	other->reserve = RESERVE;
	function->warm[0] = 5 + 1;
	function->tag_libs = LIBS;
	function->tag_runtime = RUNTIME;
	warm_tag(LIBS, 6);
	warm_tag(RUNTIME, 7);
	request.cpu = CPU + 3;
	tables.wc_top->shards = ~0ULL;
	for (config->prefer = 0; config->prefer < WC_PREFER_COUNT; config->prefer++)
		for (config->order = 0; config->order < WC_ORDER_COUNT; config->order++)
			for (__u32 reserve = 0; reserve < 2; reserve++) {
				function->reserve =
					(__u16)(reserve ? RESERVE + 1 : 0); /* or one of its own, which is empty */
				assert_int_equal(decide(), WC_OUTCOME_to_pending);
				wc_undo(&tables, &decision);
			}
	function->reserve = 0;
	request.function_id = OTHER;
	expect_core(0, 0); /* never stolen: it is its own */
	assert_int_equal(counters.claim_stolen, 0);
	tables.wc_shards[RESERVE].summary = 0; /* only the last look finds the others */
	expect_core(1, 0);
	assert_true(decision.facts & WC_DECIDED_LATE);
	tables.wc_shards[RESERVE].summary = 1;
	other->warm[0] = 5 + 1;
	config->prefer = WC_PREFER_WARM;
	expect_core(5, WC_HOW_WARM);
	assert_int_equal(tables.wc_steals[0].from[0], 0);
}

/* docs/POLICIES.md: 3. the function's reserve, 4. the receive CPU's own core, 5. the own shard, 6. another one. */
static void test_reserve_first(void **state)
{
	(void)state;
	move_home(6, RESERVE);
	move_home(7, RESERVE);
	function->reserve = RESERVE;
	request.cpu = CPU + 3;
	for (config->prefer = 0; config->prefer < WC_PREFER_COUNT; config->prefer++) {
		expect_core(6, 0);
		expect_core(7, 0);
		expect_core(3, WC_HOW_LOCAL);
		expect_core(0, 0);
		release(6);
		release(7);
		release(3);
		release(0);
	}
	/* Warm ones come before it. */
	function->warm[0] = 9 + 1;
	expect_core(9, WC_HOW_WARM);
	expect_core(6, 0);
}

static void test_running_max(void **state)
{
	(void)state;
	function->running_max = 2;
	expect_core(0, WC_HOW_COUNTED);
	expect_core(3, WC_HOW_COUNTED);
	assert_int_equal(function->running, 2);
	assert_int_equal(decide(), WC_OUTCOME_to_pending); /* although cores are free */
	assert_int_equal(decision.facts, WC_DECIDED_HELD);
	assert_int_equal(decision.how, WC_HOW_PENDED);
	assert_int_equal(counters.held_back, 1);
	assert_int_equal(function->running, 2);
	request.function_id = OTHER; /* is nobody else's affair */
	expect_core(6, 0);
	request.function_id = FUNCTION;
	wc_run_end(function);
	expect_core(
		9,
		WC_HOW_COUNTED); /* the claimer does not wait behind those that wait; the agent that ended one takes them */
	function->waiting--;
	tables.wc_shards[0].pending_out++;
	function->running_max = 0;
	expect_core(1, WC_HOW_STOLEN);
	assert_int_equal(function->running, 2); /* those that were counted take themselves out */
	function->running = 0;
}

/* None at all is refused at once: waiting would have no end. What runs goes on. */
static void test_running_none(void **state)
{
	(void)state;
	function->running = 1;
	function->running_max = WC_RUNNING_NONE;
	for (int round = 0; round < 3; round++) {
		assert_int_equal(decide(), WC_OUTCOME_busy_function);
		assert_int_equal(decision.core, WC_NONE);
		assert_int_equal(function->running, 1);
		assert_int_equal(function->waiting, 0);
	}
	assert_int_equal(tables.wc_top->trials_begun, tables.wc_top->trials_ended);
	request.function_id = OTHER; /* is nobody else's affair */
	expect_core(0, 0);
	request.function_id = FUNCTION;
	function->running_max = 0;
	expect_core(3, 0);
	function->running = 0;
}

/* Both are needed, a core and the limit. Which one is missing is told apart. */
static void test_running_max_no_core(void **state)
{
	(void)state;
	take_all_but(WC_NONE);
	function->running_max = 1;
	assert_int_equal(decide(), WC_OUTCOME_to_pending);
	assert_int_equal(decision.facts, 0);
	assert_int_equal(function->running, 0); /* given back */
	function->running = 1;
	assert_int_equal(decide(), WC_OUTCOME_to_pending);
	assert_int_equal(decision.facts, WC_DECIDED_HELD);
	assert_int_equal(function->running, 1);
	assert_int_equal(counters.held_back, 1);
	function->running = 0;
}

static void test_waiting_max(void **state)
{
	(void)state;
	take_all_but(WC_NONE);
	function->waiting_max = 2;
	assert_int_equal(decide(), WC_OUTCOME_to_pending);
	request.shard = 1; /* over all shards */
	assert_int_equal(decide(), WC_OUTCOME_to_pending);
	assert_int_equal(decide(), WC_OUTCOME_busy_function);
	assert_int_equal(decision.seen, WC_NONE);
	assert_true(seen_slot() == 0);
	assert_int_equal(function->waiting, 2);
	assert_int_equal(tables.wc_shards[1].pending_in, 1);
	request.function_id = OTHER;
	assert_int_equal(decide(), WC_OUTCOME_to_pending);
	request.function_id = FUNCTION;
	function->waiting_max = 0;
	assert_int_equal(decide(), WC_OUTCOME_to_pending);
	assert_int_equal(counters.busy_function, 1);
}

/* The queue's places: pending_max for everybody, an eighth and one more for functions of which fewer wait than are left. */
static void test_places(void **state)
{
	static const __u32 sizes[] = { 1, 4, 8, 64, 1000 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		__u32 max = sizes[i], more = max / 8 + 1, got = 0;

		setup(state);
		take_all_but(WC_NONE);
		config->pending_max = max;
		assert_int_equal(WC_PENDING_PLACES(max), max + more);
		for (__u32 n = 0; n < max; n++) /* a flood */
			assert_int_equal(decide(), WC_OUTCOME_to_pending);
		assert_int_equal(decide(), max < more ? WC_OUTCOME_to_pending : WC_OUTCOME_busy_pending);
		request.function_id = OTHER;
		while (decide() == WC_OUTCOME_to_pending)
			assert_int_equal(other->waiting, ++got);
		/* Each that waits leaves one place less, and must find more places than its function has waiting. */
		assert_int_equal(got, (more + 1) / 2);
		assert_int_equal(decision.outcome, WC_OUTCOME_busy_pending);
		assert_int_equal(wc_pending_count(&tables.wc_shards[0]), max + got);
		for (__u32 f = 1; f <= more - got; f++) { /* until the last place is gone */
			request.function_id = deploy(f << WC_FUNCTION_SLOT_BITS | (100 + f))->id;
			assert_int_equal(decide(), WC_OUTCOME_to_pending);
		}
		request.function_id = deploy(1 << WC_FUNCTION_SLOT_BITS | 99)->id;
		assert_int_equal(decide(), WC_OUTCOME_busy_pending);
		request.shard = 1; /* is as empty as before */
		assert_int_equal(decide(), WC_OUTCOME_to_pending);
		if (i + 1 < sizeof(sizes) / sizeof(sizes[0]))
			teardown(state);
	}
}

/* From the nearest, whose distance is written beside the shard; and each theft is in the accounts. */
static void test_steals(void **state)
{
	(void)state;
	node_close();
	node_open(8, 8);
	other = deploy(OTHER);
	tables.wc_shards[5].near[0] = 1 << 1;
	tables.wc_shards[5].near[1] = 1 << 1 | 1 << 4 | 1 << 7;
	tables.wc_shards[5].near[2] = 1 << 0 | 1 << 1 | 1 << 4 | 1 << 7;
	request.shard = 5;
	expect_core(5, 0);
	expect_core(1, WC_HOW_STOLEN);
	expect_core(7, WC_HOW_STOLEN); /* round the ring from 5 on */
	expect_core(4, WC_HOW_STOLEN);
	expect_core(0, WC_HOW_STOLEN);
	release(1);
	expect_core(1, WC_HOW_STOLEN);
	request.shard = 7;
	expect_core(2, WC_HOW_STOLEN); /* no distances: the ring */
	request.shard = 2;
	expect_core(3, WC_HOW_STOLEN);
	for (int thief = 0; thief < 8; thief++)
		for (int from = 0; from < 8; from++)
			assert_int_equal(tables.wc_steals[thief].from[from],
					 thief == 5 && from == 1		 ? 2 :
					 thief == 5 && strchr("740", '0' + from) ? 1 :
										   (thief == 7 && from == 2) ||
											   (thief == 2 && from == 3));
	assert_int_equal(counters.claim_stolen, 7);
	expect_core(6, WC_HOW_STOLEN);
	assert_int_equal(decide(), WC_OUTCOME_to_pending);
}

/* A core that was moved is its new shard's: local to that, stolen from that. */
static void test_moved(void **state)
{
	(void)state;
	tables.wc_cores[0].home = 2; /* from its next release on */
	expect_core(0, 0);
	release(0);
	take(3);
	take(6);
	take(9);
	request.shard = 2;
	expect_core(0, 0);
	release(0);
	request.shard = 1;
	request.cpu = CPU;
	expect_core(0, WC_HOW_LOCAL | WC_HOW_STOLEN);
	assert_int_equal(tables.wc_steals[1].from[2], 1);
	assert_int_equal(tables.wc_steals[1].from[0], 0);
}

/* The hints are wrong: the last look finds the core, says that it was late, and where the id is. */
static void test_late(void **state)
{
	(void)state;
	take_all_but(8);
	tables.wc_shards[2].summary = 0;
	function->running_max = 3;
	expect_core(8, WC_HOW_STOLEN | WC_HOW_COUNTED);
	assert_int_equal(decision.facts, WC_DECIDED_OWNED | WC_DECIDED_LATE);
	assert_int_equal(decision.seen / WC_SEEN_WAYS, decision.print.set);
	assert_int_equal(function->running, 1);
	assert_int_equal(function->waiting, 0);
	assert_int_equal(tables.wc_shards[0].pending_in, 0);
	assert_int_equal(tables.wc_steals[0].from[2], 1);
	assert_int_equal(counters.claim_late, 1);
	wc_undo(&tables, &decision);
	assert_int_equal(function->running, 0);
	assert_true(seen_slot() == 0);
	assert_int_equal(tables.wc_cores[8].state, WC_CORE_FREE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_orders),
		TEST(test_orders_warm),
		TEST(test_prefer),
		TEST(test_prefer_tags),
		TEST(test_warmth),
		TEST(test_reserved),
		TEST(test_reserve_first),
		TEST(test_running_max),
		TEST(test_running_none),
		TEST(test_waiting_max),
		TEST(test_running_max_no_core),
		cmocka_unit_test_teardown(test_places, teardown),
		TEST(test_steals),
		TEST(test_moved),
		TEST(test_late),
	};

	return cmocka_run_group_tests_name("central", tests, NULL, NULL);
}
