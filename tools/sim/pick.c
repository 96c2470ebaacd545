/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * pick.c - policies that choose a node and leave the core to a policy of bpf/ there.
 *
 * canary: two levels (Qu et al., "Canary: A Scheduling Architecture for High Performance Cloud Computing", 2016): what a function calls goes to
 * its partition's server, which schedules it by itself (here: `central` on its cores), and a controller looks at all of them from time to time and
 * migrates. Each function has a home node by hash. At each look waiting invocations are moved from nodes with more than the mean load to those with less, and are under
 * way for a hop.
 *
 * openwhisk: home invokers (Apache OpenWhisk, ShardingContainerPoolBalancer): a function's hash gives its home and a step; the first invoker on
 * that walk that has a free slot (a core here) gets it, and when none has, one at random. There it shares the cores with others (`ll_ps`).
 *
 * hermod: Kaffes, Yadwadkar, Kozyrakis, "Hermod" (SoCC 2022), hybrid: while some node has a free core the lowest such node, one with a warm
 * instance before the others; when none has, the least loaded. At once, and shared there (`ll_ps`).
 */
#include "tools/sim/internal.h"

static uint32_t home(const struct sim *sim, uint32_t function)
{
	return (uint32_t)(wc_mix(function + 1ull) % sim->nodes);
}

static uint32_t canary_pick(struct sim *sim, uint32_t function)
{
	return home(sim, function);
}

/* From the longest queues to the shortest loads; both pointers go round once. */
static void canary_tick(struct sim *sim)
{
	uint64_t sum = 0;
	uint32_t to = 0;

	for (uint32_t n = 0; n < sim->nodes; n++)
		sum += sim->node[n].busy;
	for (uint32_t n = 0; n < sim->nodes; n++) {
		struct node *from = &sim->node[n];

		/* More than its part of all load, by its part of all cores. */
		while (from->pending.count && (uint64_t)from->busy * sim->cores > sum * from->cores + sim->cores) {
			struct node *other = &sim->node[to];
			struct wc_function *entry;
			uint32_t job;

			if ((uint64_t)other->busy * sim->cores + sim->cores > sum * other->cores) {
				if (++to == sim->nodes)
					return;
				continue;
			}
			job = list_take(sim, &from->pending);
			entry = wc_functions_at(&from->tables, job_at(sim, job)->function % WC_FUNCTIONS_MAX);
			if (entry)
				entry->waiting--;
			from->tables.wc_shards[job_at(sim, job)->shard].pending_out++;
			from->busy--;
			other->busy++;
			sim->result->migrations++;
			sim_put(sim, sim->now + sim->options->hop_ns, EVENT_ARRIVE, 0, job, other->number);
		}
	}
}

static uint32_t divisor(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

static uint32_t openwhisk_pick(struct sim *sim, uint32_t function)
{
	uint32_t node = home(sim, function), step = (uint32_t)(wc_mix(~(uint64_t)function) % sim->nodes);

	while (divisor(step, sim->nodes) != 1) /* or it would not reach all */
		step = (step + 1) % sim->nodes;
	for (uint32_t i = 0; i < sim->nodes; i++) {
		if (sim->node[node].busy < sim->node[node].cores)
			return node;
		node = (uint32_t)(((uint64_t)node + step) % sim->nodes);
	}
	return random_below(&sim->choose, sim->nodes);
}

static uint32_t hermod_pick(struct sim *sim, uint32_t function)
{
	uint32_t free = NONE, best = 0;

	for (uint32_t n = 0; n < sim->nodes; n++) {
		struct node *node = &sim->node[n];

		if (node->busy < node->cores) {
			if (instance_last(sim, n, function) != NONE)
				return n;
			if (free == NONE)
				free = n;
		}
		if ((uint64_t)node->busy * sim->node[best].cores < (uint64_t)sim->node[best].busy * node->cores)
			best = n;
	}
	return free != NONE ? free : best;
}

const struct sim_policy sim_canary = {
	.name = "canary",
	.text = "two levels: each function has a home node, which schedules by itself; a controller migrates what waits (Canary)",
	.header = WC_POLICY_central,
	.pick = canary_pick,
	.interval_ns = 10000000,
	.tick = canary_tick,
};

const struct sim_policy sim_openwhisk = {
	.name = "openwhisk",
	.text = "the function's home node, or the next on its walk that has a free slot; shared there (OpenWhisk)",
	.header = WC_POLICY_ll_ps,
	.pick = openwhisk_pick,
};

const struct sim_policy sim_hermod = {
	.name = "hermod",
	.text = "pack nodes while one has a free core, warm ones first, else the least loaded; shared there (Hermod)",
	.header = WC_POLICY_ll_ps,
	.pick = hermod_pick,
};
