/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* functions_signature.c - has anything changed? See functions.h. */
#include "user/functions_internal.h"

#include <string.h>

#define FNV_START 0xcbf29ce484222325ull
#define FNV_PRIME 0x100000001b3ull

/* Eight bytes at a time; of random texts that is as good. */
static uint64_t add(uint64_t sum, const void *bytes, size_t length)
{
	for (size_t i = 0; i < length; i += sizeof(uint64_t)) {
		uint64_t word = 0;

		memcpy(&word, (const char *)bytes + i, length - i < sizeof(word) ? length - i : sizeof(word));
		sum = (sum ^ word) * FNV_PRIME;
	}
	return sum;
}

/* Revisions are random, and another one after each change. */
uint64_t wc_functions_signature(struct wc_functions *functions)
{
	uint64_t sum = FNV_START;

	/* Not `lock`, which each invocation takes; all that changes is changed under this one, too. */
	if (pthread_mutex_trylock(&functions->change))
		return 0;
	for (uint32_t slot = 0; slot < WC_FUNCTIONS_MAX; slot++) {
		const struct wc_fn *fn = functions->slot[slot];
		const struct wc_family *family = functions->family[slot];

		if (!fn)
			continue;
		sum = add(sum, &fn->id, sizeof(fn->id));
		sum = add(sum, fn->revision, sizeof(fn->revision) - 1);
		if (fn->published || !family)
			continue;
		sum = add(sum, &family->reserved, sizeof(family->reserved));
		for (uint32_t i = 0; i < family->count; i++)
			sum = add(sum, family->aliases[i].revision, sizeof(family->aliases[i].revision) - 1);
	}
	pthread_mutex_unlock(&functions->change);
	return sum ?: 1;
}
