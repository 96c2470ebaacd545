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
#include <stdint.h>

#define WC_REMOTE_SESSIONS 64u
#define WC_REMOTE_QUESTIONS 16u /* of them, that are not for payloads: without questions no function is found */
#define WC_REMOTE_STRANGERS 32u /* connections that have not shown the key yet; one more ends the oldest */
#define WC_REMOTE_WANTED 8u	/* payloads on their way, of one session */
#define WC_REMOTE_WANTED_BYTES (128u << 20) /* of all */

struct wc_node;

/*
 * All three do nothing and return 0 when the node was started without an address for it, and a negative errno with a sentence when they fail; what
 * was made is then for wc_remote_stop(). In this order: reading the key and taking the address, which nobody notices yet; listening; serving, after
 * the payloads. In another daemon's place the first comes while that one serves, which may have the address as long as it does: what the user got
 * wrong is to be found by then. The second comes when it has stopped, and before it is let go.
 */
int wc_remote_prepare(struct wc_node *node, struct wc_fault *fault);
int wc_remote_listen(struct wc_node *node, struct wc_fault *fault);
int wc_remote_start(struct wc_node *node, struct wc_fault *fault);
/* Ends the sessions, and waits until they have. Before the payloads stop. */
void wc_remote_stop(struct wc_node *node);

/*
 * Results that clients on other hosts have not got yet, or, of those that are in the network, sessions that wait for the other end to have them. 0, and
 * nothing is run any more: the sessions may end. Any thread, while the payloads are there.
 */
uint32_t wc_remote_owed(struct wc_node *node);

/* For status; null when there is none. */
json_t *wc_remote_json(const struct wc_node *node);

#endif
