/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* policies.c - the policies there are: those of bpf/policy/table.h, and the baselines of the paper's survey. */
#include "tools/sim/internal.h"

#include <string.h>

static const struct sim_policy headers[] = {
#define WC_POLICY(policy, binding, service, line) { .name = #policy, .text = line, .header = WC_POLICY_##policy },
#include "bpf/policy/table.h"
#undef WC_POLICY
};
#define HEADERS (sizeof(headers) / sizeof(headers[0]))

static const struct sim_policy *const baselines[] = { &sim_sparrow, &sim_canary,    &sim_kubernetes,
						      &sim_lambda,  &sim_openwhisk, &sim_hermod };
#define BASELINES (sizeof(baselines) / sizeof(baselines[0]))

const struct sim_policy *sim_policy_number(unsigned number)
{
	if (number < HEADERS)
		return &headers[number];
	return number < HEADERS + BASELINES ? baselines[number - HEADERS] : NULL;
}

const struct sim_policy *sim_policy_find(const char *name)
{
	const struct sim_policy *policy;

	for (unsigned i = 0; (policy = sim_policy_number(i)); i++)
		if (!strcmp(policy->name, name))
			return policy;
	return NULL;
}

const char *sim_policy_name(const struct sim_policy *policy)
{
	return policy->name;
}

const char *sim_policy_text(const struct sim_policy *policy)
{
	return policy->text;
}
