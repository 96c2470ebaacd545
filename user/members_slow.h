/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * members_slow.h - nodes of the cluster that are slow: what they say with each beat goes into slow_nodes.h, and what that decides out to the log and to people. The caller
 * (members.c) has the lock, and does what was decided.
 */
#ifndef WC_MEMBERS_SLOW_H
#define WC_MEMBERS_SLOW_H

#include "user/options.h"
#include "user/slow_nodes.h"

#include <jansson.h>

struct wc_tables;
struct wc_members_slow;

/* NULL: no memory. */
struct wc_members_slow *wc_members_slow_new(const struct wc_options *options);
void wc_members_slow_free(struct wc_members_slow *slow);

/* Its decisions, for wc_slow_joins() and its like. */
struct wc_slow *wc_members_slow_rules(struct wc_members_slow *slow);
/* A beat of the node: "counts" (function_counts.h) and "took_us", how long the one before took. What makes no sense is left out. */
void wc_members_slow_beat(struct wc_members_slow *slow, uint16_t id, const json_t *question);
/* wc_slow_tick(), with what this host has done itself. */
uint32_t wc_members_slow_tick(struct wc_members_slow *slow, struct wc_tables *tables, uint64_t now,
			      uint16_t ret_changed[WC_MEMBERS_MAX]);

bool wc_members_slow_ejects(const struct wc_members_slow *slow, uint16_t id);
/* Its state has changed: to the log. */
void wc_members_slow_say(const struct wc_members_slow *slow, uint16_t id, const char *name, uint64_t now);
/* For people; null: it is well. */
json_t *wc_members_slow_json(const struct wc_members_slow *slow, uint16_t id, uint64_t now);

#endif
