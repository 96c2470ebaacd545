/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * theory.c - see theory.h. `central` is one queue for all cores, so M/G/c; `random` is c independent M/G/1; `ll_ps` on one core M/G/1 with
 * processor sharing, whose mean depends on the mean service time only (Kleinrock, Queueing Systems II, 4.4).
 */
#include "tools/sim/theory.h"
#include "tools/workload/distribution.h"

#include <string.h>

const struct theory_case theory_cases[] = {
	{ "mm1", "central", "exp:1ms", 1, 0.5, 1 },
	{ "mm1_80", "central", "exp:1ms", 1, 0.8, 2 },
	{ "mm16", "central", "exp:1ms", 16, 0.8, 1 },
	{ "mm64", "central", "exp:100us", 64, 0.95, 1.5 },
	{ "mm1000", "central", "exp:10ms", 1000, 0.9, 1 },
	{ "md1", "central", "fixed:1ms", 1, 0.7, 1 },
	{ "me1", "central", "erlang:1ms,4", 1, 0.7, 1 },
	{ "mg1_bimodal", "central", "bimodal:100us,1ms,0.1", 1, 0.6, 1 },
	{ "mg1_random", "random", "uniform:1ms,3ms", 16, 0.7, 1 },
	{ "mg1_ps_exp", "ll_ps", "exp:1ms", 1, 0.7, 1 },
	{ "mg1_ps_fixed", "ll_ps", "fixed:1ms", 1, 0.7, 1 },
	{ "mg1_ps_hyper", "ll_ps", "hyper:1ms,2", 1, 0.6, 1.5 },
};
const unsigned theory_count = sizeof(theory_cases) / sizeof(theory_cases[0]);

double theory_erlang_c(uint32_t cores, double load)
{
	double offered = load * cores, blocked = 1;

	/* Erlang B by its recursion, which neither overflows nor cancels. */
	for (uint32_t n = 1; n <= cores; n++)
		blocked = offered * blocked / (n + offered * blocked);
	return blocked / (1 - load * (1 - blocked));
}

double theory_md1(double takes, double load)
{
	return takes * (1 + load / (2 * (1 - load)));
}

double theory_response(const struct theory_case *c)
{
	struct distribution service;
	struct wc_fault fault;
	double mean, square;

	if (distribution_parse(&service, c->service, &fault))
		return NAN;
	mean = distribution_mean(&service);
	square = distribution_variance(&service) + mean * mean;
	if (!strcmp(c->policy, "ll_ps"))
		return mean / (1 - c->load);
	if (service.kind == DISTRIBUTION_EXP)
		return mean + theory_erlang_c(c->cores, c->load) * mean / (c->cores * (1 - c->load));
	/* Pollaczek and Khinchine, each core by itself. */
	return mean + c->load / mean * square / (2 * (1 - c->load));
}
