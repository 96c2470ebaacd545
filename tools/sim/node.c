/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * node.c - a node: the tables of bpf/tables.h in plain memory, as the user datapath has them, and every decision by wc_decide(), the very
 * lines that the XDP program runs. What user/ does around it is written down here once more, for virtual time: the pending queue (first come,
 * first served; no priorities, limits or fair turns), the agent that takes from it or releases its core, and the hints which core is warm
 * (user/pool.c).
 *
 * A node has a slot for each of 4,096 functions. With more functions those whose numbers are equal modulo 4,096 share one: when another one
 * comes, the hints of the one before are forgotten, but not its instances.
 */
#include "tools/sim/internal.h"

#include <errno.h>

#define HEADER(sim) ((sim)->options->policy->header)

static uint32_t slots(const struct sim *sim)
{
	return sim->options->functions < WC_FUNCTIONS_MAX ? sim->options->functions : WC_FUNCTIONS_MAX;
}

static uint32_t id_of(uint32_t function)
{
	return (function / WC_FUNCTIONS_MAX + 1) << WC_FUNCTION_SLOT_BITS | function % WC_FUNCTIONS_MAX;
}

static void configure(struct sim *sim, struct node *node)
{
	const struct sim_options *options = sim->options;
	struct wc_config *config = node->tables.wc_config;

	config->up = WC_UP_SERVING;
	config->shard_count = (__u16)options->shards;
	config->core_count = node->cores;
	config->pending_max = options->pending_max;
	config->policy = (__u32)HEADER(sim);
	config->order = options->order;
	config->prefer = options->prefer;
	config->core_queue_max = options->core_queue;
	config->pack_slots = options->pack_slots;
	config->seen_key[0] = random_next(&sim->choose);
	config->seen_key[1] = random_next(&sim->choose);
	for (uint32_t i = 0; i < node->cores && i < WC_CPUS_MAX; i++)
		config->cpu_core[i] = (__u16)(i + 1);
}

static int open_node(struct sim *sim, struct node *node)
{
	struct wc_tables *tables = &node->tables;

	tables->wc_config_max = tables->wc_top_max = 1;
	tables->wc_shards_max = tables->wc_steals_max = sim->options->shards;
	tables->wc_cores_max = node->cores;
	tables->wc_functions_max = slots(sim);
	tables->wc_config = sim_alloc(sim, 1, sizeof(*tables->wc_config));
	tables->wc_top = sim_alloc(sim, 1, sizeof(*tables->wc_top));
	tables->wc_shards = sim_alloc(sim, tables->wc_shards_max, sizeof(*tables->wc_shards));
	tables->wc_steals = sim_alloc(sim, tables->wc_steals_max, sizeof(*tables->wc_steals));
	tables->wc_cores = sim->entry + node->first;
	tables->wc_functions = sim_alloc(sim, slots(sim), sizeof(*tables->wc_functions));
	if (sim->failed)
		return -ENOMEM;
	tables->wc_seen = sim->seen; /* ids are never used twice: one window for all of them is as good */
	tables->wc_seen_max = WC_SEEN_SETS;
	configure(sim, node);
	for (uint32_t core = 0; core < node->cores; core++) {
		tables->wc_cores[core].shard = tables->wc_cores[core].home = (__u16)(core % sim->options->shards);
		tables->wc_cores[core].claims = 1;
		wc_release_core(tables, core);
	}
	return 0;
}

int nodes_open(struct sim *sim)
{
	bool header = HEADER(sim) >= 0;

	sim->node = sim_alloc(sim, sim->nodes, sizeof(*sim->node));
	sim->shard_free = sim_alloc(sim, (uint64_t)sim->nodes * sim->options->shards, sizeof(*sim->shard_free));
	if (header) {
		sim->entry = sim_alloc(sim, sim->cores, sizeof(*sim->entry));
		sim->seen = sim_alloc(sim, WC_SEEN_SETS, sizeof(*sim->seen));
	}
	for (uint32_t n = 0; n < sim->nodes && !sim->failed; n++) {
		struct node *node = &sim->node[n];

		node->number = n;
		/* As even as possible, and none is empty. */
		node->first = (uint32_t)((uint64_t)sim->cores * n / sim->nodes);
		node->cores = (uint32_t)((uint64_t)sim->cores * (n + 1) / sim->nodes) - node->first;
		for (uint32_t core = 0; core < node->cores; core++)
			sim->core[node->first + core].node = (uint16_t)n;
		if (header)
			open_node(sim, node);
	}
	return sim->failed ? -ENOMEM : 0;
}

/* --- hints --- */

static struct wc_function *function_of(struct node *node, uint32_t function)
{
	struct wc_function *entry = wc_functions_at(&node->tables, function % WC_FUNCTIONS_MAX);

	return entry && entry->id == id_of(function) ? entry : NULL;
}

/* The core to the front, as tag_function() in user/pool.c. */
void node_warm(struct sim *sim, uint32_t function, uint32_t core)
{
	struct node *node = &sim->node[sim->core[core].node];
	struct wc_function *entry = HEADER(sim) >= 0 ? function_of(node, function) : NULL;
	uint16_t mine = (uint16_t)(core - node->first + 1), carry = mine;

	if (!entry || entry->warm[0] == mine)
		return;
	for (int i = 0; i < WC_WARM_MAX && carry; i++) {
		uint16_t was = entry->warm[i];

		entry->warm[i] = carry;
		carry = was == mine ? 0 : was;
	}
}

void node_cold(struct sim *sim, uint32_t function, uint32_t core)
{
	struct node *node = &sim->node[sim->core[core].node];
	struct wc_function *entry = HEADER(sim) >= 0 ? function_of(node, function) : NULL;
	uint16_t mine = (uint16_t)(core - node->first + 1);
	int to = 0;

	if (!entry)
		return;
	for (int i = 0; i < WC_WARM_MAX; i++)
		if (entry->warm[i] != mine)
			entry->warm[to++] = entry->warm[i];
	while (to < WC_WARM_MAX)
		entry->warm[to++] = 0;
}

/* --- decisions --- */

static bool node_has_free(const struct node *node)
{
	return node->busy < node->cores;
}

/* The function has a slot here; how many wait of it stays with the slot. */
static void enter_function(struct node *node, uint32_t function)
{
	struct wc_function *entry = wc_functions_at(&node->tables, function % WC_FUNCTIONS_MAX);

	if (!entry || entry->id == id_of(function))
		return;
	memset(entry->warm, 0, sizeof(entry->warm));
	entry->id = id_of(function);
	entry->priority = WC_PRIORITY_DEFAULT;
}

/* The next node in ring order that has a free core as far as is known, or NULL. */
static struct node *other_with_free(struct sim *sim, const struct node *node)
{
	for (uint32_t i = 1; i < sim->nodes; i++) {
		struct node *other = &sim->node[(node->number + i) % sim->nodes];

		if (node_has_free(other))
			return other;
	}
	return NULL;
}

/* A scheduler queue takes one decision after the other. From now until this one is made, ns. */
static uint64_t decision_time(struct sim *sim, const struct node *node, uint32_t shard)
{
	uint64_t *free_at = &sim->shard_free[(uint64_t)node->number * sim->options->shards + shard];

	*free_at = (*free_at > sim->now ? *free_at : sim->now) + sim->options->dispatch_ns;
	return *free_at - sim->now;
}

static void wait_here(struct sim *sim, struct node *node, uint32_t job, struct wc_decision *decision, uint64_t delay,
		      bool stolen)
{
	struct node *other = sim->options->steal_nodes && !stolen ? other_with_free(sim, node) : NULL;

	if (other) {
		wc_undo(&node->tables, decision);
		node->busy--;
		other->busy++; /* the core is spoken for: the next one looks for another */
		sim->result->node_steals++;
		sim_put(sim, sim->now + delay + sim->options->hop_ns, EVENT_ARRIVE, 0, job, other->number);
		return;
	}
	node->tables.wc_shards[decision->request.shard].pending_seen++;
	sim->result->pended++;
	list_put(sim, &node->pending, job);
}

void node_arrive(struct sim *sim, struct node *node, uint32_t job, bool stolen)
{
	struct job *j = job_at(sim, job);
	uint32_t cpu = random_below(&sim->choose, node->cores), core;
	struct wc_decision *decision = &sim->decision;
	uint64_t delay;

	instance_ask(sim, node->number, j->function);
	j->shard = (uint16_t)(cpu % sim->options->shards);
	decision->request.function_id = id_of(j->function);
	decision->request.shard = j->shard;
	decision->request.cpu = cpu;
	decision->request.id.request_id = ++sim->request_id;
	enter_function(node, j->function);
	delay = decision_time(sim, node, j->shard);
	node->busy += !stolen;
	wc_decide(&node->tables, node->tables.wc_config, decision);
	if (decision->outcome == WC_OUTCOME_to_pending) {
		wait_here(sim, node, job, decision, delay, stolen);
		return;
	}
	if (decision->outcome != WC_OUTCOME_to_core) {
		node->busy--;
		job_refused(sim, job);
		return;
	}
	sim->result->steals += !!(decision->how & WC_HOW_STOLEN);
	j->how = decision->how & WC_HOW_EARLY;
	if (j->how) /* how many frames a queue holds is not modelled */
		node->tables.wc_shards[j->shard].early_out++;
	core = node->first + decision->core;
	core_add(sim, core, job, delay, UINT64_MAX);
}

uint32_t node_claim(struct sim *sim, struct node *node, uint32_t job)
{
	struct job *j = job_at(sim, job);
	struct wc_decision decision = { .request = { .function_id = id_of(j->function) } };

	instance_ask(sim, node->number, j->function);
	decision.request.id.request_id = ++sim->request_id;
	enter_function(node, j->function);
	wc_decide(&node->tables, node->tables.wc_config, &decision);
	return decision.outcome == WC_OUTCOME_to_core ? node->first + decision.core : NONE;
}

uint32_t node_next(struct sim *sim, uint32_t core)
{
	struct node *node = &sim->node[sim->core[core].node];
	struct wc_function *entry;
	uint32_t job;

	if (sim->cluster)
		return cluster_next(sim, core);
	job = list_take(sim, &node->pending);
	if (!job) {
		wc_release_core(&node->tables, core - node->first);
		return 0;
	}
	entry = wc_functions_at(&node->tables, job_at(sim, job)->function % WC_FUNCTIONS_MAX);
	if (entry)
		entry->waiting--;
	node->tables.wc_shards[job_at(sim, job)->shard].pending_out++;
	return job;
}

void node_done(struct sim *sim, uint32_t job)
{
	struct job *j = job_at(sim, job);
	struct node *node = &sim->node[sim->core[j->core].node];

	node->busy--;
	if (j->how & WC_HOW_EARLY)
		node->tables.wc_cores[j->core - node->first].queued--;
	if (sim->cluster)
		cluster_done(sim, job);
}
