/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * test_sim_cluster.c - the simulator's schedulers of a cluster: a scheduler is an M/D/1 in front of the cores, saturated at what its costs say; nothing is lost;
 * and the costs are read from files of the benchmarks. Every run ends with the engine's own check.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bpf/decide.h"
#include "tests/unit/sim_near.h"
#include "tools/sim/costs.h"
#include "tools/sim/sim.h"
#include "tools/sim/theory.h"

static struct sim_result *result;
static struct popularity popularity;

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

/* Nothing costs anything; Poisson, so many a second. */
static void cluster(struct sim_options *options, uint32_t cores, uint32_t nodes, uint32_t schedulers,
		    const char *service, double rate)
{
	struct wc_fault fault;

	sim_defaults(options);
	options->cores = cores;
	options->nodes = nodes;
	options->schedulers = schedulers;
	options->network_ns = options->hop_ns = options->handover_ns = options->cold_ns = 0;
	options->local_ns = options->remote_ns = options->share_ns = options->core_free_ns = options->free_delay_ns = 0;
	options->pending_max = options->ring = 1u << 30;
	options->invocations = INVOCATIONS;
	assert_int_equal(distribution_parse(&options->service, service, &fault), 0);
	options->arrivals = arrivals_poisson(rate);
	popularity_free(&popularity);
	assert_int_equal(popularity_parse(&popularity, "uniform", options->functions, &fault), 0);
	options->popularity = &popularity;
}

static void run(const struct sim_options *options)
{
	struct wc_fault fault = { "" };

	if (sim_run(options, result, &fault))
		fail_msg("%s", fault.text);
}

/* So many cores that none waits for one: what is left is the queue of each scheduler. */
static void test_md1(void **state)
{
	static const struct {
		uint32_t schedulers;
		double load, part; /* the nearer to 1, the longer samples depend on each other */
	} rows[] = { { 1, 0.3, 1 }, { 1, 0.5, 1 }, { 1, 0.8, 1 }, { 4, 0.7, 1 }, { 64, 0.5, 1 }, { 1, 0.95, 4 } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		double takes = 10000, rate = rows[i].load / takes * 1e9 * rows[i].schedulers, mean;
		struct sim_options options;

		cluster(&options, 40000, 640, rows[i].schedulers, "exp:1ms", rate);
		options.local_ns = options.remote_ns = (uint64_t)takes;
		run(&options);
		mean = histogram_mean(&result->decision);
		printf("M/D/1, %u schedulers at %.2f: %.1f ns, theory %.1f\n", rows[i].schedulers, rows[i].load, mean,
		       theory_md1(takes, rows[i].load));
		assert_int_equal(result->pended + result->refused, 0);
		assert_near(mean, theory_md1(takes, rows[i].load), PART * rows[i].part);
		/* Behind it the service and nothing else. */
		assert_near(histogram_mean(&result->response), theory_md1(takes, rows[i].load) + 1e6, PART);
		assert_near(result->scheduler_busy, rows[i].load, PART);
		assert_near(result->throughput, rate, PART);
	}
}

/* One queue for all cores, however many nodes they are on: M/M/c, when nothing costs anything. */
static void test_mmc(void **state)
{
	static const uint32_t nodes[] = { 1, 16, 64 };

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct sim_options options;

		cluster(&options, 64, nodes[i], 1, "exp:1ms", 0.8 * 64 * 1000);
		run(&options);
		assert_near(histogram_mean(&result->response), 1e6 * (1 + theory_erlang_c(64, 0.8) / (64 * 0.2)), PART);
		assert_near(result->utilization, 0.8, PART);
		assert_int_equal(result->orders > 0, nodes[i] > 1);
	}
}

/* A scheduler can do what its costs say, and no more; two can do twice that. */
static void test_saturated(void **state)
{
	struct sim_options options;

	(void)state;
	cluster(&options, 20000, 400, 1, "exp:1ms", 150000);
	options.local_ns = options.remote_ns = 10000;
	options.ring = 100;
	run(&options);
	assert_near(result->throughput, 100000, PART);
	assert_near(result->scheduler_busy, 1, PART);
	assert_near((double)result->refused / INVOCATIONS, 1.0 / 3, 2 * PART);
	/* What waits is not more than there is room for, the one that is decided included. */
	assert_true(result->decision.max <= 101 * 10000);
	options.schedulers = 2;
	run(&options);
	assert_int_equal(result->refused, 0);
	assert_near(result->throughput, 150000, PART);
	assert_near(result->scheduler_busy, 0.75, PART);
	/* CORE_FREE is its work, too; there is none of the own host, which has one core here. */
	cluster(&options, 6401, 6401, 1, "exp:10ms", 100000);
	options.local_ns = options.remote_ns = 3000;
	options.core_free_ns = 4000;
	run(&options);
	assert_near(result->scheduler_busy, 0.7, PART);
	assert_near((double)result->orders, INVOCATIONS, 0.01);
}

/* Each part of the response, and how long a core idles after an invocation. */
static void test_known(void **state)
{
	struct sim_options options;

	(void)state;
	/* The own host has one core, which never ends: all others go to the other node. */
	cluster(&options, 2, 2, 1, "fixed:1ms", 1);
	options.arrivals.kind = ARRIVALS_FIXED;
	options.network_ns = 7000;
	options.local_ns = 100;
	options.remote_ns = 900;
	options.hop_ns = 20000;
	options.free_delay_ns = 30000;
	options.core_free_ns = 400;
	options.handover_ns = 5000;
	options.invocations = 1000;
	run(&options);
	assert_int_equal(result->orders, 0); /* one at a time is its own host's */
	assert_near(histogram_mean(&result->response), 1e6 + 2 * 7000 + 100 + 5000, 1e-6);
	assert_near(histogram_mean(&result->decision), 100, 1e-6);
	/* Two at a time: one of them goes a hop. */
	options.batch = 2;
	run(&options);
	assert_int_equal(result->orders, 500);
	/* The second is decided after the first. */
	assert_near(histogram_mean(&result->response), 1e6 + 2 * 7000 + 5000 + (100 + 100 + 900 + 20000) / 2.0, 1e-6);
	assert_near(histogram_mean(&result->decision), (100 + 100 + 900) / 2.0, 1e-6);
	/* More than they can do: the own core is never idle; the other one is for a CORE_FREE, a decision and two ways. */
	options.batch = 1;
	options.invocations = 20000;
	options.arrivals = arrivals_poisson(1e6);
	options.warmup = 0;
	run(&options);
	assert_near((double)result->end_ns, 20000 / (1 / 1.005e6 + 1 / (1.005e6 + 30000 + 400 + 900 + 20000)), 0.001);
}

/* Whoever has no core left hands over to who has one: nearly one queue again. */
static void test_shared(void **state)
{
	struct sim_options options;
	double before;

	(void)state;
	cluster(&options, 64, 64, 16, "exp:1ms", 0.8 * 64 * 1000);
	run(&options);
	assert_int_equal(result->node_steals, 0);
	before = histogram_mean(&result->wait);
	options.steal_nodes = true;
	run(&options);
	assert_true(result->node_steals > 0);
	assert_true(histogram_mean(&result->wait) < before / 5);
	/* A hop and a decision each are on the way. */
	options.share_ns = 1000;
	options.hop_ns = 50000;
	before = histogram_mean(&result->wait);
	run(&options);
	assert_true(histogram_mean(&result->wait) > before + 50000);
}

/* With everything at once: nothing is lost, and a seed is a result. */
static void test_all(void **state)
{
	struct sim_result *again = calloc(1, sizeof(*again));
	struct sim_options options;

	(void)state;
	assert_non_null(again);
	for (uint32_t balance = 0; balance < SIM_BALANCE_COUNT; balance++) {
		cluster(&options, 300, 48, 7, "bimodal:1ms,50ms,0.02", 140000);
		options.local_ns = 5000;
		options.remote_ns = 30000;
		options.share_ns = 20000;
		options.core_free_ns = 9000;
		options.hop_ns = 40000;
		options.free_delay_ns = 60000;
		options.cold_ns = 3000000;
		options.keep_alive_ns = 50000000;
		options.instances_per_core = 3;
		options.pending_max = 20;
		options.ring = 10;
		options.batch = 3;
		options.steal_nodes = true;
		options.balance = balance;
		options.invocations = 60000;
		run(&options);
		assert_int_equal(result->arrived, 60000);
		assert_int_equal(result->arrived, result->completed + result->refused);
		assert_true(result->refused > 0 && result->pended > 0 && result->node_steals > 0 && result->orders > 0);
		memcpy(again, result, sizeof(*again));
		run(&options);
		again->seconds = result->seconds;
		assert_memory_equal(again, result, sizeof(*again));
	}
	free(again);
}

static void test_refused(void **state)
{
	struct sim_options options, bad;
	struct wc_fault fault;

	(void)state;
	cluster(&options, 64, 8, 2, "exp:1ms", 1000);
#define REFUSED(member, value)                                                                                         \
	do {                                                                                                           \
		bad = options;                                                                                         \
		bad.member = (value);                                                                                  \
		fault.text[0] = 0;                                                                                     \
		assert_int_equal(sim_run(&bad, result, &fault), -EINVAL);                                              \
		assert_true(fault.text[0]);                                                                            \
	} while (0)
	REFUSED(schedulers, 9); /* than there are nodes */
	REFUSED(schedulers, SIM_SCHEDULERS_MAX + 1);
	REFUSED(shards, 2);
	REFUSED(policy, sim_policy_find("jsq2"));
	REFUSED(policy, sim_policy_find("canary"));
	REFUSED(policy, sim_policy_find("sparrow"));
}

/* --- costs --- */

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void test_costs(void **state)
{
	static const char *const bad[] = {
		"",								       /* nothing */
		"{\"name\":\"x\"}\n",						       /* no unit */
		"{\"name\":\"warm_c_p50\",\"value\":1,\"unit\":\"us\",\"floor\":1}\n", /* nothing of ours */
		"{\"name\":\"cluster_decision_remote\",\"value\":1,\"unit\":\"s\",\"floor\":1}\n",
		"{\"name\":\"cluster_decision_remote\",\"value\":-1,\"unit\":\"ns\",\"floor\":1}\n",
		"{\"name\":\"cluster_decision_remote\",\"value\":1e300,\"unit\":\"ns\",\"floor\":1}\n",
		"{\"name\":\"rtt_process_p50\",\"value\":10,\"unit\":\"us\",\"floor\":12}\n", /* less than its floor */
		"[1]\n",
		"no json\n",
	};
	char path[] = "/tmp/warmcore-test-sim-cluster-XXXXXX";
	struct sim_options options;
	struct wc_fault fault;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	sim_defaults(&options);
	write_file(path, "{\"name\":\"cluster_decision_local\",\"value\":84.5,\"unit\":\"ns\",\"floor\":35}\n"
			 "{\"name\":\"cluster_rate_1\",\"value\":1043242,\"unit\":\"decisions/s\",\"floor\":27924209}\n"
			 "{\"name\":\"cluster_decision_remote\",\"value\":958.55,\"unit\":\"ns\",\"floor\":35}\n"
			 "{\"name\":\"cluster_core_free_1\",\"value\":446.029,\"unit\":\"ns\",\"floor\":35}\n"
			 "{\"name\":\"cold_native_p50\",\"value\":714,\"unit\":\"us\",\"floor\":486}\n"
			 "{\"name\":\"rtt_process_p50\",\"value\":17.7,\"unit\":\"us\",\"floor\":12.2}\n");
	fault.text[0] = 0;
	if (costs_read(&options, path, &fault))
		fail_msg("%s", fault.text);
	assert_int_equal(options.local_ns, 85);
	assert_int_equal(options.remote_ns, 959);
	assert_int_equal(options.share_ns, 959);
	assert_int_equal(options.core_free_ns, 446);
	assert_int_equal(options.cold_ns, 714000);
	assert_int_equal(options.handover_ns, 5500);
	assert_int_equal(options.network_ns, 6100);
	assert_int_equal(options.hop_ns, 6100);
	assert_int_equal(options.free_delay_ns, 6100);
	assert_int_equal(options.dispatch_ns, 44); /* as it was */
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_file(path, bad[i]);
		fault.text[0] = 0;
		if (costs_read(&options, path, &fault) != -EINVAL)
			fail_msg("%s was taken", bad[i]);
		assert_non_null(strstr(fault.text, path));
	}
	unlink(path);
	assert_int_equal(costs_read(&options, path, &fault), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_md1),	cmocka_unit_test(test_mmc),    cmocka_unit_test(test_saturated),
		cmocka_unit_test(test_known),	cmocka_unit_test(test_shared), cmocka_unit_test(test_all),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_costs),
	};
	int failed = cmocka_run_group_tests_name("sim_cluster", tests, setup, teardown);

	popularity_free(&popularity);
	return failed;
}
