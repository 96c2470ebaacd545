/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * decide_fixture.h - one node in plain memory and what its dispatcher does with a packet, for the tests of the decision.
 * Include it after cmocka.h. Core i belongs to shard i % shards, and runs on CPU 10 + i.
 */
#ifndef WC_TESTS_DECIDE_FIXTURE_H
#define WC_TESTS_DECIDE_FIXTURE_H

#include "tests/unit/tables_fixture.h"
#include "user/check.h"

#define FUNCTION 0x5003
#define CPU 10

static struct wc_tables tables;
static struct wc_config *config;
static struct wc_function *function; /* FUNCTION's entry */
static struct wc_counters counters;
static struct wc_request request; /* of the next decision; its id counts up by itself */
static struct wc_decision decision;

/* A function that may be called, in slot `id` % 4096. */
static inline struct wc_function *deploy(__u32 id)
{
	struct wc_function *entry = &tables.wc_functions[WC_FUNCTION_SLOT(id)];

	entry->id = id;
	return entry;
}

/* All cores are free. */
static inline void node_open(__u32 cores, __u32 shards)
{
	tables_open(&tables, cores, shards);
	config = tables.wc_config;
	for (__u32 core = 0; core < cores; core++) {
		wc_release_core(&tables, core);
		if (CPU + core < WC_CPUS_MAX)
			config->cpu_core[CPU + core] = (__u16)(core + 1);
	}
	function = deploy(FUNCTION);
	memset(&counters, 0, sizeof(counters));
	request = (struct wc_request){ .function_id = FUNCTION };
}

static inline void check_sound(void)
{
	json_t *problems = json_array();

	wc_check_tables(&tables, problems);
	if (json_array_size(problems))
		fail_msg("%s", json_string_value(json_array_get(problems, 0)));
	json_decref(problems);
}

static inline void node_close(void)
{
	tables_close(&tables);
}

/* Decide about the request as it is, and count it. */
static inline enum wc_outcome decide_same(void)
{
	memset(&decision, 0xee, sizeof(decision));
	decision.request = request;
	wc_decide(&tables, config, &decision);
	assert_memory_equal(&decision.request, &request, sizeof(request));
	wc_count_facts(&counters, &decision);
	wc_count_outcome(&counters, decision.outcome);
	return decision.outcome;
}

static inline enum wc_outcome decide(void)
{
	request.id.request_id++;
	return decide_same();
}

/* The slot of the request's id in the at-most-once window, 0 when it is not there. */
static inline __u64 seen_slot(void)
{
	struct wc_fingerprint print = wc_fingerprint(&request.id, config->seen_key);

	return wc_seen_find(&tables, &print);
}

/* A core, at once or late: the caller's, with all that is written about it. Who waited for nothing is not in the window. */
static inline void expect_core(__u32 core, __u32 how)
{
	struct wc_core *entry = &tables.wc_cores[core];

	assert_int_equal(decide(), WC_OUTCOME_to_core);
	assert_int_equal(decision.core, core);
	assert_int_equal(decision.how, how);
	assert_true(decision.facts & WC_DECIDED_OWNED);
	assert_int_equal(entry->state, WC_CORE_CLAIMED);
	assert_int_equal(entry->function_id, request.function_id);
	assert_true(entry->claims == entry->releases + 1);
	if (decision.facts & WC_DECIDED_LATE) {
		assert_int_equal(WC_SEEN_FINGERPRINT(seen_slot()), decision.print.value);
		assert_int_not_equal(decision.seen, WC_NONE);
	} else {
		assert_int_equal(decision.seen, WC_NONE);
		assert_true(seen_slot() == 0);
	}
}

/* Cores that run something. */
static inline void take(__u32 core)
{
	assert_true(wc_take_core(&tables, core));
	tables.wc_cores[core].claims++;
	tables.wc_cores[core].state = WC_CORE_RUNNING;
}

static inline void take_all_but(__u32 spared)
{
	for (__u32 core = 0; core < config->core_count; core++)
		if (core != spared && tables.wc_cores[core].state == WC_CORE_FREE)
			take(core);
}

/* Give a core to another queue, as the central scheduler does: at its next release, which is now if it is free. */
static inline void move_home(__u32 core, __u32 queue)
{
	tables.wc_cores[core].home = (__u16)queue;
	if (tables.wc_cores[core].state == WC_CORE_FREE) {
		take(core);
		wc_release_core(&tables, core);
	}
}

#endif
