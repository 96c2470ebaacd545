/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * shared_registry.h - functions, limits, aliases, drained nodes and the list of nodes in etcd (docs/CLUSTER.md, the registry in etcd): a thread of the scheduler that leads
 * writes there what has changed here, and the next leader's puts into force what it finds. Nothing waits for it but a new leader, and that for 300 ms at most (lead.h).
 *
 * A leader that was not a standby of the one before, nor led last itself, may know less than etcd: what differs is held (shared_plan.h) until somebody deploys or removes it here. Meanwhile nodes
 * are not told of it, standbys remove nothing, and its ids are not given out.
 */
#ifndef WC_SHARED_REGISTRY_H
#define WC_SHARED_REGISTRY_H

#include "user/agent.h"
#include "user/etcd.h"

#include <jansson.h>

struct wc_shared;

struct wc_shared_plan {
	struct wc_etcd_options etcd; /* its texts have to last */
	char prefix[128];	     /* /warmcore/ID/, what the key of the leader's record begins with */
	char name[64], door[80];     /* of this host, as in the leader's record */
	uint64_t mac[2];	     /* the key for MACs of settings */
};

/* All that follow do nothing, and say what is so without etcd, where there is none. Errors with a sentence. */
int wc_shared_open(struct wc_node *node, const struct wc_shared_plan *plan, struct wc_fault *fault);
int wc_shared_start(struct wc_node *node, struct wc_fault *fault);
void wc_shared_stop(struct wc_node *node);
void wc_shared_close(struct wc_node *node);

/*
 * This host leads from now on in this term, after the one with the term `before` (0: unknown). `followed`: it was a standby of that one, and had all functions. Then: not any
 * more. The thread of the election.
 */
void wc_shared_lead(struct wc_node *node, uint64_t term, uint64_t before, bool followed);
void wc_shared_resign(struct wc_node *node);
/* What the leader before has left in etcd is in force. Any thread, as all that follow. */
bool wc_shared_settled(const struct wc_node *node);

/* May nodes be told of functions? Not before it is known which of them are the cluster's. */
bool wc_shared_known(const struct wc_node *node);
/* Takes what is held out of a list of wc_cluster_functions(). True: nothing is, so what is not in the list is nowhere to be. */
bool wc_shared_strip(const struct wc_node *node, json_t *functions);
/*
 * Somebody has deployed this function here, or removed it (`qualifier`: a published version of it, NULL: all): what etcd has is not held any more. True: something was.
 */
bool wc_shared_accept(struct wc_node *node, const char *name, const char *qualifier, bool removed);

/* For status; null where this host does not lead. */
json_t *wc_shared_json(const struct wc_node *node);

#endif
