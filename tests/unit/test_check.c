/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_check.c - the invariants of the tables: sound ones pass, and each way of breaking one is reported, alone and by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/tables_fixture.h"
#include "user/check.h"

#define SHARDS 2
#define CORES 100
#define RESERVE (WC_SHARDS_MAX + 5)

static struct wc_tables tables;
static struct wc_shard *shards;
static struct wc_core *cores;
static struct wc_function *functions;

static void make_empty(void)
{
	tables_close(&tables);
	tables_open(&tables, CORES, SHARDS);
	shards = tables.wc_shards;
	cores = tables.wc_cores;
	functions = tables.wc_functions;
}

/*
 * Cores 0 to 49 free, then 25 claimed, 14 running, one parked, 8 offline; the last two free and reserved. Three invocations
 * of a function that runs as often as it may wait, and something has happened before.
 */
static void make_sound(void)
{
	make_empty();
	for (uint32_t core = 0; core < CORES; core++) {
		struct wc_core *entry = &cores[core];

		entry->claims = entry->releases = core * 3;
		entry->state = core < 50 ? WC_CORE_FREE :
			       core < 75 ? WC_CORE_CLAIMED :
			       core < 89 ? WC_CORE_RUNNING :
			       core < 90 ? WC_CORE_PARKED :
			       core < 98 ? WC_CORE_OFFLINE :
					   WC_CORE_FREE;
		if (core >= 98)
			entry->shard = entry->home = RESERVE;
		if (entry->state == WC_CORE_FREE)
			wc_freeq_put(&tables, &shards[entry->shard], entry->shard, core);
		else
			entry->claims++;
	}
	shards[0].pending_in = 13;
	shards[0].pending_out = 7;
	shards[0].pending_lost = 3;
	shards[1].early_in = 4;
	shards[1].early_out = 4;
	functions[3].running_max = 2;
	functions[3].running = 2;
	functions[3].waiting = 3;
}

static int teardown(void **state)
{
	(void)state;
	tables_close(&tables);
	memset(&tables, 0, sizeof(tables));
	return 0;
}

static json_t *check(void)
{
	json_t *problems = json_array();

	wc_check_tables(&tables, problems);
	return problems;
}

static void expect_sound(void)
{
	json_t *problems = check();

	if (json_array_size(problems))
		fail_msg("%s", json_dumps(problems, JSON_INDENT(1)));
	json_decref(problems);
}

/* Exactly `count` problems, one of which has the text in it. */
static void expect(const char *text, size_t count)
{
	json_t *problems = check();
	bool found = false;

	for (size_t i = 0; i < json_array_size(problems); i++)
		found |= strstr(json_string_value(json_array_get(problems, i)), text) != NULL;
	if (!found || json_array_size(problems) != count)
		fail_msg("\"%s\" and %zu problems were expected: %s", text, count,
			 json_dumps(problems, JSON_INDENT(1)));
	json_decref(problems);
	make_sound();
}

static void clear_bit(uint32_t shard, uint32_t core)
{
	shards[shard].word[core / 64] &= ~(1ULL << core % 64);
}

static void set_bit(uint32_t shard, uint32_t core)
{
	shards[shard].word[core / 64] |= 1ULL << core % 64;
	shards[shard].summary |= 1ULL << core / 64;
}

static void test_sound(void **state)
{
	(void)state;
	make_sound();
	expect_sound();
	shards[0].summary |= 1ULL << 63; /* a hint may say too much */
	shards[RESERVE].summary |= 1ULL << 63;
	tables.wc_top->shards = ~0ULL;
	expect_sound();
	cores[3].home = RESERVE; /* on its way, from its next release on */
	expect_sound();
	make_empty();		  /* all offline */
	shards[1].pending_in = 4; /* all waiting is fine when nobody is free */
	functions[7].waiting = 3;
	functions[8].waiting = 1;
	expect_sound();
}

/* I1: in the home queue exactly when FREE, in no other. */
static void test_membership(void **state)
{
	(void)state;
	make_sound();
	clear_bit(0, 48);
	expect("core 48 is not in the free-core queue 0, but its state is 1", 1);
	set_bit(1, 75);
	expect("core 75 is in the free-core queue 1, but its state is 3", 1);
	set_bit(0, 94);
	expect("core 94 is in the free-core queue 0, but its state is 0", 1);
	set_bit(1, 89);
	expect("core 89 is in the free-core queue 1, but its state is 4", 1);
	set_bit(0, 51);
	expect("core 51 is in the free-core queue 0, but belongs to queue 1", 1);
	set_bit(1, 48); /* twice */
	expect("core 48 is in the free-core queue 1, but belongs to queue 0", 1);
	set_bit(RESERVE, 48);
	expect("core 48 is in the free-core queue 69, but belongs to queue 0", 1);
	set_bit(WC_QUEUES_MAX - 2, 48);
	expect("core 48 is in the free-core queue 126, but belongs to queue 0", 1);
	set_bit(WC_QUEUE_SIBLINGS, 48); /* which has what others lend */
	expect("core 48 of other nodes is in the free-core queue 127, but belongs to queue 64", 1);
	set_bit(0, 98);
	expect("core 98 is in the free-core queue 0, but belongs to queue 69", 1);
	cores[3].state = WC_CORE_CLAIMED; /* two invariants at once */
	expect("core 3 is in the free-core queue 1, but its state is 2", 2);
	cores[60].shard = SHARDS;
	expect("core 60 belongs to queue 2 and goes to 0, one of which does not exist", 1);
	cores[60].home = WC_SHARDS_MAX - 1;
	expect("core 60 belongs to queue 0 and goes to 63, one of which does not exist", 1);
	cores[60].shard = UINT16_MAX;
	expect("core 60 belongs to queue 65535 and goes to 0, one of which does not exist", 1);
	cores[60].home = WC_QUEUES_MAX;
	expect("core 60 belongs to queue 0 and goes to 128, one of which does not exist", 1);
	cores[60].state = 5;
	expect("core 60 is in state 5, which is none", 1);
	cores[60].state = UINT32_MAX;
	expect("core 60 is in state 4294967295, which is none", 1);
}

/* A bit for a core that does not exist would be claimed and lead nowhere. */
static void test_beyond(void **state)
{
	(void)state;
	make_sound();
	set_bit(0, CORES);
	expect("core 100", 1);
	set_bit(1, WC_CORES_MAX - 1);
	expect("core 4095", 1);
	set_bit(RESERVE, WC_CORES_MAX - 1);
	expect("core 4095", 1);
}

/* The one word that the fast path asks follows from the others. */
static void test_fast_path(void **state)
{
	(void)state;
	make_sound();
	tables.wc_config->addr4[tables.wc_config->addr4_count++] = htonl(0x0a000001);
	expect("the fast path is for other frames", 1); /* and makes it sound again */
	tables.wc_config->addr4[tables.wc_config->addr4_count++] = htonl(0x0a000001);
	wc_config_changed(tables.wc_config);
	assert_true(tables.wc_config->plain);
	expect_sound();
	tables.wc_config->up = 0;
	expect("the fast path is for other frames", 1);
}

/* I2: claims - releases. */
static void test_balance(void **state)
{
	(void)state;
	make_sound();
	cores[10].claims++;
	expect("core 10 in state 1 was claimed 1 times more often than released", 1);
	cores[10].releases++;
	expect("core 10 in state 1 was claimed -1 times more often than released", 1);
	cores[60].releases++;
	expect("core 60 in state 2 was claimed 0 times more often than released", 1);
	cores[80].claims++;
	expect("core 80 in state 3 was claimed 2 times more often than released", 1);
	cores[89].claims--;
	expect("core 89 in state 4 was claimed 0 times more often than released", 1);
	cores[95].claims--;
	expect("core 95 in state 0 was claimed 0 times more often than released", 1);
}

/* I3: a word with free cores has its summary bit, and a shard with a summary has its bit in the top word. */
static void test_summary(void **state)
{
	(void)state;
	make_sound();
	shards[1].summary = 0;
	expect("shard 1: word 0 has free cores, but the summary says it has none", 1);
	cores[90].state = WC_CORE_FREE;
	cores[90].claims--;
	shards[0].word[1] |= 1ULL << 26;
	expect("shard 0: word 1 has free cores, but the summary says it has none", 1);
	shards[RESERVE].summary = 0;
	expect("shard 69: word 1 has free cores, but the summary says it has none", 1);
	tables.wc_top->shards = 1;
	expect("shard 1 has a summary, but the top word says that it has no free core", 1);
	tables.wc_top->shards = 0;
	expect("shard 0 has a summary, but the top word says that it has no free core", 2);
}

/* I4: the pending queue. */
static void test_pending(void **state)
{
	(void)state;
	make_sound();
	shards[0].pending_out += 4;
	functions[3].waiting = 0;
	expect("shard 0: 14 invocations left the pending queue, but only 13 entered", 1);
	shards[1].pending_lost = 1;
	expect("shard 1: 1 invocations left the pending queue, but only 0 entered", 1);
	shards[1].early_out++;
	expect("shard 1: 5 bound invocations ended, but only 4 began", 1);
	shards[1].pending_in = 1; /* someone waits at shard 1 while cores of both are free */
	functions[9].waiting = 1;
	expect("invocations wait in the pending queue although cores are free", 1);
	functions[3].running = 1; /* below its limit */
	expect("invocations wait in the pending queue although cores are free", 1);
	functions[3].running_max = 0; /* it has none any more */
	expect("invocations wait in the pending queue although cores are free", 1);
}

/* Only reserved cores are free: they count for the function that may use them, and for no other. */
static void test_reserved(void **state)
{
	(void)state;
	make_sound();
	for (uint32_t core = 0; core < 50; core++) {
		assert_true(wc_take_core(&tables, core));
		cores[core].state = WC_CORE_RUNNING;
		cores[core].claims++;
	}
	functions[3].running_max = 0;
	expect_sound();
	functions[3].reserve = RESERVE + 1; /* an empty one */
	expect_sound();
	functions[3].reserve = RESERVE;
	expect("invocations wait in the pending queue although cores are free", 1);
}

/* A reserve that does not exist must not be followed: this is memory that others write. */
static void test_reserve_beyond(void **state)
{
	(void)state;
	make_sound();
	for (uint32_t core = 0; core < 50; core++) {
		assert_true(wc_take_core(&tables, core));
		cores[core].state = WC_CORE_RUNNING;
		cores[core].claims++;
	}
	functions[3].running_max = 0;
	for (uint32_t reserve = WC_QUEUES_MAX; reserve <= UINT16_MAX; reserve += reserve < 200 ? 1 : 1000) {
		functions[3].reserve = (uint16_t)reserve;
		expect_sound();
	}
}

/* What is counted by function and what is counted by shard are the same invocations. */
static void test_functions(void **state)
{
	(void)state;
	make_sound();
	functions[3].waiting = 4;
	expect("4 invocations wait by function, but 3 by shard", 1);
	shards[1].pending_in = 2;
	expect("3 invocations wait by function, but 5 by shard", 1);
	functions[WC_FUNCTIONS_MAX - 1].waiting = -1U;
	expect("function slot 4095: 0 invocations run and -1 wait", 2); /* and cores are free for it */
	functions[4].running = -2U;
	expect("function slot 4: -2 invocations run and 0 wait", 1);
	functions[3].running = 1601; /* the limit was lowered, perhaps; but a core has 16 lanes */
	expect("function slot 3 runs 1601 times at once, its limit is 2", 1);
	functions[3].running = 1600;
	expect_sound();
	cores[5].queued = WC_CORES_MAX + 1;
	expect("core 5: 4097 invocations are bound to it", 1);
	cores[5].queued = -1U;
	expect("core 5: -1 invocations are bound to it", 1);
}

/* I5: each outcome counts. */
static void test_counters(void **state)
{
	struct wc_counters counters = { 0 };
	json_t *problems = json_array();

	(void)state;
	for (enum wc_outcome outcome = 0; outcome < WC_OUTCOME_COUNT; outcome++)
		for (unsigned i = 0; i <= (unsigned)outcome; i++)
			wc_count_outcome(&counters, outcome);
	counters.claim_warm = 12345; /* facts are beside the outcomes */
	wc_check_counters("program", &counters, problems);
	assert_int_equal(json_array_size(problems), 0);
	for (size_t i = 0; i <= WC_OUTCOME_COUNT; i++) {
		(&counters.rx)[i]++;
		wc_check_counters("program", &counters, problems);
		assert_int_equal(json_array_size(problems), i + 1);
		(&counters.rx)[i]--;
	}
	assert_string_equal(json_string_value(json_array_get(problems, 0)),
			    "program: the outcomes do not add up to the packets received");
	json_decref(problems);
}

static void test_keep_common(void **state)
{
	json_t *before = json_pack("[s, s, s, s]", "a", "b", "c", "b"), *now = json_pack("[s, s]", "b", "d");
	json_t *none = json_array(), *expected = json_pack("[s, s]", "b", "b");

	(void)state;
	wc_check_keep_common(before, now);
	assert_true(json_equal(before, expected));
	wc_check_keep_common(before, none);
	assert_int_equal(json_array_size(before), 0);
	json_decref(before);
	json_decref(now);
	json_decref(none);
	json_decref(expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_sound, teardown),
		cmocka_unit_test_teardown(test_membership, teardown),
		cmocka_unit_test_teardown(test_beyond, teardown),
		cmocka_unit_test_teardown(test_fast_path, teardown),
		cmocka_unit_test_teardown(test_balance, teardown),
		cmocka_unit_test_teardown(test_summary, teardown),
		cmocka_unit_test_teardown(test_pending, teardown),
		cmocka_unit_test_teardown(test_reserved, teardown),
		cmocka_unit_test_teardown(test_reserve_beyond, teardown),
		cmocka_unit_test_teardown(test_functions, teardown),
		cmocka_unit_test(test_counters),
		cmocka_unit_test(test_keep_common),
	};

	return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
