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

#include "bpf/tables.h"
#include "tools/sim/sim.h"
#include "tools/sim/theory.h"

#ifdef __SANITIZE_ADDRESS__
#define INVOCATIONS 200000 /* that nothing is read that should not be; the figures are for the other variant */
#define PART 0.05
#else
#define INVOCATIONS 4000000
#define PART 0.01
#endif

#define assert_near(value, expected, part)                                                                             \
	do {                                                                                                           \
		double is = (value), be = (expected);                                                                  \
		if (!(fabs(is - be) <= (part)*fabs(be)))                                                               \
			fail_msg("%s is %g, not %g", #value, is, be);                                                  \
	} while (0)

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
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_theory),
	};

	return cmocka_run_group_tests_name("sim", tests, setup, teardown);
}
