/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * check.h - the invariants of the tables, and the checker behind `warmcore doctor --maps`.
 *
 *   I1  A core is in its home shard's free-core queue exactly when its state is FREE, and in no other queue.
 *   I2  claims - releases is 0 for a FREE core and 1 for every other one.
 *   I3  A summary bit may be set for an empty word, but a word with free cores has its summary bit set (at rest).
 *   I4  No more invocations left the pending queue than entered it, and a pending invocation and a free core do not
 *       coexist (at rest).
 *   I5  The outcomes of a dispatcher add up to the packets it looked at.
 *
 * The tables change while they are read, so a violation counts only when it is seen in every one of several looks.
 */
#ifndef WC_CHECK_H
#define WC_CHECK_H

#include "bpf/maps.h"

#include <jansson.h>

/* Look once. Appends a text for each violation to `problems`. Pure: tests feed it broken tables. */
void wc_check_tables(struct wc_tables *tables, json_t *problems);
void wc_check_counters(const char *who, const struct wc_counters *counters, json_t *problems);

/* Keep of `before` only what is also in `now`. */
void wc_check_keep_common(json_t *before, json_t *now);

#endif
