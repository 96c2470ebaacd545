/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_sim.c - the simulator against closed forms of queueing theory, and what must hold of every policy: nothing is lost, a seed is a
 * result. Every run ends with the engine's own check: each invocation has ended once, every core is free in the tables of its node.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bpf/decide.h"
#include "tests/unit/sim_near.h"
#include "tools/sim/sim.h"
#include "tools/sim/theory.h"

static struct sim_result *result;

static int setup(void **state)
{
	(void)state;
	result = calloc(1, sizeof(*result));
	return !result;
}

static int teardown(void **state)
{
	(void)state;
	free(result);
	return 0;
}

/* No overheads; Poisson at `load`. */
static void ideal(struct sim_options *options, struct popularity *popularity, const char *policy, uint32_t cores,
		  double load, const char *service)
{
	struct wc_fault fault;

	sim_defaults(options);
	options->policy = sim_policy_find(policy);
	assert_non_null(options->policy);
	options->cores = cores;
	options->network_ns = options->hop_ns = options->dispatch_ns = options->handover_ns = options->cold_ns = 0;
	options->pending_max = 1u << 30;
	options->core_queue = 1u << 30;
	options->lanes = 1u << 20;
	options->invocations = INVOCATIONS;
	assert_int_equal(distribution_parse(&options->service, service, &fault), 0);
	options->arrivals = arrivals_poisson(load * cores / distribution_mean(&options->service) * 1e9);
	assert_int_equal(popularity_parse(popularity, "uniform", options->functions, &fault), 0);
	options->popularity = popularity;
}

static void run(const struct sim_options *options)
{
	struct wc_fault fault = { "" };
	int error = sim_run(options, result, &fault);

	if (error)
		fail_msg("%s: %s", sim_policy_name(options->policy), fault.text);
}

static void test_theory(void **state)
{
	(void)state;
	for (unsigned i = 0; i < theory_count; i++) {
		const struct theory_case *c = &theory_cases[i];
		struct popularity popularity;
		struct sim_options options;

		ideal(&options, &popularity, c->policy, c->cores, c->load, c->service);
		run(&options);
		assert_near(histogram_mean(&result->response), theory_response(c), PART * c->part);
		assert_near(result->in_system,
			    theory_response(c) * c->load * c->cores / distribution_mean(&options.service),
			    PART * 1.5 * c->part);
		assert_near(result->utilization, c->load, PART);
		assert_int_equal(result->completed, INVOCATIONS);
		popularity_free(&popularity);
	}
}

/* Every policy there is, at high load with all overheads: nothing is lost, and a seed is a result. */
static void test_policies(void **state)
{
	struct sim_result *again = calloc(1, sizeof(*again));
	const struct sim_policy *policy;
	unsigned i;

	(void)state;
	assert_non_null(again);
	for (i = 0; (policy = sim_policy_number(i)); i++) {
		struct popularity popularity;
		struct sim_options options;
		struct wc_fault fault;

		ideal(&options, &popularity, sim_policy_name(policy), 96, 0.9, "bimodal:1ms,50ms,0.02");
		popularity_free(&popularity);
		options.functions = 9000; /* more than a node has slots */
		assert_int_equal(popularity_parse(&popularity, "zipf:1", options.functions, &fault), 0);
		options.nodes = 4;
		options.shards = 3;
		options.steal_nodes = true;
		options.network_ns = options.hop_ns = 20000;
		options.dispatch_ns = 100;
		options.handover_ns = 5000;
		options.cold_ns = 3000000;
		options.keep_alive_ns = 50000000;
		options.instances_per_core = 3;
		options.pending_max = 50;
		options.core_queue = 20;
		options.lanes = 4;
		options.batch = 3;
		options.invocations = 30000;
		options.interval_ns = 20000000;
		options.stabilize_ns = 50000000;
		run(&options); /* ends with the check that every invocation has ended once, and all cores are free */
		memcpy(again, result, sizeof(*again));
		assert_int_equal(result->arrived, 30000);
		assert_int_equal(result->arrived, result->completed + result->refused);
		run(&options);
		again->seconds = result->seconds;
		assert_memory_equal(again, result, sizeof(*again));
		options.seed++;
		run(&options);
		assert_true(again->response.sum != result->response.sum);
		popularity_free(&popularity);
	}
	assert_int_equal(i, WC_POLICY_COUNT + 6);
	free(again);
}

/* No core has two at a time unless the policy shares or queues; and work is conserved: cores were busy for as long as services take. */
static void test_one_at_a_time(void **state)
{
	static const struct {
		const char *policy;
		bool queues;
	} rows[] = { { "central", false }, { "sparrow", false }, { "jsq2", true }, { "ll_ps", true } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct popularity popularity;
		struct sim_options options;

		ideal(&options, &popularity, rows[i].policy, 8, 0.8, "exp:1ms");
		options.invocations = 100000;
		run(&options);
		assert_int_equal(result->longest > 1, rows[i].queues);
		assert_near(result->utilization, result->offered, 0.002);
		popularity_free(&popularity);
	}
}

/* What is known without a formula. */
static void test_known(void **state)
{
	struct popularity popularity;
	struct sim_options options;

	(void)state;
	/* One invocation at a time on an idle node: each part of the response is what it was said to be. */
	ideal(&options, &popularity, "central", 64, 0.00001, "fixed:1ms");
	options.invocations = 1000;
	popularity_free(&popularity);
	options.functions = popularity.count = 1; /* as uniform has it */
	options.arrivals.kind = ARRIVALS_FIXED;
	options.network_ns = 7000;
	options.dispatch_ns = 100;
	options.handover_ns = 5000;
	options.cold_ns = 300000;
	options.keep_alive_ns = UINT64_MAX;
	run(&options);
	assert_int_equal(result->cold, 1);
	assert_near(histogram_quantile(&result->response, 0.5), 1000000 + 2 * 7000 + 100 + 5000, 0.008);
	assert_near(histogram_mean(&result->response), 1000000 + 2 * 7000 + 100 + 5000, 0.0001);
	options.keep_alive_ns = 0;
	run(&options);
	assert_int_equal(result->cold, 1000);
	assert_near(histogram_mean(&result->response), 1000000 + 2 * 7000 + 100 + 5000 + 300000, 0.0001);
	/* A scheduler that takes 2 ms for a decision is a queue of its own: M/D/1 at 0.5, then the service. */
	options.dispatch_ns = 2000000;
	options.arrivals = arrivals_poisson(250);
	options.keep_alive_ns = UINT64_MAX;
	options.invocations = 200000;
	run(&options);
	assert_near(histogram_mean(&result->response), 1000000 + 2 * 7000 + 5000 + 2000000 * 1.5, 0.02);
	popularity_free(&popularity);
}

/* Stealing makes one queue of many, between nodes and between the shards of one. */
static void test_steals(void **state)
{
	struct popularity popularity;
	struct sim_options options;
	double before;

	(void)state;
	ideal(&options, &popularity, "central", 64, 0.8, "exp:1ms");
	options.invocations = 300000;
	options.nodes = 16;
	run(&options);
	before = histogram_mean(&result->wait);
	assert_int_equal(result->node_steals, 0);
	options.steal_nodes = true;
	run(&options);
	assert_true(result->node_steals > 0);
	assert_true(histogram_mean(&result->wait) < before / 5);
	options.nodes = 1;
	options.shards = 16;
	run(&options);
	assert_true(result->steals > 0);
	assert_near(histogram_mean(&result->response), 1e6 * (1 + theory_erlang_c(64, 0.8) / (64 * 0.2)), 0.01);
	popularity_free(&popularity);
}

/* More work than cores: what waits is limited, the rest is refused, and what is served is what cores can do. */
static void test_overload(void **state)
{
	struct popularity popularity;
	struct sim_options options;

	(void)state;
	ideal(&options, &popularity, "central", 16, 2, "exp:1ms");
	options.invocations = 200000;
	options.pending_max = 100;
	run(&options);
	assert_true(result->in_flight_max <= 16 + WC_PENDING_PLACES(100) + 1);
	assert_near((double)result->completed, 100000, 0.02);
	assert_near(result->utilization, 1, 0.01);
	popularity_free(&popularity);
}

/* Memory is in proportion to cores, and small. */
static void test_memory(void **state)
{
	uint64_t bytes[2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct popularity popularity;
		struct sim_options options;

		ideal(&options, &popularity, "central", i ? 400000 : 100000, 0.5, "exp:10ms");
		options.invocations = 1000;
		run(&options);
		bytes[i] = result->bytes;
		popularity_free(&popularity);
	}
	assert_true(bytes[1] < 5 * bytes[0]);
	assert_true(bytes[1] < 400000ull * 400);
}

static void test_refused(void **state)
{
	struct popularity popularity;
	struct sim_options options, bad;
	struct wc_fault fault;

	(void)state;
	ideal(&options, &popularity, "central", 64, 0.5, "exp:1ms");
#define REFUSED(member, value)                                                                                         \
	do {                                                                                                           \
		bad = options;                                                                                         \
		bad.member = (value);                                                                                  \
		fault.text[0] = 0;                                                                                     \
		assert_int_equal(sim_run(&bad, result, &fault), -EINVAL);                                              \
		assert_true(fault.text[0]);                                                                            \
	} while (0)
	REFUSED(cores, 0);
	REFUSED(cores, SIM_CORES_MAX + 1);
	REFUSED(nodes, 65);
	REFUSED(shards, 0);
	REFUSED(shards, WC_SHARDS_MAX + 1);
	REFUSED(functions, 0);
	REFUSED(functions, 51); /* the popularity has 50 */
	REFUSED(batch, 0);
	REFUSED(lanes, 0);
	REFUSED(instances_per_core, 0);
	REFUSED(instances_per_core, SIM_INSTANCES_MAX + 1);
	REFUSED(invocations, 0);
	REFUSED(replicas, 0);
	REFUSED(speed, 0);
	popularity_free(&popularity);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_theory), cmocka_unit_test(test_policies), cmocka_unit_test(test_one_at_a_time),
		cmocka_unit_test(test_known),  cmocka_unit_test(test_steals),	cmocka_unit_test(test_overload),
		cmocka_unit_test(test_memory), cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests_name("sim", tests, setup, teardown);
}
