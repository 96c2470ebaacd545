/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * live.h - the answer to `live` (docs/CONTROL.md): what a page that is drawn each second needs of a node, in few bytes. Sums, from which whoever
 * asks makes rates; rows without names of columns, which are said once. Read from the tables, without a lock that an invocation takes.
 */
#ifndef WC_LIVE_H
#define WC_LIVE_H

#include "user/node.h"

#include <jansson.h>

/* A new object, NULL: out of memory. Any thread. */
json_t *wc_live(struct wc_node *node);

#endif
