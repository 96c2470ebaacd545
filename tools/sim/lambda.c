/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lambda.c - packing until a threshold, then a new VM, as AWS Lambda, Azure and Google did when they were measured (Wang et al., "Peeking
 * Behind the Curtains of Serverless Platforms", ATC 2018). An idle instance of the function takes the invocation, the one that was used last first;
 * else one is started in the function's newest VM, while that has fewer than options->vm_slots instances; else in a new VM, which takes vm_ns
 * more. A VM is a core, the next one in turn; what runs there shares it, also with other functions' VMs when there are more VMs than cores. A VM
 * that is full is not filled up again when its instances have gone.
 */
#include "tools/sim/internal.h"

#include <errno.h>

struct open_vm {
	uint32_t core, used; /* used 0: there is none yet */
};

struct cloud {
	struct open_vm *function;
	uint32_t next_core;
};

static int lambda_open(struct sim *sim)
{
	struct cloud *cloud = sim_alloc(sim, 1, sizeof(*cloud));

	sim->own = cloud;
	if (cloud)
		cloud->function = sim_alloc(sim, sim->options->functions, sizeof(*cloud->function));
	return sim->failed ? -ENOMEM : 0;
}

static void lambda_arrive(struct sim *sim, uint32_t first)
{
	const struct sim_options *options = sim->options;
	struct cloud *cloud = sim->own;

	for (uint32_t job = first, next; job; job = next) {
		uint32_t function = job_at(sim, job)->function, core = instance_last(sim, 0, function);
		struct open_vm *vm = &cloud->function[function];
		uint64_t start = 0;

		next = job_at(sim, job)->next;
		if (core != NONE) {
			start = instance_take(sim, function, core, true);
		} else {
			start = options->cold_ns;
			sim->result->cold++;
			if (!vm->used || vm->used >= options->vm_slots) {
				vm->core = cloud->next_core;
				vm->used = 0;
				cloud->next_core = (cloud->next_core + 1) % sim->cores;
				start += options->vm_ns;
			}
			vm->used++;
			core = vm->core;
		}
		core_add(sim, core, job, options->dispatch_ns, start);
	}
}

const struct sim_policy sim_lambda = {
	.name = "lambda",
	.text = "an idle instance, else a new one in the function's newest VM until that is full (Lambda, Azure, Google)",
	.header = -1,
	.share = true,
	.one_node = true,
	.open = lambda_open,
	.arrive = lambda_arrive,
};
