/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * scheduler.h - the central scheduler: the thread that writes policy into the maps. Nothing of it is on the path of an
 * invocation; it reads what the maps count, and decides
 *   - which shard each core belongs to: from a shard that is robbed to the shard that robs it (steals per pair of shards)
 *   - which cores are reserved for a function
 *   - how many cores work: idle ones are given back to the host (parked), and taken again on a burst
 *   - which shards are near each other, from the host's topology
 *   - which idle instances are stopped, and which are started ahead (warmth.h)
 *   - the hint in BUSY, from the rate at which the pending queue empties
 * and it watches: claims whose packet never came, invocations whose deadline passes while they wait, tags that are stale.
 */
#ifndef WC_SCHEDULER_H
#define WC_SCHEDULER_H

#include "user/node.h"

struct wc_scheduler;

struct wc_scheduler_counters {
	uint64_t rehomed;  /* cores that were given another shard, or reserve */
	uint64_t parked;   /* times a core was given back to the host */
	uint64_t unparked; /* times one was taken again */
	uint64_t expired;  /* invocations answered DEADLINE while they waited */
};

int wc_scheduler_start(struct wc_node *node, struct wc_fault *fault);
void wc_scheduler_stop(struct wc_node *node);
/* Once nobody can wake it any more. */
void wc_scheduler_free(struct wc_node *node);
/* Look again now: something was put into the pending queue by the daemon itself, or a knob or a reservation has changed. */
void wc_scheduler_wake(struct wc_node *node);
void wc_scheduler_counters(const struct wc_node *node, struct wc_scheduler_counters *ret_counters);
/* Cores that are parked now. */
uint32_t wc_scheduler_parked(const struct wc_node *node);

#endif
