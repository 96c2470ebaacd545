/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* topology.h - which CPUs are near each other: SMT siblings, one last-level cache, one NUMA node. From sysfs. */
#ifndef WC_TOPOLOGY_H
#define WC_TOPOLOGY_H

#include "bpf/maps.h"

#include <stdbool.h>
#include <stdint.h>

/* For each level, nearest first, a number that CPUs have in common when they are that near. */
struct wc_topology {
	uint16_t group[WC_NEAR_LEVELS][WC_CPUS_MAX];
};

/* Read it from below `root`, "/sys/devices/system" if that is NULL. What cannot be read counts as far away. */
void wc_topology_read(struct wc_topology *topology, const char *root);

/*
 * Fill wc_shard.near of all shards: a shard is near another when some home core of the one is near some home core of the
 * other. Each level includes the ones before it.
 */
void wc_topology_near(const struct wc_topology *topology, struct wc_tables *tables, uint32_t shard_count);

#endif
