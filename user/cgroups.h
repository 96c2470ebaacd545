/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cgroups.h - a control group (version 2) for each sandbox: limits of memory and processes, and whether memory ran out.
 *
 *     /sys/fs/cgroup/warmcore-NODE           of the node; with --isolate on it is the partition, too (isolate.h)
 *     /sys/fs/cgroup/warmcore-NODE/sandbox-N one sandbox
 *
 * Where there is only version 1, or nothing that may be written, there are no such limits, and `why` says so; then instances have
 * RLIMIT_DATA and RLIMIT_NPROC (order.c). Source: Documentation/admin-guide/cgroup-v2.rst.
 */
#ifndef WC_CGROUPS_H
#define WC_CGROUPS_H

#include <stdbool.h>
#include <stdint.h>

#define WC_CGROUP_ROOT "/sys/fs/cgroup"
#define WC_CGROUP_NAME_MAX 24

struct wc_cgroups {
	int folder; /* of the node, or -1: none */
	char path[64];
	char why[160]; /* there is none */
};

/* Write to a file of a group: a folder's descriptor and a name, or AT_FDCWD and a path. 0 or a negative errno. */
int wc_cgroup_write(int folder, const char *file, const char *text);
/* Make the node's group. Without one *cgroups says why; that is no error. */
void wc_cgroups_open(struct wc_cgroups *cgroups, const char *node);
void wc_cgroups_close(struct wc_cgroups *cgroups);
/* Remove the groups that a killed daemon left; they must be empty. Returns how many. */
int wc_cgroups_remove(const char *node);
/* Is there a group of this node? */
bool wc_cgroups_left(const char *node);
/* Would wc_cgroups_open() work? Changes nothing. NULL, or why not. */
const char *wc_cgroups_missing(void);

/* Make the group of sandbox number N, with a limit of processes. Its folder, or a negative errno. */
int wc_cgroup_make(const struct wc_cgroups *cgroups, uint32_t number, uint32_t processes);
/* From now on its processes have this much memory together, and no swap. 0 or a negative errno. */
int wc_cgroup_limit_memory(int group, uint32_t memory_mb);
/* Has the kernel killed it because of that? */
bool wc_cgroup_out_of_memory(int group);
/* CPU time of all that is or was in there; 0 when it cannot be read. */
uint64_t wc_cgroup_cpu_ns(int group);
/* 0, or a negative errno; -EBUSY: something still lives in there. */
int wc_cgroup_remove(const struct wc_cgroups *cgroups, uint32_t number);

#endif
