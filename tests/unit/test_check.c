/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_check.c - the invariants of the tables: sound ones pass, and each way of breaking one is reported, alone and by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bpf/decide.h"
#include "user/check.h"

#define SHARDS 2
#define CORES 100

static struct wc_shard shards[SHARDS];
static struct wc_core cores[CORES];
static struct wc_tables tables = {
	.wc_shards = shards, .wc_cores = cores, .wc_shards_max = SHARDS, .wc_cores_max = CORES
};

/* Cores 0 to 49 free, then 25 claimed, 15 running, 10 offline; something has happened before. */
static void make_sound(void)
{
	memset(shards, 0, sizeof(shards));
	memset(cores, 0, sizeof(cores));
	for (uint32_t core = 0; core < CORES; core++) {
		struct wc_core *entry = &cores[core];

		entry->shard = (uint16_t)(core % SHARDS);
		entry->claims = entry->releases = core * 3;
		entry->state = core < 50 ? WC_CORE_FREE :
			       core < 75 ? WC_CORE_CLAIMED :
			       core < 90 ? WC_CORE_RUNNING :
					   WC_CORE_OFFLINE;
		if (core < 50)
			wc_freeq_put(&shards[core % SHARDS], core);
		else
			entry->claims++;
	}
	shards[0].pending_in = 10;
	shards[0].pending_out = 7;
	shards[0].pending_lost = 3;
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
	expect_sound();
	memset(shards, 0, sizeof(shards));
	memset(cores, 0, sizeof(cores));
	for (uint32_t core = 0; core < CORES; core++)
		cores[core].claims = 1; /* all offline */
	shards[1].pending_in = 4;	/* all waiting is fine when nobody is free */
	expect_sound();
}

/* I1: in the home queue exactly when FREE, in no other. */
static void test_membership(void **state)
{
	(void)state;
	make_sound();
	clear_bit(0, 48);
	expect("core 48 is not in the free-core queue of shard 0, but its state is 1", 1);
	set_bit(1, 75);
	expect("core 75 is in the free-core queue of shard 1, but its state is 3", 1);
	set_bit(0, 98);
	expect("core 98 is in the free-core queue of shard 0, but its state is 0", 1);
	set_bit(0, 51);
	expect("core 51 is in the free-core queue of shard 0, but belongs to shard 1", 1);
	set_bit(1, 48); /* twice */
	expect("core 48 is in the free-core queue of shard 1, but belongs to shard 0", 1);
	cores[3].state = WC_CORE_CLAIMED; /* two invariants at once */
	expect("core 3 is in the free-core queue of shard 1, but its state is 2", 2);
	cores[60].shard = SHARDS;
	expect("core 60 belongs to shard 2, which does not exist", 1);
	cores[60].shard = UINT16_MAX;
	expect("core 60 belongs to shard 65535, which does not exist", 1);
	cores[60].state = 4;
	expect("core 60 is in state 4, which is none", 1);
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
	cores[95].claims--;
	expect("core 95 in state 0 was claimed 0 times more often than released", 1);
}

/* I3: a word with free cores has its summary bit. */
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
}

/* I4: the pending queue. */
static void test_pending(void **state)
{
	(void)state;
	make_sound();
	shards[0].pending_out++;
	expect("shard 0: 11 invocations left the pending queue, but only 10 entered", 1);
	shards[1].pending_lost = 1;
	expect("shard 1: 1 invocations left the pending queue, but only 0 entered", 1);
	shards[1].pending_in = 1; /* someone waits at shard 1 while cores of both are free */
	expect("invocations wait in the pending queue although cores are free", 1);
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
		cmocka_unit_test(test_sound),	 cmocka_unit_test(test_membership),  cmocka_unit_test(test_beyond),
		cmocka_unit_test(test_balance),	 cmocka_unit_test(test_summary),     cmocka_unit_test(test_pending),
		cmocka_unit_test(test_counters), cmocka_unit_test(test_keep_common),
	};

	return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
