/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* tables_fixture.h - the tables of a node in plain memory, as the user datapath has them, for tests and fuzzers. */
#ifndef WC_TESTS_TABLES_FIXTURE_H
#define WC_TESTS_TABLES_FIXTURE_H

#include <stdlib.h>

#include "bpf/decide.h"

/* All cores are offline and in no queue; core i belongs to shard i % shards. */
static inline void tables_open(struct wc_tables *tables, __u32 cores, __u32 shards)
{
	*tables = (struct wc_tables){
		.wc_config = calloc(1, sizeof(struct wc_config)),
		.wc_shards = aligned_alloc(64, shards * sizeof(struct wc_shard)),
		.wc_cores = calloc(cores, sizeof(struct wc_core)),
		.wc_functions = calloc(WC_FUNCTIONS_MAX, sizeof(struct wc_function)),
		.wc_seen = calloc(WC_SEEN_SETS, sizeof(struct wc_seen_set)),
		.wc_config_max = 1,
		.wc_shards_max = shards,
		.wc_cores_max = cores,
		.wc_functions_max = WC_FUNCTIONS_MAX,
		.wc_seen_max = WC_SEEN_SETS,
	};
	if (!tables->wc_config || !tables->wc_shards || !tables->wc_cores || !tables->wc_functions || !tables->wc_seen)
		abort();
	memset(tables->wc_shards, 0, shards * sizeof(struct wc_shard));
	tables->wc_config->up = 1;
	tables->wc_config->shard_count = (__u16)shards;
	tables->wc_config->core_count = cores;
	tables->wc_config->pending_max = 4;
	tables->wc_config->seen_key[0] = 0x1234;
	tables->wc_config->seen_key[1] = 0x5678;
	for (__u32 core = 0; core < cores; core++) {
		tables->wc_cores[core].shard = (__u16)(core % shards);
		tables->wc_cores[core].claims = 1; /* owned by its agent, until it is released */
	}
}

static inline void tables_close(struct wc_tables *tables)
{
	free(tables->wc_config);
	free(tables->wc_shards);
	free(tables->wc_cores);
	free(tables->wc_functions);
	free(tables->wc_seen);
}

/* A generator of its own, so that a seed means the same everywhere (G. Marsaglia, xorshift64). */
static inline __u64 random_next(__u64 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state * 0x2545f4914f6cdd1dULL >> 16;
}

#endif
