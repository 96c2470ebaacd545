/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * functions_ids.c - which id a function gets; see functions.h. A slot of the table may be used again, an id is not: each has a generation of its own
 * (bpf/proto.h), unless whoever deploys says which id it is to be, because another node has given it out.
 */
#include "user/functions_internal.h"

#include <string.h>

int wc_functions_check_id(const struct wc_functions *functions, uint32_t id, struct wc_fault *fault)
{
	uint32_t slot = WC_FUNCTION_SLOT(id);

	if (!slot || !(id >> WC_FUNCTION_SLOT_BITS))
		return wc_fail(fault, EINVAL,
			       "%u is no id of a function: its last %d bits are a slot from 1 to %d, those above a "
			       "generation from 1 on",
			       id, WC_FUNCTION_SLOT_BITS, WC_FUNCTIONS_MAX - 1);
	if (functions->slot[slot])
		return wc_fail(
			fault, EEXIST,
			"the id %u cannot be given: its slot %u is that of %s, with the id %u; remove that first", id,
			slot, functions->slot[slot]->shown, functions->slot[slot]->id);
	return 0;
}

static int any_id(struct wc_functions *functions, uint32_t *ret_id, struct wc_fault *fault)
{
	uint32_t generation = functions->generation + 1;

	if (generation >= WC_GENERATIONS)
		return wc_fail(fault, ENOSPC, "all %u function generations of this node are used up", WC_GENERATIONS);
	for (uint32_t slot = 1; slot < WC_FUNCTIONS_MAX; slot++) {
		if (functions->slot[slot] || functions->avoided[slot])
			continue;
		functions->generation = generation;
		*ret_id = generation << WC_FUNCTION_SLOT_BITS | slot;
		return 0;
	}
	return wc_fail(fault, ENOSPC, "this node already has %u functions and published versions; remove one first",
		       WC_FUNCTIONS_MAX - 1);
}

int wc_functions_new_id(struct wc_functions *functions, uint32_t wanted, uint32_t *ret_id, struct wc_fault *fault)
{
	int error = wanted ? wc_functions_check_id(functions, wanted, fault) : any_id(functions, ret_id, fault);

	if (error || !wanted)
		return error;
	if (wanted >> WC_FUNCTION_SLOT_BITS > functions->generation)
		functions->generation = wanted >> WC_FUNCTION_SLOT_BITS;
	*ret_id = wanted;
	return 0;
}

void wc_functions_avoid(struct wc_functions *functions, const bool *slots)
{
	pthread_mutex_lock(&functions->change);
	memcpy(functions->avoided, slots, sizeof(functions->avoided));
	pthread_mutex_unlock(&functions->change);
}

uint32_t wc_functions_generation(struct wc_functions *functions)
{
	return functions->generation;
}

int wc_functions_raise_generation(struct wc_functions *functions, uint32_t generation, struct wc_fault *fault)
{
	int error = 0;

	if (generation >= WC_GENERATIONS)
		return wc_fail(fault, EINVAL, "%u is no generation of ids of functions: there are %u", generation,
			       WC_GENERATIONS);
	pthread_mutex_lock(&functions->change);
	if (generation > functions->generation)
		error = wc_registry_put_generation(functions->registry, generation, fault);
	if (!error && generation > functions->generation)
		functions->generation = generation;
	pthread_mutex_unlock(&functions->change);
	return error;
}
