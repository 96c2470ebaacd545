/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * remote.h - the node's door for clients on other hosts (docs/PAYLOADS.md, "From another host"): questions about functions, and large payloads,
 * over TCP, for who has the key. Invocations themselves come as packets, like all others.
 *
 * It stands for those clients at the node's own sockets: to everything behind it they are clients on this host, with the same limits.
 */
#ifndef WC_REMOTE_H
#define WC_REMOTE_H

#include "user/error.h"

#include <jansson.h>

#define WC_REMOTE_SESSIONS 64u
#define WC_REMOTE_STRANGERS 32u		    /* connections that have not shown the key yet; one more ends the oldest */
#define WC_REMOTE_WANTED 8u		    /* payloads on their way, of one session */
#define WC_REMOTE_WANTED_BYTES (128u << 20) /* of all */

struct wc_node;

/* When the node was started with an address for it; after the payloads. */
int wc_remote_start(struct wc_node *node, struct wc_fault *fault);
/* Ends the sessions, and waits until they have. Before the payloads stop. */
void wc_remote_stop(struct wc_node *node);

/* For status; null when there is none. */
json_t *wc_remote_json(const struct wc_node *node);

#endif
