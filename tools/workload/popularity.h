/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * popularity.h - which function an invocation is for: weights, and a draw in constant time whatever their number (Vose's alias method,
 * 1991). 12 bytes a function.
 *
 *     uniform              all alike
 *     zipf:S               function i with weight (i + 1)^-S, 0 <= S <= 10
 *     hot:SHARE            the first one gets SHARE (0 to 1) of the invocations, the others are alike (Hermod: hot:0.9)
 */
#ifndef WC_WORKLOAD_POPULARITY_H
#define WC_WORKLOAD_POPULARITY_H

#include "tools/workload/random.h"
#include "user/error.h"

#define POPULARITY_FUNCTIONS_MAX 1000000u
#define POPULARITY_SYNTAX "uniform, zipf:S or hot:SHARE"

struct popularity {
	uint32_t count;
	struct popularity_cell {
		uint32_t own; /* probability of the cell's own number, of 2^32; else its alias */
		uint32_t alias;
	} * cells; /* NULL: all alike */
};

/* For `count` (1 to POPULARITY_FUNCTIONS_MAX) functions. 0, -EINVAL or -ENOMEM with a sentence. */
int popularity_parse(struct popularity *popularity, const char *text, uint32_t count, struct wc_fault *fault);
void popularity_free(struct popularity *popularity);

static inline uint32_t popularity_draw(const struct popularity *popularity, struct random *random)
{
	uint64_t bits = random_next(random);
	uint32_t i = (uint32_t)((bits >> 32) * popularity->count >> 32);

	if (!popularity->cells)
		return i;
	return (uint32_t)bits < popularity->cells[i].own ? i : popularity->cells[i].alias;
}

#endif
