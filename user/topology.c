/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* topology.c - see topology.h. A group is named by its lowest CPU, which is what the kernel's lists begin with. */
#include "user/topology.h"

#include "bpf/shim.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_INDEX_MAX 8

/* The first number of a CPU list like "0-3,8", or -1. */
static long first_of(const char *path)
{
	FILE *file = fopen(path, "re");
	char text[64] = "", *end;
	long value = -1;

	if (!file)
		return -1;
	if (fgets(text, sizeof(text), file)) {
		value = strtol(text, &end, 10);
		if (end == text)
			value = -1;
	}
	fclose(file);
	return value;
}

/* Caches are numbered from the nearest: the last one that there is, is the last level. */
static long last_level_cache(const char *root, uint32_t cpu)
{
	char path[512];
	long found = -1;

	for (int index = 0; index < CACHE_INDEX_MAX; index++) {
		long first;

		snprintf(path, sizeof(path), "%s/cpu/cpu%u/cache/index%d/shared_cpu_list", root, cpu, index);
		first = first_of(path);
		if (first < 0)
			break;
		found = first;
	}
	return found;
}

/* A CPU's folder has a link nodeN. */
static long numa_node(const char *root, uint32_t cpu)
{
	struct dirent *entry;
	char path[512];
	long node = -1;
	DIR *folder;

	snprintf(path, sizeof(path), "%s/cpu/cpu%u", root, cpu);
	folder = opendir(path);
	while (folder && node < 0 && (entry = readdir(folder)))
		if (!strncmp(entry->d_name, "node", 4) && entry->d_name[4] >= '0' && entry->d_name[4] <= '9')
			node = strtol(entry->d_name + 4, NULL, 10);
	if (folder)
		closedir(folder);
	return node;
}

/* Unknown: a group of its own, which is beyond all that are named by a CPU or a node. */
static uint16_t group_or_own(long group, uint32_t cpu)
{
	return (uint16_t)(group >= 0 && group < WC_CPUS_MAX ? group : WC_CPUS_MAX + (long)cpu);
}

void wc_topology_read(struct wc_topology *topology, const char *root)
{
	char path[512];

	if (!root)
		root = "/sys/devices/system";
	for (uint32_t cpu = 0; cpu < WC_CPUS_MAX; cpu++) {
		long sibling;

		snprintf(path, sizeof(path), "%s/cpu/cpu%u/topology/thread_siblings_list", root, cpu);
		sibling = first_of(path);
		topology->group[0][cpu] = group_or_own(sibling, cpu);
		if (sibling < 0) { /* no such CPU: spare the rest */
			topology->group[1][cpu] = topology->group[2][cpu] = topology->group[0][cpu];
			continue;
		}
		topology->group[1][cpu] = group_or_own(last_level_cache(root, cpu), cpu);
		topology->group[2][cpu] = group_or_own(numa_node(root, cpu), cpu);
	}
}

void wc_topology_near(const struct wc_topology *topology, struct wc_tables *tables, uint32_t shard_count)
{
	uint64_t before[WC_SHARDS_MAX] = { 0 };

	for (int level = 0; level < WC_NEAR_LEVELS; level++) {
		/* Shards that have a core in each group. Groups are few, CPUs and nodes name them below 2 x WC_CPUS_MAX. */
		static _Thread_local uint64_t shards_of[2 * WC_CPUS_MAX];

		memset(shards_of, 0, sizeof(shards_of));
		for (uint32_t i = 0; i < tables->wc_cores_max; i++) {
			uint16_t home = WC_READ(tables->wc_cores[i].home), cpu = tables->wc_cores[i].cpu;

			if (home < shard_count && cpu < WC_CPUS_MAX)
				shards_of[topology->group[level][cpu]] |= 1ULL << home;
		}
		for (uint32_t s = 0; s < shard_count; s++) {
			uint64_t near = before[s];

			for (uint32_t g = 0; g < 2 * WC_CPUS_MAX; g++)
				if (shards_of[g] >> s & 1)
					near |= shards_of[g];
			before[s] = near;
			WC_WRITE(tables->wc_shards[s].near[level], near & ~(1ULL << s));
		}
	}
}
