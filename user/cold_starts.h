/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* cold_starts.h - how long cold starts took and why there were any, by function: a table of latency.h for all threads, under a lock. */
#ifndef WC_COLD_STARTS_H
#define WC_COLD_STARTS_H

#include "user/latency.h"
#include "user/warmth.h"

struct wc_cold_starts;

/* For `functions` of their own, as wc_latencies_new(). NULL: no memory. */
struct wc_cold_starts *wc_cold_starts_new(unsigned functions);
void wc_cold_starts_free(struct wc_cold_starts *starts);

/* Any thread. `ns`: until it was ready; WC_LATENCY_NONE: it failed, or nobody measured. */
void wc_cold_starts_add(struct wc_cold_starts *starts, uint32_t id, const char *name, enum wc_cold why, uint64_t ns);
/* As wc_latency_read(): ends[] by enum wc_cold, the first histogram is the duration. Any thread. */
bool wc_cold_starts_read(struct wc_cold_starts *starts, unsigned index, struct wc_latency *sum);

#endif
