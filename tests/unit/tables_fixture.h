/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* tables_fixture.h - the tables of a node in plain memory, as the user datapath has them, for tests and fuzzers. */
#ifndef WC_TESTS_TABLES_FIXTURE_H
#define WC_TESTS_TABLES_FIXTURE_H

#include <stdlib.h>

#include "bpf/decide.h"

/* Zeroed entries, so that each map's last entry ends where its block ends: the address sanitizer guards that. */
static inline void *tables_alloc(__u32 entries, size_t size)
{
	size_t bytes = (entries * size + 63) / 64 * 64;
	void *block = aligned_alloc(64, bytes);

	if (!block)
		abort();
	return memset(block, 0, bytes);
}

static inline void tables_alloc_all(struct wc_tables *tables, __u32 cores)
{
	*tables = (struct wc_tables){
		.wc_config_max = 1,
		.wc_top_max = 1,
		.wc_shards_max = WC_QUEUES_MAX,
		.wc_steals_max = WC_SHARDS_MAX,
		.wc_cores_max = cores,
		.wc_runs_max = cores * WC_LANES_MAX,
		.wc_functions_max = WC_FUNCTIONS_MAX,
		.wc_tags_max = WC_TAGS_MAX,
		.wc_seen_max = WC_SEEN_SETS,
	};
#define TABLES_ALLOC(name, type) tables->name = tables_alloc(tables->name##_max, sizeof(struct type));
	WC_TABLES_EACH(TABLES_ALLOC)
#undef TABLES_ALLOC
}

/* All cores are offline and in no queue; core i belongs to shard i % shards. */
static inline void tables_open(struct wc_tables *tables, __u32 cores, __u32 shards)
{
	tables_alloc_all(tables, cores);
	tables->wc_config->up = 1;
	tables->wc_config->shard_count = (__u16)shards;
	tables->wc_config->core_count = cores;
	tables->wc_config->pending_max = 4;
	tables->wc_config->core_queue_max = 4;
	tables->wc_config->pack_slots = 2;
	tables->wc_config->seen_key[0] = 0x1234;
	tables->wc_config->seen_key[1] = 0x5678;
	for (__u32 core = 0; core < cores; core++) {
		tables->wc_cores[core].shard = (__u16)(core % shards);
		tables->wc_cores[core].home = (__u16)(core % shards);
		tables->wc_cores[core].claims = 1; /* owned by its agent, until it is released */
	}
}

static inline void tables_close(struct wc_tables *tables)
{
#define TABLES_FREE(name, type) free(tables->name);
	WC_TABLES_EACH(TABLES_FREE)
#undef TABLES_FREE
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
