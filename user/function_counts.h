/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * function_counts.h - what the functions of this host have done since the last look: how many invocations, how long they took. Nodes of a cluster tell it their
 * scheduler, which finds out who is slow (slow_nodes.h). Agents count anyhow (struct wc_function); this only reads.
 */
#ifndef WC_FUNCTION_COUNTS_H
#define WC_FUNCTION_COUNTS_H

#include "bpf/cluster_tables.h"

#include <jansson.h>

#define WC_COUNTS_MAX 64 /* functions in one look; where more have done something the next look begins after them */

struct wc_tables;
struct wc_counts;

struct wc_counted {
	uint32_t id; /* the scheduler's */
	uint32_t count, cold;
	uint64_t service_ns;
};

/* NULL: no memory. `theirs`: this host is a node, and its functions are named by the scheduler's ids (wc_member_ids). */
struct wc_counts *wc_counts_new(bool theirs);
void wc_counts_free(struct wc_counts *counts);
/* What was done until now is nobody's question. */
void wc_counts_begin(struct wc_counts *counts);
uint32_t wc_counts_read(struct wc_counts *counts, struct wc_tables *tables, struct wc_counted ret[WC_COUNTS_MAX]);
/* The same for a message: [[id, count, cold, service in us], ...]; and back: false, it is none. */
json_t *wc_counts_json(struct wc_counts *counts, struct wc_tables *tables);
bool wc_counted_parse(const json_t *entry, struct wc_counted *ret);

#endif
