/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * health.h - does this node serve, and is it ready: for probes (`warmcore health`), which ask every few seconds. Looks, and changes nothing.
 */
#ifndef WC_HEALTH_H
#define WC_HEALTH_H

#include "user/node.h"

#include <jansson.h>

/*
 * The answer to {"op":"health"}: `serves`, `problems` (sentences: why it does not), `ready`, `waits_for` (sentences: why it serves and is not ready).
 * That it comes at all says that the main loop turns.
 */
json_t *wc_health(struct wc_node *node);

#endif
