/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* placement.h - what the control socket says of threads and CPUs: who schedules them, and the kernel's accounts. */
#ifndef WC_PLACEMENT_H
#define WC_PLACEMENT_H

#include "user/node.h"

#include <jansson.h>

/* "sched_ext (full)", "sched_ext (partial)" or "affinity": which of them it is now. For every result that depends on it. */
const char *wc_placement_name(const struct wc_node *node);
/* The same in detail, and why; with the accounts of each worker CPU. */
json_t *wc_placement_json(const struct wc_node *node);
/* Add on_cpu_ns and wait_ns to the object of a function, or to each of a list; 0 where the kernel does not count them. */
void wc_placement_times(const struct wc_node *node, json_t *functions);

#endif
