/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * isolate.h - keep everybody else off the CPUs of the worker cores: a cpuset partition (Documentation/admin-guide/cgroup-v2.rst,
 * cpuset.cpus.partition) with the daemon and its functions in it.
 *
 * For hosts where CPU affinity is all there is, or where even an owed slice is too much. It needs control groups version 2 with the
 * cpuset controller, and a CPU that is left for the host. Threads of the kernel that belong to a CPU stay.
 */
#ifndef WC_ISOLATE_H
#define WC_ISOLATE_H

#include "user/error.h"

#include <stdint.h>

struct wc_isolation {
	char group[300]; /* folder of the partition; empty: none */
	char home[300];	 /* where the daemon was before */
};

/* Make the partition of node `name` and move this process into it. On failure nothing has changed. */
int wc_isolate(struct wc_isolation *isolation, const char *name, const uint16_t *cpus, uint32_t count,
	       struct wc_fault *fault);
/* Leave and dissolve it. */
void wc_isolate_end(struct wc_isolation *isolation);
/* Dissolve that of a daemon that was killed. Returns whether there was one. */
int wc_isolate_remove(const char *name);

#endif
