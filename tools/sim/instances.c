/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * instances.c - idle instances. Those of a function on a node are in one list, the one that was used last first, so the rest of a list is
 * older than its head: when the head is over its keep-alive all are, and nothing has to be looked at before somebody asks. Those of a core are
 * in a ring, for the limit of instances a core.
 */
#include "tools/sim/internal.h"

#include <errno.h>
#include <stdlib.h>

struct instance {
	uint64_t since;
	uint32_t function, core;
	uint32_t next, before;		 /* of the function on the node; + 1 */
	uint32_t core_next, core_before; /* of the core: a ring */
};

#define LOOKS 16 /* along the list of the function for one on this core, before another one will do */

int instances_open(struct sim *sim)
{
	sim->idle_of = sim_alloc(sim, (uint64_t)sim->nodes * sim->options->functions, sizeof(*sim->idle_of));
	return sim->failed ? -ENOMEM : 0;
}

void instances_close(struct sim *sim)
{
	free(sim->instance);
}

static struct instance *at(struct sim *sim, uint32_t instance)
{
	return &sim->instance[instance - 1];
}

static uint32_t *list_of(struct sim *sim, uint32_t domain, uint32_t function)
{
	return &sim->idle_of[(uint64_t)domain * sim->options->functions + function];
}

static uint32_t new_instance(struct sim *sim)
{
	uint32_t instance = sim->instances_free;

	if (!instance) {
		uint32_t more = sim->instances ? sim->instances * 2 : 1024;
		struct instance *larger = realloc(sim->instance, more * sizeof(*larger));

		if (!larger) {
			sim->failed = true;
			return 0;
		}
		sim->bytes += (more - sim->instances) * sizeof(*larger);
		sim->instance = larger;
		for (uint32_t i = more; i > sim->instances; i--) {
			larger[i - 1].next = sim->instances_free;
			sim->instances_free = i;
		}
		sim->instances = more;
		instance = sim->instances_free;
	}
	sim->instances_free = at(sim, instance)->next;
	return instance;
}

static void remove_instance(struct sim *sim, uint32_t number)
{
	struct instance *i = at(sim, number);
	uint32_t core = i->core, function = i->function, *head = list_of(sim, sim->core[core].node, function);

	if (i->before)
		at(sim, i->before)->next = i->next;
	else
		*head = i->next;
	if (i->next)
		at(sim, i->next)->before = i->before;
	if (!--sim->core[core].idle_count) {
		sim->core[core].idle = 0;
	} else {
		at(sim, i->core_next)->core_before = i->core_before;
		at(sim, i->core_before)->core_next = i->core_next;
		if (sim->core[core].idle == number)
			sim->core[core].idle = i->core_next;
	}
	i->next = sim->instances_free;
	sim->instances_free = number;
}

/* Those of this function that are over their time: all from the first one on, because the list is in the order of time. */
static void expire(struct sim *sim, uint32_t *head)
{
	uint64_t keep = sim->options->keep_alive_ns;

	if (!*head || keep == UINT64_MAX || sim->now - at(sim, *head)->since <= keep)
		return;
	while (*head) {
		uint32_t function = at(sim, *head)->function, core = at(sim, *head)->core;

		remove_instance(sim, *head);
		node_cold(sim, function, core);
	}
}

void instance_ask(struct sim *sim, uint32_t domain, uint32_t function)
{
	uint32_t first = *list_of(sim, domain, function);

	if (first) {
		__builtin_prefetch(at(sim, first), 1);
		__builtin_prefetch((const char *)(at(sim, first) + 1) - 1, 1);
	}
}

uint64_t instance_take(struct sim *sim, uint32_t function, uint32_t core, bool here)
{
	uint32_t *head = list_of(sim, sim->core[core].node, function), found = 0;

	expire(sim, head);
	if (*head && at(sim, *head)->core == core) {
		found = *head;
	} else if (*head) {
		uint32_t along = *head, ring = sim->core[core].idle;

		/* Both lists at once: the shorter one says whether there is one here. */
		for (uint32_t i = 0; i < sim->core[core].idle_count && along && !found && (here || i < LOOKS); i++) {
			found = at(sim, along)->core == core ? along : at(sim, ring)->function == function ? ring : 0;
			along = at(sim, along)->next;
			ring = at(sim, ring)->core_next;
		}
	}
	if (found) {
		sim->result->warm++;
		remove_instance(sim, found);
		return 0;
	}
	if (*head && !here) {
		uint32_t other = at(sim, *head)->core;

		sim->result->moved++;
		remove_instance(sim, *head);
		node_cold(sim, function, other);
		return sim->options->move_ns;
	}
	sim->result->cold++;
	return sim->options->cold_ns;
}

void instance_put(struct sim *sim, uint32_t function, uint32_t core)
{
	uint32_t number = new_instance(sim), *head = list_of(sim, sim->core[core].node, function);
	uint32_t first = sim->core[core].idle;
	struct instance *i;

	if (!number)
		return;
	i = at(sim, number);
	*i = (struct instance){ .since = sim->now, .function = function, .core = core, .next = *head };
	if (*head)
		at(sim, *head)->before = number;
	*head = number;
	i->core_next = first ? first : number;
	i->core_before = first ? at(sim, first)->core_before : number;
	at(sim, i->core_before)->core_next = number;
	at(sim, i->core_next)->core_before = number;
	sim->core[core].idle = number;
	if (++sim->core[core].idle_count > sim->options->instances_per_core) {
		uint32_t last = i->core_before, of = at(sim, last)->function;

		remove_instance(sim, last);
		node_cold(sim, of, core);
	}
	node_warm(sim, function, core);
}

uint32_t instance_last(struct sim *sim, uint32_t domain, uint32_t function)
{
	uint32_t *head = list_of(sim, domain, function);

	expire(sim, head);
	return *head ? at(sim, *head)->core : NONE;
}
