/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_decide_ref.c - hundreds of thousands of steps of a node, decided twice: by the code and by a model in plain arrays
 * (reference.h). Deterministic; WC_TEST_SEED=N tries another sequence.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static unsigned long step_number;

#define REQUIRE(condition)                                                                                             \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			fail_msg("step %lu, line %d: %s", step_number, __LINE__, #condition);                          \
	} while (0)

#include "tests/unit/reference.h"

#define STEPS 400000
#define CHECK_EVERY 1000

static __u64 seed = 20191120;

/* `policies`: whether the policy changes, too. `ends`: of 256 steps that are packets or ends, how many are ends. */
static void run(__u32 running, bool policies, __u32 ends)
{
	ref_open(running);
	for (step_number = 0; step_number < STEPS; step_number++) {
		__u64 dice = random_next(&seed);
		__u32 op = dice & 0xff, a = (__u32)(dice >> 8) & 0xffff, b = (__u32)(dice >> 24) & 0xffff;

		if (op < 216)
			op = (dice >> 40 & 0xff) < ends ? 112 : op % 112;
		if (op >= 216 && op % 12 == 10 && !policies)
			op++;
		ref_step(op, a, b);
		if (step_number % CHECK_EVERY == 0)
			ref_check();
	}
	ref_check();
	printf("%llu at once or late (%llu warm, %llu local, %llu stolen, %llu by libraries, %llu by runtime), %llu of "
	       "them bound early to a busy core, %llu waited (%llu held back), %llu + %llu busy, %llu again\n",
	       (unsigned long long)ref.outcomes[WC_OUTCOME_to_core], (unsigned long long)ref.hows[0],
	       (unsigned long long)ref.hows[1], (unsigned long long)ref.hows[2], (unsigned long long)ref.hows[6],
	       (unsigned long long)ref.hows[7], (unsigned long long)ref.facts_early,
	       (unsigned long long)ref.outcomes[WC_OUTCOME_to_pending], (unsigned long long)ref.facts_held,
	       (unsigned long long)ref.outcomes[WC_OUTCOME_busy_pending],
	       (unsigned long long)ref.outcomes[WC_OUTCOME_busy_function],
	       (unsigned long long)ref.outcomes[WC_OUTCOME_pass_retransmit]);
	/* All of it happened, and often enough. */
	assert_true(ref.outcomes[WC_OUTCOME_to_core] > STEPS / 50);
	assert_true(ref.facts_held > STEPS / 1000);
	assert_true(ref.outcomes[WC_OUTCOME_busy_function] > STEPS / 1000);
	assert_true(ref.outcomes[WC_OUTCOME_pass_retransmit] > STEPS / 10000);
	assert_true(ref.hows[0] > 50 && ref.hows[1] > 10 && ref.hows[2] > STEPS / 1000);
	assert_true(ref.hows[6] > STEPS / 1000 && ref.hows[7] > STEPS / 1000);
}

/* Hardly ever is nothing free, or hardly ever anything. */
static void test_central_light(void **state)
{
	(void)state;
	run(0, false, 200);
}

static void test_central_heavy(void **state)
{
	(void)state;
	run(REF_CORES, false, 110);
	assert_true(ref.outcomes[WC_OUTCOME_to_pending] > STEPS / 100);
	assert_true(ref.outcomes[WC_OUTCOME_busy_pending] > STEPS / 100);
	assert_true(ref.outcomes[WC_OUTCOME_pass_retransmit] > STEPS / 100);
}

static void test_policies(void **state)
{
	(void)state;
	run(REF_CORES / 2, true, 150);
	assert_true(ref.facts_early > STEPS / 1000);
}

/* Both give the core back, and nothing has changed but the accounts. */
static void give_back(__u32 core, __u32 shard, __u32 how)
{
	if (how & WC_HOW_STOLEN)
		ref.steals[shard][ref.core[core].queue]++;
	wc_release_core(&ref_tables, core);
}

/* One request in one state: the straight line finds what the general way finds, and what the model finds; or nothing. */
static bool same_first(__u32 f, __u32 cpu, __u32 shard)
{
	struct wc_config *config = ref_tables.wc_config;
	struct wc_decision decision = { .request = { .function_id = ref_id(f), .cpu = cpu, .shard = shard } };
	__u32 how = 0, expected_how, cursor = ref.cursor[shard], core,
	      expected = ref_central(f, cpu, shard, &expected_how);

	ref.cursor[shard] = cursor;
	if (config->policy != WC_POLICY_central ||
	    !wc_decide_first(&ref_tables, config, ref_id(f), cpu, shard, &core, &how))
		return false;
	REQUIRE(!ref_function(f)->running_max);
	if (ref.core[expected].queue != shard && ref.core[expected].queue < REF_SHARDS)
		expected_how |= WC_HOW_STOLEN;
	REQUIRE(core == expected && how == expected_how);
	REQUIRE(ref_tables.wc_cores[core].state == WC_CORE_CLAIMED);
	REQUIRE(ref_tables.wc_cores[core].function_id == ref_id(f));
	give_back(core, shard, how);
	ref_tidy();
	REQUIRE(wc_decide_now(&ref_tables, &decision) == 1);
	REQUIRE(decision.outcome == WC_OUTCOME_to_core && decision.core == core && decision.how == how);
	REQUIRE(decision.facts == WC_DECIDED_OWNED && decision.seen == WC_NONE);
	give_back(core, shard, how);
	ref_tidy();
	return true;
}

/* Many thousand random states of the tables, and every function, CPU and shard in each of them. */
static void test_first(void **state)
{
	unsigned long given = 0, asked = 0;

	(void)state;
	for (__u32 round = 0; round < 5000; round++) {
		if (round % 50 == 0)
			ref_open((__u32)random_next(&seed) % (REF_CORES + 1));
		for (int i = 0; i < 40; i++) {
			__u64 dice = random_next(&seed);

			step_number = round * 40 + (unsigned)i;
			ref_step(dice & 0xff, (__u32)(dice >> 8) & 0xffff, (__u32)(dice >> 24) & 0xffff);
		}
		for (__u32 core = 0; core < REF_CORES; core++)
			if (ref.core[core].free && ref.core[core].queue != ref.core[core].home)
				ref_cycle(core);
		ref_tidy();
		for (__u32 f = 0; f < REF_FUNCTIONS; f++)
			for (__u32 i = 0; i < 3; i++, asked++)
				given += same_first(f, (round + i) % REF_CPUS, (round / 2 + 2 * i) % REF_SHARDS);
		ref_compare();
	}
	printf("%lu of %lu\n", given, asked);
	assert_true(given > asked / 50);
}

static int close_tables(void **state)
{
	(void)state;
	tables_close(&ref_tables);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_central_light),
		cmocka_unit_test(test_central_heavy),
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_first),
	};
	const char *chosen = getenv("WC_TEST_SEED");

	if (chosen)
		seed = strtoull(chosen, NULL, 0) | 1;
	return cmocka_run_group_tests_name("decide, beside a reference", tests, NULL, close_tables);
}
