/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lend.h - schedulers of several parts of a cluster, siblings, lend to each other what is free (docs/CLUSTER.md): this host's side as one that lends. It joins each sibling
 * like a node, and now and then gives it leave to send some invocations, as many as cores are free here. Those are decided on here as if clients had sent them.
 */
#ifndef WC_LEND_H
#define WC_LEND_H

#include "user/node.h"

#include "bpf/seen.h"

#include <jansson.h>

#define WC_LEND_SLOTS 64 /* invocations that a sibling may have leave for at once: entries of a CORE_FREE */

/* They do nothing, and return 0, without --siblings. Errors with a sentence. Start: once packets are served. */
int wc_lend_open(struct wc_node *node, struct wc_fault *fault);
int wc_lend_start(struct wc_node *node, struct wc_fault *fault);
/*
 * The node is about to stop: siblings send nothing new from here on. Waits until each has been told, for half a second at most; what was under way by then is
 * served still, if the node goes on for a moment.
 */
void wc_lend_leave(struct wc_node *node);
void wc_lend_stop(struct wc_node *node);
void wc_lend_close(struct wc_node *node);

/*
 * What this sibling (via: 1 and up) has sent, and the kernel passed on: has it met the removal of its function (our id; 0: there is none)? Then it will never run here, and goes back with the next
 * beat: true. `again`: a copy of something that may have gone back has come. Any thread.
 */
bool wc_lend_gives_back(struct wc_node *node, uint32_t via, const struct wc_fingerprint *print, uint32_t function);
void wc_lend_gives_again(struct wc_node *node, const struct wc_fingerprint *print);
/* The term of the sibling at this address, if it is one of ours and has sent this id here (a word of window.h); else 0. Any thread. */
uint64_t wc_lend_sent(struct wc_node *node, uint32_t address, uint64_t word);

/* For `warmcore nodes`: an array, or null without --siblings. */
json_t *wc_lend_json(struct wc_node *node);

#endif
