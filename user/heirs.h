/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * heirs.h - the hosts that may have to lead the cluster next, as the leader and its nodes know them: they are told (STARTED, bpf/cluster.h) of each invocation
 * before it begins, so that it runs once at most even if the leader and the node that had it die together. A message that is lost is made up for
 * when the node comes to the new leader (window.h).
 */
#ifndef WC_HEIRS_H
#define WC_HEIRS_H

#include "user/agent.h"

#include <jansson.h>

#define WC_HEIRS_MAX 7 /* of 8 schedulers one leads */

struct wc_heir {
	uint16_t member; /* its id as a node of the leader */
	uint32_t epoch;
	struct sockaddr_in address;
};

struct wc_heirs;

/* Both do nothing without --cluster or --join. Errors with a sentence. */
int wc_heirs_open(struct wc_node *node, struct wc_fault *fault);
void wc_heirs_close(struct wc_node *node);

/* From now on these, up to WC_HEIRS_MAX. Any thread, as all that follow. */
void wc_heirs_set(struct wc_node *node, const struct wc_heir *heirs, uint32_t count);
/* Tell them that this id begins. Costs nothing where there is none. */
void wc_heirs_tell(struct wc_node *node, const struct wc_fingerprint *print);
/*
 * The same, and wait until each of them has said that it knows: what takes two ways through the network and a thread there, so it is for what has waited before. False: one did not
 * say so in 60 ms; perhaps this host is cut off, and another one about to lead.
 */
bool wc_heirs_make_sure(struct wc_node *node, const struct wc_fingerprint *print);

/* As nodes are told of them: {"member", "epoch", "address", "port"}; what makes no sense is left out. */
json_t *wc_heirs_json(const struct wc_node *node);
uint32_t wc_heirs_read(const json_t *list, struct wc_heir heirs[WC_HEIRS_MAX]);

#endif
